/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Requests under way on a node, and who waits for whom.
 *
 *     node->tracked -> newest -> older -> ... -> oldest
 *
 * A serialising request has its range for itself: it waits for all that
 * overlap and came before it, and those that come later wait for it. The order
 * of arrival is the only order: a request waits for older ones only, so no
 * circle of waiting can form, and nobody starves. What makes a request
 * serialising must be known when it begins.
 *
 * Requests live on the stacks of their coroutines. A node without serialising
 * requests pays for two pointers.
 */

#include "block/io.h"

static TrackedReq *io_track_conflict(const TrackedReq *req)
{
    for (TrackedReq *o = req->older; o; o = o->older) {
        if ((req->serialising || o->serialising) &&
            req->off < o->end && o->off < req->end) {
            return o;
        }
    }
    return NULL;
}

static void io_track_round(TrackedReq *req)
{
    int64_t align = req->node->limits.request_alignment;

    req->off = ROUND_DOWN(req->off, align);
    req->end = ROUND_UP(req->end, align);
}

static void io_track_wait(Co *co, TrackedReq *req)
{
    TrackedReq *o;

    while ((o = io_track_conflict(req))) {
        co_queue_wait(co, &o->waiters);
    }
}

void io_track_begin(Co *co, TrackedReq *req, Node *node, int64_t off,
                    int64_t len, bool serialising)
{
    *req = (TrackedReq) {
        .node = node,
        .co = co,
        .off = off,
        .end = off + len,
        .serialising = serialising,
        .older = node->tracked,
    };
    if (req->older) {
        req->older->newer = req;
    }
    node->tracked = req;
    if (serialising) {
        io_track_round(req);
        node->serialising++;
    }
    if (G_UNLIKELY(node->serialising)) {
        io_track_wait(co, req);
    }
}

void io_track_end(TrackedReq *req)
{
    Node *node = req->node;

    if (req->newer) {
        req->newer->older = req->older;
    } else {
        node->tracked = req->older;
    }
    if (req->older) {
        req->older->newer = req->newer;
    }
    if (req->serialising) {
        node->serialising--;
    }
    if (G_UNLIKELY(!co_queue_empty(&req->waiters))) {
        co_queue_wake_all(&req->waiters);
    }
}

bool io_track_has(const Node *node, const Co *co)
{
    for (const TrackedReq *r = node->tracked; r; r = r->older) {
        if (r->co == co) {
            return true;
        }
    }
    return false;
}
