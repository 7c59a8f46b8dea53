/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The context switch by the C library's ucontext, where there is none in
 * assembly. Three system calls a switch, for the signal mask: it is part of
 * a ucontext, but ours is the thread's, so it is carried over. Correct, not
 * fast.
 */
#include "util/co-impl.h"

#include <signal.h>

/* makecontext() passes ints only: the context travels in two halves. */
static void co_context_start(unsigned hi, unsigned lo)
{
    CoContext *ctx = (CoContext *)(uintptr_t)((uint64_t)hi << 32 | lo);

    ctx->fn(ctx->arg);
    g_assert_not_reached();
}

void co_context_init(CoContext *ctx, void *stack, size_t len,
                     void (*fn)(void *), void *arg)
{
    uint64_t p = (uintptr_t)ctx;

    if (getcontext(&ctx->uc) < 0) {
        g_error("getcontext: %s", g_strerror(errno));
    }
    ctx->uc.uc_stack.ss_sp = stack;
    ctx->uc.uc_stack.ss_size = len;
    ctx->uc.uc_link = NULL;
    ctx->fn = fn;
    ctx->arg = arg;
    makecontext(&ctx->uc, (void (*)(void))co_context_start, 2,
                (unsigned)(p >> 32), (unsigned)p);
}

void co_context_switch(CoContext *from, CoContext *to)
{
    pthread_sigmask(SIG_SETMASK, NULL, &to->uc.uc_sigmask);
    if (swapcontext(&from->uc, &to->uc) < 0) {
        g_error("swapcontext: %s", g_strerror(errno));
    }
}
