/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Snapshots inside an image: blockdev-snapshot-internal-sync, alone and as an
 * action of a transaction, and blockdev-snapshot-delete-internal-sync.
 *
 * Taking one back again, should the transaction fail, is deleting it.
 */

#include "block/graph.h"
#include "block/io.h"
#include "block/monitor.h"
#include "qapi/qapi-commands.h"

/* ---- finding ---- */

/* A node on which no other node stands. */
static Node *find_root_node(const char *device, Error **errp)
{
    Node *node = node_find(device);

    if (!node) {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'", device,
                   device);
        return NULL;
    }
    for (guint i = 0; i < node->parents->len; i++) {
        const Edge *e = g_ptr_array_index(node->parents, i);

        if (e->parent) {
            error_setg(errp, "Need a root block node");
            return NULL;
        }
    }
    return node_check_busy(node, errp) ? node : NULL;
}

/* Which have this ID and this name; NULL: any. A copy, or NULL. */
static SnapshotInfo *find_snapshot(const SnapshotInfoList *list,
                                   const char *id, const char *name)
{
    for (; list; list = list->next) {
        const SnapshotInfo *s = list->value;

        if ((!id || !strcmp(s->id, id)) && (!name || !strcmp(s->name, name))) {
            return SnapshotInfo_clone(s);
        }
    }
    return NULL;
}

/* Walks to the node and back. */
static bool list_snapshots(Co *co, Node *node, SnapshotInfoList **ret,
                           Error **errp)
{
    const SnapshotOps *ops = node->drv->snapshots;
    bool ok;

    if (!ops || !ops->list) {
        error_setg(errp, "Failed to get a snapshot list: Operation not "
                   "supported");
        return false;
    }
    co_move(co, node->loop);
    ok = ops->list(co, node, ret, errp);
    co_move(co, loop_main());
    return ok;
}

/* *@ret is NULL if there is none. */
static bool lookup_snapshot(Co *co, Node *node, const char *id,
                            const char *name, SnapshotInfo **ret,
                            Error **errp)
{
    SnapshotInfoList *list = NULL;
    bool ok = list_snapshots(co, node, &list, errp);

    if (ok) {
        *ret = find_snapshot(list, id, name);
    }
    qapi_free_SnapshotInfoList(list);
    return ok;
}

/* The one that was made last, which is the last of the list. Its name may be
 * shorter than what was asked for, and an older one's as well. */
static bool lookup_newest(Co *co, Node *node, SnapshotInfo **ret,
                          Error **errp)
{
    SnapshotInfoList *list = NULL;
    bool ok = list_snapshots(co, node, &list, errp);

    for (const SnapshotInfoList *l = list; ok && l; l = l->next) {
        if (!l->next) {
            *ret = SnapshotInfo_clone(l->value);
        }
    }
    qapi_free_SnapshotInfoList(list);
    return ok;
}

/* Walks to the node and back. */
static bool remove_snapshot(Co *co, Node *node, const SnapshotInfo *snapshot,
                            Error **errp)
{
    SnapshotInfo *removed = NULL;
    bool ok;

    co_move(co, node->loop);
    ok = node->drv->snapshots->remove(co, node, snapshot->id, snapshot->name,
                                      &removed, errp);
    co_move(co, loop_main());
    qapi_free_SnapshotInfo(removed);
    return ok;
}

/* ---- making ---- */

typedef struct MadeSnapshot {
    Node *node;
    SnapshotInfo *info;
} MadeSnapshot;

static void made_snapshot_abort(Co *co, void *opaque)
{
    MadeSnapshot *made = opaque;
    Error *err = NULL;

    co_move(co, loop_main());
    if (!remove_snapshot(co, made->node, made->info, &err)) {
        error_reportf_err(err, "Failed to delete snapshot with id '%s' and "
                          "name '%s' on device '%s' in abort: ",
                          made->info->id, made->info->name,
                          made->node->name);
    }
}

static void made_snapshot_clean(void *opaque)
{
    MadeSnapshot *made = opaque;

    qapi_free_SnapshotInfo(made->info);
    g_free(made);
}

static const TransactionOps made_snapshot_ops = {
    .abort = made_snapshot_abort,
    .clean = made_snapshot_clean,
};

static bool check_target(const Node *node, const BlockdevSnapshotInternal *arg,
                         Error **errp)
{
    if (node->read_only) {
        error_setg(errp, "Device '%s' is read only", arg->device);
    } else if (!node->drv->snapshots || !node->drv->snapshots->create) {
        error_setg(errp, "Block format '%s' used by device '%s' does not "
                   "support internal snapshots", node->drv->name,
                   arg->device);
    } else if (!arg->name[0]) {
        error_setg(errp, "Name is empty");
    } else {
        return true;
    }
    return false;
}

static bool check_name_is_new(Co *co, Node *node,
                              const BlockdevSnapshotInternal *arg,
                              Error **errp)
{
    SnapshotInfo *old = NULL;

    if (!lookup_snapshot(co, node, NULL, arg->name, &old, errp)) {
        return false;
    }
    if (old) {
        error_setg(errp, "Snapshot with name '%s' already exists on device "
                   "'%s'", arg->name, arg->device);
        qapi_free_SnapshotInfo(old);
        return false;
    }
    return true;
}

bool snapshot_internal_action(Co *co, const BlockdevSnapshotInternal *arg,
                              Transaction *tran, Error **errp)
{
    Node *node = find_root_node(arg->device, errp);
    MadeSnapshot *made;
    int r;

    if (!node || !check_target(node, arg, errp) ||
        !check_name_is_new(co, node, arg, errp)) {
        return false;
    }
    co_move(co, node->loop);
    r = node->drv->snapshots->create(co, node, arg->name,
                                     g_get_real_time() * 1000, -1);
    co_move(co, loop_main());
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to create snapshot '%s' on device "
                         "'%s'", arg->name, arg->device);
        return false;
    }
    made = g_new0(MadeSnapshot, 1);
    made->node = node;
    if (!lookup_newest(co, node, &made->info, errp)) {
        g_free(made);
        return false;
    }
    tran_add(tran, &made_snapshot_ops, made);
    return true;
}

/* ---- the commands ---- */

bool qmp_blockdev_snapshot_internal_sync(Co *co, BlockdevSnapshotInternal *arg,
                                         Error **errp)
{
    Transaction *tran = actions_begin(co);

    return actions_end(co, tran, snapshot_internal_action(co, arg, tran, errp));
}

static bool delete_snapshot(Co *co, Node *node, const char *device,
                            const char *id, const char *name,
                            SnapshotInfo **ret, Error **errp)
{
    SnapshotInfo *found = NULL;

    if (!lookup_snapshot(co, node, id, name, &found, errp)) {
        return false;
    }
    if (!found) {
        error_setg(errp, "Snapshot with id '%s' and name '%s' does not exist "
                   "on device '%s'", id ? id : "null", name ? name : "null",
                   device);
        return false;
    }
    if (node->read_only) {
        error_setg(errp, "Device '%s' is read only", device);
    } else if (remove_snapshot(co, node, found, errp)) {
        *ret = found;
        return true;
    }
    qapi_free_SnapshotInfo(found);
    return false;
}

bool qmp_blockdev_snapshot_delete_internal_sync(Co *co, const char *device,
                                                const char *id,
                                                const char *name,
                                                SnapshotInfo **ret,
                                                Error **errp)
{
    Node *node = find_root_node(device, errp);
    bool ok;

    if (!node) {
        return false;
    }
    if (!id && !name) {
        error_setg(errp, "Name or id must be provided");
        return false;
    }
    drain_all_begin(co);
    ok = delete_snapshot(co, node, device, id, name, ret, errp);
    drain_all_end(co);
    return ok;
}
