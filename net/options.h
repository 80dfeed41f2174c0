/* The command line: commands, and the options of `serve` from flags, environment, file and
 * defaults.
 *
 * Precedence: flag, environment (CONCAVE_NAME), file (--config), default. Of a flag or key that is
 * repeated the last one counts, as with nginx and Redis. Every value is checked, also one that a
 * stronger source overrides. An empty environment variable counts as unset; unknown CONCAVE_* are
 * ignored.
 *
 * Ownership: the strings belong to struct options. Threads: main, before the others start.
 * Errors: ST_INVALID (bad usage, unreadable config or token file: exit code 2) or ST_NOMEM, and a
 * sentence that names the option, the source and the allowed range. */
#ifndef CONCAVE_NET_OPTIONS_H
#define CONCAVE_NET_OPTIONS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "core/buf.h"
#include "core/diag.h"
#include "core/wal.h"

enum command {
    COMMAND_SERVE,
    COMMAND_CHECK,
    COMMAND_TEST,
    COMMAND_VERIFY,
    COMMAND_DUMP,
    COMMAND_LOAD,
    COMMAND_VERSION,
    COMMAND_HELP,
};

/* HOST:PORT; HOST is an IPv4 address, an IPv6 address in brackets, or localhost (127.0.0.1). */
struct options_address {
    char host[INET6_ADDRSTRLEN + 2]; /* as given, for messages */
    uint16_t port;                   /* 0: the system picks one */
    union {
        struct sockaddr any;
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
    } sock;
    socklen_t sock_len; /* 0: no address given */
};

struct options {
    enum command command;
    char *dir;          /* of verify, dump, load */
    bool dump_log;      /* dump --log */
    const char **files; /* of test: words of the command line */
    unsigned file_count;
    char *filter;  /* of test: a part of the names; NULL: all tests */
    bool help_all; /* help without a command */
    enum command help_about;

    /* serve and check; load: wal_segment_bytes; all but version and help: the two of diagnostics */
    char *config; /* NULL: none */
    char *app;    /* NULL: none */
    char *data;
    bool watch;
    bool dev;
    char *resources;                         /* as given, or the app file's folder; NULL: neither */
    struct options_address addr, admin_addr; /* admin_addr.sock_len 0: the main listener */
    unsigned shards;                         /* "auto" resolved */
    enum wal_durability durability;
    uint64_t interval_ms; /* of WAL_INTERVAL */
    uint64_t wal_batch_delay_us;
    uint64_t wal_segment_bytes;
    uint64_t checkpoint_wal_bytes; /* 0: on request only */
    uint64_t memory_max;           /* 0: none */
    uint64_t handler_timeout_ms;
    uint64_t lua_memory_max;
    uint64_t key_bytes_max, value_bytes_max, body_bytes_max, header_bytes_max;
    uint64_t connections_max;
    uint64_t head_timeout_ms, body_timeout_ms, idle_timeout_ms;
    char *auth_token_file; /* NULL: none */
    char *auth_token;      /* what serve found in it */
    enum diag_level log_level;
    enum diag_format log_format;
};

/* Fills *options from the arguments (argv[0] is the program), the environment ("NAME=value", ended
 * by NULL) and the files they name. Required options (check --app) are the caller's to ask for.
 * options_free is due whatever came out. */
MUST_USE enum status options_parse(struct options *options, int argc, char *const *argv,
    char *const *environment, struct buf *error);
void options_free(struct options *options);

/* Appends the text of `help`, or of `help COMMAND`. */
void options_help(const struct options *options, struct buf *out);

#endif
