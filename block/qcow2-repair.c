/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Mending refcounts, by what was counted.
 *
 * In place, where each cluster that is in use has some refcount: one refcount
 * block is read, corrected and written at a time. From nothing, where it has
 * none or the structures themselves are damaged: new blocks and a new table
 * are written where nothing is, then the header is switched over; until then
 * the old ones are as they were.
 *
 * The old structures keep their references until then; they are leaks after it.
 *
 * If tables could not be read, what seems to be unused may be what they led to.
 * It is given free if the user asks for it, but not when an image that was left
 * dirty is repaired by itself. What a snapshot may have whose L1 table lies where
 * none can be is given free by nobody: to write there would be a write to that
 * table, which ends all use of the image. (New structures do forget it.)
 */
#include "block/qcow2-check.h"

/* ---- in place ---- */

static bool repair_wanted(const Qcow2Check *c, uint64_t disk, uint64_t count)
{
    return disk <= count ? c->fix.fix_errors :
           c->fix.fix_leaks && !c->snapshot_lost && !(c->lost && c->cautious);
}

/* What was leaked goes back to the host, clusters side by side at once. */
typedef struct Reclaim {
    bool wanted;
    int64_t first, n;           /* clusters */
} Reclaim;

static void reclaim_done(Co *co, Qcow2Check *c, Reclaim *rc)
{
    int bits = qcow2_state(c->node)->cluster_bits;

    if (rc->n) {
        io_discard(co, c->node->file, rc->first << bits, rc->n << bits);
        rc->n = 0;
    }
}

static void reclaim_add(Co *co, Qcow2Check *c, Reclaim *rc, int64_t cluster)
{
    if (!rc->wanted) {
        return;
    }
    if (rc->first + rc->n != cluster) {
        reclaim_done(co, c, rc);
    }
    rc->first = rc->n ? rc->first : cluster;
    rc->n++;
}

/* Corrects the block in @buf, if it @exists; whether anything changed. */
static bool repair_block(Co *co, Qcow2Check *c, uint8_t *buf, bool exists,
                         int64_t first, int64_t len, Reclaim *rc)
{
    int order = qcow2_state(c->node)->hdr.refcount_order;
    bool changed = false;

    for (int64_t i = 0; i < len; i++) {
        uint64_t disk = qcow2_refcount_load(buf, order, i);
        uint64_t count = qcow2_check_count(c, first + i);
        bool mend;

        if (disk == count) {
            continue;
        }
        mend = exists && repair_wanted(c, disk, count);
        qcow2_check_tell_count(c, mend, first + i, disk, count);
        if (mend) {
            qcow2_refcount_store(buf, order, i, count);
            changed = true;
            if (!count) {
                reclaim_add(co, c, rc, first + i);
            }
        }
    }
    return changed;
}

int qcow2_repair_refcounts(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    /* Nothing refers to it, unless what does could not be understood. */
    Reclaim rc = { .wanted = !c->lost && !c->res->corruptions &&
                             !c->res->check_errors };
    int64_t first, len;

    if (!buf) {
        return -ENOMEM;
    }
    for (int64_t i = 0; i < c->n; i = first + len) {
        int64_t off = qcow2_check_read_refblock(co, c, i, buf, &first, &len);
        int r = 0;

        if (off < 0) {
            qcow2_check_tell_unknown(co, c, first, MIN(len, c->n - first),
                                     off);
            continue;
        }
        if (repair_block(co, c, buf, off > 0, first, MIN(len, c->n - first),
                         &rc)) {
            r = qcow2_overlap_check(co, c->node, QCOW2_OL_REFCOUNT_BLOCK,
                                    off, s->cluster_size, false);
            if (r >= 0) {
                r = io_pwrite(co, c->node->file, off, s->cluster_size, buf,
                              0);
            }
        }
        if (r < 0) {
            return r;
        }
    }
    reclaim_done(co, c, &rc);
    return io_flush(co, c->node->file->child);
}

/* ---- from nothing ---- */

/* Where the new structures will be: blocks and table side by side from @start
 * on; and how many clusters they are to count. Unit: clusters. */
typedef struct Rebuild {
    int order;                  /* of the new refcounts */
    int block_bits;             /* log2 of the entries of a block */
    int64_t start, blocks, table_clusters, end;
} Rebuild;

/* What it takes to count @end clusters. */
static void rebuild_size(const Qcow2State *s, Rebuild *rb, int64_t end)
{
    rb->end = end;
    rb->blocks = MAX(DIV_ROUND_UP(end, INT64_C(1) << rb->block_bits), 1);
    rb->table_clusters = qcow2_size_to_clusters(s, rb->blocks * 8);
}

/* The first @need clusters side by side that nothing refers to, and, unless
 * @leaked, are free by the old refcounts as well; or -1. */
static int64_t rebuild_find_room(Co *co, Qcow2Check *c, int64_t need,
                                 bool leaked)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    int64_t first, len, run = 0;

    if (!buf) {
        return -ENOMEM;
    }
    for (int64_t i = 0; i < c->n; i = first + len) {
        /* Zeroes if it can't be read: then only references count. */
        qcow2_check_read_refblock(co, c, i, buf, &first, &len);
        for (int64_t k = 0; k < len && first + k < c->n; k++) {
            bool used = qcow2_check_count(c, first + k) ||
                        (!leaked &&
                         qcow2_refcount_load(buf, s->hdr.refcount_order, k));

            run = used ? 0 : run + 1;
            if (run == need) {
                return first + k + 1 - need;
            }
        }
    }
    return -1;
}

/* Whether something outside of the file that is referred to would be hit; then
 * rb->start is behind it. */
static bool rebuild_step_over(const Qcow2Check *c, Rebuild *rb)
{
    for (int64_t i = rb->end - 1; c->outside && i >= rb->start; i--) {
        if (g_hash_table_contains(c->outside, GSIZE_TO_POINTER(i))) {
            rb->start = i + 1;
            return true;
        }
    }
    return false;
}

static void rebuild_plan_behind(const Qcow2Check *c, Rebuild *rb)
{
    Qcow2State *s = qcow2_state(c->node);

    rb->start = c->n;
    do {
        int64_t before;

        do {
            before = rb->end;
            rebuild_size(s, rb, rb->start + rb->blocks + rb->table_clusters);
        } while (rb->end < rb->start + rb->blocks + rb->table_clusters ||
                 rb->end != before);
    } while (rebuild_step_over(c, rb));
}

/* Inside of the file, if possible where it does not overwrite what was leaked;
 * but rather that than make the file longer, if something was cut off its end:
 * it would not be seen to be missing any more. Behind everything if there may
 * be something that could not be found. */
static int rebuild_plan(Co *co, Qcow2Check *c, int order, Rebuild *rb)
{
    Qcow2State *s = qcow2_state(c->node);
    int64_t need;

    rb->order = order;
    rb->block_bits = s->cluster_bits + 3 - order;
    rebuild_size(s, rb, c->n);
    need = rb->blocks + rb->table_clusters;
    rb->start = c->lost ? -1 : rebuild_find_room(co, c, need, false);
    if (rb->start < 0 && !c->lost && c->outside && !c->cautious) {
        rb->start = rebuild_find_room(co, c, need, true);
    }
    if (rb->start < 0) {
        rebuild_plan_behind(c, rb);
    }
    return rb->table_clusters << s->cluster_bits > QCOW2_MAX_REFTABLE_BYTES ?
           -EFBIG : 0;
}

/* What tables that can't be read may lead to stays in use. */
static int rebuild_keep_lost(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    int64_t first, len;

    if (!buf) {
        return -ENOMEM;
    }
    for (int64_t i = 0; i < c->n; i = first + len) {
        int64_t off = qcow2_check_read_refblock(co, c, i, buf, &first, &len);

        if (off < 0) {
            return off;
        }
        for (int64_t k = 0; off > 0 && k < len && first + k < c->n; k++) {
            uint64_t disk = qcow2_refcount_load(buf, s->hdr.refcount_order,
                                                k);

            if (disk > qcow2_check_count(c, first + k)) {
                qcow2_check_set_count(c, first + k, disk);
            }
        }
    }
    return 0;
}

static bool rebuild_is_own(const Rebuild *rb, int64_t cluster)
{
    return cluster >= rb->start &&
           cluster < rb->start + rb->blocks + rb->table_clusters;
}

static int rebuild_write_blocks(Co *co, Qcow2Check *c, const Rebuild *rb)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    int64_t n = INT64_C(1) << rb->block_bits;
    int r = 0;

    if (!buf) {
        return -ENOMEM;
    }
    for (int64_t b = 0; b < rb->blocks && r >= 0; b++) {
        memset(buf, 0, s->cluster_size);
        for (int64_t k = 0; k < n && b * n + k < rb->end; k++) {
            int64_t cluster = b * n + k;
            uint64_t count = rebuild_is_own(rb, cluster) ? 1 :
                             qcow2_check_count(c, cluster);

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
    g_autofree uint8_t *buf = g_try_malloc0(len);

    if (!buf) {
        return -ENOMEM;
    }
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
    if (!qcow2_refcount_init(co, c->node, NULL)) {
        /* The image is whole, but this node counts no more. */
        s->corrupt = true;
        r = -EIO;
    }
    qcow2_overlap_reset(s);
    co_mutex_unlock(&s->meta);
    return r;
}

/* A check tells what it could not write; who changes the width tells it
 * otherwise. */
static int rebuild_tell(const Qcow2Check *c, const char *what, int r)
{
    if (r < 0 && c->res) {
        error_report("ERROR writing %s: %s", what, g_strerror(-r));
    }
    return r;
}

/* Writes the counts as new structures of that width. */
static int rebuild_write(Co *co, Qcow2Check *c, int order)
{
    Qcow2State *s = qcow2_state(c->node);
    Rebuild rb;
    int r = rebuild_plan(co, c, order, &rb);

    if (r >= 0) {
        /* Even if it fails. */
        s->fresh_offset = MAX(s->fresh_offset, rb.end << s->cluster_bits);
        r = rebuild_tell(c, "refblock", rebuild_write_blocks(co, c, &rb));
    }
    if (r >= 0) {
        r = rebuild_tell(c, "reftable", rebuild_write_table(co, c, &rb));
    }
    return r < 0 ? r : rebuild_switch(co, c, &rb);
}

int qcow2_repair_rebuild(Co *co, Qcow2Check *c)
{
    int r = c->lost && c->cautious ? rebuild_keep_lost(co, c) : 0;

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

static void width_drop(Qcow2Check *c, int64_t off, int64_t len)
{
    int bits = qcow2_state(c->node)->cluster_bits;

    for (int64_t i = off >> bits; i < (off + len) >> bits; i++) {
        if (i < c->n) {
            qcow2_check_set_count(c, i, 0);
        }
    }
}

/* Nothing refers to the old structures when the new ones are in use. */
static void width_drop_old(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);

    width_drop(c, s->hdr.reftable_offset,
               (int64_t)s->hdr.reftable_clusters << s->cluster_bits);
    for (int64_t i = 0; i < s->reftable_size; i++) {
        int64_t off = s->reftable[i] & QCOW2_REFT_OFFSET_MASK;

        if (off && !qcow2_in_cluster(s, off)) {
            width_drop(c, off, s->cluster_size);
        }
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
        r = qcow2_check_load_disk_counts(co, c, true);
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
