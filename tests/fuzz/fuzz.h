/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What libFuzzer, or fuzz-main.c in its place, calls of a target.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* What others sent; it is the caller's. */
typedef struct Input {
    const uint8_t *data;
    size_t len;
} Input;

/* Once, before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Gives 0: keep the input if it has reached new code. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
