/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Edits of the graph, and the lock that all of them hold.
 *
 * An edge is in two lists, its parent's children and its child's parents, and
 * (for "file" and "backing") behind a pointer of its parent. graph_link() and
 * graph_unlink() are the only places that touch these; whatever is above them
 * is a step of a Transaction that can be undone by the other of the two.
 *
 * Invariants: no cycles; one loop for all that is connected; an edge holds a
 * reference on its child; what an edit touches is drained from before the edit
 * until the transaction has ended.
 *
 * Permissions are not looked at here: see perm.c. Moves between loops are in
 * graph-loop.c.
 */
#include "util/osdep.h"

#include "block/graph.h"
#include "block/graph-internal.h"
#include "block/io.h"
#include "block/root.h"

/* ---- control lock ---- */

/* Of the main loop, where those who want it queue up. */
static CoMutex control_mutex;
static Co *control_holder;      /* the one that took it; NULL: nobody */
static bool control_lendable;   /* the holder has said so */

void control_lock(Co *co)
{
    Loop *home = co_loop(co);

    co_move(co, loop_main());
    g_assert(control_holder != co);
    co_mutex_lock(co, &control_mutex);
    control_holder = co;
    co_move(co, home);
}

void control_unlock(Co *co)
{
    Loop *home = co_loop(co);

    control_assert();
    g_assert(!control_lendable);
    co_move(co, loop_main());
    control_holder = NULL;
    co_mutex_unlock(&control_mutex);
    co_move(co, home);
}

bool control_is_locked(void)
{
    return control_holder;
}

void control_allow_lending(bool allow)
{
    control_assert();
    control_lendable = allow;
}

bool control_lend(Co *co)
{
    bool lent = control_lendable;

    control_assert();
    if (lent) {
        control_lendable = false;
        control_unlock(co);
    }
    return lent;
}

void control_take_back(Co *co, bool lent)
{
    if (lent) {
        control_lock(co);
        control_lendable = true;
    }
}

/* ---- shape ---- */

GPtrArray *graph_connected(Node *node)
{
    GPtrArray *all = g_ptr_array_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    g_hash_table_add(seen, node);
    g_ptr_array_add(all, node);
    for (guint i = 0; i < all->len; i++) {
        Node *n = g_ptr_array_index(all, i);

        for (guint j = 0; j < n->children->len; j++) {
            Edge *e = g_ptr_array_index(n->children, j);

            if (g_hash_table_add(seen, e->child)) {
                g_ptr_array_add(all, e->child);
            }
        }
        for (guint j = 0; j < n->parents->len; j++) {
            Edge *e = g_ptr_array_index(n->parents, j);

            if (e->parent && g_hash_table_add(seen, e->parent)) {
                g_ptr_array_add(all, e->parent);
            }
        }
    }
    return all;
}

bool graph_reaches(const Node *from, const Node *to)
{
    if (from == to) {
        return true;
    }
    for (guint i = 0; i < from->children->len; i++) {
        Edge *e = g_ptr_array_index(from->children, i);

        if (graph_reaches(e->child, to)) {
            return true;
        }
    }
    return false;
}

static bool graph_role_is_file(EdgeRole role)
{
    return role == ROLE_PRIMARY || role == ROLE_STORAGE ||
           role == ROLE_METADATA;
}

/* @index: where in the parent's children; -1 the end. */
static void graph_link(Edge *e, int index)
{
    g_ptr_array_add(e->child->parents, e);
    if (e->root) {
        e->root->edge = e;
        e->root->loop = e->child->loop;
        drain_root_moved(e->root);
        return;
    }
    g_ptr_array_insert(e->parent->children, index, e);
    if (graph_role_is_file(e->role) && !e->parent->file) {
        e->parent->file = e;
    } else if (e->role == ROLE_COW && !e->parent->backing) {
        e->parent->backing = e;
    }
    drain_join(e->parent, e->child);
}

/* Returns the index in the parent's children. */
static int graph_unlink(Edge *e)
{
    guint index = 0;

    g_ptr_array_remove(e->child->parents, e);
    if (e->root) {
        e->root->edge = NULL;
        drain_root_moved(e->root);
        return 0;
    }
    g_assert(g_ptr_array_find(e->parent->children, e, &index));
    g_ptr_array_remove_index(e->parent->children, index);
    if (e->parent->file == e) {
        e->parent->file = NULL;
    }
    if (e->parent->backing == e) {
        e->parent->backing = NULL;
    }
    return index;
}

static void graph_edge_free(Edge *e)
{
    g_free(e->name);
    g_free(e);
}

void graph_drop_edge(Co *co, Edge *e)
{
    Node *child = e->child;

    graph_unlink(e);
    graph_edge_free(e);
    node_unref(co, child);
}

/* ---- drained until the transaction ends ---- */

static GHashTable *graph_drains;    /* Transaction -> GPtrArray of sections */

static void graph_drain_clean(void *opaque)
{
    Transaction *tran = opaque;
    GPtrArray *sections = g_hash_table_lookup(graph_drains, tran);

    g_hash_table_remove(graph_drains, tran);
    for (guint i = sections->len; i-- > 0;) {
        drain_section_end(g_ptr_array_index(sections, i));
    }
    g_ptr_array_free(sections, true);
}

static const TransactionOps graph_drain_ops = {
    .clean = graph_drain_clean,
};

void graph_drain(Co *co, Transaction *tran, Node *node)
{
    GPtrArray *sections;

    control_assert();
    co_move(co, node->loop);
    if (!graph_drains) {
        graph_drains = g_hash_table_new(NULL, NULL);
    }
    sections = g_hash_table_lookup(graph_drains, tran);
    if (!sections) {
        sections = g_ptr_array_new();
        g_hash_table_insert(graph_drains, tran, sections);
        tran_add(tran, &graph_drain_ops, tran);
    }
    for (guint i = 0; i < sections->len; i++) {
        if (drain_section_covers(g_ptr_array_index(sections, i), node)) {
            return;
        }
    }
    g_ptr_array_add(sections, drain_section_begin(co, node));
}

/* ---- attach ---- */

static void graph_attach_abort(Co *co, void *opaque)
{
    graph_drop_edge(co, opaque);
}

static const TransactionOps graph_attach_ops = {
    .abort = graph_attach_abort,
};

static Edge *graph_add_edge(Transaction *tran, Edge e)
{
    Edge *edge = g_memdup2(&e, sizeof(e));

    edge->name = g_strdup(e.name);
    node_ref(edge->child);
    graph_link(edge, -1);
    tran_add(tran, &graph_attach_ops, edge);
    return edge;
}

static bool graph_check_cycle(const Node *parent, const char *name,
                              const Node *child, Error **errp)
{
    if (graph_reaches(child, parent)) {
        error_setg(errp, "Making '%s' a %s child of '%s' would create a "
                   "cycle", child->name, name, parent->name);
        return false;
    }
    return true;
}

Edge *graph_attach(Co *co, Transaction *tran, Node *parent, const char *name,
                   EdgeRole role, Node *child, Error **errp)
{
    control_assert();
    if (!graph_check_cycle(parent, name, child, errp) ||
        !graph_meet(co, tran, parent, child, errp)) {
        return NULL;
    }
    graph_drain(co, tran, parent);
    graph_drain(co, tran, child);
    return graph_add_edge(tran, (Edge) {
        .name = (char *)name, .role = role, .parent = parent, .child = child,
        .share = PERM_ALL,
    });
}

Edge *graph_attach_root(Co *co, Transaction *tran, Root *root, Node *child,
                        uint64_t need, uint64_t share, Error **errp)
{
    g_assert(!root->edge);
    graph_drain(co, tran, child);
    return graph_add_edge(tran, (Edge) {
        .name = (char *)"root", .role = ROLE_PRIMARY, .root = root,
        .child = child, .need = need, .share = share,
    });
}

/* ---- detach ---- */

/* Who is let go stays until the transaction's end: later steps settle needs. */
typedef struct GraphDetach {
    Edge *edge;
    int index;
    Node *gone;
} GraphDetach;

static void graph_detach_commit(Co *co, void *opaque)
{
    GraphDetach *d = opaque;

    d->gone = d->edge->child;
    graph_edge_free(d->edge);
}

static void graph_detach_abort(Co *co, void *opaque)
{
    GraphDetach *d = opaque;

    graph_link(d->edge, d->index);
}

static void graph_detach_release(Co *co, void *opaque)
{
    g_autofree GraphDetach *d = opaque;

    if (d->gone) {
        node_unref(co, d->gone);
    }
}

static const TransactionOps graph_detach_ops = {
    .commit = graph_detach_commit,
    .abort = graph_detach_abort,
    .release = graph_detach_release,
};

void graph_detach(Transaction *tran, Edge *edge)
{
    GraphDetach *d = g_new0(GraphDetach, 1);

    control_assert();
    g_assert(edge->child->quiesced > 0);
    d->edge = edge;
    d->index = graph_unlink(edge);
    tran_add(tran, &graph_detach_ops, d);
}

/* ---- replace ---- */

typedef struct GraphReplace {
    Edge *edge;
    Node *old;
    Node *gone;
} GraphReplace;

static void graph_point_edge(Edge *edge, Node *to)
{
    int index = graph_unlink(edge);

    edge->child = to;
    graph_link(edge, index);
}

static void graph_replace_commit(Co *co, void *opaque)
{
    GraphReplace *r = opaque;

    r->gone = r->old;
}

static void graph_replace_abort(Co *co, void *opaque)
{
    GraphReplace *r = opaque;

    r->gone = r->edge->child;
    graph_point_edge(r->edge, r->old);
}

static void graph_replace_release(Co *co, void *opaque)
{
    g_autofree GraphReplace *r = opaque;

    node_unref(co, r->gone);
}

static const TransactionOps graph_replace_ops = {
    .commit = graph_replace_commit,
    .abort = graph_replace_abort,
    .release = graph_replace_release,
};

static bool graph_check_frozen(const Edge *edge, const Node *to, Error **errp)
{
    if (edge->frozen) {
        error_setg(errp, "Cannot change '%s' link from '%s' to '%s'",
                   edge->name, edge->parent ? edge->parent->name : "",
                   edge->child->name);
        return false;
    }
    return true;
}

bool graph_replace_child(Co *co, Transaction *tran, Edge *edge, Node *to,
                         Error **errp)
{
    GraphReplace *r;

    control_assert();
    if (edge->child == to) {
        return true;
    }
    if (!graph_check_frozen(edge, to, errp)) {
        return false;
    }
    if (edge->parent &&
        !graph_check_cycle(edge->parent, edge->name, to, errp)) {
        return false;
    }
    if (!graph_meet(co, tran, edge->child, to, errp)) {
        return false;
    }
    graph_drain(co, tran, edge->child);
    graph_drain(co, tran, to);
    r = g_new0(GraphReplace, 1);
    r->edge = edge;
    r->old = edge->child;
    node_ref(to);
    graph_point_edge(edge, to);
    tran_add(tran, &graph_replace_ops, r);
    return true;
}

bool graph_replace_node(Co *co, Transaction *tran, Node *from, Node *to,
                        Error **errp)
{
    g_autoptr(GPtrArray) edges = g_ptr_array_new();

    for (guint i = 0; i < from->parents->len; i++) {
        Edge *e = g_ptr_array_index(from->parents, i);

        if (e->root ? !e->root->ops->stay_at_node
                    : !graph_reaches(to, e->parent)) {
            g_ptr_array_add(edges, e);
        }
    }
    for (guint i = 0; i < edges->len; i++) {
        if (!graph_replace_child(co, tran, g_ptr_array_index(edges, i), to,
                                 errp)) {
            return false;
        }
    }
    return true;
}

bool graph_insert_filter(Co *co, Transaction *tran, Node *filter, Node *node,
                         Error **errp)
{
    g_assert(node_filter_child(filter) &&
             node_filter_child(filter)->child == node);
    return graph_replace_node(co, tran, node, filter, errp);
}

/* ---- needs of a root ---- */

typedef struct GraphPerms {
    Edge *edge;
    uint64_t need, share;
} GraphPerms;

static void graph_perms_abort(Co *co, void *opaque)
{
    GraphPerms *p = opaque;

    p->edge->need = p->need;
    p->edge->share = p->share;
}

static const TransactionOps graph_perms_ops = {
    .abort = graph_perms_abort,
    .clean = g_free,
};

void graph_set_perms(Transaction *tran, Edge *edge, uint64_t need,
                     uint64_t share)
{
    GraphPerms *p;

    if (edge->need == need && edge->share == share) {
        return;
    }
    p = g_new0(GraphPerms, 1);
    p->edge = edge;
    p->need = edge->need;
    p->share = edge->share;
    edge->need = need;
    edge->share = share;
    tran_add(tran, &graph_perms_ops, p);
}

/* ---- frozen chains ---- */

bool graph_freeze_chain(Node *top, Node *base, Error **errp)
{
    for (Node *n = top; n != base; n = node_chain_child(n)->child) {
        Edge *e = node_chain_child(n);

        if (!e) {
            break;
        }
        if (e->frozen || e->child->never_freeze) {
            error_setg(errp, "Cannot freeze '%s' link to '%s'", e->name,
                       e->child->name);
            return false;
        }
    }
    for (Node *n = top; n != base && node_chain_child(n);
         n = node_chain_child(n)->child) {
        node_chain_child(n)->frozen = true;
    }
    return true;
}

void graph_unfreeze_chain(Node *top, Node *base)
{
    for (Node *n = top; n != base && node_chain_child(n);
         n = node_chain_child(n)->child) {
        g_assert(node_chain_child(n)->frozen);
        node_chain_child(n)->frozen = false;
    }
}

#define DROP_TRIES 200
#define DROP_PAUSE_NS (10 * 1000 * 1000)

void graph_drop_filter(Co *co, Node *filter, Node *check)
{
    Loop *home = co_loop(co);

    for (int i = 0;; i++) {
        g_autoptr(Error) err = NULL;
        Transaction *tran = tran_new();
        bool ok = graph_replace_node(co, tran, filter, filter->file->child,
                                     &err) &&
                  graph_check_one(tran, check, &err);

        tran_finalize(co, tran, ok);
        co_move(co, home);
        if (ok) {
            break;
        }
        if (i == DROP_TRIES) {
            error_exit(0, "Cannot take filter '%s' out of the graph: %s",
                       filter->name, error_get_pretty(err));
        }
        co_sleep(co, DROP_PAUSE_NS);
    }
    node_unref(co, filter);
}
