/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * How jobs end, alone or together.
 *
 * A job that has returned waits for the others of its transaction. When the
 * last has returned, either all have succeeded (pending; finalize: prepare all,
 * then commit all) or all are aborted. The first failure cancels those that
 * still run; whoever returns last finishes for all. Nobody waits inside: each
 * step is taken by the coroutine that made it possible.
 */

#include "job-internal.h"

/* ---- transactions ---- */

JobTxn *job_txn_new(void)
{
    JobTxn *txn = g_new0(JobTxn, 1);

    txn->jobs = g_ptr_array_new();
    txn->refs = 1;
    return txn;
}

void job_txn_unref(JobTxn *txn)
{
    if (txn && --txn->refs == 0) {
        g_ptr_array_free(txn->jobs, true);
        g_free(txn);
    }
}

void job_txn_add(JobTxn *txn, Job *job)
{
    job->txn = txn;
    txn->refs++;
    g_ptr_array_add(txn->jobs, job);
}

void job_txn_remove(Job *job)
{
    JobTxn *txn = job->txn;

    if (txn) {
        job->txn = NULL;
        g_ptr_array_remove(txn->jobs, job);
        job_txn_unref(txn);
    }
}

/* ---- one job's end ---- */

static void settle_result(Job *job)
{
    if (job->ret == 0 && job_is_cancelled(job)) {
        job->ret = -ECANCELED;
    }
    if (job->ret < 0) {
        if (!job->err) {
            error_setg(&job->err, "%s", strerror(-job->ret));
        }
        job_set_status(job, JOB_STATUS_ABORTING);
    }
}

static void send_end_event(Job *job)
{
    int64_t len = job->progress_total, offset = job->progress_current;

    if (!job->id || !job->drv->is_block_job || !job->started) {
        return;
    }
    if (job_is_cancelled(job)) {
        qapi_event_send_block_job_cancelled(job->drv->type, job->id, len,
                                            offset, job->speed);
    } else {
        qapi_event_send_block_job_completed(job->drv->type, job->id, len,
                                            offset, job->speed,
                                            job->ret < 0
                                            ? error_get_pretty(job->err)
                                            : NULL);
    }
}

static void conclude(Job *job)
{
    job_set_status(job, JOB_STATUS_CONCLUDED);
    co_queue_wake_all(&job->concluded);
    if (job->auto_dismiss || !job->started) {
        job_dismiss(job);
    }
}

/* The results are settled: one of commit and abort, then clean. */
static void finalize_one(Co *co, Job *job)
{
    settle_result(job);
    if (job->ret == 0) {
        if (job->drv->commit) {
            job->drv->commit(co, job);
        }
    } else if (job->drv->abort) {
        job->drv->abort(co, job);
    }
    if (job->drv->clean) {
        job->drv->clean(co, job);
    }
    job_unblock_nodes(job);
    send_end_event(job);
    job_txn_remove(job);
    conclude(job);
}

/* ---- all of a transaction ---- */

static bool all_returned(const JobTxn *txn)
{
    for (guint i = 0; i < txn->jobs->len; i++) {
        const Job *job = g_ptr_array_index(txn->jobs, i);
        if (job->started && !job->returned) {
            return false;
        }
    }
    return true;
}

static void finalize_each(Co *co, JobTxn *txn)
{
    txn->refs++;
    while (txn->jobs->len) {
        finalize_one(co, g_ptr_array_index(txn->jobs, 0));
    }
    job_txn_unref(txn);
}

static void cancel_one(Job *job, bool force)
{
    job_ask(job, JOB_REQUEST_CANCEL | (force ? JOB_REQUEST_FORCE : 0), 0);
    co_queue_wake_all(&job->resume);
}

/* A member has failed: the others are cancelled. */
static void txn_abort(Co *co, JobTxn *txn)
{
    if (!txn->aborting) {
        txn->aborting = true;
        for (guint i = 0; i < txn->jobs->len; i++) {
            Job *job = g_ptr_array_index(txn->jobs, i);
            if (job->ret == 0) {
                cancel_one(job, true);
            }
        }
    }
    if (all_returned(txn)) {
        finalize_each(co, txn);
    }
}

static bool prepare_all(Co *co, JobTxn *txn)
{
    for (guint i = 0; i < txn->jobs->len; i++) {
        Job *job = g_ptr_array_index(txn->jobs, i);
        if (job->drv->prepare && job->ret == 0) {
            job->ret = job->drv->prepare(co, job);
        }
        if (job->ret < 0) {
            settle_result(job);
            return false;
        }
    }
    return true;
}

void job_finalize_txn(Co *co, JobTxn *txn)
{
    if (prepare_all(co, txn)) {
        finalize_each(co, txn);
    } else {
        txn_abort(co, txn);
    }
}

static void txn_success(Co *co, JobTxn *txn)
{
    bool by_hand = false;

    if (!all_returned(txn)) {
        return;
    }
    for (guint i = 0; i < txn->jobs->len; i++) {
        Job *job = g_ptr_array_index(txn->jobs, i);
        job_set_status(job, JOB_STATUS_PENDING);
        if (!job->auto_finalize) {
            by_hand = true;
            if (job->id) {
                qapi_event_send_block_job_pending(job->drv->type, job->id);
            }
        }
    }
    if (!by_hand) {
        job_finalize_txn(co, txn);
    }
}

void job_completed(Co *co, Job *job)
{
    settle_result(job);
    if (job->ret < 0 || job->txn->aborting) {
        txn_abort(co, job->txn);
        return;
    }
    job_set_status(job, JOB_STATUS_WAITING);
    txn_success(co, job->txn);
}

void job_cancel(Co *co, Job *job, bool force)
{
    job->cancelled = true;
    if (job->drv->cancel && !job->drv->cancel(job, force)) {
        if (job->pause_count && job->user_paused) {
            job_user_resume(job, NULL);
        }
        return;
    }
    cancel_one(job, force);
    if (!job->started || job->returned) {
        /* It will not come by itself any more. */
        job->returned = true;
        settle_result(job);
        txn_abort(co, job->txn);
    }
}
