#include "core/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct disk_file {
    int fd;
};

static enum status status_of(int error) {
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ST_DISK_FULL;
    case ENOENT:
        return ST_NOT_FOUND;
    case EEXIST:
        return ST_EXISTS;
    case ENOMEM:
        return ST_NOMEM;
    case EMFILE:
    case ENFILE:
        return ST_BUSY;
    default:
        return ST_IO;
    }
}

static enum status open_file(const char *path, int flags, struct disk_file **file) {
    struct disk_file *opened = malloc(sizeof(*opened));
    if (!opened)
        return ST_NOMEM;
    do
        opened->fd = open(path, flags | O_CLOEXEC, 0644);
    while (opened->fd < 0 && errno == EINTR);
    if (opened->fd < 0) {
        int error = errno;
        free(opened);
        errno = error;
        return status_of(error);
    }
    *file = opened;
    return ST_OK;
}

enum status disk_open(const char *path, enum disk_mode mode, struct disk_file **file) {
    switch (mode) {
    case DISK_READ:
        return open_file(path, O_RDONLY, file);
    case DISK_UPDATE:
        return open_file(path, O_RDWR, file);
    case DISK_CREATE:
        return open_file(path, O_RDWR | O_CREAT | O_EXCL, file);
    }
    return ST_INVALID;
}

void disk_close(struct disk_file *file) {
    /* Nothing depends on its result: what had to be kept was synced. */
    close(file->fd);
    free(file);
}

enum status disk_size(struct disk_file *file, uint64_t *bytes) {
    struct stat stat;
    if (fstat(file->fd, &stat) != 0)
        return status_of(errno);
    *bytes = (uint64_t)stat.st_size;
    return ST_OK;
}

enum status disk_read(
    struct disk_file *file, uint64_t offset, void *data, size_t len, size_t *got) {
    size_t done = 0;
    while (done < len) {
        ssize_t count = pread(file->fd, (char *)data + done, len - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return status_of(errno);
        if (count == 0)
            break;
        done += (size_t)count;
    }
    *got = done;
    return ST_OK;
}

enum status disk_write(struct disk_file *file, uint64_t offset, const void *data, size_t len) {
    size_t done = 0;
    while (done < len) {
        ssize_t count =
            pwrite(file->fd, (const char *)data + done, len - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR)
            continue;
        if (count == 0)
            errno = ENOSPC; /* the one reason a regular file has to take nothing */
        if (count <= 0)
            return status_of(errno);
        done += (size_t)count;
    }
    return ST_OK;
}

enum status disk_allocate(struct disk_file *file, uint64_t bytes) {
    int failed;
    /* fallocate, not posix_fallocate: the latter's emulation writes one byte a block and would
     * hide that the file system cannot reserve. */
    do
        failed = fallocate(file->fd, 0, 0, (off_t)bytes);
    while (failed && errno == EINTR);
    if (!failed)
        return ST_OK;
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        return ST_INVALID;
    return status_of(errno);
}

enum status disk_truncate(struct disk_file *file, uint64_t bytes) {
    int failed;
    do
        failed = ftruncate(file->fd, (off_t)bytes);
    while (failed && errno == EINTR);
    return failed ? status_of(errno) : ST_OK;
}

enum status disk_sync(struct disk_file *file) {
    int failed;
    do
        failed = fdatasync(file->fd);
    while (failed && errno == EINTR);
    /* Also a lack of room is a failed sync: what was written may be lost. */
    return failed ? ST_IO : ST_OK;
}

void disk_drop_cache(struct disk_file *file) {
    (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
}

enum status disk_sync_dir(const char *dir) {
    int fd;
    do
        fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return status_of(errno);
    int failed;
    do
        failed = fsync(fd);
    while (failed && errno == EINTR);
    int error = errno;
    close(fd);
    errno = error;
    return failed ? ST_IO : ST_OK;
}

/* The name of a new directory is in its parent. */
static enum status sync_parent(const char *dir) {
    char parent[DISK_PATH_BYTES_MAX];
    size_t len = strlen(dir);
    while (len > 0 && dir[len - 1] != '/')
        len--;
    if (len >= sizeof(parent))
        return ST_INVALID;
    memcpy(parent, len > 0 ? dir : ".", len > 0 ? len : 1);
    parent[len > 0 ? len : 1] = '\0';
    enum status status = disk_sync_dir(parent);
    /* One may be allowed to write into a directory and not to read it: then it cannot be synced. */
    return status != ST_OK && errno == EACCES ? ST_OK : status;
}

enum status disk_make_dir(const char *dir) {
    if (mkdir(dir, 0755) == 0)
        return sync_parent(dir);
    int error = errno;
    struct stat found;
    if (error == EEXIST && stat(dir, &found) == 0) {
        if (S_ISDIR(found.st_mode))
            return ST_OK;
        error = ENOTDIR;
    }
    errno = error;
    return status_of(error);
}

enum status disk_rename(const char *from, const char *to) {
    return rename(from, to) == 0 ? ST_OK : status_of(errno);
}

enum status disk_unlink(const char *path) {
    return unlink(path) == 0 ? ST_OK : status_of(errno);
}

enum status disk_list(
    const char *dir, enum status (*visit)(void *ctx, const char *name), void *ctx) {
    DIR *stream = opendir(dir);
    if (!stream)
        return status_of(errno);
    enum status status = ST_OK;
    while (status == ST_OK) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry) {
            status = errno ? status_of(errno) : ST_OK;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = visit(ctx, entry->d_name);
    }
    int error = errno;
    closedir(stream);
    errno = error;
    return status;
}

enum status disk_lock(const char *path, struct disk_file **lock) {
    struct disk_file *file;
    enum status status = open_file(path, O_RDWR | O_CREAT, &file);
    if (status != ST_OK)
        return status;
    int failed;
    do
        failed = flock(file->fd, LOCK_EX | LOCK_NB);
    while (failed && errno == EINTR);
    if (failed) {
        int error = errno;
        disk_close(file);
        errno = error;
        return error == EWOULDBLOCK ? ST_LOCKED : status_of(error);
    }
    *lock = file;
    return ST_OK;
}
