/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What an x86 CPU can do, for those who choose between functions at the start.
 * The C library found it out already; to ask again takes a dozen cpuid
 * instructions, each of which leaves a virtual machine.
 */
#ifndef UTIL_CPU_H
#define UTIL_CPU_H

#if defined(__x86_64__) && __has_include(<sys/platform/x86.h>)
#include <sys/platform/x86.h>

#define CPU_HAS_AVX2 CPU_FEATURE_ACTIVE(AVX2)
#define CPU_HAS_AVX512F CPU_FEATURE_ACTIVE(AVX512F)
#define CPU_HAS_BMI1 CPU_FEATURE_ACTIVE(BMI1)
#define CPU_HAS_POPCNT CPU_FEATURE_ACTIVE(POPCNT)

#elif defined(__x86_64__)

#define CPU_HAS_AVX2 (__builtin_cpu_init(), __builtin_cpu_supports("avx2"))
#define CPU_HAS_AVX512F \
    (__builtin_cpu_init(), __builtin_cpu_supports("avx512f"))
#define CPU_HAS_BMI1 (__builtin_cpu_init(), __builtin_cpu_supports("bmi"))
#define CPU_HAS_POPCNT (__builtin_cpu_init(), __builtin_cpu_supports("popcnt"))

#endif

#endif
