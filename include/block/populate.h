/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The job that fills a bitmap from what a disk holds. */
#ifndef BLOCK_POPULATE_H
#define BLOCK_POPULATE_H

#include "block/node.h"
#include "job/job.h"

/*
 * Checks @arg, makes the bitmap busy, and records for it from now on if it does
 * not itself. The job has not started: job_start, or populate_job_undo. Control
 * lock; main loop.
 */
Job *populate_job_create(Co *co, const BlockDirtyBitmapPopulate *arg,
                         JobTxn *txn, Error **errp);
/* As if populate_job_create had not been called. */
void populate_job_undo(Co *co, Job *job);

#endif
