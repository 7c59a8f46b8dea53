/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* blockdev-create: formatting an image as a job, to be dismissed by hand. */

#include "block/create.h"
#include "block/graph.h"
#include "job/job.h"
#include "qapi/qapi-commands.h"

typedef struct CreateJob {
    Job common;
    BlockdevCreateOptions *opts;
} CreateJob;

static int create_run(Co *co, Job *job, Error **errp)
{
    CreateJob *c = container_of(job, CreateJob, common);
    bool ok;

    job_progress_set_remaining(job, 1);
    control_lock(co);
    control_allow_lending(true);
    ok = create_options(co, c->opts, errp);
    control_allow_lending(false);
    control_unlock(co);
    job_progress_add(job, 1);
    return ok ? 0 : -EIO;
}

static void create_clean(Co *co, Job *job)
{
    CreateJob *c = container_of(job, CreateJob, common);

    qapi_free_BlockdevCreateOptions(c->opts);
}

static const JobDriver create_job_driver = {
    .type = JOB_TYPE_CREATE,
    .size = sizeof(CreateJob),
    .run = create_run,
    .clean = create_clean,
};

static bool can_create(const BlockdevCreateOptions *opts, Error **errp)
{
    const BlockDriver *drv = driver_by_id(opts->driver);

    if (!drv) {
        error_setg(errp, "Block driver '%s' not found or not supported",
                   BlockdevDriver_str(opts->driver));
        return false;
    }
    if (!drv->image || !drv->image->create) {
        error_setg(errp, "Driver does not support blockdev-create");
        return false;
    }
    return true;
}

bool qmp_blockdev_create(Co *co, const char *job_id,
                         BlockdevCreateOptions *opts, Error **errp)
{
    CreateJob *c;

    if (!can_create(opts, errp)) {
        return false;
    }
    c = job_create(job_id, &create_job_driver, NULL, JOB_MANUAL_DISMISS, errp);
    if (!c) {
        return false;
    }
    c->opts = BlockdevCreateOptions_clone(opts);
    job_start(&c->common);
    return true;
}
