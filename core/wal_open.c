/* Opening a log: reading what is there, and telling a torn end from damage.
 *
 * The rule. Let e be the first LSN that is neither readable nor in a gap which a segment header
 * declares. If anything readable says that e was on disk, or a snapshot holds e, what was
 * acknowledged may be lost: damage, refused. Else e was never acknowledged: a torn end, cut. Two
 * things can say so: a record behind e whose D is at least e, and a later segment, since a
 * segment's header is written only after everything before it is on disk. So a torn end is in the
 * last segment, and no later one is ever cut away. A segment gets its name only after its header is
 * on disk; an unreadable header is damage too.
 *
 *   readable up to | behind it                          | verdict
 *   ---------------+------------------------------------+----------------------------------
 *   before N       | (N: the newest snapshot's last LSN)| damage
 *   anything       | a later segment: its "last LSN     | its gap or its first LSN goes on
 *                  | before" is what was read           |
 *                  | a later segment, otherwise         | damage
 *                  | a record with D >= e               | damage
 *                  | other bytes that are not zero      | torn end, cut
 *                  | zeros                              | the end
 *
 * What is cut is overwritten with zeros and synced before anything is appended, so that a record
 * once judged lost cannot return. What was replayed is synced too: after a crash of the process
 * alone it may have been in the page cache only, and the next crash must not take it away again.
 * (Only the last segment: those before it were on disk before it got its header.) */
#include "core/wal_private.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core/diag.h"
#include "core/mutant.h"
#include "core/wal_reader.h"

#define PROGRESS_BYTES ((uint64_t)8 << 20)

struct found {
    uint64_t *first_lsns; /* ascending */
    size_t count;
};

struct replay {
    struct wal *wal;
    const struct wal_replay *callbacks;
    struct buf *error;
    uint64_t last_lsn; /* of what has been read */
    uint64_t bytes_done, bytes_total, bytes_told;
    char path[DISK_PATH_BYTES_MAX]; /* of the segment at hand */
};

#define LLU(number) ((unsigned long long)(number))

/* ---- segments ---- */

static enum status join_path(const char *dir, const char *name, char *path, struct buf *error) {
    int len = snprintf(path, DISK_PATH_BYTES_MAX, "%s/%s", dir, name);
    if (len < 0 || (size_t)len >= DISK_PATH_BYTES_MAX) {
        buf_printf(error, "%s: the path is too long", dir);
        return ST_INVALID;
    }
    return ST_OK;
}

/* Opens a segment and says in words what is wrong with it. */
static enum status open_segment(
    struct wal_reader *reader, const char *path, uint64_t first_lsn, struct buf *error) {
    enum status status = wal_reader_open(reader, path);
    switch (status) {
    case ST_OK:
        if (reader->header.first_lsn == first_lsn)
            return ST_OK;
        buf_printf(error, "%s: offset 0: damaged: its header is of the segment of LSN %llu", path,
            LLU(reader->header.first_lsn));
        wal_reader_close(reader);
        return ST_CORRUPT;
    case ST_INVALID:
        buf_printf(error,
            "%s: format version %u is unknown to this concave, which knows version %u", path,
            (unsigned)reader->header.version, WAL_FORMAT_VERSION);
        return ST_INVALID;
    case ST_CORRUPT:
        buf_printf(error, "%s: offset 0: damaged: the header is unreadable, LSN %llu is lost", path,
            LLU(first_lsn));
        return ST_CORRUPT;
    case ST_NOMEM:
        buf_printf(error, "%s: out of memory", path);
        return ST_NOMEM;
    default:
        buf_printf(error, "%s: cannot be read: %s", path, strerror(errno));
        return ST_IO;
    }
}

/* ---- the salt ---- */

static enum status fresh_salt(uint64_t *salt, struct buf *error) {
    do {
        if (getrandom(salt, sizeof(*salt), 0) != (ssize_t)sizeof(*salt)) {
            buf_printf(error, "no random numbers: %s", strerror(errno));
            return ST_IO;
        }
    } while (*salt == 0); /* 0 stands for "none given" */
    return ST_OK;
}

/* The newest segment is always needed; an older one may be of no use any more. */
static enum status newest_salt(
    const char *dir, const struct found *found, uint64_t *salt, struct buf *error) {
    char name[WAL_NAME_BYTES], path[DISK_PATH_BYTES_MAX];
    struct wal_reader reader;
    uint64_t first_lsn = found->first_lsns[found->count - 1];
    wal_segment_name(first_lsn, name);
    enum status status = join_path(dir, name, path, error);
    if (status == ST_OK)
        status = open_segment(&reader, path, first_lsn, error);
    if (status != ST_OK)
        return status;
    *salt = reader.header.salt;
    wal_reader_close(&reader);
    return ST_OK;
}

enum status wal_read_salt(const char *dir, uint64_t *salt, struct buf *error) {
    struct found found;
    enum status status = wal_list_segments(dir, false, &found.first_lsns, &found.count, error);
    if (status == ST_OK)
        status = found.count ? newest_salt(dir, &found, salt, error) : fresh_salt(salt, error);
    free(found.first_lsns);
    return status;
}

/* ---- replay ---- */

static enum status read_failed(
    struct replay *replay, struct wal_reader *reader, enum status status) {
    if (status == ST_NOMEM) {
        buf_printf(
            replay->error, "%s: offset %llu: out of memory", replay->path, LLU(reader->offset));
        return ST_NOMEM;
    }
    buf_printf(replay->error, "%s: offset %llu: cannot be read: %s", replay->path,
        LLU(reader->offset), strerror(errno));
    return ST_IO;
}

static enum status replay_record(struct replay *replay, uint64_t offset,
    const struct wal_record_head *head, const unsigned char *record) {
    struct slice rest = slice_of(
        (const char *)record + WAL_RECORD_HEADER_BYTES, head->bytes - WAL_RECORD_HEADER_BYTES);
    struct slice key, value;
    int op;
    enum status status;
    while ((status = wal_op_decode(&rest, &op, &key, &value)) == ST_OK && op != WAL_OP_CLEAN_END) {
        status = replay->callbacks->apply(
            replay->callbacks->ctx, head->lsn, (enum wal_op)op, key, value);
        if (status != ST_OK) {
            if (replay->error->len == 0)
                buf_printf(replay->error, "%s: offset %llu: LSN %llu could not be replayed: %s",
                    replay->path, LLU(offset), LLU(head->lsn), status_text(status));
            return status;
        }
    }
    if (status == ST_END)
        return ST_OK;
    buf_printf(replay->error, "%s: offset %llu: damaged: LSN %llu holds no valid operations",
        replay->path, LLU(offset), LLU(head->lsn));
    return ST_CORRUPT;
}

static void tell_progress(struct replay *replay, uint64_t bytes_done) {
    if (!replay->callbacks->progress)
        return;
    if (bytes_done - replay->bytes_told < PROGRESS_BYTES && bytes_done < replay->bytes_total)
        return;
    replay->bytes_told = bytes_done;
    replay->callbacks->progress(replay->callbacks->ctx, bytes_done, replay->bytes_total);
}

/* Replays all of a segment that is readable in order. */
static enum status replay_records(struct replay *replay, struct wal_reader *reader) {
    struct wal_record_head head;
    const unsigned char *record;
    enum status status;
    while ((status = wal_reader_next(reader, &head, &record)) == ST_OK) {
        if (head.lsn > replay->wal->options.snapshot_lsn || MUTANT(REPLAY_WITHOUT_LSN)) {
            status = replay_record(replay, reader->offset - head.bytes, &head, record);
            if (status != ST_OK)
                return status;
            replay->wal->replayed_bytes += head.bytes;
        }
        replay->last_lsn = head.lsn;
        tell_progress(replay, replay->bytes_done + reader->offset);
    }
    return status == ST_END ? ST_OK : read_failed(replay, reader, status);
}

/* ---- torn or damaged ---- */

/* The segment must go on where what was read has ended. */
static enum status check_joint(struct replay *replay, const struct wal_reader *reader, bool first) {
    const struct wal_segment_header *header = &reader->header;
    if (header->salt != replay->wal->salt) {
        buf_printf(replay->error, "%s: offset 0: LSN %llu: it belongs to another data directory",
            replay->path, LLU(header->first_lsn));
        return ST_CORRUPT;
    }
    /* Of the oldest segment, what is before it may be in the snapshot. */
    if (first ? header->before_lsn <= replay->last_lsn : header->before_lsn == replay->last_lsn)
        return ST_OK;
    if (!first && header->before_lsn > replay->last_lsn) {
        const struct wal *wal = replay->wal; /* where the segment before has ended */
        buf_printf(replay->error,
            "%s: offset %llu: damaged: LSN %llu is unreadable, but %s goes on after LSN %llu",
            wal->last_path, LLU(wal->last_offset), LLU(wal->write_lsn), replay->path,
            LLU(header->before_lsn));
        return ST_CORRUPT;
    }
    buf_printf(replay->error,
        "%s: offset 0: damaged: it goes on after LSN %llu, but what is before it ends with LSN "
        "%llu",
        replay->path, LLU(header->before_lsn), LLU(replay->last_lsn));
    return ST_CORRUPT;
}

static enum status refuse(struct replay *replay, const struct wal_reader *reader,
    const char *evidence, uint64_t evidence_lsn) {
    buf_printf(replay->error,
        "%s: offset %llu: damaged: LSN %llu is unreadable, but %s LSN %llu shows that it was on "
        "disk",
        replay->path, LLU(reader->offset), LLU(reader->next_lsn), evidence, LLU(evidence_lsn));
    return ST_CORRUPT;
}

/* Overwrites with zeros what is behind the reader's offset, block by block where it is not zero. */
static enum status write_zeros(
    const struct replay *replay, struct wal_reader *reader, struct disk_file *file, uint64_t from) {
    static const unsigned char zeros[WAL_BLOCK_BYTES];
    enum status status;
    while (
        (status = wal_reader_find_nonzero(reader, from, &from)) == ST_OK && from < reader->size) {
        uint64_t end = from / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES + WAL_BLOCK_BYTES;
        if (end > reader->size)
            end = reader->size;
        if (disk_write(file, from, zeros, (size_t)(end - from)) != ST_OK)
            wal_fatal("cutting", replay->path, from);
        from = end;
    }
    return status;
}

static enum status cannot_be_written(struct replay *replay, enum status status) {
    buf_printf(replay->error, "%s: cannot be written: %s", replay->path, strerror(errno));
    return status == ST_NOMEM ? ST_NOMEM : ST_IO;
}

/* Cuts a torn end; whether or not there was one, syncs the segment and its name. */
static enum status settle_end(struct replay *replay, struct wal_reader *reader, uint64_t dirty) {
    struct disk_file *file;
    enum status status = disk_open(replay->path, DISK_UPDATE, &file);
    if (status != ST_OK)
        return cannot_be_written(replay, status);
    if (dirty < reader->size && !MUTANT(TORN_END_KEPT))
        status = write_zeros(replay, reader, file, dirty);
    if (status == ST_OK && disk_sync(file) != ST_OK)
        wal_fatal("syncing", replay->path, reader->offset);
    disk_close(file);
    if (status != ST_OK)
        return read_failed(replay, reader, status);
    if (disk_sync_dir(replay->wal->dir) != ST_OK)
        wal_fatal("syncing the directory", replay->wal->dir, 0);
    return ST_OK;
}

/* The highest LSN of which a snapshot may hold something: N. */
static uint64_t snapshot_end(const struct wal *wal) {
    const struct wal_options *options = &wal->options;
    return options->snapshot_applied > options->snapshot_lsn ? options->snapshot_applied
                                                             : options->snapshot_lsn;
}

/* The last segment has been read up to its last readable record: what is behind it? */
static enum status judge_end(struct replay *replay, struct wal_reader *reader) {
    uint64_t dirty;
    enum status status = wal_reader_find_nonzero(reader, reader->offset, &dirty);
    if (status != ST_OK)
        return read_failed(replay, reader, status);
    if (snapshot_end(replay->wal) >= reader->next_lsn)
        return refuse(replay, reader, "a snapshot up to", snapshot_end(replay->wal));
    if (dirty < reader->size) {
        struct wal_record_head behind;
        uint64_t offset;
        status = wal_reader_find_durable(reader, reader->next_lsn, &behind, &offset);
        if (status == ST_OK && !MUTANT(DAMAGED_MIDDLE_CUT))
            return refuse(replay, reader, "the record behind it of", behind.lsn);
        if (status != ST_OK && status != ST_NOT_FOUND)
            return read_failed(replay, reader, status);
        diag(DIAG_WARN,
            "%s: offset %llu: the log ends torn: LSN %llu was never acknowledged and is cut off",
            replay->path, LLU(dirty), LLU(reader->next_lsn));
    }
    return settle_end(replay, reader, dirty);
}

/* ---- all of it ---- */

/* Brings the last segment to the medium before it is read, and reads it from there. The run before
 * this one may have ended with a failed sync; then the cache shows records that are not on the
 * medium, and counts them as written, so that no later sync would bring them there (Rebello et al.,
 * ATC 2020). */
static enum status reach_medium(struct replay *replay) {
    struct disk_file *file;
    enum status status = disk_open(replay->path, DISK_UPDATE, &file);
    if (status != ST_OK)
        return cannot_be_written(replay, status);
    if (disk_sync(file) != ST_OK)
        wal_fatal("syncing", replay->path, 0);
    disk_drop_cache(file);
    disk_close(file);
    return ST_OK;
}

static enum status replay_segment(
    struct replay *replay, uint64_t first_lsn, bool first, bool last) {
    struct wal *wal = replay->wal;
    char name[WAL_NAME_BYTES];
    wal_segment_name(first_lsn, name);
    wal_path(wal, name, replay->path);
    struct wal_reader reader;
    enum status status = last ? reach_medium(replay) : ST_OK;
    if (status == ST_OK)
        status = open_segment(&reader, replay->path, first_lsn, replay->error);
    if (status != ST_OK)
        return status;
    status = check_joint(replay, &reader, first);
    if (status == ST_OK) {
        replay->last_lsn = reader.header.before_lsn;
        status = replay_records(replay, &reader);
    }
    if (status == ST_OK && last)
        status = judge_end(replay, &reader);
    if (status == ST_OK) {
        replay->bytes_done += reader.size;
        tell_progress(replay, replay->bytes_done);
        memcpy(wal->last_path, replay->path, sizeof(wal->last_path));
        wal->last_first_lsn = first_lsn;
        wal->last_offset = reader.offset;
        wal->last_size = reader.size;
        wal->last_flags = reader.header.flags;
        wal->marked = reader.clean_end;
        /* An empty segment that declares a gap has passed its LSNs all the same. */
        wal->write_lsn = reader.next_lsn;
    }
    wal_reader_close(&reader);
    return status;
}

static enum status sum_sizes(struct replay *replay, const struct found *found, size_t needed) {
    for (size_t i = needed; i < found->count; i++) {
        char name[WAL_NAME_BYTES];
        struct disk_file *file;
        uint64_t bytes = 0;
        wal_segment_name(found->first_lsns[i], name);
        wal_path(replay->wal, name, replay->path);
        enum status status = disk_open(replay->path, DISK_READ, &file);
        if (status == ST_OK) {
            status = disk_size(file, &bytes);
            disk_close(file);
        }
        if (status != ST_OK) {
            buf_printf(replay->error, "%s: cannot be read: %s", replay->path, strerror(errno));
            return status == ST_NOMEM ? ST_NOMEM : ST_IO;
        }
        replay->bytes_total += bytes;
    }
    return ST_OK;
}

static enum status replay_all(struct replay *replay, const struct found *found) {
    struct wal *wal = replay->wal;
    if (found->count == 0 && snapshot_end(wal) > 0) {
        buf_printf(replay->error,
            "%s: damaged: no log segment is there, but a snapshot up to LSN %llu goes on in one",
            wal->dir, LLU(snapshot_end(wal)));
        return ST_CORRUPT;
    }
    /* What the snapshot holds may be before the oldest segment, or in segments that are there
     * still because the snapshot before this one needs them. */
    size_t needed = wal_first_needed(found->first_lsns, found->count, wal->options.snapshot_lsn);
    enum status status = sum_sizes(replay, found, needed);
    replay->last_lsn = wal->options.snapshot_lsn;
    for (size_t i = needed; status == ST_OK && i < found->count; i++)
        status = replay_segment(replay, found->first_lsns[i], i == needed, i + 1 == found->count);
    if (status != ST_OK)
        return status;
    wal->before_lsn = wal->found_lsn = replay->last_lsn;
    if (found->count == 0)
        wal->write_lsn = 1;
    else if ((wal->last_flags & WAL_SEGMENT_RELAXED) && !wal->marked && !MUTANT(VERSIONS_REUSED))
        wal->write_lsn += WAL_LSN_SKIP; /* replies may have shown LSNs that are lost */
    atomic_store(&wal->segments, found->count);
    atomic_store(&wal->first_lsn, found->count ? found->first_lsns[0] : 0);
    return ST_OK;
}

static enum status set_salt(struct wal *wal, const struct found *found, struct buf *error) {
    if (found->count > 0)
        return newest_salt(wal->dir, found, &wal->salt, error);
    wal->salt = wal->options.salt;
    return wal->salt ? ST_OK : fresh_salt(&wal->salt, error);
}

static uint64_t ring_bytes(const struct wal *wal) {
    uint64_t bytes = wal->options.ring_bytes ? wal->options.ring_bytes : (uint64_t)256 << 20;
    uint64_t longest = wal->segment_bytes / 2;
    return bytes > longest ? bytes : longest; /* the longest record must fit when it is alone */
}

static enum status create(const struct wal_options *options, struct wal **out, struct buf *error) {
    assert(options->producers > 0 && options->segment_bytes >= WAL_SEGMENT_BYTES_MIN);
    size_t dir_len = strlen(options->dir);
    if (dir_len + 1 + WAL_NAME_BYTES > DISK_PATH_BYTES_MAX) {
        buf_printf(error, "%s: the path is too long", options->dir);
        return ST_INVALID;
    }
    struct wal *wal = aligned_alloc(alignof(struct wal), sizeof(*wal));
    if (!wal)
        return ST_NOMEM;
    memset(wal, 0, sizeof(*wal));
    wal->log_bell.fd = wal->prepare_bell.fd = -1;
    memcpy(wal->dir, options->dir, dir_len + 1);
    wal->options = *options;
    wal->options.dir = wal->dir;
    wal->relaxed = options->durability != WAL_ALWAYS;
    /* Two blocks, so that half a segment is whole blocks. */
    wal->segment_bytes = options->segment_bytes / (2 * WAL_BLOCK_BYTES) * (2 * WAL_BLOCK_BYTES);
    size_t producers_bytes = options->producers * sizeof(*wal->producers);
    wal->producers = aligned_alloc(alignof(struct wal_producer), producers_bytes);
    *out = wal;
    if (!wal->producers)
        return ST_NOMEM;
    memset(wal->producers, 0, producers_bytes);
    for (unsigned i = 0; i < options->producers; i++)
        wal_pool_init(&wal->producers[i].pool, i);
    wal->buffer = aligned_alloc(WAL_BLOCK_BYTES, WAL_BUFFER_BYTES);
    if (!wal->buffer)
        return ST_NOMEM;
    enum status status = wal_ring_init(
        &wal->ring, options->ring_slots ? options->ring_slots : 65536, ring_bytes(wal));
    if (status == ST_OK)
        status = bell_init(&wal->log_bell);
    if (status == ST_OK)
        status = bell_init(&wal->prepare_bell);
    return status;
}

enum status wal_open(const struct wal_options *options, const struct wal_replay *replay_callbacks,
    struct wal **out, struct buf *error) {
    struct wal *wal = NULL;
    struct found found = {0};
    *out = NULL;
    enum status status = create(options, &wal, error);
    if (status == ST_OK)
        status = wal_list_segments(wal->dir, true, &found.first_lsns, &found.count, error);
    if (status == ST_OK)
        status = set_salt(wal, &found, error);
    if (status == ST_OK) {
        struct replay replay = {.wal = wal, .callbacks = replay_callbacks, .error = error};
        *out = wal; /* the callbacks may want the salt */
        status = replay_all(&replay, &found);
    }
    free(found.first_lsns);
    if (status == ST_OK) {
        wal_ring_begin(&wal->ring, wal->write_lsn);
        atomic_store(&wal->durable, wal->write_lsn - 1);
        return ST_OK;
    }
    if (error->len == 0)
        buf_printf(error, "%s: the log cannot be opened: %s", options->dir, status_text(status));
    if (wal)
        wal_close(wal);
    *out = NULL;
    return status;
}
