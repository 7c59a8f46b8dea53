/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Bringing data up from the layers below: what a node shows but does not hold
 * is read and written back to it, as one serialising request. A guest's write
 * of the same range comes before or after, so that it is never overwritten by
 * older data. What is known to be zero becomes a zero request.
 */

#include "block/info.h"
#include "block/io-steps.h"
#include "util/bytes.h"

#define COPY_UP_MAX MiB

/* Reads [off, off + len) through and writes it to the node's own layer. */
static int copy_up_part(Co *co, Node *node, int64_t off, int64_t len)
{
    g_autoptr(AlignedBuf) buf =
        aligned_try_alloc_io(MAX(node->limits.mem_alignment, 4096), len);
    IoVec v;
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    iov_init_buf(&v, buf, len);
    ret = io_split_read(co, node, off, len, &v, 0, 0);
    if (ret < 0) {
        return ret;
    }
    io_debug_event(co, node, BLKDBG_COR_WRITE);
    if (buffer_is_zero(buf, len)) {
        return io_split_zero(co, node, off, len, REQ_WRITE_UNCHANGED);
    }
    return io_split_write(co, node, off, len, &v, 0, REQ_WRITE_UNCHANGED);
}

/* What of the range is not allocated, piece by piece. */
static int copy_up_range(Co *co, Node *node, int64_t off, int64_t len)
{
    int64_t align = node->limits.request_alignment;

    while (len > 0) {
        int64_t n = len;
        int ret = off < node->length
                  ? status_allocated(co, node, off, len, &n) : 1;

        if (ret < 0) {
            return ret;
        }
        n = MIN(ROUND_UP(n, align), len);
        if (ret == 0) {
            ret = copy_up_part(co, node, off, n);
        }
        if (ret < 0) {
            return ret;
        }
        off += n;
        len -= n;
    }
    return 0;
}

static int copy_up_request(Co *co, Node *node, int64_t off, int64_t len)
{
    TrackedReq req;
    int ret;

    io_track_begin(co, &req, node, off, len, true);
    ret = copy_up_range(co, node, off, len);
    /* For the guest nothing has changed, nor has it for a dirty bitmap. */
    io_leave_write(co, &req, off, 0, 0);
    return ret;
}

int io_copy_up(Co *co, Edge *edge, int64_t off, int64_t len)
{
    Node *node = edge->child;
    int64_t end = MIN(off + len, node->length);
    int64_t cluster = node->limits.request_alignment;
    BlockDriverInfo bdi;

    loop_assert(node->loop);
    g_assert(edge->need & (PERM_WRITE | PERM_WRITE_UNCHANGED));
    if (node->read_only || node->inactive) {
        return -EPERM;
    }
    if (info_driver(co, node, &bdi) >= 0) {
        cluster = MAX(cluster, bdi.cluster_size);
    }
    off = ROUND_DOWN(off, cluster);
    end = MIN(ROUND_UP(end, cluster), io_round_up(node, node->length));
    while (off < end) {
        int64_t n = MIN(end - off, MAX(COPY_UP_MAX, cluster));
        int ret = copy_up_request(co, node, off, n);

        if (ret < 0) {
            return ret;
        }
        off += n;
    }
    return 0;
}
