/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The first frame of a context for the switches that are written in assembly:
 * laid out as if the context had suspended just before co_context_start, with
 * its function and argument in two of the preserved registers. The layouts
 * are described in the .S files.
 */
#include "util/co-impl.h"

void co_context_start(void);

#if defined(__x86_64__)

typedef struct CoFrame {
    uint32_t mxcsr;
    uint16_t fpu_cw;
    uint16_t pad;
    uint64_t r15, r14, r13, r12, rbx, rbp;
    uint64_t rip;
} CoFrame;

static void co_frame_fill(CoFrame *f, void (*fn)(void *), void *arg)
{
    f->mxcsr = 0x1f80;      /* the ABI's initial state: all masked, nearest */
    f->fpu_cw = 0x037f;
    f->r12 = (uintptr_t)fn;
    f->r13 = (uintptr_t)arg;
    f->rip = (uintptr_t)co_context_start;
}

#elif defined(__aarch64__)

typedef struct CoFrame {
    uint64_t x[12];         /* x19 to x30 */
    uint64_t d[8];
    uint64_t fpcr;
    uint64_t pad;
} CoFrame;

static void co_frame_fill(CoFrame *f, void (*fn)(void *), void *arg)
{
    f->x[0] = (uintptr_t)fn;
    f->x[1] = (uintptr_t)arg;
    f->x[11] = (uintptr_t)co_context_start;
}

#endif

void co_context_init(CoContext *ctx, void *stack, size_t len,
                     void (*fn)(void *), void *arg)
{
    uintptr_t top = ((uintptr_t)stack + len) & ~(uintptr_t)15;
    CoFrame *f = (CoFrame *)(top - sizeof(CoFrame));

    memset(f, 0, sizeof(*f));
    co_frame_fill(f, fn, arg);
    ctx->sp = f;
}
