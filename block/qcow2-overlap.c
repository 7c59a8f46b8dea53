/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A last line of defence: before anything is written to the image file, is
 * there metadata at that place? If so the image has been corrupt for a while,
 * and the write would make it worse.
 *
 *     ranges     header, L1, refcount table, snapshot table, bitmap directory,
 *                L1 tables of snapshots: a handful of comparisons
 *     clusters   L2 tables and refcount blocks: one hash lookup a cluster
 *     on disk    L2 tables of snapshots, with overlap-check=all only
 *
 * The hash is built when it is first asked for.
 */
#include "block/qcow2.h"

static const char *const section_names[] = {
    "qcow2_header", "active L1 table", "active L2 table", "refcount block",
    "refcount table", "snapshot table", "inactive L1 table",
    "inactive L2 table", "bitmap directory",
};

static gpointer cluster_key(const Qcow2State *s, int64_t off)
{
    return GSIZE_TO_POINTER((gsize)(off >> s->cluster_bits) + 1);
}

void qcow2_overlap_add(Qcow2State *s, int64_t off, int section)
{
    if (s->meta_clusters) {
        g_hash_table_insert(s->meta_clusters, cluster_key(s, off),
                            GINT_TO_POINTER(section));
    }
}

void qcow2_overlap_remove(Qcow2State *s, int64_t off)
{
    if (s->meta_clusters) {
        g_hash_table_remove(s->meta_clusters, cluster_key(s, off));
    }
}

void qcow2_overlap_reset(Qcow2State *s)
{
    g_clear_pointer(&s->meta_clusters, g_hash_table_unref);
}

/* In a damaged image a cluster may be both. */
static void add_one_more(Qcow2State *s, int64_t off, int section)
{
    int old = GPOINTER_TO_INT(g_hash_table_lookup(s->meta_clusters,
                                                  cluster_key(s, off)));

    qcow2_overlap_add(s, off, old | section);
}

static void build_clusters(Qcow2State *s)
{
    s->meta_clusters = g_hash_table_new(NULL, NULL);
    for (uint32_t i = 0; i < s->hdr.l1_size; i++) {
        if (s->l1[i] & QCOW2_OFFSET_MASK) {
            add_one_more(s, s->l1[i] & QCOW2_OFFSET_MASK,
                         QCOW2_OL_ACTIVE_L2);
        }
    }
    for (int64_t i = 0; i < s->reftable_size; i++) {
        if (s->reftable[i] & QCOW2_REFT_OFFSET_MASK) {
            add_one_more(s, s->reftable[i] & QCOW2_REFT_OFFSET_MASK,
                         QCOW2_OL_REFCOUNT_BLOCK);
        }
    }
}

static bool ranges_overlap(uint64_t a, uint64_t a_len, uint64_t b,
                           uint64_t b_len)
{
    return a_len && b_len && a < b + b_len && b < a + a_len;
}

/* The first of the sections with a range of their own that is hit, or 0. */
static int check_ranges(const Qcow2State *s, int what, int64_t off,
                        int64_t len)
{
    const Qcow2Header *h = &s->hdr;

    if ((what & QCOW2_OL_MAIN_HEADER) && off < s->cluster_size) {
        return QCOW2_OL_MAIN_HEADER;
    }
    if ((what & QCOW2_OL_ACTIVE_L1) &&
        ranges_overlap(off, len, h->l1_offset, h->l1_size * (uint64_t)8)) {
        return QCOW2_OL_ACTIVE_L1;
    }
    if ((what & QCOW2_OL_REFCOUNT_TABLE) &&
        ranges_overlap(off, len, h->reftable_offset,
                       (uint64_t)h->reftable_clusters << s->cluster_bits)) {
        return QCOW2_OL_REFCOUNT_TABLE;
    }
    if ((what & QCOW2_OL_SNAPSHOT_TABLE) &&
        ranges_overlap(off, len, h->snapshots_offset, s->snapshots_bytes)) {
        return QCOW2_OL_SNAPSHOT_TABLE;
    }
    if ((what & QCOW2_OL_BITMAP_DIR) && s->ext.have_bitmaps &&
        (h->autoclear & QCOW2_AUTOCLEAR_BITMAPS) &&
        ranges_overlap(off, len, s->ext.bitmap_dir_offset,
                       s->ext.bitmap_dir_size)) {
        return QCOW2_OL_BITMAP_DIR;
    }
    for (unsigned i = 0; (what & QCOW2_OL_INACTIVE_L1) &&
         i < s->nb_snapshots; i++) {
        if (ranges_overlap(off, len, s->snapshots[i].l1_offset,
                           s->snapshots[i].l1_size * (uint64_t)8)) {
            return QCOW2_OL_INACTIVE_L1;
        }
    }
    return 0;
}

static int check_clusters(Qcow2State *s, int what, int64_t off, int64_t len)
{
    if (!(what & (QCOW2_OL_ACTIVE_L2 | QCOW2_OL_REFCOUNT_BLOCK))) {
        return 0;
    }
    if (!s->meta_clusters) {
        build_clusters(s);
    }
    for (int64_t o = off; o < off + len; o += s->cluster_size) {
        int hit = GPOINTER_TO_INT(g_hash_table_lookup(s->meta_clusters,
                                                      cluster_key(s, o)));

        if (hit & what) {
            return hit & what;
        }
    }
    return 0;
}

/* Reads the L1 table of every snapshot: section, 0, or -errno. */
static int check_inactive_l2(Co *co, Node *node, int64_t off, int64_t len)
{
    Qcow2State *s = qcow2_state(node);

    for (unsigned i = 0; i < s->nb_snapshots; i++) {
        const Qcow2Snapshot *sn = &s->snapshots[i];
        int64_t entries = sn->l1_size;
        g_autofree uint64_t *l1 = NULL;
        int r;

        if (!qcow2_validate_table(s, sn->l1_offset, entries, 8,
                                  QCOW2_MAX_L1_BYTES, "Snapshot L1 table",
                                  NULL)) {
            return -EFBIG;
        }
        r = qcow2_read_table(co, node, sn->l1_offset, entries, &l1);
        if (r < 0) {
            return r;
        }
        for (int64_t k = 0; k < entries; k++) {
            if (ranges_overlap(off, len, l1[k] & QCOW2_OFFSET_MASK,
                               l1[k] & QCOW2_OFFSET_MASK ?
                               s->cluster_size : 0)) {
                return QCOW2_OL_INACTIVE_L2;
            }
        }
    }
    return 0;
}

int qcow2_overlap_check(Co *co, Node *node, int ignore, int64_t off,
                        int64_t len, bool data)
{
    Qcow2State *s = qcow2_state(node);
    int what = s->overlap_check & ~ignore;
    int64_t start = qcow2_cluster_down(s, off);
    int64_t span = qcow2_cluster_up(s, off + len) - start;
    int hit;

    if (!what || (data && s->external_data) || len <= 0) {
        return 0;
    }
    hit = check_ranges(s, what, start, span);
    if (!hit) {
        hit = check_clusters(s, what, start, span);
    }
    if (!hit && (what & QCOW2_OL_INACTIVE_L2) && s->nb_snapshots) {
        hit = check_inactive_l2(co, node, start, span);
    }
    if (hit > 0) {
        qcow2_signal_corruption(co, node, true, off, len, "Preventing invalid "
                                "write on metadata (overlaps with %s)",
                                section_names[g_bit_nth_lsf(hit, -1)]);
        return -EIO;
    }
    return hit;
}
