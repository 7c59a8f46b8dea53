/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * All or nothing: steps that have been carried out and can be undone.
 *
 * A step first does its work, then adds itself. tran_commit() runs the commits
 * in the order of the additions and can't fail; tran_abort() runs the aborts in
 * reverse order. Either is followed by the cleans, then by the releases, which
 * give back what other steps have relied on (both in reverse order), and frees
 * the transaction. Steps that must suspend get the Co that is handed to commit
 * or abort.
 */
#ifndef UTIL_TRANSACTION_H
#define UTIL_TRANSACTION_H

#include "util/co.h"

typedef struct Transaction Transaction;

typedef struct TransactionOps {
    void (*commit)(Co *co, void *opaque);
    void (*abort)(Co *co, void *opaque);
    void (*clean)(void *opaque);
    void (*release)(Co *co, void *opaque);
} TransactionOps;

Transaction *tran_new(void);
/* Any of the callbacks may be NULL. */
void tran_add(Transaction *tran, const TransactionOps *ops, void *opaque);
void tran_commit(Co *co, Transaction *tran);
void tran_abort(Co *co, Transaction *tran);
/* commit if @ok, else abort; returns @ok. */
bool tran_finalize(Co *co, Transaction *tran, bool ok);

#endif
