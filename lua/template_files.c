/* The walk over the resources folder (see lua/template_set.h). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lua/template_set.h"

#define SUFFIX ".mustache"

/* A folder still to be walked; the name ends in '/', but the topmost is empty. */
struct pending {
    char *name;
    unsigned depth;
};

struct walk {
    struct template_set *set;
    const char *folder;
    char *root;          /* the folder without links */
    struct buf pending;  /* struct pending, in the order found */
    size_t next;         /* of them */
    unsigned entries;    /* looked at so far */
    size_t bytes;        /* read so far */
    struct buf text;     /* of the file just read */
    enum status status;  /* ST_NOMEM ends it */
    const char *trouble; /* the first bound that it met */
};

static void note(struct walk *walk, const char *trouble) {
    if (!walk->trouble)
        walk->trouble = trouble;
}

static void check(struct walk *walk, enum status status) {
    if (status == ST_TOO_LARGE)
        note(walk, "more than 1024 templates");
    else if (status != ST_OK)
        walk->status = status;
}

/* ---- files ---- */

/* True if the path, links followed, is below the folder. */
static bool is_inside(struct walk *walk, const char *path) {
    char *real = realpath(path, NULL);
    size_t len = strlen(walk->root);
    if (!real && errno == ENOMEM)
        walk->status = ST_NOMEM;
    bool inside = real && strncmp(real, walk->root, len) == 0 &&
                  (real[len] == '/' || (len > 0 && walk->root[len - 1] == '/'));
    free(real);
    return inside;
}

/* Reads the open file into walk->text; why it could not, or NULL. */
static const char *read_text(struct walk *walk, int fd) {
    struct stat info;
    buf_reset(&walk->text, TEMPLATE_BYTES_MAX);
    if (fstat(fd, &info) != 0)
        return "cannot be read";
    if (!S_ISREG(info.st_mode))
        return "not a file";
    for (;;) {
        char *to = buf_reserve(&walk->text, 65536);
        if (!to && walk->text.len <= TEMPLATE_BYTES_MAX)
            walk->status = ST_NOMEM;
        if (!to)
            return "larger than 1 MiB";
        ssize_t got = read(fd, to, 65536);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return "cannot be read";
        if (got == 0)
            break;
        walk->text.len += (size_t)got;
    }
    if (walk->text.len > TEMPLATE_BYTES_MAX)
        return "larger than 1 MiB";
    walk->bytes += walk->text.len;
    return walk->bytes > TEMPLATES_BYTES_MAX ? "the templates together are larger than 16 MiB"
                                             : NULL;
}

/* The text that was read, without the byte order mark that some editors put in front. */
static struct slice text_of(const struct walk *walk) {
    struct slice text = buf_slice(&walk->text);
    if (text.len < 3 || memcmp(text.data, "\xEF\xBB\xBF", 3) != 0)
        return text;
    return slice_of(text.data + 3, text.len - 3);
}

static void add_file(struct walk *walk, const char *path, struct slice name, bool linked) {
    const char *why = NULL;
    int fd = -1;
    if (linked && !is_inside(walk, path))
        why = "a link that leads out of the resources folder";
    else if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0)
        why = "cannot be opened";
    else
        why = read_text(walk, fd);
    if (fd >= 0)
        (void)close(fd); /* it was only read */
    /* Lack of memory is not the file's fault. */
    if (walk->status == ST_OK)
        check(walk, why ? template_set_add_broken(walk->set, name, why)
                        : template_set_add(walk->set, name, text_of(walk)));
}

/* ---- folders ---- */

static void add_folder(struct walk *walk, const char *above, const char *name, unsigned depth) {
    struct pending pending = {.depth = depth};
    if (depth > TEMPLATES_DEPTH_MAX) {
        note(walk, "folders more than 8 deep");
        return;
    }
    if (asprintf(&pending.name, *name ? "%s%s/" : "%s%s", above, name) < 0) {
        walk->status = ST_NOMEM;
        return;
    }
    buf_append(&walk->pending, &pending, sizeof pending);
    if (!buf_ok(&walk->pending)) {
        free(pending.name);
        walk->status = ST_NOMEM;
    }
}

/* The kind of an entry as dirent.h has it, its link not followed. */
static unsigned char kind_of(int folder, const struct dirent *entry) {
    struct stat info;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type;
    if (fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return DT_UNKNOWN;
    if (S_ISDIR(info.st_mode))
        return DT_DIR;
    if (S_ISLNK(info.st_mode))
        return DT_LNK;
    return S_ISREG(info.st_mode) ? DT_REG : DT_UNKNOWN;
}

static void look_at(
    struct walk *walk, const struct pending *folder, int fd, const struct dirent *entry) {
    size_t len = strlen(entry->d_name), suffix = sizeof SUFFIX - 1;
    if (entry->d_name[0] == '.' || strcmp(entry->d_name, "node_modules") == 0)
        return;
    unsigned char kind = kind_of(fd, entry);
    if (kind == DT_DIR) {
        add_folder(walk, folder->name, entry->d_name, folder->depth + 1);
        return;
    }
    if ((kind != DT_REG && kind != DT_LNK) || len <= suffix ||
        strcmp(entry->d_name + len - suffix, SUFFIX) != 0)
        return;
    char *path = NULL;
    if (asprintf(&path, "%s/%s%s", walk->folder, folder->name, entry->d_name) < 0) {
        walk->status = ST_NOMEM;
        return;
    }
    const char *below = path + strlen(walk->folder) + 1;
    struct slice name = slice_of(below, strlen(below) - suffix);
    if (template_name_valid(name))
        add_file(walk, path, name, kind == DT_LNK);
    free(path);
}

/* False if the folder cannot be opened. */
static bool walk_folder(struct walk *walk, const struct pending *folder) {
    char *path = NULL;
    if (asprintf(&path, "%s/%s", walk->folder, folder->name) < 0) {
        walk->status = ST_NOMEM;
        return true;
    }
    DIR *dir = opendir(path);
    int error = errno;
    free(path);
    if (!dir && error == ENOMEM)
        walk->status = ST_NOMEM;
    if (!dir)
        return walk->status != ST_OK;
    const struct dirent *entry;
    while (walk->status == ST_OK && (entry = readdir(dir))) {
        if (++walk->entries > TEMPLATES_ENTRIES_MAX) {
            note(walk, "more than 20000 files and folders");
            break;
        }
        look_at(walk, folder, dirfd(dir), entry);
    }
    (void)closedir(dir);
    return true;
}

static void walk_all(struct walk *walk) {
    add_folder(walk, "", "", 0);
    while (walk->status == ST_OK && walk->entries <= TEMPLATES_ENTRIES_MAX &&
           (walk->next + 1) * sizeof(struct pending) <= walk->pending.len) {
        struct pending folder = ((struct pending *)(void *)walk->pending.data)[walk->next++];
        if (!walk_folder(walk, &folder))
            note(walk, folder.depth ? "folders that cannot be opened" : "it cannot be opened");
    }
}

static void free_walk(struct walk *walk) {
    struct pending *folders = (struct pending *)(void *)walk->pending.data;
    for (size_t i = 0; i < walk->pending.len / sizeof *folders; i++)
        free(folders[i].name);
    buf_free(&walk->pending);
    buf_free(&walk->text);
    free(walk->root);
}

enum status template_set_read(const char *folder, struct template_set **out) {
    struct walk walk = {.set = template_set_new(), .folder = folder};
    if (!walk.set)
        return ST_NOMEM;
    buf_init(&walk.pending, SIZE_MAX);
    buf_init(&walk.text, TEMPLATE_BYTES_MAX + 2 * 65536);
    walk.root = realpath(folder, NULL);
    if (walk.root)
        walk_all(&walk);
    else if (errno == ENOMEM)
        walk.status = ST_NOMEM;
    else
        note(&walk, "it cannot be opened");
    if (walk.trouble && asprintf(&walk.set->trouble, "%s: %s", folder, walk.trouble) < 0) {
        walk.set->trouble = NULL;
        walk.status = ST_NOMEM;
    }
    if (walk.status == ST_OK)
        walk.status = template_set_link(walk.set);
    if (walk.status == ST_OK)
        *out = walk.set;
    else
        template_set_free(walk.set);
    enum status status = walk.status;
    free_walk(&walk);
    return status;
}
