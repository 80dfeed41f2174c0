/* What a 4 KiB sync costs on a segment that was merely allocated, one that was filled with zeros,
 * and one that is recycled (old records in it), and what making each costs.
 *
 * Expectation: the sync of an allocated file must also write the metadata that turns its room into
 * data, so it costs about twice that of a file whose blocks have been written before, whether with
 * zeros or with old records; zeros cost one writing of the segment ahead of time, in the
 * background.
 *
 *   build/micro_segments [DIR [SYNCS]]     DIR on the disk that is to be measured */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/disk.h"

#define SEGMENT_BYTES ((uint64_t)64 << 20)
#define BLOCK_BYTES 4096u
#define CHUNK_BYTES ((size_t)1 << 20)

enum kind { ALLOCATED, ZEROED, RECYCLED, KINDS };
static const char *const names[KINDS] = {"allocated", "zero-filled", "recycled"};

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void fill(struct disk_file *file, int byte) {
    char *chunk = malloc(CHUNK_BYTES);
    assert(chunk);
    memset(chunk, byte, CHUNK_BYTES);
    for (uint64_t at = 0; at < SEGMENT_BYTES; at += CHUNK_BYTES)
        assert(disk_write(file, at, chunk, CHUNK_BYTES) == ST_OK);
    assert(disk_sync(file) == ST_OK);
    free(chunk);
}

static double make_ms(struct disk_file *file, enum kind kind) {
    if (kind == RECYCLED)
        fill(file, 'r'); /* what an earlier life has left: not counted */
    uint64_t start_ns = clock_monotonic_ns();
    if (kind != RECYCLED)
        assert(disk_allocate(file, SEGMENT_BYTES) == ST_OK);
    if (kind == ZEROED)
        fill(file, 0);
    return (double)(clock_monotonic_ns() - start_ns) / (double)NS_PER_MS;
}

static void measure(const char *dir, enum kind kind, unsigned syncs) {
    char path[DISK_PATH_BYTES_MAX];
    char block[BLOCK_BYTES];
    struct disk_file *file;
    uint64_t *took_ns = calloc(syncs, sizeof(*took_ns));
    assert(took_ns);
    int len = snprintf(path, sizeof(path), "%s/micro-segment.tmp", dir);
    assert(len > 0 && (size_t)len < sizeof(path));
    assert(disk_open(path, DISK_CREATE, &file) == ST_OK);
    double ms = make_ms(file, kind);
    memset(block, 'b', sizeof(block));
    for (unsigned i = 0; i < syncs; i++) {
        uint64_t start_ns = clock_monotonic_ns();
        assert(disk_write(file, (uint64_t)i * BLOCK_BYTES, block, BLOCK_BYTES) == ST_OK);
        assert(disk_sync(file) == ST_OK);
        took_ns[i] = clock_monotonic_ns() - start_ns;
    }
    qsort(took_ns, syncs, sizeof(*took_ns), compare);
    printf("%-12s %8.1f ms to make, sync of 4 KiB: p50 %5.1f us, p99 %6.1f us\n", names[kind], ms,
        (double)took_ns[syncs / 2] / 1e3, (double)took_ns[syncs - syncs / 100 - 1] / 1e3);
    disk_close(file);
    assert(disk_unlink(path) == ST_OK);
    free(took_ns);
}

int main(int argc, char **argv) {
    const char *dir = argc > 1 ? argv[1] : ".";
    unsigned syncs = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 4000;
    if (syncs == 0 || syncs > SEGMENT_BYTES / BLOCK_BYTES) {
        fprintf(stderr, "SYNCS is from 1 to %u\n", (unsigned)(SEGMENT_BYTES / BLOCK_BYTES));
        return 2;
    }
    for (unsigned round = 0; round < 3; round++)
        for (enum kind kind = ALLOCATED; kind < KINDS; kind++)
            measure(dir, kind, syncs);
    return 0;
}
