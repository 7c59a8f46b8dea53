/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The graph as a whole over QMP: blockdev-reopen, which changes several nodes
 * at once, and x-debug-query-block-graph, which draws what is there: every node
 * and root with a number, every edge with its permissions.
 */
#include "util/osdep.h"

#include "block/graph.h"
#include "block/reopen.h"
#include "block/root.h"
#include "qapi/qapi-commands.h"

bool qmp_blockdev_reopen(Co *co, BlockdevOptionsList *options, Error **errp)
{
    return reopen_nodes(co, options, errp);
}

/* ---- x-debug-query-block-graph ---- */

typedef struct GraphDrawing {
    XDbgBlockGraph *graph;
    GHashTable *ids;        /* Node or Root -> its number */
} GraphDrawing;

static uint64_t graph_add_item(GraphDrawing *d, const void *item,
                               XDbgBlockGraphNodeType type, const char *name)
{
    uint64_t id = GPOINTER_TO_UINT(g_hash_table_lookup(d->ids, item));
    XDbgBlockGraphNode *n;

    if (id) {
        return id;
    }
    id = g_hash_table_size(d->ids) + 1;
    g_hash_table_insert(d->ids, (gpointer)item, GUINT_TO_POINTER(id));
    n = g_new0(XDbgBlockGraphNode, 1);
    n->id = id;
    n->type = type;
    n->name = g_strdup(name);
    QAPI_LIST_PREPEND(d->graph->nodes, n);
    return id;
}

static uint64_t graph_add_node(GraphDrawing *d, const Node *node)
{
    return graph_add_item(d, node, X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_DRIVER,
                          node->name);
}

static uint64_t graph_add_root(GraphDrawing *d, const Root *root)
{
    return graph_add_item(d, root, strstr(root->ops->kind, "job") ?
                          X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_JOB :
                          X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_BACKEND,
                          root->name);
}

static BlockPermissionList *graph_perm_list(uint64_t perm)
{
    static const struct {
        uint64_t perm;
        BlockPermission name;
    } names[] = {
        { PERM_CONSISTENT_READ, BLOCK_PERMISSION_CONSISTENT_READ },
        { PERM_WRITE, BLOCK_PERMISSION_WRITE },
        { PERM_WRITE_UNCHANGED, BLOCK_PERMISSION_WRITE_UNCHANGED },
        { PERM_RESIZE, BLOCK_PERMISSION_RESIZE },
    };
    BlockPermissionList *list = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (perm & names[i].perm) {
            QAPI_LIST_PREPEND(list, names[i].name);
        }
    }
    return list;
}

static void graph_add_edge(GraphDrawing *d, const Edge *e)
{
    XDbgBlockGraphEdge *edge = g_new0(XDbgBlockGraphEdge, 1);

    edge->parent = e->root ? graph_add_root(d, e->root)
                           : graph_add_node(d, e->parent);
    edge->child = graph_add_node(d, e->child);
    edge->name = g_strdup(e->name);
    edge->perm = graph_perm_list(e->need);
    edge->shared_perm = graph_perm_list(e->share);
    QAPI_LIST_PREPEND(d->graph->edges, edge);
}

bool qmp_x_debug_query_block_graph(Co *co, XDbgBlockGraph **ret, Error **errp)
{
    g_autoptr(GHashTable) ids = g_hash_table_new(NULL, NULL);
    GraphDrawing d = { g_new0(XDbgBlockGraph, 1), ids };

    for (Node *n = node_first(); n; n = node_next(n)) {
        graph_add_node(&d, n);
        for (guint i = 0; i < n->parents->len; i++) {
            graph_add_edge(&d, g_ptr_array_index(n->parents, i));
        }
    }
    *ret = d.graph;
    return true;
}
