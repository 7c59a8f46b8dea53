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
 * The end (mirror-end.c), in prepare, is one drained section: what is left is
 * copied (nobody adds to it now), the target is flushed, and all that used the
 * source uses the target, in one transaction with the bitmaps. After a soft
 * cancel the target is flushed likewise and nothing else happens: a copy of that
 * moment. Until then guests are never held up; also while the job waits to be
 * finalized.
 */
#include "mirror-internal.h"
#include "block/root.h"
#include "util/bytes.h"

#define MIRROR_ZERO_CHUNK (64 * MiB)

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
#define MIRROR_DRIVER_COMMON        \
    .size = sizeof(MirrorJob),      \
    .is_block_job = true,           \
    .run = mirror_run,              \
    .prepare = mirror_prepare,      \
    .clean = mirror_clean_up,       \
    .cancel = mirror_cancel,        \
    .kick = mirror_kick,            \
    .complete = mirror_complete

const JobDriver mirror_driver = {
    .type = JOB_TYPE_MIRROR,
    MIRROR_DRIVER_COMMON,
    .change = mirror_change,
    .query = mirror_query,
};

const JobDriver commit_active_driver = {
    .type = JOB_TYPE_COMMIT,
    MIRROR_DRIVER_COMMON,
};
