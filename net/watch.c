#include "net/watch.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/diag.h"

#define LOOK_MS 2000
#define DEPTH_MAX 8u /* of folders below that of the templates */
#define PATH_BYTES_MAX 4096u
#define MASK                                                                                       \
    (IN_CLOSE_WRITE | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |            \
        IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

/* What of a file would be another if its content were. All zero: it is not there. */
struct look {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

struct file {
    char *path;
    struct look look;
};

struct watch {
    char *resources;
    struct file files[WATCH_FILES_MAX];
    unsigned file_count;
    uint64_t templates; /* a sum over all templates: paths and looks */
    int inotify;        /* -1: none, because of inotify_error */
    int inotify_error;
    bool by_clock; /* something cannot be watched */
    bool warned;
};

/* ---- looks ---- */

static struct look look_at(const char *path) {
    struct stat info;
    struct look look;
    memset(&look, 0, sizeof(look)); /* padding too: looks are hashed */
    if (stat(path, &info) != 0)
        return look;
    look.device = info.st_dev;
    look.inode = info.st_ino;
    look.size = info.st_size;
    look.modified = info.st_mtim;
    look.changed = info.st_ctim;
    return look;
}

static bool same_time(struct timespec a, struct timespec b) {
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_look(const struct look *a, const struct look *b) {
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           same_time(a->modified, b->modified) && same_time(a->changed, b->changed);
}

/* ---- templates ---- */

/* FNV-1a (Fowler, Noll, Vo), 64 bits: nobody is to be fooled, only changes to be noticed. */
static uint64_t hash(uint64_t sum, const void *data, size_t len) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
    return sum;
}

static bool is_template(const char *name) {
    static const char suffix[] = ".mustache";
    size_t len = strlen(name), suffix_len = sizeof(suffix) - 1;
    return len > suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

/* What to do with the folders on the way. */
struct walk {
    struct watch *watch;
    uint64_t sum;
    unsigned folders, templates;
    void (*visit)(struct watch *watch, const char *folder);
};

static void walk_templates(struct walk *walk, const char *folder, unsigned depth);

static void take_entry(
    struct walk *walk, const char *folder, const struct dirent *entry, unsigned depth) {
    char path[PATH_BYTES_MAX];
    bool folder_like = entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN;
    int len = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
    if (entry->d_name[0] == '.' || len < 0 || (size_t)len >= sizeof(path))
        return;
    if (is_template(entry->d_name) && walk->templates < WATCH_FILES_MAX) {
        struct look look = look_at(path);
        /* The order in which a folder is read may change, so the parts are added. */
        walk->sum +=
            hash(hash(UINT64_C(0xcbf29ce484222325), path, (size_t)len), &look, sizeof(look));
        walk->templates++;
    } else if (folder_like && depth < DEPTH_MAX && strcmp(entry->d_name, "static") != 0) {
        walk_templates(walk, path, depth + 1);
    }
}

static void walk_templates(struct walk *walk, const char *folder, unsigned depth) {
    DIR *dir = walk->folders < WATCH_FOLDERS_MAX ? opendir(folder) : NULL;
    if (!dir)
        return;
    walk->folders++;
    if (walk->visit)
        walk->visit(walk->watch, folder);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL)
        take_entry(walk, folder, entry, depth);
    closedir(dir);
}

static uint64_t look_at_templates(struct watch *watch) {
    struct walk walk = {.watch = watch};
    if (watch->resources)
        walk_templates(&walk, watch->resources, 0);
    return walk.sum;
}

/* ---- folders ---- */

static void watch_folder(struct watch *watch, const char *folder) {
    int failed = watch->inotify_error;
    if (!failed && inotify_add_watch(watch->inotify, folder, MASK) < 0)
        failed = errno;
    if (!failed)
        return;
    watch->by_clock = true;
    if (watch->warned || failed == ENOENT || failed == ENOTDIR)
        return;
    watch->warned = true;
    diag(DIAG_WARN, "--watch: no notice of changes in %s (%s): it is looked at every %d s", folder,
        strerror(failed), LOOK_MS / 1000);
}

static void watch_folder_of(struct watch *watch, const char *path) {
    char folder[PATH_BYTES_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    if (len >= sizeof(folder))
        return;
    memcpy(folder, path, len);
    folder[len] = '\0';
    watch_folder(watch, slash ? len ? folder : "/" : ".");
}

/* The file's folder, and that of the file behind it if it is a link. */
static void watch_file(struct watch *watch, const char *path) {
    watch_folder_of(watch, path);
    char *real = realpath(path, NULL);
    if (real)
        watch_folder_of(watch, real);
    free(real);
}

/* ---- what the caller does ---- */

struct watch *watch_create(const char *resources) {
    struct watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return NULL;
    watch->inotify = -1;
    watch->resources = resources ? strdup(resources) : NULL;
    if (resources && !watch->resources) {
        free(watch);
        return NULL;
    }
    return watch;
}

static void forget_files(struct watch *watch) {
    for (unsigned i = 0; i < watch->file_count; i++)
        free(watch->files[i].path);
    watch->file_count = 0;
}

void watch_destroy(struct watch *watch) {
    if (!watch)
        return;
    forget_files(watch);
    if (watch->inotify >= 0)
        close(watch->inotify);
    free(watch->resources);
    free(watch);
}

void watch_begin(struct watch *watch) {
    forget_files(watch);
    watch->templates = look_at_templates(watch);
}

void watch_note(struct watch *watch, const char *path) {
    for (unsigned i = 0; i < watch->file_count; i++)
        if (strcmp(watch->files[i].path, path) == 0)
            return; /* what counts is the first look */
    if (watch->file_count == WATCH_FILES_MAX)
        return;
    struct file file = {.path = strdup(path), .look = look_at(path)};
    if (file.path)
        watch->files[watch->file_count++] = file;
}

void watch_end(struct watch *watch) {
    if (watch->inotify >= 0)
        close(watch->inotify); /* with all its watches */
    watch->by_clock = false;
    watch->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    watch->inotify_error = watch->inotify < 0 ? errno : 0;
    for (unsigned i = 0; i < watch->file_count; i++)
        watch_file(watch, watch->files[i].path);
    struct walk walk = {.watch = watch, .visit = watch_folder};
    if (watch->resources)
        walk_templates(&walk, watch->resources, 0);
    if (walk.folders == WATCH_FOLDERS_MAX)
        watch->by_clock = true;
}

int watch_descriptor(const struct watch *watch) {
    return watch->inotify;
}

int watch_wait_ms(const struct watch *watch) {
    return watch->by_clock ? LOOK_MS : -1;
}

/* True if a folder may have come or gone, so that others are to be watched. */
static bool drain(struct watch *watch) {
    _Alignas(struct inotify_event) char events[4096];
    bool folders = false;
    ssize_t len;
    while (watch->inotify >= 0 && (len = read(watch->inotify, events, sizeof(events))) > 0)
        for (const char *at = events; at < events + len;) {
            const struct inotify_event *event = (const void *)at;
            folders |= (event->mask & (IN_ISDIR | IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF |
                                          IN_Q_OVERFLOW)) != 0;
            at += sizeof(*event) + event->len;
        }
    return folders;
}

bool watch_changed(struct watch *watch) {
    if (drain(watch) || watch->by_clock)
        watch_end(watch);
    for (unsigned i = 0; i < watch->file_count; i++) {
        struct look look = look_at(watch->files[i].path);
        if (!same_look(&look, &watch->files[i].look))
            return true;
    }
    return look_at_templates(watch) != watch->templates;
}
