/* Allocations that fail on request, in the real binary: linked into concave-nomem beside the
 * server's own main.
 *
 * The C library's allocation functions are replaced for the whole process: the server, libevent,
 * Lua and the C library itself. A test says through a shared file, which CONCAVE_NOMEM names, which
 * of them fail; without that variable none does. The file is one struct nomem, little endian as the
 * machine is; tests/blackbox/nomem.py has the other end.
 *
 * The test writes first and last, then sets count to 0: from then on allocations are counted, over
 * all threads, and those from the first to the last fail; 1 is the next one. What it reads: how
 * many there were, how many of them failed, and where the first one did.
 *
 * A process begins to count in front of its main, with the file as it was left.
 *
 * Threads: any. Only allocations of more than no bytes fail, and free never does. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <unwind.h>

#define FRAMES_MAX 24
#define PUBLIC __attribute__((visibility("default")))

struct nomem {
    _Atomic uint64_t count;
    _Atomic uint64_t first, last; /* first 0: none fails */
    _Atomic uint64_t failed;
    uint64_t base;               /* where the program is loaded; frames are relative to it */
    uint64_t frames[FRAMES_MAX]; /* of the first that failed, innermost first; 0 behind the last */
};

/* What really allocates: the C library, or the sanitizer, whose free would not know the library's
 * blocks. */
#if defined(NOMEM_SANITIZED)
#define REAL(name) __interceptor_##name
void *__interceptor_memalign(size_t align, size_t bytes);
#else
#define REAL(name) __libc_##name
void *__libc_memalign(size_t align, size_t bytes);
#endif
void *REAL(malloc)(size_t bytes);
void *REAL(calloc)(size_t count, size_t bytes);
void *REAL(realloc)(void *block, size_t bytes);

extern const char __executable_start; /* the linker's */

static struct nomem *shared; /* NULL: nothing fails */

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CONCAVE_NOMEM");
    if (!path)
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED
                      : mmap(NULL, sizeof(struct nomem), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        _exit(127);
    (void)close(fd);
    shared = at;
    shared->base = (uint64_t)(uintptr_t)&__executable_start;
}

struct walk {
    unsigned count;
};

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *context, void *ctx) {
    struct walk *walk = ctx;
    if (walk->count == FRAMES_MAX)
        return _URC_END_OF_STACK;
    shared->frames[walk->count++] = (uint64_t)_Unwind_GetIP(context) - shared->base;
    return _URC_NO_REASON;
}

/* (backtrace() would load a library at its first call.) */
static void note_frames(void) {
    struct walk walk = {0};
    memset(shared->frames, 0, sizeof(shared->frames));
    (void)_Unwind_Backtrace(note_frame, &walk);
}

#if defined(NOMEM_SANITIZED)
/* The sanitizer asks for this in each new thread, and ends the process if there is no memory for
 * the answer. */
static _Thread_local bool asking;

PUBLIC int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes) {
    static int (*_Atomic real)(pthread_t thread, pthread_attr_t * attributes);
    if (!real)
        real = (int (*)(pthread_t, pthread_attr_t *))dlsym(RTLD_NEXT, "pthread_getattr_np");
    asking = true;
    int error = real(thread, attributes);
    asking = false;
    return error;
}
#else
static const bool asking = false;
#endif

/* Counts an allocation; true if it is one that fails. */
static bool fails(size_t bytes) {
    if (!shared || bytes == 0 || asking)
        return false;
    uint64_t number = 1 + atomic_fetch_add(&shared->count, 1);
    uint64_t first = atomic_load(&shared->first);
    if (first == 0 || number < first || number > atomic_load(&shared->last))
        return false;
    if (atomic_fetch_add(&shared->failed, 1) == 0)
        note_frames();
    errno = ENOMEM;
    return true;
}

PUBLIC void *malloc(size_t bytes) {
    return fails(bytes) ? NULL : REAL(malloc)(bytes);
}

PUBLIC void *calloc(size_t count, size_t bytes) {
    return fails(count && bytes ? 1 : 0) ? NULL : REAL(calloc)(count, bytes);
}

PUBLIC void *realloc(void *block, size_t bytes) {
    return fails(bytes) ? NULL : REAL(realloc)(block, bytes);
}

PUBLIC void *memalign(size_t align, size_t bytes) {
    return fails(bytes) ? NULL : REAL(memalign)(align, bytes);
}

PUBLIC void *aligned_alloc(size_t align, size_t bytes) {
    return memalign(align, bytes);
}

PUBLIC int posix_memalign(void **out, size_t align, size_t bytes) {
    void *block = memalign(align, bytes);
    if (!block && bytes)
        return ENOMEM;
    *out = block;
    return 0;
}
