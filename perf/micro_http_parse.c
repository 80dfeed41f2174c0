/* What parsing one head costs.
 *
 * Expectation: about 160 bytes are looked at twice (once by memchr for the line's end, once by the
 * table), near 1 ns a byte, and five fields cost a few tens of ns each: 200 to 400 ns a request, a
 * few percent of what the two system calls of a request cost. Bytes that come one at a time cost
 * one call each and the second parse at the end, but no rescans: linear.
 *
 *   ninja -C build-release micro_http_parse && build-release/micro_http_parse */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "net/http_parse.h"

#define ROUNDS 1000000u

static const char request[] = "GET /v1/get?key=user:12345 HTTP/1.1\r\n"
                              "Host: 127.0.0.1:8080\r\n"
                              "User-Agent: load/1.0 (x86_64)\r\n"
                              "Accept: */*\r\n"
                              "Accept-Encoding: gzip, deflate\r\n"
                              "Connection: keep-alive\r\n\r\n";

static const struct http_limits limits = {16384, 8u << 20};

static double whole_ns(size_t *fields) {
    static char data[sizeof(request)];
    struct http_head head;
    struct http_error error;
    size_t used, len = sizeof(request) - 1;
    memcpy(data, request, len);
    uint64_t start = clock_monotonic_ns();
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct http_scan scan = {0};
        enum http_result result = http_parse_head(&scan, data, len, &limits, &head, &used, &error);
        assert(result == HTTP_DONE && used == len);
        *fields += head.header_count;
    }
    return (double)(clock_monotonic_ns() - start) / ROUNDS;
}

static double single_bytes_ns(unsigned rounds) {
    static char data[sizeof(request)];
    struct http_head head;
    struct http_error error;
    size_t used, len = sizeof(request) - 1;
    uint64_t start = clock_monotonic_ns();
    for (unsigned i = 0; i < rounds; i++) {
        struct http_scan scan = {0};
        enum http_result result = HTTP_MORE;
        memcpy(data, request, len);
        for (size_t have = 1; have <= len; have++)
            result = http_parse_head(&scan, data, have, &limits, &head, &used, &error);
        assert(result == HTTP_DONE && used == len);
    }
    return (double)(clock_monotonic_ns() - start) / rounds;
}

int main(void) {
    size_t fields = 0;
    double whole = whole_ns(&fields);
    assert(fields == 5 * (size_t)ROUNDS);
    printf("%zu bytes, 5 fields: %.0f ns a head (%.2f ns a byte)\n", sizeof(request) - 1, whole,
        whole / (double)(sizeof(request) - 1));
    double single = single_bytes_ns(ROUNDS / 100);
    printf("the same, one byte a call: %.0f ns (%.1f ns a call)\n", single,
        single / (double)(sizeof(request) - 1));
    return 0;
}
