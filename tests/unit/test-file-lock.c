/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Locks on image files: which bytes, who refuses whom and in which words, and
 * that QEMU's own programs and we keep each other out, where they are
 * installed.
 */
#include "mem-driver.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "block/file.h"
#include "block/open.h"

#define R PERM_CONSISTENT_READ
#define RW (PERM_CONSISTENT_READ | PERM_WRITE)
#define NO_WRITER (PERM_ALL & ~PERM_WRITE)

static char *dir;
static char *image;

/* Bit i: byte 100 + i; bit 8 + i: byte 200 + i; as an outsider sees them. */
static unsigned locked_bytes(void)
{
    int fd = open(image, O_RDWR | O_CLOEXEC);
    unsigned mask = 0;

    g_assert_cmpint(fd, >=, 0);
    for (int i = 0; i < 16; i++) {
        struct flock fl = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET,
            .l_start = (i < 8 ? 100 : 200) + i % 8, .l_len = 1,
        };

        g_assert_cmpint(fcntl(fd, F_OFD_GETLK, &fl), ==, 0);
        mask |= (fl.l_type != F_UNLCK) << i;
    }
    close(fd);
    return mask;
}

static Node *open_image(Co *co, const char *more)
{
    g_autofree char *text = g_strdup_printf(
        "{\"driver\":\"file\",\"filename\":\"%s\"%s}", image, more);
    json_t *value = json_loads(text, 0, NULL);
    BlockdevOptions *opts = BlockdevOptions_from_json(value, QAPI_STRICT,
                                                      &error_abort);

    json_decref(value);
    return open_options(co, opts, &error_abort);
}

static Root *user(Co *co, Node *node, uint64_t perm, uint64_t share,
                  Error **errp)
{
    return root_open(co, node, "", &mem_root_ops, NULL, perm, share, errp);
}

static void expect_refused(Co *co, Node *node, uint64_t perm, uint64_t share,
                           const char *message)
{
    g_autofree char *hint = g_strdup_printf(
        "Is another process using the image [%s]?\n", image);
    Error *err = NULL;

    g_assert_null(user(co, node, perm, share, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    g_assert_cmpstr(error_get_hint(err), ==, hint);
    error_free(err);
}

static void bytes(Co *co, void *arg)
{
    Node *node = open_image(co, "");
    Root *a, *b;

    g_assert_cmphex(locked_bytes(), ==, 0);
    a = user(co, node, R, PERM_ALL, &error_abort);
    g_assert_cmphex(locked_bytes(), ==, 0x001);
    b = user(co, node, RW | PERM_RESIZE, PERM_ALL & ~PERM_RESIZE,
             &error_abort);
    g_assert_cmphex(locked_bytes(), ==, 0x80b);
    g_assert_true(root_set_perms(co, b, RW, NO_WRITER & ~PERM_RESIZE,
                                 &error_abort));
    g_assert_cmphex(locked_bytes(), ==, 0xa03);
    root_free(co, a);
    g_assert_cmphex(locked_bytes(), ==, 0xa03);
    root_free(co, b);
    g_assert_cmphex(locked_bytes(), ==, 0);
    node_unref(co, node);
}

static void test_bytes(void)
{
    mem_test_run(bytes);
}

/* Two nodes of one file are strangers to each other, as processes are. */
static void conflicts(Co *co, void *arg)
{
    Node *one = open_image(co, ""), *two = open_image(co, "");
    Root *a = user(co, one, RW, NO_WRITER, &error_abort);
    Root *b;
    unsigned before = locked_bytes();

    expect_refused(co, two, RW, PERM_ALL, "Failed to get \"write\" lock");
    g_assert_cmphex(locked_bytes(), ==, before);
    expect_refused(co, two, R, NO_WRITER,
                   "Failed to get shared \"write\" lock");
    g_assert_cmphex(locked_bytes(), ==, before);
    expect_refused(co, two, RW, NO_WRITER, "Failed to get \"write\" lock");
    expect_refused(co, two, R, 0, "Failed to get shared \"consistent read\" "
                   "lock");
    b = user(co, two, R, PERM_ALL, &error_abort);
    /* What is refused leaves the other as it was. */
    g_assert_false(root_set_perms(co, b, RW, PERM_ALL, NULL));
    g_assert_cmphex(locked_bytes(), ==, before);
    g_assert_cmphex(b->need, ==, R);
    root_free(co, a);
    g_assert_true(root_set_perms(co, b, RW, NO_WRITER, &error_abort));
    root_free(co, b);
    node_unref(co, one);
    node_unref(co, two);
}

static void test_conflicts(void)
{
    mem_test_run(conflicts);
}

static void off(Co *co, void *arg)
{
    Node *one = open_image(co, ",\"locking\":\"on\"");
    Node *two = open_image(co, ",\"locking\":\"off\"");
    Root *a = user(co, one, RW, NO_WRITER, &error_abort);
    Root *b = user(co, two, RW, NO_WRITER, &error_abort);

    g_assert_cmphex(locked_bytes(), ==, 0x203);
    root_free(co, a);
    g_assert_cmphex(locked_bytes(), ==, 0);
    root_free(co, b);
    node_unref(co, one);
    node_unref(co, two);
}

static void test_off(void)
{
    mem_test_run(off);
}

/* ---- beside QEMU ---- */

static bool have_qemu(void)
{
    g_autofree char *io = g_find_program_in_path("qemu-io");
    g_autofree char *img = g_find_program_in_path("qemu-img");

    if (!io || !img) {
        g_test_skip("qemu-io and qemu-img are not installed");
        return false;
    }
    return true;
}

/* Runs a command with the image's name for "@"; its standard error. */
static char *run(int *status, const char *command)
{
    g_auto(GStrv) argv = g_strsplit(command, " ", -1);
    char *err = NULL;

    for (char **p = argv; *p; p++) {
        if (!strcmp(*p, "@")) {
            g_free(*p);
            *p = g_strdup(image);
        }
    }
    g_assert_true(g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH |
                               G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL,
                               &err, status, NULL));
    return err;
}

static void expect_run(const char *command, const char *error)
{
    g_autofree char *err = NULL;
    int status;

    err = run(&status, command);
    if (!error) {
        g_assert_cmpstr(err, ==, "");
        g_assert_cmpint(status, ==, 0);
    } else {
        g_assert_nonnull(strstr(err, error));
        g_assert_cmpint(status, !=, 0);
    }
}

static void qemu_refused(Co *co, void *arg)
{
    Node *node = open_image(co, "");
    Root *a = user(co, node, RW, NO_WRITER, &error_abort);

    expect_run("qemu-io -f raw -c length @", "Failed to get \"write\" lock");
    expect_run("qemu-io -r -f raw -c length @", NULL);
    expect_run("qemu-io -r -f qcow2 -c length @",
               "Failed to get shared \"write\" lock");
    expect_run("qemu-io -r -U -f qcow2 -c length @", NULL);
    expect_run("qemu-img create -q -f raw @ 1M",
               "Failed to get \"write\" lock");
    root_free(co, a);
    a = user(co, node, R, PERM_ALL, &error_abort);
    expect_run("qemu-io -f qcow2 -c length @", NULL);
    root_free(co, a);
    node_unref(co, node);
}

static void test_qemu_is_refused(void)
{
    if (have_qemu()) {
        expect_run("qemu-img create -q -f qcow2 @ 1M", NULL);
        mem_test_run(qemu_refused);
    }
}

static void refused_by_qemu(Co *co, void *arg)
{
    const char *argv[] = { "qemu-io", "-f", "qcow2", image, NULL };
    Node *node = open_image(co, "");
    Root *a;
    GPid pid;
    int in;

    g_assert_true(g_spawn_async_with_pipes(NULL, (char **)argv, NULL,
                                           G_SPAWN_SEARCH_PATH |
                                           G_SPAWN_STDOUT_TO_DEV_NULL, NULL,
                                           NULL, &pid, &in, NULL, NULL,
                                           NULL));
    for (int i = 0; i < 500 && locked_bytes() != 0xa03; i++) {
        co_sleep(co, 10000000);
    }
    expect_refused(co, node, RW, PERM_ALL, "Failed to get \"write\" lock");
    expect_refused(co, node, R, NO_WRITER,
                   "Failed to get shared \"write\" lock");
    a = user(co, node, R, PERM_ALL, &error_abort);
    root_free(co, a);
    close(in);
    for (int i = 0; i < 500 && locked_bytes(); i++) {
        co_sleep(co, 10000000);
    }
    a = user(co, node, RW, NO_WRITER, &error_abort);
    root_free(co, a);
    node_unref(co, node);
}

static void test_qemu_refuses(void)
{
    if (have_qemu()) {
        expect_run("qemu-img create -q -f qcow2 @ 1M", NULL);
        mem_test_run(refused_by_qemu);
    }
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("test-lock-XXXXXX", NULL);
    image = g_build_filename(dir, "image", NULL);
    g_assert_true(g_file_set_contents(image, "x", 1, NULL));
    block_init();
    g_test_add_func("/file-lock/bytes", test_bytes);
    g_test_add_func("/file-lock/conflicts-in-qemus-words", test_conflicts);
    g_test_add_func("/file-lock/off", test_off);
    g_test_add_func("/file-lock/qemu-is-refused", test_qemu_is_refused);
    g_test_add_func("/file-lock/qemu-refuses", test_qemu_refuses);
    ret = g_test_run();
    unlink(image);
    rmdir(dir);
    g_free(image);
    g_free(dir);
    return ret;
}
