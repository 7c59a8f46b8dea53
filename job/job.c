/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Jobs: making them, asking things of them, looking at them.
 *
 * The main loop owns a job. Its run coroutine may be on another loop: what is
 * asked of it (pause, cancel, a new speed) are bits of one atomic word, and a
 * message to the loop that the run coroutine named (job_working_on), where
 * drv->kick makes it come to a pause point. A paused job waits on the main
 * loop, so that its status never needs a lock.
 */

#include "job-internal.h"
#include "util/id.h"

static Job *jobs;                   /* newest first */
static unsigned releases;           /* coroutines that give nodes back */
static CoQueue released;            /* waits until there are none */

/* ---- making ---- */

Job *job_find(const char *id)
{
    for (Job *job = jobs; job; job = job->next) {
        if (job->id && strcmp(job->id, id) == 0) {
            return job;
        }
    }
    return NULL;
}

Job *job_next(Job *job)
{
    return job ? job->next : jobs;
}

static bool check_id(const char *id, JobFlags flags, Error **errp)
{
    if (flags & JOB_INTERNAL) {
        g_assert(!id);
        return true;
    }
    if (!id_wellformed(id ? id : "")) {
        error_setg(errp, "Invalid job ID '%s'", id ? id : "");
        return false;
    }
    if (job_find(id)) {
        error_setg(errp, "Job ID '%s' already in use", id);
        return false;
    }
    return true;
}

JobFlags job_flags(bool has_finalize, bool finalize, bool has_dismiss,
                   bool dismiss)
{
    return (has_finalize && !finalize ? JOB_MANUAL_FINALIZE : JOB_DEFAULT) |
           (has_dismiss && !dismiss ? JOB_MANUAL_DISMISS : JOB_DEFAULT);
}

void *job_create(const char *id, const JobDriver *drv, JobTxn *txn,
                 JobFlags flags, Error **errp)
{
    Job *job;

    control_assert();
    if (!check_id(id, flags, errp)) {
        return NULL;
    }
    job = g_malloc0(drv->size);
    job->drv = drv;
    job->id = g_strdup(id);
    job->refs = 1;
    job->auto_finalize = !(flags & JOB_MANUAL_FINALIZE);
    job->auto_dismiss = !(flags & JOB_MANUAL_DISMISS);
    job->iostatus = BLOCK_DEVICE_IO_STATUS_OK;
    job->nodes = g_ptr_array_new();
    job->next = jobs;
    jobs = job;
    if (txn) {
        job_txn_add(txn, job);
    } else {
        txn = job_txn_new();
        job_txn_add(txn, job);
        job_txn_unref(txn);
    }
    job_set_status(job, JOB_STATUS_CREATED);
    return job;
}

void job_block_node(Job *job, Node *node)
{
    node->busy++;
    node->busy_with = JobType_str(job->drv->type);
    g_ptr_array_add(job->nodes, node_ref(node));
}

void job_ref(Job *job)
{
    job->refs++;
}

static void nodes_release(Co *co, void *opaque)
{
    GPtrArray *nodes = opaque;

    control_lock(co);
    for (guint i = 0; i < nodes->len; i++) {
        Node *node = g_ptr_array_index(nodes, i);
        node_unref(co, node);
    }
    control_unlock(co);
    g_ptr_array_free(nodes, true);
    co_move(co, loop_main());
    if (--releases == 0) {
        co_queue_wake_all(&released);
    }
}

/* The references go once the control lock is free. */
void job_unblock_nodes(Job *job)
{
    for (guint i = 0; i < job->nodes->len; i++) {
        Node *node = g_ptr_array_index(job->nodes, i);
        node->busy--;
    }
    if (job->nodes->len) {
        releases++;
        co_spawn(loop_main(), nodes_release, g_steal_pointer(&job->nodes));
        job->nodes = g_ptr_array_new();
    }
}

void job_unref(Job *job)
{
    if (--job->refs > 0) {
        return;
    }
    g_assert(job->status == JOB_STATUS_NULL);
    g_ptr_array_free(job->nodes, true);
    qapi_free_SnapshotDeleteChoice(job->snapshot_delete);
    error_free(job->err);
    g_free(job->id);
    g_free(job);
}

void job_dismiss(Job *job)
{
    Job **link = &jobs;

    job_unblock_nodes(job);
    while (*link != job) {
        link = &(*link)->next;
    }
    *link = job->next;
    job_set_status(job, JOB_STATUS_NULL);
    job_txn_remove(job);
    co_queue_wake_all(&job->concluded);
    job_unref(job);
}

void job_early_fail(Co *co, Job *job)
{
    g_assert(job->status == JOB_STATUS_CREATED);
    job_dismiss(job);
}

/* ---- running ---- */

static void job_run(Co *co, void *opaque)
{
    Job *job = opaque;

    job_pause_point(co, job);
    if (job_is_cancelled(job)) {
        job->ret = -ECANCELED;
    } else {
        job->ret = job->drv->run(co, job, &job->err);
    }
    co_move(co, loop_main());
    g_atomic_pointer_set(&job->run_loop, NULL);
    control_lock(co);
    job->returned = true;
    job_completed(co, job);
    control_unlock(co);
    job_unref(job);
}

void job_start(Job *job)
{
    g_assert(!job->started);
    job->started = true;
    job_ref(job);
    job_set_status(job, JOB_STATUS_RUNNING);
    co_spawn(loop_main(), job_run, job);
}

bool job_start_owned(Job *job, OwnerId owner)
{
    if (job) {
        job->owner = owner;
        job_start(job);
    }
    return job;
}

/* ---- asking ---- */

static void unref_on_main(void *opaque)
{
    job_unref(opaque);
}

/* On the run loop. The run coroutine may have left meanwhile. */
static void kick_here(void *opaque)
{
    Job *job = opaque;

    if (g_atomic_pointer_get(&job->run_loop) == loop_current()) {
        co_sleep_wake(&job->sleep);
        if (job->drv->kick) {
            job->drv->kick(job);
        }
    }
    loop_post(loop_main(), unref_on_main, job);
}

void job_ask(Job *job, unsigned set, unsigned clear)
{
    Loop *loop;

    __atomic_fetch_and(&job->request, ~clear, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&job->request, set, __ATOMIC_SEQ_CST);
    loop = g_atomic_pointer_get(&job->run_loop);
    if (set && loop) {
        job_ref(job);
        loop_post(loop, kick_here, job);
    }
}

void job_kick(Job *job)
{
    job_ask(job, JOB_REQUEST_SPEED, 0);
}

bool job_user_pause(Job *job, Error **errp)
{
    if (!job_verb_allowed(job, JOB_VERB_PAUSE, errp)) {
        return false;
    }
    if (job->user_paused) {
        error_setg(errp, "Job is already paused");
        return false;
    }
    job->user_paused = true;
    job->pause_count++;
    job_ask(job, JOB_REQUEST_PAUSE, 0);
    return true;
}

static void job_resume(Job *job)
{
    g_assert(job->pause_count > 0);
    if (--job->pause_count == 0) {
        job_ask(job, 0, JOB_REQUEST_PAUSE);
        co_queue_wake_all(&job->resume);
    }
}

bool job_user_resume(Job *job, Error **errp)
{
    if (!job->user_paused) {
        error_setg(errp, "Can't resume a job that was not paused");
        return false;
    }
    if (!job_verb_allowed(job, JOB_VERB_RESUME, errp)) {
        return false;
    }
    job->iostatus = BLOCK_DEVICE_IO_STATUS_OK;
    job->user_paused = false;
    job_resume(job);
    return true;
}

bool job_user_cancel(Co *co, Job *job, bool force, Error **errp)
{
    if (!job_verb_allowed(job, JOB_VERB_CANCEL, errp)) {
        return false;
    }
    job_cancel(co, job, force);
    return true;
}

bool job_user_complete(Co *co, Job *job, Error **errp)
{
    Error *err = NULL;

    if (!job_verb_allowed(job, JOB_VERB_COMPLETE, errp)) {
        return false;
    }
    if (job->cancelled || job_is_cancelled(job) || !job->drv->complete) {
        error_setg(errp, "The active block job '%s' cannot be completed",
                   job->id);
        return false;
    }
    job->drv->complete(co, job, &err);
    error_propagate(errp, err);
    return !err;
}

bool job_user_finalize(Co *co, Job *job, Error **errp)
{
    if (!job_verb_allowed(job, JOB_VERB_FINALIZE, errp)) {
        return false;
    }
    job_finalize_txn(co, job->txn);
    return true;
}

bool job_user_dismiss(Co *co, Job *job, Error **errp)
{
    if (!job_verb_allowed(job, JOB_VERB_DISMISS, errp)) {
        return false;
    }
    job_dismiss(job);
    return true;
}

bool job_user_set_speed(Job *job, int64_t speed, Error **errp)
{
    if (!job_verb_allowed(job, JOB_VERB_SET_SPEED, errp)) {
        return false;
    }
    if (speed < 0) {
        error_setg(errp, "Parameter 'speed' expects a non-negative value");
        return false;
    }
    job->speed = speed;
    __atomic_store_n(&job->run_speed, speed, __ATOMIC_SEQ_CST);
    job_ask(job, JOB_REQUEST_SPEED, 0);
    return true;
}

bool job_user_change(Co *co, Job *job, BlockJobChangeOptions *opts,
                     Error **errp)
{
    Error *err = NULL;

    if (!job_verb_allowed(job, JOB_VERB_CHANGE, errp)) {
        return false;
    }
    if (!job->drv->change) {
        error_setg(errp, "Job type does not support change");
        return false;
    }
    if (opts->type != job->drv->type) {
        error_setg(errp, "Job '%s' is '%s' job, not '%s'", job->id,
                   JobType_str(job->drv->type), JobType_str(opts->type));
        return false;
    }
    job->drv->change(co, job, opts, &err);
    error_propagate(errp, err);
    return !err;
}

/* ---- waiting ---- */

static bool job_is_over(const Job *job)
{
    return job->status == JOB_STATUS_CONCLUDED ||
           job->status == JOB_STATUS_NULL;
}

/* Without the control lock. A program that ends before would leave images
 * unclosed. */
static void nodes_wait_released(Co *co)
{
    while (releases) {
        co_queue_wait(co, &released);
    }
}

int job_wait(Co *co, Job *job, Error **errp)
{
    int ret;

    control_unlock(co);
    while (!job_is_over(job)) {
        co_queue_wait(co, &job->concluded);
    }
    nodes_wait_released(co);
    control_lock(co);
    ret = job->ret;
    if (ret < 0) {
        if (job->err) {
            error_propagate(errp, error_copy(job->err));
        } else {
            error_setg(errp, "%s", strerror(-ret));
        }
    }
    job_unref(job);
    return ret;
}

static Job *newest_of(bool any, OwnerId owner)
{
    Job *job = jobs;

    while (job && !any && job->owner != owner) {
        job = job->next;
    }
    return job;
}

static void cancel_jobs(Co *co, bool any, OwnerId owner)
{
    Job *job;

    while ((job = newest_of(any, owner))) {
        if (job_is_over(job)) {
            job_dismiss(job);
        } else {
            job_ref(job);
            job_cancel(co, job, true);
            job_wait(co, job, NULL);
        }
    }
}

void job_ask_all_to_end(Co *co)
{
    for (Job *job = jobs; job; job = job->next) {
        if (job->started && !job->returned) {
            job_cancel(co, job, true);
        }
    }
}

void job_cancel_all(Co *co)
{
    cancel_jobs(co, true, 0);
    control_unlock(co);
    nodes_wait_released(co);
    control_lock(co);
}

void job_cancel_owned(Co *co, OwnerId owner)
{
    cancel_jobs(co, false, owner);
}
