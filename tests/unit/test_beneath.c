/* No path from a URL opens anything but a regular file beneath its folder; and a file's media type.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/beneath.h"
#include "net/media_type.h"

static char top[] = "/tmp/concave-beneath-XXXXXX";
static char folder[64];

static void write_file(const char *dir, const char *name) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, name, strlen(name)), (ssize_t)strlen(name));
    close(fd);
}

static void link_to(const char *target, const char *name) {
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(symlink(target, path), 0);
}

static int setup(void **state) {
    (void)state;
    assert_non_null(mkdtemp(top));
    snprintf(folder, sizeof(folder), "%s/static", top);
    char path[128];
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/sub", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    write_file(top, "secret");
    write_file(folder, "a.txt");
    write_file(folder, "sub/b.txt");
    link_to("../secret", "up");
    link_to("/etc/passwd", "absolute");
    link_to("..", "out");
    link_to("/proc/self/root", "magic");
    link_to("loop", "loop");
    link_to("nowhere", "dangling");
    link_to("sub/b.txt", "inside");
    link_to("sub", "folder");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", top);
    return system(command);
}

/* False where the kernel is old or a container forbids it: then beneath_open goes by names too. */
static bool kernel_can_tell(void) {
    struct open_how how = {.flags = O_PATH};
    long opened = syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
    return opened >= 0 && close((int)opened) == 0;
}

typedef enum status open_fn(const char *folder, const char *path, int *fd);

/* Opens and reads: the file's text, or NULL and the status. */
static const char *read_by(open_fn *open, const char *path, enum status *status) {
    static char text[64];
    int fd = -1;
    *status = open(folder, path, &fd);
    if (*status != ST_OK)
        return NULL;
    ssize_t len = read(fd, text, sizeof(text) - 1);
    assert_true(len >= 0);
    text[len] = '\0';
    close(fd);
    return text;
}

static void files_beneath_are_opened(void **state) {
    (void)state;
    enum status status;
    assert_string_equal(read_by(beneath_open, "a.txt", &status), "a.txt");
    assert_string_equal(read_by(beneath_open, "sub/b.txt", &status), "sub/b.txt");
    assert_string_equal(read_by(beneath_open_by_names, "a.txt", &status), "a.txt");
    assert_string_equal(read_by(beneath_open_by_names, "sub/b.txt", &status), "sub/b.txt");
    /* Links that stay inside: only where the kernel can tell. */
    if (kernel_can_tell()) {
        assert_string_equal(read_by(beneath_open, "inside", &status), "sub/b.txt");
        assert_string_equal(read_by(beneath_open, "folder/b.txt", &status), "sub/b.txt");
    }
    assert_null(read_by(beneath_open_by_names, "inside", &status));
    assert_null(read_by(beneath_open_by_names, "folder/b.txt", &status));
}

static void nothing_else_is(void **state) {
    (void)state;
    static const char *const paths[] = {"up", "absolute", "out/secret", "magic/etc/passwd", "loop",
        "dangling", "none", "none/none", "sub", "fifo", "a.txt/x", "out", "folder",
        /* what beneath_path would have refused */
        "../secret", "..", ".", "sub/../../secret", "/etc/passwd", ""};
    size_t count = kernel_can_tell() ? sizeof(paths) / sizeof(paths[0]) : 13;
    for (size_t i = 0; i < count; i++) {
        enum status status;
        if (read_by(beneath_open, paths[i], &status) || status != ST_NOT_FOUND)
            fail_msg("'%s': %s", paths[i], status_text(status));
    }
    /* "..", which beneath_path refuses, is no link and so not stopped by name. */
    for (size_t i = 0; i < 13; i++) {
        enum status status;
        if (read_by(beneath_open_by_names, paths[i], &status) || status != ST_NOT_FOUND)
            fail_msg("by names: '%s': %s", paths[i], status_text(status));
    }
    int fd;
    assert_int_equal(beneath_open("/nonexistent", "a.txt", &fd), ST_NOT_FOUND);
    assert_int_equal(beneath_open_by_names("/nonexistent", "a.txt", &fd), ST_NOT_FOUND);
    char name[400];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(beneath_open(folder, name, &fd), ST_NOT_FOUND);
    assert_int_equal(beneath_open_by_names(folder, name, &fd), ST_NOT_FOUND);
}

static void paths_are_decoded_once_and_hold_plain_names_only(void **state) {
    (void)state;
    static const struct {
        const char *encoded, *path; /* NULL: refused */
    } cases[] = {{"a.txt", "a.txt"}, {"sub/b.txt", "sub/b.txt"}, {"%61%2Etxt", "a.txt"},
        {"a+b", "a+b"}, {"a%20b", "a b"}, {"%C3%BC", "\xC3\xBC"}, {"a..b", "a..b"}, {"a.", "a."},
        {"%252e%252e/x", "%2e%2e/x"}, {"%2525", "%25"}, {"", NULL}, {"/", NULL},
        {"/etc/passwd", NULL}, {"a/", NULL}, {"a//b", NULL}, {".", NULL}, {"..", NULL},
        {"../a", NULL}, {"a/../b", NULL}, {"a/./b", NULL}, {"%2e%2e/a", NULL}, {".%2e/a", NULL},
        {"%2E%2E/a", NULL}, {".git/config", NULL}, {"a/.git", NULL}, {"%2egit", NULL},
        {"...", NULL}, {"a%2fb", NULL}, {"a%2Fb", NULL}, {"..%2fa", NULL}, {"%2f", NULL},
        {"a%00", NULL}, {"a%00.txt", NULL}, {"%00", NULL}, {"..\\a", NULL}, {"a\\b", NULL},
        {"a%5cb", NULL}, {"%5c", NULL}, {"%", NULL}, {"%2", NULL}, {"%zz", NULL}, {"a/%", NULL}};
    char path[BENEATH_PATH_BYTES_MAX];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slice encoded = slice_of(cases[i].encoded, strlen(cases[i].encoded));
        enum status status = beneath_path(encoded, path);
        if (cases[i].path ? status != ST_OK || strcmp(path, cases[i].path) != 0
                          : status != ST_NOT_FOUND)
            fail_msg("'%s'", cases[i].encoded);
    }
}

static void long_paths_are_refused_before_they_overflow(void **state) {
    (void)state;
    static char text[3 * BENEATH_PATH_BYTES_MAX], path[BENEATH_PATH_BYTES_MAX];
    for (size_t len = BENEATH_PATH_BYTES_MAX - 4; len < BENEATH_PATH_BYTES_MAX + 4; len++) {
        for (size_t i = 0; i < len; i++)
            text[i] = i % 3 == 2 ? '/' : 'a';
        text[len - 1] = 'a';
        enum status status = beneath_path(slice_of(text, len), path);
        assert_int_equal(status, len + 2 <= BENEATH_PATH_BYTES_MAX ? ST_OK : ST_NOT_FOUND);
    }
    memset(text, 'a', sizeof(text));
    assert_int_equal(beneath_path(slice_of(text, sizeof(text)), path), ST_NOT_FOUND);
}

static void types_go_by_the_extension(void **state) {
    (void)state;
    static const struct {
        const char *path, *type;
    } cases[] = {{"index.html", "text/html; charset=utf-8"}, {"a/b.CSS", "text/css; charset=utf-8"},
        {"x.min.js", "text/javascript; charset=utf-8"}, {"x.mjs", "text/javascript; charset=utf-8"},
        {"x.js.map", "application/json"}, {"f.woff2", "font/woff2"}, {"i.svg", "image/svg+xml"},
        {"m.wasm", "application/wasm"}, {"readme.md", "text/markdown; charset=utf-8"},
        {"png", "application/octet-stream"}, {"a.png/b", "application/octet-stream"},
        {"a.unknown", "application/octet-stream"}, {"a.", "application/octet-stream"},
        {"", "application/octet-stream"}, {"a.htmlx", "application/octet-stream"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(
            media_type_of(slice_of(cases[i].path, strlen(cases[i].path))), cases[i].type);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_beneath_are_opened),
        cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(paths_are_decoded_once_and_hold_plain_names_only),
        cmocka_unit_test(long_paths_are_refused_before_they_overflow),
        cmocka_unit_test(types_go_by_the_extension),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
