/* What the parts of the history checker share: the history as recorded, and what is inferred of it.
 *
 * In reading order: history.c records, observe.c resolves each read to the write that it saw,
 * order.c puts the writes of each key in order, final.c looks for what the end has lost, edges.c
 * draws the graph, cycles.c finds its cycles, explain.c names and describes them. */
#ifndef CONCAVE_TESTS_HISTORY_PRIVATE_H
#define CONCAVE_TESTS_HISTORY_PRIVATE_H

#include "tests/history/history.h"

#define NONE UINT32_MAX

/* ---- memory: growing arrays, for which failure is the end ---- */

/* Room for one more in array[len], doubling; returns the array. */
void *grown(void *array, size_t len, size_t *room, size_t item_bytes);
void *zeroed(size_t count, size_t item_bytes);

#define PUSH(array, len, room, item)                                                               \
    do {                                                                                           \
        (array) = grown((array), (len), &(room), sizeof *(array));                                 \
        (array)[(len)++] = (item);                                                                 \
    } while (0)

/* ---- as recorded ---- */

enum op_kind { OP_APPEND, OP_WRITE, OP_DELETE, OP_READ, OP_LIST, OP_RANGE };

struct op {
    enum op_kind kind;
    bool included;  /* OP_RANGE: `to` belongs to it */
    uint32_t key;   /* OP_RANGE: from */
    uint32_t to;    /* OP_RANGE: NONE if without end */
    uint32_t items; /* OP_RANGE: so many of the ops that follow (OP_READ, OP_LIST) are its items */
    int64_t value;
    uint64_t version;
    size_t first; /* OP_LIST: of elements */
    uint32_t count;
};

struct txn {
    struct history_txn is;
    size_t first_op, op_count;
};

struct history {
    bool global_versions;
    struct txn *txns;
    size_t txn_count, txn_room;
    struct op *ops;
    size_t op_count, op_room;
    int64_t *elements;
    size_t element_count, element_room;
    char **keys;
    size_t key_count, key_room;
    uint32_t *key_slots; /* of a hash table, NONE if free */
    size_t key_slot_count;
    bool in_range;   /* items may follow... */
    size_t range_op; /* ...that belong to this one */
};

/* ---- as inferred ---- */

struct write {
    uint32_t txn, key;
    int64_t value;  /* HISTORY_ABSENT: a delete */
    uint32_t place; /* in its key's order, NONE if not known */
    bool last;      /* of its transaction on that key: the others are intermediate */
};

struct read {
    uint32_t txn, key;
    uint32_t write; /* that was seen; NONE: the key was not there, or an empty list */
    uint32_t len;   /* of the list that was seen, without own appends */
    bool predicate; /* by a range */
};

struct key_state {
    bool list, deleted;     /* holds a list; some transaction deletes it */
    bool broken;            /* its reads contradict each other: no edges are drawn from it */
    const int64_t *longest; /* list that anybody saw */
    uint32_t longest_len;
    uint32_t *order; /* writes whose order is known, first to last */
    uint32_t order_len;
    uint32_t writes_first, writes_count; /* of check.by_key */
    uint32_t reads_first, reads_count;   /* of check.reads, once they are sorted */
};

struct list_seen {
    uint32_t txn, key;
    const int64_t *elements;
    uint32_t count;
};

enum edge_kind {
    EDGE_WW = 1,
    EDGE_WR = 2,
    EDGE_RW = 4,
    EDGE_RT = 8,
    EDGE_VERSION = 16,
    EDGE_HOP = 32
};

/* Nodes are transactions and, behind them, helpers that stand for many edges at once: an edge into
 * a helper says what kind all the ways through it are, EDGE_HOP goes on and out. */
struct edge {
    uint32_t from, to;
    enum edge_kind kind;
    bool predicate;
    uint32_t key;           /* NONE: of real time or versions */
    uint32_t before, after; /* writes concerned: seen or overwritten, and the later one; or NONE */
};

/* Where a transaction's last write in the chain of a key is (edges.c). */
struct chain_place {
    uint32_t key, at;
};

struct check {
    const struct history *history;
    struct history_report *report;
    uint32_t *sorted_keys; /* in byte order */
    struct key_state *keys;
    struct write *writes;
    size_t write_count, write_room;
    uint32_t *by_key;      /* writes, those of a key together */
    uint32_t *value_slots; /* hash table of writes by key and value */
    size_t value_slot_count;
    struct read *reads;
    size_t read_count, read_room;
    struct list_seen *lists;
    size_t list_count, list_room;
    bool *committed;   /* by transaction: acknowledged, or seen */
    uint64_t *version; /* by transaction, 0 if not known */
    bool *accused;     /* by transaction: an anomaly names it already */
    struct edge *edges;
    size_t edge_count, edge_room;
    size_t node_count;
    struct chain_place *chain_of; /* by transaction; of the key looked at last */
    uint32_t *edge_first;         /* by node, of edges sorted by from; one more at the end */
};

static inline const struct history_txn *txn_of(const struct check *check, uint32_t txn) {
    return &check->history->txns[txn].is;
}
/* A write that is a version of its key: committed, and not overwritten by its own transaction. */
static inline bool is_version(const struct check *check, uint32_t write) {
    const struct write *at = &check->writes[write];
    return check->committed[at->txn] && (at->last || check->keys[at->key].list);
}
/* Without versions two writes of a key can only be told apart by real time. */
static inline bool is_before_in_time(const struct check *check, uint32_t first, uint32_t second) {
    return txn_of(check, first)->outcome == HISTORY_OK &&
           txn_of(check, first)->complete_ns < txn_of(check, second)->invoke_ns;
}

/* observe.c */
void observe(struct check *check);
uint32_t find_write(const struct check *check, uint32_t key, int64_t value);
void learn_version(struct check *check, uint32_t txn, uint64_t version, uint32_t reader);
/* order.c */
void order_lists(struct check *check);
void order_registers(struct check *check);
/* final.c */
void compare_final(struct check *check);
/* edges.c */
void draw_edges(struct check *check);
/* cycles.c */
void find_cycles(struct check *check);

/* explain.c: an anomaly that is no cycle. Counts it; NULL if enough are described. */
struct history_anomaly *accuse(struct check *check, const char *name, uint32_t txn, uint32_t other,
    const char *format, ...) __attribute__((format(printf, 5, 6)));
/* A cycle: edges, each from where the one before leads (through helpers), that close. */
void accuse_cycle(struct check *check, const struct edge *const *cycle, size_t count);

#endif
