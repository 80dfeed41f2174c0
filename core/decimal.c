#include "core/decimal.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The short ways below multiply and divide exact doubles and count on one rounding each. */
_Static_assert(FLT_EVAL_METHOD == 0, "doubles are computed as doubles");

/* Two neighbouring doubles and the point halfway between them have at most 767 significant digits.
 * So more than these decide nothing but whether the number is exactly there or a little above. */
#define DIGITS_MAX 800
#define MANTISSA_DIGITS_MAX 19 /* of a number that always fits 64 bits */
#define EXACT_POWER_MAX 22     /* 10^22 is the last power of ten that is a double */
#define EXACT_INTEGER_MAX (UINT64_C(1) << DBL_MANT_DIG)
#define EXPONENT_LIMIT INT64_C(1000000000000) /* beyond what any text's digits can make up for */

static const double powers_of_ten[EXACT_POWER_MAX + 1] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7,
    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* ---- reading ---- */

struct decimal {
    uint64_t mantissa; /* of the digits so far, MANTISSA_DIGITS_MAX at most */
    size_t digits;     /* from the first that is not 0 */
    struct slice text; /* holds those digits, and perhaps a point */
    int64_t exponent;  /* the number is digits * 10^exponent */
    bool negative;
};

static int64_t parse_exponent(const char *at, const char *end) {
    bool negative = at != end && *at == '-';
    if (at != end && (*at == '-' || *at == '+'))
        at++;
    int64_t exponent = 0;
    for (; at != end; at++)
        if (exponent < EXPONENT_LIMIT)
            exponent = exponent * 10 + (*at - '0');
    return negative ? -exponent : exponent;
}

static struct decimal parse_decimal(struct slice text) {
    const char *at = text.data, *end = text.data + text.len;
    struct decimal decimal = {.negative = *at == '-'};
    at += decimal.negative;
    bool fraction = false;
    decimal.text.data = at;
    for (; at != end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            fraction = true;
            continue;
        }
        decimal.exponent -= fraction;
        if (decimal.digits == 0 && *at == '0')
            continue;
        if (decimal.digits++ == 0)
            decimal.text.data = at;
        if (decimal.digits <= MANTISSA_DIGITS_MAX)
            decimal.mantissa = decimal.mantissa * 10 + (uint64_t)(*at - '0');
    }
    decimal.text.len = (size_t)(at - decimal.text.data);
    if (at != end)
        decimal.exponent += parse_exponent(at + 1, end);
    return decimal;
}

/* strtod is exact, but it reads the locale's decimal point and wants a zero at the end: so it is
 * given an integer of bounded length and an exponent, in which no point occurs. */
static double decimal_by_strtod(const struct decimal *decimal) {
    char digits[DIGITS_MAX + 1 + 8]; /* one more digit, "e-1234" and a zero */
    size_t kept = 0;
    bool above = false;
    for (size_t i = 0; i < decimal->text.len; i++) {
        char digit = decimal->text.data[i];
        if (digit == '.')
            continue;
        if (kept < DIGITS_MAX)
            digits[kept++] = digit;
        else if (digit != '0') {
            above = true;
            break;
        }
    }
    int64_t exponent = decimal->exponent + (int64_t)(decimal->digits - kept);
    if (above) {
        digits[kept++] = '1';
        exponent--;
    }
    /* The number is from 10^(exponent + kept - 1) to below 10^(exponent + kept). */
    if (exponent + (int64_t)kept > DBL_MAX_10_EXP + 1)
        return INFINITY;
    if (exponent + (int64_t)kept < DBL_MIN_10_EXP - DBL_DIG - 2)
        return 0.0;
    (void)snprintf(digits + kept, sizeof digits - kept, "e%d", (int)exponent);
    return strtod(digits, NULL);
}

double decimal_read(struct slice text) {
    assert(text.len > 0);
    struct decimal decimal = parse_decimal(text);
    double magnitude;
    if (decimal.digits == 0)
        magnitude = 0.0;
    else if (decimal.digits <= MANTISSA_DIGITS_MAX && decimal.mantissa <= EXACT_INTEGER_MAX &&
             decimal.exponent >= -EXACT_POWER_MAX && decimal.exponent <= EXACT_POWER_MAX)
        /* Both numbers are exact, so the one rounding is the right one (Clinger 1990). */
        magnitude = decimal.exponent < 0
                        ? (double)decimal.mantissa / powers_of_ten[-decimal.exponent]
                        : (double)decimal.mantissa * powers_of_ten[decimal.exponent];
    else
        magnitude = decimal_by_strtod(&decimal);
    return decimal.negative ? -magnitude : magnitude;
}

/* ---- writing ---- */

#define SHORT_FRACTION_MAX 6     /* digits behind the point that are tried without printf */
#define SHORT_MAGNITUDE_MIN 1e-3 /* below, leading zeros would make those few digits worthless */
/* Up to 2^51 the product below is less than half away from the integer that we look for: a quarter
 * for the double's own distance from n / 10^k, an eighth for the rounding of the product. */
#define SHORT_SCALED_MAX 2251799813685248.0
#define PLAIN_EXPONENT_MIN (-7) /* 0.0000001 is where ECMAScript turns to exponents */
#define PLAIN_EXPONENT_MAX 21

static size_t put_digits(char *out, uint64_t number) {
    char reversed[20];
    size_t len = 0;
    do {
        reversed[len++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    for (size_t i = 0; i < len; i++)
        out[i] = reversed[len - 1 - i];
    return len;
}

/* Numbers with a few digits behind the point, which most are: the least k for which some n / 10^k
 * is the double. That quotient of exact doubles is what reading n's digits gives. 0 if there is no
 * k. */
static size_t write_short(double magnitude, char *out) {
    if (magnitude < SHORT_MAGNITUDE_MIN)
        return 0;
    for (size_t k = 0; k <= SHORT_FRACTION_MAX; k++) {
        double scaled = rint(magnitude * powers_of_ten[k]);
        if (scaled > SHORT_SCALED_MAX)
            return 0;
        if (scaled / powers_of_ten[k] != magnitude)
            continue;
        uint64_t power = (uint64_t)powers_of_ten[k], number = (uint64_t)scaled;
        size_t len = put_digits(out, number / power);
        out[len++] = '.';
        if (k == 0)
            out[len++] = '0';
        for (uint64_t rest = number % power; k > 0; k--) {
            power /= 10;
            out[len++] = (char)('0' + rest / power);
            rest %= power;
        }
        return len;
    }
    return 0;
}

/* The fewest significant digits that read back the same, and the power of ten of the first. Numbers
 * of full precision keep any 15 digits, so trying 15 and cutting zeros finds all shorter ones. */
static size_t shortest_digits(double magnitude, char digits[DBL_DECIMAL_DIG], int *exponent) {
    char text[DECIMAL_BYTES_MAX];
    int precision = magnitude < DBL_MIN ? 1 : DBL_DIG;
    for (;; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision - 1, magnitude);
        if (precision == DBL_DECIMAL_DIG || strtod(text, NULL) == magnitude)
            break;
    }
    size_t count = 0;
    char *at = text;
    for (; *at != 'e'; at++)
        if (*at >= '0' && *at <= '9') /* not the locale's decimal point */
            digits[count++] = *at;
    assert(count == (size_t)precision);
    *exponent = (int)strtol(at + 1, NULL, 10);
    while (count > 1 && digits[count - 1] == '0')
        count--;
    return count;
}

static size_t put(char *out, size_t len, const char *bytes, size_t count) {
    memcpy(out + len, bytes, count);
    return len + count;
}

static size_t put_zeros(char *out, size_t len, size_t count) {
    memset(out + len, '0', count);
    return len + count;
}

/* 0.00ddd, ddd.ddd, ddd00.0 or d.ddde+nn. */
static size_t write_digits(char *out, const char *digits, size_t count, int exponent) {
    size_t len = 0;
    if (exponent < PLAIN_EXPONENT_MIN || exponent >= PLAIN_EXPONENT_MAX) {
        out[len++] = digits[0];
        if (count > 1) {
            out[len++] = '.';
            len = put(out, len, digits + 1, count - 1);
        }
        out[len++] = 'e';
        out[len++] = exponent < 0 ? '-' : '+';
        return len + put_digits(out + len, (uint64_t)abs(exponent));
    }
    if (exponent < 0) {
        len = put(out, len, "0.", 2);
        len = put_zeros(out, len, (size_t)(-exponent - 1));
        return put(out, len, digits, count);
    }
    size_t whole = (size_t)exponent + 1;
    if (count <= whole) {
        len = put(out, len, digits, count);
        len = put_zeros(out, len, whole - count);
        return put(out, len, ".0", 2);
    }
    len = put(out, len, digits, whole);
    out[len++] = '.';
    return put(out, len, digits + whole, count - whole);
}

size_t decimal_write(double real, char out[DECIMAL_BYTES_MAX]) {
    assert(isfinite(real));
    size_t sign = signbit(real) ? 1 : 0;
    if (sign)
        *out++ = '-';
    double magnitude = fabs(real);
    if (magnitude == 0.0)
        return sign + put(out, 0, "0.0", 3);
    size_t len = write_short(magnitude, out);
    if (len == 0) {
        char digits[DBL_DECIMAL_DIG];
        int exponent;
        size_t count = shortest_digits(magnitude, digits, &exponent);
        len = write_digits(out, digits, count, exponent);
    }
    assert(sign + len <= DECIMAL_BYTES_MAX);
    return sign + len;
}
