#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/log_model.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/restore.h"
#include "core/splitmix.h"
#include "tests/support/leaks.h"

#define OPS_MAX 3u

/* ---- the clock ---- */

static uint64_t now_ns = NS_PER_S;

uint64_t clock_monotonic_ns(void) {
    return now_ns;
}

uint64_t clock_wall_ns(void) {
    return now_ns;
}

void model_clock_set(uint64_t ns) {
    now_ns = ns;
}

uint64_t model_clock(void) {
    return now_ns;
}

/* ---- models ---- */

static char current_case[512];

void model_case(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(current_case, sizeof(current_case), format, args);
    va_end(args);
}

void model_holds(bool condition, const char *text, const char *file, int line) {
    if (condition)
        return;
    fprintf(stderr, "%s: does not hold: %s\n", current_case, text);
    _fail(file, line);
}

uint64_t model_draw(uint64_t *random, uint64_t bound) {
    return splitmix_next(random) % bound;
}

void model_copy(const struct log_model *from, struct log_model *to) {
    *to = *from;
    to->cap = from->count + 1;
    to->lsns = malloc(to->cap * sizeof(uint64_t));
    to->numbers = malloc(to->cap * sizeof(uint64_t));
    assert(to->lsns && to->numbers);
    if (from->count) {
        memcpy(to->lsns, from->lsns, from->count * sizeof(uint64_t));
        memcpy(to->numbers, from->numbers, from->count * sizeof(uint64_t));
    }
}

void model_free(struct log_model *model) {
    free(model->lsns);
    free(model->numbers);
    *model = (struct log_model){0};
}

static void append(struct log_model *model, uint64_t lsn, uint64_t number) {
    if (model->count == model->cap) {
        model->cap = model->cap ? 2 * model->cap : 64;
        model->lsns = realloc(model->lsns, model->cap * sizeof(uint64_t));
        model->numbers = realloc(model->numbers, model->cap * sizeof(uint64_t));
        assert(model->lsns && model->numbers);
    }
    model->lsns[model->count] = lsn;
    model->numbers[model->count++] = number;
}

/* ---- records ---- */

static unsigned ops_of(uint64_t number) {
    return 1 + (unsigned)(number % OPS_MAX);
}

static bool is_delete(uint64_t number, unsigned op) {
    return (number + op) % 7 == 0;
}

/* Ascending in the order of the numbers, as snapshots want them. */
static size_t make_key(uint64_t number, unsigned op, char *key, size_t size) {
    return (size_t)snprintf(key, size, "%010llu.%u", (unsigned long long)number, op);
}

/* What fills values: each record's bytes are a stretch of it that starts elsewhere. */
static unsigned char pattern_byte(uint64_t number, size_t at) {
    return (unsigned char)(number * 37 + at * 11 + (at >> 8) + 1);
}

struct replaying {
    struct log_model *model;
    size_t count; /* records begun */
    unsigned ops; /* seen of the newest, or passed over in a snapshot */
    bool log_begun;
    const struct restored *restored;
};

/* The next of the model's puts that a snapshot can hold; false if there are no more. */
static bool next_put(struct replaying *replaying) {
    const struct log_model *model = replaying->model;
    for (; replaying->count <= model->count; replaying->count++, replaying->ops = 0)
        for (;
             replaying->count > 0 && replaying->ops < ops_of(model->numbers[replaying->count - 1]);
             replaying->ops++)
            if (!is_delete(model->numbers[replaying->count - 1], replaying->ops))
                return true;
    return false;
}

static void check_bytes(uint64_t number, unsigned op, struct slice key, struct slice value) {
    char expected[48];
    size_t len = make_key(number, op, expected, sizeof(expected));
    HOLDS(key.len == len && memcmp(key.data, expected, len) == 0);
    bool same = true;
    for (size_t i = 0; i < value.len; i++)
        same = same && (unsigned char)value.data[i] == pattern_byte(number, i);
    HOLDS(same);
}

static enum status begin_again(void *ctx, uint64_t salt, uint64_t keys) {
    struct replaying *replaying = ctx;
    (void)salt;
    (void)keys;
    *replaying = (struct replaying){.model = replaying->model, .restored = replaying->restored};
    return ST_OK;
}

static enum status check_item(void *ctx, const struct snapshot_item *item) {
    struct replaying *replaying = ctx;
    HOLDS(next_put(replaying)); /* else it was never written */
    HOLDS(item->version == replaying->model->lsns[replaying->count - 1]);
    check_bytes(
        replaying->model->numbers[replaying->count - 1], replaying->ops++, item->key, item->value);
    return ST_OK;
}

static enum status all_loaded(void *ctx) {
    (void)ctx;
    return ST_OK;
}

/* Whatever of the newest records the snapshot could not show, being removals, it has. */
static void pass_removals(struct replaying *replaying, uint64_t before_lsn) {
    const struct log_model *model = replaying->model;
    if (replaying->log_begun)
        return;
    replaying->log_begun = true;
    if (!replaying->restored->has_snapshot)
        return;
    struct replaying ahead = *replaying;
    size_t next = next_put(&ahead) ? ahead.count : model->count + 1;
    HOLDS(next > replaying->count || replaying->count == 0); /* no half of a record */
    while (replaying->count + 1 < next && model->lsns[replaying->count] < before_lsn)
        replaying->count++;
    if (replaying->count > 0)
        replaying->ops = ops_of(model->numbers[replaying->count - 1]);
}

static enum status check_op(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    struct replaying *replaying = ctx;
    struct log_model *model = replaying->model;
    pass_removals(replaying, lsn);
    if (replaying->count == 0 || model->lsns[replaying->count - 1] != lsn) {
        HOLDS(replaying->count == 0 ||
              replaying->ops == ops_of(model->numbers[replaying->count - 1]));
        HOLDS(replaying->count < model->count); /* else it was never written */
        replaying->ops = 0;
        replaying->count++;
    }
    uint64_t number = model->numbers[replaying->count - 1];
    HOLDS(model->lsns[replaying->count - 1] == lsn);
    HOLDS(op == (is_delete(number, replaying->ops) ? WAL_DELETE : WAL_PUT));
    check_bytes(number, replaying->ops++, key, value);
    return ST_OK;
}

/* ---- lives ---- */

struct wal_options model_options(const char *dir, uint64_t *random) {
    static const enum wal_durability modes[] = {WAL_ALWAYS, WAL_ALWAYS, WAL_INTERVAL, WAL_MANUAL};
    return (struct wal_options){
        .dir = dir,
        .segment_bytes = WAL_SEGMENT_BYTES_MIN + 8192 * model_draw(random, 3),
        .durability = modes[model_draw(random, 4)],
        .interval_ms = 10,
        .batch_delay_us = model_draw(random, 4) == 0 ? 500 : 0,
        .producers = 1 + (unsigned)model_draw(random, 3),
        .ring_slots = 64,
        .salt = 42,
    };
}

enum status life_open(
    struct life *life, struct log_model *model, const struct wal_options *options) {
    *life = (struct life){.model = model,
        .relaxed = options->durability != WAL_ALWAYS,
        .producers = options->producers,
        .longest = options->segment_bytes / 3};
    struct restored restored;
    struct replaying replaying = {.model = model, .restored = &restored};
    struct restore restore = {.ctx = &replaying,
        .begin = begin_again,
        .load = check_item,
        .loaded = all_loaded,
        .apply = check_op};
    struct buf *error = &life->text; /* life_end frees it, also after a jump out of here */
    buf_init(error, sizeof(life->error));
    leaks_overlook(&life->opening, true);
    enum status status = restore_run(options, &restore, &life->wal, &restored, error);
    if (status == ST_OK) {
        pass_removals(&replaying, restored.snapshot.lsn + 1);
        HOLDS(replaying.count >= model->kept);
        model->count = model->kept = replaying.count;
        /* Told to whoever asks from now on. */
        if (model->count && model->lsns[model->count - 1] > model->shown_lsn)
            model->shown_lsn = model->lsns[model->count - 1];
        status = wal_begin(life->wal, error);
    }
    leaks_overlook(&life->opening, false);
    snprintf(
        life->error, sizeof(life->error), "%.*s", (int)error->len, error->len ? error->data : "");
    return status;
}

static void put_op(struct wal_record *record, uint64_t number, unsigned op, size_t len) {
    char key[48];
    struct slice name = slice_of(key, make_key(number, op, key, sizeof(key)));
    if (is_delete(number, op)) {
        wal_record_delete(record, name);
        return;
    }
    char *value = malloc(len + 1);
    assert(value);
    for (size_t i = 0; i < len; i++)
        value[i] = (char)pattern_byte(number, i);
    wal_record_put(record, name, slice_of(value, len));
    free(value);
}

/* The bytes of the values in the next record. Some records fill whole blocks, alone or in a batch:
 * then what is behind them stands where the log looks for the start of a batch. */
static void draw_lengths(struct life *life, uint64_t *random, size_t *lengths) {
    uint64_t number = life->model->next_number;
    size_t bounds[] = {40, 300, 300, 4096, life->longest};
    bool in_blocks = life->model->in_blocks;
    size_t len = model_draw(random, bounds[in_blocks ? 0 : model_draw(random, 5)] + 1) / OPS_MAX;
    for (unsigned op = 0; op < OPS_MAX; op++)
        lengths[op] = is_delete(number, op) ? 0 : len;
    if (model_draw(random, 2) || is_delete(number, 0))
        return;
    char key[48];
    size_t others = 0;
    for (unsigned op = 0; op < ops_of(number); op++)
        others += make_key(number, op, key, sizeof(key)) + (op > 0 ? lengths[op] : 0);
    size_t least = WAL_RECORD_HEADER_BYTES + ops_of(number) * WAL_OP_HEADER_BYTES + others;
    size_t bytes = (size_t)wal_align_up(least, WAL_BLOCK_BYTES);
    if (bytes < life->longest)
        lengths[0] = bytes - least;
}

enum status life_publish(struct life *life, uint64_t *random) {
    struct log_model *model = life->model;
    uint64_t number = model->next_number;
    size_t lengths[OPS_MAX], sum = 0;
    draw_lengths(life, random, lengths);
    for (unsigned op = 0; op < OPS_MAX; op++)
        sum += lengths[op] + 48;
    struct wal_record *record;
    enum status status = wal_reserve(life->wal, (unsigned)model_draw(random, life->producers),
        wal_record_bytes(OPS_MAX, sum), &record);
    if (status != ST_OK)
        return status;
    if (model_draw(random, 16) == 0) {
        wal_cancel(life->wal, record);
        return ST_OK;
    }
    for (unsigned op = 0; op < ops_of(number); op++)
        put_op(record, number, op, lengths[op]);
    uint64_t lsn = wal_publish(life->wal, record);
    HOLDS(lsn > model->shown_lsn);
    HOLDS(model->count == 0 || lsn > model->lsns[model->count - 1]);
    append(model, lsn, number);
    model->next_number++;
    if (life->relaxed)
        model->shown_lsn = lsn;
    return ST_OK;
}

void life_observe(struct life *life) {
    struct log_model *model = life->model;
    if (!life->wal)
        return;
    uint64_t durable = wal_durable_lsn(life->wal);
    while (model->kept < model->count && model->lsns[model->kept] <= durable)
        model->kept++;
    if (model->kept && model->lsns[model->kept - 1] > model->shown_lsn)
        model->shown_lsn = model->lsns[model->kept - 1];
}

void life_settle(struct life *life) {
    bool busy = true;
    while (busy) {
        busy = wal_step(life->wal, now_ns) <= now_ns;
        busy = wal_prepare_step(life->wal) || busy;
    }
}

static enum status write_items(struct snapshot_writer *writer, const struct log_model *model) {
    enum status status = ST_OK;
    char key[48], value[16];
    for (size_t i = 0; status == ST_OK && i < model->kept; i++) {
        uint64_t number = model->numbers[i];
        for (size_t at = 0; at < sizeof(value); at++)
            value[at] = (char)pattern_byte(number, at);
        for (unsigned op = 0; status == ST_OK && op < ops_of(number); op++)
            if (!is_delete(number, op))
                status = snapshot_writer_add(writer,
                    slice_of(key, make_key(number, op, key, sizeof(key))), model->lsns[i],
                    slice_of(value, sizeof(value)));
    }
    return status;
}

/* The snapshot of this LSN is published; the one before it stays. */
static enum status remove_older(struct life *life, uint64_t lsn, struct buf *error) {
    uint64_t *lsns;
    size_t count;
    enum status status = snapshot_list(life->wal->dir, &lsns, &count, error);
    if (status != ST_OK)
        return status;
    HOLDS(count > 0 && lsns[0] == lsn);
    if (count > 1) {
        status = snapshot_remove_older(life->wal->dir, lsns[1], error);
        if (status == ST_OK)
            status = wal_trim(life->wal, lsns[1], error);
    }
    free(lsns);
    return status;
}

enum status life_snapshot(struct life *life) {
    struct log_model *model = life->model;
    if (model->kept == 0)
        return ST_OK;
    uint64_t lsn = model->lsns[model->kept - 1];
    struct snapshot_writer *writer;
    struct buf error;
    buf_init(&error, sizeof(life->error));
    enum status status =
        snapshot_writer_open(life->wal->dir, wal_salt(life->wal), lsn, false, &writer, &error);
    if (status == ST_OK) {
        status = write_items(writer, model);
        if (status == ST_OK)
            status = snapshot_writer_finish(writer, lsn);
        if (status == ST_OK)
            status = snapshot_writer_publish(writer);
        else
            snapshot_writer_abort(writer);
    }
    if (status == ST_OK)
        status = remove_older(life, lsn, &error);
    snprintf(life->error, sizeof(life->error), "%.*s", (int)error.len, error.len ? error.data : "");
    buf_free(&error);
    return status;
}

void life_end(struct life *life) {
    leaks_overlook(&life->opening, false);
    wal_close(life->wal);
    life->wal = NULL;
    buf_free(&life->text);
}
