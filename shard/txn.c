/* The transaction as its procedure sees it: reads, writes and declarations (shard/txn.h).
 *
 * A read of a key is made once and remembered; a key of the coordinator's own shard is looked up
 * again at each use, and if it has changed since, the attempt is lost there and then. */
#include "shard/txn.h"

#include <assert.h>

#include "core/hash.h"
#include "shard/access.h"
#include "shard/coordinator.h"
#include "shard/walk.h"

size_t txn_key_bytes_max(const struct txn *txn) {
    return txn->shard->options.key_bytes_max;
}

size_t txn_value_bytes_max(const struct txn *txn) {
    return txn->shard->options.value_bytes_max;
}

static bool key_valid(const struct txn *txn, struct slice key) {
    return key.len > 0 && key.len <= txn->shard->options.key_bytes_max;
}

/* A call whose first access is to another shard's key goes there, unless that shard is busy. */
static bool moves_to(struct txn *txn, uint64_t hash) {
    if (!txn->may_move)
        return false;
    txn->may_move = false;
    const struct shard_options *options = &txn->shard->options;
    unsigned owner = slots_shard(options->slots, hash);
    if (owner == txn->shard->index || shard_is_busy(options, owner))
        return false;
    txn->target = owner;
    return true;
}

/* The access of a key that a procedure names. */
static enum status touch(struct txn *txn, struct slice key, struct access **access) {
    if (txn->doom != DOOM_NONE)
        return ST_DOOMED;
    if (!key_valid(txn, key))
        return ST_INVALID;
    uint64_t hash = hash_key(key, txn->shard->options.hash_seed);
    if (moves_to(txn, hash))
        return coordinator_doom(txn, DOOM_MOVED);
    return access_obtain(txn, key, hash, access);
}

/* Makes sure that the access is in the read set, with its value if that is wanted. */
static enum status fetch(struct txn *txn, struct access *access, bool value_wanted) {
    if (access->read && (access->value_known || !value_wanted))
        return ST_OK;
    assert(
        !txn->prepared); /* it declared something else than it does: nothing would validate this */
    if (txn->read_bytes > txn->shard->options.txn_bytes_max)
        return ST_TOO_LARGE;
    struct branch *branch = access_branch(txn, access->shard);
    access->value_wanted = value_wanted;
    branch->read = access;
    return coordinator_ask(txn, branch, BRANCH_READ);
}

static enum status read_stored(
    struct txn *txn, struct access *access, struct slice *value, uint64_t *version) {
    *version = access->version;
    if (access->shard != txn->shard->index) {
        *value = access->value;
        return access->version ? ST_OK : ST_NOT_FOUND;
    }
    const struct treap_node *node = treap_find(txn->shard->treap, access->key, access->hash);
    if ((node ? treap_version(node) : 0) != access->version)
        return coordinator_doom(txn, DOOM_LOST);
    if (node)
        *value = treap_value(node);
    return node ? ST_OK : ST_NOT_FOUND;
}

static enum status read_key(
    struct txn *txn, struct slice key, bool value_wanted, struct slice *value, uint64_t *version) {
    struct access *access = NULL;
    *version = 0;
    *value = slice_of(NULL, 0);
    enum status status = touch(txn, key, &access);
    if (status != ST_OK)
        return status;
    assert(access);
    if (access->written) {
        if (!access->deletes)
            *value = access->write;
        return access->deletes ? ST_NOT_FOUND : ST_OK;
    }
    status = fetch(txn, access, value_wanted);
    if (status != ST_OK)
        return status;
    return read_stored(txn, access, value, version);
}

enum status txn_get(struct txn *txn, struct slice key, struct slice *value, uint64_t *version) {
    return read_key(txn, key, true, value, version);
}

enum status txn_version(struct txn *txn, struct slice key, uint64_t *version) {
    struct slice value;
    return read_key(txn, key, false, &value, version);
}

bool txn_wrote(struct txn *txn, struct slice key) {
    const struct access *access =
        access_find(txn, key, hash_key(key, txn->shard->options.hash_seed));
    return access && access->written;
}

static enum status write_key(struct txn *txn, struct slice key, struct slice value) {
    struct access *access = NULL;
    enum status status = touch(txn, key, &access);
    if (status != ST_OK)
        return status;
    assert(access);
    assert(!txn->prepared || access->declared_write); /* else its mark would be missing */
    return access_write(txn, access, value);
}

enum status txn_set(struct txn *txn, struct slice key, struct slice value) {
    assert(value.data);
    if (value.len > txn->shard->options.value_bytes_max)
        return ST_TOO_LARGE;
    return write_key(txn, key, value);
}

enum status txn_delete(struct txn *txn, struct slice key) {
    return write_key(txn, key, slice_of(NULL, 0));
}

/* ---- declarations ---- */

enum status txn_declare(struct txn *txn, struct slice key, enum declare_kind kind) {
    if (!key_valid(txn, key))
        return ST_INVALID;
    struct access *access;
    uint64_t hash = hash_key(key, txn->shard->options.hash_seed);
    enum status status = access_obtain(txn, key, hash, &access);
    if (status != ST_OK)
        return status;
    txn->declared = true;
    access->wanted |= kind != DECLARE_WRITE;
    access->value_wanted |= kind == DECLARE_READ || kind == DECLARE_READ_WRITE;
    access->declared_write |= kind != DECLARE_VERSION && kind != DECLARE_READ;
    return ST_OK;
}

enum status txn_declare_value(struct txn *txn, struct slice key, struct slice value) {
    enum status status = txn_declare(txn, key, DECLARE_WRITE);
    if (status != ST_OK)
        return status;
    if (value.len > txn->shard->options.value_bytes_max)
        return ST_TOO_LARGE;
    struct access *access = access_find(txn, key, hash_key(key, txn->shard->options.hash_seed));
    access->hint = arena_copy(&txn->arena, value);
    return access->hint.data ? ST_OK : ST_NOMEM;
}

enum status txn_declare_range(struct txn *txn, const struct range_spec *spec) {
    txn->declared = true;
    return walk_declare(txn, spec);
}

void txn_declare_bytes(struct txn *txn, size_t count, size_t bytes) {
    txn->declared_count += count;
    txn->declared_bytes += bytes;
}

void txn_mark_first_run(struct txn *txn) {
    txn->first_run = true;
}
