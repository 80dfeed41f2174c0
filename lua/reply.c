#include "lua/reply.h"

#include <strings.h>

#include "core/error_page.h"
#include "core/json_read.h"
#include "core/json_write.h"
#include "lua/doom.h"
#include "lua/encode.h"
#include "lua/json_lib.h"
#include "lua/sandbox.h"

#define HEADER_FIELDS_MAX 100

/* ---- header fields ---- */

/* RFC 9110, 5.6.2: token. */
static bool is_token(struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                      (byte >= '0' && byte <= '9');
        if (!letter && (byte == '\0' || !strchr("!#$%&'*+-.^_`|~", byte)))
            return false;
    }
    return text.len > 0;
}

/* No control bytes but the tab: above all no line end. */
static bool is_field_value(struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if ((byte < ' ' && byte != '\t') || byte == 0x7F)
            return false;
    }
    return true;
}

static bool is_field(struct slice name, const char *known) {
    return name.len == strlen(known) && strncasecmp(name.data, known, name.len) == 0;
}

/* Appends a field with the value on top of the stack. */
static void add_field(lua_State *L, struct slice name, struct buf *out) {
    struct slice value;
    int type = lua_type(L, -1);
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        luaL_error(L, "reply header '%s': value must be a string or a list of strings, got %s",
            name.data, luaL_typename(L, -1));
    lua_pushvalue(L, -1); /* a number would be turned into a string in place */
    value.data = lua_tolstring(L, -1, &value.len);
    if (!is_field_value(value))
        luaL_error(L, "reply header '%s': control bytes in the value", name.data);
    buf_append_slice(out, name);
    buf_append_text(out, ": ");
    buf_append_slice(out, value);
    buf_append_text(out, "\r\n");
    lua_pop(L, 1);
}

/* How many fields a list on top of the stack stands for. A key of it that is no place in the list
 * would be lost. */
static int list_length(lua_State *L, struct slice name) {
    lua_Unsigned count = lua_rawlen(L, -1), keys = 0;
    if (count > HEADER_FIELDS_MAX)
        luaL_error(L, "reply header '%s': more than %d values", name.data, HEADER_FIELDS_MAX);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        if (++keys > count)
            luaL_error(L,
                "reply header '%s': value must be a string or a list of strings, got a "
                "table with other keys",
                name.data);
    return (int)count;
}

/* There is one Content-Type; of two nobody knows which a client takes. */
static void note_type(lua_State *L, struct slice name, bool *has_type) {
    if (*has_type || lua_type(L, -1) == LUA_TTABLE)
        luaL_error(L, "reply header '%s': there is one, a string", name.data);
    *has_type = true;
}

/* Appends the field or fields of a name and a value (or list) on top of the stack. */
static int add_fields(lua_State *L, struct buf *out, bool *has_type) {
    static const char *const ours[] = {"content-length", "transfer-encoding", "connection"};
    struct slice name;
    if (lua_type(L, -2) != LUA_TSTRING)
        luaL_error(L, "reply headers must be a table of names and values");
    name.data = lua_tolstring(L, -2, &name.len);
    if (!is_token(name))
        luaL_error(L, "reply header '%s': bad name", name.data);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (is_field(name, ours[i]))
            luaL_error(L, "reply header '%s' is the server's to set", name.data);
    if (is_field(name, "content-type"))
        note_type(L, name, has_type);
    if (lua_type(L, -1) != LUA_TTABLE) {
        add_field(L, name, out);
        return 1;
    }
    int count = list_length(L, name);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        add_field(L, name, out);
        lua_pop(L, 1);
    }
    return count;
}

/* An integer is passed over: it is the version in `return 200, get(key)`. */
static void make_headers(lua_State *L, int index, struct buf *out, bool *has_type) {
    if (lua_isnoneornil(L, index) || lua_isinteger(L, index))
        return;
    if (lua_type(L, index) != LUA_TTABLE)
        luaL_error(L, "reply headers must be a table, got %s", luaL_typename(L, index));
    int fields = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        fields += add_fields(L, out, has_type);
        if (fields > HEADER_FIELDS_MAX)
            luaL_error(L, "more than %d reply headers", HEADER_FIELDS_MAX);
        lua_pop(L, 1);
    }
}

/* ---- status and body ---- */

static int check_status(lua_State *L, int index) {
    if (lua_isnoneornil(L, index))
        luaL_error(L, "no status in the reply: an integer from 200 to 599 is expected first");
    lua_Integer status = lua_isinteger(L, index) ? lua_tointeger(L, index) : 0;
    if (status < 200 || status > 599) {
        script_push_text(L, index);
        luaL_error(L, "bad status %s in the reply: an integer from 200 to 599 is expected",
            lua_tostring(L, -1));
    }
    return (int)status;
}

/* nil is an empty body. */
static void make_body(lua_State *L, int index, enum route_kind kind, struct reply *reply) {
    static const char *const types[] = {
        "application/json", "text/html; charset=utf-8", "text/plain; charset=utf-8"};
    if (lua_isnoneornil(L, index))
        return;
    if (kind == ROUTE_JSON) {
        script_encode(L, index, SCRIPT_JSON, JSON_READER_DEPTH_MAX, "body", &reply->body);
    } else {
        if (!lua_isstring(L, index))
            luaL_error(L, "the body of a route of kind '%s' must be a string, got %s",
                route_kind_name(kind), luaL_typename(L, index));
        struct slice text;
        text.data = lua_tolstring(L, index, &text.len);
        buf_append_slice(&reply->body, text);
    }
    reply->content_type = types[kind];
}

void script_make_reply(lua_State *L, int first, enum route_kind kind, struct reply *reply) {
    reply->status = check_status(L, first);
    reply->content_type = NULL;
    buf_reset(&reply->body, SIZE_MAX);
    buf_reset(&reply->headers, SIZE_MAX);
    make_body(L, first + 1, kind, reply);
    /* RFC 9110: these have no content. */
    if (reply->status == 204 || reply->status == 205 || reply->status == 304) {
        buf_reset(&reply->body, SIZE_MAX);
        reply->content_type = NULL;
    }
    bool has_type = false;
    make_headers(L, first + 2, &reply->headers, &has_type);
    if (has_type)
        reply->content_type = NULL;
    if (!buf_ok(&reply->body) || !buf_ok(&reply->headers))
        luaL_error(L, "reply too large");
}

void script_refuse(struct call *call, const char *code, const char *text) {
    struct reply *reply = &call->reply;
    struct accept_tastes tastes = {0};
    for (unsigned i = 0; i < call->request.header_count; i++)
        if (slice_equal(call->request.headers[i].name, SLICE("accept")))
            accept_add(&tastes, call->request.headers[i].value);
    reply->status = 400;
    reply->content_type = "application/json";
    buf_reset(&reply->headers, SIZE_MAX);
    buf_reset(&reply->body, SIZE_MAX);
    buf_append_text(&reply->headers, "Vary: Accept\r\n");
    if (accept_prefers_html(&tastes)) {
        reply->content_type = ERROR_PAGE_TYPE;
        error_page_write(&reply->body, 400, "Bad Request", text, call->request.id);
        return;
    }
    buf_append_text(&reply->body, "{\"error\":");
    json_write_string(&reply->body, slice_of(text, strlen(text)));
    buf_append_text(&reply->body, ",\"code\":");
    json_write_string(&reply->body, slice_of(code, strlen(code)));
    buf_append_text(&reply->body, "}");
}

/* ---- the calls ---- */

/* abort(status, body[, headers]) */
static int lib_abort(lua_State *L) {
    struct attempt *attempt = script_attempt(L, "abort");
    const struct script_route *route = attempt->call->request.route;
    if (!route)
        return luaL_error(L, "abort works only in a route's function");
    script_make_reply(L, 1, route->kind, &attempt->call->reply);
    script_doom(L, DOOM_ABORT);
}

/* Pushes the URL with what cannot stand in one (RFC 3986: spaces, quotes, other alphabets, ...)
 * percent-encoded; escapes that are there stay. */
static void push_url(lua_State *L, struct slice url) {
    static const char kept[] = "-._~:/?#[]@!$&'()*+,;=%";
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    for (size_t i = 0; i < url.len; i++) {
        unsigned char byte = (unsigned char)url.data[i];
        char lower = (char)(byte | 0x20);
        bool plain = (byte >= '0' && byte <= '9') ||
                     (lower >= 'a' && lower <= 'z' && byte < 0x80) || strchr(kept, byte);
        if (plain) {
            luaL_addchar(&out, (char)byte);
        } else {
            luaL_addchar(&out, '%');
            luaL_addchar(&out, "0123456789ABCDEF"[byte >> 4]);
            luaL_addchar(&out, "0123456789ABCDEF"[byte & 15]);
        }
    }
    luaL_pushresult(&out);
}

/* redirect(url[, status]): the results that a handler returns. */
static int lib_redirect(lua_State *L) {
    struct slice url;
    url.data = luaL_checklstring(L, 1, &url.len);
    lua_Integer status = luaL_optinteger(L, 2, 302);
    if (status != 301 && status != 302 && status != 303 && status != 307 && status != 308)
        return luaL_error(L, "redirect: status must be 301, 302, 303, 307 or 308");
    if (url.len == 0 || !is_field_value(url))
        return luaL_error(L, "redirect: bad URL");
    lua_pushinteger(L, status);
    lua_pushnil(L);
    lua_createtable(L, 0, 1);
    push_url(L, url);
    lua_setfield(L, -2, "Location");
    return 3;
}

void script_open_reply(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"abort", lib_abort}, {"redirect", lib_redirect}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
