/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Finding and counting bits of a Bitset. Leaves and pages that are all set or
 * all clear are stepped over whole.
 */
#include "util/bitset-private.h"

/* The end of the leaf or page around @bit that has one value, and the value. */
static int64_t uniform_end(const Bitset *set, int64_t bit, bool *value)
{
    int64_t p = bit >> PAGE_SHIFT, l = p >> set->leaf_shift;
    BitsetPage *page;

    if (!leaf_is_mixed(set->top[l])) {
        *value = set->top[l] != NULL;
        return (l + 1) << (set->leaf_shift + PAGE_SHIFT);
    }
    page = page_get(set, p);
    if (!page_is_mixed(page)) {
        *value = page != NULL;
        return (p + 1) << PAGE_SHIFT;
    }
    return -1;
}

static int64_t bitset_find(const Bitset *set, int64_t from, int64_t end,
                           bool value)
{
    g_assert(from >= 0 && end <= set->nbits);
    while (from < end) {
        bool uniform;
        int64_t stop = uniform_end(set, from, &uniform);

        if (stop < 0) {
            int64_t p = from >> PAGE_SHIFT, base = p << PAGE_SHIFT;
            int64_t page_end = MIN(end - base, BITSET_PAGE_BITS);
            int64_t bit = bitset_words_find(page_get(set, p)->words,
                                            from - base, page_end, value);

            if (bit >= 0) {
                return base + bit;
            }
            stop = base + BITSET_PAGE_BITS;
        } else if (uniform == value) {
            return from;
        }
        from = stop;
    }
    return -1;
}

int64_t bitset_next_set(const Bitset *set, int64_t from, int64_t end)
{
    return bitset_find(set, from, end, true);
}

int64_t bitset_next_clear(const Bitset *set, int64_t from, int64_t end)
{
    return bitset_find(set, from, end, false);
}

/* The next run, if it begins and ends in the page of @from, which is mixed: the page
 * is looked up once. */
static bool run_in_page(const Bitset *set, int64_t from, int64_t end,
                        int64_t *first, int64_t *n)
{
    int64_t p = from >> PAGE_SHIFT, base = p << PAGE_SHIFT;
    const BitsetPage *page = page_get(set, p);
    int64_t page_end = MIN(end - base, BITSET_PAGE_BITS), start, stop;

    if (!page_is_mixed(page)) {
        return false;
    }
    start = bitset_words_find(page->words, from - base, page_end, true);
    if (start < 0) {
        return false;
    }
    stop = bitset_words_find(page->words, start, page_end, false);
    *first = base + start;
    *n = stop - start;
    return stop >= 0;
}

bool bitset_next_run(const Bitset *set, int64_t from, int64_t end,
                     int64_t max_bits, int64_t *first, int64_t *n)
{
    int64_t start, stop;

    g_assert(max_bits > 0);
    if (from < end && run_in_page(set, from, end, first, n) &&
        *n <= max_bits) {
        return true;
    }
    start = bitset_find(set, from, end, true);
    if (start < 0) {
        return false;
    }
    end = MIN(end - start, max_bits) + start;
    stop = bitset_find(set, start, end, false);
    *first = start;
    *n = (stop < 0 ? end : stop) - start;
    return true;
}

int bitset_next_changes(const Bitset *set, int64_t from, int64_t end,
                        int64_t *at, int max)
{
    bool value = from < end && bitset_test(set, from);
    int n = 0;

    g_assert(from >= 0 && end <= set->nbits);
    while (from < end && n < max) {
        bool uniform;
        int64_t stop = uniform_end(set, from, &uniform);

        if (stop < 0) {
            int64_t p = from >> PAGE_SHIFT, base = p << PAGE_SHIFT;

            stop = base + BITSET_PAGE_BITS;
            n += bitset_words_changes(page_get(set, p)->words, from - base,
                                      MIN(end, stop) - base, &value, base,
                                      at + n, max - n);
        } else if (uniform != value) {
            value = uniform;
            at[n++] = from;
        }
        from = stop;
    }
    return n;
}

int64_t bitset_count_range(const Bitset *set, int64_t first, int64_t n)
{
    int64_t end = first + n, count = 0;

    g_assert(first >= 0 && n >= 0 && first <= set->nbits &&
             n <= set->nbits - first);
    while (first < end) {
        bool uniform;
        int64_t stop = uniform_end(set, first, &uniform);

        if (stop < 0) {
            int64_t p = first >> PAGE_SHIFT;

            stop = MIN((p + 1) << PAGE_SHIFT, end);
            count += bitset_words_count_range(page_get(set, p)->words,
                                              first % BITSET_PAGE_BITS,
                                              stop - first);
        } else {
            stop = MIN(stop, end);
            count += uniform ? stop - first : 0;
        }
        first = stop;
    }
    return count;
}
