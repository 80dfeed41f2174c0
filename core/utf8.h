/* Bytes of text, eight at a time: well-formed UTF-8 (RFC 3629) and where plain text stops.
 *
 * What the JSON reader, the JSON writer and the diagnostics share.
 * Ownership: none; nothing outside [at, end) is read. Threads: any. Errors: as said at each
 * function. */
#ifndef CONCAVE_CORE_UTF8_H
#define CONCAVE_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Every byte of a word at once, after Mycroft (1987): a byte below n borrows into its top bit.
 * Borrows may run on into higher bytes, so the answer is exact only as "some byte or none". */
#define UTF8_EACH_BYTE(value) (UINT64_C(0x0101010101010101) * (value))

static inline uint64_t utf8_word(const char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* The first byte that is over 0x7F, or end. */
static inline const char *utf8_skip_ascii(const char *at, const char *end) {
    while (end - at >= 8 && !(utf8_word(at) & UTF8_EACH_BYTE(0x80)))
        at += 8;
    while (at != end && (unsigned char)*at < 0x80)
        at++;
    return at;
}

/* True for a byte that JSON does not let stand for itself in a string: controls, '"', '\'. */
static inline bool utf8_is_special(char byte) {
    return (unsigned char)byte < 0x20 || byte == '"' || byte == '\\';
}

/* Non-zero if some byte of the word is special or over 0x7F. */
static inline uint64_t utf8_word_not_plain(uint64_t word) {
    uint64_t quote = word ^ UTF8_EACH_BYTE('"'), backslash = word ^ UTF8_EACH_BYTE('\\');
    uint64_t found = (word - UTF8_EACH_BYTE(0x20)) | (quote - UTF8_EACH_BYTE(1)) |
                     (backslash - UTF8_EACH_BYTE(1)) | word;
    return found & UTF8_EACH_BYTE(0x80);
}

/* The first byte that is special or over 0x7F, or end. */
static inline const char *utf8_skip_plain(const char *at, const char *end) {
    while (end - at >= 8 && !utf8_word_not_plain(utf8_word(at)))
        at += 8;
    while (at != end && (unsigned char)*at < 0x80 && !utf8_is_special(*at))
        at++;
    return at;
}

/* Bytes (1 to 4) of the well-formed character at `at`, which is before end; 0 if there is none: a
 * stray continuation, an overlong form, a surrogate, one past U+10FFFF or one cut off (RFC 3629,
 * section 4). */
static inline size_t utf8_sequence(const char *at, const char *end) {
    const unsigned char *byte = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    if (byte[0] < 0x80)
        return 1;
    if (byte[0] < 0xC2 || byte[0] > 0xF4)
        return 0;
    size_t length = byte[0] < 0xE0 ? 2 : byte[0] < 0xF0 ? 3 : 4;
    if (left < length)
        return 0;
    /* Only the second byte has other limits than a continuation's, after four of the first bytes.
     */
    unsigned lowest = byte[0] == 0xE0 ? 0xA0 : byte[0] == 0xF0 ? 0x90 : 0x80;
    unsigned highest = byte[0] == 0xED ? 0x9F : byte[0] == 0xF4 ? 0x8F : 0xBF;
    if (byte[1] < lowest || byte[1] > highest)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((byte[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

#endif
