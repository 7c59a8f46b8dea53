/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The request path at its bounds: the end of the longest disk, blocks of any
 * size, an end that comes nearer while requests wait, copies that stop half way.
 */
#include "mem-driver.h"

#include "block/dirty-bitmap.h"

#define RW (PERM_CONSISTENT_READ | PERM_WRITE)

static void bounds_done(Co *co, Root *root)
{
    Node *node = root_node(root);

    root_free(co, root);
    node_unref(co, node);
}

/* ---- the longest disk ---- */

static int endless_calls;

static void endless_check(Node *node, int64_t off, int64_t len)
{
    endless_calls++;
    g_assert_cmpint(off, >=, 0);
    g_assert_cmpint(len, >, 0);
    g_assert_cmpint(off, <=, BLOCK_MAX_LENGTH - len);
    g_assert_true(IS_ALIGNED(off | len, node->limits.request_alignment));
}

static int endless_read(Co *co, Node *node, int64_t off, int64_t len,
                        const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    endless_check(node, off, len);
    iov_memset(iov, iov_off, 0x5a, len);
    return 0;
}

static int endless_write(Co *co, Node *node, int64_t off, int64_t len,
                         const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    endless_check(node, off, len);
    return 0;
}

static int endless_zero(Co *co, Node *node, int64_t off, int64_t len,
                        ReqFlags flags)
{
    endless_check(node, off, len);
    return 0;
}

static int endless_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    endless_check(node, off, len);
    return 0;
}

static const BlockDriver endless_driver = {
    .name = "endless", .kind = DRIVER_PROTOCOL,
    .read = endless_read, .write = endless_write, .zero = endless_zero,
    .discard = endless_discard,
};

/* Of any alignment the last byte can be read and written, none behind it. */
static void longest(Co *co, void *arg)
{
    for (int64_t align = 1; align <= MiB; align *= 4) {
        Node *node = node_new(&endless_driver, "n", &error_abort);
        int64_t end = BLOCK_MAX_LENGTH;
        uint8_t buf[700] = { 0 };
        Root *root;

        node->opened = true;
        node->flags = OPEN_RDWR | OPEN_UNMAP;
        node->length = end;
        node->limits.request_alignment = align;
        root = mem_root(co, node, RW | PERM_RESIZE);
        endless_calls = 0;
        g_assert_cmpint(root_pread(co, root, end - 700, 700, buf), ==, 0);
        g_assert_cmpint(buf[0], ==, 0x5a);
        g_assert_cmpint(buf[699], ==, 0x5a);
        g_assert_cmpint(root_pwrite(co, root, end - 700, 700, buf, 0), ==, 0);
        g_assert_cmpint(root_zero(co, root, end - 300, 300, 0), ==, 0);
        g_assert_cmpint(root_discard(co, root, end - GiB, GiB), ==, 0);
        g_assert_cmpint(endless_calls, >=, 4);
        g_assert_cmpint(root_length(root), ==, end);
        root->allow_beyond_end = true;
        g_assert_cmpint(root_pread(co, root, end - 10, 11, buf), ==, -EIO);
        g_assert_cmpint(root_pwrite(co, root, end, 1, buf, 0), ==, -EIO);
        g_assert_cmpint(root_zero(co, root, 1, end, 0), ==, -EIO);
        g_assert_cmpint(root_pwrite(co, root, INT64_MAX, 1, buf, 0), ==, -EIO);
        bounds_done(co, root);
    }
}

static void test_longest(void)
{
    mem_test_run(longest);
}

/* ---- large blocks ---- */

/* Zeroes are written as data where the driver has no better way. */
static void large_blocks(Co *co, void *arg)
{
    for (int64_t align = 512 * KiB; align <= 4 * MiB; align *= 2) {
        Root *root = mem_root(co, mem_node(&mem_driver, "n", 8 * MiB, align),
                              RW);
        MemState *s = root_node(root)->state;

        s->unsupported_zero = true;
        memset(s->data, 0xff, s->capacity);
        g_assert_cmpint(root_zero(co, root, 4 * MiB, 4 * MiB, 0), ==, 0);
        g_assert_cmpint(root_zero(co, root, 5, 700, 0), ==, 0);
        g_assert_true(buffer_is_zero(s->data + 4 * MiB, 4 * MiB));
        g_assert_true(buffer_is_zero(s->data + 5, 700));
        g_assert_cmpint(s->data[4], ==, 0xff);
        g_assert_cmpint(s->data[705], ==, 0xff);
        g_assert_cmpint(s->data[4 * MiB - 1], ==, 0xff);
        g_assert_cmpint(s->data[8 * MiB], ==, 0xff);
        bounds_done(co, root);
    }
}

static void test_large_blocks(void)
{
    mem_test_run(large_blocks);
}

/* ---- a format whose end comes nearer while requests wait ---- */

static int64_t header_length;
static int discards_behind;

static bool header_resize(Co *co, Node *node, int64_t length, bool exact,
                          PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    for (int i = 0; i < 10; i++) {
        co_yield(co);
    }
    header_length = node->length = length;
    return true;
}

static int header_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    discards_behind += off + len > header_length;
    return 0;
}

typedef struct Waiting {
    Root *root;
    MemCrowd *crowd;
    int ret;
} Waiting;

static void waiting_write(Co *co, void *opaque)
{
    static const uint8_t data[4 * KiB] = { 1, 2, 3 };
    Waiting *w = opaque;

    w->ret = root_pwrite(co, w->root, 60 * KiB, sizeof(data), data, 0);
    mem_crowd_done(w->crowd);
}

static void waiting_zero(Co *co, void *opaque)
{
    Waiting *w = opaque;

    w->ret = root_zero(co, w->root, 56 * KiB, 4 * KiB, 0);
    mem_crowd_done(w->crowd);
}

static void waiting_discard(Co *co, void *opaque)
{
    Waiting *w = opaque;

    w->ret = root_discard(co, w->root, 31 * KiB, 17 * KiB);
    mem_crowd_done(w->crowd);
}

static void waiting_shrink(Co *co, void *opaque)
{
    Waiting *w = opaque;

    root_resize(co, w->root, 32 * KiB, true, PREALLOC_MODE_OFF, 0,
                &error_abort);
    mem_crowd_done(w->crowd);
}

/* Who may not resize gets -ENOSPC; who may gets an image that is as long again
 * by its own header. A discard gives back what is there. */
static void nearer(Co *co, void *arg)
{
    static CoFn *const fns[] = { waiting_write, waiting_zero, waiting_discard };
    BlockDriver format = mem_driver;

    format.kind = DRIVER_FORMAT;
    format.resize = header_resize;
    format.discard = header_discard;
    for (int i = 0; i < 6; i++) {
        bool may = i % 2, discards = i / 2 == 2;
        Node *node = mem_node(&format, "n", 64 * KiB, 1);
        Root *owner = mem_root(co, node, RW | PERM_RESIZE);
        Root *root = mem_root(co, node, may ? RW | PERM_RESIZE : RW);
        MemCrowd crowd = { NULL, 2 };
        Waiting shrink = { owner, &crowd, 0 }, w = { root, &crowd, 1 };

        header_length = 64 * KiB;
        discards_behind = 0;
        co_spawn(co_loop(co), waiting_shrink, &shrink);
        co_spawn(co_loop(co), fns[i / 2], &w);
        mem_crowd_wait(co, &crowd);
        g_assert_cmpint(w.ret, ==, may || discards ? 0 : -ENOSPC);
        g_assert_cmpint(node->length, ==, header_length);
        g_assert_cmpint(header_length, ==, !may || discards ? 32 * KiB :
                        i / 2 ? 60 * KiB : 64 * KiB);
        g_assert_cmpint(discards_behind, ==, 0);
        root_free(co, owner);
        bounds_done(co, root);
    }
}

static void test_nearer(void)
{
    mem_test_run(nearer);
}

/* ---- a copy inside of the storage that stops half way ---- */

static int half_copy(Co *co, Node *src, int64_t src_off, Node *dst,
                     int64_t dst_off, int64_t len, ReqFlags flags)
{
    memcpy(((MemState *)dst->state)->data + dst_off,
           ((MemState *)src->state)->data + src_off, len / 2);
    return -ENOTSUP;
}

/* What has been written by then is dirty, and not yet flushed. */
static void half(Co *co, void *arg)
{
    BlockDriver drv = mem_driver;
    Root *src, *dst;
    DirtyBitmap *bm;
    MemState *s;

    drv.copy_range = half_copy;
    src = mem_root(co, mem_node(&drv, "src", MiB, 1), RW);
    dst = mem_root(co, mem_node(&drv, "dst", MiB, 1), RW);
    bm = bitmap_create(root_node(dst), 4 * KiB, "b", &error_abort);
    s = root_node(dst)->state;
    g_assert_cmpint(io_copy_range(co, src->edge, 0, dst->edge, 512 * KiB,
                                  8 * KiB, 0), ==, -ENOTSUP);
    g_assert_cmpint(bitmap_count_bytes(co, bm), ==, 8 * KiB);
    g_assert_cmpint(root_flush(co, dst), ==, 0);
    g_assert_cmpint(s->flushes, ==, 1);
    bounds_done(co, src);
    bounds_done(co, dst);
}

static void test_half(void)
{
    mem_test_run(half);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/io/longest-disk", test_longest);
    g_test_add_func("/io/large-blocks", test_large_blocks);
    g_test_add_func("/io/end-comes-nearer", test_nearer);
    g_test_add_func("/io/half-a-copy", test_half);
    return g_test_run();
}
