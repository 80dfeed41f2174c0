#include "lua/fault.h"

#include <lauxlib.h>
#include <string.h>

#include "core/json_write.h"
#include "lua/sandbox.h"
#include "lua/vm.h"

/* Lines shown before and behind the one at fault, and how much of a long one. */
#define LINES_AROUND 2u
#define LINE_BYTES_MAX 160u
#define LEVELS_MAX 200

struct place {
    const struct script_source *source;
    unsigned line;
};

/* Bytes that are no UTF-8 must not get into a reply. */
static void append_clean(struct buf *out, struct slice text) {
    if (utf8_valid(text)) {
        buf_append_slice(out, text);
        return;
    }
    for (size_t i = 0; i < text.len; i++)
        buf_append_byte(out, (unsigned char)text.data[i] < 0x80 ? text.data[i] : '?');
}

static const struct script_source *find_source(
    const struct script_app *app, const char *name, size_t len) {
    for (unsigned i = 0; i < app->source_count; i++)
        if (strlen(app->sources[i].name) == len && memcmp(app->sources[i].name, name, len) == 0)
            return &app->sources[i];
    return NULL;
}

/* "bank.lua:12: text" names the place itself. */
static bool place_of_message(
    const struct script_app *app, struct slice message, struct place *place) {
    for (size_t at = 0; at + 1 < message.len; at++) {
        if (message.data[at] != ':' || message.data[at + 1] < '0' || message.data[at + 1] > '9')
            continue;
        unsigned line = 0;
        size_t end = at + 1;
        for (; end < message.len && message.data[end] >= '0' && message.data[end] <= '9'; end++)
            line = line * 10 + (unsigned)(message.data[end] - '0');
        if (end == message.len || message.data[end] != ':')
            return false;
        place->source = find_source(app, message.data, at);
        place->line = line;
        return place->source != NULL;
    }
    return false;
}

/* Else it is the innermost function of the application's. */
static bool place_of_stack(const struct script_app *app, lua_State *co, struct place *place) {
    lua_Debug frame;
    for (int level = 0; level < LEVELS_MAX && lua_getstack(co, level, &frame); level++) {
        lua_getinfo(co, "Sl", &frame);
        if (frame.currentline <= 0 || frame.source[0] != '@')
            continue;
        place->source = find_source(app, frame.source + 1, strlen(frame.source + 1));
        place->line = (unsigned)frame.currentline;
        if (place->source)
            return true;
    }
    return false;
}

static void append_source(struct buf *out, const struct place *place) {
    unsigned first = place->line > LINES_AROUND ? place->line - LINES_AROUND : 1;
    const char *at = place->source->text, *end = at + place->source->len;
    for (unsigned line = 1; at < end && line <= place->line + LINES_AROUND; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        size_t len = (size_t)(stop - at);
        if (line >= first) {
            buf_printf(out, "%s%4u | ", line == place->line ? ">" : " ", line);
            append_clean(out, slice_of(at, len < LINE_BYTES_MAX ? len : LINE_BYTES_MAX));
            buf_append_byte(out, '\n');
        }
        at = stop + (newline != NULL);
    }
}

/* error and assert themselves, at the top. */
static bool raises_only(struct slice line) {
    return memmem(line.data, line.len, "\t[C]: in ", 9) &&
           (memmem(line.data, line.len, "'error'", 7) ||
               memmem(line.data, line.len, "'assert'", 8));
}

/* "stack traceback:" and our own functions around the handler say nothing. */
static void append_traceback(struct buf *out, struct slice trace) {
    while (trace.len > 0) {
        const char *newline = memchr(trace.data, '\n', trace.len);
        size_t len = newline ? (size_t)(newline - trace.data) : trace.len;
        struct slice line = slice_of(trace.data, len);
        bool ours = memmem(line.data, line.len, "\tconcave:", 9) ||
                    slice_equal(line, SLICE("stack traceback:")) ||
                    slice_equal(line, SLICE("\t[C]: in ?")) || (out->len == 0 && raises_only(line));
        while (line.len > 0 && line.data[0] == '\t')
            line = slice_of(line.data + 1, line.len - 1);
        if (!ours) {
            append_clean(out, line);
            buf_append_byte(out, '\n');
        }
        trace = slice_of(trace.data + len + (newline != NULL), trace.len - len - (newline != NULL));
    }
}

/* Our own Lua code is no place that helps. */
static struct slice without_our_place(struct slice text) {
    static const char ours[] = "concave:";
    size_t at = sizeof ours - 1;
    if (text.len < at || memcmp(text.data, ours, at) != 0)
        return text;
    while (at < text.len && text.data[at] >= '0' && text.data[at] <= '9')
        at++;
    bool whole = at >= sizeof ours && at + 2 <= text.len && text.data[at] == ':';
    return whole ? slice_of(text.data + at + 2, text.len - at - 2) : text;
}

void script_drop_our_place(lua_State *L) {
    if (lua_type(L, -1) != LUA_TSTRING)
        return;
    struct slice text;
    text.data = lua_tolstring(L, -1, &text.len);
    struct slice rest = without_our_place(text);
    if (rest.len == text.len)
        return;
    lua_pushlstring(L, rest.data, rest.len);
    lua_remove(L, -2);
}

void script_fault_fill(
    lua_State *L, int message, lua_State *co, const struct script_app *app, struct fault *fault) {
    struct slice text = SLICE("?"), trace;
    struct place place;
    if (lua_type(L, message) == LUA_TSTRING)
        text.data = lua_tolstring(L, message, &text.len);
    text = without_our_place(text);
    fault_reset(fault);
    bool said = place_of_message(app, text, &place);
    if (said || place_of_stack(app, co, &place)) {
        if (!said) /* assert() tells no place */
            buf_printf(&fault->message, "%s:%u: ", place.source->name, place.line);
        append_source(&fault->source, &place);
    }
    append_clean(&fault->message, text);
    luaL_traceback(L, co, NULL, 0);
    trace.data = lua_tolstring(L, -1, &trace.len);
    append_traceback(&fault->traceback, trace);
    lua_pop(L, 1);
}

int script_tell_place(lua_State *L) {
    const struct script_app *app = script_vm_of(L)->app;
    struct slice text;
    struct place place;
    if (lua_islightuserdata(L, 1)) /* of a doomed one (lua/doom.h) */
        return 1;
    lua_settop(L, 1);
    if (lua_istable(L, 1))
        lua_pushliteral(L, "error object is a table");
    else
        script_push_text(L, 1);
    script_drop_our_place(L);
    text.data = lua_tolstring(L, -1, &text.len);
    if (place_of_message(app, text, &place) || !place_of_stack(app, L, &place))
        return 1;
    lua_pushfstring(L, "%s:%d: ", place.source->name, (int)place.line);
    lua_insert(L, -2);
    lua_concat(L, 2);
    return 1;
}

void script_fault_plain(struct fault *fault, const char *message) {
    fault_reset(fault);
    buf_append_text(&fault->message, message);
}
