/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The one entry of every verb: from a parent over an edge to the child.
 *
 *     enter   assert loop, range and permission; refuse what can't be
 *     track   stand in the node's list; wait for serialising requests
 *     ...     align, split, driver, emulate (io-steps.h)
 *     leave   generation, bitmaps, length; wake who waits
 *
 * Write generations: node->write_gen counts writes that have completed,
 * flushed_gen is its value when the last successful flush began. A protocol
 * with both equal has nothing to make durable. Failed writes count, too: part
 * of them may have arrived. Flushes of a node run one at a time; who waits
 * while one that began after him succeeds goes home with it.
 *
 * Nothing here allocates; a request that is aligned runs through a handful of
 * predictable branches.
 */

#include "block/dirty-bitmap.h"
#include "block/io-steps.h"
#include "qapi/qapi-events.h"

static void io_enter(const Node *node, int64_t off, int64_t len)
{
    loop_assert(node->loop);
    g_assert(off >= 0 && len >= 0 && off <= BLOCK_MAX_LENGTH - len);
}

void io_check_threshold(Node *node, int64_t end)
{
    int64_t threshold = node->write_threshold;

    if (G_UNLIKELY(threshold) && end > threshold) {
        node->write_threshold = 0;
        qapi_event_send_block_write_threshold(node->name, end - threshold,
                                              threshold);
    }
}

/* 0, or why the node can't be written to. */
static int io_enter_write(const Edge *edge, int64_t off, int64_t len,
                          ReqFlags flags)
{
    const Node *node = edge->child;
    uint64_t perm = PERM_WRITE;

    if (flags & REQ_WRITE_UNCHANGED) {
        perm |= PERM_WRITE_UNCHANGED;
    }
    io_enter(node, off, len);
    if (G_UNLIKELY(node->read_only || node->inactive)) {
        return -EPERM;
    }
    g_assert(edge->need & perm);
    return 0;
}

/* An image that has its length in its header gets as long as what is written to
 * it; others are as long by being written. */
static bool io_has_own_length(const Node *node)
{
    return node->drv->kind == DRIVER_FORMAT && node->drv->resize &&
           !node->drv->refresh_length;
}

/* Stands in the list, with room up to the request's end. While it waited, here or
 * in a filter above, the node may have become shorter: who may not resize it writes
 * nothing behind the new end, or the node would be longer again. */
static int io_track_write(Co *co, TrackedReq *req, const Edge *edge,
                          int64_t off, int64_t len, bool serialising)
{
    Node *node = edge->child;
    bool may_grow = edge->need & PERM_RESIZE;
    int ret;

    io_track_begin(co, req, node, off, len, serialising);
    while (G_UNLIKELY(off + len > node->length)) {
        if (may_grow && !io_has_own_length(node)) {
            return 0;
        }
        io_track_end(req);
        ret = may_grow ? io_grow(co, node, off + len) : -ENOSPC;
        if (ret < 0) {
            return ret;
        }
        io_track_begin(co, req, node, off, len, serialising);
    }
    return 0;
}

void io_leave_write(Co *co, TrackedReq *req, int64_t off, int64_t len,
                    int64_t grown)
{
    Node *node = req->node;
    int64_t old_len = node->length;

    node->write_gen++;
    if (off + len > node->wr_highest_offset) {
        node->wr_highest_offset = off + len;
    }
    if (G_UNLIKELY(grown > old_len)) {
        node->length = grown;
        io_length_changed(co, node, old_len);
    }
    if (node->bitmaps) {
        bitmap_note_write(node, off, len);
    }
    io_track_end(req);
}

int io_read(Co *co, Edge *edge, int64_t off, int64_t len, const IoVec *iov,
            int64_t iov_off, ReqFlags flags)
{
    Node *node = edge->child;
    TrackedReq req;
    int ret;

    io_enter(node, off, len);
    if (len == 0) {
        return 0;
    }
    io_track_begin(co, &req, node, off, len, flags & REQ_SERIALISING);
    if (G_LIKELY(io_range_is_aligned(node, off, len) &&
                 ((flags & REQ_PREFETCH) ||
                  io_align_memory_ok(node, iov, iov_off, len)))) {
        ret = io_split_read(co, node, off, len, iov, iov_off, flags);
    } else {
        ret = io_align_read(co, node, off, len, iov, iov_off, flags);
    }
    io_track_end(&req);
    return ret;
}

int io_write(Co *co, Edge *edge, int64_t off, int64_t len, const IoVec *iov,
             int64_t iov_off, ReqFlags flags)
{
    Node *node = edge->child;
    bool aligned = io_range_is_aligned(node, off, len);
    int64_t end = io_round_up(node, off + len);
    bool flush;
    TrackedReq req;
    int ret = io_enter_write(edge, off, len, flags);

    if (ret < 0 || len == 0) {
        return ret;
    }
    if (node->detect_zeroes != BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF &&
        io_emulate_detect_zeroes(node, iov, iov_off, len, &flags)) {
        return io_zero(co, edge, off, len, flags);
    }
    io_check_threshold(node, off + len);
    flush = io_emulate_fua(node, &flags, false);
    ret = io_track_write(co, &req, edge, off, len,
                         !aligned || (flags & REQ_SERIALISING));
    if (G_UNLIKELY(ret < 0)) {
        return ret;
    }
    if (G_LIKELY(aligned && io_align_memory_ok(node, iov, iov_off, len))) {
        ret = io_split_write(co, node, off, len, iov, iov_off, flags);
    } else {
        ret = io_align_write(co, node, off, len, iov, iov_off, flags);
    }
    io_tell_watch(edge, off, len);
    io_leave_write(co, &req, off, len, ret < 0 ? 0 : end);
    return ret == 0 && flush ? io_flush(co, node) : ret;
}

int io_zero(Co *co, Edge *edge, int64_t off, int64_t len, ReqFlags flags)
{
    Node *node = edge->child;
    bool aligned = io_range_is_aligned(node, off, len);
    int64_t end = io_round_up(node, off + len);
    bool flush;
    TrackedReq req;
    int ret = io_enter_write(edge, off, len, flags);

    if (ret < 0 || len == 0) {
        return ret;
    }
    if (!(node->flags & OPEN_UNMAP)) {
        flags &= ~REQ_MAY_UNMAP;
    }
    io_check_threshold(node, off + len);
    flush = io_emulate_fua(node, &flags, true);
    ret = io_track_write(co, &req, edge, off, len,
                         !aligned || (flags & REQ_SERIALISING));
    if (G_UNLIKELY(ret < 0)) {
        return ret;
    }
    if (aligned) {
        ret = io_split_zero(co, node, off, len, flags);
    } else {
        ret = io_align_zero(co, node, off, len, flags);
    }
    io_tell_watch(edge, off, len);
    io_leave_write(co, &req, off, len, ret < 0 ? 0 : end);
    return ret == 0 && flush ? io_flush(co, node) : ret;
}

int io_discard(Co *co, Edge *edge, int64_t off, int64_t len)
{
    Node *node = edge->child;
    TrackedReq req;
    int ret = io_enter_write(edge, off, len, 0);

    len = MIN(len, node->length - off);
    if (ret < 0 || len <= 0 || !(node->flags & OPEN_UNMAP) ||
        (!node->drv->discard && node->drv->kind != DRIVER_FILTER)) {
        return ret;
    }
    io_track_begin(co, &req, node, off, len, false);
    len = MIN(len, node->length - off);
    if (len <= 0) {             /* the node has become shorter meanwhile */
        io_track_end(&req);
        return 0;
    }
    ret = io_split_discard(co, node, off, len);
    io_tell_watch(edge, off, len);
    io_leave_write(co, &req, off, len, 0);
    return ret;
}

static int io_flush_node(Co *co, Node *node, bool needed)
{
    const BlockDriver *drv = node->drv;
    int first_error = 0;

    if (node->file) {
        io_debug_event(co, node->file->child, BLKDBG_FLUSH_TO_OS);
        io_debug_event(co, node->file->child, BLKDBG_FLUSH_TO_DISK);
    }
    if (node->flags & OPEN_NO_FLUSH) {
        first_error = drv->flush_to_os ? drv->flush_to_os(co, node) : 0;
    } else if (drv->flush && (needed || drv->kind != DRIVER_PROTOCOL)) {
        first_error = drv->flush(co, node);
    }
    for (unsigned i = 0; first_error == 0 && i < node->children->len; i++) {
        Edge *e = node->children->pdata[i];

        if ((e->need & (PERM_WRITE | PERM_WRITE_UNCHANGED)) &&
            !(drv->lazy_target && e->role == ROLE_TARGET)) {
            first_error = io_flush(co, e->child);
        }
    }
    return first_error;
}

int io_flush(Co *co, Node *node)
{
    int64_t begun = node->flushes_begun;
    int64_t gen;
    int ret;

    loop_assert(node->loop);
    if (node->read_only || node->inactive) {
        return 0;
    }
    while (node->flushing) {
        co_queue_wait(co, &node->flush_queue);
        if (node->flush_done > begun) {
            return 0;
        }
    }
    node->flushing = true;
    begun = ++node->flushes_begun;
    gen = node->write_gen;
    ret = io_flush_node(co, node, node->flushed_gen != gen);
    node->flushing = false;
    if (ret == 0) {
        node->flushed_gen = gen;
        node->flush_done = begun;
    }
    co_queue_wake_all(&node->flush_queue);
    return ret;
}

int io_pread(Co *co, Edge *edge, int64_t off, int64_t len, void *buf,
             ReqFlags flags)
{
    IoVec v;

    iov_init_buf(&v, buf, len);
    return io_read(co, edge, off, len, &v, 0, flags);
}

int io_pwrite(Co *co, Edge *edge, int64_t off, int64_t len, const void *buf,
              ReqFlags flags)
{
    IoVec v;

    iov_init_buf(&v, (void *)buf, len);
    return io_write(co, edge, off, len, &v, 0, flags);
}

int io_pwrite_sync(Co *co, Edge *edge, int64_t off, int64_t len,
                   const void *buf, ReqFlags flags)
{
    int ret = io_pwrite(co, edge, off, len, buf, flags);

    return ret < 0 ? ret : io_flush(co, edge->child);
}
