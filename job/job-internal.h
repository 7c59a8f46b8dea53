/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What the files of job/ share. */
#ifndef JOB_JOB_INTERNAL_H
#define JOB_JOB_INTERNAL_H

#include "block/graph.h"
#include "job/job.h"
#include "qapi/qapi-events.h"

typedef enum JobRequest {
    JOB_REQUEST_PAUSE = 1 << 0,
    JOB_REQUEST_CANCEL = 1 << 1,
    JOB_REQUEST_SPEED = 1 << 2,     /* forgotten when it has been looked at */
    JOB_REQUEST_FORCE = 1 << 3,     /* with CANCEL: at any price */
} JobRequest;

struct JobTxn {
    GPtrArray *jobs;                /* of Job, in the order of creation */
    bool aborting;
    int refs;
};

void job_txn_add(JobTxn *txn, Job *job);
void job_txn_remove(Job *job);

/* Sets and clears bits of job->request and tells the run loop. */
void job_ask(Job *job, unsigned set, unsigned clear);

/* job-finish.c: the run coroutine has returned, or never started. Main loop,
 * control lock. */
void job_completed(Co *co, Job *job);
void job_finalize_txn(Co *co, JobTxn *txn);
void job_dismiss(Job *job);
/* Lets go of the nodes that it keeps. */
void job_unblock_nodes(Job *job);
void job_cancel(Co *co, Job *job, bool force);

#endif
