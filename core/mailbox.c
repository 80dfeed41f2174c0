#include "core/mailbox.h"

#include <stddef.h>

void mailbox_init(struct mailbox *box) {
    atomic_init(&box->head, NULL);
    atomic_init(&box->asleep, false);
}

bool mailbox_push(struct mailbox *box, struct msg *msg) {
    struct msg *head = atomic_load_explicit(&box->head, memory_order_relaxed);
    do {
        msg->next = head;
        /* Sequentially consistent: this push and the consumer's announcement are a store each,
         * followed by a load of what the other stored (Dekker). At least one side sees the other.
         */
    } while (!atomic_compare_exchange_weak_explicit(
        &box->head, &head, msg, memory_order_seq_cst, memory_order_relaxed));
    if (head != NULL)
        return false; /* whoever made it non-empty has seen to the waking */
    return atomic_load_explicit(&box->asleep, memory_order_seq_cst) &&
           atomic_exchange_explicit(&box->asleep, false, memory_order_seq_cst);
}

struct msg *mailbox_drain(struct mailbox *box) {
    /* Sequentially consistent for the look after mailbox_sleep; acquire for the messages' bytes. */
    struct msg *newest = atomic_exchange_explicit(&box->head, NULL, memory_order_seq_cst);
    struct msg *oldest = NULL;
    while (newest) {
        struct msg *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void mailbox_sleep(struct mailbox *box) {
    atomic_store_explicit(&box->asleep, true, memory_order_seq_cst);
}

void mailbox_wake(struct mailbox *box) {
    atomic_store_explicit(&box->asleep, false, memory_order_seq_cst);
}
