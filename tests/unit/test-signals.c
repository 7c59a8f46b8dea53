/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Signals as events of a loop; run once for each engine. */
#include "co-test.h"

#include <signal.h>

#include "util/signals.h"

static GString *trace;

static void note(int sig, void *arg)
{
    g_string_append_printf(trace, "%s%d ", (const char *)arg, sig);
}

static void arrive(Co *co, const char *expect)
{
    int64_t end = clock_ns() + INT64_C(5000000000);

    while (!g_str_equal(trace->str, expect) && clock_ns() < end) {
        co_sleep(co, 1000000);
    }
    g_assert_cmpstr(trace->str, ==, expect);
    g_string_truncate(trace, 0);
}

static void watch_main(Co *co, void *arg)
{
    static const int sigs[] = { SIGTERM, SIGUSR1 };
    g_autofree char *both = NULL, *usr1 = NULL;
    /* Its thread must not catch what is meant for us. */
    LoopThread *t = loop_thread_new("other", &error_abort);
    Signals *s = signals_watch(co_loop(co), sigs, ARRAY_SIZE(sigs), note,
                               (void *)"s", &error_abort);

    usr1 = g_strdup_printf("s%d ", SIGUSR1);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(kill(getpid(), SIGUSR1), ==, 0);
        arrive(co, usr1);
    }
    /* Two at once: the kernel gives the lower number first. */
    both = g_strdup_printf("s%d s%d ", MIN(SIGUSR1, SIGTERM),
                           MAX(SIGUSR1, SIGTERM));
    g_assert_cmpint(kill(getpid(), SIGTERM), ==, 0);
    g_assert_cmpint(kill(getpid(), SIGUSR1), ==, 0);
    arrive(co, both);
    signals_free(s);
    co_sleep(co, 1000000);
    g_assert_cmpint(kill(getpid(), SIGUSR1), ==, 0);
    co_sleep(co, 5000000);
    g_assert_cmpstr(trace->str, ==, "");

    /* It is still there for who watches next. */
    s = signals_watch(co_loop(co), sigs, ARRAY_SIZE(sigs), note, (void *)"s",
                      &error_abort);
    arrive(co, usr1);
    signals_free(s);
    signals_free(NULL);
    co_sleep(co, 1000000);
    loop_thread_free(t);
}

static void test_watch(void)
{
    trace = g_string_new(NULL);
    co_test_run_alone(watch_main, NULL);
    g_string_free(trace, true);
}

static Signals *self;

static void free_self(int sig, void *arg)
{
    signals_free(self);
    ++*(int *)arg;
}

/* The handler may end the watch that calls it. */
static void self_main(Co *co, void *arg)
{
    static const int sigs[] = { SIGHUP };
    int n = 0;

    self = signals_watch(co_loop(co), sigs, 1, free_self, &n, &error_abort);
    g_assert_cmpint(kill(getpid(), SIGHUP), ==, 0);
    while (!n) {
        co_sleep(co, 1000000);
    }
    co_sleep(co, 1000000);
    g_assert_cmpint(n, ==, 1);
}

static void test_self(void)
{
    co_test_run_alone(self_main, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/signals/watch", test_watch);
    g_test_add_func("/signals/self", test_self);
    return g_test_run();
}
