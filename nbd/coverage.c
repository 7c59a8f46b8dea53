/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What has been read of an export with bitmaps: for each client a set of the
 * blocks that it has fetched, or has been told to be zero, and the same for all
 * together. The connections of one client (nbd_conn_client_name) share its set: a
 * puller may use several. Clients that have gone are remembered, but not for
 * ever: of COVERAGE_CLIENTS_MAX the one with the least goes for the next.
 *
 * A block is at most 512 bytes and at most a bitmap's granularity, so that no dirty
 * range ends inside of one; a read counts for the blocks that it covers whole.
 * Bitmaps that still record can become dirty anew: `left` is only a reason to
 * count again. All on the export's loop.
 */
#include "nbd/server-internal.h"

#include "qapi/qapi-events.h"

#define UNIT_SHIFT_MAX 9
#define COVERAGE_CLIENTS_MAX 64

typedef struct CoveredBitmap {
    int64_t left;           /* bytes, when it was last counted */
    bool told;
} CoveredBitmap;

struct NbdCoverageClient {
    char *name;
    unsigned conns;
    Bitset *seen;
    CoveredBitmap bitmaps[];    /* as NbdCoverage.bitmaps */
};

struct NbdCoverage {
    Bitset *seen;           /* by anybody */
    int shift;
    int64_t length;         /* of the disk */
    GPtrArray *bitmaps;     /* of DirtyBitmap; the export's */
    GPtrArray *clients;     /* of NbdCoverageClient */
};

/* ---- counting ---- */

/* Bytes of the blocks of @seen in [off, end), which begins and ends with blocks,
 * or ends with the disk. */
static int64_t coverage_seen(const NbdCoverage *c, const Bitset *seen,
                             int64_t off, int64_t end)
{
    int64_t unit = INT64_C(1) << c->shift;
    int64_t first = off >> c->shift;
    int64_t n = DIV_ROUND_UP(end, unit) - first;
    int64_t bytes = bitset_count_range(seen, first, n) << c->shift;

    if (end % unit && bitset_test(seen, first + n - 1)) {
        bytes -= unit - end % unit;
    }
    return bytes;
}

/* Of the bytes in [off, end) that are dirty, those not in @seen; *@covered (may be
 * NULL): those that are. The disk, or the one that the bitmap is of, may be
 * shorter. */
static int64_t coverage_left(Co *co, const NbdCoverage *c, guint bitmap,
                             const Bitset *seen, int64_t off, int64_t end,
                             int64_t *covered)
{
    DirtyBitmap *bm = g_ptr_array_index(c->bitmaps, bitmap);
    const Bitset *bits = bitmap_bits(co, bm, NULL);
    int shift = bm->granularity_shift;
    int64_t bit = off >> shift, first, n, last, dirty = 0, known = 0;

    end = MIN(MIN(end, c->length), bitset_size(seen) << c->shift);
    last = DIV_ROUND_UP(end, INT64_C(1) << shift);
    if (bits) {
        last = MIN(last, bitset_size(bits));
    } else if (off < end) {         /* it can't be loaded: who knows */
        dirty = end - off;
        known = coverage_seen(c, seen, off, end);
    }
    while (bits && off < end &&
           bitset_next_run(bits, bit, last, INT64_MAX, &first, &n)) {
        int64_t a = MAX(first << shift, off);
        int64_t b = MIN((first + n) << shift, end);

        dirty += b - a;
        known += coverage_seen(c, seen, a, b);
        bit = first + n;
    }
    if (covered) {
        *covered = known;
    }
    return dirty - known;
}

/* ---- life ---- */

static Bitset *coverage_set_new(const NbdCoverage *c)
{
    return bitset_new(DIV_ROUND_UP(c->length, INT64_C(1) << c->shift));
}

static void coverage_client_free(void *opaque)
{
    NbdCoverageClient *client = opaque;

    bitset_free(client->seen);
    g_free(client->name);
    g_free(client);
}

NbdCoverage *nbd_coverage_new(const GPtrArray *bitmaps, int64_t length)
{
    NbdCoverage *c = g_new0(NbdCoverage, 1);

    c->length = length;
    c->shift = UNIT_SHIFT_MAX;
    c->bitmaps = g_ptr_array_new();
    c->clients = g_ptr_array_new_with_free_func(coverage_client_free);
    for (guint i = 0; i < bitmaps->len; i++) {
        DirtyBitmap *bm = g_ptr_array_index(bitmaps, i);

        c->shift = MIN(c->shift, bm->granularity_shift);
        g_ptr_array_add(c->bitmaps, bm);
    }
    c->seen = coverage_set_new(c);
    return c;
}

void nbd_coverage_free(NbdCoverage *c)
{
    if (c) {
        bitset_free(c->seen);
        g_ptr_array_free(c->bitmaps, true);
        g_ptr_array_free(c->clients, true);
        g_free(c);
    }
}

static void coverage_client_resize(const NbdCoverage *c,
                                   NbdCoverageClient *client)
{
    bitset_resize(client->seen, DIV_ROUND_UP(c->length,
                                             INT64_C(1) << c->shift));
    for (guint i = 0; i < c->bitmaps->len; i++) {
        client->bitmaps[i].left = 0;        /* to be counted again */
    }
}

void nbd_coverage_resize(NbdCoverage *c, int64_t length)
{
    c->length = length;
    bitset_resize(c->seen, DIV_ROUND_UP(length, INT64_C(1) << c->shift));
    for (guint i = 0; i < c->clients->len; i++) {
        coverage_client_resize(c, g_ptr_array_index(c->clients, i));
    }
}

/* ---- clients ---- */

static void coverage_make_room(NbdCoverage *c)
{
    NbdCoverageClient *least = NULL;

    if (c->clients->len < COVERAGE_CLIENTS_MAX) {
        return;
    }
    for (guint i = 0; i < c->clients->len; i++) {
        NbdCoverageClient *client = g_ptr_array_index(c->clients, i);

        if (!client->conns && (!least || bitset_count(client->seen) <
                                         bitset_count(least->seen))) {
            least = client;
        }
    }
    if (least) {
        g_ptr_array_remove(c->clients, least);
    }
}

static NbdCoverageClient *coverage_client_find(const NbdCoverage *c,
                                               const char *name)
{
    for (guint i = 0; i < c->clients->len; i++) {
        NbdCoverageClient *client = g_ptr_array_index(c->clients, i);

        if (strcmp(client->name, name) == 0) {
            return client;
        }
    }
    return NULL;
}

/* Suspends while the bitmaps are loaded: others may have made it meanwhile. */
static NbdCoverageClient *coverage_client_new(Co *co, NbdCoverage *c,
                                              const char *name)
{
    int64_t length = c->length;
    NbdCoverageClient *known;
    NbdCoverageClient *client = g_malloc0(
        sizeof(*client) + c->bitmaps->len * sizeof(CoveredBitmap));

    client->name = g_strdup(name);
    client->seen = coverage_set_new(c);
    for (guint i = 0; i < c->bitmaps->len; i++) {
        client->bitmaps[i].left = coverage_left(co, c, i, client->seen, 0,
                                                c->length, NULL);
    }
    if (c->length != length) {
        coverage_client_resize(c, client);
    }
    known = coverage_client_find(c, name);
    if (known) {
        coverage_client_free(client);
        return known;
    }
    coverage_make_room(c);
    g_ptr_array_add(c->clients, client);
    return client;
}

/* The client at the other end of @conn, known from its first read on. */
static NbdCoverageClient *coverage_client(Co *co, NbdCoverage *c,
                                          NbdConn *conn)
{
    NbdCoverageClient *client;

    if (conn->reads) {
        return conn->reads;
    }
    client = coverage_client_find(c, conn->client);
    if (!client) {
        client = coverage_client_new(co, c, conn->client);
    }
    if (!conn->reads) {     /* so may another request of it */
        conn->reads = client;
        client->conns++;
    }
    return client;
}

void nbd_coverage_leave(NbdConn *conn)
{
    conn->reads->conns--;
    conn->reads = NULL;
}

/* ---- reading ---- */

typedef struct CoverageNews {
    char *id, *bitmap, *client;
} CoverageNews;

static void coverage_news_arrive(void *opaque)
{
    g_autofree CoverageNews *news = opaque;
    g_autofree char *id = news->id, *bitmap = news->bitmap;
    g_autofree char *client = news->client;

    qapi_event_send_block_export_covered(id, bitmap, client);
}

/* Says so if @client has all of a bitmap, once. */
static void coverage_tell(Co *co, NbdExport *exp, NbdCoverageClient *client,
                          guint bitmap)
{
    NbdCoverage *c = exp->coverage;
    CoveredBitmap *b = &client->bitmaps[bitmap];
    DirtyBitmap *bm = g_ptr_array_index(c->bitmaps, bitmap);
    CoverageNews *news;

    b->left = coverage_left(co, c, bitmap, client->seen, 0, c->length, NULL);
    if (b->left) {
        return;
    }
    b->told = true;
    news = g_new(CoverageNews, 1);
    *news = (CoverageNews) {
        g_strdup(exp->common.id), g_strdup(bm->name), g_strdup(client->name)
    };
    loop_post(loop_main(), coverage_news_arrive, news);
}

void nbd_coverage_note(Co *co, NbdConn *conn, int64_t off, int64_t len)
{
    NbdExport *exp = conn->exp;
    NbdCoverage *c = exp->coverage;
    NbdCoverageClient *client = coverage_client(co, c, conn);
    int64_t unit = INT64_C(1) << c->shift;
    int64_t end = MIN(off + len, c->length);
    int64_t first = DIV_ROUND_UP(off, unit);
    int64_t last = end == c->length ? DIV_ROUND_UP(end, unit) : end / unit;

    if (first >= last || bitset_count_range(client->seen, first,
                                            last - first) == last - first) {
        return;
    }
    off = first * unit;
    end = MIN(last * unit, c->length);
    for (guint i = 0; i < c->bitmaps->len; i++) {
        client->bitmaps[i].left -= coverage_left(co, c, i, client->seen, off,
                                                 end, NULL);
    }
    last = MIN(last, bitset_size(c->seen));     /* it may have suspended */
    if (first >= last) {
        return;
    }
    bitset_set(client->seen, first, last - first);
    bitset_set(c->seen, first, last - first);
    for (guint i = 0; i < c->bitmaps->len; i++) {
        if (client->bitmaps[i].left <= 0 && !client->bitmaps[i].told) {
            coverage_tell(co, exp, client, i);
        }
    }
}

/* ---- asking ---- */

static NbdClientCoverageList *coverage_of_clients(Co *co, const NbdCoverage *c,
                                                  guint bitmap)
{
    NbdClientCoverageList *list = NULL, **tail = &list;

    for (guint i = 0; i < c->clients->len; i++) {
        const NbdCoverageClient *client = g_ptr_array_index(c->clients, i);
        NbdClientCoverage *info = g_new0(NbdClientCoverage, 1);

        coverage_left(co, c, bitmap, client->seen, 0, c->length,
                      &info->covered);
        info->client = g_strdup(client->name);
        info->connections = client->conns;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

NbdCoverageInfoList *nbd_coverage_query(Co *co, NbdCoverage *c)
{
    NbdCoverageInfoList *list = NULL, **tail = &list;

    for (guint i = 0; i < c->bitmaps->len; i++) {
        DirtyBitmap *bm = g_ptr_array_index(c->bitmaps, i);
        NbdCoverageInfo *info = g_new0(NbdCoverageInfo, 1);

        info->dirty = coverage_left(co, c, i, c->seen, 0, c->length,
                                    &info->covered);
        info->dirty += info->covered;
        info->bitmap = g_strdup(bm->name);
        info->clients = coverage_of_clients(co, c, i);
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}
