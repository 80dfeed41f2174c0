/* A shard: one part of the keyspace with everything that happens to it, as a step function.
 *
 * Messages and calls come in, messages and finished calls go out through struct shard_env; time is
 * passed in. A shard does no I/O, takes no lock and starts no thread, so all shards can run on one
 * thread under a seed. In the server net/worker.c gives each shard a thread, a libevent loop and a
 * mailbox.
 *
 * Ownership: the creator owns the shard; the shard owns its treap, marks and transactions. A
 * submitted call belongs to the shards until env->released. Threads: after shard_open_data
 * everything here is for the shard's own thread, but for the functions that say "any thread".
 * Neighbours in the walk of a request: net/conn.c -> shard_submit -> shard/coordinator.c ->
 * shard/participant.c -> core/wal.c -> shard/gate.c -> net/conn.c. */
#ifndef CONCAVE_SHARD_SHARD_H
#define CONCAVE_SHARD_SHARD_H

#include "core/slots.h"
#include "core/stats.h"
#include "core/wal.h"
#include "shard/procedure.h"
#include "shard/script.h"

struct shard;
struct treap_frozen;

struct shard_env {
    void *ctx;
    /* Hands msg to a shard (also to the sender's own). Never fails. */
    void (*send)(void *ctx, unsigned to, struct msg *msg);
    /* At home: the call has committed or ended; the connection's next request may start. Its reply
     * is complete but may not leave yet. */
    void (*committed)(void *ctx, struct call *call);
    /* At home, after committed: the reply may leave; the call is the home's again. */
    void (*released)(void *ctx, struct call *call);
};

struct shard_options {
    unsigned index;
    unsigned shards;
    const struct slots *slots;
    struct wal *wal;
    struct stats *stats;  /* thread index = shard index */
    uint64_t hash_seed;   /* wal_salt */
    uint64_t random_seed; /* of back-off and treap priorities */
    size_t key_bytes_max;
    size_t value_bytes_max;
    size_t memory_max;    /* bytes of keys and values over all shards; 0 = none */
    size_t txn_bytes_max; /* copies that one transaction may hold; 0 = 256 MiB */
    unsigned calls_max;   /* in flight on a shard; past it ST_BUSY */
    uint64_t turn_ns_max; /* after which a turn begins no further step; 0 = their number decides,
                             which is one for the slow */
    struct shard_peers *peers; /* what shards may see of each other without a message */
    struct shard_env env;
};

/* Labels of calls, over all versions of the application that a process has run: twice as many as it
 * may have routes, so that a whole set may be exchanged once. */
#define CALL_LABELS_MAX 8192u

/* Few atomics that all shards share: load of each shard, bytes of data, the metrics' ids. Made
 * before the shards, freed after them. label_count: call->label is below it; label_names[i] is the
 * route pattern for the metrics. NULL if memory ran out. */
struct shard_peers *shard_peers_create(
    unsigned shards, struct stats *stats, const char *const *label_names, unsigned label_count);
/* One more label, before the shards see a call with it. One thread at a time. */
void shard_peers_add_label(
    struct shard_peers *peers, struct stats *stats, unsigned label, const char *name);
void shard_peers_destroy(struct shard_peers *peers);

MUST_USE enum status shard_create(const struct shard_options *options, struct shard **shard);
/* Nothing may be in flight. */
void shard_destroy(struct shard *shard);

/* ---- Recovery, before the shard's thread touches its data; one thread at a time ---- */

/* Loads a snapshot into an empty shard: about this many keys, added in ascending order. ST_OK;
 * ST_NOMEM. */
MUST_USE enum status shard_load_begin(struct shard *shard, size_t keys);
MUST_USE enum status shard_load_add(
    struct shard *shard, struct slice key, uint64_t hash, struct slice value, uint64_t version);
void shard_load_end(struct shard *shard);
/* Applies one operation of the log. ST_OK; ST_NOMEM. */
MUST_USE enum status shard_replay(struct shard *shard, uint64_t lsn, enum wal_op op,
    struct slice key, uint64_t hash, struct slice value);

/* The log that commits go to, if it was not known yet at shard_create. */
void shard_set_wal(struct shard *shard, struct wal *wal);

/* ---- Serving ---- */

/* Takes a call in at its home. Ends in env.released, at the earliest in a later call of this file.
 * Otherwise the call stays with the caller: ST_BUSY with calls_max in flight, ST_NOMEM. */
MUST_USE enum status shard_submit(struct shard *shard, struct call *call, uint64_t now_ns);

/* Keeps the data as it is now, for a snapshot: O(1), but for the writes of prepared transactions,
 * whose paths are copied then. The view may be read by one other thread until
 * the first shard_thaw. One at a time. ST_OK; ST_NOMEM: nothing was kept. */
MUST_USE enum status shard_freeze(struct shard *shard, struct treap_frozen **frozen);
/* Gives back at most max nodes and values that were kept for the view; true when that was all. */
bool shard_thaw(struct shard *shard, size_t max);

/* Takes one message in. */
void shard_deliver(struct shard *shard, struct msg *msg, uint64_t now_ns);

/* One turn after the mailbox has been drained: new and woken attempts, timers, gated replies. True
 * if work is left that should not wait for an event, apart from that of shard_turn_slow. */
bool shard_turn(struct shard *shard, uint64_t now_ns);

/* A share of time for the slow (shard/ready.h): one step at least, and none begins after half the
 * time of a turn. Once for one or two turns, when what they released has been sent: then the quick
 * are held up by a slice or two of the slow, and these have about a fifth of the time at least.
 * True if it has done anything: a turn must follow. */
bool shard_turn_slow(struct shard *shard, uint64_t now_ns);
/* Whether it has anything to do. */
bool shard_has_slow(const struct shard *shard);

/* When shard_turn next has something to do for a timer; UINT64_MAX: never. */
uint64_t shard_next_ns(const struct shard *shard);

/* Calls submitted here or running here, messages of ours out: 0 means that nothing is in flight. */
unsigned shard_in_flight(const struct shard *shard);

/* The label of the call whose procedure runs on the shard just now; false if none does. For whoever
 * finds that the shard does not come back from it. Any thread. */
bool shard_peers_running(const struct shard_peers *peers, unsigned shard, unsigned *label);

/* Numbers for status and metrics. Any thread; relaxed. */
uint64_t shard_peers_keys(const struct shard_peers *peers, unsigned shard);
uint64_t shard_peers_bytes(const struct shard_peers *peers, unsigned shard);
/* The LSN of the transaction with the marker of first_run, if it has committed in this process; 0:
 * it has not. */
uint64_t shard_peers_first_run(const struct shard_peers *peers);

#endif
