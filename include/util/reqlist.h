/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Byte ranges under way, and who waits for one of them. Lives on its users'
 * stacks: no allocation. One loop.
 */
#ifndef UTIL_REQLIST_H
#define UTIL_REQLIST_H

#include "util/co.h"

typedef struct RangeReq {
    int64_t off, len;
    struct RangeReq *prev, *next;
    CoQueue waiters;
} RangeReq;

typedef struct ReqList {
    RangeReq *first;
} ReqList;

/* The range must not overlap one of the list. */
void reqlist_add(ReqList *list, RangeReq *req, int64_t off, int64_t len);
/* Takes it out and wakes its waiters. */
void reqlist_remove(ReqList *list, RangeReq *req);
/* Cuts the end off (0 < @len <= req->len) and wakes its waiters. */
void reqlist_shrink(RangeReq *req, int64_t len);
RangeReq *reqlist_find(const ReqList *list, int64_t off, int64_t len);
/* Suspends until a conflicting range has gone; false if there was none.
 * The caller asks again until it is false. */
bool reqlist_wait_one(Co *co, ReqList *list, int64_t off, int64_t len);
void reqlist_wait_all(Co *co, ReqList *list, int64_t off, int64_t len);

#endif
