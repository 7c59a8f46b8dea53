/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The inside of a Bitset, shared by the bitset*.c files.
 *
 *   top:  [ leaf 0 | leaf 1 | ... ]     NULL, LEAF_SET or a leaf
 *              |
 *   leaf: [ page 0 | page 1 | ... ]     NULL, PAGE_SET or a page
 *              |
 *   page: 512 words and the count of their set bits; shared between a set and
 *         its copies until one of them changes it
 *
 * NULL is all clear. Canonical form, which every function leaves behind: a page
 * is neither empty nor full, a leaf has at least one page that differs from
 * another; so equal sets have equal shapes. Both levels of the directory have
 * about as many entries (leaf_shift follows from the size), so an empty set of
 * 2^48 bits takes half a MiB. Bits and pages past the size are clear.
 */
#ifndef UTIL_BITSET_PRIVATE_H
#define UTIL_BITSET_PRIVATE_H

#include "util/bitset.h"

#define PAGE_WORDS (BITSET_PAGE_BYTES / 8)
#define PAGE_SHIFT 15

typedef struct BitsetPage {
    uint64_t words[PAGE_WORDS];
    uint32_t count;
    uint32_t refs;          /* sets that have it; atomic, for copies of a set
                             * may live in other threads */
    bool pooled;            /* lies in a slab of bitset-pool.c */
} __attribute__((aligned(64))) BitsetPage;

typedef struct BitsetLeaf {
    uint32_t nset;          /* entries that are PAGE_SET */
    uint32_t nmixed;        /* entries that are pages */
    BitsetPage *pages[];    /* 1 << leaf_shift */
} BitsetLeaf;

struct Bitset {
    BitsetLeaf **top;
    int64_t nbits;
    int64_t npages;
    int64_t nleaves;        /* entries of top */
    int leaf_shift;
    int64_t count;
    int64_t leaves_in_use;
    int64_t pages_in_use;
    BitsetPage *spare;      /* the page freed last, or NULL */
};

/* Tags, told by their address and never dereferenced. */
extern BitsetPage bitset_page_set_tag;
extern BitsetLeaf bitset_leaf_set_tag;
#define PAGE_SET (&bitset_page_set_tag)
#define LEAF_SET (&bitset_leaf_set_tag)

static inline bool page_is_mixed(const BitsetPage *page)
{
    return page && page != PAGE_SET;
}

static inline bool leaf_is_mixed(const BitsetLeaf *leaf)
{
    return leaf && leaf != LEAF_SET;
}

/* Valid bits of page @p. */
static inline int64_t page_valid(const Bitset *set, int64_t p)
{
    return MIN(set->nbits - (p << PAGE_SHIFT), BITSET_PAGE_BITS);
}

/* Valid pages of leaf @l. */
static inline int64_t leaf_valid(const Bitset *set, int64_t l)
{
    return MIN(set->npages - (l << set->leaf_shift),
               (int64_t)1 << set->leaf_shift);
}

static inline BitsetPage *page_get(const Bitset *set, int64_t p)
{
    BitsetLeaf *leaf = set->top[p >> set->leaf_shift];

    if (!leaf_is_mixed(leaf)) {
        return leaf ? PAGE_SET : NULL;
    }
    return leaf->pages[p & (((int64_t)1 << set->leaf_shift) - 1)];
}

static inline int64_t page_count(const Bitset *set, int64_t p,
                                 const BitsetPage *page)
{
    return page_is_mixed(page) ? page->count : page ? page_valid(set, p) : 0;
}

/*
 * Puts @page (NULL, PAGE_SET or a page of this set that it takes) in place of
 * page @p, frees the old one, keeps the directory canonical and the set's
 * count.
 */
void bitset_page_put(Bitset *set, int64_t p, BitsetPage *page);
/* The same for a whole leaf, all set or all clear. */
void bitset_leaf_fill(Bitset *set, int64_t l, bool value);
/* A page that is not yet in the set; words and count are the caller's. */
BitsetPage *bitset_page_alloc(Bitset *set);
/* The mixed @page of another set, to be put into this one. */
BitsetPage *bitset_page_share(Bitset *set, BitsetPage *page);
/* The mixed @page, which is page @p, or a copy that took its place because
 * another set has it, too: it may be changed. */
BitsetPage *bitset_page_own(Bitset *set, int64_t p, BitsetPage *page);
/* A page in the set that is to be changed: one is made if it is not mixed.
 * The caller changes it and calls bitset_page_changed(). */
BitsetPage *bitset_page_edit(Bitset *set, int64_t p);
/* @delta bits of the mixed page @p were set or (negative) cleared. */
void bitset_page_changed(Bitset *set, int64_t p, BitsetPage *page,
                         int64_t delta);

/* ---- bitset-pool.c: memory for pages, from any thread ---- */

/* Not initialized. */
BitsetPage *bitset_pool_get(void);
void bitset_pool_put(BitsetPage *page);     /* NULL: nothing */

/* ---- bitset-words.c: arrays of words, all with the count of changed bits;
 * ranges are not empty ---- */

int64_t bitset_words_or(uint64_t *dst, const uint64_t *src, int n);
int64_t bitset_words_and(uint64_t *dst, const uint64_t *src, int n);
int64_t bitset_words_andnot(uint64_t *dst, const uint64_t *src, int n);
int64_t bitset_words_count(const uint64_t *words, int n);
/* Sets or clears bits [first, first + len). */
int64_t bitset_words_fill(uint64_t *words, int64_t first, int64_t len,
                          bool value);
/* Counts set bits in [first, first + len). */
int64_t bitset_words_count_range(const uint64_t *words, int64_t first,
                                 int64_t len);
/* The first bit of @value in [from, end), or -1. */
int64_t bitset_words_find(const uint64_t *words, int64_t from, int64_t end,
                          bool value);
/* The bits of [from, end) that differ from the one before, which is *@value before
 * @from and becomes the last one; @base is added to each. At most @max; how
 * many. */
int bitset_words_changes(const uint64_t *words, int64_t from, int64_t end,
                         bool *value, int64_t base, int64_t *at, int max);

#endif
