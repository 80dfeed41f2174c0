/* Enters into a history what a reply to a recorded transaction tells. See record_txn.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/json_read.h"
#include "tests/history/record_txn.h"

#define ITEMS_MAX 10000u
#define ELEMENTS_MAX 200000u

/* A value and its version, as a step saw them. */
struct item {
    char key[24];
    bool there, list;
    int64_t value; /* a register's number, or an account's last transfer */
    int64_t balance;
    uint32_t first, count; /* of elements */
    uint64_t version;
};

struct parser {
    const struct draft *draft;
    struct slice body;
    struct json_reader json;
    struct buf scratch;
    struct history *history;
    struct last_seen *seen;
    unsigned *wrong_sums;
    struct item *items;
    uint32_t item_count;
    int64_t *elements;
    uint32_t element_count;
};

static _Noreturn void refuse(const struct parser *parser, const char *why) {
    fprintf(stderr, "transaction %u: %s in the reply %.*s\n", parser->draft->number, why,
        (int)(parser->body.len < 2000 ? parser->body.len : 2000), parser->body.data);
    exit(3);
}

static void expect(struct parser *parser, enum json_token token) {
    if (json_next(&parser->json) != token)
        refuse(parser, parser->json.error ? parser->json.error : "another token is due");
}

static bool is_named(const struct parser *parser, const char *name) {
    return slice_equal(parser->json.string, slice_of(name, strlen(name)));
}

/* ---- values ---- */

static void parse_list(struct parser *parser, struct item *item) {
    item->list = true;
    item->first = parser->element_count;
    enum json_token token;
    while ((token = json_next(&parser->json)) == JSON_INTEGER) {
        if (parser->element_count == ELEMENTS_MAX)
            refuse(parser, "more list elements than are due");
        parser->elements[parser->element_count++] = parser->json.integer;
    }
    if (token != JSON_ARRAY_END)
        refuse(parser, "a list of something else than integers");
    item->count = parser->element_count - item->first;
}

static void parse_account(struct parser *parser, struct item *item) {
    enum json_token token;
    while ((token = json_next(&parser->json)) == JSON_NAME) {
        bool balance = is_named(parser, "balance");
        expect(parser, JSON_INTEGER);
        *(balance ? &item->balance : &item->value) = parser->json.integer;
    }
    if (token != JSON_OBJECT_END)
        refuse(parser, "an account that is none");
}

static void parse_value(struct parser *parser, enum json_token token, struct item *item) {
    item->there = token != JSON_NULL;
    if (token == JSON_ARRAY)
        parse_list(parser, item);
    else if (token == JSON_OBJECT)
        parse_account(parser, item);
    else if (token == JSON_INTEGER)
        item->value = parser->json.integer;
    else if (token != JSON_NULL)
        refuse(parser, "a value that nobody wrote");
}

static void parse_version(struct parser *parser, struct item *item) {
    expect(parser, JSON_INTEGER);
    item->version = (uint64_t)parser->json.integer;
}

/* null, or [value, version]. */
static void parse_pair(struct parser *parser, enum json_token token, struct item *item) {
    item->there = token == JSON_ARRAY;
    if (!item->there && token != JSON_NULL)
        refuse(parser, "a read that is neither null nor a pair");
    if (!item->there)
        return;
    parse_value(parser, json_next(&parser->json), item);
    parse_version(parser, item);
    expect(parser, JSON_ARRAY_END);
}

static void copy_key(struct parser *parser, struct item *item) {
    if (parser->json.string.len >= sizeof item->key)
        refuse(parser, "a key that nobody wrote");
    memcpy(item->key, parser->json.string.data, parser->json.string.len);
    item->key[parser->json.string.len] = '\0';
}

/* {"key":K,"value":V,"version":N}, or, from a route, [K, V, N]. */
static void parse_item(struct parser *parser, enum json_token token, struct item *item) {
    if (token == JSON_ARRAY) {
        expect(parser, JSON_STRING);
        copy_key(parser, item);
        parse_value(parser, json_next(&parser->json), item);
        parse_version(parser, item);
        expect(parser, JSON_ARRAY_END);
        return;
    }
    while ((token = json_next(&parser->json)) == JSON_NAME) {
        if (is_named(parser, "key")) {
            expect(parser, JSON_STRING);
            copy_key(parser, item);
        } else if (is_named(parser, "value"))
            parse_value(parser, json_next(&parser->json), item);
        else
            parse_version(parser, item);
    }
    if (token != JSON_OBJECT_END)
        refuse(parser, "an item that is none");
}

/* ---- what was seen, into the history ---- */

static void enter_read(struct parser *parser, const char *key, const struct item *item) {
    if (key[0] == 'l') {
        history_read_list(
            parser->history, key, parser->elements + item->first, item->count, item->version);
        return;
    }
    int64_t value = item->there ? item->value : HISTORY_ABSENT;
    history_read(parser->history, key, value, item->version);
    if (item->version && (key[0] == 'r' || key[0] == 'k')) {
        snprintf(parser->seen->key, sizeof parser->seen->key, "%s", key);
        parser->seen->value = value;
        parser->seen->version = item->version;
    }
}

static void enter_item(struct parser *parser, const struct item *item) {
    if (item->key[0] == 'l')
        history_range_list(
            parser->history, item->key, parser->elements + item->first, item->count, item->version);
    else
        history_range_item(parser->history, item->key, item->value, item->version);
}

/* Money is never made nor lost. */
static void check_bank(struct parser *parser) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < parser->item_count; i++)
        sum += parser->items[i].balance;
    if (parser->item_count != ACCOUNTS || sum != (int64_t)ACCOUNTS * BALANCE)
        (*parser->wrong_sums)++;
}

/* A walk that its limit ended covers up to the last key that it gave. */
static void enter_range(struct parser *parser, const struct draft_step *step) {
    uint32_t count = parser->item_count;
    bool cut = step->limit && count == step->limit;
    const char *last = cut ? parser->items[count - 1].key : NULL;
    if (step->limit && count > step->limit)
        refuse(parser, "more items than were asked for");
    if (cut && step->reverse)
        history_range(parser->history, last, step->to, false);
    else
        history_range(parser->history, step->key, cut ? last : step->to, cut);
    for (uint32_t i = 0; i < count; i++)
        enter_item(parser, &parser->items[step->reverse ? count - 1 - i : i]);
    if (strcmp(step->key, "b:") == 0)
        check_bank(parser);
}

static void take_range(struct parser *parser, const struct draft_step *step) {
    enum json_token token;
    parser->item_count = 0;
    while ((token = json_next(&parser->json)) == JSON_ARRAY || token == JSON_OBJECT) {
        if (parser->item_count == ITEMS_MAX)
            refuse(parser, "more items than are due");
        struct item *item = &parser->items[parser->item_count++];
        *item = (struct item){0};
        parse_item(parser, token, item);
    }
    if (token != JSON_ARRAY_END)
        refuse(parser, "a range that is no list");
    enter_range(parser, step);
}

static void enter_write(struct parser *parser, const struct draft_step *step) {
    switch (step->kind) {
    case 'a':
        history_append(parser->history, step->key, step->value);
        break;
    case 'w':
    case 'p':
        history_write(parser->history, step->key, step->value);
        break;
    case 'd':
        history_delete(parser->history, step->key);
        break;
    case 't':
        history_write(parser->history, step->key, step->value);
        history_write(parser->history, step->to, step->value);
        break;
    default:
        break;
    }
}

static void take_transfer(struct parser *parser, const struct draft_step *step) {
    struct item source = {0}, target = {0};
    parse_pair(parser, json_next(&parser->json), &source);
    parse_pair(parser, json_next(&parser->json), &target);
    expect(parser, JSON_ARRAY_END);
    enter_read(parser, step->key, &source);
    enter_read(parser, step->to, &target);
    enter_write(parser, step);
}

static void take_result(struct parser *parser, const struct draft_step *step) {
    enum json_token token = json_next(&parser->json);
    parser->element_count = 0;
    if (step->kind == 's' && token == JSON_ARRAY)
        take_range(parser, step);
    else if (step->kind == 't' && token == JSON_ARRAY)
        take_transfer(parser, step);
    else if (step->kind == 'r') {
        struct item item = {0};
        if (parser->draft->via == VIA_EXECUTE)
            parse_value(parser, token, &item);
        else
            parse_pair(parser, token, &item);
        enter_read(parser, step->key, &item);
    } else if (token == JSON_TRUE || token == JSON_FALSE || token == JSON_INTEGER)
        enter_write(parser, step);
    else
        refuse(parser, "a result of the wrong kind");
}

/* ---- whole replies ---- */

static void reader_start(struct parser *parser) {
    buf_reset(&parser->scratch, SIZE_MAX);
    json_reader_init(&parser->json, parser->body, &parser->scratch, JSON_READER_DEPTH_MAX);
    expect(parser, JSON_OBJECT);
}

/* The member "version", 0 if there is none. */
static uint64_t find_version(struct parser *parser) {
    uint64_t version = 0;
    reader_start(parser);
    while (json_next(&parser->json) == JSON_NAME) {
        bool found = is_named(parser, "version");
        enum json_token token = json_next(&parser->json);
        if (found && token == JSON_INTEGER)
            version = (uint64_t)parser->json.integer;
        else if (!json_skip(&parser->json, token))
            refuse(parser, "no JSON");
    }
    return version;
}

static bool is_write(char kind) {
    return kind == 'a' || kind == 'w' || kind == 'd' || kind == 't' || kind == 'p';
}

static bool draft_writes(const struct draft *draft) {
    for (unsigned i = 0; i < draft->count; i++)
        if (is_write(draft->steps[i].kind))
            return true;
    return false;
}

static void take_put(struct parser *parser, uint64_t version) {
    const struct draft_step *step = &parser->draft->steps[0];
    /* It was done because this was there. */
    history_read(parser->history, step->key, step->before, step->version);
    history_write(parser->history, step->key, step->value);
    parser->seen->value = step->value;
    parser->seen->version = version;
}

static void take_results(struct parser *parser) {
    const struct draft *draft = parser->draft;
    reader_start(parser);
    expect(parser, JSON_NAME); /* "results", or "items" of a range */
    expect(parser, JSON_ARRAY);
    if (draft->via == VIA_RANGE) {
        take_range(parser, &draft->steps[0]);
        return;
    }
    for (unsigned i = 0; i < draft->count; i++)
        take_result(parser, &draft->steps[i]);
    expect(parser, JSON_ARRAY_END);
}

static void record_ok(struct parser *parser, struct history_txn *txn) {
    const struct draft *draft = parser->draft;
    uint64_t version = find_version(parser);
    if (draft->via == VIA_PUT || (draft->via == VIA_EXECUTE && draft_writes(draft)))
        txn->version = version;
    txn->outcome = HISTORY_OK;
    history_begin(parser->history, txn);
    if (draft->via == VIA_PUT)
        take_put(parser, version);
    else
        take_results(parser);
}

void draft_record(const struct draft *draft, const struct seen_reply *reply,
    struct history *history, struct last_seen *seen) {
    static struct item items[ITEMS_MAX];
    static int64_t elements[ELEMENTS_MAX];
    struct parser parser = {.draft = draft,
        .body = reply->body,
        .history = history,
        .seen = seen,
        .wrong_sums = reply->wrong_sums,
        .items = items,
        .elements = elements};
    struct history_txn txn = {.client = reply->client,
        .invoke_ns = reply->invoke_ns,
        .complete_ns = reply->complete_ns,
        .final = draft->via == VIA_FINAL};
    buf_init(&parser.scratch, SIZE_MAX);
    bool answered = reply->complete_ns != HISTORY_NEVER;
    if (answered && reply->status == 200)
        record_ok(&parser, &txn);
    else {
        static const unsigned refusals[] = {409, 422, 503};
        bool known = !answered;
        for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
            known |= reply->status == refusals[i];
        if (!known || (reply->status == 422) != (answered && draft->via == VIA_REFUSED))
            refuse(&parser, "a status that is not due");
        txn.outcome = answered ? HISTORY_FAIL : HISTORY_UNKNOWN;
        history_begin(history, &txn);
        for (unsigned i = 0; i < draft->count; i++)
            enter_write(&parser, &draft->steps[i]);
        if (answered && reply->status == 409)
            seen->version = 0;
    }
    buf_free(&parser.scratch);
}
