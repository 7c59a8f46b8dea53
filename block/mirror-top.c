/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * mirror_top: the filter through which guests write while a mirror job runs.
 *
 *     background       write to the source, then mark the range for the job
 *     write-blocking   claim the range, write to the source, then to the target
 *
 * A range is marked when its write has ended, well or not: a copy that read the
 * old data meanwhile is done again. A claimed range is copied by nobody else,
 * so that the job never puts old data over new ones; if the target fails, the
 * range is marked, and the job meets the error when it tries again.
 *
 * Others may write to the source itself, beside the filter (an export of it that
 * was made later). They are noted as in the background; a write to both sides
 * that meets one of them leaves its range to the job.
 *
 * Where the target is over its backing file only in the end, no cluster of it is
 * written in part: the job's bits stand for whole ones, and a guest's small write
 * has all of a cluster copied that the target does not hold.
 *
 * The guest's flushes don't wait for the target: it counts only when the job
 * ends, and is flushed then.
 */

#include "mirror-top.h"
#include "block/graph.h"

static void top_grow(MirrorTop *t, int64_t bytes)
{
    if (t->hold) {
        t->held += bytes;
    } else {
        job_progress_grow(t->job, bytes);
    }
}

void mirror_top_unhold(MirrorTop *t)
{
    t->hold = false;
    top_grow(t, t->held);
    t->held = 0;
}

static void top_note(MirrorTop *t, int64_t off, int64_t len)
{
    if (!t->copy) {
        return;
    }
    top_grow(t, copy_mark(t->copy, off, len));
    if (t->idle) {
        co_sleep_wake(&t->job->sleep);
    }
}

/* One request, carried out on one edge. */
typedef struct TopWrite {
    enum { TOP_WRITE, TOP_ZERO, TOP_DISCARD } kind;
    int64_t off, len;
    const IoVec *iov;
    int64_t iov_off;
    ReqFlags flags;
} TopWrite;

static int top_do(Co *co, Edge *edge, const TopWrite *w)
{
    switch (w->kind) {
    case TOP_WRITE:
        return io_write(co, edge, w->off, w->len, w->iov, w->iov_off,
                        w->flags);
    case TOP_ZERO:
        return io_zero(co, edge, w->off, w->len, w->flags);
    default:
        return io_discard(co, edge, w->off, w->len);
    }
}

/* Whether the target has all of the range in its own layer. */
static bool target_holds(Co *co, MirrorTop *t, int64_t off, int64_t len)
{
    int64_t n;

    return status_allocated(co, t->target->child, off, len, &n) > 0 && n == len;
}

/* A part of a cluster that the target does not have yet would leave zeroes around
 * it, which hide the backing file that is to come. */
static bool top_needs_whole(Co *co, MirrorTop *t, const CopyActive *a)
{
    int64_t off = a->req.off;
    int64_t end = MIN(off + a->req.len, t->target->child->length);

    return t->whole && (off < a->off || end > a->off + a->len) &&
           !target_holds(co, t, off, end - off);
}

/* A discard need not leave the same on both sides; zeroes do, where the source
 * reads as such. The job finds out. */
static int top_follow(Co *co, MirrorTop *t, TopWrite w, CopyActive *a)
{
    if (w.kind == TOP_DISCARD) {
        return -ENOTSUP;
    }
    if (top_needs_whole(co, t, a)) {
        return copy_active_copy(co, t->copy, a);
    }
    w.flags &= ~REQ_FUA;
    return top_do(co, t->target, &w);
}

static int top_write_both(Co *co, Node *node, const TopWrite *w)
{
    MirrorTop *t = mirror_top(node);
    CopyActive a;
    int ret, followed = -EIO;
    int64_t spared;

    copy_active_begin(co, t->copy, &a, w->off, w->len);
    ret = top_do(co, node->file, w);
    if (ret == 0) {
        followed = top_follow(co, t, *w, &a);
    }
    spared = copy_active_end(t->copy, &a, followed == 0);
    if (t->hold) {
        top_grow(t, -spared);   /* nothing older is in todo now */
    } else {
        job_progress_add(t->job, spared);
    }
    if (followed < 0) {
        t->failures += ret == 0 && w->kind != TOP_DISCARD;
        top_note(t, w->off, w->len);
    }
    return ret;
}

static int top_pass(Co *co, Node *node, const TopWrite *w)
{
    MirrorTop *t = mirror_top(node);
    int ret;

    if (t->active && t->copy) {
        return top_write_both(co, node, w);
    }
    ret = top_do(co, node->file, w);
    top_note(t, w->off, w->len);
    return ret;
}

static int mirror_top_write(Co *co, Node *node, int64_t off, int64_t len,
                            const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    TopWrite w = { TOP_WRITE, off, len, iov, iov_off, flags };

    return top_pass(co, node, &w);
}

static int mirror_top_zero(Co *co, Node *node, int64_t off, int64_t len,
                           ReqFlags flags)
{
    TopWrite w = { .kind = TOP_ZERO, .off = off, .len = len, .flags = flags };

    return top_pass(co, node, &w);
}

static int mirror_top_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    TopWrite w = { .kind = TOP_DISCARD, .off = off, .len = len };

    return top_pass(co, node, &w);
}

/* ---- who writes beside the filter ---- */

typedef struct TopWatch {
    NodeWatch common;
    Node *node, *filter;
} TopWatch;

static void top_wrote(NodeWatch *watch, int64_t off, int64_t len)
{
    MirrorTop *t = mirror_top(container_of(watch, TopWatch, common)->filter);

    if (t->copy) {
        job_set_synced(t->job, false);
        top_note(t, off, len);
    }
}

void mirror_top_watch(Node *filter)
{
    GArray *all = g_array_new(false, false, sizeof(TopWatch));

    for (Edge *e = filter->file; e; e = node_filter_child(e->child)) {
        TopWatch watch = {
            .common = { .through = e, .wrote = top_wrote },
            .node = e->child, .filter = filter,
        };

        g_array_append_val(all, watch);
    }
    /* Now that they stay where they are. */
    for (guint i = 0; i < all->len; i++) {
        TopWatch *watch = &g_array_index(all, TopWatch, i);
        Node *node = node_ref(watch->node);

        watch->common.next = node->watches;
        node->watches = &watch->common;
    }
    mirror_top(filter)->watches = all;
}

static void watch_remove(TopWatch *watch)
{
    NodeWatch **link = &watch->node->watches;

    while (*link != &watch->common) {
        link = &(*link)->next;
    }
    *link = watch->common.next;
}

/* Nobody is told any more; the nodes are kept until watches_free(). */
static GArray *watches_end(Node *filter)
{
    GArray *all = g_steal_pointer(&mirror_top(filter)->watches);

    for (guint i = 0; all && i < all->len; i++) {
        watch_remove(&g_array_index(all, TopWatch, i));
    }
    return all;
}

static void watches_free(Co *co, GArray *all)
{
    for (guint i = 0; all && i < all->len; i++) {
        node_unref(co, g_array_index(all, TopWatch, i).node);
    }
    if (all) {
        g_array_free(all, true);
    }
}

void mirror_top_unwatch(Co *co, Node *filter)
{
    watches_free(co, watches_end(filter));
}

/* ---- ... also where another node has come below ---- */

typedef struct TopRewatch {
    Node *filter;
    GArray *old;
} TopRewatch;

static void rewatch_commit(Co *co, void *opaque)
{
    TopRewatch *r = opaque;
    Loop *home = co_loop(co);

    co_move(co, r->filter->loop);
    r->old = watches_end(r->filter);
    mirror_top_watch(r->filter);
    co_move(co, home);
}

static void rewatch_release(Co *co, void *opaque)
{
    g_autofree TopRewatch *r = opaque;

    watches_free(co, r->old);
}

static const TransactionOps rewatch_ops = {
    .commit = rewatch_commit,
    .release = rewatch_release,
};

static bool watches_are_right(const Node *filter)
{
    const GArray *all = mirror_top(filter)->watches;
    guint i = 0;

    for (Edge *e = filter->file; e; e = node_filter_child(e->child), i++) {
        if (i == all->len || g_array_index(all, TopWatch, i).node != e->child) {
            return false;
        }
    }
    return i == all->len;
}

static bool mirror_top_perm_stage(Node *node, uint64_t perm, uint64_t shared,
                                  Transaction *tran, Error **errp)
{
    if (mirror_top(node)->watches && !watches_are_right(node)) {
        TopRewatch *r = g_new0(TopRewatch, 1);

        r->filter = node;
        tran_add(tran, &rewatch_ops, r);
    }
    return true;
}

/* Whoever writes must come through here or be noted beside. Below a commit the
 * base changes, and with it what the layers between show by themselves. */
static void mirror_top_child_perms(Node *node, const Edge *e, uint64_t perm,
                                   uint64_t shared, uint64_t *need,
                                   uint64_t *share)
{
    MirrorTop *t = mirror_top(node);

    if (node->parents->len == 0) {
        /* About to go. */
        *need = 0;
        *share = PERM_ALL;
        return;
    }
    if (e->role == ROLE_TARGET) {
        *need = PERM_WRITE;
        *share = PERM_WRITE_UNCHANGED;
        if (t->commit) {
            *share |= PERM_CONSISTENT_READ | PERM_WRITE;
        }
        return;
    }
    *need = perm & ~(uint64_t)PERM_RESIZE;
    *share = PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED | PERM_WRITE;
    if (t->commit) {
        *need &= ~(uint64_t)PERM_CONSISTENT_READ;
    }
}

/* The target's are no matter of the guest's. */
static void mirror_top_limits(Node *node)
{
    node->limits = node->file->child->limits;
}

const BlockDriver mirror_top_driver = {
    .name = "mirror_top",
    .kind = DRIVER_FILTER,
    .state_size = sizeof(MirrorTop),
    .job_filter = true,
    .lazy_target = true,
    .write = mirror_top_write,
    .zero = mirror_top_zero,
    .discard = mirror_top_discard,
    .limits = mirror_top_limits,
    .child_perms = mirror_top_child_perms,
    .perm_stage = mirror_top_perm_stage,
    .supports_fua = true,
    .writes_zero_fua = true,
};
