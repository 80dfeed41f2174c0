/* string.find, match, gmatch and gsub over lua/pattern.h. */
#include "lua/pattern.h"
#include "lua/prelude.h"
#include "lua/sandbox.h"

#define BYTES_PER_UNIT 8u /* of work (lua/doom.h), searching for a plain text */

static struct slice check_text(lua_State *L, int index) {
    struct slice text;
    text.data = luaL_checklstring(L, index, &text.len);
    return text;
}

/* Turns a start position as Lua counts them (negative: from the end) into an offset; past the end
 * of the text it is more than the length. */
static size_t check_start(lua_State *L, int index, size_t len) {
    lua_Integer start = luaL_optinteger(L, index, 1);
    if (start > 0)
        return (size_t)start - 1;
    if (start == 0 || start < -(lua_Integer)len)
        return 0;
    return len - (size_t)-start;
}

/* ---- find, match ---- */

static int find_plain(lua_State *L, struct slice text, struct slice source, size_t start) {
    script_work(L, (text.len - start) / BYTES_PER_UNIT);
    const char *found = memmem(text.data + start, text.len - start, source.data, source.len);
    if (!found) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, found - text.data + 1);
    lua_pushinteger(L, found - text.data + (lua_Integer)source.len);
    return 2;
}

/* SEARCH_PATTERN is gsub's, whose errors are its caller's: the one in Lua has ours below it. */
enum search { SEARCH_FIND, SEARCH_PATTERN, SEARCH_MATCH };
#define GSUB_CALLER 3

/* Searches from an offset on; ctx has it with the kind in the two lowest bits. */
static int search_on(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    struct slice text = check_text(L, 1), source = check_text(L, 2);
    enum search kind = (enum search)(ctx & 3);
    struct pattern pattern;
    pattern_init(&pattern, L, text, source);
    if (kind == SEARCH_PATTERN)
        pattern.caller = GSUB_CALLER;
    const char *from = text.data + (ctx >> 2);
    const char *end = pattern_find(&pattern, &from);
    if (!end && pattern.tired)
        return script_rest(L, (from - text.data) << 2 | (ctx & 3), search_on);
    pattern_done(&pattern);
    if (!end) {
        lua_pushnil(L);
        return 1;
    }
    if (kind == SEARCH_MATCH)
        return pattern_push_captures(&pattern, from, end, true);
    lua_pushinteger(L, from - text.data + 1);
    lua_pushinteger(L, end - text.data);
    return pattern_push_captures(&pattern, from, end, false) + 2;
}

static int search_text(lua_State *L, enum search kind) {
    struct slice text = check_text(L, 1), source = check_text(L, 2);
    size_t start = check_start(L, 3, text.len);
    if (start > text.len) {
        lua_pushnil(L);
        return 1;
    }
    if (kind == SEARCH_FIND && (lua_toboolean(L, 4) || pattern_is_plain(source)))
        return find_plain(L, text, source, start);
    return search_on(L, LUA_OK, (lua_KContext)(start << 2) | (lua_KContext)kind);
}

static int lib_find(lua_State *L) {
    return search_text(L, SEARCH_FIND);
}

/* find, but a pattern without special characters is a pattern too: a stray ')' is an error. */
static int lib_search(lua_State *L) {
    return search_text(L, SEARCH_PATTERN);
}

static int lib_match(lua_State *L) {
    return search_text(L, SEARCH_MATCH);
}

/* ---- gmatch ---- */

struct walk {
    size_t at;       /* offset where the next search begins */
    size_t last_end; /* end of the last match, plus 1; an empty match there does not count */
};

/* Upvalues: text, pattern, walk. */
static int step_match(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    struct slice text = check_text(L, lua_upvalueindex(1));
    struct slice source = check_text(L, lua_upvalueindex(2));
    struct walk *walk = lua_touserdata(L, lua_upvalueindex(3));
    struct pattern pattern;
    pattern_init(&pattern, L, text, source);
    pattern.at = source.data; /* in gmatch '^' is a character like any other */
    pattern.anchored = false;
    while (walk->at <= text.len) {
        const char *from = text.data + walk->at;
        const char *end = pattern_find(&pattern, &from);
        if (!end && pattern.tired) {
            walk->at = (size_t)(from - text.data);
            return script_rest(L, 0, step_match);
        }
        if (!end)
            break;
        if ((size_t)(end - text.data) + 1 == walk->last_end) {
            walk->at = (size_t)(from - text.data) + 1;
            continue;
        }
        walk->at = (size_t)(end - text.data);
        walk->last_end = walk->at + 1;
        pattern_done(&pattern);
        return pattern_push_captures(&pattern, from, end, true);
    }
    walk->at = text.len + 1;
    lua_pushnil(L);
    return 1;
}

static int next_match(lua_State *L) {
    return step_match(L, LUA_OK, 0);
}

static int lib_gmatch(lua_State *L) {
    struct slice text = check_text(L, 1);
    (void)check_text(L, 2);
    size_t start = check_start(L, 3, text.len);
    lua_settop(L, 2);
    struct walk *walk = lua_newuserdatauv(L, sizeof *walk, 0);
    *walk = (struct walk){.at = start};
    lua_pushcclosure(L, next_match, 3);
    return 1;
}

/* ---- gsub; with a function it is prelude.c's ---- */

struct replacer {
    struct pattern pattern;
    luaL_Buffer out;
    struct slice repl; /* if it is a string */
};

/* Adds the replacement string with its %0 to %9 filled in. */
static void add_string(struct replacer *r, const char *start, const char *end) {
    lua_State *L = r->pattern.L;
    const char *at = r->repl.data, *repl_end = at + r->repl.len;
    while (at < repl_end) {
        const char *mark = memchr(at, '%', (size_t)(repl_end - at));
        const char *stop = mark ? mark : repl_end;
        luaL_addlstring(&r->out, at, (size_t)(stop - at));
        if (!mark)
            return;
        char letter = mark + 1 < repl_end ? mark[1] : '\0';
        if (letter == '%') {
            luaL_addchar(&r->out, '%');
        } else if (letter == '0') {
            luaL_addlstring(&r->out, start, (size_t)(end - start));
        } else if (letter >= '1' && letter <= '9') {
            pattern_push_capture(&r->pattern, letter - '1', start, end);
            luaL_tolstring(L, -1, NULL); /* a position is a number */
            lua_remove(L, -2);
            luaL_addvalue(&r->out);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
        at = mark + 2;
    }
}

/* Adds what the table at index 3 has for the first capture; nil and false keep the match. */
static void add_field(struct replacer *r, const char *start, const char *end) {
    lua_State *L = r->pattern.L;
    pattern_push_capture(&r->pattern, 0, start, end);
    lua_gettable(L, 3);
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(&r->out, start, (size_t)(end - start));
        return;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(&r->out);
}

/* How far gsub is: kept on the stack while it rests. */
struct progress {
    size_t at;       /* offset of what is not in the result yet */
    size_t last_end; /* end of the last match, plus 1; an empty match there does not count */
    lua_Integer count, limit;
    lua_Integer parts; /* results of the time before each rest, in the table at PARTS */
};
enum { TEXT = 1, SOURCE, REPL, PROGRESS, PARTS };

/* Replaces matches until the end or the limit, or until it is time to rest: then true. */
static bool replace_some(struct replacer *r, struct progress *progress) {
    struct pattern *pattern = &r->pattern;
    const char *at = pattern->text + progress->at;
    while (progress->count < progress->limit) {
        const char *start = at;
        const char *end = pattern_find(pattern, &start);
        if (!end && !pattern->tired)
            break;
        luaL_addlstring(&r->out, at, (size_t)(start - at));
        at = start;
        progress->at = (size_t)(at - pattern->text);
        if (!end)
            return true;
        size_t end_at = (size_t)(end - pattern->text) + 1;
        if (end_at != progress->last_end) {
            progress->count++;
            if (r->repl.data)
                add_string(r, start, end);
            else
                add_field(r, start, end);
            at = end;
            progress->last_end = end_at;
        } else if (at < pattern->text_end) { /* an empty match behind the last one */
            luaL_addchar(&r->out, *at++);
        } else {
            break;
        }
        progress->at = (size_t)(at - pattern->text);
        if (pattern->anchored)
            break;
        if (pattern->tired)
            return true;
    }
    luaL_addlstring(&r->out, at, (size_t)(pattern->text_end - at));
    return false;
}

/* The parts on top of each other, with the last one, which is on top of the stack. */
static void join_parts(lua_State *L, lua_Integer parts) {
    luaL_Buffer whole;
    luaL_buffinit(L, &whole);
    for (lua_Integer i = 1; i <= parts; i++) {
        lua_rawgeti(L, PARTS, i);
        luaL_addvalue(&whole);
    }
    lua_pushvalue(L, PARTS + 1);
    luaL_addvalue(&whole);
    luaL_pushresult(&whole);
}

static int gsub_on(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    struct progress *progress = lua_touserdata(L, PROGRESS);
    struct replacer replacer;
    pattern_init(&replacer.pattern, L, check_text(L, TEXT), check_text(L, SOURCE));
    replacer.repl = slice_of(NULL, 0);
    if (lua_type(L, REPL) != LUA_TTABLE)
        replacer.repl.data = lua_tolstring(L, REPL, &replacer.repl.len);
    lua_settop(L, PARTS);
    luaL_buffinit(L, &replacer.out);
    bool rest = replace_some(&replacer, progress);
    luaL_pushresult(&replacer.out);
    if (rest) {
        if (progress->parts == 0) {
            lua_newtable(L);
            lua_replace(L, PARTS);
        }
        lua_rawseti(L, PARTS, ++progress->parts);
        return script_rest(L, 0, gsub_on);
    }
    pattern_done(&replacer.pattern);
    if (progress->parts)
        join_parts(L, progress->parts);
    lua_pushinteger(L, progress->count);
    return 2;
}

static int finish_gsub(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    return lua_gettop(L);
}

/* Upvalue 1: the one in Lua, which gets its arguments checked. */
static int lib_gsub(lua_State *L) {
    struct slice text = check_text(L, TEXT);
    (void)check_text(L, SOURCE);
    int type = lua_type(L, REPL);
    luaL_argexpected(L,
        type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE,
        REPL, "string/function/table");
    lua_Integer limit = luaL_optinteger(L, 4, (lua_Integer)text.len + 1);
    lua_settop(L, REPL);
    if (type == LUA_TFUNCTION) {
        lua_pushinteger(L, limit);
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_insert(L, 1);
        lua_callk(L, 4, LUA_MULTRET, 0, finish_gsub);
        return finish_gsub(L, LUA_OK, 0);
    }
    struct progress *progress = lua_newuserdatauv(L, sizeof *progress, 0);
    *progress = (struct progress){.limit = limit};
    lua_pushnil(L);
    return gsub_on(L, LUA_OK, 0);
}

void script_open_patterns(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"find", lib_find}, {"match", lib_match}, {"gmatch", lib_gmatch}, {NULL, NULL}};
    lua_getfield(L, -1, "string");
    luaL_setfuncs(L, functions, 0);
    lua_pushcfunction(L, lib_search);
    script_push_gsub(L);
    lua_pushcclosure(L, lib_gsub, 1);
    lua_setfield(L, -2, "gsub");
    lua_pop(L, 1);
}
