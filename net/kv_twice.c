/* Refuses keys that one request writes twice: any in a put; in a batch, a cas on a key that an
 * earlier command writes (its version at that point would be one that nobody has seen).
 *
 * A hash table of item indices, because a body may hold hundreds of thousands of keys; few keys,
 * the usual case, are compared with each other instead. */
#include "net/kv_input.h"

#include <stdlib.h>

#include "core/hash.h"

#define FEW 8

struct seen {
    const struct kv_input *input;
    uint64_t seed;
    uint32_t *slots; /* index + 1 of an item, 0 = free; NULL: compare all before */
    size_t mask;
};

/* Looks the item's key up among those seen; adds it if `add` is set and it is new. */
static bool seen_find(struct seen *seen, size_t index, bool add) {
    const struct kv_input *input = seen->input;
    struct slice key = kv_slice(input, kv_item_at(input, index)->key);
    size_t at = (size_t)hash_key(key, seen->seed) & seen->mask;
    for (; seen->slots[at]; at = (at + 1) & seen->mask) {
        const struct kv_item *other = kv_item_at(input, seen->slots[at] - 1);
        if (slice_equal(key, kv_slice(input, other->key)))
            return true;
    }
    if (add)
        seen->slots[at] = (uint32_t)index + 1;
    return false;
}

static bool writes(const struct kv_item *item) {
    return item->kind != KV_GET && item->kind != KV_RANGE;
}

/* True if an item before this one writes its key. */
static bool written_before(struct seen *seen, size_t index) {
    const struct kv_input *input = seen->input;
    const struct kv_item *item = kv_item_at(input, index);
    if (seen->slots)
        return writes(item) && seen_find(seen, index, true);
    struct slice key = kv_slice(input, item->key);
    for (size_t i = 0; i < index; i++) {
        const struct kv_item *other = kv_item_at(input, i);
        if (writes(other) && slice_equal(key, kv_slice(input, other->key)))
            return true;
    }
    return false;
}

static bool has_cas(const struct kv_input *input) {
    size_t count = kv_item_count(input);
    for (size_t i = 0; i < count; i++)
        if (kv_item_at(input, i)->kind == KV_CAS)
            return true;
    return false;
}

enum status kv_refuse_twice(
    struct kv_input *input, bool put, uint64_t seed, struct kv_error *error) {
    size_t count = kv_item_count(input);
    if (!has_cas(input)) /* a put's items all are */
        return ST_OK;
    struct seen seen = {.input = input, .seed = seed};
    if (count > FEW) {
        size_t slots = 2 * FEW;
        while (slots < count * 2)
            slots *= 2;
        seen.slots = calloc(slots, sizeof *seen.slots);
        seen.mask = slots - 1;
        if (!seen.slots)
            return ST_NOMEM;
    }
    enum status status = ST_OK;
    for (size_t i = 0; i < count && status == ST_OK; i++) {
        if (!written_before(&seen, i) || kv_item_at(input, i)->kind != KV_CAS)
            continue;
        if (put)
            status = kv_refuse(error, 400, "duplicate_key", "item[%zu]: the key is there twice", i);
        else
            status = kv_refuse(error, 400, "cas_after_write",
                "commands[%zu]: cas on a key that an earlier command writes", i);
    }
    free(seen.slots);
    return status;
}
