/* Route patterns: "transfer", "user/:id", "user/:id/orders", and finding the one for a path.
 *
 * Patterns are kept as a tree of path parts. At each part the literal child is tried before the
 * :param, so static parts win over parameters, from left to right. A route answers a list of
 * methods or any; one that takes GET also takes HEAD.
 *
 * Ownership: the table owns its routes and nodes; a route's address is stable.
 * Threads: built by one thread, then immutable.
 * Errors: a refused pattern leaves the table as it was; after ST_NOMEM it is only good to be freed.
 */
#ifndef CONCAVE_LUA_ROUTE_H
#define CONCAVE_LUA_ROUTE_H

#include "shard/script.h"

#define ROUTES_MAX 4096u
#define ROUTE_PARTS_MAX 32u
#define ROUTE_METHODS_MAX 16u

enum route_kind { ROUTE_JSON, ROUTE_HTML, ROUTE_TEXT };

struct script_route {
    unsigned index;
    enum route_kind kind;
    char *pattern;
    char *methods;                          /* "GET, POST"; empty = any */
    struct slice method[ROUTE_METHODS_MAX]; /* into methods */
    unsigned method_count;
    struct slice param[REQUEST_PARAMS_MAX]; /* names, into pattern */
    unsigned param_count;
    char *file;
    unsigned line;
};

struct route_node;

struct route_table {
    struct script_route **routes;
    unsigned count, cap;
    struct route_node *root;
};

/* Adds a route. methods is "GET, POST" in upper case, or empty for any. ST_OK; ST_INVALID for a bad
 * pattern, ST_EXISTS if a route for the same paths and a common method is there (*other, unless it
 * is NULL, then points to it), ST_TOO_LARGE past ROUTES_MAX, ST_NOMEM. On ST_INVALID *why is a
 * constant text. */
MUST_USE enum status route_add(struct route_table *table, struct slice pattern,
    enum route_kind kind, struct slice methods, struct slice file, unsigned line,
    const struct script_route **other, const char **why);

/* As script_engine.match. */
enum route_match route_find(const struct route_table *table, struct slice method, struct slice path,
    struct request *request, struct buf *scratch, struct buf *allow);

/* "json", "html", "text". */
const char *route_kind_name(enum route_kind kind);

void route_table_free(struct route_table *table);

#endif
