/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Values -> text, as QEMU prints them.
 *
 * ASCII only: other characters as \uXXXX (two of them beyond U+FFFF). Doubles
 * with 17 significant digits. On one line there is a space behind commas and
 * colons; in pretty form each member has a line, and the brackets of an empty
 * object or array stand on two.
 */
#include "util/osdep.h"
#include "util/json-internal.h"

typedef struct Writer {
    GString *out;
    bool pretty;
    int level;
} Writer;

static void write_value(Writer *w, const json_t *value);

static void write_char(GString *out, uint32_t c)
{
    static const char names[] = "\"\\bfnrt";
    static const char chars[] = "\"\\\b\f\n\r\t";
    const char *at = c && c < 0x80 ? strchr(chars, c) : NULL;

    if (at) {
        g_string_append_c(out, '\\');
        g_string_append_c(out, names[at - chars]);
    } else if (c >= 0x20 && c < 0x7f) {
        g_string_append_c(out, c);
    } else if (c <= 0xffff) {
        g_string_append_printf(out, "\\u%04X", c);
    } else {
        c -= 0x10000;
        g_string_append_printf(out, "\\u%04X\\u%04X", 0xd800 | c >> 10,
                               0xdc00 | (c & 0x3ff));
    }
}

static void write_string(Writer *w, const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    const unsigned char *end = p + strlen(s);

    g_string_append_c(w->out, '"');
    while (p < end) {
        int c = json_utf8_next(&p, end);

        write_char(w->out, c < 0 ? 0xfffd : c);
    }
    g_string_append_c(w->out, '"');
}

/* Where a line ends in pretty form, and the next one begins. */
static void write_break(Writer *w)
{
    if (w->pretty) {
        g_string_append_printf(w->out, "\n%*s", w->level * 4, "");
    }
}

static void write_separator(Writer *w, bool first)
{
    if (!first) {
        g_string_append(w->out, w->pretty ? "," : ", ");
    }
    write_break(w);
}

static void write_object(Writer *w, const json_t *value)
{
    json_t *object = (json_t *)value;
    bool first = true;
    const char *key;
    json_t *member;

    g_string_append_c(w->out, '{');
    w->level++;
    json_object_foreach(object, key, member) {
        write_separator(w, first);
        first = false;
        write_string(w, key);
        g_string_append(w->out, ": ");
        write_value(w, member);
    }
    w->level--;
    write_break(w);
    g_string_append_c(w->out, '}');
}

static void write_array(Writer *w, const json_t *value)
{
    size_t index;
    json_t *member;

    g_string_append_c(w->out, '[');
    w->level++;
    json_array_foreach(value, index, member) {
        write_separator(w, index == 0);
        write_value(w, member);
    }
    w->level--;
    write_break(w);
    g_string_append_c(w->out, ']');
}

static void write_number(Writer *w, const json_t *value)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    uint64_t u;

    if (json_get_uint64(value, &u)) {
        g_string_append_printf(w->out, "%" PRIu64, u);
    } else if (json_is_integer(value)) {
        g_string_append_printf(w->out, "%" PRId64,
                               (int64_t)json_integer_value(value));
    } else {
        g_string_append(w->out, g_ascii_formatd(text, sizeof(text), "%.17g",
                                                json_real_value(value)));
    }
}

static void write_value(Writer *w, const json_t *value)
{
    switch (json_qtype(value)) {
    case JSON_T_NULL:
        g_string_append(w->out, "null");
        break;
    case JSON_T_BOOL:
        g_string_append(w->out, json_is_true(value) ? "true" : "false");
        break;
    case JSON_T_NUMBER:
        write_number(w, value);
        break;
    case JSON_T_STRING:
        write_string(w, json_get_string(value));
        break;
    case JSON_T_OBJECT:
        write_object(w, value);
        break;
    case JSON_T_ARRAY:
        write_array(w, value);
        break;
    }
}

static char *format(const json_t *value, bool pretty)
{
    Writer w = { .out = g_string_new(NULL), .pretty = pretty };

    write_value(&w, value);
    return g_string_free(w.out, FALSE);
}

char *json_format(const json_t *value)
{
    return format(value, false);
}

char *json_format_pretty(const json_t *value)
{
    return format(value, true);
}
