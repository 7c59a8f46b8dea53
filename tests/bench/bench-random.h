/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The load of the qcow2 measurements: coroutines that read or write 4 KiB at
 * random places of a disk.
 */
#ifndef TESTS_BENCH_RANDOM_H
#define TESTS_BENCH_RANDOM_H

#include "../unit/mem-driver.h"

#define BENCH_LEN 4096

typedef struct BenchLoad {
    Root *root;
    int left;                   /* requests to be started */
    bool write;
} BenchLoad;

static int bench_random_worker(Co *co, void *arg)
{
    BenchLoad *l = arg;
    g_autofree uint8_t *buf = g_malloc(BENCH_LEN);
    GRand *rand = g_rand_new_with_seed(l->left);
    int64_t span = root_length(l->root) / BENCH_LEN;

    memset(buf, 0x5a, BENCH_LEN);
    while (l->left-- > 0) {
        int64_t off = (int64_t)g_rand_int_range(rand, 0, span) * BENCH_LEN;
        int r = l->write ? root_pwrite(co, l->root, off, BENCH_LEN, buf, 0) :
                root_pread(co, l->root, off, BENCH_LEN, buf);

        g_assert(r == 0);
    }
    g_rand_free(rand);
    return 0;
}

/* @ops requests by @depth coroutines: how many a second. */
static double bench_random(Co *co, Root *root, int depth, bool write, int ops)
{
    BenchLoad l = { root, ops, write };
    int64_t start = clock_ns();
    CoGroup group;

    co_group_init(&group, co_loop(co), depth);
    for (int i = 0; i < depth; i++) {
        co_group_start(co, &group, bench_random_worker, &l);
    }
    co_group_wait(co, &group);
    return ops * 1e9 / (clock_ns() - start);
}

#endif
