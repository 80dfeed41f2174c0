/* Replies are written byte for byte as RFC 9112 and api.md section 2 want them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/reply.h"

static const char date[] = "Sun, 06 Nov 1994 08:49:37 GMT";

struct fixture {
    struct reply reply;
    struct reply_frame frame;
    struct buf out;
};

static int setup(void **state) {
    static struct fixture fixture;
    reply_init(&fixture.reply);
    buf_init(&fixture.out, SIZE_MAX);
    fixture.frame =
        (struct reply_frame){.request_id = SLICE("id-1"), .date = SLICE(date), .keep_alive = true};
    *state = &fixture;
    return 0;
}

static int teardown(void **state) {
    struct fixture *fixture = *state;
    reply_free(&fixture->reply);
    buf_free(&fixture->out);
    return 0;
}

static void expect(struct fixture *fixture, const char *text) {
    buf_reset(&fixture->out, 0);
    reply_write(&fixture->out, &fixture->reply, &fixture->frame);
    buf_append(&fixture->out, "", 1);
    assert_true(buf_ok(&fixture->out));
    assert_string_equal(fixture->out.data, text);
}

static void an_error_reply_has_error_code_and_id(void **state) {
    struct fixture *fixture = *state;
    reply_error(&fixture->reply, 404, "not_found", "no \"such\" route", SLICE("id-1"));
    expect(fixture,
        "HTTP/1.1 404 Not Found\r\n"
        "Content-Type: application/json\r\n"
        "Content-Length: 61\r\n"
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "X-Request-Id: id-1\r\n\r\n"
        "{\"error\":\"no \\\"such\\\" route\",\"code\":\"not_found\",\"id\":\"id-1\"}\n");
}

static void an_error_reply_replaces_what_was_there(void **state) {
    struct fixture *fixture = *state;
    fixture->reply.status = 200;
    buf_append_text(&fixture->reply.headers, "X-Secret: 1\r\n");
    buf_append_text(&fixture->reply.body, "half of a body");
    reply_error(&fixture->reply, 500, "c", "t", slice_of(NULL, 0));
    assert_int_equal(fixture->reply.headers.len, 0);
    assert_memory_equal(fixture->reply.body.data, "{\"error\":\"t\",\"code\":\"c\"}\n", 25);
    assert_int_equal(fixture->reply.body.len, 25);
}

static void an_answer_to_head_keeps_the_length_and_drops_the_body(void **state) {
    struct fixture *fixture = *state;
    fixture->reply.status = 200;
    buf_append_text(&fixture->reply.body, "12345");
    fixture->frame.head_only = true;
    expect(fixture, "HTTP/1.1 200 OK\r\n"
                    "Content-Length: 5\r\n"
                    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                    "X-Request-Id: id-1\r\n\r\n");
}

static void status_204_and_304_have_neither_body_nor_length(void **state) {
    struct fixture *fixture = *state;
    fixture->reply.content_type = "text/plain";
    buf_append_text(&fixture->reply.body, "not to be seen");
    fixture->reply.status = 204;
    expect(fixture, "HTTP/1.1 204 No Content\r\n"
                    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                    "X-Request-Id: id-1\r\n\r\n");
    fixture->reply.status = 304;
    expect(fixture, "HTTP/1.1 304 Not Modified\r\n"
                    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                    "X-Request-Id: id-1\r\n\r\n");
}

static void the_connection_field_says_what_differs_from_the_versions_default(void **state) {
    struct fixture *fixture = *state;
    fixture->reply.status = 200;
    fixture->frame.keep_alive = false;
    expect(fixture, "HTTP/1.1 200 OK\r\n"
                    "Content-Length: 0\r\n"
                    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                    "X-Request-Id: id-1\r\n"
                    "Connection: close\r\n\r\n");
    fixture->frame.keep_alive = fixture->frame.say_keep_alive = true;
    expect(fixture, "HTTP/1.1 200 OK\r\n"
                    "Content-Length: 0\r\n"
                    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                    "X-Request-Id: id-1\r\n"
                    "Connection: keep-alive\r\n\r\n");
}

static void a_procedures_fields_pass_but_the_request_id_stays_single(void **state) {
    struct fixture *fixture = *state;
    fixture->reply.status = 200;
    buf_append_text(
        &fixture->reply.headers, "Set-Cookie: a=1\r\nX-REQUEST-ID: forged\r\nSet-Cookie: b=2\r\n");
    expect(fixture, "HTTP/1.1 200 OK\r\n"
                    "Set-Cookie: a=1\r\n"
                    "Set-Cookie: b=2\r\n"
                    "Content-Length: 0\r\n"
                    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                    "X-Request-Id: id-1\r\n\r\n");
}

static void a_date_that_the_procedure_set_is_not_doubled(void **state) {
    struct fixture *fixture = *state;
    fixture->reply.status = 200;
    buf_append_text(&fixture->reply.headers, "date: today\r\n");
    expect(fixture, "HTTP/1.1 200 OK\r\n"
                    "date: today\r\n"
                    "Content-Length: 0\r\n"
                    "X-Request-Id: id-1\r\n\r\n");
}

static void a_status_without_a_registered_reason_keeps_the_space_before_it(void **state) {
    struct fixture *fixture = *state;
    fixture->reply.status = 299;
    expect(fixture, "HTTP/1.1 299 \r\n"
                    "Content-Length: 0\r\n"
                    "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                    "X-Request-Id: id-1\r\n\r\n");
}

static void the_reply_for_want_of_memory_takes_the_given_room_only(void **state) {
    struct fixture *fixture = *state;
    char room[REPLY_NOMEM_BYTES_MAX];
    struct buf out = {.data = room, .cap = sizeof room, .max = sizeof room};
    fixture->frame.keep_alive = false;
    fixture->frame.request_id = SLICE("0123456789abcdef");
    reply_write_nomem(&out, &fixture->frame);
    assert_true(buf_ok(&out) && out.data == room);
    buf_append(&out, "", 1);
    assert_string_equal(room,
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: application/json\r\n"
        "Retry-After: 1\r\n"
        "Content-Length: 74\r\n"
        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        "X-Request-Id: 0123456789abcdef\r\n"
        "Connection: close\r\n\r\n"
        "{\"error\":\"the server is out of memory; try again\",\"code\":\"out_of_memory\"}\n");
}

static void a_date_is_an_imf_fixdate(void **state) {
    (void)state;
    char out[REPLY_DATE_BYTES + 1];
    reply_date(UINT64_C(784111777) * UINT64_C(1000000000), out);
    assert_string_equal(out, date);
    reply_date(UINT64_C(1709164800) * UINT64_C(1000000000), out);
    assert_string_equal(out, "Thu, 29 Feb 2024 00:00:00 GMT");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_error_reply_has_error_code_and_id),
        T(an_error_reply_replaces_what_was_there),
        T(an_answer_to_head_keeps_the_length_and_drops_the_body),
        T(status_204_and_304_have_neither_body_nor_length),
        T(the_connection_field_says_what_differs_from_the_versions_default),
        T(a_procedures_fields_pass_but_the_request_id_stays_single),
        T(a_date_that_the_procedure_set_is_not_doubled),
        T(a_status_without_a_registered_reason_keeps_the_space_before_it),
        T(the_reply_for_want_of_memory_takes_the_given_room_only),
        T(a_date_is_an_imf_fixdate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
