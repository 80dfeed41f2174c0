#include "perf/load_books.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "core/url.h"

#define ACCOUNTS_PER_REQUEST 1000
#define PAGE_ITEMS 10000
#define SETUP_BYTES_MAX (8u << 20)
#define REASON_BYTES_MAX 200
#define READY_TRIES_MAX 600
#define READY_PAUSE_NS (100 * NS_PER_MS)

/* ---- asking the server ---- */

/* The first line of a reply's body, shortened: enough to tell what is wrong. */
static void append_reason(struct buf *error, const struct reply *reply) {
    size_t shown = 0;
    while (shown < reply->body.len && shown < REASON_BYTES_MAX && reply->body.data[shown] != '\n')
        shown++;
    buf_printf(error, "%u %.*s", reply->status, (int)shown, reply->body.data);
}

/* A call that must succeed; the reply as a document, to be deleted by the caller; NULL and an
 * error. */
static cJSON *ask(struct client *client, const char *method, const char *path, struct slice body,
    struct buf *error) {
    struct reply reply;
    if (!client_call(client, method, path, body, &reply)) {
        buf_printf(error, "no reply to %s %s", method, path);
        return NULL;
    }
    if (reply.status != 200) {
        buf_printf(error, "%s %s: ", method, path);
        append_reason(error, &reply);
        return NULL;
    }
    cJSON *document = cJSON_ParseWithLength(reply.body.data, reply.body.len);
    if (!document)
        buf_printf(error, "%s %s: the reply is no JSON", method, path);
    return document;
}

static double number_of(const cJSON *object, const char *name, double otherwise) {
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(member) ? member->valuedouble : otherwise;
}

/* GET /v1/get; an absent key leaves *value 0 and *version 0. */
static bool read_number(
    struct client *client, const char *key, int64_t *value, uint64_t *version, struct buf *error) {
    char path[128];
    (void)snprintf(path, sizeof path, "/v1/get?key=%s", key);
    *value = 0;
    *version = 0;
    struct reply reply;
    if (client_call(client, "GET", path, slice_of(NULL, 0), &reply) && reply.status == 404)
        return true;
    cJSON *document = ask(client, "GET", path, slice_of(NULL, 0), error);
    if (!document)
        return false;
    /* Both stay far below 2^53, where a double is exact. */
    *value = (int64_t)number_of(document, "value", 0);
    *version = (uint64_t)number_of(document, "version", 0);
    cJSON_Delete(document);
    return true;
}

struct walk {
    uint64_t keys;
    int64_t sum; /* of their values' "balance" */
};

/* Adds one page up; true if there is another, with *from then where it starts. */
static bool walk_page(const cJSON *page, struct walk *walk, struct buf *from) {
    const cJSON *item;
    cJSON_ArrayForEach(item, cJSON_GetObjectItemCaseSensitive(page, "items")) {
        walk->keys++;
        walk->sum +=
            (int64_t)number_of(cJSON_GetObjectItemCaseSensitive(item, "value"), "balance", 0);
    }
    const char *next = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(page, "next"));
    if (!next)
        return false;
    buf_reset(from, SIZE_MAX);
    url_encode(slice_of(next, strlen(next)), from);
    return true;
}

/* Every key of a prefix, page by page. */
static bool walk_prefix(
    struct client *client, const char *prefix, struct walk *walk, struct buf *error) {
    *walk = (struct walk){0};
    struct buf path, from;
    buf_init(&path, REPLY_HEAD_BYTES_MAX);
    buf_init(&from, REPLY_HEAD_BYTES_MAX);
    bool more = true, good = true;
    while (more && good) {
        buf_reset(&path, SIZE_MAX);
        buf_printf(&path, "/v1/range?limit=%u&prefix=%s", PAGE_ITEMS, prefix);
        if (from.len)
            buf_append_text(&path, "&from=");
        buf_append_slice(&path, buf_slice(&from));
        buf_append_byte(&path, '\0');
        good = buf_ok(&path) && buf_ok(&from);
        cJSON *page = good ? ask(client, "GET", path.data, slice_of(NULL, 0), error) : NULL;
        good = page != NULL;
        more = good && walk_page(page, walk, &from);
        cJSON_Delete(page);
    }
    buf_free(&path);
    buf_free(&from);
    return good;
}

void books_wait_ready(struct client *client) {
    const struct timespec pause = {.tv_nsec = (long)READY_PAUSE_NS};
    struct reply reply;
    for (unsigned i = 0; i < READY_TRIES_MAX; i++) {
        if (!client_call(client, "GET", "/readyz", slice_of(NULL, 0), &reply) ||
            reply.status != 503)
            return;
        (void)nanosleep(&pause, NULL);
    }
}

/* ---- metrics ---- */

/* The sum of a family's samples: lines "name{labels} value" or "name value". */
static double sum_of(const char *text, const char *name) {
    double sum = 0;
    size_t len = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) != 0 || (line[len] != '{' && line[len] != ' '))
            continue;
        size_t line_len = strcspn(line, "\n");
        const char *value = memrchr(line, ' ', line_len);
        sum += value ? strtod(value, NULL) : 0;
    }
    return sum;
}

static void read_metrics(struct client *client, struct metrics *metrics) {
    *metrics = (struct metrics){0};
    struct reply reply;
    if (!client_call(client, "GET", "/metrics", slice_of(NULL, 0), &reply) || reply.status != 200)
        return;
    char *text = strndup(reply.body.data, reply.body.len);
    if (!text)
        return;
    metrics->known = strstr(text, "\nconcave_wal_records_total") != NULL;
    metrics->conflicts = sum_of(text, "concave_txn_conflicts_total");
    metrics->wal_records = sum_of(text, "concave_wal_records_total");
    metrics->syncs = sum_of(text, "concave_wal_fsync_duration_seconds_count");
    free(text);
}

void books_status_text(struct client *client, const char *name, char *text, size_t text_size) {
    text[0] = '\0';
    struct buf ignored;
    buf_init(&ignored, REPLY_HEAD_BYTES_MAX);
    cJSON *status = ask(client, "GET", "/v1/admin/status", slice_of(NULL, 0), &ignored);
    const cJSON *member = cJSON_GetObjectItemCaseSensitive(status, name);
    if (cJSON_IsString(member))
        (void)snprintf(text, text_size, "%s", member->valuestring);
    else if (cJSON_IsNumber(member))
        (void)snprintf(text, text_size, "%.0f", member->valuedouble);
    else if (cJSON_IsArray(member))
        (void)snprintf(text, text_size, "%d", cJSON_GetArraySize(member));
    cJSON_Delete(status);
    buf_free(&ignored);
}

/* ---- before ---- */

static bool create_accounts(struct client *client, uint64_t accounts, struct buf *error) {
    struct buf body;
    buf_init(&body, SETUP_BYTES_MAX);
    bool good = true;
    for (uint64_t next = 1; good && next <= accounts;) {
        buf_reset(&body, SIZE_MAX);
        buf_append_text(&body, "{\"commands\":[");
        for (unsigned i = 0; i < ACCOUNTS_PER_REQUEST && next <= accounts; i++, next++)
            buf_printf(&body,
                "%s{\"cmd_type\":\"set\",\"key\":\"acc:%" PRIu64 "\",\"value\":{\"balance\":%d}}",
                i ? "," : "", next, ACCOUNT_BALANCE_START);
        buf_append_text(&body, "]}");
        cJSON *done =
            buf_ok(&body) ? ask(client, "POST", "/v1/execute", buf_slice(&body), error) : NULL;
        good = done != NULL;
        cJSON_Delete(done);
    }
    buf_free(&body);
    return good;
}

bool books_open(struct client *client, struct work_context *context, struct books_before *before,
    struct buf *error) {
    *before = (struct books_before){0};
    const struct workload *work = context->work;
    uint64_t version;
    if (work->needs_accounts && !create_accounts(client, context->accounts, error))
        return false;
    if (work->books == BOOKS_BANK) {
        struct walk walk;
        if (!walk_prefix(client, work->books_key, &walk, error))
            return false;
        before->sum = walk.sum;
    }
    if (work->books == BOOKS_COUNTER) {
        int64_t ignored;
        if (!read_number(client, work->books_key, &before->sum, &version, error) ||
            !read_number(client, "cas:hot", &ignored, &context->cas_version, error))
            return false;
    }
    read_metrics(client, &before->metrics);
    return true;
}

/* ---- after ---- */

static bool close_bank(struct client *client, const struct work_context *context,
    const struct books_before *before, struct books_after *after, struct buf *error) {
    struct walk walk;
    if (!walk_prefix(client, context->work->books_key, &walk, error))
        return false;
    after->balanced = walk.sum == before->sum && walk.keys >= context->accounts;
    (void)snprintf(after->text, sizeof after->text,
        "%" PRIu64 " accounts hold %" PRId64 ", before the load %" PRId64, walk.keys, walk.sum,
        before->sum);
    return true;
}

static bool close_counter(struct client *client, const struct work_context *context,
    const struct books_before *before, const struct run_counts *counts, struct books_after *after,
    struct buf *error) {
    int64_t value;
    uint64_t version;
    if (!read_number(client, context->work->books_key, &value, &version, error))
        return false;
    int64_t grown = value - before->sum;
    int64_t least = (int64_t)counts->done, most = (int64_t)(counts->done + counts->unknown);
    after->balanced = grown >= least && grown <= most;
    (void)snprintf(after->text, sizeof after->text,
        "%s grew by %" PRId64 ", %" PRId64 " acknowledged, %" PRIu64 " unknown",
        context->work->books_key, grown, least, counts->unknown);
    return true;
}

static bool close_keys(struct client *client, const struct work_context *context,
    const struct run_counts *counts, struct books_after *after, struct buf *error) {
    char prefix[64];
    (void)snprintf(prefix, sizeof prefix, "%s%s:", context->work->books_key, context->run_tag);
    struct walk walk;
    if (!walk_prefix(client, prefix, &walk, error))
        return false;
    uint64_t least = counts->done * context->batch;
    uint64_t most = least + counts->unknown * context->batch;
    /* A part of a batch would be a part of a transaction. */
    after->balanced = walk.keys >= least && walk.keys <= most && walk.keys % context->batch == 0;
    (void)snprintf(after->text, sizeof after->text,
        "%" PRIu64 " keys found, %" PRIu64 " acknowledged, %" PRIu64 " unknown", walk.keys, least,
        most - least);
    return true;
}

bool books_close(struct client *client, const struct work_context *context,
    const struct books_before *before, const struct run_counts *counts, struct books_after *after,
    struct buf *error) {
    *after = (struct books_after){.balanced = true};
    read_metrics(client, &after->metrics);
    switch (context->work->books) {
    case BOOKS_NONE:
        (void)snprintf(after->text, sizeof after->text, "nothing was written");
        return true;
    case BOOKS_BANK:
        return close_bank(client, context, before, after, error);
    case BOOKS_COUNTER:
        return close_counter(client, context, before, counts, after, error);
    case BOOKS_KEYS:
        return close_keys(client, context, counts, after, error);
    }
    return false;
}
