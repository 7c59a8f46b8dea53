/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * block-dirty-bitmap-*: the commands, and the same as actions of a transaction.
 *
 * An action walks to the node's loop, does its work there, and comes home; its
 * undo does the same. A command is a transaction of one action. All hold the
 * control lock from first to last; in a transaction the graphs are drained, so
 * that an undo can put back what was there.
 */

#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/monitor.h"
#include "qapi/qapi-commands.h"

typedef struct BitmapUndo {
    Node *node;                 /* a reference is held */
    DirtyBitmap *bm;
    Bitset *backup;             /* clear, merge */
} BitmapUndo;

static BitmapUndo *bitmap_undo_new(DirtyBitmap *bm, Bitset *backup)
{
    BitmapUndo *u = g_new0(BitmapUndo, 1);

    u->node = node_ref(bm->node);
    u->bm = bm;
    u->backup = backup;
    return u;
}

/* The last step of commit and abort: the undo and its reference go. @co is on
 * the node's loop and goes home. */
static void bitmap_undo_done(Co *co, BitmapUndo *u, Loop *home)
{
    co_move(co, home);
    node_unref(co, u->node);
    bitset_free(u->backup);
    g_free(u);
}

static void bitmap_undo_commit(Co *co, void *opaque)
{
    bitmap_undo_done(co, opaque, co_loop(co));
}

/* The bitmap for an action: found, and usable so. Leaves @co on its loop. */
static DirtyBitmap *bitmap_action_begin(Co *co, const char *node,
                                        const char *name, int check,
                                        Error **errp)
{
    DirtyBitmap *bm;
    Node *n;

    control_assert();
    n = node_lookup(node, NULL);
    if (n) {
        co_move(co, n->loop);
    }
    bm = bitmap_lookup(node, name, NULL, errp);
    return bm && bitmap_check(bm, check, errp) ? bm : NULL;
}

/* ---- add ---- */

static void bitmap_add_abort(Co *co, void *opaque)
{
    Loop *home = co_loop(co);
    BitmapUndo *u = opaque;

    co_move(co, u->node->loop);
    bitmap_release(u->bm);
    bitmap_undo_done(co, u, home);
}

static const TransactionOps bitmap_add_ops = {
    .commit = bitmap_undo_commit,
    .abort = bitmap_add_abort,
};

static bool bitmap_can_store(Co *co, Node *node, const char *name,
                             int64_t granularity, Error **errp)
{
    const BitmapStoreOps *ops = node->drv->bitmap_store;

    if (!ops || !ops->can_store) {
        error_setg(errp, "Can't store persistent bitmaps to %s: Operation not "
                   "supported", node->name);
        return false;
    }
    return ops->can_store(co, node, name, granularity, errp);
}

static DirtyBitmap *bitmap_add_on_loop(Co *co, Node *node,
                                       const BlockDirtyBitmapAdd *arg,
                                       Error **errp)
{
    bool persistent = arg->has_persistent && arg->persistent;
    int64_t granularity;
    DirtyBitmap *bm;

    if (!arg->name[0]) {
        error_setg(errp, "Bitmap name cannot be empty");
        return NULL;
    }
    granularity = arg->has_granularity ? arg->granularity
                                       : bitmap_default_granularity(co, node);
    if (granularity < 512 || !is_power_of_2(granularity)) {
        error_setg(errp, "Granularity must be power of 2 and at least 512");
        return NULL;
    }
    if (bitmap_find(node, arg->name)) {
        error_setg(errp, "Bitmap already exists: %s", arg->name);
        return NULL;
    }
    if (persistent &&
        !bitmap_can_store(co, node, arg->name, granularity, errp)) {
        return NULL;
    }
    bm = bitmap_create(node, granularity, arg->name, errp);
    if (!bm) {
        return NULL;
    }
    if (arg->has_disabled && arg->disabled) {
        bitmap_disable(bm);
    }
    bitmap_set_persistent(bm, persistent);
    return bm;
}

bool bitmap_action_add(Co *co, const BlockDirtyBitmapAdd *arg,
                       Transaction *tran, Error **errp)
{
    Loop *home = co_loop(co);
    Node *node = node_lookup(arg->node, errp);
    DirtyBitmap *bm;

    if (!node) {
        return false;
    }
    co_move(co, node->loop);
    bm = bitmap_add_on_loop(co, node, arg, errp);
    if (bm) {
        tran_add(tran, &bitmap_add_ops, bitmap_undo_new(bm, NULL));
    }
    co_move(co, home);
    return bm != NULL;
}

/* ---- remove ---- */

static void bitmap_remove_commit(Co *co, void *opaque)
{
    Loop *home = co_loop(co);
    BitmapUndo *u = opaque;

    co_move(co, u->node->loop);
    bitmap_set_busy(u->bm, false);
    bitmap_release(u->bm);
    bitmap_undo_done(co, u, home);
}

static void bitmap_remove_abort(Co *co, void *opaque)
{
    Loop *home = co_loop(co);
    BitmapUndo *u = opaque;

    co_move(co, u->node->loop);
    bitmap_set_busy(u->bm, false);
    if (u->bm->persistent) {
        u->bm->changed = true;      /* it has to be stored again */
    }
    bitmap_undo_done(co, u, home);
}

static const TransactionOps bitmap_remove_ops = {
    .commit = bitmap_remove_commit,
    .abort = bitmap_remove_abort,
};

/* What is stored goes now, while it may fail. Its content is loaded first, so
 * that an undo can store it again; an inconsistent one has none. */
static bool bitmap_remove_stored(Co *co, DirtyBitmap *bm, Error **errp)
{
    Node *node = bm->node;

    if (!bm->persistent || !node->drv->bitmap_store) {
        return true;
    }
    if (bm->state != BITMAP_INCONSISTENT && !bitmap_bits(co, bm, NULL)) {
        /* It can't be read: no reason to keep it. */
        bitmap_clear(co, bm, NULL, NULL);
    }
    return node->drv->bitmap_store->remove(co, node, bm->name, errp);
}

bool bitmap_action_remove(Co *co, const BlockDirtyBitmap *arg,
                          Transaction *tran, Error **errp)
{
    Loop *home = co_loop(co);
    DirtyBitmap *bm = bitmap_action_begin(co, arg->node, arg->name,
                                          BITMAP_CHECK_BUSY | BITMAP_CHECK_RO,
                                          errp);
    bool ok = bm && bitmap_remove_stored(co, bm, errp);

    if (ok) {
        bitmap_set_busy(bm, true);
        tran_add(tran, &bitmap_remove_ops, bitmap_undo_new(bm, NULL));
    }
    co_move(co, home);
    return ok;
}

/* ---- clear and merge ---- */

static void bitmap_restore_abort(Co *co, void *opaque)
{
    Loop *home = co_loop(co);
    BitmapUndo *u = opaque;

    co_move(co, u->node->loop);
    bitmap_restore(u->bm, g_steal_pointer(&u->backup));
    bitmap_undo_done(co, u, home);
}

static const TransactionOps bitmap_restore_ops = {
    .commit = bitmap_undo_commit,
    .abort = bitmap_restore_abort,
};

bool bitmap_action_clear(Co *co, const BlockDirtyBitmap *arg,
                         Transaction *tran, Error **errp)
{
    Loop *home = co_loop(co);
    DirtyBitmap *bm = bitmap_action_begin(co, arg->node, arg->name,
                                          BITMAP_CHECK_DEFAULT, errp);
    Bitset *backup = NULL;
    bool ok = bm && bitmap_clear(co, bm, &backup, errp);

    if (ok) {
        tran_add(tran, &bitmap_restore_ops, bitmap_undo_new(bm, backup));
    }
    co_move(co, home);
    return ok;
}

/* The source of a merge; it may be read-only. */
static DirtyBitmap *bitmap_merge_source(Co *co, const char *target_node,
                                        const BlockDirtyBitmapOrStr *src,
                                        Error **errp)
{
    if (src->type == QTYPE_QSTRING) {
        return bitmap_action_begin(co, target_node, src->u.local,
                                   BITMAP_CHECK_ALLOW_RO, errp);
    }
    return bitmap_action_begin(co, src->u.external.node, src->u.external.name,
                               BITMAP_CHECK_ALLOW_RO, errp);
}

/* Collects all sources before the target is touched: a source may fail, and
 * writes go on while one is loaded. */
static Bitset *bitmap_merge_gather(Co *co, DirtyBitmap *dst,
                                   const BlockDirtyBitmapMerge *arg,
                                   Error **errp)
{
    int64_t granularity = bitmap_granularity(dst);
    g_autoptr(Bitset) bits = bitset_new(DIV_ROUND_UP(dst->node->length,
                                                     granularity));

    for (BlockDirtyBitmapOrStrList *l = arg->bitmaps; l; l = l->next) {
        DirtyBitmap *src = bitmap_merge_source(co, arg->node, l->value, errp);

        co_move(co, dst->node->loop);
        if (!src || !bitmap_gather(co, bits, dst, src, errp)) {
            return NULL;
        }
    }
    return g_steal_pointer(&bits);
}

bool bitmap_action_merge(Co *co, const BlockDirtyBitmapMerge *arg,
                         Transaction *tran, Error **errp)
{
    Loop *home = co_loop(co);
    DirtyBitmap *dst = bitmap_action_begin(co, arg->node, arg->target,
                                           BITMAP_CHECK_DEFAULT, errp);
    g_autoptr(Bitset) bits = dst ? bitmap_merge_gather(co, dst, arg, errp)
                                 : NULL;
    Bitset *backup = NULL;
    bool ok = bits && bitmap_merge_bits(co, dst, bits, &backup, errp);

    if (ok) {
        tran_add(tran, &bitmap_restore_ops, bitmap_undo_new(dst, backup));
    }
    co_move(co, home);
    return ok;
}

/* ---- enable and disable ---- */

static void bitmap_enable_abort(Co *co, void *opaque)
{
    Loop *home = co_loop(co);
    BitmapUndo *u = opaque;

    co_move(co, u->node->loop);
    bitmap_disable(u->bm);
    bitmap_undo_done(co, u, home);
}

static void bitmap_disable_abort(Co *co, void *opaque)
{
    Loop *home = co_loop(co);
    BitmapUndo *u = opaque;

    co_move(co, u->node->loop);
    bitmap_enable(u->bm);
    bitmap_undo_done(co, u, home);
}

static const TransactionOps bitmap_enable_ops = {
    .commit = bitmap_undo_commit,
    .abort = bitmap_enable_abort,
};

static const TransactionOps bitmap_disable_ops = {
    .commit = bitmap_undo_commit,
    .abort = bitmap_disable_abort,
};

static bool bitmap_action_record(Co *co, const BlockDirtyBitmap *arg,
                                 bool record, Transaction *tran, Error **errp)
{
    Loop *home = co_loop(co);
    DirtyBitmap *bm = bitmap_action_begin(co, arg->node, arg->name,
                                          BITMAP_CHECK_DEFAULT, errp);

    if (bm && bitmap_is_recording(bm) != record) {
        if (record) {
            bitmap_enable(bm);
        } else {
            bitmap_disable(bm);
        }
        tran_add(tran, record ? &bitmap_enable_ops : &bitmap_disable_ops,
                 bitmap_undo_new(bm, NULL));
    }
    co_move(co, home);
    return bm != NULL;
}

bool bitmap_action_enable(Co *co, const BlockDirtyBitmap *arg,
                          Transaction *tran, Error **errp)
{
    return bitmap_action_record(co, arg, true, tran, errp);
}

bool bitmap_action_disable(Co *co, const BlockDirtyBitmap *arg,
                           Transaction *tran, Error **errp)
{
    return bitmap_action_record(co, arg, false, tran, errp);
}

/* ---- commands ---- */

#define BITMAP_COMMAND(verb, Arg)                                           \
    bool qmp_block_dirty_bitmap_##verb(Co *co, Arg *arg, Error **errp)      \
    {                                                                       \
        Transaction *tran = tran_new();                                     \
                                                                            \
        return tran_finalize(co, tran,                                      \
                             bitmap_action_##verb(co, arg, tran, errp));    \
    }

BITMAP_COMMAND(add, BlockDirtyBitmapAdd)
BITMAP_COMMAND(remove, BlockDirtyBitmap)
BITMAP_COMMAND(clear, BlockDirtyBitmap)
BITMAP_COMMAND(enable, BlockDirtyBitmap)
BITMAP_COMMAND(disable, BlockDirtyBitmap)
BITMAP_COMMAND(merge, BlockDirtyBitmapMerge)

bool qmp_x_debug_block_dirty_bitmap_sha256(Co *co, BlockDirtyBitmap *arg,
                                           BlockDirtyBitmapSha256 **ret,
                                           Error **errp)
{
    Loop *home = co_loop(co);
    DirtyBitmap *bm = bitmap_action_begin(co, arg->node, arg->name, 0, errp);
    char *hex = bm ? bitmap_sha256(co, bm, errp) : NULL;

    co_move(co, home);
    if (!hex) {
        return false;
    }
    *ret = g_new0(BlockDirtyBitmapSha256, 1);
    (*ret)->sha256 = hex;
    return true;
}
