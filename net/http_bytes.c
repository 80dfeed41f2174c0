#include "net/http_bytes.h"

#include <arpa/inet.h>

/* The classes are computed from the grammar by the compiler, so that no table can be mistyped. */
#define ALPHA(c) (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define DIGIT(c) ((c) >= '0' && (c) <= '9')
#define HEX(c) (DIGIT(c) || ((c) >= 'a' && (c) <= 'f') || ((c) >= 'A' && (c) <= 'F'))
#define UNRESERVED(c) (ALPHA(c) || DIGIT(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')
#define SUB_DELIM(c)                                                                               \
    ((c) == '!' || (c) == '$' || (c) == '&' || (c) == '\'' || (c) == '(' || (c) == ')' ||          \
        (c) == '*' || (c) == '+' || (c) == ',' || (c) == ';' || (c) == '=')
#define TOKEN(c)                                                                                   \
    (ALPHA(c) || DIGIT(c) || (c) == '!' || (c) == '#' || (c) == '$' || (c) == '%' || (c) == '&' || \
        (c) == '\'' || (c) == '*' || (c) == '+' || (c) == '-' || (c) == '.' || (c) == '^' ||       \
        (c) == '_' || (c) == '`' || (c) == '|' || (c) == '~')
#define VISIBLE(c) ((c) > 0x20 && (c) < 0x7f)
#define VALUE(c) (VISIBLE(c) || (c) == ' ' || (c) == '\t' || (c) >= 0x80)
#define PATH(c) (UNRESERVED(c) || SUB_DELIM(c) || (c) == ':' || (c) == '@' || (c) == '/')
#define HOST(c) (UNRESERVED(c) || SUB_DELIM(c))

#define CLASSES(c)                                                                                 \
    (uint8_t)((TOKEN(c) ? HTTP_TOKEN : 0) | (VALUE(c) ? HTTP_VALUE : 0) |                          \
              (PATH(c) ? HTTP_PATH : 0) | (HOST(c) ? HTTP_HOST : 0) |                              \
              (DIGIT(c) ? HTTP_DIGIT : 0) | (HEX(c) ? HTTP_HEX : 0) |                              \
              (VISIBLE(c) ? HTTP_VISIBLE : 0))
#define FOUR(c) CLASSES(c), CLASSES((c) + 1), CLASSES((c) + 2), CLASSES((c) + 3)
#define SIXTEEN(c) FOUR(c), FOUR((c) + 4), FOUR((c) + 8), FOUR((c) + 12)
#define SIXTY_FOUR(c) SIXTEEN(c), SIXTEEN((c) + 16), SIXTEEN((c) + 32), SIXTEEN((c) + 48)

const uint8_t http_byte_classes[256] = {
    SIXTY_FOUR(0), SIXTY_FOUR(64), SIXTY_FOUR(128), SIXTY_FOUR(192)};

bool http_text_is(struct slice text, struct slice lower) {
    if (text.len != lower.len)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (http_lower(text.data[i]) != lower.data[i])
            return false;
    return true;
}

static const char *code_of(int status) {
    switch (status) {
    case 413:
        return "body_too_large";
    case 414:
        return "uri_too_long";
    case 417:
        return "expectation_failed";
    case 431:
        return "header_too_large";
    case 501:
        return "not_implemented";
    case 503:
        return "out_of_memory";
    case 505:
        return "http_version_not_supported";
    default:
        return "bad_request";
    }
}

bool http_refuse(struct http_error *error, int status, const char *text) {
    *error = (struct http_error){.status = status, .code = code_of(status), .text = text};
    return false;
}

bool http_refuse_byte(struct http_error *error, char byte, const char *text) {
    if (byte == '\n')
        text = "bare LF: lines must end with CR LF";
    else if (byte == '\r')
        text = "bare CR: lines must end with CR LF";
    return http_refuse(error, 400, text);
}

/* "" and ":" to ":65535". A lone colon is in the grammar: the port is *DIGIT. */
static bool port_valid(const char *at, const char *end) {
    if (at == end)
        return true;
    if (*at++ != ':' || end - at > 5)
        return false;
    unsigned port = 0;
    for (; at < end; at++) {
        if (!http_byte_is(*at, HTTP_DIGIT))
            return false;
        port = port * 10 + (unsigned)(*at - '0');
    }
    return port <= 65535;
}

bool http_authority_valid(struct slice text) {
    const char *at = text.data, *end = text.data + text.len;
    if (text.len == 0)
        return false;
    if (*at == '[') {
        char address[INET6_ADDRSTRLEN];
        struct in6_addr binary;
        const char *close = memchr(at, ']', text.len);
        size_t len = close ? (size_t)(close - at) - 1 : sizeof(address);
        if (len >= sizeof(address) || memchr(at + 1, '\0', len))
            return false;
        memcpy(address, at + 1, len);
        address[len] = '\0';
        return inet_pton(AF_INET6, address, &binary) == 1 && port_valid(close + 1, end);
    }
    while (at < end) {
        if (http_byte_is(*at, HTTP_HOST))
            at++;
        else if (*at == '%' && end - at >= 3 && http_byte_is(at[1], HTTP_HEX) &&
                 http_byte_is(at[2], HTTP_HEX))
            at += 3;
        else
            break;
    }
    return at > text.data && port_valid(at, end);
}
