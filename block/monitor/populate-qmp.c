/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* block-dirty-bitmap-populate, alone and as a transaction's action. */

#include "block/monitor.h"
#include "block/owner.h"
#include "block/populate.h"
#include "qapi/qapi-commands.h"

static void action_commit(Co *co, void *opaque)
{
    job_start(opaque);
}

static void action_abort(Co *co, void *opaque)
{
    populate_job_undo(co, opaque);
}

static const TransactionOps action_ops = {
    .commit = action_commit,
    .abort = action_abort,
};

bool populate_action(Co *co, const BlockDirtyBitmapPopulate *arg,
                     JobTxn *jobs, Transaction *tran, Error **errp)
{
    OwnerId owner;
    Job *job;

    if (!owner_choose(arg->has_owner, arg->owner, &owner, errp)) {
        return false;
    }
    job = populate_job_create(co, arg, jobs, errp);
    if (!job) {
        return false;
    }
    job->owner = owner;
    tran_add(tran, &action_ops, job);
    return true;
}

bool qmp_block_dirty_bitmap_populate(Co *co, BlockDirtyBitmapPopulate *arg,
                                     Error **errp)
{
    Transaction *tran = tran_new();

    return tran_finalize(co, tran,
                         populate_action(co, arg, NULL, tran, errp));
}
