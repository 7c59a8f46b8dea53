/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The context switch for 64-bit ARM (AAPCS64).
 *
 * Only what a callee must preserve is kept: x19 to x30, the low halves of v8
 * to v15, and the floating point control register. The frame of a suspended
 * context, from its stack pointer upwards: x19 to x30 (12 words; x30 says
 * where to go on), d8 to d15 (8 words), fpcr, padding.
 */
    .text

/* void co_context_switch(CoContext *from, CoContext *to) */
    .globl  co_context_switch
    .hidden co_context_switch
    .type   co_context_switch, %function
    .p2align 4
co_context_switch:
    .cfi_startproc
    sub     sp, sp, #176
    stp     x19, x20, [sp, #0]
    stp     x21, x22, [sp, #16]
    stp     x23, x24, [sp, #32]
    stp     x25, x26, [sp, #48]
    stp     x27, x28, [sp, #64]
    stp     x29, x30, [sp, #80]
    stp     d8, d9, [sp, #96]
    stp     d10, d11, [sp, #112]
    stp     d12, d13, [sp, #128]
    stp     d14, d15, [sp, #144]
    mrs     x9, fpcr
    str     x9, [sp, #160]
    mov     x10, sp
    str     x10, [x0]
    ldr     x10, [x1]
    mov     sp, x10
    ldr     x9, [sp, #160]
    msr     fpcr, x9
    ldp     x19, x20, [sp, #0]
    ldp     x21, x22, [sp, #16]
    ldp     x23, x24, [sp, #32]
    ldp     x25, x26, [sp, #48]
    ldp     x27, x28, [sp, #64]
    ldp     x29, x30, [sp, #80]
    ldp     d8, d9, [sp, #96]
    ldp     d10, d11, [sp, #112]
    ldp     d12, d13, [sp, #128]
    ldp     d14, d15, [sp, #144]
    add     sp, sp, #176
    br      x30
    .cfi_endproc
    .size   co_context_switch, . - co_context_switch

/* The first step of a new context: x19(x20). It has no caller. */
    .globl  co_context_start
    .hidden co_context_start
    .type   co_context_start, %function
    .p2align 4
co_context_start:
    .cfi_startproc
    .cfi_undefined x30
    mov     x0, x20
    mov     x29, #0
    mov     x30, #0
    blr     x19
    brk     #1
    .cfi_endproc
    .size   co_context_start, . - co_context_start

    .section .note.GNU-stack, "", %progbits
