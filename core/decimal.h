/* Doubles to decimal digits and back, exactly and whatever the locale.
 *
 * Ownership: the caller's bytes. Threads: any. Errors: none; a number past a double's range reads
 * as an infinity. Both directions count on round-to-nearest, which nothing here changes. */
#ifndef CONCAVE_CORE_DECIMAL_H
#define CONCAVE_CORE_DECIMAL_H

#include "core/buf.h"

#define DECIMAL_BYTES_MAX 32

/* The double nearest to a number written as RFC 8259 has it (the caller has checked that), of any
 * length: correctly rounded, an underflow is zero with its sign, an overflow an infinity. */
double decimal_read(struct slice text);

/* Writes a finite double in the fewest digits that read back the same, always with a '.' or an
 * exponent; returns the bytes written, which no zero ends. Laid out as ECMAScript prints numbers.
 */
size_t decimal_write(double real, char out[DECIMAL_BYTES_MAX]);

#endif
