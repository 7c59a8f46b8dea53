/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Draining: a graph stands still so that it can be edited or looked at.
 *
 *     sections    [ {nodes}, {nodes}, ... ]    one for each drain
 *     node->quiesced = how many sections hold the node
 *     root->quiesced = that of the node which its edge leads to
 *
 * A root whose count is not 0 lets nobody in (root_begin waits at its door).
 * Only roots start requests, so that once all of a connected graph are closed
 * and have nothing in flight, no node of it works. Requests inside the graph
 * are never held up: what is under way ends.
 *
 * A section remembers nodes, not edges: the graph may be taken apart and put
 * together inside of it, and its end opens what it closed. When an edge joins a
 * drained graph with another one, the other becomes part of the section; who
 * adds the edge has seen to it that the other is quiet.
 *
 * A coroutine that drains its own request would wait forever: asserted.
 */
#include "util/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/root.h"

struct DrainSection {
    Node *key;              /* where drain_begin() began; NULL: not by it */
    GPtrArray *nodes;
};

static GPtrArray *drain_sections;       /* of DrainSection, oldest first */
static GPtrArray *drain_alls;           /* of GPtrArray of DrainSection */

static void drain_close_door(Root *root)
{
    if (root->quiesced++ == 0 && root->ops->quiesce) {
        root->ops->quiesce(root);
    }
}

static void drain_open_door(Root *root)
{
    g_assert(root->quiesced > 0);
    if (--root->quiesced == 0) {
        if (root->ops->resume) {
            root->ops->resume(root);
        }
        co_queue_wake_all(&root->door);
    }
}

static void drain_add_node(DrainSection *s, Node *node)
{
    g_ptr_array_add(s->nodes, node);
    if (node->quiesced++ == 0 && node->drv->drained) {
        node->drv->drained(node, true);
    }
    for (guint i = 0; i < node->parents->len; i++) {
        Edge *e = g_ptr_array_index(node->parents, i);

        if (e->root) {
            drain_close_door(e->root);
        }
    }
}

static void drain_release_node(Node *node)
{
    g_assert(node->quiesced > 0);
    if (--node->quiesced == 0 && node->drv->drained) {
        node->drv->drained(node, false);
    }
    for (guint i = 0; i < node->parents->len; i++) {
        Edge *e = g_ptr_array_index(node->parents, i);

        if (e->root) {
            drain_open_door(e->root);
        }
    }
}

/* All that is connected with @node joins @s, unless it is there. */
static void drain_add_graph(DrainSection *s, Node *node)
{
    g_autoptr(GPtrArray) all = graph_connected(node);

    for (guint i = 0; i < all->len; i++) {
        Node *n = g_ptr_array_index(all, i);

        if (!drain_section_covers(s, n)) {
            drain_add_node(s, n);
        }
    }
}

/* A root of @s that has something in flight, or NULL. */
static Root *drain_busy_root(const DrainSection *s)
{
    for (guint i = 0; i < s->nodes->len; i++) {
        Node *n = g_ptr_array_index(s->nodes, i);

        for (guint j = 0; j < n->parents->len; j++) {
            Edge *e = g_ptr_array_index(n->parents, j);

            if (e->root && e->root->in_flight) {
                return e->root;
            }
        }
    }
    return NULL;
}

static void drain_wait(Co *co, DrainSection *s)
{
    Root *root;

    while ((root = drain_busy_root(s))) {
        g_assert(!root->drain_waiter);
        root->drain_waiter = co;
        co_suspend(co);
    }
}

static void drain_assert_outside(const Co *co, const DrainSection *s)
{
    for (guint i = 0; i < s->nodes->len; i++) {
        g_assert(!io_track_has(g_ptr_array_index(s->nodes, i), co));
    }
}

DrainSection *drain_section_begin(Co *co, Node *node)
{
    DrainSection *s = g_new0(DrainSection, 1);

    control_assert();
    co_move(co, node->loop);
    s->nodes = g_ptr_array_new();
    if (!drain_sections) {
        drain_sections = g_ptr_array_new();
    }
    g_ptr_array_add(drain_sections, s);
    drain_add_graph(s, node);
    drain_assert_outside(co, s);
    drain_wait(co, s);
    return s;
}

static void drain_section_open(void *opaque)
{
    DrainSection *s = opaque;

    for (guint i = 0; i < s->nodes->len; i++) {
        drain_release_node(g_ptr_array_index(s->nodes, i));
    }
    g_ptr_array_free(s->nodes, true);
    g_free(s);
}

/* Takes the nodes that live on @loop out of @s. */
static DrainSection *drain_split(DrainSection *s, Loop *loop)
{
    DrainSection *part = g_new0(DrainSection, 1);

    part->nodes = g_ptr_array_new();
    for (guint i = s->nodes->len; i-- > 0;) {
        Node *n = g_ptr_array_index(s->nodes, i);

        if (n->loop == loop) {
            g_ptr_array_add(part->nodes, n);
            g_ptr_array_remove_index(s->nodes, i);
        }
    }
    return part;
}

void drain_section_end(DrainSection *s)
{
    control_assert();
    g_ptr_array_remove(drain_sections, s);
    /*
     * Usually all live on one loop, the caller's. Who closes or moves a node
     * later walks to its loop first and so comes after what is posted here.
     */
    while (s->nodes->len > 0) {
        Loop *loop = ((Node *)g_ptr_array_index(s->nodes, 0))->loop;
        DrainSection *part = drain_split(s, loop);

        if (loop == loop_current()) {
            drain_section_open(part);
        } else {
            loop_post(loop, drain_section_open, part);
        }
    }
    drain_section_open(s);
}

bool drain_section_covers(const DrainSection *s, const Node *node)
{
    return g_ptr_array_find(s->nodes, node, NULL);
}

void drain_begin(Co *co, Node *node)
{
    drain_section_begin(co, node)->key = node;
}

void drain_end(Node *node)
{
    for (guint i = drain_sections->len; i-- > 0;) {
        DrainSection *s = g_ptr_array_index(drain_sections, i);

        if (s->key == node) {
            drain_section_end(s);
            return;
        }
    }
    g_assert_not_reached();
}

static bool drain_any_covers(const GPtrArray *sections, const Node *node)
{
    for (guint i = 0; i < sections->len; i++) {
        if (drain_section_covers(g_ptr_array_index(sections, i), node)) {
            return true;
        }
    }
    return false;
}

void drain_all_begin(Co *co)
{
    GPtrArray *sections = g_ptr_array_new();
    Loop *home = co_loop(co);

    for (Node *n = node_first(); n; n = node_next(n)) {
        if (!drain_any_covers(sections, n)) {
            g_ptr_array_add(sections, drain_section_begin(co, n));
        }
    }
    co_move(co, home);
    if (!drain_alls) {
        drain_alls = g_ptr_array_new();
    }
    g_ptr_array_add(drain_alls, sections);
}

void drain_all_end(Co *co)
{
    GPtrArray *sections;

    g_assert(drain_alls && drain_alls->len > 0);
    sections = g_ptr_array_steal_index(drain_alls, drain_alls->len - 1);
    for (guint i = sections->len; i-- > 0;) {
        drain_section_end(g_ptr_array_index(sections, i));
    }
    g_ptr_array_free(sections, true);
}

void drain_join(Node *a, Node *b)
{
    for (guint i = 0; drain_sections && i < drain_sections->len; i++) {
        DrainSection *s = g_ptr_array_index(drain_sections, i);

        if (drain_section_covers(s, a)) {
            drain_add_graph(s, b);
        } else if (drain_section_covers(s, b)) {
            drain_add_graph(s, a);
        }
        g_assert(!drain_busy_root(s));
    }
}

void drain_forget(Node *node)
{
    for (guint i = 0; drain_sections && i < drain_sections->len; i++) {
        DrainSection *s = g_ptr_array_index(drain_sections, i);

        if (g_ptr_array_remove(s->nodes, node)) {
            drain_release_node(node);
        }
    }
}

void drain_root_moved(Root *root)
{
    unsigned depth = root->edge ? root->edge->child->quiesced : 0;

    while (root->quiesced < depth) {
        drain_close_door(root);
    }
    while (root->quiesced > depth) {
        drain_open_door(root);
    }
}
