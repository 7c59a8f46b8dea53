/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* x-blockdev-amend: changing an open image as a job, to be dismissed by hand. */

#include "block/graph.h"
#include "job/job.h"
#include "qapi/qapi-commands.h"

typedef struct AmendJob {
    Job common;
    Node *node;
    BlockdevAmendOptions *opts;
    bool force;
} AmendJob;

static int amend_run(Co *co, Job *job, Error **errp)
{
    AmendJob *a = container_of(job, AmendJob, common);
    g_autoptr(json_t) opts = BlockdevAmendOptions_to_json(a->opts);
    Transaction *tran = tran_new();
    bool ok;

    json_object_del(opts, "driver");
    job_progress_set_remaining(job, 1);
    control_lock(co);
    graph_drain(co, tran, a->node);
    ok = a->node->drv->image->amend(co, a->node, opts, a->force, NULL, NULL,
                                    errp);
    tran_commit(co, tran);
    co_move(co, loop_main());
    control_unlock(co);
    job_progress_add(job, 1);
    return ok ? 0 : -EIO;
}

static void amend_clean(Co *co, Job *job)
{
    AmendJob *a = container_of(job, AmendJob, common);

    qapi_free_BlockdevAmendOptions(a->opts);
}

static const JobDriver amend_job_driver = {
    .type = JOB_TYPE_AMEND,
    .size = sizeof(AmendJob),
    .run = amend_run,
    .clean = amend_clean,
};

static Node *find_amendable(const char *name, BlockdevDriver id, Error **errp)
{
    const BlockDriver *drv = driver_by_id(id);
    Node *node = node_lookup_either(NULL, name, errp);

    if (!node) {
        return NULL;
    }
    if (!drv) {
        error_setg(errp, "Block driver '%s' not found or not supported",
                   BlockdevDriver_str(id));
        return NULL;
    }
    if (node->drv != drv) {
        error_setg(errp, "x-blockdev-amend doesn't support changing the block "
                   "driver");
        return NULL;
    }
    if (!drv->image || !drv->image->amend) {
        error_setg(errp, "Driver does not support x-blockdev-amend");
        return NULL;
    }
    return node;
}

bool qmp_x_blockdev_amend(Co *co, const char *job_id, const char *node_name,
                          BlockdevAmendOptions *opts, bool has_force,
                          bool force, Error **errp)
{
    Node *node = find_amendable(node_name, opts->driver, errp);
    AmendJob *a;

    if (!node) {
        return false;
    }
    a = job_create(job_id, &amend_job_driver, NULL, JOB_MANUAL_DISMISS, errp);
    if (!a) {
        return false;
    }
    a->node = node;
    a->opts = BlockdevAmendOptions_clone(opts);
    a->force = has_force && force;
    job_block_node(&a->common, node);
    job_start(&a->common);
    return true;
}
