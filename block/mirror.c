/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The mirror job, and the commit of an active layer, which is the same.
 *
 *     parents --> mirror_top --backing--> source
 *                      |------target----> target
 *
 * One set of bits (the copy engine's todo) says where target and source differ.
 * The filter marks what guests write, the job copies what is marked. When
 * nothing is left for the first time the job is ready; from then on the target
 * trails the source by a few requests, or by none with write-blocking.
 *
 * The end, in prepare, is one drained section: what is left is copied (nobody
 * adds to it now), the target is flushed, and all that used the source uses the
 * target, in one transaction with the bitmaps. After a soft cancel the target
 * is flushed likewise and nothing else happens: a copy of that moment. Until
 * then guests are never held up; also while the job waits to be finalized.
 */

#include "block/mirror.h"
#include "block/bitmap-carry.h"
#include "block/chain.h"
#include "block/copy-job.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/job-filter.h"
#include "block/open.h"
#include "block/reopen.h"
#include "block/root.h"
#include "mirror-bitmap.h"
#include "mirror-top.h"
#include "util/bytes.h"

#define MIRROR_BUF_SIZE (16 * MiB)
#define MIRROR_MAX_CHUNK MiB
#define MIRROR_MAX_WORKERS 16
#define MIRROR_ZERO_CHUNK (64 * MiB)

typedef struct MirrorJob {
    Job common;
    MirrorSyncMode sync;
    BitmapSync bitmap;
    BlockdevOnError on_source_error, on_target_error;
    MirrorCopyMode copy_mode;       /* main loop */
    bool commit;
    bool carry, stay, no_unmap, new_target;
    MirrorBacking backing;
    ImageNewName new_name;
    bool auto_complete;
    char *replaces;                 /* NULL: the source */
    Node *source, *target;          /* kept by job_block_node */
    Node *base;                     /* what is not copied: NULL for full */
    Node *filter;                   /* NULL: gone */
    Root *root;                     /* on the filter: counts the copying */
    GPtrArray *guards;              /* of Root */
    bool frozen;                    /* commit: the chain down to the target */
    MirrorWatch *watch;             /* of those who write beside the filter */
    CopyState *copy;
    bool copied;                    /* all, in the end; main loop */
    bool pivot;                     /* main loop: job-complete was given */
    /* The run loop's. */
    CopyRun run;
    bool begun;                     /* the first todo is complete */
    bool ready;
    bool finish;                    /* end as soon as nothing is left */
} MirrorJob;

static MirrorJob *mirror(Job *job)
{
    return container_of(job, MirrorJob, common);
}

/* ---- what is to be copied at first ---- */

static void mirror_mark(MirrorJob *m, int64_t off, int64_t len)
{
    job_progress_grow(&m->common, copy_mark(m->copy, off, len));
}

/* A turn of something long: false if the job is to end. */
static bool mirror_turn(Co *co, MirrorJob *m)
{
    job_pause_point(co, &m->common);
    return !job_is_cancelled(&m->common);
}

/* Holes are cheaper than copies of zeroes: if the target can have them, all of
 * it becomes one first. */
static int mirror_zero_target(Co *co, MirrorJob *m)
{
    int64_t end = m->source->length;

    for (int64_t off = 0; off < end; off += MIRROR_ZERO_CHUNK) {
        int64_t n = MIN(MIRROR_ZERO_CHUNK, end - off);
        int ret;

        if (!mirror_turn(co, m)) {
            return -ECANCELED;
        }
        root_begin(co, m->root);
        ret = io_zero(co, mirror_top(m->filter)->target, off, n,
                      REQ_MAY_UNMAP);
        root_end(m->root);
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static int mirror_mark_allocated(Co *co, MirrorJob *m)
{
    int64_t off = 0, end = m->source->length;

    while (off < end) {
        int64_t n = 0;
        int ret;

        if (!mirror_turn(co, m)) {
            return -ECANCELED;
        }
        root_begin(co, m->root);
        ret = status_allocated_above(co, m->source, m->base, false, off,
                                     MIN(end - off, GiB), &n);
        root_end(m->root);
        if (ret < 0) {
            return ret;
        }
        if (ret) {
            mirror_mark(m, off, n);
        }
        off += n;
    }
    return 0;
}

/* 1 if there is nothing to overwrite. */
static int mirror_target_is_zero(Co *co, MirrorJob *m)
{
    int ret = 0;

    if (m->new_target) {
        root_begin(co, m->root);
        ret = status_is_zero(co, m->target, 0, m->source->length);
        root_end(m->root);
    }
    return ret;
}

static int mirror_begin(Co *co, MirrorJob *m)
{
    int ret;

    if (m->sync == MIRROR_SYNC_MODE_NONE || bitmap_sync_copies(m->sync)) {
        return 0;
    }
    if (m->sync == MIRROR_SYNC_MODE_FULL) {
        ret = mirror_target_is_zero(co, m);
        if (ret == 0 && (m->no_unmap || !(m->target->flags & OPEN_UNMAP))) {
            mirror_mark(m, 0, m->source->length);
            return 0;
        }
        if (ret == 0) {
            ret = mirror_zero_target(co, m);
        }
        if (ret < 0) {
            return ret;
        }
    }
    return mirror_mark_allocated(co, m);
}

/* ---- running ---- */

static void mirror_kick(Job *job)
{
    copy_run_kick(&mirror(job)->run);
    copy_job_kick_target(job, mirror(job)->target);
}

/* Nothing is left at this moment. 0, or what the target's flush said. */
static int mirror_clean(Co *co, MirrorJob *m)
{
    MirrorTop *top = mirror_top(m->filter);

    if (!m->ready) {
        int ret;

        /* Who hears of it finds nothing left, whatever is written meanwhile. */
        top->hold = true;
        root_begin(co, m->root);
        ret = io_flush(co, m->target);
        root_end(m->root);
        if (ret == 0) {
            m->ready = true;
            job_ready(co, &m->common);
        }
        mirror_top_unhold(top);
        if (ret < 0) {
            return ret;
        }
    }
    if (!bitset_empty(copy_todo(m->copy)) || m->finish) {
        return 0;
    }
    job_set_synced(&m->common, top->active);
    top->idle = true;
    job_sleep_ns(co, &m->common, INT64_MAX / 4);
    top->idle = false;
    return 0;
}

static int mirror_error(Co *co, MirrorJob *m, bool is_read, int ret)
{
    job_set_synced(&m->common, false);
    return copy_run_error(co, &m->common, is_read ? m->on_source_error
                                                  : m->on_target_error,
                          is_read, ret);
}

static int mirror_loop(Co *co, MirrorJob *m)
{
    while (true) {
        bool is_read = false;
        int ret;

        if (!mirror_turn(co, m)) {
            return -ECANCELED;
        }
        ret = copy_run_stretch(co, &m->run, &m->common, &is_read);
        if (ret == 0) {
            ret = mirror_clean(co, m);
            if (ret == 0 && m->ready && m->finish &&
                bitset_empty(copy_todo(m->copy))) {
                return 0;
            }
        }
        if (ret < 0) {
            ret = mirror_error(co, m, is_read, ret);
        }
        if (ret < 0) {
            return ret;
        }
    }
}

static int mirror_run(Co *co, Job *job, Error **errp)
{
    MirrorJob *m = mirror(job);
    int ret;

    co_move(co, m->root->loop);
    job_working_on(co, job);
    if (m->source->length != m->target->length &&
        !(m->commit && m->target->length > m->source->length)) {
        error_setg(errp, "Source and target image have different sizes");
        return -EINVAL;
    }
    ret = mirror_begin(co, m);
    if (ret < 0) {
        return ret;
    }
    m->begun = true;
    mirror_top(m->filter)->active =
        m->copy_mode == MIRROR_COPY_MODE_WRITE_BLOCKING;
    return mirror_loop(co, m);
}

/* ---- verbs ---- */

static void mirror_forget(void *opaque)
{
    job_unref(opaque);
}

static void mirror_finish_here(void *opaque)
{
    mirror(opaque)->finish = true;
    loop_post(loop_main(), mirror_forget, opaque);
}

/* The run loop is told to end as soon as it can. */
static void mirror_finish(MirrorJob *m)
{
    job_ref(&m->common);
    loop_post(m->root->loop, mirror_finish_here, &m->common);
    job_kick(&m->common);
}

static void mirror_complete(Co *co, Job *job, Error **errp)
{
    MirrorJob *m = mirror(job);

    if (m->replaces && !node_find(m->replaces)) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   m->replaces);
        return;
    }
    m->pivot = true;
    mirror_finish(m);
}

static bool mirror_cancel(Job *job, bool force)
{
    bool ready = job->status == JOB_STATUS_READY ||
                 job->status == JOB_STATUS_STANDBY;

    if (force || !ready || mirror(job)->auto_complete) {
        return true;
    }
    mirror_finish(mirror(job));
    return false;
}

static void mirror_change(Co *co, Job *job, BlockJobChangeOptions *opts,
                          Error **errp)
{
    MirrorJob *m = mirror(job);
    MirrorCopyMode mode = opts->u.mirror.copy_mode;

    if (m->copy_mode == mode) {
        return;
    }
    if (mode != MIRROR_COPY_MODE_WRITE_BLOCKING) {
        error_setg(errp, "Change to copy mode '%s' is not implemented",
                   MirrorCopyMode_str(mode));
        return;
    }
    m->copy_mode = mode;
    co_move(co, m->root->loop);
    /* Before the first todo is complete, run() sees the new mode itself. */
    mirror_top(m->filter)->active = m->begun;
    co_move(co, loop_main());
    job_kick(job);
}

static void mirror_query(Job *job, BlockJobInfo *info)
{
    info->u.mirror.actively_synced = job_is_synced(job);
}

/* ---- the end ---- */

/* Guests stand still. 0 or -errno. */
static int mirror_copy_rest(Co *co, MirrorJob *m)
{
    bool is_read;
    int ret = copy_range_now(co, m->copy, 0, m->source->length, &is_read);

    return ret < 0 ? ret : io_flush(co, m->target);
}

/* Guests may be in the midst of writing to both sides. */
static void mirror_free_copy(Co *co, MirrorJob *m)
{
    DrainSection *s = drain_section_begin(co, m->filter);
    bool flushed;

    copy_job_kick_target(&m->common, m->target);
    flushed = m->copied || io_flush(co, m->target) == 0;
    co_move(co, loop_main());
    if (!m->copied && flushed) {
        mirror_bitmap_fail(co, &m->bitmap, m->copy,
                           !m->begun && !bitmap_sync_copies(m->sync));
    }
    mirror_top(m->filter)->copy = NULL;
    copy_state_free(m->copy);
    m->copy = NULL;
    mirror_top_unwatch(co, m->watch);
    m->watch = NULL;
    drain_section_end(s);
}

/* Who looks on from the outside has no more say. */
static void mirror_let_go(Co *co, MirrorJob *m)
{
    if (m->copy) {
        mirror_free_copy(co, m);
    }
    root_free(co, m->root);
    m->root = NULL;
    copy_job_drop_guards(co, &m->guards);
    if (m->frozen) {
        graph_unfreeze_chain(m->source, m->target);
        m->frozen = false;
    }
}

static bool mirror_carry(Co *co, MirrorJob *m, Transaction *tran, Error **errp)
{
    if (!m->carry) {
        return true;
    }
    return m->commit
        ? bitmap_carry_commit(co, tran, m->source, m->target, errp)
        : bitmap_carry_mirror(co, tran, m->source, m->base, m->target, errp);
}

/* All that used @from uses the target from now on. */
/* Still under the lock only, nothing drained: this opens files. */
static bool mirror_open_backing(Co *co, MirrorJob *m, Error **errp)
{
    if (m->backing != MIRROR_BACKING_OPEN) {
        return true;
    }
    m->target->flags &= ~OPEN_NO_BACKING;
    return open_backing(co, m->target, NULL, errp);
}

static bool mirror_take_backing(Co *co, MirrorJob *m, Transaction *tran,
                                Error **errp)
{
    Node *backing = m->sync == MIRROR_SYNC_MODE_NONE ? m->source : m->base;

    return m->backing != MIRROR_BACKING_SOURCE || !backing ||
           m->target->backing ||
           graph_attach(co, tran, m->target, "backing", ROLE_COW, backing,
                        errp);
}

static bool mirror_replace(Co *co, MirrorJob *m, Transaction *tran, Node *from,
                           Error **errp)
{
    Node *nodes[] = { m->target, m->source };

    if (!mirror_take_backing(co, m, tran, errp)) {
        return false;
    }
    if (!graph_replace_node(co, tran, from, m->target, errp)) {
        return false;
    }
    /* The filter goes: above the source, if that stays where it is. */
    if (!graph_replace_node(co, tran, m->filter, from == m->source
                            ? m->target : m->source, errp)) {
        return false;
    }
    return graph_check(tran, nodes, ARRAY_SIZE(nodes), errp);
}

static bool mirror_take_over(Co *co, MirrorJob *m, Error **errp)
{
    Node *from = m->replaces ? node_find(m->replaces) : m->source;
    Transaction *tran;
    bool ok;

    if (!from) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   m->replaces);
        return false;
    }
    if (!mirror_open_backing(co, m, errp) ||
        (from->read_only != m->target->read_only &&
         !reopen_set_read_only(co, m->target, from->read_only, errp))) {
        return false;
    }
    tran = tran_new();
    graph_drain(co, tran, m->filter);
    ok = mirror_bitmap_succeed(co, tran, &m->bitmap, errp) &&
         mirror_carry(co, m, tran, errp) &&
         mirror_replace(co, m, tran, from, errp) &&
         rename_image(co, tran, m->target, &m->new_name,
                      chain_format_of(m->target, false), errp);
    tran_finalize(co, tran, ok);
    co_move(co, loop_main());
    if (ok) {
        node_unref(co, m->filter);
        m->filter = NULL;
    }
    return ok;
}

/* Everything stays where it is but what bitmaps say. */
static bool mirror_settle_bitmaps(Co *co, MirrorJob *m, Error **errp)
{
    Transaction *tran = tran_new();
    bool ok;

    graph_drain(co, tran, m->filter);
    ok = mirror_bitmap_succeed(co, tran, &m->bitmap, errp) &&
         (!m->stay || mirror_carry(co, m, tran, errp));
    tran_finalize(co, tran, ok);
    co_move(co, loop_main());
    return ok;
}

static bool mirror_end(Co *co, MirrorJob *m, Error **errp)
{
    return m->pivot ? mirror_take_over(co, m, errp)
                    : mirror_settle_bitmaps(co, m, errp);
}

static int mirror_prepare(Co *co, Job *job)
{
    MirrorJob *m = mirror(job);
    DrainSection *s = drain_section_begin(co, m->filter);
    int ret = mirror_copy_rest(co, m);

    co_move(co, loop_main());
    m->copied = ret == 0;
    mirror_let_go(co, m);
    if (ret == 0 && !mirror_end(co, m, &job->err)) {
        mirror_bitmap_fail(co, &m->bitmap, NULL, false);
        ret = -EPERM;
    }
    drain_section_end(s);
    return ret;
}

static void mirror_clean_up(Co *co, Job *job)
{
    MirrorJob *m = mirror(job);

    mirror_let_go(co, m);
    mirror_bitmap_release(co, &m->bitmap);
    if (m->filter) {
        job_filter_drop(co, m->filter);
        m->filter = NULL;
    }
    g_free(m->replaces);
    g_free(m->new_name.path);
}

#define MIRROR_DRIVER_COMMON        \
    .size = sizeof(MirrorJob),      \
    .is_block_job = true,           \
    .run = mirror_run,              \
    .prepare = mirror_prepare,      \
    .clean = mirror_clean_up,       \
    .cancel = mirror_cancel,        \
    .kick = mirror_kick,            \
    .complete = mirror_complete

static const JobDriver mirror_driver = {
    .type = JOB_TYPE_MIRROR,
    MIRROR_DRIVER_COMMON,
    .change = mirror_change,
    .query = mirror_query,
};

static const JobDriver commit_active_driver = {
    .type = JOB_TYPE_COMMIT,
    MIRROR_DRIVER_COMMON,
};

/* ---- making ---- */

static void mirror_init_top(Node *filter, void *opaque)
{
    MirrorJob *m = opaque;
    MirrorTop *top = mirror_top(filter);

    top->job = &m->common;
    top->commit = m->commit;
}

/* The layers between show nothing consistent while the base changes. */
static bool mirror_guard_layers(Co *co, MirrorJob *m, Error **errp)
{
    m->frozen = graph_freeze_chain(m->source, m->target, errp);
    if (!m->frozen) {
        return false;
    }
    for (Node *n = node_chain_child(m->source)->child; n != m->target;
         n = node_chain_child(n)->child) {
        Root *guard = copy_job_guard(co, &m->common, n, 0,
                                     PERM_WRITE | PERM_WRITE_UNCHANGED, errp);

        if (!copy_job_keep_guard(&m->guards, guard)) {
            return false;
        }
    }
    return true;
}

static bool mirror_put_guards(Co *co, MirrorJob *m, Error **errp)
{
    if (m->commit && !mirror_guard_layers(co, m, errp)) {
        return false;
    }
    /* In use, as QEMU's clients expect it to be. */
    return copy_job_keep_guard(&m->guards, copy_job_root(
        co, m->target, 0, PERM_ALL, errp));
}

static bool mirror_make_copy(Co *co, MirrorJob *m, const MirrorOptions *opts,
                             Error **errp)
{
    MirrorTop *top = mirror_top(m->filter);
    int64_t buf = opts->buf_size ? opts->buf_size : MIRROR_BUF_SIZE;
    CopyOptions copy = { .no_unmap = opts->no_unmap };

    co_move(co, m->filter->loop);
    top->target = node_child(m->filter, "target");
    copy.cluster_size = opts->granularity ? opts->granularity
                        : bitmap_default_granularity(co, m->target);
    if (m->commit) {
        copy.skip_unallocated = true;
        copy.base = m->target;
    }
    m->copy = copy_state_new(co, m->filter->file, top->target, &copy, errp);
    if (m->copy) {
        bitset_clear_all(copy_todo(m->copy));
        top->copy = m->copy;
        m->watch = mirror_top_watch(m->filter);
        copy_run_init(&m->run, m->copy, m->root, m->source->length,
                      &m->common);
        m->run.call.max_chunk = MAX(MIN(buf, MIRROR_MAX_CHUNK),
                                    copy.cluster_size);
        m->run.call.max_workers = CLAMP(buf / m->run.call.max_chunk, 1,
                                        MIRROR_MAX_WORKERS);
    }
    co_move(co, loop_main());
    return m->copy;
}

static bool mirror_use_bitmap(Co *co, MirrorJob *m, Error **errp)
{
    bool ok;

    co_move(co, m->filter->loop);
    ok = mirror_bitmap_begin(co, &m->bitmap, m->sync, m->copy, errp);
    job_progress_grow(&m->common, copy_bytes_todo(m->copy));
    co_move(co, loop_main());
    return ok;
}

static bool mirror_put_in(Co *co, MirrorJob *m, const MirrorOptions *opts,
                          Error **errp)
{
    m->filter = job_filter_insert(co, &mirror_top_driver,
                                  opts->common.filter_node_name, m->source,
                                  m->target, mirror_init_top, m, errp);
    if (!m->filter || !mirror_put_guards(co, m, errp)) {
        return false;
    }
    m->root = copy_job_guard(co, &m->common, m->filter, PERM_CONSISTENT_READ,
                             PERM_ALL & ~PERM_RESIZE, errp);
    return m->root && mirror_make_copy(co, m, opts, errp);
}

static bool mirror_set_up(Co *co, MirrorJob *m, const MirrorOptions *opts,
                          Error **errp)
{
    DrainSection *s;
    bool ok;

    if (opts->common.speed &&
        !job_user_set_speed(&m->common, opts->common.speed, errp)) {
        return false;
    }
    if (m->carry &&
        !bitmap_carry_possible(co, m->source, m->base, m->target, errp)) {
        return false;
    }
    /* Nobody writes between what the bitmap says and what the filter sees. */
    s = drain_section_begin(co, m->source);
    co_move(co, loop_main());
    ok = mirror_put_in(co, m, opts, errp) && mirror_use_bitmap(co, m, errp);
    drain_section_end(s);
    return ok;
}

static void mirror_block_nodes(MirrorJob *m)
{
    job_block_node(&m->common, m->filter);
    job_block_node(&m->common, m->source);
    if (m->commit) {
        for (Node *n = node_chain_child(m->source)->child; n != m->target;
             n = node_chain_child(n)->child) {
            job_block_node(&m->common, n);
        }
    }
    job_block_node(&m->common, m->target);
}

static Job *mirror_create(Co *co, const JobDriver *drv,
                          const MirrorOptions *opts, Node *source, Node *base,
                          Node *target, Error **errp)
{
    MirrorJob *m;

    control_assert();
    if (opts->common.filter_node_name &&
        !node_check_name(opts->common.filter_node_name, errp)) {
        return NULL;
    }
    m = job_create(opts->common.job_id, drv, NULL, opts->common.flags, errp);
    if (!m) {
        return NULL;
    }
    m->sync = opts->sync;
    m->bitmap = opts->bitmap;
    m->on_source_error = opts->common.on_error;
    m->on_target_error = opts->on_target_error;
    m->copy_mode = opts->copy_mode;
    m->commit = drv == &commit_active_driver;
    m->carry = opts->common.carry_bitmaps;
    m->backing = opts->backing;
    m->no_unmap = opts->no_unmap;
    m->new_target = opts->new_target;
    m->stay = opts->stay;
    m->auto_complete = m->pivot = opts->auto_complete;
    m->finish = opts->stay || opts->auto_complete;
    m->new_name = opts->common.new_name;
    m->new_name.path = g_strdup(opts->common.new_name.path);
    m->replaces = g_strdup(opts->replaces);
    m->source = source;
    m->base = base;
    m->target = target;
    if (!mirror_set_up(co, m, opts, errp)) {
        m->bitmap.bm = NULL;
        mirror_clean_up(co, &m->common);
        job_early_fail(co, &m->common);
        return NULL;
    }
    mirror_block_nodes(m);
    return &m->common;
}

Job *mirror_job_create(Co *co, const MirrorOptions *opts, Node *source,
                       Node *target, Error **errp)
{
    Node *base = opts->sync == MIRROR_SYNC_MODE_FULL ||
                 bitmap_sync_copies(opts->sync)
                 ? NULL : node_backing_chain_next(source);

    return mirror_create(co, &mirror_driver, opts, source, base, target,
                         errp);
}

/* ---- commit of the active layer ---- */

static const RootOps grow_ops = { .kind = "block-backend" };

static bool commit_grow(Co *co, Node *base, int64_t length, Error **errp)
{
    Root *root = root_open(co, base, "", &grow_ops, NULL, PERM_RESIZE,
                           PERM_ALL, errp);
    bool ok;

    if (!root) {
        return false;
    }
    co_move(co, base->loop);
    ok = root_resize(co, root, length, false, PREALLOC_MODE_OFF, 0, errp);
    co_move(co, loop_main());
    root_free(co, root);
    return ok;
}

Job *commit_active_job_create(Co *co, const MirrorOptions *opts, Node *top,
                              Node *base, Error **errp)
{
    MirrorOptions own = *opts;
    bool sealed = base->read_only;
    Job *job = NULL;

    own.sync = MIRROR_SYNC_MODE_TOP;
    if (sealed && !reopen_set_read_only(co, base, false, errp)) {
        return NULL;
    }
    if (base->length >= top->length ||
        commit_grow(co, base, top->length, errp)) {
        job = mirror_create(co, &commit_active_driver, &own, top, base, base,
                            errp);
    }
    if (!job && sealed) {
        reopen_set_read_only(co, base, true, NULL);
    }
    return job;
}
