/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * An empty filter takes 12 lines, and everything goes through it.
 *
 * The test reads its own source to count the lines between the two marks.
 */
#include "graph-test.h"

/* BEGIN empty filter */
static bool empty_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    Edge *e = open_child(co, node, "file", ROLE_PRIMARY,
                         node->options->u.snapshot_access.file, errp);
    node->length = e ? e->child->length : 0;
    return e;
}
static const BlockDriver empty_driver = {
    .name = "snapshot-access", .id = BLOCKDEV_DRIVER_SNAPSHOT_ACCESS,
    .kind = DRIVER_FILTER, .open = empty_open,
};
/* END empty filter */

/* ---- what it stands on: a disk that writes down what it is asked ---- */

static GString *log_;
static uint8_t content[4096];

static int ram_read(Co *co, Node *node, int64_t off, int64_t len,
                    const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    g_string_append_printf(log_, "read %" PRId64 "+%" PRId64 "\n", off, len);
    iov_from_buf(iov, iov_off, content + off, len);
    return 0;
}

static int ram_write(Co *co, Node *node, int64_t off, int64_t len,
                     const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    g_string_append_printf(log_, "write %" PRId64 "+%" PRId64 "%s\n", off,
                           len, flags & REQ_FUA ? " fua" : "");
    iov_to_buf(iov, iov_off, content + off, len);
    return 0;
}

static int ram_zero(Co *co, Node *node, int64_t off, int64_t len,
                    ReqFlags flags)
{
    g_string_append_printf(log_, "zero %" PRId64 "+%" PRId64 "%s\n", off, len,
                           flags & REQ_MAY_UNMAP ? " unmap" : "");
    memset(content + off, 0, len);
    return 0;
}

static int ram_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    g_string_append_printf(log_, "discard %" PRId64 "+%" PRId64 "\n", off,
                           len);
    return 0;
}

static int ram_flush(Co *co, Node *node)
{
    g_string_append(log_, "flush\n");
    return 0;
}

static int ram_status(Co *co, Node *node, bool precise, int64_t off,
                      int64_t len, Extent *ret)
{
    ret->len = MIN(len, 512);
    ret->flags = off < 512 ? EXTENT_DATA | EXTENT_OFFSET_VALID : EXTENT_ZERO;
    ret->map = off;
    ret->file = node;
    return 0;
}

static bool ram_resize(Co *co, Node *node, int64_t length, bool exact,
                       PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    g_string_append_printf(log_, "resize %" PRId64 "\n", length);
    node->length = length;
    return true;
}

static bool ram_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    node->length = sizeof(content);
    return true;
}

static const BlockDriver ram_driver = {
    .name = "null-aio", .id = BLOCKDEV_DRIVER_NULL_AIO,
    .kind = DRIVER_PROTOCOL, .supports_fua = true, .open = ram_open,
    .read = ram_read, .write = ram_write, .zero = ram_zero,
    .discard = ram_discard, .flush = ram_flush, .status = ram_status,
    .resize = ram_resize,
};

/* ---- claims ---- */

static void expect_log(const char *text)
{
    g_assert_cmpstr(log_->str, ==, text);
    g_string_truncate(log_, 0);
}

static Node *add_pair(Co *co)
{
    return test_add(co, "{'driver':'snapshot-access','node-name':'filter',"
                    "'discard':'unmap','file':{'driver':'null-aio',"
                    "'node-name':'ram'}}");
}

static void test_requests_go_through(Co *co, void *arg)
{
    Node *f = add_pair(co);
    Root *root = test_root(co, f, PERM_ALL, PERM_ALL);
    char buf[16] = { 0 };

    log_ = g_string_new(NULL);
    g_assert_cmpint(root_pwrite(co, root, 100, 5, "hello", REQ_FUA), ==, 0);
    g_assert_cmpint(root_pread(co, root, 99, 7, buf), ==, 0);
    g_assert_cmpmem(buf, 7, "\0hello\0", 7);
    expect_log("write 100+5 fua\nread 99+7\n");
    g_assert_cmpint(root_zero(co, root, 96, 32, REQ_MAY_UNMAP), ==, 0);
    g_assert_cmpint(root_discard(co, root, 512, 512), ==, 0);
    g_assert_cmpint(root_flush(co, root), ==, 0);
    expect_log("zero 96+32 unmap\ndiscard 512+512\nflush\n");
    g_assert_true(root_resize(co, root, 2048, true, PREALLOC_MODE_OFF, 0,
                              &error_abort));
    expect_log("resize 2048\n");
    g_assert_cmpint(f->length, ==, 2048);
    root_free(co, root);
    node_unref(co, f);
    g_string_free(log_, true);
}

static void test_status_goes_through(Co *co, void *arg)
{
    Node *f = add_pair(co);
    Extent e;

    log_ = g_string_new(NULL);
    g_assert_cmpint(status_layer(co, f, true, 0, 4096, &e), ==, 0);
    g_assert_cmpint(e.len, ==, 512);
    g_assert_true((e.flags & EXTENT_DATA) && !(e.flags & EXTENT_ZERO));
    g_assert_cmpint(status_layer(co, f, true, 512, 512, &e), ==, 0);
    g_assert_true(e.flags & EXTENT_ZERO);
    node_unref(co, f);
    g_string_free(log_, true);
}

static void test_permissions_go_through(Co *co, void *arg)
{
    Node *f = add_pair(co);
    Root *root = test_root(co, f, PERM_WRITE, PERM_CONSISTENT_READ);

    log_ = g_string_new(NULL);
    g_assert_cmphex(f->file->need, ==, PERM_WRITE);
    g_assert_cmphex(f->file->share, ==, PERM_CONSISTENT_READ);
    root_free(co, root);
    node_unref(co, f);
    g_string_free(log_, true);
}

static void test_it_takes_twelve_lines(void)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST,
                                                  "test-empty-filter.c", NULL);
    g_autofree char *text = NULL;
    char *begin, *end;
    int lines = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    begin = strstr(text, "/* BEGIN empty filter */\n");
    end = strstr(text, "/* END empty filter */\n");
    g_assert_true(begin && end > begin);
    for (char *p = strchr(begin, '\n') + 1; p < end; p++) {
        lines += *p == '\n';
    }
    g_assert_cmpint(lines, <=, 12);
}

int main(int argc, char **argv)
{
    graph_test_init(&argc, &argv);
    driver_register(&ram_driver);
    driver_register(&empty_driver);
    graph_test_add("/empty-filter/requests-go-through",
                   test_requests_go_through);
    graph_test_add("/empty-filter/status-goes-through",
                   test_status_goes_through);
    graph_test_add("/empty-filter/permissions-go-through",
                   test_permissions_go_through);
    g_test_add_func("/empty-filter/it-takes-twelve-lines",
                    test_it_takes_twelve_lines);
    return g_test_run();
}
