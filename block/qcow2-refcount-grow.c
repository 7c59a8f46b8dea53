/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Refcount structures that grow by more than a block, or shrink.
 *
 * A larger refcount table, at a new place.
 *
 * The clusters that the old table cannot count are all free. The new table
 * and the blocks that count it go there:
 *
 *     | counted by the old table ... | new blocks | new table |
 *                                    ^ first
 *
 * Order: all refcounts so far durable; the new area written and durable; the
 * header, durable; only then the old table's clusters are given back. A crash
 * before the header leaves the old table, which knows nothing of the new
 * area; one after it leaks the old table.
 *
 * A run of clusters that is longer than what a block counts (the L1 table of a
 * large disk with small clusters): its blocks lie before it, side by side.
 *
 * Blocks at the end of the table that count nothing, or nothing but themselves,
 * go when a disk shrinks. They are unlinked, durably, before their clusters are
 * used or cut off.
 */
#include "block/qcow2.h"

typedef struct NewTable {
    int64_t first;              /* cluster of the first new block */
    int64_t blocks;             /* new blocks */
    int64_t clusters;           /* of the new table */
    int64_t entries;
    uint64_t *table;            /* host order */
} NewTable;

/* Sizes that hold @need blocks and themselves. */
static int plan(const Qcow2State *s, int64_t need, NewTable *nt)
{
    int64_t per_cluster = s->cluster_size / 8;
    int64_t per_block = (int64_t)1 << s->refblock_bits;
    int64_t clusters;

    nt->first = s->reftable_size << s->refblock_bits;
    nt->blocks = 1;
    /* Half as many again, so that it does not move often. */
    need = MAX(need, s->reftable_size + s->reftable_size / 2);
    for (;;) {
        nt->clusters = DIV_ROUND_UP(MAX(need, s->reftable_size + nt->blocks),
                                    per_cluster);
        clusters = DIV_ROUND_UP(nt->blocks + nt->clusters, per_block);
        if (clusters <= nt->blocks) {
            break;
        }
        nt->blocks = clusters;
    }
    nt->entries = nt->clusters * per_cluster;
    return nt->clusters << s->cluster_bits > QCOW2_MAX_REFTABLE_BYTES ?
           -EFBIG : 0;
}

/* Writes the new blocks and the new table. */
static int write_area(Co *co, Node *node, const NewTable *nt)
{
    Qcow2State *s = qcow2_state(node);
    int64_t used = nt->blocks + nt->clusters;
    int64_t off = nt->first << s->cluster_bits;
    int64_t bytes = nt->blocks << s->cluster_bits;
    g_autofree uint8_t *blocks = g_try_malloc0(bytes);
    int r;

    if (!blocks) {
        return -ENOMEM;
    }
    /* Even if it is written in part only. */
    s->fresh_offset = MAX(s->fresh_offset, off + (used << s->cluster_bits));
    for (int64_t i = 0; i < used; i++) {
        int64_t b = i >> s->refblock_bits;

        qcow2_refcount_store(blocks + (b << s->cluster_bits),
                             s->hdr.refcount_order,
                             i - (b << s->refblock_bits), 1);
    }
    r = qcow2_overlap_check(co, node, QCOW2_OL_NONE, off,
                            used << s->cluster_bits, false);
    if (r < 0) {
        return r;
    }
    qcow2_event(co, node, BLKDBG_REFBLOCK_ALLOC_WRITE_BLOCKS);
    r = io_pwrite(co, node->file, off, bytes, blocks, 0);
    if (r < 0) {
        return r;
    }
    qcow2_event(co, node, BLKDBG_REFBLOCK_ALLOC_WRITE_TABLE);
    r = qcow2_write_table(co, node, QCOW2_OL_NONE, off + bytes, nt->entries,
                          nt->table);
    return r < 0 ? r : io_flush(co, node->file->child);
}

static int write_header(Co *co, Node *node, const NewTable *nt)
{
    Qcow2State *s = qcow2_state(node);
    int64_t off = (nt->first + nt->blocks) << s->cluster_bits;
    uint8_t field[12];
    int r;

    stq_be_p(field, off);
    stl_be_p(field + 8, nt->clusters);
    qcow2_event(co, node, BLKDBG_REFBLOCK_ALLOC_SWITCH_TABLE);
    co_mutex_lock(co, &s->header_lock);
    r = qcow2_header_put(co, node, QCOW2_HDR_REFTABLE, field, sizeof(field));
    if (r >= 0) {
        s->hdr.reftable_offset = off;
        s->hdr.reftable_clusters = nt->clusters;
    }
    co_mutex_unlock(&s->header_lock);
    return r;
}

/* With reftable_lock; nothing of the old table is dirty. */
static int move_table(Co *co, Node *node, NewTable *nt)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    for (int64_t i = 0; i < nt->blocks; i++) {
        nt->table[s->reftable_size + i] = (nt->first + i) << s->cluster_bits;
    }
    memcpy(nt->table, s->reftable, s->reftable_size * sizeof(uint64_t));
    r = write_area(co, node, nt);
    if (r < 0) {
        return r;
    }
    r = write_header(co, node, nt);
    if (r < 0) {
        return r;
    }
    for (int64_t i = 0; i < nt->blocks; i++) {
        qcow2_overlap_add(s, (nt->first + i) << s->cluster_bits,
                          QCOW2_OL_REFCOUNT_BLOCK);
    }
    g_free(s->reftable);
    bitset_free(s->reftable_dirty);
    s->reftable = g_steal_pointer(&nt->table);
    s->reftable_size = nt->entries;
    s->reftable_dirty = bitset_new(DIV_ROUND_UP(nt->entries, 64));
    return 0;
}

int qcow2_reftable_grow(Co *co, Node *node, int64_t blocks)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old_offset = s->hdr.reftable_offset;
    int64_t old_clusters = s->hdr.reftable_clusters;
    g_autofree uint64_t *table = NULL;
    NewTable nt = { 0 };
    int r;

    qcow2_event(co, node, BLKDBG_REFTABLE_GROW);
    r = plan(s, blocks, &nt);
    if (r < 0) {
        return r;
    }
    table = nt.table = g_try_new0(uint64_t, nt.entries);
    if (!table) {
        return -ENOMEM;
    }
    r = qcow2_refcount_write(co, node);
    if (r < 0) {
        return r;
    }
    co_mutex_lock(co, &s->reftable_lock);
    r = move_table(co, node, &nt);
    co_mutex_unlock(&s->reftable_lock);
    table = nt.table;
    if (r < 0) {
        return r;
    }
    qcow2_free_clusters(co, node, old_offset, old_clusters << s->cluster_bits,
                        QCOW2_DISCARD_OTHER);
    return 0;
}

/* ---- long runs ---- */

/* The entries of the table behind the last one in use are room for @blocks;
 * makes it larger until they are. The first of them. */
static int64_t room_for_blocks(Co *co, Node *node, int64_t blocks)
{
    Qcow2State *s = qcow2_state(node);

    for (;;) {
        int64_t i = s->reftable_size;
        int r;

        while (i > 0 && !(s->reftable[i - 1] & QCOW2_REFT_OFFSET_MASK)) {
            i--;
        }
        if (i + blocks <= s->reftable_size) {
            return i;
        }
        r = qcow2_reftable_grow(co, node, s->reftable_size + 2 * blocks);
        if (r < 0) {
            return r;
        }
    }
}

int64_t qcow2_alloc_long_run(Co *co, Node *node, int64_t n)
{
    Qcow2State *s = qcow2_state(node);
    int64_t per_block = (int64_t)1 << s->refblock_bits;
    int64_t blocks = DIV_ROUND_UP(n, per_block - 1);
    int64_t i = room_for_blocks(co, node, blocks);
    int64_t first, end;
    int r;

    if (i < 0) {
        return i;
    }
    first = i << s->refblock_bits;
    end = first + blocks + n;
    if (end > QCOW2_MAX_HOST_OFFSET >> s->cluster_bits) {
        return -EFBIG;
    }
    for (int64_t b = 0; b < blocks; b++) {
        r = qcow2_refblock_new(co, node, i + b,
                               (first + b) << s->cluster_bits, first, end);
        if (r < 0) {
            /* The blocks that were made count the rest as well. */
            end = MIN(end, (i + b) << s->refblock_bits);
            qcow2_free_clusters(co, node, (first + b) << s->cluster_bits,
                                MAX(end - first - b, 0) << s->cluster_bits,
                                QCOW2_DISCARD_NEVER);
            return r;
        }
    }
    s->fresh_offset = MAX(s->fresh_offset, end << s->cluster_bits);
    return (first + blocks) << s->cluster_bits;
}

/* ---- blocks that count nothing ---- */

/* Whether block @i, at @off, counts nothing but itself. */
static int block_is_idle(Co *co, Node *node, int64_t i, int64_t off,
                         bool *idle)
{
    Qcow2State *s = qcow2_state(node);
    int64_t self = off >> s->cluster_bits, first = i << s->refblock_bits;
    bool inside = self >> s->refblock_bits == i;
    uint64_t count = 1;
    int64_t end;
    int r = qcow2_refcount_end(co, node, (i + 1) << s->refblock_bits, &end);

    if (r >= 0 && inside && end == self + 1) {
        r = qcow2_refcount_get(co, node, self, &count);
        if (r >= 0) {
            r = qcow2_refcount_end(co, node, self, &end);
        }
    }
    *idle = end <= first && count == 1;
    return r;
}

/* Unlinks block @i in memory; the byte @off of it, if others count it. */
static int64_t block_unlink(Co *co, Node *node, int64_t i, int64_t off)
{
    Qcow2State *s = qcow2_state(node);
    int64_t self = off >> s->cluster_bits;

    qcow2_cache_drop(co, s->refblock_cache, off, s->cluster_size);
    qcow2_overlap_remove(s, off);
    s->reftable[i] = 0;
    bitset_set(s->reftable_dirty, i / 64, 1);
    if (self >> s->refblock_bits != i) {
        return off;
    }
    s->free_cursor = MIN(s->free_cursor, self);
    return 0;
}

int qcow2_refblocks_trim(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    g_autoptr(GArray) others = g_array_new(false, false, sizeof(int64_t));
    bool any = false, idle = true;
    int r = 0;

    for (int64_t i = s->reftable_size - 1; i > 0 && idle; i--) {
        int64_t off = s->reftable[i] & QCOW2_REFT_OFFSET_MASK;

        if (!off) {
            continue;
        }
        r = block_is_idle(co, node, i, off, &idle);
        if (r < 0) {
            return r;
        }
        if (idle) {
            any = true;
            off = block_unlink(co, node, i, off);
            if (off) {
                g_array_append_val(others, off);
            }
        }
    }
    if (any) {
        r = qcow2_refcount_write(co, node);
        if (r >= 0) {
            r = io_flush(co, node->file->child);
        }
    }
    for (guint i = 0; i < others->len && r >= 0; i++) {
        qcow2_free_clusters(co, node, g_array_index(others, int64_t, i),
                            s->cluster_size, QCOW2_DISCARD_ALWAYS);
    }
    return r;
}
