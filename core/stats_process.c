/* What Prometheus' own clients call process_*: numbers that the kernel keeps. A number that cannot
 * be read is NaN. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/stats.h"

static double seconds_of(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double cpu_seconds(void *ctx) {
    struct rusage usage;
    (void)ctx;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return NAN;
    return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

/* The first two numbers of /proc/self/statm, in pages: virtual, then resident. */
static double memory_bytes(unsigned which) {
    unsigned long pages[2];
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return NAN;
    int read = fscanf(file, "%lu %lu", &pages[0], &pages[1]);
    fclose(file);
    return read == 2 ? (double)pages[which] * (double)sysconf(_SC_PAGESIZE) : NAN;
}

static double virtual_bytes(void *ctx) {
    (void)ctx;
    return memory_bytes(0);
}

static double resident_bytes(void *ctx) {
    (void)ctx;
    return memory_bytes(1);
}

static double open_fds(void *ctx) {
    double count = -1; /* the directory's own */
    DIR *dir = opendir("/proc/self/fd");
    (void)ctx;
    if (!dir)
        return NAN;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        if (entry->d_name[0] != '.')
            count++;
    closedir(dir);
    return count;
}

static double max_fds(void *ctx) {
    struct rlimit limit;
    (void)ctx;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return NAN;
    return limit.rlim_cur == RLIM_INFINITY ? INFINITY : (double)limit.rlim_cur;
}

/* The start is kept in clock ticks since boot, as field 22 of /proc/self/stat; field 2 is a name
 * that may hold anything, so counting begins behind its last parenthesis. */
static double read_start_seconds(void) {
    char text[1024];
    struct timespec boot;
    unsigned long long ticks;
    FILE *file = fopen("/proc/self/stat", "re");
    if (!file)
        return NAN;
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    const char *behind = strrchr(text, ')');
    if (!behind ||
        sscanf(behind + 1,
            " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
            &ticks) != 1 ||
        clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
        return NAN;
    double age = (double)boot.tv_sec + (double)boot.tv_nsec / 1e9 -
                 (double)ticks / (double)sysconf(_SC_CLK_TCK);
    return (double)clock_wall_ns() / 1e9 - age;
}

/* Read once: a wall clock that is set later must not look like a restart. */
static double start_seconds;

static double read_start(void *ctx) {
    (void)ctx;
    return start_seconds;
}

void stats_register_process(struct stats *stats) {
    start_seconds = read_start_seconds();
    stats_callback(stats, "process_cpu_seconds_total", STATS_COUNTER,
        "User and system CPU time spent.", NULL, cpu_seconds, NULL);
    stats_callback(stats, "process_resident_memory_bytes", STATS_GAUGE, "Memory in RAM.", NULL,
        resident_bytes, NULL);
    stats_callback(stats, "process_virtual_memory_bytes", STATS_GAUGE, "Address space in use.",
        NULL, virtual_bytes, NULL);
    stats_callback(
        stats, "process_open_fds", STATS_GAUGE, "Open file descriptors.", NULL, open_fds, NULL);
    stats_callback(stats, "process_max_fds", STATS_GAUGE, "File descriptors that may be open.",
        NULL, max_fds, NULL);
    stats_callback(stats, "process_start_time_seconds", STATS_GAUGE,
        "When the process started, since 1970-01-01 00:00 UTC.", NULL, read_start, NULL);
}
