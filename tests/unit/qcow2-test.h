/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the unit tests of qcow2 images on files share: making one, opening and
 * closing it. Whatever fails aborts.
 */
#ifndef TESTS_UNIT_QCOW2_TEST_H
#define TESTS_UNIT_QCOW2_TEST_H

#include "block/open.h"
#include "block/qcow2.h"
#include "block/root.h"

/* @members: more of blockdev-create's options as JSON, each after a comma. */
static inline void qcow2_test_create(Co *co, const char *image, int64_t size,
                                     const char *members)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver':'qcow2','size':%" PRId64 ",'file':{'driver':'file',"
        "'filename':'%s'}%s}", size, image, members);
    json_t *value = json_parse_str(text, &error_abort);
    g_autoptr(BlockdevCreateOptions) opts =
        BlockdevCreateOptions_from_json(value, QAPI_STRICT, &error_abort);

    json_decref(value);
    g_assert_true(g_file_set_contents(image, "", 0, NULL));
    g_assert_true(qcow2_create(co, opts, &error_abort));
}

/* The caller is on the image's loop afterwards. */
static inline Root *qcow2_test_open(Co *co, const char *image, bool writable)
{
    static const RootOps ops = { .kind = "block-backend" };
    Node *node = open_filename(co, image, "qcow2", NULL,
                               writable ? OPEN_RDWR : 0, &error_abort);
    Root *root = root_open(co, node, "test", &ops, NULL,
                           PERM_CONSISTENT_READ |
                           (writable ? PERM_WRITE | PERM_RESIZE : 0),
                           PERM_ALL, &error_abort);

    co_move(co, node->loop);
    return root;
}

/* The check finds nothing. */
static inline void qcow2_test_check(Co *co, Node *node)
{
    CheckOptions opts = { 0 };
    CheckResult res = { 0 };

    g_assert_cmpint(qcow2_check(co, node, &opts, &res), ==, 0);
    g_assert_cmpint(res.corruptions, ==, 0);
    g_assert_cmpint(res.leaks, ==, 0);
}

/* On the main loop afterwards. */
static inline void qcow2_test_close(Co *co, Root *root)
{
    Node *node = root_node(root);

    co_move(co, loop_main());
    root_free(co, root);
    node_unref(co, node);
}

#endif
