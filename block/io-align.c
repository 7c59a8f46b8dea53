/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Requests that don't fit a node's alignment, in place (offset and length) or
 * in memory (O_DIRECT wants aligned buffers).
 *
 *              off                          off + len
 *     |--------[=========|========|=========]--------|
 *     start    head                     tail         end
 *
 * A read fetches start..end into a bounce buffer, or only the blocks at both
 * ends when the middle can go straight to the caller. A write reads the blocks
 * at both ends, and writes start..end in one piece, made of their edges and the
 * caller's data. As that writes back bytes that the caller did not send, such a
 * request is serialising (io.c has seen to it).
 *
 * Bounce buffers are at most BOUNCE_MAX long; longer requests go in pieces. A
 * buffer that can't be allocated is -ENOMEM.
 */

#include "block/io-steps.h"
#include "util/bytes.h"

#define BOUNCE_MAX (2 * MiB)

bool io_align_memory_ok(const Node *node, const IoVec *iov, int64_t iov_off,
                        int64_t len)
{
    const BlockLimits *l = &node->limits;

    if (node->drv->kind != DRIVER_PROTOCOL) {
        return true;            /* its child will look */
    }
    if (l->mem_alignment > 1 &&
        !iov_is_aligned(iov, iov_off, len, l->mem_alignment)) {
        return false;
    }
    return !l->max_iov || iov->niov <= l->max_iov ||
           iov_cut_count(iov, iov_off, len) <= l->max_iov;
}

static void *io_align_alloc(const Node *node, int64_t len)
{
    return aligned_try_alloc_io(MAX(node->limits.mem_alignment, 4096), len);
}

/* The longest piece that is bounced at once. */
static int64_t io_align_bounce_len(const Node *node, int64_t len)
{
    int64_t align = node->limits.request_alignment;

    return MIN(len, MAX(ROUND_DOWN(BOUNCE_MAX, align), align));
}

/* [off, off + len), not aligned in any way, by way of aligned memory. */
static int io_align_bounce_read(Co *co, Node *node, int64_t off, int64_t len,
                                const IoVec *iov, int64_t iov_off,
                                ReqFlags flags)
{
    int64_t align = node->limits.request_alignment;
    int64_t start = ROUND_DOWN(off, align);
    int64_t end = ROUND_UP(off + len, align);
    int64_t max = io_align_bounce_len(node, end - start);
    g_autoptr(AlignedBuf) buf = io_align_alloc(node, max);

    if (!buf) {
        return -ENOMEM;
    }
    while (start < end) {
        int64_t n = MIN(end - start, max);
        int64_t first = MAX(start, off);
        int64_t last = MIN(start + n, off + len);
        IoVec v;
        int ret;

        iov_init_buf(&v, buf, n);
        ret = io_split_read(co, node, start, n, &v, 0, flags);
        if (ret < 0) {
            return ret;
        }
        iov_from_buf(iov, iov_off + (first - off),
                     (uint8_t *)buf + (first - start), last - first);
        start += n;
    }
    return 0;
}

int io_align_read(Co *co, Node *node, int64_t off, int64_t len,
                  const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    int64_t align = node->limits.request_alignment;
    int64_t mid = ROUND_UP(off, align);
    int64_t mid_end = ROUND_DOWN(off + len, align);
    int ret = 0;

    if (flags & REQ_PREFETCH) {     /* brings no data: nothing to align */
        mid = ROUND_DOWN(off, align);
        mid_end = ROUND_UP(off + len, align);
        return io_split_read(co, node, mid, mid_end - mid, iov, iov_off,
                             flags);
    }
    if (mid >= mid_end ||
        !io_align_memory_ok(node, iov, iov_off + (mid - off), mid_end - mid)) {
        return io_align_bounce_read(co, node, off, len, iov, iov_off, flags);
    }
    if (mid > off) {
        ret = io_align_bounce_read(co, node, off, mid - off, iov, iov_off,
                                   flags);
    }
    if (ret == 0) {
        ret = io_split_read(co, node, mid, mid_end - mid, iov,
                            iov_off + (mid - off), flags);
    }
    if (ret == 0 && off + len > mid_end) {
        ret = io_align_bounce_read(co, node, mid_end, off + len - mid_end, iov,
                                   iov_off + (mid_end - off), flags);
    }
    return ret;
}

/* Writes an aligned range from memory that may not be. */
static int io_align_write_memory(Co *co, Node *node, int64_t off, int64_t len,
                                 const IoVec *iov, int64_t iov_off,
                                 ReqFlags flags)
{
    int64_t max = io_align_bounce_len(node, len);
    g_autoptr(AlignedBuf) buf = NULL;

    if (io_align_memory_ok(node, iov, iov_off, len)) {
        return io_split_write(co, node, off, len, iov, iov_off, flags);
    }
    buf = io_align_alloc(node, max);
    if (!buf) {
        return -ENOMEM;
    }
    while (len > 0) {
        int64_t n = MIN(len, max);
        IoVec v;
        int ret;

        iov_to_buf(iov, iov_off, buf, n);
        iov_init_buf(&v, buf, n);
        ret = io_split_write(co, node, off, n, &v, 0, flags);
        if (ret < 0) {
            return ret;
        }
        off += n;
        iov_off += n;
        len -= n;
    }
    return 0;
}

static int io_align_read_block(Co *co, Node *node, int64_t off, void *buf)
{
    IoVec v;

    iov_init_buf(&v, buf, node->limits.request_alignment);
    return io_split_read(co, node, off, v.len, &v, 0, 0);
}

/* Reads the blocks at both ends as far as the write covers them in part. */
static int io_align_read_ends(Co *co, Node *node, int64_t off, int64_t len,
                              uint8_t *head, uint8_t *tail)
{
    int64_t align = node->limits.request_alignment;
    int64_t start = ROUND_DOWN(off, align);
    int64_t last = ROUND_DOWN(off + len - 1, align);
    int ret;

    if (off != start || (last == start && off + len != start + align)) {
        io_debug_event(co, node, BLKDBG_PWRITEV_RMW_HEAD);
        ret = io_align_read_block(co, node, start, head);
        if (ret < 0) {
            return ret;
        }
        io_debug_event(co, node, BLKDBG_PWRITEV_RMW_AFTER_HEAD);
        if (last == start) {
            memcpy(tail, head, align);
        }
    }
    if (last != start && off + len != last + align) {
        io_debug_event(co, node, BLKDBG_PWRITEV_RMW_TAIL);
        ret = io_align_read_block(co, node, last, tail);
        if (ret < 0) {
            return ret;
        }
        io_debug_event(co, node, BLKDBG_PWRITEV_RMW_AFTER_TAIL);
    }
    return 0;
}

int io_align_write(Co *co, Node *node, int64_t off, int64_t len,
                   const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    int64_t align = node->limits.request_alignment;
    int64_t start = ROUND_DOWN(off, align);
    int64_t end = ROUND_UP(off + len, align);
    g_autoptr(AlignedBuf) ends = NULL;
    uint8_t *head, *tail;
    IoVec v;
    int ret;

    if (io_range_is_aligned(node, off, len)) {
        return io_align_write_memory(co, node, off, len, iov, iov_off, flags);
    }
    ends = io_align_alloc(node, 2 * align);
    if (!ends) {
        return -ENOMEM;
    }
    head = ends;
    tail = head + align;
    ret = io_align_read_ends(co, node, off, len, head, tail);
    if (ret < 0) {
        return ret;
    }

    iov_init(&v, iov->niov + 2);
    if (off > start) {
        iov_add(&v, head, off - start);
    }
    iov_concat(&v, iov, iov_off, len);
    if (end > off + len) {
        iov_add(&v, tail + align - (end - off - len), end - off - len);
    }
    ret = io_align_write_memory(co, node, start, end - start, &v, 0, flags);
    iov_destroy(&v);
    return ret;
}

/* Zeroes a part of one block. */
static int io_align_zero_part(Co *co, Node *node, int64_t off, int64_t len,
                              ReqFlags flags)
{
    int64_t align = node->limits.request_alignment;
    g_autoptr(AlignedBuf) zeroes = io_align_alloc(node, align);
    IoVec v;

    if (!zeroes) {
        return -ENOMEM;
    }
    memset(zeroes, 0, len);
    iov_init_buf(&v, zeroes, len);
    return io_align_write(co, node, off, len, &v, 0,
                          flags & ~(REQ_MAY_UNMAP | REQ_NO_FALLBACK));
}

int io_align_zero(Co *co, Node *node, int64_t off, int64_t len, ReqFlags flags)
{
    int64_t align = node->limits.request_alignment;
    int64_t end = off + len;
    int64_t mid = MIN(ROUND_UP(off, align), end);
    int64_t mid_end = MAX(ROUND_DOWN(end, align), mid);
    int ret = 0;

    if (mid > off) {
        ret = io_align_zero_part(co, node, off, mid - off, flags);
    }
    if (ret == 0 && mid_end > mid) {
        ret = io_split_zero(co, node, mid, mid_end - mid, flags);
    }
    if (ret == 0 && end > mid_end) {
        ret = io_align_zero_part(co, node, mid_end, end - mid_end, flags);
    }
    return ret;
}
