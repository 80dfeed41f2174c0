/* Templates: any bytes are refused with a place inside of them or give a program whose jumps are
 * sound and whose texts lie in the source; and what was parsed renders, twice to the same text.
 *
 * Input: the template "t", a zero byte, the template "p", which both can use as a partial. */
#include "lua/decode.h"
#include "lua/template_render.h"
#include "tests/fuzz/vm.h"

#define BUDGET_NS (20 * NS_PER_MS) /* a template may say less in a year */

static const char data_text[] = "{\"a\":\"A<\\n&\\\"'\",\"b\":false,\"c\":null,\"l\":[1,{\"b\":"
                                "\"in\",\"l\":[]},\"x\"],\"n\":-0.0,"
                                "\"e\":[],\"o\":{\"a\":{\"b\":\"deep\"}},\"t\":true}";

/* ---- the program ---- */

static void check_section(const struct template *template, uint32_t index) {
    const struct template_op *op = &template->ops[index];
    FUZZ_CHECK(op->partner > index + 1 && op->partner <= template->op_count);
    FUZZ_CHECK(template->ops[op->partner - 1].kind == TEMPLATE_END);
    FUZZ_CHECK(template->ops[op->partner - 1].partner == index);
}

static void check_program(const struct template *template) {
    uint32_t open[TEMPLATE_SECTIONS_MAX], depth = 0;
    for (uint32_t i = 0; i < template->op_count; i++) {
        const struct template_op *op = &template->ops[i];
        FUZZ_CHECK(op->at <= template->len);
        FUZZ_CHECK(op->part + (uint64_t)op->parts <= template->part_count);
        if (op->kind == TEMPLATE_TEXT)
            FUZZ_CHECK((size_t)op->at + op->len <= template->len);
        if (op->kind == TEMPLATE_PARTIAL)
            FUZZ_CHECK(op->len <= op->at && op->parts == 1);
        if (op->kind == TEMPLATE_SECTION || op->kind == TEMPLATE_INVERTED) {
            check_section(template, i);
            FUZZ_CHECK(depth < TEMPLATE_SECTIONS_MAX);
            open[depth++] = i;
        }
        if (op->kind == TEMPLATE_END)
            FUZZ_CHECK(depth > 0 && open[--depth] == op->partner);
    }
    FUZZ_CHECK(depth == 0);
    for (uint32_t i = 0; i < template->part_count; i++)
        FUZZ_CHECK((size_t) template->parts[i].at + template->parts[i].len <= template->len);
}

static void check_parse(struct slice source) {
    struct template *template = NULL;
    struct template_error error;
    enum status status = template_parse(source, &template, &error);
    if (status == ST_OK) {
        fuzz_check_equal(slice_of(template->text, template->len), source, "the template's text");
        check_program(template);
        template_free(template);
        return;
    }
    FUZZ_CHECK(status == ST_INVALID && error.text[0]);
    FUZZ_CHECK(memchr(error.text, '\0', sizeof error.text) != NULL);
    unsigned line, column;
    template_place(source, source.len, &line, &column);
    FUZZ_CHECK(error.line >= 1 && error.column >= 1 && error.line <= line);
    FUZZ_CHECK(error.column <= source.len + 1);
}

/* ---- rendering ---- */

static int decode_data(lua_State *L) {
    return script_decode_json(L, slice_of(data_text, sizeof data_text - 1));
}

static int end_render(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    return template_render_run(L, end_render);
}

/* Argument 1: the index of the template; the result is its text. */
static int render(lua_State *L) {
    uint32_t index = (uint32_t)lua_tointeger(L, 1);
    lua_settop(L, 0);
    struct render *state = lua_newuserdatauv(L, sizeof *state, 1);
    state->out = NULL;
    state->out_cap = 0;
    lua_newtable(L);
    lua_pushcfunction(L, decode_data);
    lua_call(L, 0, 1);
    template_render_start(L, state, index);
    return end_render(L, LUA_OK, 0);
}

/* Pushes text or error; false if it took too long. */
static bool try_render(lua_State *L, uint32_t index) {
    lua_pushcfunction(L, render);
    lua_pushinteger(L, index);
    int result = fuzz_vm_call(L, 1, 1, BUDGET_NS);
    if (fuzz_attempt.doom != DOOM_NONE)
        return false;
    FUZZ_CHECK(result == LUA_OK || result == LUA_ERRRUN);
    FUZZ_CHECK(lua_type(L, -1) == LUA_TSTRING);
    FUZZ_CHECK(lua_rawlen(L, -1) <= RENDER_BYTES_MAX + 1024);
    return true;
}

static void check_render(struct slice main_source, struct slice partial) {
    struct script_vm *vm = fuzz_vm();
    lua_State *L = vm->lua;
    struct template_set *own = vm->app->templates, *set = template_set_new();
    FUZZ_CHECK(set && template_set_add(set, SLICE("t"), main_source) == ST_OK);
    FUZZ_CHECK(template_set_add(set, SLICE("p"), partial) == ST_OK);
    FUZZ_CHECK(template_set_link(set) == ST_OK);
    vm->app->templates = set;
    uint32_t index = template_set_find(set, SLICE("t"));
    FUZZ_CHECK(index != TEMPLATE_NONE);
    if (set->entries[index].template && try_render(L, index) && try_render(L, index))
        FUZZ_CHECK(lua_rawequal(L, -1, -2));
    lua_settop(L, 0);
    vm->app->templates = own;
    template_set_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_of((const char *)data, size);
    struct slice source = fuzz_take_field(&input);
    source = fuzz_copy(source.data, source.len);
    struct slice partial = fuzz_copy(input.data, input.len);
    check_parse(source);
    check_parse(partial);
    check_render(source, partial);
    fuzz_drop(source);
    fuzz_drop(partial);
    return 0;
}
