/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A large set of bits, kept in pages of 4 KiB (32768 bits).
 *
 * A page is all clear, all set, or allocated with a count of its set bits. An
 * allocated page never holds only zeroes or only ones: it is folded as soon as
 * its count says so. Hence memory grows only with the regions that are mixed,
 * and count, merge, clear, invert and scan skip whole pages. A two-level
 * directory keeps an empty huge set small.
 *
 * A copy of a set has the same pages until either is changed, also in another
 * thread; a set itself belongs to one thread at a time.
 *
 * Bits past the size are always clear and never counted; so the last page is
 * "all set" when its valid bits are.
 */
#ifndef UTIL_BITSET_H
#define UTIL_BITSET_H

#include "util/osdep.h"

#define BITSET_PAGE_BYTES 4096
#define BITSET_PAGE_BITS (BITSET_PAGE_BYTES * 8)

typedef struct Bitset Bitset;

typedef enum BitsetPageState {
    BITSET_PAGE_CLEAR,
    BITSET_PAGE_SET,
    BITSET_PAGE_MIXED,
} BitsetPageState;

Bitset *bitset_new(int64_t nbits);
Bitset *bitset_copy(const Bitset *set);
void bitset_free(Bitset *set);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Bitset, bitset_free)

int64_t bitset_size(const Bitset *set);
int64_t bitset_count(const Bitset *set);        /* O(1) */
bool bitset_empty(const Bitset *set);
bool bitset_test(const Bitset *set, int64_t bit);
void bitset_set(Bitset *set, int64_t first, int64_t n);
void bitset_clear(Bitset *set, int64_t first, int64_t n);
void bitset_clear_all(Bitset *set);
void bitset_set_all(Bitset *set);
void bitset_invert(Bitset *set);
/* New bits are clear. */
void bitset_resize(Bitset *set, int64_t nbits);

/* The first set (clear) bit in [from, end), or -1. */
int64_t bitset_next_set(const Bitset *set, int64_t from, int64_t end);
int64_t bitset_next_clear(const Bitset *set, int64_t from, int64_t end);
/* The first run of set bits in [from, end), cut to it and to @max_bits. */
bool bitset_next_run(const Bitset *set, int64_t from, int64_t end,
                     int64_t max_bits, int64_t *first, int64_t *n);
/* Where in (from, end) a bit differs from the one before it: the first of these
 * places, at most @max, into @at. How many; fewer than @max are all. */
int bitset_next_changes(const Bitset *set, int64_t from, int64_t end,
                        int64_t *at, int max);
/* Set bits in [first, first + n). */
int64_t bitset_count_range(const Bitset *set, int64_t first, int64_t n);

/* dst |= src, dst &= src, dst &= ~src; equal sizes. */
void bitset_or(Bitset *dst, const Bitset *src);
void bitset_and(Bitset *dst, const Bitset *src);
void bitset_andnot(Bitset *dst, const Bitset *src);
bool bitset_equal(const Bitset *a, const Bitset *b);

/*
 * dst |= src where a bit of one spans several of the other: bit i of @src
 * stands for the bytes from i << src_shift on, likewise for @dst.
 */
void bitset_or_scaled(Bitset *dst, int dst_shift, const Bitset *src,
                      int src_shift);

/* Pages, for storing: page @i covers bits from i * BITSET_PAGE_BITS. */
int64_t bitset_npages(const Bitset *set);
BitsetPageState bitset_page_state(const Bitset *set, int64_t page);
/* Little-endian bits (bit 0 is the lowest of byte 0), BITSET_PAGE_BYTES;
 * bytes past the size are zero. */
void bitset_page_read(const Bitset *set, int64_t page, void *buf);
/* Replaces a whole page; bits past the size in @buf are ignored. */
void bitset_page_write(Bitset *set, int64_t page, const void *buf);

/* Bytes of memory in use, for query and tests. */
size_t bitset_memory(const Bitset *set);

#endif
