/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * block-dirty-bitmap-*: the commands, and the same as actions of a transaction.
 *
 * An action walks to the node's loop, checks its arguments, makes its change
 * with its undo (block/bitmap-edit.c), and comes home. A command is a
 * transaction of one action. All hold the control lock from first to last.
 */

#include "block/bitmap-chain.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/monitor.h"
#include "qapi/qapi-commands.h"

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

/* ---- add and remove ---- */

/* What if-exists says of @bm, which exists. */
static bool bitmap_add_existing(Co *co, DirtyBitmap *bm, int64_t granularity,
                                const BlockDirtyBitmapAdd *arg,
                                Transaction *tran, Error **errp)
{
    bool persistent = arg->has_persistent && arg->persistent;
    bool record = !arg->has_disabled || !arg->disabled;

    if (arg->if_exists == BITMAP_IF_EXISTS_KEEP) {
        return bitmap_is_like(bm, arg->has_granularity ? granularity : 0,
                              persistent, record, errp);
    }
    return bitmap_check(bm, BITMAP_CHECK_BUSY | BITMAP_CHECK_RO, errp) &&
           bitmap_edit_replace(co, tran, bm, granularity, persistent, record,
                               errp);
}

static bool bitmap_add_on_loop(Co *co, Node *node,
                               const BlockDirtyBitmapAdd *arg,
                               Transaction *tran, Error **errp)
{
    DirtyBitmap *bm = bitmap_find(node, arg->name);
    int64_t granularity;

    granularity = arg->has_granularity ? arg->granularity
                                       : bitmap_default_granularity(co, node);
    if (granularity < 512 || !is_power_of_2(granularity)) {
        error_setg(errp, "Granularity must be power of 2 and at least 512");
        return false;
    }
    if (bm && arg->has_if_exists &&
        arg->if_exists != BITMAP_IF_EXISTS_FAIL) {
        return bitmap_add_existing(co, bm, granularity, arg, tran, errp);
    }
    return bitmap_edit_create(co, tran, node, arg->name, granularity,
                              arg->has_persistent && arg->persistent,
                              !arg->has_disabled || !arg->disabled, errp);
}

bool bitmap_action_add(Co *co, const BlockDirtyBitmapAdd *arg,
                       Transaction *tran, Error **errp)
{
    Loop *home = co_loop(co);
    Node *node;
    bool ok;

    if (!arg->name[0]) {
        error_setg(errp, "Bitmap name cannot be empty");
        return false;
    }
    node = node_lookup(arg->node, errp);
    if (!node) {
        return false;
    }
    co_move(co, node->loop);
    ok = bitmap_add_on_loop(co, node, arg, tran, errp);
    co_move(co, home);
    return ok;
}

bool bitmap_action_remove(Co *co, const BlockDirtyBitmap *arg,
                          Transaction *tran, Error **errp)
{
    Loop *home = co_loop(co);
    DirtyBitmap *bm = bitmap_action_begin(co, arg->node, arg->name,
                                          BITMAP_CHECK_BUSY | BITMAP_CHECK_RO,
                                          errp);

    if (bm) {
        bitmap_edit_remove(tran, bm);
    }
    co_move(co, home);
    return bm != NULL;
}

/* Unlike the action it can fail to write the image. */
bool qmp_block_dirty_bitmap_remove(Co *co, BlockDirtyBitmap *arg,
                                   Error **errp)
{
    Loop *home = co_loop(co);
    DirtyBitmap *bm = bitmap_action_begin(co, arg->node, arg->name,
                                          BITMAP_CHECK_BUSY | BITMAP_CHECK_RO,
                                          errp);
    bool ok = bm && bitmap_delete(co, bm, errp);

    co_move(co, home);
    return ok;
}

/* ---- clear and merge ---- */

bool bitmap_action_clear(Co *co, const BlockDirtyBitmap *arg,
                         Transaction *tran, Error **errp)
{
    Loop *home = co_loop(co);
    DirtyBitmap *bm = bitmap_action_begin(co, arg->node, arg->name,
                                          BITMAP_CHECK_DEFAULT, errp);
    bool ok = bm && bitmap_edit_clear(co, tran, bm, errp);

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

/* One source, and no undo: no set in between. On @dst's loop. */
static bool bitmap_merge_one(Co *co, DirtyBitmap *dst,
                             const BlockDirtyBitmapMerge *arg, Error **errp)
{
    DirtyBitmap *src = bitmap_merge_source(co, arg->node, arg->bitmaps->value,
                                           errp);

    co_move(co, dst->node->loop);
    return src && bitmap_check(dst, BITMAP_CHECK_DEFAULT, errp) &&
           bitmap_merge(co, dst, src, NULL, errp);
}

/* QEMU looks at the sources before it looks at the target's state. */
static bool bitmap_merge_all(Co *co, DirtyBitmap *dst,
                             const BlockDirtyBitmapMerge *arg,
                             Transaction *tran, Error **errp)
{
    g_autoptr(Bitset) bits = bitmap_merge_gather(co, dst, arg, errp);

    return bits && bitmap_check(dst, BITMAP_CHECK_DEFAULT, errp) &&
           bitmap_edit_merge(co, tran, dst, bits, errp);
}

bool bitmap_action_merge(Co *co, const BlockDirtyBitmapMerge *arg,
                         Transaction *tran, Error **errp)
{
    Loop *home = co_loop(co);
    DirtyBitmap *dst = bitmap_action_begin(co, arg->node, arg->target, 0,
                                           errp);
    int64_t cut_end = dst ? dst->cut_end : 0;
    bool ok = false;

    if (dst && !tran && arg->bitmaps && !arg->bitmaps->next) {
        ok = bitmap_merge_one(co, dst, arg, errp);
    } else if (dst) {
        ok = bitmap_merge_all(co, dst, arg, tran, errp);
    }
    if (dst && !ok) {
        dst->cut_end = cut_end;     /* sources before the bad one raised it */
    }
    co_move(co, home);
    return ok;
}

/* ---- enable and disable ---- */

static bool bitmap_action_record(Co *co, const BlockDirtyBitmap *arg,
                                 bool record, Transaction *tran, Error **errp)
{
    Loop *home = co_loop(co);
    /* QEMU does it in read-only images, too: it is stored later. */
    DirtyBitmap *bm = bitmap_action_begin(co, arg->node, arg->name,
                                          BITMAP_CHECK_ALLOW_RO, errp);

    if (bm) {
        bitmap_edit_record(tran, bm, record);
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
BITMAP_COMMAND(enable, BlockDirtyBitmap)
BITMAP_COMMAND(disable, BlockDirtyBitmap)

/* These two need no undo, which would cost a copy of the bits. */
bool qmp_block_dirty_bitmap_clear(Co *co, BlockDirtyBitmap *arg, Error **errp)
{
    return bitmap_action_clear(co, arg, NULL, errp);
}

bool qmp_block_dirty_bitmap_merge(Co *co, BlockDirtyBitmapMerge *arg,
                                  Error **errp)
{
    return bitmap_action_merge(co, arg, NULL, errp);
}

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

bool qmp_query_bitmap_chain(Co *co, const char *node, const char *name,
                            BitmapChainList **ret, Error **errp)
{
    Node *top = node_lookup(node, errp);

    if (!top) {
        return false;
    }
    *ret = bitmap_chain_query(co, top, name);
    return true;
}
