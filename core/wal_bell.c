#include "core/wal_bell.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"

enum status bell_init(struct bell *bell) {
    atomic_init(&bell->asleep, false);
    bell->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return bell->fd >= 0 ? ST_OK : ST_IO;
}

void bell_free(struct bell *bell) {
    if (bell->fd >= 0)
        close(bell->fd);
    bell->fd = -1;
}

void bell_ring(struct bell *bell) {
    /* The plain look first: it is one read of a line that rarely changes. */
    if (!atomic_load_explicit(&bell->asleep, memory_order_seq_cst))
        return;
    if (!atomic_exchange_explicit(&bell->asleep, false, memory_order_seq_cst))
        return; /* someone else rings */
    int failed = eventfd_write(bell->fd, 1);
    assert(!failed);
}

void bell_announce(struct bell *bell) {
    atomic_store_explicit(&bell->asleep, true, memory_order_seq_cst);
}

void bell_withdraw(struct bell *bell) {
    atomic_store_explicit(&bell->asleep, false, memory_order_seq_cst);
}

void bell_wait(struct bell *bell, uint64_t timeout_ns) {
    struct pollfd ready = {.fd = bell->fd, .events = POLLIN};
    struct timespec limit = {
        .tv_sec = (time_t)(timeout_ns / NS_PER_S), .tv_nsec = (long)(timeout_ns % NS_PER_S)};
    int count = ppoll(&ready, 1, timeout_ns == UINT64_MAX ? NULL : &limit, NULL);
    assert(count >= 0 || errno == EINTR);
    bell_withdraw(bell);
    /* A ring that came while the bell was being withdrawn only costs a look at no work. */
    eventfd_t rings;
    (void)eventfd_read(bell->fd, &rings);
}
