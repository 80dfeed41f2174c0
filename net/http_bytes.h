/* Which bytes may stand where in HTTP, and how a refusal is worded: what the parts of the parser
 * share.
 *
 * Private to net/http_*.c. Threads: any; constant data. Errors: none of its own. */
#ifndef CONCAVE_NET_HTTP_BYTES_H
#define CONCAVE_NET_HTTP_BYTES_H

#include "net/http_parse.h"

/* Classes of bytes, one bit each. */
#define HTTP_TOKEN 1u /* tchar, RFC 9110 section 5.6.2 */
#define HTTP_VALUE 2u /* field values: HTAB, SP, VCHAR, obs-text, RFC 9110 section 5.5 */
#define HTTP_PATH 4u  /* pchar and '/', without '%', RFC 3986 section 3.3 */
#define HTTP_HOST 8u  /* reg-name, without '%', RFC 3986 section 3.2.2 */
#define HTTP_DIGIT 16u
#define HTTP_HEX 32u
#define HTTP_VISIBLE 64u /* VCHAR: 0x21 to 0x7E */

extern const uint8_t http_byte_classes[256];

static inline bool http_byte_is(char byte, unsigned classes) {
    return (http_byte_classes[(unsigned char)byte] & classes) != 0;
}

static inline char http_lower(char byte) {
    return byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
}

/* True if text is lower (given in lower case), letters in any case. */
bool http_text_is(struct slice text, struct slice lower);

/* Fills *error, with the machine word that goes with the status; text is a constant. Always false.
 */
bool http_refuse(struct http_error *error, int status, const char *text);

/* 400 about a byte that may not stand where it is: a CR or LF is named as such, else text is used.
 */
bool http_refuse_byte(struct http_error *error, char byte, const char *text);

/* True if the text is host[:port] as RFC 3986 has it, without user information and not empty. An
 * IPvFuture address is refused, there being none. */
bool http_authority_valid(struct slice text);

/* Checks what one header field means for the framing of the request and the connection, and notes
 * it in scan. The name may be in any case. False with *error. */
bool http_field_note(struct http_scan *scan, const struct http_limits *limits, struct slice name,
    struct slice value, struct http_error *error);

#endif
