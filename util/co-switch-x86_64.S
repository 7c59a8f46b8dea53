/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The context switch for x86-64 (System V ABI).
 *
 * Only what a callee must preserve is kept: rbx, rbp, r12 to r15, and the
 * control words of SSE and x87. The frame of a suspended context, from its
 * stack pointer upwards:
 *
 *      0   mxcsr (4 bytes), x87 control word (2), padding
 *      8   r15
 *     16   r14
 *     24   r13
 *     32   r12
 *     40   rbx
 *     48   rbp
 *     56   where to go on
 *
 * It goes on by an indirect jump, not by ret: the return predictor knows
 * nothing of the other stack and would be wrong each time.
 */
    .text

/* void co_context_switch(CoContext *from, CoContext *to) */
    .globl  co_context_switch
    .hidden co_context_switch
    .type   co_context_switch, @function
    .p2align 4
co_context_switch:
    .cfi_startproc
    pushq   %rbp
    pushq   %rbx
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    subq    $8, %rsp
    stmxcsr (%rsp)
    fnstcw  4(%rsp)
    movq    %rsp, (%rdi)
    movq    (%rsi), %rsp
    ldmxcsr (%rsp)
    fldcw   4(%rsp)
    addq    $8, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %rbx
    popq    %rbp
    popq    %rdx
    jmpq    *%rdx
    .cfi_endproc
    .size   co_context_switch, . - co_context_switch

/* The first step of a new context: r12(r13). It has no caller. */
    .globl  co_context_start
    .hidden co_context_start
    .type   co_context_start, @function
    .p2align 4
co_context_start:
    .cfi_startproc
    .cfi_undefined rip
    movq    %r13, %rdi
    xorl    %ebp, %ebp
    callq   *%r12
    ud2
    .cfi_endproc
    .size   co_context_start, . - co_context_start

    .section .note.GNU-stack, "", @progbits
