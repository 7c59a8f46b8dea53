/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* query-jobs and query-block-jobs. */

#include "job-internal.h"

JobInfo *job_query(Job *job)
{
    JobInfo *info = g_new0(JobInfo, 1);

    info->id = g_strdup(job->id);
    info->type = job->drv->type;
    info->status = job->status;
    info->current_progress =
        __atomic_load_n(&job->progress_current, __ATOMIC_RELAXED);
    info->total_progress =
        __atomic_load_n(&job->progress_total, __ATOMIC_RELAXED);
    if (job->ret < 0) {
        info->error = g_strdup(job->err ? error_get_pretty(job->err)
                                        : strerror(-job->ret));
    }
    if (job->snapshot_delete) {
        info->snapshot_delete = SnapshotDeleteChoice_clone(
            job->snapshot_delete);
    }
    return info;
}

BlockJobInfo *job_query_block(Job *job)
{
    g_autoptr(JobInfo) base = NULL;
    BlockJobInfo *info;

    if (!job->drv->is_block_job) {
        return NULL;
    }
    base = job_query(job);
    info = g_new0(BlockJobInfo, 1);
    info->type = base->type;
    info->device = g_strdup(job->id);
    info->len = base->total_progress;
    info->offset = base->current_progress;
    info->busy = job->status == JOB_STATUS_RUNNING && !job->pause_count;
    info->paused = job->pause_count > 0;
    info->speed = job->speed;
    info->io_status = job->iostatus;
    info->ready = job->status == JOB_STATUS_READY ||
                  job->status == JOB_STATUS_STANDBY;
    info->status = job->status;
    info->auto_finalize = job->auto_finalize;
    info->auto_dismiss = job->auto_dismiss;
    info->error = g_steal_pointer(&base->error);
    if (job->drv->query) {
        job->drv->query(job, info);
    }
    return info;
}
