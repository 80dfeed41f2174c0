#include "lua/request.h"

#include <stdio.h>
#include <strings.h>

#include "core/url.h"
#include "lua/decode.h"
#include "lua/reply.h"
#include "lua/sandbox.h"

enum body_kind { BODY_OTHER, BODY_JSON, BODY_FORM, BODY_MULTIPART };

static struct slice find_header(const struct request *request, struct slice name) {
    for (unsigned i = 0; i < request->header_count; i++)
        if (slice_equal(request->headers[i].name, name))
            return request->headers[i].value;
    return slice_of(NULL, 0);
}

/* True if the media type, without its parameters, is this one. */
static bool is_media_type(struct slice type, const char *known) {
    size_t len = 0;
    while (
        len < type.len && type.data[len] != ';' && type.data[len] != ' ' && type.data[len] != '\t')
        len++;
    return len == strlen(known) && strncasecmp(type.data, known, len) == 0;
}

/* What the Content-Type says; an empty body says nothing. */
static enum body_kind body_kind(const struct request *request) {
    if (request->body.len == 0)
        return BODY_OTHER;
    struct slice type = find_header(request, SLICE("content-type"));
    if (is_media_type(type, "application/json"))
        return BODY_JSON;
    if (is_media_type(type, "application/x-www-form-urlencoded"))
        return BODY_FORM;
    if (is_media_type(type, "multipart/form-data"))
        return BODY_MULTIPART;
    return BODY_OTHER;
}

/* ---- names and values ---- */

/* Sets name = value in the table on top of the stack, unless the name is there. */
static void set_if_absent(lua_State *L, struct slice name, struct slice value) {
    lua_pushlstring(L, name.len ? name.data : "", name.len);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushlstring(L, value.len ? value.data : "", value.len);
        lua_rawset(L, -3);
    } else {
        lua_pop(L, 2);
    }
}

/* Appends the decoded text to scratch; false for bad encoding. */
static bool decode(lua_State *L, struct slice text, struct buf *scratch) {
    enum status status = url_decode(text, true, scratch);
    if (status == ST_NOMEM)
        luaL_error(L, "out of memory while fields were decoded");
    return status == ST_OK;
}

/* Decodes a pair into scratch; false for bad encoding. */
static bool decode_pair(
    lua_State *L, struct buf *scratch, struct slice *name, struct slice *value) {
    buf_reset(scratch, SCRIPT_SCRATCH_KEEP);
    if (!decode(L, *name, scratch))
        return false;
    size_t name_len = scratch->len;
    if (!decode(L, *value, scratch))
        return false;
    *name = slice_of(scratch->data, name_len);
    *value = slice_of(scratch->data + name_len, scratch->len - name_len);
    return true;
}

/* Each costs most of a microsecond, in which the shard serves nobody. */
#define FIELDS_MAX 32768u

/* Adds "a=1&b=2" to the table on top of the stack; what is there stays. False for bad encoding and
 * too many pairs. */
static bool add_pairs(lua_State *L, struct slice pairs) {
    struct buf *scratch = &script_vm_of(L)->scratch;
    struct slice name, value;
    unsigned fields = 0;
    while (url_next_pair(&pairs, &name, &value)) {
        if (++fields > FIELDS_MAX || !decode_pair(L, scratch, &name, &value))
            return false;
        set_if_absent(L, name, value);
    }
    return true;
}

static bool add_multipart(lua_State *L, const struct request *request) {
    struct multipart multipart;
    struct multipart_part part;
    struct slice type = find_header(request, SLICE("content-type"));
    enum status status = multipart_init(&multipart, type, request->body);
    unsigned fields = 0;
    while (status == ST_OK && (status = multipart_next(&multipart, &part)) == ST_OK) {
        if (++fields > FIELDS_MAX)
            return false;
        set_if_absent(L, part.name, part.content);
    }
    return status == ST_END;
}

/* Adds the body's form fields to the table on top of the stack; true also if there are none. */
static bool add_form(lua_State *L, const struct request *request, enum body_kind kind) {
    if (kind == BODY_FORM)
        return add_pairs(L, request->body);
    return kind != BODY_MULTIPART || add_multipart(L, request);
}

/* ---- args ---- */

/* Pushes the table in which args begin: the members of a JSON object, or nothing. */
static bool push_json_args(lua_State *L, struct call *call) {
    if (lua_isnil(L, 1)) {
        char text[160];
        (void)snprintf(text, sizeof text, "bad JSON at byte %lld: %s",
            (long long)lua_tointeger(L, 3), lua_tostring(L, 2));
        script_refuse(call, "bad_json", text);
        return false;
    }
    char first = '\0';
    for (size_t i = 0; i < call->request.body.len && (first == '\0' || strchr(" \t\r\n", first));
         i++)
        first = call->request.body.data[i];
    if (first == '{')
        lua_pushvalue(L, 1);
    else /* it is only in req.json */
        lua_newtable(L);
    return true;
}

int script_decode_body(lua_State *L) {
    const struct request *request = &script_vm_of(L)->current->call->request;
    return body_kind(request) == BODY_JSON ? script_decode_json(L, request->body) : 0;
}

bool script_push_args(lua_State *L, struct call *call) {
    const struct request *request = &call->request;
    enum body_kind kind = body_kind(request);
    if (kind == BODY_JSON) {
        if (!push_json_args(L, call))
            return false;
    } else {
        lua_newtable(L);
        if (!add_form(L, request, kind)) {
            lua_pop(L, 1);
            script_refuse(
                call, "bad_form", "the body is no well-formed form of at most 32768 fields");
            return false;
        }
    }
    const struct script_route *route = request->route;
    for (unsigned i = 0; i < route->param_count; i++) { /* these win over the body */
        struct slice name = route->param[i], value = request->params[i];
        lua_pushlstring(L, name.data, name.len);
        lua_pushlstring(L, value.data, value.len);
        lua_rawset(L, -3);
    }
    if (!add_pairs(L, request->query)) {
        lua_pop(L, 1);
        script_refuse(call, "bad_query", "'%' without two hexadecimal digits in the query");
        return false;
    }
    return true;
}

/* ---- req ---- */

static void push_slice(lua_State *L, struct slice text) {
    lua_pushlstring(L, text.len ? text.data : "", text.len);
}

/* Fields of a name that is there several times are one list (RFC 9110, 5.3; cookies: RFC 6265). */
static void push_headers(lua_State *L, const struct request *request) {
    lua_createtable(L, 0, (int)request->header_count);
    for (unsigned i = 0; i < request->header_count; i++) {
        const struct request_header *header = &request->headers[i];
        push_slice(L, header->name);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            push_slice(L, header->value);
        } else {
            lua_pushstring(L, slice_equal(header->name, SLICE("cookie")) ? "; " : ", ");
            push_slice(L, header->value);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static void push_cookies(lua_State *L, const struct request *request) {
    lua_newtable(L);
    for (unsigned i = 0; i < request->header_count; i++) {
        if (!slice_equal(request->headers[i].name, SLICE("cookie")))
            continue;
        struct slice rest = request->headers[i].value, name, value;
        while (cookie_next(&rest, &name, &value))
            set_if_absent(L, name, value);
    }
}

static void push_query(lua_State *L, const struct request *request) {
    lua_newtable(L);
    (void)add_pairs(L, request->query); /* script_push_args has refused bad ones */
}

static void push_form(lua_State *L, const struct request *request) {
    lua_newtable(L);
    (void)add_form(L, request, body_kind(request)); /* as above */
}

static void push_json(lua_State *L, const struct request *request) {
    (void)request;
    lua_pushcfunction(L, script_decode_body);
    lua_call(L, 0, 1);
}

static void push_method(lua_State *L, const struct request *request) {
    push_slice(L, request->method);
}

static void push_path(lua_State *L, const struct request *request) {
    push_slice(L, request->path);
}

static void push_body(lua_State *L, const struct request *request) {
    push_slice(L, request->body);
}

static void push_remote(lua_State *L, const struct request *request) {
    push_slice(L, request->remote);
}

static void push_id(lua_State *L, const struct request *request) {
    push_slice(L, request->id);
}

static const struct req_field {
    const char *name;
    void (*push)(lua_State *L, const struct request *request);
} req_fields[] = {{"method", push_method}, {"path", push_path}, {"query", push_query},
    {"form", push_form}, {"json", push_json}, {"headers", push_headers}, {"cookies", push_cookies},
    {"body", push_body}, {"remote", push_remote}, {"id", push_id}};

#define REQ_FIELDS (sizeof req_fields / sizeof req_fields[0])

/* The running request, if the table at index is its req: one kept from an earlier request must not
 * show this one's fields. */
static const struct request *request_of(lua_State *L, int index) {
    const struct attempt *attempt = script_vm_of(L)->current;
    if (!attempt->req || lua_topointer(L, index) != attempt->req)
        return NULL;
    return &attempt->call->request;
}

/* Fills a field of the req at index 1 and leaves its value on top of the stack. */
static void fill(lua_State *L, const struct req_field *field, const struct request *request) {
    field->push(L, request);
    lua_pushstring(L, field->name);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
}

/* req.json: the decoded body is on top of the stack. */
static int end_index_json(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    lua_pushvalue(L, -1);
    lua_setfield(L, 1, "json");
    return 1;
}

static int index_json(lua_State *L) {
    lua_pushcfunction(L, script_decode_body);
    lua_callk(L, 0, 1, 0, end_index_json);
    return end_index_json(L, LUA_OK, 0);
}

/* __index */
static int index_req(lua_State *L) {
    const struct request *request = request_of(L, 1);
    const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
    if (request && name && strcmp(name, "json") == 0)
        return index_json(L);
    for (size_t i = 0; request && name && i < REQ_FIELDS; i++)
        if (strcmp(name, req_fields[i].name) == 0) {
            fill(L, &req_fields[i], request);
            return 1;
        }
    return 0;
}

/* __pairs: fills what is not there yet, so that a walk shows everything. */
static int pairs_req(lua_State *L) {
    const struct request *request = request_of(L, 1);
    for (size_t i = 0; request && i < REQ_FIELDS; i++) {
        lua_pushstring(L, req_fields[i].name);
        if (lua_rawget(L, 1) == LUA_TNIL)
            fill(L, &req_fields[i], request);
        lua_settop(L, 1);
    }
    lua_getglobal(L, "next");
    lua_pushvalue(L, 1);
    return 2;
}

void script_push_req(lua_State *L, struct attempt *attempt) {
    lua_newtable(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, attempt->vm->req_meta);
    lua_setmetatable(L, -2);
    attempt->req = lua_topointer(L, -1);
}

void script_open_request(lua_State *L) {
    lua_createtable(L, 0, 3);
    lua_pushcfunction(L, index_req);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, pairs_req);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    script_vm_of(L)->req_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}
