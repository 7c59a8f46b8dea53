/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * How a mirror job, or the commit of an active layer, comes to be: the filter is
 * put in, what the job works on is guarded, and its bits begin with the bitmap's,
 * while nobody writes.
 */

#include "mirror-internal.h"
#include "block/bitmap-carry.h"
#include "block/chain.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/info.h"
#include "block/job-filter.h"
#include "block/reopen.h"
#include "block/root.h"
#include "mirror-bitmap.h"
#include "util/bytes.h"

#define MIRROR_BUF_SIZE (16 * MiB)
#define MIRROR_MAX_CHUNK MiB
#define MIRROR_MAX_WORKERS 16

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

/* Of a target that gets its backing file later and is no copy of all; else 0. */
static int64_t mirror_whole_cluster(Co *co, const MirrorJob *m)
{
    Node *target = node_skip_filters(m->target);
    BlockDriverInfo info = { 0 };

    if (m->commit || m->sync == MIRROR_SYNC_MODE_FULL || target->backing ||
        !target->drv->supports_backing ||
        info_driver(co, target, &info) < 0) {
        return 0;
    }
    return info.cluster_size;
}

static bool mirror_make_copy(Co *co, MirrorJob *m, const MirrorOptions *opts,
                             Error **errp)
{
    MirrorTop *top = mirror_top(m->filter);
    int64_t buf = opts->buf_size ? opts->buf_size : MIRROR_BUF_SIZE;
    CopyOptions copy = { .no_unmap = opts->no_unmap };
    int64_t whole;

    co_move(co, m->filter->loop);
    whole = mirror_whole_cluster(co, m);
    top->whole = whole;
    top->target = node_child(m->filter, "target");
    copy.cluster_size = opts->granularity ? opts->granularity
                        : bitmap_default_granularity(co, m->target);
    copy.cluster_size = MAX(copy.cluster_size, whole);
    if (m->commit) {
        copy.skip_unallocated = true;
        copy.base = m->target;
    }
    m->copy = copy_state_new(co, m->filter->file, top->target, &copy, errp);
    if (m->copy) {
        bitset_clear_all(copy_todo(m->copy));
        top->copy = m->copy;
        mirror_top_watch(m->filter);
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
