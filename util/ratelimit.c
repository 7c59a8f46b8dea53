/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A bucket that leaks at the allowed speed. What has been sent since the bucket
 * was last empty is `dispatched`, the moment `slice_start`; the difference of
 * what was sent and what may have been is the level. More may be sent while
 * the level is below what 100 ms allow. Idle time earns nothing: an empty
 * bucket starts anew.
 */
#include "util/ratelimit.h"

#define NS_PER_S ((int64_t)1000000000)
#define SLICE_NS (NS_PER_S / 10)

/* a * b / c where only the product may be too wide; cut to INT64_MAX. */
static int64_t mul_div(int64_t a, int64_t b, int64_t c)
{
    return MIN((unsigned __int128)a * (uint64_t)b / (uint64_t)c, INT64_MAX);
}

/* Bytes in the bucket. */
static int64_t ratelimit_level(RateLimit *r)
{
    int64_t now = clock_ns();
    int64_t allowed = mul_div(now - r->slice_start, r->speed, NS_PER_S);

    if (allowed >= r->dispatched) {
        r->dispatched = 0;
        r->slice_start = now;
        return 0;
    }
    return r->dispatched - allowed;
}

void ratelimit_set_speed(RateLimit *r, int64_t speed)
{
    int64_t level = r->speed ? ratelimit_level(r) : 0;

    r->speed = speed;
    r->slice_start = clock_ns();
    r->dispatched = speed ? level : 0;
}

void ratelimit_account(RateLimit *r, int64_t n)
{
    if (r->speed) {
        ratelimit_level(r);
        r->dispatched += n;
    }
}

int64_t ratelimit_delay(RateLimit *r)
{
    int64_t level, quota;

    if (!r->speed) {
        return 0;
    }
    quota = MAX(mul_div(r->speed, SLICE_NS, NS_PER_S), 1);
    level = ratelimit_level(r);
    return level < quota ? 0 : mul_div(level - quota + 1, NS_PER_S, r->speed) +
                               1;
}
