#include "lua/nearest.h"

static unsigned least(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Three rows of the table are kept: the one being filled and the two above it. */
static unsigned distance_of(struct slice a, struct slice b) {
    unsigned rows[3][NEAREST_BYTES_MAX + 1];
    for (unsigned j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= a.len; i++) {
        unsigned *row = rows[i % 3];
        const unsigned *above = rows[(i - 1) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b.len; j++) {
            unsigned change = above[j - 1] + (a.data[i - 1] != b.data[j - 1]);
            row[j] = least(change, least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1])
                row[j] = least(row[j], second[j - 2] + 1);
        }
    }
    return rows[a.len % 3][b.len];
}

void nearest_try(struct nearest *nearest, struct slice known) {
    struct slice name = nearest->name;
    if (name.len == 0 || name.len > NEAREST_BYTES_MAX || known.len > NEAREST_BYTES_MAX)
        return;
    unsigned allowed = name.len < 6 ? 1 : name.len < 12 ? 2 : 3;
    unsigned distance = distance_of(name, known);
    if (distance > allowed || distance >= name.len)
        return;
    if (nearest->best.data &&
        (distance > nearest->distance ||
            (distance == nearest->distance && slice_compare(known, nearest->best) >= 0)))
        return;
    nearest->best = known;
    nearest->distance = distance;
}
