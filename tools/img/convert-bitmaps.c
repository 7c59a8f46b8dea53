/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img convert --bitmaps: the persistent bitmaps of the source's top layer,
 * one by one: add it to the target, disabled; merge the source's bits into it;
 * enable it if the source's one records. The commands are QMP's.
 */
#include "util/osdep.h"

#include "block/dirty-bitmap.h"
#include "qapi/qapi-commands.h"
#include "tools/img/convert.h"

bool convert_check_bitmaps(Node *src, bool skip_broken)
{
    const BitmapStoreOps *ops = src->drv->bitmap_store;
    Error *err = NULL;

    if (skip_broken) {
        return true;
    }
    for (DirtyBitmap *bm = bitmap_first(src); bm; bm = bitmap_next(bm)) {
        if (bm->persistent && bm->state == BITMAP_INCONSISTENT) {
            error_report("Cannot copy inconsistent bitmap '%s'", bm->name);
            fprintf(stderr, "Try --skip-broken-bitmaps, or use 'qemu-img "
                    "bitmap --remove' to delete it\n");
            return false;
        }
    }
    if (ops->complete && !ops->complete(src, &err)) {
        error_append_hint(&err, "Try --skip-broken-bitmaps to copy the others\n");
        error_reportf_err(err, "Cannot copy all bitmaps: ");
        return false;
    }
    return true;
}

static bool convert_merge_bitmap(Co *co, const DirtyBitmap *bm, Node *target,
                                 Error **errp)
{
    BlockDirtyBitmapOrStr which = {
        .type = QTYPE_QDICT,
        .u.external = { bm->node->name, bm->name },
    };
    BlockDirtyBitmapOrStrList list = { .value = &which };
    BlockDirtyBitmapMerge arg = {
        .node = target->name,
        .target = bm->name,
        .bitmaps = &list,
    };

    return qmp_block_dirty_bitmap_merge(co, &arg, errp);
}

static bool convert_copy_bitmap(Co *co, DirtyBitmap *bm, Node *target)
{
    BlockDirtyBitmap there = { target->name, bm->name };
    BlockDirtyBitmapAdd add = {
        .node = target->name,
        .name = bm->name,
        .has_granularity = true,
        .granularity = bitmap_granularity(bm),
        .has_persistent = true,
        .persistent = true,
        .has_disabled = true,
        .disabled = true,
    };
    Error *err = NULL;

    if (!qmp_block_dirty_bitmap_add(co, &add, &err)) {
        error_reportf_err(err, "Failed to create bitmap %s: ", bm->name);
        return false;
    }
    if (!convert_merge_bitmap(co, bm, target, &err)) {
        error_reportf_err(err, "Failed to populate bitmap %s: ", bm->name);
        qmp_block_dirty_bitmap_remove(co, &there, NULL);
        return false;
    }
    if (bm->state == BITMAP_RECORDING &&
        !qmp_block_dirty_bitmap_enable(co, &there, &err)) {
        error_reportf_err(err, "Failed to enable bitmap %s: ", bm->name);
        return false;
    }
    return true;
}

bool convert_copy_bitmaps(Co *co, Node *src, Node *target, bool skip_broken)
{
    for (DirtyBitmap *bm = bitmap_first(src); bm; bm = bitmap_next(bm)) {
        if (!bm->persistent) {
            continue;
        }
        if (skip_broken && bm->state == BITMAP_INCONSISTENT) {
            warn_report("Skipping inconsistent bitmap '%s'", bm->name);
            continue;
        }
        if (!convert_copy_bitmap(co, bm, target)) {
            return false;
        }
    }
    return true;
}
