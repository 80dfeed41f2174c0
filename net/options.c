/* One table of options drives what is read, what is allowed, the errors and the help text; defaults
 * are text in it too, read like any other value. */
#include "net/options.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/option_values.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define NO_LIMIT UINT64_MAX

/* Beside key and value, what a record's frame and a block may take: room that is left in the check
 * of value-bytes-max against the segment size. */
#define RECORD_SLACK_BYTES 4096u

/* ---- the tables ---- */

#define FOR(command) (1u << COMMAND_##command)
#define FOR_APP (FOR(SERVE) | FOR(CHECK))
#define FOR_TEST (FOR_APP | FOR(TEST))
#define FOR_ALL (FOR_TEST | FOR(VERIFY) | FOR(DUMP) | FOR(LOAD))

enum kind {
    KIND_TEXT,
    KIND_SWITCH, /* --name alone is "on" */
    KIND_NUMBER,
    KIND_BYTES,
    KIND_SHARDS,
    KIND_ADDRESS,
    KIND_DURABILITY,
    KIND_LEVEL,
    KIND_FORMAT
};

struct spec {
    const char *name;
    const char *argument; /* NULL: none is needed */
    unsigned commands;    /* that take it */
    enum kind kind;
    size_t offset;        /* into struct options */
    const char *fallback; /* NULL: none; see default_of() */
    const char *allowed;  /* for people; NULL for numbers and bytes, whose range says it */
    uint64_t least, most; /* of numbers and bytes */
    bool zero;            /* allowed besides the range */
    const char *meaning;
};

#define AT(member) offsetof(struct options, member)
#define ADDRESS_RULE                                                                               \
    "HOST:PORT with an IPv4 address, an IPv6 address in brackets or localhost, "                   \
    "and a port from 0 to 65535"

static const struct spec specs[] = {
    {"config", "FILE", FOR_APP, KIND_TEXT, AT(config), NULL, "a file name", 0, 0, false,
        "options as lines of an ini file: name = value"},
    {"app", "FILE", FOR_APP, KIND_TEXT, AT(app), NULL, "a file name", 0, 0, false,
        "the Lua application"},
    {"data", "DIR", FOR_APP, KIND_TEXT, AT(data), "./data", "a directory name", 0, 0, false,
        "log segments and snapshots; created if missing"},
    {"resources", "DIR", FOR_TEST, KIND_TEXT, AT(resources), NULL, "a directory name", 0, 0, false,
        "templates and static files; the app file's folder if not given"},
    {"watch", NULL, FOR_APP, KIND_SWITCH, AT(watch), "off", "on or off", 0, 0, false,
        "reload the application when its files or templates change"},
    {"dev", NULL, FOR_APP, KIND_SWITCH, AT(dev), "off", "on or off", 0, 0, false,
        "show clients a handler's error with its traceback and source lines"},
    {"filter", "TEXT", FOR(TEST), KIND_TEXT, AT(filter), NULL, "a part of a name", 0, 0, false,
        "run only the tests with this text in their names"},
    {"addr", "HOST:PORT", FOR_APP, KIND_ADDRESS, AT(addr), "127.0.0.1:8080", ADDRESS_RULE, 0, 0,
        false, "where to listen; port 0 picks a free one"},
    {"admin-addr", "HOST:PORT", FOR_APP, KIND_ADDRESS, AT(admin_addr), NULL, ADDRESS_RULE, 0, 0,
        false, "a listener of its own for metrics, health and administration"},
    {"shards", "N|auto", FOR_TEST, KIND_SHARDS, AT(shards), "auto", "1 to 256, or auto", 0, 0,
        false, "shard threads; auto: one for each online core"},
    {"durability", "MODE", FOR_APP, KIND_DURABILITY, AT(durability), "always",
        "always, interval:MS with 1 to 60000 milliseconds, or manual", 0, 0, false,
        "when the log is synced: before replies, every MS, or at /v1/admin/flush and a clean exit"},
    {"wal-batch-delay-us", "N", FOR_APP, KIND_NUMBER, AT(wal_batch_delay_us), "0", NULL, 0, 1000000,
        false, "microseconds that the log writer waits to fill a batch"},
    {"wal-segment-bytes", "N", FOR_TEST | FOR(LOAD), KIND_BYTES, AT(wal_segment_bytes), "64MiB",
        NULL, MIB, GIB, false, "size at which a log segment is closed"},
    {"checkpoint-wal-bytes", "N", FOR_APP, KIND_BYTES, AT(checkpoint_wal_bytes), "256MiB", NULL,
        MIB, NO_LIMIT, true, "log since the last snapshot that starts a new one; 0: on request"},
    {"memory-max", "N", FOR_APP, KIND_BYTES, AT(memory_max), "0", NULL, MIB, NO_LIMIT, true,
        "bytes of keys and values past which writes are refused; 0: no limit"},
    {"handler-timeout-ms", "N", FOR_TEST, KIND_NUMBER, AT(handler_timeout_ms), "2000", NULL, 1,
        3600000, false, "budget of a request's handler, over all its retries"},
    {"lua-memory-max", "N", FOR_TEST, KIND_BYTES, AT(lua_memory_max), "64MiB", NULL, MIB, 64 * GIB,
        false, "memory of each shard's VM; during a reload there are two"},
    {"key-bytes-max", "N", FOR_TEST, KIND_BYTES, AT(key_bytes_max), "1024", NULL, 1, 65535, false,
        "longest key"},
    {"value-bytes-max", "N", FOR_TEST, KIND_BYTES, AT(value_bytes_max), "1MiB", NULL, 1, 256 * MIB,
        false, "largest value; with its key it must fit half a log segment"},
    {"body-bytes-max", "N", FOR_TEST, KIND_BYTES, AT(body_bytes_max), "8MiB", NULL, KIB, GIB, false,
        "largest request body"},
    {"header-bytes-max", "N", FOR_APP, KIND_BYTES, AT(header_bytes_max), "16KiB", NULL, KIB, MIB,
        false, "largest request head"},
    {"connections-max", "N", FOR_APP, KIND_NUMBER, AT(connections_max), "10000", NULL, 1, 1000000,
        false, "connections over all shards; past it 503"},
    {"head-timeout-ms", "N", FOR_APP, KIND_NUMBER, AT(head_timeout_ms), "10000", NULL, 1, 3600000,
        false, "for a whole request head, from its first byte"},
    {"body-timeout-ms", "N", FOR_APP, KIND_NUMBER, AT(body_timeout_ms), "60000", NULL, 1, 3600000,
        false, "for a whole request body"},
    {"idle-timeout-ms", "N", FOR_APP, KIND_NUMBER, AT(idle_timeout_ms), "60000", NULL, 1, 3600000,
        false, "between requests of a connection"},
    {"auth-token-file", "FILE", FOR_APP, KIND_TEXT, AT(auth_token_file), NULL, "a file name", 0, 0,
        false, "holds the bearer token that /v1/* then asks for"},
    {"log-level", "LEVEL", FOR_ALL, KIND_LEVEL, AT(log_level), "info", "debug, info, warn or error",
        0, 0, false, "least important messages on stderr"},
    {"log-format", "FORMAT", FOR_ALL, KIND_FORMAT, AT(log_format), "text", "text or json", 0, 0,
        false, "of messages on stderr"},
};
#define SPEC_COUNT (sizeof(specs) / sizeof(specs[0]))

static const struct {
    const char *name;
    const char *arguments;
    bool takes_dir;
    const char *meaning;
    const char *details; /* of `help COMMAND`; NULL: none */
} commands[] = {
    [COMMAND_SERVE] = {"serve", "[options]", false, "run an application", NULL},
    [COMMAND_CHECK] = {"check", "--app FILE [options]", false,
        "load an application and list its routes; takes the options of serve", NULL},
    [COMMAND_TEST] = {"test", "FILE... [options]", false,
        "run the tests of applications on a store in memory",
        "Each FILE is loaded like an application; most require it and then say\n"
        "test(\"name\", function() ... end). Every test has an empty store, with first_run and\n"
        "start run; call(\"route\", args) runs a route. Nothing is written to disk. The shards\n"
        "run on one thread, 1 unless --shards says more. Exit code 1 if a test fails.\n"},
    [COMMAND_VERIFY] = {"verify", "DIR", true, "read a data directory and check every checksum",
        "It only reads, also beside a running server. What is damaged is named with file, offset\n"
        "and LSN, and the exit code is 1. The torn end that a crash leaves is reported; it is no\n"
        "damage.\n"},
    [COMMAND_DUMP] = {"dump", "DIR [--log]", true,
        "print the live state (--log: every log record) as lines of JSON",
        "One line a key, in byte order: \"key\", \"value\" and \"version\". The first also\n"
        "says what load must know of the whole: \"last_lsn\", \"first_run\" (whether\n"
        "on(\"first_run\") has run) and the number of \"keys\"; if all keys are gone,\n"
        "there is one line with that alone. Lines of the log have \"lsn\" and \"ops\". It\n"
        "only reads, also beside a running server; the state is that of one instant.\n"},
    [COMMAND_LOAD] = {"load", "DIR", true, "build a new data directory from a dump on stdin",
        "DIR must be new or empty. Versions go on where the dump ends. Lines of \"key\",\n"
        "\"value\" and \"version\" alone will do, in any order: versions then go on behind\n"
        "the highest. No lines make an empty DIR. What fails names its line and leaves\n"
        "nothing that serve would take for data. A line whose key and value could not\n"
        "be a log record, half a segment, is refused.\n"},
    [COMMAND_VERSION] = {"version", "", false, "print the version", NULL},
    [COMMAND_HELP] = {"help", "[COMMAND]", false, "print this, or the options of a command", NULL},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static bool find_command(const char *name, enum command *command) {
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0) {
            *command = (enum command)i;
            return true;
        }
    return false;
}

static const struct spec *find_spec(enum command command, struct slice name) {
    for (size_t i = 0; i < SPEC_COUNT; i++)
        if (slice_equal(name, slice_of(specs[i].name, strlen(specs[i].name))))
            return specs[i].commands & 1u << command ? &specs[i] : NULL;
    return NULL;
}

/* ---- one value ---- */

static void print_quantity(struct buf *out, enum kind kind, uint64_t quantity) {
    if (kind == KIND_BYTES)
        option_print_bytes(out, quantity);
    else
        buf_append_u64(out, quantity);
}

static void print_allowed(struct buf *out, const struct spec *spec) {
    if (spec->allowed) {
        buf_append_text(out, spec->allowed);
        return;
    }
    if (spec->zero)
        buf_append_text(out, "0, or ");
    if (spec->most == NO_LIMIT)
        buf_append_text(out, "at least ");
    print_quantity(out, spec->kind, spec->least);
    if (spec->most == NO_LIMIT)
        return;
    buf_append_text(out, " to ");
    print_quantity(out, spec->kind, spec->most);
}

static enum status set_text(char **to, const char *value) {
    if (!*value)
        return ST_INVALID;
    char *copy = strdup(value);
    if (!copy)
        return ST_NOMEM;
    free(*to);
    *to = copy;
    return ST_OK;
}

static bool set_quantity(const struct spec *spec, uint64_t *to, const char *value) {
    uint64_t found;
    bool read = spec->kind == KIND_BYTES ? option_read_bytes(value, &found)
                                         : option_read_number(value, &found);
    if (!read || ((found < spec->least || found > spec->most) && !(spec->zero && found == 0)))
        return false;
    *to = found;
    return true;
}

static enum status set_value(struct options *options, const struct spec *spec, const char *value) {
    void *to = (char *)options + spec->offset;
    bool good = false;
    switch (spec->kind) {
    case KIND_TEXT:
        return set_text(to, value);
    case KIND_SWITCH:
        good = option_read_switch(value, to);
        break;
    case KIND_NUMBER:
    case KIND_BYTES:
        good = set_quantity(spec, to, value);
        break;
    case KIND_SHARDS:
        good = option_read_shards(value, to);
        break;
    case KIND_ADDRESS:
        good = option_read_address(value, to);
        break;
    case KIND_DURABILITY:
        good = option_read_durability(value, to, &options->interval_ms);
        break;
    case KIND_LEVEL:
        good = option_read_level(value, to);
        break;
    case KIND_FORMAT:
        good = option_read_format(value, to);
        break;
    }
    return good ? ST_OK : ST_INVALID;
}

/* `source` says where the value comes from: "--shards", "CONCAVE_SHARDS", "file:3: shards". */
static enum status apply(struct options *options, const struct spec *spec, const char *source,
    const char *value, struct buf *error) {
    enum status status = set_value(options, spec, value);
    if (status == ST_INVALID) {
        buf_printf(error, "%s: \"%.100s\" is not allowed: it must be ", source, value);
        print_allowed(error, spec);
    } else if (status == ST_NOMEM) {
        buf_append_text(error, "out of memory");
    }
    return status;
}

/* ---- the sources, weakest first ---- */

/* NULL: none. A test is better off with other shards and fewer messages than a server. */
static const char *default_of(const struct spec *spec, enum command command) {
    if (command == COMMAND_TEST && spec->offset == AT(shards))
        return "1";
    if (command == COMMAND_TEST && spec->offset == AT(log_level))
        return "warn";
    return spec->fallback;
}

static enum status apply_defaults(struct options *options, struct buf *error) {
    enum status status = ST_OK;
    for (size_t i = 0; i < SPEC_COUNT && status == ST_OK; i++) {
        const char *value = default_of(&specs[i], options->command);
        if (value)
            status = apply(options, &specs[i], specs[i].name, value, error);
    }
    return status;
}

struct ini {
    struct options *options;
    struct buf *error;
    FILE *file;
    char *line; /* getline's */
    size_t line_cap;
    unsigned line_number;
    enum status status;
};

static enum status ini_refuse(struct ini *ini, const char *text) {
    buf_printf(ini->error, "%s:%u: %s", ini->options->config, ini->line_number, text);
    return ST_INVALID;
}

/* Hands inih one line. Lines that it would cut in two or misread are refused instead; leading white
 * space goes, since inih takes an indented line for more of the value before. */
static char *ini_line(char *to, int size, void *ctx) {
    struct ini *ini = ctx;
    if (ini->status != ST_OK)
        return NULL;
    ssize_t len = getline(&ini->line, &ini->line_cap, ini->file);
    if (len < 0)
        return NULL;
    ini->line_number++;
    const char *start = ini->line + strspn(ini->line, " \t");
    if (memchr(ini->line, '\0', (size_t)len))
        ini->status = ini_refuse(ini, "a zero byte");
    else if (strlen(start) >= (size_t)size)
        ini->status = ini_refuse(ini, "the line is too long");
    if (ini->status != ST_OK)
        return NULL;
    memcpy(to, start, strlen(start) + 1);
    return to;
}

static int ini_pair(void *ctx, const char *section, const char *name, const char *value) {
    struct ini *ini = ctx;
    char source[512];
    (void)section; /* may be there for the reader's sake; names are unique without it */
    if (ini->status != ST_OK)
        return 0;
    const struct spec *spec = find_spec(COMMAND_SERVE, slice_of(name, strlen(name)));
    if (!spec || spec->offset == AT(config)) {
        buf_printf(ini->error, "%s:%u: unknown option \"%.100s\"", ini->options->config,
            ini->line_number, name);
        ini->status = ST_INVALID;
        return 0;
    }
    snprintf(source, sizeof(source), "%.400s:%u: %s", ini->options->config, ini->line_number, name);
    ini->status = apply(ini->options, spec, source, value, ini->error);
    return ini->status == ST_OK;
}

static enum status apply_file(struct options *options, struct buf *error) {
    struct ini ini = {.options = options, .error = error, .status = ST_OK};
    if (!options->config)
        return ST_OK;
    ini.file = fopen(options->config, "re");
    if (!ini.file) {
        buf_printf(
            error, "the config file %s cannot be read: %s", options->config, strerror(errno));
        return ST_INVALID;
    }
    int wrong_line = ini_parse_stream(ini_line, &ini, ini_pair, &ini);
    if (ini.status == ST_OK && ferror(ini.file)) {
        buf_printf(error, "the config file %s cannot be read", options->config);
        ini.status = ST_INVALID;
    }
    if (ini.status == ST_OK && wrong_line != 0) {
        if (wrong_line > 0)
            ini.line_number = (unsigned)wrong_line;
        ini.status = ini_refuse(&ini, "neither name = value nor a comment");
    }
    free(ini.line);
    fclose(ini.file);
    return ini.status;
}

/* The value of CONCAVE_NAME, and its name as the source; NULL if it is unset or empty. */
static const char *find_variable(
    const struct spec *spec, char *const *environment, char *source, size_t source_size) {
    int len = snprintf(source, source_size, "CONCAVE_%s", spec->name);
    assert(len > 0 && (size_t)len < source_size);
    for (char *at = source; *at; at++)
        *at = (char)(*at == '-' ? '_' : *at >= 'a' && *at <= 'z' ? *at - 'a' + 'A' : *at);
    for (; *environment; environment++)
        if (strncmp(*environment, source, (size_t)len) == 0 && (*environment)[len] == '=')
            return (*environment)[len + 1] ? *environment + len + 1 : NULL;
    return NULL;
}

static enum status apply_environment(
    struct options *options, char *const *environment, struct buf *error) {
    char source[64];
    enum status status = ST_OK;
    for (size_t i = 0; i < SPEC_COUNT && status == ST_OK; i++) {
        if (!(specs[i].commands & 1u << options->command) || specs[i].offset == AT(config))
            continue;
        const char *value = find_variable(&specs[i], environment, source, sizeof(source));
        if (value)
            status = apply(options, &specs[i], source, value, error);
    }
    return status;
}

/* ---- arguments ---- */

struct arguments {
    int count, at; /* at: the next one */
    char *const *list;
};

/* What an argument turned out to be. */
struct argument {
    const struct spec
        *spec;        /* an option with its value; NULL: a word, or a switch of the command */
    const char *text; /* as given */
    const char *value;
};

/* Takes the next argument, with its value if it is an option. */
static enum status take_argument(struct options *options, struct arguments *arguments,
    struct argument *argument, struct buf *error) {
    const char *text = arguments->list[arguments->at++];
    *argument = (struct argument){.text = text};
    if (text[0] != '-' || (options->command == COMMAND_DUMP && strcmp(text, "--log") == 0))
        return ST_OK;
    bool is_long = text[1] == '-';
    const char *name = text + 2, *equals = is_long ? strchr(name, '=') : NULL;
    size_t name_len = !is_long ? 0 : equals ? (size_t)(equals - name) : strlen(name);
    argument->spec = find_spec(options->command, slice_of(name, name_len));
    if (!argument->spec) {
        buf_printf(error, "unknown option %.100s for %s (see: concave help %s)", text,
            commands[options->command].name, commands[options->command].name);
        return ST_INVALID;
    }
    if (equals) {
        argument->value = equals + 1;
    } else if (argument->spec->kind == KIND_SWITCH) {
        argument->value = "on";
    } else if (arguments->at < arguments->count &&
               strncmp(arguments->list[arguments->at], "--", 2) != 0) {
        argument->value = arguments->list[arguments->at++];
    } else {
        buf_printf(
            error, "--%s needs a value: %s, ", argument->spec->name, argument->spec->argument);
        print_allowed(error, argument->spec);
        return ST_INVALID;
    }
    return ST_OK;
}

static enum status add_file(struct options *options, const char *word) {
    const char **files = realloc(options->files, (options->file_count + 1) * sizeof(*files));
    if (!files)
        return ST_NOMEM;
    options->files = files;
    files[options->file_count++] = word;
    return ST_OK;
}

/* A word that is no option: the directory, a file, or the command to explain. */
static enum status apply_word(struct options *options, const char *word, struct buf *error) {
    if (options->command == COMMAND_TEST && *word)
        return add_file(options, word);
    if (commands[options->command].takes_dir && !options->dir && *word) {
        options->dir = strdup(word);
        return options->dir ? ST_OK : ST_NOMEM;
    }
    if (options->command == COMMAND_HELP && options->help_all) {
        options->help_all = false;
        if (find_command(word, &options->help_about))
            return ST_OK;
        buf_printf(error, "unknown command %.100s (see: concave help)", word);
        return ST_INVALID;
    }
    size_t len = strlen(word);
    bool is_app = FOR_APP & 1u << options->command && len > 4 && !strcmp(word + len - 4, ".lua");
    buf_printf(error, "unexpected argument \"%.100s\" for %s (%s concave help %s)", word,
        commands[options->command].name,
        is_app ? "is an --app missing before it? see:" : "see:", commands[options->command].name);
    return ST_INVALID;
}

/* Two walks over the arguments: the first finds --config, which must be read before the flags
 * count. */
static enum status walk_arguments(
    struct options *options, struct arguments arguments, bool config_only, struct buf *error) {
    enum status status = ST_OK;
    while (arguments.at < arguments.count && status == ST_OK) {
        struct argument argument;
        char source[64];
        status = take_argument(options, &arguments, &argument, error);
        if (status != ST_OK)
            break;
        if (config_only != (argument.spec && argument.spec->offset == AT(config)))
            continue;
        if (argument.spec) {
            snprintf(source, sizeof(source), "--%s", argument.spec->name);
            status = apply(options, argument.spec, source, argument.value, error);
        } else if (argument.text[0] == '-') {
            options->dump_log = true;
        } else {
            status = apply_word(options, argument.text, error);
        }
    }
    return status;
}

/* ---- the whole ---- */

/* The app file's folder, if no other was given. */
static enum status derive_resources(struct options *options) {
    if (options->resources || !options->app)
        return ST_OK;
    const char *slash = strrchr(options->app, '/');
    size_t len = !slash ? 1 : slash == options->app ? 1 : (size_t)(slash - options->app);
    options->resources = strndup(slash ? options->app : ".", len);
    return options->resources ? ST_OK : ST_NOMEM;
}

/* What ranges cannot say. A default is left alone: past half a segment, writes get their 413
 * anyway. */
static enum status check_together(const struct options *options, struct buf *error) {
    uint64_t room = options->wal_segment_bytes / 2;
    uint64_t need = options->value_bytes_max + options->key_bytes_max + RECORD_SLACK_BYTES;
    const struct spec *spec = find_spec(COMMAND_SERVE, SLICE("value-bytes-max"));
    struct options plain;
    enum status status = set_value(&plain, spec, spec->fallback);
    assert(status == ST_OK);
    if (need <= room || options->value_bytes_max <= plain.value_bytes_max)
        return ST_OK;
    buf_append_text(error, "--value-bytes-max (");
    option_print_bytes(error, options->value_bytes_max);
    buf_append_text(error, ") with its key must fit half of --wal-segment-bytes (");
    option_print_bytes(error, options->wal_segment_bytes);
    buf_append_text(error, "): raise the one or lower the other");
    return ST_INVALID;
}

static enum status find_config(struct options *options, struct arguments arguments,
    char *const *environment, struct buf *error) {
    char source[64];
    const struct spec *config = find_spec(options->command, SLICE("config"));
    enum status status = walk_arguments(options, arguments, true, error);
    if (status != ST_OK || !config || options->config)
        return status;
    const char *value = find_variable(config, environment, source, sizeof(source));
    return value ? apply(options, config, source, value, error) : ST_OK;
}

/* The command; --help and --version, which people try first, stand for two of them. */
static enum status parse_command(
    struct options *options, struct arguments *arguments, struct buf *error) {
    options->help_all = true;
    if (arguments->at == arguments->count) {
        buf_append_text(error, "a command is missing (see: concave help)");
        return ST_INVALID;
    }
    const char *name = arguments->list[arguments->at++];
    if (strcmp(name, "--version") == 0) {
        name = "version";
    } else if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    }
    if (!find_command(name, &options->command)) {
        buf_printf(error, "unknown command %.100s (see: concave help)", name);
        return ST_INVALID;
    }
    for (int i = arguments->at; i < arguments->count; i++)
        if (strcmp(arguments->list[i], "--help") == 0 || strcmp(arguments->list[i], "-h") == 0) {
            options->help_all = options->command == COMMAND_HELP;
            options->help_about = options->command;
            options->command = COMMAND_HELP;
            arguments->at = arguments->count; /* the rest does not matter then */
        }
    return ST_OK;
}

enum status options_parse(struct options *options, int argc, char *const *argv,
    char *const *environment, struct buf *error) {
    struct arguments arguments = {.count = argc, .at = argc > 0, .list = argv};
    *options = (struct options){0};
    enum status status = apply_defaults(options, error);
    assert(status != ST_INVALID); /* the table's own */
    if (status == ST_OK)
        status = parse_command(options, &arguments, error);
    if (status == ST_OK && options->command == COMMAND_TEST)
        status = apply_defaults(options, error);
    if (status == ST_OK)
        status = find_config(options, arguments, environment, error);
    if (status == ST_OK)
        status = apply_file(options, error);
    if (status == ST_OK)
        status = apply_environment(options, environment, error);
    if (status == ST_OK)
        status = walk_arguments(options, arguments, false, error);
    if (status == ST_OK && options->command == COMMAND_TEST && options->file_count == 0) {
        buf_append_text(error, "test needs a file: concave test FILE... (see: concave help test)");
        status = ST_INVALID;
    }
    if (status == ST_OK && commands[options->command].takes_dir && !options->dir) {
        buf_printf(error, "%s needs a data directory: concave %s %s",
            commands[options->command].name, commands[options->command].name,
            commands[options->command].arguments);
        status = ST_INVALID;
    }
    if (status == ST_OK)
        status = check_together(options, error);
    if (status == ST_OK && options->command == COMMAND_SERVE && options->auth_token_file)
        status = option_read_token(options->auth_token_file, &options->auth_token, error);
    if (status == ST_OK)
        status = derive_resources(options);
    return status;
}

void options_free(struct options *options) {
    for (size_t i = 0; i < SPEC_COUNT; i++)
        if (specs[i].kind == KIND_TEXT)
            free(*(char **)((char *)options + specs[i].offset));
    free(options->dir);
    free(options->files);
    free(options->auth_token);
    *options = (struct options){0};
}

/* ---- help ---- */

static void help_commands(struct buf *out) {
    buf_append_text(out, "concave: durable web applications in one Lua file\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        buf_printf(out, "  concave %-7s %-21s %s\n", commands[i].name, commands[i].arguments,
            commands[i].meaning);
}

static void help_option(const struct spec *spec, enum command command, struct buf *out) {
    const char *fallback = default_of(spec, command);
    buf_printf(out, "  --%s%s%s\n      %s\n      ", spec->name, spec->argument ? " " : "",
        spec->argument ? spec->argument : "", spec->meaning);
    print_allowed(out, spec);
    if (fallback)
        buf_printf(out, "; default %s", fallback);
    buf_append_text(out, "\n");
}

void options_help(const struct options *options, struct buf *out) {
    if (options->help_all) {
        help_commands(out);
        return;
    }
    enum command about = options->help_about;
    buf_printf(out, "concave %s %s\n\n%s\n", commands[about].name, commands[about].arguments,
        commands[about].meaning);
    if (commands[about].details)
        buf_printf(out, "\n%s", commands[about].details);
    bool any = false;
    for (size_t i = 0; i < SPEC_COUNT; i++) {
        if (!(specs[i].commands & 1u << about))
            continue;
        buf_append_text(out, any ? "" : "\noptions (--name VALUE or --name=VALUE):\n\n");
        help_option(&specs[i], about, out);
        any = true;
    }
    if (any)
        buf_append_text(out, "\nEach option can also be set by the environment (CONCAVE_LOG_LEVEL) "
                             "and, for serve and\n"
                             "check, by a line of the --config file (log-level = debug). A flag "
                             "beats the environment,\n"
                             "the environment the file. Sizes take K, M, G or KiB, MiB, GiB.\n");
}
