/* Diagnostics: the shape of a line, that nobody can forge one, and that a full pipe holds nobody
 * up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/diag.h"
#include "core/json_read.h"

/* stderr is a pipe while a test runs, then what it was. */
static int pipe_read, stderr_saved;
static char line[4 * DIAG_LINE_BYTES_MAX];
static size_t line_len;

static int setup(void **state) {
    (void)state;
    int ends[2];
    if (pipe(ends) != 0)
        return -1;
    pipe_read = ends[0];
    stderr_saved = dup(STDERR_FILENO);
    if (dup2(ends[1], STDERR_FILENO) < 0 || fcntl(pipe_read, F_SETFL, O_NONBLOCK) != 0)
        return -1;
    return close(ends[1]);
}

static int teardown(void **state) {
    (void)state;
    if (dup2(stderr_saved, STDERR_FILENO) < 0)
        return -1;
    diag_configure(DIAG_INFO, DIAG_TEXT);
    return close(stderr_saved) + close(pipe_read);
}

/* Whatever is in the pipe. */
static void read_line(void) {
    line_len = 0;
    ssize_t got;
    while ((got = read(pipe_read, line + line_len, sizeof line - 1 - line_len)) > 0)
        line_len += (size_t)got;
    line[line_len] = 0;
}

/* The line is one line, and begins with a time such as 2026-11-21T02:13:05.123Z; gives the rest. */
static const char *after_time(void) {
    read_line();
    assert_true(line_len > 25);
    assert_ptr_equal(memchr(line, '\n', line_len), line + line_len - 1);
    static const char shape[] = "0000-00-00T00:00:00.000Z ";
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (shape[i] == '0')
            assert_in_range(line[i], '0', '9');
        else
            assert_int_equal(line[i], shape[i]);
    return line + sizeof shape - 1;
}

static void request(const char *id, struct slice message, const char *fields) {
    diag_request(DIAG_INFO, id, strlen(id), message.data, message.len, fields, strlen(fields));
}

static void text_lines_have_time_level_message_and_fields(void **state) {
    (void)state;
    diag_configure(DIAG_DEBUG, DIAG_TEXT);
    diag(DIAG_WARN, "disk %d%% full", 93);
    assert_string_equal(after_time(), "warn disk 93% full\n");
    request("r-1", SLICE("hello"), "{\"a\":1}");
    assert_string_equal(after_time(), "info hello request_id=r-1 fields={\"a\":1}\n");
}

static void levels_below_the_lowest_are_silent(void **state) {
    (void)state;
    diag_configure(DIAG_WARN, DIAG_TEXT);
    assert_false(diag_enabled(DIAG_INFO));
    assert_true(diag_enabled(DIAG_WARN));
    diag(DIAG_INFO, "nothing");
    request("r", SLICE("nothing"), "");
    read_line();
    assert_int_equal(line_len, 0);
    diag(DIAG_ERROR, "something");
    assert_string_equal(after_time(), "error something\n");
}

static void controls_and_bytes_that_are_no_text_are_escaped(void **state) {
    (void)state;
    diag_configure(DIAG_INFO, DIAG_TEXT);
    request("a\nb",
        SLICE("1\n2\r3\0"
              "4\x1b[2J\x7f\xFF\xC2\x85\xC3\xA9"),
        "{\"a\":\n1}");
    assert_string_equal(after_time(),
        "info 1\\x0a2\\x0d3\\x004\\x1b[2J\\x7f\\xff\\xc2\\x85\xC3\xA9 request_id=a\\x0ab "
        "fields={\"a\": 1}\n");
}

static void json_lines_say_the_same(void **state) {
    (void)state;
    diag_configure(DIAG_INFO, DIAG_JSON);
    request("r-1", SLICE("a \"b\" \\ \n\xFF\xC2\x85"), "{\"n\":1}");
    read_line();
    const char *rest = strstr(line, "\",\"level\"");
    assert_non_null(rest);
    assert_int_equal(strncmp(line, "{\"time\":\"2", 10), 0);
    assert_string_equal(rest,
        "\",\"level\":\"info\",\"message\":\"a \\\"b\\\" \\\\ \\u000a\xEF\xBF\xBD\\u0085\","
        "\"request_id\":\"r-1\",\"fields\":{\"n\":1}}\n");
}

static void assert_line_is_json(void) {
    struct buf scratch = {.max = SIZE_MAX};
    struct json_reader reader;
    read_line();
    assert_true(line_len > 0 && line_len <= DIAG_LINE_BYTES_MAX);
    assert_int_equal(line[line_len - 1], '\n');
    json_reader_init(&reader, slice_of(line, line_len), &scratch, JSON_READER_DEPTH_MAX);
    assert_true(json_skip(&reader, json_next(&reader)));
    assert_int_equal(json_next(&reader), JSON_END);
    buf_free(&scratch);
}

/* Bytes that need no escape, two, six, or a replacement, in every part that can be too long. */
static void lines_that_are_too_long_are_cut_and_stay_json(void **state) {
    (void)state;
    static char text[2 * DIAG_LINE_BYTES_MAX];
    static const char fill[] = {'x', '"', '\x01', '\xFF'};
    diag_configure(DIAG_INFO, DIAG_JSON);
    for (size_t i = 0; i < sizeof fill; i++)
        for (size_t len = 1; len <= sizeof text; len = len < 32 ? len + 1 : len * 2) {
            memset(text, fill[i], len);
            diag_request(DIAG_INFO, text, len, text, len, "{\"a\":[1,2,3]}", 13);
            assert_line_is_json();
            assert_non_null(strstr(line, "\"fields\":{\"a\":[1,2,3]}}"));
        }
    memset(text, ' ', sizeof text);
    text[0] = '{';
    text[sizeof text - 1] = '}';
    diag_request(DIAG_INFO, "id", 2, "m", 1, text, sizeof text);
    assert_line_is_json();
    assert_non_null(
        strstr(line, "\"message\":\"m\",\"request_id\":\"id\",\"fields\":{\"too_long\":true}}"));
    memset(text, 'y', sizeof text);
    diag(DIAG_INFO, "%.*s", (int)sizeof text, text);
    assert_line_is_json();
    assert_true(line_len > DIAG_LINE_BYTES_MAX / 4);
}

static void a_full_pipe_loses_lines_and_holds_nobody_up(void **state) {
    (void)state;
    diag_configure(DIAG_INFO, DIAG_TEXT);
    (void)alarm(20); /* a write that blocked would end the test program */
    for (int i = 0; i < 10000; i++)
        diag(DIAG_INFO, "%d some text that fills the pipe", i);
    (void)alarm(0);
    read_line();
    assert_true(strstr(line, "info 0 some text") != NULL);
    diag(DIAG_INFO, "room again");
    assert_string_equal(after_time(), "info room again\n");
    /* The flag is on our own open file, not on the one that others share. */
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
}

static void a_full_socket_holds_nobody_up(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    diag_configure(DIAG_INFO, DIAG_TEXT);
    (void)alarm(20);
    for (int i = 0; i < 10000; i++)
        diag(DIAG_INFO, "%d some text that fills the socket", i);
    (void)alarm(0);
    (void)close(ends[0]);
    diag(DIAG_INFO, "nobody there"); /* and no SIGPIPE either */
    (void)close(ends[1]);
}

static void errno_is_left_alone(void **state) {
    (void)state;
    assert_int_equal(close(STDERR_FILENO), 0);
    diag_configure(DIAG_INFO, DIAG_TEXT);
    errno = ENOSPC;
    diag(DIAG_INFO, "into nothing");
    assert_int_equal(errno, ENOSPC);
}

static void fatal_says_why_and_exits_with_the_code(void **state) {
    (void)state;
    diag_configure(DIAG_ERROR, DIAG_TEXT);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        diag_fatal(3, "sync of %s failed", "wal-1.log");
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    assert_string_equal(after_time(), "error sync of wal-1.log failed\n");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(text_lines_have_time_level_message_and_fields),
        TEST(levels_below_the_lowest_are_silent),
        TEST(controls_and_bytes_that_are_no_text_are_escaped),
        TEST(json_lines_say_the_same),
        TEST(lines_that_are_too_long_are_cut_and_stay_json),
        TEST(a_full_pipe_loses_lines_and_holds_nobody_up),
        TEST(a_full_socket_holds_nobody_up),
        TEST(errno_is_left_alone),
        TEST(fatal_says_why_and_exits_with_the_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
