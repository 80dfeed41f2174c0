/* Histories as text, a transaction a line:
 *
 *     history   = "concave-history 1" [ " global-versions" ] LF { line LF }
 *     line      = "" | "#" any text | txn
 *     txn       = "t " client " " invoke " " complete " " outcome [ " v" version ] [ " final" ]
 *                 { " " operation }
 *     client, invoke, version = digits          nanoseconds on one monotonic clock
 *     complete  = digits | "-"                  -: the reply never came
 *     outcome   = "ok" | "fail" | "unknown"
 *     operation = "a " key " " number           append an element to a list
 *               | "w " key " " number           write a register
 *               | "d " key                      delete a register
 *               | "r " key " " found            read: a register, a list, or "-", nothing
 *               | "s " key " " bound { " i " key " " found }
 *                                               a range from the first key on and what was in it
 *     bound     = "*" | key [ "=" ]             to the end; up to the key; with "=" it too
 *     found     = ( number | "[" [ number { "," number } ] "]" ) [ "@" version ] | "-"
 *     key       = 1 to 255 of the characters "!" to "~" but "=" and "@"; not "*" alone
 *     number    = [ "-" ] digits                64 bits
 *
 * The first transaction is T0, the next T1. One space, exactly, is between words; operations stand
 * in the order in which they ran. Files whose first line is the same may be put together: it may
 * come again. What an append, a read, a final transaction mean is in history.h. */
#include "tests/history/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/history/private.h"

#define KEY_BYTES_MAX 255u

/* ---- reading ---- */

struct loader {
    struct history *history;
    char *at;          /* the words of the line that are left; NULL: none */
    const char *error; /* NULL: none so far */
    int64_t *elements;
    size_t element_count, element_room;
};

static const char *word(struct loader *loader) {
    char *start = loader->at;
    if (!start) {
        loader->error = "the line ends too early";
        return "";
    }
    loader->at = strchr(start, ' ');
    if (loader->at)
        *loader->at++ = '\0';
    return start;
}

/* digits from text; *end is behind them. */
static uint64_t unsigned_of(struct loader *loader, const char *text, char **end) {
    errno = 0;
    uint64_t number = strtoull(text, end, 10);
    if (errno || *end == text || *text < '0' || *text > '9')
        loader->error = "a number of 64 bits is due";
    return number;
}

static int64_t number_of(struct loader *loader, const char *text, char **end) {
    errno = 0;
    int64_t number = strtoll(text, end, 10);
    if (errno || *end == text || *text == ' ' || *text == '+' || number == HISTORY_ABSENT)
        loader->error = "a number of 64 bits is due";
    return number;
}

static uint64_t unsigned_word(struct loader *loader) {
    const char *text = word(loader);
    char *end;
    uint64_t number = loader->error ? 0 : unsigned_of(loader, text, &end);
    if (!loader->error && *end)
        loader->error = "a number is followed by something else";
    return number;
}

static const char *key_word(struct loader *loader) {
    const char *key = word(loader);
    size_t len = strlen(key);
    if (len < 1 || len > KEY_BYTES_MAX)
        loader->error = "a key has 1 to 255 characters";
    for (size_t i = 0; i < len; i++)
        if (key[i] < '!' || key[i] > '~' || key[i] == '=' || key[i] == '@')
            loader->error = "a key holds a character that it may not";
    return key;
}

static uint64_t version_after(struct loader *loader, char *text) {
    char *end = text;
    if (loader->error || *text == '\0')
        return 0;
    uint64_t version = *text == '@' ? unsigned_of(loader, text + 1, &end) : 0;
    if (*text != '@' || *end)
        loader->error = "@ and a version, or nothing, is due behind what was found";
    return version;
}

static void found_list(struct loader *loader, const char *key, char *text, bool item) {
    loader->element_count = 0;
    for (char *end = text + 1; !loader->error && *text != ']'; text = end) {
        if (*text != '[' && *text != ',')
            loader->error = "a list is [number,number,...]";
        else if (*text == '[' && text[1] == ']') {
            text++;
            break;
        } else {
            int64_t element = number_of(loader, text + 1, &end);
            PUSH(loader->elements, loader->element_count, loader->element_room, element);
        }
    }
    uint64_t version = loader->error ? 0 : version_after(loader, text + 1);
    if (loader->error)
        return;
    (item ? history_range_list : history_read_list)(
        loader->history, key, loader->elements, loader->element_count, version);
}

static void found(struct loader *loader, const char *key, bool item) {
    char *text = (char *)(uintptr_t)word(loader), *end;
    if (loader->error)
        return;
    if (*text == '[') {
        found_list(loader, key, text, item);
        return;
    }
    if (!item && strcmp(text, "-") == 0) {
        history_read(loader->history, key, HISTORY_ABSENT, 0);
        return;
    }
    int64_t value = number_of(loader, text, &end);
    uint64_t version = version_after(loader, end);
    if (!loader->error)
        (item ? history_range_item : history_read)(loader->history, key, value, version);
}

static void range(struct loader *loader, const char *from) {
    char *to = (char *)(uintptr_t)word(loader);
    size_t len = strlen(to);
    bool included = len > 1 && to[len - 1] == '=';
    if (loader->error)
        return;
    if (included)
        to[len - 1] = '\0';
    history_range(loader->history, from, strcmp(to, "*") == 0 ? NULL : to, included);
    while (!loader->error && loader->at && strncmp(loader->at, "i ", 2) == 0) {
        word(loader);
        const char *key = key_word(loader);
        if (!loader->error)
            found(loader, key, true);
    }
}

static void operation(struct loader *loader) {
    const char *kind = word(loader);
    const char *key = key_word(loader);
    char *end;
    if (loader->error)
        return;
    if (strcmp(kind, "a") == 0 || strcmp(kind, "w") == 0) {
        int64_t value = number_of(loader, word(loader), &end);
        if (!loader->error && *end)
            loader->error = "a number is followed by something else";
        if (!loader->error)
            (*kind == 'a' ? history_append : history_write)(loader->history, key, value);
    } else if (strcmp(kind, "d") == 0)
        history_delete(loader->history, key);
    else if (strcmp(kind, "r") == 0)
        found(loader, key, false);
    else if (strcmp(kind, "s") == 0)
        range(loader, key);
    else
        loader->error = "an operation is a, w, d, r or s";
}

static void outcome_word(struct loader *loader, struct history_txn *txn) {
    const char *outcome = word(loader);
    if (strcmp(outcome, "ok") == 0)
        txn->outcome = HISTORY_OK;
    else if (strcmp(outcome, "fail") == 0)
        txn->outcome = HISTORY_FAIL;
    else if (strcmp(outcome, "unknown") == 0)
        txn->outcome = HISTORY_UNKNOWN;
    else
        loader->error = "an outcome is ok, fail or unknown";
}

static void transaction(struct loader *loader) {
    struct history_txn txn = {0};
    word(loader); /* t */
    txn.client = (uint32_t)unsigned_word(loader);
    txn.invoke_ns = loader->error ? 0 : unsigned_word(loader);
    txn.complete_ns = HISTORY_NEVER;
    if (loader->at && *loader->at == '-')
        word(loader);
    else
        txn.complete_ns = loader->error ? 0 : unsigned_word(loader);
    outcome_word(loader, &txn);
    if (!loader->error && loader->at && *loader->at == 'v') {
        loader->at++;
        txn.version = unsigned_word(loader);
    }
    if (!loader->error && loader->at && *loader->at == 'f') {
        txn.final = strcmp(word(loader), "final") == 0;
        if (!txn.final)
            loader->error = "an operation is a, w, d, r or s";
    }
    if (!loader->error && txn.complete_ns < txn.invoke_ns)
        loader->error = "a transaction ends before it begins";
    if (!loader->error && txn.complete_ns == HISTORY_NEVER && txn.outcome != HISTORY_UNKNOWN)
        loader->error = "without a reply the outcome is unknown";
    if (!loader->error)
        history_begin(loader->history, &txn);
    while (!loader->error && loader->at)
        operation(loader);
}

static void head(struct loader *loader, const char *line) {
    bool global = strcmp(line, "concave-history 1 global-versions") == 0;
    if (!global && strcmp(line, "concave-history 1") != 0)
        loader->error = "the first line is \"concave-history 1\", with \" global-versions\" or not";
    else if (!loader->history)
        loader->history = history_new(global);
    else if (loader->history->global_versions != global)
        loader->error = "its first line differs from that of the file before";
}

struct history *history_load(FILE *file, char *error, size_t size) {
    struct loader loader = {0};
    char *line = NULL;
    size_t room = 0, number = 0;
    ssize_t len;
    while (!loader.error && (len = getline(&line, &room, file)) >= 0) {
        number++;
        if (len && line[len - 1] == '\n')
            line[--len] = '\0';
        loader.at = line;
        if (!loader.history || line[0] == 'c')
            head(&loader, line);
        else if (strncmp(line, "t ", 2) == 0)
            transaction(&loader);
        else if (len && line[0] != '#')
            loader.error = "a line begins with t or #";
    }
    if (!loader.error && !loader.history)
        loader.error = "it is empty";
    if (loader.error) {
        snprintf(error, size, "line %zu: %s", number, loader.error);
        history_free(loader.history);
        loader.history = NULL;
    }
    free(line);
    free(loader.elements);
    return loader.history;
}

/* ---- writing ---- */

static void save_found(const struct history *history, const struct op *op, FILE *file) {
    if (op->kind == OP_LIST) {
        fputc('[', file);
        for (uint32_t i = 0; i < op->count; i++)
            fprintf(file, "%s%" PRId64, i ? "," : "", history->elements[op->first + i]);
        fputc(']', file);
    } else if (op->value == HISTORY_ABSENT)
        fputc('-', file);
    else
        fprintf(file, "%" PRId64, op->value);
    if (op->version)
        fprintf(file, "@%" PRIu64, op->version);
}

static void save_op(const struct history *history, const struct op *op, bool item, FILE *file) {
    const char *key = history->keys[op->key];
    switch (op->kind) {
    case OP_APPEND:
    case OP_WRITE:
        fprintf(file, " %c %s %" PRId64, op->kind == OP_APPEND ? 'a' : 'w', key, op->value);
        break;
    case OP_DELETE:
        fprintf(file, " d %s", key);
        break;
    case OP_RANGE:
        fprintf(file, " s %s %s%s", key, op->to == NONE ? "*" : history->keys[op->to],
            op->included ? "=" : "");
        break;
    default:
        fprintf(file, " %c %s ", item ? 'i' : 'r', key);
        save_found(history, op, file);
    }
}

static void save_txn(const struct history *history, const struct txn *txn, FILE *file) {
    static const char *const outcomes[] = {"ok", "fail", "unknown"};
    fprintf(file, "t %" PRIu32 " %" PRIu64 " ", txn->is.client, txn->is.invoke_ns);
    if (txn->is.complete_ns == HISTORY_NEVER)
        fputc('-', file);
    else
        fprintf(file, "%" PRIu64, txn->is.complete_ns);
    fprintf(file, " %s", outcomes[txn->is.outcome]);
    if (txn->is.version)
        fprintf(file, " v%" PRIu64, txn->is.version);
    if (txn->is.final)
        fputs(" final", file);
    uint32_t items = 0;
    for (size_t i = 0; i < txn->op_count; i++) {
        const struct op *op = &history->ops[txn->first_op + i];
        save_op(history, op, items > 0, file);
        items = op->kind == OP_RANGE ? op->items : items ? items - 1 : 0;
    }
    fputc('\n', file);
}

void history_save_txns(const struct history *history, FILE *file) {
    for (size_t i = 0; i < history->txn_count; i++)
        save_txn(history, &history->txns[i], file);
}

void history_save(const struct history *history, FILE *file) {
    fprintf(file, "concave-history 1%s\n", history->global_versions ? " global-versions" : "");
    history_save_txns(history, file);
}
