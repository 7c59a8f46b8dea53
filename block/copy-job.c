/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What jobs that copy have in common: stretches of copying between pause
 * points, errors, and roots that keep the graph where it is.
 */

#include "block/copy-job.h"
#include "block/root.h"

#define RETRY_NS (100 * 1000 * 1000)

static void run_progress(void *opaque, int64_t bytes)
{
    job_progress_add(opaque, bytes);
}

void copy_run_init(CopyRun *run, CopyState *copy, Root *root, int64_t length,
                   Job *job)
{
    run->copy = copy;
    run->call = (CopyCall) {
        .len = length, .limit = &run->limit, .root = root,
    };
    copy_set_progress(copy, run_progress, job);
}

int copy_run_stretch(Co *co, CopyRun *run, Job *job, bool *is_read)
{
    int ret;

    ratelimit_set_speed(&run->limit, job_speed(job));
    run->call.cancelled = false;
    run->calling = true;
    /* Asked before it began: the kick has come and gone. */
    if (job_is_asked(job)) {
        run->call.cancelled = true;
    }
    ret = copy_background(co, run->copy, &run->call, is_read);
    run->calling = false;
    return ret;
}

void copy_run_kick(CopyRun *run)
{
    if (run->calling) {
        copy_cancel(&run->call);
    }
}

void copy_job_kick_target(const Job *job, Node *target)
{
    if (job_is_forced(job)) {
        node_cancel_in_flight(target);
    }
}

int copy_run_error(Co *co, Job *job, BlockdevOnError on_err, bool is_read,
                   int ret)
{
    if (ret == -ECANCELED) {
        return 0;
    }
    if (job_error_action(co, job, on_err, is_read, -ret) ==
        BLOCK_ERROR_ACTION_REPORT) {
        return ret;
    }
    /* Ignored or stopped: the chunk is tried again, but not in a hurry. */
    job_sleep_ns(co, job, RETRY_NS);
    return 0;
}

/* ---- roots ---- */

static const RootOps data_ops = {
    .kind = "block-backend",
    .loop_can_change = root_refuse_loop,
};
static const RootOps guard_ops = {
    .kind = "block job",
    .loop_can_change = root_refuse_loop,
};

Root *copy_job_root(Co *co, Node *node, uint64_t need, uint64_t share,
                    Error **errp)
{
    return root_open(co, node, "", &data_ops, NULL, need, share, errp);
}

Root *copy_job_guard(Co *co, Job *job, Node *node, uint64_t need,
                     uint64_t share, Error **errp)
{
    return root_open(co, node, job->id, &guard_ops, NULL, need, share,
                     errp);
}

bool copy_job_keep_guard(GPtrArray **guards, Root *guard)
{
    if (guard) {
        *guards = *guards ? *guards : g_ptr_array_new();
        g_ptr_array_add(*guards, guard);
    }
    return guard;
}

void copy_job_drop_guards(Co *co, GPtrArray **guards)
{
    for (guint i = 0; *guards && i < (*guards)->len; i++) {
        root_free(co, g_ptr_array_index(*guards, i));
    }
    g_clear_pointer(guards, g_ptr_array_unref);
}
