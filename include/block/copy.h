/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The copy engine: what of a source is still to be copied to a target, and the
 * copying. It serves copy-before-write (a guest's write waits for its own
 * range) and the backup job (in the background, bounded) from one state.
 *
 *     todo       bits still to copy (granularity: the cluster size)
 *     in flight  ranges being copied (reqlist): overlapping calls wait
 *
 * A range leaves todo when its copy begins and comes back if it fails. All on
 * the graph's loop.
 */
#ifndef BLOCK_COPY_H
#define BLOCK_COPY_H

#include "block/io.h"
#include "util/bitset.h"
#include "util/ratelimit.h"

typedef struct CopyState CopyState;

typedef struct CopyOptions {
    int64_t min_cluster_size;   /* 0: by the target */
    bool discard_source;
    bool compress;
    bool use_copy_range;
    bool skip_unallocated;      /* sync=top: not what the chain below holds */
    Node *base;
} CopyOptions;

/* Reads @source and writes @target (edges of the caller, who outlives it).
 * Everything is in todo at first. */
CopyState *copy_state_new(Co *co, Edge *source, Edge *target,
                          const CopyOptions *opts, Error **errp);
void copy_state_free(CopyState *s);
int64_t copy_cluster_size(const CopyState *s);
Bitset *copy_todo(CopyState *s);
int64_t copy_bytes_todo(const CopyState *s);

/* Copies what of [off, off + len) is in todo, waiting for what others copy.
 * *@error_is_read tells the side that failed. For guests: before all else. */
int copy_range_now(Co *co, CopyState *s, int64_t off, int64_t len,
                   bool *error_is_read);

typedef struct CopyCall {
    int64_t off, len;
    int max_workers;            /* 0: engine's choice */
    int64_t max_chunk;          /* 0: engine's choice */
    RateLimit *limit;
    void (*progress)(void *opaque, int64_t bytes);
    void *opaque;
    bool cancelled;             /* set by others; copy_background returns */
    CoSleep sleep;
    /* Each chunk is one root_begin/root_end of this root. */
    struct Root *root;
} CopyCall;
/* Copies in the background until the range is done, an error (0 or -errno,
 * *@error_is_read), or cancelled (-ECANCELED). */
int copy_background(Co *co, CopyState *s, CopyCall *call,
                    bool *error_is_read);
/* Ends @call soon; any coroutine of the loop. */
void copy_cancel(CopyCall *call);
/* The bytes that status finds unallocated (or already zero in a fresh target)
 * leave todo; returns how many bytes were looked at. */
int64_t copy_skip_unallocated(Co *co, CopyState *s, int64_t off);

#endif
