/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Deleting snapshots: which way is shorter.
 *
 * That layers become one is the work of a job that is there already: a commit
 * (of the active layer, if the top is one; then it takes over by itself) or a
 * stream. Here it is chosen: by the bytes that each way must copy, and if the
 * shorter one turns out to be impossible (a base that can't be written, or that
 * others rest upon), the other one is taken.
 */

#include "block/snapshot-delete.h"
#include "block/chain-measure.h"
#include "block/chain.h"
#include "block/commit.h"
#include "block/graph.h"
#include "block/mirror.h"
#include "block/rename.h"
#include "block/stream.h"

/* ---- the chain around the layers ---- */

/* The node that guests use: the top of what rests on @top. */
static Node *find_main(Node *top)
{
    for (guint i = 0; i < top->parents->len; i++) {
        const Edge *e = g_ptr_array_index(top->parents, i);

        if (e->parent && node_chain_child(e->parent) == e) {
            return find_main(e->parent);
        }
    }
    return top;
}

static bool check_base(Node *top, Node *base, Error **errp)
{
    g_autoptr(GPtrArray) overlays = chain_overlays(base);

    for (guint i = 0; i < overlays->len; i++) {
        const Node *n = g_ptr_array_index(overlays, i);

        if (!node_chain_contains(top, (Node *)n)) {
            error_setg(errp, "Node '%s' is the backing file of '%s' as well",
                       base->name, n->name);
            return false;
        }
    }
    return true;
}

/* ---- the two ways ---- */

static Job *go_down(Co *co, const ChainJobOptions *opts, Node *top,
                    Node *base, Error **errp)
{
    Node *main = find_main(top);
    MirrorOptions active = {
        .common = *opts,
        .on_target_error = opts->on_error,
        .copy_mode = MIRROR_COPY_MODE_WRITE_BLOCKING,
        .auto_complete = true,
    };
    bool is_active = node_skip_filters(main) == node_skip_filters(top);

    if (!check_base(top, base, errp)) {
        return NULL;
    }
    /* Guests would see it grow, by what the base had there once. */
    if (is_active && base->length > top->length) {
        error_setg(errp, "Node '%s' is longer than the disk", base->name);
        return NULL;
    }
    return is_active
           ? commit_active_job_create(co, &active, top, base, errp)
           : commit_job_create(co, opts, main, top, base, errp);
}

static Job *go(Co *co, const SnapshotDeleteOptions *opts,
               SnapshotDeleteChoice *choice, Node *top, Node *base,
               Error **errp)
{
    bool down = choice->direction == SNAPSHOT_DELETE_DIRECTION_COMMIT;
    ChainJobOptions own = opts->common;
    Job *job;

    if (opts->final_name &&
        !rename_check(down ? base : top, top, base, opts->final_name,
                      &own.new_name, errp)) {
        return NULL;
    }
    choice->final_name = g_strdup(own.new_name.path);
    job = down ? go_down(co, &own, top, base, errp)
               : stream_job_create(co, &own, top, base, errp);
    g_free(own.new_name.path);
    return job;
}

/* ---- the choice ---- */

static bool choose(Co *co, SnapshotDeleteChoice *choice, Node *top,
                   Node *base, Error **errp)
{
    int64_t down, up;

    if (!chain_measure(co, top, base, &down, &up, errp)) {
        return false;
    }
    choice->has_commit_bytes = choice->has_stream_bytes = true;
    choice->commit_bytes = down;
    choice->stream_bytes = up;
    choice->direction = down <= up ? SNAPSHOT_DELETE_DIRECTION_COMMIT
                                   : SNAPSHOT_DELETE_DIRECTION_STREAM;
    choice->reason = g_strdup_printf("commit copies %" PRId64
                                     " bytes, stream %" PRId64, down, up);
    return true;
}

/* The other way, because of @why. */
static void choose_again(SnapshotDeleteChoice *choice, const Error *why)
{
    bool down = choice->direction == SNAPSHOT_DELETE_DIRECTION_COMMIT;

    g_free(choice->reason);
    g_clear_pointer(&choice->final_name, g_free);
    choice->reason = g_strdup_printf("%s is not possible: %s",
                                     down ? "commit" : "stream",
                                     error_get_pretty(why));
    choice->direction = down ? SNAPSHOT_DELETE_DIRECTION_STREAM
                             : SNAPSHOT_DELETE_DIRECTION_COMMIT;
}

static Job *create_auto(Co *co, const SnapshotDeleteOptions *opts,
                        SnapshotDeleteChoice *choice, Node *top, Node *base,
                        Error **errp)
{
    Error *first = NULL;
    Job *job;

    if (!choose(co, choice, top, base, errp)) {
        return NULL;
    }
    job = go(co, opts, choice, top, base, &first);
    if (!job) {
        choose_again(choice, first);
        job = go(co, opts, choice, top, base, NULL);
        if (job) {
            error_free(first);
        } else {
            error_propagate(errp, first);
        }
    }
    return job;
}

Job *snapshot_delete_create(Co *co, const SnapshotDeleteOptions *opts,
                            Node *top, Node *base, Error **errp)
{
    g_autoptr(SnapshotDeleteChoice) choice = g_new0(SnapshotDeleteChoice, 1);
    Job *job;

    control_assert();
    choice->direction = opts->direction;
    if (opts->direction == SNAPSHOT_DELETE_DIRECTION_AUTO) {
        job = create_auto(co, opts, choice, top, base, errp);
    } else {
        choice->reason = g_strdup("as asked for");
        job = go(co, opts, choice, top, base, errp);
    }
    if (job) {
        job->snapshot_delete = g_steal_pointer(&choice);
    }
    return job;
}
