/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The paged set of bits: its directory, and what sets and clears bits.
 *
 * The structure is drawn in bitset-private.h. All changes of shape go through
 * bitset_page_put() and bitset_leaf_fill(), which keep the set canonical and
 * its count true; bits inside a mixed page change in place and are then
 * reported by bitset_page_changed(), which folds the page if that made it full
 * or empty. Finding bits is in bitset-scan.c, sets against sets in
 * bitset-merge.c.
 */
#include "util/bitset-private.h"

#include "util/bytes.h"

BitsetPage bitset_page_set_tag;
BitsetLeaf bitset_leaf_set_tag;

static void bitset_init(Bitset *set, int64_t nbits)
{
    int shift = 0;

    g_assert(nbits >= 0 && nbits <= (int64_t)1 << 56);
    *set = (Bitset) {
        .nbits = nbits,
        .npages = DIV_ROUND_UP(nbits, BITSET_PAGE_BITS),
    };
    while (set->npages >> (2 * shift)) {
        shift++;
    }
    set->leaf_shift = shift;
    set->nleaves = DIV_ROUND_UP(set->npages, (int64_t)1 << shift);
    set->top = g_new0(BitsetLeaf *, set->nleaves);
}

/* Whether nobody has it any more. */
static bool page_unref(BitsetPage *page)
{
    return __atomic_sub_fetch(&page->refs, 1, __ATOMIC_ACQ_REL) == 0;
}

static bool page_is_shared(const BitsetPage *page)
{
    return __atomic_load_n(&page->refs, __ATOMIC_ACQUIRE) > 1;
}

static void leaf_free(Bitset *set, BitsetLeaf *leaf)
{
    for (int64_t i = 0; i < (int64_t)1 << set->leaf_shift; i++) {
        if (page_is_mixed(leaf->pages[i])) {
            if (page_unref(leaf->pages[i])) {
                bitset_pool_put(leaf->pages[i]);
            }
            set->pages_in_use--;
        }
    }
    g_free(leaf);
    set->leaves_in_use--;
}

static void bitset_fini(Bitset *set)
{
    for (int64_t l = 0; l < set->nleaves; l++) {
        if (leaf_is_mixed(set->top[l])) {
            leaf_free(set, set->top[l]);
        }
    }
    bitset_pool_put(set->spare);
    g_free(set->top);
}

Bitset *bitset_new(int64_t nbits)
{
    Bitset *set = g_new(Bitset, 1);

    bitset_init(set, nbits);
    return set;
}

void bitset_free(Bitset *set)
{
    if (set) {
        bitset_fini(set);
        g_free(set);
    }
}

/* ---- pages and leaves ---- */

BitsetPage *bitset_page_alloc(Bitset *set)
{
    BitsetPage *page = set->spare;

    if (page) {
        set->spare = NULL;
    } else {
        page = bitset_pool_get();
    }
    page->refs = 1;
    set->pages_in_use++;
    return page;
}

BitsetPage *bitset_page_share(Bitset *set, BitsetPage *page)
{
    __atomic_add_fetch(&page->refs, 1, __ATOMIC_RELAXED);
    set->pages_in_use++;
    return page;
}

/* A page of its own with the content of @page. */
static BitsetPage *page_clone(Bitset *set, const BitsetPage *page)
{
    BitsetPage *clone = bitset_page_alloc(set);

    memcpy(clone->words, page->words, sizeof(clone->words));
    clone->count = page->count;
    return clone;
}

BitsetPage *bitset_page_own(Bitset *set, int64_t p, BitsetPage *page)
{
    if (page_is_shared(page)) {
        page = page_clone(set, page);
        bitset_page_put(set, p, page);
    }
    return page;
}

static void page_release(Bitset *set, BitsetPage *page)
{
    set->pages_in_use--;
    if (!page_unref(page)) {
        return;
    }
    if (set->spare) {
        bitset_pool_put(page);
    } else {
        set->spare = page;
    }
}

static BitsetLeaf *leaf_new(Bitset *set, int64_t l, bool value)
{
    int64_t n = (int64_t)1 << set->leaf_shift;
    BitsetLeaf *leaf = g_malloc0(sizeof(*leaf) + n * sizeof(leaf->pages[0]));

    if (value) {
        leaf->nset = leaf_valid(set, l);
        for (uint32_t i = 0; i < leaf->nset; i++) {
            leaf->pages[i] = PAGE_SET;
        }
    }
    set->leaves_in_use++;
    return leaf;
}

static int64_t leaf_count(const Bitset *set, int64_t l)
{
    int64_t p = l << set->leaf_shift, n = leaf_valid(set, l), count = 0;
    BitsetLeaf *leaf = set->top[l];

    if (!leaf_is_mixed(leaf)) {
        return leaf ? MIN(n << PAGE_SHIFT, set->nbits - (p << PAGE_SHIFT)) : 0;
    }
    for (int64_t i = 0; i < n; i++) {
        count += page_count(set, p + i, leaf->pages[i]);
    }
    return count;
}

void bitset_leaf_fill(Bitset *set, int64_t l, bool value)
{
    BitsetLeaf *old = set->top[l];

    set->count -= leaf_count(set, l);
    set->top[l] = value ? LEAF_SET : NULL;
    set->count += leaf_count(set, l);
    if (leaf_is_mixed(old)) {
        leaf_free(set, old);
    }
}

void bitset_page_put(Bitset *set, int64_t p, BitsetPage *page)
{
    int64_t l = p >> set->leaf_shift;
    int64_t i = p & (((int64_t)1 << set->leaf_shift) - 1);
    BitsetPage *old = page_get(set, p);
    BitsetLeaf *leaf = set->top[l];

    if (old == page) {
        return;
    }
    set->count += page_count(set, p, page) - page_count(set, p, old);
    if (!leaf_is_mixed(leaf)) {
        leaf = set->top[l] = leaf_new(set, l, leaf != NULL);
    }
    leaf->nset += (page == PAGE_SET) - (old == PAGE_SET);
    leaf->nmixed += page_is_mixed(page) - page_is_mixed(old);
    leaf->pages[i] = page;
    if (page_is_mixed(old)) {
        page_release(set, old);
    }
    if (!leaf->nmixed && (!leaf->nset || leaf->nset == leaf_valid(set, l))) {
        set->top[l] = leaf->nset ? LEAF_SET : NULL;
        leaf_free(set, leaf);
    }
}

/* Gives @page the first @valid bits set, the others clear. */
static void page_fill(BitsetPage *page, int64_t valid)
{
    memset(page->words, 0, sizeof(page->words));
    if (valid) {
        bitset_words_fill(page->words, 0, valid, true);
    }
    page->count = valid;
}

BitsetPage *bitset_page_edit(Bitset *set, int64_t p)
{
    BitsetPage *page = page_get(set, p);

    if (!page_is_mixed(page)) {
        int64_t valid = page ? page_valid(set, p) : 0;

        page = bitset_page_alloc(set);
        page_fill(page, valid);
        bitset_page_put(set, p, page);
        return page;
    }
    return bitset_page_own(set, p, page);
}

void bitset_page_changed(Bitset *set, int64_t p, BitsetPage *page,
                         int64_t delta)
{
    page->count += delta;
    set->count += delta;
    if (page->count == 0) {
        bitset_page_put(set, p, NULL);
    } else if (page->count == page_valid(set, p)) {
        bitset_page_put(set, p, PAGE_SET);
    }
}

/* ---- setting and clearing ---- */

/* The part of one page. */
static void page_fill_range(Bitset *set, int64_t p, int64_t first, int64_t len,
                            bool value)
{
    BitsetPage *page = page_get(set, p);
    int64_t changed;

    if (page == (value ? PAGE_SET : NULL)) {
        return;
    }
    if (len == page_valid(set, p)) {
        bitset_page_put(set, p, value ? PAGE_SET : NULL);
        return;
    }
    page = bitset_page_edit(set, p);
    changed = bitset_words_fill(page->words, first, len, value);
    bitset_page_changed(set, p, page, value ? changed : -changed);
}

static void bitset_fill(Bitset *set, int64_t first, int64_t n, bool value)
{
    int64_t leaf_bits = (int64_t)BITSET_PAGE_BITS << set->leaf_shift;
    int64_t end = first + n;

    while (first < end) {
        int64_t p = first >> PAGE_SHIFT;
        int64_t l = p >> set->leaf_shift;
        int64_t stop = MIN((l + 1) * leaf_bits, set->nbits);

        if (first % leaf_bits == 0 && stop <= end) {
            bitset_leaf_fill(set, l, value);
        } else {
            stop = MIN((p + 1) << PAGE_SHIFT, end);
            page_fill_range(set, p, first - (p << PAGE_SHIFT), stop - first,
                            value);
        }
        first = stop;
    }
}

static void assert_range(const Bitset *set, int64_t first, int64_t n)
{
    g_assert(first >= 0 && n >= 0 && first <= set->nbits &&
             n <= set->nbits - first);
}

/* What a guest's write comes to: one bit, mostly of a page that is mixed. */
static void bitset_set_one(Bitset *set, int64_t bit)
{
    int64_t p = bit >> PAGE_SHIFT;
    BitsetPage *page = page_get(set, p);
    uint64_t mask = UINT64_C(1) << (bit % 64), *word;

    bit %= BITSET_PAGE_BITS;
    if (!page_is_mixed(page)) {
        page_fill_range(set, p, bit, 1, true);
        return;
    }
    if (!(page->words[bit / 64] & mask)) {
        page = bitset_page_own(set, p, page);
        word = &page->words[bit / 64];
        *word |= mask;
        bitset_page_changed(set, p, page, 1);
    }
}

void bitset_set(Bitset *set, int64_t first, int64_t n)
{
    assert_range(set, first, n);
    if (n == 1) {
        bitset_set_one(set, first);
    } else {
        bitset_fill(set, first, n, true);
    }
}

void bitset_clear(Bitset *set, int64_t first, int64_t n)
{
    assert_range(set, first, n);
    bitset_fill(set, first, n, false);
}

void bitset_clear_all(Bitset *set)
{
    bitset_fill(set, 0, set->nbits, false);
}

void bitset_set_all(Bitset *set)
{
    bitset_fill(set, 0, set->nbits, true);
}

static void page_invert(const Bitset *set, int64_t p, BitsetPage *page)
{
    int64_t valid = page_valid(set, p);

    for (int i = 0; i < PAGE_WORDS; i++) {
        page->words[i] = ~page->words[i];
    }
    if (valid < BITSET_PAGE_BITS) {
        bitset_words_fill(page->words, valid, BITSET_PAGE_BITS - valid, false);
    }
    page->count = valid - page->count;
}

static void leaf_invert(Bitset *set, int64_t l)
{
    int64_t p = l << set->leaf_shift, n = leaf_valid(set, l);
    BitsetLeaf *leaf = set->top[l];

    for (int64_t i = 0; i < n; i++) {
        if (page_is_mixed(leaf->pages[i])) {
            page_invert(set, p + i,
                        bitset_page_own(set, p + i, leaf->pages[i]));
        } else {
            leaf->pages[i] = leaf->pages[i] ? NULL : PAGE_SET;
        }
    }
    leaf->nset = n - leaf->nmixed - leaf->nset;
}

void bitset_invert(Bitset *set)
{
    for (int64_t l = 0; l < set->nleaves; l++) {
        if (leaf_is_mixed(set->top[l])) {
            leaf_invert(set, l);
        } else {
            set->top[l] = set->top[l] ? NULL : LEAF_SET;
        }
    }
    set->count = set->nbits - set->count;
}

/* ---- size ---- */

/* The mixed @page moves from @old to @set, cut to what is valid there. */
static void page_move(Bitset *set, Bitset *old, int64_t p, BitsetPage *page)
{
    int64_t valid = page_valid(set, p);

    old->pages_in_use--;
    set->pages_in_use++;
    if (valid < page_valid(old, p)) {
        if (page_is_shared(page)) {
            BitsetPage *clone = page_clone(set, page);

            page_release(set, page);
            page = clone;
        }
        page->count -= bitset_words_fill(page->words, valid,
                                         BITSET_PAGE_BITS - valid, false);
    }
    if (page->count == 0) {
        page_release(set, page);
    } else if (page->count == valid) {
        bitset_page_put(set, p, PAGE_SET);
        page_release(set, page);
    } else {
        bitset_page_put(set, p, page);
    }
}

static void leaf_move(Bitset *set, Bitset *old, int64_t l)
{
    int64_t p = l << old->leaf_shift;
    int64_t n = MIN(leaf_valid(old, l), set->npages - p);
    BitsetLeaf *leaf = old->top[l];

    for (int64_t i = 0; i < n; i++, p++) {
        int64_t first = p << PAGE_SHIFT;

        if (page_is_mixed(leaf->pages[i])) {
            page_move(set, old, p, leaf->pages[i]);
            leaf->pages[i] = NULL;
        } else if (leaf->pages[i]) {
            bitset_fill(set, first,
                        MIN(page_valid(old, p), set->nbits - first), true);
        }
    }
}

void bitset_resize(Bitset *set, int64_t nbits)
{
    Bitset old = *set;
    int64_t leaf_bits = (int64_t)BITSET_PAGE_BITS << old.leaf_shift;
    int64_t common = MIN(old.nbits, nbits);

    bitset_init(set, nbits);
    for (int64_t l = 0; l * leaf_bits < common; l++) {
        if (leaf_is_mixed(old.top[l])) {
            leaf_move(set, &old, l);
        } else if (old.top[l]) {
            bitset_fill(set, l * leaf_bits,
                        MIN(leaf_bits, common - l * leaf_bits), true);
        }
    }
    bitset_fini(&old);
}

/* ---- looking ---- */

int64_t bitset_size(const Bitset *set)
{
    return set->nbits;
}

int64_t bitset_count(const Bitset *set)
{
    return set->count;
}

bool bitset_empty(const Bitset *set)
{
    return set->count == 0;
}

bool bitset_test(const Bitset *set, int64_t bit)
{
    const BitsetPage *page;

    g_assert(bit >= 0 && bit < set->nbits);
    page = page_get(set, bit >> PAGE_SHIFT);
    if (!page_is_mixed(page)) {
        return page != NULL;
    }
    bit %= BITSET_PAGE_BITS;
    return page->words[bit / 64] >> (bit % 64) & 1;
}

size_t bitset_memory(const Bitset *set)
{
    size_t leaf_bytes = sizeof(BitsetLeaf) +
                        (sizeof(BitsetPage *) << set->leaf_shift);

    return sizeof(*set) + set->nleaves * sizeof(set->top[0]) +
           set->leaves_in_use * leaf_bytes +
           (set->pages_in_use + (set->spare != NULL)) * sizeof(BitsetPage);
}

/* ---- pages, for storing ---- */

/* Between the host's order and little-endian; @buf may be unaligned. */
static void words_swap(void *buf)
{
#if G_BYTE_ORDER == G_BIG_ENDIAN
    for (uint8_t *p = buf; p < (uint8_t *)buf + BITSET_PAGE_BYTES; p += 8) {
        uint64_t word;

        memcpy(&word, p, sizeof(word));
        word = GUINT64_TO_LE(word);
        memcpy(p, &word, sizeof(word));
    }
#endif
}

int64_t bitset_npages(const Bitset *set)
{
    return set->npages;
}

BitsetPageState bitset_page_state(const Bitset *set, int64_t p)
{
    const BitsetPage *page;

    g_assert(p >= 0 && p < set->npages);
    page = page_get(set, p);
    return !page ? BITSET_PAGE_CLEAR :
           page == PAGE_SET ? BITSET_PAGE_SET : BITSET_PAGE_MIXED;
}

void bitset_page_read(const Bitset *set, int64_t p, void *buf)
{
    const BitsetPage *page;
    BitsetPage full;

    g_assert(p >= 0 && p < set->npages);
    page = page_get(set, p);
    if (!page) {
        memset(buf, 0, BITSET_PAGE_BYTES);
        return;
    }
    if (page == PAGE_SET) {
        page_fill(&full, page_valid(set, p));
        page = &full;
    }
    memcpy(buf, page->words, BITSET_PAGE_BYTES);
    words_swap(buf);
}

void bitset_page_write(Bitset *set, int64_t p, const void *buf)
{
    BitsetPage *page;
    int64_t valid;

    g_assert(p >= 0 && p < set->npages);
    valid = page_valid(set, p);
    page = bitset_page_alloc(set);
    memcpy(page->words, buf, sizeof(page->words));
    words_swap(page->words);
    if (valid < BITSET_PAGE_BITS) {
        bitset_words_fill(page->words, valid, BITSET_PAGE_BITS - valid, false);
    }
    page->count = bitset_words_count(page->words, PAGE_WORDS);
    if (page->count && page->count != valid) {
        bitset_page_put(set, p, page);
        return;
    }
    bitset_page_put(set, p, page->count ? PAGE_SET : NULL);
    page_release(set, page);
}
