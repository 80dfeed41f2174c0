#include "core/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/clock.h"

struct loop {
    struct event_base *base;
    struct event woken;
    int wake_fd; /* an eventfd: the kernel adds up the wake-ups, one read takes them all */
};

static void drain_wake_fd(evutil_socket_t fd, short what, void *ctx) {
    uint64_t count;
    (void)what;
    (void)ctx;
    ssize_t got = read(fd, &count, sizeof(count));
    assert(got == sizeof(count) || errno == EAGAIN || errno == EINTR);
}

/* Locks are for bases that threads share. Precise timers: else libevent rounds waits up to whole
 * milliseconds. No cached time: a delay counts from the call, not from when the turn began. */
static struct event_base *create_base(void) {
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (!config)
        return NULL;
    if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER |
                                          EVENT_BASE_FLAG_NO_CACHE_TIME |
                                          EVENT_BASE_FLAG_IGNORE_ENV) == 0)
        base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

struct loop *loop_create(void) {
    struct loop *loop = malloc(sizeof(*loop));
    if (!loop)
        return NULL;
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0)
        goto err_after_alloc;
    loop->base = create_base();
    if (!loop->base)
        goto err_after_eventfd;
    if (event_assign(&loop->woken, loop->base, loop->wake_fd, EV_READ | EV_PERSIST, drain_wake_fd,
            NULL) != 0 ||
        event_add(&loop->woken, NULL) != 0)
        goto err_after_base;
    return loop;
err_after_base:
    event_base_free(loop->base);
err_after_eventfd:
    close(loop->wake_fd);
err_after_alloc:
    free(loop);
    return NULL;
}

void loop_destroy(struct loop *loop) {
    if (!loop)
        return;
    event_del(&loop->woken);
    event_base_free(loop->base);
    close(loop->wake_fd);
    free(loop);
}

void loop_turn(struct loop *loop, bool wait) {
    int result = event_base_loop(loop->base, EVLOOP_ONCE | (wait ? 0 : EVLOOP_NONBLOCK));
    assert(result == 0); /* the wake-up is always watched; epoll_wait fails by misuse only */
}

void loop_wake(struct loop *loop) {
    uint64_t one = 1;
    ssize_t wrote;
    do {
        wrote = write(loop->wake_fd, &one, sizeof(one));
    } while (wrote < 0 && errno == EINTR);
    assert(wrote == sizeof(one) || errno == EAGAIN); /* a full counter wakes just as well */
}

/* ---- descriptors ---- */

static void on_readable(evutil_socket_t fd, short what, void *ctx) {
    struct loop_fd *watch = ctx;
    (void)fd;
    (void)what;
    watch->readable(watch->ctx);
}

static void on_writable(evutil_socket_t fd, short what, void *ctx) {
    struct loop_fd *watch = ctx;
    (void)fd;
    (void)what;
    watch->writable(watch->ctx);
}

void loop_fd_init(struct loop *loop, struct loop_fd *watch, int fd, loop_ready_fn *readable,
    loop_ready_fn *writable, void *ctx) {
    watch->readable = readable;
    watch->writable = writable;
    watch->ctx = ctx;
    watch->reading = watch->writing = false;
    int failed =
        event_assign(&watch->read_event, loop->base, fd, EV_READ | EV_PERSIST, on_readable, watch);
    failed |= event_assign(
        &watch->write_event, loop->base, fd, EV_WRITE | EV_PERSIST, on_writable, watch);
    assert(fd >= 0 && readable && !failed); /* event_assign fails by misuse only */
}

static enum status switch_event(struct event *event, bool *is_on, bool on) {
    if (on == *is_on)
        return ST_OK;
    if (!on) {
        int failed = event_del(event);
        assert(!failed);
    } else if (event_add(event, NULL) != 0) {
        return ST_NOMEM;
    }
    *is_on = on;
    return ST_OK;
}

enum status loop_fd_read(struct loop_fd *watch, bool on) {
    return switch_event(&watch->read_event, &watch->reading, on);
}

enum status loop_fd_write(struct loop_fd *watch, bool on) {
    assert(watch->writable || !on);
    return switch_event(&watch->write_event, &watch->writing, on);
}

void loop_fd_stop(struct loop_fd *watch) {
    enum status read = loop_fd_read(watch, false);
    enum status write = loop_fd_write(watch, false);
    assert(read == ST_OK && write == ST_OK);
}

/* ---- timers ---- */

static void on_timer(evutil_socket_t fd, short what, void *ctx) {
    struct loop_timer *timer = ctx;
    (void)fd;
    (void)what;
    timer->fired(timer->ctx);
}

void loop_timer_init(struct loop *loop, struct loop_timer *timer, loop_ready_fn *fired, void *ctx) {
    timer->fired = fired;
    timer->ctx = ctx;
    int failed = evtimer_assign(&timer->event, loop->base, on_timer, timer);
    assert(fired && !failed);
}

enum status loop_timer_start(struct loop_timer *timer, uint64_t delay_ns) {
    /* One microsecond more than rounding up, since libevent's own clock is cut to microseconds. */
    uint64_t delay_us = delay_ns / NS_PER_US + 2;
    struct timeval delay = {
        .tv_sec = (time_t)(delay_us / 1000000), .tv_usec = (suseconds_t)(delay_us % 1000000)};
    return evtimer_add(&timer->event, &delay) == 0 ? ST_OK : ST_NOMEM;
}

void loop_timer_stop(struct loop_timer *timer) {
    int failed = evtimer_del(&timer->event);
    assert(!failed);
}

bool loop_timer_armed(const struct loop_timer *timer) {
    return evtimer_pending(&timer->event, NULL) != 0;
}
