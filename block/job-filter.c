/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Putting a job's filter into a graph and taking it out.
 *
 * Such a node is made by hand: its driver has no options and is in no table, so
 * that nobody can open one. What it shows is its primary child's, the name, too.
 */

#include "block/job-filter.h"
#include "block/graph.h"
#include "block/limits.h"
#include "block/open.h"

/* Of a driver without options: any will do that needs none. */
static BlockdevOptions *filter_options(void)
{
    BlockdevOptions *o = g_new0(BlockdevOptions, 1);

    o->driver = BLOCKDEV_DRIVER_NULL_CO;
    return o;
}

static Node *filter_new(const BlockDriver *drv, const char *name,
                        const Node *below, Error **errp)
{
    Node *node = node_new(drv, name, errp);

    if (!node) {
        return NULL;
    }
    node->options = filter_options();
    node->flags = below->flags | OPEN_UNMAP;
    node->read_only = below->read_only;
    node->length = below->length;
    node->implicit = !name;
    node->opened = true;
    return node;
}

static bool filter_attach(Co *co, Transaction *tran, Node *filter, Node *below,
                          Node *target, Error **errp)
{
    if (!graph_attach(co, tran, filter, "backing", ROLE_PRIMARY, below,
                      errp)) {
        return false;
    }
    if (target && !graph_attach(co, tran, filter, "target", ROLE_TARGET,
                                target, errp)) {
        return false;
    }
    limits_refresh(filter);
    return graph_replace_node(co, tran, below, filter, errp) &&
           graph_check_one(tran, filter, errp);
}

Node *job_filter_insert(Co *co, const BlockDriver *drv, const char *name,
                        Node *below, Node *target,
                        void (*init)(Node *filter, void *opaque),
                        void *opaque, Error **errp)
{
    Loop *home = co_loop(co);
    Node *filter = filter_new(drv, name, below, errp);
    Transaction *tran;
    bool ok;

    if (!filter) {
        return NULL;
    }
    if (init) {
        init(filter, opaque);
    }
    tran = tran_new();
    ok = filter_attach(co, tran, filter, below, target, errp);
    if (ok) {
        open_refresh_filename(filter);
    }
    tran_finalize(co, tran, ok);
    co_move(co, home);
    if (!ok) {
        node_unref(co, filter);
        return NULL;
    }
    return filter;
}

void job_filter_drop(Co *co, Node *filter)
{
    graph_drop_filter(co, filter, filter->file->child);
}
