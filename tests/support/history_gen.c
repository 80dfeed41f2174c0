/* Executes random transactions one after the other against a model; see history_gen.h. */
#include "tests/support/history_gen.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/splitmix.h"
#include "tests/history/private.h"

#define KEYS MIX_KEYS_MAX
#define LIST_MAX MIX_LIST_MAX
#define STEPS_MAX 6u

struct model {
    const struct history_mix *mix;
    struct history *history;
    uint64_t random, version;
    int64_t values[KEYS], lists[KEYS][LIST_MAX];
    uint64_t value_versions[KEYS], list_versions[KEYS];
    uint32_t list_lens[KEYS];
    unsigned group;
    int64_t unique;
};

uint64_t history_draw(uint64_t *state, uint64_t below) {
    return splitmix_next(state) % below;
}

static const char *name(char kind, unsigned group, unsigned key) {
    static char text[32];
    snprintf(text, sizeof text, "%c:%u:%u", kind, group, key);
    return text;
}

static void model_clear(struct model *model) {
    for (unsigned i = 0; i < KEYS; i++) {
        model->values[i] = HISTORY_ABSENT;
        model->list_lens[i] = 0;
        model->list_versions[i] = model->value_versions[i] = 0;
    }
}

static uint64_t told(const struct model *model, uint64_t version) {
    return model->mix->versions ? version : 0;
}

static void step_list(struct model *model, unsigned key) {
    const char *list = name('l', model->group, key);
    uint32_t *len = &model->list_lens[key];
    if (history_draw(&model->random, 2) && *len < LIST_MAX) {
        model->lists[key][(*len)++] = ++model->unique;
        model->list_versions[key] = 0;
        history_append(model->history, list, model->unique);
    } else
        history_read_list(
            model->history, list, model->lists[key], *len, told(model, model->list_versions[key]));
}

static void step_register(struct model *model, unsigned key) {
    const char *reg = name('r', model->group, key);
    uint64_t kind = history_draw(&model->random, model->mix->deletes ? 5 : 4);
    if (kind >= 2)
        model->value_versions[key] = 0;
    if (kind < 2)
        history_read(
            model->history, reg, model->values[key], told(model, model->value_versions[key]));
    else if (kind < 4)
        history_write(model->history, reg, model->values[key] = ++model->unique);
    else {
        model->values[key] = HISTORY_ABSENT;
        history_delete(model->history, reg);
    }
}

static void step_range(struct model *model, unsigned from) {
    unsigned to = from + 1 + (unsigned)history_draw(&model->random, model->mix->keys);
    bool open = to >= model->mix->keys, included = !open && history_draw(&model->random, 2);
    char start[32];
    snprintf(start, sizeof start, "%s", name('r', model->group, from));
    history_range(model->history, start,
        open ? name('r', model->group, 9) : name('r', model->group, to), included);
    for (unsigned i = from; i < model->mix->keys && i < to + included; i++)
        if (model->values[i] != HISTORY_ABSENT)
            history_range_item(model->history, name('r', model->group, i), model->values[i],
                told(model, model->value_versions[i]));
}

static void step(struct model *model) {
    unsigned key = (unsigned)history_draw(&model->random, model->mix->keys);
    bool list = model->mix->lists && (!model->mix->registers || history_draw(&model->random, 2));
    if (list)
        step_list(model, key);
    else if (model->mix->ranges && history_draw(&model->random, 3) == 0)
        step_range(model, key);
    else
        step_register(model, key);
}

/* After a commit what the transaction wrote has its version. */
static void stamp(struct model *model, const struct model *before) {
    for (unsigned i = 0; i < KEYS; i++) {
        if (model->values[i] != before->values[i])
            model->value_versions[i] = model->version;
        if (model->list_lens[i] != before->list_lens[i])
            model->list_versions[i] = model->version;
    }
}

static void model_txn(struct model *model, unsigned number) {
    const struct history_mix *mix = model->mix;
    uint64_t at = (number + mix->overlap) * UINT64_C(1000),
             luck = history_draw(&model->random, 100);
    uint64_t width = mix->overlap * UINT64_C(500);
    struct history_txn txn = {.client = number,
        .invoke_ns = at - history_draw(&model->random, width + 1),
        .complete_ns = at + history_draw(&model->random, width + 1)};
    if (luck < mix->unknown) {
        txn.outcome = HISTORY_UNKNOWN;
        txn.complete_ns = HISTORY_NEVER;
    } else if (luck < mix->unknown + mix->refused)
        txn.outcome = HISTORY_FAIL;
    bool applied = txn.outcome == HISTORY_OK || (txn.outcome == HISTORY_UNKNOWN && luck % 2);
    struct model before = *model;
    model->version++;
    txn.version = txn.outcome == HISTORY_OK ? told(model, model->version) : 0;
    history_begin(model->history, &txn);
    uint64_t steps = 1 + history_draw(&model->random, STEPS_MAX);
    for (uint64_t i = 0; i < steps; i++)
        step(model);
    if (applied) {
        stamp(model, &before);
        return;
    }
    uint64_t random = model->random;
    int64_t unique = model->unique;
    *model = before;
    model->random = random;
    model->unique = unique;
    model->version++;
}

static void model_final(struct model *model) {
    uint64_t at = (model->mix->txns + 3 * model->mix->overlap) * UINT64_C(1000);
    struct history_txn txn = {.invoke_ns = at, .complete_ns = at + 1, .final = true};
    history_begin(model->history, &txn);
    for (unsigned i = 0; i < model->mix->keys; i++) {
        history_read(model->history, name('r', model->group, i), model->values[i],
            told(model, model->value_versions[i]));
        history_read_list(model->history, name('l', model->group, i), model->lists[i],
            model->list_lens[i], told(model, model->list_versions[i]));
    }
}

struct history *history_valid(const struct history_mix *mix, uint64_t seed) {
    struct model *model = zeroed(1, sizeof *model);
    model->mix = mix;
    model->history = history_new(mix->versions);
    model->random = seed;
    model_clear(model);
    for (unsigned i = 0; i < mix->txns; i++) {
        if (i && i % mix->group == 0) {
            model->group++;
            model_clear(model);
        }
        model_txn(model, i);
    }
    if (mix->final)
        model_final(model);
    struct history *history = model->history;
    free(model);
    return history;
}
