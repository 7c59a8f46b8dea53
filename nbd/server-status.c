/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Transmission: block status. Every context that is wanted is asked for its
 * extents (meta.c), which it writes as they are sent; the answer has a chunk for
 * each.
 */

#include "nbd/server-internal.h"

#define STATUS_MAX_EXTENTS (MiB / 8)
#define STATUS_LEAST 512        /* most extents are no shorter */

static size_t extent_size(const NbdConn *conn)
{
    return conn->extended ? 16 : 8;
}

/* How many extents of a context an answer may have. */
static unsigned status_most(const NbdReq *req)
{
    const NbdConn *conn = req->conn;
    uint64_t most = MIN(req->h.len / STATUS_LEAST + 2, STATUS_MAX_EXTENTS);

    if (req->tight) {
        most = MIN(most, NBD_OWN_MEMORY / 2 / extent_size(conn) /
                         MAX(conn->contexts->len, 1));
    }
    return req->h.flags & NBD_CMD_FLAG_REQ_ONE ? 1 : MAX(most, 1);
}

size_t nbd_status_memory(const NbdReq *req)
{
    const NbdConn *conn = req->conn;

    return nbd_bufpool_room(status_most(req) * extent_size(conn)) *
           conn->contexts->len;
}

size_t nbd_status_payload_max(const NbdConn *conn)
{
    return MIN(8 + 4 * (size_t)conn->contexts->len, NBD_OWN_MEMORY);
}

void nbd_status_free(NbdReq *req)
{
    while (req->extents) {
        NbdExtents *e = req->extents;

        req->extents = e->next;
        nbd_bufpool_put(req->conn->pool, e->buf, e->size);
        g_free(e);
    }
}

/* One chunk: context id, then the extents. */
static void reply_status_chunk(NbdReq *req, const NbdExtents *e)
{
    bool ext = req->conn->extended;
    uint8_t head[8];

    stl_be_p(head, e->ctx->id);
    stl_be_p(head + 4, e->n);
    nbd_reply_chunk(req, !e->next, ext ? NBD_REPLY_TYPE_BLOCK_STATUS_EXT
                                       : NBD_REPLY_TYPE_BLOCK_STATUS,
                    head, ext ? 8 : 4, e->buf, e->at - e->buf);
}

int nbd_status_take_payload(NbdReq *req)
{
    const GPtrArray *all = req->conn->contexts;
    const uint8_t *p = req->buf;
    size_t n = req->h.len / 4;
    unsigned known = 0;

    if (req->h.len < 12 || req->h.len % 4 || n - 2 > all->len) {
        return EINVAL;
    }
    for (size_t i = 2; i < n; i++) {
        for (size_t j = 2; j < i; j++) {
            if (ldl_be_p(p + i * 4) == ldl_be_p(p + j * 4)) {
                return EINVAL;
            }
        }
        for (guint c = 0; c < all->len; c++) {
            const NbdContext *ctx = g_ptr_array_index(all, c);
            known += ctx->id == ldl_be_p(p + i * 4);
        }
    }
    req->h.len = ldq_be_p(p);
    return known == n - 2 ? 0 : EINVAL;
}

static bool status_wants(const NbdReq *req, const NbdContext *ctx)
{
    const uint8_t *p = req->buf;

    if (!(req->h.flags & NBD_CMD_FLAG_PAYLOAD_LEN)) {
        return true;
    }
    for (size_t i = 8; i < req->buf_len; i += 4) {
        if (ldl_be_p(p + i) == ctx->id) {
            return true;
        }
    }
    return false;
}

/* Room for the answers of the contexts that are wanted, in the connection's order.
 * How many, or -ENOMEM. */
static int status_prepare(NbdReq *req)
{
    NbdConn *conn = req->conn;
    NbdExtents **tail = &req->extents;
    int n = 0;

    for (guint i = 0; i < conn->contexts->len; i++) {
        const NbdContext *ctx = g_ptr_array_index(conn->contexts, i);
        NbdExtents *e;

        if (!status_wants(req, ctx)) {
            continue;
        }
        e = g_new0(NbdExtents, 1);
        e->ctx = ctx;
        e->conn = conn;
        e->max = status_most(req);
        e->size = e->max * extent_size(conn);
        e->buf = e->at = nbd_bufpool_get(conn->pool, e->size);
        *tail = e;
        tail = &e->next;
        n++;
        if (!e->buf) {
            return -ENOMEM;
        }
    }
    return n;
}

static int status_query(Co *co, NbdReq *req)
{
    NbdConn *conn = req->conn;
    Root *root = conn->exp->common.root;
    int ret = 0;

    root_begin(co, root);
    for (NbdExtents *e = req->extents; e && ret == 0; e = e->next) {
        ret = e->ctx->query(co, conn->exp, e->ctx, req->h.from, req->h.len, e);
        nbd_extents_end(e);
    }
    root_end(root);
    co_move(co, conn->loop);
    return ret;
}

void nbd_status_reply(Co *co, NbdReq *req)
{
    NbdConn *conn = req->conn;
    int n, ret;

    if (!conn->structured || !conn->contexts->len) {
        nbd_reply_status(req, EINVAL);
        return;
    }
    n = status_prepare(req);
    ret = n < 0 ? n : status_query(co, req);
    if (ret < 0) {
        nbd_reply_status(req, -ret);
        return;
    }
    nbd_reply_reserve(req, n);
    for (const NbdExtents *e = req->extents; e; e = e->next) {
        reply_status_chunk(req, e);
    }
}
