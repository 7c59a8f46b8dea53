/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Byte ranges under way: a list, walked from the newest. Few are under way at a
 * time (a copy's fan-out, a node's serialising requests), so a list it is.
 */
#include "util/reqlist.h"

static bool range_overlaps(const RangeReq *req, int64_t off, int64_t len)
{
    return off < req->off + req->len && req->off < off + len;
}

RangeReq *reqlist_find(const ReqList *list, int64_t off, int64_t len)
{
    RangeReq *req = list->first;

    while (req && !range_overlaps(req, off, len)) {
        req = req->next;
    }
    return req;
}

void reqlist_add(ReqList *list, RangeReq *req, int64_t off, int64_t len)
{
    g_assert(len > 0 && !reqlist_find(list, off, len));
    *req = (RangeReq) { .off = off, .len = len, .next = list->first };
    if (req->next) {
        req->next->prev = req;
    }
    list->first = req;
}

void reqlist_remove(ReqList *list, RangeReq *req)
{
    if (req->prev) {
        req->prev->next = req->next;
    } else {
        g_assert(list->first == req);
        list->first = req->next;
    }
    if (req->next) {
        req->next->prev = req->prev;
    }
    req->prev = req->next = NULL;
    co_queue_wake_all(&req->waiters);
}

void reqlist_shrink(RangeReq *req, int64_t len)
{
    g_assert(len > 0 && len <= req->len);
    if (len < req->len) {
        req->len = len;
        co_queue_wake_all(&req->waiters);
    }
}

bool reqlist_wait_one(Co *co, ReqList *list, int64_t off, int64_t len)
{
    RangeReq *req = reqlist_find(list, off, len);

    if (!req) {
        return false;
    }
    co_queue_wait(co, &req->waiters);
    return true;
}

void reqlist_wait_all(Co *co, ReqList *list, int64_t off, int64_t len)
{
    while (reqlist_wait_one(co, list, off, len)) {
        /* Others may have come while we waited. */
    }
}
