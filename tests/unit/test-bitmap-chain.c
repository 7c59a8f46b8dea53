/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The health of bitmaps across layers: each rule by itself, the layer that is
 * named, and what is listed.
 */
#include "mem-driver.h"

#include "block/bitmap-chain.h"
#include "block/dirty-bitmap.h"

static BlockDriver layer_driver, filter_driver;

/* One letter a bitmap called b in each layer, the top one first: r(ecording),
 * d(isabled), i(nconsistent), '-': none. */
typedef struct Case {
    const char *layers;
    const char *layer, *reason;     /* NULL: healthy */
} Case;

static const Case cases[] = {
    { "r" }, { "rr" }, { "rrr" }, { "r-" }, { "rr-" },
    { "-", "l0", "The top layer 'l0' lacks it" },
    { "-r", "l0", "The top layer 'l0' lacks it" },
    { "r-r", "l1", "Layer 'l1' lacks it, but a layer below has it" },
    { "r--r", "l1", "Layer 'l1' lacks it, but a layer below has it" },
    { "rr-d", "l2", "Layer 'l2' lacks it, but a layer below has it" },
    { "d", "l0", "It is disabled in layer 'l0'" },
    { "rdr", "l1", "It is disabled in layer 'l1'" },
    { "ri", "l1", "It is inconsistent in layer 'l1'" },
    { "id", "l0", "It is inconsistent in layer 'l0'" },
    { "rdi", "l1", "It is disabled in layer 'l1'" },
};

static void put_below(Co *co, Node *node, Node *child, const char *name,
                      EdgeRole role)
{
    Transaction *tran = tran_new();
    Edge *e = graph_attach(co, tran, node, name, role, child, &error_abort);

    *(role == ROLE_COW ? &node->backing : &node->file) = e;
    tran_commit(co, tran);
    node_unref(co, child);
}

static Node *layer_new(const char *name, int64_t length, char kind)
{
    Node *node = mem_node(&layer_driver, name, length, 512);
    DirtyBitmap *bm;

    node->named_by_user = true;
    node->filename = g_strdup_printf("%s.img", name);
    if (kind == '-') {
        return node;
    }
    bm = bitmap_create(node, 65536, "b", &error_abort);
    if (kind == 'd') {
        bitmap_disable(bm);
    } else if (kind == 'i') {
        bitmap_set_inconsistent(bm);
    }
    return node;
}

static Node *chain_new(Co *co, const char *layers)
{
    Node *top = NULL;

    for (int i = strlen(layers) - 1; i >= 0; i--) {
        g_autofree char *name = g_strdup_printf("l%d", i);
        Node *node = layer_new(name, MiB, layers[i]);

        if (top) {
            put_below(co, node, top, "backing", ROLE_COW);
        }
        top = node;
    }
    return top;
}

static void expect(const BitmapChain *c, const char *layer, const char *reason)
{
    g_assert_cmpstr(c->name, ==, "b");
    g_assert_true(c->healthy == !reason);
    g_assert_cmpstr(c->reason, ==, reason);
    g_assert_cmpstr(c->layer, ==, layer);
}

static void rules(Co *co, void *arg)
{
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        Node *top = chain_new(co, cases[i].layers);
        g_autoptr(BitmapChainList) list = bitmap_chain_query(co, top, "b");

        g_assert_nonnull(list);
        g_assert_null(list->next);
        expect(list->value, cases[i].layer, cases[i].reason);
        node_unref(co, top);
    }
}

static void test_rules(void)
{
    mem_test_run(rules);
}

/* ---- sizes ---- */

static void expect_sizes(Co *co, int64_t top_len, int64_t base_len,
                         int64_t cut_end, const char *reason)
{
    Node *top = layer_new("l0", top_len, 'r');
    g_autoptr(BitmapChainList) list = NULL;

    put_below(co, top, layer_new("l1", base_len, 'r'), "backing", ROLE_COW);
    bitmap_raise_cut(bitmap_find(top, "b"), cut_end);
    list = bitmap_chain_query(co, top, "b");
    expect(list->value, reason ? "l1" : NULL, reason);
    node_unref(co, top);
}

static void sizes(Co *co, void *arg)
{
    expect_sizes(co, MiB, MiB, 0, NULL);
    /* It was made longer: what is new is dirty where they are merged. */
    expect_sizes(co, 2 * MiB, MiB, 0, NULL);
    expect_sizes(co, MiB, 2 * MiB, 0, "Layer 'l1' is longer than the one above"
                 " it (2097152 bytes, not 1048576)");
    /* It was made shorter, and the bitmap knows. */
    expect_sizes(co, MiB, 2 * MiB, 2 * MiB, NULL);
    expect_sizes(co, MiB, 2 * MiB, MiB + 512, "Layer 'l1' is longer than the "
                 "one above it (2097152 bytes, not 1048576)");
}

static void test_sizes(void)
{
    mem_test_run(sizes);
}

/* ---- what is listed ---- */

static void listing(Co *co, void *arg)
{
    Node *top = chain_new(co, "r-"), *filter;
    g_autoptr(BitmapChainList) list = NULL;
    const BitmapChainLayer *l;

    /* A filter above the base has the bitmap of that layer. */
    filter = mem_node(&filter_driver, "filter", MiB, 512);
    put_below(co, filter, layer_new("l2", MiB, '-'), "file", ROLE_PRIMARY);
    put_below(co, top->backing->child, filter, "backing", ROLE_COW);
    bitmap_set_persistent(bitmap_create(filter, 512, "c", &error_abort), true);
    bitmap_create(top, 4096, NULL, &error_abort);

    list = bitmap_chain_query(co, top, NULL);
    g_assert_cmpstr(list->value->name, ==, "b");
    g_assert_true(list->value->healthy);
    g_assert_null(list->value->layers->next);
    l = list->value->layers->value;
    g_assert_cmpstr(l->node, ==, "l0");
    g_assert_cmpstr(l->filename, ==, "l0.img");
    g_assert_true(l->present && l->recording && !l->persistent &&
                  !l->inconsistent);
    g_assert_cmpint(l->size, ==, MiB);
    g_assert_cmpint(l->granularity, ==, 65536);

    g_assert_cmpstr(list->next->value->name, ==, "c");
    g_assert_cmpstr(list->next->value->reason, ==,
                    "The top layer 'l0' lacks it");
    g_assert_null(list->next->next);
    l = list->next->value->layers->next->value;
    g_assert_cmpstr(l->node, ==, "l1");
    g_assert_false(l->present || l->has_granularity || l->has_recording);
    l = list->next->value->layers->next->next->value;
    g_assert_cmpstr(l->node, ==, "l2");
    g_assert_true(l->present && l->persistent && l->granularity == 512);
    node_unref(co, top);
}

static void test_listing(void)
{
    mem_test_run(listing);
}

/* ---- as many as an image may hold ---- */

static void add_many(Node *node, int from, int to)
{
    for (int i = from; i < to; i++) {
        g_autofree char *name = g_strdup_printf("b%d", i);

        bitmap_create(node, 65536, name, &error_abort);
    }
}

/* A name that a filter and the node below it have counts once. Pairs of names
 * that are compared one by one would take minutes. */
static void many(Co *co, void *arg)
{
    Node *filter = mem_node(&filter_driver, "filter", MiB, 512);
    Node *below = layer_new("l0", MiB, '-');
    clock_t began = clock();        /* the processor's time */
    g_autoptr(BitmapChainList) list = NULL;
    int n = 0;

    put_below(co, filter, below, "file", ROLE_PRIMARY);
    add_many(filter, 0, 40000);
    add_many(below, 25535, 65535);
    list = bitmap_chain_query(co, filter, NULL);
    for (BitmapChainList *l = list; l; l = l->next) {
        n += l->value->healthy;
    }
    g_assert_cmpint(n, ==, 65535);
    g_assert_cmpint(clock() - began, <, 20 * CLOCKS_PER_SEC);
    node_unref(co, filter);
}

static void test_many(void)
{
    mem_test_run(many);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    mem_layer_drivers(&layer_driver, &filter_driver);
    g_test_add_func("/bitmap-chain/rules", test_rules);
    g_test_add_func("/bitmap-chain/sizes", test_sizes);
    g_test_add_func("/bitmap-chain/listing", test_listing);
    g_test_add_func("/bitmap-chain/many", test_many);
    return g_test_run();
}
