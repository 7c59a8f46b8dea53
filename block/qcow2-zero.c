/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Writing zeroes without writing: the zero flag of an entry, or the zero bits
 * of its subclusters.
 *
 * Without REQ_MAY_UNMAP the host clusters stay where they are, so that later
 * writes need no new ones; with it they are freed. Version 2 has no zero flag:
 * without a backing file unmapping does the same, with one the core writes
 * zeroes.
 *
 * A piece smaller than a subcluster is only possible where nothing is to be
 * done, or where the rest of the subcluster reads as zeroes, too.
 */
#include "block/qcow2.h"

/* One cluster becomes zero. */
static void zero_cluster(Node *node, Qcow2Table *t, int i, ReqFlags flags)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t old = qcow2_l2_entry(s, t, i);
    uint64_t old_bitmap = qcow2_l2_bitmap(s, t, i);
    uint64_t entry, bitmap = 0;
    bool compressed = old & QCOW2_COMPRESSED_FLAG;
    bool unmap = compressed ||
                 ((flags & REQ_MAY_UNMAP) && !s->discard_no_unref);

    entry = unmap ? 0 : old;
    if (s->subclusters) {
        bitmap = QCOW2_SUB_ALL_ZERO;
    } else {
        entry |= QCOW2_ZERO_FLAG;
    }
    if (entry == old && bitmap == old_bitmap) {
        return;
    }
    qcow2_l2_store(s, t, i, entry, bitmap);
    if (unmap) {
        qcow2_free_entry_later(node, old, QCOW2_DISCARD_REQUEST);
    }
}

/* Some subclusters of one cluster. */
static int zero_subclusters(Node *node, Qcow2Table *t, int i, int from, int to)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t entry = qcow2_l2_entry(s, t, i);
    uint64_t bitmap = qcow2_l2_bitmap(s, t, i);
    uint64_t new = (bitmap | qcow2_sub_zero_range(from, to)) &
                   ~qcow2_sub_alloc_range(from, to);

    if (entry & QCOW2_COMPRESSED_FLAG) {
        return -ENOTSUP;
    }
    if (new != bitmap) {
        qcow2_l2_store(s, t, i, entry, new);
    }
    return 0;
}

/* [off, off + len) of one slice, in whole subclusters. With `meta`. */
static int zero_in_slice(Node *node, Qcow2Table *t, int i, int64_t off,
                         int64_t len, ReqFlags flags)
{
    Qcow2State *s = qcow2_state(node);

    while (len > 0) {
        int64_t in = qcow2_in_cluster(s, off);
        int64_t n = MIN(len, s->cluster_size - in);

        if (n == s->cluster_size) {
            zero_cluster(node, t, i, flags);
        } else {
            int r = zero_subclusters(node, t, i, in >> s->sub_bits,
                                     (in + n) >> s->sub_bits);

            if (r < 0) {
                return r;
            }
        }
        off += n;
        len -= n;
        i++;
    }
    return 0;
}

/* With `meta`; bytes done in *@done. */
static int zero_step(Co *co, Node *node, int64_t off, int64_t len,
                     ReqFlags flags, int64_t *done)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Table *t;
    int i, r;

    for (;;) {
        r = qcow2_l2_get_mut(co, node, off, &t, &i);
        if (r < 0) {
            return r;
        }
        *done = MIN(len, ((int64_t)((1 << s->slice_bits) - i) <<
                          s->cluster_bits) - qcow2_in_cluster(s, off));
        if (!qcow2_alloc_busy(s, off, *done)) {
            break;
        }
        qcow2_cache_put(t);
        qcow2_alloc_wait(co, node, off, *done);
    }
    r = zero_in_slice(node, t, i, off, *done, flags);
    qcow2_cache_put(t);
    return r;
}

/* The space of whole clusters of an external data file, which nothing counts and
 * nobody refers to any more. Whatever comes of it, they read as zeroes. Zeroes in
 * a file that may not be unmapped would take space. */
static void zero_give_back(Co *co, Node *node, int64_t off, int64_t len)
{
    Qcow2State *s = qcow2_state(node);
    int64_t start = qcow2_cluster_up(s, off);
    int64_t end = MIN(qcow2_cluster_down(s, off + len),
                      s->data->child->length);

    if (start < end && s->pass_discard[QCOW2_DISCARD_REQUEST] &&
        (s->data->child->flags & OPEN_UNMAP)) {
        io_zero(co, s->data, start, end - start,
                REQ_MAY_UNMAP | REQ_NO_FALLBACK);
    }
}

static int zero_range(Co *co, Node *node, int64_t off, int64_t len,
                      ReqFlags flags)
{
    Qcow2State *s = qcow2_state(node);
    int64_t first = off, all = len;
    int r = 0;

    if (s->hdr.autoclear & QCOW2_AUTOCLEAR_RAW_DATA) {
        r = io_zero(co, s->data, off, MIN(len, node->length - off), flags);
        if (r < 0) {
            return r;
        }
        flags &= ~REQ_MAY_UNMAP;
    }
    co_mutex_lock(co, &s->meta);
    while (len > 0 && r >= 0) {
        int64_t done;

        r = zero_step(co, node, off, len, flags, &done);
        off += done;
        len -= done;
    }
    co_mutex_unlock(&s->meta);
    if (r >= 0 && s->external_data && (flags & REQ_MAY_UNMAP) &&
        !s->discard_no_unref) {
        zero_give_back(co, node, first, all);
    }
    return r;
}

/* Whether the backing file has only zeroes in [off, off + len). */
static int backing_is_zero(Co *co, Node *node, int64_t off, int64_t len)
{
    int64_t end = node->backing ?
                  MIN(off + len, node->backing->child->length) : 0;

    return off >= end ||
           status_is_zero(co, node->backing->child, off, end - off) == 1;
}

/* All of the subcluster at @start becomes zero if it is still unallocated;
 * others may have written to the rest of it meanwhile. */
static int zero_if_unallocated(Co *co, Node *node, int64_t start,
                               ReqFlags flags)
{
    Qcow2State *s = qcow2_state(node);
    int64_t done;
    Qcow2Map m;
    int r;

    co_mutex_lock(co, &s->meta);
    do {
        r = qcow2_map(co, node, start, s->sub_size, &m);
    } while (r >= 0 && qcow2_alloc_wait(co, node, start, s->sub_size));
    if (r >= 0 && m.type != QCOW2_MAP_UNALLOCATED &&
        m.type != QCOW2_MAP_UNALLOCATED_HOST) {
        r = -ENOTSUP;
    }
    if (r >= 0) {
        r = zero_step(co, node, start, s->sub_size, flags, &done);
    }
    co_mutex_unlock(&s->meta);
    return r;
}

/* Less than a subcluster. */
static int zero_piece(Co *co, Node *node, int64_t off, int64_t len,
                      ReqFlags flags)
{
    Qcow2State *s = qcow2_state(node);
    int64_t start = off & ~(s->sub_size - 1);
    Qcow2Map m;
    int r = qcow2_map(co, node, off, len, &m);

    if (r < 0) {
        return r;
    }
    if (m.len < len || (s->hdr.autoclear & QCOW2_AUTOCLEAR_RAW_DATA)) {
        return -ENOTSUP;
    }
    switch (m.type) {
    case QCOW2_MAP_ZERO:
    case QCOW2_MAP_ZERO_HOST:
        return 0;
    case QCOW2_MAP_UNALLOCATED:
    case QCOW2_MAP_UNALLOCATED_HOST:
        if (s->hdr.version < 3 ||
            !backing_is_zero(co, node, start, off - start) ||
            !backing_is_zero(co, node, off + len,
                             start + s->sub_size - (off + len))) {
            return -ENOTSUP;
        }
        return zero_if_unallocated(co, node, start, flags);
    default:
        return -ENOTSUP;
    }
}

int qcow2_zero(Co *co, Node *node, int64_t off, int64_t len, ReqFlags flags)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end = off + len;
    unsigned epoch = qcow2_epoch_enter(s);
    int r = qcow2_write_prepare(co, node);

    if (end == node->length) {
        end = (end + s->sub_size - 1) & ~(s->sub_size - 1);
    }
    if (r < 0) {
        /* Nothing. */
    } else if ((off | end) & (s->sub_size - 1)) {
        r = zero_piece(co, node, off, len, flags);
    } else if (s->hdr.version >= 3) {
        r = zero_range(co, node, off, end - off, flags);
    } else if (qcow2_over_backing(node) || qcow2_in_cluster(s, off | end)) {
        r = -ENOTSUP;
    } else {
        r = qcow2_discard_range(co, node, off, end - off,
                                QCOW2_DISCARD_REQUEST, false);
    }
    qcow2_epoch_leave(s, epoch);
    return r;
}
