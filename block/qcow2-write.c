/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Writing. What is mapped to clusters of the image's own is overwritten where
 * it is: one lookup, one write, no lock. Everything else allocates
 * (qcow2-alloc.c).
 *
 * The image is marked dirty before its first change if refcounts are lazy.
 */
#include "block/qcow2.h"

/* One step of a write: *@done bytes of it. */
static int write_step(Co *co, Node *node, int64_t off, int64_t len,
                      const IoVec *iov, int64_t iov_off, ReqFlags flags,
                      int64_t *done)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Map m;
    int r = qcow2_map(co, node, off, len, &m);

    if (r < 0) {
        return r;
    }
    if (m.type != QCOW2_MAP_NORMAL || !m.copied) {
        return qcow2_alloc_write(co, node, off, len, iov, iov_off, flags,
                                 done);
    }
    *done = m.len;
    r = qcow2_overlap_check(co, node, QCOW2_OL_NONE, m.host, m.len, true);
    if (r < 0) {
        return r;
    }
    qcow2_event(co, node, BLKDBG_WRITE_AIO);
    return io_write(co, s->data, m.host, m.len, iov, iov_off, flags);
}

int qcow2_write_prepare(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);

    if (s->corrupt) {
        return -ENOMEDIUM;
    }
    if (s->bitmaps_unmarked) {
        return -EPERM;
    }
    if (s->lazy_refcounts && !(s->hdr.incompatible & QCOW2_INCOMPAT_DIRTY)) {
        return qcow2_mark_dirty(co, node);
    }
    return 0;
}

int qcow2_write(Co *co, Node *node, int64_t off, int64_t len,
                const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    Qcow2State *s = qcow2_state(node);
    unsigned epoch = qcow2_epoch_enter(s);
    int r = qcow2_write_prepare(co, node);

    if (flags & REQ_COMPRESSED) {
        if (r >= 0) {
            r = qcow2_write_compressed(co, node, off, len, iov, iov_off);
        }
        len = 0;
    }
    while (len > 0 && r >= 0) {
        int64_t done = 0;

        r = write_step(co, node, off, len, iov, iov_off, flags, &done);
        off += done;
        len -= done;
        iov_off += done;
    }
    qcow2_epoch_leave(s, epoch);
    if (r >= 0 && s->freed_bytes > QCOW2_FREED_MAX) {
        r = qcow2_flush_metadata(co, node);
    }
    return r;
}
