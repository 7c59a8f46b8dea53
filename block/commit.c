/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The commit job for layers below the active one.
 *
 *     main .. overlay --> commit_top --> top --> .. --> base
 *
 * What the layers from top down to above base hold is copied into base. While
 * that goes on the layers between show no consistent picture by themselves, for
 * the base changes below them; the overlay reads through them and does, for
 * what changes in base is covered above. Hence the filter, which needs nothing
 * of what is below it, and guards, which keep everybody else from reading there.
 *
 * Past the end of a top that is shorter than the overlay and the base, the base
 * becomes zeroes.
 *
 * In the end, in one transaction, the overlay's edge goes to base, its header
 * names base, and the bitmaps are carried. Before that everything in base is on
 * disk, so that a crash at any moment leaves a chain that shows the same.
 */

#include "block/commit.h"
#include "block/bitmap-carry.h"
#include "block/chain.h"
#include "block/copy-job.h"
#include "block/graph.h"
#include "block/job-filter.h"
#include "block/open.h"
#include "block/reopen.h"
#include "block/root.h"
#include "util/bytes.h"

#define COMMIT_ZERO_CHUNK (64 * MiB)

typedef struct CommitJob {
    Job common;
    BlockdevOnError on_error;
    char *backing_file;
    ImageNewName new_name;
    bool mask_protocol;
    bool carry;
    Node *main, *top, *base;        /* kept by job_block_node */
    Node *filter;                   /* NULL: not there (any more) */
    Root *source, *target;
    GPtrArray *guards;              /* of Root */
    CopyState *copy;
    int64_t tail;                   /* from the top's end on: base has no say */
    bool frozen;                    /* the chain from main down to base */
    bool base_read_only;            /* as it was, to be again */
    CopyRun run;
} CommitJob;

/* ---- the filter ---- */

/* What its parents need, it has without asking: see above. */
static void commit_top_child_perms(Node *node, const Edge *e, uint64_t perm,
                                   uint64_t shared, uint64_t *need,
                                   uint64_t *share)
{
    *need = 0;
    *share = PERM_ALL;
}

static const BlockDriver commit_top_driver = {
    .name = "commit_top",
    .kind = DRIVER_FILTER,
    .job_filter = true,
    .child_perms = commit_top_child_perms,
};

/* ---- running ---- */

static void commit_kick(Job *job)
{
    CommitJob *c = container_of(job, CommitJob, common);

    copy_run_kick(&c->run);
    copy_job_kick_target(job, c->base);
}

/* What the overlay shows past the top's end, zeroes, is to stay that. */
static int commit_clear_tail(Co *co, CommitJob *c)
{
    int64_t len = MIN(c->tail, COMMIT_ZERO_CHUNK);
    int ret;

    root_begin(co, c->target);
    ret = io_zero(co, c->target->edge, c->base->length - c->tail, len,
                  REQ_MAY_UNMAP);
    root_end(c->target);
    if (ret == 0) {
        c->tail -= len;
        job_progress_add(&c->common, len);
    }
    return ret;
}

static int commit_step(Co *co, CommitJob *c, bool *is_read)
{
    int ret = copy_run_stretch(co, &c->run, &c->common, is_read);

    if (ret == 0 && c->tail) {
        *is_read = false;
        ret = commit_clear_tail(co, c);
    }
    return ret < 0 ? ret : c->tail != 0;
}

static int commit_run(Co *co, Job *job, Error **errp)
{
    CommitJob *c = container_of(job, CommitJob, common);
    int ret = -ECANCELED;

    co_move(co, c->source->loop);
    job_working_on(co, job);
    if (c->base->length < c->top->length &&
        !root_resize(co, c->target, c->top->length, false, PREALLOC_MODE_OFF,
                     0, errp)) {
        return -EIO;
    }
    while (ret != 0) {
        bool is_read = false;

        job_pause_point(co, job);
        if (job_is_cancelled(job)) {
            return -ECANCELED;
        }
        ret = commit_step(co, c, &is_read);
        if (ret < 0) {
            int error = copy_run_error(co, job, c->on_error, is_read, ret);

            if (error < 0) {
                return error;
            }
        }
    }
    return 0;
}

/* ---- the end ---- */

static void let_go(Co *co, CommitJob *c)
{
    if (c->copy) {
        co_move(co, c->filter->loop);
        copy_state_free(c->copy);
        c->copy = NULL;
        co_move(co, loop_main());
    }
    root_free(co, c->source);
    root_free(co, c->target);
    c->source = c->target = NULL;
    copy_job_drop_guards(co, &c->guards);
    if (c->frozen) {
        graph_unfreeze_chain(c->main, c->base);
        c->frozen = false;
    }
}

static bool write_headers(Co *co, CommitJob *c, const GPtrArray *overlays,
                          Error **errp)
{
    const char *fmt = chain_format_of(c->base, c->mask_protocol);
    g_autofree char *file = NULL;

    open_refresh_filename(c->base);
    file = g_strdup(c->backing_file ? c->backing_file : c->base->filename);
    for (guint i = 0; i < overlays->len; i++) {
        if (!chain_set_backing(co, g_ptr_array_index(overlays, i), file, fmt,
                               errp)) {
            return false;
        }
    }
    return true;
}

/* The base keeps its name, or gets the one that was asked for. */
static bool update_names(Co *co, CommitJob *c, Transaction *tran,
                         const GPtrArray *overlays, Error **errp)
{
    if (c->new_name.path) {
        return rename_image(co, tran, c->base, &c->new_name,
                            chain_format_of(c->base, c->mask_protocol), errp);
    }
    return write_headers(co, c, overlays, errp);
}

static bool drop_layers(Co *co, CommitJob *c, Transaction *tran,
                        const GPtrArray *overlays, Error **errp)
{
    return chain_settle(co, tran, c->filter, c->base, errp) &&
           (!c->carry ||
            bitmap_carry_commit(co, tran, c->top, c->base, errp)) &&
           graph_replace_node(co, tran, c->filter, c->base, errp) &&
           graph_check_one(tran, c->base, errp) &&
           update_names(co, c, tran, overlays, errp);
}

static int commit_prepare(Co *co, Job *job)
{
    CommitJob *c = container_of(job, CommitJob, common);
    g_autoptr(GPtrArray) overlays = chain_overlays(c->filter);
    Transaction *tran = tran_new();
    bool ok;

    let_go(co, c);
    ok = drop_layers(co, c, tran, overlays, &job->err);
    tran_finalize(co, tran, ok);
    co_move(co, loop_main());
    if (!ok) {
        return -EIO;
    }
    node_unref(co, c->filter);
    c->filter = NULL;
    return 0;
}

static void commit_clean(Co *co, Job *job)
{
    CommitJob *c = container_of(job, CommitJob, common);

    let_go(co, c);
    if (c->filter) {
        job_filter_drop(co, c->filter);
        c->filter = NULL;
    }
    if (c->base_read_only) {
        reopen_set_read_only(co, c->base, true, NULL);
    }
    g_free(c->backing_file);
    g_free(c->new_name.path);
}

static const JobDriver commit_driver = {
    .type = JOB_TYPE_COMMIT,
    .size = sizeof(CommitJob),
    .is_block_job = true,
    .run = commit_run,
    .prepare = commit_prepare,
    .clean = commit_clean,
    .kick = commit_kick,
};

/* ---- making ---- */

static bool open_base(Co *co, CommitJob *c, Error **errp)
{
    if (!c->base->read_only) {
        return true;
    }
    if (!reopen_set_read_only(co, c->base, false, errp)) {
        return false;
    }
    c->base_read_only = true;
    return true;
}

static bool put_guard(Co *co, CommitJob *c, Node *node, uint64_t share,
                      Error **errp)
{
    return copy_job_keep_guard(&c->guards, copy_job_guard(
        co, &c->common, node, 0, share, errp));
}

/* Those in between: whoever reads them must come through the filter. */
static bool put_guards(Co *co, CommitJob *c, Error **errp)
{
    for (Node *n = c->top; n != c->base; n = node_chain_child(n)->child) {
        if (!put_guard(co, c, n, PERM_WRITE | PERM_WRITE_UNCHANGED, errp)) {
            return false;
        }
    }
    return put_guard(co, c, c->main, PERM_ALL, errp);
}

static bool put_roots(Co *co, CommitJob *c, Error **errp)
{
    uint64_t need = PERM_CONSISTENT_READ | PERM_WRITE;

    if (c->base->length < c->top->length) {
        need |= PERM_RESIZE;
    }
    c->target = copy_job_root(co, c->base, need,
                              PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED,
                              errp);
    if (!c->target) {
        return false;
    }
    c->source = copy_job_root(co, c->top, 0, PERM_ALL, errp);
    return c->source;
}

/* Where the base ends behind the top, and an overlay goes on there. */
static int64_t hidden_tail(CommitJob *c)
{
    g_autoptr(GPtrArray) overlays = chain_overlays(c->filter);

    for (guint i = 0; i < overlays->len; i++) {
        const Node *n = g_ptr_array_index(overlays, i);

        if (n->length > c->top->length) {
            return MAX(c->base->length - c->top->length, 0);
        }
    }
    return 0;
}

static bool make_copy(Co *co, CommitJob *c, Error **errp)
{
    CopyOptions opts = { .skip_unallocated = true, .base = c->base };

    co_move(co, c->source->loop);
    c->copy = copy_state_new(co, c->source->edge, c->target->edge, &opts,
                             errp);
    if (c->copy) {
        copy_run_init(&c->run, c->copy, c->source, c->top->length,
                      &c->common);
    }
    co_move(co, loop_main());
    return c->copy;
}

static bool commit_set_up(Co *co, CommitJob *c, const ChainJobOptions *opts,
                          Error **errp)
{
    if (opts->speed && !job_user_set_speed(&c->common, opts->speed, errp)) {
        return false;
    }
    if (c->carry &&
        !bitmap_carry_possible(co, c->top, c->base, c->base, errp)) {
        return false;
    }
    if (!open_base(co, c, errp)) {
        return false;
    }
    c->filter = job_filter_insert(co, &commit_top_driver,
                                  opts->filter_node_name, c->top, NULL, NULL,
                                  NULL, errp);
    if (!c->filter) {
        return false;
    }
    c->tail = hidden_tail(c);
    c->frozen = graph_freeze_chain(c->main, c->base, errp);
    return c->frozen && put_guards(co, c, errp) && put_roots(co, c, errp) &&
           make_copy(co, c, errp);
}

Job *commit_job_create(Co *co, const ChainJobOptions *opts, Node *main,
                       Node *top, Node *base, Error **errp)
{
    CommitJob *c = job_create(opts->job_id, &commit_driver, NULL, opts->flags,
                              errp);

    control_assert();
    if (!c) {
        return NULL;
    }
    c->main = main;
    c->top = top;
    c->base = base;
    c->on_error = opts->on_error;
    c->backing_file = g_strdup(opts->backing_file);
    c->new_name = opts->new_name;
    c->new_name.path = g_strdup(opts->new_name.path);
    c->mask_protocol = opts->mask_protocol;
    c->carry = opts->carry_bitmaps;
    if (!commit_set_up(co, c, opts, errp)) {
        commit_clean(co, &c->common);
        job_early_fail(co, &c->common);
        return NULL;
    }
    job_block_node(&c->common, main);
    for (Node *n = top; n != base; n = node_chain_child(n)->child) {
        job_block_node(&c->common, n);
    }
    job_block_node(&c->common, base);
    job_progress_set_remaining(&c->common, top->length + c->tail);
    return &c->common;
}
