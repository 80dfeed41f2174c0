/* Walks: a range in byte order over all shards and the transaction's own writes.
 *
 * Keys are spread over the shards by hash, so a walk merges one stream a shard, each read in
 * batches:
 *
 *   shard 0   [a c f][k m ...]        batches: read at one instant each, never merged
 *   shard 1   [b d][e g ...]
 *   own       c' x                    own writes replace or add to what is stored
 *   merged    a b c' d e f ...
 *
 * Nothing is handed out before every shard's next item is known, so a walk that stopped after key k
 * has looked at [from, k] on every shard, those that gave nothing too; one that ran out, at all of
 * its interval. What a batch covers of that, and the number and highest version of its items that
 * the walk consumed, is its fingerprint, which validation compares (architecture.md, Ranges). */
#include "shard/walk.h"

#include <assert.h>

#include "core/mutant.h"
#include "shard/access.h"
#include "shard/coordinator.h"
#include "shard/treap.h"

#define BATCH_ITEMS_FIRST 32u

void range_spec_prefix(struct range_spec *spec, struct slice prefix, char *scratch) {
    size_t len = prefix.len;
    while (len && (unsigned char)prefix.data[len - 1] == 0xFF)
        len--;
    spec->from = prefix;
    spec->bounded = len > 0;
    if (!len)
        return;
    memcpy(scratch, prefix.data, len);
    scratch[len - 1] = (char)(scratch[len - 1] + 1);
    spec->to = slice_of(scratch, len);
}

/* ---- making walks and batches ---- */

static size_t batch_items(const struct txn_range *range, const struct batch *before) {
    unsigned shards = range->txn->shard->options.shards;
    size_t items = before ? 2 * before->items_max : BATCH_ITEMS_FIRST;
    if (range->expect > range->consumed) {
        /* hashing spreads the items evenly, give or take a few */
        size_t rest = range->expect - range->consumed;
        items = rest / shards + (shards > 1 ? rest / shards / 4 + 4 : 1);
    }
    return items < BATCH_ITEMS_MAX ? items : BATCH_ITEMS_MAX;
}

static struct batch *batch_make(struct txn_range *range, unsigned shard, struct batch *before) {
    struct txn *txn = range->txn;
    struct batch *batch = arena_alloc(&txn->arena, sizeof *batch);
    if (!batch)
        return NULL;
    struct branch *branch = access_branch(txn, shard);
    batch->asked = range->interval;
    batch->reverse = range->reverse;
    batch->items_max = batch_items(range, before);
    batch->wanted = true;
    buf_init(&batch->data, SIZE_MAX);
    batch->next = branch->batches;
    branch->batches = batch;
    return batch;
}

static enum status walk_make(
    struct txn *txn, const struct range_spec *spec, struct txn_range **out) {
    struct txn_range *range = arena_alloc(&txn->arena, sizeof *range);
    if (!range)
        return ST_NOMEM;
    unsigned shards = txn->shard->options.shards;
    range->txn = txn;
    range->reverse = spec->reverse;
    range->expect = spec->expect;
    range->interval.bounded = spec->bounded;
    range->interval.from = arena_copy(&txn->arena, spec->from);
    range->interval.to = arena_copy(&txn->arena, spec->bounded ? spec->to : spec->from);
    range->first = arena_alloc(&txn->arena, 2 * shards * sizeof(struct batch *));
    if (!range->first || !range->interval.from.data || !range->interval.to.data)
        return ST_NOMEM;
    range->current = range->first + shards;
    buf_init(&range->last, SIZE_MAX);
    range->ended = interval_empty(&range->interval);
    for (unsigned shard = 0; shard < shards && !range->ended; shard++) {
        range->first[shard] = range->current[shard] = batch_make(range, shard, NULL);
        if (!range->first[shard])
            return ST_NOMEM;
    }
    *txn->ranges_end = range;
    txn->ranges_end = &range->next;
    *out = range;
    return ST_OK;
}

enum status walk_declare(struct txn *txn, const struct range_spec *spec) {
    struct txn_range *range;
    enum status status = walk_make(txn, spec, &range);
    if (status != ST_OK)
        return status;
    for (unsigned shard = 0; shard < txn->shard->options.shards; shard++)
        if (range->first[shard])
            range->first[shard]->covered = range->first[shard]->asked;
    return ST_OK;
}

static void rewind_walk(struct txn_range *range) {
    range->open = range->started = false;
    range->ended = interval_empty(&range->interval);
    range->consumed = 0;
    for (unsigned shard = 0; shard < range->txn->shard->options.shards; shard++) {
        range->current[shard] = range->first[shard];
        for (struct batch *batch = range->first[shard]; batch; batch = batch->later)
            batch->at = batch->taken = batch->taken_version = 0;
    }
}

void walk_rewind_all(struct txn *txn) {
    for (struct txn_range *range = txn->ranges; range; range = range->next)
        if (!range->forgetful)
            rewind_walk(range);
}

/* A walk that was declared, or that an earlier run of this attempt made, over the same interval. */
static struct txn_range *find_unopened(const struct txn *txn, const struct range_spec *spec) {
    for (struct txn_range *range = txn->ranges; range; range = range->next)
        if (!range->open && !range->forgetful && range->reverse == spec->reverse &&
            range->interval.bounded == spec->bounded &&
            slice_equal(range->interval.from, spec->from) &&
            (!spec->bounded || slice_equal(range->interval.to, spec->to)))
            return range;
    return NULL;
}

enum status txn_range_open(
    struct txn *txn, const struct range_spec *spec, struct txn_range **range) {
    if (txn->doom != DOOM_NONE)
        return ST_DOOMED;
    txn->may_move = false; /* a range concerns every shard */
    *range = find_unopened(txn, spec);
    if (!*range) {
        assert(!txn->prepared); /* it declared something else than it does */
        enum status status = walk_make(txn, spec, range);
        if (status != ST_OK)
            return status;
    }
    (*range)->open = true;
    return ST_OK;
}

/* Whether walks may be opened again from their start: an attempt that cannot wait and is run again
 * instead must find all that it has read so far, or it would never get further. Those of a prepared
 * transaction cannot be read anew at all. */
static bool keeps_batches(const struct txn *txn) {
    return txn->prepared || txn->reruns;
}

void txn_range_close(struct txn_range *range) {
    if (keeps_batches(range->txn))
        return;
    range->forgetful = true;
    for (unsigned shard = 0; shard < range->txn->shard->options.shards; shard++)
        for (struct batch *batch = range->first[shard]; batch; batch = batch->later) {
            batch->at = 0;
            range->txn->read_bytes -= batch->data.cap;
            buf_free(&batch->data);
        }
}

/* ---- what a walk has covered ---- */

/* The bound up to which a batch has been consumed: where the next one begins, else how far the walk
 * came. */
static void cover(const struct txn_range *range, struct batch *batch) {
    struct interval *covered = &batch->covered;
    *covered = batch->asked;
    /* a walk that is walked again may not have come as far as before */
    bool later = batch->later && batch->later->read && batch->at >= batch->data.len;
    if (range->ended && !later)
        return;
    bool nothing = !range->started || (MUTANT(WALK_COVERS_OWN_SHARD) && batch->taken == 0);
    if (!later && nothing) { /* nothing was consumed: an empty interval */
        covered->to = covered->from;
        covered->bounded = true;
    } else if (!range->reverse) {
        struct slice end =
            later ? batch->later->asked.from : slice_of(range->last.data, range->last.len + 1);
        if (!covered->bounded || slice_compare(end, covered->to) < 0)
            covered->to = end;
        covered->bounded = true;
    } else {
        struct slice start = later ? batch->later->asked.to : buf_slice(&range->last);
        if (slice_compare(start, covered->from) > 0)
            covered->from = start;
    }
}

static void merge_batches(struct batch *first) {
    for (struct batch *batch = first ? first->later : NULL; batch && batch->read;
         batch = batch->later) {
        if (first->reverse) {
            first->covered.from = batch->covered.from;
        } else {
            first->covered.to = batch->covered.to;
            first->covered.bounded = batch->covered.bounded;
        }
        first->taken += batch->taken;
        if (batch->taken_version > first->taken_version)
            first->taken_version = batch->taken_version;
        batch->taken = 0;
        batch->covered.to = batch->covered.from;
        batch->covered.bounded = true;
    }
}

void walk_cover_all(struct txn *txn) {
    for (struct txn_range *range = txn->ranges; range; range = range->next)
        for (unsigned shard = 0; shard < txn->shard->options.shards; shard++)
            for (struct batch *batch = range->first[shard]; batch; batch = batch->later)
                cover(range, batch);
    for (struct txn_range *range = txn->ranges; range && MUTANT(BATCHES_MERGED);
         range = range->next)
        for (unsigned shard = 0; shard < txn->shard->options.shards; shard++)
            merge_batches(range->first[shard]);
}

/* ---- walking ---- */

static bool item_at(const struct batch *batch, struct range_item *item, size_t *bytes) {
    if (!batch || batch->at >= batch->data.len)
        return false;
    struct batch_item head;
    const char *at = batch->data.data + batch->at;
    memcpy(&head, at, sizeof head);
    item->version = head.version;
    item->key = slice_of(at + sizeof head, head.key_len);
    item->value = slice_of(at + sizeof head + head.key_len, head.value_len);
    *bytes = sizeof head + head.key_len + head.value_len;
    return true;
}

/* The batch behind one that is used up: it begins just behind (reverse: ends just before) the last
 * item. */
static struct batch *batch_after(struct txn_range *range, unsigned shard, struct batch *before) {
    struct range_item item = {0};
    size_t bytes = 0;
    size_t at = before->at;
    before->at = 0;
    for (size_t offset = 0; offset < before->data.len; offset += bytes) {
        before->at = offset;
        (void)item_at(before, &item, &bytes);
    }
    before->at = at;
    assert(item.key.data); /* only an exhausted batch may be empty */
    /* the key with a zero byte behind it is its successor in byte order */
    char *bound = arena_alloc(&range->txn->arena, item.key.len + 1);
    struct batch *batch = bound ? batch_make(range, shard, before) : NULL;
    if (!batch)
        return NULL;
    memcpy(bound, item.key.data, item.key.len);
    if (range->reverse) {
        batch->asked.to = slice_of(bound, item.key.len);
        batch->asked.bounded = true;
    } else {
        batch->asked.from = slice_of(bound, item.key.len + 1);
    }
    before->later = batch;
    if (!keeps_batches(range->txn)) {
        range->forgetful = true;
        range->txn->read_bytes -= before->data.cap;
        buf_free(&before->data);
        before->at = 0;
    }
    return batch;
}

/* Sees to it that every shard's next item is known. */
static enum status fill(struct txn_range *range) {
    struct txn *txn = range->txn;
    enum status result = ST_OK;
    for (unsigned shard = 0; shard < txn->shard->options.shards; shard++) {
        struct batch *batch = range->current[shard];
        while (batch && batch->read && batch->at >= batch->data.len && !batch->exhausted) {
            batch = batch->later ? batch->later : batch_after(range, shard, batch);
            if (!batch)
                return ST_NOMEM;
            range->current[shard] = batch;
        }
        if (!batch || batch->read)
            continue;
        if (txn->read_bytes > txn->shard->options.txn_bytes_max)
            return ST_TOO_LARGE;
        struct branch *branch = access_branch(txn, shard);
        if (branch->out) { /* asked in this very call's earlier turn */
            result = ST_PENDING;
            continue;
        }
        branch->walk = batch;
        enum status status = coordinator_ask(txn, branch, BRANCH_WALK);
        if (status == ST_PENDING)
            result = ST_PENDING;
        else if (status != ST_OK)
            return status;
    }
    return result;
}

static bool comes_first(const struct txn_range *range, struct slice a, struct slice b) {
    int order = slice_compare(a, b);
    return range->reverse ? order > 0 : order < 0;
}

/* The shard whose next item comes first; SHARDS_MAX if none has one left. */
static unsigned first_shard(
    const struct txn_range *range, struct range_item *first, size_t *bytes) {
    unsigned found = SHARDS_MAX;
    for (unsigned shard = 0; shard < range->txn->shard->options.shards; shard++) {
        struct range_item item;
        size_t item_bytes;
        if (!item_at(range->current[shard], &item, &item_bytes))
            continue;
        if (found == SHARDS_MAX || comes_first(range, item.key, first->key)) {
            found = shard;
            *first = item;
            *bytes = item_bytes;
        }
    }
    return found;
}

/* The next own write that lies in the interval and behind what was consumed. */
static struct access *next_own(struct txn_range *range, bool *failed) {
    const struct interval *interval = &range->interval;
    struct slice at =
        range->reverse ? (interval->bounded ? interval->to : slice_of(NULL, 0)) : interval->from;
    bool beyond = range->reverse && interval->bounded;
    if (range->started) {
        at = buf_slice(&range->last);
        beyond = true;
    }
    struct access *own = access_next_write(range->txn, at, beyond, range->reverse, failed);
    return own && interval_holds(interval, own->key) ? own : NULL;
}

/* Everything up to this key is consumed. */
static bool advance(struct txn_range *range, struct slice key) {
    buf_reset(&range->last, SIZE_MAX);
    buf_append_slice(&range->last, key);
    buf_append_byte(&range->last, '\0');
    if (!buf_ok(&range->last))
        return false;
    range->last.len = key.len;
    range->started = true;
    range->consumed++;
    return true;
}

static void take(struct batch *batch, const struct range_item *item, size_t bytes) {
    batch->taken++;
    if (item->version > batch->taken_version)
        batch->taken_version = item->version;
    batch->at += bytes;
}

enum status txn_range_next(struct txn_range *range, struct range_item *out) {
    if (range->txn->doom != DOOM_NONE)
        return ST_DOOMED;
    while (!range->ended) {
        enum status status = fill(range);
        if (status != ST_OK)
            return status;
        struct range_item item = {0};
        size_t bytes = 0;
        bool failed;
        unsigned shard = first_shard(range, &item, &bytes);
        struct access *own = next_own(range, &failed);
        if (failed)
            return ST_NOMEM;
        if (shard == SHARDS_MAX && !own) {
            range->ended = true;
            break;
        }
        bool stored = shard != SHARDS_MAX && (!own || !comes_first(range, own->key, item.key));
        bool replaced = stored && own && slice_equal(own->key, item.key);
        if (!advance(range, stored ? item.key : own->key))
            return ST_NOMEM;
        if (stored)
            take(range->current[shard], &item, bytes);
        if (stored && !replaced) {
            *out = item;
            return ST_OK;
        }
        if (!own->deletes) {
            *out = (struct range_item){.key = own->key, .value = own->write};
            return ST_OK;
        }
    }
    return ST_END;
}
