#include "net/media_type.h"

#include <strings.h>

static const struct {
    struct slice extension;
    const char *type;
} types[] = {
    {SLICE("html"), "text/html; charset=utf-8"},
    {SLICE("htm"), "text/html; charset=utf-8"},
    {SLICE("css"), "text/css; charset=utf-8"},
    {SLICE("js"), "text/javascript; charset=utf-8"},
    {SLICE("mjs"), "text/javascript; charset=utf-8"},
    {SLICE("txt"), "text/plain; charset=utf-8"},
    {SLICE("log"), "text/plain; charset=utf-8"},
    {SLICE("lua"), "text/plain; charset=utf-8"},
    {SLICE("md"), "text/markdown; charset=utf-8"},
    {SLICE("csv"), "text/csv; charset=utf-8"},
    {SLICE("vtt"), "text/vtt; charset=utf-8"},
    {SLICE("ics"), "text/calendar; charset=utf-8"},
    {SLICE("vcf"), "text/vcard; charset=utf-8"},
    {SLICE("json"), "application/json"},
    {SLICE("jsonld"), "application/ld+json"},
    {SLICE("geojson"), "application/geo+json"},
    {SLICE("map"), "application/json"},
    {SLICE("webmanifest"), "application/manifest+json"},
    {SLICE("xml"), "application/xml"},
    {SLICE("xsl"), "application/xml"},
    {SLICE("xhtml"), "application/xhtml+xml"},
    {SLICE("rss"), "application/rss+xml"},
    {SLICE("atom"), "application/atom+xml"},
    {SLICE("svg"), "image/svg+xml"},
    {SLICE("png"), "image/png"},
    {SLICE("apng"), "image/apng"},
    {SLICE("jpg"), "image/jpeg"},
    {SLICE("jpeg"), "image/jpeg"},
    {SLICE("gif"), "image/gif"},
    {SLICE("webp"), "image/webp"},
    {SLICE("avif"), "image/avif"},
    {SLICE("bmp"), "image/bmp"},
    {SLICE("tif"), "image/tiff"},
    {SLICE("tiff"), "image/tiff"},
    {SLICE("ico"), "image/vnd.microsoft.icon"},
    {SLICE("woff"), "font/woff"},
    {SLICE("woff2"), "font/woff2"},
    {SLICE("ttf"), "font/ttf"},
    {SLICE("otf"), "font/otf"},
    {SLICE("mp4"), "video/mp4"},
    {SLICE("m4v"), "video/mp4"},
    {SLICE("webm"), "video/webm"},
    {SLICE("ogv"), "video/ogg"},
    {SLICE("mov"), "video/quicktime"},
    {SLICE("mp3"), "audio/mpeg"},
    {SLICE("m4a"), "audio/mp4"},
    {SLICE("aac"), "audio/aac"},
    {SLICE("oga"), "audio/ogg"},
    {SLICE("ogg"), "audio/ogg"},
    {SLICE("opus"), "audio/ogg"},
    {SLICE("flac"), "audio/flac"},
    {SLICE("wav"), "audio/wav"},
    {SLICE("pdf"), "application/pdf"},
    {SLICE("wasm"), "application/wasm"},
    {SLICE("zip"), "application/zip"},
    {SLICE("gz"), "application/gzip"},
    {SLICE("tar"), "application/x-tar"},
};

const char *media_type_of(struct slice path) {
    size_t start = path.len;
    while (start > 0 && path.data[start - 1] != '.' && path.data[start - 1] != '/')
        start--;
    if (start > 0 && path.data[start - 1] == '.') {
        struct slice extension = slice_of(path.data + start, path.len - start);
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
            if (types[i].extension.len == extension.len &&
                strncasecmp(types[i].extension.data, extension.data, extension.len) == 0)
                return types[i].type;
    }
    return "application/octet-stream";
}
