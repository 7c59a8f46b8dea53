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
    bool is_block_job;                  /* has BLOCK_JOB_* events, a speed */
    /*
     * The work. Begins on the main loop without the control lock, may walk, and
     * ends wherever it is. 0 or -errno; *@errp is set if it knows more.
     */
    int (*run)(Co *co, Job *job, Error **errp);
    /*
     * The end; main loop, control lock. All jobs of a transaction are prepared
     * before the first is committed; prepare may fail (-errno), the others not.
     * Exactly one of commit and abort is called, then clean, even for a job
     * that has never been started. Each is optional.
     */
    int (*prepare)(Co *co, Job *job);
    void (*commit)(Co *co, Job *job);
    void (*abort)(Co *co, Job *job);
    void (*clean)(Co *co, Job *job);
    /*
     * Main loop. Asked to end. True (or NULL): it ends as cancelled. False: it
     * has been told to finish well (a mirror that is ready). Optional.
     */
    bool (*cancel)(Job *job, bool force);
    /* On the loop that the run coroutine has named by job_working_on():
     * something is asked of the job (pause, cancel, speed). Makes it come to
     * its next job_pause_point soon. Optional. */
    void (*kick)(Job *job);
    /* job-complete, in READY and STANDBY. NULL: the job can't be completed by hand. */
    void (*complete)(Co *co, Job *job, Error **errp);
    void (*change)(Co *co, Job *job, BlockJobChangeOptions *opts,
                   Error **errp);
    /* Adds its members to the query. */
    void (*query)(Job *job, BlockJobInfo *info);
} JobDriver;

struct Job {
    /* The main loop's. */
    const JobDriver *drv;
    char *id;                           /* NULL: internal, unseen */
    OwnerId owner;
    JobStatus status;
    bool auto_finalize, auto_dismiss;
    bool started;
    bool returned;                      /* the run coroutine has ended */
    bool user_paused;                   /* by job-pause, or stopped on error */
    bool cancelled;                     /* also if it is to finish well */
    int pause_count;
    int refs;
    int ret;
    Error *err;
    JobTxn *txn;
    BlockDeviceIoStatus iostatus;
    int64_t speed;                      /* bytes per second, 0: no limit */
    CoQueue resume;                     /* the run coroutine, while paused */
    CoQueue concluded;                  /* who waits in job_wait */
    SnapshotDeleteChoice *snapshot_delete;  /* for queries; or NULL */
    GPtrArray *nodes;                   /* of Node, kept from others */
    Job *next;
    /* Atomic: the run coroutine's loop writes or reads them, too. */
    unsigned request;                   /* JobRequest */
    int64_t run_speed;
    int64_t progress_current, progress_total;   /* bytes */
    int synced;                         /* a mirror's: see job_set_synced */
    Loop *run_loop;
    /* The run loop's. */
    CoSleep sleep;
};

/* ---- main loop, control lock ---- */

typedef enum JobFlags {
    JOB_DEFAULT = 0,
    JOB_INTERNAL = 1,                   /* @id is NULL; no events */
    JOB_MANUAL_FINALIZE = 2,
    JOB_MANUAL_DISMISS = 4,
} JobFlags;
/* What `auto-finalize` and `auto-dismiss` of a command say, if they are given. */
JobFlags job_flags(bool has_finalize, bool finalize, bool has_dismiss,
                   bool dismiss);
/* A job in CREATED with one reference, or NULL: "Invalid job ID 'x'", "Job ID
 * 'x' already in use". @txn NULL: one of its own. */
void *job_create(const char *id, const JobDriver *drv, JobTxn *txn,
                 JobFlags flags, Error **errp);
void job_start(Job *job);
/* For commands: @job starts, and goes with its owner. Whether there is one: NULL
 * is none. */
bool job_start_owned(Job *job, OwnerId owner);
/* The run coroutine looks at its pause point soon (drv->kick), though nothing
 * is asked of it that the job knows of. */
void job_kick(Job *job);
/* Takes back a job that has not started: status NULL, no abort or clean. */
void job_early_fail(Co *co, Job *job);
/* Keeps @node from other jobs and commands until the job is gone:
 * "Node 'x' is busy: block device is in use by block job: TYPE". */
void job_block_node(Job *job, Node *node);

Job *job_find(const char *id);
Job *job_next(Job *job);                /* NULL: the first */

/* The verbs. "Job 'x' in state 'y' cannot accept command verb 'z'". */
bool job_user_pause(Job *job, Error **errp);
bool job_user_resume(Job *job, Error **errp);
bool job_user_cancel(Co *co, Job *job, bool force, Error **errp);
bool job_user_complete(Co *co, Job *job, Error **errp);
bool job_user_finalize(Co *co, Job *job, Error **errp);
bool job_user_dismiss(Co *co, Job *job, Error **errp);
bool job_user_set_speed(Job *job, int64_t speed, Error **errp);
bool job_user_change(Co *co, Job *job, BlockJobChangeOptions *opts,
                     Error **errp);
JobInfo *job_query(Job *job);
BlockJobInfo *job_query_block(Job *job);        /* NULL for other jobs */

/* Suspends until it is concluded or gone; releases the control lock meanwhile.
 * Returns its result and gives back @job, of which the caller had a reference
 * (job_ref), with its error in *@errp. */
int job_wait(Co *co, Job *job, Error **errp);
/* Tells every job that runs that it is cancelled by force, without waiting. */
void job_ask_all_to_end(Co *co);
/* Cancels every job and waits, also until the nodes of those that ended before
 * are given back; releases the control lock meanwhile. */
void job_cancel_all(Co *co);
/* Those that belong to @owner, likewise. */
void job_cancel_owned(Co *co, OwnerId owner);
void job_ref(Job *job);
void job_unref(Job *job);

/* Jobs that end together: one fails, all fail. */
JobTxn *job_txn_new(void);
void job_txn_unref(JobTxn *txn);        /* NULL ok */

/* ---- the run coroutine ---- */

/* The loop where the work goes on, so that requests reach it (drv->kick). */
void job_working_on(Co *co, Job *job);
bool job_is_cancelled(const Job *job);
/* ... by force: it doesn't wait for storage that does not answer. */
bool job_is_forced(const Job *job);
int64_t job_speed(const Job *job);
/* Whether a pause point would do something: for loops that must end first. */
bool job_is_asked(const Job *job);
/* Waits on the main loop while the job is paused, and returns to the loop
 * where it was called. */
void job_pause_point(Co *co, Job *job);
/* Sleeps until the time is over or something is asked of the job; then a pause
 * point. */
void job_sleep_ns(Co *co, Job *job, int64_t ns);
void job_progress_add(Job *job, int64_t done);
void job_progress_set_remaining(Job *job, int64_t remaining);
void job_progress_grow(Job *job, int64_t delta);
/* Whether all that is written goes to both sides of a mirror at once. */
void job_set_synced(Job *job, bool synced);
bool job_is_synced(const Job *job);
/* Walks to the main loop and back: READY, BLOCK_JOB_READY. */
void job_ready(Co *co, Job *job);
/*
 * What @on_err says about @error (positive); sends BLOCK_JOB_ERROR; with "stop"
 * the job is paused at its next pause point. Walks to the main loop and back.
 */
BlockErrorAction job_error_action(Co *co, Job *job, BlockdevOnError on_err,
                                  bool is_read, int error);

/* ---- job-state.c ---- */

/* Asserts that the transition is legal. Sends JOB_STATUS_CHANGE. */
void job_set_status(Job *job, JobStatus status);
bool job_verb_allowed(const Job *job, JobVerb verb, Error **errp);

#endif
