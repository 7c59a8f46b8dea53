/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Metadata contexts: a name that clients select, and a walk that answers block
 * status. An export owns an array of them; nothing else knows their kinds.
 *
 *     base:allocation              HOLE, ZERO, through the whole chain
 *     qemu:allocation-depth        0 nowhere, 1 the top layer, 2 the next ...
 *     qemu:dirty-bitmap:NAME       DIRTY
 *     qemu:joint                   all of these, walked only where dirty
 *
 * A walk adds extents until the request or the room is at its end; it never
 * reaches past the request. It does not keep the loop from others for long: meanwhile
 * bitmaps may change, and shrink.
 */

#include "nbd/server-internal.h"

void nbd_extents_end(NbdExtents *e)
{
    if (!e->len) {
        return;
    }
    if (e->conn->extended) {
        stq_be_p(e->at, e->len);
        stq_be_p(e->at + 8, e->flags);
        e->at += 16;
    } else {
        stl_be_p(e->at, e->len);
        stl_be_p(e->at + 4, e->flags);
        e->at += 8;
    }
    e->n++;
    e->len = 0;
}

bool nbd_extents_add(NbdExtents *e, uint64_t len, uint32_t flags)
{
    if (e->full) {
        return false;
    }
    if (e->len && e->flags == flags) {
        e->len += len;
        return true;
    }
    if (e->len && e->n + 1 == e->max) {
        e->full = true;
        return false;
    }
    nbd_extents_end(e);
    e->len = len;
    e->flags = flags;
    return true;
}

/* After so many changes of a bitmap, which are some 50 us, the loop turns to all else;
 * an extent of the disk is as dear as so many. */
#define WALK_MOST 4096
#define WALK_STATUS 32

static void walk_on(Co *co, NbdExtents *out, unsigned changes)
{
    out->walked += changes;
    if (out->walked >= WALK_MOST) {
        out->walked = 0;
        co_sleep(co, 0);
    }
}

/* Requests of others wait for no more than this. */
#define STATUS_STEP (64 * MiB)

int nbd_export_status(Co *co, NbdExport *exp, bool precise, int64_t off,
                      int64_t len, Extent *ret, int max)
{
    Node *node = root_node(exp->common.root);
    TrackedReq req;
    int n;

    len = MIN(len, STATUS_STEP);
    io_track_begin(co, &req, node, off, len, false);
    n = status_list(co, node, precise, off, len, ret, max);
    io_track_end(&req);
    return n;
}

/* Who knows that a range is zero need not read it. */
static void note_zero(Co *co, const NbdExtents *out, int64_t off,
                      const Extent *ext)
{
    if (out->conn->exp->coverage && (ext->flags & EXTENT_ZERO)) {
        nbd_coverage_note(co, out->conn, off, ext->len);
    }
}

/* What an extent is called in a context. */
typedef uint32_t ExtentName(const Extent *ext);

/* Extents that are asked for at once. */
#define STATUS_EXTENTS 128

/* Adds what is there from @off on. @noted: it is known to the client now what is
 * zero. */
static int walk_status(Co *co, NbdExport *exp, bool precise, int64_t off,
                       int64_t len, ExtentName *name, bool noted,
                       NbdExtents *out)
{
    Extent ext[STATUS_EXTENTS];

    while (len) {
        int n = nbd_export_status(co, exp, precise, off, len, ext,
                                  ARRAY_SIZE(ext));

        if (n < 0) {
            return n;
        }
        for (int i = 0; i < n; i++) {
            if (!nbd_extents_add(out, ext[i].len, name(&ext[i]))) {
                return 0;
            }
            if (noted) {
                note_zero(co, out, off, &ext[i]);
            }
            off += ext[i].len;
            len -= ext[i].len;
        }
        walk_on(co, out, n * WALK_STATUS);
    }
    return 0;
}

static uint32_t name_allocation(const Extent *ext)
{
    return (ext->flags & EXTENT_DATA ? 0 : NBD_STATE_HOLE) |
           (ext->flags & EXTENT_ZERO ? NBD_STATE_ZERO : 0);
}

static int query_allocation(Co *co, NbdExport *exp, const NbdContext *ctx,
                            int64_t off, int64_t len, NbdExtents *out)
{
    return walk_status(co, exp, true, off, len, name_allocation, true, out);
}

static uint32_t name_depth(const Extent *ext)
{
    return ext->depth + 1;
}

static int query_depth(Co *co, NbdExport *exp, const NbdContext *ctx,
                       int64_t off, int64_t len, NbdExtents *out)
{
    return walk_status(co, exp, false, off, len, name_depth, false, out);
}

/* Changes of a bitmap that are looked up together. */
#define BITMAP_CHANGES 512

/*
 * After an extent that ends at @at[0]: one from each of the @n places @at to the next
 * one, in granules, dirty and clean in turn. False if there was no room for all.
 */
static bool add_turns(NbdExtents *e, const int64_t *at, int n, int shift)
{
    int room = MIN(n - 1, (int)(e->max - e->n) - 1);
    uint64_t len = e->len;
    uint32_t flags = e->flags;
    uint8_t *p = e->at;
    bool extended = e->conn->extended;

    for (int i = 0; i < room; i++) {
        if (extended) {
            stq_be_p(p, len);
            stq_be_p(p + 8, flags);
            p += 16;
        } else {
            stq_be_p(p, len << 32 | flags);
            p += 8;
        }
        len = (at[i + 1] - at[i]) << shift;
        flags ^= NBD_STATE_DIRTY;
    }
    e->at = p;
    e->n += room;
    e->len = len;
    e->flags = flags;
    e->full = room < n - 1;
    return !e->full;
}

/* The first bit behind those of [.., @end), of a disk that may have shrunk. */
static int64_t bitmap_last(const DirtyBitmap *bm, const Bitset *bits,
                           int64_t end)
{
    return MIN(((end - 1) >> bm->granularity_shift) + 1, bitset_size(bits));
}

/* No extent ends within a block that clients are told of. */
static int64_t export_block(const NbdExport *exp)
{
    return root_node(exp->common.root)->limits.request_alignment;
}

/* Where blocks are larger than grains: they are dirty if a part of them is. */
static int query_bitmap_blocks(Co *co, DirtyBitmap *bm, int64_t block,
                               int64_t off, int64_t end, NbdExtents *out)
{
    int shift = bm->granularity_shift;

    while (off < end && !out->full) {
        const Bitset *bits = bitmap_bits(co, bm, NULL);
        int64_t first, n, from = end, to = end;

        if (!bits) {
            return -EIO;
        }
        if (bitset_next_run(bits, off >> shift, bitmap_last(bm, bits, end),
                            INT64_MAX, &first, &n)) {
            from = MAX(ROUND_DOWN(first << shift, block), off);
            to = MIN(ROUND_UP((first + n) << shift, block), end);
        }
        if ((from == off || nbd_extents_add(out, from - off, 0)) && to > from) {
            nbd_extents_add(out, to - from, NBD_STATE_DIRTY);
        }
        off = to;
        walk_on(co, out, 1);
    }
    return 0;
}

static int query_bitmap(Co *co, NbdExport *exp, const NbdContext *ctx,
                        int64_t off, int64_t len, NbdExtents *out)
{
    DirtyBitmap *bm = ctx->opaque;
    int shift = bm->granularity_shift, n;
    int64_t end = off + len, at[BITMAP_CHANGES];
    uint32_t flags;

    if (export_block(exp) > INT64_C(1) << shift) {
        return query_bitmap_blocks(co, bm, export_block(exp), off, end, out);
    }
    do {
        const Bitset *bits = bitmap_bits(co, bm, NULL);
        int64_t bit = off >> shift, last;

        if (!bits) {
            return -EIO;
        }
        last = bitmap_last(bm, bits, end);
        flags = bit < last && bitset_test(bits, bit) ? NBD_STATE_DIRTY : 0;
        n = bitset_next_changes(bits, bit, last, at, BITMAP_CHANGES);
        if (n) {
            if (!nbd_extents_add(out, (at[0] << shift) - off, flags) ||
                !add_turns(out, at, n, shift)) {
                return 0;
            }
            off = at[n - 1] << shift;
            flags ^= n & 1 ? NBD_STATE_DIRTY : 0;
            walk_on(co, out, n);
        }
    } while (n == BITMAP_CHANGES);
    nbd_extents_add(out, end - off, flags);
    return 0;
}

/* Whether [off, *@stop) is dirty in any bitmap; *@stop is cut to what is
 * alike. */
static bool joint_dirty(Co *co, NbdExport *exp, int64_t off, int64_t *stop)
{
    bool dirty = !exp->bitmaps->len;
    int64_t clean_until = *stop, dirty_until = off;

    for (guint i = 0; i < exp->bitmaps->len; i++) {
        DirtyBitmap *bm = g_ptr_array_index(exp->bitmaps, i);
        const Bitset *bits = bitmap_bits(co, bm, NULL);
        int shift = bm->granularity_shift;
        int64_t bit = off >> shift, next;
        int64_t last = bits ? bitmap_last(bm, bits, *stop) : 0;

        if (!bits || (bit < last && bitset_test(bits, bit))) {
            next = bits ? bitset_next_clear(bits, bit, last) : -1;
            dirty = true;
            dirty_until = MAX(dirty_until, next < 0 ? *stop : next << shift);
        } else {
            next = bitset_next_set(bits, bit, last);
            clean_until = MIN(clean_until, next < 0 ? *stop : next << shift);
        }
    }
    if (exp->bitmaps->len) {
        *stop = MIN(*stop, dirty ? dirty_until : clean_until);
    }
    return dirty;
}

/* The same for whole blocks, which are dirty if a part of them is. */
static bool joint_dirty_blocks(Co *co, NbdExport *exp, int64_t off,
                               int64_t *stop)
{
    int64_t block = export_block(exp), end = *stop;
    bool dirty = joint_dirty(co, exp, off, stop);

    if (!dirty && *stop < end) {
        *stop = ROUND_DOWN(*stop, block);
        dirty = *stop <= off;
    }
    if (dirty) {
        *stop = MIN(ROUND_UP(MAX(*stop, off + 1), block), end);
    }
    return dirty;
}

static uint32_t name_joint(const Extent *ext)
{
    return NBD_STATE_JOINT_DIRTY |
           (ext->flags & EXTENT_ZERO ? NBD_STATE_JOINT_ZERO : 0) |
           (ext->flags & EXTENT_DATA ? 0 : NBD_STATE_JOINT_HOLE) |
           (uint32_t)(ext->depth + 1) << NBD_STATE_JOINT_DEPTH;
}

static int query_joint(Co *co, NbdExport *exp, const NbdContext *ctx,
                       int64_t off, int64_t len, NbdExtents *out)
{
    int64_t end = off + len;

    while (off < end && !out->full) {
        int64_t stop = end;
        int ret = 0;

        if (joint_dirty_blocks(co, exp, off, &stop)) {
            ret = walk_status(co, exp, true, off, stop - off, name_joint, true,
                              out);
        } else {
            nbd_extents_add(out, stop - off, 0);
        }
        if (ret < 0) {
            return ret;
        }
        off = stop;
        walk_on(co, out, 1);
    }
    return 0;
}

static NbdContext *context_new(uint32_t id, char *name, void *opaque)
{
    NbdContext *ctx = g_new0(NbdContext, 1);

    ctx->id = id;
    ctx->name = name;
    ctx->opaque = opaque;
    return ctx;
}

NbdContext *nbd_context_allocation(void)
{
    NbdContext *ctx = context_new(0, g_strdup("base:allocation"), NULL);

    ctx->query = query_allocation;
    return ctx;
}

NbdContext *nbd_context_depth(void)
{
    NbdContext *ctx = context_new(1, g_strdup("qemu:allocation-depth"), NULL);

    ctx->query = query_depth;
    return ctx;
}

NbdContext *nbd_context_joint(void)
{
    NbdContext *ctx = context_new(UINT32_C(1) << 16, g_strdup("qemu:joint"),
                                  NULL);

    ctx->query = query_joint;
    ctx->unlisted = true;
    return ctx;
}

NbdContext *nbd_context_bitmap(DirtyBitmap *bm, unsigned index)
{
    char *name = g_strdup_printf("qemu:dirty-bitmap:%s", bm->name);
    NbdContext *ctx = context_new(2 + index, name, bm);

    ctx->query = query_bitmap;
    return ctx;
}

void nbd_context_free(NbdContext *ctx)
{
    g_free(ctx->name);
    g_free(ctx);
}

bool nbd_context_matches(const NbdContext *ctx, const char *query, bool listing)
{
    static const char *const spaces[] = {
        "base:", "qemu:", "qemu:dirty-bitmap:"
    };

    if (strcmp(ctx->name, query) == 0) {
        return true;
    }
    for (size_t i = 0; listing && !ctx->unlisted && i < ARRAY_SIZE(spaces);
         i++) {
        if (strcmp(query, spaces[i]) == 0) {
            return g_str_has_prefix(ctx->name, query);
        }
    }
    return false;
}
