/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The block layer's actions of a transaction. Each carries itself out and
 * leaves its undo in @tran. Control lock, all graphs drained, main loop.
 */
#ifndef BLOCK_MONITOR_H
#define BLOCK_MONITOR_H

#include "block/node.h"
#include "job/job.h"

/*
 * Around the actions of a command: drains every graph; then commits if @ok, else
 * takes all back, comes to the main loop, lets the graphs go on, returns @ok.
 * Control lock; suspend.
 */
Transaction *actions_begin(Co *co);
bool actions_end(Co *co, Transaction *tran, bool ok);

bool bitmap_action_add(Co *co, const BlockDirtyBitmapAdd *arg,
                       Transaction *tran, Error **errp);
bool bitmap_action_remove(Co *co, const BlockDirtyBitmap *arg,
                          Transaction *tran, Error **errp);
bool bitmap_action_clear(Co *co, const BlockDirtyBitmap *arg,
                         Transaction *tran, Error **errp);
bool bitmap_action_enable(Co *co, const BlockDirtyBitmap *arg,
                          Transaction *tran, Error **errp);
bool bitmap_action_disable(Co *co, const BlockDirtyBitmap *arg,
                           Transaction *tran, Error **errp);
bool bitmap_action_merge(Co *co, const BlockDirtyBitmapMerge *arg,
                         Transaction *tran, Error **errp);

/* block-dirty-bitmap-populate. @jobs NULL: the job ends by itself. */
bool populate_action(Co *co, const BlockDirtyBitmapPopulate *arg,
                     JobTxn *jobs, Transaction *tran, Error **errp);
/* blockdev-backup. @jobs NULL: the job ends by itself. */
bool backup_action(Co *co, BlockdevBackup *arg, JobTxn *jobs,
                   Transaction *tran, Error **errp);
/* drive-backup, likewise; makes or opens the target. */
bool drive_backup_action(Co *co, DriveBackup *arg, JobTxn *jobs,
                         Transaction *tran, Error **errp);

bool snapshot_action(Co *co, const BlockdevSnapshot *arg, Transaction *tran,
                     Error **errp);
bool snapshot_internal_action(Co *co, const BlockdevSnapshotInternal *arg,
                              Transaction *tran, Error **errp);
bool snapshot_sync_action(Co *co, const BlockdevSnapshotSync *arg,
                          Transaction *tran, Error **errp);

#endif
