#include "net/option_values.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/slots.h"

#define TOKEN_BYTES_MAX 4096u
#define INTERVAL_MS_MAX 60000u

/* Reads digits and leaves *rest behind them; false if there are none or 64 bits do not hold them.
 */
static bool read_digits(const char *text, const char **rest, uint64_t *number) {
    uint64_t sum = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (sum > (UINT64_MAX - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *rest = at;
    *number = sum;
    return at > text;
}

bool option_read_number(const char *text, uint64_t *number) {
    const char *rest;
    uint64_t value;
    if (!read_digits(text, &rest, &value) || *rest)
        return false;
    *number = value;
    return true;
}

static const struct {
    const char *brief, *name;
    unsigned shift;
} units[] = {{"G", "GiB", 30}, {"M", "MiB", 20}, {"K", "KiB", 10}};

bool option_read_bytes(const char *text, uint64_t *bytes) {
    const char *rest;
    uint64_t value;
    if (!read_digits(text, &rest, &value))
        return false;
    if (!*rest) {
        *bytes = value;
        return true;
    }
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(rest, units[i].brief) != 0 && strcmp(rest, units[i].name) != 0)
            continue;
        if (value > UINT64_MAX >> units[i].shift)
            return false;
        *bytes = value << units[i].shift;
        return true;
    }
    return false;
}

void option_print_bytes(struct buf *out, uint64_t bytes) {
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        uint64_t unit = UINT64_C(1) << units[i].shift;
        if (bytes >= unit && bytes % unit == 0) {
            buf_append_u64(out, bytes / unit);
            buf_append_byte(out, ' ');
            buf_append_text(out, units[i].name);
            return;
        }
    }
    buf_append_u64(out, bytes);
    buf_append_text(out, bytes == 1 ? " byte" : " bytes");
}

bool option_read_shards(const char *text, unsigned *shards) {
    uint64_t number;
    if (strcmp(text, "auto") == 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        number = cores < 1 ? 1 : (uint64_t)cores;
        if (number > SHARDS_MAX)
            number = SHARDS_MAX;
    } else if (!option_read_number(text, &number) || number < 1 || number > SHARDS_MAX) {
        return false;
    }
    *shards = (unsigned)number;
    return true;
}

static bool read_host(const char *host, uint16_t port, struct options_address *address) {
    char bare[INET6_ADDRSTRLEN];
    size_t len = strlen(host);
    if (host[0] == '[' && host[len - 1] == ']' && len - 2 < sizeof(bare)) {
        memcpy(bare, host + 1, len - 2);
        bare[len - 2] = '\0';
        address->sock.ip6 =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        address->sock_len = sizeof(address->sock.ip6);
        return inet_pton(AF_INET6, bare, &address->sock.ip6.sin6_addr) == 1;
    }
    const char *numbers = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    address->sock.ip4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    address->sock_len = sizeof(address->sock.ip4);
    return inet_pton(AF_INET, numbers, &address->sock.ip4.sin_addr) == 1;
}

bool option_read_address(const char *text, struct options_address *address) {
    struct options_address found = {0};
    uint64_t port;
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || (size_t)(colon - text) >= sizeof(found.host))
        return false;
    if (!option_read_number(colon + 1, &port) || port > UINT16_MAX)
        return false;
    memcpy(found.host, text, (size_t)(colon - text));
    found.port = (uint16_t)port;
    if (!read_host(found.host, found.port, &found))
        return false;
    *address = found;
    return true;
}

bool option_read_durability(
    const char *text, enum wal_durability *durability, uint64_t *interval_ms) {
    uint64_t ms;
    if (strcmp(text, "always") == 0) {
        *durability = WAL_ALWAYS;
    } else if (strcmp(text, "manual") == 0) {
        *durability = WAL_MANUAL;
    } else if (strncmp(text, "interval:", 9) == 0 && option_read_number(text + 9, &ms) && ms >= 1 &&
               ms <= INTERVAL_MS_MAX) {
        *durability = WAL_INTERVAL;
        *interval_ms = ms;
    } else {
        return false;
    }
    return true;
}

bool option_read_switch(const char *text, bool *on) {
    static const char *const names[] = {"off", "on", "no", "yes", "false", "true", "0", "1"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0) {
            *on = i % 2 == 1;
            return true;
        }
    return false;
}

bool option_read_level(const char *text, enum diag_level *level) {
    static const char *const names[] = {
        [DIAG_DEBUG] = "debug", [DIAG_INFO] = "info", [DIAG_WARN] = "warn", [DIAG_ERROR] = "error"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i]) == 0) {
            *level = (enum diag_level)i;
            return true;
        }
    return false;
}

bool option_read_format(const char *text, enum diag_format *format) {
    bool json = strcmp(text, "json") == 0;
    if (!json && strcmp(text, "text") != 0)
        return false;
    *format = json ? DIAG_JSON : DIAG_TEXT;
    return true;
}

/* Takes a last LF or CR LF off and looks for bytes that a client could not send back. */
static enum status check_token(char *token, size_t len, const char *path, struct buf *error) {
    if (len > 0 && token[len - 1] == '\n')
        len--;
    if (len > 0 && token[len - 1] == '\r')
        len--;
    if (len == 0) {
        buf_printf(error, "the token file %s is empty", path);
        return ST_INVALID;
    }
    for (size_t i = 0; i < len; i++)
        if (token[i] <= ' ' || token[i] > '~') { /* char is signed or not: both catch 0x80 and up */
            buf_printf(
                error, "the token file %s holds a space, a control byte or a byte over 0x7E", path);
            return ST_INVALID;
        }
    token[len] = '\0';
    return ST_OK;
}

enum status option_read_token(const char *path, char **token, struct buf *error) {
    FILE *file = fopen(path, "re");
    if (!file) {
        buf_printf(error, "the token file %s cannot be read: %s", path, strerror(errno));
        return ST_INVALID;
    }
    enum status status = ST_NOMEM;
    char *text = malloc(TOKEN_BYTES_MAX + 1);
    if (!text)
        goto err_after_open;
    errno = 0;
    size_t len = fread(text, 1, TOKEN_BYTES_MAX + 1, file);
    status = ST_INVALID;
    if (ferror(file))
        buf_printf(error, "the token file %s cannot be read: %s", path, strerror(errno));
    else if (len > TOKEN_BYTES_MAX)
        buf_printf(error, "the token file %s is larger than %u bytes", path, TOKEN_BYTES_MAX);
    else
        status = check_token(text, len, path, error);
    if (status == ST_OK)
        *token = text;
    else
        free(text);
err_after_open:
    fclose(file);
    return status;
}
