/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The worker pool. */
#include "co-test.h"

typedef struct Job {
    int64_t in;
    int us;
    int *left;
    Co *parent;
} Job;

static int64_t work(void *arg)
{
    Job *job = arg;

    if (job->us) {
        g_usleep(job->us);
    }
    return job->in * 2;
}

static int64_t current_loop_is_null(void *arg)
{
    return loop_current() == NULL;
}

static void run_job(Co *co, void *arg)
{
    Job *job = arg;

    g_assert_cmpint(worker_run(co, work, job), ==, job->in * 2);
    loop_assert(co_loop(co));
    if (--*job->left == 0) {
        co_wake(job->parent);
    }
}

static void results_main(Co *co, void *arg)
{
    enum { N = 1000 };
    g_autofree Job *jobs = g_new0(Job, N);
    int left = N;

    for (int i = 0; i < N; i++) {
        jobs[i] = (Job){ .in = ((int64_t)i << 40) - 7, .us = i % 3,
                         .left = &left, .parent = co };
        co_spawn(co_loop(co), run_job, &jobs[i]);
    }
    co_suspend(co);
    g_assert_cmpint(worker_run(co, current_loop_is_null, NULL), ==, 1);
}

static void test_results(void)
{
    co_test_run_alone(results_main, NULL);
}

/* Jobs that block do so side by side. */
static void parallel_main(Co *co, void *arg)
{
    enum { N = 10 };
    Job jobs[N];
    int left = N;
    int64_t t0 = clock_ns();

    for (int i = 0; i < N; i++) {
        jobs[i] = (Job){ .in = i, .us = 200000, .left = &left, .parent = co };
        co_spawn(co_loop(co), run_job, &jobs[i]);
    }
    co_suspend(co);
    g_assert_cmpint(clock_ns() - t0, <, (int64_t)N * 200000 * 1000 / 2);
}

static void test_parallel(void)
{
    co_test_run_alone(parallel_main, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/worker/results", test_results);
    g_test_add_func("/worker/parallel", test_parallel);
    return g_test_run();
}
