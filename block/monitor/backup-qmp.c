/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * blockdev-backup and drive-backup, alone and as a transaction's actions. The
 * target of drive-backup is made or opened here and belongs to its job.
 */

#include "block/backup.h"
#include "block/create.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/monitor.h"
#include "block/open.h"
#include "block/owner.h"
#include "qapi/qapi-commands.h"
#include "util/json.h"

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

/* What a new target is to lie over: the source's base for "top", the source
 * itself for "none", else nothing. */
static Node *drive_backing(const DriveBackup *arg, Node *source)
{
    switch (arg->sync) {
    case MIRROR_SYNC_MODE_TOP:
        return node_backing_chain_next(source);
    case MIRROR_SYNC_MODE_NONE:
        return source;
    default:
        return NULL;
    }
}

static bool drive_create(Co *co, const DriveBackup *arg, const char *format,
                         Node *source, Error **errp)
{
    Node *backing = drive_backing(arg, source);

    if (backing) {
        backing = node_skip_filters(backing);
    }
    return create_image(co, arg->target, format,
                        backing ? backing->filename : NULL,
                        backing ? backing->drv->name : NULL, NULL,
                        source->length, true, true, errp);
}

/* A new reference. */
static Node *drive_target(Co *co, const DriveBackup *arg, Node *source,
                          Error **errp)
{
    bool existing = arg->has_mode && arg->mode == NEW_IMAGE_MODE_EXISTING;
    const char *format = arg->format ? arg->format
                         : existing ? NULL : source->drv->name;
    OpenFlags flags = OPEN_RDWR |
                      (source->flags & (OPEN_NOCACHE | OPEN_NO_FLUSH |
                                        OPEN_UNMAP));
    g_autoptr(json_t) extra = NULL;

    if (!existing && !drive_create(co, arg, format, source, errp)) {
        return NULL;
    }
    /* The source can't be opened once more: it is there. */
    if (arg->sync == MIRROR_SYNC_MODE_NONE && !existing) {
        extra = json_pack("{s:s}", "backing", source->name);
    }
    return open_filename(co, arg->target, format, extra, flags, errp);
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
