/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Transmission: block status. Every context that is wanted is asked for its
 * extents (meta.c); the answer has a chunk for each, all in one piece of memory.
 */

#include "nbd/server-internal.h"

#define STATUS_MAX_EXTENTS (MiB / 8)
#define STATUS_LEAST 512        /* most extents are no shorter */

/* One chunk: context id, then the extents in wire order. */
static void reply_status_chunk(NbdReq *req, const NbdExtents *e, bool done,
                               uint8_t **at)
{
    bool ext = req->conn->extended;
    uint8_t head[8], *p = *at;

    stl_be_p(head, e->ctx->id);
    stl_be_p(head + 4, e->list->len);
    for (guint i = 0; i < e->list->len; i++) {
        const NbdExtent *x = &g_array_index(e->list, NbdExtent, i);
        if (ext) {
            stq_be_p(p, x->len);
            stq_be_p(p + 8, x->flags);
            p += 16;
        } else {
            stl_be_p(p, x->len);
            stl_be_p(p + 4, x->flags);
            p += 8;
        }
    }
    nbd_reply_chunk(req, done, ext ? NBD_REPLY_TYPE_BLOCK_STATUS_EXT
                                   : NBD_REPLY_TYPE_BLOCK_STATUS,
                    head, ext ? 8 : 4, *at, p - *at);
    *at = p;
}

size_t nbd_status_memory(const NbdReq *req)
{
    uint64_t most = req->h.flags & NBD_CMD_FLAG_REQ_ONE ? 1 :
                    MIN(req->h.len / STATUS_LEAST + 1, STATUS_MAX_EXTENTS);

    /* As they are collected, and as they are sent. */
    return most * 2 * sizeof(NbdExtent) * req->conn->contexts->len;
}

static void free_extents(void *opaque)
{
    NbdExtents *e = opaque;

    g_array_free(e->list, true);
    g_free(e);
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

/* Asks every context that is wanted; the answers, or NULL with *@err. */
static GPtrArray *status_collect(Co *co, NbdReq *req, int *err)
{
    NbdConn *conn = req->conn;
    Root *root = conn->exp->common.root;
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(free_extents);

    root_begin(co, root);
    for (guint i = 0; i < conn->contexts->len && !*err; i++) {
        NbdContext *ctx = g_ptr_array_index(conn->contexts, i);
        NbdExtents *e;

        if (!status_wants(req, ctx)) {
            continue;
        }
        e = g_new0(NbdExtents, 1);
        e->ctx = ctx;
        e->conn = conn;
        e->list = g_array_new(false, false, sizeof(NbdExtent));
        e->max = req->h.flags & NBD_CMD_FLAG_REQ_ONE ? 1 : STATUS_MAX_EXTENTS;
        g_ptr_array_add(all, e);
        *err = -ctx->query(co, conn->exp, ctx, req->h.from, req->h.len, e);
    }
    root_end(root);
    co_move(co, conn->loop);
    return *err ? NULL : g_steal_pointer(&all);
}

void nbd_status_reply(Co *co, NbdReq *req)
{
    NbdConn *conn = req->conn;
    g_autoptr(GPtrArray) all = NULL;
    int err = 0;
    size_t n = 0;
    uint8_t *at;

    if (!conn->structured || !conn->contexts->len) {
        nbd_reply_status(req, EINVAL);
        return;
    }
    all = status_collect(co, req, &err);
    if (!all) {
        nbd_reply_status(req, err);
        return;
    }
    for (guint i = 0; i < all->len; i++) {
        n += ((NbdExtents *)g_ptr_array_index(all, i))->list->len;
    }
    at = req->owned = g_malloc(n * (conn->extended ? 16 : 8));
    nbd_reply_reserve(req, all->len);
    for (guint i = 0; i < all->len; i++) {
        reply_status_chunk(req, g_ptr_array_index(all, i), i + 1 == all->len,
                           &at);
    }
}
