/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Sending. A finished request builds its reply and queues it. The first reply
 * in an empty queue starts a sender, which runs after all that is ready now:
 * so the replies that became ready together leave in one sendmsg. The sender
 * ends when the queue is empty.
 *
 * Once TX_SOON bytes are queued whoever adds the last of them sends at once: the
 * data are still in the CPU's cache, and the client has something to do while
 * we read the next. While TX_FULL bytes wait for the client no more are read: they
 * would only fill memory and push each other out of the cache.
 *
 * Headers and small payloads of a reply lie in req->head, its data are referred
 * to; req->iov holds both in order. The head never moves once it is referred
 * to: its size is reserved beforehand.
 */

#include "nbd/server-internal.h"

#define TX_MAX_IOV 256
#define TX_SOON (64 * KiB)
#define TX_FULL MiB
#define CHUNK_HEAD_MAX (NBD_EXT_CHUNK_SIZE + 16)

static void reply_add_iov(NbdReq *req, void *base, size_t len)
{
    req->reply_len += len;
    if (req->niov) {
        struct iovec *last = &req->iov[req->niov - 1];
        if ((char *)last->iov_base + last->iov_len == base) {
            last->iov_len += len;
            return;
        }
    }
    g_assert(req->niov < req->iov_size);
    req->iov[req->niov++] = (struct iovec) { base, len };
}

static uint8_t *reply_head(NbdReq *req, size_t len)
{
    uint8_t *p = req->head + req->head_len;

    g_assert(req->head_len + len <= req->head_size);
    req->head_len += len;
    return p;
}

void nbd_reply_reserve(NbdReq *req, int chunks)
{
    if (chunks <= 1) {
        return;
    }
    g_assert(req->niov == 0);
    req->head_size = (size_t)chunks * CHUNK_HEAD_MAX;
    req->head = g_malloc(req->head_size);
    req->iov_size = chunks * 2;
    req->iov = g_new(struct iovec, req->iov_size);
}

void nbd_reply_chunk(NbdReq *req, bool done, uint16_t type, const void *small,
                     size_t small_len, void *data, size_t data_len)
{
    uint8_t head[CHUNK_HEAD_MAX];
    size_t len = nbd_chunk_pack(head, req->conn->extended,
                                done ? NBD_REPLY_FLAG_DONE : 0, type, &req->h,
                                small_len + data_len);
    uint8_t *p;

    if (small_len) {
        memcpy(head + len, small, small_len);
        len += small_len;
    }
    p = reply_head(req, len);
    memcpy(p, head, len);
    reply_add_iov(req, p, len);
    if (data_len) {
        reply_add_iov(req, data, data_len);
    }
}

void nbd_reply_simple_read(NbdReq *req)
{
    uint8_t *p = reply_head(req, NBD_SIMPLE_REPLY_SIZE);

    nbd_simple_reply_pack(p, NBD_OK, req->h.cookie);
    reply_add_iov(req, p, NBD_SIMPLE_REPLY_SIZE);
    if (req->h.len) {
        reply_add_iov(req, req->buf, req->h.len);
    }
}

void nbd_reply_status(NbdReq *req, int err)
{
    uint32_t error = nbd_error_from_errno(err);
    uint8_t payload[6] = { 0 };

    if (!req->conn->structured) {
        uint8_t *p = reply_head(req, NBD_SIMPLE_REPLY_SIZE);
        nbd_simple_reply_pack(p, error, req->h.cookie);
        reply_add_iov(req, p, NBD_SIMPLE_REPLY_SIZE);
    } else if (error) {
        stl_be_p(payload, error);
        nbd_reply_chunk(req, true, NBD_REPLY_TYPE_ERROR, payload,
                        sizeof(payload), NULL, 0);
    } else {
        nbd_reply_chunk(req, true, NBD_REPLY_TYPE_NONE, NULL, 0, NULL, 0);
    }
}

void nbd_reply_error(NbdReq *req, int err, char *msg)
{
    uint8_t payload[6];
    size_t len = msg ? MIN(strlen(msg), NBD_MAX_STRING_SIZE) : 0;

    g_assert(!req->owned);
    req->owned = msg;
    if (!req->conn->structured) {
        nbd_reply_status(req, err);
        return;
    }
    stl_be_p(payload, nbd_error_from_errno(err));
    stw_be_p(payload + 4, len);
    nbd_reply_chunk(req, true, NBD_REPLY_TYPE_ERROR, payload, sizeof(payload),
                    msg, len);
}

/* Takes as many queued replies as fit into @iov; returns the list of them. */
static NbdReq *sender_gather(NbdConn *conn, struct iovec *iov, int *niov)
{
    NbdReq *batch = conn->tx_first;
    NbdReq **link = &conn->tx_first;

    *niov = 0;
    while (*link && *niov + (*link)->niov <= TX_MAX_IOV) {
        NbdReq *req = *link;
        memcpy(iov + *niov, req->iov, req->niov * sizeof(*iov));
        *niov += req->niov;
        conn->tx_len -= req->reply_len;
        link = &req->next;
    }
    if (link == &conn->tx_first) {
        /* One reply alone has more entries: it goes by itself. */
        link = &batch->next;
        conn->tx_len -= batch->reply_len;
    }
    conn->tx_first = *link;
    *link = NULL;
    if (!conn->tx_first) {
        conn->tx_last = &conn->tx_first;
    }
    return batch;
}

static void wake_reader(NbdConn *conn)
{
    if (conn->reader_waits) {
        conn->reader_waits = false;
        co_wake(conn->reader);
    }
}

/* Sends what is queued and what comes meanwhile. */
static void sender_send(Co *co, NbdConn *conn)
{
    struct iovec iov[TX_MAX_IOV];

    conn->sending = true;
    while (conn->tx_first) {
        int niov;
        NbdReq *batch = sender_gather(conn, iov, &niov);
        int ret = 0;

        if (!conn->failed) {
            ret = niov ? channel_writev_all(co, conn->ch, iov, niov)
                       : channel_writev_all(co, conn->ch, batch->iov,
                                            batch->niov);
        }
        if (ret < 0) {
            conn->failed = true;
            channel_shutdown(conn->ch);
        }
        while (batch) {
            NbdReq *req = batch;
            batch = req->next;
            conn->tx_unsent -= req->reply_len;
            nbd_req_free(req);
        }
        co_queue_wake_all(&conn->tx_room);
    }
    conn->sending = false;
    wake_reader(conn);
}

static void sender_run(Co *co, void *opaque)
{
    NbdConn *conn = opaque;

    conn->send_soon = false;
    if (conn->sending) {
        wake_reader(conn);
    } else {
        sender_send(co, conn);
    }
}

void nbd_reply_queue(NbdReq *req)
{
    NbdConn *conn = req->conn;

    req->next = NULL;
    *conn->tx_last = req;
    conn->tx_last = &req->next;
    conn->tx_len += req->reply_len;
    conn->tx_unsent += req->reply_len;
    if (!conn->sending && !conn->send_soon) {
        conn->send_soon = true;
        co_spawn(conn->loop, sender_run, conn);
    }
}

void nbd_reply_wait_room(Co *co, NbdConn *conn)
{
    while (conn->sending && conn->tx_unsent >= TX_FULL) {
        co_queue_wait(co, &conn->tx_room);
    }
}

void nbd_reply_send(Co *co, NbdReq *req)
{
    NbdConn *conn = req->conn;

    nbd_reply_queue(req);
    if (conn->tx_len >= TX_SOON && !conn->sending) {
        sender_send(co, conn);
    }
}

NbdReq *nbd_req_new(NbdConn *conn)
{
    NbdReq *req = conn->free_reqs;

    if (req) {
        conn->free_reqs = req->next;
    } else {
        req = g_new(NbdReq, 1);
    }
    req->conn = conn;
    req->buf = NULL;
    req->buf_len = 0;
    req->head = req->small;
    req->head_len = 0;
    req->head_size = sizeof(req->small);
    req->iov = req->small_iov;
    req->niov = 0;
    req->reply_len = 0;
    req->iov_size = ARRAY_SIZE(req->small_iov);
    req->owned = NULL;
    req->extents = NULL;
    req->memory = 0;
    req->tight = false;
    conn->in_flight++;
    return req;
}

void nbd_req_free(NbdReq *req)
{
    NbdConn *conn = req->conn;

    nbd_bufpool_put(conn->pool, req->buf, req->buf_len);
    if (req->head != req->small) {
        g_free(req->head);
    }
    if (req->iov != req->small_iov) {
        g_free(req->iov);
    }
    g_free(req->owned);
    nbd_status_free(req);
    req->next = conn->free_reqs;
    conn->free_reqs = req;
    conn->in_flight--;
    nbd_memory_release(req);
    /* While a sender is at work it wakes the reader at its end, too: only the
     * one who waits for what has become free is in a hurry. */
    if (!conn->sending || (conn->memory_waits && req->memory)) {
        wake_reader(conn);
    }
}
