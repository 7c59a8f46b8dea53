/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Dirty bitmaps follow the data when the graph changes; see bitmap-carry.h for
 * the words.
 *
 * Commit, stream and mirror are one thing: the layers from the top down to a
 * base melt into a target. What differs is where the target stands:
 *
 *     commit    target is the base            base <- mid <- top
 *     stream    target is the top layer       base <- mid <- top
 *     mirror    target is beside              base <- mid <- top    target
 *
 * For each name that a layer has, its run is taken together in the target. The
 * care goes into what must not happen: that after the change a name looks sound
 * which was not sound before. Where that can't be told apart by leaving a
 * bitmap out, it becomes dirty as a whole.
 */

#include "block/bitmap-carry.h"
#include "block/bitmap-private.h"
#include "block/graph.h"

typedef struct Carry {
    Transaction *tran;          /* NULL: only look whether it is possible */
    Node *top, *base, *target;  /* base NULL: the end of the chain */
    GHashTable *seen;           /* names that have been dealt with */
} Carry;

typedef struct CarryRun {
    GPtrArray *bitmaps;         /* of DirtyBitmap, the topmost first */
    bool at_top;                /* begins in the top layer */
    bool sound;
    bool gap;                   /* ends above the base */
} CarryRun;

static void carry_run_clear(CarryRun *run)
{
    g_clear_pointer(&run->bitmaps, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CarryRun, carry_run_clear)

/* ---- runs ---- */

static void run_add(CarryRun *run, DirtyBitmap *bm)
{
    if (bm->state == BITMAP_INCONSISTENT ||
        (run->bitmaps->len > 0 && !bitmap_is_recording(bm))) {
        run->sound = false;
    }
    g_ptr_array_add(run->bitmaps, bm);
}

/* The run whose topmost bitmap is @first, in the layer of @layer. */
static void run_find(const Carry *c, Node *layer, DirtyBitmap *first,
                     CarryRun *run)
{
    *run = (CarryRun) {
        .bitmaps = g_ptr_array_new(),
        .at_top = bitmap_layer_same(layer, c->top),
        .sound = true,
    };
    run_add(run, first);
    if (!run->at_top && bitmap_is_recording(first)) {
        run->sound = false;
    }
    while ((layer = bitmap_layer_below(layer, c->base))) {
        DirtyBitmap *bm = bitmap_layer_find(layer, first->name);

        if (!bm) {
            run->gap = true;
            return;
        }
        run_add(run, bm);
    }
}

/* ---- bits ---- */

/* Of all in the run but @dst itself, with what freezes record; in @dst's
 * granularity and size. */
static bool run_gather(Co *co, const CarryRun *run, DirtyBitmap *dst,
                       Bitset *bits, Error **errp)
{
    for (guint i = 0; i < run->bitmaps->len; i++) {
        DirtyBitmap *bm = g_ptr_array_index(run->bitmaps, i);

        if (bm == dst) {
            continue;
        }
        if (!bitmap_gather(co, bits, dst, bm, errp) ||
            (bm->successor &&
             !bitmap_gather(co, bits, dst, bm->successor, errp))) {
            return false;
        }
    }
    return true;
}

/* Adds the run's bits, or all there are, to @dst. A backup that has frozen it
 * will throw away what it holds now, but not what it records. */
static bool carry_bits(Co *co, const Carry *c, const CarryRun *run,
                       DirtyBitmap *dst, bool all, Error **errp)
{
    g_autoptr(Bitset) bits = bitset_new(bitset_size(dst->bits));

    if (all) {
        bitset_set_all(bits);
        for (guint i = 0; i < run->bitmaps->len; i++) {
            const DirtyBitmap *bm = g_ptr_array_index(run->bitmaps, i);

            bitmap_raise_cut(dst, MAX(bm->cut_end, bm->node->length));
        }
    } else if (!run_gather(co, run, dst, bits, errp)) {
        return false;
    }
    return bitset_empty(bits) ||
           bitmap_edit_merge(co, c->tran, dst->successor ? dst->successor
                                                         : dst, bits, errp);
}

static bool carry_check_writable(const DirtyBitmap *like, Node *node,
                                 const DirtyBitmap *there, Error **errp)
{
    if (like->persistent && node->read_only && !there) {
        error_setg(errp, "Can't make bitmap '%s' persistent in '%s': Node is "
                   "read-only", like->name, node->name);
        return false;
    }
    return !there || bitmap_check(there, BITMAP_CHECK_RO, errp);
}

/* ---- melting ---- */

/* The target's bitmap for @first, made if it isn't there. */
static DirtyBitmap *carry_target(Co *co, const Carry *c,
                                 const DirtyBitmap *first, DirtyBitmap *there,
                                 Error **errp)
{
    Node *node = node_skip_filters(c->target);

    if (!carry_check_writable(first, node, there, errp)) {
        return NULL;
    }
    return there ? there
                 : bitmap_edit_create(co, c->tran, node, first->name,
                                      bitmap_granularity(first),
                                      first->persistent,
                                      bitmap_is_recording(first), errp);
}

/*
 * Whether the bitmap of @run in the target has to become dirty as a whole: it
 * is about to meet one of the base that it was apart from, by layers without it
 * or since that one doesn't record, and which has not recorded what is between
 * them.
 */
static bool carry_meets(const Carry *c, const CarryRun *run,
                        const DirtyBitmap *there)
{
    const DirtyBitmap *first = g_ptr_array_index(run->bitmaps, 0);
    const DirtyBitmap *other = c->base ? bitmap_layer_find(c->base, first->name)
                                       : NULL;

    if (!other || (other == there && bitmap_is_recording(other))) {
        return false;
    }
    return run->gap || (other == there && bitmap_is_recording(first));
}

static bool carry_possible(Co *co, const Carry *c, const DirtyBitmap *first,
                           const DirtyBitmap *there, Error **errp)
{
    Node *node = node_skip_filters(c->target);

    return there || !first->persistent ||
           bitmap_storable(co, node, first->name, bitmap_granularity(first),
                           errp);
}

/* On the target's loop. */
static bool carry_run(Co *co, const Carry *c, const CarryRun *run,
                      Error **errp)
{
    DirtyBitmap *first = g_ptr_array_index(run->bitmaps, 0);
    DirtyBitmap *there = bitmap_layer_find(c->target, first->name);
    bool all = !run->sound || carry_meets(c, run, there);
    DirtyBitmap *dst;

    if (there && there->state == BITMAP_INCONSISTENT) {
        return true;
    }
    if (!run->sound && there != first) {
        return true;
    }
    if (!c->tran) {
        return carry_possible(co, c, first, there, errp);
    }
    dst = carry_target(co, c, first, there, errp);
    if (!dst || !carry_bits(co, c, run, dst, all, errp)) {
        return false;
    }
    if (bitmap_is_recording(first)) {
        bitmap_edit_record(c->tran, dst, true);
    }
    return true;
}

static bool carry_layer(Co *co, const Carry *c, Node *layer, Error **errp)
{
    g_autoptr(GPtrArray) bitmaps = bitmap_layer_all(layer);

    /* The oldest first, so that they are listed in the same order there. */
    for (guint i = bitmaps->len; i-- > 0;) {
        DirtyBitmap *first = g_ptr_array_index(bitmaps, i);
        g_auto(CarryRun) run = { 0 };

        if (!g_hash_table_add(c->seen, first->name)) {
            continue;
        }
        run_find(c, layer, first, &run);
        if (!carry_run(co, c, &run, errp)) {
            error_prepend(errp, "Can't carry bitmap '%s' to '%s': ",
                          first->name, node_display_name(c->target));
            return false;
        }
    }
    return true;
}

static bool carry_all(Co *co, Transaction *tran, Node *top, Node *base,
                      Node *target, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    Carry c = { tran, top, base, target, seen };
    Loop *home = co_loop(co);
    bool ok = true;

    control_assert();
    co_move(co, target->loop);
    for (Node *layer = base && bitmap_layer_same(top, base) ? NULL : top;
         layer && ok; layer = bitmap_layer_below(layer, base)) {
        ok = carry_layer(co, &c, layer, errp);
    }
    co_move(co, home);
    return ok;
}

bool bitmap_carry_commit(Co *co, Transaction *tran, Node *top, Node *base,
                         Error **errp)
{
    return carry_all(co, tran, top, base, base, errp);
}

bool bitmap_carry_stream(Co *co, Transaction *tran, Node *top, Node *base,
                         Error **errp)
{
    return carry_all(co, tran, top, base, top, errp);
}

bool bitmap_carry_mirror(Co *co, Transaction *tran, Node *source, Node *base,
                         Node *target, Error **errp)
{
    return carry_all(co, tran, source, base, target, errp);
}

bool bitmap_carry_possible(Co *co, Node *top, Node *base, Node *target,
                           Error **errp)
{
    return carry_all(co, NULL, top, base, target, errp);
}

/* ---- snapshot ---- */

/* On the overlay's loop. */
static bool carry_overlay(Co *co, Transaction *tran, const DirtyBitmap *bm,
                          Node *overlay, Error **errp)
{
    DirtyBitmap *there = bitmap_layer_find(overlay, bm->name);
    Node *node = node_skip_filters(overlay);

    if (there) {
        if (!bitmap_check(there, BITMAP_CHECK_RO, errp) ||
            !bitmap_is_like(there, bitmap_granularity(bm), bm->persistent,
                            true, errp)) {
            return false;
        }
    } else {
        there = carry_check_writable(bm, node, NULL, errp)
                ? bitmap_edit_create(co, tran, node, bm->name,
                                     bitmap_granularity(bm), bm->persistent,
                                     true, errp) : NULL;
        if (!there) {
            return false;
        }
    }
    /* A shorter overlay hides what it must not show again as clean. */
    bitmap_raise_cut(there, MAX(bm->cut_end, bm->node->length));
    return true;
}

bool bitmap_carry_snapshot(Co *co, Transaction *tran, Node *node,
                           Node *overlay, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GPtrArray) bitmaps = bitmap_layer_all(node);
    Loop *home = co_loop(co);
    bool ok = true;

    control_assert();
    co_move(co, overlay->loop);
    for (guint i = bitmaps->len; i-- > 0 && ok;) {
        DirtyBitmap *bm = g_ptr_array_index(bitmaps, i);

        if (!bitmap_is_recording(bm)) {
            continue;
        }
        ok = carry_overlay(co, tran, bm, overlay, errp);
        if (!ok) {
            error_prepend(errp, "Can't carry bitmap '%s' to '%s': ", bm->name,
                          node_display_name(overlay));
        }
    }
    co_move(co, home);
    return ok;
}
