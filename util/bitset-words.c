/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Plain arrays of 64-bit words, as a Bitset's pages hold them.
 *
 * The kernels change words and count the changed bits in the same pass. Each is
 * written once and compiled for the base machine and for one with popcnt, which
 * alone makes them four times as fast; which one is used is decided once,
 * before main().
 */
#include "util/bitset-private.h"

#include "util/cpu.h"

typedef struct WordKernels {
    int64_t (*or)(uint64_t *dst, const uint64_t *src, int n);
    int64_t (*and)(uint64_t *dst, const uint64_t *src, int n);
    int64_t (*andnot)(uint64_t *dst, const uint64_t *src, int n);
    int64_t (*count)(const uint64_t *words, int n);
} WordKernels;

#define DEFINE_KERNELS(suffix, attr)                                          \
    attr static int64_t or_##suffix(uint64_t *dst, const uint64_t *src,       \
                                    int n)                                    \
    {                                                                         \
        int64_t changed = 0;                                                  \
                                                                              \
        for (int i = 0; i < n; i++) {                                         \
            changed += __builtin_popcountll(src[i] & ~dst[i]);                \
            dst[i] |= src[i];                                                 \
        }                                                                     \
        return changed;                                                       \
    }                                                                         \
                                                                              \
    attr static int64_t and_##suffix(uint64_t *dst, const uint64_t *src,      \
                                     int n)                                   \
    {                                                                         \
        int64_t changed = 0;                                                  \
                                                                              \
        for (int i = 0; i < n; i++) {                                         \
            changed += __builtin_popcountll(dst[i] & ~src[i]);                \
            dst[i] &= src[i];                                                 \
        }                                                                     \
        return changed;                                                       \
    }                                                                         \
                                                                              \
    attr static int64_t andnot_##suffix(uint64_t *dst, const uint64_t *src,   \
                                        int n)                                \
    {                                                                         \
        int64_t changed = 0;                                                  \
                                                                              \
        for (int i = 0; i < n; i++) {                                         \
            changed += __builtin_popcountll(dst[i] & src[i]);                 \
            dst[i] &= ~src[i];                                                \
        }                                                                     \
        return changed;                                                       \
    }                                                                         \
                                                                              \
    attr static int64_t count_##suffix(const uint64_t *words, int n)          \
    {                                                                         \
        int64_t count = 0;                                                    \
                                                                              \
        for (int i = 0; i < n; i++) {                                         \
            count += __builtin_popcountll(words[i]);                          \
        }                                                                     \
        return count;                                                         \
    }                                                                         \
                                                                              \
    static const WordKernels kernels_##suffix = {                             \
        or_##suffix, and_##suffix, andnot_##suffix, count_##suffix,           \
    }

DEFINE_KERNELS(base, );
static const WordKernels *kernels = &kernels_base;

#if defined(__x86_64__)
DEFINE_KERNELS(popcnt, __attribute__((target("popcnt,avx2,bmi"))));

__attribute__((constructor))
static void kernels_choose(void)
{
    if (CPU_HAS_POPCNT && CPU_HAS_AVX2 && CPU_HAS_BMI1) {
        kernels = &kernels_popcnt;
    }
}
#endif

int64_t bitset_words_or(uint64_t *dst, const uint64_t *src, int n)
{
    return kernels->or(dst, src, n);
}

int64_t bitset_words_and(uint64_t *dst, const uint64_t *src, int n)
{
    return kernels->and(dst, src, n);
}

int64_t bitset_words_andnot(uint64_t *dst, const uint64_t *src, int n)
{
    return kernels->andnot(dst, src, n);
}

int64_t bitset_words_count(const uint64_t *words, int n)
{
    return kernels->count(words, n);
}

/* Bits [first, last] of a word. */
static uint64_t word_mask(int first, int last)
{
    return (UINT64_MAX << first) & (UINT64_MAX >> (63 - last));
}

static int64_t word_fill(uint64_t *word, uint64_t mask, bool value)
{
    uint64_t changed = (value ? ~*word : *word) & mask;

    *word ^= changed;
    return __builtin_popcountll(changed);
}

int64_t bitset_words_fill(uint64_t *words, int64_t first, int64_t len,
                          bool value)
{
    int64_t w = first / 64, last = (first + len - 1) / 64;
    int64_t changed;
    int n;

    if (w == last) {
        return word_fill(&words[w], word_mask(first % 64,
                                              (first + len - 1) % 64), value);
    }
    changed = word_fill(&words[w], word_mask(first % 64, 63), value);
    changed += word_fill(&words[last],
                         word_mask(0, (first + len - 1) % 64), value);
    n = last - w - 1;
    if (n) {
        int64_t before = kernels->count(&words[w + 1], n);

        memset(&words[w + 1], value ? 0xff : 0, n * sizeof(words[0]));
        changed += value ? (int64_t)n * 64 - before : before;
    }
    return changed;
}

int64_t bitset_words_count_range(const uint64_t *words, int64_t first,
                                 int64_t len)
{
    int64_t w = first / 64, last = (first + len - 1) / 64;
    uint64_t head = word_mask(first % 64, 63);
    uint64_t tail = word_mask(0, (first + len - 1) % 64);

    if (w == last) {
        return __builtin_popcountll(words[w] & head & tail);
    }
    return __builtin_popcountll(words[w] & head) +
           __builtin_popcountll(words[last] & tail) +
           kernels->count(&words[w + 1], last - w - 1);
}

int64_t bitset_words_find(const uint64_t *words, int64_t from, int64_t end,
                          bool value)
{
    uint64_t flip = value ? 0 : UINT64_MAX;
    uint64_t word = (words[from / 64] ^ flip) & (UINT64_MAX << (from % 64));
    int64_t w = from / 64, bit;

    while (!word) {
        if (++w * 64 >= end) {
            return -1;
        }
        word = words[w] ^ flip;
    }
    bit = w * 64 + __builtin_ctzll(word);
    return bit < end ? bit : -1;
}

int bitset_words_changes(const uint64_t *words, int64_t from, int64_t end,
                         bool *value, int64_t base, int64_t *at, int max)
{
    int64_t last = (end - 1) / 64;
    uint64_t first = UINT64_C(1) << (from % 64);
    uint64_t before = *value;
    int n = 0;

    for (int64_t w = from / 64; w <= last; w++) {
        uint64_t word = words[w];
        uint64_t diff = word ^ ((word << 1 & ~first) | (before ? first : 0));

        diff &= -first;
        if (w == last) {
            diff &= word_mask(0, (end - 1) % 64);
        }
        for (; diff; diff &= diff - 1) {
            if (n == max) {
                return n;
            }
            at[n++] = base + w * 64 + __builtin_ctzll(diff);
        }
        before = word >> 63;
        first = 1;
    }
    *value = words[last] >> ((end - 1) % 64) & 1;
    return n;
}
