#include "perf/load_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/time.h>
#include <unistd.h>

#define CALL_SECONDS_MAX 60
#define READ_BYTES (64u << 10)

static bool parse_port(const char *text, in_port_t *port) {
    if (text[0] < '0' || text[0] > '9')
        return false;
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (*end == '/' && end[1] == '\0')
        end++;
    if (*end != '\0' || number == 0 || number > 65535)
        return false;
    *port = htons((uint16_t)number);
    return true;
}

static bool parse_host(const char *host, in_port_t port, struct target *target) {
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    struct sockaddr_in *v4 = (struct sockaddr_in *)&target->addr;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = port;
        target->addr_len = sizeof *v4;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&target->addr;
    if (strcmp(host, "[::1]") != 0)
        return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = port;
    v6->sin6_addr = in6addr_loopback;
    target->addr_len = sizeof *v6;
    return true;
}

bool target_parse(const char *url, struct target *target, struct buf *error) {
    *target = (struct target){0};
    const size_t scheme_len = strlen("http://");
    const char *colon = strrchr(url, ':');
    in_port_t port = 0;
    bool shaped = strncmp(url, "http://", scheme_len) == 0 && colon &&
                  (size_t)(colon - url) > scheme_len && parse_port(colon + 1, &port);
    size_t host_len = shaped ? (size_t)(colon - url) - scheme_len : 0;
    if (!shaped || host_len >= sizeof target->host) {
        buf_printf(error, "'%s' is not http://HOST:PORT", url);
        return false;
    }
    char host[sizeof target->host];
    (void)snprintf(host, sizeof host, "%.*s", (int)host_len, url + scheme_len);
    if (!parse_host(host, port, target)) {
        buf_printf(error, "'%s' is not this machine: use 127.0.0.1, [::1] or localhost", host);
        return false;
    }
    int len = snprintf(target->host, sizeof target->host, "%s:%u", host, ntohs(port));
    if (len < 0 || (size_t)len >= sizeof target->host) {
        buf_printf(error, "'%s' is too long", url);
        return false;
    }
    return true;
}

int target_connect(const struct target *target) {
    int fd = socket(target->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int one = 1;
    if (connect(fd, (const struct sockaddr *)&target->addr, target->addr_len) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

void request_append(struct buf *out, const struct target *target, const char *method,
    struct slice path, struct slice body) {
    buf_append_text(out, method);
    buf_append_byte(out, ' ');
    buf_append_slice(out, path);
    buf_append_text(out, " HTTP/1.1\r\nHost: ");
    buf_append_text(out, target->host);
    if (body.data) {
        buf_append_text(out, "\r\nContent-Type: application/json\r\nContent-Length: ");
        buf_append_u64(out, body.len);
    }
    buf_append_text(out, "\r\n\r\n");
    buf_append_slice(out, body);
}

static bool is_field(struct slice line, const char *name, struct slice *value) {
    size_t len = strlen(name);
    if (line.len <= len || line.data[len] != ':' || strncasecmp(line.data, name, len) != 0)
        return false;
    *value = slice_of(line.data + len + 1, line.len - len - 1);
    while (value->len && (value->data[0] == ' ' || value->data[0] == '\t'))
        *value = slice_of(value->data + 1, value->len - 1);
    while (
        value->len && (value->data[value->len - 1] == ' ' || value->data[value->len - 1] == '\t'))
        value->len--;
    return true;
}

static bool parse_length(struct slice text, size_t *length) {
    if (text.len == 0 || text.len > 9)
        return false;
    *length = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        *length = *length * 10 + (size_t)(text.data[i] - '0');
    }
    return *length <= REPLY_BYTES_MAX;
}

/* "HTTP/1.1 200 OK" */
static bool parse_status(struct slice line, unsigned *status) {
    const char *prefix = "HTTP/1.1 ";
    size_t len = strlen(prefix);
    if (line.len < len + 4 || memcmp(line.data, prefix, len) != 0 || line.data[len + 3] != ' ')
        return false;
    *status = 0;
    for (size_t i = len; i < len + 3; i++) {
        if (line.data[i] < '0' || line.data[i] > '9')
            return false;
        *status = *status * 10 + (unsigned)(line.data[i] - '0');
    }
    return *status >= 200 && *status <= 599;
}

static bool parse_head(struct slice head, struct reply *reply) {
    bool first = true, sized = false;
    reply->closes = false;
    reply->body.len = 0;
    while (head.len) {
        const char *end = memmem(head.data, head.len, "\r\n", 2);
        struct slice line = slice_of(head.data, end ? (size_t)(end - head.data) : head.len);
        size_t taken = end ? line.len + 2 : line.len;
        struct slice value;
        if (first) {
            if (!parse_status(line, &reply->status))
                return false;
            first = false;
        } else if (is_field(line, "Content-Length", &value)) {
            if (sized || !parse_length(value, &reply->body.len))
                return false;
            sized = true;
        } else if (is_field(line, "Transfer-Encoding", &value)) {
            return false;
        } else if (is_field(line, "Connection", &value)) {
            reply->closes = value.len == 5 && strncasecmp(value.data, "close", 5) == 0;
        }
        head = slice_of(head.data + taken, head.len - taken);
    }
    return !first && (sized || reply->status == 204 || reply->status == 304);
}

enum reply_state reply_parse(struct slice data, struct reply *reply) {
    const char *end = data.len ? memmem(data.data, data.len, "\r\n\r\n", 4) : NULL;
    if (!end)
        return data.len > REPLY_HEAD_BYTES_MAX ? REPLY_BAD : REPLY_MORE;
    size_t head_len = (size_t)(end - data.data);
    if (!parse_head(slice_of(data.data, head_len), reply))
        return REPLY_BAD;
    reply->body.data = end + 4;
    reply->len = head_len + 4 + reply->body.len;
    return reply->len <= data.len ? REPLY_WHOLE : REPLY_MORE;
}

void client_init(struct client *client, const struct target *target) {
    *client = (struct client){.target = target, .fd = -1};
    buf_init(&client->out, REPLY_BYTES_MAX);
    buf_init(&client->in, REPLY_BYTES_MAX);
}

static void client_close(struct client *client) {
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

void client_free(struct client *client) {
    client_close(client);
    buf_free(&client->out);
    buf_free(&client->in);
}

static bool client_open(struct client *client) {
    if (client->fd >= 0)
        return true;
    client->fd = target_connect(client->target);
    if (client->fd < 0)
        return false;
    struct timeval patience = {.tv_sec = CALL_SECONDS_MAX};
    return setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
           setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0;
}

static bool client_send(struct client *client) {
    for (size_t at = 0; at < client->out.len;) {
        ssize_t sent = send(client->fd, client->out.data + at, client->out.len - at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += (size_t)sent;
    }
    return true;
}

static bool client_receive(struct client *client, struct reply *reply) {
    buf_reset(&client->in, SIZE_MAX);
    for (;;) {
        enum reply_state state = reply_parse(buf_slice(&client->in), reply);
        if (state == REPLY_WHOLE)
            return reply->len == client->in.len; /* more would answer nothing that was asked */
        char *room = state == REPLY_MORE ? buf_reserve(&client->in, READ_BYTES) : NULL;
        if (!room)
            return false;
        ssize_t got = recv(client->fd, room, READ_BYTES, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        client->in.len += (size_t)got;
    }
}

bool client_call(struct client *client, const char *method, const char *path, struct slice body,
    struct reply *reply) {
    buf_reset(&client->out, SIZE_MAX);
    request_append(&client->out, client->target, method, slice_of(path, strlen(path)), body);
    bool answered = buf_ok(&client->out) && client_open(client) && client_send(client) &&
                    client_receive(client, reply);
    if (!answered || reply->closes)
        client_close(client);
    return answered;
}
