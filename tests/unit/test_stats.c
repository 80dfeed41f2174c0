/* Metrics: what was counted is what is printed, in the text format that Prometheus reads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "core/clock.h"
#include "core/stats.h"

#define THREADS 3u

static struct stats *stats;
static struct buf text;

static int set_up(void **state) {
    (void)state;
    stats = stats_create(THREADS);
    buf_init(&text, SIZE_MAX);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    stats_destroy(stats);
    buf_free(&text);
    return 0;
}

static void render(void) {
    buf_reset(&text, SIZE_MAX);
    stats_render(stats, &text);
    assert_true(buf_ok(&text));
    buf_append_byte(&text, '\0');
}

static void assert_rendered(const char *want) {
    render();
    assert_string_equal(text.data, want);
}

/* The number of the sample whose line begins with this name and a space. */
static double sample(const char *name) {
    size_t len = strlen(name);
    for (const char *line = text.data; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            return strtod(line + len, NULL);
    }
    fail_msg("no sample %s in:\n%s", name, text.data);
    return 0;
}

static void a_counter_is_the_sum_over_threads(void **state) {
    (void)state;
    stats_family(stats, "things_total", STATS_COUNTER, "Things.", NULL, 0, 1);
    stats_id id = stats_new_series(stats, "things_total", "");
    assert_int_equal(stats_series(stats, "things_total", NULL), id);
    stats_add(stats, 0, id, 1);
    stats_add(stats, 1, id, 20);
    stats_add(stats, 2, id, 300);
    stats_add(stats, 2, id, 4000);
    assert_int_equal(stats_read(stats, id), 4321);
    assert_rendered("# HELP concave_things_total Things.\n# TYPE concave_things_total counter\n"
                    "concave_things_total 4321\n");
}

static void counters_are_exact_in_64_bits(void **state) {
    (void)state;
    stats_family(stats, "n_total", STATS_COUNTER, "N.", NULL, 0, 1);
    stats_add(stats, 0, stats_series(stats, "n_total", ""), UINT64_MAX);
    render();
    assert_non_null(strstr(text.data, "concave_n_total 18446744073709551615\n"));
}

static void a_gauge_is_set_by_each_thread(void **state) {
    (void)state;
    stats_family(stats, "depth", STATS_GAUGE, "Depth.", NULL, 0, 1);
    stats_id id = stats_series(stats, "depth", "shard=\"0\"");
    stats_set(stats, 0, id, 7);
    stats_set(stats, 0, id, 5);
    stats_set(stats, 1, id, 1);
    assert_rendered("# HELP concave_depth Depth.\n# TYPE concave_depth gauge\n"
                    "concave_depth{shard=\"0\"} 6\n");
}

static void histograms_are_cumulative_and_scaled(void **state) {
    (void)state;
    const uint64_t buckets[] = {5 * NS_PER_MS, 100 * NS_PER_MS, 2500 * NS_PER_MS};
    stats_family(stats, "wait_seconds", STATS_HISTOGRAM, "Wait.", buckets, 3, 1e9);
    stats_id id = stats_series(stats, "wait_seconds", "route=\"a\"");
    const uint64_t values_ms[] = {0, 5, 6, 100, 2500, 2501, 60000};
    for (unsigned i = 0; i < 7; i++)
        stats_observe(stats, i % THREADS, id, values_ms[i] * NS_PER_MS);
    assert_int_equal(stats_read(stats, id), 7);
    assert_rendered("# HELP concave_wait_seconds Wait.\n# TYPE concave_wait_seconds histogram\n"
                    "concave_wait_seconds_bucket{route=\"a\",le=\"0.005\"} 2\n"
                    "concave_wait_seconds_bucket{route=\"a\",le=\"0.1\"} 4\n"
                    "concave_wait_seconds_bucket{route=\"a\",le=\"2.5\"} 5\n"
                    "concave_wait_seconds_bucket{route=\"a\",le=\"+Inf\"} 7\n"
                    "concave_wait_seconds_sum{route=\"a\"} 65.112\n"
                    "concave_wait_seconds_count{route=\"a\"} 7\n");
}

static void a_histogram_of_counts_has_whole_bounds(void **state) {
    (void)state;
    const uint64_t buckets[] = {1, 4096};
    stats_family(stats, "batch_records", STATS_HISTOGRAM, "Records.", buckets, 2, 1);
    stats_observe(stats, 0, stats_series(stats, "batch_records", NULL), 3);
    assert_rendered("# HELP concave_batch_records Records.\n"
                    "# TYPE concave_batch_records histogram\n"
                    "concave_batch_records_bucket{le=\"1\"} 0\n"
                    "concave_batch_records_bucket{le=\"4096\"} 1\n"
                    "concave_batch_records_bucket{le=\"+Inf\"} 1\n"
                    "concave_batch_records_sum 3\nconcave_batch_records_count 1\n");
}

static double half(void *ctx) {
    return *(double *)ctx / 2;
}

static void series_of_a_family_stand_together(void **state) {
    (void)state;
    double one = 1, big = 9007199254740991.0 * 2, none = NAN, endless = INFINITY;
    stats_callback(stats, "size", STATS_GAUGE, "Size.", "shard=\"0\"", half, &one);
    stats_family(stats, "other_total", STATS_COUNTER, "Other.", NULL, 0, 1);
    stats_callback(stats, "size", STATS_GAUGE, "Size.", "shard=\"1\"", half, &big);
    stats_callback(stats, "size", STATS_GAUGE, "Size.", "shard=\"2\"", half, &none);
    stats_callback(stats, "size", STATS_GAUGE, "Size.", "shard=\"3\"", half, &endless);
    assert_rendered("# HELP concave_size Size.\n# TYPE concave_size gauge\n"
                    "concave_size{shard=\"0\"} 0.5\n"
                    "concave_size{shard=\"1\"} 9007199254740991\n"
                    "concave_size{shard=\"2\"} NaN\n"
                    "concave_size{shard=\"3\"} +Inf\n"
                    "# HELP concave_other_total Other.\n# TYPE concave_other_total counter\n");
}

static void the_same_labels_give_the_same_series(void **state) {
    (void)state;
    stats_family(stats, "a_total", STATS_COUNTER, "A.", NULL, 0, 1);
    stats_family(stats, "a_total", STATS_COUNTER, "A.", NULL, 0, 1);
    stats_id first = stats_series(stats, "a_total", "x=\"1\"");
    assert_int_not_equal(first, stats_series(stats, "a_total", "x=\"2\""));
    assert_int_equal(first, stats_series(stats, "a_total", "x=\"1\""));
}

static void label_values_are_escaped(void **state) {
    (void)state;
    stats_escape(&text, SLICE("a\"b\\c\nd\xc3\xa9"));
    assert_true(slice_equal(buf_slice(&text), SLICE("a\\\"b\\\\c\\nd\xc3\xa9")));
}

static void many_series_keep_their_own_cells(void **state) {
    (void)state;
    const uint64_t buckets[] = {1, 2, 3, 4, 5};
    static stats_id counters[2000], histograms[2000];
    char labels[32];
    stats_family(stats, "c_total", STATS_COUNTER, "C.", NULL, 0, 1);
    stats_family(stats, "h", STATS_HISTOGRAM, "H.", buckets, 5, 1);
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(labels, sizeof(labels), "i=\"%u\"", i);
        counters[i] = stats_series(stats, "c_total", labels);
        histograms[i] = stats_series(stats, "h", labels);
        stats_add(stats, i % THREADS, counters[i], i);
        for (unsigned j = 0; j < i % 9; j++)
            stats_observe(stats, j % THREADS, histograms[i], j);
    }
    for (unsigned i = 0; i < 2000; i++) {
        assert_int_equal(stats_read(stats, counters[i]), i);
        assert_int_equal(stats_read(stats, histograms[i]), i % 9);
    }
}

static void past_the_bound_series_count_nowhere(void **state) {
    (void)state;
    uint64_t buckets[STATS_BUCKETS_MAX];
    char name[16], labels[32];
    stats_id last = 0;
    unsigned made = 0;
    for (unsigned i = 0; i < STATS_BUCKETS_MAX; i++)
        buckets[i] = i;
    /* many families of few series, since looking for a series is linear in its family */
    for (unsigned i = 0; made <= STATS_CELLS_MAX / STATS_BUCKETS_MAX; i++) {
        snprintf(name, sizeof(name), "h%u", i);
        stats_family(stats, name, STATS_HISTOGRAM, "H.", buckets, STATS_BUCKETS_MAX, 1);
        for (unsigned j = 0; j < 200; j++, made++) {
            snprintf(labels, sizeof(labels), "i=\"%u\"", j);
            last = stats_series(stats, name, labels);
        }
    }
    stats_observe(stats, 0, last, 5);
    stats_add(stats, 0, last, 5);
    assert_int_equal(stats_read(stats, last), 0);
    snprintf(labels, sizeof(labels), "i=\"%u\"", 0u);
    stats_id first = stats_series(stats, "h0", labels);
    assert_int_equal(stats_read(stats, first), 0);
    stats_observe(stats, 0, first, 5);
    assert_int_equal(stats_read(stats, first), 1);
}

static void the_process_has_plausible_numbers(void **state) {
    (void)state;
    stats_register_process(stats);
    render();
    double now = (double)clock_wall_ns() / 1e9;
    assert_true(sample("process_cpu_seconds_total") >= 0);
    assert_true(sample("process_resident_memory_bytes") > 100000);
    assert_true(sample("process_virtual_memory_bytes") > sample("process_resident_memory_bytes"));
    assert_true(sample("process_open_fds") >= 3 && sample("process_open_fds") < 100);
    assert_true(sample("process_max_fds") >= sample("process_open_fds"));
    assert_true(sample("process_start_time_seconds") > now - 300);
    assert_true(sample("process_start_time_seconds") < now + 1);
}

static void process_names_have_no_prefix(void **state) {
    (void)state;
    stats_register_process(stats);
    render();
    assert_null(strstr(text.data, "concave_"));
}

/* ---- threads ---- */

#define ROUNDS 3000u

static atomic_bool stop;

static void *count_and_register(void *ctx) {
    unsigned thread = *(unsigned *)ctx;
    char labels[32];
    stats_id shared = stats_series(stats, "t_total", "of=\"all\"");
    stats_id wait = stats_series(stats, "t_wait", NULL);
    for (unsigned i = 0; i < ROUNDS; i++) {
        stats_add(stats, thread, shared, 1);
        stats_observe(stats, thread, wait, i);
        if (i % 10 == 0) {
            snprintf(labels, sizeof(labels), "i=\"%u\"", i);
            stats_add(stats, thread, stats_series(stats, "t_total", labels), 1);
        }
    }
    return NULL;
}

static void *render_often(void *ctx) {
    struct buf out;
    (void)ctx;
    buf_init(&out, SIZE_MAX);
    while (!atomic_load(&stop)) {
        buf_reset(&out, SIZE_MAX);
        stats_render(stats, &out);
    }
    buf_free(&out);
    return NULL;
}

static void threads_count_register_and_render_at_once(void **state) {
    (void)state;
    const uint64_t buckets[] = {10, 1000};
    pthread_t counting[THREADS], rendering;
    unsigned index[THREADS];
    stats_family(stats, "t_total", STATS_COUNTER, "T.", NULL, 0, 1);
    stats_family(stats, "t_wait", STATS_HISTOGRAM, "T.", buckets, 2, 1);
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&rendering, NULL, render_often, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        index[i] = i;
        assert_int_equal(pthread_create(&counting[i], NULL, count_and_register, &index[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(counting[i], NULL), 0);
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(rendering, NULL), 0);
    render();
    assert_true(sample("concave_t_total{of=\"all\"}") == THREADS * ROUNDS);
    assert_true(sample("concave_t_total{i=\"2990\"}") == THREADS);
    assert_true(sample("concave_t_wait_bucket{le=\"10\"}") == THREADS * 11);
    assert_true(sample("concave_t_wait_count") == THREADS * ROUNDS);
}

int main(void) {
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_counter_is_the_sum_over_threads),
        TEST(counters_are_exact_in_64_bits),
        TEST(a_gauge_is_set_by_each_thread),
        TEST(histograms_are_cumulative_and_scaled),
        TEST(a_histogram_of_counts_has_whole_bounds),
        TEST(series_of_a_family_stand_together),
        TEST(the_same_labels_give_the_same_series),
        TEST(label_values_are_escaped),
        TEST(many_series_keep_their_own_cells),
        TEST(past_the_bound_series_count_nowhere),
        TEST(the_process_has_plausible_numbers),
        TEST(process_names_have_no_prefix),
        TEST(threads_count_register_and_render_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
