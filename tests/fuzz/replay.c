/* Runs a fuzz target over files, as libFuzzer would, but with any compiler: so a corpus is a
 * regression test, and what it found can be looked at in a debugger.
 *
 * Usage: fuzz_<name> FILE|FOLDER...; it fails if there was no input at all. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_BYTES_MAX ((size_t)1 << 20)

static unsigned long runs;

static void run_file(const char *path) {
    static uint8_t data[INPUT_BYTES_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t len = fread(data, 1, sizeof data, file);
    (void)fclose(file);
    struct slice input = fuzz_copy(data, len);
    (void)LLVMFuzzerTestOneInput((const uint8_t *)input.data, input.len);
    fuzz_drop(input);
    runs++;
}

static void run_folder(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) {
        perror(folder);
        exit(1);
    }
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        char path[4096];
        int len = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FUZZ_CHECK(len > 0 && (size_t)len < sizeof path);
        if (entry->d_name[0] != '.')
            run_file(path);
    }
    (void)closedir(dir);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        struct stat about;
        if (stat(argv[i], &about) == 0 && S_ISDIR(about.st_mode))
            run_folder(argv[i]);
        else
            run_file(argv[i]);
    }
    printf("%s: %lu inputs\n", argv[0], runs);
    return runs ? 0 : 1;
}
