#include "net/http_condition.h"

#include <time.h>

/* ---- dates ---- */

/* What is left of a date that is being read; `bad` stays set. */
struct date_text {
    struct slice rest;
    bool bad;
};

static void expect(struct date_text *text, struct slice word) {
    if (text->rest.len < word.len || memcmp(text->rest.data, word.data, word.len) != 0) {
        text->bad = true;
        return;
    }
    text->rest = slice_of(text->rest.data + word.len, text->rest.len - word.len);
}

/* So many digits; with `blank` the first of them may be a space. */
static int digits(struct date_text *text, size_t count, bool blank) {
    int number = 0;
    for (size_t i = 0; i < count && !text->bad; i++) {
        char byte = text->rest.len > i ? text->rest.data[i] : '\0';
        bool ok = (byte >= '0' && byte <= '9') || (blank && i == 0 && byte == ' ');
        text->bad |= !ok;
        number = number * 10 + (byte == ' ' ? 0 : byte - '0');
    }
    if (!text->bad)
        text->rest = slice_of(text->rest.data + count, text->rest.len - count);
    return number;
}

/* The index of the word that comes next. */
static int one_of(struct date_text *text, const char *const *words, int count) {
    for (int i = 0; i < count; i++) {
        size_t len = strlen(words[i]);
        if (text->rest.len >= len && memcmp(text->rest.data, words[i], len) == 0) {
            text->rest = slice_of(text->rest.data + len, text->rest.len - len);
            return i;
        }
    }
    text->bad = true;
    return 0;
}

static int month(struct date_text *text) {
    static const char *const months[] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    return one_of(text, months, 12);
}

static void time_of_day(struct date_text *text, struct tm *tm) {
    tm->tm_hour = digits(text, 2, false);
    expect(text, SLICE(":"));
    tm->tm_min = digits(text, 2, false);
    expect(text, SLICE(":"));
    tm->tm_sec = digits(text, 2, false);
}

/* "06 Nov 1994 08:49:37 GMT" */
static void imf_fixdate(struct date_text *text, struct tm *tm) {
    tm->tm_mday = digits(text, 2, false);
    expect(text, SLICE(" "));
    tm->tm_mon = month(text);
    expect(text, SLICE(" "));
    tm->tm_year = digits(text, 4, false) - 1900;
    expect(text, SLICE(" "));
    time_of_day(text, tm);
    expect(text, SLICE(" GMT"));
}

/* "06-Nov-94 08:49:37 GMT"; two digits of a year from 70 on are of the last century. */
static void rfc850_date(struct date_text *text, struct tm *tm) {
    tm->tm_mday = digits(text, 2, false);
    expect(text, SLICE("-"));
    tm->tm_mon = month(text);
    expect(text, SLICE("-"));
    int year = digits(text, 2, false);
    tm->tm_year = year < 70 ? year + 100 : year;
    expect(text, SLICE(" "));
    time_of_day(text, tm);
    expect(text, SLICE(" GMT"));
}

/* "Nov  6 08:49:37 1994" */
static void asctime_date(struct date_text *text, struct tm *tm) {
    tm->tm_mon = month(text);
    expect(text, SLICE(" "));
    tm->tm_mday = digits(text, 2, true);
    expect(text, SLICE(" "));
    time_of_day(text, tm);
    expect(text, SLICE(" "));
    tm->tm_year = digits(text, 4, false) - 1900;
}

bool http_date_read(struct slice field, int64_t *seconds) {
    static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday",
        "Friday", "Saturday", "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    struct date_text text = {.rest = field};
    struct tm tm = {0};
    bool whole_name = one_of(&text, days, 14) < 7;
    if (whole_name) {
        expect(&text, SLICE(", "));
        rfc850_date(&text, &tm);
    } else if (text.rest.len > 0 && *text.rest.data == ',') {
        expect(&text, SLICE(", "));
        imf_fixdate(&text, &tm);
    } else {
        expect(&text, SLICE(" "));
        asctime_date(&text, &tm);
    }
    if (text.bad || text.rest.len > 0 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    *seconds = (int64_t)timegm(&tm);
    return true;
}

/* ---- entity tags ---- */

/* Takes an entity-tag off *rest; false if there is none. */
static bool take_etag(struct slice *rest, struct slice *etag, bool *weak) {
    size_t start = rest->len >= 2 && memcmp(rest->data, "W/", 2) == 0 ? 2 : 0;
    if (rest->len < start + 2 || rest->data[start] != '"')
        return false;
    size_t end = start + 1;
    while (end < rest->len && rest->data[end] != '"')
        end++;
    if (end == rest->len)
        return false;
    *weak = start > 0;
    *etag = slice_of(rest->data + start, end + 1 - start);
    *rest = slice_of(rest->data + end + 1, rest->len - end - 1);
    return true;
}

static void skip_blanks(struct slice *rest) {
    while (rest->len > 0 && (*rest->data == ' ' || *rest->data == '\t'))
        *rest = slice_of(rest->data + 1, rest->len - 1);
}

bool http_etags_name(struct slice list, struct slice etag, bool weak, bool strongly) {
    struct slice one;
    bool one_weak;
    if (slice_equal(list, SLICE("*")))
        return true;
    for (;;) {
        skip_blanks(&list);
        while (list.len > 0 && *list.data == ',') {
            list = slice_of(list.data + 1, list.len - 1);
            skip_blanks(&list);
        }
        if (!take_etag(&list, &one, &one_weak))
            return false;
        skip_blanks(&list);
        if (list.len > 0 && *list.data != ',')
            return false;
        if (slice_equal(one, etag) && !(strongly && (weak || one_weak)))
            return true;
    }
}

/* ---- the fields ---- */

/* The only field of this name; data NULL if there is none, or more than one. */
static struct slice only_field(const struct request *request, struct slice name) {
    struct slice found = {0};
    for (unsigned i = 0; i < request->header_count; i++) {
        if (!slice_equal(request->headers[i].name, name))
            continue;
        if (found.data)
            return slice_of(NULL, 0);
        found = request->headers[i].value;
    }
    return found;
}

enum named { NO_FIELD, NOT_NAMED, NAMED };

/* The fields of a name are one list (RFC 9110 5.3). */
static enum named named_in(const struct request *request, struct slice name,
    const struct http_validators *validators, bool strongly) {
    enum named named = NO_FIELD;
    for (unsigned i = 0; i < request->header_count && named != NAMED; i++) {
        if (!slice_equal(request->headers[i].name, name))
            continue;
        bool hit = http_etags_name(
            request->headers[i].value, validators->etag, validators->weak, strongly);
        named = hit ? NAMED : NOT_NAMED;
    }
    return named;
}

enum http_verdict http_condition_of(
    const struct request *request, const struct http_validators *validators) {
    int64_t date;
    enum named match = named_in(request, SLICE("if-match"), validators, true);
    if (match == NOT_NAMED)
        return HTTP_PRECONDITION_FAILED;
    if (match == NO_FIELD &&
        http_date_read(only_field(request, SLICE("if-unmodified-since")), &date) &&
        validators->modified_s > date)
        return HTTP_PRECONDITION_FAILED;
    enum named none_match = named_in(request, SLICE("if-none-match"), validators, false);
    if (none_match == NAMED)
        return HTTP_NOT_MODIFIED;
    if (none_match == NO_FIELD &&
        http_date_read(only_field(request, SLICE("if-modified-since")), &date) &&
        validators->modified_s <= date)
        return HTTP_NOT_MODIFIED;
    return HTTP_PROCEED;
}

bool http_range_counts(const struct request *request, const struct http_validators *validators) {
    bool there = false;
    for (unsigned i = 0; i < request->header_count; i++)
        there |= slice_equal(request->headers[i].name, SLICE("if-range"));
    if (!there)
        return true;
    struct slice field = only_field(request, SLICE("if-range")), etag;
    bool weak;
    int64_t date;
    if (take_etag(&field, &etag, &weak))
        return field.len == 0 && !weak && !validators->weak && slice_equal(etag, validators->etag);
    /* A date is strong only if the file can not have changed twice in that second (8.8.2.2). */
    return http_date_read(field, &date) && date == validators->modified_s &&
           validators->now_s > validators->modified_s + 1;
}
