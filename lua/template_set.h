/* The templates of an application: every *.mustache below the resources folder, read and compiled
 * when the application is opened.
 *
 * Reading them ahead keeps files away from the shards' loops, makes a reload all or nothing, and
 * lets `concave check` report what is wrong in any of them. A template that cannot be read or
 * compiled is kept with its error, for whoever renders it. The default resources folder is the
 * application's, which may be anyone's home: so the walk goes level by level, to a bounded depth
 * and number of entries, passes over names that begin with '.' and node_modules, enters no linked
 * folder, and takes a linked file only if it lies below the resources folder too.
 *
 * Ownership: the set owns its templates. Threads: it is made by one, then it never changes and any
 * may read it. Errors: ST_NOMEM; all else is in the set. */
#ifndef CONCAVE_LUA_TEMPLATE_SET_H
#define CONCAVE_LUA_TEMPLATE_SET_H

#include "lua/template.h"

#define TEMPLATES_MAX 1024u
#define TEMPLATES_BYTES_MAX ((size_t)16 << 20) /* of all together */
#define TEMPLATES_DEPTH_MAX 8u                 /* folders below the resources folder */
#define TEMPLATES_ENTRIES_MAX 20000u           /* files and folders looked at */

struct template_entry {
    char *name;                /* below the folder, without ".mustache": "page", "admin/list" */
    struct template *template; /* NULL: broken */
    char *error;               /* then: "page.mustache:3:7: section 'a' is not closed" */
};

struct template_set {
    struct template_entry *entries; /* by name, in byte order */
    uint32_t count;
    struct slice *names; /* the parts of names in all templates, each once; into their texts */
    uint32_t name_count;
    char *trouble; /* why files may be missing, or NULL */
};

/* Reads the folder. A folder that cannot be read gives an empty set with its trouble. */
MUST_USE enum status template_set_read(const char *folder, struct template_set **set);
void template_set_free(struct template_set *set);

/* Index of the template of this name, or TEMPLATE_NONE. */
uint32_t template_set_find(const struct template_set *set, struct slice name);

/* ---- making one piece by piece: what template_set_read does, and tests ---- */

/* An empty set; NULL if memory ran out. */
struct template_set *template_set_new(void);
/* Compiles the source and adds it under a name that is not there yet. ST_OK, also if it is broken;
 * ST_NOMEM; ST_TOO_LARGE past TEMPLATES_MAX. */
MUST_USE enum status template_set_add(
    struct template_set *set, struct slice name, struct slice source);
/* Puts a file that cannot be read into the set. Errors as template_set_add. */
MUST_USE enum status template_set_add_broken(
    struct template_set *set, struct slice name, const char *why);
/* After the last: sorts, numbers the names and links the partials. ST_OK, ST_NOMEM. */
MUST_USE enum status template_set_link(struct template_set *set);

#endif
