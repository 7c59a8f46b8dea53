/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * JSON as QEMU speaks it, on jansson's values.
 *
 * Text may use single quotes as well as double ones ('it\'s', "it's"). Output
 * is ASCII. Three things that jansson's values don't hold by themselves:
 *
 * - an integer above INT64_MAX (but below 2^64) is kept exactly, as a special
 *   string that no text can produce; so ask json_qtype() rather than
 *   json_typeof() what a value is, and json_get_uint64() for its number;
 * - "\u0000" is kept in strings as the bytes c0 80 (modified UTF-8), so that
 *   strings are C strings;
 * - objects keep the order in which members were set, and are printed so.
 */
#ifndef UTIL_JSON_H
#define UTIL_JSON_H

#include <jansson.h>

#include "util/error.h"

/* The longest text, the deepest nesting, and the most tokens of a value. */
#define JSON_MAX_SIZE    ((size_t)64 << 20)
#define JSON_MAX_NESTING 1024
#define JSON_MAX_TOKENS  ((size_t)2 << 20)

typedef enum JsonType {
    JSON_T_NULL,
    JSON_T_NUMBER,
    JSON_T_STRING,
    JSON_T_OBJECT,
    JSON_T_ARRAY,
    JSON_T_BOOL,
} JsonType;

/* ---- util/json.c: values ---- */

/* What the value is on the wire. */
JsonType json_qtype(const json_t *value);

/* A number; exact over the whole range. A new reference. */
json_t *json_uint64(uint64_t n);

/* False if the value is no integer, or out of range. */
bool json_get_int64(const json_t *value, int64_t *n);
bool json_get_uint64(const json_t *value, uint64_t *n);

/* Any number, rounded; false if the value is no number. */
bool json_get_double(const json_t *value, double *n);

/* The string's bytes, or NULL if the value is no string (on the wire). */
const char *json_get_string(const json_t *value);

/* A string of any bytes: what is not UTF-8 becomes U+FFFD. A new reference. */
json_t *json_from_str(const char *str);

/* ---- util/json-parser.c ---- */

/*
 * The one value in the text; a new reference. NULL on error: "JSON parse
 * error, ...", "Expecting a JSON value", "Expecting at most one JSON value",
 * "JSON ... limit exceeded".
 */
json_t *json_parse(const char *text, size_t len, Error **errp);

/* The same for a C string. */
json_t *json_parse_str(const char *text, Error **errp);

/* ---- util/json-streamer.c: a stream of values, in pieces of any size ---- */

typedef struct JsonStream JsonStream;

/*
 * Called for each value of the stream, in order: a new reference, or NULL with
 * an error, either of which is then the callee's. After an error the stream
 * goes on behind what it could not understand.
 */
typedef void JsonStreamFn(void *opaque, json_t *value, Error *err);

JsonStream *json_stream_new(JsonStreamFn *fn, void *opaque);
void json_stream_free(JsonStream *stream);

/* Take the next bytes; calls fn as often as values end in them. */
void json_stream_feed(JsonStream *stream, const char *buf, size_t len);

/* The stream has ended: what is unfinished becomes an error. */
void json_stream_end(JsonStream *stream);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(JsonStream, json_stream_free)

/* ---- util/json-writer.c ---- */

/* {"a": 1, "b": [1, 2]}: as in QMP. Free with g_free. */
char *json_format(const json_t *value);

/* Four spaces a level, as qemu-img --output=json. No newline at the end. */
char *json_format_pretty(const json_t *value);

/* g_autoptr(json_t): dropping a reference. */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

#endif
