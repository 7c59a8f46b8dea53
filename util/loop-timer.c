/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Timers: a binary heap in an array, the earliest first. Each timer knows its
 * place, so that moving and cancelling need no search. Among equal deadlines
 * the one that was set first fires first.
 *
 * The kernel never hears of a timer: the loop waits for I/O no longer than to
 * the first deadline.
 */
#include "util/co-impl.h"

static LoopTimer *heap_get(const Loop *loop, unsigned pos)
{
    return g_ptr_array_index(loop->timers, pos - 1);
}

static void heap_put(Loop *loop, unsigned pos, LoopTimer *t)
{
    g_ptr_array_index(loop->timers, pos - 1) = t;
    t->pos = pos;
}

static bool timer_before(const LoopTimer *a, const LoopTimer *b)
{
    return a->deadline != b->deadline ? a->deadline < b->deadline
                                      : a->seq < b->seq;
}

static void heap_up(Loop *loop, LoopTimer *t)
{
    unsigned pos = t->pos;

    while (pos > 1 && timer_before(t, heap_get(loop, pos / 2))) {
        heap_put(loop, pos, heap_get(loop, pos / 2));
        pos /= 2;
    }
    heap_put(loop, pos, t);
}

static void heap_down(Loop *loop, LoopTimer *t)
{
    unsigned pos = t->pos, n = loop->timers->len;

    while (pos * 2 <= n) {
        unsigned child = pos * 2;

        if (child < n && timer_before(heap_get(loop, child + 1),
                                      heap_get(loop, child))) {
            child++;
        }
        if (!timer_before(heap_get(loop, child), t)) {
            break;
        }
        heap_put(loop, pos, heap_get(loop, child));
        pos = child;
    }
    heap_put(loop, pos, t);
}

static void heap_remove(Loop *loop, LoopTimer *t)
{
    unsigned pos = t->pos;
    LoopTimer *last = heap_get(loop, loop->timers->len);

    g_ptr_array_set_size(loop->timers, loop->timers->len - 1);
    t->pos = 0;
    if (last != t) {
        heap_put(loop, pos, last);
        heap_up(loop, last);
        heap_down(loop, last);
    }
}

void loop_timer_init(LoopTimer *t, Loop *loop, LoopFn *fn, void *arg)
{
    *t = (LoopTimer){ .loop = loop, .fn = fn, .arg = arg };
}

LoopTimer *loop_timer_new(Loop *loop, LoopFn *fn, void *arg)
{
    LoopTimer *t = g_new(LoopTimer, 1);

    loop_timer_init(t, loop, fn, arg);
    return t;
}

void loop_timer_cancel(LoopTimer *t)
{
    g_assert(loop_is_mine(t->loop));
    if (t->pos) {
        heap_remove(t->loop, t);
    }
}

void loop_timer_set(LoopTimer *t, int64_t deadline_ns)
{
    loop_timer_cancel(t);
    t->deadline = MAX(deadline_ns, 0);
    t->seq = t->loop->timer_seq++;
    g_ptr_array_add(t->loop->timers, t);
    t->pos = t->loop->timers->len;
    heap_up(t->loop, t);
}

void loop_timer_free(LoopTimer *t)
{
    if (t) {
        loop_timer_cancel(t);
        g_free(t);
    }
}

int64_t loop_timer_next(const Loop *loop)
{
    return loop->timers->len ? heap_get(loop, 1)->deadline : -1;
}

/* A timer that a callback sets anew waits for the next turn. */
void loop_timer_run(Loop *loop)
{
    uint64_t seq = loop->timer_seq;
    int64_t now;

    if (!loop->timers->len) {
        return;
    }
    now = clock_ns();
    while (loop->timers->len) {
        LoopTimer *t = heap_get(loop, 1);

        if (t->deadline > now || t->seq >= seq) {
            break;
        }
        heap_remove(loop, t);
        t->fn(t->arg);
    }
}

/* ---- sleeping ---- */

/* sleep->timer == NULL: the time has run out; co == NULL: woken before. */
static void co_sleep_expired(void *arg)
{
    CoSleep *sleep = arg;

    sleep->timer = NULL;
    co_wake(sleep->co);
}

bool co_sleep_ns(Co *co, CoSleep *sleep, int64_t ns)
{
    int64_t now = clock_ns();
    LoopTimer timer;
    bool expired;

    g_assert(!sleep->co);
    loop_timer_init(&timer, co_loop(co), co_sleep_expired, sleep);
    sleep->co = co;
    sleep->timer = &timer;
    loop_timer_set(&timer, ns > INT64_MAX - now ? INT64_MAX : now + ns);
    co_suspend(co);
    expired = sleep->co;
    *sleep = (CoSleep){ NULL, NULL };
    return expired;
}

void co_sleep_wake(CoSleep *sleep)
{
    if (sleep->co && sleep->timer) {
        loop_timer_cancel(sleep->timer);
        co_wake(g_steal_pointer(&sleep->co));
    }
}

void co_sleep(Co *co, int64_t ns)
{
    CoSleep sleep = { NULL, NULL };

    co_sleep_ns(co, &sleep, ns);
}
