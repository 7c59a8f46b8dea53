/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The end of a mirror job, see mirror.c: one drained section in which the rest is
 * copied, bitmaps are settled, and the target takes the source's place if that is
 * wanted. What the job held is let go, however it ends.
 */

#include "mirror-internal.h"
#include "block/bitmap-carry.h"
#include "block/chain.h"
#include "block/graph.h"
#include "block/job-filter.h"
#include "block/open.h"
#include "block/reopen.h"
#include "block/root.h"
#include "mirror-bitmap.h"

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
    bool asked = bitmap_sync_copies(m->sync), flushed;

    copy_job_kick_target(&m->common, m->target);
    flushed = m->copied || io_flush(co, m->target) == 0;
    co_move(co, loop_main());
    /* A bitmap that was copied has all this time recorded what is lacking. */
    if (!m->copied && (flushed || !asked)) {
        mirror_bitmap_fail(co, &m->bitmap, m->copy,
                           !asked && !(m->begun && flushed));
    }
    mirror_top(m->filter)->copy = NULL;
    copy_state_free(m->copy);
    m->copy = NULL;
    mirror_top_unwatch(co, m->filter);
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

/* All that used @from uses the target from now on. */
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

int mirror_prepare(Co *co, Job *job)
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

void mirror_clean_up(Co *co, Job *job)
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
