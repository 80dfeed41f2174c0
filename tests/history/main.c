/* concave-history FILE: checks a recorded history and explains what is wrong with it.
 *
 * Exit code 0: strictly serializable; 1: not; 2: not a history. "-" is the standard input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/history/text.h"

static int usage(void) {
    fputs("usage: concave-history FILE    checks a recorded history; - is the standard input\n",
        stderr);
    return 2;
}

static void print_report(const struct history_report *report) {
    printf("history: %zu transactions (%zu refused, %zu of unknown outcome, %zu of these applied), "
           "%zu reads, edges: %zu ww, %zu wr, %zu rw (%zu of ranges), %zu rt: %zu anomalies\n",
        report->txns, report->refused, report->unknown, report->unknown_applied, report->reads,
        report->ww, report->wr, report->rw, report->rw_predicate, report->rt, report->count);
    for (size_t i = 0; i < report->count && i < HISTORY_ANOMALIES_MAX; i++)
        printf("%s%s%s", report->anomalies[i].cycle ? "" : report->anomalies[i].name,
            report->anomalies[i].cycle ? "" : ": ", report->anomalies[i].text);
}

int main(int argc, char **argv) {
    if (argc != 2 || (argv[1][0] == '-' && argv[1][1]))
        return usage();
    bool standard = strcmp(argv[1], "-") == 0;
    FILE *file = standard ? stdin : fopen(argv[1], "r");
    if (!file) {
        perror(argv[1]);
        return 2;
    }
    char error[200];
    struct history *history = history_load(file, error, sizeof error);
    if (!standard)
        fclose(file);
    if (!history) {
        fprintf(stderr, "%s: %s\n", argv[1], error);
        return 2;
    }
    struct history_report *report = history_check(history);
    print_report(report);
    bool fine = report->count == 0;
    free(report);
    history_free(history);
    return fine ? 0 : 1;
}
