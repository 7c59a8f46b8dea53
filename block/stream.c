/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The stream job.
 *
 *     parents --> copy-on-read --> top --> .. --> bottom --> base
 *
 * The job reads through a copy-on-read filter what the layers below top down to
 * bottom hold, and so has it written to top, in order with what guests write.
 * When everything has come up and is on disk, the filter goes, top's edge goes
 * to base (or away), and its header says so, in one transaction with the
 * bitmaps.
 */

#include "block/stream.h"
#include "block/bitmap-carry.h"
#include "block/chain.h"
#include "block/copy-job.h"
#include "block/graph.h"
#include "block/open.h"
#include "block/reopen.h"
#include "block/root.h"
#include "util/bytes.h"

#define STREAM_CHUNK (512 * KiB)

typedef struct StreamJob {
    Job common;
    BlockdevOnError on_error;
    char *backing_file;
    ImageNewName new_name;
    bool mask_protocol;
    bool carry;
    Node *top, *bottom;         /* kept by job_block_node; bottom NULL: all */
    Node *filter;               /* NULL: gone */
    Root *root;                 /* on the filter: counts the copying */
    GPtrArray *guards;          /* of Root */
    bool frozen;                /* all of the chain (the filter does a part) */
    bool read_only;             /* top was, and is to be again */
    RateLimit limit;
} StreamJob;

/* ---- running ---- */

static int stream_chunk(Co *co, StreamJob *s, int64_t off, int64_t *n,
                        bool *copied)
{
    IoVec none = { 0 };
    int ret;

    root_begin(co, s->root);
    ret = status_comes_up(co, s->top, s->bottom, off,
                          MIN(STREAM_CHUNK, s->top->length - off), n);
    *copied = ret > 0;
    if (ret > 0) {
        ret = io_read(co, s->root->edge, off, *n, &none, 0, REQ_PREFETCH);
    }
    root_end(s->root);
    return ret;
}

/* 1: the chunk is left out, which the job does not forget; 0: it is tried again;
 * or -errno. */
static int stream_error(Co *co, StreamJob *s, int error)
{
    switch (job_error_action(co, &s->common, s->on_error, true, -error)) {
    case BLOCK_ERROR_ACTION_IGNORE:
        return 1;
    case BLOCK_ERROR_ACTION_STOP:
        return 0;
    default:
        return error;
    }
}

static int stream_loop(Co *co, StreamJob *s)
{
    Job *job = &s->common;
    int64_t off = 0;
    int ignored = 0;

    while (off < s->top->length) {
        int64_t n = 0;
        bool copied;
        int ret;

        job_pause_point(co, job);
        ratelimit_set_speed(&s->limit, job_speed(job));
        if (ratelimit_delay(&s->limit) && !job_is_cancelled(job)) {
            job_sleep_ns(co, job, ratelimit_delay(&s->limit));
            continue;
        }
        if (job_is_cancelled(job)) {
            return -ECANCELED;
        }
        ret = stream_chunk(co, s, off, &n, &copied);
        if (ret < 0) {
            int next = stream_error(co, s, ret);

            if (next < 0) {
                return next;
            }
            if (next == 0) {
                continue;
            }
            ignored = ignored ? ignored : ret;
            n = n ? n : MIN(STREAM_CHUNK, s->top->length - off);
        }
        ratelimit_account(&s->limit, copied ? n : 0);
        job_progress_add(job, n);
        off += n;
    }
    return ignored;
}

static int stream_run(Co *co, Job *job, Error **errp)
{
    StreamJob *s = container_of(job, StreamJob, common);

    co_move(co, s->root->loop);
    job_working_on(co, job);
    if (s->bottom == s->top || !s->top->backing) {
        return 0;
    }
    job_progress_set_remaining(job, s->top->length);
    return stream_loop(co, s);
}

static void stream_kick(Job *job)
{
    copy_job_kick_target(job, container_of(job, StreamJob, common)->top);
}

/* ---- the end ---- */

static void stream_let_go(Co *co, StreamJob *s)
{
    root_free(co, s->root);
    s->root = NULL;
    copy_job_drop_guards(co, &s->guards);
    if (s->frozen) {
        graph_unfreeze_chain(s->top, NULL);
        s->frozen = false;
    }
    if (s->filter) {
        graph_drop_filter(co, g_steal_pointer(&s->filter), s->top);
    }
}

static bool stream_write_header(Co *co, StreamJob *s, Node *base,
                                Error **errp)
{
    const char *file;

    if (!base) {
        return chain_set_backing(co, s->top, NULL, NULL, errp);
    }
    open_refresh_filename(base);
    file = s->backing_file ? s->backing_file : base->filename;
    return chain_set_backing(co, s->top, file,
                             chain_format_of(node_skip_filters(base),
                                             s->mask_protocol), errp);
}

static bool stream_change_chain(Co *co, StreamJob *s, Node *base,
                                Transaction *tran, Error **errp)
{
    if (!chain_settle(co, tran, s->top, s->top, errp) ||
        (s->carry && !bitmap_carry_stream(co, tran, s->top, base, errp))) {
        return false;
    }
    if (!base) {
        graph_detach(tran, s->top->backing);
    } else if (!graph_replace_child(co, tran, s->top->backing, base, errp)) {
        return false;
    }
    return graph_check_one(tran, s->top, errp) &&
           stream_write_header(co, s, base, errp) &&
           rename_image(co, tran, s->top, &s->new_name,
                        chain_format_of(s->top, s->mask_protocol), errp);
}

static int stream_prepare(Co *co, Job *job)
{
    StreamJob *s = container_of(job, StreamJob, common);
    Node *base = s->bottom && s->bottom->backing
                 ? s->bottom->backing->child : NULL;
    Transaction *tran;
    bool ok;

    stream_let_go(co, s);
    if (!s->top->backing || s->bottom == s->top) {
        return 0;
    }
    tran = tran_new();
    ok = stream_change_chain(co, s, base, tran, &job->err);
    tran_finalize(co, tran, ok);
    co_move(co, loop_main());
    return ok ? 0 : -EIO;
}

static void stream_clean(Co *co, Job *job)
{
    StreamJob *s = container_of(job, StreamJob, common);

    stream_let_go(co, s);
    if (s->read_only) {
        reopen_set_read_only(co, s->top, true, NULL);
    }
    g_free(s->backing_file);
    g_free(s->new_name.path);
}

static const JobDriver stream_driver = {
    .type = JOB_TYPE_STREAM,
    .size = sizeof(StreamJob),
    .is_block_job = true,
    .run = stream_run,
    .kick = stream_kick,
    .prepare = stream_prepare,
    .clean = stream_clean,
};

/* ---- making ---- */

static BlockdevOptions *filter_options(const char *name, const Node *top,
                                       const Node *bottom)
{
    BlockdevOptions *o = g_new0(BlockdevOptions, 1);
    BlockdevRef *file = g_new0(BlockdevRef, 1);

    file->type = QTYPE_QSTRING;
    file->u.reference = g_strdup(top->name);
    o->driver = BLOCKDEV_DRIVER_COPY_ON_READ;
    o->node_name = g_strdup(name);
    o->u.copy_on_read.file = file;
    o->u.copy_on_read.bottom = bottom ? g_strdup(bottom->name) : NULL;
    return o;
}

static Node *put_filter(Co *co, const char *name, Node *top, Node *bottom,
                        Error **errp)
{
    ERRP_GUARD();
    Node *filter = open_options(co, filter_options(name, top, bottom), errp);
    Transaction *tran;
    bool ok;

    if (!filter) {
        error_prepend(errp, "Could not create node: ");
        return NULL;
    }
    filter->implicit = !name;
    tran = tran_new();
    ok = graph_insert_filter(co, tran, filter, top, errp) &&
         graph_check_one(tran, filter, errp);
    tran_finalize(co, tran, ok);
    co_move(co, loop_main());
    if (!ok) {
        node_unref(co, filter);
        return NULL;
    }
    return filter;
}

/* Whether @n is still one of the layers that are to come up. */
static Node *stream_next(StreamJob *s, Node *n)
{
    Edge *e = n == s->bottom ? NULL : node_chain_child(n);

    return e ? e->child : NULL;
}

static bool stream_put_guards(Co *co, StreamJob *s, Error **errp)
{
    for (Node *n = stream_next(s, s->top); n; n = stream_next(s, n)) {
        Root *guard = copy_job_guard(co, &s->common, n, 0,
                                     PERM_CONSISTENT_READ |
                                     PERM_WRITE_UNCHANGED, errp);

        if (!copy_job_keep_guard(&s->guards, guard)) {
            return false;
        }
    }
    return true;
}

static bool stream_set_up(Co *co, StreamJob *s, const ChainJobOptions *opts,
                          Error **errp)
{
    if (opts->speed && !job_user_set_speed(&s->common, opts->speed, errp)) {
        return false;
    }
    if (s->carry &&
        !bitmap_carry_possible(co, s->top, NULL, s->top, errp)) {
        return false;
    }
    if (!s->bottom) {
        s->frozen = graph_freeze_chain(s->top, NULL, errp);
        if (!s->frozen) {
            return false;
        }
    }
    if (!stream_put_guards(co, s, errp)) {
        return false;
    }
    s->root = copy_job_guard(co, &s->common, s->filter, PERM_CONSISTENT_READ,
                             PERM_ALL & ~PERM_RESIZE, errp);
    return s->root;
}

static void stream_block_nodes(StreamJob *s)
{
    for (Node *n = s->top; n; n = stream_next(s, n)) {
        job_block_node(&s->common, n);
    }
}

/* Opened for writing if need be, with the filter on top. */
static Node *stream_begin(Co *co, const ChainJobOptions *opts, Node *top,
                          Node *bottom, bool *was_read_only, Error **errp)
{
    Node *filter;

    *was_read_only = top->read_only;
    if (*was_read_only && !reopen_set_read_only(co, top, false, errp)) {
        return NULL;
    }
    filter = put_filter(co, opts->filter_node_name, top, bottom, errp);
    if (!filter && *was_read_only) {
        reopen_set_read_only(co, top, true, NULL);
    }
    return filter;
}

Job *stream_job_create(Co *co, const ChainJobOptions *opts, Node *top,
                       Node *bottom, Error **errp)
{
    bool was_read_only;
    Node *filter = stream_begin(co, opts, top, bottom, &was_read_only, errp);
    StreamJob *s;
    StreamJob lost = { .filter = filter, .top = top,
                       .read_only = was_read_only };

    if (!filter) {
        return NULL;
    }
    s = job_create(opts->job_id, &stream_driver, NULL, opts->flags, errp);
    if (!s) {
        stream_clean(co, &lost.common);
        return NULL;
    }
    s->filter = filter;
    s->read_only = was_read_only;
    s->top = top;
    s->bottom = bottom;
    s->on_error = opts->on_error;
    s->backing_file = g_strdup(opts->backing_file);
    s->new_name = opts->new_name;
    s->new_name.path = g_strdup(opts->new_name.path);
    s->mask_protocol = opts->mask_protocol;
    s->carry = opts->carry_bitmaps;
    if (!stream_set_up(co, s, opts, errp)) {
        stream_clean(co, &s->common);
        job_early_fail(co, &s->common);
        return NULL;
    }
    stream_block_nodes(s);
    return &s->common;
}
