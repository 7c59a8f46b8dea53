/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What a QMP client leaves behind when its connection ends. Users go before what
 * they use: exports, then jobs, then nodes, those that were made last first.
 */

#include "block/owner.h"
#include "block/export.h"
#include "block/graph.h"
#include "job/job.h"

/* ---- nodes ---- */

/* Parents that stay go over to what the filter shows. */
static void bypass(Co *co, Node *filter)
{
    Node *below = node_filter_child(filter)->child;
    Transaction *tran = tran_new();
    bool ok = graph_replace_node(co, tran, filter, below, NULL) &&
              graph_check_one(tran, below, NULL);

    tran_finalize(co, tran, ok);
    co_move(co, loop_main());
}

static Node *newest_node(OwnerId owner)
{
    Node *found = NULL;

    for (Node *n = node_first(); n; n = node_next(n)) {
        if (n->named_by_user && n->owner == owner) {
            found = n;
        }
    }
    return found;
}

static void drop_nodes(Co *co, OwnerId owner)
{
    Node *node;

    while ((node = newest_node(owner))) {
        if (node_filter_child(node) && node->parents->len) {
            bypass(co, node);
        }
        node->named_by_user = false;
        node_unref(co, node);
    }
}

/* ---- the end of a session ---- */

static void take_down(Co *co, void *opaque)
{
    OwnerId owner = GPOINTER_TO_UINT(opaque);

    control_lock(co);
    export_close_owned(co, owner);
    job_cancel_owned(co, owner);
    drop_nodes(co, owner);
    control_unlock(co);
}

static bool owns_something(OwnerId owner)
{
    for (BlockExport *e = export_next(NULL); e; e = export_next(e)) {
        if (e->owner == owner) {
            return true;
        }
    }
    for (Job *job = job_next(NULL); job; job = job_next(job)) {
        if (job->owner == owner) {
            return true;
        }
    }
    return newest_node(owner);
}

void owner_session_ended(OwnerId session)
{
    if (owns_something(session)) {
        co_spawn(loop_main(), take_down, GUINT_TO_POINTER(session));
    }
}
