/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * JSON: what is read, how it is printed, what is refused with which words,
 * and that a stream gives the same however it is cut.
 */
#include "util/osdep.h"
#include "util/json.h"

/* ---- texts of one value ---- */

static void check_same(const char *text, const char *printed)
{
    Error *err = NULL;
    json_t *value = json_parse_str(text, &err);
    g_autofree char *out = NULL;

    if (!value) {
        g_error("%s: %s", text, error_get_pretty(err));
    }
    out = json_format(value);
    g_assert_cmpstr(out, ==, printed);
    json_decref(value);
}

static void check_error(const char *text, const char *message)
{
    Error *err = NULL;
    json_t *value = json_parse_str(text, &err);

    g_assert_null(value);
    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

static void test_values(void)
{
    check_same("null", "null");
    check_same(" true ", "true");
    check_same("false", "false");
    check_same("0", "0");
    check_same("-0", "0");
    check_same("[ ]", "[]");
    check_same("{\t}\r\n", "{}");
    check_same("[1,[2,{'a':3}]]", "[1, [2, {\"a\": 3}]]");
    check_same("{'b':1,'a':2}", "{\"b\": 1, \"a\": 2}");
}

static void test_numbers(void)
{
    check_same("9223372036854775807", "9223372036854775807");
    check_same("-9223372036854775808", "-9223372036854775808");
    check_same("9223372036854775808", "9223372036854775808");
    check_same("18446744073709551615", "18446744073709551615");
    check_same("18446744073709551616", "1.8446744073709552e+19");
    check_same("-9223372036854775809", "-9.2233720368547758e+18");
    check_same("1e3", "1000");
    check_same("2.5", "2.5");
    check_same("0.1", "0.10000000000000001");
    check_same("1E+100", "1e+100");
    check_error("1e999", "JSON parse error, number too large");
    check_error("01", "JSON parse error, stray '01'");
    check_error("1.e", "JSON parse error, stray '1.e'");
    check_error("-a", "JSON parse error, stray '-a'");
    check_error("+1", "JSON parse error, stray '+'");
    check_error(".5", "JSON parse error, stray '.'");
}

static void test_large_numbers(void)
{
    g_autoptr(json_t) big = json_uint64(UINT64_MAX);
    g_autoptr(json_t) small = json_uint64(7);
    g_autoptr(json_t) text = json_string("7");
    uint64_t u;
    int64_t n;
    double d;

    g_assert_cmpint(json_qtype(big), ==, JSON_T_NUMBER);
    g_assert_true(json_get_uint64(big, &u));
    g_assert_cmpuint(u, ==, UINT64_MAX);
    g_assert_false(json_get_int64(big, &n));
    g_assert_true(json_get_double(big, &d));
    g_assert_null(json_get_string(big));
    g_assert_true(json_get_uint64(small, &u));
    g_assert_true(json_get_int64(small, &n));
    g_assert_cmpint(n, ==, 7);
    g_assert_false(json_get_uint64(text, &u));
    g_assert_false(json_get_double(text, &d));
    g_assert_cmpstr(json_get_string(text), ==, "7");
}

static void test_strings(void)
{
    check_same("'single'", "\"single\"");
    check_same("\"it's\"", "\"it's\"");
    check_same("'say \"hi\"'", "\"say \\\"hi\\\"\"");
    check_same("'it\\'s'", "\"it's\"");
    check_same("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
               "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
    check_same("'\xc3\xbc'", "\"\\u00FC\"");
    check_same("'\\u00fc\\u0001'", "\"\\u00FC\\u0001\"");
    check_same("'\\ud834\\udd1e'", "\"\\uD834\\uDD1E\"");
    check_same("'a\\u0000b'", "\"a\\u0000b\"");
    check_same("'\x7f'", "\"\\u007F\"");
    check_error("'\\q'", "JSON parse error, invalid escape sequence in string");
    check_error("'\\udc00'",
                "JSON parse error, \\udc00 is not a valid Unicode character");
    check_error("'\\uD800x'",
                "JSON parse error, \\uD800 is not a valid Unicode character");
    check_error("'\\uffff'",
                "JSON parse error, \\uffff is not a valid Unicode character");
    check_error("'\\u12'",
                "JSON parse error, \\u12' is not a valid Unicode character");
    check_error("'\\u12G4'",
                "JSON parse error, \\u12G4 is not a valid Unicode character");
}

static void test_utf8(void)
{
    static const char *const bad[] = {
        "'\x80'", "'\xc3'", "'\xc1\x81'", "'\xe0\x80\x80'", "'\xed\xa0\x80'",
        "'\xf4\x90\x80\x80'", "'\xf8\x88\x80\x80\x80'", "'\xef\xbf\xbf'",
        "'\xef\xb7\x90'", "'\xf0\x9d\x84'",
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        check_error(bad[i], "JSON parse error, invalid UTF-8 sequence in "
                    "string");
    }
    check_same("'\xc0\x80'", "\"\\u0000\"");
    check_error("'a\xff'", "JSON parse error, stray ''a\xef\xbf\xbd'");
    check_error("'a\n'", "JSON parse error, stray ''a\n'");
}

static void test_errors(void)
{
    check_error("", "Expecting a JSON value");
    check_error("  \n", "Expecting a JSON value");
    check_error("1 2", "Expecting at most one JSON value");
    check_error("{}}", "Expecting at most one JSON value");
    check_error("{", "JSON parse error, premature EOI");
    check_error("[1,", "JSON parse error, premature EOI");
    check_error("{'a'", "JSON parse error, premature EOI");
    check_error("}", "JSON parse error, expecting value");
    check_error("[}", "JSON parse error, expecting value");
    check_error("[1,]", "JSON parse error, expecting value");
    check_error("[,]", "JSON parse error, expecting value");
    check_error("{'a':1,}", "JSON parse error, expecting value");
    check_error("{'a':}", "JSON parse error, expecting value");
    check_error("{'a' 1}", "JSON parse error, missing : in object pair");
    check_error("{'a'}", "JSON parse error, missing : in object pair");
    check_error("{1:2}", "JSON parse error, key is not a string in object");
    check_error("{'a':1,'a':2}", "JSON parse error, duplicate key");
    check_error("[1 2]", "JSON parse error, expected separator in list");
    check_error("[1:2]", "JSON parse error, expected separator in list");
    check_error("{'a':1 'b':2}",
                "JSON parse error, expected separator in dict");
    check_error("tru", "JSON parse error, invalid keyword 'tru'");
    check_error("'abc", "JSON parse error, stray ''abc'");
    check_error("{ab", "JSON parse error, invalid keyword 'ab'");
    check_error("{1", "JSON parse error, key is not a string in object");
    check_error("NaN", "JSON parse error, stray 'N'");
}

static void test_pretty(void)
{
    Error *err = NULL;
    g_autoptr(json_t) value =
        json_parse_str("{'a':[1,{'b':'x'}],'c':{},'d':[]}", &err);
    g_autofree char *out = json_format_pretty(value);

    g_assert_cmpstr(out, ==,
                    "{\n"
                    "    \"a\": [\n"
                    "        1,\n"
                    "        {\n"
                    "            \"b\": \"x\"\n"
                    "        }\n"
                    "    ],\n"
                    "    \"c\": {\n"
                    "    },\n"
                    "    \"d\": [\n"
                    "    ]\n"
                    "}");
}

static void test_any_bytes(void)
{
    g_autoptr(json_t) value = json_from_str("a\xff" "b");
    g_autofree char *out = json_format(value);

    g_assert_cmpstr(out, ==, "\"a\\uFFFDb\"");
}

/* ---- streams ---- */

static void collect(void *opaque, json_t *value, Error *err)
{
    GString *log = opaque;
    g_autofree char *text = NULL;

    if (value) {
        text = json_format(value);
        g_string_append_printf(log, "%s\n", text);
        json_decref(value);
    } else {
        g_string_append_printf(log, "! %s\n", error_get_pretty(err));
        error_free(err);
    }
}

/* What the stream gives if it comes in pieces of so many bytes. */
static char *stream_log(const char *text, size_t len, size_t piece)
{
    GString *log = g_string_new(NULL);
    g_autoptr(JsonStream) stream = json_stream_new(collect, log);

    for (size_t at = 0; at < len; at += piece) {
        json_stream_feed(stream, text + at, MIN(piece, len - at));
    }
    json_stream_end(stream);
    return g_string_free(log, FALSE);
}

static void check_stream(const char *text, const char *expected)
{
    size_t len = strlen(text);

    for (size_t piece = 1; piece <= len; piece++) {
        g_autofree char *log = stream_log(text, len, piece);

        g_assert_cmpstr(log, ==, expected);
    }
}

static void test_stream_pieces(void)
{
    check_stream("{'execute':'a'}{\"execute\":\"\\u00fc\"} [1,2]\n3 'x' true\n",
                 "{\"execute\": \"a\"}\n{\"execute\": \"\\u00FC\"}\n[1, 2]\n"
                 "3\n\"x\"\ntrue\n");
    check_stream("12abc", "12\n! JSON parse error, invalid keyword 'abc'\n");
}

/* As QEMU goes on behind errors (black box, 7.2). */
static void test_stream_recovery(void)
{
    check_stream("@{'a':1}", "! JSON parse error, stray '@'\n{\"a\": 1}\n");
    check_stream("@ abc\n4 ", "! JSON parse error, stray '@'\n4\n");
    check_stream("@\tabc\n", "! JSON parse error, stray '@'\n");
    check_stream("@\"abc\"\n", "! JSON parse error, stray '@'\n");
    check_stream("@,1 ", "! JSON parse error, stray '@'\n"
                 "! JSON parse error, expecting value\n1\n");
    check_stream("{'execute':%s}{}", "! JSON parse error, stray '%'\n"
                 "! JSON parse error, expecting value\n{}\n");
    check_stream("{}}{}", "{}\n! JSON parse error, expecting value\n{}\n");
    check_stream("[1,\xff\n2]", "! JSON parse error, stray '\xef\xbf\xbd'\n"
                 "2\n! JSON parse error, expecting value\n");
    check_stream("{'a' : : }]", "! JSON parse error, expecting value\n"
                 "! JSON parse error, expecting value\n");
    check_stream("{'x\n}{}", "! JSON parse error, stray ''x\n'\n"
                 "! JSON parse error, expecting value\n{}\n");
    check_stream("[1,2 \xff {}", "! JSON parse error, stray '\xef\xbf\xbd'\n"
                 "{}\n");
}

/* Cut at every length: an error or nothing, never a value, never a crash. */
static void test_stream_truncated(void)
{
    static const char text[] =
        "{'execute':'x','id':[1.5e-3,\"\\ud834\\udd1e\xc3\xbc\",null,-7]}";

    for (size_t len = 0; len < strlen(text); len++) {
        g_autofree char *log = stream_log(text, len, len + 1);

        g_assert_true(len == 0 ? !*log : log[0] == '!');
        g_assert_true(!*log || strchr(log, '\n') == log + strlen(log) - 1 ||
                      strstr(log, "stray"));
    }
}

static void test_stream_nesting(void)
{
    g_autofree char *open = g_strnfill(JSON_MAX_NESTING + 1, '[');
    g_autofree char *close = g_strnfill(JSON_MAX_NESTING + 1, ']');
    g_autofree char *deep = g_strconcat(open + 1, close + 1, NULL);
    g_autofree char *deeper = g_strconcat(open, close, NULL);
    g_autofree char *deep_log = stream_log(deep, strlen(deep), 100);
    g_autofree char *deeper_log = stream_log(deeper, strlen(deeper), 100);

    g_assert_cmpint(deep_log[0], ==, '[');
    g_assert_true(g_str_has_prefix(
        deeper_log, "! JSON nesting depth limit exceeded\n"));
}

/* A request beyond the limit is refused; what comes then is served. */
static void test_stream_size(void)
{
    g_autofree char *block = g_strnfill(1 << 20, 'a');
    GString *log = g_string_new(NULL);
    g_autoptr(JsonStream) stream = json_stream_new(collect, log);

    json_stream_feed(stream, "{'execute':'", 12);
    for (size_t i = 0; i < (JSON_MAX_SIZE >> 20) + 1; i++) {
        json_stream_feed(stream, block, 1 << 20);
    }
    json_stream_feed(stream, "'\n{'a':1}", 9);
    g_assert_cmpstr(log->str, ==,
                    "! JSON token size limit exceeded\n{\"a\": 1}\n");
    g_string_free(log, TRUE);
}

static void test_stream_tokens(void)
{
    GString *log = g_string_new(NULL);
    g_autoptr(JsonStream) stream = json_stream_new(collect, log);

    json_stream_feed(stream, "[", 1);
    for (size_t i = 0; i <= JSON_MAX_TOKENS / 2; i++) {
        json_stream_feed(stream, "1,", 2);
    }
    g_assert_true(g_str_has_prefix(log->str,
                                   "! JSON token count limit exceeded\n"));
    g_string_free(log, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/values", test_values);
    g_test_add_func("/json/numbers", test_numbers);
    g_test_add_func("/json/large-numbers", test_large_numbers);
    g_test_add_func("/json/strings", test_strings);
    g_test_add_func("/json/utf8", test_utf8);
    g_test_add_func("/json/errors", test_errors);
    g_test_add_func("/json/pretty", test_pretty);
    g_test_add_func("/json/any-bytes", test_any_bytes);
    g_test_add_func("/json/stream/pieces", test_stream_pieces);
    g_test_add_func("/json/stream/recovery", test_stream_recovery);
    g_test_add_func("/json/stream/truncated", test_stream_truncated);
    g_test_add_func("/json/stream/nesting", test_stream_nesting);
    g_test_add_func("/json/stream/size", test_stream_size);
    g_test_add_func("/json/stream/tokens", test_stream_tokens);
    return g_test_run();
}
