/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Ranges under way: who conflicts, who waits, and when the wait ends. */
#include "co-test.h"

#include "util/reqlist.h"

static void test_find(void)
{
    ReqList list = { 0 };
    RangeReq a, b, c;

    g_assert_null(reqlist_find(&list, 0, INT64_MAX));
    reqlist_add(&list, &a, 0, 10);
    reqlist_add(&list, &b, 10, 10);
    reqlist_add(&list, &c, 100, 1);
    g_assert_true(reqlist_find(&list, 9, 1) == &a);
    g_assert_true(reqlist_find(&list, 10, 1) == &b);
    g_assert_true(reqlist_find(&list, 19, 81) == &b);
    g_assert_true(reqlist_find(&list, 20, 81) == &c);
    g_assert_null(reqlist_find(&list, 20, 80));
    g_assert_null(reqlist_find(&list, 101, 1000));

    reqlist_shrink(&b, 5);
    g_assert_null(reqlist_find(&list, 15, 85));
    g_assert_true(reqlist_find(&list, 14, 1) == &b);

    reqlist_remove(&list, &b);
    g_assert_null(reqlist_find(&list, 10, 90));
    reqlist_remove(&list, &c);
    g_assert_null(reqlist_find(&list, 100, 1));
    reqlist_remove(&list, &a);
    g_assert_null(list.first);
}

typedef struct Waiter {
    ReqList *list;
    int64_t off, len;
    int waits;
    bool done;
} Waiter;

static void waiter_main(Co *co, void *arg)
{
    Waiter *w = arg;

    while (reqlist_wait_one(co, w->list, w->off, w->len)) {
        w->waits++;
    }
    w->done = true;
}

static void waiting(Co *co, void *arg)
{
    ReqList list = { 0 };
    RangeReq a, b;
    Waiter w[] = {
        { &list, 0, 5, 0, false },
        { &list, 5, 10, 0, false },
        { &list, 8, 1, 0, false },
        { &list, 50, 10, 0, false },
    };

    reqlist_add(&list, &b, 10, 10);
    reqlist_add(&list, &a, 0, 10);
    for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
        co_spawn(co_loop(co), waiter_main, &w[i]);
    }
    co_yield(co);
    g_assert_false(w[0].done || w[1].done || w[2].done);
    g_assert_true(w[3].done);
    g_assert_cmpint(w[3].waits, ==, 0);

    /* The rest is free: [8, 9) goes on, [5, 15) now finds the other. */
    reqlist_shrink(&a, 5);
    co_yield(co);
    g_assert_true(w[2].done);
    g_assert_false(w[0].done || w[1].done);

    reqlist_remove(&list, &b);
    co_yield(co);
    g_assert_true(w[1].done);
    g_assert_false(w[0].done);
    g_assert_cmpint(w[1].waits, >=, 2);

    reqlist_remove(&list, &a);
    reqlist_wait_all(co, &list, 0, INT64_MAX);
    co_yield(co);
    g_assert_true(w[0].done);
}

static void test_wait(void)
{
    co_test_run_alone(waiting, NULL);
}

typedef struct Stress {
    ReqList list;
    int owner[64];          /* who is at work on each byte */
    int started, left;
} Stress;

static void stress_worker(Co *co, void *arg)
{
    Stress *s = arg;
    int id = ++s->started;

    for (int round = 0; round < 200; round++) {
        int off = g_test_rand_int_range(0, 60);
        int len = g_test_rand_int_range(1, 64 - off + 1);
        RangeReq req;

        reqlist_wait_all(co, &s->list, off, len);
        reqlist_add(&s->list, &req, off, len);
        for (int i = off; i < off + len; i++) {
            g_assert_cmpint(s->owner[i], ==, 0);
            s->owner[i] = id;
        }
        co_yield(co);
        for (int i = off; i < off + len; i++) {
            g_assert_cmpint(s->owner[i], ==, id);
            s->owner[i] = 0;
        }
        reqlist_remove(&s->list, &req);
    }
    s->left--;
}

static void stress(Co *co, void *arg)
{
    Stress s = { .left = 20 };

    for (int i = 0; i < 20; i++) {
        co_spawn(co_loop(co), stress_worker, &s);
    }
    while (s.left) {
        co_yield(co);
    }
    g_assert_null(s.list.first);
}

static void test_stress(void)
{
    co_test_run_alone(stress, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/reqlist/find", test_find);
    g_test_add_func("/reqlist/wait", test_wait);
    g_test_add_func("/reqlist/stress", test_stress);
    return g_test_run();
}
