/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Memory for the pages of all sets.
 *
 * The first pages come from malloc: a few sparse sets take what they need. Any
 * more come from slabs of 2 MiB, which the kernel backs by a huge page where
 * it can. A dense set of a large disk has 8192 pages, and a page fault for each
 * of them costs more than all else that is done to it.
 *
 *     slab:  [ head | page | page | ... ]     at a multiple of its size
 *
 * Pages may be freed by other threads than have made them; hence a lock (not
 * glib's, which the thread sanitizer does not see). A slab without pages goes
 * back to the system, but for one. With the address sanitizer all pages come
 * from malloc, so that it sees their lives.
 */
#include "util/bitset-private.h"

#include <pthread.h>
#include <sys/mman.h>

#include "util/bytes.h"

#define SLAB_BYTES (2 * MiB)
#ifdef UNDER_ASAN
#define SMALL_MAX INT64_MAX
#else
#define SMALL_MAX 256           /* pages from malloc */
#endif

typedef struct Slab Slab;
struct Slab {
    Slab *next, *prev;          /* those with room */
    BitsetPage *free;           /* given back; linked by their first words */
    unsigned nfresh;            /* pages from here on were never used */
    unsigned nused;
} __attribute__((aligned(64)));

#define SLAB_PAGES ((SLAB_BYTES - sizeof(Slab)) / sizeof(BitsetPage))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t nsmall;
static Slab *roomy;             /* slabs with room */
static bool spare;              /* one of them has no page in use */

static void slab_link(Slab *slab)
{
    slab->next = roomy;
    slab->prev = NULL;
    if (roomy) {
        roomy->prev = slab;
    }
    roomy = slab;
}

static void slab_unlink(Slab *slab)
{
    *(slab->prev ? &slab->prev->next : &roomy) = slab->next;
    if (slab->next) {
        slab->next->prev = slab->prev;
    }
}

/* NULL if there is no memory to be had so. */
static Slab *slab_new(void)
{
    uint8_t *map = mmap(NULL, 2 * SLAB_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *at;
    Slab *slab;

    if (map == MAP_FAILED) {
        return NULL;
    }
    at = (uint8_t *)ROUND_UP((uintptr_t)map, SLAB_BYTES);
    if (at > map) {
        munmap(map, at - map);
    }
    munmap(at + SLAB_BYTES, map + SLAB_BYTES - at);
    madvise(at, SLAB_BYTES, MADV_HUGEPAGE);
    slab = (Slab *)at;
    *slab = (Slab) { 0 };
    slab_link(slab);
    return slab;
}

static BitsetPage *slab_take(Slab *slab)
{
    BitsetPage *page = slab->free;

    if (page) {
        memcpy(&slab->free, page->words, sizeof(slab->free));
    } else {
        page = (BitsetPage *)(slab + 1) + slab->nfresh++;
    }
    spare &= slab->nused > 0;
    if (++slab->nused == SLAB_PAGES) {
        slab_unlink(slab);
    }
    return page;
}

/* The first with room that is in use; the one that isn't comes last. */
static BitsetPage *pool_take(void)
{
    Slab *slab = roomy;

    if (slab && !slab->nused && slab->next) {
        slab = slab->next;
    }
    if (!slab) {
        slab = slab_new();
    }
    return slab ? slab_take(slab) : NULL;
}

BitsetPage *bitset_pool_get(void)
{
    BitsetPage *page = NULL;
    bool pooled;

    pthread_mutex_lock(&lock);
    if (nsmall >= SMALL_MAX) {
        page = pool_take();
    }
    pooled = page != NULL;
    nsmall += !pooled;
    pthread_mutex_unlock(&lock);
    if (!pooled) {
        page = aligned_alloc_io(64, sizeof(*page));
    }
    page->pooled = pooled;
    return page;
}

static void slab_give(Slab *slab, BitsetPage *page)
{
    memcpy(page->words, &slab->free, sizeof(slab->free));
    slab->free = page;
    if (slab->nused-- == SLAB_PAGES) {
        slab_link(slab);
    }
    if (slab->nused) {
        return;
    }
    if (spare) {
        slab_unlink(slab);
        munmap(slab, SLAB_BYTES);
    } else {
        spare = true;
    }
}

void bitset_pool_put(BitsetPage *page)
{
    bool pooled = page && page->pooled;

    if (!page) {
        return;
    }
    pthread_mutex_lock(&lock);
    if (pooled) {
        slab_give((Slab *)((uintptr_t)page & -(uintptr_t)SLAB_BYTES), page);
    } else {
        nsmall--;
    }
    pthread_mutex_unlock(&lock);
    if (!pooled) {
        aligned_free(page);
    }
}
