/* Names anomalies and describes them in words, a cycle edge by edge.
 *
 * A cycle has two names: Adya's, which says what kinds of edges it needs (G0, G1c, G-single,
 * G2-item, G2, and -realtime if it needs that), and, where the shape has one, the name by which
 * people know it: lost update and write skew (Berenson et al., "A Critique of ANSI SQL Isolation
 * Levels", SIGMOD 1995), long fork (Sovran et al., "Transactional storage for geo-replicated
 * systems", SOSP 2011), phantom, stale read. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/history/private.h"

struct step {
    uint32_t from, to; /* transactions */
    enum edge_kind kind;
    bool predicate;
    uint32_t key, before, after;
};

static struct history_anomaly *next_anomaly(struct check *check) {
    size_t at = check->report->count++;
    return at < HISTORY_ANOMALIES_MAX ? &check->report->anomalies[at] : NULL;
}

static void concern(struct history_anomaly *anomaly, uint32_t txn) {
    if (anomaly->txn_count < sizeof anomaly->txns / sizeof anomaly->txns[0])
        anomaly->txns[anomaly->txn_count++] = txn;
}

struct history_anomaly *accuse(
    struct check *check, const char *name, uint32_t txn, uint32_t other, const char *format, ...) {
    check->accused[txn] = check->accused[other] = true;
    struct history_anomaly *anomaly = next_anomaly(check);
    if (!anomaly)
        return NULL;
    anomaly->name = name;
    anomaly->adya = strncmp(name, "G1", 2) == 0 ? name : "";
    concern(anomaly, txn);
    if (other != txn)
        concern(anomaly, other);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(anomaly->text, sizeof anomaly->text, format, arguments);
    va_end(arguments);
    return anomaly;
}

/* ---- names ---- */

struct shape {
    unsigned kinds; /* that occur */
    unsigned rw;    /* so many */
    bool adjacent;  /* two rw one behind the other */
    bool one_key;   /* every edge is about the same one */
    bool predicate; /* an rw of a range... */
    bool by_delete; /* ...the first of which is about a key that went */
};

static struct shape shape_of(const struct check *check, const struct step *steps, size_t count) {
    struct shape shape = {.one_key = true};
    for (size_t i = 0; i < count; i++) {
        const struct step *step = &steps[i], *next = &steps[(i + 1) % count];
        shape.kinds |= step->kind;
        shape.one_key &= step->key != NONE && step->key == steps[0].key;
        if (step->kind != EDGE_RW)
            continue;
        shape.rw++;
        shape.adjacent |= next->kind == EDGE_RW;
        if (step->predicate && !shape.predicate) {
            shape.predicate = true;
            shape.by_delete = check->writes[step->after].value == HISTORY_ABSENT;
        }
    }
    return shape;
}

static const char *adya_name(const struct shape *shape) {
    bool real_time = shape->kinds & (EDGE_RT | EDGE_VERSION);
    if (shape->rw > 1 && shape->predicate)
        return real_time ? "G2-realtime" : "G2";
    if (shape->rw > 1)
        return real_time ? "G2-item-realtime" : "G2-item";
    if (shape->rw)
        return real_time ? "G-single-realtime" : "G-single";
    if (shape->kinds & EDGE_WR)
        return real_time ? "G1c-realtime" : "G1c";
    return real_time ? "G0-realtime" : "G0";
}

static const char *common_name(const struct shape *shape) {
    if (shape->kinds & EDGE_VERSION)
        return "version order";
    if (shape->kinds & EDGE_RT)
        return shape->rw == 1 ? "stale read" : adya_name(shape);
    if (shape->predicate)
        return shape->by_delete ? "phantom by delete" : "phantom by insert";
    if (shape->rw && shape->one_key)
        return "lost update";
    if (shape->rw > 1)
        return shape->adjacent ? "write skew" : "long fork";
    return adya_name(shape);
}

/* ---- words ---- */

struct page {
    const struct check *check;
    char *text;
    size_t len;
};

static void say(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct page *page, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(page->text + page->len, HISTORY_TEXT_MAX - page->len, format, arguments);
    va_end(arguments);
    if (count > 0)
        page->len += (size_t)count;
    if (page->len >= HISTORY_TEXT_MAX)
        page->len = HISTORY_TEXT_MAX - 1;
}

static bool is_list(const struct page *page, const struct step *step) {
    return page->check->keys[step->key].list;
}

static const char *name_of(const struct page *page, const struct step *step) {
    return page->check->history->keys[step->key];
}

static void say_write(struct page *page, const struct step *step, uint32_t write) {
    const struct write *at = &page->check->writes[write];
    const char *key = name_of(page, step);
    if (at->value == HISTORY_ABSENT)
        say(page, "T%u deleted %s", at->txn, key);
    else if (is_list(page, step))
        say(page, "T%u appended %lld to %s", at->txn, (long long)at->value, key);
    else
        say(page, "T%u wrote %s = %lld", at->txn, key, (long long)at->value);
}

static void say_read(struct page *page, const struct step *step, uint32_t reader, uint32_t write) {
    const char *key = name_of(page, step), *how = step->predicate ? "'s range" : "";
    bool nothing = write == NONE || page->check->writes[write].value == HISTORY_ABSENT;
    if (nothing)
        say(page, "T%u%s did not find %s", reader, how, key);
    else if (is_list(page, step))
        say(page, "T%u%s read %s up to %lld", reader, how, key,
            (long long)page->check->writes[write].value);
    else
        say(page, "T%u%s read %s = %lld", reader, how, key,
            (long long)page->check->writes[write].value);
}

static void say_step(struct page *page, const struct step *step) {
    const struct check *check = page->check;
    say(page, "  ");
    switch (step->kind) {
    case EDGE_WW:
        say_write(page, step, step->before);
        say(page, ", and later ");
        say_write(page, step, step->after);
        break;
    case EDGE_WR:
        say_write(page, step, step->before);
        say(page, ", and ");
        say_read(page, step, step->to, step->before);
        break;
    case EDGE_RW:
        say_read(page, step, step->from, step->before);
        say(page, ", before ");
        say_write(page, step, step->after);
        break;
    case EDGE_RT:
        say(page, "T%u had its reply %llu ns before T%u was sent", step->from,
            (unsigned long long)(txn_of(check, step->to)->invoke_ns -
                                 txn_of(check, step->from)->complete_ns),
            step->to);
        break;
    default:
        say(page, "T%u committed at version %llu, T%u at %llu", step->from,
            (unsigned long long)check->version[step->from], step->to,
            (unsigned long long)check->version[step->to]);
    }
    say(page, "\n");
}

static void describe(struct page *page, const struct history_anomaly *anomaly,
    const struct step *steps, size_t count) {
    static const struct {
        enum edge_kind kind;
        const char *name;
    } names[] = {{EDGE_WW, "ww"}, {EDGE_WR, "wr"}, {EDGE_RW, "rw"}, {EDGE_RT, "rt"}};
    say(page, "%s (%s), %zu transactions: T%u", anomaly->name, anomaly->adya, count, steps[0].from);
    for (size_t i = 0; i < count && i < 32; i++) {
        const char *name = "version";
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++)
            if (names[j].kind == steps[i].kind)
                name = names[j].name;
        say(page, " -%s-> T%u", name, steps[i].to);
    }
    say(page, "\n");
    for (size_t i = 0; i < count; i++)
        say_step(page, &steps[i]);
}

/* ---- cycles ---- */

/* Ways through helpers become one step. */
static size_t steps_of(
    const struct check *check, const struct edge *const *cycle, size_t count, struct step *steps) {
    size_t made = 0;
    for (size_t i = 0; i < count; i++) {
        const struct edge *edge = cycle[i];
        struct step *step = &steps[made];
        if (edge->from < check->history->txn_count)
            *step = (struct step){.from = edge->from,
                .kind = edge->kind,
                .predicate = edge->predicate,
                .key = edge->key,
                .before = edge->before};
        if (edge->to < check->history->txn_count) {
            step->to = edge->to;
            step->after = edge->after;
            made++;
        }
    }
    return made;
}

void accuse_cycle(struct check *check, const struct edge *const *cycle, size_t count) {
    struct history_anomaly *anomaly = next_anomaly(check);
    if (!anomaly)
        return;
    struct step *steps = zeroed(count, sizeof *steps);
    count = steps_of(check, cycle, count, steps);
    struct shape shape = shape_of(check, steps, count);
    anomaly->adya = adya_name(&shape);
    anomaly->name = common_name(&shape);
    anomaly->cycle = (unsigned)count;
    for (size_t i = 0; i < count; i++)
        concern(anomaly, steps[i].from);
    struct page page = {.check = check, .text = anomaly->text};
    describe(&page, anomaly, steps, count);
    free(steps);
}
