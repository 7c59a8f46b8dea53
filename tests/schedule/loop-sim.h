/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A loop whose clock is a number and whose dice are a seed.
 *
 * Of the coroutines that are ready any may run next; nothing takes time but
 * what sleeps, and then the clock jumps to the next timer. There is no kernel
 * in it: no files, no sockets, no threads. So the same seed gives the same run,
 * and an interleaving that breaks something has a number.
 */
#ifndef TESTS_SCHEDULE_LOOP_SIM_H
#define TESTS_SCHEDULE_LOOP_SIM_H

#include "util/loop.h"

/* Once, before the first loop is made. */
void sim_init(void);
/* Begins a run. */
void sim_seed(uint32_t seed);
/* In [0, n). */
int sim_random(int n);
/* In one of @n cases. */
bool sim_one_in(int n);
/* Suspends for a moment: a turn of the others, or up to a millisecond. */
void sim_pause(Co *co);

#endif
