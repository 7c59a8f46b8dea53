/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * An amount of something, such as memory, that users on any threads take parts of
 * and give back. Nobody waits here: who gets nothing has to do without. So no
 * user can keep another one waiting, whatever it has taken.
 */
#ifndef UTIL_BUDGET_H
#define UTIL_BUDGET_H

#include "util/osdep.h"

typedef struct Budget Budget;

Budget *budget_new(uint64_t total);
/* All that was taken has been given back. NULL ok. */
void budget_free(Budget *b);
/* All of @n, or false and nothing. Any thread. */
bool budget_take(Budget *b, uint64_t n);
/* The same, for what would only be of use: as long as half is left for others. */
bool budget_take_spare(Budget *b, uint64_t n);
void budget_give(Budget *b, uint64_t n);
/* What is taken at the moment. */
uint64_t budget_used(const Budget *b);

#endif
