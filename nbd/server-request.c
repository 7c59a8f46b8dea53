/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Transmission: receiving requests and carrying them out.
 *
 * One reader coroutine a connection fills a large buffer with one receive and
 * parses as many requests as it holds; each runs in a coroutine of its own. A
 * payload that reaches past the buffer is received straight into the request's
 * own memory. While as many are in flight as are allowed, or while they may take
 * NBD_MAX_MEMORY, the reader waits, which in turn stops the client. What the server
 * has no memory for it carries out by itself.
 *
 * Requests are checked here, where they enter: below, the block layer asserts.
 * The connection follows its export to another loop between two requests.
 */

#include "nbd/server-internal.h"
#include "util/iothread.h"

#define RX_LEAST (32 * KiB)
#define RX_SIZE (256 * KiB)
#define CACHE_CHUNK MiB

typedef struct Command {
    uint16_t flags;             /* that a client may set, besides FUA: that is
                                 * nothing to what does not write */
    bool writes;
    int (*run)(Co *co, NbdReq *req);    /* NULL: builds its own reply */
    void (*reply)(Co *co, NbdReq *req);
} Command;

/* ---- receiving ---- */

void nbd_reader_wait(Co *co, NbdConn *conn)
{
    conn->reader_waits = true;
    co_suspend(co);
}

void nbd_reader_settle(Co *co, NbdConn *conn, unsigned in_flight)
{
    while (conn->in_flight > in_flight || conn->sending || conn->send_soon) {
        nbd_reader_wait(co, conn);
    }
}

/* Whether its clients give way to those of other exports. */
static bool export_is_background(const NbdExport *exp)
{
    Node *node = root_node(exp->common.root);

    return node && node_skip_filters(node)->drv->background;
}

/* Goes where the export has gone; nothing is in flight on the way. */
static void conn_follow_export(Co *co, NbdConn *conn)
{
    Root *root = conn->exp->common.root;

    while (root->loop != conn->loop) {
        nbd_reader_settle(co, conn, 0);
        iothread_unuse(conn->loop);
        conn->loop = root->loop;
        iothread_use(conn->loop);
        co_move(co, conn->loop);
    }
    if (!conn->listed) {
        conn->listed = true;
        co_set_background(co, export_is_background(conn->exp));
        g_ptr_array_add(conn->exp->served, conn);
    }
}

/* A client that fills the buffer gets a larger one, if there is memory for it. */
static void rx_grow(NbdConn *conn)
{
    if (conn->rx_size < RX_SIZE && conn->rx_end == conn->rx_size &&
        budget_take_spare(conn->server->memory, RX_SIZE - conn->rx_size)) {
        conn->rx = g_realloc(conn->rx, RX_SIZE);
        conn->rx_size = RX_SIZE;
    }
}

/* Makes at least @need bytes available at rx_pos. False at the end. */
static bool rx_fill(Co *co, NbdConn *conn, size_t need)
{
    if (conn->rx_end - conn->rx_pos >= need) {
        return true;
    }
    memmove(conn->rx, conn->rx + conn->rx_pos, conn->rx_end - conn->rx_pos);
    conn->rx_end -= conn->rx_pos;
    conn->rx_pos = 0;
    while (conn->rx_end < need) {
        ssize_t n;

        conn->receiving = true;
        n = channel_read(co, conn->ch, conn->rx + conn->rx_end,
                         conn->rx_size - conn->rx_end);
        conn->receiving = false;
        if (n == -ECANCELED) {
            conn_follow_export(co, conn);
            continue;
        }
        if (n <= 0) {
            return false;
        }
        conn->rx_end += n;
    }
    rx_grow(conn);
    return true;
}

bool nbd_rx_payload(Co *co, NbdConn *conn, void *buf, size_t len)
{
    size_t here = MIN(len, conn->rx_end - conn->rx_pos);

    memcpy(buf, conn->rx + conn->rx_pos, here);
    conn->rx_pos += here;
    return here == len ||
           channel_read_all(co, conn->ch, (char *)buf + here, len - here) == 1;
}

bool nbd_rx_skip(Co *co, NbdConn *conn, uint64_t len)
{
    while (len) {
        size_t n;

        if (!rx_fill(co, conn, 1)) {
            return false;
        }
        n = MIN(len, conn->rx_end - conn->rx_pos);
        conn->rx_pos += n;
        len -= n;
    }
    return true;
}

/* ---- carrying out ---- */

static int run_write(Co *co, NbdReq *req)
{
    IoVec iov;

    iov_init_buf(&iov, req->buf, req->h.len);
    return root_write(co, req->conn->exp->common.root, req->h.from,
                      req->h.len, &iov, 0,
                      req->h.flags & NBD_CMD_FLAG_FUA ? REQ_FUA : 0);
}

static int run_flush(Co *co, NbdReq *req)
{
    return root_flush(co, req->conn->exp->common.root);
}

static int run_trim(Co *co, NbdReq *req)
{
    Root *root = req->conn->exp->common.root;
    int ret = root_discard(co, root, req->h.from, req->h.len);

    if (ret == 0 && (req->h.flags & NBD_CMD_FLAG_FUA)) {
        ret = root_flush(co, root);
    }
    return ret;
}

static int run_write_zeroes(Co *co, NbdReq *req)
{
    ReqFlags flags = 0;

    if (req->h.flags & NBD_CMD_FLAG_FUA) {
        flags |= REQ_FUA;
    }
    if (!(req->h.flags & NBD_CMD_FLAG_NO_HOLE)) {
        flags |= REQ_MAY_UNMAP;
    }
    if (req->h.flags & NBD_CMD_FLAG_FAST_ZERO) {
        flags |= REQ_NO_FALLBACK;
    }
    return root_zero(co, req->conn->exp->common.root, req->h.from, req->h.len,
                     flags);
}

/* Reads into the void, so that the storage's cache holds the range. */
static int run_cache(Co *co, NbdReq *req)
{
    NbdConn *conn = req->conn;
    uint64_t done = 0;

    req->buf_len = MIN(req->h.len, req->tight ? NBD_OWN_MEMORY : CACHE_CHUNK);
    req->buf = nbd_bufpool_get(conn->pool, req->buf_len);
    if (!req->buf) {
        return -ENOMEM;
    }
    while (done < req->h.len) {
        int64_t n = MIN(req->h.len - done, req->buf_len);
        int ret = root_pread(co, conn->exp->common.root, req->h.from + done, n,
                             req->buf);
        if (ret < 0) {
            return ret;
        }
        done += n;
    }
    return 0;
}

/* ---- dispatch ---- */

static const Command commands[NBD_CMD_COUNT] = {
    [NBD_CMD_READ] = { NBD_CMD_FLAG_DF, false, NULL, nbd_read_reply },
    [NBD_CMD_WRITE] = { 0, true, run_write, NULL },
    [NBD_CMD_FLUSH] = { 0, false, run_flush, NULL },
    [NBD_CMD_TRIM] = { 0, true, run_trim, NULL },
    [NBD_CMD_CACHE] = { 0, false, run_cache, NULL },
    [NBD_CMD_WRITE_ZEROES] = {
        NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO, true, run_write_zeroes,
        NULL
    },
    [NBD_CMD_BLOCK_STATUS] = {
        NBD_CMD_FLAG_REQ_ONE, false, NULL, nbd_status_reply
    },
};

/* The range of a request that is allowed otherwise. */
static int range_validate(const NbdReq *req, char **msg)
{
    const NbdRequestHeader *h = &req->h;
    uint64_t size = MAX(root_length(req->conn->exp->common.root), 0);

    if (h->from > size || h->len > size - h->from) {
        *msg = g_strdup_printf("operation past EOF; From: %" PRIu64 ", Len: %"
                               PRIu64 ", Size: %" PRIu64, h->from,
                               (uint64_t)h->len, size);
        return h->type == NBD_CMD_WRITE || h->type == NBD_CMD_WRITE_ZEROES
               ? ENOSPC : EINVAL;
    }
    if (h->type == NBD_CMD_READ && h->len > NBD_MAX_PAYLOAD) {
        *msg = g_strdup_printf("len (%" PRIu64 " ) is larger than max len (%"
                               PRIu64 ")", (uint64_t)h->len,
                               (uint64_t)NBD_MAX_PAYLOAD);
        return EINVAL;
    }
    if (h->type == NBD_CMD_BLOCK_STATUS && !h->len) {
        *msg = g_strdup("need non-zero length");
        return EINVAL;
    }
    return 0;
}

/* A positive errno and a message, which the caller owns, if the request must
 * not be carried out. */
static int request_validate(const NbdReq *req, char **msg)
{
    const NbdRequestHeader *h = &req->h;
    const NbdConn *conn = req->conn;
    uint16_t flags = h->flags;
    const Command *cmd;

    if (h->type >= NBD_CMD_COUNT || h->type == NBD_CMD_DISC) {
        *msg = g_strdup_printf("invalid request type (%u) received", h->type);
        return EINVAL;
    }
    cmd = &commands[h->type];
    if (conn->extended && (h->type == NBD_CMD_WRITE ||
                           h->type == NBD_CMD_BLOCK_STATUS)) {
        flags &= ~NBD_CMD_FLAG_PAYLOAD_LEN;
    }
    if (flags & ~(cmd->flags | NBD_CMD_FLAG_FUA) ||
        ((flags & NBD_CMD_FLAG_DF) && !conn->structured)) {
        *msg = g_strdup_printf("unsupported flags for command %s (got 0x%x)",
                               nbd_cmd_name(h->type), h->flags);
        return EINVAL;
    }
    if (cmd->writes && !conn->exp->common.writable) {
        *msg = g_strdup("Export is read-only");
        return EPERM;
    }
    if (h->type == NBD_CMD_FLUSH) {
        return h->from || h->len ? EINVAL : 0;
    }
    if (h->type == NBD_CMD_BLOCK_STATUS &&
        (h->flags & NBD_CMD_FLAG_PAYLOAD_LEN)) {
        return 0;               /* the range is in the payload */
    }
    return range_validate(req, msg);
}

static void request_run(Co *co, void *opaque)
{
    NbdReq *req = opaque;
    const Command *cmd = &commands[req->h.type];

    if (cmd->run) {
        int ret = cmd->run(co, req);
        co_move(co, req->conn->loop);
        nbd_reply_status(req, -ret);
    } else {
        cmd->reply(co, req);
    }
    nbd_reply_send(co, req);
}

static bool has_payload(const NbdConn *conn, const NbdRequestHeader *h)
{
    return h->type == NBD_CMD_WRITE ||
           (conn->extended && (h->flags & NBD_CMD_FLAG_PAYLOAD_LEN));
}

/* What a request without payload takes to be answered. */
static size_t reply_memory(const NbdReq *req)
{
    switch (req->h.type) {
    case NBD_CMD_READ:
        return nbd_bufpool_room(req->h.len);
    case NBD_CMD_CACHE:
        return nbd_bufpool_room(MIN(req->h.len, CACHE_CHUNK));
    case NBD_CMD_BLOCK_STATUS:
        return nbd_status_memory(req);
    default:
        return 0;
    }
}

/* Whether a payload is not what it must be, by its length alone. */
static int payload_validate(const NbdReq *req)
{
    return req->h.type == NBD_CMD_BLOCK_STATUS &&
           req->h.len > nbd_status_payload_max(req->conn) ? EINVAL : 0;
}

/* Receives the payload, and what is tight is written as well; a positive errno if
 * it had to be thrown away, -1 if the stream is no use any more. */
static int request_payload(Co *co, NbdConn *conn, NbdReq *req, int err)
{
    if (req->h.len > NBD_MAX_PAYLOAD) {
        return -1;
    }
    err = err ? err : payload_validate(req);
    if (!err && req->h.len) {
        if (!nbd_memory_claim(co, req, nbd_bufpool_room(req->h.len))) {
            return conn->failed ? -1 : nbd_slices_write(co, req);
        }
        req->buf_len = req->h.len;
        req->buf = nbd_bufpool_get(conn->pool, req->buf_len);
        err = req->buf ? 0 : ENOMEM;
    }
    if (req->buf) {
        return nbd_rx_payload(co, conn, req->buf, req->buf_len) ? err : -1;
    }
    return nbd_rx_skip(co, conn, req->h.len) ? err : -1;
}

/* All of it has been received. */
static void request_start(Co *co, NbdReq *req)
{
    if (req->h.type == NBD_CMD_WRITE && req->tight) {
        nbd_reply_status(req, 0);
        nbd_reply_queue(req);
    } else if (!nbd_memory_claim(co, req, reply_memory(req)) &&
               req->h.type == NBD_CMD_READ) {
        nbd_slices_read(co, req);
    } else {
        co_spawn(req->conn->loop, request_run, req);
    }
}

/* Receives and starts one request; false at the end of the stream. */
static bool request_next(Co *co, NbdConn *conn)
{
    size_t size = conn->extended ? NBD_EXT_REQUEST_SIZE : NBD_REQUEST_SIZE;
    g_autofree char *msg = NULL;
    NbdRequestHeader h;
    NbdReq *req;
    int err;

    if (!rx_fill(co, conn, size) ||
        !nbd_request_unpack(conn->rx + conn->rx_pos, conn->extended, &h)) {
        return false;
    }
    conn->rx_pos += size;
    if (h.type == NBD_CMD_DISC) {
        return false;
    }
    req = nbd_req_new(conn);
    req->h = h;
    err = request_validate(req, &msg);
    if (has_payload(conn, &h)) {
        err = request_payload(co, conn, req, err);
        if (err < 0) {
            nbd_req_free(req);
            return false;
        }
        if (!err && h.type == NBD_CMD_BLOCK_STATUS) {
            err = nbd_status_take_payload(req);
            err = err ? err : range_validate(req, &msg);
        }
    }
    if (err) {
        nbd_reply_error(req, err, g_steal_pointer(&msg));
        nbd_reply_queue(req);
    } else {
        request_start(co, req);
    }
    return true;
}

void nbd_transmission(Co *co, NbdConn *conn)
{
    conn->reader = co;
    conn->loop = conn->exp->loop;
    iothread_use(conn->loop);
    co_move(co, conn->loop);
    conn->rx_size = RX_LEAST;
    conn->rx = g_malloc(conn->rx_size);
    conn->tx_last = &conn->tx_first;
    conn->pool = nbd_bufpool_new(conn->server->memory);

    do {
        conn_follow_export(co, conn);
        while (conn->in_flight >= conn->server->set.max_requests) {
            nbd_reader_wait(co, conn);
        }
    } while (!conn->failed && request_next(co, conn));

    nbd_reader_settle(co, conn, 0);
    channel_shutdown(conn->ch);
    if (conn->listed) {
        g_ptr_array_remove_fast(conn->exp->served, conn);
    }
    if (conn->reads) {
        root_begin(co, conn->exp->common.root);
        nbd_coverage_leave(conn);
        root_end(conn->exp->common.root);
    }
    co_set_background(co, false);
    co_move(co, loop_main());
    iothread_unuse(conn->loop);

    while (conn->free_reqs) {
        NbdReq *req = conn->free_reqs;
        conn->free_reqs = req->next;
        g_free(req);
    }
    nbd_bufpool_free(conn->pool);
    budget_give(conn->server->memory, conn->rx_size - RX_LEAST);
    g_free(conn->rx);
}
