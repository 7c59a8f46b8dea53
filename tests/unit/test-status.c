/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Block status of layers and through chains, beside a model: layers of
 * different lengths, filters between them, raw on top, zeroes that only the
 * storage below knows of.
 */
#include "mem-driver.h"

#define UNIT 4096
#define MAX_UNITS 64

enum { HOLE, DATA, ZERO };

typedef struct Layer {
    uint8_t units[MAX_UNITS];
    bool recurse;
} Layer;

static int layer_status(Co *co, Node *node, bool precise, int64_t off,
                        int64_t len, Extent *ret)
{
    Layer *l = node->state;
    int64_t end = off;
    uint8_t kind = l->units[off / UNIT];

    while (end < off + len && l->units[end / UNIT] == kind) {
        end = end / UNIT * UNIT + UNIT;
    }
    *ret = (Extent) { .len = MIN(end - off, len) };
    if (kind == DATA) {
        ret->flags = EXTENT_DATA | EXTENT_OFFSET_VALID;
        ret->map = off + MiB;
        ret->file = node->file ? node->file->child : node;
        ret->flags |= l->recurse ? EXTENT_RECURSE : 0;
    } else if (kind == ZERO) {
        ret->flags = EXTENT_ZERO;
    }
    return 0;
}

static int layer_status_list(Co *co, Node *node, bool precise, int64_t off,
                             int64_t len, Extent *ret, int max)
{
    int n = 0;

    do {
        layer_status(co, node, precise, off, len, &ret[n]);
        off += ret[n].len;
        len -= ret[n].len;
    } while (++n < max && len > 0);
    return n;
}

static int raw_like_status(Co *co, Node *node, bool precise, int64_t off,
                           int64_t len, Extent *ret)
{
    *ret = (Extent) {
        .len = len, .flags = EXTENT_RAW | EXTENT_OFFSET_VALID,
        .map = off + UNIT, .file = node->file->child,
    };
    return 0;
}

static const BlockDriver layer_driver = {
    .name = "layer", .kind = DRIVER_FORMAT, .state_size = sizeof(Layer),
    .supports_backing = true, .status = layer_status,
    .status_list = layer_status_list,
};
static const BlockDriver raw_like = {
    .name = "rawlike", .kind = DRIVER_FORMAT, .status = raw_like_status,
};
static const BlockDriver nofilter = {
    .name = "nofilter", .kind = DRIVER_FILTER,
};

static Node *node_on(Co *co, const BlockDriver *drv, const char *name,
                     const char *edge, EdgeRole role, Node *below,
                     int64_t length)
{
    Node *node = node_new(drv, name, &error_abort);
    Transaction *tran = tran_new();

    node->opened = true;
    node->read_only = true;
    node->length = length;
    if (below) {
        graph_attach(co, tran, node, edge, role, below, &error_abort);
        node_unref(co, below);
    }
    tran_finalize(co, tran, graph_check_one(tran, node, &error_abort));
    return node;
}

static Node *layer(Co *co, const char *name, Node *below, int units)
{
    Node *node = node_on(co, &layer_driver, name, "backing", ROLE_COW, below,
                         (int64_t)units * UNIT);
    Layer *l = node->state;

    for (int i = 0; i < units; i++) {
        l->units[i] = g_test_rand_int_range(0, 6) < 3 ? HOLE
                      : g_test_rand_int_range(1, 3);
    }
    return node;
}

/* ---- through a chain of layers of random lengths ---- */

typedef struct Expect {
    int kind;           /* HOLE: nobody */
    int depth;          /* -1: nobody */
} Expect;

/* What unit @u of @chain[0 .. n) is. A layer's end is zero, decided by it. */
static Expect expect_unit(Node **chain, int n, int u)
{
    for (int i = 0; i < n; i++) {
        Layer *l = chain[i]->state;

        if (u >= chain[i]->length / UNIT) {
            return (Expect) { ZERO, i };
        }
        if (l->units[u] != HOLE) {
            return (Expect) { l->units[u], i };
        }
    }
    return (Expect) { HOLE, -1 };
}

static void check_above(Co *co, Node **chain, int n, Node *base,
                        bool include_base, int units)
{
    int64_t off = 0, end = (int64_t)units * UNIT;

    while (off < end) {
        int64_t skip = g_test_rand_int_range(0, UNIT);
        Expect want = expect_unit(chain, n, off / UNIT);
        Extent ext;
        int64_t num;

        g_assert_cmpint(status_above(co, chain[0], base, include_base, true,
                                     off + skip, end - off - skip, &ext), ==,
                        0);
        g_assert_cmpint(ext.depth, ==, want.depth);
        g_assert_cmpint(!!(ext.flags & EXTENT_ALLOCATED), ==, want.depth >= 0);
        g_assert_cmpint(!!(ext.flags & EXTENT_DATA), ==, want.kind == DATA);
        if (want.kind == ZERO) {
            g_assert_true(ext.flags & EXTENT_ZERO);
        }
        g_assert_cmpint((off + skip + ext.len) % UNIT, ==, 0);
        for (int64_t o = off; o < off + skip + ext.len; o += UNIT) {
            Expect e = expect_unit(chain, n, o / UNIT);

            g_assert_true(e.kind == want.kind && e.depth == want.depth);
        }
        g_assert_cmpint(!!(ext.flags & EXTENT_EOF), ==,
                        off + skip + ext.len == end);
        g_assert_cmpint(status_allocated_above(co, chain[0], base,
                                               include_base, off + skip,
                                               ext.len, &num), ==,
                        want.depth >= 0);
        g_assert_cmpint(num, ==, ext.len);
        off += skip + ext.len;
    }
}

/* Several extents at once are those that come one by one. */
static void check_list(Co *co, Node **chain, int n, int units)
{
    int64_t end = (int64_t)units * UNIT;
    int64_t off = g_test_rand_int_range(0, end);
    Extent list[MAX_UNITS], one;
    int max = g_test_rand_int_range(1, ARRAY_SIZE(list) + 1);
    int found = status_list(co, chain[0], true, off, end - off, list, max);

    g_assert_cmpint(found, >=, 1);
    g_assert_cmpint(found, <=, max);
    for (int i = 0; i < found; i++) {
        int64_t stop = off + list[i].len;

        g_assert_cmpint(list[i].len, >, 0);
        g_assert_cmpint(stop, <=, end);
        while (off < stop) {
            g_assert_cmpint(status_above(co, chain[0], NULL, false, true, off,
                                         stop - off, &one), ==, 0);
            g_assert_cmpint(one.flags | EXTENT_EOF, ==,
                            list[i].flags | EXTENT_EOF);
            g_assert_cmpint(one.depth, ==, list[i].depth);
            off += one.len;
        }
    }
    if (n == 1 && max == ARRAY_SIZE(list) && off % UNIT == 0) {
        g_assert_cmpint(off, ==, end);
    }
}

static void chains(Co *co, void *arg)
{
    for (int round = 0; round < 50; round++) {
        int units = g_test_rand_int_range(1, MAX_UNITS + 1);
        Node *chain[3];

        chain[2] = layer(co, "base", NULL, g_test_rand_int_range(1, 65));
        chain[1] = layer(co, "mid", chain[2], g_test_rand_int_range(1, 65));
        chain[0] = layer(co, "top", chain[1], units);
        check_above(co, chain, 3, NULL, false, units);
        check_above(co, chain, 2, chain[2], false, units);
        check_above(co, chain, 2, chain[1], true, units);
        check_above(co, chain, 1, chain[1], false, units);
        for (int i = 0; i < 50; i++) {
            check_list(co, chain, 3, units);
            check_list(co, &chain[2], 1, chain[2]->length / UNIT);
        }
        node_unref(co, chain[0]);
    }
}

static void test_chains(void)
{
    mem_test_run(chains);
}

static void base_is_top(Co *co, void *arg)
{
    Node *top = layer(co, "top", NULL, 4);
    Extent ext;

    g_assert_cmpint(status_above(co, top, top, false, true, 0, 100, &ext), ==,
                    0);
    g_assert_true(ext.len == 100 && ext.flags == 0 && ext.depth == -1);
    node_unref(co, top);
}

static void test_nothing_between(void)
{
    mem_test_run(base_is_top);
}

/* ---- filters and raw ---- */

static void through(Co *co, void *arg)
{
    Node *base = layer(co, "base", NULL, 8);
    Node *top = layer(co, "top", base, 8);
    Node *filter, *raw;
    Extent ext;
    int64_t n;

    memset(((Layer *)base->state)->units, DATA, 8);
    memset(((Layer *)top->state)->units, HOLE, 8);
    ((Layer *)top->state)->units[0] = ZERO;
    filter = node_on(co, &nofilter, "filter", "file", ROLE_PRIMARY, top,
                     8 * UNIT);
    /* A filter's own layer is that of the node below it. */
    g_assert_cmpint(status_allocated(co, filter, 0, 8 * UNIT, &n), ==, 1);
    g_assert_cmpint(n, ==, UNIT);
    g_assert_cmpint(status_allocated(co, filter, UNIT, 7 * UNIT, &n), ==, 0);
    g_assert_cmpint(n, ==, 7 * UNIT);
    g_assert_cmpint(status_above(co, filter, NULL, false, true, UNIT,
                                 7 * UNIT, &ext), ==, 0);
    g_assert_true(ext.file == base && ext.depth == 2);

    /* Raw shows all that its child shows, from one unit on. */
    raw = node_on(co, &raw_like, "raw", "file", ROLE_PRIMARY, filter,
                  7 * UNIT);
    g_assert_cmpint(status_layer(co, raw, true, 0, 7 * UNIT, &ext), ==, 0);
    g_assert_true((ext.flags & EXTENT_DATA) && (ext.flags & EXTENT_EOF));
    g_assert_true(ext.file == base && ext.map == UNIT + MiB);
    node_unref(co, raw);
}

static void test_filters_and_raw(void)
{
    mem_test_run(through);
}

/* Data of a format whose file has a hole there, or ends before. */
static void recurse(Co *co, void *arg)
{
    Node *storage = layer(co, "storage", NULL, MAX_UNITS);
    Node *top;
    Layer *l;
    Extent ext;

    storage->length = 2 * MiB;
    top = node_on(co, &layer_driver, "top", "file", ROLE_STORAGE, storage,
                  8 * UNIT);
    l = top->state;
    memset(l->units, DATA, 8);
    l->recurse = true;
    /* .map is MiB on: past the end of a short file it is all zeroes. */
    storage->length = MiB;
    g_assert_cmpint(status_layer(co, top, true, 0, 8 * UNIT, &ext), ==, 0);
    g_assert_true((ext.flags & EXTENT_DATA) && (ext.flags & EXTENT_ZERO));
    g_assert_cmpint(ext.len, ==, 8 * UNIT);
    g_assert_cmpint(status_layer(co, top, false, 0, 8 * UNIT, &ext), ==, 0);
    g_assert_false(ext.flags & EXTENT_ZERO);
    g_assert_cmpint(status_is_zero(co, top, 0, 8 * UNIT), ==, 1);
    l->recurse = false;
    g_assert_cmpint(status_is_zero(co, top, 0, 8 * UNIT), ==, 0);
    node_unref(co, top);
}

static void test_zeroes_of_the_storage(void)
{
    mem_test_run(recurse);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/status/chains", test_chains);
    g_test_add_func("/status/nothing-between", test_nothing_between);
    g_test_add_func("/status/filters-and-raw", test_filters_and_raw);
    g_test_add_func("/status/zeroes-of-the-storage",
                    test_zeroes_of_the_storage);
    return g_test_run();
}
