/* The page that a browser is shown where a program gets the JSON of an error reply: which of the
 * two the client prefers, and the page itself.
 *
 * The preference is read from Accept as RFC 9110 12.5.1 has it: of the ranges that match a type the
 * most specific counts, with its weight.
 * Ownership: slices are the caller's. Threads: none of its own. Errors: the buffer's `failed`. */
#ifndef CONCAVE_CORE_ERROR_PAGE_H
#define CONCAVE_CORE_ERROR_PAGE_H

#include "core/buf.h"

#define ERROR_PAGE_TYPE "text/html; charset=utf-8"

/* How much a client likes a type: the weight in thousandths, and how closely it was named (0 not at
 * all, 1 by all types, 2 by its kind, 3 by its name). */
struct accept_taste {
    unsigned weight, rank;
};

/* What the Accept fields of a request say. Zero it first: no field at all asks for nothing. */
struct accept_tastes {
    struct accept_taste html, json;
};

/* Takes in the value of an Accept field. Elements that are malformed are passed over. */
void accept_add(struct accept_tastes *tastes, struct slice field);
/* True if HTML is liked better than JSON: by weight, and where the weights are equal, by having
 * been named more closely, as a browser does that adds all types. */
bool accept_prefers_html(const struct accept_tastes *tastes);

/* What a developer is shown besides (--dev); empty parts are left out. */
struct error_detail {
    struct slice message, source, traceback;
};

/* Appends the page. reason is the status' phrase, "" if it has none; id may be empty. All of it is
 * escaped. */
void error_page_write(
    struct buf *out, int status, const char *reason, const char *text, struct slice id);
/* The same with the detail in place of the text. */
void error_page_write_detail(struct buf *out, int status, const char *reason,
    const struct error_detail *detail, struct slice id);

#endif
