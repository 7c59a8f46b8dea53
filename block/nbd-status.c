/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Block status of an NBD disk. A server's answer to one question may hold many
 * extents; a node that nobody writes to keeps them for the questions that follow.
 */
#include "util/osdep.h"

#include "block/nbd-disk.h"

static int nbd_status_extents(void *opaque, const char *context,
                              uint64_t offset, uint32_t *entries, size_t n,
                              int *error)
{
    NbdOp *op = opaque;

    g_array_append_vals(op->buf, entries, n & ~(size_t)1);
    return 0;
}

static int64_t nbd_status_issue_all(struct nbd_handle *nbd, NbdOp *op)
{
    g_array_set_size(op->buf, 0);
    return nbd_aio_block_status(nbd, op->len, op->off, (nbd_extent_callback) {
                                    .callback = nbd_status_extents,
                                    .user_data = op },
                                nbd_client_completion(op), 0);
}

/* Finds op->off among the extents that are kept. */
static bool nbd_status_find(NbdState *s, NbdOp *op)
{
    while (s->answer_at + 1 < s->answer->len && s->answer_off <= op->off) {
        const uint32_t *e = &g_array_index(s->answer, uint32_t, s->answer_at);

        if (op->off < s->answer_off + e[0]) {
            op->extent_len = s->answer_off + e[0] - op->off;
            op->extent_flags = e[1];
            return true;
        }
        s->answer_off += e[0];
        s->answer_at += 2;
    }
    return false;
}

/* One extent, out of an answer that holds as many as the server gives. */
static int nbd_status_kept(Co *co, Node *node, NbdOp *op)
{
    NbdState *s = node->state;
    g_autoptr(GArray) fresh = NULL;
    int ret;

    if (nbd_status_find(s, op)) {
        return 0;
    }
    fresh = g_array_new(false, false, sizeof(uint32_t));
    op->issue = nbd_status_issue_all;
    op->buf = fresh;
    ret = nbd_disk_run(co, node, op);
    if (ret < 0) {
        return ret;
    }
    g_array_unref(s->answer);
    s->answer = g_steal_pointer(&fresh);
    s->answer_at = 0;
    s->answer_off = op->off;
    return nbd_status_find(s, op) ? 0 : -EIO;
}

static int nbd_status_extent(void *opaque, const char *context, uint64_t offset,
                             uint32_t *entries, size_t n, int *error)
{
    NbdOp *op = opaque;

    if (n >= 2) {
        op->extent_len = entries[0];
        op->extent_flags = entries[1];
    }
    return 0;
}

static int64_t nbd_status_issue(struct nbd_handle *nbd, NbdOp *op)
{
    op->extent_len = 0;
    return nbd_aio_block_status(nbd, op->len, op->off, (nbd_extent_callback) {
                                    .callback = nbd_status_extent, .user_data = op },
                                nbd_client_completion(op),
                                LIBNBD_CMD_FLAG_REQ_ONE);
}

int nbd_status_query(Co *co, Node *node, bool precise, int64_t off,
                     int64_t len, Extent *ret)
{
    NbdState *s = node->state;
    int64_t align = node->limits.request_alignment;
    NbdOp op = {
        .issue = nbd_status_issue, .off = off,
        .len = MIN(len, ROUND_DOWN(BLOCK_MAX_REQUEST, align)),
    };
    int err;

    *ret = (Extent) {
        .len = len,
        .flags = EXTENT_DATA | EXTENT_OFFSET_VALID,
        .map = off,
        .file = node,
    };
    if (!nbd_disk_info(node)->has_status) {
        return 0;
    }
    op.len = MIN(op.len, node->length - off);
    err = s->answer ? nbd_status_kept(co, node, &op)
                    : nbd_disk_run(co, node, &op);
    if (err < 0) {
        return err;
    }
    if (!op.extent_len) {
        return -EIO;
    }
    /* Of a block that is not alike all are data; or dirty, if that is the question. */
    if (op.extent_len < align) {
        op.extent_len = align;
        op.extent_flags = node->options->u.nbd.x_dirty_bitmap ? LIBNBD_STATE_HOLE
                                                              : 0;
    }
    if (s->depth) {
        op.extent_flags = MIN(op.extent_flags, LIBNBD_STATE_ZERO);
    }
    ret->len = MIN(ROUND_DOWN(op.extent_len, align), len);
    ret->flags = EXTENT_OFFSET_VALID |
                 (op.extent_flags & LIBNBD_STATE_HOLE ? 0 : EXTENT_DATA) |
                 (op.extent_flags & LIBNBD_STATE_ZERO ? EXTENT_ZERO : 0);
    return 0;
}
