/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Writing what waits in memory (copy-buffer.c) to the target, in the background.
 *
 * There is no haste: while guests are at work, entries stay until they take half
 * of the limit, and only what is more is written, at the pace that leaves guests
 * alone; beyond three quarters at any pace. A timer tells that the guests have
 * stopped: all is written then. What is whole goes first, joined with its
 * neighbours, as it frees more; of a part the rest has to be read.
 *
 * Drainers are counted by the owner's root from first to last. They end when its
 * door closes, and the owner starts them anew when it opens: so a drain waits
 * for no more than a batch, and they never stand at the door, where who drains
 * and closes the buffer would wait for them.
 */

#include "copy-entry.h"

#define DRAIN_JOIN MiB
#define DRAIN_JOIN_MAX 64
#define DRAIN_RETRY_NS (INT64_C(1000) * 1000 * 1000)
#define DRAIN_TICK_NS (10 * 1000 * 1000)

static bool entry_joins(const CopyEntry *e, const CopyEntry *next, int64_t len)
{
    return next && next->link && !e->data == !next->data &&
           !copy_entry_is_part(next) && len + next->len <= DRAIN_JOIN;
}

/* Takes the oldest entry out of the queue, and its neighbours; the first of
 * the batch in the order of the disk. */
static CopyEntry *batch_take(CopyState *s, int64_t *len)
{
    CopyBuffer *b = s->buffer;
    CopyEntry *first = g_queue_peek_head(&b->whole), *e, *other;
    int n = 1;

    if (!first) {
        return NULL;
    }
    *len = first->len;
    while (n < DRAIN_JOIN_MAX && first->off > 0 &&
           entry_joins(first,
                       other = copy_entry_at(s, (first->off >> s->shift) - 1),
                       *len)) {
        first = other;
        *len += other->len;
        n++;
    }
    *len = 0;
    for (e = first, n = 1;; e = e->next, n++) {
        *len += e->len;
        copy_entry_dequeue(b, e);
        other = copy_entry_at(s, (e->off + e->len) >> s->shift);
        if (n == DRAIN_JOIN_MAX || !entry_joins(e, other, *len)) {
            e->next = NULL;
            return first;
        }
        e->next = other;
    }
}

static int batch_write(Co *co, CopyState *s, const CopyEntry *batch,
                       int64_t len)
{
    IoVec v;
    int ret;

    if (!batch->data) {
        return io_zero(co, s->target, batch->off, len, copy_zero_flags(s));
    }
    iov_init(&v, 8);
    for (const CopyEntry *e = batch; e; e = e->next) {
        iov_add(&v, e->data, e->len);
    }
    ret = io_write(co, s->target, batch->off, len, &v, 0,
                   copy_data_flags(s));
    iov_destroy(&v);
    return ret;
}

/* Whether somebody else may have written what is not in the parts yet. */
static bool parts_wait(const CopyBuffer *b)
{
    return !b->flushing && b->owner->parents->len == 0;
}

/* The oldest part, read to its end; NULL if there is none to take, or no room. */
static CopyEntry *part_take(Co *co, CopyState *s, int *ret)
{
    CopyBuffer *b = s->buffer;
    CopyEntry *e = g_queue_peek_head(&b->parts);
    RangeReq req;

    if (!e || parts_wait(b) || b->used + e->len > b->limit) {
        return NULL;
    }
    copy_entry_dequeue(b, e);
    reqlist_add(&s->requests, &req, e->off, e->len);
    *ret = copy_entry_complete(co, s, e);
    reqlist_remove(&s->requests, &req);
    e->next = NULL;
    return e;
}

static void batch_end(CopyState *s, CopyEntry *batch, int ret, bool is_read)
{
    CopyBuffer *b = s->buffer;

    while (batch) {
        CopyEntry *e = batch;

        batch = e->next;
        if (ret < 0) {
            copy_entry_enqueue(b, e);
        } else {
            copy_entry_written(s, e);
        }
    }
    /* That another batch got through meanwhile doesn't end an error. */
    if (ret < 0) {
        b->error = ret;
        b->error_is_read = is_read;
        b->retry_ns = clock_ns() + DRAIN_RETRY_NS;
    }
    co_queue_wake_all(&b->changed);
}

static bool drain_urgent(const CopyState *s)
{
    const CopyBuffer *b = s->buffer;

    return b->flushing || b->used > b->limit / 4 * 3 ||
           !copy_pace_guest_active(s);
}

static bool drain_due(const CopyState *s)
{
    return s->buffer->used > s->buffer->limit / 2 || drain_urgent(s);
}

/* Writes one batch, if there is something to write. What is whole goes first: it
 * frees more. False if there is nothing to do (any more). */
static bool drain_batch(Co *co, CopyState *s)
{
    int64_t len;
    int ret = 0;
    CopyEntry *batch = batch_take(s, &len);
    bool is_read;

    if (!batch && (batch = part_take(co, s, &ret))) {
        len = batch->len;
    }
    if (!batch) {
        return false;
    }
    is_read = ret < 0;
    if (ret == 0) {
        ret = s->buffer->closed ? -ECANCELED : batch_write(co, s, batch, len);
    }
    batch_end(s, batch, ret, is_read);
    return true;
}

static bool drain_step(Co *co, CopyState *s)
{
    CopyBuffer *b = s->buffer;
    bool urgent = drain_urgent(s);
    int64_t len = copy_cluster_size(s);
    bool more;

    if (!urgent) {
        copy_pace_enter(co, s, len);
    }
    more = !b->closed && !b->error && drain_due(s) && drain_batch(co, s);
    if (!urgent) {
        copy_pace_leave(s, len);
    }
    return more;
}

static void tick_fired(void *opaque)
{
    CopyState *s = opaque;

    s->buffer->ticking = false;
    copy_drain_start(s);
}

/* Who drains does so until there is nothing left, or it isn't due any more. */
static void tick_arm(CopyState *s)
{
    CopyBuffer *b = s->buffer;

    if (!b->entries || b->drainers || b->error || b->ticking || b->closed ||
        b->root->quiesced || (!b->whole.length && parts_wait(b))) {
        return;
    }
    if (!b->tick) {
        b->tick = loop_timer_new(b->root->loop, tick_fired, s);
    }
    b->ticking = true;
    loop_timer_set(b->tick, MAX(copy_pace_idle_ns(s), clock_ns() +
                                                      DRAIN_TICK_NS));
}

/* The timer belongs to the loop, which may be another afterwards. */
void copy_drain_drop_tick(CopyBuffer *b)
{
    loop_timer_free(b->tick);
    b->tick = NULL;
    b->ticking = false;
}

static void drain_run(Co *co, void *opaque)
{
    CopyState *s = opaque;
    CopyBuffer *b = s->buffer;
    bool more;

    co_set_background(co, true);
    do {
        more = !b->root->quiesced && drain_step(co, s);
    } while (more);
    b->drainers--;
    tick_arm(s);
    co_queue_wake_all(&b->changed);
    root_end(b->root);
}

/* As many drainers as there is to do. */
void copy_drain_start(CopyState *s)
{
    CopyBuffer *b = s->buffer;
    int wanted = drain_urgent(s) ? COPY_DRAINERS : 1;

    if (b->closed) {
        return;
    }
    if (b->error && clock_ns() >= b->retry_ns) {
        b->error = 0;
    }
    if (!drain_due(s)) {
        tick_arm(s);
        return;
    }
    wanted = MIN(wanted, (int)(b->whole.length + b->parts.length));
    while (!b->error && !b->root->quiesced && b->drainers < wanted) {
        b->drainers++;
        root_hold(b->root);
        co_spawn(b->root->loop, drain_run, s);
    }
}

void copy_buffer_quiesce(CopyState *s)
{
    if (s->buffer) {
        copy_drain_drop_tick(s->buffer);
    }
}

void copy_buffer_resume(CopyState *s)
{
    if (s->buffer && !s->buffer->closed) {
        copy_drain_start(s);
    }
}

int copy_buffer_flush(Co *co, CopyState *s, const bool *cancelled,
                      bool *is_read)
{
    CopyBuffer *b = s->buffer;
    int ret;

    if (!b) {
        return 0;
    }
    b->error = 0;
    b->flushing++;
    copy_drain_start(s);
    while (b->entries && !b->error && !*cancelled) {
        co_queue_wait(co, &b->changed);
    }
    b->flushing--;
    ret = b->entries ? b->error : 0;
    *is_read = ret < 0 && b->error_is_read;
    return ret;
}

/* By the caller himself, as drainers stand still while the door is closed. */
int copy_buffer_write_out(Co *co, CopyState *s)
{
    CopyBuffer *b = s->buffer;
    Loop *home = co_loop(co);
    int ret;

    if (!b || b->closed) {
        return 0;
    }
    co_move(co, b->root->loop);
    b->error = 0;
    b->flushing++;
    for (;;) {
        if (!b->error && drain_batch(co, s)) {
            continue;
        }
        if (!b->drainers) {
            break;
        }
        co_queue_wait(co, &b->changed);
    }
    b->flushing--;
    g_assert(b->error || !b->entries);
    ret = b->error;
    co_move(co, home);
    return ret;
}

void copy_buffer_wake(CopyState *s)
{
    if (s->buffer) {
        co_queue_wake_all(&s->buffer->changed);
    }
}
