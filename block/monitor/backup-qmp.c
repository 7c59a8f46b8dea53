/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * blockdev-backup and drive-backup, alone and as a transaction's actions. The
 * target of drive-backup is made or opened here and belongs to its job.
 */

#include "block/backup.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/monitor.h"
#include "block/owner.h"
#include "drive-target.h"
#include "qapi/qapi-commands.h"

typedef struct BackupAction {
    Job *job;
} BackupAction;

static void action_commit(Co *co, void *opaque)
{
    BackupAction *a = opaque;

    job_start(a->job);
}

static void action_abort(Co *co, void *opaque)
{
    BackupAction *a = opaque;

    backup_job_undo(co, a->job);
}

static const TransactionOps action_ops = {
    .commit = action_commit,
    .abort = action_abort,
    .clean = g_free,
};

static bool backup_begin(Co *co, const BackupCommon *arg, Node *source,
                         Node *target, JobTxn *jobs, Transaction *tran,
                         Error **errp)
{
    BackupAction *a;
    OwnerId owner;
    Job *job;

    if (!owner_choose(arg->has_owner, arg->owner, &owner, errp)) {
        return false;
    }
    job = backup_job_create(co, arg, source, target, jobs, errp);
    if (!job) {
        return false;
    }
    job->owner = owner;
    a = g_new0(BackupAction, 1);
    a->job = job;
    tran_add(tran, &action_ops, a);
    return true;
}

bool backup_action(Co *co, BlockdevBackup *arg, JobTxn *jobs,
                   Transaction *tran, Error **errp)
{
    Node *source = node_lookup(arg->device, errp);
    Node *target = source ? node_lookup(arg->target, errp) : NULL;

    return target && backup_begin(co, qapi_BlockdevBackup_base(arg), source,
                                  target, jobs, tran, errp);
}

/* ---- drive-backup ---- */

/* A new reference. */
static Node *drive_target(Co *co, const DriveBackup *arg, Node *source,
                          Error **errp)
{
    g_autoptr(json_t) over_source = NULL;
    DriveTarget t = {
        .filename = arg->target,
        .format = arg->format,
        .sync = arg->sync,
        .existing = arg->has_mode && arg->mode == NEW_IMAGE_MODE_EXISTING,
    };

    /* The source can't be opened once more: it is there. */
    if (arg->sync == MIRROR_SYNC_MODE_NONE && !t.existing) {
        t.options = over_source = json_pack("{s:s}", "backing", source->name);
    }
    return drive_target_open(co, &t, source, errp);
}

bool drive_backup_action(Co *co, DriveBackup *arg, JobTxn *jobs,
                         Transaction *tran, Error **errp)
{
    Node *source = node_lookup(arg->device, errp);
    Node *target;
    bool ok;

    if (!source) {
        return false;
    }
    if (arg->sync == MIRROR_SYNC_MODE_TOP &&
        !node_backing_chain_next(source)) {
        arg->sync = MIRROR_SYNC_MODE_FULL;
    }
    target = drive_target(co, arg, source, errp);
    if (!target) {
        return false;
    }
    ok = backup_begin(co, qapi_DriveBackup_base(arg), source, target, jobs,
                      tran, errp);
    node_unref(co, target);
    return ok;
}

/* ---- commands ---- */

bool qmp_blockdev_backup(Co *co, BlockdevBackup *arg, Error **errp)
{
    Transaction *tran = actions_begin(co);

    return actions_end(co, tran, backup_action(co, arg, NULL, tran, errp));
}

bool qmp_drive_backup(Co *co, DriveBackup *arg, Error **errp)
{
    Transaction *tran = actions_begin(co);

    return actions_end(co, tran,
                       drive_backup_action(co, arg, NULL, tran, errp));
}
