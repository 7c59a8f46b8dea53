/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Bringing metadata to the disk, in order:
 *
 *     refcount blocks, flush, refcount table, flush (with it: guest data)
 *       L2 tables, flush
 *         L1 table, flush
 *           what was freed is given back
 *
 * Each step is left out where nothing is dirty; a flush with only guest data
 * does nothing here. Of L1 and of what was freed the state at the beginning is
 * taken: what is changed meanwhile waits for the next time.
 */
#include "block/qcow2.h"

/* With flush_lock. What was freed before the call is durable after it. */
static int flush_in_order(Co *co, Node *node, bool durable)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2DirtyCopy *l1;
    int r = qcow2_dirty_take(s->l1, s->hdr.l1_size, s->l1_dirty, &l1);

    if (r >= 0) {
        r = qcow2_cache_write(co, s->l2_cache);
    }
    if (r >= 0 && l1) {
        r = io_flush(co, node->file->child);
    }
    if (r < 0) {
        qcow2_dirty_undo(l1, s->l1_dirty);
        return r;
    }
    if (l1) {
        qcow2_event(co, node, BLKDBG_L1_UPDATE);
    }
    r = qcow2_dirty_write(co, node, QCOW2_OL_ACTIVE_L1, s->hdr.l1_offset, l1,
                          s->l1_dirty);
    if (r >= 0 && !s->lazy_refcounts) {
        r = qcow2_refcount_write(co, node);
    }
    return r < 0 || !durable ? r : io_flush(co, node->file->child);
}

int qcow2_flush_tables(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    if (s->corrupt) {
        return -ENOMEDIUM;
    }
    co_mutex_lock(co, &s->flush_lock);
    r = flush_in_order(co, node, true);
    co_mutex_unlock(&s->flush_lock);
    return r;
}

int qcow2_flush_metadata(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    GArray *freed;
    int r;

    if (s->corrupt) {
        return -ENOMEDIUM;
    }
    co_mutex_lock(co, &s->flush_lock);
    freed = qcow2_free_take(node);
    r = flush_in_order(co, node, freed != NULL);
    if (r < 0) {
        qcow2_free_undurable(node, freed);
    } else {
        qcow2_free_durable(node, freed);
    }
    co_mutex_unlock(&s->flush_lock);
    if (r >= 0) {
        qcow2_free_release(co, node);
    }
    return r;
}

int qcow2_empty_caches(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int r = qcow2_flush_tables(co, node);

    if (r >= 0) {
        r = qcow2_refcount_write(co, node);
    }
    if (r < 0) {
        return r;
    }
    qcow2_cache_drop_all(co, s->l2_cache);
    qcow2_cache_drop_all(co, s->refblock_cache);
    qcow2_unpacked_drop(s);
    return 0;
}

/* ---- forgetting what is not used ---- */

/* Less is left to the allocator, which is about to need it again. */
#define CLEAN_WORTH (256 * KiB)

static void clean_timer(void *opaque)
{
    Qcow2State *s = opaque;

    if (qcow2_cache_clean_unused(s->l2_cache) +
        qcow2_cache_clean_unused(s->refblock_cache) >= CLEAN_WORTH) {
        memory_give_back();
    }
    s->cache_clean_armed = false;
    if (!qcow2_cache_is_empty(s->l2_cache) ||
        !qcow2_cache_is_empty(s->refblock_cache)) {
        qcow2_cache_clean_arm(s);
    }
}

void qcow2_cache_clean_arm(Qcow2State *s)
{
    if (s->cache_clean_armed || !s->cache_clean_interval) {
        return;
    }
    if (!s->cache_clean_timer) {
        s->cache_clean_timer = loop_timer_new(s->node->loop, clean_timer, s);
    }
    loop_timer_set(s->cache_clean_timer,
                   clock_ns() + s->cache_clean_interval * 1000000000);
    s->cache_clean_armed = true;
}

void qcow2_cache_clean_stop(Qcow2State *s)
{
    g_clear_pointer(&s->cache_clean_timer, loop_timer_free);
    s->cache_clean_armed = false;
}
