/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The block-dirty-bitmap-* commands and their halves of a transaction: what
 * they do, that an abort takes all of it back, and QEMU's texts.
 */
#include "mem-driver.h"

#include "block/dirty-bitmap.h"
#include "block/monitor.h"
#include "qapi/qapi-commands.h"

static int stored_removes;

static bool store_can(Co *co, Node *node, const char *name,
                      int64_t granularity, Error **errp)
{
    return true;
}

static bool store_remove(Co *co, Node *node, const char *name, Error **errp)
{
    stored_removes++;
    return true;
}

static const BitmapStoreOps store_ops = {
    .can_store = store_can,
    .remove = store_remove,
};

static bool add(Co *co, const char *node, const char *name, bool persistent,
                Error **errp)
{
    BlockDirtyBitmapAdd arg = {
        .node = (char *)node, .name = (char *)name, .has_granularity = true,
        .granularity = 4096, .has_persistent = true, .persistent = persistent,
    };

    return qmp_block_dirty_bitmap_add(co, &arg, errp);
}

static void expect(Error *err, const char *message)
{
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

static BlockDirtyBitmap a_of_n = { (char *)"n", (char *)"a" };

static void texts(Co *co, void *arg)
{
    Node *node = mem_node(&mem_driver, "n", MiB, 512);
    BlockDirtyBitmap none = { (char *)"x", (char *)"a" };
    BlockDirtyBitmapAdd odd = {
        .node = (char *)"n", .name = (char *)"a", .has_granularity = true,
        .granularity = 1000,
    };
    Error *err = NULL;

    g_assert_false(add(co, "x", "a", false, &err));
    expect(g_steal_pointer(&err),
           "Cannot find device='x' nor node-name='x'");
    g_assert_false(add(co, "n", "", false, &err));
    expect(g_steal_pointer(&err), "Bitmap name cannot be empty");
    g_assert_false(qmp_block_dirty_bitmap_add(co, &odd, &err));
    expect(g_steal_pointer(&err),
           "Granularity must be power of 2 and at least 512");
    g_assert_false(add(co, "n", "a", true, &err));
    expect(g_steal_pointer(&err), "Can't store persistent bitmaps to n: "
           "Operation not supported");
    g_assert_true(add(co, "n", "a", false, &error_abort));
    g_assert_false(add(co, "n", "a", false, &err));
    expect(g_steal_pointer(&err), "Bitmap already exists: a");
    g_assert_false(qmp_block_dirty_bitmap_clear(co, &none, &err));
    expect(g_steal_pointer(&err), "Node 'x' not found");
    none.node = (char *)"n";
    none.name = (char *)"b";
    g_assert_false(qmp_block_dirty_bitmap_enable(co, &none, &err));
    expect(g_steal_pointer(&err), "Dirty bitmap 'b' not found");
    bitmap_set_busy(bitmap_find(node, "a"), true);
    g_assert_false(qmp_block_dirty_bitmap_remove(co, &a_of_n, &err));
    expect(g_steal_pointer(&err), "Bitmap 'a' is currently in use by another "
           "operation and cannot be used");
    bitmap_set_busy(bitmap_find(node, "a"), false);
    node_unref(co, node);
}

static void test_texts(void)
{
    mem_test_run(texts);
}

/* All actions in one transaction, which then commits or not. */
static void run_all(Co *co, bool commit)
{
    BlockDriver store = mem_driver;
    BlockDirtyBitmapAdd fresh = { .node = (char *)"n", .name = (char *)"new" };
    BlockDirtyBitmap gone = { (char *)"n", (char *)"gone" };
    BlockDirtyBitmap off = { (char *)"n", (char *)"off" };
    BlockDirtyBitmapOrStr one = { .type = QTYPE_QSTRING,
                                  .u.local = (char *)"off" };
    BlockDirtyBitmapOrStrList list = { .value = &one };
    BlockDirtyBitmapMerge merge = { (char *)"n", (char *)"target", &list };
    Transaction *tran = tran_new();
    Node *node;

    store.bitmap_store = &store_ops;
    stored_removes = 0;
    node = mem_node(&store, "n", MiB, 512);
    add(co, "n", "a", false, &error_abort);
    add(co, "n", "gone", true, &error_abort);
    add(co, "n", "off", false, &error_abort);
    add(co, "n", "target", false, &error_abort);
    bitmap_note_write(node, 0, 4096);
    bitmap_disable(bitmap_find(node, "off"));
    bitmap_set_range(bitmap_find(node, "off"), 8192, 1);
    bitmap_find(node, "gone")->changed = false;

    drain_begin(co, node);
    g_assert_true(bitmap_action_add(co, &fresh, tran, &error_abort));
    g_assert_true(bitmap_action_clear(co, &a_of_n, tran, &error_abort));
    g_assert_true(bitmap_action_disable(co, &a_of_n, tran, &error_abort));
    g_assert_true(bitmap_action_merge(co, &merge, tran, &error_abort));
    g_assert_true(bitmap_action_enable(co, &off, tran, &error_abort));
    g_assert_true(bitmap_action_remove(co, &gone, tran, &error_abort));
    tran_finalize(co, tran, commit);
    drain_end(node);

    g_assert_cmpint(stored_removes, ==, commit);
    g_assert_true(!!bitmap_find(node, "new") == commit);
    g_assert_true(!bitmap_find(node, "gone") == commit);
    g_assert_cmpint(bitmap_count_bytes(co, bitmap_find(node, "a")), ==,
                    commit ? 0 : 4096);
    g_assert_true(bitmap_is_recording(bitmap_find(node, "a")) == !commit);
    g_assert_true(bitmap_is_recording(bitmap_find(node, "off")) == commit);
    g_assert_cmpint(bitmap_count_bytes(co, bitmap_find(node, "target")), ==,
                    commit ? 8192 : 4096);
    if (!commit) {
        g_assert_false(bitmap_find(node, "gone")->busy);
    }
    g_assert_cmpint(node->refs, ==, 1);
    node_unref(co, node);
}

static void both(Co *co, void *arg)
{
    run_all(co, true);
    run_all(co, false);
}

static void test_transaction(void)
{
    mem_test_run(both);
}

/* A source that can't be used leaves the target as it was. */
static void half(Co *co, void *arg)
{
    Node *n = mem_node(&mem_driver, "n", MiB, 512);
    Node *m = mem_node(&mem_driver, "m", 2 * MiB, 512);
    BlockDirtyBitmapOrStr good = { .type = QTYPE_QSTRING,
                                   .u.local = (char *)"b" };
    BlockDirtyBitmapOrStr bad = { .type = QTYPE_QDICT, .u.external = {
                                  (char *)"m", (char *)"c" } };
    BlockDirtyBitmapOrStrList second = { .value = &bad };
    BlockDirtyBitmapOrStrList first = { .next = &second, .value = &good };
    BlockDirtyBitmapMerge merge = { (char *)"n", (char *)"a", &first };
    Error *err = NULL;

    add(co, "n", "a", false, &error_abort);
    add(co, "n", "b", false, &error_abort);
    add(co, "m", "c", false, &error_abort);
    bitmap_set_range(bitmap_find(n, "b"), 0, 1);
    bitmap_set_inconsistent(bitmap_find(m, "c"));
    g_assert_false(qmp_block_dirty_bitmap_merge(co, &merge, &err));
    expect(g_steal_pointer(&err), "Bitmap 'c' is inconsistent and cannot be "
           "used");
    g_assert_cmpint(bitmap_count_bytes(co, bitmap_find(n, "a")), ==, 0);
    first.next = NULL;
    g_assert_true(qmp_block_dirty_bitmap_merge(co, &merge, &error_abort));
    g_assert_cmpint(bitmap_count_bytes(co, bitmap_find(n, "a")), ==, 4096);
    merge.bitmaps = NULL;
    g_assert_true(qmp_block_dirty_bitmap_merge(co, &merge, &error_abort));
    node_unref(co, n);
    node_unref(co, m);
}

static void test_merge_is_whole_or_not_at_all(void)
{
    mem_test_run(half);
}

/* ---- if-exists ---- */

static int store_room;

static bool store_can_some(Co *co, Node *node, const char *name,
                           int64_t granularity, Error **errp)
{
    if (store_room-- <= 0) {
        error_setg(errp, "no room");
        return false;
    }
    return true;
}

static bool ensure(Co *co, BitmapIfExists how, int64_t granularity,
                   bool persistent, Error **errp)
{
    BlockDirtyBitmapAdd arg = {
        .node = (char *)"n", .name = (char *)"a",
        .has_granularity = granularity, .granularity = granularity,
        .has_persistent = true, .persistent = persistent,
        .has_if_exists = true, .if_exists = how,
    };

    return qmp_block_dirty_bitmap_add(co, &arg, errp);
}

static void expect_a(Co *co, Node *node, int64_t granularity, int64_t count,
                     bool persistent, BitmapState state)
{
    DirtyBitmap *bm = bitmap_find(node, "a");

    g_assert_cmpint(bitmap_granularity(bm), ==, granularity);
    g_assert_cmpint(bitmap_count_bytes(co, bm), ==, count);
    g_assert_true(bm->persistent == persistent && bm->state == state);
}

static void if_exists(Co *co, void *arg)
{
    static const BitmapStoreOps ops = {
        .can_store = store_can_some, .remove = store_remove,
    };
    BlockDriver store = mem_driver;
    Error *err = NULL;
    Node *node;

    store.bitmap_store = &ops;
    store_room = 1;
    node = mem_node(&store, "n", MiB, 512);
    g_assert_true(ensure(co, BITMAP_IF_EXISTS_KEEP, 4096, true,
                         &error_abort));
    bitmap_note_write(node, 0, 512);
    g_assert_true(ensure(co, BITMAP_IF_EXISTS_KEEP, 0, true, &error_abort));
    g_assert_true(ensure(co, BITMAP_IF_EXISTS_KEEP, 4096, false,
                         &error_abort));
    g_assert_false(ensure(co, BITMAP_IF_EXISTS_KEEP, 512, true, &err));
    expect(g_steal_pointer(&err),
           "Bitmap 'a' exists with granularity 4096 instead of 512");

    /* No room for the new one: the old one is back, and stored again. */
    bitmap_find(node, "a")->changed = false;
    g_assert_false(ensure(co, BITMAP_IF_EXISTS_REPLACE, 512, true, &err));
    expect(g_steal_pointer(&err), "no room");
    expect_a(co, node, 4096, 4096, true, BITMAP_RECORDING);
    g_assert_true(bitmap_find(node, "a")->changed);
    bitmap_note_write(node, 65536, 512);
    expect_a(co, node, 4096, 8192, true, BITMAP_RECORDING);

    g_assert_true(ensure(co, BITMAP_IF_EXISTS_REPLACE, 512, false,
                         &error_abort));
    expect_a(co, node, 512, 0, false, BITMAP_RECORDING);
    bitmap_note_write(node, 65536, 512);
    expect_a(co, node, 512, 512, false, BITMAP_RECORDING);
    bitmap_set_inconsistent(bitmap_find(node, "a"));
    g_assert_false(ensure(co, BITMAP_IF_EXISTS_KEEP, 0, false, &err));
    expect(g_steal_pointer(&err), "Bitmap 'a' exists and is inconsistent");
    g_assert_true(ensure(co, BITMAP_IF_EXISTS_REPLACE, 0, false,
                         &error_abort));
    expect_a(co, node, 65536, 0, false, BITMAP_RECORDING);
    bitmap_set_readonly(bitmap_find(node, "a"), true);
    g_assert_false(ensure(co, BITMAP_IF_EXISTS_REPLACE, 0, false, &err));
    expect(g_steal_pointer(&err),
           "Bitmap 'a' is readonly and cannot be modified");
    node_unref(co, node);
}

static void test_if_exists(void)
{
    mem_test_run(if_exists);
}

static void sha(Co *co, void *arg)
{
    Node *node = mem_node(&mem_driver, "n", MiB, 512);
    g_autoptr(BlockDirtyBitmapSha256) ret = NULL;

    add(co, "n", "a", false, &error_abort);
    g_assert_true(qmp_x_debug_block_dirty_bitmap_sha256(co, &a_of_n, &ret,
                                                        &error_abort));
    /* Of 256 clear bits. */
    g_assert_cmpstr(ret->sha256, ==, "66687aadf862bd776c8fc18b8e9f8e20089714856"
                    "ee233b3902a591d0d5f2925");
    node_unref(co, node);
}

static void test_sha256(void)
{
    mem_test_run(sha);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bitmap-qmp/texts", test_texts);
    g_test_add_func("/bitmap-qmp/transaction", test_transaction);
    g_test_add_func("/bitmap-qmp/merge-is-whole-or-not-at-all",
                    test_merge_is_whole_or_not_at_all);
    g_test_add_func("/bitmap-qmp/if-exists", test_if_exists);
    g_test_add_func("/bitmap-qmp/sha256", test_sha256);
    return g_test_run();
}
