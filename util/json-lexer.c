/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Bytes -> tokens: RFC 8259 plus strings in single quotes.
 *
 * Strings are only delimited here: escapes and UTF-8 are the parser's. Inside
 * a string control characters and the bytes fe and ff, which never occur in
 * UTF-8, are errors; so is any byte that begins no token.
 *
 * Behind an error everything is skipped up to a byte that is likely to be a
 * fresh start: one of []{},: or a control character (but a tab), fe or ff.
 * That is how QEMU resynchronises, and clients use ff for it.
 */
#include "util/osdep.h"
#include "util/json-internal.h"

static bool is_control(unsigned char c)
{
    return c < 0x20 || c >= 0xfe;
}

static JsonLexResult lex_error(JsonLexState *state)
{
    *state = LEX_RECOVERY;
    return LEX_ERROR;
}

static JsonLexResult lex_begin(JsonLexState *state, JsonLexState begun)
{
    *state = begun;
    return LEX_MORE;
}

static JsonLexResult lex_end(JsonLexState *state, JsonTokenType *type,
                             JsonTokenType is, JsonLexResult result)
{
    *state = LEX_START;
    *type = is;
    return result;
}

static bool punctuation(unsigned char c, JsonTokenType *type)
{
    static const char chars[] = "{}[]:,";
    const char *at = c ? strchr(chars, c) : NULL;

    if (!at) {
        return false;
    }
    *type = JSON_TOKEN_LCURLY + (at - chars);
    return true;
}

static JsonLexResult lex_start(JsonLexState *state, unsigned char c,
                               JsonTokenType *type)
{
    if (punctuation(c, type)) {
        return LEX_END;
    }
    switch (c) {
    case ' ':
    case '\t':
    case '\n':
    case '\r':
        return LEX_SKIP;
    case '"':
        return lex_begin(state, LEX_DQ_STRING);
    case '\'':
        return lex_begin(state, LEX_SQ_STRING);
    case '-':
        return lex_begin(state, LEX_SIGN);
    case '0':
        return lex_begin(state, LEX_ZERO);
    case '1' ... '9':
        return lex_begin(state, LEX_DIGITS);
    case 'a' ... 'z':
        return lex_begin(state, LEX_KEYWORD);
    default:
        return lex_error(state);
    }
}

static JsonLexResult lex_recovery(JsonLexState *state, unsigned char c)
{
    JsonTokenType type;

    if (punctuation(c, &type) || (is_control(c) && c != '\t')) {
        *state = LEX_START;
        return LEX_AGAIN;
    }
    return LEX_SKIP;
}

static JsonLexResult lex_string(JsonLexState *state, unsigned char c,
                                JsonTokenType *type)
{
    bool single = *state == LEX_SQ_STRING;

    if (c == (single ? '\'' : '"')) {
        return lex_end(state, type, JSON_TOKEN_STRING, LEX_END);
    }
    if (is_control(c)) {
        return lex_error(state);
    }
    if (c == '\\') {
        *state = single ? LEX_SQ_ESCAPE : LEX_DQ_ESCAPE;
    }
    return LEX_MORE;
}

static JsonLexResult lex_escape(JsonLexState *state, unsigned char c)
{
    if (is_control(c)) {
        return lex_error(state);
    }
    *state = *state == LEX_SQ_ESCAPE ? LEX_SQ_STRING : LEX_DQ_STRING;
    return LEX_MORE;
}

/* States of numbers. */
static JsonLexResult lex_number(JsonLexState *state, unsigned char c,
                                JsonTokenType *type)
{
    bool digit = c >= '0' && c <= '9';
    bool exp = c == 'e' || c == 'E';

    switch (*state) {
    case LEX_SIGN:
        return digit ? lex_begin(state, c == '0' ? LEX_ZERO : LEX_DIGITS)
                     : lex_error(state);
    case LEX_ZERO:
    case LEX_DIGITS:
        if (digit) {
            return *state == LEX_ZERO ? lex_error(state) : LEX_MORE;
        }
        if (c == '.' || exp) {
            return lex_begin(state, exp ? LEX_EXP : LEX_POINT);
        }
        return lex_end(state, type, JSON_TOKEN_INTEGER, LEX_END_BEFORE);
    case LEX_POINT:
        return digit ? lex_begin(state, LEX_FRACTION) : lex_error(state);
    case LEX_EXP:
        if (c == '+' || c == '-') {
            return lex_begin(state, LEX_EXP_SIGN);
        }
        /* fall through */
    case LEX_EXP_SIGN:
        return digit ? lex_begin(state, LEX_EXP_DIGITS) : lex_error(state);
    case LEX_FRACTION:
        if (exp) {
            return lex_begin(state, LEX_EXP);
        }
        /* fall through */
    default:
        return digit ? LEX_MORE
                     : lex_end(state, type, JSON_TOKEN_FLOAT, LEX_END_BEFORE);
    }
}

JsonLexResult json_lex(JsonLexState *state, unsigned char c,
                       JsonTokenType *type)
{
    switch (*state) {
    case LEX_START:
        return lex_start(state, c, type);
    case LEX_RECOVERY:
        return lex_recovery(state, c);
    case LEX_DQ_STRING:
    case LEX_SQ_STRING:
        return lex_string(state, c, type);
    case LEX_DQ_ESCAPE:
    case LEX_SQ_ESCAPE:
        return lex_escape(state, c);
    case LEX_KEYWORD:
        return c >= 'a' && c <= 'z'
            ? LEX_MORE
            : lex_end(state, type, JSON_TOKEN_KEYWORD, LEX_END_BEFORE);
    default:
        return lex_number(state, c, type);
    }
}

JsonLexResult json_lex_end(JsonLexState *state, JsonTokenType *type)
{
    JsonLexResult result;

    if (*state == LEX_START || *state == LEX_RECOVERY) {
        *state = LEX_START;
        return LEX_SKIP;
    }
    /* A newline goes on with no token, so it ends or spoils the last one. */
    result = json_lex(state, '\n', type);
    *state = LEX_START;
    return result;
}
