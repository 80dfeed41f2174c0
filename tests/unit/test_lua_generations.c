/* Loading as a reload does it: told of the files, to be stopped, and machines of two versions side
 * by side that other threads make and close; and calls that nobody waits for any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>

#include "tests/support/script_rig.h"

static struct rig rig;
static char read_files[1024];
static unsigned asked;

static int setup(void **state) {
    (void)state;
    rig_init(&rig);
    read_files[0] = '\0';
    asked = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    rig_free(&rig);
    return 0;
}

static void reading(void *ctx, const char *path) {
    (void)ctx;
    const char *name = path + strlen(rig.folder) + 1;
    snprintf(read_files + strlen(read_files), sizeof read_files - strlen(read_files), "%s ", name);
}

static bool stop_at_third(void *ctx) {
    (void)ctx;
    return ++asked >= 3;
}

static bool loaded;

static bool once_loaded(void *ctx) {
    (void)ctx;
    return loaded;
}

static enum status open_app(bool (*stopped)(void *ctx), struct script_app **app) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/app.lua", rig.folder);
    struct script_options options = {.file = path,
        .vm_bytes_max = rig.vm_bytes_max,
        .key_bytes_max = 1024,
        .value_bytes_max = 65536,
        .shards = 1,
        .stopped = stopped,
        .reading = reading};
    buf_reset(&rig.error, 65536);
    return lua_script_engine.app_open(&options, app, &rig.error);
}

/* Each file is told before it is read, one that is missing too, and once. */
static void files_are_told(void **state) {
    (void)state;
    struct script_app *app = NULL;
    rig_write_file(&rig, "m.lua", "return require('n')");
    rig_write_file(&rig, "n.lua", "return 1");
    rig_write_file(&rig, "app.lua", "require('m') require('n') require('none')");
    assert_int_equal(open_app(NULL, &app), ST_INVALID);
    assert_string_equal(read_files, "app.lua m.lua n.lua none.lua ");
}

static void a_load_can_be_stopped(void **state) {
    (void)state;
    struct script_app *app = NULL;
    rig_write_file(&rig, "app.lua", "while true do pcall(error) end");
    uint64_t begun_ns = clock_monotonic_ns();
    assert_int_equal(open_app(stop_at_third, &app), ST_CLOSED);
    assert_true(asked >= 3);
    assert_true(clock_monotonic_ns() - begun_ns < 4 * NS_PER_S);
    assert_null(app);
}

/* A machine that is made anew later is none of the loader's business. */
static void the_loader_is_not_asked_once_it_has_loaded(void **state) {
    (void)state;
    rig.vm_bytes_max = (size_t)4 << 20;
    rig_write_file(&rig, "app.lua",
        "local x = 0 for i = 1, 20000 do x = x + i end\n"
        "route('fill', 'json', function() local t = {} while true do t[#t + 1] = {} end end)\n"
        "route('ok', 'json', function() return 200, 1 end)");
    struct script_app *app = NULL;
    assert_int_equal(open_app(once_loaded, &app), ST_OK);
    rig.app = app;
    assert_int_equal(lua_script_engine.vm_open(app, 0, &rig.vm, &rig.error), ST_OK);
    loaded = true;
    assert_string_equal(rig_get(&rig, "fill"), "FAIL handler error");
    assert_int_equal(rig.replacements, 1);
    assert_string_equal(rig_get(&rig, "ok"), "200 1");
}

static void a_call_that_nobody_waits_for_ends(void **state) {
    (void)state;
    static atomic_bool abandoned;
    atomic_init(&abandoned, true);
    assert_null(
        rig_load(&rig, "route('spin', 'json', function() while true do pcall(get, 'k') end end)\n"
                       "on('first_run', function() while true do end end)"));
    rig.call.abandoned = &abandoned;
    assert_string_equal(rig_get(&rig, "spin"), "FAIL time budget used up");
    assert_string_equal(rig_first_run(&rig), "FAIL time budget used up");
    rig.call.abandoned = NULL;
}

struct other {
    struct script_app *app;
    struct script_vm *vm;
};

static void *load_elsewhere(void *ctx) {
    struct other *other = ctx;
    enum status status = open_app(NULL, &other->app);
    if (status == ST_OK)
        status = lua_script_engine.vm_open(other->app, 0, &other->vm, &rig.error);
    return status == ST_OK ? other : NULL;
}

static void *close_elsewhere(void *ctx) {
    struct other *other = ctx;
    lua_script_engine.vm_close(other->vm);
    lua_script_engine.app_close(other->app);
    return NULL;
}

static void *in_thread(void *(*work)(void *ctx), void *ctx) {
    pthread_t thread;
    void *result;
    assert_int_equal(pthread_create(&thread, NULL, work, ctx), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    return result;
}

/* Two versions run beside each other; the older goes, made and closed by other threads. */
static void two_versions_do_not_disturb_each_other(void **state) {
    (void)state;
    static const char app[] = "local n = 0 route('n', 'json', function() n = n + 1 "
                              "return 200, { version = %d, n = n } end)";
    struct other old, fresh;
    char text[256];
    snprintf(text, sizeof text, app, 1);
    rig_write_file(&rig, "app.lua", text);
    assert_non_null(in_thread(load_elsewhere, &old));
    rig.app = old.app;
    rig.vm = old.vm;
    assert_string_equal(rig_get(&rig, "n"), "200 {\"n\":1,\"version\":1}");
    snprintf(text, sizeof text, app, 2);
    rig_write_file(&rig, "app.lua", text);
    assert_non_null(in_thread(load_elsewhere, &fresh));
    assert_string_equal(rig_get(&rig, "n"), "200 {\"n\":2,\"version\":1}");
    rig.app = fresh.app;
    rig.vm = fresh.vm;
    assert_string_equal(rig_get(&rig, "n"), "200 {\"n\":1,\"version\":2}");
    in_thread(close_elsewhere, &old);
    assert_string_equal(rig_get(&rig, "n"), "200 {\"n\":2,\"version\":2}");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(files_are_told),
        TEST(a_load_can_be_stopped),
        TEST(the_loader_is_not_asked_once_it_has_loaded),
        TEST(a_call_that_nobody_waits_for_ends),
        TEST(two_versions_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
