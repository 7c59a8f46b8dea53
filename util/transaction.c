/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A list of steps that end together.
 *
 * Once it has begun to end, a transaction takes no more steps: whoever still
 * wants to add one has mistaken the phase.
 */
#include "util/transaction.h"

typedef struct TranStep {
    const TransactionOps *ops;
    void *opaque;
} TranStep;

struct Transaction {
    GArray *steps;          /* of TranStep, in the order of tran_add() */
    bool ending;
};

Transaction *tran_new(void)
{
    Transaction *tran = g_new0(Transaction, 1);

    tran->steps = g_array_new(FALSE, FALSE, sizeof(TranStep));
    return tran;
}

void tran_add(Transaction *tran, const TransactionOps *ops, void *opaque)
{
    TranStep step = { ops, opaque };

    g_assert(!tran->ending);
    g_array_append_val(tran->steps, step);
}

static TranStep *tran_step(Transaction *tran, guint i)
{
    return &g_array_index(tran->steps, TranStep, i);
}

static void tran_end(Co *co, Transaction *tran)
{
    for (guint i = tran->steps->len; i-- > 0;) {
        TranStep *step = tran_step(tran, i);

        if (step->ops->clean) {
            step->ops->clean(step->opaque);
        }
    }
    for (guint i = tran->steps->len; i-- > 0;) {
        TranStep *step = tran_step(tran, i);

        if (step->ops->release) {
            step->ops->release(co, step->opaque);
        }
    }
    g_array_free(tran->steps, TRUE);
    g_free(tran);
}

void tran_commit(Co *co, Transaction *tran)
{
    tran->ending = true;
    for (guint i = 0; i < tran->steps->len; i++) {
        TranStep *step = tran_step(tran, i);

        if (step->ops->commit) {
            step->ops->commit(co, step->opaque);
        }
    }
    tran_end(co, tran);
}

void tran_abort(Co *co, Transaction *tran)
{
    tran->ending = true;
    for (guint i = tran->steps->len; i-- > 0;) {
        TranStep *step = tran_step(tran, i);

        if (step->ops->abort) {
            step->ops->abort(co, step->opaque);
        }
    }
    tran_end(co, tran);
}

bool tran_finalize(Co *co, Transaction *tran, bool ok)
{
    if (ok) {
        tran_commit(co, tran);
    } else {
        tran_abort(co, tran);
    }
    return ok;
}
