/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * How qcow2 writes to its file: clusters that are allocated together go out in
 * one write; what is copied before and behind the data goes with it; writes
 * into one cluster at the same time allocate it once; others go on meanwhile;
 * what is being discarded gets no new data; the header keeps what is new in it.
 */
#include "mem-driver.h"

#include "block/drivers.h"
#include "block/open.h"
#include "block/qcow2.h"
#include "util/json.h"

#define CLUSTER (64 * KiB)
#define RW (PERM_CONSISTENT_READ | PERM_WRITE)

typedef struct Image {
    Node *file, *node;
    Root *root;
    MemState *mem;
} Image;

/* @members: more of blockdev-create's options, each after a comma. */
static void image_open_on(Co *co, Image *im, const BlockDriver *drv,
                          const char *members)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver':'qcow2','size':16777216,'file':'mem'%s}", members);
    g_autoptr(json_t) create = json_parse_str(text, &error_abort);
    g_autoptr(json_t) named = json_parse_str(
        "{'driver':'null-co','node-name':'mem'}", &error_abort);
    g_autoptr(json_t) open = json_parse_str(
        "{'driver':'qcow2','file':'mem','discard':'unmap'}", &error_abort);
    g_autoptr(BlockdevCreateOptions) opts =
        BlockdevCreateOptions_from_json(create, QAPI_STRICT, &error_abort);

    im->file = mem_node(drv, "mem", 32 * MiB, 1);
    im->mem = im->file->state;
    /* Whatever it is called. */
    im->file->options = BlockdevOptions_from_json(named, QAPI_STRICT,
                                                  &error_abort);
    g_assert_true(qcow2_driver.image->create(co, opts, &error_abort));
    im->node = open_options(co, BlockdevOptions_from_json(open, QAPI_STRICT,
                                                          &error_abort),
                            &error_abort);
    im->root = mem_root(co, im->node, RW);
}

static void image_open(Co *co, Image *im)
{
    image_open_on(co, im, &mem_driver, "");
}

static void image_close(Co *co, Image *im)
{
    root_free(co, im->root);
    node_unref(co, im->node);
    node_unref(co, im->file);
}

/* Writes, and how many writes of the file that took. */
static int count_writes(Co *co, Image *im, int64_t off, int64_t len, int byte)
{
    g_autofree uint8_t *buf = g_malloc(len);
    int before = im->mem->writes;

    memset(buf, byte, len);
    g_assert_cmpint(root_pwrite(co, im->root, off, len, buf, 0), ==, 0);
    return im->mem->writes - before;
}

static void expect_bytes(Co *co, Image *im, int64_t off, int64_t len, int byte)
{
    g_autofree uint8_t *buf = g_malloc(len);

    g_assert_cmpint(root_pread(co, im->root, off, len, buf), ==, 0);
    for (int64_t i = 0; i < len; i++) {
        g_assert_cmpint(buf[i], ==, byte);
    }
}

static void test_one_write(Co *co, void *arg)
{
    Image im;

    image_open(co, &im);
    /* The L2 table is there from then on. */
    count_writes(co, &im, 0, CLUSTER, 1);
    g_assert_cmpint(count_writes(co, &im, CLUSTER, 16 * CLUSTER, 1), ==, 1);
    g_assert_cmpint(im.mem->last_len, ==, 16 * CLUSTER);

    /* Shared with a snapshot: head and tail are copied. */
    g_assert_cmpint(im.node->drv->snapshots->create(co, im.node, "s", 0, 0),
                    ==, 0);
    count_writes(co, &im, 0, CLUSTER, 2);
    g_assert_cmpint(count_writes(co, &im, CLUSTER + 4096, 4096, 2), ==, 1);
    g_assert_cmpint(im.mem->last_len, ==, CLUSTER);
    g_assert_cmpint(count_writes(co, &im, 3 * CLUSTER + 512, 4 * CLUSTER, 2),
                    ==, 1);
    g_assert_cmpint(im.mem->last_len, ==, 5 * CLUSTER);
    /* And the same again is overwritten where it is. */
    g_assert_cmpint(count_writes(co, &im, CLUSTER + 8192, 4096, 3), ==, 1);
    g_assert_cmpint(im.mem->last_len, ==, 4096);

    expect_bytes(co, &im, CLUSTER, 4096, 1);
    expect_bytes(co, &im, CLUSTER + 4096, 4096, 2);
    expect_bytes(co, &im, CLUSTER + 8192, 4096, 3);
    expect_bytes(co, &im, CLUSTER + 12288, 2 * CLUSTER - 12288 + 512, 1);
    expect_bytes(co, &im, 3 * CLUSTER + 512, 4 * CLUSTER, 2);
    expect_bytes(co, &im, 7 * CLUSTER + 512, CLUSTER, 1);
    image_close(co, &im);
}

typedef struct Piece {
    Root *root;
    int64_t off;
    int byte;
} Piece;

static int write_piece(Co *co, void *arg)
{
    const Piece *p = arg;
    uint8_t buf[4096];

    memset(buf, p->byte, sizeof(buf));
    return root_pwrite(co, p->root, p->off, sizeof(buf), buf, 0);
}

/* @stride apart, all at once, on a disk that takes its time. */
static void write_pieces(Co *co, Image *im, int64_t off, int64_t stride)
{
    Piece p[16];
    CoGroup group;

    im->mem->max_in_flight = 0;
    im->mem->latency_ns = 2000000;
    co_group_init(&group, co_loop(co), 16);
    for (int i = 0; i < 16; i++) {
        p[i] = (Piece) { im->root, off + i * stride, i + 1 };
        co_group_start(co, &group, write_piece, &p[i]);
    }
    g_assert_cmpint(co_group_wait(co, &group), ==, 0);
    im->mem->latency_ns = 0;
    for (int i = 0; i < 16; i++) {
        expect_bytes(co, im, off + i * stride, 4096, i + 1);
    }
}

static void test_at_once(Co *co, void *arg)
{
    Image im;

    image_open(co, &im);
    count_writes(co, &im, 0, CLUSTER, 1);
    /* All of one cluster: it is allocated once. */
    write_pieces(co, &im, 2 * CLUSTER, 4096);
    g_assert_cmpint(count_writes(co, &im, 2 * CLUSTER, CLUSTER, 9), ==, 1);
    g_assert_cmpint(im.mem->last_len, ==, CLUSTER);
    /* One of each: no write waits for another's data. */
    write_pieces(co, &im, 32 * CLUSTER, CLUSTER);
    g_assert_cmpint(im.mem->max_in_flight, >=, 8);
    image_close(co, &im);
}

/* ---- a discard that takes its time ---- */

static struct SlowDiscard {
    bool slow, begun, go_on;
} slow_discard;

/* Waits until it is told to go on. */
static int discard_slowly(Co *co, Node *node, int64_t off, int64_t len)
{
    slow_discard.begun = true;
    while (slow_discard.slow && !slow_discard.go_on) {
        co_sleep(co, 100000);
    }
    return mem_discard(co, node, off, len);
}

static int flush_slowly(Co *co, void *arg)
{
    return root_flush(co, arg);
}

/* Compressed data do not go into a host cluster that is being discarded. */
static void test_compressed_beside_discard(Co *co, void *arg)
{
    BlockDriver drv = mem_driver;
    g_autofree uint8_t *buf = g_malloc(CLUSTER);
    CoGroup group;
    Image im;

    drv.discard = discard_slowly;
    image_open_on(co, &im, &drv, "");
    memset(buf, 1, CLUSTER);
    g_assert_cmpint(root_pwrite(co, im.root, 0, CLUSTER, buf, REQ_COMPRESSED),
                    ==, 0);
    /* The file does not end in that cluster. */
    count_writes(co, &im, 8 * CLUSTER, CLUSTER, 1);
    g_assert_cmpint(root_flush(co, im.root), ==, 0);
    g_assert_cmpint(root_discard(co, im.root, 0, CLUSTER), ==, 0);

    /* The flush gives the cluster back, which is discarded before. */
    slow_discard = (struct SlowDiscard) { .slow = true };
    co_group_init(&group, co_loop(co), 1);
    co_group_start(co, &group, flush_slowly, im.root);
    while (!slow_discard.begun) {
        co_sleep(co, 100000);
    }
    memset(buf, 2, CLUSTER);
    g_assert_cmpint(root_pwrite(co, im.root, CLUSTER, CLUSTER, buf,
                                REQ_COMPRESSED), ==, 0);
    slow_discard.go_on = true;
    g_assert_cmpint(co_group_wait(co, &group), ==, 0);
    expect_bytes(co, &im, CLUSTER, CLUSTER, 2);
    expect_bytes(co, &im, 0, CLUSTER, 0);
    image_close(co, &im);
}

static void run_compressed_beside_discard(void)
{
    mem_test_run(test_compressed_beside_discard);
}

/* ---- a field of the header that takes its time ---- */

static bool reftable_begun;

static int write_reftable_slowly(Co *co, Node *node, int64_t off, int64_t len,
                                 const IoVec *iov, int64_t iov_off,
                                 ReqFlags flags)
{
    int r = mem_write(co, node, off, len, iov, iov_off, flags);

    if (off == QCOW2_HDR_REFTABLE) {
        reftable_begun = true;
        co_sleep(co, 20000000);
    }
    return r;
}

static int write_header(Co *co, void *arg)
{
    while (!reftable_begun) {
        co_sleep(co, 100000);
    }
    return qcow2_write_header(co, arg);
}

static int write_much(Co *co, void *arg)
{
    g_autofree uint8_t *buf = g_malloc0(3 * MiB);

    return root_pwrite(co, arg, 0, 3 * MiB, buf, 0);
}

/* As if a stored bitmap were removed while the refcount table moves. */
static void test_header_beside_table(Co *co, void *arg)
{
    BlockDriver drv = mem_driver;
    CoGroup group;
    Image im;

    drv.write = write_reftable_slowly;
    image_open_on(co, &im, &drv, ",'cluster-size':512,'refcount-bits':64");
    reftable_begun = false;
    co_group_init(&group, co_loop(co), 2);
    co_group_start(co, &group, write_header, im.node);
    co_group_start(co, &group, write_much, im.root);
    g_assert_cmpint(co_group_wait(co, &group), ==, 0);
    g_assert_cmpint(ldq_be_p(im.mem->data + QCOW2_HDR_REFTABLE), ==,
                    qcow2_state(im.node)->hdr.reftable_offset);
    image_close(co, &im);
}

static void run_header_beside_table(void)
{
    mem_test_run(test_header_beside_table);
}

/* ---- a header that can't be written ---- */

static int info_of_zeroes(Co *co, Node *node, BlockDriverInfo *ret)
{
    ret->zeroes_new = true;
    return 0;
}

static bool write_no_more_headers;

static int write_no_header(Co *co, Node *node, int64_t off, int64_t len,
                           const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    return off == 0 && write_no_more_headers ? -EIO :
           mem_write(co, node, off, len, iov, iov_off, flags);
}

/* What was written behind the end of the file is nothing to be seen. */
static void test_failed_rebuild(Co *co, void *arg)
{
    BlockDriver drv = mem_driver;
    Error *err = NULL;
    Image im;

    drv.info = info_of_zeroes;
    drv.write = write_no_header;
    image_open_on(co, &im, &drv, "");
    count_writes(co, &im, 0, CLUSTER, 1);
    write_no_more_headers = true;
    g_assert_false(qcow2_change_refcount_order(co, im.node, 6, &err));
    write_no_more_headers = false;
    error_free(err);
    for (int i = 1; i < 8; i++) {
        count_writes(co, &im, i * CLUSTER + 4096, 4096, 2);
        expect_bytes(co, &im, i * CLUSTER, 4096, 0);
        expect_bytes(co, &im, i * CLUSTER + 8192, CLUSTER - 8192, 0);
    }
    image_close(co, &im);
}

static void run_failed_rebuild(void)
{
    mem_test_run(test_failed_rebuild);
}

static void run_one_write(void)
{
    mem_test_run(test_one_write);
}

static void run_at_once(void)
{
    mem_test_run(test_at_once);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    block_init();
    g_test_add_func("/qcow2-write/one-write", run_one_write);
    g_test_add_func("/qcow2-write/at-once", run_at_once);
    g_test_add_func("/qcow2-write/compressed-beside-discard",
                    run_compressed_beside_discard);
    g_test_add_func("/qcow2-write/header-beside-table",
                    run_header_beside_table);
    g_test_add_func("/qcow2-write/failed-rebuild", run_failed_rebuild);
    return g_test_run();
}
