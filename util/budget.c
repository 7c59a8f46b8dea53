/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A counter and its upper bound.
 */
#include "util/budget.h"

#include <stdatomic.h>

struct Budget {
    uint64_t total;
    _Atomic uint64_t used;      /* never above total */
};

Budget *budget_new(uint64_t total)
{
    Budget *b = g_new0(Budget, 1);

    b->total = total;
    return b;
}

void budget_free(Budget *b)
{
    g_assert(!b || budget_used(b) == 0);
    g_free(b);
}

static bool budget_take_below(Budget *b, uint64_t n, uint64_t bound)
{
    uint64_t used = atomic_load_explicit(&b->used, memory_order_relaxed);

    do {
        if (used > bound || n > bound - used) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&b->used, &used, used + n));
    return true;
}

bool budget_take(Budget *b, uint64_t n)
{
    return budget_take_below(b, n, b->total);
}

bool budget_take_spare(Budget *b, uint64_t n)
{
    return budget_take_below(b, n, b->total / 2);
}

void budget_give(Budget *b, uint64_t n)
{
    uint64_t used = atomic_fetch_sub(&b->used, n);

    g_assert(used >= n);
}

uint64_t budget_used(const Budget *b)
{
    return atomic_load(&b->used);
}
