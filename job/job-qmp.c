/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The commands job-* and block-job-*: find the job, carry out the verb. */

#include "job-internal.h"
#include "qapi/qapi-commands.h"

static Job *find_job(const char *id, Error **errp)
{
    Job *job = job_find(id);

    if (!job) {
        error_setg(errp, "Job not found");
    }
    return job;
}

static Job *find_block_job(const char *id, Error **errp)
{
    Job *job = job_find(id);

    if (!job || !job->drv->is_block_job) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE,
                  "Block job '%s' not found", id);
        return NULL;
    }
    return job;
}

bool qmp_job_pause(Co *co, const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    return job && job_user_pause(job, errp);
}

bool qmp_job_resume(Co *co, const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    return job && job_user_resume(job, errp);
}

bool qmp_job_cancel(Co *co, const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    return job && job_user_cancel(co, job, true, errp);
}

bool qmp_job_complete(Co *co, const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    return job && job_user_complete(co, job, errp);
}

bool qmp_job_finalize(Co *co, const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    return job && job_user_finalize(co, job, errp);
}

bool qmp_job_dismiss(Co *co, const char *id, Error **errp)
{
    Job *job = find_job(id, errp);

    return job && job_user_dismiss(co, job, errp);
}

bool qmp_query_jobs(Co *co, JobInfoList **ret, Error **errp)
{
    JobInfoList *list = NULL;
    JobInfoList **tail = &list;

    for (Job *job = job_next(NULL); job; job = job_next(job)) {
        if (job->id) {
            QAPI_LIST_APPEND(tail, job_query(job));
        }
    }
    *ret = list;
    return true;
}

bool qmp_block_job_pause(Co *co, const char *device, Error **errp)
{
    Job *job = find_block_job(device, errp);

    return job && job_user_pause(job, errp);
}

bool qmp_block_job_resume(Co *co, const char *device, Error **errp)
{
    Job *job = find_block_job(device, errp);

    return job && job_user_resume(job, errp);
}

bool qmp_block_job_cancel(Co *co, const char *device, bool has_force,
                          bool force, Error **errp)
{
    Job *job = find_block_job(device, errp);

    if (!job) {
        return false;
    }
    if (job->user_paused && !(has_force && force)) {
        error_setg(errp, "The block job for device '%s' is currently paused",
                   device);
        return false;
    }
    return job_user_cancel(co, job, has_force && force, errp);
}

bool qmp_block_job_complete(Co *co, const char *device, Error **errp)
{
    Job *job = find_block_job(device, errp);

    return job && job_user_complete(co, job, errp);
}

bool qmp_block_job_finalize(Co *co, const char *id, Error **errp)
{
    Job *job = find_block_job(id, errp);

    return job && job_user_finalize(co, job, errp);
}

bool qmp_block_job_dismiss(Co *co, const char *id, Error **errp)
{
    Job *job = find_block_job(id, errp);

    return job && job_user_dismiss(co, job, errp);
}

bool qmp_block_job_set_speed(Co *co, const char *device, int64_t speed,
                             Error **errp)
{
    Job *job = find_block_job(device, errp);

    return job && job_user_set_speed(job, speed, errp);
}

bool qmp_block_job_change(Co *co, BlockJobChangeOptions *arg, Error **errp)
{
    Job *job = find_block_job(arg->id, errp);

    return job && job_user_change(co, job, arg, errp);
}

bool qmp_query_block_jobs(Co *co, BlockJobInfoList **ret, Error **errp)
{
    BlockJobInfoList *list = NULL;
    BlockJobInfoList **tail = &list;

    for (Job *job = job_next(NULL); job; job = job_next(job)) {
        BlockJobInfo *info = job->id ? job_query_block(job) : NULL;
        if (info) {
            QAPI_LIST_APPEND(tail, info);
        }
    }
    *ret = list;
    return true;
}
