/* Bytes on the arena's disk that are not what the log wrote: a bit that has flipped, and what
 * another directory's log has left behind the end.
 *
 * Ownership: none kept. Threads: one.
 * Errors: what recovery must never do is noted in the ledger. */
#ifndef CONCAVE_TESTS_SIM_LOG_DAMAGE_H
#define CONCAVE_TESTS_SIM_LOG_DAMAGE_H

#include "tests/sim/log_life.h"
#include "tests/support/sim_disk.h"

/* The disk has crashed, and is in use. On copies of it: flips a bit of a record that a recovery
 * reads; it must be refused if it can be known that the record was acknowledged, and cut else. Or
 * flips a bit of the newest snapshot; then the older one makes up for it, or it is refused. life
 * says how the copies are opened, and is not touched. False if there was nothing to damage. */
bool log_damage_try(struct sim_disk *disk, const struct log_life *life);

/* Where the log would write next, and what it would be. */
struct log_end {
    char path[DISK_PATH_BYTES_MAX];
    uint64_t offset, size, first_lsn, next_lsn;
};
/* Notes it while the log is open. False if no segment is. */
bool log_damage_note_end(const struct log_life *life, struct log_end *end);
/* Leaves behind the end, where nothing was ever written, records as another directory's log would
 * have left them in a recycled segment. */
void log_damage_leave_relics(struct sim_disk *disk, const struct log_end *end, uint64_t *random);

#endif
