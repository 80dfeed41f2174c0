#include "lua/app.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/diag.h"
#include "lua/test_lib.h"

/* Reads a regular file whole into fresh memory. */
static enum status read_file(const char *path, char **text, size_t *len) {
    /* Not blocking: the opening of a named pipe would wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? ST_NOT_FOUND : ST_IO;
    enum status status = ST_NOMEM;
    FILE *file = fdopen(fd, "rb");
    if (!file) {
        (void)close(fd);
        return status;
    }
    status = ST_IO;
    struct stat info;
    if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode))
        goto close_file;
    status = ST_TOO_LARGE;
    if ((size_t)info.st_size > SCRIPT_FILE_BYTES_MAX)
        goto close_file;
    status = ST_NOMEM;
    char *bytes = malloc((size_t)info.st_size + 1);
    if (!bytes)
        goto close_file;
    size_t got = fread(bytes, 1, (size_t)info.st_size, file);
    if (ferror(file)) {
        free(bytes);
        status = ST_IO;
        goto close_file;
    }
    bytes[got] = '\0';
    *text = bytes;
    *len = got;
    status = ST_OK;
close_file:
    (void)fclose(file); /* it was only read */
    return status;
}

static enum status add_source(
    struct script_app *app, const char *name, const struct script_source **source) {
    if (app->source_count == SCRIPT_FILES_MAX)
        return ST_TOO_LARGE;
    struct script_source fresh = {0};
    char *path = NULL;
    enum status status = ST_NOMEM;
    if (asprintf(&path, "%s%s", app->folder, name) < 0)
        return ST_NOMEM;
    if (app->reading)
        app->reading(app->ctx, path);
    fresh.name = strdup(name);
    if (fresh.name)
        status = read_file(path, &fresh.text, &fresh.len);
    free(path);
    if (status != ST_OK) {
        free(fresh.name);
        return status;
    }
    app->sources[app->source_count] = fresh;
    *source = &app->sources[app->source_count++];
    return ST_OK;
}

enum status script_app_source(
    struct script_app *app, const char *name, const struct script_source **source) {
    for (unsigned i = 0; i < app->source_count; i++)
        if (strcmp(app->sources[i].name, name) == 0) {
            *source = &app->sources[i];
            return ST_OK;
        }
    return app->learning ? add_source(app, name, source) : ST_NOT_FOUND;
}

/* Templates are below the resources folder, by default the application's. */
static enum status read_templates(struct script_app *app, const char *resources) {
    if (!resources)
        resources = app->folder[0] ? app->folder : ".";
    enum status status = template_set_read(resources, &app->templates);
    if (status == ST_OK && app->templates->trouble)
        diag(DIAG_WARN, "some templates may be missing: %s", app->templates->trouble);
    return status;
}

struct script_app *script_app_create(const struct script_options *options) {
    struct script_app *app = calloc(1, sizeof *app);
    if (!app)
        return NULL;
    const char *slash = strrchr(options->file, '/');
    size_t folder_len = slash ? (size_t)(slash - options->file) + 1 : 0;
    app->folder = strndup(options->file, folder_len);
    app->name = strdup(options->file + folder_len);
    app->vm_bytes_max = options->vm_bytes_max;
    app->key_bytes_max = options->key_bytes_max;
    app->value_bytes_max = options->value_bytes_max;
    app->stopped = options->stopped;
    app->reading = options->reading;
    app->ctx = options->ctx;
    app->testing = options->testing;
    buf_init(&app->problems, 1u << 20);
    if (!app->folder || !app->name || read_templates(app, options->resources) != ST_OK) {
        script_app_destroy(app);
        return NULL;
    }
    return app;
}

void script_app_destroy(struct script_app *app) {
    if (!app)
        return;
    for (unsigned i = 0; i < app->source_count; i++) {
        free(app->sources[i].name);
        free(app->sources[i].text);
    }
    for (unsigned i = 0; i < app->test_count; i++) {
        free(app->tests[i].name);
        free(app->tests[i].file);
    }
    free(app->tests);
    buf_free(&app->problems);
    route_table_free(&app->routes);
    template_set_free(app->templates);
    free(app->folder);
    free(app->name);
    free(app);
}
