/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Bytes per second, averaged over slices of 100 ms; 0 is without limit. */
#ifndef UTIL_RATELIMIT_H
#define UTIL_RATELIMIT_H

#include "util/osdep.h"

typedef struct RateLimit {
    int64_t speed;          /* bytes per second */
    int64_t slice_start;    /* clock_ns() */
    int64_t dispatched;     /* bytes since then */
} RateLimit;

void ratelimit_set_speed(RateLimit *r, int64_t speed);
/* Counts @n bytes as sent. */
void ratelimit_account(RateLimit *r, int64_t n);
/* Nanoseconds to wait before more may be sent; 0: at once. */
int64_t ratelimit_delay(RateLimit *r);

#endif
