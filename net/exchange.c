#include "net/exchange.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>
#include <strings.h>

#include "core/splitmix.h"
#include "net/reply.h"

#define POOL_FREE_MAX 1024u
/* Buffers up to these sizes stay with a pooled exchange. */
#define STORAGE_KEEP_BYTES 4096u
#define BODY_KEEP_BYTES 4096u
#define PARAMS_BYTES_MAX (64u << 10)

#define REQUEST_ID_BYTES_MAX 128u

void exchange_pool_init(
    struct exchange_pool *pool, uint64_t body_bytes_max, uint64_t ids, uint64_t seeds) {
    *pool = (struct exchange_pool){.body_bytes_max = body_bytes_max, .ids = ids, .seeds = seeds};
}

static void destroy(struct exchange *exchange) {
    buf_free(&exchange->storage);
    buf_free(&exchange->body);
    buf_free(&exchange->params);
    reply_free(&exchange->call.reply);
    fault_free(&exchange->call.fault);
    free(exchange);
}

void exchange_pool_free(struct exchange_pool *pool) {
    while (pool->free) {
        struct exchange *exchange = pool->free;
        pool->free = exchange->next;
        destroy(exchange);
    }
    pool->free_count = 0;
}

static void write_hex(uint64_t number, char out[FRESH_ID_BYTES]) {
    for (unsigned i = 0; i < FRESH_ID_BYTES; i++)
        out[i] = "0123456789abcdef"[(number >> (60 - 4 * i)) & 15];
}

static struct exchange *create(const struct exchange_pool *pool) {
    struct exchange *exchange = calloc(1, sizeof(*exchange));
    if (!exchange)
        return NULL;
    buf_init(&exchange->storage, SIZE_MAX); /* bounded by the head it copies */
    buf_init(&exchange->body, (size_t)pool->body_bytes_max);
    buf_init(&exchange->params, PARAMS_BYTES_MAX);
    reply_init(&exchange->call.reply);
    return exchange;
}

void exchange_fresh_id(struct exchange_pool *pool, char out[FRESH_ID_BYTES]) {
    write_hex(splitmix_next(&pool->ids), out);
}

struct exchange *exchange_take(struct exchange_pool *pool) {
    struct exchange *exchange = pool->free;
    if (exchange) {
        pool->free = exchange->next;
        pool->free_count--;
    } else {
        exchange = create(pool);
        if (!exchange)
            return NULL;
    }
    exchange->next = NULL;
    exchange->call.owner = exchange;
    exchange->call.seed = splitmix_next(&pool->seeds);
    char *id = buf_reserve(&exchange->storage, FRESH_ID_BYTES);
    if (!id) {
        destroy(exchange);
        return NULL;
    }
    exchange_fresh_id(pool, id);
    exchange->storage.len = FRESH_ID_BYTES;
    exchange->call.request.id = slice_of(id, FRESH_ID_BYTES);
    return exchange;
}

/* Empties what the next request must not see; pooled buffers stay. The large arrays of slices need
 * no clearing, their counts say what is valid. */
static void clear(struct exchange *exchange) {
    struct call *call = &exchange->call;
    struct buf storage = exchange->storage, body = exchange->body, params = exchange->params;
    struct reply reply = call->reply;
    fault_free(&call->fault);
    *exchange = (struct exchange){0};
    buf_reset(&storage, STORAGE_KEEP_BYTES);
    buf_reset(&body, BODY_KEEP_BYTES);
    buf_reset(&params, STORAGE_KEEP_BYTES);
    reply_reset(&reply);
    exchange->storage = storage;
    exchange->body = body;
    exchange->params = params;
    call->reply = reply;
}

void exchange_give(struct exchange_pool *pool, struct exchange *exchange) {
    const struct procedure *procedure = exchange->call.procedure;
    assert(!exchange->file.open && !exchange->file.away);
    if (procedure && procedure->release)
        procedure->release(&exchange->call);
    assert(pool->body_bytes_held >= exchange->body.len);
    pool->body_bytes_held -= exchange->body.len;
    if (pool->free_count >= POOL_FREE_MAX) {
        destroy(exchange);
        return;
    }
    clear(exchange);
    exchange->next = pool->free;
    pool->free = exchange;
    pool->free_count++;
}

/* The client's id is taken if it is 1 to 128 of A-Za-z0-9._- (api.md section 2). */
static bool id_usable(struct slice id) {
    if (id.len == 0 || id.len > REQUEST_ID_BYTES_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.data[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
        if (!ok)
            return false;
    }
    return true;
}

/* Takes a line that is whole off *rest, its LF or CR LF removed; false if none is. */
static bool next_line(struct slice *rest, struct slice *line) {
    const char *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    if (!end)
        return false;
    size_t len = (size_t)(end - rest->data);
    *line = slice_of(rest->data, len > 0 && rest->data[len - 1] == '\r' ? len - 1 : len);
    *rest = slice_of(end + 1, rest->len - len - 1);
    return true;
}

/* The text without the spaces and tabs around it. */
static struct slice trimmed(struct slice text) {
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = slice_of(text.data + 1, text.len - 1);
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

static bool has_prefix(struct slice text, struct slice prefix) {
    return text.len >= prefix.len && memcmp(text.data, prefix.data, prefix.len) == 0;
}

/* True for what no person looks at in a browser. */
static bool is_for_programs(struct slice path) {
    return has_prefix(path, SLICE("/v1/")) || slice_equal(path, SLICE("/metrics")) ||
           slice_equal(path, SLICE("/livez")) || slice_equal(path, SLICE("/readyz"));
}

/* The path in a request line that may be anything. */
static struct slice path_of(struct slice line) {
    const char *space = memchr(line.data, ' ', line.len);
    if (!space)
        return slice_of("", 0);
    struct slice path = slice_of(space + 1, line.len - (size_t)(space + 1 - line.data));
    for (size_t i = 0; i < path.len; i++)
        if (path.data[i] == ' ' || path.data[i] == '?')
            path.len = i;
    return path;
}

/* The value, if the line is the field of this name (with its colon); else its data is NULL. */
static struct slice value_of(struct slice line, struct slice name) {
    if (line.len < name.len || strncasecmp(line.data, name.data, name.len) != 0)
        return slice_of(NULL, 0);
    return trimmed(slice_of(line.data + name.len, line.len - name.len));
}

static void use_id(struct exchange *exchange, struct slice found) {
    assert(exchange->storage.len == FRESH_ID_BYTES);
    buf_append_slice(&exchange->storage, found);
    if (buf_ok(&exchange->storage)) /* else the fresh one, which may have moved, has to do */
        exchange->call.request.id = slice_of(exchange->storage.data + FRESH_ID_BYTES, found.len);
    else
        exchange->call.request.id = slice_of(exchange->storage.data, FRESH_ID_BYTES);
}

void exchange_note_refused(struct exchange *exchange, struct slice head) {
    struct slice line, id = {0};
    bool begun = false;
    while (next_line(&head, &line) && (line.len > 0 || !begun)) {
        if (!begun && line.len > 0)
            exchange->for_programs = is_for_programs(path_of(line));
        begun |= line.len > 0;
        struct slice value = value_of(line, SLICE("x-request-id:"));
        if (id_usable(value))
            id = value;
        value = value_of(line, SLICE("accept:"));
        if (value.data)
            accept_add(&exchange->tastes, value);
    }
    if (id.len > 0)
        use_id(exchange, id);
}

void exchange_fail(struct exchange *exchange, int status, const char *code, const char *text) {
    const struct request *request = &exchange->call.request;
    struct reply *reply = &exchange->call.reply;
    struct accept_tastes tastes = exchange->tastes;
    for (unsigned i = 0; i < request->header_count; i++)
        if (slice_equal(request->headers[i].name, SLICE("accept")))
            accept_add(&tastes, request->headers[i].value);
    bool for_programs = exchange->for_programs || is_for_programs(request->path);
    bool html = !for_programs && accept_prefers_html(&tastes);
    const struct fault *fault = &exchange->call.fault;
    if (exchange->shows_faults && exchange->call.outcome == ST_HANDLER && fault->message.len > 0) {
        if (html)
            reply_fault_page(reply, status, fault, request->id);
        else
            reply_fault(reply, status, code, fault, request->id);
    } else if (html)
        reply_error_page(reply, status, text, request->id);
    else
        reply_error(reply, status, code, text, request->id);
    if (!for_programs)
        buf_append_text(&reply->headers, "Vary: Accept\r\n");
    if (status == 503)
        buf_append_text(&reply->headers, "Retry-After: 1\r\n");
    exchange->bare = !reply_ok(reply);
    if (exchange->bare)
        reply->status = 503;
}

/* A slice of the bytes at `from`, as a slice of their copy at `to`. */
static struct slice moved(struct slice slice, const char *from, const char *to) {
    if (slice.len == 0)
        return slice_of(to, 0);
    return slice_of(to + (slice.data - from), slice.len);
}

enum status exchange_set_head(struct exchange *exchange, const struct http_head *head,
    const char *data, size_t len, struct slice remote) {
    struct request *request = &exchange->call.request;
    size_t align = alignof(struct request_header);
    size_t text = FRESH_ID_BYTES + remote.len + len;
    size_t headers_at = (text + align - 1) / align * align;
    size_t total = headers_at + head->header_count * sizeof(struct request_header);
    /* One block: the fresh id, the address, the head, the array of fields. */
    if (!buf_reserve(&exchange->storage, total - FRESH_ID_BYTES))
        return ST_NOMEM;
    char *base = exchange->storage.data;
    exchange->storage.len = total;
    request->id = slice_of(base, FRESH_ID_BYTES);
    memcpy(base + FRESH_ID_BYTES, remote.data, remote.len);
    request->remote = slice_of(base + FRESH_ID_BYTES, remote.len);
    char *copy = base + FRESH_ID_BYTES + remote.len;
    memcpy(copy, data, len);
    request->method = moved(head->method, data, copy);
    request->path = moved(head->path, data, copy);
    request->query = moved(head->query, data, copy);

    struct request_header *headers = (struct request_header *)(void *)(base + headers_at);
    for (unsigned i = 0; i < head->header_count; i++) {
        headers[i].name = moved(head->headers[i].name, data, copy);
        headers[i].value = moved(head->headers[i].value, data, copy);
        if (slice_equal(headers[i].name, SLICE("x-request-id")) && id_usable(headers[i].value))
            request->id = headers[i].value;
    }
    request->headers = headers;
    request->header_count = head->header_count;

    exchange->head_only = slice_equal(request->method, SLICE("HEAD"));
    exchange->keep_alive = head->keep_alive;
    exchange->say_keep_alive = head->minor == 0;
    exchange->continue_wanted = head->expect_continue && head->minor > 0;
    return ST_OK;
}
