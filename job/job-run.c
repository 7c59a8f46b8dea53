/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What a run coroutine does beside its work; see job.h. */

#include "job-internal.h"

void job_working_on(Co *co, Job *job)
{
    g_atomic_pointer_set(&job->run_loop, co_loop(co));
}

static unsigned job_requests(const Job *job)
{
    return __atomic_load_n(&job->request, __ATOMIC_SEQ_CST);
}

bool job_is_cancelled(const Job *job)
{
    return job_requests(job) & JOB_REQUEST_CANCEL;
}

bool job_is_forced(const Job *job)
{
    return job_requests(job) & JOB_REQUEST_FORCE;
}

bool job_is_asked(const Job *job)
{
    return job_requests(job) != 0;
}

int64_t job_speed(const Job *job)
{
    return __atomic_load_n(&job->run_speed, __ATOMIC_SEQ_CST);
}

/* On the main loop. */
static void wait_while_paused(Co *co, Job *job)
{
    bool ready = job->status == JOB_STATUS_READY;

    if (!job->pause_count || job_is_cancelled(job)) {
        return;
    }
    if (job->started && job->status != JOB_STATUS_CREATED) {
        job_set_status(job, ready ? JOB_STATUS_STANDBY : JOB_STATUS_PAUSED);
    }
    while (job->pause_count && !job_is_cancelled(job)) {
        co_queue_wait(co, &job->resume);
    }
    if (job->status == JOB_STATUS_PAUSED) {
        job_set_status(job, JOB_STATUS_RUNNING);
    } else if (job->status == JOB_STATUS_STANDBY) {
        job_set_status(job, JOB_STATUS_READY);
    }
}

void job_pause_point(Co *co, Job *job)
{
    Loop *here = co_loop(co);

    __atomic_fetch_and(&job->request, ~JOB_REQUEST_SPEED, __ATOMIC_SEQ_CST);
    if (!(job_requests(job) & JOB_REQUEST_PAUSE) || job_is_cancelled(job)) {
        return;
    }
    co_move(co, loop_main());
    wait_while_paused(co, job);
    co_move(co, here);
}

void job_sleep_ns(Co *co, Job *job, int64_t ns)
{
    if (!job_is_asked(job)) {
        co_sleep_ns(co, &job->sleep, ns);
    }
    job_pause_point(co, job);
}

/* ---- progress ---- */

static int64_t progress_load(const int64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

void job_progress_add(Job *job, int64_t done)
{
    __atomic_fetch_add(&job->progress_current, done, __ATOMIC_RELAXED);
}

void job_progress_set_remaining(Job *job, int64_t remaining)
{
    __atomic_store_n(&job->progress_total,
                     progress_load(&job->progress_current) + remaining,
                     __ATOMIC_RELAXED);
}

void job_progress_grow(Job *job, int64_t delta)
{
    __atomic_fetch_add(&job->progress_total, delta, __ATOMIC_RELAXED);
}

void job_set_synced(Job *job, bool synced)
{
    __atomic_store_n(&job->synced, synced, __ATOMIC_RELAXED);
}

bool job_is_synced(const Job *job)
{
    return __atomic_load_n(&job->synced, __ATOMIC_RELAXED);
}

/* ---- reporting ---- */

void job_ready(Co *co, Job *job)
{
    Loop *here = co_loop(co);

    co_move(co, loop_main());
    job_set_status(job, JOB_STATUS_READY);
    if (job->id && job->drv->is_block_job) {
        qapi_event_send_block_job_ready(job->drv->type, job->id,
                                        progress_load(&job->progress_total),
                                        progress_load(&job->progress_current),
                                        job->speed);
    }
    co_move(co, here);
}

static BlockErrorAction action_for(BlockdevOnError on_err, int error)
{
    switch (on_err) {
    case BLOCKDEV_ON_ERROR_ENOSPC:
    case BLOCKDEV_ON_ERROR_AUTO:
        return error == ENOSPC ? BLOCK_ERROR_ACTION_STOP
                               : BLOCK_ERROR_ACTION_REPORT;
    case BLOCKDEV_ON_ERROR_STOP:
        return BLOCK_ERROR_ACTION_STOP;
    case BLOCKDEV_ON_ERROR_IGNORE:
        return BLOCK_ERROR_ACTION_IGNORE;
    default:
        return BLOCK_ERROR_ACTION_REPORT;
    }
}

static void stop_on_error(Job *job, int error)
{
    if (!job->user_paused) {
        job->user_paused = true;
        job->pause_count++;
        job_ask(job, JOB_REQUEST_PAUSE, 0);
    }
    job->iostatus = error == ENOSPC ? BLOCK_DEVICE_IO_STATUS_NOSPACE
                                    : BLOCK_DEVICE_IO_STATUS_FAILED;
}

BlockErrorAction job_error_action(Co *co, Job *job, BlockdevOnError on_err,
                                  bool is_read, int error)
{
    BlockErrorAction action = action_for(on_err, error);
    Loop *here = co_loop(co);

    co_move(co, loop_main());
    if (job->id) {
        qapi_event_send_block_job_error(job->id,
                                        is_read ? IO_OPERATION_TYPE_READ
                                                : IO_OPERATION_TYPE_WRITE,
                                        action);
    }
    if (action == BLOCK_ERROR_ACTION_STOP) {
        stop_on_error(job, error);
    }
    co_move(co, here);
    return action;
}
