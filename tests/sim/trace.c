#include "tests/sim/trace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/story.h"

#define FILLED_MAX 256u /* writes of one record */

struct trace_sink trace_sink;

/* ---- noting ---- */

static void *grow(void *array, size_t count, size_t *cap, size_t element) {
    if (count <= *cap)
        return array;
    while (*cap < count)
        *cap = *cap ? 2 * *cap : 16;
    array = realloc(array, *cap * element);
    assert(array);
    return array;
}

void trace_reset(struct trace *trace) {
    trace->op_count = trace->item_count = trace->name_bytes = 0;
    trace->writes = false;
}

void trace_free(struct trace *trace) {
    free(trace->ops);
    free(trace->items);
    free(trace->names);
    *trace = (struct trace){0};
}

static struct trace_item name_of(struct trace *trace, struct slice key) {
    trace->names = grow(trace->names, trace->name_bytes + key.len, &trace->name_cap, 1);
    struct trace_item item = {.name = (uint32_t)trace->name_bytes, .len = (uint32_t)key.len};
    if (key.len)
        memcpy(trace->names + item.name, key.data, key.len);
    trace->name_bytes += key.len;
    return item;
}

static struct slice slice_of_item(const struct trace *trace, const struct trace_item *item) {
    return slice_of(trace->names + item->name, item->len);
}

static struct trace_op *note(struct trace *trace, enum trace_kind kind, struct slice key) {
    trace->ops = grow(trace->ops, trace->op_count + 1, &trace->op_cap, sizeof *trace->ops);
    struct trace_op *op = &trace->ops[trace->op_count++];
    *op = (struct trace_op){.kind = kind, .item = name_of(trace, key)};
    return op;
}

static struct trace *of(const struct txn *txn) {
    return txn->call ? trace_sink.trace_of(txn->call) : NULL;
}

/* ---- shard/txn.h, as procedures see it ---- */

#define WRAPS(type, name, ...)                                                                     \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAPS(enum status, txn_get, struct txn *txn, struct slice key, struct slice *value,
    uint64_t *version);
WRAPS(enum status, txn_version, struct txn *txn, struct slice key, uint64_t *version);
WRAPS(enum status, txn_set, struct txn *txn, struct slice key, struct slice value);
WRAPS(enum status, txn_delete, struct txn *txn, struct slice key);
WRAPS(enum status, txn_range_open, struct txn *txn, const struct range_spec *spec,
    struct txn_range **range);
WRAPS(enum status, txn_range_next, struct txn_range *range, struct range_item *item);
WRAPS(void, wal_record_put, struct wal_record *record, struct slice key, struct slice value);
WRAPS(void, wal_record_delete, struct wal_record *record, struct slice key);
WRAPS(uint64_t, wal_publish, struct wal *wal, struct wal_record *record);
WRAPS(void, wal_cancel, struct wal *wal, struct wal_record *record);

enum status __wrap_txn_get(
    struct txn *txn, struct slice key, struct slice *value, uint64_t *version) {
    enum status status = __real_txn_get(txn, key, value, version);
    struct trace *trace = of(txn);
    if (trace && (status == ST_OK || status == ST_NOT_FOUND)) {
        struct trace_op *op = note(trace, TRACE_GET, key);
        op->there = status == ST_OK;
        op->item.version = op->there ? *version : 0;
        op->item.value = op->there ? past_value(*value) : 0;
    }
    return status;
}

enum status __wrap_txn_version(struct txn *txn, struct slice key, uint64_t *version) {
    enum status status = __real_txn_version(txn, key, version);
    struct trace *trace = of(txn);
    if (trace && (status == ST_OK || status == ST_NOT_FOUND)) {
        struct trace_op *op = note(trace, TRACE_VERSION, key);
        op->there = status == ST_OK;
        op->item.version = op->there ? *version : 0;
    }
    return status;
}

enum status __wrap_txn_set(struct txn *txn, struct slice key, struct slice value) {
    enum status status = __real_txn_set(txn, key, value);
    struct trace *trace = of(txn);
    if (trace && status == ST_OK) {
        note(trace, TRACE_SET, key)->item.value = past_value(value);
        trace->writes = true;
    }
    return status;
}

enum status __wrap_txn_delete(struct txn *txn, struct slice key) {
    enum status status = __real_txn_delete(txn, key);
    struct trace *trace = of(txn);
    if (trace && status == ST_OK) {
        (void)note(trace, TRACE_DELETE, key);
        trace->writes = true;
    }
    return status;
}

enum status __wrap_txn_range_open(
    struct txn *txn, const struct range_spec *spec, struct txn_range **range) {
    enum status status = __real_txn_range_open(txn, spec, range);
    struct trace *trace = of(txn);
    if (trace && status == ST_OK) {
        struct trace_op *op = note(trace, TRACE_RANGE, spec->from);
        op->bounded = spec->bounded;
        if (spec->bounded)
            op->to = name_of(trace, spec->to);
        op->reverse = spec->reverse;
        op->walk = *range;
    }
    return status;
}

/* Items of one walk lie together: if others have come between, they move to the end. */
static void add_item(struct trace *trace, struct trace_op *op, const struct range_item *item) {
    size_t wanted = trace->item_count + op->count + 1;
    trace->items = grow(trace->items, wanted, &trace->item_cap, sizeof *trace->items);
    if (op->first + op->count != trace->item_count) {
        memcpy(trace->items + trace->item_count, trace->items + op->first,
            op->count * sizeof *trace->items);
        op->first = (unsigned)trace->item_count;
        trace->item_count += op->count;
    }
    struct trace_item noted = name_of(trace, item->key);
    noted.version = item->version;
    noted.value = past_value(item->value);
    trace->items[trace->item_count++] = noted;
    op->count++;
}

enum status __wrap_txn_range_next(struct txn_range *range, struct range_item *item) {
    struct txn *txn = range->txn;
    enum status status = __real_txn_range_next(range, item);
    struct trace *trace = of(txn);
    if (!trace || (status != ST_OK && status != ST_END))
        return status;
    size_t at = trace->op_count;
    while (at > 0 && !(trace->ops[at - 1].kind == TRACE_RANGE && trace->ops[at - 1].walk == range))
        at--;
    assert(at > 0);
    struct trace_op *op = &trace->ops[at - 1];
    if (status == ST_END)
        op->ran_out = true;
    else
        add_item(trace, op, item);
    return status;
}

/* ---- core/wal.h, as shards see it ---- */

/* What a record holds that is being filled: a transaction fills its own before it prepares. */
struct filling {
    struct filling *next;
    const struct wal_record *record;
    unsigned count;
    struct {
        char key[PAST_KEY_BYTES];
        uint8_t len;
        uint64_t value;
    } writes[FILLED_MAX];
};

static struct filling *fillings, *spare;

static struct filling **filling_of(const struct wal_record *record) {
    struct filling **filling = &fillings;
    while (*filling && (*filling)->record != record)
        filling = &(*filling)->next;
    return filling;
}

static void forget(struct filling **at) {
    struct filling *filling = *at;
    *at = filling->next;
    filling->next = spare;
    spare = filling;
}

static void fill(const struct wal_record *record, struct slice key, uint64_t value) {
    if (!trace_sink.past)
        return;
    struct filling *filling = *filling_of(record);
    if (!filling) {
        filling = spare ? spare : malloc(sizeof *filling);
        assert(filling);
        spare = filling == spare ? spare->next : spare;
        filling->record = record;
        filling->count = 0;
        filling->next = fillings;
        fillings = filling;
    }
    assert(filling->count < FILLED_MAX && key.len <= PAST_KEY_BYTES);
    memcpy(filling->writes[filling->count].key, key.data, key.len);
    filling->writes[filling->count].len = (uint8_t)key.len;
    filling->writes[filling->count++].value = value;
}

void trace_crash(void) {
    while (fillings)
        forget(&fillings);
}

void __wrap_wal_record_put(struct wal_record *record, struct slice key, struct slice value) {
    __real_wal_record_put(record, key, value);
    fill(record, key, past_value(value));
}

void __wrap_wal_record_delete(struct wal_record *record, struct slice key) {
    __real_wal_record_delete(record, key);
    fill(record, key, 0);
}

uint64_t __wrap_wal_publish(struct wal *wal, struct wal_record *record) {
    struct filling **at = filling_of(record);
    struct filling *filling = *at;
    uint64_t lsn = __real_wal_publish(wal, record);
    if (!trace_sink.past)
        return lsn;
    trace_sink.published(trace_sink.ctx, lsn);
    past_begin_record(trace_sink.past, lsn);
    for (unsigned i = 0; filling && i < filling->count; i++)
        past_write(trace_sink.past, slice_of(filling->writes[i].key, filling->writes[i].len),
            filling->writes[i].value);
    if (filling)
        forget(at);
    return lsn;
}

void __wrap_wal_cancel(struct wal *wal, struct wal_record *record) {
    struct filling **at = filling_of(record);
    if (*at)
        forget(at);
    __real_wal_cancel(wal, record);
}

/* ---- verdicts ---- */

/* The newest own write of a key before this step; NULL: none. */
static const struct trace_op *own_write(
    const struct trace *trace, size_t before, struct slice key) {
    for (size_t i = trace->writes ? before : 0; i-- > 0;) {
        const struct trace_op *op = &trace->ops[i];
        if ((op->kind == TRACE_SET || op->kind == TRACE_DELETE) &&
            slice_equal(slice_of_item(trace, &op->item), key))
            return op;
    }
    return NULL;
}

/* What a read at this step should find. False: absent. */
static bool expected(const struct trace *trace, size_t at, const struct past_key *known,
    struct slice key, uint64_t lsn, struct past_version *found) {
    const struct trace_op *own = own_write(trace, at, key);
    if (own) {
        *found = (struct past_version){0, own->item.value};
        return own->kind == TRACE_SET;
    }
    const struct past_version *version = past_at(known, lsn);
    if (version)
        *found = *version;
    return version;
}

static bool same_item(const struct trace *trace, const struct trace_item *item, struct slice key,
    const struct past_version *version) {
    return slice_equal(slice_of_item(trace, item), key) && item->version == version->lsn &&
           item->value == version->value;
}

/* Keys of an interval, of the past and of own writes, one after the other. */
struct keys {
    const struct trace *trace;
    const struct past *past;
    const struct trace_op *op;
    size_t at; /* the step */
};

static bool inside(const struct keys *keys, struct slice key) {
    const struct trace_op *op = keys->op;
    return slice_compare(key, slice_of_item(keys->trace, &op->item)) >= 0 &&
           (!op->bounded || slice_compare(key, slice_of_item(keys->trace, &op->to)) < 0);
}

/* The key that follows `last` (none: data NULL) in the direction of the walk; data NULL: none. */
static struct slice next_key(const struct keys *keys, struct slice last) {
    const struct past *past = keys->past;
    const struct trace *trace = keys->trace;
    bool reverse = keys->op->reverse;
    struct slice best = {0};
    struct slice from =
        last.data ? last : slice_of_item(trace, reverse ? &keys->op->to : &keys->op->item);
    size_t at = reverse && !last.data && !keys->op->bounded ? past->key_count
                                                            : past_lower_bound(past, from);
    if (!reverse && last.data && at < past->key_count &&
        slice_equal(past_name(past->keys[at]), last))
        at++;
    if (!reverse && at < past->key_count)
        best = past_name(past->keys[at]);
    else if (reverse && at > 0)
        best = past_name(past->keys[at - 1]);
    if (best.data && !inside(keys, best))
        best = slice_of(NULL, 0);
    for (size_t i = 0; i < keys->at && trace->writes; i++) {
        if (trace->ops[i].kind != TRACE_SET)
            continue;
        struct slice own = slice_of_item(trace, &trace->ops[i].item);
        int order = last.data ? slice_compare(own, last) : (reverse ? -1 : 1);
        if (!inside(keys, own) || (reverse ? order >= 0 : order <= 0))
            continue;
        int better = best.data ? slice_compare(own, best) : (reverse ? 1 : -1);
        if (reverse ? better > 0 : better < 0)
            best = own;
    }
    return best;
}

static bool range_holds(
    const struct trace *trace, const struct past *past, size_t at, uint64_t lsn) {
    struct keys keys = {trace, past, &trace->ops[at], at};
    const struct trace_op *op = keys.op;
    struct slice key = {0};
    unsigned taken = 0;
    while (taken < op->count || op->ran_out) {
        key = next_key(&keys, key);
        if (!key.data)
            break;
        struct past_version version = {0};
        if (!expected(trace, at, past_find(past, key), key, lsn, &version))
            continue;
        if (taken == op->count ||
            !same_item(trace, &trace->items[op->first + taken], key, &version))
            return false;
        taken++;
    }
    return taken == op->count;
}

bool trace_holds(const struct trace *trace, const struct past *past, uint64_t lsn) {
    for (size_t i = 0; i < trace->op_count; i++) {
        const struct trace_op *op = &trace->ops[i];
        if (op->kind == TRACE_RANGE && !range_holds(trace, past, i, lsn))
            return false;
        if (op->kind != TRACE_GET && op->kind != TRACE_VERSION)
            continue;
        struct slice key = slice_of_item(trace, &op->item);
        struct past_version version = {0};
        bool there = expected(trace, i, past_find(past, key), key, lsn, &version);
        if (there != op->there || (there && op->item.version != version.lsn) ||
            (there && op->kind == TRACE_GET && op->item.value != version.value))
            return false;
    }
    return true;
}

const char *trace_check_record(const struct trace *trace, const struct past *past, uint64_t lsn) {
    unsigned keys = 0;
    for (size_t i = 0; i < trace->op_count; i++) {
        const struct trace_op *op = &trace->ops[i];
        struct slice key = slice_of_item(trace, &op->item);
        if ((op->kind != TRACE_SET && op->kind != TRACE_DELETE) ||
            own_write(trace, trace->op_count, key) != op)
            continue;
        keys++;
        const struct past_key *known = past_find(past, key);
        size_t at = known ? known->count : 0;
        while (at > 0 && known->versions[at - 1].lsn > lsn)
            at--;
        if (at == 0 || known->versions[at - 1].lsn != lsn)
            return "a record lacks a write";
        if (known->versions[at - 1].value != op->item.value)
            return "a record is not what was written";
    }
    for (size_t i = 0; i < past->count; i++)
        if (past->records[i].lsn == lsn)
            return past->records[i].writes == keys ? NULL : "a record has a write of nobody";
    return "a commit without a record";
}

/* ---- in words ---- */

static void tell_item(const struct trace *trace, const struct trace_item *item, const char *what) {
    story("    %s %.*s, version %llu, value %04llx", what, (int)item->len,
        trace->names + item->name, (unsigned long long)item->version,
        (unsigned long long)(item->value & 0xffff));
}

void trace_tell(const struct trace *trace) {
    static const char *const kinds[] = {"read", "read the version of", "put", "deleted"};
    for (size_t i = 0; i < trace->op_count; i++) {
        const struct trace_op *op = &trace->ops[i];
        if (op->kind != TRACE_RANGE) {
            tell_item(trace, &op->item, kinds[op->kind]);
            continue;
        }
        story("    walked %s from %.*s to %.*s%s", op->reverse ? "back" : "on", (int)op->item.len,
            trace->names + op->item.name, op->bounded ? (int)op->to.len : 7,
            op->bounded ? trace->names + op->to.name : "the end", op->ran_out ? ", all of it" : "");
        for (unsigned at = 0; at < op->count; at++)
            tell_item(trace, &trace->items[op->first + at], "  found");
    }
}
