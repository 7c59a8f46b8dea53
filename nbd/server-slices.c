/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Large reads and writes where the server has no memory for them: the reader carries
 * them out by itself, in slices of the connection's own memory, receiving or
 * sending one while there is no other. Nothing else of the connection is in flight
 * during a read, so that the stream is its own.
 *
 * A reply that is one piece (a simple one, or with DF) begins when its first slice
 * has been read; if a later one can't be, only hanging up is left. In any other
 * every slice is a chunk.
 */

#include "nbd/server-internal.h"

/* ---- writes ---- */

static int slice_write(Co *co, NbdReq *req, uint64_t at, size_t len)
{
    NbdConn *conn = req->conn;
    IoVec iov;
    int ret;

    iov_init_buf(&iov, req->buf, len);
    ret = root_write(co, conn->exp->common.root, req->h.from + at, len, &iov,
                     0, req->h.flags & NBD_CMD_FLAG_FUA ? REQ_FUA : 0);
    co_move(co, conn->loop);
    return -ret;
}

int nbd_slices_write(Co *co, NbdReq *req)
{
    NbdConn *conn = req->conn;
    uint64_t at = 0;
    int err = 0;

    req->buf_len = NBD_OWN_MEMORY;
    req->buf = nbd_bufpool_get(conn->pool, req->buf_len);
    if (!req->buf) {
        err = ENOMEM;
    }
    while (!err && at < req->h.len) {
        size_t n = MIN(req->h.len - at, NBD_OWN_MEMORY);

        if (!nbd_rx_payload(co, conn, req->buf, n)) {
            return -1;
        }
        err = slice_write(co, req, at, n);
        at += n;
    }
    return nbd_rx_skip(co, conn, req->h.len - at) ? err : -1;
}

/* ---- reads ---- */

typedef struct Slice {
    uint64_t at;                /* behind the request's beginning */
    uint64_t len;
    bool hole;                  /* which is not read */
} Slice;

/* Looks for a hole at @s->at, or reads some of what is there. Sets the length. */
static int slice_read(Co *co, NbdReq *req, bool sparse, Slice *s)
{
    NbdConn *conn = req->conn;
    NbdExport *exp = conn->exp;
    int64_t off = req->h.from + s->at;
    int64_t left = req->h.len - s->at;
    Extent ext;
    int ret = 0;

    root_begin(co, exp->common.root);
    if (!sparse || nbd_export_status(co, exp, true, off, left, &ext, 1) < 0) {
        ext = (Extent) { .len = left };
    }
    s->hole = ext.flags & EXTENT_ZERO;
    s->len = s->hole ? ext.len : MIN(ext.len, NBD_OWN_MEMORY);
    if (!s->hole) {
        ret = io_pread(co, exp->common.root->edge, off, s->len, req->buf, 0);
    }
    if (ret == 0 && exp->coverage) {
        nbd_coverage_note(co, conn, off, s->len);
    }
    root_end(exp->common.root);
    co_move(co, conn->loop);
    return ret;
}

static void slices_hang_up(NbdConn *conn)
{
    conn->failed = true;
    channel_shutdown(conn->ch);
}

static void slice_send(Co *co, NbdReq *req, void *head, size_t head_len,
                       size_t data_len)
{
    struct iovec iov[2] = { { head, head_len }, { req->buf, data_len } };

    if (channel_writev_all(co, req->conn->ch, iov, data_len ? 2 : 1) < 0) {
        slices_hang_up(req->conn);
    }
}

/* The slice as a chunk of the reply. */
static void slice_send_chunk(Co *co, NbdReq *req, const Slice *s)
{
    uint8_t head[NBD_EXT_CHUNK_SIZE + 12];
    size_t n = nbd_chunk_pack(head, req->conn->extended,
                              s->at + s->len == req->h.len
                              ? NBD_REPLY_FLAG_DONE : 0,
                              s->hole ? NBD_REPLY_TYPE_OFFSET_HOLE
                                      : NBD_REPLY_TYPE_OFFSET_DATA, &req->h,
                              s->hole ? 12 : 8 + s->len);

    stq_be_p(head + n, req->h.from + s->at);
    if (s->hole) {
        stl_be_p(head + n + 8, s->len);
    }
    slice_send(co, req, head, n + (s->hole ? 12 : 8), s->hole ? 0 : s->len);
}

/* The slice as a part of a reply that is one piece. */
static void slice_send_part(Co *co, NbdReq *req, const Slice *s)
{
    uint8_t head[NBD_EXT_CHUNK_SIZE + 8];
    size_t n = 0;

    if (s->at == 0 && req->conn->structured) {
        n = nbd_chunk_pack(head, req->conn->extended, NBD_REPLY_FLAG_DONE,
                           NBD_REPLY_TYPE_OFFSET_DATA, &req->h,
                           8 + req->h.len);
        stq_be_p(head + n, req->h.from);
        n += 8;
    } else if (s->at == 0) {
        nbd_simple_reply_pack(head, NBD_OK, req->h.cookie);
        n = NBD_SIMPLE_REPLY_SIZE;
    }
    slice_send(co, req, head, n, s->len);
}

/* True if an error reply is due. */
static bool slices_send(Co *co, NbdReq *req, bool sparse, int *err)
{
    Slice s = { 0 };

    for (; s.at < req->h.len && !req->conn->failed; s.at += s.len) {
        *err = -slice_read(co, req, sparse, &s);
        if (*err && !sparse && s.at) {
            slices_hang_up(req->conn);
        } else if (*err) {
            if (sparse) {
                nbd_read_reply_error(req, req->h.from + s.at, *err);
            } else {
                nbd_reply_status(req, *err);
            }
            return true;
        } else if (sparse) {
            slice_send_chunk(co, req, &s);
        } else {
            slice_send_part(co, req, &s);
        }
    }
    return false;
}

void nbd_slices_read(Co *co, NbdReq *req)
{
    NbdConn *conn = req->conn;
    bool sparse = conn->structured && !(req->h.flags & NBD_CMD_FLAG_DF);
    bool error = true;
    int err = 0;

    nbd_reader_settle(co, conn, 1);
    req->buf_len = NBD_OWN_MEMORY;
    req->buf = nbd_bufpool_get(conn->pool, req->buf_len);
    if (!req->buf) {
        nbd_reply_status(req, ENOMEM);
    } else {
        error = slices_send(co, req, sparse, &err);
    }
    if (error) {
        nbd_reply_queue(req);
    } else {
        nbd_req_free(req);
    }
}
