/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Coroutines: their order, their stacks, and what they wait for each other
 * with. */
#include "co-test.h"

#include <fenv.h>
#include <sys/wait.h>

static GString *trace;

static void trace_add(const char *s)
{
    g_string_append(trace, s);
}

static void trace_check(const char *expect)
{
    g_assert_cmpstr(trace->str, ==, expect);
    g_string_free(trace, true);
    trace = NULL;
}

/* ---- order ---- */

static void say_and_end(Co *co, void *arg)
{
    trace_add(arg);
}

static void say_yield_say(Co *co, void *arg)
{
    trace_add(arg);
    co_yield(co);
    trace_add(arg);
}

static void order_main(Co *co, void *arg)
{
    co_spawn(co_loop(co), say_yield_say, (void *)"a");
    co_spawn(co_loop(co), say_yield_say, (void *)"b");
    co_spawn(co_loop(co), say_and_end, (void *)"c");
    trace_add("0");
    co_yield(co);
    trace_add("1");
    co_yield(co);
    trace_add("2");
}

static void test_order(void)
{
    trace = g_string_new(NULL);
    co_test_run_alone(order_main, NULL);
    trace_check("0abc1ab2");
}

typedef struct Sleeper {
    Co *co;
    const char *name;
} Sleeper;

static void sleep_once(Co *co, void *arg)
{
    Sleeper *s = arg;

    s->co = co;
    co_suspend(co);
    s->co = NULL;
    trace_add(s->name);
}

static void wake_order_main(Co *co, void *arg)
{
    Sleeper s[] = { { NULL, "a" }, { NULL, "b" }, { NULL, "c" } };

    for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
        co_spawn(co_loop(co), sleep_once, &s[i]);
    }
    co_yield(co);
    co_wake(s[2].co);
    co_wake(s[0].co);
    trace_add("-");
    co_yield(co);
    co_wake(s[1].co);
    co_yield(co);
    g_assert_true(!s[0].co && !s[1].co && !s[2].co);
}

static void test_wake_order(void)
{
    trace = g_string_new(NULL);
    co_test_run_alone(wake_order_main, NULL);
    trace_check("-cab");
}

/* A remote wake that comes before the suspend is not lost. */
static void early_wake_main(Co *co, void *arg)
{
    co_wake_remote(co);
    co_yield(co);
    co_yield(co);
    co_suspend(co);
    co_wake_remote(co);
    co_suspend(co);
}

static void test_early_wake(void)
{
    co_test_run_alone(early_wake_main, NULL);
}

/* ---- stacks ---- */

static int count_down(Co *co, int n)
{
    volatile char frame[256];

    memset((char *)frame, n, sizeof(frame));
    if (n == 0) {
        co_yield(co);
        return 0;
    }
    n = count_down(co, n - 1) + 1;
    g_assert_cmpint(frame[17], ==, (char)n);
    return n;
}

static void deep(Co *co, void *arg)
{
    int *done = arg;

    g_assert_cmpint(count_down(co, 300), ==, 300);
    ++*done;
}

static void many_main(Co *co, void *arg)
{
    int done = 0;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 300; i++) {
            co_spawn(co_loop(co), deep, &done);
        }
        co_yield(co);
        co_yield(co);
    }
    g_assert_cmpint(done, ==, 900);
}

/* More than the pool holds, with frames that outlive the switches. */
static void test_many(void)
{
    co_test_run_alone(many_main, NULL);
}

static int overflow(volatile char *below)
{
    volatile char frame[1024];

    frame[0] = 1;
    if (below && below[0] == 2) {
        return 0;
    }
    return overflow(frame) + frame[0];
}

static void overflow_main(Co *co, void *arg)
{
    overflow(NULL);
}

/* The guard page: a stack that overflows kills, it does not corrupt. */
static void test_overflow(void)
{
    if (g_test_subprocess()) {
        co_test_run_alone(overflow_main, NULL);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
}

static void round_up_co(Co *co, void *arg)
{
    fesetround(FE_UPWARD);
    co_yield(co);
    g_assert_cmpint(fegetround(), ==, FE_UPWARD);
}

static void fp_main(Co *co, void *arg)
{
    co_spawn(co_loop(co), round_up_co, NULL);
    co_yield(co);
    g_assert_cmpint(fegetround(), ==, FE_TONEAREST);
    co_yield(co);
    g_assert_cmpint(fegetround(), ==, FE_TONEAREST);
}

/* The control words of the floating point unit are the coroutine's own. */
static void test_fp_state(void)
{
    co_test_run_alone(fp_main, NULL);
}

/* ---- locks ---- */

typedef struct LockTest {
    CoMutex mutex;
    CoRwLock rw;
    int inside, peak, readers, writers;
} LockTest;

static void mutex_user(Co *co, void *arg)
{
    LockTest *t = arg;

    for (int i = 0; i < 3; i++) {
        co_mutex_lock(co, &t->mutex);
        g_assert_cmpint(t->inside++, ==, 0);
        co_yield(co);
        g_assert_cmpint(--t->inside, ==, 0);
        co_mutex_unlock(&t->mutex);
    }
    t->peak++;
}

static void mutex_main(Co *co, void *arg)
{
    LockTest t = { 0 };

    for (int i = 0; i < 5; i++) {
        co_spawn(co_loop(co), mutex_user, &t);
    }
    while (t.peak < 5) {
        co_yield(co);
    }
    g_assert_false(t.mutex.locked);
    g_assert_true(co_queue_empty(&t.mutex.waiters));
}

static void test_mutex(void)
{
    co_test_run_alone(mutex_main, NULL);
}

static LockTest *rw;

static void rw_reader(Co *co, void *arg)
{
    co_rwlock_rdlock(co, &rw->rw);
    g_assert_cmpint(rw->writers, ==, 0);
    rw->readers++;
    rw->peak = MAX(rw->peak, rw->readers);
    trace_add(arg);
    co_yield(co);
    rw->readers--;
    co_rwlock_unlock(&rw->rw);
}

static void rw_writer(Co *co, void *arg)
{
    co_rwlock_wrlock(co, &rw->rw);
    g_assert_cmpint(rw->writers++, ==, 0);
    g_assert_cmpint(rw->readers, ==, 0);
    trace_add(arg);
    co_yield(co);
    rw->writers--;
    co_rwlock_unlock(&rw->rw);
}

static void rw_main(Co *co, void *arg)
{
    LockTest t = { 0 };
    Loop *loop = co_loop(co);

    rw = &t;
    co_spawn(loop, rw_reader, (void *)"r");
    co_spawn(loop, rw_reader, (void *)"r");
    co_spawn(loop, rw_writer, (void *)"W");
    co_spawn(loop, rw_reader, (void *)"s");     /* after the writer */
    co_spawn(loop, rw_reader, (void *)"s");
    co_spawn(loop, rw_writer, (void *)"X");
    for (int i = 0; i < 30; i++) {
        co_yield(co);
    }
    g_assert_cmpint(t.peak, ==, 2);
    g_assert_cmpint(t.rw.readers, ==, 0);
    g_assert_false(t.rw.writer);
}

static void test_rwlock(void)
{
    trace = g_string_new(NULL);
    co_test_run_alone(rw_main, NULL);
    trace_check("rrWssX");
}

static void queue_user(Co *co, void *arg)
{
    CoQueue *q = arg;

    co_queue_wait(co, q);
    trace_add("x");
    co_queue_wait(co, q);
    trace_add("y");
}

static void queue_main(Co *co, void *arg)
{
    CoQueue q = { NULL, NULL };

    g_assert_false(co_queue_wake_one(&q));
    for (int i = 0; i < 3; i++) {
        co_spawn(co_loop(co), queue_user, &q);
    }
    co_yield(co);
    g_assert_true(co_queue_wake_one(&q));
    co_yield(co);
    trace_add("|");
    co_queue_wake_all(&q);
    co_yield(co);
    trace_add("|");
    co_queue_wake_all(&q);
    co_yield(co);
    g_assert_true(co_queue_empty(&q));
}

static void test_queue(void)
{
    trace = g_string_new(NULL);
    co_test_run_alone(queue_main, NULL);
    trace_check("x|xxy|yy");
}

/* ---- groups ---- */

typedef struct GroupTest {
    int running, peak, done;
} GroupTest;

static int member_main(Co *co, void *arg)
{
    GroupTest *t = arg;

    t->running++;
    t->peak = MAX(t->peak, t->running);
    co_yield(co);
    t->running--;
    return ++t->done == 5 ? -EIO : t->done == 7 ? -ENOSPC : 0;
}

static void group_main(Co *co, void *arg)
{
    GroupTest t = { 0 };
    CoGroup g;

    co_group_init(&g, co_loop(co), 3);
    g_assert_cmpint(co_group_wait(co, &g), ==, 0);
    for (int i = 0; i < 10; i++) {
        co_group_start(co, &g, member_main, &t);
    }
    g_assert_cmpint(co_group_wait(co, &g), ==, -EIO);
    g_assert_cmpint(t.done, ==, 10);
    g_assert_cmpint(t.peak, ==, 3);
    co_group_start(co, &g, member_main, &t);
    g_assert_cmpint(co_group_wait(co, &g), ==, 0);
}

static void test_group(void)
{
    co_test_run_alone(group_main, NULL);
}

/* ---- sleeping ---- */

static void wake_sleeper(Co *co, void *arg)
{
    co_sleep_wake(arg);
    co_sleep_wake(arg);
}

static void sleep_main(Co *co, void *arg)
{
    CoSleep sleep = { NULL, NULL };
    int64_t t0 = clock_ns();

    g_assert_true(co_sleep_ns(co, &sleep, 2000000));
    g_assert_cmpint(clock_ns() - t0, >=, 2000000);
    co_sleep_wake(&sleep);
    co_spawn(co_loop(co), wake_sleeper, &sleep);
    g_assert_false(co_sleep_ns(co, &sleep, INT64_MAX));
    co_sleep(co, 0);
}

static void test_sleep(void)
{
    co_test_run_alone(sleep_main, NULL);
}

/* ---- background ---- */

typedef struct Ranks {
    int front, back, child;
    bool front_done;
} Ranks;

static void rank_front(Co *co, void *arg)
{
    Ranks *r = arg;

    for (r->front = 0; r->front < 2000; r->front++) {
        co_yield(co);
    }
    r->front_done = true;
}

static void rank_child(Co *co, void *arg)
{
    Ranks *r = arg;

    g_assert_true(co_is_background(co));
    r->child++;
}

static void rank_back(Co *co, void *arg)
{
    Ranks *r = arg;

    co_set_background(co, true);
    co_yield(co);
    while (!r->front_done) {
        r->back++;
        co_yield(co);
    }
    co_spawn(co_loop(co), rank_child, r);
}

/* It gives way, but is not starved. */
static void background_main(Co *co, void *arg)
{
    Ranks r = { 0 };

    co_spawn(co_loop(co), rank_back, &r);
    co_spawn(co_loop(co), rank_front, &r);
    while (!r.child) {
        co_sleep(co, 1000);
    }
    g_assert_cmpint(r.back, >=, 2);
    g_assert_cmpint(r.back, <, 200);
    g_assert_false(co_is_background(co));
}

static void test_background(void)
{
    co_test_run_alone(background_main, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/co/order", test_order);
    g_test_add_func("/co/wake-order", test_wake_order);
    g_test_add_func("/co/early-wake", test_early_wake);
    g_test_add_func("/co/many", test_many);
    g_test_add_func("/co/overflow", test_overflow);
    g_test_add_func("/co/fp-state", test_fp_state);
    g_test_add_func("/co/mutex", test_mutex);
    g_test_add_func("/co/rwlock", test_rwlock);
    g_test_add_func("/co/queue", test_queue);
    g_test_add_func("/co/group", test_group);
    g_test_add_func("/co/sleep", test_sleep);
    g_test_add_func("/co/background", test_background);
    return g_test_run();
}
