/* A mailbox: the unbounded-by-itself, lock-free queue by which threads hand each other messages.
 *
 * Many producers, one consumer. A producer pushes with one compare-and-swap; the consumer takes all
 * there is with one exchange and reverses it, so messages of one producer arrive in the order they
 * were pushed (Treiber 1986 for the push; exchange-all has no ABA problem since nothing is popped
 * singly).
 *
 * Ownership: pushing hands the message over; the pusher touches nothing of it afterwards.
 * Bounds: a mailbox holds at most what its producers may have in flight: each transaction owns one
 * message a shard, each request is one message, and both are counted where they are admitted.
 * Waking: the consumer announces its sleep and looks once more; a producer wakes it only if it
 * found the box empty and the owner asleep, because a wake across cores costs 8 us and a push tens
 * of ns. */
#ifndef CONCAVE_CORE_MAILBOX_H
#define CONCAVE_CORE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>

/* First member of every message. */
struct msg {
    struct msg *next; /* owned by the mailbox while queued, by the holder otherwise */
    unsigned type;    /* what it is, for the one switch of the receiver */
    unsigned from;    /* the shard whose message this is: only it frees it */
};

struct mailbox {
    _Atomic(struct msg *) head; /* newest first */
    atomic_bool asleep;         /* set by the consumer, cleared by whoever wakes it */
};

void mailbox_init(struct mailbox *box);

/* Any thread. True if the owner sleeps and the caller must wake it (just one caller is told so). */
bool mailbox_push(struct mailbox *box, struct msg *msg);

/* Consumer only. All messages, oldest first, linked by next; NULL if there are none. */
struct msg *mailbox_drain(struct mailbox *box);

/* Consumer only. Announces sleep; after it the consumer drains once more and, if that found
 * something, calls mailbox_wake instead of sleeping. */
void mailbox_sleep(struct mailbox *box);
/* Consumer only: awake again. */
void mailbox_wake(struct mailbox *box);

#endif
