/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The bitmap that a job is given along with its sync mode. */
#ifndef BLOCK_BITMAP_SYNC_H
#define BLOCK_BITMAP_SYNC_H

#include "block/dirty-bitmap.h"

typedef struct BitmapSync {
    DirtyBitmap *bm;            /* NULL: none */
    BitmapSyncMode mode;        /* when it is made to tell what is new */
} BitmapSync;

/* Whether the mode copies what a bitmap says. */
bool bitmap_sync_copies(MirrorSyncMode sync);
/* Finds the bitmap @name (NULL: none) of @source. Fails where the modes don't
 * go together or the bitmap can't be used so; QEMU's texts. */
bool bitmap_sync_choose(BitmapSync *s, Node *source, const char *name,
                        MirrorSyncMode sync, bool has_mode,
                        BitmapSyncMode mode, Error **errp);

#endif
