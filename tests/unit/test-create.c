/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Creating images: the -o list, sizes, backing files, and that what fails
 * leaves nothing. The words are those of Debian's qemu-img 7.2.
 */
#include <glib/gstdio.h>

#include "block/create-options.h"
#include "block/create.h"
#include "block/drivers.h"
#include "graph-test.h"

static char *test_dir;

/* ---- a format whose images have a magic and nothing else ---- */

static BlockdevCreateOptionsQcow2 *created;     /* what create was given */
static bool refuse_create;

static bool magic_create(Co *co, BlockdevCreateOptions *opts, Error **errp)
{
    Node *file = open_ref(co, opts->u.qcow2.file, errp);
    Root *root;

    if (!file) {
        return false;
    }
    root = test_root(co, file, PERM_WRITE | PERM_RESIZE, PERM_ALL);
    root->allow_beyond_end = true;
    g_assert_cmpint(root_pwrite(co, root, 0, 5, "MAGIC", 0), ==, 0);
    root_free(co, root);
    node_unref(co, file);
    if (refuse_create) {
        error_setg(errp, "Image size must be a multiple of nothing");
        return false;
    }
    created = BlockdevCreateOptionsQcow2_clone(&opts->u.qcow2);
    return true;
}

static int magic_probe(const uint8_t *buf, int len, const char *filename)
{
    return len >= 5 && !memcmp(buf, "MAGIC", 5) ? 100 : 0;
}

static bool magic_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    if (!open_child(co, node, "file", ROLE_STORAGE,
                    node->options->u.qcow2.file, errp)) {
        return false;
    }
    if (open_probe(co, node->file->child, errp) != node->drv) {
        error_setg(errp, "Image is not in magic format");
        return false;
    }
    node->length = 12345 * 512;
    return true;
}

static const CreateOption magic_options[] = {
    { "encryption", "encryption", CREATE_BOOL, NULL, "Encrypt" },
    { "cluster_size", "cluster-size", CREATE_SIZE, "65536", "cluster size" },
    { "size", "size", CREATE_SIZE, NULL, "Virtual disk size" },
    { "compat", "version", CREATE_STRING, NULL, "Compatibility level" },
    { "backing_file", "backing-file", CREATE_STRING, NULL, "base image" },
    { "backing_fmt", "backing-fmt", CREATE_STRING, NULL, "its format" },
    { "lazy_refcounts", "lazy-refcounts", CREATE_BOOL, "off", "later" },
    { "refcount_bits", "refcount-bits", CREATE_NUMBER, "16", "width" },
    { NULL }
};

static const ImageOps magic_image = {
    .create_options = magic_options, .create = magic_create,
    .probe = magic_probe,
};

static const BlockDriver magic_driver = {
    .name = "qcow2", .id = BLOCKDEV_DRIVER_QCOW2, .kind = DRIVER_FORMAT,
    .supports_backing = true, .open = magic_open, .read = test_disk_read,
    .image = &magic_image,
};

/* ---- the list ---- */

static CreateList *new_list(void)
{
    return create_list_new(&magic_driver, driver_find("file"));
}

static void expect_printed(const char *str, const char *printed)
{
    g_autoptr(CreateList) list = new_list();
    g_autofree char *s = NULL;

    g_assert_true(create_list_parse(list, str, &error_abort));
    s = create_list_print(list);
    g_assert_cmpstr(s, ==, printed);
}

static void test_list_prints_values_and_defaults(void)
{
    expect_printed("", " cluster_size=65536 lazy_refcounts=off "
                   "refcount_bits=16");
    expect_printed("size=1M,cluster_size=4k,lazy_refcounts",
                   " cluster_size=4096 size=1048576 lazy_refcounts=on "
                   "refcount_bits=16");
    expect_printed("lazy_refcounts=on,nolazy_refcounts,size=1M,size=2k",
                   " cluster_size=65536 size=2048 lazy_refcounts=off "
                   "refcount_bits=16");
    expect_printed("backing_file=a,,b,nocow=on",
                   " cluster_size=65536 backing_file=a,,b "
                   "lazy_refcounts=off refcount_bits=16 nocow=on");
}

static void expect_list_error(const char *str, const char *message)
{
    g_autoptr(CreateList) list = new_list();
    Error *err = NULL;

    g_assert_false(create_list_parse(list, str, &err));
    test_expect(err, message);
}

static void test_list_refuses(void)
{
    expect_list_error("cluster_sizee=3", "Invalid parameter 'cluster_sizee'");
    expect_list_error("foo", "Invalid parameter 'foo'");
    expect_list_error("nofoo", "Invalid parameter 'nofoo'");
    expect_list_error("lazy_refcounts=x",
                      "Parameter 'lazy_refcounts' expects 'on' or 'off'");
    expect_list_error("refcount_bits=x",
                      "Parameter 'refcount_bits' expects a number");
    expect_list_error("cluster_size=foo", "Parameter 'cluster_size' expects "
                      "a non-negative number below 2^64");
}

static void test_list_becomes_a_tree(void)
{
    json_t *tree = create_parse_options(&magic_driver,
                                        "compat=1.1,cluster_size=2M",
                                        &error_abort);
    char *text = json_format(tree);

    g_assert_cmpstr(text, ==,
                    "{\"cluster-size\": \"2097152\", \"version\": \"v3\"}");
    g_free(text);
    json_decref(tree);
}

/* ---- images ---- */

static char *path_of(const char *name)
{
    return g_build_filename(test_dir, name, NULL);
}

static bool create_it(Co *co, const char *name, const char *fmt,
                      const char *backing, const char *backing_fmt,
                      const char *options, int64_t size, Error **errp)
{
    g_autofree char *path = path_of(name);

    return create_image(co, path, fmt, backing, backing_fmt, options, size,
                        false, true, errp);
}

static void expect_create_error(Co *co, const char *fmt, const char *backing,
                                const char *backing_fmt, const char *options,
                                int64_t size, const char *message)
{
    g_autofree char *path = path_of("never");
    Error *err = NULL;

    g_assert_false(create_it(co, "never", fmt, backing, backing_fmt, options,
                             size, &err));
    test_expect(err, message);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

static void test_raw_is_its_file(Co *co, void *arg)
{
    g_autofree char *path = path_of("raw");
    GStatBuf st;

    g_assert_true(create_it(co, "raw", "raw", NULL, NULL, "size=10k", -1,
                            &error_abort));
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 10240);
    g_assert_true(create_it(co, "raw", "raw", NULL, NULL, NULL, 1025,
                            &error_abort));
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 1536);
    g_assert_true(create_file(co, path, 512, &error_abort));
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 512);
    g_unlink(path);
}

static void test_format_gets_its_options(Co *co, void *arg)
{
    g_autofree char *base = path_of("base"), *top = path_of("top");

    g_assert_true(create_it(co, "base", "qcow2", NULL, NULL,
                            "compat=0.10,cluster_size=1M", 4096,
                            &error_abort));
    g_assert_cmpint(created->size, ==, 4096);
    g_assert_cmpint(created->cluster_size, ==, MiB);
    g_assert_true(created->version == BLOCKDEV_QCOW2_VERSION_V2);
    g_assert_false(created->has_lazy_refcounts);
    g_clear_pointer(&created, qapi_free_BlockdevCreateOptionsQcow2);

    /* Relative to the new image; its size is that of the base. */
    g_assert_true(create_it(co, "top", "qcow2", "base", "qcow2", NULL, -1,
                            &error_abort));
    g_assert_cmpint(created->size, ==, 12345 * 512);
    g_assert_cmpstr(created->backing_file, ==, "base");
    g_assert_true(created->backing_fmt == BLOCKDEV_DRIVER_QCOW2);
    g_clear_pointer(&created, qapi_free_BlockdevCreateOptionsQcow2);
    g_unlink(base);
    g_unlink(top);
}

static void test_creation_refuses(Co *co, void *arg)
{
    g_autofree char *never = path_of("never"), *gone = path_of("gone");
    g_autofree char *no_base =
        g_strdup_printf("Could not open '%s': No such file or directory",
                        gone);

    expect_create_error(co, "nope", NULL, NULL, NULL, 1,
                        "Unknown file format 'nope'");
    expect_create_error(co, "null-co", NULL, NULL, NULL, 1,
        "Format driver 'null-co' does not support image creation");
    expect_create_error(co, "qcow2", NULL, NULL, NULL, -1,
                        "Image creation needs a size parameter");
    expect_create_error(co, "qcow2", NULL, NULL, "size=1", 1,
                        "The image size must be specified only once");
    expect_create_error(co, "raw", "x", NULL, NULL, 1,
        "Backing file not supported for file format 'raw'");
    expect_create_error(co, "raw", NULL, "raw", NULL, 1,
        "Backing file format not supported for file format 'raw'");
    expect_create_error(co, "qcow2", never, NULL, NULL, 1,
        "Error: Trying to create an image with the same filename as the "
        "backing file");
    expect_create_error(co, "qcow2", NULL, NULL, "backing_file=", 1,
                        "Expected backing file name, got empty string");
    expect_create_error(co, "qcow2", "gone", "qcow2", NULL, 1, no_base);
    expect_create_error(co, "raw", NULL, NULL, "preallocation=foo", 1,
                        "invalid parameter value: foo");
    expect_create_error(co, "qcow2", NULL, NULL, "compat=9", 1,
                        "Parameter 'version' does not accept value '9'");
}

static void test_failure_removes_the_file(Co *co, void *arg)
{
    refuse_create = true;
    expect_create_error(co, "qcow2", NULL, NULL, NULL, 1,
                        "Image size must be a multiple of nothing");
    refuse_create = false;
}

static void test_backing_needs_a_format(Co *co, void *arg)
{
    g_autofree char *base = path_of("base");
    Error *err = NULL;

    g_assert_true(create_it(co, "base", "raw", NULL, NULL, NULL, 512,
                            &error_abort));
    g_assert_false(create_it(co, "never", "qcow2", "base", NULL, NULL, 1,
                             &err));
    g_assert_cmpstr(error_get_hint(err), ==, "Detected format of raw.");
    test_expect(err, "Backing file specified without backing format");
    expect_create_error(co, "qcow2", "base", "qcow2", NULL, 1,
                        "Image is not in magic format");
    g_unlink(base);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    driver_register(&magic_driver);
    driver_register(&file_driver);
    driver_register(&null_co_driver);
    driver_register(&raw_driver);
    test_dir = g_dir_make_tmp("create-XXXXXX", NULL);
    g_test_add_func("/create/list-prints-values-and-defaults",
                    test_list_prints_values_and_defaults);
    g_test_add_func("/create/list-refuses", test_list_refuses);
    g_test_add_func("/create/list-becomes-a-tree", test_list_becomes_a_tree);
    graph_test_add("/create/raw-is-its-file", test_raw_is_its_file);
    graph_test_add("/create/format-gets-its-options",
                   test_format_gets_its_options);
    graph_test_add("/create/creation-refuses", test_creation_refuses);
    graph_test_add("/create/failure-removes-the-file",
                   test_failure_removes_the_file);
    graph_test_add("/create/backing-needs-a-format",
                   test_backing_needs_a_format);
    ret = g_test_run();
    g_rmdir(test_dir);
    g_free(test_dir);
    return ret;
}
