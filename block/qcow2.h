/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the files of the qcow2 driver share: the state of an open image and the
 * functions between them. The format itself is in qcow2-format.h.
 *
 * Locks. `meta` is held to change metadata: mappings, L1, refcounts, the
 * refcount table, snapshots, the bitmap directory. It is never held across
 * reading or writing guest data. Looking a mapping up takes no lock; a caller
 * that suspends looks again. Below `meta` come the mutexes of write-back.
 *
 * Freeing. A host cluster that something on disk may still refer to, or that a
 * request in flight may still read or write, must not be used again. So
 * references are dropped in two steps: qcow2_free_later() notes the range; its
 * refcount falls only after the tables that no longer refer to it are durable
 * and all requests that were in flight are over. Hence refcounts never have to
 * wait for L2 tables, only L2 tables for refcounts. Order of durability:
 * docs/devel/qcow2-crash-safety.rst.
 */
#ifndef BLOCK_QCOW2_H
#define BLOCK_QCOW2_H

#include "block/dirty-bitmap.h"
#include "block/io.h"
#include "block/open.h"
#include "block/reopen.h"
#include "block/qcow2-format.h"
#include "util/bitset.h"

typedef struct Qcow2State Qcow2State;
typedef struct Qcow2Cache Qcow2Cache;
typedef struct Qcow2Alloc Qcow2Alloc;       /* qcow2-alloc.c */

/* Why clusters are freed: which pass-discard-* option is asked. */
typedef enum Qcow2DiscardType {
    QCOW2_DISCARD_NEVER,
    QCOW2_DISCARD_ALWAYS,
    QCOW2_DISCARD_REQUEST,
    QCOW2_DISCARD_SNAPSHOT,
    QCOW2_DISCARD_OTHER,
    QCOW2_DISCARD__MAX,
} Qcow2DiscardType;

/* Sections that a write is held against, and those it may touch. */
typedef enum Qcow2Overlap {
    QCOW2_OL_MAIN_HEADER    = 1 << 0,
    QCOW2_OL_ACTIVE_L1      = 1 << 1,
    QCOW2_OL_ACTIVE_L2      = 1 << 2,
    QCOW2_OL_REFCOUNT_BLOCK = 1 << 3,
    QCOW2_OL_REFCOUNT_TABLE = 1 << 4,
    QCOW2_OL_SNAPSHOT_TABLE = 1 << 5,
    QCOW2_OL_INACTIVE_L1    = 1 << 6,
    QCOW2_OL_INACTIVE_L2    = 1 << 7,
    QCOW2_OL_BITMAP_DIR     = 1 << 8,
    QCOW2_OL_NONE           = 0,
    QCOW2_OL_CONSTANT       = QCOW2_OL_MAIN_HEADER | QCOW2_OL_REFCOUNT_TABLE |
                              QCOW2_OL_SNAPSHOT_TABLE | QCOW2_OL_ACTIVE_L1 |
                              QCOW2_OL_BITMAP_DIR,
    QCOW2_OL_CACHED         = QCOW2_OL_CONSTANT | QCOW2_OL_ACTIVE_L2 |
                              QCOW2_OL_REFCOUNT_BLOCK | QCOW2_OL_INACTIVE_L1,
    QCOW2_OL_ALL            = QCOW2_OL_CACHED | QCOW2_OL_INACTIVE_L2,
} Qcow2Overlap;

/* An internal snapshot, as its table holds it. */
typedef struct Qcow2Snapshot {
    uint64_t l1_offset;
    uint32_t l1_size;               /* entries */
    char *id, *name;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec;
    uint64_t vm_state_size;
    uint64_t disk_size;
    uint64_t icount;                /* -1ULL: unknown */
    uint32_t extra_size;            /* on disk, with what is known of it */
    uint8_t *unknown_extra;         /* past the known fields; NULL: none */
} Qcow2Snapshot;

struct Qcow2State {
    Node *node;
    Edge *data;                     /* "data-file", or node->file */
    bool external_data;             /* data is another file: offsets are the
                                     * guest's, there are no refcounts for it */

    /* As on disk, but for what is dirty: l1_size, l1_offset, reftable_*,
     * snapshots and feature bits are changed here and there together. */
    Qcow2Header hdr;
    Qcow2Exts ext;

    /* Geometry. */
    int cluster_bits;
    int64_t cluster_size;
    bool subclusters;               /* extended L2 entries */
    int sub_bits;                   /* log2 of the subcluster size, which is
                                     * the cluster's without subclusters */
    int64_t sub_size;
    int subs;                       /* subclusters of a cluster: 1 or 32 */
    int l2_entry_size;              /* 8 or 16 bytes */
    int l2_bits;                    /* log2 of the entries of an L2 table */
    int slice_bits;                 /* log2 of the entries of a cached slice */
    int refblock_bits;              /* log2 of a refcount block's entries */
    int refslice_bits;              /* the same of a cached slice of one */
    int refcount_bits;              /* 1 .. 64 */
    uint64_t refcount_max;

    CoMutex meta;
    CoMutex header_lock;            /* writing fields or all of the header, until
                                     * hdr is what was written */

    /* L1 in host order; hdr.l1_size entries. Dirty ones are written by
     * qcow2_flush_metadata(). */
    uint64_t *l1;
    Bitset *l1_dirty;               /* one bit for 64 entries (512 bytes) */

    Qcow2Cache *l2_cache;           /* slices of 1 << slice_bits entries */
    Qcow2Cache *refblock_cache;
    int64_t cache_clean_interval;   /* seconds; 0: never */
    LoopTimer *cache_clean_timer;
    bool cache_clean_armed;

    /* Refcounts (qcow2-refcount.c). reftable in host order. */
    uint64_t *reftable;
    int64_t reftable_size;          /* entries */
    Bitset *reftable_dirty;         /* one bit for 64 entries (512 bytes) */
    CoMutex reftable_lock;          /* writing or moving it */
    int64_t free_cursor;            /* no free cluster lies before it */
    struct Qcow2Unpacked *unpacked; /* clusters read in part; NULL: none */
    int64_t free_byte;              /* where the next compressed data go; 0 */
    struct Qcow2CompressRun *compress_last;     /* of those under way */
    int64_t fresh_offset;           /* from here on the file was never used
                                     * and reads as zeroes; INT64_MAX: no */
    bool lazy_refcounts;            /* option or feature bit, when writable */
    bool in_release;                /* freed ranges are being given back */

    /* Freed ranges on their way (qcow2-free.c). */
    GArray *freed;                  /* not durable yet */
    GArray *freed_durable;          /* waiting for requests in flight */
    int64_t freed_bytes;            /* of freed */
    bool pass_discard[QCOW2_DISCARD__MAX];
    bool discard_no_unref;
    /* Requests in flight by epoch: those of the other epoch end before the
     * epoch advances. */
    unsigned epoch;
    unsigned epoch_reqs[2];

    /* Allocating writes under way (qcow2-alloc.c). */
    Qcow2Alloc *allocs;

    CoMutex flush_lock;             /* one qcow2_flush_metadata() at a time */

    /* Internal snapshots (qcow2-snapshot.c). */
    Qcow2Snapshot *snapshots;
    unsigned nb_snapshots;
    int64_t snapshots_bytes;        /* of the table on disk */

    /* Overlap checks (qcow2-overlap.c). */
    int overlap_check;              /* Qcow2Overlap sections asked for */
    GHashTable *meta_clusters;      /* of L2 tables and refcount blocks: index
                                     * to section; NULL: to be built */
    bool signaled_corruption;

    bool corrupt;                   /* no more requests are served */
    bool untidy;                    /* COPIED flags and counts may differ: the
                                     * image stays dirty */
    bool holes_checked, has_holes;  /* the file has fewer blocks than clusters:
                                     * status looks below for zeroes */
    bool bitmaps_loaded;            /* qcow2-bitmap.c */
    bool bitmaps_unmarked;          /* they could not be marked in use: nothing
                                     * may be written */
    void *bitmap_state;             /* qcow2-bitmap.c's own */
};

static inline Qcow2State *qcow2_state(const Node *node)
{
    return node->state;
}

/* Over a backing file, or will be: it was opened without the one that the header
 * names. What its tables don't have need not be zeroes. */
static inline bool qcow2_over_backing(const Node *node)
{
    return node->backing || node->backing_file;
}

/* A moment that blkdebug below the image may have a rule for. */
static inline void qcow2_event(Co *co, Node *node, BlkdebugEvent event)
{
    io_debug_event(co, node->file->child, event);
}

/* ---- arithmetic ---- */

static inline int64_t qcow2_cluster_down(const Qcow2State *s, int64_t off)
{
    return off & ~(s->cluster_size - 1);
}

static inline int64_t qcow2_cluster_up(const Qcow2State *s, int64_t off)
{
    return (off + s->cluster_size - 1) & ~(s->cluster_size - 1);
}

static inline int64_t qcow2_in_cluster(const Qcow2State *s, int64_t off)
{
    return off & (s->cluster_size - 1);
}

/* Clusters that hold @bytes. */
static inline int64_t qcow2_size_to_clusters(const Qcow2State *s,
                                             int64_t bytes)
{
    return (bytes + s->cluster_size - 1) >> s->cluster_bits;
}

static inline int64_t qcow2_l1_index(const Qcow2State *s, int64_t off)
{
    return off >> (s->cluster_bits + s->l2_bits);
}

static inline int qcow2_l2_index(const Qcow2State *s, int64_t off)
{
    return (off >> s->cluster_bits) & ((1 << s->l2_bits) - 1);
}

/* L1 entries that a disk of @size bytes takes. */
static inline int64_t qcow2_size_to_l1(const Qcow2State *s, uint64_t size)
{
    int shift = s->cluster_bits + s->l2_bits;

    return (size >> shift) + !!(size & ((1ULL << shift) - 1));
}

/* Host cluster and length of compressed data out of an L2 entry's descriptor;
 * *@len is rounded up to 512-byte sectors. */
static inline void qcow2_parse_compressed(const Qcow2State *s, uint64_t entry,
                                          int64_t *off, int64_t *len)
{
    int shift = 62 - (s->cluster_bits - 8);
    uint64_t sectors = ((entry & ~QCOW2_COPIED & ~QCOW2_COMPRESSED_FLAG) >>
                        shift) + 1;

    *off = entry & ((1ULL << shift) - 1);
    *len = sectors * QCOW2_COMPRESSED_SECTOR - (*off & 511);
}

#include "block/qcow2-tables.h"
#include "block/qcow2-map.h"
#include "block/qcow2-refs.h"
#include "block/qcow2-image.h"

#endif
