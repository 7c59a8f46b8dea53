/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What every source file sees first: the configuration, the C library, GLib,
 * and a handful of macros that have no better home.
 */
#ifndef UTIL_OSDEP_H
#define UTIL_OSDEP_H

#include "config-host.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <glib.h>

/* What the compiler has been told to watch over. */
#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN
#elif defined(__SANITIZE_THREAD__)
#define UNDER_TSAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN
#elif __has_feature(thread_sanitizer)
#define UNDER_TSAN
#endif
#endif

#define KiB ((int64_t)1 << 10)
#define MiB ((int64_t)1 << 20)
#define GiB ((int64_t)1 << 30)
#define TiB ((int64_t)1 << 40)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* @align need not be a power of two. Operands are not negative. */
#define ROUND_DOWN(n, align) ((n) / (align) * (align))
#define ROUND_UP(n, align) ROUND_DOWN((n) + (align) - 1, (align))
#define IS_ALIGNED(n, align) ((n) % (align) == 0)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))

#define container_of(ptr, type, member) \
    ((type *)((char *)(ptr) - offsetof(type, member)))

static inline bool is_power_of_2(uint64_t n)
{
    return n && !(n & (n - 1));
}

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t clock_ns(void);
/* For tests: another clock in its place; NULL: none. */
extern int64_t (*clock_simulated)(void);

/* Closes *@fd unless it is -1; for locals: `autofd int fd = -1;`. */
void fd_cleanup(int *fd);
#define autofd __attribute__((cleanup(fd_cleanup)))

/* Takes the value of @fd out of an autofd local. */
static inline int fd_steal(int *fd)
{
    int ret = *fd;
    *fd = -1;
    return ret;
}

#endif
