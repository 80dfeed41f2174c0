/* Segments: preparing the next one ahead, and going over to it.
 *
 * A segment comes to be in this order, and each step is on disk before the next begins:
 *
 *   preparing thread   wal-next.tmp is created, its room reserved
 *                      its first MiB is filled with zeros: now it is offered as `next`
 *                      the rest of it is filled, MiB by MiB, as it is needed
 *   log thread         all of the segment before it is synced
 *                      its header
 *                      its name, wal-<first LSN>.log
 *
 * Zeros, because a 4 KiB sync costs 65 us on a file that was filled and 120 us on one whose room
 * was merely reserved (measured here, ext4: the sync must write the extent's new state too). In the
 * background, because filling 64 MiB takes some tenths of a second, and a start shall not: the
 * first segment of a run serves after one MiB, and is filled some MiB ahead of what is written, so
 * that a server that writes little costs the disk little. `zeroed` keeps the log thread off what
 * the preparing thread is about to overwrite. The next segment is prepared, and filled as a whole,
 * when a quarter of the open one is used.
 *
 * Where the file system cannot reserve, a segment is offered only when it is filled: one that was
 * offered has all of its room, so a full disk shows here and never as a failed write of the log. */
#include "core/wal_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/diag.h"

#define ZERO_BYTES ((uint64_t)1 << 20)
/* How far the first segment of a run is filled ahead of the log's end. */
#define FILL_AHEAD_BYTES (8 * ZERO_BYTES)

void wal_path(const struct wal *wal, const char *name, char *path) {
    int len = snprintf(path, DISK_PATH_BYTES_MAX, "%s/%s", wal->dir, name);
    assert(len > 0 && (size_t)len < DISK_PATH_BYTES_MAX);
}

void wal_fatal(const char *doing, const char *path, uint64_t offset) {
    diag_fatal(3, "%s: offset %llu: %s failed: %s", path, (unsigned long long)offset, doing,
        strerror(errno));
}

void wal_segment_free(struct wal_segment *segment) {
    if (!segment)
        return;
    if (segment->file)
        disk_close(segment->file);
    if (segment->filler)
        disk_close(segment->filler);
    free(segment);
}

enum status wal_remove_prepared(struct wal *wal, struct buf *error) {
    char path[DISK_PATH_BYTES_MAX];
    wal_path(wal, WAL_NEXT_NAME, path);
    enum status status = disk_unlink(path);
    if (status == ST_OK || status == ST_NOT_FOUND)
        return ST_OK;
    buf_printf(error, "%s: cannot be removed: %s", path, strerror(errno));
    return ST_IO;
}

/* ---- preparing thread ---- */

/* No room, no memory or no descriptor now: the attempt is undone and made again later. Anything
 * else is fatal. */
static void give_up_preparing(struct wal *wal, struct wal_segment *segment, enum status status,
    const char *doing, uint64_t offset) {
    if (status != ST_DISK_FULL && status != ST_NOMEM && status != ST_BUSY)
        wal_fatal(doing, segment->path, offset);
    if (!atomic_exchange(&wal->prepare_failed, true))
        diag(DIAG_WARN, "%s: %s: the next log segment cannot be prepared", segment->path,
            strerror(errno));
    status = disk_unlink(segment->path);
    if (status != ST_OK && status != ST_NOT_FOUND)
        wal_fatal("removal", segment->path, 0);
    wal->filling = NULL;
    wal_segment_free(segment);
}

static void create_next(struct wal *wal) {
    struct wal_segment *segment = calloc(1, sizeof(*segment));
    if (!segment) {
        atomic_store(&wal->prepare_failed, true);
        return;
    }
    wal->filling = segment; /* before it is ready, so that wal_close finds it */
    segment->size = wal->segment_bytes;
    wal_path(wal, WAL_NEXT_NAME, segment->path);
    enum status status = disk_open(segment->path, DISK_CREATE, &segment->file);
    if (status != ST_OK) {
        give_up_preparing(wal, segment, status, "creation", 0);
        return;
    }
    /* The kernel tells a failed write-back once for each opening of the file, to the sync that
     * comes first: with one opening for both threads, the filler's sync could take an error that is
     * about the log thread's writes, whose own sync would then succeed. */
    status = disk_open(segment->path, DISK_UPDATE, &segment->filler);
    if (status != ST_OK) {
        give_up_preparing(wal, segment, status, "opening", 0);
        return;
    }
    status = disk_allocate(segment->file, segment->size);
    if (status != ST_OK && status != ST_INVALID) {
        give_up_preparing(wal, segment, status, "reservation", 0);
        return;
    }
    segment->reserved = status == ST_OK;
    bool first = !atomic_load(&wal->opened);
    atomic_store(&segment->fill_to, first && segment->reserved ? FILL_AHEAD_BYTES : segment->size);
}

static void offer_next(struct wal *wal, struct wal_segment *segment) {
    segment->offered = true;
    if (atomic_exchange(&wal->prepare_failed, false))
        diag(DIAG_INFO, "%s: there is room for log segments again", wal->dir);
    /* The room before the segment: the log thread takes it away again when it opens the segment. */
    atomic_store(&wal->room_next, segment->size - 2 * WAL_BLOCK_BYTES);
    atomic_store(&wal->next, segment);
    atomic_store(&wal->disk_full, false);
}

bool wal_prepare_step(struct wal *wal) {
    static const unsigned char zeros[ZERO_BYTES];
    if (!wal->filling) {
        if (atomic_load(&wal->next) || !atomic_load(&wal->next_wanted))
            return false;
        create_next(wal);
        return wal->filling != NULL;
    }
    struct wal_segment *segment = wal->filling;
    uint64_t from = atomic_load_explicit(&segment->zeroed, memory_order_relaxed);
    /* If the next one is wanted, this one is finished first. */
    if (from >= atomic_load(&segment->fill_to) && !atomic_load(&wal->next_wanted))
        return false;
    uint64_t len = segment->size - from < ZERO_BYTES ? segment->size - from : ZERO_BYTES;
    enum status status = disk_write(segment->filler, from, zeros, (size_t)len);
    if (status == ST_OK) {
        status = disk_sync(segment->filler);
        /* Where room is only taken by the sync; what is not offered holds nothing yet. */
        if (status != ST_OK && (errno == ENOSPC || errno == EDQUOT))
            status = ST_DISK_FULL;
    }
    if (status == ST_DISK_FULL && !segment->offered) {
        give_up_preparing(wal, segment, status, "filling", from);
        return false;
    }
    if (status != ST_OK)
        wal_fatal("filling a segment", wal->dir, from); /* its path is the log thread's by now */
    bool filled = from + len == segment->size;
    if (filled) {
        wal->filling = NULL;
        disk_close(segment->filler);
        segment->filler = NULL;
    }
    bool offer = !segment->offered && (segment->reserved || filled);
    /* The last touch, but for the offer: once filled, the log thread may close the segment. */
    atomic_store(&segment->zeroed, from + len);
    if (offer)
        offer_next(wal, segment);
    bell_ring(&wal->log_bell);
    return true;
}

/* ---- log thread ---- */

void wal_want_next(struct wal *wal) {
    if (atomic_load(&wal->next))
        return;
    atomic_store(&wal->next_wanted, true);
    if (!atomic_load(&wal->prepare_failed)) /* else it is tried again from time to time */
        bell_ring(&wal->prepare_bell);
}

void wal_want_filled(struct wal *wal, uint64_t end) {
    struct wal_segment *segment = wal->current;
    if (atomic_load(&segment->zeroed) == segment->size)
        return;
    uint64_t fill_to = atomic_load_explicit(&segment->fill_to, memory_order_relaxed);
    /* In steps of half the distance, so that not each batch rings. */
    if (end + FILL_AHEAD_BYTES / 2 <= fill_to)
        return;
    atomic_store(&segment->fill_to, end + FILL_AHEAD_BYTES);
    bell_ring(&wal->prepare_bell);
}

/* The open segment is full or there is none: all of it must be on disk before its successor's
 * header says so. */
static void leave_current(struct wal *wal) {
    if (!wal->current)
        return;
    wal_sync_written(wal);
    wal_segment_free(wal->current);
    wal->current = NULL;
}

static void write_header(struct wal *wal, struct wal_segment *segment) {
    static unsigned char block[WAL_BLOCK_BYTES];
    struct wal_segment_header header = {
        .flags = wal->relaxed ? WAL_SEGMENT_RELAXED : 0,
        .salt = wal->salt,
        .first_lsn = wal->write_lsn,
        .before_lsn = wal->before_lsn,
    };
    wal_header_encode(&header, block);
    if (disk_write(segment->file, 0, block, sizeof(block)) != ST_OK)
        wal_fatal("writing the header", segment->path, 0);
    if (disk_sync(segment->file) != ST_OK)
        wal_fatal("syncing the header", segment->path, 0);
}

/* Gives the segment its name. An empty segment of an earlier run that has the same name, because
 * its first LSN was never used, is replaced. */
static void name_segment(struct wal *wal, struct wal_segment *segment) {
    char name[WAL_NAME_BYTES], path[DISK_PATH_BYTES_MAX];
    wal_segment_name(wal->write_lsn, name);
    wal_path(wal, name, path);
    if (disk_rename(segment->path, path) != ST_OK)
        wal_fatal("renaming", segment->path, 0);
    if (disk_sync_dir(wal->dir) != ST_OK)
        wal_fatal("syncing the directory", wal->dir, 0);
    memcpy(segment->path, path, sizeof(path));
    if (wal->last_first_lsn != wal->write_lsn)
        atomic_fetch_add_explicit(&wal->segments, 1, memory_order_relaxed);
    if (atomic_load_explicit(&wal->first_lsn, memory_order_relaxed) == 0)
        atomic_store_explicit(&wal->first_lsn, wal->write_lsn, memory_order_relaxed);
}

bool wal_open_next(struct wal *wal) {
    struct wal_segment *segment = atomic_load(&wal->next);
    if (!segment) {
        wal_want_next(wal);
        return false;
    }
    leave_current(wal);
    write_header(wal, segment);
    name_segment(wal, segment);
    wal->current = segment;
    wal->seed = wal_segment_seed(wal->salt, wal->write_lsn);
    wal->offset = WAL_BLOCK_BYTES;
    wal->marked = false;
    /* In this order: in between its room counts twice, but admission looks at the greater of the
     * two rooms; and the preparing thread touches room_next again only when `next` is taken. */
    atomic_store(&wal->next_wanted, false);
    wal_publish_room(wal);
    atomic_store(&wal->room_next, 0);
    atomic_store(&wal->next, NULL);
    return true;
}

enum status wal_reopen_last(struct wal *wal, struct buf *error) {
    struct wal_segment *segment = calloc(1, sizeof(*segment));
    if (!segment)
        return ST_NOMEM;
    memcpy(segment->path, wal->last_path, sizeof(segment->path));
    enum status status = disk_open(segment->path, DISK_UPDATE, &segment->file);
    if (status != ST_OK) {
        buf_printf(error, "%s: cannot be written: %s", segment->path, strerror(errno));
        free(segment);
        return status == ST_NOMEM ? ST_NOMEM : ST_IO;
    }
    segment->size = wal->last_size / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES;
    segment->reserved = segment->offered = true;
    atomic_store(&segment->zeroed, segment->size);
    wal->current = segment;
    wal->seed = wal_segment_seed(wal->salt, wal->last_first_lsn);
    wal->offset = wal_align_up(wal->last_offset, WAL_BLOCK_BYTES);
    wal_publish_room(wal);
    return ST_OK;
}
