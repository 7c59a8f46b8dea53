/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* A budget is never overdrawn, by however many threads. */

#include "util/budget.h"

static void test_bounds(void)
{
    Budget *b = budget_new(100);

    g_assert_true(budget_take(b, 60));
    g_assert_false(budget_take(b, 41));
    g_assert_false(budget_take_spare(b, 1));
    g_assert_true(budget_take(b, 40));
    g_assert_false(budget_take(b, 1));
    g_assert_true(budget_take(b, 0));
    g_assert_false(budget_take(b, UINT64_MAX));
    budget_give(b, 60);
    g_assert_cmpuint(budget_used(b), ==, 40);
    g_assert_true(budget_take_spare(b, 10));
    g_assert_false(budget_take_spare(b, 1));
    budget_give(b, 50);
    budget_free(b);
    budget_free(NULL);
}

#define THREADS 4
#define ROUNDS 20000

typedef struct Crowd {
    Budget *budget;
    gint holding;               /* what all threads think that they have */
} Crowd;

static gpointer crowd_run(gpointer opaque)
{
    Crowd *crowd = opaque;

    for (int i = 0; i < ROUNDS; i++) {
        int n = i % 5 + 1;

        if (budget_take(crowd->budget, n)) {
            g_assert_cmpint(g_atomic_int_add(&crowd->holding, n) + n, <=, 10);
            g_atomic_int_add(&crowd->holding, -n);
            budget_give(crowd->budget, n);
        }
    }
    return NULL;
}

static void test_threads(void)
{
    Crowd crowd = { .budget = budget_new(10) };
    GThread *threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        threads[i] = g_thread_new("crowd", crowd_run, &crowd);
    }
    for (int i = 0; i < THREADS; i++) {
        g_thread_join(threads[i]);
    }
    g_assert_cmpuint(budget_used(crowd.budget), ==, 0);
    budget_free(crowd.budget);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/budget/bounds", test_bounds);
    g_test_add_func("/budget/threads", test_threads);
    return g_test_run();
}
