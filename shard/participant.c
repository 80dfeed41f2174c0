/* A participant validates, marks and installs; it decides nothing and waits for nothing of its own.
 *
 *            PREPARE: no                COMMIT: install, unmark, serve waiters
 *   CLEAN <-------------+            +---------------------------------------> CLEAN
 *     |                 |            |
 *     +--- PREPARE -----+-- yes --> MARKED ---- ABORT: discard, unmark, serve waiters --> CLEAN
 *
 * Validation is that of optimistic concurrency control (Kung and Robinson 1981), prepare and commit
 * are the two phases of Gray 1978. Reads are marked as well as writes: with write marks alone, T1
 * (reads x, writes y) and T2 (reads y, writes x) would both pass. Marks are looked at before
 * versions: a marked key gives no verdict, only wait or retry.
 *
 * A read that meets a marked write waits, parked at the branch whose mark it is, for that branch's
 * decision. Nothing that holds a mark waits, so nothing deadlocks; the one exception is the holder
 * of the global ticket, which marks first and then waits for marks that were there before its own.
 * Those belong to optimistic transactions, which never wait, and newcomers lose to the holder's
 * marks. In return a prepared transaction that reads on where it has its marks looks at no others:
 * one that the holder has placed there since stands behind its own. */
#include "shard/participant.h"

#include <assert.h>
#include <stdlib.h>

#include "core/diag.h"
#include "core/mutant.h"

#define EXIT_OUT_OF_MEMORY 1

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

uint64_t participant_depends(const struct shard *shard, uint64_t version) {
    if (MUTANT(ABSENT_WITHOUT_DELETE_LSN))
        return version;
    return version ? version : treap_delete_lsn(shard->treap);
}

/* ---- waiting ---- */

static bool park(struct branch *branch, struct branch *holder) {
    branch->next_waiter = NULL;
    if (!holder->waiters)
        holder->waiters_end = &holder->waiters;
    *holder->waiters_end = branch;
    holder->waiters_end = &branch->next_waiter;
    return false;
}

/* Another's mark is in the way: wait for its decision, or lose if this branch has waited before. */
static bool wait_or_lose(struct branch *branch, struct branch *holder) {
    if (branch->waited && !branch->holder) {
        branch->answer = ANSWER_NO;
        return true;
    }
    branch->waited = true;
    return park(branch, holder);
}

static void serve_waiters(struct shard *shard, struct branch *branch) {
    struct branch *waiter = branch->waiters;
    branch->waiters = NULL;
    if (MUTANT(WAITERS_NOT_SERVED))
        return;
    while (waiter) {
        struct branch *next = waiter->next_waiter;
        if (participant_step(shard, waiter))
            participant_answer(shard, waiter);
        waiter = next;
    }
}

void participant_answer(struct shard *shard, struct branch *branch) {
    branch->msg.type = MSG_BRANCH_ANSWER;
    if (branch->msg.from != shard->index) {
        shard->options.env.send(shard->options.env.ctx, branch->msg.from, &branch->msg);
        return;
    }
    branch->msg.next = NULL;
    branch->next_waiter = NULL;
    *shard->answers_end = branch;
    shard->answers_end = &branch->next_waiter;
}

/* ---- reading ---- */

/* Answers one read. The value is copied for other shards; the coordinator's own shard reads it
 * where it lies, since it looks again at every use. False if there was no memory for the copy. */
static bool answer_read(struct shard *shard, struct branch *branch, struct access *access) {
    const struct treap_node *node = treap_find(shard->treap, access->key, access->hash);
    uint64_t version = node ? treap_version(node) : 0;
    if (access->read && access->version != version) {
        branch->answer = ANSWER_NO; /* it was read before, without its value, and has changed */
        return true;
    }
    access->version = version;
    access->delete_lsn = treap_delete_lsn(shard->treap);
    if (node && access->value_wanted && branch->msg.from != shard->index) {
        struct slice value = treap_value(node);
        char *copy = malloc(value.len ? value.len : 1);
        if (!copy)
            return false;
        memcpy(copy, value.data, value.len);
        access->value = slice_of(copy, value.len);
        branch->copied += value.len;
    }
    access->value_known = access->value_wanted;
    access->wanted = false;
    access->read = true;
    return true;
}

static bool step_read(struct shard *shard, struct branch *branch) {
    struct access *access = branch->read;
    if (branch->holder) {
        marks_place(&shard->marks, &access->mark, access->key, access->hash, false, branch);
        branch->marked = true;
    }
    struct branch *clash = marks_clash_read(&shard->marks, access->key, branch);
    if (clash && !MUTANT(VERSIONS_BEFORE_MARKS))
        return wait_or_lose(branch, clash);
    if (!answer_read(shard, branch, access))
        branch->answer = ANSWER_NOMEM;
    return true;
}

static bool copy_item(void *ctx, const struct treap_node *node) {
    struct batch *batch = ctx;
    struct slice key = treap_key(node), value = treap_value(node);
    struct batch_item item = {.version = treap_version(node),
        .key_len = (uint32_t)key.len,
        .value_len = (uint32_t)value.len};
    if (batch->count == batch->items_max || (batch->count && batch->data.len > BATCH_BYTES_MAX)) {
        batch->exhausted = false;
        return false;
    }
    if (!buf_reserve(&batch->data, sizeof item + key.len + value.len))
        return false;
    buf_append(&batch->data, &item, sizeof item);
    buf_append_slice(&batch->data, key);
    buf_append_slice(&batch->data, value);
    batch->count++;
    return true;
}

/* Reads one batch. The fingerprint of what the walk will consume of it comes from these very items,
 * as of this instant. False if there was no memory. */
static bool answer_walk(struct shard *shard, struct branch *branch, struct batch *batch) {
    buf_reset(&batch->data, SIZE_MAX); /* of a reading that found no memory */
    batch->count = 0;
    batch->exhausted = true;
    treap_walk(shard->treap, batch->asked.from, batch->asked.to, batch->asked.bounded,
        batch->reverse, SIZE_MAX, copy_item, batch);
    branch->copied += batch->data.cap;
    if (!buf_ok(&batch->data))
        return false;
    batch->delete_lsn = treap_delete_lsn(shard->treap);
    batch->wanted = false;
    batch->read = true;
    return true;
}

static bool step_walk(struct shard *shard, struct branch *branch) {
    struct batch *batch = branch->walk;
    if (branch->holder && !batch->mark.placed) {
        marks_place_range(&shard->marks, &batch->mark, &batch->asked, branch);
        branch->marked = true;
    }
    /* A prepared transaction that reads on in a declared range holds all of it. A mark in there can
     * only be the ticket holder's, who waits for this very branch: to wait for him would be a
     * deadlock. */
    bool prepared = branch->marked && !branch->holder;
    struct branch *clash =
        prepared ? NULL : marks_clash_range(&shard->marks, &batch->asked, branch);
    if (clash)
        return wait_or_lose(branch, clash);
    if (!answer_walk(shard, branch, batch))
        branch->answer = ANSWER_NOMEM;
    return true;
}

/* ---- validation ---- */

static bool writes(const struct access *access) {
    return access->written || access->declared_write;
}

static bool reads(const struct access *access) {
    return access->read || access->wanted;
}

/* The holder of any mark that this branch's reads, ranges or (if asked) writes clash with. */
static struct branch *find_clash(
    const struct shard *shard, const struct branch *branch, bool with_writes) {
    const struct marks *marks = &shard->marks;
    if (marks_none(marks))
        return NULL;
    struct branch *clash = NULL;
    for (const struct access *access = branch->accesses; access && !clash; access = access->next) {
        if (reads(access))
            clash = marks_clash_read(marks, access->key, branch);
        if (!clash && with_writes && writes(access))
            clash = marks_clash_write(marks, access->key, branch);
    }
    for (const struct batch *batch = branch->batches; batch && !clash; batch = batch->next)
        if (batch->read || batch->wanted)
            clash = marks_clash_range(marks, &batch->covered, branch);
    return clash;
}

static uint64_t version_now(const struct shard *shard, const struct access *access) {
    const struct treap_node *node = treap_find(shard->treap, access->key, access->hash);
    return node ? treap_version(node) : 0;
}

static bool range_holds(const struct shard *shard, const struct batch *batch) {
    uint64_t count, version_max;
    treap_fingerprint(shard->treap, batch->covered.from, batch->covered.to, batch->covered.bounded,
        &count, &version_max);
    bool limited = !batch->later && (batch->covered.to.data != batch->asked.to.data ||
                                        batch->covered.from.data != batch->asked.from.data);
    if (MUTANT(FINGERPRINT_BY_VERSION) || (MUTANT(FINGERPRINT_WITHOUT_COUNT) && limited))
        return version_max <= batch->taken_version;
    return count == batch->taken && version_max <= batch->taken_version;
}

/* Every read version and every range as it was? *depends rises to what that truth rests on. */
static bool still_true(const struct shard *shard, const struct branch *branch, uint64_t *depends) {
    for (const struct access *access = branch->accesses; access; access = access->next) {
        if (!access->read)
            continue;
        if (!branch->fresh && version_now(shard, access) != access->version)
            return false;
        if (MUTANT(DELETE_LSN_AT_READ))
            *depends = later(*depends, access->version ? access->version : access->delete_lsn);
        else
            *depends = later(*depends, participant_depends(shard, access->version));
    }
    for (const struct batch *batch = branch->batches; batch; batch = batch->next) {
        if (!batch->read || interval_empty(&batch->covered))
            continue;
        if (!branch->fresh && !range_holds(shard, batch))
            return false;
        *depends = later(*depends,
            later(batch->taken_version,
                MUTANT(DELETE_LSN_AT_READ) ? batch->delete_lsn : treap_delete_lsn(shard->treap)));
    }
    return true;
}

/* An absent key or a range can return to what it was. That nothing was deleted since it was read
 * shows that it did not; else only a look under marks is proof, if other shards are read too. */
static bool deleted_since(const struct shard *shard, const struct branch *branch) {
    uint64_t last = treap_delete_lsn(shard->treap);
    for (const struct access *access = branch->accesses; access; access = access->next)
        if (access->read && access->version == 0 && access->delete_lsn != last)
            return true;
    for (const struct batch *batch = branch->batches; batch; batch = batch->next)
        if (batch->read && batch->delete_lsn != last)
            return true;
    return false;
}

static bool step_validate(struct shard *shard, struct branch *branch) {
    if ((!MUTANT(ROUND_IGNORES_MARKS) && find_clash(shard, branch, false)) ||
        !still_true(shard, branch, &branch->depends))
        branch->answer = ANSWER_NO;
    else if (!branch->alone && deleted_since(shard, branch))
        branch->answer = ANSWER_REPEAT;
    return true;
}

/* ---- writing ---- */

static void discard_staged(struct shard *shard, struct branch *branch) {
    for (struct access *access = branch->accesses; access; access = access->next) {
        if (access->is_staged)
            treap_discard(shard->treap, &access->staged);
        access->is_staged = false;
    }
}

/* A put, or without a value a delete. */
static bool stage(struct shard *shard, struct access *access, struct slice value) {
    struct treap *treap = shard->treap;
    enum status status =
        value.data ? treap_stage_put(treap, access->key, access->hash, value, &access->staged)
                   : treap_stage_delete(treap, access->key, access->hash, &access->staged);
    access->is_staged = status == ST_OK;
    return access->is_staged;
}

/* Its data are NULL for a delete, and for a declared write of which nothing is known: that is
 * staged as a delete, which can become anything with the least allocation. */
static struct slice value_to_put(const struct access *access) {
    if (access->written)
        return access->deletes ? slice_of(NULL, 0) : access->write;
    return access->hint;
}

/* Whether the branch's writes fit under --memory-max: those that shrink its data always do. The
 * other shards' figures may be a moment old, so the limit may be passed by what is in flight. */
static bool fits_memory(const struct shard *shard, const struct branch *branch) {
    uint64_t more = 0, less = 0, total = 0;
    if (shard->options.memory_max == 0)
        return true;
    for (const struct access *access = branch->accesses; access; access = access->next) {
        if (!writes(access))
            continue;
        const struct treap_node *node = treap_find(shard->treap, access->key, access->hash);
        struct slice value = value_to_put(access);
        if (node)
            less += access->key.len + treap_value(node).len;
        if (value.data)
            more += access->key.len + value.len;
    }
    for (unsigned i = 0; i < shard->options.shards; i++)
        total += shard_peers_bytes(shard->options.peers, i);
    return more <= less || total + (more - less) <= shard->options.memory_max;
}

/* Takes all memory that the installing will need, so that it cannot fail.
 * False: branch->answer says why not. */
static bool stage_writes(struct shard *shard, struct branch *branch) {
    if (!fits_memory(shard, branch)) {
        branch->answer = ANSWER_MEMORY_FULL;
        return false;
    }
    for (struct access *access = branch->accesses; access; access = access->next) {
        if (writes(access) && !stage(shard, access, value_to_put(access))) {
            discard_staged(shard, branch);
            branch->answer = ANSWER_NOMEM;
            return false;
        }
    }
    return true;
}

static bool staged_as_written(const struct access *access, struct slice value) {
    const struct treap_blob *staged = access->staged.value;
    if (!staged || !value.data)
        return !staged && !value.data;
    return !access->hint.data || slice_equal(slice_of(staged->bytes, staged->len), value);
}

/* A write that was declared before its value was known may have been staged as another one. This
 * is the one allocation after a vote; it is of a size that was just given back or freshly declared,
 * and if even that fails the process ends: the record is published, so nothing is lost. */
static void restage(struct shard *shard, struct access *access) {
    struct slice value = value_to_put(access);
    assert(access->is_staged);
    if (staged_as_written(access, value))
        return;
    treap_discard(shard->treap, &access->staged);
    if (!stage(shard, access, value))
        diag_fatal(EXIT_OUT_OF_MEMORY,
            "out of memory while installing a commit of %zu bytes; "
            "it is in the log and will be there after a restart",
            access->write.len);
}

static void install_writes(struct shard *shard, struct branch *branch) {
    for (struct access *access = branch->accesses; access; access = access->next) {
        if (!access->written)
            continue;
        restage(shard, access);
        if (access->deletes)
            (void)treap_install_delete(shard->treap, &access->staged, branch->lsn);
        else
            treap_install_put(shard->treap, &access->staged,
                put_version(shard, access->key, access->hash, branch->lsn));
        access->is_staged = false;
    }
    discard_staged(shard, branch); /* of declared writes that were not made */
    atomic_store_explicit(&shard->options.peers->load[shard->index].keys, treap_count(shard->treap),
        memory_order_relaxed);
    atomic_store_explicit(&shard->options.peers->load[shard->index].bytes,
        treap_bytes(shard->treap), memory_order_relaxed);
}

/* ---- marks ---- */

static void place_marks(struct shard *shard, struct branch *branch) {
    struct marks *marks = &shard->marks;
    for (struct access *access = branch->accesses; access; access = access->next) {
        if (reads(access) && !MUTANT(NO_READ_MARKS))
            marks_place(marks, &access->mark, access->key, access->hash, false, branch);
        if (writes(access))
            marks_place(marks, &access->mark, access->key, access->hash, true, branch);
    }
    for (struct batch *batch = branch->batches; batch; batch = batch->next)
        if ((batch->read || batch->wanted) && !batch->mark.placed && !MUTANT(NO_RANGE_MARKS))
            marks_place_range(marks, &batch->mark, &batch->covered, branch);
    branch->marked = true;
}

static void remove_marks(struct shard *shard, struct branch *branch) {
    for (struct access *access = branch->accesses; access; access = access->next)
        if (access->mark.read || access->mark.write)
            marks_remove(&shard->marks, &access->mark);
    for (struct batch *batch = branch->batches; batch; batch = batch->next)
        if (batch->mark.placed)
            marks_remove_range(&shard->marks, &batch->mark);
    branch->marked = false;
    serve_waiters(shard, branch);
}

/* ---- the two phases ---- */

/* Reads that PREPARE was asked to make under its marks. A batch of commands may ask for any number
 * of them, so what they copy is bounded here and not only when the answer is home. */
static enum branch_answer answer_wanted(struct shard *shard, struct branch *branch) {
    size_t bytes_max = shard->options.txn_bytes_max;
    for (struct access *access = branch->accesses; access; access = access->next) {
        if (!access->wanted)
            continue;
        if (!answer_read(shard, branch, access))
            return ANSWER_NOMEM;
        if (branch->copied > bytes_max)
            return ANSWER_TOO_LARGE;
        branch->depends = later(branch->depends, participant_depends(shard, access->version));
    }
    for (struct batch *batch = branch->batches; batch; batch = batch->next) {
        if (!batch->wanted)
            continue;
        if (!answer_walk(shard, branch, batch))
            return ANSWER_NOMEM;
        if (branch->copied > bytes_max)
            return ANSWER_TOO_LARGE;
    } /* what a walk depends on is known when it is over: see prepared_depends */
    return ANSWER_YES;
}

static bool step_prepare(struct shard *shard, struct branch *branch) {
    if (branch->holder)
        place_marks(shard, branch); /* first come: from here on others lose to these */
    struct branch *clash = find_clash(shard, branch, true);
    if (clash && branch->holder)
        return park(branch, clash);
    if (clash || !still_true(shard, branch, &branch->depends)) {
        branch->answer = ANSWER_NO;
        return true;
    }
    if (!stage_writes(shard, branch))
        return true;
    place_marks(shard, branch);
    enum branch_answer answer = answer_wanted(shard, branch);
    if (answer > branch->answer)
        branch->answer = answer;
    return true;
}

static bool step_commit(struct shard *shard, struct branch *branch) {
    install_writes(shard, branch);
    remove_marks(shard, branch);
    return true;
}

static bool step_abort(struct shard *shard, struct branch *branch) {
    discard_staged(shard, branch);
    if (!MUTANT(ABORT_KEEPS_MARKS))
        remove_marks(shard, branch);
    return true;
}

/* The whole transaction is on this shard: validate, draw, publish, apply, in one go. */
static bool step_commit_alone(struct shard *shard, struct branch *branch) {
    if (find_clash(shard, branch, true) || !still_true(shard, branch, &branch->depends)) {
        branch->answer = ANSWER_NO;
        return true;
    }
    if (!stage_writes(shard, branch))
        return true;
    branch->lsn = wal_publish(shard->options.wal, branch->record);
    branch->record = NULL;
    install_writes(shard, branch);
    return true;
}

bool participant_step(struct shard *shard, struct branch *branch) {
    branch->answer = ANSWER_YES;
    branch->depends = 0;
    branch->copied = 0;
    switch (branch->op) {
    case BRANCH_READ:
        return step_read(shard, branch);
    case BRANCH_WALK:
        return step_walk(shard, branch);
    case BRANCH_VALIDATE:
        return step_validate(shard, branch);
    case BRANCH_PREPARE:
        return step_prepare(shard, branch);
    case BRANCH_COMMIT:
        return step_commit(shard, branch);
    case BRANCH_COMMIT_ALONE:
        return step_commit_alone(shard, branch);
    case BRANCH_ABORT:
        return step_abort(shard, branch);
    }
    assert(false && "a branch without an op");
    return true;
}
