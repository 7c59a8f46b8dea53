/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The words of the block layer. Offsets and lengths are bytes in int64_t;
 * there are no sectors.
 */
#ifndef BLOCK_TYPES_H
#define BLOCK_TYPES_H

#include "util/co.h"
#include "util/error.h"
#include "util/iov.h"
#include "util/loop.h"
#include "util/transaction.h"
#include "qapi/qapi-types.h"

typedef struct BlockDriver BlockDriver;
typedef struct Node Node;
typedef struct Edge Edge;
typedef struct Root Root;
typedef struct DirtyBitmap DirtyBitmap;
typedef struct BlockDriverInfo BlockDriverInfo;
typedef unsigned OwnerId;               /* see block/owner.h */

/* The longest request that the core passes on in one piece. */
#define BLOCK_MAX_REQUEST ((int64_t)INT_MAX / 4096 * 4096)
/* The longest disk: what no request_alignment (1 GiB at most) rounds up too far. */
#define BLOCK_MAX_LENGTH (INT64_MAX / GiB * GiB)

/* What a parent does with its child, or lets others do (QEMU's names). */
typedef enum BlockPerm {
    PERM_CONSISTENT_READ = 1 << 0,
    PERM_WRITE           = 1 << 1,
    PERM_WRITE_UNCHANGED = 1 << 2,
    PERM_RESIZE          = 1 << 3,
    PERM_ALL             = (1 << 4) - 1,
} BlockPerm;

/* What a child is to its parent node. */
typedef enum EdgeRole {
    ROLE_PRIMARY,       /* a filter's or raw's "file": requests pass through */
    ROLE_STORAGE,       /* a format's "file": data and metadata */
    ROLE_METADATA,      /* a format's "file" when data are elsewhere */
    ROLE_DATA,          /* "data-file" */
    ROLE_COW,           /* "backing" */
    ROLE_TARGET,        /* copy-before-write's "target", blklogwrites' "log" */
} EdgeRole;

typedef enum ReqFlags {
    REQ_FUA             = 1 << 0,   /* durable before it completes */
    REQ_MAY_UNMAP       = 1 << 1,   /* zero: may deallocate */
    REQ_NO_FALLBACK     = 1 << 2,   /* zero: -ENOTSUP rather than slowly */
    REQ_COMPRESSED      = 1 << 3,   /* write: store compressed */
    REQ_SERIALISING     = 1 << 4,   /* nothing overlapping runs beside it */
    REQ_WRITE_UNCHANGED = 1 << 5,   /* write: the content stays the same */
    REQ_PREFETCH        = 1 << 6,   /* read: for copy-on-read, no data wanted */
    REQ_BACKGROUND      = 1 << 7,   /* gives way to requests without it */
} ReqFlags;

/* Of block status: one extent of one layer, or of a chain. */
typedef enum ExtentFlags {
    EXTENT_DATA         = 1 << 0,   /* reads as data of this layer */
    EXTENT_ZERO         = 1 << 1,   /* reads as zeroes */
    EXTENT_OFFSET_VALID = 1 << 2,   /* .map in .file holds the bytes */
    EXTENT_ALLOCATED    = 1 << 3,   /* this layer decides, not its backing */
    EXTENT_EOF          = 1 << 4,   /* ends at the node's end */
    EXTENT_COMPRESSED   = 1 << 5,
    EXTENT_RECURSE      = 1 << 6,   /* ask .file at .map for zeroes, too */
    EXTENT_RAW          = 1 << 7,   /* all of the answer is .file's at .map */
} ExtentFlags;

typedef struct Extent {
    int64_t len;        /* bytes from the asked offset on that are alike */
    int flags;          /* ExtentFlags */
    int64_t map;        /* with EXTENT_OFFSET_VALID or EXTENT_RAW */
    Node *file;
    int depth;          /* status_above: 0 the top layer, -1 no layer */
} Extent;

typedef struct BlockLimits {
    int64_t request_alignment;  /* power of two, of offsets and lengths */
    int64_t mem_alignment;      /* of buffers; 1 if none is needed */
    int64_t max_transfer;       /* 0: no limit */
    int64_t opt_transfer;       /* 0: unknown */
    int64_t max_zero;           /* 0: no limit */
    int64_t zero_alignment;     /* of write-zeroes; 0: request_alignment */
    int64_t max_discard;
    int64_t discard_alignment;
    int max_iov;                /* entries of one request; 0: no limit */
} BlockLimits;

/* How a node is opened, beside its typed options. */
typedef enum OpenFlags {
    OPEN_RDWR           = 1 << 0,
    OPEN_AUTO_RDONLY    = 1 << 1,   /* read-only where writing is refused */
    OPEN_NOCACHE        = 1 << 2,   /* O_DIRECT */
    OPEN_NO_FLUSH       = 1 << 3,   /* cache.no-flush, "unsafe" */
    OPEN_FORCE_SHARE    = 1 << 4,   /* qemu-img -U: needs to be read-only */
    OPEN_UNMAP          = 1 << 5,   /* discard=unmap */
    OPEN_NO_BACKING     = 1 << 6,
    OPEN_CHECK          = 1 << 7,   /* qemu-img check: damaged images too */
    OPEN_NO_IO          = 1 << 8,   /* only information is wanted */
    OPEN_RESIZE         = 1 << 9,
} OpenFlags;

#endif
