/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Rate limits: on the average never faster, and idle time earns nothing. */
#include "util/ratelimit.h"

static void pause_ns(int64_t ns)
{
    g_usleep(ns / 1000 + 1);
}

static void test_unlimited(void)
{
    RateLimit r = { 0 };

    ratelimit_account(&r, INT64_MAX / 2);
    g_assert_cmpint(ratelimit_delay(&r), ==, 0);
    ratelimit_set_speed(&r, 1);
    g_assert_cmpint(ratelimit_delay(&r), ==, 0);
}

static void test_average(void)
{
    int64_t speed = 50 * MiB, sent = 0, start = clock_ns(), elapsed;
    RateLimit r = { 0 };

    ratelimit_set_speed(&r, speed);
    while (sent < 15 * MiB) {
        pause_ns(ratelimit_delay(&r));
        sent += 64 * KiB;
        ratelimit_account(&r, 64 * KiB);
    }
    elapsed = clock_ns() - start;
    /* All but what one slice and the last chunk allow has been waited for. */
    g_assert_cmpint(elapsed, >=, (int64_t)((sent - speed / 10 - 64 * KiB) /
                                           (double)speed * 1e9));
}

static void test_one_large_chunk_is_paid_for(void)
{
    RateLimit r = { 0 };

    ratelimit_set_speed(&r, MiB);
    ratelimit_account(&r, 10 * MiB);
    g_assert_cmpint(ratelimit_delay(&r), >, INT64_C(9000000000));
    g_assert_cmpint(ratelimit_delay(&r), <, INT64_C(10000000000));
}

static void test_slow(void)
{
    RateLimit r = { 0 };

    ratelimit_set_speed(&r, 100);
    g_assert_cmpint(ratelimit_delay(&r), ==, 0);
    ratelimit_account(&r, 14);
    for (int i = 0; i < 1000; i++) {
        ratelimit_delay(&r);
    }
    g_assert_cmpint(ratelimit_delay(&r), >, 0);
    pause_ns(60000000);
    g_assert_cmpint(ratelimit_delay(&r), ==, 0);
}

static void test_idle_earns_nothing(void)
{
    RateLimit r = { 0 };

    ratelimit_set_speed(&r, 10 * MiB);
    pause_ns(250000000);
    ratelimit_account(&r, 2 * MiB);
    g_assert_cmpint(ratelimit_delay(&r), >, 50000000);
}

static void test_change_of_speed(void)
{
    RateLimit r = { 0 };

    ratelimit_set_speed(&r, 1);
    ratelimit_account(&r, MiB);
    g_assert_cmpint(ratelimit_delay(&r), >, INT64_C(1000000000000));
    /* What has been sent is paid for at the new speed. */
    ratelimit_set_speed(&r, 64 * KiB);
    g_assert_cmpint(ratelimit_delay(&r), >, INT64_C(15000000000));
    g_assert_cmpint(ratelimit_delay(&r), <, INT64_C(16000000000));
    ratelimit_set_speed(&r, INT64_MAX);
    pause_ns(1000000);
    g_assert_cmpint(ratelimit_delay(&r), ==, 0);
    ratelimit_set_speed(&r, 0);
    g_assert_cmpint(ratelimit_delay(&r), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ratelimit/unlimited", test_unlimited);
    g_test_add_func("/ratelimit/average", test_average);
    g_test_add_func("/ratelimit/large-chunk", test_one_large_chunk_is_paid_for);
    g_test_add_func("/ratelimit/slow", test_slow);
    g_test_add_func("/ratelimit/idle", test_idle_earns_nothing);
    g_test_add_func("/ratelimit/change", test_change_of_speed);
    return g_test_run();
}
