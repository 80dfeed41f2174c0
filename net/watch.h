/* Watches the application's files: which they are, what they looked like when they were last read,
 * and when something may have changed.
 *
 * inotify watches folders rather than files, because editors, and tools that deploy, put another
 * file in the old one's place. What an event says does not matter: it leads to a look at all files
 * (device, inode, size, times of change), and only if one differs from what was noted before it was
 * read has anything changed. So nothing is missed that happens while the files are read, and
 * neighbours in the folder do no harm. Templates (*.mustache) are looked for below the resources
 * folder, without dot folders and `static`. Where a folder cannot be watched (it is gone, or there
 * are too many, or the system gives no more watches) the look comes by the clock.
 *
 * Ownership: the caller's. Threads: one at a time. Errors: what cannot be watched is said once, as
 * a warning, and looked at by the clock. Source: inotify(7). */
#ifndef CONCAVE_NET_WATCH_H
#define CONCAVE_NET_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#define WATCH_FILES_MAX 1024u  /* and templates; those beyond are not looked at */
#define WATCH_FOLDERS_MAX 128u /* and those of templates */

struct watch;

/* resources: the folder of templates, NULL: none. NULL if memory ran out. */
struct watch *watch_create(const char *resources);
void watch_destroy(struct watch *watch);

/* Before the files are read: forgets those noted so far, and notes all templates. */
void watch_begin(struct watch *watch);
/* A file is about to be read; it need not be there. */
void watch_note(struct watch *watch, const char *path);
/* All have been read: watches their folders from now on. */
void watch_end(struct watch *watch);

/* Becomes readable when something has happened; -1: there is no such descriptor. */
int watch_descriptor(const struct watch *watch);
/* How long to wait for that, for poll: -1, or some milliseconds if a look by the clock is due. */
int watch_wait_ms(const struct watch *watch);
/* Forgets what the descriptor has to say, and looks: whether a file, or which templates there are,
 * has changed since watch_begin. */
bool watch_changed(struct watch *watch);

#endif
