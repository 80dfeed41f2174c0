/* The media type of a file, by the extension of its name.
 *
 * Text has charset=utf-8 with it, but for XML and SVG, which say their encoding themselves. Types
 * as registered with IANA; JavaScript after RFC 9239. Threads: any; constant data. Errors: none. */
#ifndef CONCAVE_NET_MEDIA_TYPE_H
#define CONCAVE_NET_MEDIA_TYPE_H

#include "core/buf.h"

/* A constant; "application/octet-stream" for an extension that is not known, or none. The case of
 * the extension does not matter. */
const char *media_type_of(struct slice path);

#endif
