#include "perf/load_report.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define NS_IN_US 1e3

/* ---- figures, derived once ---- */

struct figures {
    double requests_per_s;
    double objects_per_s;
    double cpu_us;       /* per request; negative: unknown */
    double txn_per_sync; /* negative: unknown */
    double txn_conflicts;
    double p50_us, p99_us, p999_us, max_us, mean_us;
};

static void derive(const struct report *report, struct figures *figures) {
    const struct run_result *result = report->result;
    const struct hist *latency = &result->counts.latency;
    double measured = (double)result->counts.measured;
    *figures = (struct figures){.cpu_us = -1, .txn_per_sync = -1, .txn_conflicts = -1};
    if (result->measured_s > 0)
        figures->requests_per_s = measured / result->measured_s;
    figures->objects_per_s = figures->requests_per_s * report->context->batch;
    if (result->server_cpu_s >= 0 && measured > 0)
        figures->cpu_us = result->server_cpu_s * 1e6 / measured;
    figures->p50_us = (double)hist_quantile_ns(latency, 0.5) / NS_IN_US;
    figures->p99_us = (double)hist_quantile_ns(latency, 0.99) / NS_IN_US;
    figures->p999_us = (double)hist_quantile_ns(latency, 0.999) / NS_IN_US;
    figures->max_us = (double)latency->max_ns / NS_IN_US;
    if (latency->count)
        figures->mean_us = (double)latency->sum_ns / (double)latency->count / NS_IN_US;
    if (report->after && report->before->metrics.known && report->after->metrics.known) {
        const struct metrics *before = &report->before->metrics, *after = &report->after->metrics;
        figures->txn_conflicts = after->conflicts - before->conflicts;
        if (after->syncs > before->syncs)
            figures->txn_per_sync =
                (after->wal_records - before->wal_records) / (after->syncs - before->syncs);
    }
}

/* ---- where it ran ---- */

/* `git describe` of the tree that this program was built in; "unknown" without git. */
static void read_commit(char *commit, size_t size) {
    (void)snprintf(commit, size, "unknown");
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    int ends[2];
    if (len <= 0 || pipe(ends) != 0)
        return;
    self[len] = '\0';
    pid_t child = fork();
    if (child == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        close(STDERR_FILENO);
        execlp("git", "git", "-C", dirname(self), "describe", "--always", "--dirty", "--abbrev=12",
            (char *)NULL);
        _exit(1);
    }
    close(ends[1]);
    FILE *out = child > 0 ? fdopen(ends[0], "r") : NULL;
    char line[64];
    if (out && fgets(line, sizeof line, out)) {
        line[strcspn(line, "\n")] = '\0';
        (void)snprintf(commit, size, "%s", line);
    }
    if (out)
        (void)fclose(out);
    else
        close(ends[0]);
    if (child > 0)
        (void)waitpid(child, NULL, 0);
}

/* "2 x Intel(R) Xeon(R) ..., Linux 6.1.0" */
static void read_machine(char *machine, size_t size) {
    char line[256], model[160] = "unknown processor";
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            (void)snprintf(model, sizeof model, "%s", colon + 2);
            model[strcspn(model, "\n")] = '\0';
            break;
        }
    }
    if (file)
        (void)fclose(file);
    struct utsname kernel = {0};
    (void)uname(&kernel);
    (void)snprintf(machine, size, "%ld x %s, %s %s", sysconf(_SC_NPROCESSORS_ONLN), model,
        kernel.sysname, kernel.release);
}

/* ---- text ---- */

static void print_replies(const struct run_counts *counts) {
    printf("  replies     ");
    for (unsigned i = 0; i < STATUS_MAX; i++)
        if (counts->by_status[i])
            printf(" %u: %" PRIu64, i, counts->by_status[i]);
    printf("  (warm-up and end included)\n");
    printf("  outcomes     %" PRIu64 " acknowledged, %" PRIu64
           " refused by the application, %" PRIu64 " lost to another version, %" PRIu64
           " errors, %" PRIu64 " unknown\n",
        counts->done, counts->refused, counts->conflicts, counts->errors, counts->unknown);
    if (counts->disconnects || counts->malformed)
        printf("  connections  %" PRIu64 " broke, %" PRIu64 " sent no HTTP\n", counts->disconnects,
            counts->malformed);
    if (counts->first_error[0])
        printf("  first error  %s\n", counts->first_error);
}

bool report_text(const struct report *report) {
    const struct run_options *options = report->options;
    struct figures figures;
    derive(report, &figures);
    char commit[64], machine[320];
    read_commit(commit, sizeof commit);
    read_machine(machine, sizeof machine);
    printf("%s: %u connections, pipeline %u, load threads %u, %.1f s measured after %.1f s\n",
        report->context->work->name, options->connections, options->pipeline, options->threads,
        report->result->measured_s, options->warmup_s);
    printf("  throughput   %.0f requests/s", figures.requests_per_s);
    if (report->context->batch > 1)
        printf(", %.0f objects/s", figures.objects_per_s);
    printf("\n  latency      p50 %.0f us, p99 %.0f us, p99.9 %.0f us, max %.0f us\n",
        figures.p50_us, figures.p99_us, figures.p999_us, figures.max_us);
    print_replies(&report->result->counts);
    if (figures.txn_conflicts >= 0)
        printf("  conflicts    %.0f attempts lost in the server\n", figures.txn_conflicts);
    if (figures.txn_per_sync >= 0)
        printf("  group commit %.1f transactions per sync\n", figures.txn_per_sync);
    if (figures.cpu_us >= 0)
        printf("  server CPU   %.2f us per request\n", figures.cpu_us);
    printf("  books        %s\n",
        !report->after ? "open: the server could not be asked" : report->after->text);
    printf("  run on       %s, commit %s\n", machine, commit);
    printf("               shards %s, durability %s, seed %" PRIu64 "\n",
        report->shards[0] ? report->shards : "unknown",
        report->durability[0] ? report->durability : "unknown", report->context->seed);
    return fflush(stdout) == 0;
}

/* ---- JSON ---- */

static void add_number(cJSON *object, const char *name, double value) {
    if (value < 0)
        (void)cJSON_AddNullToObject(object, name); /* unknown */
    else
        (void)cJSON_AddNumberToObject(object, name, value);
}

static void add_setting(cJSON *root, const struct report *report) {
    const struct run_options *options = report->options;
    char commit[64], machine[320];
    read_commit(commit, sizeof commit);
    read_machine(machine, sizeof machine);
    (void)cJSON_AddStringToObject(root, "workload", report->context->work->name);
    (void)cJSON_AddStringToObject(root, "url", report->url);
    (void)cJSON_AddStringToObject(root, "commit", commit);
    (void)cJSON_AddStringToObject(root, "machine", machine);
    (void)cJSON_AddStringToObject(root, "shards", report->shards);
    (void)cJSON_AddStringToObject(root, "durability", report->durability);
    add_number(root, "connections", options->connections);
    add_number(root, "pipeline", options->pipeline);
    add_number(root, "threads", options->threads);
    add_number(root, "batch", report->context->batch);
    add_number(root, "accounts", (double)report->context->accounts);
    add_number(root, "seed", (double)report->context->seed);
    add_number(root, "warmup_s", options->warmup_s);
    add_number(root, "measured_s", report->result->measured_s);
}

static void add_figures(cJSON *root, const struct report *report) {
    struct figures figures;
    derive(report, &figures);
    add_number(root, "requests", (double)report->result->counts.measured);
    add_number(root, "requests_per_s", figures.requests_per_s);
    add_number(root, "objects_per_s", figures.objects_per_s);
    cJSON *latency = cJSON_AddObjectToObject(root, "latency_us");
    add_number(latency, "mean", figures.mean_us);
    add_number(latency, "p50", figures.p50_us);
    add_number(latency, "p99", figures.p99_us);
    add_number(latency, "p99.9", figures.p999_us);
    add_number(latency, "max", figures.max_us);
    add_number(root, "server_cpu_us_per_request", figures.cpu_us);
    add_number(root, "transactions_per_sync", figures.txn_per_sync);
    add_number(root, "txn_conflicts", figures.txn_conflicts);
}

static void add_outcomes(cJSON *root, const struct report *report) {
    const struct run_counts *counts = &report->result->counts;
    cJSON *outcomes = cJSON_AddObjectToObject(root, "outcomes");
    add_number(outcomes, "acknowledged", (double)counts->done);
    add_number(outcomes, "refused", (double)counts->refused);
    add_number(outcomes, "conflicts", (double)counts->conflicts);
    add_number(outcomes, "errors", (double)counts->errors);
    add_number(outcomes, "unknown", (double)counts->unknown);
    add_number(outcomes, "disconnects", (double)counts->disconnects);
    add_number(outcomes, "malformed", (double)counts->malformed);
    cJSON *statuses = cJSON_AddObjectToObject(root, "statuses");
    for (unsigned i = 0; i < STATUS_MAX; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "%u", i);
        if (counts->by_status[i])
            add_number(statuses, name, (double)counts->by_status[i]);
    }
    if (counts->first_error[0])
        (void)cJSON_AddStringToObject(root, "first_error", counts->first_error);
    cJSON *books = cJSON_AddObjectToObject(root, "books");
    if (report->after) {
        (void)cJSON_AddBoolToObject(books, "balanced", report->after->balanced);
        (void)cJSON_AddStringToObject(books, "found", report->after->text);
    } else {
        (void)cJSON_AddNullToObject(books, "balanced");
    }
}

bool report_json(const struct report *report) {
    cJSON *root = cJSON_CreateObject();
    add_setting(root, report);
    add_figures(root, report);
    add_outcomes(root, report);
    char *text = cJSON_Print(root);
    bool written = text && puts(text) >= 0 && fflush(stdout) == 0;
    cJSON_free(text);
    cJSON_Delete(root);
    return written;
}
