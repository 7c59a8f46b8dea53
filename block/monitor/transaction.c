/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * transaction: several actions at one point in time, all or none.
 *
 * Every graph is drained from before the first action until after the commit,
 * so no request falls between two of them. Actions are carried out in order;
 * each leaves its undo in the Transaction.
 */

#include "block/graph.h"
#include "block/io.h"
#include "block/monitor.h"
#include "qapi/qapi-commands.h"

typedef struct ActionContext {
    Transaction *tran;
    JobTxn *jobs;                   /* NULL: each job by itself */
    ActionCompletionMode mode;
} ActionContext;

typedef bool ActionFn(Co *co, TransactionAction *action, ActionContext *ctx,
                      Error **errp);

static bool act_abort(Co *co, TransactionAction *action, ActionContext *ctx,
                      Error **errp)
{
    error_setg(errp, "Transaction aborted using Abort action");
    return false;
}

static bool act_bitmap_add(Co *co, TransactionAction *action,
                           ActionContext *ctx, Error **errp)
{
    return bitmap_action_add(co, action->u.block_dirty_bitmap_add.data,
                             ctx->tran, errp);
}

static bool act_bitmap_remove(Co *co, TransactionAction *action,
                              ActionContext *ctx, Error **errp)
{
    return bitmap_action_remove(co, action->u.block_dirty_bitmap_remove.data,
                                ctx->tran, errp);
}

static bool act_bitmap_clear(Co *co, TransactionAction *action,
                             ActionContext *ctx, Error **errp)
{
    return bitmap_action_clear(co, action->u.block_dirty_bitmap_clear.data,
                               ctx->tran, errp);
}

static bool act_bitmap_enable(Co *co, TransactionAction *action,
                              ActionContext *ctx, Error **errp)
{
    return bitmap_action_enable(co, action->u.block_dirty_bitmap_enable.data,
                                ctx->tran, errp);
}

static bool act_bitmap_disable(Co *co, TransactionAction *action,
                               ActionContext *ctx, Error **errp)
{
    return bitmap_action_disable(co, action->u.block_dirty_bitmap_disable.data,
                                 ctx->tran, errp);
}

static bool act_bitmap_merge(Co *co, TransactionAction *action,
                             ActionContext *ctx, Error **errp)
{
    return bitmap_action_merge(co, action->u.block_dirty_bitmap_merge.data,
                               ctx->tran, errp);
}

static bool act_bitmap_populate(Co *co, TransactionAction *action,
                                ActionContext *ctx, Error **errp)
{
    return populate_action(co, action->u.block_dirty_bitmap_populate.data,
                           ctx->jobs, ctx->tran, errp);
}

static bool act_backup(Co *co, TransactionAction *action, ActionContext *ctx,
                       Error **errp)
{
    return backup_action(co, action->u.blockdev_backup.data, ctx->jobs,
                         ctx->tran, errp);
}

static bool act_drive_backup(Co *co, TransactionAction *action,
                             ActionContext *ctx, Error **errp)
{
    return drive_backup_action(co, action->u.drive_backup.data, ctx->jobs,
                               ctx->tran, errp);
}

static bool act_snapshot(Co *co, TransactionAction *action, ActionContext *ctx,
                         Error **errp)
{
    return snapshot_action(co, action->u.blockdev_snapshot.data, ctx->tran,
                           errp);
}

static bool act_snapshot_internal(Co *co, TransactionAction *action,
                                  ActionContext *ctx, Error **errp)
{
    return snapshot_internal_action(
        co, action->u.blockdev_snapshot_internal_sync.data, ctx->tran, errp);
}

static bool act_snapshot_sync(Co *co, TransactionAction *action,
                              ActionContext *ctx, Error **errp)
{
    return snapshot_sync_action(co, action->u.blockdev_snapshot_sync.data,
                                ctx->tran, errp);
}

static const struct {
    ActionFn *fn;
    bool can_group;                 /* may stand in a grouped transaction */
} actions[TRANSACTION_ACTION_KIND__MAX] = {
    [TRANSACTION_ACTION_KIND_ABORT] = { act_abort, true },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD] = {
        act_bitmap_add, false
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE] = {
        act_bitmap_remove, false
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR] = {
        act_bitmap_clear, false
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE] = {
        act_bitmap_enable, false
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE] = {
        act_bitmap_disable, false
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_MERGE] = {
        act_bitmap_merge, false
    },
    [TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_POPULATE] = {
        act_bitmap_populate, true
    },
    [TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP] = { act_backup, true },
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT] = { act_snapshot, false },
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC] = {
        act_snapshot_internal, false
    },
    [TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC] = {
        act_snapshot_sync, false
    },
    [TRANSACTION_ACTION_KIND_DRIVE_BACKUP] = { act_drive_backup, true },
};

static bool run_action(Co *co, TransactionAction *action, ActionContext *ctx,
                       Error **errp)
{
    if (ctx->mode != ACTION_COMPLETION_MODE_INDIVIDUAL &&
        !actions[action->type].can_group) {
        error_setg(errp, "Action '%s' does not support Transaction property "
                   "completion-mode = %s",
                   TransactionActionKind_str(action->type),
                   ActionCompletionMode_str(ctx->mode));
        return false;
    }
    return actions[action->type].fn(co, action, ctx, errp);
}

Transaction *actions_begin(Co *co)
{
    Transaction *tran = tran_new();

    drain_all_begin(co);
    return tran;
}

bool actions_end(Co *co, Transaction *tran, bool ok)
{
    tran_finalize(co, tran, ok);
    co_move(co, loop_main());
    drain_all_end(co);
    return ok;
}

bool qmp_transaction(Co *co, TransactionActionList *list,
                     TransactionProperties *props, Error **errp)
{
    ActionContext ctx = { 0 };
    bool ok = true;

    if (props && props->has_completion_mode) {
        ctx.mode = props->completion_mode;
    }
    if (ctx.mode == ACTION_COMPLETION_MODE_GROUPED) {
        ctx.jobs = job_txn_new();
    }
    ctx.tran = actions_begin(co);
    for (; list && ok; list = list->next) {
        ok = run_action(co, list->value, &ctx, errp);
    }
    actions_end(co, ctx.tran, ok);
    job_txn_unref(ctx.jobs);
    return ok;
}
