/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Bitmaps that follow the data: chains of layers with the bitmaps that a line
 * describes, what they are after each change of the graph, and that an abort
 * takes all of it back.
 */
#include "mem-driver.h"

#include "block/bitmap-carry.h"
#include "block/dirty-bitmap.h"

#define GRAIN 65536
#define MAX_LAYERS 5

static bool store_full;

static bool store_can(Co *co, Node *node, const char *name,
                      int64_t granularity, Error **errp)
{
    if (store_full) {
        error_setg(errp, "Maximum number of persistent bitmaps is already "
                   "reached");
    }
    return !store_full;
}

static bool store_remove(Co *co, Node *node, const char *name, Error **errp)
{
    return true;
}

static const BitmapStoreOps store_ops = {
    .can_store = store_can,
    .remove = store_remove,
};

static BlockDriver layer_driver, filter_driver;

/* ---- chains in a line ---- */

/*
 * A layer is a list of bitmaps, "NAME:STATE:BITS": state r(ecording),
 * d(isabled), i(nconsistent), with P if it is persistent; the bits are the
 * numbers of granules, one digit each. Layers are parted by " | ", the top one
 * first.
 */
typedef struct Chain {
    Node *nodes[MAX_LAYERS];    /* the top one first */
    int n;
    Root *root;
} Chain;

static void layer_add(Co *co, Node *node, const char *text)
{
    g_auto(GStrv) part = g_strsplit(text, ":", 3);
    DirtyBitmap *bm = bitmap_create(node, GRAIN, part[0], &error_abort);

    bitmap_set_persistent(bm, strchr(part[1], 'P'));
    for (const char *p = part[2]; *p; p++) {
        bitmap_set_range(bm, (int64_t)(*p - '0') * GRAIN, 1);
    }
    if (strchr(part[1], 'd')) {
        bitmap_disable(bm);
    } else if (strchr(part[1], 'i')) {
        bitmap_set_inconsistent(bm);
    }
}

static Node *layer_new(Co *co, const char *name, const char *text)
{
    Node *node = mem_node(&layer_driver, name, MiB, 512);
    g_auto(GStrv) words = g_strsplit(text, " ", -1);

    for (char **w = words; *w; w++) {
        if (**w) {
            layer_add(co, node, *w);
        }
    }
    return node;
}

static void below(Co *co, Node *parent, Node *child, const char *name,
                  EdgeRole role)
{
    Transaction *tran = tran_new();
    Edge *e;

    e = graph_attach(co, tran, parent, name, role, child, &error_abort);
    tran_commit(co, tran);
    if (role == ROLE_COW) {
        parent->backing = e;
    } else {
        parent->file = e;
    }
    node_unref(co, child);
}

static void chain_new(Co *co, Chain *c, const char *text)
{
    g_auto(GStrv) layers = g_strsplit(text, "|", -1);

    c->n = g_strv_length(layers);
    for (int i = c->n - 1; i >= 0; i--) {
        g_autofree char *name = g_strdup_printf("l%d", i);

        c->nodes[i] = layer_new(co, name, layers[i]);
        if (i + 1 < c->n) {
            below(co, c->nodes[i], c->nodes[i + 1], "backing", ROLE_COW);
        }
    }
}

static char *bitmap_text(Co *co, DirtyBitmap *bm)
{
    const Bitset *bits = bitmap_bits(co, bm, &error_abort);
    GString *s = g_string_new(bm->name);
    int64_t bit = -1;

    g_string_append_printf(s, ":%c%s:", bm->state == BITMAP_RECORDING ? 'r' :
                           bm->state == BITMAP_DISABLED ? 'd' : 'i',
                           bm->persistent ? "P" : "");
    if (bitset_count(bits) == bitset_size(bits)) {
        g_string_append(s, "all");
        return g_string_free(s, false);
    }
    while ((bit = bitset_next_set(bits, bit + 1, bitset_size(bits))) >= 0) {
        g_string_append_printf(s, "%d", (int)bit);
    }
    return g_string_free(s, false);
}

/* What a node's bitmaps are, in the same words. */
static char *layer_text(Co *co, Node *node)
{
    g_autoptr(GString) all = g_string_new(NULL);

    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        if (bm->name) {
            /* The newest comes first. */
            g_autofree char *s = bitmap_text(co, bm);

            g_string_prepend(all, all->len ? " " : "");
            g_string_prepend(all, s);
        }
    }
    return g_strdup(all->str);
}

static void expect_layer(Co *co, Node *node, const char *text)
{
    g_autofree char *is = layer_text(co, node);

    g_assert_cmpstr(is, ==, text);
}

static void expect_error(Error *err, const char *text)
{
    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, text);
    error_free(err);
}

/* ---- the cases ---- */

typedef enum Way { COMMIT, STREAM, MIRROR } Way;

typedef struct Case {
    const char *title;
    Way way;
    const char *chain;
    int base;                   /* number of the layer, -1: NULL */
    const char *target;         /* afterwards */
} Case;

static const Case cases[] = {
    { "a bitmap that the base lacks is made there",
      COMMIT, "b:r:1 | ", 1, "b:r:1" },
    { "it keeps persistence and state",
      COMMIT, "b:rP:1 c:d:2 | ", 1, "b:rP:1 c:d:2" },
    { "it is merged with the base's, which goes on recording",
      COMMIT, "b:r:1 | b:r:23", 1, "b:r:123" },
    { "layer by layer",
      COMMIT, "b:r:1 | b:r:2 | b:r:3", 2, "b:r:123" },
    { "down to the first gap",
      COMMIT, "b:r:1 | | b:r:3 | ", 3, "b:r:1" },
    { "what the base recorded covers the gap",
      COMMIT, "b:r:1 | | b:r:3", 2, "b:r:13" },
    { "a base beyond a gap that did not record is dirty",
      COMMIT, "b:r:1 | | b:d:3", 2, "b:r:all" },
    { "a base that had stopped to record is dirty if the top records",
      COMMIT, "b:r:1 | b:d:3", 1, "b:r:all" },
    { "over more layers as well",
      COMMIT, "b:r:1 | b:r:2 | b:d:3", 2, "b:r:all" },
    { "and if it did itself",
      COMMIT, "b:d:1 | b:r:3", 1, "b:r:13" },
    { "what is disabled stays disabled",
      COMMIT, "b:d:1 | b:d:3", 1, "b:d:13" },
    { "a closed stretch of time in the middle is kept",
      COMMIT, "t:r:1 | m:d:2 t:r:3 | ", 2, "t:r:13 m:d:2" },
    { "what records below a gap is not a record any more",
      COMMIT, " | b:r:2 | ", 2, "" },
    { "an inconsistent top is left",
      COMMIT, "b:i: | b:r:3", 1, "b:r:3" },
    { "an inconsistent middle spoils the run",
      COMMIT, "b:r:1 | b:i: | ", 2, "" },
    { "a disabled middle spoils the run",
      COMMIT, "b:r:1 | b:d:2 | ", 2, "" },
    { "an inconsistent base stays so",
      COMMIT, "b:r:1 | b:i:", 1, "b:i:" },
    { "layers below the base are nothing to it",
      COMMIT, "b:r:1 | | b:r:3", 1, "b:r:1" },

    { "streamed up into the top",
      STREAM, "b:r:1 | b:r:2 | b:r:3", -1, "b:r:123" },
    { "down to the base",
      STREAM, "b:r:1 | b:r:2 | b:r:3", 2, "b:r:12" },
    { "down to the first gap, streaming",
      STREAM, "b:r:1 | | b:r:3", -1, "b:r:1" },
    { "a gap that goes away makes it dirty",
      STREAM, "b:r:1 | | b:r:3", 2, "b:r:all" },
    { "a gap below the base is nothing to it",
      STREAM, "b:r:1 | b:r:2 | | b:r:3", 2, "b:r:12" },
    { "a run that is not sound makes it dirty",
      STREAM, "b:r:1 | b:i: | ", 2, "b:r:all" },
    { "an inconsistent top stays so",
      STREAM, "b:i: | b:r:2", -1, "b:i:" },
    { "closed stretches come up",
      STREAM, "t:rP:1 | m:dP:2 t:rP:3 | ", 2, "t:rP:13 m:dP:2" },
    { "others don't",
      STREAM, " | m:r:2 | ", 2, "" },

    { "copied to the target, one layer",
      MIRROR, "b:rP:1 c:d:2 | b:rP:3", 1, "b:rP:1 c:d:2" },
    { "copied to the target, all layers",
      MIRROR, "b:r:1 | b:r:3", -1, "b:r:13" },
    { "no copy of what is not sound",
      MIRROR, "b:r:1 c:r:2 | b:i: c:r:4", -1, "c:r:24" },
    { "no copy of what is inconsistent",
      MIRROR, "b:i: c:r:2", -1, "c:r:2" },
};

static Node *case_target(Co *co, const Case *k, Chain *c)
{
    switch (k->way) {
    case COMMIT:
        return node_ref(c->nodes[k->base]);
    case STREAM:
        return node_ref(c->nodes[0]);
    default:
        return mem_node(&layer_driver, "target", MiB, 512);
    }
}

static bool case_carry(Co *co, const Case *k, Chain *c, Node *target,
                       Transaction *tran, Error **errp)
{
    Node *base = k->base < 0 ? NULL : c->nodes[k->base];

    switch (k->way) {
    case COMMIT:
        return bitmap_carry_commit(co, tran, c->nodes[0], base, errp);
    case STREAM:
        return bitmap_carry_stream(co, tran, c->nodes[0], base, errp);
    default:
        return bitmap_carry_mirror(co, tran, c->nodes[0], base, target, errp);
    }
}

static void case_run(Co *co, const Case *k, bool commit)
{
    Transaction *tran = tran_new();
    g_autofree char *before = NULL;
    Chain c = { 0 };
    Node *target;

    g_test_message("%s", k->title);
    chain_new(co, &c, k->chain);
    target = case_target(co, k, &c);
    before = layer_text(co, target);
    g_assert_true(bitmap_carry_possible(co, c.nodes[0], k->base < 0 ? NULL :
                                        c.nodes[k->base], target,
                                        &error_abort));
    expect_layer(co, target, before);
    drain_begin(co, c.nodes[0]);
    g_assert_true(case_carry(co, k, &c, target, tran, &error_abort));
    expect_layer(co, target, k->target);
    tran_finalize(co, tran, commit);
    drain_end(c.nodes[0]);
    expect_layer(co, target, commit ? k->target : before);
    node_unref(co, target);
    node_unref(co, c.nodes[0]);
}

static void all_cases(Co *co, void *arg)
{
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        case_run(co, &cases[i], true);
        case_run(co, &cases[i], false);
    }
}

static void test_cases(void)
{
    mem_test_run(all_cases);
}

/* ---- snapshot ---- */

static void snapshot_to(Co *co, Node *node, const char *overlay_text,
                        bool commit, const char *text)
{
    Node *overlay = layer_new(co, "overlay", overlay_text);
    Transaction *tran = tran_new();

    drain_begin(co, node);
    g_assert_true(bitmap_carry_snapshot(co, tran, node, overlay,
                                        &error_abort));
    tran_finalize(co, tran, commit);
    drain_end(node);
    expect_layer(co, overlay, text);
    node_unref(co, overlay);
}

static void snapshot_fails(Co *co, Node *node, const char *overlay_text,
                           const char *message)
{
    Node *overlay = layer_new(co, "overlay", overlay_text);
    Transaction *tran = tran_new();
    Error *err = NULL;

    drain_begin(co, node);
    g_assert_false(bitmap_carry_snapshot(co, tran, node, overlay, &err));
    tran_abort(co, tran);
    drain_end(node);
    expect_error(err, message);
    expect_layer(co, overlay, overlay_text);
    node_unref(co, overlay);
}

static void snapshot(Co *co, void *arg)
{
    Node *node = layer_new(co, "n", "a:rP:12 b:r:3 off:dP:4 bad:iP:");
    DirtyBitmap *fine = bitmap_create(node, 4096, "fine", &error_abort);
    Node *overlay;

    bitmap_create(node, 4096, NULL, &error_abort);
    snapshot_to(co, node, "", true, "a:rP: b:r: fine:r:");
    snapshot_to(co, node, "", false, "");
    bitmap_release(fine);
    snapshot_to(co, node, "a:rP:7", true, "a:rP:7 b:r:");
    snapshot_to(co, node, "off:d:7", true, "off:d:7 a:rP: b:r:");
    snapshot_fails(co, node, "b:d:", "Can't carry bitmap 'b' to 'overlay': "
                   "Bitmap 'b' exists and is disabled");
    snapshot_fails(co, node, "a:i:", "Can't carry bitmap 'a' to 'overlay': "
                   "Bitmap 'a' exists and is inconsistent");
    snapshot_fails(co, node, "a:r:", "Can't carry bitmap 'a' to 'overlay': "
                   "Bitmap 'a' exists and is not persistent");
    store_full = true;
    snapshot_fails(co, node, "", "Can't carry bitmap 'a' to 'overlay': Maximum"
                   " number of persistent bitmaps is already reached");
    store_full = false;
    expect_layer(co, node, "a:rP:12 b:r:3 off:dP:4 bad:iP:");

    overlay = layer_new(co, "overlay", "");
    bitmap_create(overlay, 4096, "a", &error_abort);
    {
        Transaction *tran = tran_new();
        Error *err = NULL;

        g_assert_false(bitmap_carry_snapshot(co, tran, node, overlay, &err));
        tran_abort(co, tran);
        expect_error(err, "Can't carry bitmap 'a' to 'overlay': Bitmap "
                     "'a' exists with granularity 4096 instead of 65536");
    }
    node_unref(co, overlay);
    node_unref(co, node);
}

static void test_snapshot(void)
{
    mem_test_run(snapshot);
}

/* ---- filters, sizes, freezes, failures ---- */

static void filters(Co *co, void *arg)
{
    Transaction *tran = tran_new();
    Chain c = { 0 };
    Node *filter;

    /* l0 --backing--> filter --file--> l1: one layer, two places to look. */
    chain_new(co, &c, "b:r:1 c:r:2");
    filter = mem_node(&filter_driver, "filter", MiB, 512);
    bitmap_create(filter, GRAIN, "c", &error_abort);
    bitmap_set_range(bitmap_find(filter, "c"), 5 * GRAIN, 1);
    below(co, filter, layer_new(co, "l1", "b:r:3 c:d:4"), "file",
          ROLE_PRIMARY);
    below(co, c.nodes[0], filter, "backing", ROLE_COW);

    drain_begin(co, c.nodes[0]);
    g_assert_true(bitmap_carry_stream(co, tran, c.nodes[0], NULL,
                                      &error_abort));
    expect_layer(co, c.nodes[0], "b:r:13 c:r:25");
    tran_abort(co, tran);
    /* The filter is part of the base. */
    tran = tran_new();
    g_assert_true(bitmap_carry_commit(co, tran, c.nodes[0], filter,
                                      &error_abort));
    expect_layer(co, filter->file->child, "b:r:13 c:d:4");
    expect_layer(co, filter, "c:r:25");
    tran_commit(co, tran);
    drain_end(c.nodes[0]);
    node_unref(co, c.nodes[0]);
}

static void test_filters(void)
{
    mem_test_run(filters);
}

static void sizes(Co *co, void *arg)
{
    Transaction *tran = tran_new();
    Chain c = { 0 };
    Node *base;

    chain_new(co, &c, "b:r:1");
    base = mem_node(&layer_driver, "base", MiB - 2 * GRAIN, 512);
    bitmap_create(base, GRAIN / 2, "b", &error_abort);
    below(co, c.nodes[0], base, "backing", ROLE_COW);
    g_assert_true(bitmap_carry_stream(co, tran, c.nodes[0], NULL,
                                      &error_abort));
    /* Granules 14 and 15 lie past the end of the base. */
    g_assert_cmpint(bitmap_count_bytes(co, bitmap_find(c.nodes[0], "b")), ==,
                    3 * GRAIN);
    g_assert_true(bitset_test(bitmap_bits(co, bitmap_find(c.nodes[0], "b"),
                                          &error_abort), 14));
    tran_commit(co, tran);
    node_unref(co, c.nodes[0]);
}

/* A shorter overlay that grows later: what it hid does not come back clean. */
static void shorter_overlay(Co *co, void *arg)
{
    Node *base = layer_new(co, "base", "b:r:1");
    Node *overlay = mem_node(&layer_driver, "overlay", MiB / 2, 512);
    Transaction *tran = tran_new();
    DirtyBitmap *bm;

    g_assert_true(bitmap_carry_snapshot(co, tran, base, overlay,
                                        &error_abort));
    tran_commit(co, tran);
    bm = bitmap_find(overlay, "b");
    g_assert_cmpint(bitmap_count_bytes(co, bm), ==, 0);
    overlay->length = MiB;
    bitmap_note_resize(overlay, MiB / 2, MiB);
    g_assert_cmpint(bitmap_count_bytes(co, bm), ==, MiB / 2);

    /* The same where a longer one is merged into a shorter one. */
    overlay->length = MiB / 2;
    bitmap_note_resize(overlay, MiB, MiB / 2);
    tran = tran_new();
    g_assert_true(bitmap_edit_replace(co, tran, bm, GRAIN, false, true,
                                      &error_abort));
    tran_commit(co, tran);
    g_assert_true(bitmap_merge(co, bm, bitmap_find(base, "b"), NULL,
                               &error_abort));
    expect_layer(co, overlay, "b:r:1");
    overlay->length = MiB;
    bitmap_note_resize(overlay, MiB / 2, MiB);
    g_assert_cmpint(bitmap_count_bytes(co, bm), ==, MiB / 2 + GRAIN);
    node_unref(co, base);
    node_unref(co, overlay);
}

static void test_sizes(void)
{
    mem_test_run(sizes);
    mem_test_run(shorter_overlay);
}

/* A backup holds both bitmaps: what it will drop is not relied on. */
static void frozen(Co *co, void *arg)
{
    Transaction *tran = tran_new();
    BitmapFreeze *top, *low;
    Chain c = { 0 };

    chain_new(co, &c, "b:r:1 | b:r:3");
    top = bitmap_freeze(bitmap_find(c.nodes[0], "b"), &error_abort);
    low = bitmap_freeze(bitmap_find(c.nodes[1], "b"), &error_abort);
    bitmap_note_write(c.nodes[0], 7 * GRAIN, 1);
    bitmap_note_write(c.nodes[1], 8 * GRAIN, 1);
    g_assert_true(bitmap_carry_stream(co, tran, c.nodes[0], NULL,
                                      &error_abort));
    tran_commit(co, tran);
    bitmap_freeze_commit(co, top);
    expect_layer(co, c.nodes[0], "b:r:378");
    bitmap_freeze_rollback(co, low);
    node_unref(co, c.nodes[0]);
}

static void test_frozen(void)
{
    mem_test_run(frozen);
}

static bool fail_load(Co *co, DirtyBitmap *bm, Bitset *into, void *opaque,
                      Error **errp)
{
    error_setg(errp, "Could not read bitmap '%s' from image", bm->name);
    return false;
}

static void failures(Co *co, void *arg)
{
    Transaction *tran = tran_new();
    Error *err = NULL;
    Chain c = { 0 };

    chain_new(co, &c, "a:rP:1 b:rP:2 | b:r:3 | ");
    bitmap_set_loader(bitmap_find(c.nodes[1], "b"), fail_load, NULL);
    g_assert_false(bitmap_carry_commit(co, tran, c.nodes[0], c.nodes[2],
                                       &err));
    tran_abort(co, tran);
    expect_error(g_steal_pointer(&err), "Can't carry bitmap 'b' to 'l2': "
                 "Could not read bitmap 'b' from image");
    expect_layer(co, c.nodes[2], "");

    store_full = true;
    g_assert_false(bitmap_carry_possible(co, c.nodes[0], c.nodes[2],
                                         c.nodes[2], &err));
    expect_error(g_steal_pointer(&err), "Can't carry bitmap 'a' to 'l2': "
                 "Maximum number of persistent bitmaps is already reached");
    store_full = false;

    tran = tran_new();
    c.nodes[2]->read_only = true;
    g_assert_false(bitmap_carry_commit(co, tran, c.nodes[0], c.nodes[2],
                                       &err));
    tran_abort(co, tran);
    expect_error(g_steal_pointer(&err), "Can't carry bitmap 'a' to 'l2': "
                 "Can't make bitmap 'a' persistent in 'l2': Node is "
                 "read-only");
    node_unref(co, c.nodes[0]);
}

static void test_failures(void)
{
    mem_test_run(failures);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    mem_layer_drivers(&layer_driver, &filter_driver);
    layer_driver.bitmap_store = &store_ops;
    g_test_add_func("/bitmap-carry/commit-stream-mirror", test_cases);
    g_test_add_func("/bitmap-carry/snapshot", test_snapshot);
    g_test_add_func("/bitmap-carry/filters", test_filters);
    g_test_add_func("/bitmap-carry/sizes", test_sizes);
    g_test_add_func("/bitmap-carry/frozen", test_frozen);
    g_test_add_func("/bitmap-carry/failures", test_failures);
    return g_test_run();
}
