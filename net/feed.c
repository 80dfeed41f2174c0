#include "net/feed.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define FEED_CHUNKS 8u
#define FEED_CHUNK_BYTES ((size_t)256 << 10)
#define FEED_CHUNK_ITEMS 4096u
#define NONE UINT32_MAX

struct item {
    uint64_t lsn, hash;
    size_t offset; /* of key and value in the chunk's bytes */
    size_t key_len, value_len;
    unsigned shard, op;
    uint32_t next; /* of the same thread */
};

struct list {
    uint32_t first, last;
};

struct chunk {
    unsigned char *bytes;
    size_t len, cap;
    struct item *items; /* FEED_CHUNK_ITEMS */
    uint32_t count;
    struct list *of_thread;
};

struct loader {
    struct feed *feed;
    pthread_t thread;
    unsigned index;
    uint64_t done; /* chunks; under the lock */
};

struct feed {
    feed_take *take;
    void *ctx;
    unsigned threads;
    unsigned started;
    struct chunk chunks[FEED_CHUNKS]; /* chunk n is at n % FEED_CHUNKS */
    struct loader *loaders;
    _Atomic enum status status; /* the first failure */

    pthread_mutex_t lock;
    pthread_cond_t filled_more; /* loaders wait for it */
    pthread_cond_t done_more;   /* the feeder waits for it */
    uint64_t filled;            /* chunks handed over; under the lock, read by the feeder without */
    bool stop;
};

/* ---- loaders ---- */

static enum status take_chunk(struct feed *feed, const struct chunk *chunk, unsigned thread) {
    enum status status = ST_OK;
    for (uint32_t i = chunk->of_thread[thread].first; i != NONE && status == ST_OK;
         i = chunk->items[i].next) {
        const struct item *item = &chunk->items[i];
        const char *bytes = (const char *)chunk->bytes + item->offset;
        struct feed_item given = {
            .shard = item->shard,
            .op = item->op,
            .lsn = item->lsn,
            .hash = item->hash,
            .key = slice_of(bytes, item->key_len),
            .value = slice_of(bytes + item->key_len, item->value_len),
        };
        status = feed->take(feed->ctx, &given);
    }
    return status;
}

static void *run_loader(void *ctx) {
    struct loader *loader = ctx;
    struct feed *feed = loader->feed;
    pthread_mutex_lock(&feed->lock);
    for (;;) {
        while (loader->done == feed->filled && !feed->stop)
            pthread_cond_wait(&feed->filled_more, &feed->lock);
        if (feed->stop)
            break;
        const struct chunk *chunk = &feed->chunks[loader->done % FEED_CHUNKS];
        pthread_mutex_unlock(&feed->lock);
        /* After a failure of anybody the rest is let go. */
        if (atomic_load(&feed->status) == ST_OK) {
            enum status expected = ST_OK, status = take_chunk(feed, chunk, loader->index);
            if (status != ST_OK)
                atomic_compare_exchange_strong(&feed->status, &expected, status);
        }
        pthread_mutex_lock(&feed->lock);
        loader->done++;
        pthread_cond_signal(&feed->done_more);
    }
    pthread_mutex_unlock(&feed->lock);
    return NULL;
}

/* ---- the feeder ---- */

/* Under the lock: the chunks that all loaders are done with. */
static uint64_t done_by_all(const struct feed *feed) {
    uint64_t done = feed->filled;
    for (unsigned i = 0; i < feed->threads; i++)
        if (feed->loaders[i].done < done)
            done = feed->loaders[i].done;
    return done;
}

static struct chunk *open_chunk(struct feed *feed) {
    return &feed->chunks[feed->filled % FEED_CHUNKS];
}

static void reset_chunk(struct feed *feed, struct chunk *chunk) {
    chunk->len = 0;
    chunk->count = 0;
    for (unsigned i = 0; i < feed->threads; i++)
        chunk->of_thread[i] = (struct list){.first = NONE, .last = NONE};
}

/* Hands the open chunk over and waits until `behind` chunks at most are not done. */
static enum status hand_over(struct feed *feed, uint64_t behind) {
    pthread_mutex_lock(&feed->lock);
    if (open_chunk(feed)->count > 0) {
        feed->filled++;
        pthread_cond_broadcast(&feed->filled_more);
    }
    while (feed->filled - done_by_all(feed) > behind)
        pthread_cond_wait(&feed->done_more, &feed->lock);
    pthread_mutex_unlock(&feed->lock);
    reset_chunk(feed, open_chunk(feed));
    return atomic_load(&feed->status);
}

static enum status make_room(struct chunk *chunk, size_t bytes) {
    if (bytes <= chunk->cap - chunk->len)
        return ST_OK;
    unsigned char *grown = realloc(chunk->bytes, chunk->len + bytes);
    if (!grown)
        return ST_NOMEM;
    chunk->bytes = grown;
    chunk->cap = chunk->len + bytes;
    return ST_OK;
}

static void append(struct feed *feed, struct chunk *chunk, const struct feed_item *given) {
    uint32_t at = chunk->count++;
    struct list *list = &chunk->of_thread[given->shard % feed->threads];
    chunk->items[at] = (struct item){
        .lsn = given->lsn,
        .hash = given->hash,
        .offset = chunk->len,
        .key_len = given->key.len,
        .value_len = given->value.len,
        .shard = given->shard,
        .op = given->op,
        .next = NONE,
    };
    if (list->first == NONE)
        list->first = at;
    else
        chunk->items[list->last].next = at;
    list->last = at;
    if (given->key.len)
        memcpy(chunk->bytes + chunk->len, given->key.data, given->key.len);
    chunk->len += given->key.len;
    if (given->value.len)
        memcpy(chunk->bytes + chunk->len, given->value.data, given->value.len);
    chunk->len += given->value.len;
}

enum status feed_add(struct feed *feed, const struct feed_item *item) {
    size_t bytes = item->key.len + item->value.len;
    struct chunk *chunk = open_chunk(feed);
    enum status status = ST_OK;
    if (chunk->count == FEED_CHUNK_ITEMS ||
        (chunk->count > 0 && chunk->len + bytes > FEED_CHUNK_BYTES)) {
        status = hand_over(feed, FEED_CHUNKS - 1);
        chunk = open_chunk(feed);
    }
    if (status == ST_OK)
        status = make_room(chunk, bytes);
    if (status == ST_OK)
        append(feed, chunk, item);
    return status;
}

enum status feed_flush(struct feed *feed) {
    return hand_over(feed, 0);
}

/* ---- beginning and end ---- */

static bool allocate_chunks(struct feed *feed) {
    for (unsigned i = 0; i < FEED_CHUNKS; i++) {
        struct chunk *chunk = &feed->chunks[i];
        chunk->bytes = malloc(FEED_CHUNK_BYTES);
        chunk->cap = FEED_CHUNK_BYTES;
        chunk->items = malloc(FEED_CHUNK_ITEMS * sizeof(*chunk->items));
        chunk->of_thread = malloc(feed->threads * sizeof(*chunk->of_thread));
        if (!chunk->bytes || !chunk->items || !chunk->of_thread)
            return false;
        reset_chunk(feed, chunk);
    }
    return true;
}

static bool start_loaders(struct feed *feed) {
    for (; feed->started < feed->threads; feed->started++) {
        struct loader *loader = &feed->loaders[feed->started];
        loader->feed = feed;
        loader->index = feed->started;
        if (pthread_create(&loader->thread, NULL, run_loader, loader) != 0)
            return false;
    }
    return true;
}

enum status feed_create(unsigned threads, feed_take *take, void *ctx, struct feed **out) {
    assert(threads > 0);
    struct feed *feed = calloc(1, sizeof(*feed));
    if (!feed)
        return ST_NOMEM;
    feed->take = take;
    feed->ctx = ctx;
    feed->threads = threads;
    pthread_mutex_init(&feed->lock, NULL);
    pthread_cond_init(&feed->filled_more, NULL);
    pthread_cond_init(&feed->done_more, NULL);
    feed->loaders = calloc(threads, sizeof(*feed->loaders));
    if (!feed->loaders || !allocate_chunks(feed) || !start_loaders(feed)) {
        feed_destroy(feed);
        return ST_NOMEM;
    }
    *out = feed;
    return ST_OK;
}

void feed_destroy(struct feed *feed) {
    if (!feed)
        return;
    pthread_mutex_lock(&feed->lock);
    feed->stop = true;
    pthread_cond_broadcast(&feed->filled_more);
    pthread_mutex_unlock(&feed->lock);
    for (unsigned i = 0; i < feed->started; i++)
        pthread_join(feed->loaders[i].thread, NULL);
    for (unsigned i = 0; i < FEED_CHUNKS; i++) {
        free(feed->chunks[i].bytes);
        free(feed->chunks[i].items);
        free(feed->chunks[i].of_thread);
    }
    free(feed->loaders);
    pthread_cond_destroy(&feed->done_more);
    pthread_cond_destroy(&feed->filled_more);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}
