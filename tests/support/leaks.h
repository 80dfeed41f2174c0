/* Allocations that LeakSanitizer is to forget. Where diag_fatal, which ends the process, jumps to a
 * test instead (tests/support/diag_catch.h), it leaves behind what the functions in between held.
 *
 * Threads: each counts for itself. Errors: none; without the sanitizer these do nothing. */
#ifndef CONCAVE_TESTS_SUPPORT_LEAKS_H
#define CONCAVE_TESTS_SUPPORT_LEAKS_H

#include <stdbool.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

/* From leaks_overlook(&on, true) to leaks_overlook(&on, false) what is allocated is no leak. on
 * says whether that is so, false at first; ending it twice does no harm, so that it can be ended
 * behind a jump too. */
static inline void leaks_overlook(bool *on, bool overlook) {
    if (*on == overlook)
        return;
    *on = overlook;
#ifdef __SANITIZE_ADDRESS__
    if (overlook)
        __lsan_disable();
    else
        __lsan_enable();
#endif
}

#endif
