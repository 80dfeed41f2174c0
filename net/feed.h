/* A feed: spreads what recovery reads over threads, each of which fills some of the shards.
 *
 * The reader copies items into chunks; every loader thread goes through every chunk, in order, and
 * takes the items of its shards. So the items of one shard are taken in the order in which they
 * were added, and reading, checking and hashing go on while the shards are filled.
 *
 * Ownership: the feed copies keys and values.
 * Threads: feed_* is for one thread; feed_take runs on the loaders, always on the same one for a
 * shard. What they did is visible to the caller after feed_flush.
 * Bounds: FEED_CHUNKS chunks of FEED_CHUNK_BYTES or, if that is more, one item.
 * Errors: the first status of a feed_take that failed comes back from a later call. */
#ifndef CONCAVE_NET_FEED_H
#define CONCAVE_NET_FEED_H

#include "core/buf.h"

struct feed;

struct feed_item {
    unsigned shard;
    unsigned op; /* the caller's */
    uint64_t lsn;
    uint64_t hash;
    struct slice key, value;
};

typedef enum status feed_take(void *ctx, const struct feed_item *item);

/* ST_OK; ST_NOMEM (no memory, or no threads). */
MUST_USE enum status feed_create(unsigned threads, feed_take *take, void *ctx, struct feed **out);
/* Ends the threads; what was not flushed may or may not have been taken. NULL is fine. */
void feed_destroy(struct feed *feed);
/* ST_OK; ST_NOMEM; a status of feed_take. */
MUST_USE enum status feed_add(struct feed *feed, const struct feed_item *item);
/* Returns when all that was added has been taken. ST_OK; a status of feed_take. */
MUST_USE enum status feed_flush(struct feed *feed);

#endif
