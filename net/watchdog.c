#include "net/watchdog.h"

#include <assert.h>

unsigned watchdog_step(
    struct watchdog *watchdog, const uint64_t *turns, unsigned count, uint64_t now_ns) {
    assert(count <= WATCHDOG_SHARDS_MAX && now_ns >= watchdog->looked_ns);
    uint64_t passed_ns = now_ns - watchdog->looked_ns;
    bool gap = watchdog->looked_ns == 0 || passed_ns > WATCHDOG_GAP_NS;
    unsigned stuck = count;
    watchdog->looked_ns = now_ns;
    for (unsigned i = 0; i < count; i++) {
        bool same = turns[i] != 0 && turns[i] == watchdog->shards[i].turn && !gap;
        watchdog->shards[i].turn = turns[i];
        watchdog->shards[i].same_ns = same ? watchdog->shards[i].same_ns + passed_ns : 0;
        if (watchdog->shards[i].same_ns >= WATCHDOG_STUCK_NS && stuck == count)
            stuck = i;
    }
    return stuck;
}
