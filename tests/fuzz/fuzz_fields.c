/* The header fields that decide what is sent: ranges, dates, entity tags, conditions, Accept; and
 * paths of static files. Any bytes may stand in them; what comes out is within its bounds.
 *
 * Input: a byte that picks the size of what a range is of, then five fields that end in a zero
 * byte: Range, If-Match, If-None-Match, a date, and one that is tried as Accept and as a path. */
#include "core/error_page.h"
#include "net/beneath.h"
#include "net/http_condition.h"
#include "net/http_range.h"
#include "net/media_type.h"
#include "tests/fuzz/fuzz.h"

#define FIELDS 5
#define YEAR_0_S INT64_C(-62167219200)
#define YEAR_10000_S INT64_C(253402300800)

enum { RANGE, MATCH, NONE_MATCH, DATE, ACCEPT };

static void check_range(struct slice field, uint64_t size) {
    struct http_span span;
    enum http_range range = http_range_pick(field, size, &span);
    if (range == HTTP_RANGE_PART)
        FUZZ_CHECK(span.len > 0 && span.first < size && span.len <= size - span.first);
    else
        FUZZ_CHECK(span.first == 0 && span.len == size);
}

static void check_path(struct slice field) {
    static char path[BENEATH_PATH_BYTES_MAX];
    if (beneath_path(field, path) != ST_OK)
        return;
    FUZZ_CHECK(path[0] != '\0' && path[0] != '/' && path[0] != '.');
    FUZZ_CHECK(!strstr(path, "/.") && !strstr(path, "//") && !strchr(path, '\\'));
    FUZZ_CHECK(path[strlen(path) - 1] != '/');
    FUZZ_CHECK(media_type_of(slice_of(path, strlen(path))) != NULL);
}

static void check_accept(struct slice field) {
    struct accept_tastes tastes = {0};
    accept_add(&tastes, field);
    accept_add(&tastes, field);
    FUZZ_CHECK(tastes.html.weight <= 1000 && tastes.json.weight <= 1000);
    FUZZ_CHECK(tastes.html.rank <= 3 && tastes.json.rank <= 3);
    (void)accept_prefers_html(&tastes);
    struct buf page;
    buf_init(&page, SIZE_MAX);
    error_page_write(&page, 404, "Not Found", "<text>", field);
    FUZZ_CHECK(buf_ok(&page));
    buf_free(&page);
}

static void check_etags(struct slice list) {
    bool strongly = http_etags_name(list, SLICE("\"a\""), false, true);
    bool weakly = http_etags_name(list, SLICE("\"a\""), false, false);
    FUZZ_CHECK(weakly || !strongly); /* a strong match is a weak one */
    if (!slice_equal(list, SLICE("*")))
        FUZZ_CHECK(
            !http_etags_name(list, SLICE("\"a\""), true, true) || memchr(list.data, '*', list.len));
}

static void check_date(struct slice date) {
    int64_t seconds;
    if (http_date_read(date, &seconds))
        FUZZ_CHECK(seconds >= YEAR_0_S && seconds <= YEAR_10000_S);
}

static void check_conditions(const struct slice *fields) {
    struct request_header headers[] = {
        {SLICE("if-match"), fields[MATCH]},
        {SLICE("if-none-match"), fields[NONE_MATCH]},
        {SLICE("if-modified-since"), fields[DATE]},
        {SLICE("if-unmodified-since"), fields[DATE]},
        {SLICE("if-range"), fields[MATCH]},
        {SLICE("range"), fields[RANGE]},
    };
    for (unsigned skip = 0; skip < 3; skip++) {
        struct request request = {
            .method = SLICE("GET"), .headers = headers + skip, .header_count = 6 - skip};
        struct http_validators validators = {
            .etag = SLICE("\"a\""), .weak = skip == 1, .modified_s = 784111777, .now_s = 784111780};
        enum http_verdict verdict = http_condition_of(&request, &validators);
        FUZZ_CHECK(verdict == HTTP_PROCEED || verdict == HTTP_NOT_MODIFIED ||
                   verdict == HTTP_PRECONDITION_FAILED);
        (void)http_range_counts(&request, &validators);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint64_t sizes[] = {
        0, 1, 10, 1000, UINT32_MAX, INT64_MAX, UINT64_MAX - 1, UINT64_MAX};
    struct slice input = slice_of((const char *)data, size), fields[FIELDS];
    uint64_t bytes = sizes[fuzz_take_byte(&input) % (sizeof sizes / sizeof *sizes)];
    for (int i = 0; i < FIELDS; i++) {
        struct slice field = fuzz_take_field(&input);
        fields[i] = fuzz_copy(field.data, field.len);
    }
    check_range(fields[RANGE], bytes);
    check_etags(fields[MATCH]);
    check_etags(fields[NONE_MATCH]);
    check_date(fields[DATE]);
    check_accept(fields[ACCEPT]);
    check_path(fields[ACCEPT]);
    check_conditions(fields);
    for (int i = 0; i < FIELDS; i++)
        fuzz_drop(fields[i]);
    return 0;
}
