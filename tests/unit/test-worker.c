/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The worker pool. */
#include "co-test.h"
#include "util/worker.h"

#include <sys/sysinfo.h>

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

/* What computes runs a few at a time, and what blocks does not wait for it. */
typedef struct Crowd {
    int running, most;          /* atomic */
    int left;
    Co *parent;
} Crowd;

static int64_t crowd_work(void *arg)
{
    Crowd *c = arg;
    int n = __atomic_add_fetch(&c->running, 1, __ATOMIC_SEQ_CST);
    int most = __atomic_load_n(&c->most, __ATOMIC_SEQ_CST);

    while (n > most &&
           !__atomic_compare_exchange_n(&c->most, &most, n, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        continue;
    }
    g_usleep(20000);
    __atomic_sub_fetch(&c->running, 1, __ATOMIC_SEQ_CST);
    return 1;
}

static void crowd_member(Co *co, void *arg)
{
    Crowd *c = arg;

    g_assert_cmpint(worker_compute(co, crowd_work, c), ==, 1);
    if (--c->left == 0) {
        co_wake(c->parent);
    }
}

static void compute_main(Co *co, void *arg)
{
    int cpus = get_nprocs(), n = 10 * cpus;
    Crowd c = { .left = n, .parent = co };

    for (int i = 0; i < n; i++) {
        co_spawn(co_loop(co), crowd_member, &c);
    }
    g_assert_cmpint(worker_run(co, current_loop_is_null, NULL), ==, 1);
    g_assert_cmpint(c.left, >, 0);
    co_suspend(co);
    g_assert_cmpint(c.most, <=, 2 * cpus);
}

static void test_compute(void)
{
    co_test_run_alone(compute_main, NULL);
}

/* ---- short jobs ---- */

static int64_t in_which_loop(void *arg)
{
    return (int64_t)(intptr_t)loop_current();
}

static bool brief_is_here(Co *co)
{
    int64_t where = worker_run_brief(co, in_which_loop, NULL);

    g_assert_true(!where || where == (int64_t)(intptr_t)co_loop(co));
    return where;
}

static void nothing(void *arg)
{
}

static void sleeper(Co *co, void *arg)
{
    bool *over = arg;

    while (!*over) {
        co_sleep(co, 1000000);
    }
    *over = false;
}

static unsigned threads(void)
{
    g_autoptr(GDir) dir = g_dir_open("/proc/self/task", 0, NULL);
    unsigned n = 0;

    while (g_dir_read_name(dir)) {
        n++;
    }
    return n;
}

/* On the main loop, alone: no thread is started. With company it is. */
static void brief_main(Co *co, void *arg)
{
    bool over = false;

    g_assert_true(brief_is_here(co));
    g_assert_cmpuint(threads(), ==, 1);

    co_spawn(co_loop(co), sleeper, &over);
    g_assert_false(brief_is_here(co));
    over = true;
    while (over) {
        co_yield(co);
    }
    g_assert_true(brief_is_here(co));

    loop_post(co_loop(co), nothing, NULL);
    g_assert_false(brief_is_here(co));
}

static void brief_alone_main(Co *co, void *arg)
{
    g_assert_false(brief_is_here(co));
}

static void test_brief_in_subprocess(void)
{
    co_test_run(brief_main, NULL);
    co_test_run_alone(brief_alone_main, NULL);
}

/* In a process of its own, which has no worker yet. */
static void test_brief(void)
{
    if (g_test_subprocess()) {
        test_brief_in_subprocess();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/worker/results", test_results);
    g_test_add_func("/worker/parallel", test_parallel);
    g_test_add_func("/worker/compute", test_compute);
    g_test_add_func("/worker/brief", test_brief);
    return g_test_run();
}
