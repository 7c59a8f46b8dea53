/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * From DirtyBitmaps to the image.
 *
 * Only what changed is written. A table's entry mirrors the pages of the set:
 * all clear and all set take no cluster. A changed bitmap is marked in use on
 * disk, so its clusters are overwritten in place where it had some; those that
 * it needs in addition are taken before, those that it needs no more are freed
 * after the table is durable.
 *
 *     take clusters | refcounts durable | data, tables | flush
 *       | header, if the disk was cut
 *       | directory: flags in place, or a new one if bitmaps came or went
 *       | free what is left over
 *
 * If anything fails on the way, the bitmaps stay marked in use. What was taken
 * is given back, unless the disk may refer to it: a table that was overwritten
 * is put back before, and nothing is given back if the header may lead to a new
 * directory.
 */
#include "block/qcow2-bitmap.h"

/* A bitmap on its way into the image. */
typedef struct StoreJob {
    DirtyBitmap *bm;
    Bitset *bits;               /* a copy, as of one moment */
    Qcow2StoredBitmap *old;     /* NULL: not in the image yet */
    uint64_t table_offset;      /* old's if it has the same size */
    uint32_t table_size;
    uint64_t *table;            /* the new one, host order */
    GArray *taken;              /* of int64_t: clusters that are new */
    bool new_table;
    bool overwritten;           /* the old table, maybe in part */
    bool entered;               /* in what is stored */
} StoreJob;

static void store_job_free(StoreJob *job)
{
    bitset_free(job->bits);
    g_free(job->table);
    g_array_unref(job->taken);
    g_free(job);
}

/* ---- planning: what the table will be ---- */

static Qcow2BitmapCluster store_cluster_kind(const StoreJob *job,
                                             int64_t cluster_size, int64_t i)
{
    int64_t bits = cluster_size * 8, first = i * bits;
    int64_t end = MIN(first + bits, bitset_size(job->bits));

    if (bitset_next_set(job->bits, first, end) < 0) {
        return QCOW2_BITMAP_ZEROES;
    }
    if (bitset_next_clear(job->bits, first, end) < 0) {
        return QCOW2_BITMAP_ONES;
    }
    return QCOW2_BITMAP_DATA;
}

/* The cluster that entry @i has had so far, 0 if none. */
static int64_t store_old_data(const StoreJob *job, int64_t cluster_size,
                              int64_t i)
{
    int64_t off = 0;

    if (job->old && job->old->table && i < job->old->e->table_size) {
        qcow2_bitmap_table_decode(job->old->table[i], cluster_size, &off);
    }
    return off;
}

/* A cluster for entry @i: its old one or a new one; with `meta`. */
static int store_plan_data(Co *co, Node *node, StoreJob *job, int64_t i)
{
    Qcow2State *s = qcow2_state(node);
    int64_t off = store_old_data(job, s->cluster_size, i);

    if (!off) {
        off = qcow2_alloc_clusters(co, node, s->cluster_size);
        if (off < 0) {
            return off;
        }
        g_array_append_val(job->taken, off);
    }
    job->table[i] = qcow2_bitmap_table_encode(QCOW2_BITMAP_DATA, off);
    return 0;
}

static int store_plan_table(Co *co, Node *node, StoreJob *job)
{
    int64_t off;

    if (job->old && job->old->table &&
        job->old->e->table_size == job->table_size) {
        job->table_offset = job->old->e->table_offset;
        return 0;
    }
    off = qcow2_alloc_clusters(co, node, (int64_t)job->table_size * 8);
    if (off < 0) {
        return off;
    }
    job->table_offset = off;
    job->new_table = true;
    return 0;
}

static int store_plan(Co *co, Node *node, StoreJob *job)
{
    Qcow2State *s = qcow2_state(node);
    int r = 0;

    job->table = g_try_new0(uint64_t, MAX(job->table_size, 1));
    if (!job->table) {
        return -ENOMEM;
    }
    co_mutex_lock(co, &s->meta);
    r = store_plan_table(co, node, job);
    for (int64_t i = 0; r >= 0 && i < job->table_size; i++) {
        Qcow2BitmapCluster kind = store_cluster_kind(job, s->cluster_size, i);

        if (kind == QCOW2_BITMAP_DATA) {
            r = store_plan_data(co, node, job, i);
        } else {
            job->table[i] = qcow2_bitmap_table_encode(kind, 0);
        }
    }
    co_mutex_unlock(&s->meta);
    return r;
}

/* Gives back what was taken for a job. */
static void store_unplan(Co *co, Node *node, StoreJob *job)
{
    Qcow2State *s = qcow2_state(node);

    co_mutex_lock(co, &s->meta);
    for (guint i = 0; i < job->taken->len; i++) {
        qcow2_free_clusters(co, node, g_array_index(job->taken, int64_t, i),
                            s->cluster_size, QCOW2_DISCARD_OTHER);
    }
    if (job->new_table) {
        qcow2_free_clusters(co, node, job->table_offset,
                            (int64_t)job->table_size * 8,
                            QCOW2_DISCARD_OTHER);
    }
    co_mutex_unlock(&s->meta);
}

/* Old tables are what they were, durably; after -errno nobody knows. */
static int store_restore_tables(Co *co, Node *node, GPtrArray *jobs)
{
    bool any = false;
    int r = 0;

    for (guint i = 0; r >= 0 && i < jobs->len; i++) {
        const StoreJob *job = g_ptr_array_index(jobs, i);

        if (job->overwritten && !job->entered) {
            r = qcow2_write_table(co, node, 0, job->table_offset,
                                  job->table_size, job->old->table);
            any = true;
        }
    }
    return r >= 0 && any ? io_flush(co, node->file->child) : r;
}

/* After a failure: what nothing on disk refers to is given back. */
static void store_undo(Co *co, Node *node, GPtrArray *jobs)
{
    int r = store_restore_tables(co, node, jobs);

    for (guint i = 0; i < jobs->len; i++) {
        StoreJob *job = g_ptr_array_index(jobs, i);

        if (!job->entered && (r >= 0 || !job->overwritten)) {
            store_unplan(co, node, job);
        }
    }
}

/* ---- writing ---- */

/* The bytes of entry @i, one cluster. */
static void store_get_bytes(const StoreJob *job, int64_t cluster_size,
                            int64_t i, uint8_t *buf)
{
    int64_t at = i * cluster_size;
    uint8_t page[BITSET_PAGE_BYTES];

    for (int64_t done = 0; done < cluster_size;) {
        int64_t in_page = (at + done) % BITSET_PAGE_BYTES;
        int64_t n = MIN(cluster_size - done, BITSET_PAGE_BYTES - in_page);
        int64_t p = (at + done) / BITSET_PAGE_BYTES;

        if (p >= bitset_npages(job->bits)) {
            memset(buf + done, 0, n);
        } else if (n == BITSET_PAGE_BYTES) {
            bitset_page_read(job->bits, p, buf + done);
        } else {
            bitset_page_read(job->bits, p, page);
            memcpy(buf + done, page + in_page, n);
        }
        done += n;
    }
}

/* Writes entry @i's cluster unless that is what it holds already. @old is a
 * buffer to read into. */
static int store_write_data(Co *co, Node *node, StoreJob *job, int64_t i,
                            uint8_t *buf, uint8_t *old)
{
    Qcow2State *s = qcow2_state(node);
    int64_t off = job->table[i];
    int r;

    store_get_bytes(job, s->cluster_size, i, buf);
    if (store_old_data(job, s->cluster_size, i) == off) {
        r = io_pread(co, node->file, off, s->cluster_size, old, 0);
        if (r >= 0 && memcmp(old, buf, s->cluster_size) == 0) {
            return 0;
        }
    }
    r = qcow2_overlap_check(co, node, 0, off, s->cluster_size, false);
    return r < 0 ? r : io_pwrite(co, node->file, off, s->cluster_size, buf, 0);
}

static int store_write_table(Co *co, Node *node, StoreJob *job)
{
    if (!job->new_table && job->old->table &&
        memcmp(job->table, job->old->table, job->table_size * 8) == 0) {
        return 0;
    }
    job->overwritten = !job->new_table;
    return qcow2_write_table(co, node, 0, job->table_offset, job->table_size,
                             job->table);
}

static int store_write(Co *co, Node *node, StoreJob *job)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    g_autofree uint8_t *old = g_try_malloc(s->cluster_size);
    int64_t off;
    int r = buf && old ? 0 : -ENOMEM;

    for (int64_t i = 0; r >= 0 && i < job->table_size; i++) {
        if (qcow2_bitmap_table_decode(job->table[i], s->cluster_size, &off) ==
            QCOW2_BITMAP_DATA) {
            r = store_write_data(co, node, job, i, buf, old);
        }
    }
    return r < 0 ? r : store_write_table(co, node, job);
}

/* ---- the jobs of a node ---- */

/* The bitmap is new, or is not what is stored. */
static bool store_is_needed(Node *node, DirtyBitmap *bm)
{
    Qcow2StoredBitmap *b;

    if (!bm->persistent || bm->state == BITMAP_INCONSISTENT || bm->readonly) {
        return false;
    }
    b = qcow2_bitmap_stored(node, bm->name);
    return !b || b->disk_size != node->length || bitmap_is_changed(bm);
}

static StoreJob *store_job_new(Co *co, Node *node, DirtyBitmap *bm,
                               Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    Bitset *bits = bitmap_bits_to_store(co, bm, errp);
    StoreJob *job;

    if (!bits) {
        return NULL;
    }
    job = g_new0(StoreJob, 1);
    job->bm = bm;
    job->bits = bits;
    job->old = qcow2_bitmap_stored(node, bm->name);
    job->table_size = qcow2_bitmap_table_size(node->length,
                                              bm->granularity_shift,
                                              s->cluster_size);
    job->taken = g_array_new(false, false, sizeof(int64_t));
    bm->changed = false;
    return job;
}

/* Takes all clusters; their refcounts are durable when it returns 0. */
static int store_plan_all(Co *co, Node *node, GPtrArray *jobs)
{
    int r = 0;

    for (guint i = 0; r >= 0 && i < jobs->len; i++) {
        r = store_plan(co, node, g_ptr_array_index(jobs, i));
    }
    if (r >= 0 && jobs->len) {
        r = qcow2_refcount_barrier(co, node);
    }
    return r;
}

/* Everything but the directory; durable when it returns 0. */
static int store_contents(Co *co, Node *node, GPtrArray *jobs)
{
    int r = store_plan_all(co, node, jobs);

    for (guint i = 0; r >= 0 && i < jobs->len; i++) {
        r = store_write(co, node, g_ptr_array_index(jobs, i));
    }
    return r < 0 || jobs->len == 0 ? r : io_flush(co, node->file->child);
}

static uint32_t store_flags(const DirtyBitmap *bm, bool in_use)
{
    return (in_use ? QCOW2_BITMAP_IN_USE : 0) |
           (bm->state == BITMAP_RECORDING ? QCOW2_BITMAP_AUTO : 0);
}

/* What the directory will have for a job that is written. *@replace is set if
 * more than flags changes. The old entry, to be freed or put back, or NULL. */
static Qcow2StoredBitmap *store_enter(Node *node, StoreJob *job, bool in_use,
                                      bool *replace)
{
    Qcow2StoredBitmap *b = g_new0(Qcow2StoredBitmap, 1);

    b->e = g_new0(Qcow2BitmapEntry, 1);
    b->e->name = g_strdup(job->bm->name);
    b->e->type = 1;
    b->e->granularity_shift = job->bm->granularity_shift;
    b->e->table_offset = job->table_offset;
    b->e->table_size = job->table_size;
    b->e->flags = store_flags(job->bm, in_use);
    b->table = g_steal_pointer(&job->table);
    b->disk_size = node->length;
    job->entered = true;
    if (!job->old) {
        qcow2_bitmap_stored_add(node, b);
        *replace = true;
        return NULL;
    }
    *replace |= job->new_table ||
                job->old->e->granularity_shift != b->e->granularity_shift;
    qcow2_bitmap_stored_swap(node, job->old, b);
    return b;
}

/* The directory on disk is certainly as it was: so is what is stored. @was is
 * what store_enter() gave; the new entry afterwards, or NULL. */
static void store_leave(Node *node, StoreJob *job, Qcow2StoredBitmap *was)
{
    if (was) {
        qcow2_bitmap_stored_swap(node, job->old, was);
    } else {
        qcow2_bitmap_stored_remove(node, job->bm->name);
    }
    job->entered = false;
}

/* The flags of those that had nothing to write. */
static bool store_unchanged_flags(Node *node, bool in_use)
{
    bool change = false;

    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        Qcow2StoredBitmap *b;
        uint32_t flags = store_flags(bm, in_use);

        if (!bm->persistent || bm->state == BITMAP_INCONSISTENT ||
            bm->readonly) {
            continue;
        }
        b = qcow2_bitmap_stored(node, bm->name);
        if (b) {
            change |= b->e->flags != flags;
            b->e->flags = flags;
        }
    }
    return change;
}

/* Frees what @job's bitmap had and has no more. */
static void store_free_old(Co *co, Node *node, StoreJob *job,
                           Qcow2StoredBitmap *old)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2StoredBitmap *now = qcow2_bitmap_stored(node, job->bm->name);

    co_mutex_lock(co, &s->meta);
    for (uint32_t i = 0; old->table && i < old->e->table_size; i++) {
        int64_t off, kept = 0;

        if (qcow2_bitmap_table_decode(old->table[i], s->cluster_size, &off) !=
            QCOW2_BITMAP_DATA) {
            continue;
        }
        if (i < now->e->table_size) {
            qcow2_bitmap_table_decode(now->table[i], s->cluster_size, &kept);
        }
        if (kept != off) {
            qcow2_free_clusters(co, node, off, s->cluster_size,
                                QCOW2_DISCARD_OTHER);
        }
    }
    if (old->table && job->new_table) {
        qcow2_free_clusters(co, node, old->e->table_offset,
                            (int64_t)old->e->table_size * 8,
                            QCOW2_DISCARD_OTHER);
    }
    co_mutex_unlock(&s->meta);
}

/* Contents are durable: the directory follows, and what is old goes. */
static int store_directory(Co *co, Node *node, GPtrArray *jobs, bool in_use)
{
    g_autofree Qcow2StoredBitmap **old = g_new0(Qcow2StoredBitmap *,
                                                jobs->len + 1);
    bool stale = qcow2_bitmaps(node)->stale;
    bool replace = false, change;
    int r = 0;

    for (guint i = 0; i < jobs->len; i++) {
        old[i] = store_enter(node, g_ptr_array_index(jobs, i), in_use,
                             &replace);
    }
    change = store_unchanged_flags(node, in_use) || jobs->len || stale;
    if (replace) {
        r = qcow2_bitmap_dir_replace(co, node);
    } else if (change) {
        r = qcow2_bitmap_dir_write_flags(co, node);
    }
    for (guint i = 0; i < jobs->len; i++) {
        StoreJob *job = g_ptr_array_index(jobs, i);

        if (old[i] && r >= 0) {
            store_free_old(co, node, job, old[i]);
        } else if (r < 0 && replace && !qcow2_bitmaps(node)->unsure) {
            store_leave(node, job, old[i]);
        }
        qcow2_bitmap_stored_free(old[i]);
    }
    return r;
}

/* What shrinking has cut off the bitmaps has to be known when they are valid
 * again. */
static int store_cut(Co *co, Node *node)
{
    Qcow2Exts *ext = &qcow2_state(node)->ext;
    uint64_t end = bitmap_cut_end(node), len = end ? node->length : 0;
    uint64_t old_end = ext->bitmaps_cut_end, old_len = ext->bitmaps_cut_len;
    int r;

    if (ext->bitmaps_cut_end == end && ext->bitmaps_cut_len == len) {
        return 0;
    }
    ext->bitmaps_cut_end = end;
    ext->bitmaps_cut_len = len;
    r = qcow2_write_header(co, node);
    if (r >= 0) {
        r = io_flush(co, node->file->child);
    }
    if (r < 0) {
        ext->bitmaps_cut_end = old_end;
        ext->bitmaps_cut_len = old_len;
    }
    return r;
}

/* Nothing of @jobs is stored: their bitmaps are still to be. */
static void store_jobs_failed(GPtrArray *jobs)
{
    for (guint i = 0; i < jobs->len; i++) {
        ((StoreJob *)g_ptr_array_index(jobs, i))->bm->changed = true;
    }
}

/* All that is to be written; NULL if a content can't be had. */
static GPtrArray *store_collect(Co *co, Node *node, Error **errp)
{
    GPtrArray *jobs = g_ptr_array_new_with_free_func(
        (GDestroyNotify)store_job_free);

    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        StoreJob *job;

        if (!store_is_needed(node, bm)) {
            continue;
        }
        job = store_job_new(co, node, bm, errp);
        if (!job) {
            store_jobs_failed(jobs);
            g_ptr_array_unref(jobs);
            return NULL;
        }
        g_ptr_array_add(jobs, job);
    }
    return jobs;
}

static bool store_all(Co *co, Node *node, bool in_use, Error **errp)
{
    Qcow2Bitmaps *all = qcow2_bitmaps(node);
    g_autoptr(GPtrArray) jobs = NULL;
    int r;

    co_mutex_lock(co, &all->lock);
    jobs = store_collect(co, node, errp);
    if (!jobs) {
        co_mutex_unlock(&all->lock);
        return false;
    }
    r = store_contents(co, node, jobs);
    if (r >= 0 && (all->stored->len || jobs->len)) {
        r = store_cut(co, node);
    }
    if (r >= 0 && (all->stored->len || jobs->len)) {
        r = store_directory(co, node, jobs, in_use);
    }
    if (r < 0) {
        store_jobs_failed(jobs);
        store_undo(co, node, jobs);
    }
    co_mutex_unlock(&all->lock);
    if (r < 0 && jobs->len == 1) {
        error_setg_errno(errp, -r, "Failed to write bitmap '%s' to file",
                         ((StoreJob *)g_ptr_array_index(jobs, 0))->bm->name);
    } else if (r < 0) {
        error_setg_errno(errp, -r, "Failed to write bitmaps to file");
    }
    return r >= 0;
}

/* A bitmap may have been added to a node that was never writable. */
static bool store_nothing(Node *node, bool release, Error **errp)
{
    for (DirtyBitmap *bm = bitmap_first(node); bm && release;
         bm = bitmap_next(bm)) {
        if (store_is_needed(node, bm)) {
            error_setg(errp, "No write access");
            return false;
        }
    }
    return true;
}

bool qcow2_bitmaps_can_go(Node *node, Error **errp)
{
    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        if (bm->persistent && !bitmap_check(bm, BITMAP_CHECK_BUSY, errp)) {
            return false;
        }
    }
    return true;
}

bool qcow2_store_bitmaps(Co *co, Node *node, bool release, bool keep_in_use,
                         Error **errp)
{
    ERRP_GUARD();
    Qcow2State *s = qcow2_state(node);

    if (!node->inactive &&
        !(node->read_only ? store_nothing(node, release, errp)
                          : store_all(co, node, keep_in_use, errp))) {
        error_prepend(errp, "Lost persistent bitmaps during inactivation of "
                      "node '%s': ", node->name);
        return false;
    }
    if (release) {
        DirtyBitmap *next;

        for (DirtyBitmap *bm = bitmap_first(node); bm; bm = next) {
            next = bitmap_next(bm);
            if (bm->persistent) {
                bitmap_release(bm);
            }
        }
        qcow2_bitmaps_close(node);
    } else if (!keep_in_use) {
        for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
            if (bm->persistent) {
                bitmap_set_readonly(bm, true);
            }
        }
    }
    s->bitmaps_loaded = !release;
    return true;
}
