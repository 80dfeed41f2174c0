/* The script engine as net/ and the shards see it: a struct of functions that lua/ fills and that
 * net/main.c hands on.
 *
 * Ownership: an application (struct script_app) is one loaded version of the user's file; its route
 * table is immutable and shared by all shards. Each shard has a VM of it; one thread makes them
 * all, so that loading holds up nobody, and hands each over with a message; another takes them back
 * when no call is left in them. Threads: as said at each function. */
#ifndef CONCAVE_SHARD_SCRIPT_H
#define CONCAVE_SHARD_SCRIPT_H

#include "shard/procedure.h"

struct script_app;
struct script_route_info;

struct script_options {
    const char *file;      /* the application, a path */
    const char *resources; /* folder of templates; NULL: the application file's */
    size_t vm_bytes_max;   /* --lua-memory-max */
    size_t key_bytes_max;
    size_t value_bytes_max;
    unsigned shards;
    bool checking; /* for `concave check`: problem_at tells of unknown globals too */
    bool testing;  /* for `concave test`: notes test() blocks; errors go to call->fault alone */
    /* Asked now and then while app_open and vm_open run, by their thread: true ends them with
     * ST_CLOSED. Once true it stays so. NULL: they are not to be stopped. */
    bool (*stopped)(void *ctx);
    /* Told of each file before it is read, also of one that turns out to be missing. NULL: nobody
     * wants to know. */
    void (*reading)(void *ctx, const char *path);
    void *ctx; /* of both; until the last vm_open has returned */
};

enum route_match {
    ROUTE_FOUND,
    ROUTE_UNKNOWN,    /* 404 */
    ROUTE_BAD_METHOD, /* 405; allow lists the methods it takes */
};

struct script_tester; /* shard/script_test.h */

struct script_engine {
    /* Loads the file once to learn its routes. Any one thread. On failure: ST_INVALID (the
     * application's fault), ST_NOMEM or ST_CLOSED, with file:line and the reason in error. */
    enum status (*app_open)(
        const struct script_options *options, struct script_app **app, struct buf *error);
    /* After all its VMs are closed. Any one thread. */
    void (*app_close)(struct script_app *app);

    /* A shard's VM. It is used by one thread at a time: bound to none, it may be made, used and
     * closed by different ones. Errors as app_open. */
    enum status (*vm_open)(
        struct script_app *app, unsigned shard, struct script_vm **vm, struct buf *error);
    void (*vm_close)(struct script_vm *vm);
    /* Bytes that the VM holds, for the metrics. The VM's thread. */
    size_t (*vm_bytes)(const struct script_vm *vm);

    /* Finds the route of /fn/PATH (path is what follows "/fn/", percent-encoded) and fills
     * request->route and request->params; decoded params are put into scratch, which must outlive
     * the request. For ROUTE_BAD_METHOD allow gets "GET, POST", and request->route is one of that
     * path's routes, for its pattern. Any thread. */
    enum route_match (*match)(const struct script_app *app, struct slice method, struct slice path,
        struct request *request, struct buf *scratch, struct buf *allow);
    /* The app's routes, for status, metrics and check: the pattern, kind and methods of route
     * index, false past the last. Any thread. */
    bool (*route_at)(const struct script_app *app, unsigned index, struct script_route_info *info);
    /* What is wrong with the application although it could be opened: templates that cannot be
     * used. The text of problem index, "page.mustache:3:7: ...", false past the last. Any thread.
     */
    bool (*problem_at)(const struct script_app *app, unsigned index, struct slice *text);
    /* The index of a route in that list. */
    unsigned (*route_index)(const struct script_route *route);

    /* Procedures: a request to a route; the on("first_run") and on("start") functions (which answer
     * ST_OK at once when the application has none). */
    const struct procedure *handler;
    const struct procedure *first_run;
    const struct procedure *on_start;

    const struct script_tester *tester;
};

struct script_route_info {
    struct slice pattern; /* "transfer", "user/:id" */
    struct slice kind;    /* "json", "html", "text" */
    struct slice methods; /* "GET, POST"; empty = any */
    struct slice file;
    unsigned line;
};

#endif
