/* However a request's bytes are cut, the parser gives what it gives for the whole; it never reads
 * past its input, which here ends at a page that cannot be touched; and no damage makes it crash.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/http_parse.h"
#include "tests/support/scale.h"

#define INPUT_BYTES_MAX 4096 /* one page */
#define MUTATIONS 200000
#define RANDOM_CUTS 40

static const struct http_limits limits = {600, 60};

#define TEXT(text) SLICE(text)
static const struct slice heads[] = {
    TEXT("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    TEXT("\r\n\r\nPOST /v1/put?a=%41&b HTTP/1.1\r\nHOST: example.org:80\r\nContent-Length: 55\r\n"
         "Connection: x, close\r\nCookie: a=1; b=2\r\n\r\n{\"a\":1}GET / HTTP/1.1\r\n"),
    TEXT("PUT http://h/x?y HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n"),
    TEXT("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: [::1]\r\nX:\t\xff \r\n\r\n5\r\n"),
    TEXT("OPTIONS * HTTP/1.7\r\nHost: a\r\n\r\n"),
    TEXT("GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    TEXT("GET / HTTP/1.1\nHost: a\n\n"),
    TEXT("GET / HTTP/1.1\rHost: a\r\r"),
    TEXT("GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n\r\n"),
    TEXT("GET / HTTP/1.1\r\nHost: a\r\nX: y\r z\r\n\r\n"),
    TEXT("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"),
    TEXT("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    TEXT("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 61\r\nX Y: z\r\n\r\n"),
    TEXT("GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    TEXT("GET / HTTP/1.1\r\n\r\n"),
    TEXT("GET /%4\n HTTP/1.1\r\n\r\n"),
    TEXT("GET /{\r HTTP/1.1\r\n\r\n"),
    TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    TEXT("CONNECT a:1 HTTP/1.1\r\n\r\n"),
    TEXT("\x16\x03\x01\x02\x00\x01\x00"),
    TEXT("AVERYVERYVERYVERYLONG\x01METHOD / HTTP/1.1\r\n\r\n"),
    TEXT("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    TEXT("GET"),
};

static const struct slice chunks[] = {
    TEXT("5\r\nhello\r\n6;ext=\"v\"\r\n world\r\n0\r\nTrailer: t\r\nB:\r\n\r\nGET /"),
    TEXT("0\r\n\r\n"),
    TEXT("00000000003C\r\n123456789012345678901234567890123456789012345678901234567890\r\n0\r\n\r"
         "\n"),
    TEXT("3D\r\n1"),
    TEXT("1\r\na\r\nFFFFFFFFFFFFFFFF\r\n"),
    TEXT("5\r\nhello\n0\r\n\r\n"),
    TEXT("5 \r\nhello\r\n"),
    TEXT("1\r\na\r\n0\r\nBad Name: t\r\n\r\n"),
    TEXT("1\r\na\r\n0\r\nA: b\r\n c\r\n\r\n"),
};

/* ---- input that ends where the page ends ---- */

static char *guarded; /* a page, then one that cannot be touched */

static char *at_guard(const char *data, size_t len) {
    char *at = guarded + INPUT_BYTES_MAX - len;
    memcpy(at, data, len);
    return at;
}

static int map_pages(void **state) {
    (void)state;
    assert_int_equal(sysconf(_SC_PAGESIZE), INPUT_BYTES_MAX);
    guarded =
        mmap(NULL, 2 * INPUT_BYTES_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return guarded == MAP_FAILED || mprotect(guarded + INPUT_BYTES_MAX, INPUT_BYTES_MAX, PROT_NONE);
}

/* ---- outcomes, made comparable as text ---- */

struct outcome {
    char text[8192];
    size_t len;
};

static void put(struct outcome *outcome, struct slice slice) {
    int wrote = snprintf(outcome->text + outcome->len, sizeof(outcome->text) - outcome->len,
        "[%.*s]", (int)slice.len, slice.len ? slice.data : "");
    assert_true(wrote > 0 && (size_t)wrote < sizeof(outcome->text) - outcome->len);
    outcome->len += (size_t)wrote;
}

static void put_number(struct outcome *outcome, uint64_t number) {
    char digits[24];
    snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    put(outcome, slice_of(digits, strlen(digits)));
}

static void put_error(struct outcome *outcome, const struct http_error *error) {
    assert_true(error->status >= 400 && error->status < 600);
    put_number(outcome, (uint64_t)error->status);
    put(outcome, slice_of(error->code, strlen(error->code)));
    put(outcome, slice_of(error->text, strlen(error->text)));
}

static void put_head(struct outcome *outcome, const struct http_head *head, size_t used) {
    put_number(outcome, used);
    put(outcome, head->method);
    put(outcome, head->target);
    put(outcome, head->path);
    put(outcome, head->query);
    for (unsigned i = 0; i < head->header_count; i++) {
        put(outcome, head->headers[i].name);
        put(outcome, head->headers[i].value);
    }
    put_number(outcome, head->content_length);
    put_number(outcome, head->minor * 100000u + head->has_content_length * 10000u +
                            head->chunked * 1000u + head->keep_alive * 100u +
                            head->expect_continue * 10u);
}

/* Feeds input[0..cuts[0]), then [0..cuts[1]), ... as a connection would, at another address each
 * time, with another (filthy) head each time. */
static void run_head(
    struct slice input, const size_t *cuts, size_t cut_count, struct outcome *outcome) {
    struct http_scan scan = {0};
    struct http_error error;
    outcome->len = 0;
    outcome->text[0] = '\0';
    for (size_t i = 0; i < cut_count; i++) {
        struct http_head head;
        size_t used = 0;
        memset(&head, 0xa5, sizeof(head));
        char *data = at_guard(input.data, cuts[i]);
        switch (http_parse_head(&scan, data, cuts[i], &limits, &head, &used, &error)) {
        case HTTP_MORE:
            if (memcmp(data, input.data, cuts[i]) != 0)
                fail_msg("the input was written to before the head was whole");
            continue;
        case HTTP_DONE:
            put_head(outcome, &head, used);
            return;
        case HTTP_BAD:
            put_error(outcome, &error);
            return;
        }
    }
    put(outcome, SLICE("more"));
}

static void run_chunks(
    struct slice input, const size_t *cuts, size_t cut_count, struct outcome *outcome) {
    struct http_chunked chunked = {0};
    struct http_error error;
    struct buf body;
    size_t start = 0;
    buf_init(&body, limits.body_bytes_max);
    outcome->len = 0;
    enum http_result result = HTTP_MORE;
    for (size_t i = 0; i < cut_count && result == HTTP_MORE; i++) {
        size_t used = 0, len = cuts[i] - start;
        const char *data = at_guard(input.data + start, len);
        result = http_parse_chunked(&chunked, data, len, &limits, &body, &used, &error);
        assert_true(used <= len && (result != HTTP_MORE || used == len));
        start += used;
    }
    put_number(outcome, start);
    if (result == HTTP_BAD)
        put_error(outcome, &error);
    else
        put(outcome, result == HTTP_DONE ? SLICE("done") : SLICE("more"));
    put(outcome, buf_slice(&body));
    buf_free(&body);
}

typedef void run_fn(struct slice, const size_t *, size_t, struct outcome *);

/* ---- randomness: xorshift64*, seeded and printed ---- */

static uint64_t random_state;

static uint64_t random_below(uint64_t bound) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * UINT64_C(2685821657736338717) >> 16) % bound;
}

static void seed(void) {
    const char *given = getenv("CONCAVE_TEST_SEED");
    random_state = given ? strtoull(given, NULL, 10) : (uint64_t)getpid() * 2654435761u + 1;
    print_message("CONCAVE_TEST_SEED=%llu\n", (unsigned long long)random_state);
}

static void assert_same(struct slice input, const struct outcome *whole,
    const struct outcome *pieces, const size_t *cuts, size_t cut_count) {
    if (strcmp(whole->text, pieces->text) == 0)
        return;
    print_message("input: %.*s\ncuts:", (int)input.len, input.data);
    for (size_t i = 0; i < cut_count; i++)
        print_message(" %zu", cuts[i]);
    fail_msg("whole: %s\npieces: %s", whole->text, pieces->text);
}

static struct outcome whole, pieces;

static void try_cuts(run_fn *run, struct slice input, const size_t *cuts, size_t cut_count) {
    run(input, cuts, cut_count, &pieces);
    assert_same(input, &whole, &pieces, cuts, cut_count);
}

static void try_random_cuts(run_fn *run, struct slice input) {
    size_t cuts[INPUT_BYTES_MAX + 1];
    size_t count = 0;
    uint64_t stride = 1 + random_below(random_below(2) ? 4 : input.len + 1);
    for (size_t at = 0; at < input.len;) {
        at += (size_t)random_below(stride + 1);
        if (at >= input.len || count == INPUT_BYTES_MAX)
            break;
        cuts[count++] = at;
    }
    cuts[count++] = input.len;
    try_cuts(run, input, cuts, count);
}

static void try_all_cuts(run_fn *run, struct slice input) {
    run(input, &input.len, 1, &whole);
    size_t every[INPUT_BYTES_MAX];
    for (size_t i = 0; i < input.len; i++)
        every[i] = i + 1;
    try_cuts(run, input, every, input.len);
    for (size_t cut = 0; cut <= input.len; cut++)
        try_cuts(run, input, (size_t[]){cut, input.len}, 2);
    for (int i = 0; i < RANDOM_CUTS; i++)
        try_random_cuts(run, input);
}

static void every_cut_of_a_head_gives_the_same(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        try_all_cuts(run_head, heads[i]);
}

static void every_cut_of_a_head_near_the_limits_gives_the_same(void **state) {
    (void)state;
    char text[1024];
    const char *starts[] = {"GET /", "GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\nG", "GET /{"};
    const char *ends[] = {"\r\n\r\n", "\n", "\r", " HTTP/1.1\r\nHost: a\r\n\r\n", ""};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        for (size_t j = 0; j < sizeof(ends) / sizeof(ends[0]); j++)
            for (size_t len = limits.header_bytes_max - 3; len <= limits.header_bytes_max + 3;
                 len++) {
                memset(text, 'a', sizeof(text));
                memcpy(text, starts[i], strlen(starts[i]));
                memcpy(text + len - strlen(ends[j]), ends[j], strlen(ends[j]));
                try_all_cuts(run_head, slice_of(text, len));
            }
}

static void every_cut_of_a_chunked_body_gives_the_same(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++)
        try_all_cuts(run_chunks, chunks[i]);
}

/* Changes a few bytes to ones that matter, cuts out or doubles a stretch. */
static size_t mutate(struct slice from, char *to) {
    static const char bytes[] = "\r\n\r\n\t :;,%?*/0159aFx\x01\x7f\x80\xff";
    size_t len = from.len;
    memcpy(to, from.data, len);
    for (uint64_t changes = 1 + random_below(3); changes > 0 && len > 1; changes--) {
        size_t at = (size_t)random_below(len), stretch = 1 + (size_t)random_below(len - at);
        switch (random_below(4)) {
        case 0:
            memmove(to + at, to + at + stretch, len - at - stretch);
            len -= stretch;
            break;
        case 1:
            if (len + stretch > INPUT_BYTES_MAX)
                break;
            memmove(to + at + stretch, to + at, len - at);
            len += stretch;
            break;
        default:
            to[at] = bytes[random_below(sizeof(bytes))]; /* its closing zero too */
        }
    }
    return len;
}

static void mutations_give_the_same_however_they_are_cut(void **state) {
    (void)state;
    char text[INPUT_BYTES_MAX];
    for (unsigned i = test_scaled(MUTATIONS); i > 0; i--) {
        bool head = random_below(3) > 0;
        struct slice from = head ? heads[random_below(sizeof(heads) / sizeof(heads[0]))]
                                 : chunks[random_below(sizeof(chunks) / sizeof(chunks[0]))];
        run_fn *run = head ? run_head : run_chunks;
        struct slice input = slice_of(text, mutate(from, text));
        run(input, &input.len, 1, &whole);
        try_random_cuts(run, input);
    }
}

int main(void) {
    seed();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_of_a_head_gives_the_same),
        cmocka_unit_test(every_cut_of_a_head_near_the_limits_gives_the_same),
        cmocka_unit_test(every_cut_of_a_chunked_body_gives_the_same),
        cmocka_unit_test(mutations_give_the_same_however_they_are_cut),
    };
    return cmocka_run_group_tests(tests, map_pages, NULL);
}
