/* The command line: which source wins, what is refused, and what the refusal says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/options.h"

#define WORDS_MAX 16

static struct options options;
static struct buf text;
static char path[] = "/tmp/concave-options-XXXXXX";

static int set_up(void **state) {
    (void)state;
    buf_init(&text, SIZE_MAX);
    strcpy(path, "/tmp/concave-options-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 || close(fd) != 0;
}

static int tear_down(void **state) {
    (void)state;
    options_free(&options);
    buf_free(&text);
    return unlink(path);
}

static void write_bytes(const char *content, size_t len) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static void write_file(const char *content) {
    write_bytes(content, strlen(content));
}

/* Splits at spaces; "" is no word. */
static int split(const char *line, char *storage, char **words) {
    int count = 0;
    strcpy(storage, line);
    for (char *word = strtok(storage, " "); word; word = strtok(NULL, " ")) {
        assert_true(count < WORDS_MAX);
        words[count++] = word;
    }
    words[count] = NULL;
    return count;
}

static enum status parse_with(const char *environment, const char *line) {
    char storage[1024], variables[1024], whole[1024];
    char *words[WORDS_MAX + 1], *env[WORDS_MAX + 1];
    snprintf(whole, sizeof(whole), "concave %s", line);
    int count = split(whole, storage, words);
    split(environment, variables, env);
    options_free(&options);
    buf_reset(&text, 4096);
    enum status status = options_parse(&options, count, words, env, &text);
    buf_append_byte(&text, '\0');
    if (status == ST_OK && text.len > 1)
        fail_msg("an error text without an error: %s", text.data);
    return status;
}

static enum status parse(const char *line) {
    return parse_with("", line);
}

static void assert_parsed(const char *line) {
    if (parse(line) != ST_OK)
        fail_msg("%s: %s", line, text.data);
}

static void assert_says(const char *want) {
    if (!strstr(text.data, want))
        fail_msg("\"%s\" does not say \"%s\"", text.data, want);
}

static void assert_refused(const char *line, const char *want) {
    if (parse(line) != ST_INVALID)
        fail_msg("taken: %s", line);
    assert_says(want);
}

/* Appends " --config PATH" or the like to a line. */
static const char *with_path(const char *line) {
    static char whole[512];
    snprintf(whole, sizeof(whole), "%s%s", line, path);
    return whole;
}

static void defaults_are_the_documented_ones(void **state) {
    (void)state;
    assert_parsed("serve");
    assert_int_equal(options.command, COMMAND_SERVE);
    assert_null(options.app);
    assert_null(options.resources);
    assert_null(options.auth_token);
    assert_string_equal(options.data, "./data");
    assert_string_equal(options.addr.host, "127.0.0.1");
    assert_int_equal(options.addr.port, 8080);
    assert_int_equal(options.admin_addr.sock_len, 0);
    assert_true(options.shards >= 1 && options.shards <= 256);
    assert_int_equal(options.durability, WAL_ALWAYS);
    assert_int_equal(options.wal_batch_delay_us, 0);
    assert_int_equal(options.wal_segment_bytes, 64 << 20);
    assert_int_equal(options.checkpoint_wal_bytes, 256 << 20);
    assert_int_equal(options.memory_max, 0);
    assert_int_equal(options.handler_timeout_ms, 2000);
    assert_int_equal(options.lua_memory_max, 64 << 20);
    assert_int_equal(options.key_bytes_max, 1024);
    assert_int_equal(options.value_bytes_max, 1 << 20);
    assert_int_equal(options.body_bytes_max, 8 << 20);
    assert_int_equal(options.header_bytes_max, 16384);
    assert_int_equal(options.connections_max, 10000);
    assert_int_equal(options.head_timeout_ms, 10000);
    assert_int_equal(options.body_timeout_ms, 60000);
    assert_int_equal(options.idle_timeout_ms, 60000);
    assert_int_equal(options.log_level, DIAG_INFO);
    assert_int_equal(options.log_format, DIAG_TEXT);
}

static void a_flag_takes_its_value_in_two_ways(void **state) {
    (void)state;
    assert_parsed("serve --app a/b.lua --shards=3 --data=x=y");
    assert_string_equal(options.app, "a/b.lua");
    assert_int_equal(options.shards, 3);
    assert_string_equal(options.data, "x=y");
}

static void flags_beat_the_environment_which_beats_the_file(void **state) {
    (void)state;
    write_file("shards = 5\nkey-bytes-max=10\nhead-timeout-ms = 7 ; a comment\n");
    const char *line = with_path("serve --shards 3 --config ");
    assert_int_equal(parse_with("CONCAVE_SHARDS=4 CONCAVE_KEY_BYTES_MAX=20", line), ST_OK);
    assert_int_equal(options.shards, 3);
    assert_int_equal(options.key_bytes_max, 20);
    assert_int_equal(options.head_timeout_ms, 7);
    assert_int_equal(options.body_timeout_ms, 60000);
}

static void the_environment_can_name_the_config_file(void **state) {
    (void)state;
    write_file("shards = 5\n");
    assert_int_equal(parse_with(with_path("CONCAVE_CONFIG="), "serve"), ST_OK);
    assert_int_equal(options.shards, 5);
}

static void of_repeated_flags_the_last_counts(void **state) {
    (void)state;
    assert_parsed("serve --shards 3 --shards 4");
    assert_int_equal(options.shards, 4);
}

static void unknown_and_empty_variables_are_ignored(void **state) {
    (void)state;
    assert_int_equal(parse_with("CONCAVE_FOO=1 CONCAVE_PORT_80_TCP=x CONCAVE_SHARDS= SHARDS=x "
                                "CONCAVE_SHARDSX=y",
                         "serve"),
        ST_OK);
}

static void a_bad_variable_is_named(void **state) {
    (void)state;
    assert_int_equal(parse_with("CONCAVE_HEAD_TIMEOUT_MS=0", "serve"), ST_INVALID);
    assert_says("CONCAVE_HEAD_TIMEOUT_MS: \"0\"");
    assert_says("1 to 3600000");
}

static void a_switch_needs_no_value(void **state) {
    (void)state;
    assert_parsed("serve");
    assert_false(options.watch);
    assert_parsed("serve --watch --shards 3");
    assert_true(options.watch);
    assert_int_equal(options.shards, 3);
    assert_int_equal(parse_with("CONCAVE_WATCH=1", "serve"), ST_OK);
    assert_true(options.watch);
    assert_int_equal(parse_with("CONCAVE_WATCH=yes", "serve --watch=off"), ST_OK);
    assert_false(options.watch);
    write_file("watch = true\n");
    char line[128];
    snprintf(line, sizeof(line), "serve --config %s", path);
    assert_parsed(line);
    assert_true(options.watch);
    assert_refused(
        "serve --watch=maybe", "--watch: \"maybe\" is not allowed: it must be on or off");
    assert_refused("serve --watch on", "unexpected argument \"on\"");
}

static void unknown_options_are_named(void **state) {
    (void)state;
    assert_refused("serve --foo 1", "unknown option --foo");
    assert_refused("serve --foo=1", "unknown option --foo");
    assert_refused("serve -x", "unknown option -x");
    assert_refused("serve --", "unknown option --");
    assert_refused("serve --shard 3", "unknown option --shard");
    assert_refused("serve --log", "unknown option --log");
    assert_refused("verify d --shards 2", "unknown option --shards for verify");
    assert_refused(
        "serve extra", "unexpected argument \"extra\" for serve (see: concave help serve)");
    assert_refused("check app.lua", "is an --app missing before it?");
}

static void a_missing_value_is_named(void **state) {
    (void)state;
    assert_refused("serve --shards", "--shards needs a value");
    assert_refused("serve --app --data x", "--app needs a value");
    assert_refused("serve --app=", "--app");
}

static void values_out_of_range_name_option_and_range(void **state) {
    (void)state;
    const char *cases[][2] = {{"--shards 0", "1 to 256"}, {"--shards 257", "1 to 256"},
        {"--shards -1", "1 to 256"}, {"--shards 2x", "1 to 256"}, {"--shards AUTO", "auto"},
        {"--wal-segment-bytes 1048575", "1 MiB to 1 GiB"},
        {"--wal-segment-bytes 2GiB", "1 MiB to 1 GiB"}, {"--key-bytes-max 0", "1 byte to 65535"},
        {"--key-bytes-max 65536", "65535 bytes"}, {"--value-bytes-max 257MiB", "256 MiB"},
        {"--body-bytes-max 1023", "1 KiB to 1 GiB"}, {"--header-bytes-max 2MiB", "1 KiB to 1 MiB"},
        {"--connections-max 0", "1 to 1000000"}, {"--connections-max 1000001", "1 to 1000000"},
        {"--connections-max 1K", "1 to 1000000"}, {"--idle-timeout-ms 3600001", "1 to 3600000"},
        {"--handler-timeout-ms 0", "1 to 3600000"}, {"--lua-memory-max 1", "1 MiB to 64 GiB"},
        {"--wal-batch-delay-us 1000001", "0 to 1000000"},
        {"--memory-max 5", "0, or at least 1 MiB"},
        {"--memory-max 18446744073709551616", "0, or at least 1 MiB"},
        {"--checkpoint-wal-bytes 1", "0, or at least 1 MiB"}, {"--durability sometimes", "manual"},
        {"--durability interval:0", "60000"}, {"--durability interval:60001", "60000"},
        {"--durability interval:", "60000"}, {"--durability interval", "60000"},
        {"--log-level loud", "debug, info"}, {"--log-format xml", "text or json"},
        {"--shards 18446744073709551617", "1 to 256"}};
    char line[128], name[64];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(line, sizeof(line), "serve %s", cases[i][0]);
        assert_refused(line, cases[i][1]);
        snprintf(name, sizeof(name), "%.*s:", (int)strcspn(cases[i][0], " "), cases[i][0]);
        assert_says(name);
    }
}

static void sizes_take_suffixes(void **state) {
    (void)state;
    assert_parsed("serve --memory-max 3G --lua-memory-max 5MiB --body-bytes-max 2K "
                  "--wal-segment-bytes 1GiB --value-bytes-max 256M");
    assert_int_equal(options.memory_max, UINT64_C(3) << 30);
    assert_int_equal(options.lua_memory_max, 5 << 20);
    assert_int_equal(options.body_bytes_max, 2048);
    assert_int_equal(options.wal_segment_bytes, 1 << 30);
    assert_int_equal(options.value_bytes_max, 256 << 20);
    assert_parsed("serve --memory-max 0 --checkpoint-wal-bytes 0");
    assert_refused("serve --memory-max 5GB", "--memory-max");
    assert_refused("serve --memory-max G", "--memory-max");
    assert_refused("serve --memory-max 99999999999999999G", "--memory-max");
}

static void a_value_must_fit_half_a_segment(void **state) {
    (void)state;
    assert_refused("serve --value-bytes-max 32MiB", "value-bytes-max (32 MiB)");
    assert_says("wal-segment-bytes (64 MiB)");
    assert_parsed("serve --value-bytes-max 31MiB");
    assert_parsed("serve --value-bytes-max 32MiB --wal-segment-bytes 65MiB");
    assert_parsed("serve --wal-segment-bytes 1MiB"); /* the default is no reason to refuse */
}

static void durability_has_three_modes(void **state) {
    (void)state;
    assert_parsed("serve --durability always");
    assert_int_equal(options.durability, WAL_ALWAYS);
    assert_parsed("serve --durability interval:250");
    assert_int_equal(options.durability, WAL_INTERVAL);
    assert_int_equal(options.interval_ms, 250);
    assert_parsed("serve --durability=manual");
    assert_int_equal(options.durability, WAL_MANUAL);
}

static void addresses_are_ipv4_ipv6_or_localhost(void **state) {
    (void)state;
    assert_parsed("serve --addr 0.0.0.0:0 --admin-addr [::1]:65535");
    assert_int_equal(options.addr.sock.any.sa_family, AF_INET);
    assert_int_equal(options.addr.port, 0);
    assert_int_equal(options.admin_addr.sock.any.sa_family, AF_INET6);
    assert_int_equal(ntohs(options.admin_addr.sock.ip6.sin6_port), 65535);
    assert_string_equal(options.admin_addr.host, "[::1]");
    assert_parsed("serve --addr localhost:80");
    assert_int_equal(ntohl(options.addr.sock.ip4.sin_addr.s_addr), INADDR_LOOPBACK);
    const char *bad[] = {"127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:65536", "127.0.0.1:x",
        "::1:80", "[::1]", "[]:80", "[:80", "1.2.3:80", "example.org:80", "1.2.3.4:-1",
        "[1.2.3.4]:1",
        "0000000000000000000000000000000000000000000000000000000000000000000000000000:1"};
    char line[128];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(line, sizeof(line), "serve --addr %s", bad[i]);
        assert_refused(line, "HOST:PORT");
    }
}

static void a_bad_line_of_the_file_is_named(void **state) {
    (void)state;
    const char *cases[][2] = {{"# good\n\n  shards = 0\n", ":3: shards: \"0\""},
        {"shards = 2\nfoo = 1\n", ":2: unknown option \"foo\""},
        {"config = x\n", ":1: unknown option \"config\""}, {"shards = 2\nshards\n", ":2: neither"},
        {"[concave]\nshards = 2\n[half\n", ":3: neither"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_file(cases[i][0]);
        assert_refused(with_path("serve --config "), cases[i][1]);
        assert_says(path);
    }
}

static void sections_and_comments_are_fine_in_the_file(void **state) {
    (void)state;
    write_file("; one\n# two\n[any]\n   shards: 2\n\n[other]\nlog-level=debug");
    assert_parsed(with_path("serve --config "));
    assert_int_equal(options.shards, 2);
    assert_int_equal(options.log_level, DIAG_DEBUG);
}

static void lines_that_would_be_misread_are_refused(void **state) {
    (void)state;
    char line[512];
    memset(line, 'a', sizeof(line));
    memcpy(line, "data = ", 7);
    write_bytes(line, sizeof(line));
    assert_refused(with_path("serve --config "), ":1: the line is too long");
    write_bytes("shards = 2\ndata = a\0b\n", 22);
    assert_refused(with_path("serve --config "), ":2: a zero byte");
}

static void an_unreadable_config_is_named(void **state) {
    (void)state;
    assert_refused("serve --config /nonexistent/x.ini", "/nonexistent/x.ini");
    assert_refused("serve --config /tmp", "/tmp");
}

static void a_token_is_read_without_its_line_end(void **state) {
    (void)state;
    write_file("s3cret+/=~\r\n");
    assert_parsed(with_path("serve --auth-token-file "));
    assert_string_equal(options.auth_token, "s3cret+/=~");
    write_file("x");
    assert_parsed(with_path("serve --auth-token-file "));
    assert_string_equal(options.auth_token, "x");
    assert_parsed(with_path("check --auth-token-file ")); /* only serve needs it */
    assert_null(options.auth_token);
}

static void a_bad_token_file_is_refused(void **state) {
    (void)state;
    const char *bad[] = {"", "\n", "\r\n", "a b\n", "a\n\n", " a", "a\t", "a\x01", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_file(bad[i]);
        assert_refused(with_path("serve --auth-token-file "), path);
    }
    assert_refused("serve --auth-token-file /nonexistent", "/nonexistent");
    assert_refused("serve --auth-token-file /tmp", "/tmp");
    char large[5000];
    memset(large, 'a', sizeof(large));
    write_bytes(large, sizeof(large));
    assert_refused(with_path("serve --auth-token-file "), "larger");
}

static void resources_default_to_the_folder_of_the_app(void **state) {
    (void)state;
    const char *cases[][2] = {{"serve --app a/b/c.lua", "a/b"}, {"serve --app c.lua", "."},
        {"serve --app /c.lua", "/"}, {"serve --app a/c.lua --resources r", "r"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_parsed(cases[i][0]);
        assert_string_equal(options.resources, cases[i][1]);
    }
}

static void commands_take_their_words(void **state) {
    (void)state;
    assert_parsed("verify some/dir");
    assert_int_equal(options.command, COMMAND_VERIFY);
    assert_string_equal(options.dir, "some/dir");
    assert_parsed("dump --log d");
    assert_int_equal(options.command, COMMAND_DUMP);
    assert_true(options.dump_log);
    assert_parsed("dump d");
    assert_false(options.dump_log);
    assert_parsed("load d --wal-segment-bytes 2MiB");
    assert_int_equal(options.command, COMMAND_LOAD);
    assert_int_equal(options.wal_segment_bytes, 2 << 20);
    assert_parsed("check --app a.lua");
    assert_int_equal(options.command, COMMAND_CHECK);
    assert_parsed("version");
    assert_int_equal(options.command, COMMAND_VERSION);
    assert_parsed("--version");
    assert_int_equal(options.command, COMMAND_VERSION);
}

static void bad_commands_are_refused(void **state) {
    (void)state;
    assert_refused("", "a command is missing");
    assert_refused("start", "unknown command start");
    assert_refused("--app x", "unknown command --app");
    assert_refused("verify", "needs a data directory");
    assert_refused("verify a b", "unexpected argument \"b\"");
    assert_refused("version 1", "unexpected argument");
    assert_refused("help start", "unknown command start");
    assert_refused("help serve check", "unexpected argument");
}

static void help(const char *line) {
    assert_parsed(line);
    assert_int_equal(options.command, COMMAND_HELP);
    buf_reset(&text, 4096);
    options_help(&options, &text);
    buf_append_byte(&text, '\0');
}

static void help_names_commands_and_options(void **state) {
    (void)state;
    const char *lines[] = {"help", "--help", "-h", "help --help"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        help(lines[i]);
        assert_says("serve");
        assert_says("dump    DIR [--log]");
    }
    help("help serve");
    assert_says("--shards N|auto");
    assert_says("1 MiB to 1 GiB; default 64MiB");
    help("serve --shards 3 --help");
    assert_says("--durability MODE");
    assert_says("1 to 256, or auto; default auto");
    help("help test");
    assert_says("1 to 256, or auto; default 1\n");
    assert_says("debug, info, warn or error; default warn\n");
    help("help verify");
    assert_says("--log-level");
    assert_null(strstr(text.data, "--shards"));
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_the_documented_ones),
        TEST(a_flag_takes_its_value_in_two_ways),
        TEST(flags_beat_the_environment_which_beats_the_file),
        TEST(the_environment_can_name_the_config_file),
        TEST(of_repeated_flags_the_last_counts),
        TEST(unknown_and_empty_variables_are_ignored),
        TEST(a_bad_variable_is_named),
        TEST(a_switch_needs_no_value),
        TEST(unknown_options_are_named),
        TEST(a_missing_value_is_named),
        TEST(values_out_of_range_name_option_and_range),
        TEST(sizes_take_suffixes),
        TEST(a_value_must_fit_half_a_segment),
        TEST(durability_has_three_modes),
        TEST(addresses_are_ipv4_ipv6_or_localhost),
        TEST(a_bad_line_of_the_file_is_named),
        TEST(sections_and_comments_are_fine_in_the_file),
        TEST(lines_that_would_be_misread_are_refused),
        TEST(an_unreadable_config_is_named),
        TEST(a_token_is_read_without_its_line_end),
        TEST(a_bad_token_file_is_refused),
        TEST(resources_default_to_the_folder_of_the_app),
        TEST(commands_take_their_words),
        TEST(bad_commands_are_refused),
        TEST(help_names_commands_and_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
