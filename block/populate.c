/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The bitmap-populate job: adds to a bitmap what the disk's content says.
 *
 *     pattern            a granule is dirty where            asked of
 *     allocation-top     this layer holds data or zeroes     status
 *     allocation-above   a layer above base-node does        status
 *     non-zero           it does not read as zeroes          status, then reads
 *     difference         it reads unlike base-node           status, then reads
 *
 *     bitmap   busy; goes on recording if it did
 *     live     records for a bitmap that doesn't
 *     found    what the job has seen; nobody else sees it before the end
 *
 * Success: bitmap |= found | live. Failure, cancel: the bitmap is left alone, and
 * so keeps what it had and what it recorded. A guest's write during the job is
 * in the bitmap or in live whatever the job saw of it, so that the scan need
 * not be of one moment: content and bits never lose each other.
 *
 * The scan asks for status as far as that is alike, in one coroutine. What has
 * to be read goes to a few workers in chunks. At an error all of them end; the
 * scan goes back to the first chunk that failed, or marks it dirty and passes.
 */

#include "block/populate-private.h"

#include "block/graph.h"
#include "util/bytes.h"

#define POPULATE_WORKERS 8
#define POPULATE_CHUNK (256 * KiB)
/* Others get their turn after so many answers that needed no waiting. */
#define POPULATE_YIELD 256

/* ---- reading ---- */

typedef struct Chunk {
    PopulateJob *p;
    int64_t off, len;
    bool read_node, read_base;
} Chunk;

static void mark_dirty(PopulateJob *p, int64_t off, int64_t len)
{
    int64_t first = off >> p->shift, last = (off + len - 1) >> p->shift;

    bitset_set(p->found, first, last - first + 1);
}

static bool piece_differs(const uint8_t *a, const uint8_t *b, int64_t len)
{
    if (!a || !b) {
        return !buffer_is_zero(a ? a : b, len);
    }
    return memcmp(a, b, len) != 0;
}

/* Granule by granule; NULL stands for zeroes. */
static void mark_differences(const Chunk *c, const uint8_t *a,
                             const uint8_t *b)
{
    int64_t end = c->off + c->len, next;
    PopulateJob *p = c->p;

    for (int64_t at = c->off; at < end; at = next) {
        int64_t i = at - c->off;

        next = MIN(((at >> p->shift) + 1) << p->shift, end);
        if (!bitset_test(p->found, at >> p->shift) &&
            piece_differs(a ? a + i : NULL, b ? b + i : NULL, next - at)) {
            mark_dirty(p, at, next - at);
        }
    }
}

/* Fresh memory for each chunk would take longer than to compare it. */
static uint8_t *buffer_take(PopulateJob *p)
{
    if (p->buffers->len) {
        return g_ptr_array_steal_index_fast(p->buffers, p->buffers->len - 1);
    }
    return aligned_try_alloc_io(4096, POPULATE_CHUNK);
}

static void buffer_give(PopulateJob *p, uint8_t *buf)
{
    if (buf) {
        g_ptr_array_add(p->buffers, buf);
    }
}

/* A buffer with the chunk's content. Comes back to the same loop. */
static int chunk_read(Co *co, Root *root, const Chunk *c, uint8_t **ret)
{
    Loop *home = co_loop(co);
    int r;

    *ret = buffer_take(c->p);
    if (!*ret) {
        return -ENOMEM;
    }
    r = root_pread(co, root, c->off, c->len, *ret);
    co_move(co, home);
    return r;
}

static void populate_note_failure(PopulateJob *p, int64_t off, int64_t len,
                                  int ret)
{
    if (!p->failed || off < p->failed_at) {
        p->failed = ret;
        p->failed_at = off;
        p->failed_len = len;
    }
}

static int chunk_run(Co *co, void *opaque)
{
    g_autofree Chunk *c = opaque;
    uint8_t *a = NULL, *b = NULL;
    int ret = 0;

    if (c->read_node) {
        ret = chunk_read(co, c->p->root, c, &a);
    }
    if (ret == 0 && c->read_base) {
        ret = chunk_read(co, c->p->base_root, c, &b);
    }
    if (ret < 0) {
        populate_note_failure(c->p, c->off, c->len, ret);
    } else {
        mark_differences(c, a, b);
    }
    buffer_give(c->p, a);
    buffer_give(c->p, b);
    return 0;
}

static void chunk_start(Co *co, PopulateJob *p, CoGroup *group, int64_t off,
                        const Scan *s)
{
    Chunk *c = g_new(Chunk, 1);

    *c = (Chunk) { p, off, s->len, s->read_node, s->read_base };
    co_group_start(co, group, chunk_run, c);
}

/* ---- running ---- */

/* How much to look at next: all, unless a speed asks for small steps. */
static int64_t populate_step_len(const PopulateJob *p)
{
    int64_t len = p->node->length - p->pos;

    return p->limit.speed ? MIN(len, MAX(p->limit.speed / 10, 64 * KiB)) : len;
}

static void populate_advance(PopulateJob *p, int64_t to)
{
    job_progress_add(&p->common, MAX(to - p->told, 0));
    p->told = MAX(to, p->told);
    p->pos = to;
}

/* From p->pos on as far as it is alike. */
static void populate_step(Co *co, PopulateJob *p, CoGroup *group)
{
    int64_t off = p->pos, len = populate_step_len(p);
    Scan s = { .kind = SCAN_CLEAN };
    int ret;

    if (bitset_test(p->found, off >> p->shift)) {
        /* The rest of this granule would tell nothing new. */
        s.len = MIN(((off >> p->shift) + 1) << p->shift, off + len) - off;
    } else {
        ret = populate_scan(co, p, off, len, &s);
        if (ret < 0) {
            populate_note_failure(p, off, MIN(len, POPULATE_CHUNK), ret);
            return;
        }
    }
    if (s.kind == SCAN_READ) {
        s.len = MIN(s.len, POPULATE_CHUNK - off % POPULATE_CHUNK);
        chunk_start(co, p, group, off, &s);
    } else if (s.kind == SCAN_DIRTY) {
        mark_dirty(p, off, s.len);
    }
    ratelimit_account(&p->limit, s.len);
    populate_advance(p, off + s.len);
}

static void populate_wait_turn(Co *co, PopulateJob *p)
{
    if (++p->turns % POPULATE_YIELD == 0) {
        co_yield(co);
    }
    while (!job_is_asked(&p->common)) {
        int64_t ns = ratelimit_delay(&p->limit);

        if (!ns) {
            return;
        }
        co_sleep_ns(co, &p->common.sleep, ns);
    }
}

/* Until the end, a failure, or something is asked of the job. Nothing is under
 * way afterwards, and p->pos is where to go on. */
static int populate_stretch(Co *co, PopulateJob *p)
{
    CoGroup group;
    int ret;

    co_group_init(&group, co_loop(co), POPULATE_WORKERS);
    ratelimit_set_speed(&p->limit, job_speed(&p->common));
    while (p->pos < p->node->length && !p->failed &&
           !job_is_asked(&p->common)) {
        populate_step(co, p, &group);
        populate_wait_turn(co, p);
    }
    co_group_wait(co, &group);
    ret = p->failed;
    p->failed = 0;
    if (ret < 0) {
        populate_advance(p, p->failed_at);
    }
    return ret;
}

/* 0 to go on. */
static int populate_error(Co *co, PopulateJob *p, int error)
{
    switch (job_error_action(co, &p->common, p->on_error, true, error)) {
    case BLOCK_ERROR_ACTION_REPORT:
        return -error;
    case BLOCK_ERROR_ACTION_IGNORE:
        /* Not known to be clean. */
        mark_dirty(p, p->pos, p->failed_len);
        populate_advance(p, p->pos + p->failed_len);
        return 0;
    default:
        return 0;
    }
}

static int populate_all(Co *co, PopulateJob *p)
{
    Job *job = &p->common;

    while (p->pos < p->node->length) {
        int ret;

        job_pause_point(co, job);
        if (job_is_cancelled(job)) {
            return -ECANCELED;
        }
        ret = populate_stretch(co, p);
        if (ret < 0) {
            ret = populate_error(co, p, -ret);
            if (ret < 0) {
                return ret;
            }
        }
    }
    return job_is_cancelled(job) ? -ECANCELED : 0;
}

/* Guests go first. */
static int populate_run(Co *co, Job *job, Error **errp)
{
    PopulateJob *p = container_of(job, PopulateJob, common);
    int ret;

    co_move(co, p->root->loop);
    job_working_on(co, job);
    co_set_background(co, true);
    ret = populate_all(co, p);
    co_set_background(co, false);
    return ret;
}

/* ---- the end ---- */

/* The image may have become read-only meanwhile. */
static int populate_prepare(Co *co, Job *job)
{
    PopulateJob *p = container_of(job, PopulateJob, common);
    Loop *home = co_loop(co);
    bool ok;

    co_move(co, p->node->loop);
    ok = bitmap_check(p->bm, BITMAP_CHECK_RO, &job->err);
    co_move(co, home);
    return ok ? 0 : -EPERM;
}

static void populate_settle(Co *co, PopulateJob *p, bool success)
{
    Loop *home = co_loop(co);

    co_move(co, p->node->loop);
    if (success) {
        bitmap_add_bits(p->bm, p->found);
        if (p->live) {
            bitmap_add_bits(p->bm, bitmap_bits(co, p->live, NULL));
        }
    }
    if (p->live) {
        bitmap_release(p->live);
    }
    bitmap_set_busy(p->bm, false);
    co_move(co, home);
}

static void populate_commit(Co *co, Job *job)
{
    populate_settle(co, container_of(job, PopulateJob, common), true);
}

static void populate_abort(Co *co, Job *job)
{
    populate_settle(co, container_of(job, PopulateJob, common), false);
}

static void populate_clean(Co *co, Job *job)
{
    PopulateJob *p = container_of(job, PopulateJob, common);

    if (p->frozen) {
        graph_unfreeze_chain(p->node, p->base);
    }
    root_free(co, p->base_root);
    root_free(co, p->root);
    bitset_free(p->found);
    g_ptr_array_free(p->buffers, true);
}

static const JobDriver populate_driver = {
    .type = JOB_TYPE_BITMAP_POPULATE,
    .size = sizeof(PopulateJob),
    .is_block_job = true,
    .run = populate_run,
    .prepare = populate_prepare,
    .commit = populate_commit,
    .abort = populate_abort,
    .clean = populate_clean,
};

/* ---- making ---- */

static const RootOps populate_root_ops = {
    .kind = "block job",
    .stay_at_node = true,
    .loop_can_change = root_refuse_loop,
};

/* *@ret stays NULL where no base is meant. */
static bool populate_find_base(const BlockDirtyBitmapPopulate *arg, Node *node,
                               Node **ret, Error **errp)
{
    const char *pattern = BitmapPattern_str(arg->pattern);
    Node *base;

    if (!arg->base_node) {
        if (arg->pattern == BITMAP_PATTERN_DIFFERENCE) {
            error_setg(errp, "Pattern '%s' needs 'base-node'", pattern);
            return false;
        }
        return true;
    }
    if (arg->pattern == BITMAP_PATTERN_ALLOCATION_TOP ||
        arg->pattern == BITMAP_PATTERN_NON_ZERO) {
        error_setg(errp, "Pattern '%s' has no use for 'base-node'", pattern);
        return false;
    }
    base = node_lookup(arg->base_node, errp);
    if (!base) {
        return false;
    }
    if (base == node) {
        error_setg(errp, "Node '%s' can't be its own base", node->name);
        return false;
    }
    if (arg->pattern == BITMAP_PATTERN_ALLOCATION_ABOVE &&
        !node_chain_contains(node, base)) {
        error_setg(errp, "Node '%s' is not a backing image of '%s'",
                   base->name, node->name);
        return false;
    }
    *ret = base;
    return true;
}

static PopulateJob *populate_new_job(const BlockDirtyBitmapPopulate *arg,
                                     JobTxn *txn, Error **errp)
{
    JobFlags flags = job_flags(arg->has_auto_finalize, arg->auto_finalize,
                               arg->has_auto_dismiss, arg->auto_dismiss);
    PopulateJob *p = job_create(arg->job_id, &populate_driver, txn, flags,
                                errp);

    if (p) {
        p->buffers = g_ptr_array_new_with_free_func(aligned_free);
        p->pattern = arg->pattern;
        p->on_error = arg->has_on_error ? arg->on_error
                                        : BLOCKDEV_ON_ERROR_REPORT;
    }
    return p;
}

/* Roots and the frozen chain; what is done is undone by populate_clean(). */
static bool populate_hold_graph(Co *co, PopulateJob *p, Node *node, Node *base,
                                Error **errp)
{
    p->node = node;
    p->base = base;
    p->root = root_open(co, node, p->common.id, &populate_root_ops, p,
                        PERM_CONSISTENT_READ, PERM_ALL & ~PERM_RESIZE, errp);
    if (!p->root) {
        return false;
    }
    p->base_below = base && node_chain_contains(node, base);
    if (p->base_below || p->pattern == BITMAP_PATTERN_ALLOCATION_ABOVE) {
        if (!graph_freeze_chain(node, base, errp)) {
            return false;
        }
        p->frozen = true;
    }
    if (p->pattern == BITMAP_PATTERN_DIFFERENCE) {
        /* What is compared with stays as it is. */
        p->base_root = root_open(co, base, p->common.id, &populate_root_ops, p,
                                 PERM_CONSISTENT_READ,
                                 PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED,
                                 errp);
        p->base_length = base->length;
        return p->base_root != NULL;
    }
    return true;
}

/* From now on writes are recorded. */
static bool populate_take_bitmap(Co *co, PopulateJob *p, DirtyBitmap *bm,
                                 Error **errp)
{
    Loop *home = co_loop(co);
    bool ok;

    co_move(co, p->node->loop);
    ok = bitmap_check(bm, BITMAP_CHECK_DEFAULT, errp);
    if (ok && !bitmap_is_recording(bm)) {
        p->live = bitmap_create(p->node, bitmap_granularity(bm), NULL, errp);
        ok = p->live != NULL;
    }
    if (ok) {
        p->bm = bm;
        p->shift = bm->granularity_shift;
        p->found = bitset_new(bitset_size(bm->bits));
        bitmap_set_busy(bm, true);
    }
    co_move(co, home);
    return ok;
}

Job *populate_job_create(Co *co, const BlockDirtyBitmapPopulate *arg,
                         JobTxn *txn, Error **errp)
{
    Node *node, *base = NULL;
    DirtyBitmap *bm = bitmap_lookup(arg->node, arg->name, &node, errp);
    PopulateJob *p;

    control_assert();
    if (!bm || !bitmap_check(bm, BITMAP_CHECK_DEFAULT, errp) ||
        !populate_find_base(arg, node, &base, errp)) {
        return NULL;
    }
    p = populate_new_job(arg, txn, errp);
    if (!p) {
        return NULL;
    }
    if (!populate_hold_graph(co, p, node, base, errp) ||
        (arg->has_speed &&
         !job_user_set_speed(&p->common, arg->speed, errp)) ||
        !populate_take_bitmap(co, p, bm, errp)) {
        populate_clean(co, &p->common);
        job_early_fail(co, &p->common);
        return NULL;
    }
    job_progress_set_remaining(&p->common, node->length);
    return &p->common;
}

void populate_job_undo(Co *co, Job *job)
{
    populate_abort(co, job);
    populate_clean(co, job);
    job_early_fail(co, job);
}
