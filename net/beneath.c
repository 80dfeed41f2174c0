#include "net/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/url.h"

/* Links that are followed, and renames that come between, so often at most. */
#define TRIES_MAX 8

/* Neither waits for a writer of a fifo nor takes a terminal over. */
#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

/* True if the name between two slashes is one that is served. */
static bool is_plain_name(struct slice name) {
    if (name.len == 0 || name.data[0] == '.')
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] == '\0' || name.data[i] == '/' || name.data[i] == '\\')
            return false;
    return true;
}

enum status beneath_path(struct slice encoded, char path[BENEATH_PATH_BYTES_MAX]) {
    size_t len = 0;
    char
        room[BENEATH_PATH_BYTES_MAX]; /* lack of memory is not to look like a file that is absent */
    struct buf name = {.data = room, .cap = sizeof room, .max = sizeof room};
    enum status status = ST_OK;
    for (bool more = true; more && status == ST_OK;) {
        const char *slash = encoded.len ? memchr(encoded.data, '/', encoded.len) : NULL;
        size_t taken = slash ? (size_t)(slash - encoded.data) : encoded.len;
        buf_reset(&name, sizeof room);
        if (url_decode(slice_of(encoded.data, taken), false, &name) != ST_OK ||
            !is_plain_name(buf_slice(&name)) || len + name.len + 2 > BENEATH_PATH_BYTES_MAX) {
            status = ST_NOT_FOUND;
            break;
        }
        memcpy(path + len, name.data, name.len);
        len += name.len;
        path[len++] = slash ? '/' : '\0';
        more = slash != NULL;
        if (more)
            encoded = slice_of(slash + 1, encoded.len - taken - 1);
    }
    return status;
}

static enum status status_of(int error) {
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
        return ST_BUSY;
    case EIO:
        return ST_IO;
    default:
        return ST_NOT_FOUND;
    }
}

/* Keeps the descriptor if it is of a regular file. */
static enum status keep_regular(int opened, int *fd) {
    struct stat stat;
    if (fstat(opened, &stat) == 0 && S_ISREG(stat.st_mode)) {
        *fd = opened;
        return ST_OK;
    }
    close(opened);
    return ST_NOT_FOUND;
}

static int open_folder(const char *folder) {
    return open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

enum status beneath_open_by_names(const char *folder, const char *path, int *fd) {
    int at = open_folder(folder);
    while (at >= 0) {
        const char *slash = strchr(path, '/');
        size_t len = slash ? (size_t)(slash - path) : strlen(path);
        char name[256]; /* NAME_MAX and its end */
        if (len >= sizeof(name)) {
            close(at);
            return ST_NOT_FOUND;
        }
        memcpy(name, path, len);
        name[len] = '\0';
        int flags = slash ? O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW : READ_FLAGS | O_NOFOLLOW;
        int next = openat(at, name, flags);
        int error = errno;
        close(at);
        errno = error;
        if (next >= 0 && !slash)
            return keep_regular(next, fd);
        at = next;
        path = slash ? slash + 1 : path;
    }
    return status_of(errno);
}

enum status beneath_open(const char *folder, const char *path, int *fd) {
    struct open_how how = {
        .flags = READ_FLAGS,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int at = open_folder(folder);
    if (at < 0)
        return status_of(errno);
    int opened = -1;
    /* EAGAIN: something was renamed meanwhile, so the kernel cannot tell whether ".." led out. */
    for (int i = 0; i < TRIES_MAX; i++) {
        opened = (int)syscall(SYS_openat2, at, path, &how, sizeof(how));
        if (opened >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    int error = errno;
    close(at);
    if (opened >= 0)
        return keep_regular(opened, fd);
    /* Kernels before 5.6, and filters that do not know the call. */
    if (error == ENOSYS || error == EPERM)
        return beneath_open_by_names(folder, path, fd);
    return status_of(error);
}
