/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What co.c, loop.c and the context switches share; nobody else includes it.
 *
 * A CoContext is what remains of a suspended flow of control: for the assembly
 * switches just its stack pointer, everything else lies on that stack.
 */
#ifndef UTIL_CO_IMPL_H
#define UTIL_CO_IMPL_H

#include "util/co.h"
#include "util/loop-impl.h"

typedef enum CoState {
    CO_READY,           /* in its loop's ready list, or on the way there */
    CO_RUNNING,
    CO_SUSPENDED,
    CO_MOVING,          /* leaves for move_to once it has switched out */
    CO_DEAD,            /* its function has returned; may be used again */
} CoState;

struct Co {
    CoContext ctx;
    CoState state;
    bool wake_pending;  /* a remote wake came before the suspend */
    bool background;
    unsigned waits;
    Loop *loop;
    Co *next;           /* in the ready list or the pool */
    CoFn *fn;           /* NULL: the coroutine ends itself for good */
    void *arg;
    LoopOp *op;         /* the I/O that it waits in */
    Loop *move_to;
    LoopPost post;      /* carries it to another loop, or a remote wake */
    CoGroup *group;     /* co-group.c */
    CoGroupFn *group_fn;

    void *stack;        /* lowest usable byte; the guard page is below */
    size_t stack_len;
    /* The stack that runs when this one does not, and the tools' handles. */
    const void *from_stack;
    size_t from_len;
    void *fake_stack;
    void *tsan_fiber;
    unsigned valgrind_id;
};

/*
 * ---- util/co-switch-*: one is built ----
 *
 * Sets up @ctx so that the first switch to it calls fn(arg) on the stack that
 * ends at stack + len. @fn never returns.
 */
void co_context_init(CoContext *ctx, void *stack, size_t len,
                     void (*fn)(void *), void *arg);
/* Stores the running flow in @from and goes on with @to. */
void co_context_switch(CoContext *from, CoContext *to);

/* ---- util/co.c, for the loop ---- */

/* Runs a ready coroutine until it suspends, moves or ends. */
void co_dispatch(Loop *loop, Co *co);
/* Releases the pooled stacks of @loop. */
void co_pool_drain(Loop *loop);

/* Waits in @op, which must outlive the wait: the engine calls co_op_done()
 * when it is over. Returns op->res. */
int co_op_wait(Co *co, LoopOp *op);
void co_op_done(LoopOp *op, int res);

#endif
