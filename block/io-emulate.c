/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * One call of the driver, or what stands for it where it lacks the capability:
 *
 *     a filter's NULL callback    the primary child
 *     REQ_FUA                     a flush after the request (by io.c)
 *     zero                        writing zeroes, unless REQ_NO_FALLBACK
 *     discard                     -ENOTSUP, which io_split_discard() forgives
 *
 * and detect-zeroes, which goes the other way: data that are zeroes become a
 * zero request.
 */

#include "block/io-steps.h"

#define ZERO_BUF_LEN (64 * KiB)
#define ZERO_BUF_IOVS 16

/* Never written to; the kernel shares its one zero page for all of it. */
static uint8_t zero_buf[ZERO_BUF_LEN] __attribute__((aligned(4096)));

bool io_emulate_fua(const Node *node, ReqFlags *flags, bool zero)
{
    const BlockDriver *drv = node->drv;
    bool native;

    if (G_LIKELY(!(*flags & REQ_FUA))) {
        return false;
    }
    if (node->flags & OPEN_NO_FLUSH) {
        *flags &= ~REQ_FUA;
        return false;
    }
    if (drv->kind == DRIVER_FILTER && !(zero ? drv->zero != NULL
                                             : drv->write != NULL)) {
        return false;
    }
    /* A zero may turn into a write on its way: both must know the flag. */
    native = drv->supports_fua && (!zero || !drv->zero || drv->writes_zero_fua);
    if (!native) {
        *flags &= ~REQ_FUA;
    }
    return !native;
}

bool io_emulate_detect_zeroes(const Node *node, const IoVec *iov,
                              int64_t iov_off, int64_t len, ReqFlags *flags)
{
    if ((*flags & REQ_COMPRESSED) || !iov_is_zero(iov, iov_off, len)) {
        return false;
    }
    if (node->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP) {
        *flags |= REQ_MAY_UNMAP;
    }
    return true;
}

int io_emulate_read(Co *co, Node *node, int64_t off, int64_t len,
                    const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    const BlockDriver *drv = node->drv;

    if (G_LIKELY(drv->read)) {
        if (G_UNLIKELY(flags & REQ_PREFETCH) && drv->kind != DRIVER_FILTER) {
            return drv->prefetch ? drv->prefetch(co, node, off, len) : 0;
        }
        return drv->read(co, node, off, len, iov, iov_off, flags);
    }
    if (drv->kind == DRIVER_FILTER) {
        return io_read(co, node->file, off, len, iov, iov_off, flags);
    }
    return -ENOTSUP;
}

int io_emulate_write(Co *co, Node *node, int64_t off, int64_t len,
                     const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    const BlockDriver *drv = node->drv;

    if (G_LIKELY(drv->write)) {
        if (G_UNLIKELY(flags & REQ_COMPRESSED) && !drv->supports_compressed) {
            return -ENOTSUP;
        }
        return drv->write(co, node, off, len, iov, iov_off,
                          flags & ~REQ_SERIALISING);
    }
    if (drv->kind == DRIVER_FILTER) {
        return io_write(co, node->file, off, len, iov, iov_off,
                        flags & ~REQ_SERIALISING);
    }
    return -ENOTSUP;
}

/* Zeroes as data, in pieces that the limits allow. */
static int io_emulate_write_zeroes(Co *co, Node *node, int64_t off,
                                   int64_t len, ReqFlags flags)
{
    struct iovec stack[ZERO_BUF_IOVS], *vec = stack;
    g_autofree struct iovec *heap = NULL;
    int max_iov = node->limits.max_iov;
    int n = max_iov ? MIN(max_iov, ZERO_BUF_IOVS) : ZERO_BUF_IOVS;
    int64_t max;
    IoVec iov;

    n = MAX(n, node->limits.request_alignment / ZERO_BUF_LEN);
    if (n > ZERO_BUF_IOVS) {
        vec = heap = g_new(struct iovec, n);
    }
    for (int i = 0; i < n; i++) {
        vec[i] = (struct iovec) { zero_buf, ZERO_BUF_LEN };
    }
    iov_init_external(&iov, vec, n);
    max = iov.len;
    if (node->limits.max_transfer) {
        max = MIN(max, node->limits.max_transfer);
    }
    max = ROUND_DOWN(max, node->limits.request_alignment);
    g_assert(max > 0);

    while (len > 0) {
        int64_t piece = MIN(len, max);
        int ret = io_emulate_write(co, node, off, piece, &iov, 0, flags);

        if (ret < 0) {
            return ret;
        }
        off += piece;
        len -= piece;
    }
    return 0;
}

int io_emulate_zero(Co *co, Node *node, int64_t off, int64_t len,
                    ReqFlags flags)
{
    const BlockDriver *drv = node->drv;
    int ret = -ENOTSUP;

    flags &= ~REQ_SERIALISING;
    if (drv->zero) {
        ret = drv->zero(co, node, off, len, flags);
    } else if (drv->kind == DRIVER_FILTER) {
        return io_zero(co, node->file, off, len, flags);
    }
    if (ret == -ENOTSUP && !(flags & REQ_NO_FALLBACK)) {
        ret = io_emulate_write_zeroes(co, node, off, len,
                                      flags & ~REQ_MAY_UNMAP);
    }
    return ret;
}

int io_emulate_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    const BlockDriver *drv = node->drv;

    if (drv->discard) {
        return drv->discard(co, node, off, len);
    }
    if (drv->kind == DRIVER_FILTER) {
        return io_discard(co, node->file, off, len);
    }
    return -ENOTSUP;
}
