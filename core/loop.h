/* The event loop of one thread: readiness of descriptors, timers, and a wake-up from elsewhere.
 *
 * A thin seam over libevent, kept this small so that a simulation can stand in for it at link time.
 * The base runs without locks; only loop_wake may come from another thread.
 *
 * Ownership: the caller owns the loop and the watchers and timers it embeds in its own structs;
 * they must be stopped before their memory goes and before the loop does. Stopping (and freeing)
 * one from any callback, its own included, is fine: it is not called again. Descriptors stay the
 * caller's. Threads: all of it on the loop's thread, but for loop_wake; loop_create and
 * loop_destroy while that thread does not run. Errors: ST_NOMEM when memory or the kernel's watch
 * limit runs out; the watcher is then as before. */
#ifndef CONCAVE_CORE_LOOP_H
#define CONCAVE_CORE_LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

struct loop;

/* NULL if memory or descriptors run out. */
struct loop *loop_create(void);
void loop_destroy(struct loop *loop);

/* One turn: calls the callbacks of all that is ready. wait: sleeps until something is (loop_wake
 * included); otherwise looks and returns at once. */
void loop_turn(struct loop *loop, bool wait);

/* Any thread; also before the sleep begins. Ends the wait of the current or next loop_turn.
 * Wake-ups coalesce. */
void loop_wake(struct loop *loop);

/* ---- descriptors, listening sockets too (readable: accept4 until EAGAIN) ---- */

typedef void loop_ready_fn(void *ctx);

struct loop_fd {
    loop_ready_fn *readable, *writable;
    void *ctx;
    bool reading, writing; /* to be looked at only */
    struct event read_event, write_event;
};

/* Prepares the watcher; nothing is watched yet. fd is non-blocking; writable may be NULL if writing
 * is never wanted. Level-triggered: the callback comes in every turn in which fd is ready (hang-ups
 * and errors count as readable and as writable). Both callbacks may come in one turn. */
void loop_fd_init(struct loop *loop, struct loop_fd *watch, int fd, loop_ready_fn *readable,
    loop_ready_fn *writable, void *ctx);
/* Switches watching on or off; cheap if it is so already. Switching off cannot fail. */
MUST_USE enum status loop_fd_read(struct loop_fd *watch, bool on);
MUST_USE enum status loop_fd_write(struct loop_fd *watch, bool on);
/* Stops both; before close(fd). Twice is harmless. */
void loop_fd_stop(struct loop_fd *watch);

/* ---- one-shot timers ---- */

struct loop_timer {
    struct event event;
    loop_ready_fn *fired;
    void *ctx;
};

void loop_timer_init(struct loop *loop, struct loop_timer *timer, loop_ready_fn *fired, void *ctx);
/* Fires once, delay_ns from now (rounded up to a microsecond, never early), at the earliest in the
 * next turn. Starting it again moves it, which cannot fail while it is armed. */
MUST_USE enum status loop_timer_start(struct loop_timer *timer, uint64_t delay_ns);
/* Twice, or without a start, is harmless. */
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_armed(const struct loop_timer *timer);

#endif
