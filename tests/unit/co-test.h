/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * For unit tests of what needs a coroutine: runs one function as a coroutine,
 * and the loop around it until it has returned.
 */
#ifndef TESTS_UNIT_CO_TEST_H
#define TESTS_UNIT_CO_TEST_H

#include "util/loop.h"

typedef struct CoTest {
    Loop *loop;
    CoFn *fn;
    void *arg;
} CoTest;

static inline void co_test_main(Co *co, void *arg)
{
    CoTest *t = arg;

    t->fn(co, t->arg);
    g_assert_true(co_loop(co) == t->loop);
    loop_stop(t->loop);
}

/* On a loop of its own, which must be empty when @fn has returned. */
static inline void co_test_run_alone(CoFn *fn, void *arg)
{
    CoTest t = { loop_new("test", &error_abort), fn, arg };

    co_spawn(t.loop, co_test_main, &t);
    loop_run(t.loop);
    loop_free(t.loop);
}

/* On the main loop, which is made where there is none yet. */
static inline void co_test_run(CoFn *fn, void *arg)
{
    CoTest t = { loop_main(), fn, arg };

    if (!t.loop) {
        loop_init_main(&error_abort);
        t.loop = loop_main();
    }
    co_spawn(t.loop, co_test_main, &t);
    loop_run(t.loop);
}

#endif
