/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * External snapshots.
 *
 *     parents --> node                 parents --> overlay --backing--> node
 *
 * Two edits of one transaction. The node is what the snapshot shows from then
 * on and gets read-only, but only when everything else has been committed: a
 * reopen has no undo that could not fail, and another commit may have to write
 * the image (a bitmap is taken out of it).
 */

#include "block/snapshot.h"
#include "block/graph.h"
#include "block/reopen.h"

bool snapshot_check_overlay(const Node *overlay, Error **errp)
{
    uint64_t need, share;

    graph_cumulative_perms(overlay, &need, &share);
    if (need & PERM_CONSISTENT_READ) {
        error_setg(errp, "The overlay is already in use");
        return false;
    }
    if (node_cow_child(overlay)) {
        error_setg(errp, "The overlay already has a backing image");
        return false;
    }
    if (!overlay->drv->supports_backing) {
        error_setg(errp, "The overlay does not support backing images");
        return false;
    }
    return true;
}

typedef struct SnapshotSeal {
    Node *node;                 /* a reference is held */
    bool committed;
} SnapshotSeal;

static void snapshot_seal_commit(Co *co, void *opaque)
{
    SnapshotSeal *seal = opaque;

    seal->committed = true;
}

/* What can't be opened read-only stays as it is. */
static void snapshot_seal_release(Co *co, void *opaque)
{
    g_autofree SnapshotSeal *seal = opaque;

    if (seal->committed && !seal->node->read_only) {
        reopen_set_read_only(co, seal->node, true, NULL);
    }
    node_unref(co, seal->node);
}

static const TransactionOps snapshot_seal_ops = {
    .commit = snapshot_seal_commit,
    .release = snapshot_seal_release,
};

bool snapshot_append(Co *co, Transaction *tran, Node *node, Node *overlay,
                     Error **errp)
{
    SnapshotSeal *seal;

    control_assert();
    if (!graph_attach(co, tran, overlay, "backing", ROLE_COW, node, errp) ||
        !graph_replace_node(co, tran, node, overlay, errp) ||
        !graph_check_one(tran, overlay, errp)) {
        return false;
    }
    seal = g_new0(SnapshotSeal, 1);
    seal->node = node_ref(node);
    tran_add(tran, &snapshot_seal_ops, seal);
    return true;
}
