/* How often tests repeat what they only repeat: less often where CONCAVE_TEST_SCALE (0 to 1) says
 * so, as tests/run.sh does under the sanitizers; so many times as often with CONCAVE_LONG=N, which
 * is tests/run.sh --long N. Cases that differ from one another are never left out. */
#ifndef CONCAVE_TESTS_SUPPORT_SCALE_H
#define CONCAVE_TESTS_SUPPORT_SCALE_H

#include <stdlib.h>

static inline double test_scale(void) {
    const char *text = getenv("CONCAVE_TEST_SCALE");
    double scale = text ? strtod(text, NULL) : 1;
    text = getenv("CONCAVE_LONG");
    double times = text ? strtod(text, NULL) : 1;
    return (scale > 0 && scale < 1 ? scale : 1) * (times > 1 ? times : 1);
}

/* A number of repetitions; at least 1. */
static inline unsigned test_scaled(unsigned count) {
    unsigned scaled = (unsigned)(count * test_scale());
    return scaled ? scaled : 1;
}

#endif
