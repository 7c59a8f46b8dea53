/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The bitmap-populate job's state, and what its scan finds. */
#ifndef BLOCK_POPULATE_PRIVATE_H
#define BLOCK_POPULATE_PRIVATE_H

#include "block/dirty-bitmap.h"
#include "block/populate.h"
#include "block/root.h"
#include "util/ratelimit.h"

typedef enum ScanKind {
    SCAN_CLEAN, SCAN_DIRTY, SCAN_READ,
} ScanKind;

/* What is known of the range from an offset on. */
typedef struct Scan {
    ScanKind kind;
    int64_t len;
    bool read_node, read_base;  /* else it is known to be zeroes */
} Scan;

typedef struct PopulateJob {
    Job common;
    Node *node;                 /* the root keeps it */
    DirtyBitmap *bm, *live;
    int shift;
    BitmapPattern pattern;
    Node *base;                 /* NULL: none */
    bool base_below;            /* in the node's own chain */
    int64_t base_length;
    bool frozen;                /* the chain is */
    Root *root, *base_root;     /* base_root NULL: its content isn't wanted */
    BlockdevOnError on_error;
    Bitset *found;
    /* The run coroutine's and its workers'; the graph's loop. */
    int64_t pos;                /* all before it is in found or under way */
    int64_t told;               /* how far it has ever been: the progress */
    int64_t failed_at, failed_len;
    int failed;                 /* -errno of the lowest chunk that failed */
    RateLimit limit;
    unsigned turns;
    GPtrArray *buffers;         /* of a chunk each, that nobody uses now */
} PopulateJob;

/* What [off, off + len), or the first s->len bytes of it, is for the pattern.
 * 0 or -errno. On the root's loop, to which it comes back. */
int populate_scan(Co *co, PopulateJob *p, int64_t off, int64_t len, Scan *s);

#endif
