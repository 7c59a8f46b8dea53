/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Between the lexer, the streamer and the parser: tokens.
 *
 * The lexer sees one byte after the other and says where a token ends; the
 * streamer collects tokens until a value is complete; the parser makes the
 * value of them.
 */
#ifndef UTIL_JSON_INTERNAL_H
#define UTIL_JSON_INTERNAL_H

#include "util/json.h"

typedef enum JsonTokenType {
    JSON_TOKEN_LCURLY,
    JSON_TOKEN_RCURLY,
    JSON_TOKEN_LSQUARE,
    JSON_TOKEN_RSQUARE,
    JSON_TOKEN_COLON,
    JSON_TOKEN_COMMA,
    JSON_TOKEN_INTEGER,
    JSON_TOKEN_FLOAT,
    JSON_TOKEN_KEYWORD,
    JSON_TOKEN_STRING,      /* with its quotes and escapes */
} JsonTokenType;

typedef struct JsonToken {
    JsonTokenType type;
    uint32_t off, len;      /* in the text of all tokens of the value */
} JsonToken;

/* ---- util/json-lexer.c ---- */

typedef enum JsonLexState {
    LEX_START,              /* between tokens; zero */
    LEX_RECOVERY,           /* behind an error: skip to where one can begin */
    LEX_DQ_STRING,
    LEX_DQ_ESCAPE,
    LEX_SQ_STRING,
    LEX_SQ_ESCAPE,
    LEX_SIGN,
    LEX_ZERO,
    LEX_DIGITS,
    LEX_POINT,
    LEX_FRACTION,
    LEX_EXP,
    LEX_EXP_SIGN,
    LEX_EXP_DIGITS,
    LEX_KEYWORD,
} JsonLexState;

typedef enum JsonLexResult {
    LEX_SKIP,               /* the byte belongs to no token */
    LEX_MORE,               /* the byte is in a token that may go on */
    LEX_END,                /* the byte is the last one of a token */
    LEX_END_BEFORE,         /* a token has ended; pass the byte again */
    LEX_AGAIN,              /* nothing has ended; pass the byte again */
    LEX_ERROR,              /* the token with this byte is none */
} JsonLexResult;

/* Take a byte. *type is set with LEX_END and LEX_END_BEFORE. */
JsonLexResult json_lex(JsonLexState *state, unsigned char c,
                       JsonTokenType *type);

/* The text has ended. LEX_SKIP, LEX_END_BEFORE, or LEX_ERROR. */
JsonLexResult json_lex_end(JsonLexState *state, JsonTokenType *type);

/* ---- util/json-parser.c ---- */

/* The value of all the tokens; a new reference, or NULL. */
json_t *json_parse_tokens(const JsonToken *tokens, size_t n, const char *text,
                          Error **errp);

/*
 * The character at *p, which moves on; -1 if there is no valid one, in which
 * case it moves by at least a byte. Modified UTF-8: c0 80 is 0. Surrogates
 * and noncharacters are not valid.
 */
int json_utf8_next(const unsigned char **p, const unsigned char *end);

/* Is it a character that text may hold? */
bool json_char_valid(uint32_t c);

#endif
