/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * blockdev-snapshot and blockdev-snapshot-sync, alone and as actions of a
 * transaction. The one takes a node that is there as the overlay, the other
 * makes an image (or takes an existing one) and opens it; from then on they are
 * the same.
 */

#include "block/bitmap-carry.h"
#include "block/create.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/monitor.h"
#include "block/open.h"
#include "block/snapshot.h"
#include "qapi/qapi-commands.h"

/* ---- the node that gets an overlay ---- */

static const Edge *find_cow_parent(const Node *node)
{
    for (guint i = node->parents->len; i-- > 0;) {
        const Edge *e = g_ptr_array_index(node->parents, i);

        if (e->parent && e->role == ROLE_COW) {
            return e;
        }
    }
    return NULL;
}

static bool check_node(Co *co, Node *node, Error **errp)
{
    const Edge *e = find_cow_parent(node);
    int ret = 0;

    if (!node_check_busy(node, errp)) {
        return false;
    }
    if (e) {
        error_setg(errp, "Node '%s' is busy: node is used as backing hd of "
                   "'%s'", node->name, e->parent->name);
        return false;
    }
    if (!node->read_only) {
        co_move(co, node->loop);
        ret = io_flush(co, node);
        co_move(co, loop_main());
    }
    if (ret < 0) {
        error_setg(errp, "An IO error has occurred");
        return false;
    }
    return true;
}

/* The overlay must not go while its edges are still to be undone, or its needs to
 * be settled; without a parent it goes then. */
static void drop_overlay(Co *co, void *opaque)
{
    node_unref(co, opaque);
}

static const TransactionOps drop_overlay_ops = {
    .release = drop_overlay,
};

/* Consumes the reference @overlay. Comes out on the main loop. */
static bool append(Co *co, Node *node, Node *overlay, bool carry,
                   Transaction *tran, Error **errp)
{
    bool ok;

    tran_add(tran, &drop_overlay_ops, overlay);
    ok = snapshot_check_overlay(overlay, errp) &&
         (!carry ||
          bitmap_carry_snapshot(co, tran, node, overlay, errp)) &&
         snapshot_append(co, tran, node, overlay, errp);
    co_move(co, loop_main());
    return ok;
}

static bool is_carry(bool has_bitmaps, BitmapsMode bitmaps)
{
    return has_bitmaps && bitmaps == BITMAPS_MODE_CARRY;
}

bool snapshot_action(Co *co, const BlockdevSnapshot *arg, Transaction *tran,
                     Error **errp)
{
    Node *node = node_lookup(arg->node, errp);
    Node *overlay;

    if (!node || !check_node(co, node, errp)) {
        return false;
    }
    overlay = node_lookup(arg->overlay, errp);
    return overlay && append(co, node, node_ref(overlay),
                             is_carry(arg->has_bitmaps, arg->bitmaps), tran,
                             errp);
}

/* ---- the overlay that is made for it ---- */

static bool create_overlay(Co *co, const BlockdevSnapshotSync *arg,
                           const char *format, Node *node, Error **errp)
{
    int64_t length;

    co_move(co, node->loop);
    open_refresh_filename(node);
    length = node->length;
    co_move(co, loop_main());
    return create_image(co, arg->snapshot_file, format, node->filename,
                        node->drv->name, NULL, length, true, false, errp);
}

static Node *open_overlay(Co *co, const BlockdevSnapshotSync *arg,
                          const char *format, const Node *node, Error **errp)
{
    g_autoptr(json_t) extra = json_object();

    if (arg->snapshot_node_name) {
        json_object_set_new(extra, "node-name",
                            json_string(arg->snapshot_node_name));
    }
    return open_filename(co, arg->snapshot_file, format, extra,
                         node->flags | OPEN_NO_BACKING, errp);
}

static bool check_overlay_name(const BlockdevSnapshotSync *arg, Error **errp)
{
    /* A device could do without: it keeps its own name. */
    if (arg->node_name && !arg->snapshot_node_name) {
        error_setg(errp, "New overlay node-name missing");
        return false;
    }
    if (arg->snapshot_node_name && node_find(arg->snapshot_node_name)) {
        error_setg(errp, "New overlay node-name already in use");
        return false;
    }
    return true;
}

static Node *lookup_node(const BlockdevSnapshotSync *arg, Error **errp)
{
    Node *node = arg->node_name ? node_find(arg->node_name) : NULL;

    if (!node) {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'",
                   arg->device ? arg->device : "",
                   arg->node_name ? arg->node_name : "");
    }
    return node;
}

bool snapshot_sync_action(Co *co, const BlockdevSnapshotSync *arg,
                          Transaction *tran, Error **errp)
{
    const char *format = arg->format ? arg->format : "qcow2";
    bool create = !arg->has_mode ||
                  arg->mode == NEW_IMAGE_MODE_ABSOLUTE_PATHS;
    Node *node = lookup_node(arg, errp);
    Node *overlay;

    if (!node || !check_node(co, node, errp) ||
        !check_overlay_name(arg, errp) ||
        (create && !create_overlay(co, arg, format, node, errp))) {
        return false;
    }
    overlay = open_overlay(co, arg, format, node, errp);
    return overlay && append(co, node, overlay,
                             is_carry(arg->has_bitmaps, arg->bitmaps), tran,
                             errp);
}

/* ---- the commands ---- */

bool qmp_blockdev_snapshot(Co *co, BlockdevSnapshot *arg, Error **errp)
{
    Transaction *tran = actions_begin(co);

    return actions_end(co, tran, snapshot_action(co, arg, tran, errp));
}

bool qmp_blockdev_snapshot_sync(Co *co, BlockdevSnapshotSync *arg,
                                Error **errp)
{
    Transaction *tran = actions_begin(co);

    return actions_end(co, tran, snapshot_sync_action(co, arg, tran, errp));
}
