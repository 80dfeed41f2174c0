/* concave-history-record: runs random transactions against a server and writes down what its
 * clients saw, for concave-history to check.
 *
 *   concave-history-record URL FILE SEED FIRST COUNT [CLIENTS]    transactions FIRST ..
 * FIRST+COUNT-1 concave-history-record URL FILE SEED COUNT final              one that reads all,
 * at the end
 *
 * The server serves tests/blackbox/apps/history.lua. What is recorded is put behind what is in
 * FILE, so a history may go on over restarts of the server. When a connection breaks nothing new is
 * sent; what was under way then has an unknown outcome. The last line on stdout says how far it
 * came. Exit code 0: recorded; 2: bad usage or no connection; 3: a reply that no such request can
 * have. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/clock.h"
#include "perf/load_http.h"
#include "tests/history/record_txn.h"
#include "tests/history/text.h"

#define CLIENTS_MAX 64u
#define REPLY_WAIT_MS 60000
#define READ_BYTES 65536u

struct connection {
    int fd; /* -1: broken */
    uint32_t number;
    bool busy;
    struct draft draft;
    uint64_t sent_ns;
    struct buf out, in, path, body;
    struct last_seen seen;
};

struct recorder {
    struct target target;
    struct history *history;
    uint64_t seed;
    uint32_t next, end;
    bool broken; /* a connection is */
    struct connection connections[CLIENTS_MAX];
    unsigned clients, busy;
    unsigned unknown, refused, wrong_sums;
};

static bool send_all(int fd, const struct buf *out) {
    for (size_t at = 0; at < out->len;) {
        ssize_t sent = send(fd, out->data + at, out->len - at, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return false;
        at += sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

static void finish(
    struct recorder *recorder, struct connection *connection, const struct reply *reply) {
    struct seen_reply seen = {.client = connection->number,
        .invoke_ns = connection->sent_ns,
        .complete_ns = reply ? clock_monotonic_ns() : HISTORY_NEVER,
        .wrong_sums = &recorder->wrong_sums,
        .status = reply ? reply->status : 0,
        .body = reply ? reply->body : SLICE("(none)")};
    draft_record(&connection->draft, &seen, recorder->history, &connection->seen);
    recorder->unknown += !reply;
    recorder->refused += reply && reply->status != 200;
    connection->busy = false;
    recorder->busy--;
}

static void break_off(struct recorder *recorder, struct connection *connection) {
    recorder->broken = true;
    if (connection->busy)
        finish(recorder, connection, NULL);
    close(connection->fd);
    connection->fd = -1;
}

static void send_draft(struct recorder *recorder, struct connection *connection) {
    buf_reset(&connection->path, SIZE_MAX);
    buf_reset(&connection->body, SIZE_MAX);
    buf_reset(&connection->out, SIZE_MAX);
    draft_request(&connection->draft, &connection->path, &connection->body);
    request_append(&connection->out, &recorder->target, draft_method(&connection->draft),
        buf_slice(&connection->path),
        connection->body.len ? buf_slice(&connection->body) : (struct slice){0});
    connection->busy = true;
    recorder->busy++;
    connection->sent_ns = clock_monotonic_ns();
    if (!send_all(connection->fd, &connection->out))
        break_off(recorder, connection);
}

static void send_next(struct recorder *recorder, struct connection *connection) {
    /* The first transaction of all opens the bank, and is alone. */
    bool alone = recorder->next == 1 && recorder->busy;
    if (connection->busy || connection->fd < 0 || recorder->broken ||
        recorder->next == recorder->end || alone)
        return;
    draft_draw(&connection->draft, recorder->seed, recorder->next++, &connection->seen);
    send_draft(recorder, connection);
}

static void receive(struct recorder *recorder, struct connection *connection) {
    char *room = buf_reserve(&connection->in, READ_BYTES);
    ssize_t got = room ? recv(connection->fd, room, READ_BYTES, 0) : -1;
    if (got < 0 && errno == EINTR)
        return;
    if (got <= 0) {
        break_off(recorder, connection);
        return;
    }
    connection->in.len += (size_t)got;
    struct reply reply;
    switch (reply_parse(buf_slice(&connection->in), &reply)) {
    case REPLY_MORE:
        return;
    case REPLY_BAD:
        fprintf(stderr, "a reply that is no HTTP: %.*s\n", (int)connection->in.len,
            connection->in.data);
        exit(3);
    case REPLY_WHOLE:
        break;
    }
    if (!connection->busy || reply.len != connection->in.len || reply.closes) {
        fprintf(stderr, "a reply that was not asked for: %.*s\n", (int)connection->in.len,
            connection->in.data);
        exit(3);
    }
    finish(recorder, connection, &reply);
    buf_reset(&connection->in, SIZE_MAX);
}

static void run(struct recorder *recorder) {
    struct pollfd polls[CLIENTS_MAX];
    for (;;) {
        for (unsigned i = 0; i < recorder->clients; i++)
            send_next(recorder, &recorder->connections[i]);
        if (!recorder->busy)
            return;
        for (unsigned i = 0; i < recorder->clients; i++)
            polls[i] = (struct pollfd){.fd = recorder->connections[i].fd, .events = POLLIN};
        if (poll(polls, recorder->clients, REPLY_WAIT_MS) == 0) {
            fputs("no reply within 60 s\n", stderr);
            exit(3);
        }
        for (unsigned i = 0; i < recorder->clients; i++)
            if (polls[i].fd >= 0 && polls[i].revents)
                receive(recorder, &recorder->connections[i]);
    }
}

static void connect_all(struct recorder *recorder) {
    for (unsigned i = 0; i < recorder->clients; i++) {
        struct connection *connection = &recorder->connections[i];
        connection->number = i;
        connection->fd = target_connect(&recorder->target);
        if (connection->fd < 0) {
            perror("connect");
            exit(2);
        }
        buf_init(&connection->out, SIZE_MAX);
        buf_init(&connection->in, REPLY_BYTES_MAX);
        buf_init(&connection->path, SIZE_MAX);
        buf_init(&connection->body, SIZE_MAX);
    }
}

static void disconnect_all(struct recorder *recorder) {
    for (unsigned i = 0; i < recorder->clients; i++) {
        struct connection *connection = &recorder->connections[i];
        if (connection->fd >= 0)
            close(connection->fd);
        buf_free(&connection->out);
        buf_free(&connection->in);
        buf_free(&connection->path);
        buf_free(&connection->body);
    }
}

static int write_down(const struct recorder *recorder, const char *path) {
    FILE *file = fopen(path, "a");
    if (!file) {
        perror(path);
        return 2;
    }
    history_save(recorder->history, file);
    bool failed = ferror(file);
    if (fclose(file) != 0 || failed) {
        perror(path);
        return 2;
    }
    printf("next %u refused %u unknown %u wrong sums %u\n", recorder->next, recorder->refused,
        recorder->unknown, recorder->wrong_sums);
    return 0;
}

static uint64_t number_argument(const char *text) {
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (errno || *end || end == text || text[0] == '-') {
        fprintf(stderr, "'%s' is not a number\n", text);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv) {
    static struct recorder recorder;
    struct buf error;
    buf_init(&error, SIZE_MAX);
    bool final = argc == 6 && strcmp(argv[5], "final") == 0;
    if (argc < 6 || argc > 7) {
        fputs("usage: concave-history-record URL FILE SEED FIRST COUNT [CLIENTS]\n"
              "       concave-history-record URL FILE SEED COUNT final\n",
            stderr);
        return 2;
    }
    if (!target_parse(argv[1], &recorder.target, &error)) {
        fprintf(stderr, "%.*s\n", (int)error.len, error.data);
        return 2;
    }
    recorder.seed = number_argument(argv[3]);
    recorder.next = (uint32_t)number_argument(argv[4]);
    recorder.end = final ? recorder.next : recorder.next + (uint32_t)number_argument(argv[5]);
    recorder.clients = argc == 7 ? (unsigned)number_argument(argv[6]) : 16;
    if (recorder.clients < 1 || recorder.clients > CLIENTS_MAX) {
        fprintf(stderr, "CLIENTS is 1 to %u\n", CLIENTS_MAX);
        return 2;
    }
    recorder.history = history_new(true);
    connect_all(&recorder);
    if (final) {
        draft_final(&recorder.connections[0].draft, recorder.next);
        send_draft(&recorder, &recorder.connections[0]);
    }
    run(&recorder);
    disconnect_all(&recorder);
    int code = write_down(&recorder, argv[2]);
    history_free(recorder.history);
    buf_free(&error);
    return code;
}
