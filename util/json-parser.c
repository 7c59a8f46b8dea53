/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Tokens -> values, by recursive descent; the streamer has bounded the depth.
 *
 * Strings become modified UTF-8 here: what the text holds must be valid, and
 * escapes must name valid characters; \u0000 becomes c0 80. Integers stay
 * exact from INT64_MIN to UINT64_MAX; beyond, and with a point or exponent,
 * numbers are doubles.
 */
#include "util/osdep.h"
#include <math.h>
#include "util/json-internal.h"

typedef struct Parser {
    const JsonToken *token, *end;
    const char *text;
    Error **errp;
} Parser;

static json_t *parse_value(Parser *p);

static json_t *parse_error(Parser *p, const char *what)
{
    error_setg(p->errp, "JSON parse error, %s", what);
    return NULL;
}

/* The next token without taking it; NULL at the end. */
static const JsonToken *peek(Parser *p)
{
    return p->token < p->end ? p->token : NULL;
}

/* Take the next token if it is of the type. */
static bool take(Parser *p, JsonTokenType type)
{
    if (p->token < p->end && p->token->type == type) {
        p->token++;
        return true;
    }
    return false;
}

/* ---- characters ---- */

bool json_char_valid(uint32_t c)
{
    return c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) &&
           (c < 0xfdd0 || c > 0xfdef) && (c & 0xfffe) != 0xfffe;
}

int json_utf8_next(const unsigned char **pos, const unsigned char *end)
{
    static const uint32_t lowest[] = { 0, 0x80, 0x800, 0x10000 };
    const unsigned char *p = *pos;
    uint32_t c = *p++;
    int more;

    *pos = p;
    if (c < 0x80) {
        return c;
    }
    if (c < 0xc0 || c >= 0xf8) {
        return -1;
    }
    more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    c &= 0x3f >> more;
    for (int i = 0; i < more; i++) {
        if (p == end || (*p & 0xc0) != 0x80) {
            return -1;
        }
        c = c << 6 | (*p++ & 0x3f);
        *pos = p;
    }
    if (c < lowest[more] && !(more == 1 && c == 0)) {
        return -1;
    }
    return json_char_valid(c) ? (int)c : -1;
}

static void append_char(GString *out, uint32_t c)
{
    if (c) {
        g_string_append_unichar(out, c);
    } else {
        g_string_append_len(out, "\xc0\x80", 2);
    }
}

/* ---- strings ---- */

/* Four hexadecimal digits, or -1. */
static int parse_hex4(const char *s, const char *end)
{
    int n = 0;

    if (end - s < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        if (!g_ascii_isxdigit(s[i])) {
            return -1;
        }
        n = n << 4 | g_ascii_xdigit_value(s[i]);
    }
    return n;
}

/* At *pos: what follows \u; a surrogate needs its other half behind it. */
static bool parse_unicode(Parser *p, const char **pos, const char *end,
                          GString *out)
{
    const char *s = *pos;
    int c = parse_hex4(s, end), low;

    *pos += 4;
    if (c >= 0xd800 && c <= 0xdbff && end - s >= 6 && s[4] == '\\' &&
        s[5] == 'u') {
        low = parse_hex4(s + 6, end);
        if (low >= 0xdc00 && low <= 0xdfff) {
            c = 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff));
            *pos += 6;
        }
    }
    if (c < 0 || !json_char_valid(c)) {
        /* The closing quote stands behind the end, and may be shown. */
        g_autofree char *shown = g_strndup(s, MIN(4, end - s + 1));
        g_autofree char *valid = g_utf8_make_valid(shown, -1);

        error_setg(p->errp, "JSON parse error, \\u%s is not a valid Unicode "
                   "character", valid);
        return false;
    }
    append_char(out, c);
    return true;
}

/* At *pos: what follows a backslash. */
static bool parse_escape(Parser *p, const char **pos, const char *end,
                         GString *out)
{
    static const char names[] = "\"'\\/bfnrt";
    static const char chars[] = "\"'\\/\b\f\n\r\t";
    char c = *(*pos)++;
    const char *at;

    if (c == 'u') {
        return parse_unicode(p, pos, end, out);
    }
    at = c ? strchr(names, c) : NULL;
    if (!at) {
        parse_error(p, "invalid escape sequence in string");
        return false;
    }
    g_string_append_c(out, chars[at - names]);
    return true;
}

/* The string of a token; NULL on error. */
static char *parse_string(Parser *p, const JsonToken *token)
{
    const char *s = p->text + token->off + 1;
    const char *end = s + token->len - 2;
    GString *out = g_string_sized_new(token->len);

    while (s < end) {
        const unsigned char *u = (const unsigned char *)s;
        int c;

        if (*s == '\\') {
            s++;
            if (!parse_escape(p, &s, end, out)) {
                g_string_free(out, TRUE);
                return NULL;
            }
            continue;
        }
        c = json_utf8_next(&u, (const unsigned char *)end);
        if (c < 0) {
            parse_error(p, "invalid UTF-8 sequence in string");
            g_string_free(out, TRUE);
            return NULL;
        }
        append_char(out, c);
        s = (const char *)u;
    }
    return g_string_free(out, FALSE);
}

/* ---- values ---- */

static json_t *parse_number(Parser *p, const JsonToken *token)
{
    g_autofree char *text = g_strndup(p->text + token->off, token->len);
    int64_t n;
    uint64_t u;
    double d;

    if (token->type == JSON_TOKEN_INTEGER) {
        errno = 0;
        n = g_ascii_strtoll(text, NULL, 10);
        if (!errno) {
            return json_integer(n);
        }
        errno = 0;
        u = g_ascii_strtoull(text, NULL, 10);
        if (text[0] != '-' && !errno) {
            return json_uint64(u);
        }
    }
    d = g_ascii_strtod(text, NULL);
    return isfinite(d) ? json_real(d) : parse_error(p, "number too large");
}

static json_t *parse_keyword(Parser *p, const JsonToken *token)
{
    g_autofree char *word = g_strndup(p->text + token->off, token->len);

    if (g_str_equal(word, "true")) {
        return json_true();
    }
    if (g_str_equal(word, "false")) {
        return json_false();
    }
    if (g_str_equal(word, "null")) {
        return json_null();
    }
    error_setg(p->errp, "JSON parse error, invalid keyword '%s'", word);
    return NULL;
}

/* One "key": value into the object. */
static bool parse_pair(Parser *p, json_t *object)
{
    g_autoptr(json_t) key = parse_value(p);
    const char *name;
    json_t *value;

    if (!key) {
        return false;
    }
    name = json_get_string(key);
    if (!name) {
        parse_error(p, "key is not a string in object");
        return false;
    }
    if (!take(p, JSON_TOKEN_COLON)) {
        parse_error(p, peek(p) ? "missing : in object pair"
                               : "premature EOI");
        return false;
    }
    value = parse_value(p);
    if (!value) {
        return false;
    }
    if (json_object_get(object, name)) {
        json_decref(value);
        parse_error(p, "duplicate key");
        return false;
    }
    json_object_set_new_nocheck(object, name, value);
    return true;
}

/* Behind the opening brace. */
static json_t *parse_object(Parser *p)
{
    g_autoptr(json_t) object = json_object();

    if (take(p, JSON_TOKEN_RCURLY)) {
        return g_steal_pointer(&object);
    }
    do {
        if (!parse_pair(p, object)) {
            return NULL;
        }
        if (take(p, JSON_TOKEN_RCURLY)) {
            return g_steal_pointer(&object);
        }
    } while (take(p, JSON_TOKEN_COMMA));
    return parse_error(p, peek(p) ? "expected separator in dict"
                                  : "premature EOI");
}

/* Behind the opening bracket. */
static json_t *parse_array(Parser *p)
{
    g_autoptr(json_t) array = json_array();
    json_t *value;

    if (take(p, JSON_TOKEN_RSQUARE)) {
        return g_steal_pointer(&array);
    }
    do {
        value = parse_value(p);
        if (!value) {
            return NULL;
        }
        json_array_append_new(array, value);
        if (take(p, JSON_TOKEN_RSQUARE)) {
            return g_steal_pointer(&array);
        }
    } while (take(p, JSON_TOKEN_COMMA));
    return parse_error(p, peek(p) ? "expected separator in list"
                                  : "premature EOI");
}

static json_t *parse_value(Parser *p)
{
    const JsonToken *token = peek(p);
    g_autofree char *string = NULL;

    if (!token) {
        return parse_error(p, "premature EOI");
    }
    p->token++;
    switch (token->type) {
    case JSON_TOKEN_LCURLY:
        return parse_object(p);
    case JSON_TOKEN_LSQUARE:
        return parse_array(p);
    case JSON_TOKEN_INTEGER:
    case JSON_TOKEN_FLOAT:
        return parse_number(p, token);
    case JSON_TOKEN_KEYWORD:
        return parse_keyword(p, token);
    case JSON_TOKEN_STRING:
        string = parse_string(p, token);
        return string ? json_string_nocheck(string) : NULL;
    default:
        return parse_error(p, "expecting value");
    }
}

json_t *json_parse_tokens(const JsonToken *tokens, size_t n, const char *text,
                          Error **errp)
{
    Parser p = { tokens, tokens + n, text, errp };

    return parse_value(&p);
}

/* ---- a text of one value ---- */

typedef struct Single {
    json_t *value;
    Error *err;
    bool many;
} Single;

/* The first value and the first error count. */
static void single_value(void *opaque, json_t *value, Error *err)
{
    Single *single = opaque;

    if (value && (single->value || single->err)) {
        single->many = true;
        json_decref(value);
    } else if (value) {
        single->value = value;
    } else if (single->err || single->value) {
        single->many = true;
        error_free(err);
    } else {
        single->err = err;
    }
}

json_t *json_parse(const char *text, size_t len, Error **errp)
{
    Single single = { NULL };
    g_autoptr(JsonStream) stream = json_stream_new(single_value, &single);

    json_stream_feed(stream, text, len);
    json_stream_end(stream);
    if (single.err) {
        error_propagate(errp, single.err);
    } else if (single.many) {
        error_setg(errp, "Expecting at most one JSON value");
    } else if (!single.value) {
        error_setg(errp, "Expecting a JSON value");
    } else {
        return single.value;
    }
    if (single.value) {
        json_decref(single.value);
    }
    return NULL;
}

json_t *json_parse_str(const char *text, Error **errp)
{
    return json_parse(text, strlen(text), errp);
}
