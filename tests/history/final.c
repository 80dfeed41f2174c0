/* Compares the state at the end with what was acknowledged: a write that is gone was lost, and a
 * transaction of which a part is there was torn. */
#include <stdlib.h>
#include <string.h>

#include "tests/history/private.h"

/* Of one transaction: a write that the final state shows, and one that it cannot hold. */
struct trace {
    uint32_t visible, missing; /* NONE if there is none */
};

/* Was `write` lost, if the end shows `seen` in its register (NONE: nothing)? Only if it is sure
 * that `seen` is older. */
static bool register_lost(const struct check *check, uint32_t write, uint32_t seen) {
    const struct write *lost = &check->writes[write];
    if (!lost->last || write == seen)
        return false;
    if (seen == NONE)
        return !check->keys[lost->key].deleted;
    uint32_t seen_txn = check->writes[seen].txn;
    uint64_t version = check->version[lost->txn], seen_version = check->version[seen_txn];
    if (version && seen_version)
        return seen_version < version;
    return is_before_in_time(check, seen_txn, lost->txn);
}

static void trace_key(struct check *check, const struct read *read, struct trace *traces) {
    const struct key_state *key = &check->keys[read->key];
    if (key->broken)
        return;
    for (uint32_t i = 0; i < key->writes_count; i++) {
        uint32_t number = check->by_key[key->writes_first + i];
        const struct write *write = &check->writes[number];
        const struct history_txn *txn = txn_of(check, write->txn);
        bool over =
            txn->outcome == HISTORY_UNKNOWN || is_before_in_time(check, write->txn, read->txn);
        if (txn->outcome == HISTORY_FAIL || write->txn == read->txn || !over)
            continue;
        bool there =
            key->list ? write->place != NONE && write->place < read->len : number == read->write;
        if (there)
            traces[write->txn].visible = number;
        else if (key->list || register_lost(check, number, read->write))
            traces[write->txn].missing = number;
    }
}

static void judge(struct check *check, uint32_t final, uint32_t txn, const struct trace *trace) {
    if (trace->missing == NONE || check->accused[txn])
        return;
    const struct write *missing = &check->writes[trace->missing];
    const char *key = check->history->keys[missing->key];
    if (trace->visible != NONE) {
        const struct write *visible = &check->writes[trace->visible];
        accuse(check, "torn transaction", txn, final,
            "T%u wrote %s and %s; at the end T%u finds the first and not the second\n", txn,
            check->history->keys[visible->key], key, final);
    } else if (check->committed[txn])
        accuse(check, "lost acknowledged write", txn, final,
            "T%u wrote %s and %s; at the end T%u does not find it\n", txn, key,
            txn_of(check, txn)->outcome == HISTORY_OK ? "was acknowledged" : "was seen", final);
}

void compare_final(struct check *check) {
    size_t txns = check->history->txn_count;
    struct trace *traces = zeroed(txns, sizeof *traces);
    for (uint32_t final = 0; final < txns; final++) {
        if (!txn_of(check, final)->final)
            continue;
        memset(traces, 0xff, txns * sizeof *traces);
        for (size_t i = 0; i < check->read_count; i++)
            if (check->reads[i].txn == final)
                trace_key(check, &check->reads[i], traces);
        for (uint32_t i = 0; i < txns; i++)
            judge(check, final, i, &traces[i]);
    }
    free(traces);
}
