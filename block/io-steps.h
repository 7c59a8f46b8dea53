/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The steps of a request between io.c and the driver; private to block/io-*.c.
 *
 *     io.c            enters, tracks, leaves
 *       io-align.c    off the fast road: ranges or memory that don't fit
 *         io-split.c  pieces that the limits allow
 *           io-emulate.c   one call of the driver, or what stands for it
 *
 * All of them return 0 or -errno and run inside of a tracked request.
 */
#ifndef BLOCK_IO_STEPS_H
#define BLOCK_IO_STEPS_H

#include "block/io.h"

static inline bool io_range_is_aligned(const Node *node, int64_t off,
                                       int64_t len)
{
    return !((off | len) & (node->limits.request_alignment - 1));
}

static inline int64_t io_round_down(const Node *node, int64_t n)
{
    return n & -node->limits.request_alignment;
}

static inline int64_t io_round_up(const Node *node, int64_t n)
{
    return io_round_down(node, n + node->limits.request_alignment - 1);
}

/* The data of the range may have changed on behalf of @edge's parent. */
static inline void io_tell_watch(const Edge *edge, int64_t off, int64_t len)
{
    for (NodeWatch *w = edge->child->watches; G_UNLIKELY(w); w = w->next) {
        if (w->through != edge) {
            w->wrote(w, off, len);
        }
    }
}

/* ---- io.c ---- */

/* Something will be written up to @end: tells once, before what goes beyond. */
void io_check_threshold(Node *node, int64_t end);

/* The end of a tracked request: the data of [off, off + len) may have changed.
 * @grown: the node reaches at least so far now; 0: not known to grow. */
void io_leave_write(Co *co, TrackedReq *req, int64_t off, int64_t len,
                    int64_t grown);

/* ---- io-align.c ---- */

/* Whether the driver can take the memory of [iov_off, iov_off + len). */
bool io_align_memory_ok(const Node *node, const IoVec *iov, int64_t iov_off,
                        int64_t len);
int io_align_read(Co *co, Node *node, int64_t off, int64_t len,
                  const IoVec *iov, int64_t iov_off, ReqFlags flags);
/* The request must be serialising if its range is not aligned. */
int io_align_write(Co *co, Node *node, int64_t off, int64_t len,
                   const IoVec *iov, int64_t iov_off, ReqFlags flags);
/* Before a write beyond the end of an image that has its length in its header:
 * it gets at least @end bytes. */
int io_grow(Co *co, Node *node, int64_t end);
int io_align_zero(Co *co, Node *node, int64_t off, int64_t len,
                  ReqFlags flags);

/* ---- io-split.c: aligned ranges ---- */

/* Reads past the node's end give zeroes. */
int io_split_read(Co *co, Node *node, int64_t off, int64_t len,
                  const IoVec *iov, int64_t iov_off, ReqFlags flags);
int io_split_write(Co *co, Node *node, int64_t off, int64_t len,
                   const IoVec *iov, int64_t iov_off, ReqFlags flags);
int io_split_zero(Co *co, Node *node, int64_t off, int64_t len,
                  ReqFlags flags);
/* Any range: what a driver can't discard stays as it is, which is no error. */
int io_split_discard(Co *co, Node *node, int64_t off, int64_t len);

/* ---- io-emulate.c ---- */

/* Takes REQ_FUA out of *@flags unless the driver does it by itself; true if a
 * flush has to follow. @zero: the request is a zero. */
bool io_emulate_fua(const Node *node, ReqFlags *flags, bool zero);
/* Whether the data to write are zeroes, and detect-zeroes wants them found;
 * *@flags becomes those of the zero request. */
bool io_emulate_detect_zeroes(const Node *node, const IoVec *iov,
                              int64_t iov_off, int64_t len, ReqFlags *flags);
int io_emulate_read(Co *co, Node *node, int64_t off, int64_t len,
                    const IoVec *iov, int64_t iov_off, ReqFlags flags);
int io_emulate_write(Co *co, Node *node, int64_t off, int64_t len,
                     const IoVec *iov, int64_t iov_off, ReqFlags flags);
int io_emulate_zero(Co *co, Node *node, int64_t off, int64_t len,
                    ReqFlags flags);
int io_emulate_discard(Co *co, Node *node, int64_t off, int64_t len);

#endif
