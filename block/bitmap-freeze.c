/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A bitmap stands still for the time of a backup.
 *
 *     before    [bitmap]  <- writes
 *     frozen    [bitmap]     [live]  <- writes
 *     commit    bitmap = live             the backup has what was dirty
 *     rollback  bitmap = bitmap | live    it has not
 *
 * The bitmap keeps its identity all the time: its name, its place in the table,
 * its state. Only who takes the writes changes. It is busy meanwhile.
 */

#include "block/bitmap-private.h"

struct BitmapFreeze {
    DirtyBitmap *frozen;
    DirtyBitmap *live;
};

BitmapFreeze *bitmap_freeze(DirtyBitmap *bm, Error **errp)
{
    BitmapFreeze *f;
    DirtyBitmap *live;

    if (!bitmap_check(bm, BITMAP_CHECK_DEFAULT, errp)) {
        return NULL;
    }
    live = bitmap_create(bm->node, bitmap_granularity(bm), NULL, errp);
    if (!live) {
        return NULL;
    }
    if (bm->state != BITMAP_RECORDING) {
        bitmap_disable(live);
    }
    bitmap_recorder_leave(bm);
    bm->successor = live;
    bitmap_set_busy(bm, true);

    f = g_new(BitmapFreeze, 1);
    *f = (BitmapFreeze) { bm, live };
    return f;
}

DirtyBitmap *bitmap_freeze_frozen(BitmapFreeze *f)
{
    return f->frozen;
}

/* Writes go to the bitmap itself again. @live keeps its bits until it is
 * released: those recorded so far are all in it. */
static void bitmap_freeze_end(BitmapFreeze *f, bool keep_frozen)
{
    DirtyBitmap *bm = f->frozen;
    DirtyBitmap *live = f->live;

    bitmap_fold(live);
    if (!keep_frozen) {
        bitset_clear_all(bm->bits);
        bm->loaded = true;
    }
    bitset_or(bm->bits, live->bits);
    bm->changed = true;
    bm->successor = NULL;
    bitmap_recorder_enter(bm);
    bitmap_set_busy(bm, false);
    bitmap_release(live);
    g_free(f);
}

void bitmap_freeze_commit(Co *co, BitmapFreeze *f)
{
    bitmap_freeze_end(f, false);
}

void bitmap_freeze_rollback(Co *co, BitmapFreeze *f)
{
    bitmap_freeze_end(f, true);
}
