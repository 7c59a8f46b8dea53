/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Unmapping.
 *
 * What a guest discards reads as zeroes afterwards (version 3), whatever the
 * backing file holds; a full discard, of whoever empties or shrinks the image,
 * leaves nothing behind. Host clusters are freed in two steps (qcow2-free.c);
 * with discard-no-unref they stay in the image, and only their content is
 * given up. So it is with external data files, which have no refcounts. A raw one
 * has to read as zeroes by itself: it is zeroed, and then not discarded, after
 * which it might have anything there.
 */
#include "block/qcow2.h"

/* Ranges of the data file to be discarded when the locks are off. */
typedef struct DataRange {
    int64_t off, len;
} DataRange;

typedef struct Discard {
    Qcow2DiscardType type;
    bool full;
    bool zeroed;                /* the data file, already */
    GArray *ranges;             /* of DataRange; NULL until there is one */
} Discard;

static void discard_data(const Qcow2State *s, Discard *d, uint64_t entry,
                         int64_t guest)
{
    DataRange range = { s->external_data ? guest :
                        (int64_t)(entry & QCOW2_OFFSET_MASK),
                        s->cluster_size };

    if (d->zeroed || !s->pass_discard[d->type]) {
        return;
    }
    if (!d->ranges) {
        d->ranges = g_array_new(false, false, sizeof(DataRange));
    } else {
        DataRange *last = &g_array_index(d->ranges, DataRange,
                                         d->ranges->len - 1);

        if (last->off + last->len == range.off) {
            last->len += range.len;
            return;
        }
    }
    g_array_append_val(d->ranges, range);
}

/* What an entry becomes: false if it stays as it is. */
static bool discard_entry(const Node *node, const Discard *d, uint64_t old,
                          uint64_t old_bitmap, uint64_t *entry,
                          uint64_t *bitmap)
{
    const Qcow2State *s = qcow2_state(node);
    bool keep = s->discard_no_unref && !d->full &&
                d->type == QCOW2_DISCARD_REQUEST &&
                !(old & QCOW2_COMPRESSED_FLAG);

    *entry = keep ? old : 0;
    *bitmap = 0;
    if (!d->full && (node->backing || old || old_bitmap)) {
        if (s->subclusters) {
            *bitmap = QCOW2_SUB_ALL_ZERO;
        } else if (s->hdr.version >= 3) {
            *entry |= QCOW2_ZERO_FLAG;
        }
    }
    return *entry != old || *bitmap != old_bitmap;
}

static void discard_cluster(Node *node, Discard *d, Qcow2Table *t, int i,
                            int64_t guest)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t old = qcow2_l2_entry(s, t, i);
    uint64_t old_bitmap = qcow2_l2_bitmap(s, t, i);
    uint64_t entry, bitmap;
    bool had_host = (old & QCOW2_OFFSET_MASK) ||
                    (s->external_data && (old & QCOW2_COPIED));
    bool has_host;

    if (!discard_entry(node, d, old, old_bitmap, &entry, &bitmap)) {
        return;
    }
    has_host = entry & QCOW2_OFFSET_MASK;
    qcow2_l2_store(s, t, i, entry, bitmap);
    if (had_host && (s->external_data || has_host)) {
        /* Only the owner of a cluster may give its content up. */
        if (old & QCOW2_COPIED) {
            discard_data(s, d, old, guest);
        }
    } else if (had_host || (old & QCOW2_COMPRESSED_FLAG)) {
        qcow2_free_entry_later(node, old, d->type);
    }
}

/* With `meta`; a part of [off, off + len) that lies in one slice. */
static int discard_step(Co *co, Node *node, Discard *d, int64_t off,
                        int64_t len, int64_t *done)
{
    Qcow2State *s = qcow2_state(node);
    bool make = node->backing && !d->full;
    Qcow2Table *t;
    Qcow2Map m;
    int i, r;

    for (;;) {
        *done = len;
        r = qcow2_map(co, node, off, len, &m);
        if (r < 0) {
            return r;
        }
        if (m.type == QCOW2_MAP_UNALLOCATED && !make &&
            m.len >= s->cluster_size) {
            *done = MIN(len, qcow2_cluster_down(s, m.len));
            if (!qcow2_alloc_busy(s, off, *done)) {
                return 0;
            }
            qcow2_alloc_wait(co, node, off, *done);
            continue;
        }
        r = qcow2_l2_get_mut(co, node, off, &t, &i);
        if (r < 0) {
            return r;
        }
        *done = MIN(len, (int64_t)((1 << s->slice_bits) - i) <<
                         s->cluster_bits);
        if (!qcow2_alloc_busy(s, off, *done)) {
            break;
        }
        qcow2_cache_put(t);
        qcow2_alloc_wait(co, node, off, *done);
    }
    for (int64_t o = 0; o < *done; o += s->cluster_size) {
        discard_cluster(node, d, t, i++, off + o);
    }
    qcow2_cache_put(t);
    return 0;
}

static void discard_ranges(Co *co, Node *node, const Discard *d)
{
    Qcow2State *s = qcow2_state(node);

    for (unsigned i = 0; d->ranges && i < d->ranges->len; i++) {
        const DataRange *range = &g_array_index(d->ranges, DataRange, i);

        io_discard(co, s->data, range->off, range->len);
    }
}

int qcow2_discard_range(Co *co, Node *node, int64_t off, int64_t len,
                        Qcow2DiscardType type, bool full)
{
    Qcow2State *s = qcow2_state(node);
    int64_t bytes = qcow2_cluster_up(s, len);
    Discard d = { .type = type, .full = full };
    int r = 0;

    if (!full && (s->hdr.autoclear & QCOW2_AUTOCLEAR_RAW_DATA)) {
        d.zeroed = true;
        r = io_zero(co, s->data, off, MIN(len, node->length - off),
                    REQ_MAY_UNMAP);
        if (r < 0) {
            return r;
        }
    }
    co_mutex_lock(co, &s->meta);
    while (bytes > 0 && r >= 0) {
        int64_t done;

        r = discard_step(co, node, &d, off, bytes, &done);
        off += done;
        bytes -= done;
    }
    co_mutex_unlock(&s->meta);
    discard_ranges(co, node, &d);
    g_clear_pointer(&d.ranges, g_array_unref);
    return r;
}

int qcow2_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    Qcow2State *s = qcow2_state(node);
    bool to_end = off + len == node->length;
    unsigned epoch;
    int r;

    if ((s->hdr.version < 3 && qcow2_over_backing(node)) ||
        qcow2_in_cluster(s, off) ||
        (qcow2_in_cluster(s, len) && !to_end)) {
        return -ENOTSUP;
    }
    epoch = qcow2_epoch_enter(s);
    r = qcow2_write_prepare(co, node);
    if (r >= 0) {
        r = qcow2_discard_range(co, node, off, len, QCOW2_DISCARD_REQUEST,
                                false);
    }
    qcow2_epoch_leave(s, epoch);
    if (r >= 0 && s->freed_bytes > QCOW2_FREED_MAX) {
        r = qcow2_flush_metadata(co, node);
    }
    return r;
}

int qcow2_make_empty(Co *co, Node *node)
{
    int r = qcow2_write_prepare(co, node);

    if (r >= 0) {
        qcow2_event(co, node, BLKDBG_EMPTY_IMAGE_PREPARE);
        r = qcow2_discard_range(co, node, 0, node->length,
                                QCOW2_DISCARD_SNAPSHOT, true);
    }
    return r < 0 ? r : qcow2_flush_metadata(co, node);
}
