/* Draws the transactions of a recorded history, and writes them as requests. See record_txn.h. */
#include <stdio.h>
#include <stdlib.h>

#include "core/splitmix.h"
#include "tests/history/record_txn.h"

#define LISTS 5u
#define REGISTERS 5u
#define COMERS 8u
#define MARKERS_A_RANGE 5000u

static uint64_t draw(uint64_t *state, uint64_t below) {
    return splitmix_next(state) % below;
}

struct drawing {
    struct draft *draft;
    uint64_t random;
    uint32_t group;
    bool writes, deletes;
};

static struct draft_step *step_add(struct drawing *drawing, char kind) {
    struct draft *draft = drawing->draft;
    struct draft_step *step = &draft->steps[draft->count];
    *step = (struct draft_step){.kind = kind,
        .value = (int64_t)draft->number * (int64_t)(2 * DRAFT_STEPS_MAX) + draft->count * 2};
    draft->count++;
    drawing->writes |= kind == 'a' || kind == 'w' || kind == 'd' || kind == 't';
    drawing->deletes |= kind == 'd';
    return step;
}

static void name_key(struct drawing *drawing, char *key, char kind, unsigned keys) {
    snprintf(key, sizeof((struct draft_step *)NULL)->key, "%c:%u:%u", kind, drawing->group,
        (unsigned)draw(&drawing->random, keys));
}

static void draw_range(struct drawing *drawing, char kind) {
    struct draft_step *step = step_add(drawing, 's');
    if (kind == 'b') {
        snprintf(step->key, sizeof step->key, "b:");
        snprintf(step->to, sizeof step->to, "b;");
        return;
    }
    name_key(drawing, step->key, kind, COMERS / 2);
    snprintf(step->to, sizeof step->to, "%c:%u:%u", kind, drawing->group,
        (unsigned)(COMERS / 2 + draw(&drawing->random, COMERS / 2 + 1)));
    if (draw(&drawing->random, 3) == 0)
        step->limit = 1 + (unsigned)draw(&drawing->random, 4);
    step->reverse = draw(&drawing->random, 3) == 0;
}

static void draw_transfer(struct drawing *drawing) {
    struct draft_step *step = step_add(drawing, 't');
    unsigned from = (unsigned)draw(&drawing->random, ACCOUNTS);
    unsigned to = (from + 1 + (unsigned)draw(&drawing->random, ACCOUNTS - 1)) % ACCOUNTS;
    snprintf(step->key, sizeof step->key, "b:%u", from);
    snprintf(step->to, sizeof step->to, "b:%u", to);
    step->limit = 1 + (unsigned)draw(&drawing->random, 9); /* the amount */
}

/* One step; `plain` leaves out what only routes can do. */
static void draw_step(struct drawing *drawing, bool plain) {
    uint64_t kind = draw(&drawing->random, 20);
    if (plain && (kind < 3 || kind >= 18))
        kind = 4 + kind;
    if (kind < 3)
        name_key(drawing, step_add(drawing, 'a')->key, 'l', LISTS);
    else if (kind < 6)
        name_key(drawing, step_add(drawing, 'r')->key, 'l', LISTS);
    else if (kind < 8)
        name_key(drawing, step_add(drawing, 'r')->key, 'r', REGISTERS);
    else if (kind < 10)
        name_key(drawing, step_add(drawing, 'w')->key, 'r', REGISTERS);
    else if (kind < 12)
        name_key(drawing, step_add(drawing, 'w')->key, 'k', COMERS);
    else if (kind < 14)
        name_key(drawing, step_add(drawing, 'd')->key, 'k', COMERS);
    else if (kind < 15)
        name_key(drawing, step_add(drawing, 'r')->key, 'k', COMERS);
    else if (kind < 18 || plain)
        draw_range(drawing, draw(&drawing->random, 4)   ? 'k'
                            : draw(&drawing->random, 2) ? 'b'
                                                        : 'l');
    else if (kind < 19)
        draw_transfer(drawing);
    else
        step_add(drawing, 'y')->value = 1 + (int64_t)draw(&drawing->random, 30000);
}

static void draw_put(struct drawing *drawing, const struct last_seen *seen) {
    struct draft_step *step = step_add(drawing, 'p');
    snprintf(step->key, sizeof step->key, "%s", seen->key);
    step->before = seen->value;
    step->version = seen->version;
    drawing->writes = true;
}

static void open_bank(struct drawing *drawing) {
    for (unsigned i = 0; i < ACCOUNTS; i++)
        snprintf(step_add(drawing, 'w')->key, sizeof drawing->draft->steps[0].key, "b:%u", i);
}

void draft_draw(struct draft *draft, uint64_t seed, uint32_t number, const struct last_seen *seen) {
    struct drawing drawing = {
        .draft = draft, .random = seed ^ (uint64_t)number << 32, .group = number / GROUP_TXNS};
    draft->number = number;
    draft->count = 0;
    if (number == 0) {
        draft->via = VIA_ROUTE;
        open_bank(&drawing);
        return;
    }
    uint64_t via = draw(&drawing.random, 100);
    draft->via = via < 4    ? VIA_REFUSED
                 : via < 24 ? VIA_EXECUTE
                 : via < 30 ? VIA_RANGE
                 : via < 38 ? VIA_PUT
                            : VIA_ROUTE;
    if (draft->via == VIA_PUT && seen->version == 0)
        draft->via = VIA_ROUTE;
    if (draft->via == VIA_PUT)
        draw_put(&drawing, seen);
    else if (draft->via == VIA_RANGE)
        draw_range(&drawing, 'k');
    else
        for (uint64_t i = 1 + draw(&drawing.random, 5); i > 0; i--)
            draw_step(&drawing, draft->via == VIA_EXECUTE);
    bool marks = drawing.deletes || (drawing.writes && draw(&drawing.random, 4) == 0);
    if (marks && draft->via != VIA_PUT) {
        struct draft_step *step = step_add(&drawing, 'w');
        snprintf(step->key, sizeof step->key, "m:%08u", number);
    }
}

/* ---- the end ---- */

void draft_final(struct draft *draft, uint32_t count) {
    static const char kinds[] = "lrkb";
    struct drawing drawing = {.draft = draft};
    draft->number = count;
    draft->via = VIA_FINAL;
    draft->count = 0;
    for (const char *kind = kinds; *kind; kind++) {
        struct draft_step *step = step_add(&drawing, 's');
        snprintf(step->key, sizeof step->key, "%c:", *kind);
        snprintf(step->to, sizeof step->to, "%c;", *kind);
    }
    for (uint32_t i = 0; i < count; i += MARKERS_A_RANGE) {
        if (draft->count == DRAFT_STEPS_MAX) {
            fprintf(stderr, "a history has at most %u transactions\n",
                MARKERS_A_RANGE * (DRAFT_STEPS_MAX - 4));
            exit(2);
        }
        struct draft_step *step = step_add(&drawing, 's');
        snprintf(step->key, sizeof step->key, "m:%08u", i);
        snprintf(step->to, sizeof step->to, "m:%08u", i + MARKERS_A_RANGE);
    }
}

/* ---- as a request ---- */

static void append_route_step(struct buf *body, const struct draft_step *step, uint32_t number) {
    long long value = (long long)step->value;
    if (step->kind == 's')
        buf_printf(body, "[\"s\",\"%s\",\"%s\",%u,%s]", step->key, step->to, step->limit,
            step->reverse ? "true" : "false");
    else if (step->kind == 't')
        buf_printf(body, "[\"t\",\"%s\",\"%s\",%u,%lld]", step->key, step->to, step->limit, value);
    else if (number == 0)
        buf_printf(body, "[\"w\",\"%s\",{\"balance\":%d,\"id\":%lld}]", step->key, BALANCE, value);
    else
        buf_printf(body, "[\"%c\",\"%s\",%lld]", step->kind, step->key, value);
}

static void append_command(struct buf *body, const struct draft_step *step) {
    static const char *const names[] = {['r'] = "get", ['w'] = "set", ['d'] = "delete"};
    if (step->kind == 's')
        buf_printf(body,
            "{\"cmd_type\":\"range\",\"from\":\"%s\",\"to\":\"%s\",\"limit\":%u,\"reverse\":%s}",
            step->key, step->to, step->limit ? step->limit : 10000,
            step->reverse ? "true" : "false");
    else
        buf_printf(body, "{\"cmd_type\":\"%s\",\"key\":\"%s\",\"value\":%lld}",
            names[(unsigned char)step->kind], step->key, (long long)step->value);
}

static void append_steps(const struct draft *draft, struct buf *body) {
    bool route = draft->via == VIA_ROUTE || draft->via == VIA_REFUSED;
    buf_append_text(body, route ? "{\"steps\":[" : "{\"commands\":[");
    for (unsigned i = 0; i < draft->count; i++) {
        if (i)
            buf_append_byte(body, ',');
        if (route)
            append_route_step(body, &draft->steps[i], draft->number);
        else
            append_command(body, &draft->steps[i]);
    }
    buf_append_text(body, "]}");
}

const char *draft_method(const struct draft *draft) {
    return draft->via == VIA_RANGE ? "GET" : "POST";
}

void draft_request(const struct draft *draft, struct buf *path, struct buf *body) {
    const struct draft_step *step = &draft->steps[0];
    switch (draft->via) {
    case VIA_ROUTE:
    case VIA_REFUSED:
        buf_append_text(path, draft->via == VIA_ROUTE ? "/fn/recorded" : "/fn/recorded/refused");
        append_steps(draft, body);
        break;
    case VIA_EXECUTE:
    case VIA_FINAL:
        buf_append_text(path, "/v1/execute");
        append_steps(draft, body);
        break;
    case VIA_RANGE:
        buf_printf(path, "/v1/range?from=%s&to=%s&limit=%u&reverse=%d", step->key, step->to,
            step->limit ? step->limit : 10000, step->reverse);
        break;
    case VIA_PUT:
        buf_append_text(path, "/v1/put");
        buf_printf(body, "[{\"key\":\"%s\",\"value\":%lld,\"version\":%llu}]", step->key,
            (long long)step->value, (unsigned long long)step->version);
        break;
    }
}
