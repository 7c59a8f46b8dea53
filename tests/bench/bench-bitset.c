/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * How long the bitmap of a 16 TiB disk at 64 KiB granularity takes: a guest's
 * writes, merges sparse and dense, scans, and what they cost in memory. A line
 * each; the copy of the dense pages' bytes stands beside as the measure.
 */
#include "util/bitset.h"

#define NBITS ((int64_t)1 << 28)

static int64_t started;

static void bench_begin(void)
{
    started = clock_ns();
}

static double bench_us(void)
{
    return (clock_ns() - started) / 1e3;
}

static Bitset *bitset_dense(uint64_t seed)
{
    Bitset *set = bitset_new(NBITS);
    uint64_t words[BITSET_PAGE_BYTES / 8];

    for (int64_t p = 0; p < bitset_npages(set); p++) {
        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            words[i] = seed;
        }
        bitset_page_write(set, p, words);
    }
    return set;
}

static Bitset *bitset_sparse(int64_t step)
{
    Bitset *set = bitset_new(NBITS);

    for (int64_t bit = 0; bit < NBITS; bit += step) {
        bitset_set(set, bit, 5);
    }
    return set;
}

static void bench_set_bits(void)
{
    g_autoptr(Bitset) set = bitset_new(NBITS);
    uint64_t x = 1;
    int n = 10000000;

    /* A hot region of 16 GiB, so that the caches see what a guest's do. */
    bench_begin();
    for (int i = 0; i < n; i++) {
        x = x * 6364136223846793005 + 1442695040888963407;
        bitset_set(set, x >> 46, 1);
    }
    printf("set one random bit of 2^18      %8.2f ns\n", bench_us() * 1e3 / n);

    bench_begin();
    for (int i = 0; i < n; i++) {
        bitset_set(set, i % 1000 + 64, 1);
    }
    printf("set a bit that is set           %8.2f ns\n", bench_us() * 1e3 / n);

    bench_begin();
    for (int i = 0; i < n; i++) {
        x = x * 6364136223846793005 + 1442695040888963407;
        bitset_clear(set, x >> 46, 1);
    }
    printf("clear one random bit of 2^18    %8.2f ns\n", bench_us() * 1e3 / n);

    bitset_clear_all(set);
    bench_begin();
    for (int i = 0; i < n; i++) {
        bitset_set(set, 4711, 1);
        bitset_clear(set, 4711, 1);
    }
    printf("set and clear an only bit       %8.2f ns\n", bench_us() * 1e3 / n);
}

static void bench_sparse(void)
{
    g_autoptr(Bitset) a = bitset_sparse(NBITS / 50);
    g_autoptr(Bitset) b = bitset_sparse(NBITS / 40);

    printf("memory, 50 dirty regions        %8zu KiB\n",
           bitset_memory(a) / 1024);
    bench_begin();
    bitset_or(a, b);
    printf("merge, sparse                   %8.1f us\n", bench_us());
}

static void bench_dense(void)
{
    g_autoptr(Bitset) a = bitset_dense(1);
    g_autoptr(Bitset) b = bitset_dense(2);
    g_autoptr(Bitset) c = NULL;
    size_t bytes = NBITS / 8;
    g_autofree char *from = g_malloc(bytes);
    g_autofree char *to = g_malloc(bytes);
    int64_t bit = 0, first, n, runs = 0;

    printf("memory, all mixed               %8.1f MiB\n",
           bitset_memory(a) / (double)MiB);
    memset(from, 1, bytes);
    memset(to, 2, bytes);
    bench_begin();
    memcpy(to, from, bytes);
    printf("memcpy of 32 MiB, warm          %8.1f us\n", bench_us());
    bench_begin();
    bitset_or(a, b);
    printf("merge, all pages mixed          %8.1f us\n", bench_us());
    bench_begin();
    bitset_andnot(a, b);
    printf("and-not, all pages mixed        %8.1f us\n", bench_us());
    bench_begin();
    c = bitset_copy(a);
    printf("copy, all pages mixed           %8.1f us\n", bench_us());
    bench_begin();
    while (bitset_next_run(a, bit, NBITS, INT64_MAX, &first, &n)) {
        bit = first + n;
        runs++;
    }
    printf("scan, a run                     %8.2f ns\n",
           bench_us() * 1e3 / runs);
    g_assert_cmpint(to[5], ==, 1);
}

static void bench_scaled(void)
{
    g_autoptr(Bitset) src = bitset_dense(3);
    static const int factors[] = { 1, 4, 8 };

    for (size_t i = 0; i < ARRAY_SIZE(factors); i++) {
        int k = factors[i];
        g_autoptr(Bitset) coarse = bitset_new(NBITS >> k);
        g_autoptr(Bitset) fine = bitset_new(NBITS << k);

        bench_begin();
        bitset_or_scaled(coarse, k, src, 0);
        printf("merge, %3d bits to one          %8.1f us\n", 1 << k,
               bench_us());
        if (k > 4) {
            continue;
        }
        bench_begin();
        bitset_or_scaled(fine, 0, src, k);
        printf("merge, one bit to %3d           %8.1f us\n", 1 << k,
               bench_us());
    }
}

int main(void)
{
    bench_set_bits();
    bench_sparse();
    bench_dense();
    bench_scaled();
    return 0;
}
