#include "net/memory.h"

#include <malloc.h>

/* From this size on blocks are mapped one by one. glibc would raise it by itself, up to 32 MiB,
 * with each such block that is freed. Mapping costs more than reusing: 0.2 ms for a reply of 1 MB,
 * and at 128 KiB, where glibc begins, three times that, since buffers grow through several sizes.
 */
#define MAPPED_BYTES_MIN (1 << 20)
/* Free memory at the end of the heap that may stay. Raised likewise, to twice the other. */
#define TOP_BYTES_MAX (4 << 20)

void memory_configure(void) {
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN);
    (void)mallopt(M_TRIM_THRESHOLD, TOP_BYTES_MAX);
}

bool memory_look(uint64_t held, uint64_t *most) {
    bool over = *most >= MEMORY_OVERLOAD_BYTES && held < *most / 4;
    if (over || held > *most)
        *most = held;
    return over;
}

void memory_give_back(void) {
    (void)malloc_trim(0);
}
