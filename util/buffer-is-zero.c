/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Is a buffer all zero? Asked for every cluster that is copied, so it runs at
 * the speed of memory where the answer is yes, and where it is no it mostly
 * ends at one of three words looked at first.
 *
 * The middle of a long buffer goes in blocks of 256 bytes, from the first
 * aligned one on, or-ed together and tested once a block; head and tail are
 * looked at by overlapping unaligned blocks. The same block function, plain C
 * over vectors of 64-bit words, is compiled for the base machine, for AVX2 and
 * for AVX-512; which one is used is decided once, before main().
 */
#include <sys/mman.h>

#include "util/cpu.h"
#include "util/iov.h"

#define BLOCK 256

typedef uint64_t ZeroVec __attribute__((vector_size(64), aligned(1),
                                        may_alias));

static inline uint64_t word_at(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof(w));
    return w;
}

static inline __attribute__((always_inline))
bool block_is_zero(const char *p)
{
    const ZeroVec *v = (const ZeroVec *)p;
    ZeroVec all = v[0] | v[1] | v[2] | v[3];

    return !((all[0] | all[1]) | (all[2] | all[3]) |
             (all[4] | all[5]) | (all[6] | all[7]));
}

/* @len >= BLOCK */
static inline __attribute__((always_inline))
bool long_is_zero(const char *buf, size_t len)
{
    const char *last = buf + len - BLOCK;
    const char *p = (const char *)(((uintptr_t)buf + 64) & ~(uintptr_t)63);

    if (!block_is_zero(buf)) {
        return false;
    }
    for (; p < last; p += BLOCK) {
        if (!block_is_zero(p)) {
            return false;
        }
    }
    return block_is_zero(last);
}

static bool long_is_zero_base(const char *buf, size_t len)
{
    return long_is_zero(buf, len);
}

static bool (*long_is_zero_fn)(const char *, size_t) = long_is_zero_base;

#if defined(__x86_64__)
__attribute__((target("avx2")))
static bool long_is_zero_avx2(const char *buf, size_t len)
{
    return long_is_zero(buf, len);
}

__attribute__((target("avx512f")))
static bool long_is_zero_avx512(const char *buf, size_t len)
{
    return long_is_zero(buf, len);
}

__attribute__((constructor))
static void long_is_zero_choose(void)
{
    if (CPU_HAS_AVX512F) {
        long_is_zero_fn = long_is_zero_avx512;
    } else if (CPU_HAS_AVX2) {
        long_is_zero_fn = long_is_zero_avx2;
    }
}
#endif

static bool short_is_zero(const char *p, size_t len)
{
    uint64_t all = 0;

    if (len < 8) {
        for (size_t i = 0; i < len; i++) {
            all |= (unsigned char)p[i];
        }
        return !all;
    }
    for (size_t i = 0; i + 8 < len; i += 8) {
        all |= word_at(p + i);
    }
    return !(all | word_at(p + len - 8));
}

bool buffer_is_zero(const void *buf, size_t len)
{
    const char *p = buf;

    if (len < BLOCK) {
        return short_is_zero(p, len);
    }
    if (word_at(p) | word_at(p + len / 2 - 4) | word_at(p + len - 8)) {
        return false;
    }
    return long_is_zero_fn(p, len);
}

void buffer_release_zeroes(void *buf, size_t len)
{
    size_t page = getpagesize();
    uintptr_t at = ROUND_UP((uintptr_t)buf, page);
    uintptr_t end = ROUND_DOWN((uintptr_t)buf + len, page);
    uintptr_t zeroes = at;

    for (; at < end; at += page) {
        if (buffer_is_zero((void *)at, page)) {
            continue;
        }
        if (at > zeroes) {
            madvise((void *)zeroes, at - zeroes, MADV_DONTNEED);
        }
        zeroes = at + page;
    }
    if (end > zeroes) {
        madvise((void *)zeroes, end - zeroes, MADV_DONTNEED);
    }
}
