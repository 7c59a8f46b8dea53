/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A bounded fan-out. The members count themselves down in a structure on
 * their owner's stack, which is why the owner must wait for all of them.
 *
 * The owner is the only one that waits: for a free place (running < max) or
 * for the end (running == 0). wake_at says which, so that it is woken once.
 */
#include "util/co-impl.h"

void co_group_init(CoGroup *g, Loop *loop, int max)
{
    g_assert(max > 0);
    *g = (CoGroup){ .loop = loop, .max = max };
}

static void co_group_sleep(Co *co, CoGroup *g, int wake_at)
{
    g_assert(!g->waiting && co_loop(co) == g->loop);
    if (g->running <= wake_at) {
        return;
    }
    g->wake_at = wake_at;
    g->waiting = co;
    co_suspend(co);
}

static void co_group_member(Co *co, void *arg)
{
    CoGroup *g = co->group;
    int ret = co->group_fn(co, arg);

    g_assert(co_loop(co) == g->loop);
    if (ret < 0 && g->ret == 0) {
        g->ret = ret;
    }
    g->running--;
    if (g->waiting && g->running <= g->wake_at) {
        co_wake(g_steal_pointer(&g->waiting));
    }
}

void co_group_start(Co *co, CoGroup *g, CoGroupFn *fn, void *arg)
{
    Co *member;

    co_group_sleep(co, g, g->max - 1);
    g->running++;
    member = co_spawn(g->loop, co_group_member, arg);
    member->group = g;
    member->group_fn = fn;
}

int co_group_wait(Co *co, CoGroup *g)
{
    int ret;

    co_group_sleep(co, g, 0);
    ret = g->ret;
    g->ret = 0;
    return ret;
}
