/* An application: the user's files and templates, as read once, and the routes that they declare.
 *
 * The files are kept in memory, so that every VM, also one made later to replace another, runs the
 * same text. While the first VM loads them (script_app.learning) routes and files are added; after
 * that nothing of it changes.
 *
 * Ownership: whoever opens the application (script_engine.app_open and app_close); it outlives
 * its VMs. Everything reached from it is its own. Threads: learning is one thread's; later any may
 * read. Errors: enum status, with a text in an error buffer where one is asked for. */
#ifndef CONCAVE_LUA_APP_H
#define CONCAVE_LUA_APP_H

#include "lua/route.h"
#include "lua/template_set.h"
#include "shard/script.h"

#define SCRIPT_FILE_BYTES_MAX ((size_t)1 << 20)
#define SCRIPT_FILES_MAX 256u

struct script_source {
    char *name; /* below the application's folder: "bank.lua", "lib/money.lua" */
    char *text;
    size_t len;
};

struct script_app_test; /* lua/test_lib.h */

struct script_app {
    char *folder; /* ends in '/', or is empty */
    char *name;   /* the application's file in it */
    size_t vm_bytes_max;
    size_t key_bytes_max;
    size_t value_bytes_max;
    bool (*stopped)(void *ctx); /* these three as in struct script_options */
    void (*reading)(void *ctx, const char *path);
    void *ctx;
    bool learning;
    bool testing; /* tests are noted, and errors kept for their output alone */
    bool has_first_run;
    bool has_start;
    struct script_source sources[SCRIPT_FILES_MAX];
    unsigned source_count;
    struct route_table routes;
    struct buf problems; /* texts, each ended by a zero byte (lua/check.h) */
    struct script_app_test *tests;
    unsigned test_count;
    struct template_set *templates; /* of the resources folder */
};

/* The file of this name below the application's folder. While learning it is read from disk on
 * first use. ST_OK; ST_NOT_FOUND; ST_TOO_LARGE; ST_IO; ST_NOMEM. Lives as long as the application.
 */
MUST_USE enum status script_app_source(
    struct script_app *app, const char *name, const struct script_source **source);

/* An application with nothing loaded yet; NULL if memory ran out. */
struct script_app *script_app_create(const struct script_options *options);
void script_app_destroy(struct script_app *app);

#endif
