/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What has been read of an export with bitmaps: a set of the blocks that clients
 * have fetched, or have been told to be zero, and for each bitmap the bytes that
 * are dirty and not yet in that set. It is kept by all connections together: a
 * puller may use several.
 *
 * A block is at most 512 bytes and at most a bitmap's granularity, so that no dirty
 * range ends inside of one; a read counts for the blocks that it covers whole.
 * Bitmaps that still record can become dirty anew: `left` is only a reason to
 * count again. All on the export's loop.
 */
#include "nbd/server-internal.h"

#include "qapi/qapi-events.h"

#define UNIT_SHIFT_MAX 9

typedef struct CoveredBitmap {
    DirtyBitmap *bm;
    int64_t left;           /* bytes, when it was last counted */
    bool told;
} CoveredBitmap;

struct NbdCoverage {
    Bitset *seen;
    int shift;
    int64_t length;         /* of the disk when the export was made */
    GArray *bitmaps;        /* of CoveredBitmap */
};

/* ---- counting ---- */

/* Bytes of the blocks seen in [off, end), which begins and ends with blocks, or
 * ends with the disk. */
static int64_t coverage_seen(const NbdCoverage *c, int64_t off, int64_t end)
{
    int64_t unit = INT64_C(1) << c->shift;
    int64_t first = off >> c->shift;
    int64_t n = DIV_ROUND_UP(end, unit) - first;
    int64_t bytes = bitset_count_range(c->seen, first, n) << c->shift;

    if (end % unit && bitset_test(c->seen, first + n - 1)) {
        bytes -= unit - end % unit;
    }
    return bytes;
}

/* Dirty bytes in [off, end) that have not been seen; adds all to *@dirty. */
static int64_t coverage_left(const NbdCoverage *c, const Bitset *bits,
                             int shift, int64_t off, int64_t end,
                             int64_t *dirty)
{
    int64_t bit = off >> shift;
    int64_t last = DIV_ROUND_UP(end, INT64_C(1) << shift);
    int64_t first, n, left = 0;

    while (bitset_next_run(bits, bit, last, INT64_MAX, &first, &n)) {
        int64_t a = MAX(first << shift, off);
        int64_t b = MIN((first + n) << shift, end);

        *dirty += b - a;
        left += b - a - coverage_seen(c, a, b);
        bit = first + n;
    }
    return left;
}

static void coverage_count(Co *co, const NbdCoverage *c, CoveredBitmap *b,
                           int64_t *dirty)
{
    const Bitset *bits = bitmap_bits(co, b->bm, NULL);

    *dirty = 0;
    if (bits) {
        b->left = coverage_left(c, bits, b->bm->granularity_shift, 0,
                                c->length, dirty);
    }
}

/* ---- life ---- */

NbdCoverage *nbd_coverage_new(Co *co, const GPtrArray *bitmaps, int64_t length)
{
    NbdCoverage *c = g_new0(NbdCoverage, 1);
    int64_t dirty;

    c->length = length;
    c->shift = UNIT_SHIFT_MAX;
    c->bitmaps = g_array_new(false, false, sizeof(CoveredBitmap));
    for (guint i = 0; i < bitmaps->len; i++) {
        CoveredBitmap b = { g_ptr_array_index(bitmaps, i) };

        c->shift = MIN(c->shift, b.bm->granularity_shift);
        g_array_append_val(c->bitmaps, b);
    }
    c->seen = bitset_new(DIV_ROUND_UP(length, INT64_C(1) << c->shift));
    for (guint i = 0; i < c->bitmaps->len; i++) {
        coverage_count(co, c, &g_array_index(c->bitmaps, CoveredBitmap, i),
                       &dirty);
    }
    return c;
}

void nbd_coverage_free(NbdCoverage *c)
{
    if (c) {
        bitset_free(c->seen);
        g_array_free(c->bitmaps, true);
        g_free(c);
    }
}

/* ---- reading ---- */

typedef struct CoverageNews {
    char *id, *bitmap;
} CoverageNews;

static void coverage_news_arrive(void *opaque)
{
    g_autofree CoverageNews *news = opaque;
    g_autofree char *id = news->id, *bitmap = news->bitmap;

    qapi_event_send_block_export_covered(id, bitmap);
}

static void coverage_tell(Co *co, NbdExport *exp, CoveredBitmap *b)
{
    CoverageNews *news;
    int64_t dirty;

    coverage_count(co, exp->coverage, b, &dirty);
    if (b->left || b->told) {
        return;
    }
    b->told = true;
    news = g_new(CoverageNews, 1);
    *news = (CoverageNews) { g_strdup(exp->common.id), g_strdup(b->bm->name) };
    loop_post(loop_main(), coverage_news_arrive, news);
}

void nbd_coverage_note(Co *co, NbdExport *exp, int64_t off, int64_t len)
{
    NbdCoverage *c = exp->coverage;
    int64_t unit = INT64_C(1) << c->shift;
    int64_t end = MIN(off + len, c->length);
    int64_t first = DIV_ROUND_UP(off, unit);
    int64_t last = end == c->length ? DIV_ROUND_UP(end, unit) : end / unit;

    if (first >= last ||
        bitset_count_range(c->seen, first, last - first) == last - first) {
        return;
    }
    off = first * unit;
    end = MIN(last * unit, c->length);
    for (guint i = 0; i < c->bitmaps->len; i++) {
        CoveredBitmap *b = &g_array_index(c->bitmaps, CoveredBitmap, i);
        const Bitset *bits = bitmap_bits(co, b->bm, NULL);
        int64_t dirty = 0;

        if (bits) {
            b->left -= coverage_left(c, bits, b->bm->granularity_shift, off,
                                     end, &dirty);
        }
    }
    bitset_set(c->seen, first, last - first);
    for (guint i = 0; i < c->bitmaps->len; i++) {
        CoveredBitmap *b = &g_array_index(c->bitmaps, CoveredBitmap, i);

        if (b->left <= 0 && !b->told) {
            coverage_tell(co, exp, b);
        }
    }
}

/* ---- asking ---- */

NbdCoverageInfoList *nbd_coverage_query(Co *co, NbdCoverage *c)
{
    NbdCoverageInfoList *list = NULL, **tail = &list;

    for (guint i = 0; i < c->bitmaps->len; i++) {
        CoveredBitmap *b = &g_array_index(c->bitmaps, CoveredBitmap, i);
        NbdCoverageInfo *info = g_new0(NbdCoverageInfo, 1);
        int64_t dirty;

        coverage_count(co, c, b, &dirty);
        info->bitmap = g_strdup(b->bm->name);
        info->dirty = dirty;
        info->covered = dirty - b->left;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}
