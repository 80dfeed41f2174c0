/* Draws the graph of what must come before what: Adya's dependencies, and real time.
 *
 *     ww  a's version of a key is the one before b's         wr  b read a version that a wrote
 *     rw  a read a version of a key, b wrote the next one; or a read an interval that b changed
 *     rt  a's reply was there before b's request was sent    version  a's version is lower than b's
 *
 * One edge to the next version says what edges to all later ones would. Where it is not known which
 * of several writes is next, edges go to all of them, through a chain of helper nodes: helper i
 * leads to helper i+1 and to the i-th write, so one edge into the chain stands for one to each
 * write from there on. Real time is drawn in the same way, which keeps the number of edges linear.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/history/private.h"

static void edge_add(struct check *check, const struct edge edge) {
    if (edge.from == edge.to)
        return;
    PUSH(check->edges, check->edge_count, check->edge_room, edge);
    switch (edge.kind) {
    case EDGE_WW:
        check->report->ww++;
        break;
    case EDGE_WR:
        check->report->wr++;
        break;
    case EDGE_RW:
        check->report->rw++;
        check->report->rw_predicate += edge.predicate;
        break;
    case EDGE_RT:
        check->report->rt++;
        break;
    default:
        break;
    }
}

static bool is_absent(const struct check *check, uint32_t write) {
    return write == NONE || check->writes[write].value == HISTORY_ABSENT;
}

static void edge_ww(struct check *check, uint32_t before, uint32_t after) {
    const struct write *first = &check->writes[before], *second = &check->writes[after];
    edge_add(check, (struct edge){.from = first->txn,
                        .to = second->txn,
                        .kind = EDGE_WW,
                        .key = first->key,
                        .before = before,
                        .after = after});
}

static void edge_wr(struct check *check, uint32_t write, uint32_t reader, bool predicate) {
    edge_add(check, (struct edge){.from = check->writes[write].txn,
                        .to = reader,
                        .kind = EDGE_WR,
                        .predicate = predicate,
                        .key = check->writes[write].key,
                        .before = write,
                        .after = write});
}

/* An interval's read depends on a write as a predicate does if the key came or went by it. */
static struct edge edge_of_rw(
    const struct check *check, const struct read *read, uint32_t seen, uint32_t after) {
    return (struct edge){.from = read->txn,
        .to = check->writes[after].txn,
        .kind = EDGE_RW,
        .predicate = read->predicate && is_absent(check, seen) != is_absent(check, after),
        .key = read->key,
        .before = seen,
        .after = after};
}

/* ---- chains ---- */

/* Writes of a key in the order in which they were sent; helper i stands for those from i on. */
struct chain {
    uint32_t *writes;
    uint32_t count;
    uint32_t first_node;
};

struct ranked {
    uint64_t rank;
    uint32_t item;
};

static int ranked_compare(const void *a, const void *b) {
    const struct ranked *first = a, *second = b;
    if (first->rank != second->rank)
        return (first->rank > second->rank) - (first->rank < second->rank);
    return (first->item > second->item) - (first->item < second->item);
}

static void chain_sort(struct check *check, struct chain *chain) {
    struct ranked *ranked = zeroed(chain->count, sizeof *ranked);
    for (uint32_t i = 0; i < chain->count; i++) {
        uint32_t write = chain->writes[i];
        ranked[i] = (struct ranked){txn_of(check, check->writes[write].txn)->invoke_ns, write};
    }
    qsort(ranked, chain->count, sizeof *ranked, ranked_compare);
    for (uint32_t i = 0; i < chain->count; i++) {
        chain->writes[i] = ranked[i].item;
        check->chain_of[check->writes[ranked[i].item].txn] =
            (struct chain_place){check->writes[ranked[i].item].key, i};
    }
    free(ranked);
}

/* The last of a transaction's own writes in the chain of a key; NONE if there is none. */
static uint32_t chain_own(const struct check *check, uint32_t key, uint32_t txn) {
    return check->chain_of[txn].key == key ? check->chain_of[txn].at : NONE;
}

static void chain_draw(struct check *check, struct chain *chain) {
    chain_sort(check, chain);
    chain->first_node = (uint32_t)check->node_count;
    check->node_count += chain->count;
    for (uint32_t i = 0; i < chain->count; i++) {
        uint32_t node = chain->first_node + i, write = chain->writes[i];
        edge_add(check, (struct edge){.from = node,
                            .to = check->writes[write].txn,
                            .kind = EDGE_HOP,
                            .key = check->writes[write].key,
                            .before = NONE,
                            .after = write});
        if (i + 1 < chain->count)
            edge_add(check, (struct edge){.from = node,
                                .to = node + 1,
                                .kind = EDGE_HOP,
                                .key = NONE,
                                .before = NONE,
                                .after = NONE});
    }
}

/* Edges from a transaction to the writes of the chain from `at` on, itself excepted. */
static void chain_enter(
    struct check *check, const struct chain *chain, uint32_t at, struct edge edge) {
    uint32_t own = chain_own(check, edge.key, edge.from);
    for (; own != NONE && at <= own; at++) {
        /* Its own write is in the way of the chain: edges one by one to those before it, which are
         * few, unless one was over before this began: then that edge closes a cycle. */
        edge.to = check->writes[chain->writes[at]].txn;
        edge.after = chain->writes[at];
        edge_add(check, edge);
        if (is_before_in_time(check, edge.to, edge.from))
            return;
    }
    if (at < chain->count) {
        edge.to = chain->first_node + at;
        edge.after = NONE;
        edge_add(check, edge);
    }
}

/* ---- lists ---- */

static void list_read_edges(
    struct check *check, const struct read *read, const struct chain *unseen) {
    const struct key_state *key = &check->keys[read->key];
    uint32_t seen = read->len ? key->order[read->len - 1] : NONE;
    if (seen != NONE)
        edge_wr(check, seen, read->txn, read->predicate);
    uint32_t next = read->len;
    while (next < key->order_len && check->writes[key->order[next]].txn == read->txn)
        next++;
    if (next < key->order_len)
        edge_add(check, edge_of_rw(check, read, seen, key->order[next]));
    else if (unseen->count && read->len == key->order_len)
        chain_enter(check, unseen, 0, edge_of_rw(check, read, seen, unseen->writes[0]));
}

static void list_edges(struct check *check, uint32_t number) {
    struct key_state *key = &check->keys[number];
    for (uint32_t i = 1; i < key->order_len; i++)
        edge_ww(check, key->order[i - 1], key->order[i]);
    /* Committed appends that nobody saw come behind all that somebody saw. */
    struct chain unseen = {.writes = zeroed(key->writes_count, sizeof *unseen.writes)};
    for (uint32_t i = 0; i < key->writes_count; i++) {
        uint32_t write = check->by_key[key->writes_first + i];
        if (check->committed[check->writes[write].txn] && check->writes[write].place == NONE)
            unseen.writes[unseen.count++] = write;
    }
    chain_draw(check, &unseen);
    if (unseen.count && key->order_len) {
        uint32_t last = key->order[key->order_len - 1];
        struct edge edge = {
            .from = check->writes[last].txn, .kind = EDGE_WW, .key = number, .before = last};
        chain_enter(check, &unseen, 0, edge);
    }
    for (uint32_t i = 0; i < key->reads_count; i++)
        list_read_edges(check, &check->reads[key->reads_first + i], &unseen);
    free(unseen.writes);
}

/* ---- registers ---- */

struct reg {
    struct check *check;
    const struct key_state *key;
    bool complete;      /* the order holds every committed write of the key */
    bool unsettled;     /* nobody knows whether it was deleted once more */
    struct chain chain; /* of all committed writes, if it does not */
};

/* The next write of another transaction, from place `at` of the order on. */
static void next_version_edge(
    struct reg *reg, const struct read *read, uint32_t seen, uint32_t at) {
    while (at < reg->key->order_len && reg->check->writes[reg->key->order[at]].txn == read->txn)
        at++;
    if (at < reg->key->order_len)
        edge_add(reg->check, edge_of_rw(reg->check, read, seen, reg->key->order[at]));
}

/* By real time alone: whoever wrote after the write that was seen was acknowledged overwrote it. */
static void later_writes_edges(struct reg *reg, const struct read *read) {
    uint32_t at = 0;
    if (read->write != NONE) {
        const struct history_txn *seen = txn_of(reg->check, reg->check->writes[read->write].txn);
        uint32_t end = reg->chain.count;
        if (seen->outcome != HISTORY_OK)
            return;
        while (at < end) { /* the first that was sent later */
            uint32_t middle = at + (end - at) / 2;
            uint32_t txn = reg->check->writes[reg->chain.writes[middle]].txn;
            if (txn_of(reg->check, txn)->invoke_ns > seen->complete_ns)
                end = middle;
            else
                at = middle + 1;
        }
    }
    if (at < reg->chain.count)
        chain_enter(reg->check, &reg->chain, at,
            edge_of_rw(reg->check, read, read->write, reg->chain.writes[at]));
}

/* Could the reader have found nothing between these two writes (NONE: the beginning, the end)? */
static bool gap_is_possible(
    const struct check *check, const struct read *read, uint32_t before, uint32_t after) {
    uint32_t reader = read->txn;
    uint64_t version = check->version[reader];
    if (before != NONE) {
        uint32_t writer = check->writes[before].txn;
        if (is_before_in_time(check, reader, writer) || writer == reader)
            return false;
        if (version && check->history->global_versions && check->version[writer] >= version)
            return false;
    }
    if (after != NONE) {
        uint32_t writer = check->writes[after].txn;
        if (is_before_in_time(check, writer, reader))
            return false;
        if (version && check->history->global_versions && check->version[writer] < version)
            return false;
    }
    return true;
}

/* Nothing was found in a key that is also deleted: at the beginning, or behind any delete. What
 * comes before all gaps that are possible comes before the reader, and likewise behind. If none
 * is possible, the last that had begun by then is taken, and a cycle shows what is wrong. */
static void absent_edges(struct reg *reg, const struct read *read) {
    struct check *check = reg->check;
    uint32_t first = 0, last = 0, fallback = 0, found = 0;
    if (!reg->complete || reg->unsettled)
        return;
    for (uint32_t i = 0; i <= reg->key->order_len; i++) { /* gap i is before write i */
        uint32_t before = i ? reg->key->order[i - 1] : NONE;
        uint32_t after = i < reg->key->order_len ? reg->key->order[i] : NONE;
        bool own = after != NONE && check->writes[after].txn == read->txn;
        if (is_absent(check, before)) {
            if (before == NONE || !is_before_in_time(check, read->txn, check->writes[before].txn))
                fallback = i;
            bool possible = gap_is_possible(check, read, before, after);
            if (own && possible)
                found = 0; /* it is this one: the reader then filled it */
            if (possible) {
                first = found++ ? first : i;
                last = i;
            }
        }
        if (own)
            break;
    }
    check->report->ambiguous += found > 1;
    if (!found)
        first = last = fallback;
    if (first)
        edge_wr(check, reg->key->order[first - 1], read->txn, read->predicate);
    next_version_edge(reg, read, last ? reg->key->order[last - 1] : NONE, last);
}

static void register_read_edges(struct reg *reg, const struct read *read) {
    struct check *check = reg->check;
    if (read->write == NONE && reg->key->deleted) {
        absent_edges(reg, read);
        return;
    }
    if (read->write != NONE) {
        edge_wr(check, read->write, read->txn, read->predicate);
        if (check->writes[read->write].place != NONE)
            next_version_edge(reg, read, read->write, check->writes[read->write].place + 1);
    } else
        next_version_edge(reg, read, NONE, 0);
    if (!reg->complete)
        later_writes_edges(reg, read);
}

/* Reads of one version of a key (adjacent): who read it and then wrote the key comes behind all who
 * read it. Two such writers are a lost update already; more say no more. */
static void read_then_wrote(struct reg *reg, const struct read *reads, uint32_t count) {
    uint32_t writers = 0;
    for (uint32_t i = 0; i < count && writers < 2; i++) {
        uint32_t own = chain_own(reg->check, reads[i].key, reads[i].txn);
        if (own == NONE)
            continue;
        uint32_t write = reg->chain.writes[own];
        writers++;
        for (uint32_t j = 0; j < count; j++)
            edge_add(reg->check, edge_of_rw(reg->check, &reads[j], reads[j].write, write));
    }
}

static void register_edges(struct check *check, uint32_t number) {
    const struct key_state *key = &check->keys[number];
    struct reg reg = {.check = check, .key = key, .complete = true};
    for (uint32_t i = 1; i < key->order_len; i++)
        edge_ww(check, key->order[i - 1], key->order[i]);
    reg.chain.writes = zeroed(key->writes_count, sizeof *reg.chain.writes);
    for (uint32_t i = 0; i < key->writes_count; i++) {
        uint32_t write = check->by_key[key->writes_first + i];
        if (!is_version(check, write)) {
            reg.unsettled |= is_absent(check, write) &&
                             txn_of(check, check->writes[write].txn)->outcome == HISTORY_UNKNOWN &&
                             !check->committed[check->writes[write].txn];
            continue;
        }
        reg.chain.writes[reg.chain.count++] = write;
        reg.complete &= check->writes[write].place != NONE;
    }
    if (!reg.complete)
        chain_draw(check, &reg.chain);
    for (uint32_t i = 0; i < key->reads_count; i++)
        register_read_edges(&reg, &check->reads[key->reads_first + i]);
    for (uint32_t i = 0, next; !reg.complete && i < key->reads_count; i = next) {
        const struct read *reads = &check->reads[key->reads_first];
        for (next = i; next < key->reads_count && reads[next].write == reads[i].write;)
            next++;
        if (reads[i].write != NONE || !key->deleted)
            read_then_wrote(&reg, &reads[i], next - i);
    }
    free(reg.chain.writes);
}

static int read_compare(const void *a, const void *b) {
    const struct read *first = a, *second = b;
    if (first->key != second->key)
        return (first->key > second->key) - (first->key < second->key);
    if (first->write != second->write)
        return (first->write > second->write) - (first->write < second->write);
    return (first->txn > second->txn) - (first->txn < second->txn);
}

static void group_reads(struct check *check) {
    if (check->read_count)
        qsort(check->reads, check->read_count, sizeof *check->reads, read_compare);
    for (uint32_t i = 0; i < check->read_count; i++) {
        struct key_state *key = &check->keys[check->reads[i].key];
        if (!key->reads_count++)
            key->reads_first = i;
    }
}

/* ---- real time, and versions over all keys ---- */

struct moment {
    uint64_t at;
    uint32_t txn;
    bool reply;
};

/* At the same nanosecond requests come first: nothing is taken for before without being so. */
static int moment_compare(const void *a, const void *b) {
    const struct moment *first = a, *second = b;
    if (first->at != second->at)
        return (first->at > second->at) - (first->at < second->at);
    if (first->reply != second->reply)
        return first->reply - second->reply;
    return (first->txn > second->txn) - (first->txn < second->txn);
}

/* A helper for each reply: the transaction leads to it, it leads to the next one, and the last one
 * before a request leads to the transaction of that request. */
static void real_time_edges(struct check *check) {
    size_t txns = check->history->txn_count, count = 0;
    struct moment *moments = zeroed(2 * txns, sizeof *moments);
    for (uint32_t i = 0; i < txns; i++) {
        if (!check->committed[i])
            continue;
        moments[count++] = (struct moment){txn_of(check, i)->invoke_ns, i, false};
        if (txn_of(check, i)->outcome == HISTORY_OK)
            moments[count++] = (struct moment){txn_of(check, i)->complete_ns, i, true};
    }
    qsort(moments, count, sizeof *moments, moment_compare);
    uint32_t last = NONE;
    struct edge edge = {.key = NONE, .before = NONE, .after = NONE};
    for (size_t i = 0; i < count; i++) {
        if (!moments[i].reply) {
            edge.from = last, edge.to = moments[i].txn, edge.kind = EDGE_HOP;
            if (last != NONE)
                edge_add(check, edge);
            continue;
        }
        uint32_t node = (uint32_t)check->node_count++;
        edge.from = last, edge.to = node, edge.kind = EDGE_HOP;
        if (last != NONE)
            edge_add(check, edge);
        edge.from = moments[i].txn, edge.kind = EDGE_RT;
        edge_add(check, edge);
        last = node;
    }
    free(moments);
}

static void version_edges(struct check *check) {
    size_t count = 0;
    struct ranked *ranked = zeroed(check->history->txn_count, sizeof *ranked);
    for (uint32_t i = 0; i < check->history->txn_count; i++)
        if (check->committed[i] && check->version[i])
            ranked[count++] = (struct ranked){check->version[i], i};
    qsort(ranked, count, sizeof *ranked, ranked_compare);
    for (size_t i = 1; i < count; i++)
        if (ranked[i - 1].rank < ranked[i].rank)
            edge_add(check, (struct edge){.from = ranked[i - 1].item,
                                .to = ranked[i].item,
                                .kind = EDGE_VERSION,
                                .key = NONE,
                                .before = NONE,
                                .after = NONE});
    free(ranked);
}

/* ---- all together ---- */

/* A counting sort by where they start. */
static void index_edges(struct check *check) {
    check->edge_first = zeroed(check->node_count + 2, sizeof *check->edge_first);
    uint32_t *next = check->edge_first + 1;
    for (size_t i = 0; i < check->edge_count; i++)
        next[check->edges[i].from + 1]++;
    for (size_t i = 1; i <= check->node_count; i++)
        next[i] += next[i - 1];
    struct edge *sorted = zeroed(check->edge_count, sizeof *sorted);
    for (size_t i = 0; i < check->edge_count; i++)
        sorted[next[check->edges[i].from]++] = check->edges[i];
    free(check->edges);
    check->edges = sorted;
    check->edge_room = check->edge_count;
}

void draw_edges(struct check *check) {
    check->node_count = check->history->txn_count;
    check->chain_of = zeroed(check->node_count, sizeof *check->chain_of);
    memset(check->chain_of, 0xff, check->node_count * sizeof *check->chain_of);
    group_reads(check);
    for (uint32_t i = 0; i < check->history->key_count; i++) {
        if (check->keys[i].broken)
            continue;
        if (check->keys[i].list)
            list_edges(check, i);
        else
            register_edges(check, i);
    }
    real_time_edges(check);
    if (check->history->global_versions)
        version_edges(check);
    index_edges(check);
}
