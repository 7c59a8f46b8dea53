/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the requests of a connection may take, see NBD_OWN_MEMORY. The first bytes of
 * all that is claimed are the connection's own, the rest is taken from the
 * server's, whoever claims it.
 */

#include "nbd/server-internal.h"

/* How much of @memory is the server's. */
static size_t memory_charged(size_t memory)
{
    return memory > NBD_OWN_MEMORY ? memory - NBD_OWN_MEMORY : 0;
}

static bool memory_take(NbdReq *req, size_t len)
{
    NbdConn *conn = req->conn;

    if (!budget_take(conn->server->memory,
                     memory_charged(conn->memory + len) -
                     memory_charged(conn->memory))) {
        return false;
    }
    conn->memory += len;
    req->memory += len;
    return true;
}

bool nbd_memory_claim(Co *co, NbdReq *req, size_t len)
{
    NbdConn *conn = req->conn;
    bool alone;

    for (;;) {
        alone = conn->memory == req->memory;
        if ((alone || conn->memory + len <= NBD_MAX_MEMORY) &&
            memory_take(req, len)) {
            return true;
        }
        if (alone || conn->failed) {
            break;
        }
        conn->memory_waits = true;
        nbd_reader_wait(co, conn);
        conn->memory_waits = false;
    }
    req->tight = true;
    if (conn->memory < NBD_OWN_MEMORY) {
        memory_take(req, NBD_OWN_MEMORY - conn->memory);
    }
    return false;
}

void nbd_memory_release(NbdReq *req)
{
    NbdConn *conn = req->conn;
    size_t before = memory_charged(conn->memory);

    conn->memory -= req->memory;
    budget_give(conn->server->memory, before - memory_charged(conn->memory));
}
