/* What counts as a change of the application's files: content, place, presence; not neighbours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/watch.h"
#include "tests/support/diag_catch.h"

static char folder[64];
static struct watch *watch;

static const char *path_of(const char *name) {
    static char path[2][256];
    static unsigned next;
    char *at = path[next++ % 2];
    (void)snprintf(at, sizeof(path[0]), "%s/%s", folder, name);
    return at;
}

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* What a reload does: app.lua and lib/m.lua are read. */
static void read_all(void) {
    watch_begin(watch);
    watch_note(watch, path_of("app.lua"));
    watch_note(watch, path_of("lib/m.lua"));
    watch_end(watch);
}

static int set_up(void **state) {
    (void)state;
    strcpy(folder, "/tmp/concave-watch-XXXXXX");
    if (!mkdtemp(folder) || mkdir(path_of("lib"), 0700) != 0 || mkdir(path_of("pages"), 0700) != 0)
        return 1;
    write_file("app.lua", "one");
    write_file("lib/m.lua", "one");
    write_file("pages/page.mustache", "one");
    watch = watch_create(path_of("pages"));
    read_all();
    return watch == NULL;
}

static int tear_down(void **state) {
    (void)state;
    watch_destroy(watch);
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static void assert_changed_once(void) {
    assert_true(watch_changed(watch));
    read_all();
    assert_false(watch_changed(watch));
}

static void nothing_has_changed_at_first(void **state) {
    (void)state;
    assert_false(watch_changed(watch));
    assert_true(watch_descriptor(watch) >= 0);
    assert_int_equal(watch_wait_ms(watch), -1);
}

static void another_file_in_the_same_place_is_a_change(void **state) {
    (void)state;
    write_file("app.lua.new", "two");
    assert_false(watch_changed(watch));
    assert_int_equal(rename(path_of("app.lua.new"), path_of("app.lua")), 0);
    assert_changed_once();
}

static void another_length_is_a_change(void **state) {
    (void)state;
    write_file("lib/m.lua", "longer");
    assert_changed_once();
}

static void a_file_that_goes_and_comes_is_a_change(void **state) {
    (void)state;
    assert_int_equal(unlink(path_of("lib/m.lua")), 0);
    assert_changed_once();
    write_file("lib/m.lua", "one");
    assert_changed_once();
}

static void a_link_that_leads_elsewhere_is_a_change(void **state) {
    (void)state;
    write_file("v1", "one");
    write_file("v2", "one");
    assert_int_equal(unlink(path_of("app.lua")), 0);
    assert_int_equal(symlink("v1", path_of("app.lua")), 0);
    assert_changed_once();
    assert_int_equal(symlink("v2", path_of("link.new")), 0);
    assert_int_equal(rename(path_of("link.new"), path_of("app.lua")), 0);
    assert_changed_once();
}

static void templates_count_and_so_do_new_ones_in_new_folders(void **state) {
    (void)state;
    write_file("pages/page.mustache", "longer");
    assert_changed_once();
    assert_int_equal(mkdir(path_of("pages/parts"), 0700), 0);
    assert_false(watch_changed(watch));
    write_file("pages/parts/item.mustache", "x");
    assert_changed_once();
    assert_int_equal(rename(path_of("pages/parts"), path_of("pages/static")), 0);
    assert_changed_once();
    write_file("pages/static/more.mustache", "x");
    write_file("pages/notes.txt", "x");
    assert_false(watch_changed(watch));
}

/* What a file looks like is noted before it is read, so a change while it is read is seen. */
static void a_change_while_the_files_are_read_is_not_missed(void **state) {
    (void)state;
    watch_begin(watch);
    watch_note(watch, path_of("app.lua"));
    write_file("app.lua", "changed");
    watch_note(watch, path_of("app.lua"));
    watch_end(watch);
    assert_true(watch_changed(watch));
}

/* No event will tell of a folder that is not there: it is looked at by the clock. */
static void a_folder_that_is_not_there_is_looked_at_by_the_clock(void **state) {
    (void)state;
    watch_begin(watch);
    watch_note(watch, path_of("none/m.lua"));
    watch_end(watch);
    assert_true(watch_wait_ms(watch) > 0);
    assert_false(watch_changed(watch));
    assert_int_equal(mkdir(path_of("none"), 0700), 0);
    assert_false(watch_changed(watch));
    assert_int_equal(watch_wait_ms(watch), -1);
    write_file("none/m.lua", "x");
    assert_true(watch_changed(watch));
    assert_int_equal(diag_catch_lines(DIAG_WARN), 0);
}

static void more_files_than_there_is_room_for_are_left_alone(void **state) {
    (void)state;
    watch_begin(watch);
    for (unsigned i = 0; i < WATCH_FILES_MAX + 10; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "m%u.lua", i);
        watch_note(watch, path_of(name));
    }
    watch_end(watch);
    write_file("m2000.lua", "x");
    assert_false(watch_changed(watch));
    write_file("m0.lua", "x");
    assert_true(watch_changed(watch));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_has_changed_at_first),
        TEST(another_file_in_the_same_place_is_a_change),
        TEST(another_length_is_a_change),
        TEST(a_file_that_goes_and_comes_is_a_change),
        TEST(a_link_that_leads_elsewhere_is_a_change),
        TEST(templates_count_and_so_do_new_ones_in_new_folders),
        TEST(a_change_while_the_files_are_read_is_not_missed),
        TEST(a_folder_that_is_not_there_is_looked_at_by_the_clock),
        TEST(more_files_than_there_is_room_for_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
