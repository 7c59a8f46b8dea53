/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Options as key=value. Results and messages were read off QEMU 7.2. */
#include "util/keyval.h"

/* Compares with JSON that is written with single quotes. */
static void check_json(json_t *value, const char *expect)
{
    g_autofree char *quoted = g_strdelimit(g_strdup(expect), "'", '"');
    json_t *want = json_loads(quoted, JSON_DECODE_ANY, NULL);

    g_assert_nonnull(want);
    g_assert_nonnull(value);
    if (!json_equal(value, want)) {
        g_autofree char *got = json_dumps(value, JSON_ENCODE_ANY);

        g_assert_cmpstr(got, ==, quoted);
    }
    json_decref(want);
    json_decref(value);
}

static void check(const char *str, const char *expect)
{
    g_test_message("%s", str);
    check_json(keyval_parse(str, "driver", NULL, &error_abort), expect);
}

static void check_bad(const char *str, const char *msg)
{
    g_autoptr(Error) err = NULL;

    g_test_message("%s", str);
    g_assert_null(keyval_parse(str, "driver", NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, msg);
}

static void test_parse(void)
{
    check("", "{}");
    check("foo", "{'driver': 'foo'}");
    check("foo,", "{'driver': 'foo'}");
    check("a b", "{'driver': 'a b'}");
    check("a.b", "{'driver': 'a.b'}");
    check("driver=", "{'driver': ''}");
    check("driver==a", "{'driver': '=a'}");
    check("a=b.c", "{'a': 'b.c'}");
    check("foo,size=1,", "{'driver': 'foo', 'size': '1'}");
    check("foo,n=a,,b,m=,,,o=c,,",
          "{'driver': 'foo', 'n': 'a,b', 'm': ',', 'o': 'c,'}");
    check("a=1,a=2", "{'a': '2'}");
}

static void test_nesting(void)
{
    check("qcow2,file.driver=file,file.filename=a,,b,discard=unmap",
          "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': 'a,b'},"
          " 'discard': 'unmap'}");
    check("a.b.c=1,a.b.d=2,a.e=3", "{'a': {'b': {'c': '1', 'd': '2'},"
          " 'e': '3'}}");
    check("a.0=x,a.1=y", "{'a': ['x', 'y']}");
    check("a.1=y,a.0=x", "{'a': ['x', 'y']}");
    check("a.01=x,a.0=y", "{'a': ['y', 'x']}");
    check("a.0=x,a.00=y", "{'a': ['y']}");
    check("a.0.b=1,a.1.b=2", "{'a': [{'b': '1'}, {'b': '2'}]}");
    check("a.0.0=x", "{'a': [['x']]}");
    check("__com.redhat_x=y,A-_9=1", "{'__com.redhat_x': 'y', 'A-_9': '1'}");
}

static void test_bad_keys(void)
{
    static const char *const bad[] = {
        "=x", "1=x", "1a=x", "_a=x", "__a=1", "a b=x", "a%=x", "a.=x", ".=x",
        ".a=x", "a..b=x", "a.-1=x", "a.1b=x", "a.b.=1", "\xc3\xa9=1",
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autofree char *str = g_strdup_printf("foo,%s", bad[i]);
        int len = strchr(bad[i], '=') - bad[i];
        g_autofree char *msg = g_strdup_printf("Invalid parameter '%.*s'",
                                               len, bad[i]);

        check_bad(bad[i], msg);
        check_bad(str, msg);
    }
    check_bad(",", "Invalid parameter ''");
    check_bad("foo,,x", "Invalid parameter ''");
    check_bad("foo,a b", "Invalid parameter 'a b'");
    check_bad("foo,bar", "Expected '=' after parameter 'bar'");
    check_bad("foo,noa", "Expected '=' after parameter 'noa'");
    check_bad("foo,a.b", "Expected '=' after parameter 'a.b'");
}

static void test_long_keys(void)
{
    g_autofree char *a127 = g_strnfill(127, 'a');
    g_autofree char *a128 = g_strnfill(128, 'a');
    g_autofree char *good = g_strdup_printf("%s.%s=x", a127, a127);
    g_autofree char *key = g_strdup_printf("%s=x", a128);
    g_autofree char *fragment = g_strdup_printf("b.%s=x", a128);
    g_autofree char *expect = g_strdup_printf("{'%s': {'%s': 'x'}}", a127,
                                              a127);
    g_autofree char *msg = g_strdup_printf("Parameter '%s' is too long", a128);
    g_autofree char *msg2 = g_strdup_printf("Parameter fragment '%s' is too "
                                            "long", a128);

    check(good, expect);
    check_bad(key, msg);
    check_bad(fragment, msg2);
}

static void test_inconsistent(void)
{
    check_bad("a.b=x,a=y", "Parameters 'a.*' used inconsistently");
    check_bad("a=x,a.b=y", "Parameters 'a.*' used inconsistently");
    check_bad("a.0=x,a.b=y", "Parameters 'a.*' used inconsistently");
    check_bad("a.0.b=x,a.0=y", "Parameters 'a.0.*' used inconsistently");
    check_bad("a.b.c=x,a.b=y", "Parameters 'a.b.*' used inconsistently");
    check_bad("a.1=x", "Parameter 'a.0' missing");
    check_bad("a.0=x,a.1=y,a.3=z", "Parameter 'a.2' missing");
    check_bad("a.0.1.2=x", "Parameter 'a.0.1.0' missing");
    check_bad("a.0=1,a.18446744073709551616=1", "Parameter 'a.1' missing");
}

static void check_help(const char *str, const char *expect, bool wanted)
{
    bool help = false;

    check_json(keyval_parse(str, "driver", &help, &error_abort), expect);
    g_assert_cmpint(help, ==, wanted);
}

static void test_help(void)
{
    check_help("help", "{}", true);
    check_help("?", "{}", true);
    check_help("foo,help", "{'driver': 'foo'}", true);
    check_help("foo,?,id=x", "{'driver': 'foo', 'id': 'x'}", true);
    check_help("help,help", "{}", true);
    check_help("foo,help=on", "{'driver': 'foo', 'help': 'on'}", false);
    check_help("helpx", "{'driver': 'helpx'}", false);
    check_bad("help", "Help is not available for this option");
    check_bad("foo,help", "Help is not available for this option");
    check_bad("foo,help,bar", "Expected '=' after parameter 'bar'");
    check_bad("help,bar", "Expected '=' after parameter 'bar'");
}

static void check_flat(const char *str, const char *implied,
                       const char *expect)
{
    g_test_message("%s", str);
    check_json(keyval_parse_flat(str, implied, NULL, &error_abort), expect);
}

static void test_flat(void)
{
    bool help = false;

    check_flat("", "file", "{}");
    check_flat("a,,b", "file", "{'file': 'a,b'}");
    check_flat(",", "file", "{'file': ''}");
    check_flat("no", "file", "{'file': 'no'}");
    check_flat("help", "file", "{'file': 'help'}");
    check_flat("driver=null-co,,x", NULL, "{'driver': 'null-co,x'}");
    check_flat("a.b=1,a.0=2,=x, c=", NULL,
               "{'a.b': '1', 'a.0': '2', '': 'x', ' c': ''}");
    check_flat("size=1M,size=2M", NULL, "{'size': '2M'}");
    check_flat("size=1M,foo,nobar,no,nono", NULL,
               "{'size': '1M', 'foo': 'on', 'bar': 'off', '': 'off',"
               " 'no': 'off'}");
    check_flat("d=x,a,,b", NULL, "{'d': 'x', 'a': 'on', '': 'on', 'b': 'on'}");
    check_flat("size=1M,help", NULL, "{'size': '1M', 'help': 'on'}");
    check_json(keyval_parse_flat("size=1M,help", NULL, &help, &error_abort),
               "{'size': '1M'}");
    g_assert_true(help);
}

static void test_flat_warns(void)
{
    if (g_test_subprocess()) {
        error_init("qemu-img");
        check_json(keyval_parse_flat_warn("x,read-only,nowait,no,?", "file",
                                          NULL, &error_abort),
                   "{'file': 'x', 'read-only': 'on', 'wait': 'off',"
                   " '': 'off', '?': 'on'}");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr(
        "qemu-img: warning: short-form boolean option 'read-only' deprecated\n"
        "Please use read-only=on instead\n"
        "qemu-img: warning: short-form boolean option 'nowait' deprecated\n"
        "Please use wait=off instead\n"
        "qemu-img: warning: short-form boolean option 'no' deprecated\n"
        "Please use =off instead\n");
}

static json_t *load(const char *text)
{
    g_autofree char *quoted = g_strdelimit(g_strdup(text), "'", '"');
    json_t *value = json_loads(quoted, 0, NULL);

    g_assert_nonnull(value);
    return value;
}

static void check_nest(const char *flat, const char *expect, bool back)
{
    json_t *value = load(flat), *tree = keyval_nest(value, &error_abort);

    if (back) {
        check_json(keyval_flatten(tree), flat);
    }
    check_json(tree, expect);
    json_decref(value);
}

static void check_nest_bad(const char *flat, const char *msg)
{
    g_autoptr(Error) err = NULL;
    json_t *value = load(flat);

    g_assert_null(keyval_nest(value, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, msg);
    json_decref(value);
}

static void test_nest(void)
{
    check_nest("{}", "{}", true);
    check_nest("{'a.b.c': 1, 'a.b.d': 'x', 'e': null, 'a.f': true}",
               "{'a': {'b': {'c': 1, 'd': 'x'}, 'f': true}, 'e': null}", true);
    check_nest("{'a.0': 1, 'a.1.b': 2, 'a.2.0': 3}",
               "{'a': [1, {'b': 2}, [3]]}", true);
    check_nest("{'a.1': 1, 'a.0': 0}", "{'a': [0, 1]}", true);
    check_nest("{'a': {}, 'b.c': []}", "{'a': {}, 'b': {'c': []}}", true);
    check_nest("{'a': {'x.y': 1}, 'b.c': [1]}",
               "{'a': {'x.y': 1}, 'b': {'c': [1]}}", false);
    check_nest_bad("{'a': 1, 'a.b': 2}",
                   "Cannot mix scalar and non-scalar keys");
    check_nest_bad("{'a.b': 2, 'a.0': 1}", "Cannot mix list and non-list keys");
    check_nest_bad("{'a.1': 2}", "List indices are not contiguous, saw 1 "
                   "elements but 1 largest index");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/keyval/parse", test_parse);
    g_test_add_func("/keyval/nesting", test_nesting);
    g_test_add_func("/keyval/bad-keys", test_bad_keys);
    g_test_add_func("/keyval/long-keys", test_long_keys);
    g_test_add_func("/keyval/inconsistent", test_inconsistent);
    g_test_add_func("/keyval/help", test_help);
    g_test_add_func("/keyval/flat", test_flat);
    g_test_add_func("/keyval/flat-warns", test_flat_warns);
    g_test_add_func("/keyval/nest", test_nest);
    return g_test_run();
}
