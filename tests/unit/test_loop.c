/* The loop calls what is ready, on time, and can be woken from elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/loop.h"

static struct loop *loop;

static int set_up(void **state) {
    (void)state;
    loop = loop_create();
    return loop ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    loop_destroy(loop);
    return 0;
}

static void count(void *ctx) {
    ++*(int *)ctx;
}

static void make_pair(int pair[2]) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
}

static void close_pair(const int pair[2]) {
    close(pair[0]);
    close(pair[1]);
}

static void a_readable_descriptor_is_told_until_it_is_read(void **state) {
    (void)state;
    int pair[2], calls = 0;
    char byte;
    struct loop_fd watch;
    make_pair(pair);
    loop_fd_init(loop, &watch, pair[0], count, NULL, &calls);
    assert_int_equal(loop_fd_read(&watch, true), ST_OK);
    loop_turn(loop, false);
    assert_int_equal(calls, 0);
    assert_int_equal(write(pair[1], "x", 1), 1);
    loop_turn(loop, true);
    loop_turn(loop, true);
    assert_int_equal(calls, 2);
    assert_int_equal(read(pair[0], &byte, 1), 1);
    loop_turn(loop, false);
    assert_int_equal(calls, 2);
    loop_fd_stop(&watch);
    loop_fd_stop(&watch);
    close_pair(pair);
}

static void writing_is_watched_on_demand_only(void **state) {
    (void)state;
    int pair[2], reads = 0;
    struct loop_fd watch;
    make_pair(pair);
    loop_fd_init(loop, &watch, pair[0], count, count, &reads);
    loop_turn(loop, false);
    assert_int_equal(reads, 0);
    assert_int_equal(loop_fd_write(&watch, true), ST_OK);
    assert_int_equal(loop_fd_write(&watch, true), ST_OK);
    assert_true(watch.writing && !watch.reading);
    loop_turn(loop, true);
    assert_int_equal(reads, 1);
    assert_int_equal(loop_fd_write(&watch, false), ST_OK);
    loop_turn(loop, false);
    assert_int_equal(reads, 1);
    loop_fd_stop(&watch);
    close_pair(pair);
}

static void a_hang_up_counts_as_readable(void **state) {
    (void)state;
    int pair[2], calls = 0;
    struct loop_fd watch;
    make_pair(pair);
    loop_fd_init(loop, &watch, pair[0], count, NULL, &calls);
    assert_int_equal(loop_fd_read(&watch, true), ST_OK);
    close(pair[1]);
    loop_turn(loop, true);
    assert_int_equal(calls, 1);
    loop_fd_stop(&watch);
    close(pair[0]);
}

/* A connection that frees itself in its callback, as one does whose client is gone. */
struct conn {
    struct loop_fd watch;
    struct loop_timer timer;
    int fd;
    int *ends;
};

static void end_conn(void *ctx) {
    struct conn *conn = ctx;
    ++*conn->ends;
    loop_fd_stop(&conn->watch);
    loop_timer_stop(&conn->timer);
    close(conn->fd);
    free(conn);
}

static void a_watcher_may_be_freed_in_its_own_callback(void **state) {
    (void)state;
    int pair[2], ends = 0;
    struct conn *conn = malloc(sizeof(*conn));
    assert_non_null(conn);
    make_pair(pair);
    conn->fd = pair[0];
    conn->ends = &ends;
    loop_fd_init(loop, &conn->watch, pair[0], end_conn, end_conn, conn);
    loop_timer_init(loop, &conn->timer, end_conn, conn);
    /* readable, writable and the timer are all due in one turn */
    assert_int_equal(loop_fd_read(&conn->watch, true), ST_OK);
    assert_int_equal(loop_fd_write(&conn->watch, true), ST_OK);
    assert_int_equal(loop_timer_start(&conn->timer, 0), ST_OK);
    assert_int_equal(write(pair[1], "x", 1), 1);
    usleep(100);
    loop_turn(loop, true);
    loop_turn(loop, false);
    assert_int_equal(ends, 1);
    close(pair[1]);
}

static void a_timer_fires_once_and_never_early(void **state) {
    (void)state;
    int fired = 0;
    struct loop_timer timer;
    loop_timer_init(loop, &timer, count, &fired);
    assert_false(loop_timer_armed(&timer));
    const uint64_t delays_ns[] = {0, 1, 50 * NS_PER_US, 999999, 3 * NS_PER_MS};
    for (size_t i = 0; i < sizeof(delays_ns) / sizeof(delays_ns[0]); i++) {
        fired = 0;
        uint64_t start = clock_monotonic_ns();
        assert_int_equal(loop_timer_start(&timer, delays_ns[i]), ST_OK);
        assert_true(loop_timer_armed(&timer));
        while (!fired)
            loop_turn(loop, true);
        uint64_t took = clock_monotonic_ns() - start;
        assert_true(took >= delays_ns[i]);
        assert_false(loop_timer_armed(&timer));
        loop_turn(loop, false);
        assert_int_equal(fired, 1);
    }
}

/* Rounded, each would take a millisecond or more. The machine is shared: the best of many counts.
 */
static void short_timers_are_not_rounded_to_milliseconds(void **state) {
    (void)state;
    int fired = 0;
    uint64_t best = UINT64_MAX, begun = clock_monotonic_ns();
    struct loop_timer timer;
    loop_timer_init(loop, &timer, count, &fired);
    while (best >= 900 * NS_PER_US && clock_monotonic_ns() - begun < 30 * NS_PER_S) {
        uint64_t start = clock_monotonic_ns();
        assert_int_equal(loop_timer_start(&timer, 100 * NS_PER_US), ST_OK);
        for (fired = 0; !fired;)
            loop_turn(loop, true);
        uint64_t took = clock_monotonic_ns() - start;
        best = took < best ? took : best;
    }
    assert_true(best < 900 * NS_PER_US);
}

static void a_timer_can_be_moved_and_stopped(void **state) {
    (void)state;
    int fired = 0;
    struct loop_timer timer;
    loop_timer_init(loop, &timer, count, &fired);
    loop_timer_stop(&timer);
    assert_int_equal(loop_timer_start(&timer, 3600 * NS_PER_S), ST_OK);
    assert_int_equal(loop_timer_start(&timer, 1), ST_OK); /* sooner */
    loop_turn(loop, true);
    assert_int_equal(fired, 1);
    assert_int_equal(loop_timer_start(&timer, 0), ST_OK);
    loop_timer_stop(&timer);
    loop_timer_stop(&timer);
    usleep(100);
    loop_turn(loop, false);
    assert_int_equal(fired, 1);
}

static void a_wake_up_before_the_sleep_is_not_lost(void **state) {
    (void)state;
    loop_wake(loop);
    loop_wake(loop);
    loop_turn(loop, true); /* the test hangs if it was lost */
}

static void *wake_later(void *ctx) {
    usleep(2000);
    loop_wake(ctx);
    return NULL;
}

static void another_thread_ends_the_sleep(void **state) {
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_later, loop), 0);
    loop_turn(loop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void wake_ups_coalesce(void **state) {
    (void)state;
    int fired = 0;
    struct loop_timer timer;
    for (int i = 0; i < 1000; i++)
        loop_wake(loop);
    loop_turn(loop, true);
    loop_timer_init(loop, &timer, count, &fired);
    assert_int_equal(loop_timer_start(&timer, NS_PER_MS), ST_OK);
    loop_turn(loop, true); /* sleeps until the timer: no wake-up is left */
    assert_int_equal(fired, 1);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_readable_descriptor_is_told_until_it_is_read),
        TEST(writing_is_watched_on_demand_only),
        TEST(a_hang_up_counts_as_readable),
        TEST(a_watcher_may_be_freed_in_its_own_callback),
        TEST(a_timer_fires_once_and_never_early),
        TEST(short_timers_are_not_rounded_to_milliseconds),
        TEST(a_timer_can_be_moved_and_stopped),
        TEST(a_wake_up_before_the_sleep_is_not_lost),
        TEST(another_thread_ends_the_sleep),
        TEST(wake_ups_coalesce),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
