/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Names of images: what they mean, what they open, and in which words they are
 * refused. The words are those of Debian's qemu-img 7.2. */
#include <glib/gstdio.h>

#include "graph-test.h"

static char *test_dir;

/* ---- pure ---- */

static void test_combining(void)
{
    static const struct {
        const char *base, *name, *result;
    } cases[] = {
        { "a.qcow2", "b.qcow2", "b.qcow2" },
        { "/dir/a.qcow2", "b.qcow2", "/dir/b.qcow2" },
        { "sub/a.qcow2", "../b.qcow2", "sub/../b.qcow2" },
        { "/dir/a.qcow2", "/abs/b", "/abs/b" },
        { "/dir/a.qcow2", "nbd://host/b", "nbd://host/b" },
        { "/dir/a.qcow2", "json:{}", "json:{}" },
        { "/dir/a.qcow2", "./x:y", "/dir/./x:y" },
        { "nbd://host/dir/a", "b", "nbd://host/dir/b" },
        { "file:a", "b", "file:b" },
        { "file:d/a", "b", "file:d/b" },
        { "/d:r/a", "b", "/d:r/b" },
    };
    Error *err = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *s = open_combine_paths(cases[i].base, cases[i].name,
                                     &error_abort);

        g_assert_cmpstr(s, ==, cases[i].result);
        g_free(s);
    }
    g_assert_null(open_combine_paths("json:{}", "b", &err));
    test_expect(err, "Cannot use relative backing file names for 'json:{}'");
}

static void test_prefixes(void)
{
    static const struct {
        const char *name, *prefix;
    } cases[] = {
        { "a", NULL }, { "/a:b", NULL }, { "./a:b", NULL }, { "", NULL },
        { "nbd:x", "nbd" }, { "nbd+unix:///x", "nbd+unix" }, { ":x", "" },
        { "json:{}", "json" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *s = open_protocol_prefix(cases[i].name);

        g_assert_cmpstr(s, ==, cases[i].prefix);
        g_free(s);
    }
}

/* ---- opening ---- */

static char *in_dir(const char *fmt)
{
    g_autofree char *path = g_build_filename(test_dir, "a.raw", NULL);
    GString *s = g_string_new(fmt);

    g_string_replace(s, "@", path, 0);
    return g_string_free(s, false);
}

/* @name has @ for the path of a file that is there. */
static Node *open_it(Co *co, const char *name, const char *format,
                     OpenFlags flags, Error **errp)
{
    g_autofree char *full = in_dir(name);

    return open_filename(co, full, format, NULL, flags, errp);
}

static void expect_name(Co *co, const char *name, const char *format,
                        const char *driver, const char *filename)
{
    g_autofree char *full = in_dir(filename);
    Node *node = open_it(co, name, format, 0, &error_abort);

    g_assert_cmpstr(node->drv->name, ==, driver);
    g_assert_cmpstr(node->filename, ==, full);
    g_assert_true(node->read_only);
    node_unref(co, node);
}

static void expect_error(Co *co, const char *name, const char *format,
                         const char *message)
{
    g_autofree char *full = in_dir(message);
    Error *err = NULL;

    g_assert_null(open_it(co, name, format, 0, &err));
    test_expect(err, full);
}

static void test_names_open_images(Co *co, void *arg)
{
    expect_name(co, "@", "raw", "raw", "@");
    expect_name(co, "@", NULL, "raw", "@");
    expect_name(co, "file:@", "raw", "raw", "@");
    expect_name(co, "@", "file", "file", "@");
    expect_name(co, "null-co://", NULL, "raw", "null-co://");
    expect_name(co, "json:{'file':{'filename':'@'}}", NULL, "raw", "@");
    expect_name(co, "json:{'driver':'raw','file.filename':'@'}", NULL, "raw",
                "@");
    expect_name(co, "json:{'driver':'file','filename':'@'}", NULL, "file",
                "@");
    expect_name(co, "json:{'driver':'raw','size':'4k','file':"
                "{'filename':'@','locking':'off'}}", NULL, "raw",
                "json:{\"driver\": \"raw\", \"size\": 4096, \"file\": "
                "{\"driver\": \"file\", \"filename\": \"@\"}}");
    expect_name(co, "json:{'driver':'raw','file':{'driver':'raw','file':"
                "{'filename':'@'}}}", NULL, "raw",
                "json:{\"driver\": \"raw\", \"file\": {\"driver\": \"raw\", "
                "\"file\": {\"driver\": \"file\", \"filename\": \"@\"}}}");
    expect_name(co, "json:{'driver':'null-co','size':65536}", NULL, "null-co",
                "json:{\"driver\": \"null-co\", \"size\": 65536}");
}

static void test_names_are_refused(Co *co, void *arg)
{
    expect_error(co, "@x", NULL,
                 "Could not open '@x': No such file or directory");
    expect_error(co, "foo:bar", NULL, "Unknown protocol 'foo'");
    expect_error(co, "@", "nope", "Unknown driver 'nope'");
    expect_error(co, "", NULL, "The 'file' block driver requires a file name");
    expect_error(co, "json:{bad", NULL, "Could not parse the JSON options: "
                 "JSON parse error, invalid keyword 'bad'");
    expect_error(co, "json:[]", NULL, "Invalid JSON object given");
    expect_error(co, "json:{}", NULL, "Must specify either driver or file");
    expect_error(co, "json:{'filename':'@'}", NULL,
                 "Must specify either driver or file");
    expect_error(co, "json:{'driver':'nope'}", NULL, "Unknown driver 'nope'");
    expect_error(co, "json:{'driver':'raw'}", NULL,
                 "A block device must be specified for \"file\"");
    expect_error(co, "json:{'driver':'file'}", NULL,
                 "The 'file' block driver requires a file name");
    expect_error(co, "json:{'driver':'raw','foo':1,'file':{'filename':'@'}}",
                 NULL, "Block format 'raw' does not support the option "
                 "'foo'");
    expect_error(co, "json:{'driver':'raw','file':{'filename':'@','foo':1}}",
                 NULL, "Block protocol 'file' doesn't support the option "
                 "'foo'");
    expect_error(co, "json:{'driver':'raw','file':{'filename':'file:@'}}",
                 NULL, "Could not open 'file:@': No such file or directory");
    expect_error(co, "json:{'driver':'raw','file':{'locking':'off'}}", NULL,
                 "Must specify either driver or file");
    expect_error(co, "json:{'driver':'raw','file':{'driver':'raw',"
                 "'filename':'@'}}", NULL,
                 "A block device must be specified for \"file\"");
    expect_error(co, "json:{'driver':'raw','file':'nope'}", NULL,
                 "Cannot find device='nope' nor node-name='nope'");
}

static void test_image_opts(Co *co, void *arg)
{
    g_autofree char *opts = in_dir("driver=raw,read-only=on,"
                                   "file.filename=@,file.locking=off");
    Error *err = NULL;
    Node *node = open_image_opts(co, opts, OPEN_RDWR, &error_abort);

    g_assert_true(node->read_only && node->file->child->read_only);
    node_unref(co, node);
    g_assert_null(open_image_opts(co, "nope", 0, &err));
    test_expect(err, "Cannot find device='nope' nor node-name='nope'");
    err = NULL;
    g_assert_null(open_image_opts(co, "driver=raw,file.filename=x,foo=bar", 0,
                                  &err));
    test_expect(err, "Block format 'raw' does not support the option 'foo'");
}

static void test_guessed_raw_is_marked(Co *co, void *arg)
{
    Node *node = open_it(co, "@", NULL, 0, &error_abort);

    g_assert_true(node->probed);
    g_assert_true(node->file->child->inherits_from == node);
    node_unref(co, node);
    node = open_it(co, "@", "raw", 0, &error_abort);
    g_assert_false(node->probed);
    node_unref(co, node);
}

static void test_flags_reach_the_probed_file(Co *co, void *arg)
{
    Node *node = open_it(co, "@", "raw", OPEN_RDWR | OPEN_NO_FLUSH,
                         &error_abort);

    g_assert_false(node->read_only || node->file->child->read_only);
    g_assert_true(node->file->child->flags & OPEN_NO_FLUSH);
    node_unref(co, node);
    node = open_it(co, "@", NULL, OPEN_FORCE_SHARE, &error_abort);
    g_assert_true(node->file->child->flags & OPEN_FORCE_SHARE);
    node_unref(co, node);
}

int main(int argc, char **argv)
{
    g_autofree char *file = NULL;
    int ret;

    g_test_init(&argc, &argv, NULL);
    block_init();
    test_dir = g_dir_make_tmp("open-XXXXXX", NULL);
    file = in_dir("@");
    g_assert_true(g_file_set_contents(file, (char[8192]) { 0 }, 8192, NULL));
    g_test_add_func("/open-name/combining", test_combining);
    g_test_add_func("/open-name/prefixes", test_prefixes);
    graph_test_add("/open-name/names-open-images", test_names_open_images);
    graph_test_add("/open-name/names-are-refused", test_names_are_refused);
    graph_test_add("/open-name/image-opts", test_image_opts);
    graph_test_add("/open-name/guessed-raw-is-marked",
                   test_guessed_raw_is_marked);
    graph_test_add("/open-name/flags-reach-the-probed-file",
                   test_flags_reach_the_probed_file);
    ret = g_test_run();
    g_unlink(file);
    g_rmdir(test_dir);
    g_free(test_dir);
    return ret;
}
