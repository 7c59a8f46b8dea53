/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The backup job: a point in time of a disk, copied to a target. */
#ifndef BLOCK_BACKUP_H
#define BLOCK_BACKUP_H

#include "block/node.h"
#include "job/job.h"

/*
 * Checks @arg as blockdev-backup does (QEMU's texts), freezes the bitmap and
 * puts the copy-before-write filter in place: the backup's point in time is
 * now. The graph is drained by the caller around this and whatever shares the
 * point in time. The job has not started: job_start, or backup_job_undo.
 * Control lock; main loop.
 */
Job *backup_job_create(Co *co, const BackupCommon *arg, Node *source,
                       Node *target, JobTxn *txn, Error **errp);
/* As if backup_job_create had not been called. */
void backup_job_undo(Co *co, Job *job);

#endif
