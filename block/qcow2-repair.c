/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Mending refcounts, by what was counted.
 *
 * In place, where each cluster that is in use has some refcount: one refcount
 * block is read, corrected and written at a time. From nothing, where it has
 * none or the structures themselves are damaged: new blocks and a new table
 * are written behind everything that is in the file, then the header is
 * switched over; until then the old ones are as they were.
 *
 * If tables could not be read, nothing is given free: what seems to be unused
 * may be what they led to.
 */
#include "block/qcow2-check.h"

/* ---- in place ---- */

/* What cluster @i with @disk references on disk shall have. */
static uint64_t repair_target(const Qcow2Check *c, int64_t i, uint64_t disk)
{
    uint64_t count = qcow2_check_count(c, i);

    if (count < disk) {
        return c->fix.fix_leaks && !c->lost ? count : disk;
    }
    return c->fix.fix_errors ? count : disk;
}

/* Corrects the block in @buf; whether anything changed. */
static bool repair_block(Qcow2Check *c, uint8_t *buf, int64_t first,
                         int64_t len)
{
    int order = qcow2_state(c->node)->hdr.refcount_order;
    bool changed = false;

    for (int64_t i = 0; i < len && first + i < c->capacity; i++) {
        uint64_t disk = qcow2_refcount_load(buf, order, i);
        uint64_t count = repair_target(c, first + i, disk);

        if (disk == count) {
            continue;
        }
        fprintf(stderr, "Repairing cluster %" PRId64 " refcount=%" PRIu64
                " reference=%" PRIu64 "\n", first + i, disk, count);
        qcow2_refcount_store(buf, order, i, count);
        if (count < disk) {
            c->res->leaks_fixed++;
        } else {
            c->res->corruptions_fixed++;
        }
        changed = true;
    }
    return changed;
}

int qcow2_repair_refcounts(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = g_malloc(s->cluster_size);
    int64_t first, len;

    for (int64_t i = 0; i < c->n; i = first + len) {
        int64_t off = qcow2_check_read_refblock(co, c, i, buf, &first, &len);
        int r = 0;

        if (off < 0) {
            return off;
        }
        if (off > 0 && repair_block(c, buf, first, len)) {
            r = io_pwrite(co, c->node->file, off, s->cluster_size, buf, 0);
        }
        if (r < 0) {
            return r;
        }
    }
    return io_flush(co, c->node->file->child);
}

/* ---- from nothing ---- */

/* Where the new structures will be: [start, end) in clusters. */
typedef struct Rebuild {
    int order;                  /* of the new refcounts */
    int block_bits;             /* log2 of the entries of a block */
    int64_t start, blocks, table_clusters, end;
} Rebuild;

static int rebuild_plan(Qcow2Check *c, int order, Rebuild *rb)
{
    Qcow2State *s = qcow2_state(c->node);
    int64_t before;

    rb->order = order;
    rb->block_bits = s->cluster_bits + 3 - order;

    /* Something may end in the cluster behind the file. */
    rb->start = c->n + (qcow2_check_count(c, c->n) > 0);
    rb->blocks = 1;
    rb->table_clusters = 1;
    do {
        before = rb->blocks;
        rb->table_clusters = qcow2_size_to_clusters(s, rb->blocks * 8);
        rb->end = rb->start + rb->blocks + rb->table_clusters;
        rb->blocks = DIV_ROUND_UP(rb->end, INT64_C(1) << rb->block_bits);
    } while (rb->blocks != before);
    return rb->table_clusters << s->cluster_bits > QCOW2_MAX_REFTABLE_BYTES ?
           -EFBIG : 0;
}

/* A cluster of the old structures. */
typedef struct OldCluster {
    int64_t cluster;
    uint64_t count;             /* with the old structures themselves */
} OldCluster;

static int old_cluster_cmp(gconstpointer a, gconstpointer b)
{
    const OldCluster *x = a, *y = b;

    return x->cluster < y->cluster ? -1 : x->cluster > y->cluster;
}

static void old_clusters_add(Qcow2Check *c, GArray *old, int64_t off,
                             int64_t len)
{
    Qcow2State *s = qcow2_state(c->node);

    for (int64_t at = off; at < off + len; at += s->cluster_size) {
        OldCluster o = { at >> s->cluster_bits, 0 };

        o.count = qcow2_check_count(c, o.cluster);
        if (o.count) {
            g_array_append_val(old, o);
        }
    }
}

/* What the old structures take, in order. */
static GArray *old_clusters(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    GArray *old = g_array_new(false, false, sizeof(OldCluster));

    old_clusters_add(c, old, s->hdr.reftable_offset,
                     (int64_t)s->hdr.reftable_clusters << s->cluster_bits);
    for (int64_t i = 0; i < s->reftable_size; i++) {
        int64_t off = s->reftable[i] & QCOW2_REFT_OFFSET_MASK;

        if (off && !qcow2_in_cluster(s, off)) {
            old_clusters_add(c, old, off, s->cluster_size);
        }
    }
    g_array_sort(old, old_cluster_cmp);
    return old;
}

/* Those that nothing else refers to are free now. */
static void old_clusters_tell(Qcow2Check *c, const GArray *old)
{
    int64_t last = -1;

    for (guint i = 0; i < old->len; i++) {
        const OldCluster *o = &g_array_index(old, OldCluster, i);
        uint64_t now = qcow2_check_count(c, o->cluster);

        if (o->cluster != last && now < o->count) {
            fprintf(stderr, "Repairing cluster %" PRId64 " refcount=%" PRIu64
                    " reference=%" PRIu64 "\n", o->cluster, o->count, now);
        }
        last = o->cluster;
    }
}

/* The references without those of the old structures. */
static int rebuild_count(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = g_malloc(s->cluster_size);
    g_autoptr(GArray) old = old_clusters(c);
    int64_t first, len;
    int r;

    c->quiet = true;
    qcow2_check_count_reset(c);
    r = qcow2_check_references(co, c);
    c->quiet = false;
    if (r >= 0) {
        old_clusters_tell(c, old);
    }
    for (int64_t i = 0; r >= 0 && c->lost && i < c->n; i = first + len) {
        int64_t off = qcow2_check_read_refblock(co, c, i, buf, &first, &len);

        for (int64_t k = 0; off > 0 && k < len && first + k < c->n; k++) {
            uint64_t disk = qcow2_refcount_load(buf, s->hdr.refcount_order,
                                                k);

            if (disk > qcow2_check_count(c, first + k)) {
                qcow2_check_set_count(c, first + k, disk);
            }
        }
    }
    return r;
}

static int rebuild_write_blocks(Co *co, Qcow2Check *c, const Rebuild *rb)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = g_malloc(s->cluster_size);
    int64_t n = INT64_C(1) << rb->block_bits;
    int r = 0;

    for (int64_t b = 0; b < rb->blocks && r >= 0; b++) {
        memset(buf, 0, s->cluster_size);
        for (int64_t k = 0; k < n && b * n + k < rb->end; k++) {
            int64_t cluster = b * n + k;
            uint64_t count = cluster < rb->start ?
                             qcow2_check_count(c, cluster) : 1;

            if (count) {
                qcow2_refcount_store(buf, rb->order, k, count);
            }
        }
        r = io_pwrite(co, c->node->file,
                      (rb->start + b) << s->cluster_bits, s->cluster_size,
                      buf, 0);
    }
    return r;
}

static int rebuild_write_table(Co *co, Qcow2Check *c, const Rebuild *rb)
{
    Qcow2State *s = qcow2_state(c->node);
    int64_t len = rb->table_clusters << s->cluster_bits;
    g_autofree uint8_t *buf = g_malloc0(len);

    for (int64_t b = 0; b < rb->blocks; b++) {
        stq_be_p(buf + b * 8, (rb->start + b) << s->cluster_bits);
    }
    return io_pwrite_sync(co, c->node->file,
                          (rb->start + rb->blocks) << s->cluster_bits, len,
                          buf, 0);
}

/* The header leads to the new table, which is one write of its first sector;
 * and so does what is in memory. */
static int rebuild_switch(Co *co, Qcow2Check *c, const Rebuild *rb)
{
    Qcow2State *s = qcow2_state(c->node);
    Qcow2Header *h = &s->hdr;
    uint64_t old_offset = h->reftable_offset;
    uint32_t old_clusters = h->reftable_clusters;
    int old_order = h->refcount_order;
    int r;

    co_mutex_lock(co, &s->meta);
    h->reftable_offset = (rb->start + rb->blocks) << s->cluster_bits;
    h->reftable_clusters = rb->table_clusters;
    h->refcount_order = rb->order;
    r = qcow2_write_header(co, c->node);
    if (r >= 0) {
        r = io_flush(co, c->node->file->child);
    }
    if (r < 0) {
        h->reftable_offset = old_offset;
        h->reftable_clusters = old_clusters;
        h->refcount_order = old_order;
        co_mutex_unlock(&s->meta);
        return r;
    }
    qcow2_cache_drop_all(co, s->refblock_cache);
    qcow2_refcount_close(c->node);
    s->refcount_bits = 1 << rb->order;
    s->refcount_max = s->refcount_bits == 64 ? UINT64_MAX :
                      ((uint64_t)1 << s->refcount_bits) - 1;
    s->refblock_bits = rb->block_bits;
    s->refslice_bits += old_order - rb->order;
    r = qcow2_refcount_init(co, c->node, NULL) ? 0 : -EIO;
    qcow2_overlap_reset(s);
    co_mutex_unlock(&s->meta);
    return r;
}

/* Writes the counts as new structures of that width. */
static int rebuild_write(Co *co, Qcow2Check *c, int order)
{
    Rebuild rb;
    int r = rebuild_plan(c, order, &rb);

    if (r >= 0) {
        r = rebuild_write_blocks(co, c, &rb);
    }
    if (r >= 0) {
        r = rebuild_write_table(co, c, &rb);
    }
    return r < 0 ? r : rebuild_switch(co, c, &rb);
}

int qcow2_repair_rebuild(Co *co, Qcow2Check *c)
{
    int r = rebuild_count(co, c);

    return r < 0 ? r :
           rebuild_write(co, c, qcow2_state(c->node)->hdr.refcount_order);
}

/* ---- another width ---- */

/* The cluster whose count @max can't hold, or -1. */
static int64_t width_find_larger(const Qcow2Check *c, uint64_t max)
{
    for (int64_t i = 0; i < c->n; i++) {
        if (qcow2_check_count(c, i) > max) {
            return i;
        }
    }
    return -1;
}

static void width_drop_old(Qcow2Check *c)
{
    g_autoptr(GArray) old = old_clusters(c);

    for (guint i = 0; i < old->len; i++) {
        qcow2_check_set_count(c, g_array_index(old, OldCluster, i).cluster,
                              0);
    }
}

static bool width_change(Co *co, Qcow2Check *c, int order, Error **errp)
{
    Qcow2State *s = qcow2_state(c->node);
    uint64_t max = order == 6 ? UINT64_MAX :
                   (UINT64_C(1) << (1 << order)) - 1;
    int64_t larger;
    int r = qcow2_check_count_init(co, c);

    if (r >= 0) {
        r = qcow2_check_load_disk_counts(co, c);
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to read the refcounts");
        return false;
    }
    larger = width_find_larger(c, max);
    if (larger >= 0) {
        error_setg(errp, "Cannot decrease refcount entry width to %d bits: "
                   "Cluster at offset %#" PRIx64 " has a refcount of %" PRIu64,
                   1 << order, larger << s->cluster_bits,
                   qcow2_check_count(c, larger));
        return false;
    }
    width_drop_old(c);
    r = rebuild_write(co, c, order);
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to write the new refcounts");
    }
    return r >= 0;
}

bool qcow2_change_refcount_order(Co *co, Node *node, int order, Error **errp)
{
    Qcow2Check c = { .node = node };
    bool ok;
    int r = qcow2_flush_metadata(co, node);

    if (r >= 0) {
        r = qcow2_refcount_write(co, node);
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to flush the refcount block cache");
        return false;
    }
    ok = width_change(co, &c, order, errp);
    qcow2_check_count_free(&c);
    return ok;
}
