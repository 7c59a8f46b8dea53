/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Sets against sets. Equal sizes have equal directories, so the sets are walked
 * leaf by leaf and page by page; words are touched only where both pages are
 * mixed. Where the destination was uniform both sets have the page.
 *
 * or, and, andnot are one walk over the states, told apart by a row of ops:
 *
 *              keeps dst if src is   dst stays if   other src makes dst
 *     or       clear                 set            set
 *     and      set                   clear          clear
 *     andnot   clear                 clear          clear
 *
 * Sets of different granularity (bitset_or_scaled) are walked by the source.
 * Its uniform runs are filled into the destination. A mixed page is translated
 * by words if a bit stands for fewer than 64 of the other side's, else by runs
 * or by groups of words.
 */
#include "util/bitset-private.h"

#include "util/iov.h"

typedef struct MergeOp {
    bool src_keeps;         /* a uniform source of this value changes nothing */
    bool dst_keeps;         /* a uniform destination of this value stays */
    bool src_makes;         /* the other uniform source makes this of dst */
    bool invert;            /* a copy of the source is inverted */
    int sign;               /* of the change of the count */
    int64_t (*words)(uint64_t *dst, const uint64_t *src, int n);
} MergeOp;

static const MergeOp merge_or = {
    false, true, true, false, 1, bitset_words_or,
};
static const MergeOp merge_and = {
    true, false, false, false, -1, bitset_words_and,
};
static const MergeOp merge_andnot = {
    false, false, false, true, -1, bitset_words_andnot,
};

static void page_merge(Bitset *dst, const Bitset *src, int64_t p,
                       const MergeOp *op)
{
    BitsetPage *d = page_get(dst, p), *s = page_get(src, p);

    if (!page_is_mixed(s) && (s != NULL) == op->src_keeps) {
        return;
    }
    if (!page_is_mixed(d) && (d != NULL) == op->dst_keeps) {
        return;
    }
    if (!page_is_mixed(s)) {
        bitset_page_put(dst, p, op->src_makes ? PAGE_SET : NULL);
    } else if (d == s) {
        if (op->invert) {
            bitset_page_put(dst, p, NULL);
        }
    } else if (page_is_mixed(d)) {
        d = bitset_page_own(dst, p, d);
        bitset_page_changed(dst, p, d, op->sign *
                            op->words(d->words, s->words, PAGE_WORDS));
    } else if (op->invert) {
        d = bitset_page_edit(dst, p);
        bitset_page_changed(dst, p, d, op->sign *
                            op->words(d->words, s->words, PAGE_WORDS));
    } else {
        bitset_page_put(dst, p, bitset_page_share(dst, s));
    }
}

static void bitset_merge(Bitset *dst, const Bitset *src, const MergeOp *op)
{
    g_assert(dst->nbits == src->nbits);
    for (int64_t l = 0; l < dst->nleaves; l++) {
        BitsetLeaf *d = dst->top[l], *s = src->top[l];
        int64_t p = l << dst->leaf_shift;
        int64_t end = p + leaf_valid(dst, l);

        if ((!leaf_is_mixed(s) && (s != NULL) == op->src_keeps) ||
            (!leaf_is_mixed(d) && (d != NULL) == op->dst_keeps)) {
            continue;
        }
        if (!leaf_is_mixed(s)) {
            bitset_leaf_fill(dst, l, op->src_makes);
            continue;
        }
        for (; p < end; p++) {
            page_merge(dst, src, p, op);
        }
    }
}

void bitset_or(Bitset *dst, const Bitset *src)
{
    bitset_merge(dst, src, &merge_or);
}

void bitset_and(Bitset *dst, const Bitset *src)
{
    bitset_merge(dst, src, &merge_and);
}

void bitset_andnot(Bitset *dst, const Bitset *src)
{
    bitset_merge(dst, src, &merge_andnot);
}

Bitset *bitset_copy(const Bitset *set)
{
    Bitset *copy = bitset_new(set->nbits);

    bitset_or(copy, set);
    return copy;
}

static bool leaf_equal(const BitsetLeaf *a, const BitsetLeaf *b, int64_t n)
{
    if (a->nset != b->nset || a->nmixed != b->nmixed) {
        return false;
    }
    for (int64_t i = 0; i < n; i++) {
        const BitsetPage *p = a->pages[i], *q = b->pages[i];

        if (p == q) {
            continue;
        }
        if (!page_is_mixed(p) || !page_is_mixed(q) || p->count != q->count ||
            memcmp(p->words, q->words, sizeof(p->words))) {
            return false;
        }
    }
    return true;
}

bool bitset_equal(const Bitset *a, const Bitset *b)
{
    if (a->nbits != b->nbits || a->count != b->count) {
        return false;
    }
    for (int64_t l = 0; l < a->nleaves; l++) {
        const BitsetLeaf *p = a->top[l], *q = b->top[l];

        if (p == q) {
            continue;
        }
        if (!leaf_is_mixed(p) || !leaf_is_mixed(q) ||
            !leaf_equal(p, q, leaf_valid(a, l))) {
            return false;
        }
    }
    return true;
}

/* ---- different granularities ---- */

/* dst |= @words, which stand at word @first of page @p; cut to the size. */
static void page_or_words(Bitset *dst, int64_t p, int first, uint64_t *words,
                          int n)
{
    BitsetPage *page;
    int64_t past;

    if (p >= dst->npages || page_get(dst, p) == PAGE_SET) {
        return;
    }
    past = MIN((int64_t)(first + n) * 64 - page_valid(dst, p), (int64_t)n * 64);
    if (past > 0) {
        bitset_words_fill(words, (int64_t)n * 64 - past, past, false);
    }
    if (buffer_is_zero(words, n * sizeof(words[0]))) {
        return;
    }
    page = bitset_page_edit(dst, p);
    bitset_page_changed(dst, p, page,
                        bitset_words_or(page->words + first, words, n));
}

/* Bit positions whose number has bit i clear. */
static const uint64_t low_halves[] = {
    0x5555555555555555, 0x3333333333333333, 0x0f0f0f0f0f0f0f0f,
    0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff,
};

/* Each of the low 64 >> @k bits becomes 1 << @k bits; @k < 6. */
static uint64_t word_expand(uint64_t w, int k)
{
    w &= UINT64_MAX >> (64 - (64 >> k));
    /* Bit i goes to i << k: one bit of the number i moves at a time. */
    for (int i = 5 - k; i >= 0; i--) {
        int move = (1 << (i + k)) - (1 << i);

        w = (w & low_halves[i]) | (w & ~low_halves[i]) << move;
    }
    return w * ((UINT64_C(1) << (1 << k)) - 1);
}

/* Each group of 1 << @k bits becomes one bit; @k < 6. */
static uint64_t word_compress(uint64_t w, int k)
{
    for (int i = 0; i < k; i++) {
        w = (w | w >> (1 << i)) & low_halves[i];
    }
    for (int i = 0; i <= 5 - k; i++) {
        int move = (1 << (i + k)) - (1 << i);

        w = (w & low_halves[i + k]) | (w & ~low_halves[i + k]) >> move;
    }
    return w;
}

/* A run of the source, where one bit is @k powers of two larger. */
static void fill_scaled(Bitset *dst, int k, int64_t first, int64_t n)
{
    int64_t end = first + n;

    if (k >= 0) {
        if (first > dst->nbits >> k) {
            return;
        }
        first <<= k;
        end = end > dst->nbits >> k ? dst->nbits : end << k;
    } else {
        first >>= -k;
        end = MIN(((end - 1) >> -k) + 1, dst->nbits);
    }
    if (first < end) {
        bitset_set(dst, first, end - first);
    }
}

/* One page of coarse bits sets up to 1 << @k pages; @k < 6. */
static void page_expand(Bitset *dst, const uint64_t *src, int64_t p, int k)
{
    for (int64_t part = 0; part < 1 << k; part++) {
        int64_t from = part * (BITSET_PAGE_BITS >> k);
        uint64_t words[PAGE_WORDS];

        for (int i = 0; i < PAGE_WORDS; i++) {
            int64_t bit = from + ((int64_t)i * 64 >> k);

            words[i] = word_expand(src[bit / 64] >> (bit % 64), k);
        }
        page_or_words(dst, (p << k) + part, 0, words, PAGE_WORDS);
    }
}

/* One page of fine bits sets a 1 << @k'th of a page; @k < 6. */
static void page_compress(Bitset *dst, const uint64_t *src, int64_t p, int k)
{
    int n = PAGE_WORDS >> k;
    uint64_t words[PAGE_WORDS] = { 0 };

    for (int i = 0; i < PAGE_WORDS; i++) {
        int place = (i & ((1 << k) - 1)) * (64 >> k);

        words[i >> k] |= word_compress(src[i], k) << place;
    }
    page_or_words(dst, p >> k, (p & ((1 << k) - 1)) * n, words, n);
}

/* A bit of the destination stands for whole words, or for pages. */
static void page_compress_words(Bitset *dst, const uint64_t *src, int64_t p,
                                int k)
{
    int n = k < PAGE_SHIFT ? 1 << (k - 6) : PAGE_WORDS;

    for (int i = 0; i < PAGE_WORDS; i += n) {
        if (!buffer_is_zero(src + i, n * sizeof(src[0]))) {
            fill_scaled(dst, -k, (p << PAGE_SHIFT) + i * 64, 1);
        }
    }
}

static void page_or_scaled(Bitset *dst, const Bitset *src, int64_t p, int k)
{
    const BitsetPage *page = page_get(src, p);
    int64_t first = p << PAGE_SHIFT, end = first + page_valid(src, p);
    int64_t n;

    if (!page_is_mixed(page)) {
        if (page) {
            fill_scaled(dst, k, first, end - first);
        }
    } else if (k >= 6) {
        while (bitset_next_run(src, first, end, INT64_MAX, &first, &n)) {
            fill_scaled(dst, k, first, n);
            first += n;
        }
    } else if (k >= 0) {
        page_expand(dst, page->words, p, k);
    } else if (k > -6) {
        page_compress(dst, page->words, p, -k);
    } else {
        page_compress_words(dst, page->words, p, -k);
    }
}

void bitset_or_scaled(Bitset *dst, int dst_shift, const Bitset *src,
                      int src_shift)
{
    int k = src_shift - dst_shift;

    g_assert(k > -63 && k < 63);
    if (k == 0 && dst->nbits == src->nbits) {
        bitset_or(dst, src);
        return;
    }
    for (int64_t l = 0; l < src->nleaves; l++) {
        int64_t p = l << src->leaf_shift;
        int64_t end = p + leaf_valid(src, l);

        if (leaf_is_mixed(src->top[l])) {
            for (; p < end; p++) {
                page_or_scaled(dst, src, p, k);
            }
        } else if (src->top[l]) {
            fill_scaled(dst, k, p << PAGE_SHIFT,
                        MIN(end << PAGE_SHIFT, src->nbits) -
                        (p << PAGE_SHIFT));
        }
    }
}
