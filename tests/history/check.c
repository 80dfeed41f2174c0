/* Checks a history: takes it through the parts that private.h lists, and counts what they saw. */
#include <stdlib.h>

#include "tests/history/private.h"

static void count_txns(const struct check *check) {
    struct history_report *report = check->report;
    report->txns = check->history->txn_count;
    report->reads = check->read_count;
    for (uint32_t i = 0; i < check->history->txn_count; i++) {
        enum history_outcome outcome = txn_of(check, i)->outcome;
        report->acknowledged += outcome == HISTORY_OK;
        report->refused += outcome == HISTORY_FAIL;
        report->unknown += outcome == HISTORY_UNKNOWN;
        report->unknown_applied += outcome == HISTORY_UNKNOWN && check->committed[i];
    }
}

static void check_free(struct check *check) {
    for (size_t i = 0; i < check->history->key_count; i++)
        free(check->keys[i].order);
    free(check->sorted_keys);
    free(check->keys);
    free(check->writes);
    free(check->by_key);
    free(check->value_slots);
    free(check->reads);
    free(check->lists);
    free(check->committed);
    free(check->version);
    free(check->accused);
    free(check->edges);
    free(check->edge_first);
    free(check->chain_of);
}

struct history_report *history_check(const struct history *history) {
    struct check check = {.history = history};
    check.report = zeroed(1, sizeof *check.report);
    check.sorted_keys = zeroed(history->key_count, sizeof *check.sorted_keys);
    check.keys = zeroed(history->key_count, sizeof *check.keys);
    check.committed = zeroed(history->txn_count, sizeof *check.committed);
    check.version = zeroed(history->txn_count, sizeof *check.version);
    check.accused = zeroed(history->txn_count, sizeof *check.accused);
    observe(&check);
    order_lists(&check);
    order_registers(&check);
    compare_final(&check);
    draw_edges(&check);
    find_cycles(&check);
    count_txns(&check);
    check_free(&check);
    return check.report;
}
