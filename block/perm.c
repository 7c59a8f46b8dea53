/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Permissions: what parents need of a node and let others do to it.
 *
 *     root or parent's driver --(need, share)--> edge --> node --> its children
 *
 * A check is one pass over the whole connected graph, parents before children:
 * the needs of a node's parents must not contradict each other; together they
 * decide, by the driver's child_perms, what its own edges need. New values are
 * written into the edges with their undo in the transaction, and drivers stage
 * what depends on them outside (file locks). Nothing here suspends.
 *
 * Needs of roots are stated by the roots and never computed here.
 */
#include "util/osdep.h"

#include "block/graph.h"
#include "block/root.h"

char *perm_names(uint64_t perm)
{
    static const struct {
        uint64_t perm;
        const char *name;
    } names[] = {
        { PERM_CONSISTENT_READ, "consistent read" },
        { PERM_WRITE, "write" },
        { PERM_WRITE_UNCHANGED, "write unchanged" },
        { PERM_RESIZE, "resize" },
    };
    GString *s = g_string_new(NULL);

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (perm & names[i].perm) {
            g_string_append_printf(s, "%s%s", s->len ? ", " : "",
                                   names[i].name);
        }
    }
    return g_string_free(s, false);
}

void graph_cumulative_perms(const Node *node, uint64_t *need, uint64_t *share)
{
    *need = 0;
    *share = PERM_ALL;
    for (guint i = 0; i < node->parents->len; i++) {
        Edge *e = g_ptr_array_index(node->parents, i);

        *need |= e->need;
        *share &= e->share;
    }
}

/* ---- conflicts between parents ---- */

static char *perm_describe_parent(const Edge *e)
{
    if (e->parent) {
        return g_strdup_printf("node '%s'", e->parent->name);
    }
    if (strstr(e->root->ops->kind, "job")) {
        return g_strdup_printf("block job '%s'",
                               e->root->name ? e->root->name : "");
    }
    if (e->root->name && e->root->name[0]) {
        return g_strdup_printf("block device '%s'", e->root->name);
    }
    return g_strdup("an unnamed block device");
}

static char *perm_describe_use(const Edge *e)
{
    g_autofree char *parent = perm_describe_parent(e);

    return g_strdup_printf("%s (uses node '%s' as '%s' child)", parent,
                           e->child->name, e->name);
}

static void perm_report_conflict(const Edge *a, const Edge *b, Error **errp)
{
    g_autofree char *names = perm_names(a->need & ~b->share);
    g_autofree char *user = perm_describe_use(a);
    g_autofree char *other = perm_describe_use(b);

    error_setg(errp, "Permission conflict on node '%s': permissions '%s' are "
               "both required by %s and unshared by %s.", a->child->name,
               names, user, other);
}

static bool perm_check_parents(const Node *node, Error **errp)
{
    for (guint i = 0; i < node->parents->len; i++) {
        Edge *a = g_ptr_array_index(node->parents, i);

        for (guint j = 0; j < node->parents->len; j++) {
            Edge *b = g_ptr_array_index(node->parents, j);

            if (a != b && (a->need & ~b->share)) {
                perm_report_conflict(a, b, errp);
                return false;
            }
        }
    }
    return true;
}

static bool perm_check_writable(const Node *node, uint64_t need,
                                uint64_t share, Error **errp)
{
    if (!(need & (PERM_WRITE | PERM_WRITE_UNCHANGED))) {
        return true;
    }
    if (node->inactive) {
        error_setg(errp, "Block node is inactive");
        return false;
    }
    if (node->read_only) {
        error_setg(errp, "Block node is read-only");
        return false;
    }
    /* The last, partial unit could not be written as a whole. */
    if (!(need & PERM_RESIZE) &&
        node->length % node->limits.request_alignment) {
        error_setg(errp, "Cannot get 'write' permission without 'resize': "
                   "Image size is not a multiple of request alignment");
        return false;
    }
    return true;
}

/* ---- what a node hands down ---- */

static bool perm_writable(const Node *node)
{
    return !node->read_only && !node->inactive;
}

void perm_default_filter(Node *node, const Edge *e, uint64_t perm,
                         uint64_t shared, uint64_t *need, uint64_t *share)
{
    *need = perm;
    *share = shared;
}

static void perm_backing(const Node *node, uint64_t perm, uint64_t shared,
                         uint64_t *need, uint64_t *share)
{
    *need = perm & PERM_CONSISTENT_READ;
    *share = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED;
    /* A parent that bears changing data bears them of its backing file. */
    if ((shared & PERM_WRITE) || node->inactive) {
        *share |= PERM_WRITE | PERM_RESIZE;
    }
}

void perm_default_format(Node *node, const Edge *e, uint64_t perm,
                         uint64_t shared, uint64_t *need, uint64_t *share)
{
    if (e->role == ROLE_COW) {
        perm_backing(node, perm, shared, need, share);
        return;
    }
    *need = perm;
    *share = shared | PERM_WRITE_UNCHANGED;
    if (e->role == ROLE_DATA) {
        /* Guest data alone: new clusters may lie behind the end. */
        if (perm & PERM_WRITE) {
            *need |= PERM_RESIZE;
        }
    } else if (perm_writable(node)) {
        /* Metadata change although nobody writes to the disk. */
        *need |= PERM_WRITE | PERM_RESIZE;
    }
    if (e->role != ROLE_DATA && !(node->flags & OPEN_NO_IO)) {
        *need |= PERM_CONSISTENT_READ;
    }
    /* The format's idea of the file is the only one. */
    *share &= ~(uint64_t)(PERM_WRITE | PERM_RESIZE);
    if (node->inactive) {
        *share |= PERM_WRITE | PERM_RESIZE;
    }
}

static void perm_of_child(Node *node, const Edge *e, uint64_t perm,
                          uint64_t shared, uint64_t *need, uint64_t *share)
{
    if (node->drv->child_perms) {
        node->drv->child_perms(node, e, perm, shared, need, share);
    } else if (node->drv->kind == DRIVER_FILTER) {
        perm_default_filter(node, e, perm, shared, need, share);
    } else {
        perm_default_format(node, e, perm, shared, need, share);
    }
    if (node->flags & OPEN_FORCE_SHARE) {
        *share = PERM_ALL;
    }
}

/* ---- the pass ---- */

static void perm_visit(Node *node, GHashTable *seen, GPtrArray *order)
{
    if (!g_hash_table_add(seen, node)) {
        return;
    }
    for (guint i = 0; i < node->children->len; i++) {
        Edge *e = g_ptr_array_index(node->children, i);

        perm_visit(e->child, seen, order);
    }
    g_ptr_array_add(order, node);
}

/* All that is connected with the nodes; children before parents. */
static GPtrArray *perm_order(Node *const *nodes, int n)
{
    GPtrArray *order = g_ptr_array_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    for (int i = 0; i < n; i++) {
        g_autoptr(GPtrArray) all = graph_connected(nodes[i]);

        for (guint j = 0; j < all->len; j++) {
            perm_visit(g_ptr_array_index(all, j), seen, order);
        }
    }
    return order;
}

static bool perm_check_node(Transaction *tran, Node *node, Error **errp)
{
    uint64_t perm, shared;

    graph_cumulative_perms(node, &perm, &shared);
    if (!perm_check_parents(node, errp) ||
        !perm_check_writable(node, perm, shared, errp)) {
        return false;
    }
    for (guint i = 0; i < node->children->len; i++) {
        Edge *e = g_ptr_array_index(node->children, i);
        uint64_t need, share;

        perm_of_child(node, e, perm, shared, &need, &share);
        graph_set_perms(tran, e, need, share);
    }
    return !node->drv->perm_stage ||
           node->drv->perm_stage(node, perm, shared, tran, errp);
}

bool graph_check(Transaction *tran, Node *const *nodes, int n, Error **errp)
{
    g_autoptr(GPtrArray) order = perm_order(nodes, n);

    control_assert();
    for (guint i = order->len; i-- > 0;) {
        if (!perm_check_node(tran, g_ptr_array_index(order, i), errp)) {
            return false;
        }
    }
    return true;
}

bool graph_check_one(Transaction *tran, Node *node, Error **errp)
{
    return graph_check(tran, &node, 1, errp);
}
