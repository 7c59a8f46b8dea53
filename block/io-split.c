/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Cutting aligned requests into the pieces that a node's limits allow. A piece
 * that fits goes straight on: the loops are off the fast road.
 *
 * Reads and writes only have a longest piece. Zero and discard also have an
 * alignment of their own (a cluster): the unaligned head and tail go as pieces
 * of their own, so that the middle can be done well.
 *
 * This is also where reads past the node's end turn into zeroes.
 */

#include "block/io-steps.h"

/* The longest piece for a limit (0: none), a multiple of @align. */
static int64_t io_split_max(int64_t limit, int64_t align)
{
    int64_t max = limit ? MIN(limit, BLOCK_MAX_REQUEST) : BLOCK_MAX_REQUEST;

    return MAX(ROUND_DOWN(max, align), align);
}

/* The driver's part of a piece, then the zeroes behind the end. */
static int io_split_read_tail(Co *co, Node *node, int64_t off, int64_t len,
                              const IoVec *iov, int64_t iov_off,
                              ReqFlags flags)
{
    int64_t left = MAX(node->length - off, 0);
    int64_t n = MIN(ROUND_UP(left, node->limits.request_alignment), len);
    int ret;

    if (n > 0) {
        ret = io_emulate_read(co, node, off, n, iov, iov_off, flags);
        if (ret < 0) {
            return ret;
        }
    }
    if (left < len && !(flags & REQ_PREFETCH)) {
        iov_memset(iov, iov_off + left, 0, len - left);
    }
    return 0;
}

int io_split_read(Co *co, Node *node, int64_t off, int64_t len,
                  const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    int64_t max = node->limits.max_transfer;

    if (G_LIKELY((!max || len <= max) && len <= BLOCK_MAX_REQUEST &&
                 off + len <= node->length)) {
        return io_emulate_read(co, node, off, len, iov, iov_off, flags);
    }
    max = io_split_max(max, node->limits.request_alignment);
    while (len > 0) {
        int64_t n = MIN(len, max);
        int ret = io_split_read_tail(co, node, off, n, iov, iov_off, flags);

        if (ret < 0) {
            return ret;
        }
        off += n;
        iov_off += n;
        len -= n;
    }
    return 0;
}

static int io_split_write_pieces(Co *co, Node *node, int64_t off,
                                 int64_t len, const IoVec *iov,
                                 int64_t iov_off, ReqFlags flags)
{
    int64_t max = node->limits.max_transfer;

    if (G_LIKELY((!max || len <= max) && len <= BLOCK_MAX_REQUEST)) {
        return io_emulate_write(co, node, off, len, iov, iov_off, flags);
    }
    max = io_split_max(max, node->limits.request_alignment);
    while (len > 0) {
        int64_t n = MIN(len, max);
        int ret = io_emulate_write(co, node, off, n, iov, iov_off, flags);

        if (ret < 0) {
            return ret;
        }
        off += n;
        iov_off += n;
        len -= n;
    }
    return 0;
}

int io_split_write(Co *co, Node *node, int64_t off, int64_t len,
                   const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    int ret;

    io_debug_event(co, node, BLKDBG_PWRITEV);
    ret = io_split_write_pieces(co, node, off, len, iov, iov_off, flags);
    io_debug_event(co, node, BLKDBG_PWRITEV_DONE);
    return ret;
}

/* The first piece of [off, off + len): up to the next boundary, whole units,
 * or the rest. */
static int64_t io_split_piece(int64_t off, int64_t len, int64_t align,
                              int64_t max)
{
    int64_t head = off % align;

    if (head) {
        return MIN(len, align - head);
    }
    return len < align ? len : MIN(ROUND_DOWN(len, align), max);
}

int io_split_zero(Co *co, Node *node, int64_t off, int64_t len, ReqFlags flags)
{
    const BlockLimits *l = &node->limits;
    int64_t align = MAX(l->zero_alignment, l->request_alignment);
    int64_t max = io_split_max(l->max_zero, align);
    int ret = 0;

    io_debug_event(co, node, BLKDBG_PWRITEV_ZERO);
    while (len > 0 && ret >= 0) {
        int64_t n = io_split_piece(off, len, align, max);

        ret = io_emulate_zero(co, node, off, n, flags);
        off += n;
        len -= n;
    }
    io_debug_event(co, node, BLKDBG_PWRITEV_DONE);
    return ret;
}

int io_split_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    const BlockLimits *l = &node->limits;
    int64_t align = MAX(l->discard_alignment, l->request_alignment);
    int64_t max = io_split_max(l->max_discard, align);

    while (len > 0) {
        int64_t n = io_split_piece(off, len, align, max);
        bool whole = IS_ALIGNED(off | n, align);
        int ret = 0;

        /* Drivers get no ranges that their requests could not have, either. */
        if (io_range_is_aligned(node, off, n)) {
            ret = io_emulate_discard(co, node, off, n);
        }
        if (ret < 0 && ret != -ENOTSUP && (whole || ret != -EINVAL)) {
            return ret;
        }
        off += n;
        len -= n;
    }
    return 0;
}
