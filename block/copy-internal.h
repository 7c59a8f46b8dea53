/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What copy.c and copy-background.c share. */
#ifndef BLOCK_COPY_INTERNAL_H
#define BLOCK_COPY_INTERNAL_H

#include "block/copy.h"
#include "util/reqlist.h"

struct CopyState {
    Edge *source, *target;
    CopyOptions opts;
    int64_t len;                /* of the disk, when the copy began */
    int shift;                  /* of the cluster size */
    /* The target shows the source where it has nothing: who reads the target
     * and was sent to the source must be done before the copy lets the source
     * change. Writes are REQ_SERIALISING then: they wait for such readers. */
    ReqFlags write_flags;
    Bitset *todo;
    ReqList requests;
    void (*progress)(void *opaque, int64_t bytes);
    void *progress_opaque;
};

/* Moves the first run of todo in [off, end), at most @max bytes, into a
 * request. False if there is none. */
bool copy_claim(CopyState *s, RangeReq *req, int64_t off, int64_t end,
                int64_t max);
/* Ends it; back to todo if @ret says that it failed. */
void copy_release(CopyState *s, RangeReq *req, int ret);
/* Copies a claimed range. *@is_read is set if an error was the source's. */
int copy_region(Co *co, CopyState *s, int64_t off, int64_t len, bool *is_read);

#endif
