/* What a log must hold after crashes: the records written so far in the order of their LSNs, how
 * many of them must survive whatever comes, and the highest LSN that anybody can have seen. A log
 * opened through it is checked against it, record by record and byte by byte.
 *
 * A life is one run of the process: open, publish, step, end. The log runs on one thread, on the
 * clock of this module, which stands still unless told to go on.
 *
 * Ownership: the caller owns models and lives; a life owns its log until life_end.
 * Threads: one.
 * Errors: what the log must never do prints the case (model_case) and fails the test. */
#ifndef CONCAVE_TESTS_SUPPORT_LOG_MODEL_H
#define CONCAVE_TESTS_SUPPORT_LOG_MODEL_H

#include "core/wal_private.h"

struct log_model {
    uint64_t *lsns;
    uint64_t *numbers; /* of the records: what is in one follows from its number */
    size_t count, cap;
    size_t kept;          /* so many of them are acknowledged, or were shown by a recovery */
    uint64_t shown_lsn;   /* the highest that a reply can have shown */
    uint64_t next_number; /* never used before, also not by a record that was lost */
    bool in_blocks;       /* records are small or fill a block, and are synced at once */
};

void model_copy(const struct log_model *from, struct log_model *to);
void model_free(struct log_model *model);
/* What is printed when something does not hold; printf-like. */
void model_case(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Fails the test unless it holds. */
#define HOLDS(condition) model_holds((condition), #condition, __FILE__, __LINE__)
void model_holds(bool condition, const char *text, const char *file, int line);

struct life {
    struct log_model *model;
    struct wal *wal; /* NULL before it is open, and if that failed */
    bool relaxed;
    unsigned producers;
    size_t longest; /* record, in bytes of values */
    bool opening;   /* leaks_overlook; the tests of opening itself (test_wal.c) look */
    char error[2048];
    struct buf text; /* what error is made of */
};

/* A seeded draw below the bound. */
uint64_t model_draw(uint64_t *random, uint64_t bound);
/* Settings for a life in this directory; of an empty directory always the same salt. */
struct wal_options model_options(const char *dir, uint64_t *random);

/* Restores and checks what comes back: ST_OK, or what restore_run or wal_begin say, with
 * life.error. */
MUST_USE enum status life_open(
    struct life *life, struct log_model *model, const struct wal_options *options);
/* Publishes the record of the next number. ST_OK, or what wal_reserve says. */
MUST_USE enum status life_publish(struct life *life, uint64_t *random);
/* Notes what is durable by now; to be called whenever the outside could look. */
void life_observe(struct life *life);
/* Writes and publishes a snapshot of all that is kept, and removes what it makes superfluous.
 * ST_OK, or what failed, with life.error. */
MUST_USE enum status life_snapshot(struct life *life);
/* Steps until nothing is left to do at this time. */
void life_settle(struct life *life);
/* Frees the log: nothing more is written. */
void life_end(struct life *life);

void model_clock_set(uint64_t ns);
uint64_t model_clock(void);

#endif
