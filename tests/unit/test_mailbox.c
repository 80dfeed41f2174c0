/* Mailbox: order, and that no message and no wake-up is lost between threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/mailbox.h"

#define PRODUCERS 3u
#define MESSAGES 20000u

static void messages_come_out_in_the_order_they_went_in(void **state) {
    (void)state;
    struct mailbox box;
    struct msg messages[3] = {{.type = 0}, {.type = 1}, {.type = 2}};
    mailbox_init(&box);
    for (unsigned i = 0; i < 3; i++)
        assert_false(mailbox_push(&box, &messages[i])); /* the owner is awake */
    struct msg *msg = mailbox_drain(&box);
    for (unsigned i = 0; i < 3; i++, msg = msg->next)
        assert_int_equal(msg->type, i);
    assert_null(msg);
    assert_null(mailbox_drain(&box));
}

static void only_the_first_push_to_a_sleeper_wakes_it(void **state) {
    (void)state;
    struct mailbox box;
    struct msg first = {0}, second = {0}, third = {0};
    mailbox_init(&box);
    mailbox_sleep(&box);
    assert_true(mailbox_push(&box, &first));
    assert_false(mailbox_push(&box, &second));
    assert_non_null(mailbox_drain(&box));
    assert_false(mailbox_push(&box, &third)); /* whoever woke it has cleared the flag */
}

struct producer {
    struct mailbox *box;
    int eventfd;
    struct msg *messages;
};

static void *produce(void *argument) {
    struct producer *producer = argument;
    for (unsigned i = 0; i < MESSAGES; i++)
        if (mailbox_push(producer->box, &producer->messages[i]))
            (void)eventfd_write(producer->eventfd, 1);
    return NULL;
}

/* The consumer sleeps whenever it finds nothing, as a shard's loop does. */
static void threads_lose_nothing(void **state) {
    (void)state;
    struct mailbox box;
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    unsigned next[PRODUCERS] = {0}, received = 0;
    int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(wake >= 0);
    mailbox_init(&box);
    for (unsigned p = 0; p < PRODUCERS; p++) {
        producers[p] = (struct producer){&box, wake, calloc(MESSAGES, sizeof(struct msg))};
        for (unsigned i = 0; i < MESSAGES; i++)
            producers[p].messages[i] = (struct msg){.type = i, .from = p};
        assert_int_equal(pthread_create(&threads[p], NULL, produce, &producers[p]), 0);
    }
    while (received < PRODUCERS * MESSAGES) {
        struct msg *msg = mailbox_drain(&box);
        if (!msg) {
            mailbox_sleep(&box);
            msg = mailbox_drain(&box);
            struct pollfd fd = {.fd = wake, .events = POLLIN};
            if (!msg)
                assert_int_equal(poll(&fd, 1, 10000), 1); /* a lost wake-up would time out */
            mailbox_wake(&box);
            eventfd_t ignored;
            (void)eventfd_read(wake, &ignored);
        }
        for (; msg; msg = msg->next, received++)
            assert_int_equal(msg->type, next[msg->from]++);
    }
    for (unsigned p = 0; p < PRODUCERS; p++) {
        pthread_join(threads[p], NULL);
        free(producers[p].messages);
    }
    close(wake);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_in_the_order_they_went_in),
        cmocka_unit_test(only_the_first_push_to_a_sleeper_wakes_it),
        cmocka_unit_test(threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
