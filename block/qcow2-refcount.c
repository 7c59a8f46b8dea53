/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Counting references to host clusters.
 *
 *     reftable[] --> refcount block --> one count of 1 .. 64 bits a cluster
 *     (memory)       (cached slices)
 *
 * A cluster is free when its count is 0. A missing block means that all it
 * would cover are free; a new one is put at the first cluster that it covers
 * and counts itself.
 *
 * Nothing here waits for the disk but to read, and to reserve the space of a
 * new block: counts change in the cache, new blocks are linked in the table in
 * memory, and qcow2_refcount_barrier() brings them down in order: blocks,
 * flush, table, flush.
 *
 * All but the barrier is called with `meta`. Which free clusters are taken is
 * decided in qcow2-clusters.c; freeing in two steps is in qcow2-free.c, moving
 * the table in qcow2-refcount-grow.c.
 */
#include "block/qcow2.h"

bool qcow2_refcount_init(Co *co, Node *node, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    s->reftable_size = (int64_t)s->hdr.reftable_clusters <<
                       (s->cluster_bits - 3);
    qcow2_event(co, node, BLKDBG_REFTABLE_LOAD);
    r = qcow2_read_table(co, node, s->hdr.reftable_offset, s->reftable_size,
                         &s->reftable);
    if (r < 0) {
        error_setg_errno(errp, -r, "Could not initialize refcount handling");
        return false;
    }
    s->reftable_dirty = bitset_new(DIV_ROUND_UP(s->reftable_size, 64));
    qcow2_freed_init(node);
    return true;
}

void qcow2_refcount_close(Node *node)
{
    Qcow2State *s = qcow2_state(node);

    qcow2_freed_close(node);
    g_clear_pointer(&s->reftable, g_free);
    g_clear_pointer(&s->reftable_dirty, bitset_free);
}

uint64_t qcow2_refcount_load(const void *block, int order, int64_t i)
{
    const uint8_t *p = block;

    switch (order) {
    case 0:
    case 1:
    case 2:
        return p[i >> (3 - order)] >> ((i & ((8 >> order) - 1)) << order) &
               ((1 << (1 << order)) - 1);
    case 3:
        return p[i];
    case 4:
        return lduw_be_p(p + 2 * i);
    case 5:
        return ldl_be_p(p + 4 * i);
    default:
        return ldq_be_p(p + 8 * i);
    }
}

void qcow2_refcount_store(void *block, int order, int64_t i, uint64_t v)
{
    uint8_t *p = block;
    int shift, mask;

    switch (order) {
    case 0:
    case 1:
    case 2:
        p += i >> (3 - order);
        shift = (i & ((8 >> order) - 1)) << order;
        mask = ((1 << (1 << order)) - 1) << shift;
        *p = (*p & ~mask) | (v << shift);
        break;
    case 3:
        p[i] = v;
        break;
    case 4:
        stw_be_p(p + 2 * i, v);
        break;
    case 5:
        stl_be_p(p + 4 * i, v);
        break;
    default:
        stq_be_p(p + 8 * i, v);
        break;
    }
}

/* Offset of the block that counts cluster @index: 0 if there is none. */
static int block_offset(Co *co, Node *node, int64_t index, int64_t *ret)
{
    Qcow2State *s = qcow2_state(node);
    int64_t i = index >> s->refblock_bits;

    *ret = i < s->reftable_size ?
           s->reftable[i] & QCOW2_REFT_OFFSET_MASK : 0;
    if (*ret < 0 || *ret >= QCOW2_MAX_HOST_OFFSET || qcow2_in_cluster(s, *ret)) {
        qcow2_signal_corruption(co, node, true, -1, -1, "Refblock offset %#"
                                PRIx64 " unaligned (reftable index: %#"
                                PRIx64 ")", *ret, i);
        return -EIO;
    }
    return 0;
}

/* The slice that counts cluster @index, pinned; NULL if it has no block. */
static int slice_get(Co *co, Node *node, int64_t index, Qcow2Table **ret)
{
    Qcow2State *s = qcow2_state(node);
    int64_t n = index >> s->refslice_bits;
    int64_t block;
    int r = block_offset(co, node, index, &block);

    *ret = NULL;
    if (r < 0 || !block) {
        return r;
    }
    n &= ((int64_t)1 << (s->refblock_bits - s->refslice_bits)) - 1;
    return qcow2_cache_get(co, s->refblock_cache, block + n *
                           qcow2_cache_entry_size(s->refblock_cache), ret);
}

static int64_t slice_pos(const Qcow2State *s, int64_t index)
{
    return index & (((int64_t)1 << s->refslice_bits) - 1);
}

/* The first cluster of the slice after that of @index. */
static int64_t slice_end(const Qcow2State *s, int64_t index)
{
    return ((index >> s->refslice_bits) + 1) << s->refslice_bits;
}

static uint64_t slice_load(const Qcow2State *s, const Qcow2Table *t,
                           int64_t index)
{
    return qcow2_refcount_load(t->data, s->hdr.refcount_order,
                               slice_pos(s, index));
}

static void slice_store(Qcow2State *s, Qcow2Table *t, int64_t index,
                        uint64_t v)
{
    int64_t bit = slice_pos(s, index) << s->hdr.refcount_order;

    qcow2_refcount_store(t->data, s->hdr.refcount_order, slice_pos(s, index),
                         v);
    qcow2_cache_dirty(s->refblock_cache, t, bit / 8,
                      MAX(1 << s->hdr.refcount_order >> 3, 1));
}

int qcow2_refcount_get(Co *co, Node *node, int64_t index, uint64_t *ret)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Table *t;
    int r = slice_get(co, node, index, &t);

    if (r < 0) {
        return r;
    }
    *ret = t ? slice_load(s, t, index) : 0;
    qcow2_cache_put(t);
    return 0;
}

int qcow2_refcount_end(Co *co, Node *node, int64_t index, int64_t *ret)
{
    Qcow2State *s = qcow2_state(node);
    bool found = false;

    index = MIN(index, s->reftable_size << s->refblock_bits);
    while (index > 0 && !found) {
        int64_t i = index - 1;
        int64_t start = i >> s->refslice_bits << s->refslice_bits;
        Qcow2Table *t;
        int r = slice_get(co, node, i, &t);

        if (r < 0) {
            return r;
        }
        if (!t) {
            index = i >> s->refblock_bits << s->refblock_bits;
            continue;
        }
        while (index > start && slice_load(s, t, index - 1) == 0) {
            index--;
        }
        found = index > start;
        qcow2_cache_put(t);
    }
    *ret = index;
    return 0;
}

int qcow2_refcount_has(Co *co, Node *node, int64_t end, int64_t enough,
                       bool *ret)
{
    Qcow2State *s = qcow2_state(node);
    int64_t index = 0, n = 0;

    end = MIN(end, s->reftable_size << s->refblock_bits);
    while (index < end && n < enough) {
        int64_t stop = MIN(slice_end(s, index), end);
        Qcow2Table *t;
        int r = slice_get(co, node, index, &t);

        if (r < 0) {
            return r;
        }
        for (; t && index < stop; index++) {
            n += slice_load(s, t, index) != 0;
        }
        index = stop;
        qcow2_cache_put(t);
    }
    *ret = n >= enough;
    return 0;
}

int qcow2_refcount_count_free(Co *co, Node *node, int64_t index, int64_t max,
                              int64_t *ret)
{
    Qcow2State *s = qcow2_state(node);
    int64_t i = index;

    while (i < index + max) {
        int64_t stop = MIN(index + max, slice_end(s, i));
        Qcow2Table *t;
        int r = slice_get(co, node, i, &t);

        if (r < 0) {
            return r;
        }
        while (i < stop && (!t || slice_load(s, t, i) == 0)) {
            i++;
        }
        qcow2_cache_put(t);
        if (i < stop) {
            break;
        }
    }
    *ret = i - index;
    return 0;
}

int qcow2_refcount_find_free(Co *co, Node *node, int64_t index, int64_t *ret)
{
    Qcow2State *s = qcow2_state(node);

    for (;;) {
        int64_t stop = slice_end(s, index);
        Qcow2Table *t;
        int r = slice_get(co, node, index, &t);

        if (r < 0) {
            return r;
        }
        while (t && index < stop && slice_load(s, t, index) != 0) {
            index++;
        }
        qcow2_cache_put(t);
        if (index < stop) {
            *ret = index;
            return 0;
        }
    }
}

/* ---- blocks ---- */

static int block_fill_new(Co *co, Node *node, int64_t i, int64_t off,
                          int64_t first, int64_t end)
{
    Qcow2State *s = qcow2_state(node);
    int step = qcow2_cache_entry_size(s->refblock_cache);
    int64_t index = i << s->refblock_bits;

    for (int64_t o = 0; o < s->cluster_size; o += step) {
        int64_t stop = slice_end(s, index);
        Qcow2Table *t;
        int r = qcow2_cache_get_new(co, s->refblock_cache, off + o, &t);

        if (r < 0) {
            return r;
        }
        for (int64_t n = MAX(index, first); n < MIN(stop, end); n++) {
            slice_store(s, t, n, 1);
        }
        qcow2_cache_put(t);
        index = stop;
    }
    return 0;
}

int qcow2_refblock_new(Co *co, Node *node, int64_t i, int64_t off,
                       int64_t first, int64_t end)
{
    Qcow2State *s = qcow2_state(node);
    int r = qcow2_overlap_check(co, node, QCOW2_OL_NONE, off,
                                s->cluster_size, false);

    if (r >= 0) {
        qcow2_event(co, node, BLKDBG_REFBLOCK_ALLOC);
        qcow2_event(co, node, BLKDBG_REFBLOCK_ALLOC_WRITE);
        r = qcow2_reserve_table(co, node, off);
    }
    if (r < 0) {
        return r;
    }
    qcow2_event(co, node, BLKDBG_REFBLOCK_ALLOC_HOOKUP);
    r = block_fill_new(co, node, i, off, first, end);
    if (r < 0) {
        qcow2_cache_drop(co, s->refblock_cache, off, s->cluster_size);
        return r;
    }
    s->reftable[i] = off;
    bitset_set(s->reftable_dirty, i / 64, 1);
    qcow2_overlap_add(s, off, QCOW2_OL_REFCOUNT_BLOCK);
    if (off >= s->fresh_offset) {
        s->fresh_offset = off + s->cluster_size;
    }
    return 0;
}

/*
 * Makes sure that cluster @index has a block. 1 if one was made, which took a
 * cluster of those it covers, or if the table has moved, which took some, too;
 * 0 if it was there.
 */
static int block_ensure(Co *co, Node *node, int64_t index)
{
    Qcow2State *s = qcow2_state(node);
    int64_t i = index >> s->refblock_bits;
    int64_t self = i << s->refblock_bits, off;
    bool moved = i >= s->reftable_size;
    int r;

    if (moved) {
        r = qcow2_reftable_grow(co, node, i + 1);
        if (r < 0) {
            return r;
        }
    }
    r = block_offset(co, node, index, &off);
    if (r < 0) {
        return r;
    }
    if (off) {
        return moved;
    }
    if (self == 0) {
        qcow2_signal_corruption(co, node, true, -1, -1, "Preventing invalid "
                                "allocation of refcount block at offset 0");
        return -EIO;
    }
    r = qcow2_refblock_new(co, node, i, self << s->cluster_bits, self,
                           self + 1);
    return r < 0 ? r : 1;
}

/* ---- changing counts ---- */

/* Whether all counts in [first, end) can take @delta; makes blocks. */
static int range_prepare(Co *co, Node *node, int64_t first, int64_t end,
                         int64_t delta)
{
    Qcow2State *s = qcow2_state(node);

    for (int64_t i = first; i < end;) {
        int64_t stop = MIN(end, slice_end(s, i));
        Qcow2Table *t;
        int r = delta > 0 ? block_ensure(co, node, i) : 0;

        if (r < 0) {
            return r;
        }
        r = slice_get(co, node, i, &t);
        if (r < 0) {
            return r;
        }
        for (; i < stop; i++) {
            uint64_t v = t ? slice_load(s, t, i) : 0;

            if (delta < 0 ? v < -(uint64_t)delta :
                            s->refcount_max - v < (uint64_t)delta) {
                qcow2_cache_put(t);
                return -EINVAL;
            }
        }
        qcow2_cache_put(t);
    }
    return 0;
}

static void note_free(Qcow2State *s, int64_t index)
{
    s->free_cursor = MIN(s->free_cursor, index);
    if (s->free_byte && s->free_byte >> s->cluster_bits == index) {
        s->free_byte = 0;
    }
}

/* Adds @delta to the counts in [first, end), which are known to allow it;
 * *@done clusters were changed, even on error. */
static int range_apply(Co *co, Node *node, int64_t first, int64_t end,
                       int64_t delta, int64_t *done)
{
    Qcow2State *s = qcow2_state(node);
    int64_t i = first;
    int r = 0;

    while (i < end) {
        int64_t stop = MIN(end, slice_end(s, i));
        Qcow2Table *t;

        r = slice_get(co, node, i, &t);
        if (r < 0) {
            break;
        }
        g_assert(t);
        for (; i < stop; i++) {
            uint64_t v = slice_load(s, t, i) + delta;

            slice_store(s, t, i, v);
            if (v == 0) {
                note_free(s, i);
            }
        }
        qcow2_cache_put(t);
    }
    *done = i - first;
    return r;
}

int qcow2_refcount_add(Co *co, Node *node, int64_t off, int64_t len,
                       int64_t delta, Qcow2DiscardType type)
{
    Qcow2State *s = qcow2_state(node);
    int64_t first = off >> s->cluster_bits;
    int64_t end = qcow2_size_to_clusters(s, off + len);
    int64_t done, undone;
    int r;

    if (len <= 0) {
        return len < 0 ? -EINVAL : 0;
    }
    r = range_prepare(co, node, first, end, delta);
    if (r < 0) {
        return r;
    }
    r = range_apply(co, node, first, end, delta, &done);
    if (r < 0) {
        range_apply(co, node, first, first + done, -delta, &undone);
        return r;
    }
    if (delta < 0 && s->pass_discard[type]) {
        for (int64_t i = first; i < end; i++) {
            uint64_t v;

            if (qcow2_refcount_get(co, node, i, &v) == 0 && v == 0) {
                io_discard(co, node->file, i << s->cluster_bits,
                           s->cluster_size);
            }
        }
    }
    return 0;
}

int qcow2_refcount_take(Co *co, Node *node, int64_t first, int64_t n)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end = first + n, done, undone;
    int r;

    if (first == 0) {
        qcow2_signal_corruption(co, node, true, -1, -1, "Preventing invalid "
                                "allocation of a cluster at offset 0");
        return -EIO;
    }
    if (end > QCOW2_MAX_HOST_OFFSET >> s->cluster_bits) {
        return -EFBIG;
    }
    for (int64_t i = first; i < end;
         i = ((i >> s->refblock_bits) + 1) << s->refblock_bits) {
        r = block_ensure(co, node, i);
        if (r != 0) {
            return r;
        }
    }
    r = range_apply(co, node, first, end, 1, &done);
    if (r < 0) {
        range_apply(co, node, first, first + done, -1, &undone);
        return r;
    }
    if (end << s->cluster_bits > s->fresh_offset) {
        s->fresh_offset = end << s->cluster_bits;
    }
    return 0;
}

/* ---- bringing it down ---- */

/* With reftable_lock: the blocks, then the entries that link new ones. */
static int refcounts_write(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2DirtyCopy *links;
    /* Before the blocks: a block linked later may not be written now. */
    int r = qcow2_dirty_take(s->reftable, s->reftable_size, s->reftable_dirty,
                             &links);

    if (r >= 0) {
        r = qcow2_cache_write(co, s->refblock_cache);
    }
    if (r >= 0 && links) {
        r = io_flush(co, node->file->child);
    }
    if (r < 0) {
        qcow2_dirty_undo(links, s->reftable_dirty);
        return r;
    }
    if (links) {
        qcow2_event(co, node, BLKDBG_REFTABLE_UPDATE);
    }
    return qcow2_dirty_write(co, node, QCOW2_OL_REFCOUNT_TABLE,
                             s->hdr.reftable_offset, links,
                             s->reftable_dirty);
}

int qcow2_refcount_write(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    co_mutex_lock(co, &s->reftable_lock);
    r = refcounts_write(co, node);
    co_mutex_unlock(&s->reftable_lock);
    return r;
}

int qcow2_refcount_barrier(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    /* The image is marked dirty: refcounts are made up for at the next open. */
    int r = s->lazy_refcounts ? 0 : qcow2_refcount_write(co, node);

    if (r >= 0 && s->external_data) {
        r = io_flush(co, s->data->child);
    }
    return r < 0 ? r : io_flush(co, node->file->child);
}
