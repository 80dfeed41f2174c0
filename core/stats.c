/* Cells come in blocks that hold a stretch for each thread. A block never moves or goes, so a
 * thread finds its cell by two array reads while others register series.
 *
 *   blocks[id / BLOCK_CELLS] -> | thread 0: BLOCK_CELLS cells | thread 1: BLOCK_CELLS cells | ...
 *
 * A counter or gauge is one cell. A histogram is a row in one block: a cell for each bucket, one
 * for what is above the last bound, one for the sum. Cells are atomic for the reader's sake only:
 * relaxed, since each is written by one thread and a reader needs no order between two of them. */
#include "core/stats.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/diag.h"

/* As at every start that fails. */
#define EXIT_OUT_OF_MEMORY 1

#define BLOCK_CELLS 512u
#define BLOCKS_MAX (STATS_CELLS_MAX / BLOCK_CELLS)
#define CACHE_LINE_BYTES 64u
#define WHOLE_MAX 9007199254740992.0 /* 2^53: below it a double holds every whole number */
#define NOWHERE 0u /* the series without room: cells that are written but not read */

_Static_assert(STATS_BUCKETS_MAX + 2 <= BLOCK_CELLS, "a histogram's row fits a block");
_Static_assert(BLOCK_CELLS * sizeof(uint64_t) % CACHE_LINE_BYTES == 0,
    "the stretches of two threads share no cache line");

struct series {
    struct series *next;
    char *labels; /* "" for none */
    stats_id id;
    double (*value)(void *ctx); /* NULL: the cells are the value */
    void *ctx;
};

struct family {
    struct family *next;
    char *name; /* as printed */
    char *help;
    enum stats_kind kind;
    double scale;
    unsigned bucket_count;
    uint64_t buckets[STATS_BUCKETS_MAX];
    struct series *first, *last;
};

struct block {
    const struct family *family[BLOCK_CELLS]; /* of the series that begins here */
    atomic_uint_least64_t *cells;
};

struct stats {
    unsigned threads;
    pthread_mutex_t
        lock; /* of all below; blocks are read without it by those who know an id in them */
    struct family *first, *last;
    unsigned next_cell;
    struct block *blocks[BLOCKS_MAX];
};

static void *must(void *memory) {
    if (!memory)
        diag_fatal(EXIT_OUT_OF_MEMORY, "out of memory while registering metrics");
    return memory;
}

/* ---- cells ---- */

static atomic_uint_least64_t *cell_of(const struct stats *stats, unsigned thread, stats_id id) {
    assert(thread < stats->threads);
    return &stats->blocks[id / BLOCK_CELLS]->cells[thread * BLOCK_CELLS + id % BLOCK_CELLS];
}

static uint64_t cell_read(const struct stats *stats, unsigned thread, stats_id id) {
    return atomic_load_explicit(cell_of(stats, thread, id), memory_order_relaxed);
}

/* No fetch_add: the cell has one writer, and a plain store costs a tenth. */
static void cell_add(struct stats *stats, unsigned thread, stats_id id, uint64_t amount) {
    atomic_uint_least64_t *cell = cell_of(stats, thread, id);
    uint64_t value = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, value + amount, memory_order_relaxed);
}

static uint64_t cell_sum(const struct stats *stats, stats_id id) {
    uint64_t sum = 0;
    for (unsigned thread = 0; thread < stats->threads; thread++)
        sum += cell_read(stats, thread, id);
    return sum;
}

static bool add_block(struct stats *stats, unsigned index) {
    struct block *block = calloc(1, sizeof(*block));
    if (!block)
        return false;
    size_t bytes = (size_t)stats->threads * BLOCK_CELLS * sizeof(*block->cells);
    block->cells = aligned_alloc(CACHE_LINE_BYTES, bytes);
    if (!block->cells) {
        free(block);
        return false;
    }
    for (size_t i = 0; i < (size_t)stats->threads * BLOCK_CELLS; i++)
        atomic_init(&block->cells[i], 0);
    stats->blocks[index] = block;
    return true;
}

/* A row of cells in one block; NOWHERE if there is no room. Under the lock. */
static stats_id take_cells(struct stats *stats, unsigned count) {
    unsigned id = stats->next_cell;
    if (id % BLOCK_CELLS + count > BLOCK_CELLS)
        id = (id / BLOCK_CELLS + 1) * BLOCK_CELLS;
    if (id / BLOCK_CELLS >= BLOCKS_MAX)
        return NOWHERE;
    if (!stats->blocks[id / BLOCK_CELLS] && !add_block(stats, id / BLOCK_CELLS))
        return NOWHERE;
    stats->next_cell = id + count;
    return id;
}

/* ---- the registry ---- */

struct stats *stats_create(unsigned threads) {
    assert(threads > 0);
    struct stats *stats = must(calloc(1, sizeof(*stats)));
    stats->threads = threads;
    pthread_mutex_init(&stats->lock, NULL);
    must(add_block(stats, 0) ? stats : NULL);
    stats->next_cell = NOWHERE + STATS_BUCKETS_MAX + 2;
    return stats;
}

static void free_family(struct family *family) {
    while (family->first) {
        struct series *next = family->first->next;
        free(family->first->labels);
        free(family->first);
        family->first = next;
    }
    free(family->name);
    free(family->help);
    free(family);
}

void stats_destroy(struct stats *stats) {
    if (!stats)
        return;
    while (stats->first) {
        struct family *next = stats->first->next;
        free_family(stats->first);
        stats->first = next;
    }
    for (unsigned i = 0; i < BLOCKS_MAX && stats->blocks[i]; i++) {
        free(stats->blocks[i]->cells);
        free(stats->blocks[i]);
    }
    pthread_mutex_destroy(&stats->lock);
    free(stats);
}

static const char *prefix_of(const char *name) {
    return strncmp(name, "process_", 8) == 0 ? "" : "concave_";
}

static struct family *find_family(const struct stats *stats, const char *name) {
    const char *prefix = prefix_of(name);
    size_t prefix_len = strlen(prefix);
    for (struct family *family = stats->first; family; family = family->next)
        if (strncmp(family->name, prefix, prefix_len) == 0 &&
            strcmp(family->name + prefix_len, name) == 0)
            return family;
    return NULL;
}

/* Under the lock. */
static struct family *need_family(struct stats *stats, const char *name, enum stats_kind kind,
    const char *help, const uint64_t *buckets, unsigned bucket_count, double scale) {
    struct family *family = find_family(stats, name);
    assert(bucket_count <= STATS_BUCKETS_MAX && (kind == STATS_HISTOGRAM) == (bucket_count > 0));
    if (family) {
        assert(family->kind == kind && family->bucket_count == bucket_count);
        return family;
    }
    assert(!strpbrk(help, "\\\n"));
    family = must(calloc(1, sizeof(*family)));
    size_t size = strlen(prefix_of(name)) + strlen(name) + 1;
    family->name = must(malloc(size));
    snprintf(family->name, size, "%s%s", prefix_of(name), name);
    family->help = must(strdup(help));
    family->kind = kind;
    family->scale = scale > 0 ? scale : 1;
    family->bucket_count = bucket_count;
    for (unsigned i = 0; i < bucket_count; i++) {
        assert(i == 0 || buckets[i] > buckets[i - 1]);
        family->buckets[i] = buckets[i];
    }
    *(stats->last ? &stats->last->next : &stats->first) = family;
    stats->last = family;
    return family;
}

void stats_family(struct stats *stats, const char *name, enum stats_kind kind, const char *help,
    const uint64_t *buckets, unsigned bucket_count, double scale) {
    pthread_mutex_lock(&stats->lock);
    need_family(stats, name, kind, help, buckets, bucket_count, scale);
    pthread_mutex_unlock(&stats->lock);
}

/* Under the lock; NULL if memory runs out. */
static struct series *add_series(struct family *family, const char *labels) {
    struct series *series = calloc(1, sizeof(*series));
    if (!series)
        return NULL;
    series->labels = strdup(labels);
    if (!series->labels) {
        free(series);
        return NULL;
    }
    *(family->last ? &family->last->next : &family->first) = series;
    family->last = series;
    return series;
}

static struct series *find_series(const struct family *family, const char *labels) {
    struct series *series = family->first;
    while (series && (series->value || strcmp(series->labels, labels) != 0))
        series = series->next;
    return series;
}

static stats_id make_series(struct stats *stats, struct family *family, const char *labels) {
    unsigned count = family->kind == STATS_HISTOGRAM ? family->bucket_count + 2 : 1;
    stats_id id = take_cells(stats, count);
    if (id == NOWHERE)
        return NOWHERE;
    struct series *series = add_series(family, labels);
    if (!series)
        return NOWHERE; /* its cells stay unused */
    series->id = id;
    stats->blocks[id / BLOCK_CELLS]->family[id % BLOCK_CELLS] = family;
    return id;
}

stats_id stats_series(struct stats *stats, const char *name, const char *labels) {
    pthread_mutex_lock(&stats->lock);
    struct family *family = find_family(stats, name);
    assert(family);
    const struct series *there = find_series(family, labels ? labels : "");
    stats_id id = there ? there->id : make_series(stats, family, labels ? labels : "");
    pthread_mutex_unlock(&stats->lock);
    return id;
}

stats_id stats_new_series(struct stats *stats, const char *name, const char *labels) {
    pthread_mutex_lock(&stats->lock);
    struct family *family = find_family(stats, name);
    assert(family);
    stats_id id = make_series(stats, family, labels);
    pthread_mutex_unlock(&stats->lock);
    return id;
}

void stats_callback(struct stats *stats, const char *name, enum stats_kind kind, const char *help,
    const char *labels, double (*value)(void *ctx), void *ctx) {
    assert(kind != STATS_HISTOGRAM && value);
    pthread_mutex_lock(&stats->lock);
    struct family *family = need_family(stats, name, kind, help, NULL, 0, 1);
    struct series *series = must(add_series(family, labels ? labels : ""));
    series->value = value;
    series->ctx = ctx;
    pthread_mutex_unlock(&stats->lock);
}

/* ---- counting ---- */

static const struct family *family_of(const struct stats *stats, stats_id id) {
    return stats->blocks[id / BLOCK_CELLS]->family[id % BLOCK_CELLS];
}

void stats_add(struct stats *stats, unsigned thread, stats_id id, uint64_t amount) {
    cell_add(stats, thread, id, amount);
}

void stats_set(struct stats *stats, unsigned thread, stats_id id, uint64_t value) {
    atomic_store_explicit(cell_of(stats, thread, id), value, memory_order_relaxed);
}

void stats_observe(struct stats *stats, unsigned thread, stats_id id, uint64_t value) {
    const struct family *family = family_of(stats, id);
    if (!family)
        return; /* NOWHERE */
    assert(family->kind == STATS_HISTOGRAM);
    unsigned bucket = 0;
    while (bucket < family->bucket_count && value > family->buckets[bucket])
        bucket++;
    cell_add(stats, thread, id + bucket, 1);
    cell_add(stats, thread, id + family->bucket_count + 1, value);
}

uint64_t stats_read(const struct stats *stats, stats_id id) {
    const struct family *family = family_of(stats, id);
    if (!family)
        return 0;
    if (family->kind != STATS_HISTOGRAM)
        return cell_sum(stats, id);
    uint64_t count = 0;
    for (unsigned bucket = 0; bucket <= family->bucket_count; bucket++)
        count += cell_sum(stats, id + bucket);
    return count;
}

/* ---- rendering: Prometheus text format 0.0.4 ---- */

void stats_escape(struct buf *out, struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\n') {
            buf_append_text(out, "\\n");
            continue;
        }
        if (text.data[i] == '\\' || text.data[i] == '"')
            buf_append_byte(out, '\\');
        buf_append_byte(out, text.data[i]);
    }
}

static void print_real(struct buf *out, double value) {
    if (isnan(value))
        buf_append_text(out, "NaN");
    else if (isinf(value))
        buf_append_text(out, value > 0 ? "+Inf" : "-Inf");
    else if (value > -WHOLE_MAX && value < WHOLE_MAX && value == (double)(int64_t)value)
        buf_printf(out, "%.0f", value); /* whole numbers to the last digit */
    else
        buf_printf(out, "%.15g", value);
}

static void print_scaled(struct buf *out, const struct family *family, uint64_t value) {
    if (family->scale == 1)
        buf_append_u64(out, value);
    else
        print_real(out, (double)value / family->scale);
}

/* name_suffix{labels,le="bound"} and the space behind; bound NULL for none. */
static void print_name(struct buf *out, const struct family *family, const char *suffix,
    const char *labels, const struct buf *bound) {
    buf_append_text(out, family->name);
    buf_append_text(out, suffix);
    if (*labels || bound) {
        buf_append_byte(out, '{');
        buf_append_text(out, labels);
        if (bound) {
            buf_append_text(out, *labels ? ",le=\"" : "le=\"");
            buf_append_slice(out, buf_slice(bound));
            buf_append_byte(out, '"');
        }
        buf_append_byte(out, '}');
    }
    buf_append_byte(out, ' ');
}

/* _count is what +Inf says, not a cell of its own: so the two agree while others go on counting. */
static void render_histogram(const struct stats *stats, const struct family *family,
    const struct series *series, struct buf *out) {
    uint64_t count = 0;
    struct buf bound;
    buf_init(&bound, 64);
    for (unsigned bucket = 0; bucket <= family->bucket_count; bucket++) {
        buf_reset(&bound, SIZE_MAX);
        if (bucket < family->bucket_count)
            print_scaled(&bound, family, family->buckets[bucket]);
        else
            buf_append_text(&bound, "+Inf");
        count += cell_sum(stats, series->id + bucket);
        print_name(out, family, "_bucket", series->labels, &bound);
        buf_append_u64(out, count);
        buf_append_byte(out, '\n');
    }
    if (!buf_ok(&bound))
        out->failed = true;
    buf_free(&bound);
    print_name(out, family, "_sum", series->labels, NULL);
    print_scaled(out, family, cell_sum(stats, series->id + family->bucket_count + 1));
    buf_append_byte(out, '\n');
    print_name(out, family, "_count", series->labels, NULL);
    buf_append_u64(out, count);
    buf_append_byte(out, '\n');
}

static void render_series(const struct stats *stats, const struct family *family,
    const struct series *series, struct buf *out) {
    if (family->kind == STATS_HISTOGRAM) {
        render_histogram(stats, family, series, out);
        return;
    }
    print_name(out, family, "", series->labels, NULL);
    if (series->value)
        print_real(out, series->value(series->ctx));
    else
        print_scaled(out, family, cell_sum(stats, series->id));
    buf_append_byte(out, '\n');
}

void stats_render(struct stats *stats, struct buf *out) {
    static const char *const kinds[] = {
        [STATS_COUNTER] = "counter", [STATS_GAUGE] = "gauge", [STATS_HISTOGRAM] = "histogram"};
    pthread_mutex_lock(&stats->lock);
    for (struct family *family = stats->first; family; family = family->next) {
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
            kinds[family->kind]);
        for (struct series *series = family->first; series; series = series->next)
            render_series(stats, family, series, out);
    }
    pthread_mutex_unlock(&stats->lock);
}
