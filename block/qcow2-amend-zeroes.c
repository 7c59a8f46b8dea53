/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Getting rid of zero flags, for version 2.
 *
 * Without a backing file a cluster that reads as zeroes is one that is not
 * there. With one, it has to be written. The active tables are changed by the
 * usual ways of writing and discarding, which copy what snapshots share; then
 * the tables that only snapshots have are changed in place: they belong to
 * nobody who writes.
 */
#include "block/qcow2-amend.h"
#include "block/qcow2-snapshot.h"

#define ZERO_CHUNK (2 * MiB)

/* ---- the active tables ---- */

static int zeroes_write(Co *co, Node *node, int64_t off, int64_t len,
                        const IoVec *zeroes)
{
    int r = 0;

    while (len > 0 && r >= 0) {
        int64_t n = MIN(len, ZERO_CHUNK);

        r = qcow2_write(co, node, off, n, zeroes, 0, 0);
        off += n;
        len -= n;
    }
    return r;
}

static int zeroes_expand_active(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end = qcow2_cluster_up(s, node->length);
    g_autofree uint8_t *buf = g_try_malloc0(ZERO_CHUNK);
    IoVec zeroes;
    Qcow2Map map;
    int r = 0;

    if (!buf) {
        return -ENOMEM;
    }
    iov_init_buf(&zeroes, buf, ZERO_CHUNK);
    for (int64_t off = 0; off < end && r >= 0; off += map.len) {
        r = qcow2_map(co, node, off, end - off, &map);
        if (r < 0 || (map.type != QCOW2_MAP_ZERO &&
                      map.type != QCOW2_MAP_ZERO_HOST)) {
            continue;
        }
        if (!node->backing_file) {
            r = qcow2_discard_range(co, node, off, map.len,
                                    QCOW2_DISCARD_OTHER, true);
        } else {
            r = zeroes_write(co, node, off, MIN(map.len, node->length - off),
                             &zeroes);
        }
    }
    return r < 0 ? r : qcow2_flush_metadata(co, node);
}

/* ---- tables of snapshots ---- */

typedef struct ZeroTable {
    Node *node;
    int64_t off;
    uint8_t *buf;               /* the table, one cluster */
    uint64_t refs;              /* L1 entries that refer to it */
    GArray *drop;               /* of int64_t: host clusters to let go of */
    bool changed;
} ZeroTable;

/* A cluster of zeroes, with as many references as the table has. */
static int64_t zero_table_alloc(Co *co, ZeroTable *t)
{
    Qcow2State *s = qcow2_state(t->node);
    int64_t off = qcow2_alloc_clusters(co, t->node, s->cluster_size);
    int r;

    if (off < 0) {
        return off;
    }
    r = io_zero(co, t->node->file, off, s->cluster_size, 0);
    if (r >= 0 && t->refs > 1) {
        r = qcow2_refcount_add(co, t->node, off, s->cluster_size,
                               t->refs - 1, QCOW2_DISCARD_NEVER);
    }
    return r < 0 ? r : off;
}

static int zero_table_entry(Co *co, ZeroTable *t, int64_t at)
{
    uint64_t entry = ldq_be_p(t->buf + at);
    int64_t host = entry & QCOW2_OFFSET_MASK, off = 0;

    if ((entry & QCOW2_COMPRESSED_FLAG) || !(entry & QCOW2_ZERO_FLAG)) {
        return 0;
    }
    if (t->node->backing_file) {
        off = zero_table_alloc(co, t);
        if (off < 0) {
            return off;
        }
    }
    if (host) {
        g_array_append_val(t->drop, host);
    }
    stq_be_p(t->buf + at, off);
    t->changed = true;
    return 0;
}

/* Refcounts first, then the table; what it held after it. With `meta`. */
static int zero_table_write(Co *co, ZeroTable *t)
{
    Qcow2State *s = qcow2_state(t->node);
    int r;

    co_mutex_unlock(&s->meta);
    r = qcow2_refcount_barrier(co, t->node);
    co_mutex_lock(co, &s->meta);
    if (r >= 0) {
        r = io_pwrite_sync(co, t->node->file, t->off, s->cluster_size, t->buf,
                           0);
    }
    for (guint i = 0; r >= 0 && i < t->drop->len; i++) {
        r = qcow2_refcount_add(co, t->node,
                               g_array_index(t->drop, int64_t, i),
                               s->cluster_size, -(int64_t)t->refs,
                               QCOW2_DISCARD_OTHER);
    }
    return r;
}

static int zero_table_expand(Co *co, Node *node, int64_t off, uint8_t *buf)
{
    Qcow2State *s = qcow2_state(node);
    ZeroTable t = { node, off, buf };
    int r;

    if (qcow2_in_cluster(s, off)) {
        return -EIO;
    }
    t.drop = g_array_new(false, false, sizeof(int64_t));
    r = qcow2_refcount_get(co, node, off >> s->cluster_bits, &t.refs);
    if (r >= 0) {
        r = io_pread(co, node->file, off, s->cluster_size, buf, 0);
    }
    for (int64_t at = 0; at < s->cluster_size && r >= 0; at += 8) {
        r = zero_table_entry(co, &t, at);
    }
    if (r >= 0 && t.changed) {
        r = zero_table_write(co, &t);
    }
    g_array_unref(t.drop);
    return r;
}

/* All tables of @sn that have not been expanded yet. */
static int zeroes_expand_snapshot(Co *co, Node *node, const Qcow2Snapshot *sn,
                                  GHashTable *done, uint8_t *buf)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree uint64_t *l1 = NULL;
    int r;

    if (!qcow2_validate_table(s, sn->l1_offset, sn->l1_size, 8,
                              QCOW2_MAX_L1_BYTES, "Snapshot L1 table", NULL)) {
        return -EIO;
    }
    r = qcow2_read_table(co, node, sn->l1_offset, sn->l1_size, &l1);
    for (uint32_t i = 0; r >= 0 && i < sn->l1_size; i++) {
        gint64 off = l1[i] & QCOW2_OFFSET_MASK;

        if (off && g_hash_table_add(done, g_memdup2(&off, sizeof(off)))) {
            r = zero_table_expand(co, node, off, buf);
        }
    }
    return r;
}

static int zeroes_expand_snapshots(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    g_autoptr(GHashTable) done = g_hash_table_new_full(
        g_int64_hash, g_int64_equal, g_free, NULL);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    int r = 0;

    if (!buf) {
        return -ENOMEM;
    }
    co_mutex_lock(co, &s->meta);
    /* What is shared with the active table has no zero flags any more: the
     * tables that had some have been copied. */
    qcow2_cache_drop_all(co, s->l2_cache);
    for (unsigned i = 0; r >= 0 && i < s->nb_snapshots; i++) {
        r = zeroes_expand_snapshot(co, node, &s->snapshots[i], done, buf);
    }
    co_mutex_unlock(&s->meta);
    if (r >= 0) {
        r = qcow2_flush_metadata(co, node);
    }
    return r < 0 ? r : qcow2_refcount_write(co, node);
}

bool qcow2_amend_expand_zeroes(Co *co, Node *node, Error **errp)
{
    int r = zeroes_expand_active(co, node);

    if (r >= 0) {
        r = zeroes_expand_snapshots(co, node);
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to expand zero clusters");
    }
    return r >= 0;
}
