/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A protocol driver over memory that takes its time: the place of "null-co" in
 * the simulation. What a node holds outlives it, by the node's name, so that
 * an image can be closed and opened again.
 *
 * Requests move their data in pieces with pauses between them. Two writes of
 * the same bytes at the same time are a bug of who sent them, and assert.
 */
#ifndef TESTS_SCHEDULE_SIM_DISK_H
#define TESTS_SCHEDULE_SIM_DISK_H

#include "block/driver.h"

extern const BlockDriver sim_disk_driver;

/* One in so many requests fails; 0: none. */
void sim_disk_fail(int one_in);
/* How many have failed since the last sim_disk_forget(). */
int sim_disk_failures(void);
/* All contents; no node may be open. */
void sim_disk_forget(void);

#endif
