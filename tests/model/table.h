/* A set of 64-bit numbers, each with the lowest small number that it was put in with. */
#ifndef CONCAVE_TESTS_MODEL_TABLE_H
#define CONCAVE_TESTS_MODEL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table {
    struct table_entry {
        uint64_t number; /* 0: free */
        uint8_t least;
    } * entries;
    size_t size, count; /* size: a power of two */
};

void table_init(struct table *table);
void table_free(struct table *table);
/* True if the number was not there, or only with a higher one. */
bool table_put(struct table *table, uint64_t number, uint8_t least);

#endif
