/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* blockdev-backup, alone and as a transaction's action. */

#include "block/backup.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/monitor.h"
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

bool backup_action(Co *co, BlockdevBackup *arg, JobTxn *jobs,
                   Transaction *tran, Error **errp)
{
    Node *source = node_lookup(arg->device, errp);
    Node *target = source ? node_lookup(arg->target, errp) : NULL;
    BackupAction *a;
    Job *job;

    if (!target) {
        return false;
    }
    job = backup_job_create(co, qapi_BlockdevBackup_base(arg), source, target,
                            jobs, errp);
    if (!job) {
        return false;
    }
    a = g_new0(BackupAction, 1);
    a->job = job;
    tran_add(tran, &action_ops, a);
    return true;
}

bool qmp_blockdev_backup(Co *co, BlockdevBackup *arg, Error **errp)
{
    Transaction *tran = tran_new();
    bool ok;

    drain_all_begin(co);
    ok = backup_action(co, arg, NULL, tran, errp);
    tran_finalize(co, tran, ok);
    drain_all_end(co);
    return ok;
}
