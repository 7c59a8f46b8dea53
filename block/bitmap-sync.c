/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The checks of a job's bitmap and modes, in QEMU's order and words. */

#include "block/bitmap-sync.h"

bool bitmap_sync_copies(MirrorSyncMode sync)
{
    return sync == MIRROR_SYNC_MODE_INCREMENTAL ||
           sync == MIRROR_SYNC_MODE_BITMAP;
}

static bool sync_choose_mode(BitmapSync *s, MirrorSyncMode sync, bool has_mode,
                             Error **errp)
{
    if (sync == MIRROR_SYNC_MODE_INCREMENTAL) {
        if (has_mode && s->mode != BITMAP_SYNC_MODE_ON_SUCCESS) {
            error_setg(errp, "Bitmap sync mode must be '%s' when using sync "
                       "mode '%s'",
                       BitmapSyncMode_str(BITMAP_SYNC_MODE_ON_SUCCESS),
                       MirrorSyncMode_str(sync));
            return false;
        }
        s->mode = BITMAP_SYNC_MODE_ON_SUCCESS;
    } else if (!has_mode) {
        error_setg(errp, "Bitmap sync mode must be given when providing a "
                   "bitmap");
        return false;
    }
    return true;
}

static bool sync_check(const BitmapSync *s, MirrorSyncMode sync, Error **errp)
{
    if (!bitmap_check(s->bm, BITMAP_CHECK_ALLOW_RO, errp)) {
        return false;
    }
    if (sync == MIRROR_SYNC_MODE_NONE) {
        error_setg(errp, "sync mode '%s' does not produce meaningful bitmap "
                   "outputs", MirrorSyncMode_str(sync));
        return false;
    }
    if (!bitmap_sync_copies(sync) && s->mode == BITMAP_SYNC_MODE_NEVER) {
        error_setg(errp, "Bitmap sync mode '%s' has no meaningful effect when "
                   "combined with sync mode '%s'",
                   BitmapSyncMode_str(s->mode), MirrorSyncMode_str(sync));
        return false;
    }
    /* It is about to be cleared where the mode may commit it. */
    return s->mode == BITMAP_SYNC_MODE_NEVER ||
           bitmap_check(s->bm, BITMAP_CHECK_DEFAULT, errp);
}

bool bitmap_sync_choose(BitmapSync *s, Node *source, const char *name,
                        MirrorSyncMode sync, bool has_mode,
                        BitmapSyncMode mode, Error **errp)
{
    *s = (BitmapSync) { .mode = has_mode ? mode : BITMAP_SYNC_MODE_NEVER };
    if (!name && bitmap_sync_copies(sync)) {
        error_setg(errp, "must provide a valid bitmap name for '%s' sync mode",
                   MirrorSyncMode_str(sync));
        return false;
    }
    if (!name && has_mode) {
        error_setg(errp, "Cannot specify bitmap sync mode without a bitmap");
        return false;
    }
    if (!name) {
        return true;
    }
    s->bm = bitmap_find(source, name);
    if (!s->bm) {
        error_setg(errp, "Bitmap '%s' could not be found", name);
        return false;
    }
    return sync_choose_mode(s, sync, has_mode, errp) &&
           sync_check(s, sync, errp);
}
