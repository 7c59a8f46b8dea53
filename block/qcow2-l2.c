/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * From guest offsets to what is there.
 *
 *     L1[] --> L2 table --> entry (+ bitmap of 32 subclusters)
 *    (memory)  (cached slices)
 *
 * An entry, or one subcluster of an extended entry, has a type (Qcow2MapType);
 * the unit of all loops here is the subcluster, which is the cluster in images
 * without subclusters. A lookup ends at the slice's end at the latest.
 *
 * The L1 table is changed in memory; its dirty sectors are written by the
 * flush, after the L2 tables they lead to. An L2 table that a snapshot shares
 * (no COPIED flag in L1) is copied before it is changed.
 *
 * Entries are checked where they are read: offsets that are not aligned, and
 * subcluster bitmaps that contradict themselves, are corruption.
 */
#include "block/qcow2.h"

static int64_t slice_offset(const Qcow2State *s, int64_t l2_offset, int index)
{
    return l2_offset + (int64_t)(index >> s->slice_bits) *
           qcow2_cache_entry_size(s->l2_cache);
}

static int slice_index(const Qcow2State *s, int64_t off)
{
    return qcow2_l2_index(s, off) & ((1 << s->slice_bits) - 1);
}

/* Offset of the L2 table of @off: 0 if there is none. */
static int l2_offset(Co *co, Node *node, int64_t off, int64_t *ret)
{
    Qcow2State *s = qcow2_state(node);
    int64_t i = qcow2_l1_index(s, off);

    *ret = i < s->hdr.l1_size ? s->l1[i] & QCOW2_OFFSET_MASK : 0;
    if (qcow2_in_cluster(s, *ret)) {
        qcow2_signal_corruption(co, node, true, -1, -1, "L2 table offset %#"
                                PRIx64 " unaligned (L1 index: %#" PRIx64 ")",
                                *ret, i);
        return -EIO;
    }
    return 0;
}

int qcow2_l2_get(Co *co, Node *node, int64_t off, Qcow2Table **ret, int *index)
{
    Qcow2State *s = qcow2_state(node);

    *index = slice_index(s, off);
    for (;;) {
        int64_t table, now;
        Qcow2Table *t;
        int r = l2_offset(co, node, off, &table);

        *ret = NULL;
        if (r < 0 || !table) {
            return r;
        }
        r = qcow2_cache_get(co, s->l2_cache,
                            slice_offset(s, table, qcow2_l2_index(s, off)),
                            &t);
        if (r < 0) {
            return r;
        }
        /* Did the table move while this one was read? */
        r = l2_offset(co, node, off, &now);
        if (r >= 0 && now == table) {
            *ret = t;
            return 0;
        }
        qcow2_cache_put(t);
    }
}

/* The slice, if it is in memory: never suspends. */
static Qcow2Table *l2_find(const Qcow2State *s, int64_t off)
{
    int64_t i = qcow2_l1_index(s, off);
    int64_t table = i < s->hdr.l1_size ? s->l1[i] & QCOW2_OFFSET_MASK : 0;

    return table ? qcow2_cache_find(s->l2_cache,
                                    slice_offset(s, table,
                                                 qcow2_l2_index(s, off))) :
           NULL;
}

void qcow2_l2_store(Qcow2State *s, Qcow2Table *t, int i, uint64_t entry,
                    uint64_t bitmap)
{
    uint8_t *p = (uint8_t *)t->data + (int64_t)i * s->l2_entry_size;

    stq_be_p(p, entry);
    if (s->subclusters) {
        stq_be_p(p + 8, bitmap);
    }
    qcow2_cache_dirty(s->l2_cache, t, i * s->l2_entry_size, s->l2_entry_size);
}

/* ---- L1 ---- */

void qcow2_l1_store(Qcow2State *s, int64_t index, uint64_t entry)
{
    int64_t old = s->l1[index] & QCOW2_OFFSET_MASK;

    if (old) {
        qcow2_overlap_remove(s, old);
    }
    if (entry & QCOW2_OFFSET_MASK) {
        qcow2_overlap_add(s, entry & QCOW2_OFFSET_MASK, QCOW2_OL_ACTIVE_L2);
    }
    s->l1[index] = entry;
    bitset_set(s->l1_dirty, index / 64, 1);
}

/* The copy at @off of the table at @old (0: an empty one), in the cache. */
static int l2_fill_new(Co *co, Node *node, int64_t off, int64_t old)
{
    Qcow2State *s = qcow2_state(node);
    int step = qcow2_cache_entry_size(s->l2_cache);

    for (int64_t o = 0; o < s->cluster_size; o += step) {
        Qcow2Table *from = NULL, *to;
        int r = old ? qcow2_cache_get(co, s->l2_cache, old + o, &from) : 0;

        if (r < 0) {
            return r;
        }
        r = qcow2_cache_get_new(co, s->l2_cache, off + o, &to);
        if (r < 0) {
            qcow2_cache_put(from);
            return r;
        }
        if (from) {
            memcpy(to->data, from->data, step);
        }
        qcow2_cache_put(from);
        qcow2_cache_put(to);
    }
    return 0;
}

/* Gives the disk's part at @off an L2 table of its own. With `meta`. */
static int l2_make(Co *co, Node *node, int64_t off, int64_t old)
{
    Qcow2State *s = qcow2_state(node);
    int64_t new = qcow2_alloc_clusters(co, node, s->cluster_size);
    int r;

    if (new < 0) {
        return new;
    }
    r = qcow2_overlap_check(co, node, QCOW2_OL_NONE, new, s->cluster_size,
                            false);
    if (r >= 0) {
        qcow2_event(co, node, BLKDBG_L2_ALLOC_WRITE);
        r = qcow2_reserve_table(co, node, new);
    }
    if (r >= 0 && old) {
        qcow2_event(co, node, BLKDBG_L2_ALLOC_COW_READ);
    }
    if (r >= 0) {
        r = l2_fill_new(co, node, new, old);
    }
    if (r < 0) {
        qcow2_cache_drop(co, s->l2_cache, new, s->cluster_size);
        qcow2_free_clusters(co, node, new, s->cluster_size,
                            QCOW2_DISCARD_OTHER);
        return r;
    }
    qcow2_l1_store(s, qcow2_l1_index(s, off), new | QCOW2_COPIED);
    if (old) {
        qcow2_free_later(node, old, s->cluster_size, QCOW2_DISCARD_OTHER);
    }
    return 0;
}

int qcow2_l2_get_mut(Co *co, Node *node, int64_t off, Qcow2Table **ret,
                     int *index)
{
    Qcow2State *s = qcow2_state(node);
    int64_t i = qcow2_l1_index(s, off);
    int64_t table;
    int r;

    if (i >= s->hdr.l1_size) {
        return -EIO;
    }
    r = l2_offset(co, node, off, &table);
    if (r < 0) {
        return r;
    }
    if (!table || !(s->l1[i] & QCOW2_COPIED)) {
        r = l2_make(co, node, off, table);
        if (r < 0) {
            return r;
        }
    }
    return qcow2_l2_get(co, node, off, ret, index);
}

/* The header leads to *@table (taken over) at @off, and so does what is in
 * memory. */
static int l1_switch(Co *co, Node *node, uint64_t **table, int64_t entries,
                     int64_t off)
{
    Qcow2State *s = qcow2_state(node);
    uint8_t field[12];
    int r;

    stl_be_p(field, entries);
    stq_be_p(field + 4, off);
    qcow2_event(co, node, BLKDBG_L1_GROW_ACTIVATE_TABLE);
    co_mutex_lock(co, &s->header_lock);
    r = qcow2_header_put(co, node, QCOW2_HDR_L1, field, sizeof(field));
    if (r >= 0) {
        g_free(s->l1);
        s->l1 = g_steal_pointer(table);
        bitset_resize(s->l1_dirty, DIV_ROUND_UP(entries, 64));
        s->hdr.l1_offset = off;
        s->hdr.l1_size = entries;
    }
    co_mutex_unlock(&s->header_lock);
    return r;
}

/* The new table at a new place, then the header, then the old one is free. */
static int l1_move(Co *co, Node *node, uint64_t **table, int64_t entries)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old = s->hdr.l1_offset, old_len = (int64_t)s->hdr.l1_size * 8;
    int64_t off;
    int r;

    qcow2_event(co, node, BLKDBG_L1_GROW_ALLOC_TABLE);
    off = qcow2_alloc_clusters(co, node, entries * 8);
    if (off < 0) {
        return off;
    }
    qcow2_event(co, node, BLKDBG_L1_GROW_WRITE_TABLE);
    r = qcow2_write_table(co, node, QCOW2_OL_NONE, off, entries, *table);
    if (r >= 0) {
        r = qcow2_refcount_barrier(co, node);
    }
    if (r < 0) {
        qcow2_free_clusters(co, node, off, entries * 8, QCOW2_DISCARD_OTHER);
        return r;
    }
    r = l1_switch(co, node, table, entries, off);
    if (r >= 0 && old) {
        qcow2_free_clusters(co, node, old, old_len, QCOW2_DISCARD_OTHER);
    }
    /* If it failed, nobody knows which table the disk has: both stay taken. */
    return r;
}

int qcow2_l1_grow(Co *co, Node *node, int64_t entries, bool exact)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree uint64_t *table = NULL;
    int r;

    if (entries <= s->hdr.l1_size) {
        return 0;
    }
    if (!exact) {
        entries = MAX(entries, (int64_t)s->hdr.l1_size * 3 / 2);
        entries = MIN(entries, MAX(QCOW2_MAX_L1_BYTES / 8, s->hdr.l1_size));
    }
    if (entries > QCOW2_MAX_L1_BYTES / 8 || entries <= s->hdr.l1_size) {
        return -EFBIG;
    }
    table = g_try_new0(uint64_t, entries);
    if (!table) {
        return -ENOMEM;
    }
    /* What the new table leads to has to be on disk before it. */
    r = qcow2_flush_tables(co, node);
    if (r < 0) {
        return r;
    }
    co_mutex_lock(co, &s->flush_lock);
    if (s->hdr.l1_size) {
        memcpy(table, s->l1, (int64_t)s->hdr.l1_size * 8);
    }
    r = l1_move(co, node, &table, entries);
    co_mutex_unlock(&s->flush_lock);
    return r;
}

/* ---- types ---- */

int qcow2_l2_type(const Qcow2State *s, uint64_t entry, uint64_t bitmap,
                  int sub)
{
    bool host = (entry & QCOW2_OFFSET_MASK) ||
                (s->external_data && (entry & QCOW2_COPIED));

    if (entry & QCOW2_COMPRESSED_FLAG) {
        return QCOW2_MAP_COMPRESSED;
    }
    if (!s->subclusters) {
        if (entry & QCOW2_ZERO_FLAG) {
            return host ? QCOW2_MAP_ZERO_HOST : QCOW2_MAP_ZERO;
        }
        return host ? QCOW2_MAP_NORMAL : QCOW2_MAP_UNALLOCATED;
    }
    if (host ? (bitmap & bitmap >> 32) : (bitmap & QCOW2_SUB_ALL_ALLOC)) {
        return -EIO;
    }
    if (bitmap & QCOW2_SUB_ZERO(sub)) {
        return host ? QCOW2_MAP_ZERO_HOST : QCOW2_MAP_ZERO;
    }
    if (bitmap & QCOW2_SUB_ALLOC(sub)) {
        return QCOW2_MAP_NORMAL;
    }
    return host ? QCOW2_MAP_UNALLOCATED_HOST : QCOW2_MAP_UNALLOCATED;
}

static bool type_has_host(int type)
{
    return type == QCOW2_MAP_NORMAL || type == QCOW2_MAP_ZERO_HOST ||
           type == QCOW2_MAP_UNALLOCATED_HOST;
}

/* Whether a legal entry makes sense in this image. */
static int check_entry(Co *co, Node *node, int64_t off, uint64_t entry,
                       int type)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t table = s->l1[qcow2_l1_index(s, off)] & QCOW2_OFFSET_MASK;
    int64_t host = entry & QCOW2_OFFSET_MASK;

    if (type < 0) {
        qcow2_signal_corruption(co, node, true, -1, -1, "Invalid cluster "
                                "entry found  (L2 offset: %#" PRIx64
                                ", L2 index: %#x)", table,
                                qcow2_l2_index(s, off));
        return -EIO;
    }
    if (type == QCOW2_MAP_COMPRESSED && s->external_data) {
        qcow2_signal_corruption(co, node, true, -1, -1, "Compressed cluster "
                                "entry found in image with external data "
                                "file (L2 offset: %#" PRIx64
                                ", L2 index: %#x)", table,
                                qcow2_l2_index(s, off));
        return -EIO;
    }
    if ((type == QCOW2_MAP_ZERO || type == QCOW2_MAP_ZERO_HOST) &&
        s->hdr.version < 3) {
        qcow2_signal_corruption(co, node, true, -1, -1, "Zero cluster entry "
                                "found in pre-v3 image (L2 offset: %#" PRIx64
                                ", L2 index: %#x)", table,
                                qcow2_l2_index(s, off));
        return -EIO;
    }
    if (!type_has_host(type)) {
        return 0;
    }
    if (qcow2_in_cluster(s, host)) {
        qcow2_signal_corruption(co, node, true, -1, -1, "%s offset %#" PRIx64
                                " unaligned (L2 offset: %#" PRIx64
                                ", L2 index: %#x)",
                                type == QCOW2_MAP_ZERO_HOST ?
                                "Preallocated zero cluster" :
                                "Cluster allocation", host, table,
                                qcow2_l2_index(s, off));
        return -EIO;
    }
    if (s->external_data && host != qcow2_cluster_down(s, off)) {
        qcow2_signal_corruption(co, node, true, host, s->cluster_size,
                                "External data file host cluster offset %#"
                                PRIx64 " does not match guest cluster offset: "
                                "%#" PRIx64 ", L2 index: %#x)", host,
                                qcow2_cluster_down(s, off),
                                qcow2_l2_index(s, off));
        return -EIO;
    }
    return 0;
}

/* ---- lookup ---- */

/* How far [off, off + len) is like its first unit, in the slice. */
static int64_t run_length(const Qcow2State *s, const Qcow2Table *t, int i,
                          int64_t off, int64_t len, int type, uint64_t entry)
{
    int64_t end = ((int64_t)1 << s->slice_bits) << s->cluster_bits;
    int64_t start = ((int64_t)i << s->cluster_bits) + qcow2_in_cluster(s, off);
    int64_t pos = (start & ~(s->sub_size - 1)) + s->sub_size;
    uint64_t bitmap = qcow2_l2_bitmap(s, t, i);
    bool host = type_has_host(type);

    end = MIN(end, start + len);
    for (; pos < end; pos += s->sub_size) {
        int j = pos >> s->cluster_bits;

        if (j != i) {
            uint64_t next = qcow2_l2_entry(s, t, j);

            if (host && next != entry + s->cluster_size) {
                break;
            }
            i = j;
            entry = next;
            bitmap = qcow2_l2_bitmap(s, t, i);
        }
        if (qcow2_l2_type(s, entry, bitmap, (pos & (s->cluster_size - 1)) >>
                          s->sub_bits) != type) {
            break;
        }
    }
    return MIN(pos, end) - start;
}

/* Without an L2 table all that it would cover is unallocated. */
static int map_none(const Qcow2State *s, int64_t off, int64_t len,
                    Qcow2Map *ret)
{
    int64_t span = (int64_t)1 << (s->cluster_bits + s->l2_bits);
    int64_t end = (off & ~(span - 1)) + span;

    while (end < off + len && qcow2_l1_index(s, end) < s->hdr.l1_size &&
           !(s->l1[qcow2_l1_index(s, end)] & QCOW2_OFFSET_MASK)) {
        end += span;
    }
    *ret = (Qcow2Map) {
        .type = QCOW2_MAP_UNALLOCATED,
        .len = MIN(len, end - off),
    };
    return 0;
}

/* What is at index @i of the slice. */
static inline int map_entry(Co *co, Node *node, const Qcow2Table *t, int i,
                            int64_t off, int64_t len, Qcow2Map *ret)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t entry = qcow2_l2_entry(s, t, i);
    int type = qcow2_l2_type(s, entry, qcow2_l2_bitmap(s, t, i),
                             qcow2_in_cluster(s, off) >> s->sub_bits);

    if (type != QCOW2_MAP_NORMAL || s->external_data ||
        qcow2_in_cluster(s, entry & QCOW2_OFFSET_MASK)) {
        int r = check_entry(co, node, off, entry, type);

        if (r < 0) {
            return r;
        }
    }
    ret->type = type;
    ret->copied = entry & QCOW2_COPIED;
    ret->host = (int64_t)(entry & QCOW2_OFFSET_MASK) +
                qcow2_in_cluster(s, off);
    ret->entry = entry;
    if (type == QCOW2_MAP_COMPRESSED) {
        ret->len = MIN(len, s->cluster_size - qcow2_in_cluster(s, off));
    } else {
        ret->len = run_length(s, t, i, off, len, type, entry);
    }
    return 0;
}

int qcow2_map_list(Co *co, Node *node, int64_t off, int64_t len,
                   Qcow2Map *ret, int max)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Table *t = l2_find(s, off);
    int i = slice_index(s, off), n = 0, r = 0;

    if (!t) {
        r = qcow2_l2_get(co, node, off, &t, &i);
        if (r < 0) {
            return r;
        }
        if (!t) {
            map_none(s, off, len, ret);
            return 1;
        }
    }
    do {
        r = map_entry(co, node, t, i, off, len, &ret[n]);
        if (r < 0) {
            break;
        }
        off += ret[n].len;
        len -= ret[n].len;
        i = slice_index(s, off);
    } while (++n < max && len > 0 && i > 0);
    qcow2_cache_put(t);
    return r < 0 ? r : n;
}

int qcow2_map(Co *co, Node *node, int64_t off, int64_t len, Qcow2Map *ret)
{
    int r = qcow2_map_list(co, node, off, len, ret, 1);

    return MIN(r, 0);
}
