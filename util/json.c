/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Values: what jansson's don't hold by themselves (see the header).
 *
 * An integer above INT64_MAX is a string of 17 bytes: 0xff, which no UTF-8
 * text holds and no parser lets pass, and sixteen hexadecimal digits. Only
 * this file knows.
 */
#include "util/osdep.h"
#include "util/json.h"

#define UINT64_MARK '\xff'
#define UINT64_LEN 17

/* The number that the string stands for, if it stands for one. */
static bool marked_uint64(const json_t *value, uint64_t *n)
{
    if (!json_is_string(value) || json_string_length(value) != UINT64_LEN ||
        json_string_value(value)[0] != UINT64_MARK) {
        return false;
    }
    *n = g_ascii_strtoull(json_string_value(value) + 1, NULL, 16);
    return true;
}

JsonType json_qtype(const json_t *value)
{
    uint64_t n;

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return JSON_T_OBJECT;
    case JSON_ARRAY:
        return JSON_T_ARRAY;
    case JSON_STRING:
        return marked_uint64(value, &n) ? JSON_T_NUMBER : JSON_T_STRING;
    case JSON_INTEGER:
    case JSON_REAL:
        return JSON_T_NUMBER;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_T_BOOL;
    case JSON_NULL:
        return JSON_T_NULL;
    }
    g_assert_not_reached();
}

json_t *json_uint64(uint64_t n)
{
    char text[UINT64_LEN + 1];

    if (n <= INT64_MAX) {
        return json_integer(n);
    }
    snprintf(text, sizeof(text), "%c%016" PRIx64, UINT64_MARK, n);
    return json_stringn_nocheck(text, UINT64_LEN);
}

bool json_get_int64(const json_t *value, int64_t *n)
{
    if (!json_is_integer(value)) {
        return false;
    }
    *n = json_integer_value(value);
    return true;
}

bool json_get_uint64(const json_t *value, uint64_t *n)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *n = json_integer_value(value);
        return true;
    }
    return marked_uint64(value, n);
}

bool json_get_double(const json_t *value, double *n)
{
    uint64_t u;

    if (json_is_number(value)) {
        *n = json_number_value(value);
        return true;
    }
    if (marked_uint64(value, &u)) {
        *n = u;
        return true;
    }
    return false;
}

const char *json_get_string(const json_t *value)
{
    uint64_t n;

    return marked_uint64(value, &n) ? NULL : json_string_value(value);
}

json_t *json_from_str(const char *str)
{
    g_autofree char *valid = NULL;
    json_t *value = json_string(str);

    if (!value) {
        valid = g_utf8_make_valid(str, -1);
        value = json_string(valid);
    }
    return value;
}
