/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Inactive nodes.
 *
 *     inactivate   top down: a node's driver stores what it has in memory, then
 *                  the node lets go of its permissions, and so the file of its
 *                  locks
 *     activate     bottom up: the node takes its permissions, and its driver
 *                  reads again what somebody else may have written
 *
 * A root that bears it (allow_inactive) keeps its wishes in root->need, but
 * has none while its node is inactive.
 */

#include "block/activate.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/root.h"

static bool has_active_parent(const Node *node)
{
    for (guint i = 0; i < node->parents->len; i++) {
        const Edge *e = g_ptr_array_index(node->parents, i);

        if (e->parent && !e->parent->inactive) {
            return true;
        }
    }
    return false;
}

static bool roots_bear_it(const Node *node, Error **errp)
{
    for (guint i = 0; i < node->parents->len; i++) {
        const Edge *e = g_ptr_array_index(node->parents, i);

        if (e->root && !e->root->allow_inactive) {
            error_setg(errp, "Failed to inactivate node: %s",
                       strerror(EPERM));
            return false;
        }
    }
    return true;
}

/* ---- the flag and what depends on it ---- */

static void switch_back(Co *co, void *opaque)
{
    Node *node = opaque;

    node->inactive = !node->inactive;
}

static const TransactionOps switch_ops = {
    .abort = switch_back,
};

static bool switch_node(Co *co, Node *node, bool inactive, Error **errp)
{
    Transaction *tran = tran_new();
    bool ok;

    graph_drain(co, tran, node);
    node->inactive = inactive;
    tran_add(tran, &switch_ops, node);
    for (guint i = 0; i < node->parents->len; i++) {
        Edge *e = g_ptr_array_index(node->parents, i);

        if (e->root) {
            graph_set_perms(tran, e, inactive ? 0 : e->root->need,
                            inactive ? PERM_ALL : e->root->share);
        }
    }
    ok = tran_finalize(co, tran, graph_check_one(tran, node, errp));
    co_move(co, loop_main());
    return ok;
}

/* ---- there ---- */

static bool flush(Co *co, Node *node, Error **errp)
{
    int ret;

    co_move(co, node->loop);
    ret = io_flush(co, node);
    co_move(co, loop_main());
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to inactivate node");
    }
    return ret >= 0;
}

/* What is stored is to be flushed. A driver that fails goes on as before. One of
 * a read-only node has nothing to store, but what it knows gets stale. */
static bool store(Co *co, Node *node, Error **errp)
{
    bool ok = true;

    if (node->drv->inactivate) {
        co_move(co, node->loop);
        ok = node->drv->inactivate(co, node, errp);
        co_move(co, loop_main());
    }
    return ok;
}

static bool load(Co *co, Node *node, Error **errp)
{
    bool ok = true;

    if (node->drv->activate) {
        co_move(co, node->loop);
        ok = node->drv->activate(co, node, errp);
        co_move(co, loop_main());
    }
    return ok;
}

/* Drained. */
static bool inactivate_down(Co *co, Node *node, Error **errp)
{
    if (node->inactive) {
        return true;
    }
    if (!roots_bear_it(node, errp) || !store(co, node, errp)) {
        return false;
    }
    if ((!node->read_only && !flush(co, node, errp)) ||
        !switch_node(co, node, true, errp)) {
        load(co, node, NULL);
        return false;
    }
    for (guint i = 0; i < node->children->len; i++) {
        Edge *e = g_ptr_array_index(node->children, i);

        if (!has_active_parent(e->child) &&
            !inactivate_down(co, e->child, errp)) {
            return false;
        }
    }
    return true;
}

bool node_inactivate(Co *co, Node *node, Error **errp)
{
    DrainSection *s;
    bool ok;

    control_assert();
    if (node->inactive) {
        return true;
    }
    if (has_active_parent(node)) {
        error_setg(errp, "Node has active parent node");
        return false;
    }
    s = drain_section_begin(co, node);
    co_move(co, loop_main());
    ok = inactivate_down(co, node, errp);
    drain_section_end(s);
    return ok;
}

/* ---- and back ---- */

/* @done: those that have become active, children first. */
static bool activate_up(Co *co, Node *node, GPtrArray *done, Error **errp)
{
    for (guint i = 0; i < node->children->len; i++) {
        Edge *e = g_ptr_array_index(node->children, i);

        if (!activate_up(co, e->child, done, errp)) {
            return false;
        }
    }
    if (!node->inactive) {
        return true;
    }
    if (!switch_node(co, node, false, errp)) {
        return false;
    }
    if (!load(co, node, errp)) {
        switch_node(co, node, true, NULL);
        return false;
    }
    g_ptr_array_add(done, node);
    return true;
}

static void take_back(Co *co, const GPtrArray *done)
{
    for (guint i = done->len; i-- > 0;) {
        Node *node = g_ptr_array_index(done, i);

        if (store(co, node, NULL) && !node->read_only) {
            flush(co, node, NULL);
        }
        switch_node(co, node, true, NULL);
    }
}

bool node_activate(Co *co, Node *node, Error **errp)
{
    g_autoptr(GPtrArray) done = g_ptr_array_new();
    DrainSection *s;
    bool ok;

    control_assert();
    s = drain_section_begin(co, node);
    co_move(co, loop_main());
    ok = activate_up(co, node, done, errp);
    if (!ok) {
        take_back(co, done);
    }
    drain_section_end(s);
    return ok;
}
