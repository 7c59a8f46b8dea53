/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * For tests of the graph: three drivers that do nothing but be there.
 *
 *     null-co     a protocol; counts opens and closes, and notes (or refuses)
 *                 the permissions that are staged
 *     compress    a filter, as empty as one can be
 *     qcow2       a format with "file" and "backing"
 */
#ifndef TESTS_UNIT_GRAPH_TEST_H
#define TESTS_UNIT_GRAPH_TEST_H

#include "block/graph.h"
#include "block/io.h"
#include "block/open.h"
#include "block/root.h"
#include "co-test.h"
#include "util/json.h"

typedef struct TestDisk {
    uint64_t perm, shared;          /* as staged last */
} TestDisk;

static int test_opened, test_closed, test_moved;
static bool test_refuse_perm;

typedef struct TestPermUndo {
    TestDisk *disk;
    TestDisk old;
} TestPermUndo;

static void test_perm_abort(Co *co, void *opaque)
{
    TestPermUndo *undo = opaque;

    *undo->disk = undo->old;
}

static bool test_disk_perm(Node *node, uint64_t perm, uint64_t shared,
                           Transaction *tran, Error **errp)
{
    static const TransactionOps ops = {
        .abort = test_perm_abort, .clean = g_free,
    };
    TestDisk *d = node->state;
    TestPermUndo *undo = g_new(TestPermUndo, 1);

    *undo = (TestPermUndo) { d, *d };
    tran_add(tran, &ops, undo);
    d->perm = perm;
    d->shared = shared;
    if (test_refuse_perm) {
        error_setg(errp, "Failed to get \"write\" lock");
        return false;
    }
    return true;
}

static bool test_disk_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    test_opened++;
    node->length = node->options->u.null_co.has_size ?
        node->options->u.null_co.size : 65536;
    return true;
}

static void test_disk_close(Co *co, Node *node)
{
    loop_assert(node->loop);
    test_closed++;
}

static int test_disk_read(Co *co, Node *node, int64_t off, int64_t len,
                          const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    iov_memset(iov, iov_off, 0, len);
    return 0;
}

static int test_disk_write(Co *co, Node *node, int64_t off, int64_t len,
                           const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    return 0;
}

static void test_disk_leave(Node *node)
{
    loop_assert(node->loop);
}

static void test_disk_enter(Node *node, Loop *loop)
{
    loop_assert(loop);
    test_moved++;
}

static const BlockDriver test_disk_driver = {
    .name = "null-co", .id = BLOCKDEV_DRIVER_NULL_CO,
    .kind = DRIVER_PROTOCOL, .protocol = "null-co",
    .state_size = sizeof(TestDisk), .supports_fua = true,
    .open = test_disk_open, .close = test_disk_close,
    .read = test_disk_read, .write = test_disk_write,
    .perm_stage = test_disk_perm,
    .loop_leave = test_disk_leave, .loop_enter = test_disk_enter,
};

static bool test_filter_open(Co *co, Node *node, OpenFlags flags,
                             Error **errp)
{
    if (!open_child(co, node, "file", ROLE_PRIMARY,
                    node->options->u.compress.file, errp)) {
        return false;
    }
    node->length = node->file->child->length;
    return true;
}

static const BlockDriver test_filter_driver = {
    .name = "compress", .id = BLOCKDEV_DRIVER_COMPRESS,
    .kind = DRIVER_FILTER, .open = test_filter_open,
};

static bool test_format_open(Co *co, Node *node, OpenFlags flags,
                             Error **errp)
{
    if (!open_child(co, node, "file", ROLE_STORAGE,
                    node->options->u.qcow2.file, errp)) {
        return false;
    }
    node->length = node->file->child->length;
    return open_backing(co, node, node->options->u.qcow2.backing, errp);
}

static const BlockDriver test_format_driver = {
    .name = "qcow2", .id = BLOCKDEV_DRIVER_QCOW2,
    .kind = DRIVER_FORMAT, .open = test_format_open,
    .read = test_disk_read, .write = test_disk_write,
    .supports_backing = true,
};

/* Opens what a JSON text (single quotes will do) describes. */
static Node *test_try(Co *co, const char *text, Error **errp)
{
    g_autoptr(json_t) tree = json_parse_str(text, &error_abort);

    return open_options(co, BlockdevOptions_from_json(tree, QAPI_STRICT,
                                                      &error_abort), errp);
}

static inline Node *test_add(Co *co, const char *text)
{
    return test_try(co, text, &error_abort);
}

/* It fails with these words. */
static inline void test_expect(Error *err, const char *text)
{
    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

static inline void test_add_fails(Co *co, const char *text,
                                  const char *message)
{
    Error *err = NULL;

    g_assert_null(test_try(co, text, &err));
    test_expect(err, message);
}

static const RootOps test_root_ops = { .kind = "block-backend" };

static inline Root *test_root(Co *co, Node *node, uint64_t need,
                              uint64_t share)
{
    return root_open(co, node, "", &test_root_ops, NULL, need, share,
                     &error_abort);
}

/* Each test is a coroutine of the main loop that holds the control lock and
 * leaves no node behind. */
typedef struct GraphTest {
    CoFn *fn;
} GraphTest;

static void graph_test_locked(Co *co, void *arg)
{
    GraphTest *t = arg;

    control_lock(co);
    test_opened = test_closed = test_moved = 0;
    t->fn(co, NULL);
    g_assert_null(node_first());
    g_assert_cmpint(test_opened, ==, test_closed);
    control_unlock(co);
}

static void graph_test_run(gconstpointer fn)
{
    GraphTest t = { (CoFn *)fn };

    co_test_run(graph_test_locked, &t);
}

static inline void graph_test_add(const char *path, CoFn *fn)
{
    g_test_add_data_func(path, (gconstpointer)fn, graph_test_run);
}

static inline void graph_test_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    driver_register(&test_disk_driver);
    driver_register(&test_filter_driver);
    driver_register(&test_format_driver);
}

#endif
