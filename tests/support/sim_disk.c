/* See sim_disk.h. First the medium, the cache and what a power cut makes of them; then the calls of
 * the simulated kernel; at the end core/disk.c, compiled on top of those.
 *
 * A file's unsynced writes are kept as a list of what they made of whole sectors, so that at a
 * power cut each sector can become any of its versions. A name keeps the list of files that it has
 * meant since its directory's last sync. */
#include "tests/support/sim_disk.h"

#include "tests/support/sim_file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_FILES_MAX 256u
#define KINDS 13u

struct name {
    struct name *next;
    struct inode *now, *synced; /* NULL: there is none of this name */
    struct inode **past;        /* since the last sync */
    size_t past_count, past_cap;
    char path[];
};

struct open_file {
    int fd; /* 0: free */
    struct inode *inode;
    char *dir; /* if it is one */
    bool locked;
};

struct sim_disk {
    struct inode *inodes;
    struct name *names;
    char **dirs;
    size_t dir_count, dir_cap;
    struct open_file files[OPEN_FILES_MAX];
    int next_fd;
    uint64_t random;
    uint64_t room;
    bool shorten, cannot_allocate;
    bool dead, dying; /* dying: in the call in which power fails */
    uint64_t crash_in, fail_in;
    unsigned crash_kinds, fail_kinds, watch_kinds;
    int fail_error;
    bool has_failed;
    void (*on_call)(void *ctx, enum sim_call kind);
    void *watch_ctx;
    uint64_t calls[KINDS];
};

static struct sim_disk *used;

/* ---- names ---- */

static struct name *find_name(const struct sim_disk *disk, const char *path) {
    struct name *name = disk->names;
    while (name && strcmp(name->path, path) != 0)
        name = name->next;
    return name;
}

static struct inode *find_inode(const struct sim_disk *disk, const char *path) {
    const struct name *name = find_name(disk, path);
    return name ? name->now : NULL;
}

static void set_name(struct sim_disk *disk, const char *path, struct inode *inode) {
    struct name *name = find_name(disk, path);
    if (!name) {
        size_t len = strlen(path) + 1;
        name = sim_checked(calloc(1, sizeof(*name) + len));
        memcpy(name->path, path, len);
        name->next = disk->names;
        disk->names = name;
    }
    name->past = sim_grow(name->past, name->past_count, &name->past_cap, sizeof(struct inode *));
    name->past[name->past_count++] = name->now;
    name->now = inode;
}

/* The length of the path of the directory that holds the path. */
static size_t parent_len(const char *path) {
    const char *slash = strrchr(path, '/');
    assert(slash); /* tests use absolute paths */
    return slash == path ? 1 : (size_t)(slash - path);
}

static bool is_dir(const struct sim_disk *disk, const char *path, size_t len) {
    if (len == 1 && path[0] == '/')
        return true;
    for (size_t i = 0; i < disk->dir_count; i++)
        if (strlen(disk->dirs[i]) == len && memcmp(disk->dirs[i], path, len) == 0)
            return true;
    return false;
}

static bool is_in(const struct name *name, const char *dir) {
    return parent_len(name->path) == strlen(dir) && strncmp(name->path, dir, strlen(dir)) == 0;
}

static void sync_names(struct sim_disk *disk, const char *dir) {
    for (struct name *name = disk->names; name; name = name->next) {
        if (!is_in(name, dir))
            continue;
        name->synced = name->now;
        name->past_count = 0;
    }
}

static void cut_name(struct name *name, enum sim_outcome outcome, uint64_t *random) {
    if (outcome == SIM_KEEP_NONE) {
        name->now = name->synced;
    } else if (outcome != SIM_KEEP_ALL && name->past_count > 0) {
        size_t pick = sim_below(random, name->past_count + 1);
        if (pick < name->past_count)
            name->now = name->past[pick];
    }
    name->synced = name->now;
    name->past_count = 0;
}

/* Frees files that nobody can reach any more, and names that mean nothing. */
static void sweep(struct sim_disk *disk) {
    for (struct name **at = &disk->names, *name; (name = *at);) {
        if (name->now || name->synced || name->past_count) {
            if (name->now)
                name->now->used = true;
            if (name->synced)
                name->synced->used = true;
            for (size_t i = 0; i < name->past_count; i++)
                if (name->past[i])
                    name->past[i]->used = true;
            at = &name->next;
        } else {
            *at = name->next;
            free(name->past);
            free(name);
        }
    }
    for (size_t i = 0; i < OPEN_FILES_MAX; i++)
        if (disk->files[i].fd && disk->files[i].inode)
            disk->files[i].inode->used = true;
    for (struct inode **at = &disk->inodes, *inode; (inode = *at);) {
        if (inode->used) {
            inode->used = false;
            at = &inode->next;
        } else {
            *at = inode->next;
            inode_free(inode);
        }
    }
}

/* ---- disks ---- */

struct sim_disk *sim_disk_new(uint64_t seed) {
    struct sim_disk *disk = sim_checked(calloc(1, sizeof(*disk)));
    disk->random = seed;
    disk->room = UINT64_MAX;
    disk->next_fd = 1;
    return disk;
}

static struct inode *clone_of(const struct inode *inode) {
    return inode ? inode->clone : NULL;
}

static struct name *clone_name(const struct name *from) {
    size_t len = strlen(from->path) + 1;
    struct name *to = sim_checked(malloc(sizeof(*to) + len));
    *to = *from;
    memcpy(to->path, from->path, len);
    to->now = clone_of(from->now);
    to->synced = clone_of(from->synced);
    to->past_cap = from->past_count;
    to->past = sim_copy(from->past, from->past_count * sizeof(struct inode *));
    for (size_t i = 0; i < to->past_count; i++)
        to->past[i] = clone_of(from->past[i]);
    return to;
}

struct sim_disk *sim_disk_clone(const struct sim_disk *disk, uint64_t seed) {
    struct sim_disk *clone = sim_disk_new(seed);
    clone->room = disk->room;
    for (struct inode *inode = disk->inodes; inode; inode = inode->next) {
        inode->clone = inode_clone(inode);
        inode->clone->next = clone->inodes;
        clone->inodes = inode->clone;
    }
    for (const struct name *name = disk->names; name; name = name->next) {
        struct name *copy = clone_name(name);
        copy->next = clone->names;
        clone->names = copy;
    }
    clone->dir_count = clone->dir_cap = disk->dir_count;
    clone->dirs = sim_copy(disk->dirs, disk->dir_count * sizeof(char *));
    for (size_t i = 0; i < disk->dir_count; i++)
        clone->dirs[i] = sim_checked(strdup(disk->dirs[i]));
    sweep(clone);
    return clone;
}

static void close_file(struct open_file *file) {
    free(file->dir);
    *file = (struct open_file){0};
}

static void close_all(struct sim_disk *disk) {
    for (size_t i = 0; i < OPEN_FILES_MAX; i++)
        close_file(&disk->files[i]);
}

void sim_disk_free(struct sim_disk *disk) {
    if (used == disk)
        used = NULL;
    close_all(disk);
    for (struct name *name = disk->names; name; name = name->next) {
        name->now = name->synced = NULL;
        name->past_count = 0;
    }
    sweep(disk);
    for (size_t i = 0; i < disk->dir_count; i++)
        free(disk->dirs[i]);
    free(disk->dirs);
    free(disk);
}

struct sim_disk *sim_disk_use(struct sim_disk *disk) {
    struct sim_disk *before = used;
    used = disk;
    return before;
}

/* ---- crashes, faults, numbers ---- */

void sim_disk_power_cut(struct sim_disk *disk, enum sim_outcome outcome, uint64_t seed) {
    uint64_t random = seed;
    close_all(disk);
    for (struct name *name = disk->names; name; name = name->next)
        cut_name(name, outcome, &random);
    sweep(disk);
    for (struct inode *inode = disk->inodes; inode; inode = inode->next)
        inode_cut(inode, outcome, &random);
    disk->dead = disk->dying = false;
    disk->crash_in = disk->fail_in = 0;
}

void sim_disk_kill(struct sim_disk *disk) {
    close_all(disk);
    sweep(disk);
    disk->crash_in = 0;
}

void sim_disk_crash_at(struct sim_disk *disk, uint64_t n, unsigned kinds) {
    disk->crash_in = n;
    disk->crash_kinds = kinds;
}

bool sim_disk_is_dead(const struct sim_disk *disk) {
    return disk->dead;
}

void sim_disk_watch(struct sim_disk *disk, unsigned kinds,
    void (*on_call)(void *ctx, enum sim_call kind), void *ctx) {
    disk->watch_kinds = kinds;
    disk->on_call = on_call;
    disk->watch_ctx = ctx;
}

void sim_disk_fail_at(struct sim_disk *disk, uint64_t n, unsigned kinds, int error) {
    disk->fail_in = n;
    disk->fail_kinds = kinds;
    disk->fail_error = error;
    disk->has_failed = false;
}

bool sim_disk_has_failed(const struct sim_disk *disk) {
    return disk->has_failed;
}

void sim_disk_shorten(struct sim_disk *disk, bool shorten) {
    disk->shorten = shorten;
}

void sim_disk_set_room(struct sim_disk *disk, uint64_t bytes) {
    disk->room = bytes;
}

void sim_disk_set_allocating(struct sim_disk *disk, bool can) {
    disk->cannot_allocate = !can;
}

bool sim_disk_flip(struct sim_disk *disk, const char *path, uint64_t offset, unsigned char mask) {
    struct inode *inode = find_inode(disk, path);
    if (!inode || offset >= inode->size)
        return false;
    inode->cache[offset] ^= mask;
    inode->medium[offset] ^= mask;
    return true;
}

uint64_t sim_disk_calls(const struct sim_disk *disk, unsigned kinds) {
    uint64_t calls = 0;
    for (unsigned i = 0; i < KINDS; i++)
        if (kinds & (1u << i))
            calls += disk->calls[i];
    return calls;
}

uint64_t sim_disk_used(const struct sim_disk *disk) {
    uint64_t blocks = 0;
    for (struct inode *inode = disk->inodes; inode; inode = inode->next) {
        bool live = false;
        for (const struct name *name = disk->names; name && !live; name = name->next)
            live = name->now == inode;
        for (size_t i = 0; i < OPEN_FILES_MAX && !live; i++)
            live = disk->files[i].fd && disk->files[i].inode == inode;
        for (uint64_t at = 0; live && at < inode->cap / SIM_BLOCK_BYTES; at++)
            blocks += inode->allocated[at];
    }
    return blocks * SIM_BLOCK_BYTES;
}

/* ---- the calls of the kernel ---- */

#define INTERRUPTIBLE                                                                              \
    (SIM_OPEN | SIM_CREATE | SIM_READ | SIM_WRITE | SIM_SYNC | SIM_SYNC_DIR | SIM_ALLOCATE |       \
        SIM_TRUNCATE)

enum fate { RUNS, FAILS, ENDS }; /* ENDS: it fails and has done nothing; errno is set */

static bool comes_true(uint64_t *countdown, unsigned kinds, enum sim_call kind) {
    return *countdown > 0 && (kinds & kind) && --*countdown == 0;
}

static enum fate enter(enum sim_call kind) {
    assert(used);
    errno = EIO;
    if (used->dead)
        return ENDS;
    for (unsigned i = 0; i < KINDS; i++)
        if ((unsigned)kind == 1u << i)
            used->calls[i]++;
    used->dying = comes_true(&used->crash_in, used->crash_kinds, kind);
    if (comes_true(&used->fail_in, used->fail_kinds, kind)) {
        used->has_failed = true;
        errno = used->fail_error;
        return FAILS;
    }
    if (used->shorten && !used->dying && (kind & INTERRUPTIBLE) && sim_below(&used->random, 2)) {
        errno = EINTR;
        return ENDS;
    }
    return RUNS;
}

/* The call has done what it does to the cache, but has synced nothing: here power may fail. */
static bool survives(enum sim_call kind) {
    if (used->dying) {
        used->dead = true;
        errno = EIO;
        return false;
    }
    if (used->on_call && (used->watch_kinds & kind)) {
        struct sim_disk *disk = used;
        int error = errno;
        disk->on_call(disk->watch_ctx, kind);
        assert(used == disk);
        errno = error;
    }
    return true;
}

static long fail(int error) {
    errno = error;
    return -1;
}

static struct open_file *file_of(int fd) {
    for (size_t i = 0; i < OPEN_FILES_MAX; i++)
        if (fd > 0 && used->files[i].fd == fd)
            return &used->files[i];
    return NULL;
}

static int add_file(struct inode *inode, const char *dir) {
    for (size_t i = 0; i < OPEN_FILES_MAX; i++) {
        struct open_file *file = &used->files[i];
        if (file->fd)
            continue;
        *file = (struct open_file){.fd = used->next_fd++, .inode = inode};
        if (dir)
            file->dir = sim_checked(strdup(dir));
        return file->fd;
    }
    return (int)fail(EMFILE);
}

static int sim_open(const char *path, int flags) {
    bool dir = flags & O_DIRECTORY, create = flags & O_CREAT;
    enum sim_call kind = dir ? SIM_LIST : create ? SIM_CREATE : SIM_OPEN;
    if (enter(kind) != RUNS)
        return -1;
    struct inode *inode = find_inode(used, path);
    if (dir ? !is_dir(used, path, strlen(path))
            : !is_dir(used, path, parent_len(path)) || (!inode && !create))
        return (int)fail(ENOENT);
    if (inode && (flags & O_EXCL))
        return (int)fail(EEXIST);
    if (!dir && !inode) {
        inode = sim_checked(calloc(1, sizeof(*inode)));
        inode->next = used->inodes;
        used->inodes = inode;
        set_name(used, path, inode);
    }
    int fd = add_file(inode, dir ? path : NULL);
    return survives(kind) ? fd : -1;
}

static int sim_close(int fd) {
    struct open_file *file = file_of(fd);
    if (!file)
        return (int)fail(EBADF); /* of a process that was killed */
    close_file(file);
    sweep(used);
    return 0;
}

static struct inode *inode_of(int fd) {
    struct open_file *file = file_of(fd);
    assert((file && file->inode) || used->dead);
    return file ? file->inode : NULL;
}

static ssize_t sim_pread(int fd, void *data, size_t len, off_t offset) {
    if (enter(SIM_READ) != RUNS)
        return -1;
    const struct inode *inode = inode_of(fd);
    uint64_t at = (uint64_t)offset;
    uint64_t rest = at < inode->size ? inode->size - at : 0;
    if (len > rest)
        len = rest;
    if (used->shorten && len > 1)
        len = 1 + sim_below(&used->random, len);
    if (len)
        memcpy(data, inode->cache + at, len);
    return survives(SIM_READ) ? (ssize_t)len : -1;
}

/* How much of a write finds room. */
static size_t fitting(const struct inode *inode, uint64_t offset, size_t len) {
    if (used->room == UINT64_MAX)
        return len;
    uint64_t in_use = sim_disk_used(used);
    uint64_t at = sim_round_down(offset, SIM_BLOCK_BYTES);
    for (; at < offset + len; at += SIM_BLOCK_BYTES) {
        if (at < inode->cap && inode->allocated[at / SIM_BLOCK_BYTES])
            continue;
        if (in_use + SIM_BLOCK_BYTES > used->room)
            return at > offset ? (size_t)(at - offset) : 0;
        in_use += SIM_BLOCK_BYTES;
    }
    return len;
}

static ssize_t sim_pwrite(int fd, const void *data, size_t len, off_t offset) {
    enum fate fate = enter(SIM_WRITE);
    int error = errno;
    struct inode *inode = inode_of(fd);
    if (fate == ENDS)
        return fail(error);
    size_t done = fitting(inode, (uint64_t)offset, len);
    if (done == 0 && len > 0 && fate == RUNS)
        return fail(ENOSPC);
    if (fate == FAILS)
        done = sim_below(&used->random, done / SIM_SECTOR_BYTES + 1) * SIM_SECTOR_BYTES;
    else if (used->shorten && done > 1)
        done = 1 + sim_below(&used->random, done);
    inode_write(inode, (uint64_t)offset, data, done);
    if (!survives(SIM_WRITE))
        return -1;
    return fate == RUNS ? (ssize_t)done : fail(error);
}

static int sim_fdatasync(int fd) {
    enum fate fate = enter(SIM_SYNC);
    int error = errno;
    struct inode *inode = inode_of(fd);
    if (fate == ENDS)
        return (int)fail(error);
    if (!survives(SIM_SYNC))
        return -1;
    if (fate == FAILS) {
        inode_fail_sync(inode, &used->random);
        return (int)fail(error);
    }
    inode_sync(inode);
    return 0;
}

static int sim_posix_fadvise(int fd, off_t offset, off_t len, int advice) {
    assert(offset == 0 && len == 0 && advice == POSIX_FADV_DONTNEED);
    struct inode *inode = inode_of(fd);
    if (inode)
        inode_drop_cache(inode);
    return 0;
}

static int sim_fsync(int fd) {
    struct open_file *file = file_of(fd);
    if (!file || !file->dir)
        return sim_fdatasync(fd);
    enum fate fate = enter(SIM_SYNC_DIR);
    int error = errno;
    if (fate == ENDS)
        return (int)fail(error);
    if (!survives(SIM_SYNC_DIR))
        return -1;
    if (fate == RUNS || sim_below(&used->random, 2)) {
        sync_names(used, file->dir);
        sweep(used);
    }
    return fate == RUNS ? 0 : (int)fail(error);
}

static int sim_fallocate(int fd, int mode, off_t offset, off_t len) {
    assert(mode == 0 && offset == 0 && len > 0);
    if (enter(SIM_ALLOCATE) != RUNS)
        return -1;
    if (used->cannot_allocate)
        return (int)fail(EOPNOTSUPP);
    struct inode *inode = inode_of(fd);
    uint64_t bytes = (uint64_t)len;
    if (fitting(inode, 0, bytes) < bytes)
        return (int)fail(ENOSPC);
    inode_make_room(inode, bytes);
    memset(inode->allocated, 1, sim_round_up(bytes, SIM_BLOCK_BYTES) / SIM_BLOCK_BYTES);
    if (bytes > inode->size)
        inode_note_size(inode, bytes);
    return survives(SIM_ALLOCATE) ? 0 : -1;
}

static int sim_ftruncate(int fd, off_t size) {
    if (enter(SIM_TRUNCATE) != RUNS)
        return -1;
    inode_set_size(inode_of(fd), (uint64_t)size);
    return survives(SIM_TRUNCATE) ? 0 : -1;
}

static int sim_fstat(int fd, struct stat *found) {
    if (enter(SIM_LOOK) != RUNS)
        return -1;
    memset(found, 0, sizeof(*found));
    found->st_mode = S_IFREG;
    found->st_size = (off_t)inode_of(fd)->size;
    return survives(SIM_LOOK) ? 0 : -1;
}

static int sim_stat(const char *path, struct stat *found) {
    if (enter(SIM_LOOK) != RUNS)
        return -1;
    bool dir = is_dir(used, path, strlen(path));
    if (!dir && !find_inode(used, path))
        return (int)fail(ENOENT);
    memset(found, 0, sizeof(*found));
    found->st_mode = dir ? S_IFDIR : S_IFREG;
    return survives(SIM_LOOK) ? 0 : -1;
}

static int sim_mkdir(const char *path, mode_t mode) {
    (void)mode;
    if (enter(SIM_MAKE_DIR) != RUNS)
        return -1;
    if (is_dir(used, path, strlen(path)) || find_inode(used, path))
        return (int)fail(EEXIST);
    if (!is_dir(used, path, parent_len(path)))
        return (int)fail(ENOENT);
    used->dirs = sim_grow(used->dirs, used->dir_count, &used->dir_cap, sizeof(char *));
    used->dirs[used->dir_count++] = sim_checked(strdup(path));
    return survives(SIM_MAKE_DIR) ? 0 : -1;
}

/* Renaming and removal: one that fails may have been done. */
static int change_name(enum sim_call kind, const char *from, const char *to) {
    enum fate fate = enter(kind);
    int error = errno;
    if (fate == ENDS)
        return (int)fail(error);
    struct inode *inode = find_inode(used, from);
    if (!inode || (to && !is_dir(used, to, parent_len(to))))
        return (int)fail(fate == FAILS ? error : ENOENT);
    if (fate == RUNS || sim_below(&used->random, 2)) {
        if (to)
            set_name(used, to, inode);
        if (!to || strcmp(from, to) != 0)
            set_name(used, from, NULL);
        sweep(used);
    }
    if (!survives(kind))
        return -1;
    return fate == RUNS ? 0 : (int)fail(error);
}

static int sim_rename(const char *from, const char *to) {
    return change_name(SIM_RENAME, from, to);
}

static int sim_unlink(const char *path) {
    return change_name(SIM_UNLINK, path, NULL);
}

static int sim_flock(int fd, int operation) {
    assert(operation == (LOCK_EX | LOCK_NB));
    struct open_file *file = file_of(fd);
    for (size_t i = 0; i < OPEN_FILES_MAX; i++)
        if (used->files[i].locked && used->files[i].inode == file->inode)
            return (int)fail(EWOULDBLOCK);
    file->locked = true;
    return 0;
}

struct sim_stream {
    char **names;
    size_t count, at, cap;
    struct dirent entry;
};

/* All names at once, in any order. */
static struct sim_stream *sim_opendir(const char *dir) {
    if (enter(SIM_LIST) != RUNS)
        return NULL;
    if (!is_dir(used, dir, strlen(dir))) {
        errno = ENOENT;
        return NULL;
    }
    if (!survives(SIM_LIST))
        return NULL;
    struct sim_stream *stream = sim_checked(calloc(1, sizeof(*stream)));
    for (const struct name *name = used->names; name; name = name->next) {
        if (!name->now || !is_in(name, dir))
            continue;
        stream->names =
            sim_grow(stream->names, stream->count, &stream->cap, sizeof(*stream->names));
        size_t place = sim_below(&used->random, stream->count + 1);
        if (place < stream->count)
            stream->names[stream->count] = stream->names[place];
        stream->names[place] = sim_checked(strdup(strrchr(name->path, '/') + 1));
        stream->count++;
    }
    return stream;
}

static struct dirent *sim_readdir(struct sim_stream *stream) {
    if (stream->at == stream->count)
        return NULL;
    const char *name = stream->names[stream->at++];
    assert(strlen(name) < sizeof(stream->entry.d_name));
    snprintf(stream->entry.d_name, sizeof(stream->entry.d_name), "%s", name);
    return &stream->entry;
}

static int sim_closedir(struct sim_stream *stream) {
    for (size_t i = 0; i < stream->count; i++)
        free(stream->names[i]);
    free(stream->names);
    free(stream);
    return 0;
}

/* ---- disk.c on top of it ---- */

#define DIR struct sim_stream
#define open(path, flags, ...) sim_open(path, flags)
#define close(fd) sim_close(fd)
#define pread(fd, data, len, offset) sim_pread(fd, data, len, offset)
#define pwrite(fd, data, len, offset) sim_pwrite(fd, data, len, offset)
#define fdatasync(fd) sim_fdatasync(fd)
#define fsync(fd) sim_fsync(fd)
#define posix_fadvise(fd, offset, len, advice) sim_posix_fadvise(fd, offset, len, advice)
#define fallocate(fd, mode, offset, len) sim_fallocate(fd, mode, offset, len)
#define ftruncate(fd, size) sim_ftruncate(fd, size)
#define fstat(fd, found) sim_fstat(fd, found)
#define stat(path, found) sim_stat(path, found)
#define mkdir(path, mode) sim_mkdir(path, mode)
#define rename(from, to) sim_rename(from, to)
#define unlink(path) sim_unlink(path)
#define flock(fd, operation) sim_flock(fd, operation)
#define opendir(dir) sim_opendir(dir)
#define readdir(stream) sim_readdir(stream)
#define closedir(stream) sim_closedir(stream)
#include "core/disk.c"
