/* A Mustache template, compiled: a list of operations over the template's own text.
 *
 * Text, `{{x}}`, `{{{x}}}`, `{{&x}}`, sections, inverted sections, comments, partials and set
 * delimiters, as mustache(5) and the core modules of the Mustache specification have them
 * (github.com/mustache/spec). Lambdas, inheritance and dynamic names, which are optional there, are
 * not. A compiled template knows nothing of a VM and never changes, so all shards share it; what a
 * VM adds is one Lua string for each name (lua/render_lib.c).
 *
 *     {{#items}}<b>{{name}}</b>{{/items}}.
 *
 *     0  SECTION items, behind its end: 5
 *     1  TEXT "<b>"
 *     2  VALUE name
 *     3  TEXT "</b>"
 *     4  END, of 0
 *     5  TEXT ".\n"
 *
 * Ownership: template_parse's caller owns the template, which has its own copy of the text.
 * Threads: any may read one. Errors: ST_INVALID with a place and a text; ST_NOMEM. */
#ifndef CONCAVE_LUA_TEMPLATE_H
#define CONCAVE_LUA_TEMPLATE_H

#include "core/buf.h"

#define TEMPLATE_BYTES_MAX ((size_t)1 << 20)
#define TEMPLATE_SECTIONS_MAX 100u /* inside each other */
#define TEMPLATE_NAME_BYTES_MAX 255u
#define TEMPLATE_NONE UINT32_MAX

enum template_op_kind {
    TEMPLATE_TEXT,
    TEMPLATE_VALUE, /* escaped */
    TEMPLATE_RAW,
    TEMPLATE_SECTION,
    TEMPLATE_INVERTED,
    TEMPLATE_END, /* of a section, inverted or not */
    TEMPLATE_PARTIAL,
};

struct template_op {
    uint8_t kind; /* enum template_op_kind */
    /* It is the first of a line that stays in the output: where a partial is indented, the
     * indentation goes in front of it. */
    bool starts_line;
    bool standalone;  /* PARTIAL: alone on its line, so it is indented as the tag is */
    uint32_t at;      /* of the text or the tag in the template */
    uint32_t len;     /* TEXT: bytes; standalone PARTIAL: bytes of white space before the tag */
    uint32_t part;    /* the first part of the name */
    uint32_t parts;   /* of a dotted name; 0: the implicit iterator '.' */
    uint32_t partner; /* SECTION, INVERTED: the operation behind the END; END: its section; PARTIAL:
                         index in the set, or TEMPLATE_NONE until it is linked and if it is missing
                       */
};

struct template_part {
    uint32_t at, len; /* in the template */
    uint32_t id;      /* the set's number of this name */
};

struct template {
    char *text;
    size_t len;
    struct template_op *ops;
    uint32_t op_count;
    struct template_part *parts;
    uint32_t part_count;
};

struct template_error {
    unsigned line, column; /* from 1; the column counts bytes */
    char text[160];        /* without a file's name */
};

/* Compiles the bytes. Any bytes: what is not a template is ST_INVALID with an error. */
MUST_USE enum status template_parse(
    struct slice bytes, struct template **template, struct template_error *error);
void template_free(struct template *template);

static inline struct slice template_part_text(
    const struct template *template, const struct template_part *part) {
    return slice_of(template->text + part->at, part->len);
}

/* Line and column, from 1, of a byte of the text. */
void template_place(struct slice text, size_t at, unsigned *line, unsigned *column);

/* Whether this may name a template: parts between '/', none of them empty, "." or "..", no control
 * bytes, at most TEMPLATE_NAME_BYTES_MAX bytes. So a name never leads out of the folder. */
bool template_name_valid(struct slice name);

#endif
