/* A simulated disk: files in memory, with what is on the medium kept apart from what is only in the
 * system's cache, so that power can fail between any two calls.
 *
 * It is core/disk.c itself over a simulated kernel: a test that includes this header is linked to
 * it in place of the real one, and every system call that disk.c makes is a place for a fault.
 *
 * What may happen, and where:
 *
 *   power cut    Of the bytes written since the file's last sync, each sector of 512 bytes is as it
 *                was at the sync or as any of the writes since has left it, independent of the
 *                others. Of the names created, renamed or removed since the directory's last sync,
 *                each is what it was at the sync or at any time since, independent of the others:
 *                so a rename may be done, undone, leave both names or neither. A file is as long as
 *                it was at its sync or after any call since. An outcome (enum sim_outcome) narrows
 *                this down. What was synced is never touched.
 *   kill         The process dies, the cache stays: what was not synced is still not.
 *   failed call  A write leaves a prefix of its sectors, in the cache. A sync leaves any of the
 *                unsynced sectors on the medium; those it did not are from then on taken for clean:
 *                they read as written until disk_drop_cache, but only a new write and sync brings
 *                them to the medium (so does Linux; Rebello et al., ATC 2020). A sync of a
 * directory, a renaming or a removal may have happened all the same; a creation, an allocation and
 * a truncation have not. short calls  Reads and writes do a part, in whole bytes; open, read,
 * write, both syncs, allocate and truncate are interrupted (EINTR) before they have done anything.
 * no room      Blocks of 4096 bytes are counted, of every file that has a name or is open. A write
 * is short when its next block finds no room, and fails when its first does; an allocation fails as
 * a whole. Blocks that were allocated are written without fail, and names need no room.
 *
 * What does not happen: a sector is never torn itself, synced bytes do not rot (sim_disk_flip does
 * that on request), reads give what was written, and a directory, once made, stays made.
 *
 * Ownership: the test owns its disks. disk_* work on the one in use; its files are closed, as a
 * process's are, by a kill or power cut, and must not be touched after it.
 * Threads: one. Deterministic: the seeds and the calls decide everything.
 * Errors: a call that the simulated kernel does not know, or memory running out, is an assert. */
#ifndef CONCAVE_TESTS_SUPPORT_SIM_DISK_H
#define CONCAVE_TESTS_SUPPORT_SIM_DISK_H

#include <stdbool.h>

#include "core/disk.h"

#define SIM_SECTOR_BYTES 512u
#define SIM_BLOCK_BYTES 4096u

struct sim_disk;

/* The kinds of calls; a set of them is a mask of bits. Closing is none: nothing depends on it. */
enum sim_call {
    SIM_OPEN = 1 << 0,   /* of an existing file, also to lock it */
    SIM_CREATE = 1 << 1, /* open that may create */
    SIM_READ = 1 << 2,
    SIM_WRITE = 1 << 3,
    SIM_SYNC = 1 << 4,
    SIM_SYNC_DIR = 1 << 5,
    SIM_ALLOCATE = 1 << 6,
    SIM_TRUNCATE = 1 << 7,
    SIM_RENAME = 1 << 8,
    SIM_UNLINK = 1 << 9,
    SIM_LIST = 1 << 10, /* opening a directory, to list or to sync it */
    SIM_LOOK = 1 << 11, /* size, existence */
    SIM_MAKE_DIR = 1 << 12,
};
#define SIM_ANY 0xFFFFu
/* Those after which a power cut can find something else than before. */
#define SIM_CHANGES                                                                                \
    (SIM_CREATE | SIM_WRITE | SIM_SYNC | SIM_SYNC_DIR | SIM_ALLOCATE | SIM_TRUNCATE | SIM_RENAME | \
        SIM_UNLINK)

/* ---- disks ---- */

/* An empty disk without end. */
struct sim_disk *sim_disk_new(uint64_t seed);
/* As it is, unsynced parts included, but without open files and without faults to come. */
struct sim_disk *sim_disk_clone(const struct sim_disk *disk, uint64_t seed);
void sim_disk_free(struct sim_disk *disk);
/* From now on disk_* work on this one; returns the one before (NULL: none). */
struct sim_disk *sim_disk_use(struct sim_disk *disk);

/* ---- crashes ---- */

/* What a power cut leaves of all that was not synced. */
enum sim_outcome {
    SIM_KEEP_NONE,    /* nothing */
    SIM_KEEP_ALL,     /* everything */
    SIM_KEEP_PREFIX,  /* of each file's writes the first ones, the last of them torn */
    SIM_KEEP_SECTORS, /* of each write any sectors, in any order */
    SIM_KEEP_BLOCKS,  /* the same in blocks of 4096 bytes */
    SIM_KEEP_MIXED,   /* of the names any; each file by an outcome of its own */
    SIM_OUTCOMES
};

/* Power fails and returns. The seed decides what the outcome leaves open. */
void sim_disk_power_cut(struct sim_disk *disk, enum sim_outcome outcome, uint64_t seed);
/* The process is killed. A call that is to fail may be one of the next. */
void sim_disk_kill(struct sim_disk *disk);
/* Power fails in the n-th call from now of these kinds: it fails, done or not, and so does every
 * call (EIO) until sim_disk_power_cut. 0: it does not. */
void sim_disk_crash_at(struct sim_disk *disk, uint64_t n, unsigned kinds);
/* Whether that has happened. */
bool sim_disk_is_dead(const struct sim_disk *disk);
/* Called in each call of these kinds, when it has done its work and nobody knows yet: power could
 * fail here. on_call may clone the disk and use the clone, but must put this one back in use. */
void sim_disk_watch(struct sim_disk *disk, unsigned kinds,
    void (*on_call)(void *ctx, enum sim_call kind), void *ctx);

/* ---- faults ---- */

/* The n-th call from now of these kinds fails with this errno; 0: none does. */
void sim_disk_fail_at(struct sim_disk *disk, uint64_t n, unsigned kinds, int error);
/* Whether that has happened. */
bool sim_disk_has_failed(const struct sim_disk *disk);
/* Half of the calls that can be are interrupted, reads and writes are short. */
void sim_disk_shorten(struct sim_disk *disk, bool shorten);
/* Room for this many bytes from now on, in all; UINT64_MAX: without end. */
void sim_disk_set_room(struct sim_disk *disk, uint64_t bytes);
/* Whether files can have room reserved (they can); else an allocation fails with EOPNOTSUPP. */
void sim_disk_set_allocating(struct sim_disk *disk, bool can);
/* Flips bits of one byte, in the cache and on the medium. False if there is no such byte. */
bool sim_disk_flip(struct sim_disk *disk, const char *path, uint64_t offset, unsigned char mask);

/* ---- numbers ---- */

/* Calls of these kinds so far. */
uint64_t sim_disk_calls(const struct sim_disk *disk, unsigned kinds);
/* Bytes of room in use. */
uint64_t sim_disk_used(const struct sim_disk *disk);

#endif
