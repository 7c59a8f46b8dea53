/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Changes of dirty bitmaps that a transaction can take back.
 *
 * Each is carried out at once and leaves its undo. An undo walks to the node's
 * loop, wherever that is by then, puts back what was there, and comes home. The
 * graph is drained from before the change until the transaction has ended;
 * hence nothing was recorded that an undo could lose. Without a transaction
 * nothing is kept for an undo.
 *
 * What this does not do: find bitmaps, and say whether they may be changed.
 */

#include "block/bitmap-private.h"
#include "block/graph.h"

typedef struct BitmapUndo {
    Node *node;                 /* a reference is held */
    DirtyBitmap *bm;
    Bitset *backup;             /* clear, merge, replace */
    /* replace */
    int granularity_shift;
    BitmapState state;
    bool persistent, loaded, changed;
    int64_t cut_end;
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

/* ---- create ---- */

static void bitmap_create_abort(Co *co, void *opaque)
{
    Loop *home = co_loop(co);
    BitmapUndo *u = opaque;

    co_move(co, u->node->loop);
    bitmap_release(u->bm);
    bitmap_undo_done(co, u, home);
}

static const TransactionOps bitmap_create_ops = {
    .commit = bitmap_undo_commit,
    .abort = bitmap_create_abort,
};

bool bitmap_storable(Co *co, Node *node, const char *name,
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

DirtyBitmap *bitmap_edit_create(Co *co, Transaction *tran, Node *node,
                                const char *name, int64_t granularity,
                                bool persistent, bool recording, Error **errp)
{
    DirtyBitmap *bm;

    if (bitmap_find(node, name)) {
        error_setg(errp, "Bitmap already exists: %s", name);
        return NULL;
    }
    if (persistent && !bitmap_storable(co, node, name, granularity, errp)) {
        return NULL;
    }
    bm = bitmap_create(node, granularity, name, errp);
    if (!bm) {
        return NULL;
    }
    if (!recording) {
        bitmap_disable(bm);
    }
    bitmap_set_persistent(bm, persistent);
    tran_add(tran, &bitmap_create_ops, bitmap_undo_new(bm, NULL));
    return bm;
}

/* ---- remove ---- */

static bool bitmap_remove_stored(Co *co, DirtyBitmap *bm, Error **errp)
{
    const BitmapStoreOps *ops = bm->node->drv->bitmap_store;

    return !ops || ops->remove(co, bm->node, bm->name, errp);
}

/* Where there is no way back. If the image can't be written any more, the
 * bitmap stays in use there: only good for being removed. */
static void bitmap_remove_stored_at_last(Co *co, DirtyBitmap *bm)
{
    Error *err = NULL;

    if (!bitmap_remove_stored(co, bm, &err)) {
        error_reportf_err(err, "Bitmap '%s' stays in the image: ", bm->name);
    }
}

bool bitmap_delete(Co *co, DirtyBitmap *bm, Error **errp)
{
    if (bm->persistent && !bitmap_remove_stored(co, bm, errp)) {
        return false;
    }
    bitmap_release(bm);
    return true;
}

static void bitmap_remove_commit(Co *co, void *opaque)
{
    Loop *home = co_loop(co);
    BitmapUndo *u = opaque;

    co_move(co, u->node->loop);
    if (u->bm->persistent) {
        bitmap_remove_stored_at_last(co, u->bm);
    }
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
    bitmap_undo_done(co, u, home);
}

static const TransactionOps bitmap_remove_ops = {
    .commit = bitmap_remove_commit,
    .abort = bitmap_remove_abort,
};

void bitmap_edit_remove(Transaction *tran, DirtyBitmap *bm)
{
    bitmap_set_busy(bm, true);
    tran_add(tran, &bitmap_remove_ops, bitmap_undo_new(bm, NULL));
}

/* ---- replace ---- */

/* Another granularity and state, and other bits. The old ones are returned. */
static Bitset *bitmap_become(DirtyBitmap *bm, int shift, BitmapState state,
                             Bitset *bits)
{
    Bitset *old;

    bitmap_recorder_leave(bm);
    old = bm->bits;
    bm->bits = bits;
    bm->granularity_shift = shift;
    bm->state = state;
    bm->loaded = true;
    bm->changed = true;
    bitmap_recorder_enter(bm);
    return old;
}

static void bitmap_replace_commit(Co *co, void *opaque)
{
    Loop *home = co_loop(co);
    BitmapUndo *u = opaque;

    co_move(co, u->node->loop);
    if (u->persistent && !u->bm->persistent) {
        bitmap_remove_stored_at_last(co, u->bm);
    }
    bitmap_undo_done(co, u, home);
}

static void bitmap_replace_abort(Co *co, void *opaque)
{
    Loop *home = co_loop(co);
    BitmapUndo *u = opaque;

    co_move(co, u->node->loop);
    bitset_free(bitmap_become(u->bm, u->granularity_shift, u->state,
                              g_steal_pointer(&u->backup)));
    bitmap_set_persistent(u->bm, u->persistent);
    u->bm->cut_end = u->cut_end;
    u->bm->loaded = u->loaded;
    u->bm->changed = u->changed;
    bitmap_undo_done(co, u, home);
}

static const TransactionOps bitmap_replace_ops = {
    .commit = bitmap_replace_commit,
    .abort = bitmap_replace_abort,
};

bool bitmap_edit_replace(Co *co, Transaction *tran, DirtyBitmap *bm,
                         int64_t granularity, bool persistent, bool recording,
                         Error **errp)
{
    int shift = __builtin_ctzll(granularity);
    BitmapUndo *u;

    if (persistent &&
        !bitmap_storable(co, bm->node, bm->name, granularity, errp)) {
        return false;
    }
    bitmap_fold(bm);
    u = bitmap_undo_new(bm, NULL);
    u->granularity_shift = bm->granularity_shift;
    u->state = bm->state;
    u->persistent = bm->persistent;
    u->loaded = bm->loaded;
    u->changed = bm->changed;
    u->cut_end = bm->cut_end;
    bm->cut_end = 0;
    u->backup = bitmap_become(bm, shift, recording ? BITMAP_RECORDING
                                                   : BITMAP_DISABLED,
                              bitset_new(bitmap_nbits(bm->node->length,
                                                      shift)));
    bitmap_set_persistent(bm, persistent);
    tran_add(tran, &bitmap_replace_ops, u);
    return true;
}

bool bitmap_is_like(const DirtyBitmap *bm, int64_t granularity,
                    bool persistent, bool recording, Error **errp)
{
    if (bm->state == BITMAP_INCONSISTENT) {
        error_setg(errp, "Bitmap '%s' exists and is inconsistent", bm->name);
    } else if (granularity && bitmap_granularity(bm) != granularity) {
        error_setg(errp, "Bitmap '%s' exists with granularity %" PRId64
                   " instead of %" PRId64, bm->name, bitmap_granularity(bm),
                   granularity);
    } else if (bitmap_is_recording(bm) != recording) {
        error_setg(errp, "Bitmap '%s' exists and is %s", bm->name,
                   recording ? "disabled" : "recording");
    } else if (persistent && !bm->persistent) {
        error_setg(errp, "Bitmap '%s' exists and is not persistent", bm->name);
    } else {
        return true;
    }
    return false;
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

bool bitmap_edit_clear(Co *co, Transaction *tran, DirtyBitmap *bm,
                       Error **errp)
{
    Bitset *backup = NULL;

    if (!bitmap_clear(co, bm, tran ? &backup : NULL, errp)) {
        return false;
    }
    if (!tran) {
        return true;
    }
    tran_add(tran, &bitmap_restore_ops, bitmap_undo_new(bm, backup));
    return true;
}

bool bitmap_edit_merge(Co *co, Transaction *tran, DirtyBitmap *bm,
                       const Bitset *bits, Error **errp)
{
    Bitset *backup = NULL;

    if (!bitmap_merge_bits(co, bm, bits, tran ? &backup : NULL, errp)) {
        return false;
    }
    if (!tran) {
        return true;
    }
    tran_add(tran, &bitmap_restore_ops, bitmap_undo_new(bm, backup));
    return true;
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

void bitmap_edit_record(Transaction *tran, DirtyBitmap *bm, bool record)
{
    if (bitmap_is_recording(bm) == record) {
        return;
    }
    if (record) {
        bitmap_enable(bm);
    } else {
        bitmap_disable(bm);
    }
    tran_add(tran, record ? &bitmap_enable_ops : &bitmap_disable_ops,
             bitmap_undo_new(bm, NULL));
}
