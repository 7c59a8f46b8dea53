/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A mirror's bitmap says what the target lacks (sync incremental or bitmap), or
 * is to say from the job's end on what has changed since (full, top).
 *
 * The copy's point in time is the end of the job. So nothing has to stand still:
 * the bitmap goes on recording while the job runs, and what it has in the end,
 * while the graph is drained, is in the target. on-success and always clear it
 * then. If the job fails, always leaves in it what the target still lacks, which
 * is what the job had to do; the others leave it as it is.
 */

#include "mirror-bitmap.h"
#include "util/bytes.h"

void mirror_bitmap_release(Co *co, BitmapSync *b)
{
    if (b->bm) {
        co_move(co, b->bm->node->loop);
        bitmap_set_busy(b->bm, false);
        b->bm = NULL;
        co_move(co, loop_main());
    }
}

static int copy_shift(const CopyState *copy)
{
    return __builtin_ctzll(copy_cluster_size(copy));
}

bool mirror_bitmap_begin(Co *co, const BitmapSync *b, MirrorSyncMode sync,
                         CopyState *copy, Error **errp)
{
    const Bitset *bits;

    if (b->bm && bitmap_sync_copies(sync)) {
        bits = bitmap_bits(co, b->bm, errp);
        if (!bits) {
            return false;
        }
        bitset_or_scaled(copy_todo(copy), copy_shift(copy), bits,
                         b->bm->granularity_shift);
    }
    if (b->bm) {
        bitmap_set_busy(b->bm, true);
    }
    return true;
}

bool mirror_bitmap_succeed(Co *co, Transaction *tran, const BitmapSync *b,
                           Error **errp)
{
    bool ok;

    if (!b->bm || b->mode == BITMAP_SYNC_MODE_NEVER) {
        return true;
    }
    co_move(co, b->bm->node->loop);
    ok = bitmap_edit_clear(co, tran, b->bm, errp);
    co_move(co, loop_main());
    return ok;
}

static void mirror_bitmap_leave(Co *co, DirtyBitmap *bm, CopyState *copy,
                                bool nothing)
{
    Bitset *bits = bitmap_bits_mut(co, bm, NULL);

    if (!bits) {
        return;
    }
    bitset_clear_all(bits);
    if (nothing) {
        bitset_set_all(bits);
    } else if (copy) {
        bitset_or_scaled(bits, bm->granularity_shift, copy_todo(copy),
                         copy_shift(copy));
    }
}

void mirror_bitmap_fail(Co *co, const BitmapSync *b, CopyState *copy,
                        bool nothing)
{
    if (b->bm && b->mode == BITMAP_SYNC_MODE_ALWAYS) {
        co_move(co, b->bm->node->loop);
        mirror_bitmap_leave(co, b->bm, copy, nothing);
        co_move(co, loop_main());
    }
}
