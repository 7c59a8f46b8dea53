/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Jobs: long-running work with a life cycle that QMP sees.
 *
 * Owned by the main loop. The run coroutine walks to the graph's loop and comes
 * home to report. Legal transitions of the status and verbs in each status are
 * two const tables in job/job-state.c (docs: QEMU's job.json). Pause, cancel and
 * speed reach the run coroutine as bits of one atomic word, read in
 * job_pause_point(). Progress is two atomic counters.
 *
 *   UNDEFINED CREATED RUNNING PAUSED READY STANDBY WAITING PENDING ABORTING
 *   CONCLUDED NULL
 */
#ifndef JOB_JOB_H
#define JOB_JOB_H

#include "block/types.h"

typedef struct Job Job;
typedef struct JobTxn JobTxn;

typedef struct JobDriver {
    JobType type;
    size_t size;                        /* of the struct that starts with Job */
    /* Begins on the main loop; 0, -errno with @errp set if it knows more. */
    int (*run)(Co *co, Job *job, Error **errp);
    /* Main loop, control lock, the graph drained by the job itself; in this
     * order, prepare may fail (-errno), the rest not. All of a grouped
     * transaction are prepared before the first is committed. */
    int (*prepare)(Co *co, Job *job);
    void (*commit)(Co *co, Job *job);
    void (*abort)(Co *co, Job *job);
    void (*clean)(Co *co, Job *job);
    /* Frees what create made; last of all. */
    void (*free)(Co *co, Job *job);
    /* Asked to end: @force or not. May wake the run coroutine. Returns whether
     * it is to be counted as cancelled. Optional. */
    bool (*cancel)(Job *job, bool force);
    void (*complete)(Co *co, Job *job, Error **errp);
    void (*change)(Co *co, Job *job, BlockJobChangeOptions *opts,
                   Error **errp);
    void (*set_speed)(Job *job, int64_t speed);
    /* Adds its members to the query. */
    void (*query)(Job *job, BlockJobInfo *info);
    bool is_block_job;                  /* has BLOCK_JOB_* events, speed */
} JobDriver;

struct Job {
    const JobDriver *drv;
    char *id;                           /* NULL: internal, unseen */
    JobStatus status;
    bool auto_finalize, auto_dismiss;
    int refs;
    int ret;
    Error *err;
    JobTxn *txn;
    Co *co;                             /* the run coroutine */
    int user_paused;                    /* job-pause by the user */
    int pause_count;
    bool cancelled, force_cancel, deferred, finished;
    bool soft_error;                    /* stopped on error: resume clears it */
    BlockDeviceIoStatus iostatus;
    int64_t speed;
    /* Crossing threads; see job/job.c. */
    unsigned request;                   /* atomic */
    int64_t progress_current, progress_total;   /* atomic */
    struct JobSleep *sleeper;
    GSList *nodes;                      /* nodes that it keeps from others */
    CoQueue finished_waiters;
};

/* ---- main loop, control lock ---- */

/* @id NULL with JOB_INTERNAL; else well-formed and unused. */
typedef enum JobFlags {
    JOB_DEFAULT = 0, JOB_INTERNAL = 1, JOB_MANUAL_FINALIZE = 2,
    JOB_MANUAL_DISMISS = 4,
} JobFlags;
void *job_create(const char *id, const JobDriver *drv, JobTxn *txn,
                 JobFlags flags, Error **errp);
void job_start(Job *job);
/* Takes back a job that has not started. */
void job_early_fail(Co *co, Job *job);

Job *job_find(const char *id);
Job *job_next(Job *job);                /* NULL: the first */

/* The verbs; "Job 'x' in state 'y' cannot accept command verb 'z'". */
void job_user_pause(Job *job, Error **errp);
void job_user_resume(Co *co, Job *job, Error **errp);
void job_user_cancel(Co *co, Job *job, bool force, Error **errp);
void job_user_complete(Co *co, Job *job, Error **errp);
void job_user_finalize(Co *co, Job *job, Error **errp);
void job_user_dismiss(Co *co, Job **job, Error **errp);
bool job_set_speed(Job *job, int64_t speed, Error **errp);
JobInfo *job_query(Job *job);
BlockJobInfo *job_query_block(Job *job);        /* NULL for other jobs */

/* Suspends until it is concluded; releases the control lock meanwhile.
 * Returns its result. */
int job_wait(Co *co, Job *job);
void job_cancel_all(Co *co);

JobTxn *job_txn_new(void);
void job_txn_unref(JobTxn *txn);

/* ---- the run coroutine, on any loop ---- */

bool job_is_cancelled(const Job *job);
/* Suspends while the job is paused. */
void job_pause_point(Co *co, Job *job);
/* Sleeps, unless something is asked of the job; then a pause point. */
void job_sleep_ns(Co *co, Job *job, int64_t ns);
void job_progress_add(Job *job, int64_t done);
void job_progress_set_remaining(Job *job, int64_t remaining);
void job_progress_grow(Job *job, int64_t delta);
/* READY; events. */
void job_ready(Job *job);
/* What @on_error says about @error; pauses and sends BLOCK_JOB_ERROR. From any
 * loop. */
BlockErrorAction job_error_action(Job *job, BlockdevOnError on_err,
                                  bool is_read, int error);

#endif
