/* A shard's Lua machine, and the attempts that run in it.
 *
 * One lua_State per shard with a capped allocator; each running attempt has a coroutine in it, from
 * a pool. When Lua hits its memory cap the state is thrown away and made anew from the
 * application's files under the same struct script_vm: attempts of the old one notice by their
 * generation.
 *
 * Ownership: the shard owns the VM; the VM owns its Lua state, its coroutines and its free
 * attempts; an attempt in use belongs to its call. Threads: one at a time; between making and
 * destroying it that is the shard's own. Errors: what runs inside Lua raises Lua errors; see
 * lua/doom.h for those that nothing may catch. */
#ifndef CONCAVE_LUA_VM_H
#define CONCAVE_LUA_VM_H

#include <lauxlib.h>
#include <lua.h>

#include "lua/app.h"
#include "lua/heap.h"
#include "lua/random.h"

#define SCRIPT_POOL_MAX 256u
#define SCRIPT_LOG_BYTES_MAX ((size_t)64 << 10) /* of one attempt */
#define SCRIPT_LOG_RESERVE ((size_t)48 << 10)   /* and for the error that ends it: 2 full lines */
#define SCRIPT_SCRATCH_KEEP ((size_t)64 << 10)  /* what a VM's buffers may hold on to */

struct script_test;

/* Why an attempt must unwind to the very bottom, whatever pcall the application has put around. */
enum doom {
    DOOM_NONE,
    DOOM_LOST,    /* the transaction said ST_DOOMED */
    DOOM_RERUN,   /* a wait where the machine cannot yield */
    DOOM_ABORT,   /* abort(): the reply is made */
    DOOM_TIMEOUT, /* the request's budget is used up */
    DOOM_STUCK,   /* ran too long where the machine cannot yield */
    DOOM_MEMORY,  /* the machine is at its cap */
};

/* What a yield that reaches the bottom means. */
enum pause {
    PAUSE_NONE, /* the application's own coroutine.yield */
    PAUSE_WAIT, /* a store call waits */
    PAUSE_TURN, /* preempted */
};

/* A coroutine of the machine, kept from the collector by a registry reference. */
struct script_thread {
    lua_State *state;
    int ref;
};

/* Lua nests coroutines in C, 200 deep (LUAI_MAXCCALLS). */
#define SCRIPT_PARKED_MAX 200u

struct attempt {
    struct script_vm *vm;
    struct call *call;
    struct txn *txn; /* NULL while the application is being loaded */
    struct script_thread thread;
    uint64_t generation;  /* of the machine it runs in */
    uint64_t serial;      /* tells attempts apart */
    uint64_t deadline_ns; /* monotonic */
    enum doom doom;
    enum pause pause;
    enum verdict verdict; /* if it ends well */
    unsigned pinned;   /* coroutines of the application that were resumed where nothing can yield */
    uint64_t slice_ns; /* when this turn began; 0 = not seen yet */
    unsigned slice_hooks;   /* hooks since then */
    uint64_t slice_busy_ns; /* and the time, without what no script can have taken (STALL_NS) */
    /* work that no hook sees (lua/doom.h) */
    size_t work;            /* units since the last look */
    unsigned looks;         /* since the last hook */
    uint64_t looked_ns;     /* the last of them */
    uint64_t looks_busy_ns; /* since the first of them, without stalls */
    /* the count hook */
    uint64_t hook_ns;    /* the last one; 0 = none in this turn */
    unsigned hook_count; /* instructions to the next one */
    bool hook_careful;   /* there was a stretch that took too long */
    /* the application's coroutines that wait with it, innermost first; those beyond are not noted
     */
    lua_State *parked[SCRIPT_PARKED_MAX];
    unsigned parked_count;
    const void *req;       /* its req table */
    const char *too_large; /* the error text that said so; kept only to be compared */
    bool seeded;
    struct random random;
    struct buf names; /* of the JSON that is being decoded */
    struct buf log;   /* lines to be written if the attempt stands (lua/log.h) */
    unsigned log_lost;
    struct attempt *next_free;
};

struct script_vm {
    struct script_app *app;
    unsigned shard;
    uint64_t generation;

    /* ---- the Lua state; NULL if it could not be made again ---- */
    lua_State *lua;
    struct script_thread pool[SCRIPT_POOL_MAX];
    unsigned pool_count;
    int *handlers;          /* registry references of the routes' functions, by route index */
    unsigned handler_count; /* routes declared so far */
    int first_run, start;   /* references, or LUA_NOREF */
    int array_meta, object_meta, req_meta, walk_meta;
    const void *array_mark, *object_mark; /* the first two metatables, to compare */
    bool sealed;

    /* ---- a machine in which a test runs (lua/test_lib.h) ---- */
    struct script_test *test;
    unsigned test_index, tests_seen;
    int test_function; /* a reference */

    bool creating; /* in script_vm_create: the application's loader may stop it */

    /* ---- the allocator ---- */
    struct heap heap;
    size_t handed_out;  /* since the last early hook */
    size_t tuned_bytes; /* of the heap when the collector was last told its pace */

    /* ---- what runs now ---- */
    struct attempt *current; /* whose code runs */
    lua_State *running;      /* the coroutine it runs in, the application's own included */

    struct attempt loading; /* stands for the load itself */
    struct attempt *free_attempts;
    uint64_t serial;
    struct buf scratch; /* one encoded value */
    struct buf members; /* the encoder's */
    struct buf sorting; /* the encoder's */
};

/* The VM of a Lua state. The two lowest bits of the word are lua/control_lib.c's. */
static inline struct script_vm *script_vm_of(lua_State *L) {
    uintptr_t word = *(uintptr_t *)lua_getextraspace(L);
    return (struct script_vm *)(word & ~(uintptr_t)3); // NOLINT(performance-no-int-to-ptr)
}

/* A VM with the application loaded. ST_OK; ST_INVALID, ST_NOMEM with the reason in error. */
MUST_USE enum status script_vm_create(
    struct script_app *app, unsigned shard, struct script_vm **vm, struct buf *error);
/* One in which test `index` of the application runs. */
MUST_USE enum status script_vm_create_for_test(struct script_app *app, unsigned index,
    struct script_test *test, struct script_vm **vm, struct buf *error);
void script_vm_destroy(struct script_vm *vm);

/* Throws the Lua state away and loads the application again. The failure, if any, is logged and the
 * VM has no state until a later call succeeds. */
void script_vm_replace(struct script_vm *vm);

/* A coroutine that can be resumed with a function; false if memory ran out. */
MUST_USE bool script_thread_get(struct script_vm *vm, struct script_thread *thread);
/* Takes a coroutine back. clean: it returned normally and may run again; others go to the
 * collector, unclosed (closing runs code, and a coroutine once reset gets no hook calls any more).
 */
void script_thread_put(struct script_vm *vm, struct script_thread thread, bool clean);

/* An attempt with everything empty; NULL if memory ran out. */
struct attempt *script_attempt_get(struct script_vm *vm);
void script_attempt_put(struct attempt *attempt);

#endif
