/* concave-load: keeps a running server busy, measures it, and checks its books.
 *
 *   build/concave serve --app perf/load.lua
 *   build/concave-load transfer --connections 64 --seconds 10
 *
 * Files in reading order: load.c (options, the order of a run), load_work (what is asked), load_run
 * (the connections), load_http (HTTP), load_hist (latency), load_books (before and after),
 * load_report.
 *
 * Expectation: this program costs about 4 us a request (a read, a write, its share of an epoll,
 * parsing), about as much as the network half of the server, so on two cores it and one shard keep
 * a core each busy; past that, the server's CPU time per request is the figure to trust, not the
 * throughput. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "perf/load_report.h"

/* What the process ends with. */
enum exit_code {
    EXIT_BALANCED = 0,
    EXIT_WRONG = 1, /* errors, or books that do not balance */
    EXIT_USAGE = 2,
    EXIT_SERVER_GONE =
        3, /* with --tolerate-disconnect: the server went away, the counts are printed */
};

struct settings {
    struct run_options run;
    struct work_context context;
    struct target target;
    const char *url;
    const char *durability;
    bool json;
    bool tolerate_disconnect;
    bool warmup_given;
};

static const char usage_text[] =
    "usage: concave-load WORKLOAD [options]\n"
    "  --url URL              http://127.0.0.1:8080; only this machine\n"
    "  --connections N        64; 1 to 20000\n"
    "  --pipeline N           1; requests under way on each, to 1024\n"
    "  --threads N            1; of the load generator, to 64\n"
    "  --seconds S            10; measured, after the warm-up\n"
    "  --warmup S             1; with --requests 0\n"
    "  --requests N           stop after N requests instead of --seconds\n"
    "  --accounts N           10000; keys acc:1 to acc:N, set to 1000 each before the load\n"
    "  --batch N              objects of a put or execute request, to 10000\n"
    "  --limit N              100; items of a range request\n"
    "  --path PATH            for the workload path\n"
    "  --seed N               1\n"
    "  --server-pid PID       report that process's CPU time per request\n"
    "  --durability TEXT      written into the report if the server does not say\n"
    "  --json                 report as JSON\n"
    "  --tolerate-disconnect  if the server goes away: print the counts, exit 3\n"
    "workloads:\n";

static void print_usage(FILE *out) {
    (void)fputs(usage_text, out);
    const struct workload *work;
    for (unsigned i = 0; (work = work_at(i)) != NULL; i++)
        (void)fprintf(out, "  %-10s %s\n", work->name, work->about);
    (void)fputs(
        "exit: 0 all well, 1 errors or books wrong, 2 usage, 3 server gone (tolerated)\n", out);
}

/* ---- options ---- */

static bool parse_count(
    const char *name, const char *text, uint64_t least, uint64_t most, uint64_t *value) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number < least ||
        number > most) {
        (void)fprintf(stderr, "concave-load: --%s is a number from %" PRIu64 " to %" PRIu64 "\n",
            name, least, most);
        return false;
    }
    *value = number;
    return true;
}

static bool parse_unsigned(
    const char *name, const char *text, unsigned least, unsigned most, unsigned *value) {
    uint64_t number;
    if (!parse_count(name, text, least, most, &number))
        return false;
    *value = (unsigned)number;
    return true;
}

static bool parse_seconds(const char *name, const char *text, double least, double *value) {
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number) || number < least || number > 86400) {
        (void)fprintf(
            stderr, "concave-load: --%s is a number of seconds from %g to 86400\n", name, least);
        return false;
    }
    *value = number;
    return true;
}

enum option_code {
    OPTION_URL = 1,
    OPTION_CONNECTIONS,
    OPTION_PIPELINE,
    OPTION_THREADS,
    OPTION_SECONDS,
    OPTION_WARMUP,
    OPTION_REQUESTS,
    OPTION_ACCOUNTS,
    OPTION_BATCH,
    OPTION_LIMIT,
    OPTION_PATH,
    OPTION_SEED,
    OPTION_SERVER_PID,
    OPTION_DURABILITY,
    OPTION_JSON,
    OPTION_TOLERATE_DISCONNECT,
    OPTION_HELP,
};

static const struct option options[] = {
    {"url", required_argument, NULL, OPTION_URL},
    {"connections", required_argument, NULL, OPTION_CONNECTIONS},
    {"pipeline", required_argument, NULL, OPTION_PIPELINE},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"warmup", required_argument, NULL, OPTION_WARMUP},
    {"requests", required_argument, NULL, OPTION_REQUESTS},
    {"accounts", required_argument, NULL, OPTION_ACCOUNTS},
    {"batch", required_argument, NULL, OPTION_BATCH},
    {"limit", required_argument, NULL, OPTION_LIMIT},
    {"path", required_argument, NULL, OPTION_PATH},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"server-pid", required_argument, NULL, OPTION_SERVER_PID},
    {"durability", required_argument, NULL, OPTION_DURABILITY},
    {"json", no_argument, NULL, OPTION_JSON},
    {"tolerate-disconnect", no_argument, NULL, OPTION_TOLERATE_DISCONNECT},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static bool take_option(struct settings *settings, int option, const char *name, const char *text) {
    struct run_options *run = &settings->run;
    struct work_context *context = &settings->context;
    uint64_t number;
    switch (option) {
    case OPTION_URL:
        settings->url = text;
        return true;
    case OPTION_CONNECTIONS:
        return parse_unsigned(name, text, 1, 20000, &run->connections);
    case OPTION_PIPELINE:
        return parse_unsigned(name, text, 1, 1024, &run->pipeline);
    case OPTION_THREADS:
        return parse_unsigned(name, text, 1, 64, &run->threads);
    case OPTION_SECONDS:
        return parse_seconds(name, text, 0.1, &run->seconds);
    case OPTION_WARMUP:
        settings->warmup_given = true;
        return parse_seconds(name, text, 0, &run->warmup_s);
    case OPTION_REQUESTS:
        return parse_count(name, text, 1, UINT64_C(1) << 40, &run->requests);
    case OPTION_ACCOUNTS:
        return parse_count(name, text, 2, 10000000, &context->accounts);
    case OPTION_BATCH:
        return parse_unsigned(name, text, 1, 10000, &context->batch);
    case OPTION_LIMIT:
        return parse_unsigned(name, text, 1, 10000, &context->limit);
    case OPTION_PATH:
        context->path = text;
        return true;
    case OPTION_SEED:
        return parse_count(name, text, 0, UINT64_C(1) << 53, &context->seed);
    case OPTION_SERVER_PID:
        if (!parse_count(name, text, 1, 1u << 22, &number))
            return false;
        run->server_pid = (pid_t)number;
        return true;
    case OPTION_DURABILITY:
        settings->durability = text;
        return true;
    case OPTION_JSON:
        settings->json = true;
        return true;
    case OPTION_TOLERATE_DISCONNECT:
        settings->tolerate_disconnect = true;
        return true;
    default:
        return false;
    }
}

/* What the options say together. */
static bool settle(struct settings *settings) {
    struct run_options *run = &settings->run;
    struct work_context *context = &settings->context;
    if (context->batch == 0)
        context->batch = context->work->batch ? context->work->batch : 1;
    else if (context->work->batch == 0) {
        (void)fprintf(stderr, "concave-load: %s takes no --batch\n", context->work->name);
        return false;
    }
    if (context->work->one_at_a_time && run->pipeline != 1) {
        (void)fprintf(stderr, "concave-load: %s takes no --pipeline\n", context->work->name);
        return false;
    }
    if (context->path[0] != '/') {
        (void)fprintf(stderr, "concave-load: --path starts with '/'\n");
        return false;
    }
    if (run->threads > run->connections)
        run->threads = run->connections;
    if (run->requests) {
        if (settings->warmup_given && run->warmup_s > 0) {
            (void)fprintf(stderr, "concave-load: --requests measures all, without --warmup\n");
            return false;
        }
        run->warmup_s = 0;
    }
    return true;
}

static bool parse_arguments(int argc, char **argv, struct settings *settings) {
    *settings = (struct settings){
        .run = {.connections = 64, .pipeline = 1, .threads = 1, .warmup_s = 1, .seconds = 10},
        .context = {.accounts = 10000, .limit = 100, .path = "/", .seed = 1},
        .url = "http://127.0.0.1:8080",
        .durability = "",
    };
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (option == OPTION_HELP) {
            print_usage(stdout);
            exit(EXIT_BALANCED);
        }
        if (!take_option(settings, option, options[index].name, optarg))
            return false;
    }
    if (optind != argc - 1) {
        print_usage(stderr);
        return false;
    }
    settings->context.work = work_find(argv[optind]);
    if (!settings->context.work) {
        (void)fprintf(stderr, "concave-load: there is no workload '%s'\n", argv[optind]);
        return false;
    }
    return settle(settings);
}

/* ---- a run ---- */

static enum exit_code verdict(const struct settings *settings, const struct run_counts *counts,
    const struct books_after *after) {
    bool gone = counts->disconnects > 0 || !after;
    if (gone && settings->tolerate_disconnect && counts->errors == 0 && counts->malformed == 0)
        return EXIT_SERVER_GONE;
    bool clean = counts->errors == 0 && counts->malformed == 0 && counts->unknown == 0 && !gone;
    return clean && counts->done > 0 && after->balanced ? EXIT_BALANCED : EXIT_WRONG;
}

static enum exit_code measure(struct settings *settings, struct client *client, struct buf *error) {
    struct work_context *context = &settings->context;
    struct books_before before;
    struct books_after after;
    char durability[32], shards[16];
    books_wait_ready(client);
    books_status_text(client, "durability", durability, sizeof durability);
    books_status_text(client, "shards", shards, sizeof shards);
    if (!books_open(client, context, &before, error))
        return EXIT_WRONG;

    struct run_result *result = malloc(sizeof *result); /* its histogram is large for a stack */
    if (!result || !run_load(&settings->run, context, result, error)) {
        free(result);
        return EXIT_WRONG;
    }
    bool closed = books_close(client, context, &before, &result->counts, &after, error);
    const struct report report = {.options = &settings->run,
        .context = context,
        .result = result,
        .before = &before,
        .after = closed ? &after : NULL,
        .url = settings->url,
        .durability = durability[0] ? durability : settings->durability,
        .shards = shards};
    bool printed = settings->json ? report_json(&report) : report_text(&report);
    enum exit_code code = verdict(settings, &result->counts, report.after);
    free(result);
    if (code == EXIT_SERVER_GONE)
        buf_reset(error, SIZE_MAX); /* what could not be asked was to be expected */
    return printed ? code : EXIT_WRONG;
}

int main(int argc, char **argv) {
    struct settings settings;
    if (!parse_arguments(argc, argv, &settings))
        return EXIT_USAGE;
    struct buf error;
    buf_init(&error, REPLY_HEAD_BYTES_MAX);
    enum exit_code code = EXIT_USAGE;
    if (target_parse(settings.url, &settings.target, &error)) {
        (void)signal(SIGPIPE, SIG_IGN); /* of a report read by a program that went away */
        settings.context.target = &settings.target;
        (void)snprintf(settings.context.run_tag, sizeof settings.context.run_tag, "%016" PRIx64,
            clock_wall_ns());
        struct client client;
        client_init(&client, &settings.target);
        code = measure(&settings, &client, &error);
        client_free(&client);
    }
    if (error.len)
        (void)fprintf(stderr, "concave-load: %.*s\n", (int)error.len, error.data);
    buf_free(&error);
    return (int)code;
}
