#include "lua/template_set.h"

#include <stdio.h>
#include <stdlib.h>

struct template_set *template_set_new(void) {
    struct template_set *set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    set->entries = calloc(TEMPLATES_MAX, sizeof *set->entries);
    if (set->entries)
        return set;
    free(set);
    return NULL;
}

void template_set_free(struct template_set *set) {
    if (!set)
        return;
    for (uint32_t i = 0; i < set->count; i++) {
        free(set->entries[i].name);
        free(set->entries[i].error);
        template_free(set->entries[i].template);
    }
    free(set->entries);
    free(set->names);
    free(set->trouble);
    free(set);
}

/* ---- adding ---- */

/* "page.mustache:3:7: why", or without a place; NULL if memory ran out. */
static char *error_text(const char *name, const struct template_error *error) {
    char *text = NULL;
    int len = error->line ? asprintf(&text, "%s.mustache:%u:%u: %s", name, error->line,
                                error->column, error->text)
                          : asprintf(&text, "%s.mustache: %s", name, error->text);
    return len < 0 ? NULL : text;
}

static enum status add_entry(struct template_set *set, struct slice name, struct template *template,
    const struct template_error *error) {
    if (set->count == TEMPLATES_MAX)
        return ST_TOO_LARGE;
    struct template_entry *entry = &set->entries[set->count];
    entry->name = strndup(name.data, name.len);
    if (!entry->name)
        return ST_NOMEM;
    entry->error = template ? NULL : error_text(entry->name, error);
    if (!template && !entry->error) {
        free(entry->name);
        return ST_NOMEM;
    }
    entry->template = template;
    set->count++;
    return ST_OK;
}

enum status template_set_add(struct template_set *set, struct slice name, struct slice source) {
    struct template *template = NULL;
    struct template_error error;
    enum status status = template_parse(source, &template, &error);
    if (status == ST_NOMEM)
        return status;
    status = add_entry(set, name, template, &error);
    if (status != ST_OK)
        template_free(template);
    return status;
}

enum status template_set_add_broken(struct template_set *set, struct slice name, const char *why) {
    struct template_error error = {0};
    (void)snprintf(error.text, sizeof error.text, "%s", why);
    return add_entry(set, name, NULL, &error);
}

/* ---- finding ---- */

static struct slice name_of(const struct template_entry *entry) {
    return slice_of(entry->name, strlen(entry->name));
}

uint32_t template_set_find(const struct template_set *set, struct slice name) {
    uint32_t low = 0, high = set->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = slice_compare(name, name_of(&set->entries[middle]));
        if (order == 0)
            return middle;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return TEMPLATE_NONE;
}

/* ---- linking ---- */

static int compare_entries(const void *a, const void *b) {
    return slice_compare(name_of(a), name_of(b));
}

/* A part of a name on its way to its number. */
struct occurrence {
    struct slice text;
    struct template_part *part;
};

static int compare_occurrences(const void *a, const void *b) {
    const struct occurrence *x = a, *y = b;
    return slice_compare(x->text, y->text);
}

/* Equal parts get equal numbers, from 0. */
static enum status number_names(struct template_set *set) {
    size_t total = 0, at = 0;
    for (uint32_t i = 0; i < set->count; i++)
        total += set->entries[i].template ? set->entries[i].template->part_count : 0;
    if (total == 0)
        return ST_OK;
    struct occurrence *all = calloc(total, sizeof *all);
    set->names = calloc(total, sizeof *set->names);
    if (!all || !set->names) {
        free(all);
        return ST_NOMEM;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        const struct template *template = set->entries[i].template;
        for (uint32_t k = 0; template && k < template->part_count; k++)
            all[at++] = (struct occurrence){
                template_part_text(template, &template->parts[k]), &template->parts[k]};
    }
    qsort(all, total, sizeof *all, compare_occurrences);
    for (size_t i = 0; i < total; i++) {
        if (i == 0 || !slice_equal(all[i].text, all[i - 1].text))
            set->names[set->name_count++] = all[i].text;
        all[i].part->id = set->name_count - 1;
    }
    free(all);
    return ST_OK;
}

static void link_partials(const struct template_set *set, struct template *template) {
    for (uint32_t i = 0; i < template->op_count; i++) {
        struct template_op *op = &template->ops[i];
        if (op->kind == TEMPLATE_PARTIAL)
            op->partner =
                template_set_find(set, template_part_text(template, &template->parts[op->part]));
    }
}

enum status template_set_link(struct template_set *set) {
    qsort(set->entries, set->count, sizeof *set->entries, compare_entries);
    for (uint32_t i = 0; i < set->count; i++)
        if (set->entries[i].template)
            link_partials(set, set->entries[i].template);
    return number_names(set);
}
