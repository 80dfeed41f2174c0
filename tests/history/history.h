/* A history of transactions as their clients saw them, and the check that it is strictly
 * serializable, with the shortest cycle as the explanation if it is not.
 *
 * The method is that of Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from
 * Experimental Observations" (PVLDB 14(3), 2020): written values are unique, so a read tells which
 * write it saw (recoverability), and lists that are only appended to tell the whole order of
 * versions (traceability). From both follow Adya's dependencies (A. Adya, "Weak Consistency", PhD
 * thesis, MIT 1999, chapters 3 and 4): ww, wr, rw, the last for intervals too, and beside them real
 * time. A cycle is an anomaly; which edges it needs gives it its name. Here versions, if given,
 * order a register's writes as surely as a list does.
 *
 * How to use it: history_new, then for each transaction history_begin and its operations in the
 * order in which it ran them, then history_check. tests/history/README.md has an example; text.h
 * reads and writes histories as text.
 *
 * What is certain: every anomaly that is reported is one. What may be missed: registers without
 * versions are ordered by real time and by transactions that read and then wrote, which is not
 * always a complete order; a read that found nothing, of a key that was also deleted, may belong to
 * several places, and is tied only to what all of them have in common.
 *
 * Ownership: the history copies all that it is given. Threads: none of its own, no globals.
 * Errors: it is a test's tool: out of memory ends the process, and so does a call that breaks what
 * is written here (assert). Needs libc only. */
#ifndef CONCAVE_TESTS_HISTORY_H
#define CONCAVE_TESTS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HISTORY_NEVER UINT64_MAX /* complete_ns of a reply that never came */
#define HISTORY_ABSENT INT64_MIN /* what a read of a register that is not there gives */
#define HISTORY_ANOMALIES_MAX 16 /* described in a report; all are counted */
#define HISTORY_TEXT_MAX 2000    /* bytes of a description */

enum history_outcome {
    HISTORY_OK,      /* acknowledged: committed, and its reads are true */
    HISTORY_FAIL,    /* refused: nothing was written */
    HISTORY_UNKNOWN, /* no reply: committed as a whole or not at all */
};

struct history_txn {
    uint32_t client;
    uint64_t invoke_ns;   /* monotonic: not after the request was sent */
    uint64_t complete_ns; /* not before the reply was there; HISTORY_NEVER if there was none */
    enum history_outcome outcome;
    uint64_t version; /* of its commit; 0 if not known: reads of its writes may still tell */
    bool final;       /* it read the state at the end, when all else was over */
};

struct history;

/* global_versions: versions also order transactions that have no key in common (as LSNs do). */
struct history *history_new(bool global_versions);
void history_free(struct history *history);

/* Starts a transaction, to which the operations that follow belong. Its number: 0, 1, 2, ...; texts
 * call it T0, T1, T2, ... */
uint32_t history_begin(struct history *history, const struct history_txn *txn);
/* A key holds a list or a register, all along. An element, or a value, is written to a key once in
 * the whole history. A register's value is any number but HISTORY_ABSENT. */
void history_append(struct history *history, const char *key, int64_t element);
void history_write(struct history *history, const char *key, int64_t value);
void history_delete(struct history *history, const char *key);
/* What was read, the transaction's own writes before it included. version: that of what was read;
 * 0 if not known, not there, or the transaction's own. */
void history_read_list(struct history *history, const char *key, const int64_t *elements,
    size_t count, uint64_t version);
void history_read(struct history *history, const char *key, int64_t value, uint64_t version);
/* All keys from `from` up to `to` were read (to NULL: to the end; to_included: it too), and those
 * named by the items that follow, in byte order, were there. */
void history_range(struct history *history, const char *from, const char *to, bool to_included);
void history_range_item(struct history *history, const char *key, int64_t value, uint64_t version);
void history_range_list(struct history *history, const char *key, const int64_t *elements,
    size_t count, uint64_t version);

struct history_anomaly {
    const char *name;   /* "lost update", "stale read", ...; a string constant */
    const char *adya;   /* "G-single", "G2-item-realtime", ..., "" for what is no cycle; same */
    unsigned cycle;     /* transactions in the cycle; 0 if it is none */
    uint32_t txns[8];   /* the first of those concerned */
    unsigned txn_count; /* of txns */
    char text[HISTORY_TEXT_MAX]; /* lines that explain it, each with a newline */
};

struct history_report {
    size_t count; /* of anomalies; 0: the history is fine */
    struct history_anomaly anomalies[HISTORY_ANOMALIES_MAX];
    /* what was looked at */
    size_t txns, acknowledged, refused, unknown, unknown_applied;
    size_t reads;                        /* of one key each, a range's absent keys included */
    size_t ww, wr, rw, rw_predicate, rt; /* edges; rt in its reduced form */
    size_t ambiguous; /* reads that found nothing where several places would do */
};

/* Checks the history, which stays as it is. The report is the caller's, to free(). */
struct history_report *history_check(const struct history *history);

#endif
