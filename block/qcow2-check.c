/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img check for qcow2 images.
 *
 *     1  count the references that everything in the image holds
 *     2  compare with the refcounts on disk: leaks, corruptions
 *     3  mend them (qcow2-repair.c), if asked to
 *     4  compare the COPIED flags with the refcounts on disk
 *
 * All of it works on the disk, past the caches, which are written before and
 * dropped afterwards. What is told is what QEMU tells, on stderr.
 */
#include "block/qcow2-check.h"

/* ---- 1: references ---- */

int qcow2_check_references(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    int r = qcow2_check_tables_init(c);

    if (r < 0) {
        return r;
    }
    qcow2_check_refer(c, 0, s->cluster_size);
    r = qcow2_check_l1(co, c, s->hdr.l1_offset, s->hdr.l1_size, true);
    if (r >= 0) {
        r = qcow2_check_snapshots(co, c);
    }
    return r < 0 ? r : qcow2_check_bitmaps(co, c);
}

/* ---- 2: refcounts ---- */

void qcow2_check_tell_count(Qcow2Check *c, bool mend, int64_t cluster,
                            uint64_t disk, uint64_t count)
{
    CheckResult *res = c->res;

    fprintf(stderr, "%s cluster %" PRId64 " refcount=%" PRIu64
            " reference=%" PRIu64 "\n",
            mend ? "Repairing" : disk > count ? "Leaked" : "ERROR", cluster,
            disk, count);
    if (disk > count) {
        *(mend ? &res->leaks_fixed : &res->leaks) += 1;
    } else {
        *(mend ? &res->corruptions_fixed : &res->corruptions) += 1;
    }
}

static void compare_cluster(Qcow2Check *c, int64_t i, uint64_t disk)
{
    uint64_t count = qcow2_check_count(c, i);

    if (disk || count) {
        c->highest = i;
    }
    if (disk != count) {
        c->rebuild |= disk == 0;
        qcow2_check_tell_count(c, false, i, disk, count);
    }
}

/* Big-endian 16 bits are what nearly all images have. */
static void compare_block16(Qcow2Check *c, const uint8_t *buf, int64_t first,
                            int64_t len)
{
    for (int64_t i = 0; i < len; i++) {
        uint16_t disk = lduw_be_p(buf + i * 2);

        if (disk != c->counts16[first + i]) {
            compare_cluster(c, first + i, disk);
        } else if (disk) {
            c->highest = first + i;
        }
    }
}

/* Nothing is known of the clusters that a block that can't be read counts. */
void qcow2_check_tell_unknown(Co *co, Qcow2Check *c, int64_t first,
                              int64_t len, int err)
{
    Qcow2State *s = qcow2_state(c->node);
    int64_t i = first >> s->refblock_bits;
    uint64_t off = i < s->reftable_size ?
                   s->reftable[i] & QCOW2_REFT_OFFSET_MASK : 0;

    if (qcow2_in_cluster(s, off)) {
        qcow2_signal_corruption(co, c->node, !c->fix.fix_errors, -1, -1,
                                "Refblock offset %#" PRIx64 " unaligned "
                                "(reftable index: %#" PRIx64 ")", off, i);
    }
    for (int64_t k = first; k < first + len; k++) {
        fprintf(stderr, "Can't get refcount for cluster %" PRId64 ": %s\n",
                k, g_strerror(-err));
    }
    c->res->check_errors += len;
}

static int compare_all(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    int64_t first, len;
    int order = s->hdr.refcount_order;

    if (!buf) {
        return -ENOMEM;
    }
    c->highest = 0;
    for (int64_t i = 0; i < c->n; i = first + len) {
        int64_t off = qcow2_check_read_refblock(co, c, i, buf, &first, &len);

        len = MIN(len, c->n - first);
        if (off < 0) {
            qcow2_check_tell_unknown(co, c, first, len, off);
        } else if (order == 4) {
            compare_block16(c, buf, first, len);
        } else {
            for (int64_t k = 0; k < len; k++) {
                compare_cluster(c, first + k,
                                qcow2_refcount_load(buf, order, k));
            }
        }
    }
    return 0;
}

int qcow2_check_load_disk_counts(Co *co, Qcow2Check *c, bool strict)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    int64_t first, len;

    if (!buf) {
        return -ENOMEM;
    }
    for (int64_t i = 0; i < c->capacity; i = first + len) {
        int64_t off = qcow2_check_read_refblock(co, c, i, buf, &first, &len);

        if (off < 0 && (strict || qcow2_check_refcount_is_known(c, i))) {
            return off;
        }
        len = MIN(len, c->capacity - first);
        for (int64_t k = 0; k < len; k++) {
            qcow2_check_set_count(c, first + k,
                                  qcow2_refcount_load(
                                      buf, s->hdr.refcount_order, k));
        }
    }
    return 0;
}

/* ---- 3: mending ---- */

/* The file may have grown: count anew, for its length. */
static int recount(Co *co, Qcow2Check *c)
{
    qcow2_check_count_free(c);
    return qcow2_check_count_init(co, c);
}

/* What was the old structures is leaked now. Tells of it, but it is no news
 * that anything was wrong. */
static int mend_after_rebuild(Co *co, Qcow2Check *c)
{
    CheckResult *res = c->res, scratch = { 0 };
    int r = recount(co, c);

    c->res = &scratch;
    c->rebuild = false;
    if (r >= 0) {
        r = qcow2_check_references(co, c);
    }
    if (r >= 0) {
        qcow2_check_reftable(c);
        qcow2_check_refblocks(c);
        r = qcow2_repair_refcounts(co, c);
    }
    c->res = res;
    if (c->rebuild) {
        fprintf(stderr, "ERROR rebuilt refcount structure is still broken\n");
    }
    return r;
}

static int mend_by_rebuild(Co *co, Qcow2Check *c, const CheckResult *found)
{
    CheckResult *res = c->res;
    int r;

    fprintf(stderr, "Rebuilding refcount structure\n");
    r = qcow2_repair_rebuild(co, c);
    if (r < 0) {
        return r;
    }
    res->corruptions_fixed += res->corruptions - found->corruptions;
    res->corruptions = found->corruptions;
    res->check_errors = found->check_errors;
    if (!c->lost || !c->cautious) {
        res->leaks_fixed += res->leaks - found->leaks;
        res->leaks = found->leaks;
    }
    return mend_after_rebuild(co, c);
}

/* @found: but for refcounts and their structures. @structures: with those of
 * the structures. */
static int mend_refcounts(Co *co, Qcow2Check *c, const CheckResult *found,
                          const CheckResult *structures)
{
    CheckResult *res = c->res;

    if (c->rebuild && c->fix.fix_errors) {
        return mend_by_rebuild(co, c, found);
    }
    if (c->rebuild) {
        fprintf(stderr, "ERROR need to rebuild refcount structures\n");
        return -EIO;
    }
    if (res->corruptions || res->leaks) {
        res->corruptions = structures->corruptions;
        res->leaks = structures->leaks;
        res->check_errors = structures->check_errors;
        return qcow2_repair_refcounts(co, c);
    }
    return 0;
}

/* What else lies on the snapshot table, if its place is wrong, stays: references
 * as many as were counted, and content. */
static void snapshot_table_spare(const Qcow2Check *c, bool *free, bool *empty)
{
    Qcow2State *s = qcow2_state(c->node);
    int64_t first = s->hdr.snapshots_offset >> s->cluster_bits;
    int64_t n = qcow2_size_to_clusters(s, s->snapshots_bytes);

    *free = !c->overflow && first <= c->n && n <= c->n - first;
    *empty = *free && !c->lost;
    for (int64_t i = first; i < first + n && *free; i++) {
        uint64_t count = qcow2_check_count(c, i);

        *free &= count > 0;
        *empty &= count == 1;
    }
}

/* Before L1 and L2 tables are mended: one that lies on everything would stop
 * that. */
static int mend_snapshot_table(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    int64_t off = s->hdr.snapshots_offset, len = s->snapshots_bytes;
    bool free, empty;
    int r;

    if (!c->snapshots_changed) {
        return 0;
    }
    snapshot_table_spare(c, &free, &empty);
    if (!empty) {
        s->snapshots_bytes = 0;
    }
    co_mutex_lock(co, &s->meta);
    qcow2_cache_drop_all(co, s->refblock_cache);
    s->free_cursor = 0;
    s->free_byte = 0;
    r = qcow2_snapshots_write(co, c->node, NULL);
    if (r >= 0 && free && !empty) {
        qcow2_free_clusters(co, c->node, off, len, QCOW2_DISCARD_NEVER);
    }
    co_mutex_unlock(&s->meta);
    if (r >= 0) {
        r = qcow2_flush_metadata(co, c->node);
    }
    if (r >= 0) {
        r = qcow2_refcount_write(co, c->node);
    }
    return r < 0 ? r : recount(co, c);
}

/* ---- all of it ---- */

static int check_refcounts(Co *co, Qcow2Check *c)
{
    CheckResult found, structures;
    int r = qcow2_check_references(co, c);

    /* From here on it is refcounts that are wrong, or their structures. */
    found = *c->res;
    if (r >= 0) {
        qcow2_check_reftable(c);
        qcow2_check_refblocks(c);
    }
    structures = *c->res;
    if (r >= 0) {
        r = compare_all(co, c);
    }
    if (r >= 0 && (c->fix.fix_errors || c->fix.fix_leaks)) {
        r = mend_refcounts(co, c, &found, &structures);
    }
    return r < 0 ? r : mend_snapshot_table(co, c);
}

/* All references are the only ones, counted so on disk, and flagged so: the
 * tables need not be walked again for the flags. */
static bool copied_is_right(const Qcow2Check *c)
{
    const CheckResult *res = c->res;

    return !c->shared && !c->uncopied && !res->corruptions && !res->leaks &&
           !res->check_errors && !res->corruptions_fixed && !res->leaks_fixed;
}

static int check_all(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    int r = qcow2_check_snapshot_table(co, c);

    if (r >= 0) {
        r = qcow2_check_count_init(co, c);
    }
    if (r >= 0 && c->fix.fix_errors) {
        r = qcow2_check_mend_bitmaps(co, c);
    }
    if (r >= 0) {
        r = check_refcounts(co, c);
    }
    c->res->image_end_offset = (c->highest + 1) << s->cluster_bits;
    if (r >= 0 && copied_is_right(c)) {
        return 0;
    }
    if (r >= 0) {
        r = qcow2_check_load_disk_counts(co, c, false);
    }
    if (r >= 0 && c->fix.fix_errors) {
        /* Flags that say that a count is one wait for the count. */
        r = io_flush(co, c->node->file->child);
    }
    if (r >= 0 && c->drops) {
        r = qcow2_check_drop_hosts(co, c);
    }
    return r < 0 ? r : qcow2_check_copied(co, c);
}

/* What is in memory is what is on disk again. */
static int check_reload(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t *l1;
    int r;

    qcow2_unpacked_drop(s);
    co_mutex_lock(co, &s->meta);
    qcow2_cache_drop_all(co, s->l2_cache);
    qcow2_cache_drop_all(co, s->refblock_cache);
    s->free_cursor = 0;
    s->free_byte = 0;
    r = qcow2_read_table(co, node, s->hdr.l1_offset, s->hdr.l1_size, &l1);
    if (r >= 0) {
        g_free(s->l1);
        s->l1 = l1;
        bitset_clear_all(s->l1_dirty);
    }
    qcow2_overlap_reset(s);
    co_mutex_unlock(&s->meta);
    return r;
}

static int check_write_caches(Co *co, Node *node)
{
    int r;

    if (node->read_only || node->inactive) {
        return 0;
    }
    r = qcow2_flush_metadata(co, node);
    return r < 0 ? r : qcow2_refcount_write(co, node);
}

static int check_mark(Co *co, Node *node, const CheckResult *res)
{
    int r = io_flush(co, node->file->child);

    if (r >= 0 && res->check_errors == 0 && res->corruptions == 0) {
        qcow2_state(node)->untidy = false;
        r = qcow2_mark_clean(co, node);
        if (r >= 0) {
            r = qcow2_mark_consistent(co, node);
        }
    }
    return r;
}

static int check_image(Co *co, Node *node, const CheckOptions *opts,
                       bool cautious, CheckResult *res)
{
    Qcow2State *s = qcow2_state(node);
    bool mend = opts->fix_leaks || opts->fix_errors;
    Qcow2Check c = { .node = node, .res = res, .fix = *opts,
                     .cautious = cautious };
    int r, r2;

    res->have_clusters = true;
    res->total_clusters = qcow2_size_to_clusters(s, node->length);
    r = check_write_caches(co, node);
    if (r >= 0) {
        r = check_all(co, &c);
    }
    qcow2_check_count_free(&c);
    qcow2_check_tables_free(&c);
    if (mend) {
        r2 = check_reload(co, node);
        r = r < 0 ? r : r2;
    }
    return r < 0 || !mend ? r : check_mark(co, node, res);
}

int qcow2_check(Co *co, Node *node, const CheckOptions *opts,
                CheckResult *res)
{
    return check_image(co, node, opts, false, res);
}

bool qcow2_check_repair_on_open(Co *co, Node *node, Error **errp)
{
    CheckOptions opts = { .fix_leaks = true, .fix_errors = true };
    CheckResult res = { 0 };
    int r = check_image(co, node, &opts, true, &res);

    if (r >= 0 && (res.corruptions || res.check_errors)) {
        r = -EIO;
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "Could not repair dirty image");
    }
    return r >= 0;
}
