/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The engine of the simulated loop; see the header. */
#include "loop-sim.h"

#include "util/co-impl.h"

static GRand *dice;
static int64_t now;

static int64_t sim_clock(void)
{
    return now;
}

static bool sim_engine_init(Loop *loop, Error **errp)
{
    return true;
}

static void sim_engine_free(Loop *loop)
{
}

static void sim_turn(Loop *loop, int64_t timeout)
{
    if (timeout < 0) {
        g_error("everybody waits, and nobody will wake them");
    }
    now += timeout;
}

static Co *sim_pick(Loop *loop, CoList *list)
{
    Co *before = NULL, *co = list->first;
    int n = 0;

    for (Co *c = co; c; c = c->next) {
        n++;
    }
    for (n = sim_random(n); n > 0; n--) {
        before = co;
        co = co->next;
    }
    if (before) {
        before->next = co->next;
    } else {
        list->first = co->next;
    }
    if (list->last == co) {
        list->last = before;
    }
    return co;
}

static int64_t sim_work(Co *co, WorkerFn *fn, void *arg)
{
    sim_pause(co);
    return fn(arg);
}

static const LoopEngine sim_engine = {
    .name = "simulated",
    .init = sim_engine_init,
    .free = sim_engine_free,
    .turn = sim_turn,
    .pick = sim_pick,
    .work = sim_work,
};

void sim_init(void)
{
    dice = g_rand_new_with_seed(0);
    now = 1;
    clock_simulated = sim_clock;
    loop_engine_simulated = &sim_engine;
}

void sim_seed(uint32_t seed)
{
    g_rand_set_seed(dice, seed);
}

int sim_random(int n)
{
    return g_rand_int_range(dice, 0, n);
}

bool sim_one_in(int n)
{
    return sim_random(n) == 0;
}

void sim_pause(Co *co)
{
    if (sim_one_in(3)) {
        co_yield(co);
    } else {
        co_sleep(co, sim_random(1000 * 1000));
    }
}
