#include "lua/template_render.h"

#include <assert.h>

#include "core/html.h"
#include "lua/json_lib.h"

/* Operations, or as many times WORK_BYTES of text, between two looks at the clock: some 10 us. */
#define FUEL 256
#define LOOKS_MIN 64u /* so few are no stretch that is too long */
#define WORK_BYTES 1024u
#define OUT_CAP_MIN ((size_t)8192)

static const struct template *current(const struct render *render) {
    return render->set->entries[render->template].template;
}

/* ---- errors ---- */

static _Noreturn void fail_at(
    lua_State *L, const struct render *render, const struct template_op *op, const char *why) {
    unsigned line, column;
    const struct template *template = current(render);
    template_place(slice_of(template->text, template->len), op->at, &line, &column);
    luaL_error(L, "%s.mustache:%d:%d: %s", render->set->entries[render->template].name, (int)line,
        (int)column, why);
    __builtin_unreachable();
}

/* "'a.b' is a table, which cannot be shown" */
static _Noreturn void fail_value(
    lua_State *L, const struct render *render, const struct template_op *op, const char *what) {
    const struct template *template = current(render);
    struct slice name = SLICE(".");
    if (op->parts) {
        const struct template_part *first = &template->parts[op->part];
        const struct template_part *last = first + op->parts - 1;
        name = slice_of(template->text + first->at, last->at + last->len - first->at);
    }
    const char *type = luaL_typename(L, -1);
    lua_pushlstring(L, name.data, name.len);
    fail_at(L, render, op, lua_pushfstring(L, "'%s' is a %s, %s", lua_tostring(L, -1), type, what));
}

/* ---- output ---- */

/* Makes room for len more bytes. */
static void grow(lua_State *L, struct render *render, size_t len) {
    if (len > RENDER_BYTES_MAX - render->out_len)
        luaL_error(L, "render: the text is larger than %d bytes", (int)RENDER_BYTES_MAX);
    size_t cap = render->out_cap ? render->out_cap : OUT_CAP_MIN;
    while (cap - render->out_len < len)
        cap *= 2;
    luaL_checkstack(L, 2, "render");
    char *out = lua_newuserdatauv(L, cap, 0);
    if (render->out_len)
        memcpy(out, render->out, render->out_len);
    lua_setiuservalue(L, RENDER_STATE, 1);
    render->out = out;
    render->out_cap = cap;
    render->fuel -= (int)(render->out_len / WORK_BYTES);
}

static inline char *reserve(lua_State *L, struct render *render, size_t len) {
    if (render->out_cap - render->out_len < len)
        grow(L, render, len);
    return render->out + render->out_len;
}

static inline void put(lua_State *L, struct render *render, struct slice text) {
    if (text.len == 0)
        return; /* there may be no room at all yet, nor a text */
    memcpy(reserve(L, render, text.len), text.data, text.len);
    render->out_len += text.len;
}

static void put_escaped(lua_State *L, struct render *render, struct slice text) {
    if (text.len == 0)
        return;
    if (text.len > RENDER_BYTES_MAX)
        grow(L, render, text.len); /* which refuses it */
    size_t most = text.len * HTML_GROWTH_MAX;
    if (render->out_cap - render->out_len < most) /* may be too much to ask for: count */
        (void)reserve(L, render, html_escaped_len(text));
    render->out_len += html_escape(text, render->out + render->out_len);
}

static void put_indent(lua_State *L, struct render *render) {
    put(L, render,
        slice_of(render->indent + render->indent_from, render->indent_len - render->indent_from));
}

static inline bool is_indented(const struct render *render) {
    return render->indent_len > render->indent_from;
}

/* Text of the template in an indented partial: each line that it begins is indented, but for empty
 * ones. */
static void put_indented(lua_State *L, struct render *render, struct slice text) {
    while (text.len) {
        const char *newline = memchr(text.data, '\n', text.len);
        size_t line = newline ? (size_t)(newline - text.data) + 1 : text.len;
        put(L, render, slice_of(text.data, line));
        text = slice_of(text.data + line, text.len - line);
        bool empty = text.len == 0 || text.data[0] == '\n' ||
                     (text.len > 1 && text.data[0] == '\r' && text.data[1] == '\n');
        if (newline && !empty)
            put_indent(L, render);
        render->fuel--;
    }
}

/* ---- finding values ---- */

/* Pushes the name of this number as a Lua string; the table of names fills as they are needed. */
static inline void push_name(lua_State *L, const struct render *render, uint32_t id) {
    if (lua_rawgeti(L, RENDER_NAMES, (lua_Integer)id + 1) == LUA_TSTRING)
        return;
    lua_pop(L, 1);
    lua_pushlstring(L, render->set->names[id].data, render->set->names[id].len);
    lua_pushvalue(L, -1);
    lua_rawseti(L, RENDER_NAMES, (lua_Integer)id + 1);
}

/* The attempt's req, whose fields appear when they are asked for. */
static bool is_req(lua_State *L, const struct render *render, int index) {
    if (!render->req || lua_topointer(L, index) != render->req || !lua_getmetatable(L, index))
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_vm_of(L)->req_meta);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* Replaces the name on top of the stack by the member of the table at index; its type. A req is
 * asked by its metamethod, which is ours. */
static inline int get_member(lua_State *L, const struct render *render, int index) {
    return is_req(L, render, index) ? lua_gettable(L, index) : lua_rawget(L, index);
}

/* The slot of the item of open section number n; 0 is the data. */
static inline int context_slot(uint32_t n) {
    return RENDER_DATA + 2 * (int)n;
}

/* Pushes what a tag's name means here, nil if nothing; its type. The first part is looked for from
 * the innermost section outwards, the others only in what was found. */
static int push_value(lua_State *L, const struct render *render, const struct template_op *op) {
    if (op->parts == 0) {
        lua_pushvalue(L, context_slot(render->contexts));
        return lua_type(L, -1);
    }
    const struct template_part *parts = &current(render)->parts[op->part];
    int type = LUA_TNIL;
    for (uint32_t n = render->contexts + 1; n-- > 0;) {
        int slot = context_slot(n);
        if (lua_type(L, slot) != LUA_TTABLE)
            continue;
        push_name(L, render, parts[0].id);
        type = get_member(L, render, slot);
        if (type != LUA_TNIL)
            break;
        lua_pop(L, 1);
    }
    if (type == LUA_TNIL) {
        lua_pushnil(L);
        return type;
    }
    for (uint32_t i = 1; i < op->parts; i++) {
        if (type != LUA_TTABLE) {
            lua_pop(L, 1);
            lua_pushnil(L);
            return LUA_TNIL;
        }
        push_name(L, render, parts[i].id);
        type = get_member(L, render, lua_absindex(L, -2));
        lua_remove(L, -2);
    }
    return type;
}

/* ---- values as text ---- */

static void put_integer(lua_State *L, struct render *render, lua_Integer integer) {
    char digits[24];
    size_t at = sizeof digits;
    uint64_t number = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    if (integer < 0)
        digits[--at] = '-';
    put(L, render, slice_of(digits + at, sizeof digits - at));
}

/* The value on top of the stack, as tostring writes it; nil and null are nothing. */
static void put_value(lua_State *L, struct render *render, const struct template_op *op, int type) {
    struct slice text;
    switch (type) {
    case LUA_TNIL:
        return;
    case LUA_TSTRING:
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1)) {
            put_integer(L, render, lua_tointeger(L, -1));
            return;
        }
        break;
    case LUA_TBOOLEAN:
        put(L, render, lua_toboolean(L, -1) ? SLICE("true") : SLICE("false"));
        return;
    default:
        if (script_is_null(L, -1))
            return;
        fail_value(L, render, op, "which cannot be shown");
    }
    text.data = lua_tolstring(L, -1, &text.len);
    if (op->kind == TEMPLATE_VALUE)
        put_escaped(L, render, text);
    else
        put(L, render, text);
    render->fuel -= (int)(text.len / WORK_BYTES);
}

/* ---- sections ---- */

enum shape { FALSY, SINGLE, LIST };

/* What a table is to a section: see lua/README.md. */
static enum shape table_shape(lua_State *L, const struct render *render) {
    const void *mark = NULL;
    if (lua_getmetatable(L, -1)) {
        mark = lua_topointer(L, -1);
        lua_pop(L, 1);
    }
    if (mark && mark == render->object_mark)
        return SINGLE;
    if (mark && mark == render->array_mark)
        return lua_rawlen(L, -1) ? LIST : FALSY;
    bool first = lua_rawgeti(L, -1, 1) != LUA_TNIL;
    lua_pop(L, 1);
    if (first)
        return LIST;
    if (is_req(L, render, lua_absindex(L, -1)))
        return SINGLE;
    lua_pushnil(L);
    if (!lua_next(L, -2))
        return FALSY;
    lua_pop(L, 2);
    return SINGLE;
}

/* The value on top of the stack. */
static enum shape shape_of(
    lua_State *L, const struct render *render, const struct template_op *op, int type) {
    switch (type) {
    case LUA_TNIL:
        return FALSY;
    case LUA_TBOOLEAN:
        return lua_toboolean(L, -1) ? SINGLE : FALSY;
    case LUA_TNUMBER:
    case LUA_TSTRING:
        return SINGLE;
    case LUA_TTABLE:
        return table_shape(L, render);
    default:
        if (script_is_null(L, -1))
            return FALSY;
        fail_value(L, render, op, "which a section cannot use");
    }
}

static struct render_frame *push_frame(
    lua_State *L, struct render *render, const struct template_op *op) {
    if (render->depth == RENDER_DEPTH_MAX)
        fail_at(L, render, op, "more than 200 sections and partials inside each other");
    luaL_checkstack(L, 8, "render");
    return &render->frames[render->depth++];
}

static void do_section(lua_State *L, struct render *render, const struct template_op *op) {
    int type = push_value(L, render, op);
    enum shape shape = shape_of(L, render, op, type);
    if (shape == FALSY) {
        lua_pop(L, 1);
        render->op = op->partner;
        return;
    }
    struct render_frame *frame = push_frame(L, render, op);
    *frame = (struct render_frame){.template = TEMPLATE_NONE, .op = render->op};
    render->contexts++;
    if (shape == LIST) {
        frame->index = 1;
        frame->count = (lua_Integer)lua_rawlen(L, -1);
        lua_rawgeti(L, -1, 1);
    } else {
        lua_pushvalue(L, -1);
    }
}

static void do_inverted(lua_State *L, struct render *render, const struct template_op *op) {
    int type = push_value(L, render, op);
    if (shape_of(L, render, op, type) != FALSY)
        render->op = op->partner;
    lua_pop(L, 1);
}

/* Goes on with the list's next item, or leaves the section. */
static void do_end(lua_State *L, struct render *render, const struct template_op *op) {
    if (current(render)->ops[op->partner].kind == TEMPLATE_INVERTED)
        return;
    assert(render->depth && render->contexts);
    struct render_frame *frame = &render->frames[render->depth - 1];
    if (frame->index < frame->count) {
        lua_pop(L, 1);
        lua_rawgeti(L, -1, ++frame->index);
        render->op = frame->op;
        return;
    }
    lua_pop(L, 2);
    render->contexts--;
    render->depth--;
}

/* ---- partials ---- */

static void add_indent(lua_State *L, struct render *render, const struct template_op *op) {
    if (op->len > RENDER_INDENT_MAX - render->indent_len)
        fail_at(L, render, op, "partials indented by more than 1024 bytes");
    memcpy(render->indent + render->indent_len, current(render)->text + op->at - op->len, op->len);
    render->indent_len += op->len;
}

static void do_partial(lua_State *L, struct render *render, const struct template_op *op) {
    if (op->partner == TEMPLATE_NONE)
        return;
    const struct template_entry *entry = &render->set->entries[op->partner];
    if (!entry->template)
        luaL_error(L, "%s", entry->error);
    struct render_frame *frame = push_frame(L, render, op);
    *frame = (struct render_frame){.template = render->template,
        .op = render->op,
        .indent_from = render->indent_from,
        .indent_len = render->indent_len};
    if (op->standalone)
        add_indent(L, render, op);
    else
        render->indent_from = render->indent_len;
    render->template = op->partner;
    render->op = 0;
}

/* At the end of a template: back to the tag of the partial; false if it was none. */
static bool leave_template(struct render *render) {
    if (render->depth == 0)
        return false;
    const struct render_frame *frame = &render->frames[--render->depth];
    assert(frame->template != TEMPLATE_NONE);
    render->template = frame->template;
    render->op = frame->op;
    render->indent_from = frame->indent_from;
    render->indent_len = frame->indent_len;
    return true;
}

/* ---- the loop ---- */

static void do_op(lua_State *L, struct render *render, const struct template_op *op) {
    if (op->starts_line && is_indented(render))
        put_indent(L, render);
    switch ((enum template_op_kind)op->kind) {
    case TEMPLATE_TEXT: {
        struct slice text = slice_of(current(render)->text + op->at, op->len);
        if (is_indented(render))
            put_indented(L, render, text);
        else
            put(L, render, text);
        render->fuel -= (int)(op->len / WORK_BYTES);
        return;
    }
    case TEMPLATE_VALUE:
    case TEMPLATE_RAW: {
        int type = push_value(L, render, op);
        put_value(L, render, op, type);
        lua_pop(L, 1);
        return;
    }
    case TEMPLATE_SECTION:
        do_section(L, render, op);
        return;
    case TEMPLATE_INVERTED:
        do_inverted(L, render, op);
        return;
    case TEMPLATE_END:
        do_end(L, render, op);
        return;
    case TEMPLATE_PARTIAL:
        do_partial(L, render, op);
        return;
    }
}

void template_render_start(lua_State *L, struct render *render, uint32_t index) {
    const struct script_vm *vm = script_vm_of(L);
    render->set = vm->app->templates;
    render->array_mark = vm->array_mark;
    render->object_mark = vm->object_mark;
    render->req = vm->current->req;
    render->template = index;
    render->op = render->contexts = render->depth = 0;
    render->fuel = FUEL;
    render->out_len = 0;
    render->indent_from = render->indent_len = 0;
}

int template_render_run(lua_State *L, lua_KFunction go_on) {
    struct render *render = lua_touserdata(L, RENDER_STATE);
    for (;;) {
        if (--render->fuel < 0) {
            render->fuel = FUEL;
            script_check_doom(L);
            if (script_tired(L))
                return script_rest(L, 0, go_on);
            /* Between the two looks the machine may have stood still. */
            script_work_look(L, script_can_rest(L) ? SCRIPT_LOOKS_ENDLESS : LOOKS_MIN);
        }
        const struct template *template = current(render);
        if (render->op < template->op_count)
            do_op(L, render, &template->ops[render->op++]);
        else if (!leave_template(render))
            break;
    }
    lua_pushlstring(L, render->out_len ? render->out : "", render->out_len);
    return 1;
}
