/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Looks at the allocation of layers, piece by piece, in a job that nobody sees,
 * so that the end of the daemon ends it, too. The layers can't change without the
 * control lock: they are busy, and the edges between them frozen; a root on the
 * top keeps its length and lets whoever drains the graph through.
 */

#include "block/chain-measure.h"
#include "block/copy-job.h"
#include "block/graph.h"
#include "block/root.h"
#include "util/bytes.h"

#define MEASURE_PIECE GiB

typedef struct Measure {
    Node *top, *base;
    Root *root;                     /* on top */
    int64_t down, up;
} Measure;

typedef struct MeasureJob {
    Job common;
    Measure *m;                     /* of the caller, who waits */
} MeasureJob;

/* What the layers from @top down to @base have in the piece, but where @above
 * has something (NULL: everywhere). */
static int measure_piece(Co *co, Node *above, Node *top, Node *base,
                         bool include_base, int64_t off, int64_t end,
                         int64_t *sum)
{
    for (int64_t n; off < end; off += n) {
        int ret = above ? status_allocated(co, above, off, end - off, &n) : 0;

        if (ret == 0) {
            ret = status_allocated_above(co, top, base, include_base, off,
                                         above ? n : end - off, &n);
            *sum += ret > 0 ? n : 0;
        }
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static int measure_both(Co *co, Measure *m, int64_t off, int64_t end)
{
    int ret = measure_piece(co, NULL, m->top, m->base, false, off, end,
                            &m->down);

    if (ret < 0) {
        return ret;
    }
    return measure_piece(co, m->top, node_backing_chain_next(m->top), m->base,
                         true, off, end, &m->up);
}

static int measure_run(Co *co, Job *job, Error **errp)
{
    Measure *m = container_of(job, MeasureJob, common)->m;
    int64_t end = m->top->length;

    co_move(co, m->root->loop);
    job_working_on(co, job);
    co_set_background(co, true);
    for (int64_t off = 0; off < end; off += MEASURE_PIECE) {
        int ret;

        job_pause_point(co, job);
        if (job_is_cancelled(job)) {
            return -ECANCELED;
        }
        root_begin(co, m->root);
        ret = measure_both(co, m, off, MIN(off + MEASURE_PIECE, end));
        root_end(m->root);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not look at the allocation "
                             "of '%s'", m->top->name);
            return ret;
        }
    }
    return 0;
}

static const JobDriver measure_driver = {
    .type = JOB_TYPE_COMMIT,
    .size = sizeof(MeasureJob),
    .is_block_job = true,
    .run = measure_run,
};

/* ---- the chain stays as it is ---- */

static GPtrArray *chain_keep(Node *top, Node *base)
{
    GPtrArray *nodes = g_ptr_array_new();

    for (Node *n = top;; n = node_chain_child(n)->child) {
        n->busy++;
        n->busy_with = JobType_str(JOB_TYPE_COMMIT);
        g_ptr_array_add(nodes, node_ref(n));
        if (n == base) {
            return nodes;
        }
    }
}

static void chain_let_go(Co *co, GPtrArray *nodes)
{
    for (guint i = 0; i < nodes->len; i++) {
        Node *n = g_ptr_array_index(nodes, i);

        n->busy--;
        node_unref(co, n);
    }
    g_ptr_array_free(nodes, true);
}

/* It is waited for without the lock. */
static bool measure_wait(Co *co, Measure *m, Error **errp)
{
    MeasureJob *j = job_create(NULL, &measure_driver, NULL, JOB_INTERNAL, errp);

    if (!j) {
        return false;
    }
    j->m = m;
    job_ref(&j->common);
    job_start(&j->common);
    return job_wait(co, &j->common, errp) == 0;
}

bool chain_measure(Co *co, Node *top, Node *base, int64_t *down, int64_t *up,
                   Error **errp)
{
    Measure m = { .top = top, .base = base };
    GPtrArray *nodes;
    bool ok;

    control_assert();
    if (!graph_freeze_chain(top, base, errp)) {
        return false;
    }
    m.root = copy_job_root(co, top, 0, PERM_ALL & ~PERM_RESIZE, errp);
    if (!m.root) {
        graph_unfreeze_chain(top, base);
        return false;
    }
    nodes = chain_keep(top, base);
    ok = measure_wait(co, &m, errp);
    root_free(co, m.root);
    graph_unfreeze_chain(top, base);
    chain_let_go(co, nodes);
    *down = m.down;
    *up = m.up;
    return ok;
}
