/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What jobs that copy with block/copy.h have in common. */
#ifndef BLOCK_COPY_JOB_H
#define BLOCK_COPY_JOB_H

#include "block/copy.h"
#include "job/job.h"

typedef struct CopyRun {
    CopyState *copy;
    CopyCall call;
    RateLimit limit;
    bool calling;
} CopyRun;

/* Fills in the call for all of @length, counted by @root. */
void copy_run_init(CopyRun *run, CopyState *copy, Root *root, int64_t length,
                   Job *job);
/* On the run loop: copies until nothing is left (0), a chunk fails (-errno), or
 * something is asked of the job (-ECANCELED). */
int copy_run_stretch(Co *co, CopyRun *run, Job *job, bool *is_read);
/* For JobDriver.kick. */
void copy_run_kick(CopyRun *run);
/* Likewise: a job that is cancelled by force doesn't wait for @target. */
void copy_job_kick_target(const Job *job, Node *target);
/* What to do about a failed stretch: 0 to try again, or -errno. */
int copy_run_error(Co *co, Job *job, BlockdevOnError on_err, bool is_read,
                   int ret);

/* A root of a job on @node that is seen as a device's without a name, as QEMU's
 * jobs use nodes; the graph stays on its loop. */
Root *copy_job_root(Co *co, Node *node, uint64_t need, uint64_t share,
                    Error **errp);
/* The same, but messages name the job: for those that keep others from
 * something. */
Root *copy_job_guard(Co *co, Job *job, Node *node, uint64_t need,
                     uint64_t share, Error **errp);
/* Keeps @guard in *@guards, of Root, which are NULL while there are none. False
 * if @guard is NULL. */
bool copy_job_keep_guard(GPtrArray **guards, Root *guard);
/* Frees all of them. Suspends. */
void copy_job_drop_guards(Co *co, GPtrArray **guards);

#endif
