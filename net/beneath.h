/* Opens files for strangers: by a path from a URL, and never outside one folder.
 *
 * Two walls. The path is refused by its text if it is anything but plain names between single
 * slashes. And the kernel resolves what is left with RESOLVE_BENEATH, so that no symbolic link and
 * no rename at the wrong moment leads out; where it has no openat2, names are opened one by one and
 * no link is followed at all.
 *
 * Ownership: descriptors are the caller's. Threads: any; both may block on the disk.
 * Errors: as said. */
#ifndef CONCAVE_NET_BENEATH_H
#define CONCAVE_NET_BENEATH_H

#include "core/buf.h"

#define BENEATH_PATH_BYTES_MAX 4096u

/* Decodes, once, the path behind "/static/" into path (zero-terminated). ST_OK; ST_NOT_FOUND for a
 * path that cannot name a file there: an empty name ("", "a//b", "a/"), one that begins with a dot
 * (".", "..", ".git"), an encoded slash, a backslash, a zero byte, a bad escape, too long. */
MUST_USE enum status beneath_path(struct slice encoded, char path[BENEATH_PATH_BYTES_MAX]);

/* Opens, for reading, the regular file at path (of beneath_path) beneath the folder. ST_OK;
 * ST_NOT_FOUND: there is none, it is no regular file, may not be read, or lies outside; ST_BUSY:
 * out of descriptors or memory for now; ST_IO. */
MUST_USE enum status beneath_open(const char *folder, const char *path, int *fd);
/* The same without openat2. */
MUST_USE enum status beneath_open_by_names(const char *folder, const char *path, int *fd);

#endif
