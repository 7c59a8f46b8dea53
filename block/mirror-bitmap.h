/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The mirror job's dirty bitmap: where it begins, and how it ends. */
#ifndef BLOCK_MIRROR_BITMAP_H
#define BLOCK_MIRROR_BITMAP_H

#include "block/bitmap-sync.h"
#include "block/copy.h"
#include "util/transaction.h"

/* Nobody else may use it from now on. With @sync incremental and bitmap what it
 * says is in @copy's todo. On the graph's loop. */
bool mirror_bitmap_begin(Co *co, const BitmapSync *b, MirrorSyncMode sync,
                         CopyState *copy, Error **errp);
/* The copy is complete, and the graph drained until @tran has ended. On the
 * main loop. */
bool mirror_bitmap_succeed(Co *co, Transaction *tran, const BitmapSync *b,
                           Error **errp);
/* The job has failed, drained; NULL: it has copied all, else what is in todo,
 * or nothing at all (@nothing), is lacking. On the main loop. */
void mirror_bitmap_fail(Co *co, const BitmapSync *b, CopyState *copy,
                        bool nothing);
/* Others may use it again. On the main loop. */
void mirror_bitmap_release(Co *co, BitmapSync *b);

#endif
