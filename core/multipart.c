/* multipart/form-data (RFC 7578), in the grammar of RFC 2046, section 5.1:
 *
 *     --boundary CRLF  header CRLF ... CRLF  content CRLF  --boundary CRLF ...  --boundary--
 *
 * `rest` stands behind the last "--boundary"; what comes before the first is passed over. */
#include "core/url.h"

#include <strings.h>

#define BOUNDARY_LEN_MAX 70u

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

static void drop(struct slice *text, size_t count) {
    text->data += count;
    text->len -= count;
}

static void drop_blanks(struct slice *text) {
    while (text->len && is_blank(*text->data))
        drop(text, 1);
}

static bool equals_any_case(struct slice text, struct slice lower) {
    return text.len == lower.len && strncasecmp(text.data, lower.data, lower.len) == 0;
}

static bool starts_with(struct slice text, struct slice prefix) {
    return text.len >= prefix.len && memcmp(text.data, prefix.data, prefix.len) == 0;
}

/* RFC 9110, section 5.6.2. */
static bool is_token_byte(char byte) {
    char lower = (char)(byte | 0x20);
    return (byte >= '0' && byte <= '9') || (lower >= 'a' && lower <= 'z') ||
           (byte && strchr("!#$%&'*+-.^_`|~", byte));
}

static struct slice take_token(struct slice *rest) {
    size_t len = 0;
    while (len < rest->len && is_token_byte(rest->data[len]))
        len++;
    struct slice token = slice_of(rest->data, len);
    drop(rest, len);
    return token;
}

/* Takes the next `; name=value` off *rest. A quoted value ends at the next quote: browsers write a
 * quote in it as %22, and a backslash as itself. ST_OK, ST_END, ST_INVALID. */
static enum status next_parameter(struct slice *rest, struct slice *name, struct slice *value) {
    drop_blanks(rest);
    if (rest->len == 0)
        return ST_END;
    if (*rest->data != ';')
        return ST_INVALID;
    drop(rest, 1);
    drop_blanks(rest);
    *name = take_token(rest);
    if (name->len == 0 || rest->len == 0 || *rest->data != '=')
        return ST_INVALID;
    drop(rest, 1);
    if (rest->len == 0 || *rest->data != '"') {
        *value = take_token(rest);
        return value->len ? ST_OK : ST_INVALID;
    }
    drop(rest, 1);
    const char *quote = rest->len ? memchr(rest->data, '"', rest->len) : NULL;
    if (!quote)
        return ST_INVALID;
    *value = slice_of(rest->data, (size_t)(quote - rest->data));
    drop(rest, value->len + 1);
    return ST_OK;
}

/* Takes the value before the parameters off *rest and compares it. */
static bool take_type(struct slice *rest, struct slice lower) {
    if (rest->len < lower.len || !equals_any_case(slice_of(rest->data, lower.len), lower))
        return false;
    drop(rest, lower.len);
    return rest->len == 0 || *rest->data == ';' || is_blank(*rest->data);
}

/* RFC 2046's bchars, and no blank at the end. */
static bool boundary_usable(struct slice boundary) {
    if (boundary.len == 0 || boundary.len > BOUNDARY_LEN_MAX ||
        boundary.data[boundary.len - 1] == ' ')
        return false;
    for (size_t i = 0; i < boundary.len; i++) {
        char byte = boundary.data[i], lower = (char)(byte | 0x20);
        if (!(byte >= '0' && byte <= '9') && !(lower >= 'a' && lower <= 'z') &&
            !(byte && strchr("'()+_,-./:=? ", byte)))
            return false;
    }
    return true;
}

static struct slice delimiter_of(const struct multipart *multipart) {
    return slice_of(multipart->boundary, multipart->boundary_len);
}

/* The first CRLF with the delimiter behind it, or NULL. */
static const char *find_delimiter(const struct multipart *multipart, struct slice text) {
    char line[sizeof multipart->boundary + 2] = "\r\n";
    memcpy(line + 2, multipart->boundary, multipart->boundary_len);
    return text.len ? memmem(text.data, text.len, line, multipart->boundary_len + 2) : NULL;
}

/* Moves rest behind the first delimiter; to the end, which is malformed, if there is none. */
static void find_first(struct multipart *multipart) {
    struct slice *rest = &multipart->rest;
    size_t preamble = 0;
    if (!starts_with(*rest, delimiter_of(multipart))) {
        const char *line = find_delimiter(multipart, *rest);
        preamble = line ? (size_t)(line - rest->data) + 2 : rest->len;
    }
    drop(rest, preamble);
    if (rest->len)
        drop(rest, multipart->boundary_len);
}

enum status multipart_init(
    struct multipart *multipart, struct slice content_type, struct slice body) {
    if (!take_type(&content_type, SLICE("multipart/form-data")))
        return ST_INVALID;
    struct slice name, value, boundary = {.data = NULL};
    enum status status;
    while ((status = next_parameter(&content_type, &name, &value)) == ST_OK)
        if (equals_any_case(name, SLICE("boundary"))) {
            if (boundary.data)
                return ST_INVALID;
            boundary = value;
        }
    if (status != ST_END || !boundary_usable(boundary))
        return ST_INVALID;
    multipart->rest = body.data ? body : SLICE("");
    multipart->boundary_len = boundary.len + 2;
    memcpy(multipart->boundary, "--", 2);
    memcpy(multipart->boundary + 2, boundary.data, boundary.len);
    find_first(multipart);
    return ST_OK;
}

/* Takes a line that ends in CRLF off *rest, without it. False if there is none, or a control in it.
 */
static bool take_line(struct slice *rest, struct slice *line) {
    size_t len = 0;
    while (len < rest->len && ((unsigned char)rest->data[len] >= 0x20 || rest->data[len] == '\t'))
        len++;
    if (rest->len - len < 2 || memcmp(rest->data + len, "\r\n", 2) != 0)
        return false;
    *line = slice_of(rest->data, len);
    drop(rest, len + 2);
    return true;
}

/* Keeps a value that may be given once. */
static bool set_once(struct slice *slot, struct slice value) {
    if (slot->data)
        return false;
    *slot = value;
    return true;
}

static bool read_disposition(struct slice rest, struct multipart_part *part) {
    if (part->name.data || !take_type(&rest, SLICE("form-data")))
        return false;
    struct slice name, value;
    enum status status;
    while ((status = next_parameter(&rest, &name, &value)) == ST_OK) {
        if (equals_any_case(name, SLICE("name")) && !set_once(&part->name, value))
            return false;
        if (equals_any_case(name, SLICE("filename")) && !set_once(&part->filename, value))
            return false;
    }
    return status == ST_END && part->name.data;
}

/* Header lines to the empty one. Folded lines are no header and so refused. */
static bool read_headers(struct slice *rest, struct multipart_part *part) {
    struct slice line;
    while (take_line(rest, &line)) {
        if (line.len == 0)
            return part->name.data != NULL;
        struct slice name = take_token(&line);
        if (name.len == 0 || line.len == 0 || *line.data != ':')
            return false;
        drop(&line, 1);
        drop_blanks(&line);
        while (line.len && is_blank(line.data[line.len - 1]))
            line.len--;
        if (equals_any_case(name, SLICE("content-disposition")) && !read_disposition(line, part))
            return false;
        if (equals_any_case(name, SLICE("content-type")) && !set_once(&part->content_type, line))
            return false;
    }
    return false;
}

enum status multipart_next(struct multipart *multipart, struct multipart_part *part) {
    struct slice rest = multipart->rest, line;
    *part = (struct multipart_part){.content = {.data = NULL}};
    bool last = starts_with(rest, SLICE("--"));
    if (last)
        drop(&rest, 2);
    drop_blanks(&rest);
    if (last && rest.len == 0)
        return ST_END;
    if (!take_line(&rest, &line) || line.len > 0)
        return ST_INVALID;
    if (last)
        return ST_END; /* what follows is for nobody */
    if (!read_headers(&rest, part))
        return ST_INVALID;
    const char *end = find_delimiter(multipart, rest);
    if (!end)
        return ST_INVALID;
    part->content = slice_of(rest.data, (size_t)(end - rest.data));
    drop(&rest, part->content.len + 2 + multipart->boundary_len);
    multipart->rest = rest;
    return ST_OK;
}
