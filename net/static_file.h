/* Answers GET and HEAD of /static/PATH from a file, piece by piece: what the file thread does
 * (net/files.h) with the exchange that it has been given.
 *
 * The first step opens the file, looks at conditions and ranges, writes status and fields, and
 * reads the first piece of the body. If that is all of it, the descriptor is closed again at once,
 * and the reply is like any other. Otherwise exchange->file holds what is still to be read.
 *
 * Entity tags are made of the time of the last change, size and inode. They are weak while the file
 * is so young that it may change again without another time (as Apache does it), strong from then
 * on. Ownership: the descriptor is exchange->file's. Threads: the file thread, which has the
 * exchange to itself but for its place on the connection. Errors: become replies; later,
 * file.failed. */
#ifndef CONCAVE_NET_STATIC_FILE_H
#define CONCAVE_NET_STATIC_FILE_H

#include "net/exchange.h"

#define STATIC_PREFIX SLICE("/static/")
#define STATIC_PIECE_BYTES (128u << 10)

/* folder: RESOURCES/static. stay_open: a file longer than a piece may keep its descriptor; else it
 * is answered 503. */
void static_file_open(struct exchange *exchange, const char *folder, bool stay_open);
/* Replaces reply.body by the next piece; closes the file behind the last one. file.failed: the file
 * is shorter than it was, or cannot be read; it is closed. */
void static_file_read(struct exchange *exchange);
/* Closes the file. */
void static_file_close(struct exchange *exchange);

#endif
