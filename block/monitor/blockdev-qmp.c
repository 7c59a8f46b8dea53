/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * QMP's commands for nodes: blockdev-add, blockdev-del, block_resize and the
 * queries. All run on the main loop with the control lock held and walk to a
 * node's loop to look at it.
 *
 * A node that blockdev-add made belongs to the user: the reference that the
 * table's named_by_user stands for is dropped by blockdev-del, or at exit.
 */
#include "util/osdep.h"

#include "block/activate.h"
#include "block/graph.h"
#include "block/info.h"
#include "block/io.h"
#include "block/open.h"
#include "block/owner.h"
#include "block/root.h"
#include "qapi/qapi-commands.h"
#include "util/iothread.h"

/* ---- blockdev-add, blockdev-del ---- */

bool qmp_blockdev_add(Co *co, BlockdevOptions *arg, Error **errp)
{
    OwnerId owner;
    Node *node;

    if (!arg->node_name) {
        error_setg(errp, "'node-name' must be specified for the root node");
        return false;
    }
    if (!owner_choose(arg->has_owner, arg->owner, &owner, errp)) {
        return false;
    }
    node = open_options(co, BlockdevOptions_clone(arg), errp);
    if (!node) {
        return false;
    }
    node->named_by_user = true;
    node->owner = owner;
    return true;
}

/* The newest parent of a kind; NULL: there is none. */
static const Edge *del_find_use(const Node *node,
                                bool (*match)(const Edge *edge))
{
    for (guint i = node->parents->len; i-- > 0;) {
        const Edge *e = g_ptr_array_index(node->parents, i);

        if (match(e)) {
            return e;
        }
    }
    return NULL;
}

static bool del_is_backing(const Edge *e)
{
    return e->parent && e->role == ROLE_COW;
}

/* A device's: not a job, which has words of its own. */
static bool del_is_device(const Edge *e)
{
    return e->root && !strstr(e->root->ops->kind, "job");
}

/* Nobody uses it as something that can't do without it. */
static bool del_check_backing(const Node *node, Error **errp)
{
    const Edge *e = del_find_use(node, del_is_backing);

    if (e) {
        error_setg(errp, "Node '%s' is busy: node is used as backing hd of "
                   "'%s'", node->name, e->parent->name);
        return false;
    }
    return true;
}

static bool del_check(const Node *node, Error **errp)
{
    if (del_find_use(node, del_is_device)) {
        error_setg(errp, "Node %s is in use", node->name);
        return false;
    }
    if (!node_check_busy(node, errp) || !del_check_backing(node, errp)) {
        return false;
    }
    if (!node->named_by_user) {
        error_setg(errp, "Node %s is not owned by the monitor", node->name);
        return false;
    }
    if (node->refs > 1) {
        error_setg(errp, "Block device %s is in use", node->name);
        return false;
    }
    return true;
}

bool qmp_blockdev_del(Co *co, const char *node_name, Error **errp)
{
    Node *node = node_find(node_name);

    if (!node) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   node_name);
        return false;
    }
    if (!del_check(node, errp)) {
        return false;
    }
    node->named_by_user = false;
    node_unref(co, node);
    return true;
}

/* ---- blockdev-set-active ---- */

static bool set_active(Co *co, Node *node, bool active, Error **errp)
{
    return active ? node_activate(co, node, errp)
                  : node_inactivate(co, node, errp);
}

static bool has_node_parent(const Node *node)
{
    for (guint i = 0; i < node->parents->len; i++) {
        const Edge *e = g_ptr_array_index(node->parents, i);

        if (e->parent) {
            return true;
        }
    }
    return false;
}

bool qmp_blockdev_set_active(Co *co, const char *node_name, bool active,
                             Error **errp)
{
    Node *node;

    if (node_name) {
        node = node_lookup_either(NULL, node_name, errp);
        return node && set_active(co, node, active, errp);
    }
    /* Children go with their parents. */
    for (node = node_first(); node; node = node_next(node)) {
        if (!has_node_parent(node) && !set_active(co, node, active, errp)) {
            return false;
        }
    }
    return true;
}

/* ---- block_resize ---- */

static const RootOps resize_ops = { .kind = "block-backend" };

static bool resize_check(const Node *node, int64_t size, Error **errp)
{
    if (size < 0) {
        error_setg(errp, "Parameter 'size' expects a >0 size");
        return false;
    }
    if (size % 512) {
        error_setg(errp, "The new size must be a multiple of 512");
        return false;
    }
    return node_check_busy(node, errp) && del_check_backing(node, errp);
}

bool qmp_block_resize(Co *co, const char *device, const char *node_name,
                      int64_t size, Error **errp)
{
    Node *node = node_lookup_either(device, node_name, errp);
    Root *root;
    bool ok;

    if (!node || !resize_check(node, size, errp)) {
        return false;
    }
    root = root_open(co, node, "", &resize_ops, NULL, PERM_RESIZE, PERM_ALL,
                     errp);
    if (!root) {
        return false;
    }
    co_move(co, node->loop);
    ok = root_resize(co, root, size, false, PREALLOC_MODE_OFF, 0, errp);
    co_move(co, loop_main());
    root_free(co, root);
    return ok;
}

/* ---- small changes ---- */

bool qmp_block_set_write_threshold(Co *co, const char *node_name,
                                   uint64_t write_threshold, Error **errp)
{
    Node *node = node_find(node_name);

    if (!node) {
        error_setg(errp, "Device '%s' not found", node_name);
        return false;
    }
    co_move(co, node->loop);
    node->write_threshold = write_threshold;
    co_move(co, loop_main());
    return true;
}

bool qmp_x_blockdev_set_iothread(Co *co, const char *node_name,
                                 StrOrNull *iothread, bool has_force,
                                 bool force, Error **errp)
{
    Node *node = node_find(node_name);
    Loop *loop = loop_main();
    bool ok;

    if (!node) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   node_name);
        return false;
    }
    if (!force && del_find_use(node, del_is_device)) {
        error_setg(errp, "Node %s is associated with a BlockBackend and could "
                   "be in use (use force=true to override this check)",
                   node_name);
        return false;
    }
    if (iothread->type == QTYPE_QSTRING) {
        IOThread *t = iothread_find(iothread->u.s);

        if (!t) {
            error_setg(errp, "Cannot find iothread %s", iothread->u.s);
            return false;
        }
        loop = iothread_loop(t);
    }
    ok = node->loop == loop || graph_set_loop(co, node, loop, errp);
    co_move(co, loop_main());
    return ok;
}

/* Only quorum could, which there is none of. */
bool qmp_x_blockdev_change(Co *co, const char *parent, const char *child,
                           const char *node_name, Error **errp)
{
    Node *node = node_lookup(parent, errp);

    if (!node) {
        return false;
    }
    if (!child == !node_name) {
        error_setg(errp, child ? "The parameters child and node are in "
                   "conflict" : "Either child or node must be specified");
        return false;
    }
    if (child && !node_child(node, child)) {
        error_setg(errp, "Node '%s' does not have child '%s'", parent, child);
    } else if (child) {
        error_setg(errp, "The node %s does not support removing a child",
                   node->name);
    } else if (!node_find(node_name)) {
        error_setg(errp, "Node '%s' not found", node_name);
    } else {
        error_setg(errp, "The node %s does not support adding a child",
                   node->name);
    }
    return false;
}

/* ---- queries ---- */

bool qmp_query_named_block_nodes(Co *co, bool has_flat, bool flat,
                                 BlockDeviceInfoList **ret, Error **errp)
{
    g_autoptr(BlockDeviceInfoList) list = NULL;

    for (Node *node = node_first(); node; node = node_next(node)) {
        BlockDeviceInfo *info;

        co_move(co, node->loop);
        info = info_node(co, node, has_flat && flat, errp);
        co_move(co, loop_main());
        if (!info) {
            return false;
        }
        QAPI_LIST_PREPEND(list, info);
    }
    *ret = g_steal_pointer(&list);
    return true;
}

/* Devices are a machine's: there are none here. */
bool qmp_query_block(Co *co, BlockInfoList **ret, Error **errp)
{
    *ret = NULL;
    return true;
}

bool qmp_query_blockstats(Co *co, bool has_query_nodes, bool query_nodes,
                          BlockStatsList **ret, Error **errp)
{
    BlockStatsList *list = NULL, **tail = &list;

    for (Node *node = node_first(); query_nodes && node;
         node = node_next(node)) {
        co_move(co, node->loop);
        QAPI_LIST_APPEND(tail, info_stats(node));
    }
    co_move(co, loop_main());
    *ret = list;
    return true;
}
