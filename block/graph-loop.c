/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Moving a graph to another loop.
 *
 * A connected graph lives on one loop, so it moves as a whole, while it is
 * quiet: on the old loop every root is asked first, then drivers let go of the
 * loop, the nodes and roots are told their new loop, and who waits at a door is
 * woken to walk after it; on the new loop drivers settle and the drain ends.
 *
 * Before two graphs are joined they are brought to one loop (graph_meet).
 */
#include "util/osdep.h"

#include "block/graph.h"
#include "block/graph-internal.h"
#include "block/io.h"
#include "block/root.h"

typedef void GraphRootFn(Root *root, Loop *loop);

static void graph_each_root(const GPtrArray *nodes, GraphRootFn *fn,
                            Loop *loop)
{
    for (guint i = 0; i < nodes->len; i++) {
        Node *n = g_ptr_array_index(nodes, i);

        for (guint j = 0; j < n->parents->len; j++) {
            Edge *e = g_ptr_array_index(n->parents, j);

            if (e->root) {
                fn(e->root, loop);
            }
        }
    }
}

static bool graph_loop_can_change(const GPtrArray *nodes, Loop *loop,
                                  Error **errp)
{
    for (guint i = 0; i < nodes->len; i++) {
        Node *n = g_ptr_array_index(nodes, i);

        for (guint j = 0; j < n->parents->len; j++) {
            Root *r = ((Edge *)g_ptr_array_index(n->parents, j))->root;

            if (r && r->ops->loop_can_change &&
                !r->ops->loop_can_change(r, loop, errp)) {
                return false;
            }
        }
    }
    return true;
}

static void graph_root_follow(Root *root, Loop *loop)
{
    root->loop = loop;
    if (root->ops->loop_changed) {
        root->ops->loop_changed(root, loop);
    }
    co_queue_wake_all(&root->door);
}

static void graph_leave_loop(const GPtrArray *nodes, Loop *loop)
{
    for (guint i = 0; i < nodes->len; i++) {
        Node *n = g_ptr_array_index(nodes, i);

        if (n->drv->loop_leave) {
            n->drv->loop_leave(n);
        }
        n->loop = loop;
    }
    graph_each_root(nodes, graph_root_follow, loop);
}

static void graph_enter_loop(const GPtrArray *nodes, Loop *loop)
{
    for (guint i = 0; i < nodes->len; i++) {
        Node *n = g_ptr_array_index(nodes, i);

        if (n->drv->loop_enter) {
            n->drv->loop_enter(n, loop);
        }
    }
}

/* Comes out on @loop, or on the old one if it fails. */
static bool graph_move(Co *co, Node *node, Loop *loop, Error **errp)
{
    DrainSection *s = drain_section_begin(co, node);
    g_autoptr(GPtrArray) nodes = graph_connected(node);
    bool ok = graph_loop_can_change(nodes, loop, errp);

    if (ok) {
        graph_leave_loop(nodes, loop);
        co_move(co, loop);
        graph_enter_loop(nodes, loop);
    }
    drain_section_end(s);
    return ok;
}

bool graph_set_loop(Co *co, Node *node, Loop *loop, Error **errp)
{
    Loop *home = co_loop(co);
    bool ok = node->loop == loop || graph_move(co, node, loop, errp);

    control_assert();
    co_move(co, home);
    return ok;
}

/* ---- one loop for two graphs ---- */

typedef struct GraphMoved {
    Node *node;
    Loop *old;
} GraphMoved;

static void graph_moved_abort(Co *co, void *opaque)
{
    GraphMoved *m = opaque;

    /* It was allowed to be there; who refuses now keeps it where it is. */
    graph_set_loop(co, m->node, m->old, NULL);
}

static const TransactionOps graph_moved_ops = {
    .abort = graph_moved_abort,
    .clean = g_free,
};

static bool graph_move_tran(Co *co, Transaction *tran, Node *node, Loop *loop,
                            Error **errp)
{
    GraphMoved *m;
    Loop *old = node->loop;

    if (!graph_set_loop(co, node, loop, errp)) {
        return false;
    }
    m = g_new0(GraphMoved, 1);
    m->node = node;
    m->old = old;
    tran_add(tran, &graph_moved_ops, m);
    return true;
}

static bool graph_has_roots(Node *node)
{
    g_autoptr(GPtrArray) nodes = graph_connected(node);

    for (guint i = 0; i < nodes->len; i++) {
        Node *n = g_ptr_array_index(nodes, i);

        for (guint j = 0; j < n->parents->len; j++) {
            if (((Edge *)g_ptr_array_index(n->parents, j))->root) {
                return true;
            }
        }
    }
    return false;
}

bool graph_meet(Co *co, Transaction *tran, Node *parent, Node *child,
                Error **errp)
{
    g_autoptr(Error) local = NULL;

    if (parent->loop == child->loop) {
        return true;
    }
    if (!graph_has_roots(parent)) {
        return graph_move_tran(co, tran, parent, child->loop, errp);
    }
    if (graph_move_tran(co, tran, child, parent->loop, &local)) {
        return true;
    }
    if (graph_move_tran(co, tran, parent, child->loop, NULL)) {
        return true;
    }
    error_propagate(errp, g_steal_pointer(&local));
    return false;
}
