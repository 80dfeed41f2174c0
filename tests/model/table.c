#include "tests/model/table.h"

#include <assert.h>
#include <stdlib.h>

static void make(struct table *table, size_t size) {
    table->size = size;
    table->count = 0;
    table->entries = calloc(size, sizeof *table->entries);
    assert(table->entries);
}

void table_init(struct table *table) {
    make(table, 1024);
}

void table_free(struct table *table) {
    free(table->entries);
}

static void grow(struct table *table) {
    struct table old = *table;
    make(table, 2 * old.size);
    for (size_t i = 0; i < old.size; i++)
        if (old.entries[i].number)
            (void)table_put(table, old.entries[i].number, old.entries[i].least);
    table_free(&old);
}

bool table_put(struct table *table, uint64_t number, uint8_t least) {
    if (2 * table->count >= table->size)
        grow(table);
    number += number == 0;
    size_t at = number & (table->size - 1);
    while (table->entries[at].number && table->entries[at].number != number)
        at = (at + 1) & (table->size - 1);
    struct table_entry *entry = &table->entries[at];
    if (entry->number && entry->least <= least)
        return false;
    table->count += entry->number == 0;
    *entry = (struct table_entry){number, least};
    return true;
}
