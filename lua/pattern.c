#include "lua/pattern.h"

#include <assert.h>
#include <ctype.h>
#include <lauxlib.h>
#include <stdarg.h>

/* One match from one start may always take this long: 3 million steps. */
#define LOOKS_MIN 48u
#define BYTES_PER_STEP 8u /* of a set that is looked through, of texts that are compared */
#define DEPTH_MAX 200u    /* C frames; each item of a pattern may take one */

static const char *match_from(struct pattern *m, const char *s, const char *p);

/* Steps of work. */
static void steps(struct pattern *m, size_t count) {
    if (m->steps > count) {
        m->steps -= (uint32_t)count;
        return;
    }
    m->steps = SCRIPT_WORK_PER_LOOK;
    script_work_look(m->L, LOOKS_MIN);
    m->tired = script_tired(m->L);
}

static void step(struct pattern *m) {
    steps(m, 1);
}

/* As luaL_error, with the place of the pattern's caller; does not return. */
static const char *fail(const struct pattern *m, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    luaL_where(m->L, m->caller);
    lua_pushvfstring(m->L, format, arguments);
    va_end(arguments);
    lua_concat(m->L, 2);
    (void)lua_error(m->L);
    return NULL;
}

static _Noreturn void malformed(const struct pattern *m, const char *why) {
    fail(m, "malformed pattern (%s)", why);
    __builtin_unreachable();
}

static unsigned char byte_at(const char *at) {
    return (unsigned char)*at;
}

/* ---- single characters ---- */

/* True if byte is in the class of a letter behind '%'; a letter of no class stands for itself. */
static bool in_class(unsigned char byte, unsigned char letter) {
    bool found;
    switch (tolower(letter)) {
    case 'a':
        found = isalpha(byte);
        break;
    case 'c':
        found = iscntrl(byte);
        break;
    case 'd':
        found = isdigit(byte);
        break;
    case 'g':
        found = isgraph(byte);
        break;
    case 'l':
        found = islower(byte);
        break;
    case 'p':
        found = ispunct(byte);
        break;
    case 's':
        found = isspace(byte);
        break;
    case 'u':
        found = isupper(byte);
        break;
    case 'w':
        found = isalnum(byte);
        break;
    case 'x':
        found = isxdigit(byte);
        break;
    case 'z': /* in no manual since 5.1, but the library still has it */
        found = byte == 0;
        break;
    default:
        return letter == byte;
    }
    return isupper(letter) ? !found : found;
}

/* Where the single-character item at p ends: a character, '.', %class or a [set]. */
static const char *item_end(struct pattern *m, const char *p) {
    char first = *p++;
    if (first == '%') {
        if (p == m->end)
            malformed(m, "ends with '%'");
        return p + 1;
    }
    if (first != '[')
        return p;
    if (p < m->end && *p == '^')
        p++;
    do { /* a ']' that comes first stands for itself */
        if (p == m->end)
            malformed(m, "missing ']'");
        if (*p++ == '%') {
            if (p == m->end)
                malformed(m, "ends with '%'");
            p++;
        }
    } while (p == m->end || *p != ']');
    return p + 1;
}

/* True if byte is in the set from '[' at p to ']' at last. */
static bool in_set(unsigned char byte, const char *p, const char *last) {
    bool wanted = true;
    if (*++p == '^') {
        wanted = false;
        p++;
    }
    while (p < last) {
        if (*p == '%') {
            if (in_class(byte, byte_at(p + 1)))
                return wanted;
            p += 2;
        } else if (p + 2 < last && p[1] == '-') {
            if (byte_at(p) <= byte && byte <= byte_at(p + 2))
                return wanted;
            p += 3;
        } else {
            if (byte_at(p) == byte)
                return wanted;
            p++;
        }
    }
    return !wanted;
}

/* True if the item [p, end) matches the character at s. */
static bool item_matches(struct pattern *m, const char *s, const char *p, const char *end) {
    steps(m, 1 + (size_t)(end - p) / BYTES_PER_STEP);
    if (s >= m->text_end)
        return false;
    switch (*p) {
    case '.':
        return true;
    case '%':
        return in_class(byte_at(s), byte_at(p + 1));
    case '[':
        return in_set(byte_at(s), p, end - 1);
    default:
        return *p == *s;
    }
}

/* ---- repetition ---- */

/* As often as possible, then back one by one. */
static const char *match_longest(struct pattern *m, const char *s, const char *p, const char *end) {
    const char *last = s;
    if (*p == '.')
        last = m->text_end;
    else
        while (item_matches(m, last, p, end))
            last++;
    for (; last >= s; last--) {
        step(m);
        const char *found = match_from(m, last, end + 1);
        if (found)
            return found;
    }
    return NULL;
}

/* As seldom as possible. */
static const char *match_shortest(
    struct pattern *m, const char *s, const char *p, const char *end) {
    for (;;) {
        const char *found = match_from(m, s, end + 1);
        if (found)
            return found;
        if (!item_matches(m, s, p, end))
            return NULL;
        s++;
    }
}

/* ---- captures, %b, %f ---- */

static const char *open_capture(struct pattern *m, const char *s, const char *p, ptrdiff_t len) {
    if (m->capture_count == PATTERN_CAPTURES_MAX)
        return fail(m, "too many captures");
    m->captures[m->capture_count++] = (struct pattern_capture){.start = s, .len = len};
    const char *found = match_from(m, s, p);
    if (!found)
        m->capture_count--;
    return found;
}

static const char *close_capture(struct pattern *m, const char *s, const char *p) {
    int index = m->capture_count - 1;
    while (index >= 0 && m->captures[index].len != PATTERN_OPEN)
        index--;
    if (index < 0)
        return fail(m, "invalid pattern capture");
    m->captures[index].len = s - m->captures[index].start;
    const char *found = match_from(m, s, p);
    if (!found)
        m->captures[index].len = PATTERN_OPEN;
    return found;
}

/* %1 to %9: the text of that capture again. Where it ends, or NULL. */
static const char *match_again(struct pattern *m, const char *s, char digit) {
    int index = digit - '1';
    if (index < 0 || index >= m->capture_count || m->captures[index].len == PATTERN_OPEN)
        return fail(m, "invalid capture index %%%d in pattern", index + 1);
    ptrdiff_t len = m->captures[index].len;
    if (len > 0)
        steps(m, (size_t)len / BYTES_PER_STEP);
    if (len == PATTERN_POSITION || m->text_end - s < len ||
        memcmp(m->captures[index].start, s, (size_t)len) != 0)
        return NULL;
    return s + len;
}

/* %bxy with p at x: a run balanced in x and y. Where it ends, or NULL. */
static const char *match_balanced(struct pattern *m, const char *s, const char *p) {
    if (m->end - p < 2)
        malformed(m, "missing arguments to '%b'");
    if (s >= m->text_end || *s != p[0])
        return NULL;
    size_t level = 1;
    while (++s < m->text_end) {
        step(m);
        if (*s == p[1]) {
            if (--level == 0)
                return s + 1;
        } else if (*s == p[0]) {
            level++;
        }
    }
    return NULL;
}

/* %f[set] with p at '[': between a character outside and one inside of the set. */
static bool at_frontier(struct pattern *m, const char *s, const char *p, const char *end) {
    unsigned char before = s == m->text ? 0 : byte_at(s - 1);
    unsigned char behind = s < m->text_end ? byte_at(s) : 0;
    steps(m, (size_t)(end - p) / BYTES_PER_STEP);
    return !in_set(before, p, end - 1) && in_set(behind, p, end - 1);
}

/* ---- the pattern ---- */

/* The items that begin with '%' and are no single character. True if it was one: then either *s and
 * *p have moved on, or *s is NULL for no match. */
static bool match_special(struct pattern *m, const char **s, const char **p) {
    const char *at = *p + 1;
    if (at == m->end)
        return false;
    if (*at == 'b') {
        *s = match_balanced(m, *s, at + 1);
        *p = *s ? at + 3 : at;
        return true;
    }
    if (*at == 'f') {
        at++;
        if (at == m->end || *at != '[')
            fail(m, "missing '[' after '%%f' in pattern");
        const char *end = item_end(m, at);
        if (!at_frontier(m, *s, at, end))
            *s = NULL;
        *p = end;
        return true;
    }
    if (*at >= '0' && *at <= '9') {
        *s = match_again(m, *s, *at);
        *p = at + 1;
        return true;
    }
    return false;
}

/* A single character with what follows it: '?', '*', '+', '-' or nothing. True if *s and *p have
 * moved on and the match goes on from there; else *s is the result. */
static bool match_item(struct pattern *m, const char **s, const char **p) {
    const char *end = item_end(m, *p), *found;
    char suffix = end < m->end ? *end : '\0';
    switch (suffix) {
    case '*':
        *s = match_longest(m, *s, *p, end);
        return false;
    case '+':
        *s = item_matches(m, *s, *p, end) ? match_longest(m, *s + 1, *p, end) : NULL;
        return false;
    case '-':
        *s = match_shortest(m, *s, *p, end);
        return false;
    case '?':
        if (item_matches(m, *s, *p, end) && (found = match_from(m, *s + 1, end + 1)) != NULL) {
            *s = found;
            return false;
        }
        *p = end + 1;
        return true;
    default:
        if (!item_matches(m, *s, *p, end)) {
            *s = NULL;
            return false;
        }
        *s += 1;
        *p = end;
        return true;
    }
}

/* Matches the rest of the pattern, from p, at s: where the match ends, or NULL. */
static const char *match_rest(struct pattern *m, const char *s, const char *p) {
    while (p < m->end) {
        assert(s && p);
        switch (*p) {
        case '(':
            if (p + 1 < m->end && p[1] == ')')
                return open_capture(m, s, p + 2, PATTERN_POSITION);
            return open_capture(m, s, p + 1, PATTERN_OPEN);
        case ')':
            return close_capture(m, s, p + 1);
        case '$':
            if (p + 1 == m->end)
                return s == m->text_end ? s : NULL;
            break;
        case '%':
            if (match_special(m, &s, &p)) {
                if (!s)
                    return NULL;
                continue;
            }
            break;
        default:
            break;
        }
        if (!match_item(m, &s, &p))
            return s;
    }
    return s;
}

static const char *match_from(struct pattern *m, const char *s, const char *p) {
    if (++m->depth > DEPTH_MAX)
        return fail(m, "pattern too complex");
    const char *found = match_rest(m, s, p);
    m->depth--;
    return found;
}

/* ---- for callers ---- */

void pattern_init(struct pattern *pattern, lua_State *L, struct slice text, struct slice source) {
    pattern->L = L;
    pattern->caller = 1;
    pattern->text = text.data;
    pattern->text_end = text.data + text.len;
    pattern->anchored = source.len > 0 && source.data[0] == '^';
    pattern->at = source.data + pattern->anchored;
    pattern->end = source.data + source.len;
    pattern->depth = 0;
    pattern->capture_count = 0;
    pattern->steps = SCRIPT_WORK_PER_LOOK;
    pattern->tired = false;
}

const char *pattern_match_at(struct pattern *pattern, const char *from) {
    pattern->depth = 0;
    pattern->capture_count = 0;
    return match_from(pattern, from, pattern->at);
}

const char *pattern_find(struct pattern *pattern, const char **from) {
    for (;; ++*from) {
        step(pattern);
        const char *end = pattern_match_at(pattern, *from);
        if (end)
            return end;
        if (pattern->anchored || *from == pattern->text_end) {
            pattern->tired = false;
            return NULL;
        }
        if (pattern->tired) {
            ++*from;
            return NULL;
        }
    }
}

void pattern_done(struct pattern *pattern) {
    script_work(pattern->L, SCRIPT_WORK_PER_LOOK - pattern->steps);
}

void pattern_push_capture(struct pattern *pattern, int index, const char *start, const char *end) {
    if (index >= pattern->capture_count) {
        if (index != 0)
            fail(pattern, "invalid capture index %%%d", index + 1);
        lua_pushlstring(pattern->L, start, (size_t)(end - start));
        return;
    }
    const struct pattern_capture *capture = &pattern->captures[index];
    if (capture->len == PATTERN_OPEN)
        fail(pattern, "unfinished capture");
    if (capture->len == PATTERN_POSITION)
        lua_pushinteger(pattern->L, capture->start - pattern->text + 1);
    else
        lua_pushlstring(pattern->L, capture->start, (size_t)capture->len);
}

int pattern_push_captures(struct pattern *pattern, const char *start, const char *end, bool whole) {
    int count = pattern->capture_count == 0 && whole ? 1 : pattern->capture_count;
    luaL_checkstack(pattern->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        pattern_push_capture(pattern, i, start, end);
    return count;
}

bool pattern_is_plain(struct slice source) {
    for (size_t i = 0; i < source.len; i++)
        if (source.data[i] != '\0' && strchr("^$*+?.([%-", source.data[i]))
            return false;
    return true;
}
