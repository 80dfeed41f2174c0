#include "core/error_page.h"

#include <strings.h>

#include "core/html.h"

#define WEIGHT_MAX 1000u

/* ---- Accept ---- */

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

static struct slice trimmed(struct slice text) {
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    while (text.len > 0 && is_blank(*text.data))
        text = slice_of(text.data + 1, text.len - 1);
    return text;
}

/* Takes what stands before the first `separator` outside quotes off *rest; false at the end. */
static bool next_piece(struct slice *rest, char separator, struct slice *piece) {
    if (!rest->data)
        return false;
    bool quoted = false;
    size_t len = 0;
    while (len < rest->len && (quoted || rest->data[len] != separator)) {
        if (rest->data[len] == '"')
            quoted = !quoted;
        else if (quoted && rest->data[len] == '\\' && len + 1 < rest->len)
            len++;
        len++;
    }
    *piece = trimmed(slice_of(rest->data, len));
    *rest =
        len < rest->len ? slice_of(rest->data + len + 1, rest->len - len - 1) : slice_of(NULL, 0);
    return true;
}

static bool text_is(struct slice text, struct slice lower) {
    return text.len == lower.len && strncasecmp(text.data, lower.data, lower.len) == 0;
}

/* A weight of RFC 9110 12.4.2, in thousandths; false if it is none. */
static bool read_weight(struct slice text, unsigned *weight) {
    if (text.len == 0 || text.len > 5 || (text.data[0] != '0' && text.data[0] != '1'))
        return false;
    if (text.len > 1 && text.data[1] != '.')
        return false;
    unsigned unit = WEIGHT_MAX, sum = text.data[0] == '1' ? WEIGHT_MAX : 0;
    for (size_t i = 2; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        unit /= 10;
        sum += unit * (unsigned)(text.data[i] - '0');
    }
    *weight = sum;
    return sum <= WEIGHT_MAX;
}

/* The weight among the parameters of a range; without one it is 1. */
static bool weight_of(struct slice parameters, unsigned *weight) {
    struct slice parameter;
    *weight = WEIGHT_MAX;
    while (next_piece(&parameters, ';', &parameter))
        if (parameter.len >= 2 && (parameter.data[0] | 0x20) == 'q' && parameter.data[1] == '=')
            return read_weight(slice_of(parameter.data + 2, parameter.len - 2), weight);
    return true;
}

static void like(struct accept_taste *taste, unsigned rank, unsigned weight) {
    if (rank > taste->rank || (rank == taste->rank && weight > taste->weight))
        *taste = (struct accept_taste){.weight = weight, .rank = rank};
}

void accept_add(struct accept_tastes *tastes, struct slice field) {
    static const struct {
        struct slice range;
        unsigned html, json; /* how closely it names the type; 0: not */
    } known[] = {
        {SLICE("*/*"), 1, 1},
        {SLICE("text/*"), 2, 0},
        {SLICE("text/html"), 3, 0},
        {SLICE("application/*"), 0, 2},
        {SLICE("application/json"), 0, 3},
    };
    struct slice element, range;
    unsigned weight;
    while (next_piece(&field, ',', &element)) {
        if (!next_piece(&element, ';', &range) || !weight_of(element, &weight))
            continue;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            if (!text_is(range, known[i].range))
                continue;
            if (known[i].html > 0)
                like(&tastes->html, known[i].html, weight);
            if (known[i].json > 0)
                like(&tastes->json, known[i].json, weight);
        }
    }
}

bool accept_prefers_html(const struct accept_tastes *tastes) {
    if (tastes->html.weight != tastes->json.weight)
        return tastes->html.weight > tastes->json.weight;
    return tastes->html.weight > 0 && tastes->html.rank > tastes->json.rank;
}

/* ---- the page ---- */

static void append_title(struct buf *out, int status, const char *reason) {
    buf_append_i64(out, status);
    if (*reason)
        buf_append_byte(out, ' ');
    html_append(out, slice_of(reason, strlen(reason)));
}

/* Up to the heading. */
static void begin_page(struct buf *out, int status, const char *reason) {
    buf_append_text(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                         "<meta name=\"viewport\" content=\"width=device-width\">\n<title>");
    append_title(out, status, reason);
    buf_append_text(out,
        "</title>\n<style>body{font:1.1em/1.5 system-ui,sans-serif;max-width:40em;margin:4em auto;"
        "padding:0 1em;color:#222;background:#fff}small{color:#595959}"
        "pre{overflow-x:auto;padding:.5em;background:#f2f2f2}</style>\n</head>\n<body>\n<h1>");
    append_title(out, status, reason);
    buf_append_text(out, "</h1>\n");
}

static void append_element(struct buf *out, const char *name, struct slice text) {
    if (text.len == 0)
        return;
    buf_printf(out, "<%s>", name);
    html_append(out, text);
    buf_printf(out, "</%s>\n", name);
}

static void end_page(struct buf *out, struct slice id) {
    if (id.len > 0) {
        buf_append_text(out, "<p><small>Request <code>");
        html_append(out, id);
        buf_append_text(out, "</code></small></p>\n");
    }
    buf_append_text(out, "</body>\n</html>\n");
}

void error_page_write(
    struct buf *out, int status, const char *reason, const char *text, struct slice id) {
    begin_page(out, status, reason);
    append_element(out, "p", slice_of(text, strlen(text)));
    end_page(out, id);
}

void error_page_write_detail(struct buf *out, int status, const char *reason,
    const struct error_detail *detail, struct slice id) {
    begin_page(out, status, reason);
    append_element(out, "p", detail->message);
    append_element(out, "pre", detail->source);
    append_element(out, "pre", detail->traceback);
    end_page(out, id);
}
