/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Transmission: reads. With structured replies a read is cut into holes and data,
 * each a chunk; an error ends the reply where it stands, behind what was read.
 */

#include "nbd/server-internal.h"

#define READ_MAX_PARTS 64

typedef struct ReadPart {
    int64_t off, len;
    bool hole;
} ReadPart;

/*
 * Cuts a read into holes and data; what does not fit into @parts is called
 * data. Short reads look only at the image's own metadata: asking the storage
 * for holes would cost more than their bytes.
 */
static int read_parts(Co *co, NbdReq *req, ReadPart *parts)
{
    bool precise = req->h.len >= 64 * KiB;
    int64_t off = req->h.from, end = off + req->h.len;
    int n = 0;

    while (off < end) {
        Extent ext;
        ReadPart part = { off, end - off, false };

        if (n < READ_MAX_PARTS - 1 &&
            nbd_export_status(co, req->conn->exp, precise, off, end - off,
                              &ext, 1) > 0) {
            part.len = ext.len;
            part.hole = ext.flags & EXTENT_ZERO;
        }
        if (n && parts[n - 1].hole == part.hole) {
            parts[n - 1].len += part.len;
        } else {
            parts[n++] = part;
        }
        off += part.len;
    }
    return n;
}

static int read_range(Co *co, NbdReq *req, int64_t off, int64_t len)
{
    return io_pread(co, req->conn->exp->common.root->edge, off, len,
                    (char *)req->buf + (off - req->h.from), 0);
}

void nbd_read_reply_error(NbdReq *req, int64_t off, int err)
{
    uint8_t payload[14] = { 0 };

    stl_be_p(payload, nbd_error_from_errno(err));
    stq_be_p(payload + 6, off);
    nbd_reply_chunk(req, true, NBD_REPLY_TYPE_ERROR_OFFSET, payload,
                    sizeof(payload), NULL, 0);
}

/* False if it was an error, which ends the reply. */
static bool reply_read_part(Co *co, NbdReq *req, const ReadPart *part,
                            bool done)
{
    uint8_t head[12];
    int ret;

    stq_be_p(head, part->off);
    if (part->hole) {
        stl_be_p(head + 8, part->len);
        nbd_reply_chunk(req, done, NBD_REPLY_TYPE_OFFSET_HOLE, head, 12, NULL,
                        0);
        return true;
    }
    ret = read_range(co, req, part->off, part->len);
    if (ret < 0) {
        nbd_read_reply_error(req, part->off, -ret);
        return false;
    }
    nbd_reply_chunk(req, done, NBD_REPLY_TYPE_OFFSET_DATA, head, 8,
                    (char *)req->buf + (part->off - req->h.from), part->len);
    return true;
}

static bool reply_read_sparse(Co *co, NbdReq *req)
{
    ReadPart parts[READ_MAX_PARTS];
    int n = read_parts(co, req, parts);

    nbd_reply_reserve(req, n);
    for (int i = 0; i < n; i++) {
        if (!reply_read_part(co, req, &parts[i], i + 1 == n)) {
            return false;
        }
    }
    return true;
}

static bool reply_read_whole(Co *co, NbdReq *req)
{
    ReadPart all = { req->h.from, req->h.len, false };
    int ret;

    if (req->conn->structured) {
        return reply_read_part(co, req, &all, true);
    }
    ret = read_range(co, req, req->h.from, req->h.len);
    if (ret < 0) {
        nbd_reply_status(req, -ret);
    } else {
        nbd_reply_simple_read(req);
    }
    return ret == 0;
}

void nbd_read_reply(Co *co, NbdReq *req)
{
    NbdConn *conn = req->conn;
    NbdExport *exp = conn->exp;
    bool ok;

    if (req->h.len == 0) {
        nbd_reply_status(req, 0);
        return;
    }
    nbd_reply_wait_room(co, conn);
    req->buf_len = req->h.len;
    req->buf = nbd_bufpool_get(conn->pool, req->buf_len);
    if (!req->buf) {
        nbd_reply_status(req, ENOMEM);
        return;
    }
    root_begin(co, exp->common.root);
    ok = conn->structured && !(req->h.flags & NBD_CMD_FLAG_DF)
         ? reply_read_sparse(co, req) : reply_read_whole(co, req);
    if (ok && exp->coverage) {
        nbd_coverage_note(co, conn, req->h.from, req->h.len);
    }
    root_end(exp->common.root);
    co_move(co, conn->loop);
}
