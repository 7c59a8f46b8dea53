/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Throttle groups: rates, bursts, turns, and that a release lets all pass. */
#include "co-test.h"
#include "util/throttle.h"

typedef struct Load {
    ThrottleMember *m;
    int64_t bytes;
    bool is_write;
    int want, done;
    int64_t until;              /* clock_ns(); 0: no end but want */
    int *left;
    Co *waiting;
} Load;

static void load_run(Co *co, void *opaque)
{
    Load *l = opaque;

    while (l->done < l->want && (!l->until || clock_ns() < l->until)) {
        throttle_member_wait(co, l->m, l->bytes, l->is_write);
        l->done++;
    }
    if (--*l->left == 0 && l->waiting) {
        co_wake(l->waiting);
    }
}

static void loads_run(Co *co, Load *loads, int n)
{
    int left = n;

    for (int i = 0; i < n; i++) {
        loads[i].left = &left;
        loads[i].waiting = co;
        co_spawn(co_loop(co), load_run, &loads[i]);
    }
    co_suspend(co);
}

static ThrottleGroup *group_with(ThrottleKind kind, ThrottleLimit limit)
{
    ThrottleGroup *g = throttle_group_new("g");
    ThrottleConfig cfg;

    throttle_config_init(&cfg);
    cfg.limit[kind] = limit;
    g_assert(throttle_config_check(&cfg, NULL));
    throttle_group_configure(g, &cfg);
    return g;
}

static void run_rate(Co *co, void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_OPS_TOTAL,
                                  (ThrottleLimit) { 200, 0, 1 });
    Load l = { throttle_member_new(g), 4096, false, 100 };
    int64_t start = clock_ns();

    loads_run(co, &l, 1);
    /* 100 operations but the 20 of 100 ms that the bucket holds. */
    g_assert_cmpint(clock_ns() - start, >=, INT64_C(380000000));
    g_assert_cmpint(clock_ns() - start, <, INT64_C(3000000000));
    throttle_member_free(l.m);
    throttle_group_unref(g);
    g_assert_null(throttle_group_find("g"));
}

static void run_burst(Co *co, void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_BPS_WRITE,
                                  (ThrottleLimit) { 100, 1000, 3 });
    Load reader = { throttle_member_new(g), 1 << 30, false, 5 };
    Load writer = { reader.m, 100, true, 9 };
    int64_t start = clock_ns();

    loads_run(co, &reader, 1);          /* no limit for it */
    g_assert_cmpint(clock_ns() - start, <, INT64_C(100000000));
    loads_run(co, &writer, 1);
    /* Within the burst of 3000 bytes, at 1000 a second. */
    g_assert_cmpint(clock_ns() - start, >=, INT64_C(600000000));
    g_assert_cmpint(clock_ns() - start, <, INT64_C(3000000000));
    throttle_member_free(writer.m);
    throttle_group_unref(g);
}

/* One has eight requests at a time, the other a single one. */
static void run_fair(Co *co, void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_OPS_TOTAL,
                                  (ThrottleLimit) { 100, 0, 1 });
    ThrottleMember *a = throttle_member_new(g), *b = throttle_member_new(g);
    int64_t until = clock_ns() + INT64_C(500000000);
    int of_a = 0;
    Load l[9];

    for (int i = 0; i < 9; i++) {
        l[i] = (Load) { i ? a : b, 1, false, INT_MAX, .until = until };
    }
    loads_run(co, l, 9);
    for (int i = 1; i < 9; i++) {
        of_a += l[i].done;
    }
    g_assert_cmpint(l[0].done + of_a, >=, 30);
    g_assert_cmpint(l[0].done, >=, of_a / 2);
    throttle_member_free(a);
    throttle_member_free(b);
    throttle_group_unref(g);
}

static void release_soon(Co *co, void *opaque)
{
    co_sleep(co, INT64_C(50000000));
    throttle_member_release(opaque);
}

static void run_release(Co *co, void *opaque)
{
    ThrottleGroup *g = group_with(THROTTLE_OPS_TOTAL,
                                  (ThrottleLimit) { 1, 0, 1 });
    Load l = { throttle_member_new(g), 1, true, 30 };
    int64_t start = clock_ns();

    co_spawn(co_loop(co), release_soon, l.m);
    loads_run(co, &l, 1);
    g_assert_cmpint(clock_ns() - start, <, INT64_C(900000000));
    throttle_member_hold(l.m);
    throttle_member_free(l.m);
    throttle_group_unref(g);
}

static void test_rate(void)
{
    co_test_run(run_rate, NULL);
}

static void test_burst(void)
{
    co_test_run(run_burst, NULL);
}

static void test_fair(void)
{
    co_test_run(run_fair, NULL);
}

static void test_release(void)
{
    co_test_run(run_release, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/throttle/rate", test_rate);
    g_test_add_func("/throttle/burst", test_burst);
    g_test_add_func("/throttle/fair", test_fair);
    g_test_add_func("/throttle/release", test_release);
    return g_test_run();
}
