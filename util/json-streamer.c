/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A stream of JSON values that arrives in pieces of any size.
 *
 * Tokens are collected until a value is complete: until as many brackets and
 * as many braces have closed as have opened (or more). Which closes which is
 * the parser's concern. What is kept of an unfinished value is the text of its
 * tokens and their places, no more than JSON_MAX_SIZE bytes and
 * JSON_MAX_TOKENS tokens; what goes beyond is reported and dropped.
 */
#include "util/osdep.h"
#include "util/json-internal.h"

struct JsonStream {
    JsonStreamFn *fn;
    void *opaque;
    JsonLexState state;
    GString *text;          /* of the tokens, and of the unfinished one */
    size_t token_off;       /* where in text the unfinished token begins */
    GArray *tokens;         /* of JsonToken */
    int64_t braces, brackets;
};

JsonStream *json_stream_new(JsonStreamFn *fn, void *opaque)
{
    JsonStream *stream = g_new0(JsonStream, 1);

    stream->fn = fn;
    stream->opaque = opaque;
    stream->text = g_string_new(NULL);
    stream->tokens = g_array_new(FALSE, FALSE, sizeof(JsonToken));
    return stream;
}

void json_stream_free(JsonStream *stream)
{
    if (stream) {
        g_string_free(stream->text, TRUE);
        g_array_free(stream->tokens, TRUE);
        g_free(stream);
    }
}

/* Forget the value at hand. Its memory too, if it was much. */
static void stream_reset(JsonStream *stream)
{
    if (stream->text->allocated_len > 1 << 20) {
        g_string_free(stream->text, TRUE);
        stream->text = g_string_new(NULL);
        g_array_free(stream->tokens, TRUE);
        stream->tokens = g_array_new(FALSE, FALSE, sizeof(JsonToken));
    }
    g_string_truncate(stream->text, 0);
    g_array_set_size(stream->tokens, 0);
    stream->token_off = 0;
    stream->braces = 0;
    stream->brackets = 0;
}

static void stream_fail(JsonStream *stream, Error *err)
{
    stream_reset(stream);
    stream->fn(stream->opaque, NULL, err);
}

/* The unfinished token is no token: say so. */
static void stream_stray(JsonStream *stream)
{
    g_autofree char *token = NULL;
    Error *err = NULL;

    token = g_utf8_make_valid(stream->text->str + stream->token_off,
                              stream->text->len - stream->token_off);
    error_setg(&err, "JSON parse error, stray '%s'", token);
    stream_fail(stream, err);
}

/* All tokens of a value are there. */
static void stream_value(JsonStream *stream)
{
    Error *err = NULL;
    json_t *value;

    value = json_parse_tokens((JsonToken *)stream->tokens->data,
                              stream->tokens->len, stream->text->str, &err);
    stream_reset(stream);
    stream->fn(stream->opaque, value, err);
}

/* Is there room for what has been read so far? Otherwise complain. */
static bool stream_check_limits(JsonStream *stream)
{
    Error *err = NULL;

    if (stream->text->len > JSON_MAX_SIZE) {
        error_setg(&err, "JSON token size limit exceeded");
    } else if (stream->tokens->len > JSON_MAX_TOKENS) {
        error_setg(&err, "JSON token count limit exceeded");
    } else if (stream->braces + stream->brackets > JSON_MAX_NESTING) {
        error_setg(&err, "JSON nesting depth limit exceeded");
    } else {
        return true;
    }
    stream_fail(stream, err);
    return false;
}

/* The token that began at token_off is complete. */
static void stream_token(JsonStream *stream, JsonTokenType type)
{
    JsonToken token = {
        .type = type,
        .off = stream->token_off,
        .len = stream->text->len - stream->token_off,
    };

    g_array_append_val(stream->tokens, token);
    stream->token_off = stream->text->len;
    stream->braces += (type == JSON_TOKEN_LCURLY) -
                      (type == JSON_TOKEN_RCURLY);
    stream->brackets += (type == JSON_TOKEN_LSQUARE) -
                        (type == JSON_TOKEN_RSQUARE);
    if (!stream_check_limits(stream)) {
        return;
    }
    if (stream->braces < 0 || stream->brackets < 0 ||
        (stream->braces == 0 && stream->brackets == 0)) {
        stream_value(stream);
    }
}

static void stream_byte(JsonStream *stream, char c)
{
    JsonTokenType type = JSON_TOKEN_KEYWORD;

    for (;;) {
        switch (json_lex(&stream->state, c, &type)) {
        case LEX_SKIP:
            return;
        case LEX_MORE:
            g_string_append_c(stream->text, c);
            if (!stream_check_limits(stream)) {
                stream->state = LEX_RECOVERY;
            }
            return;
        case LEX_END:
            g_string_append_c(stream->text, c);
            stream_token(stream, type);
            return;
        case LEX_END_BEFORE:
            stream_token(stream, type);
            break;
        case LEX_AGAIN:
            break;
        case LEX_ERROR:
            g_string_append_c(stream->text, c);
            stream_stray(stream);
            return;
        }
    }
}

void json_stream_feed(JsonStream *stream, const char *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        stream_byte(stream, buf[i]);
    }
}

void json_stream_end(JsonStream *stream)
{
    JsonTokenType type = JSON_TOKEN_KEYWORD;

    switch (json_lex_end(&stream->state, &type)) {
    case LEX_END_BEFORE:
        stream_token(stream, type);
        break;
    case LEX_ERROR:
        stream_stray(stream);
        return;
    default:
        break;
    }
    if (stream->tokens->len) {
        stream_value(stream);   /* the parser knows what is missing */
    }
}
