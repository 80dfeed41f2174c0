#include "lua/route.h"

#include <assert.h>
#include <stdlib.h>

#include "core/url.h"

/* One part of the patterns that begin alike. */
struct route_node {
    struct slice part;           /* into a route's pattern; empty for the root and for a :param */
    struct route_node *children; /* next literal part, sorted by part */
    unsigned child_count, child_cap;
    struct route_node *param;     /* next part is a :param */
    struct script_route **routes; /* those that end here, of different methods */
    unsigned route_count;
};

const char *route_kind_name(enum route_kind kind) {
    static const char *const names[] = {"json", "html", "text"};
    return names[kind];
}

/* Takes the text before the next '/' off *rest; false when nothing is left. */
static bool next_part(struct slice *rest, struct slice *part) {
    if (!rest->data)
        return false;
    const char *slash = rest->len ? memchr(rest->data, '/', rest->len) : NULL;
    if (slash) {
        size_t len = (size_t)(slash - rest->data);
        *part = slice_of(rest->data, len);
        *rest = slice_of(slash + 1, rest->len - len - 1);
    } else {
        *part = *rest;
        *rest = slice_of(NULL, 0);
    }
    return true;
}

/* ---- building ---- */

static bool is_name_byte(char byte, bool first) {
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
           (!first && byte >= '0' && byte <= '9');
}

/* NULL if the part is a fine literal, else what is wrong with it. */
static const char *check_literal(struct slice part) {
    for (size_t i = 0; i < part.len; i++) {
        unsigned char byte = (unsigned char)part.data[i];
        if (byte <= ' ' || byte >= 0x7F || byte == '%' || byte == '?' || byte == '#')
            return "a name has printable ASCII without blanks, '%', '?' and '#'";
    }
    return NULL;
}

/* Notes a ":param"; NULL or what is wrong with it. */
static const char *note_param(struct script_route *route, struct slice part) {
    struct slice name = slice_of(part.data + 1, part.len - 1);
    if (name.len == 0)
        return "':' needs a parameter name behind it";
    for (size_t i = 0; i < name.len; i++)
        if (!is_name_byte(name.data[i], i == 0))
            return "a parameter's name has letters, digits and '_' only";
    for (unsigned i = 0; i < route->param_count; i++)
        if (slice_equal(route->param[i], name))
            return "a parameter is there twice";
    if (route->param_count == REQUEST_PARAMS_MAX)
        return "too many parameters";
    route->param[route->param_count++] = name;
    return NULL;
}

static const char *check_pattern(struct script_route *route) {
    struct slice rest = slice_of(route->pattern, strlen(route->pattern)), part;
    unsigned parts = 0;
    while (next_part(&rest, &part)) {
        if (part.len == 0)
            return "a name neither begins nor ends with '/' and has no empty part";
        if (++parts > ROUTE_PARTS_MAX)
            return "too many parts";
        const char *why = part.data[0] == ':' ? note_param(route, part) : check_literal(part);
        if (why)
            return why;
    }
    return NULL;
}

static bool lists(const struct script_route *route, struct slice method) {
    for (unsigned i = 0; i < route->method_count; i++)
        if (slice_equal(route->method[i], method))
            return true;
    return false;
}

/* Splits "GET, POST", the names of which the caller has checked; NULL or what is wrong. */
static const char *note_methods(struct script_route *route) {
    char *at = route->methods;
    while (*at) {
        struct slice method = slice_of(at, strcspn(at, ","));
        if (lists(route, method))
            return "a method is there twice";
        if (route->method_count == ROUTE_METHODS_MAX)
            return "too many methods";
        route->method[route->method_count++] = method;
        at += method.len;
        at += strspn(at, ", ");
    }
    return NULL;
}

/* The index among the node's children where part is or belongs. */
static unsigned child_at(const struct route_node *node, struct slice part) {
    unsigned low = 0, high = node->child_count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (slice_compare(node->children[middle].part, part) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct route_node *child_make(struct route_node *node, struct slice part) {
    unsigned at = child_at(node, part);
    if (at < node->child_count && slice_equal(node->children[at].part, part))
        return &node->children[at];
    if (node->child_count == node->child_cap) {
        unsigned cap = node->child_cap ? node->child_cap * 2 : 4;
        struct route_node *children = realloc(node->children, cap * sizeof *children);
        if (!children)
            return NULL;
        node->children = children;
        node->child_cap = cap;
    }
    memmove(node->children + at + 1, node->children + at,
        (node->child_count - at) * sizeof *node->children);
    node->child_count++;
    node->children[at] = (struct route_node){.part = part};
    return &node->children[at];
}

/* The node at which the pattern ends; made if need be. Parts point into the pattern. */
static struct route_node *node_make(struct route_table *table, const char *pattern) {
    if (!table->root && !(table->root = calloc(1, sizeof *table->root)))
        return NULL;
    struct route_node *node = table->root;
    struct slice rest = slice_of(pattern, strlen(pattern)), part;
    while (node && next_part(&rest, &part)) {
        if (part.data[0] != ':') {
            node = child_make(node, part);
            continue;
        }
        if (!node->param)
            node->param = calloc(1, sizeof *node->param);
        node = node->param;
    }
    return node;
}

/* The node at which the pattern ends, or NULL. */
static struct route_node *node_find(const struct route_table *table, const char *pattern) {
    struct route_node *node = table->root;
    struct slice rest = slice_of(pattern, strlen(pattern)), part;
    while (node && next_part(&rest, &part)) {
        if (part.data[0] == ':') {
            node = node->param;
            continue;
        }
        unsigned at = child_at(node, part);
        bool there = at < node->child_count && slice_equal(node->children[at].part, part);
        node = there ? &node->children[at] : NULL;
    }
    return node;
}

static bool takes(const struct script_route *route, struct slice method) {
    return route->method_count == 0 || lists(route, method) ||
           (slice_equal(method, SLICE("HEAD")) && lists(route, SLICE("GET")));
}

static bool share_method(const struct script_route *a, const struct script_route *b) {
    if (a->method_count == 0 || b->method_count == 0)
        return true;
    for (unsigned i = 0; i < a->method_count; i++)
        if (lists(b, a->method[i]))
            return true;
    return false;
}

static const struct script_route *find_clash(
    const struct route_table *table, const struct script_route *route) {
    const struct route_node *node = node_find(table, route->pattern);
    for (unsigned i = 0; node && i < node->route_count; i++)
        if (share_method(node->routes[i], route))
            return node->routes[i];
    return NULL;
}

static void route_free(struct script_route *route) {
    if (!route)
        return;
    free(route->pattern);
    free(route->methods);
    free(route->file);
    free(route);
}

static struct script_route *route_create(struct slice pattern, enum route_kind kind,
    struct slice methods, struct slice file, unsigned line) {
    struct script_route *route = calloc(1, sizeof *route);
    if (!route)
        return NULL;
    route->kind = kind;
    route->line = line;
    route->pattern = strndup(pattern.data, pattern.len);
    route->methods = strndup(methods.len ? methods.data : "", methods.len);
    route->file = strndup(file.data, file.len);
    if (!route->pattern || !route->methods || !route->file) {
        route_free(route);
        return NULL;
    }
    return route;
}

/* Room for one more route in the list. */
static enum status reserve(struct route_table *table) {
    if (table->count == ROUTES_MAX)
        return ST_TOO_LARGE;
    if (table->count < table->cap)
        return ST_OK;
    unsigned cap = table->cap ? table->cap * 2 : 16;
    struct script_route **routes = realloc(table->routes, cap * sizeof(struct script_route *));
    if (!routes)
        return ST_NOMEM;
    table->routes = routes;
    table->cap = cap;
    return ST_OK;
}

/* Hangs a route of the list into the tree. Nodes point into its pattern, so it stays in the list
 * even if memory runs out half-way. */
static enum status hang(struct route_table *table, struct script_route *route) {
    struct route_node *node = node_make(table, route->pattern);
    if (!node)
        return ST_NOMEM;
    struct script_route **here =
        realloc(node->routes, (node->route_count + 1) * sizeof(struct script_route *));
    if (!here)
        return ST_NOMEM;
    node->routes = here;
    node->routes[node->route_count++] = route;
    return ST_OK;
}

enum status route_add(struct route_table *table, struct slice pattern, enum route_kind kind,
    struct slice methods, struct slice file, unsigned line, const struct script_route **other,
    const char **why) {
    *why = pattern.len ? "a name has no zero byte" : "a name is not empty";
    if (pattern.len == 0 || memchr(pattern.data, '\0', pattern.len))
        return ST_INVALID;
    struct script_route *route = route_create(pattern, kind, methods, file, line);
    if (!route)
        return ST_NOMEM;
    enum status status = ST_INVALID;
    if ((*why = check_pattern(route)) != NULL)
        goto free_route;
    if ((*why = note_methods(route)) != NULL)
        goto free_route;
    status = ST_EXISTS;
    if ((*other = find_clash(table, route)) != NULL)
        goto free_route;
    status = reserve(table);
    if (status != ST_OK)
        goto free_route;
    route->index = table->count;
    table->routes[table->count++] = route;
    return hang(table, route);
free_route:
    route_free(route);
    return status;
}

static void node_free(struct route_node *node) {
    if (node->param) {
        node_free(node->param);
        free(node->param);
    }
    for (unsigned i = 0; i < node->child_count; i++)
        node_free(&node->children[i]);
    free(node->children);
    free(node->routes);
}

void route_table_free(struct route_table *table) {
    if (table->root)
        node_free(table->root);
    free(table->root);
    for (unsigned i = 0; i < table->count; i++)
        route_free(table->routes[i]);
    free(table->routes);
    *table = (struct route_table){0};
}

/* ---- finding ---- */

struct finder {
    struct slice parts[ROUTE_PARTS_MAX]; /* decoded */
    unsigned part_count;
    struct slice params[REQUEST_PARAMS_MAX];
};

/* Splits and decodes the path. Parts with '%' are decoded into scratch, which may move while it
 * grows; so the room is made first. False for a path that no pattern can match. */
static bool split_path(struct finder *finder, struct slice path, struct buf *scratch) {
    if (memchr(path.data, '%', path.len) && !buf_reserve(scratch, path.len))
        return false;
    struct slice rest = path, part;
    while (next_part(&rest, &part)) {
        if (part.len == 0 || finder->part_count == ROUTE_PARTS_MAX)
            return false;
        if (memchr(part.data, '%', part.len)) {
            size_t at = scratch->len;
            if (url_decode(part, false, scratch) != ST_OK)
                return false;
            part = slice_of(scratch->data + at, scratch->len - at);
        }
        finder->parts[finder->part_count++] = part;
    }
    return true;
}

/* Goes down from node with parts[at...]; the node at which a pattern ends, or NULL. A way that ends
 * nowhere is given up for the next one; there are at most as many ways as nodes. */
static const struct route_node *descend(
    const struct route_node *node, struct finder *finder, unsigned at, unsigned params) {
    if (at == finder->part_count)
        return node->route_count ? node : NULL;
    struct slice part = finder->parts[at];
    unsigned child = child_at(node, part);
    if (child < node->child_count && slice_equal(node->children[child].part, part)) {
        const struct route_node *end = descend(&node->children[child], finder, at + 1, params);
        if (end)
            return end;
    }
    if (!node->param)
        return NULL;
    assert(params < REQUEST_PARAMS_MAX); /* check_pattern: no pattern has more */
    finder->params[params] = part;
    return descend(node->param, finder, at + 1, params + 1);
}

static void list_methods(const struct route_node *node, struct buf *allow) {
    bool get = false, head = false;
    for (unsigned i = 0; i < node->route_count; i++) {
        const struct script_route *route = node->routes[i];
        assert(route);
        buf_append_text(allow, i ? ", " : "");
        buf_append_text(allow, route->methods);
        get = get || takes(route, SLICE("GET"));
        head = head || lists(route, SLICE("HEAD"));
    }
    if (get && !head)
        buf_append_text(allow, ", HEAD");
}

/* The node's route for a method: one that lists it before one that takes it without. */
static const struct script_route *choose(const struct route_node *node, struct slice method) {
    const struct script_route *found = NULL;
    for (unsigned i = 0; i < node->route_count; i++) {
        const struct script_route *route = node->routes[i];
        if (lists(route, method))
            return route;
        if (takes(route, method))
            found = route;
    }
    return found;
}

enum route_match route_find(const struct route_table *table, struct slice method, struct slice path,
    struct request *request, struct buf *scratch, struct buf *allow) {
    if (!table->root || path.len == 0)
        return ROUTE_UNKNOWN;
    struct finder finder;
    finder.part_count = 0;
    if (!split_path(&finder, path, scratch))
        return ROUTE_UNKNOWN;
    const struct route_node *node = descend(table->root, &finder, 0, 0);
    if (!node)
        return ROUTE_UNKNOWN;
    const struct script_route *found = choose(node, method);
    if (!found) {
        list_methods(node, allow);
        request->route = node->routes[0];
        return ROUTE_BAD_METHOD;
    }
    request->route = found;
    memcpy(request->params, finder.params, found->param_count * sizeof(struct slice));
    return ROUTE_FOUND;
}
