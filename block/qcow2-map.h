/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Part of qcow2.h: mappings, allocating writes, and the verbs of the driver.
 */
/* Outside of the guard: it includes this file where its types are known. */
#include "block/qcow2.h"

#ifndef BLOCK_QCOW2_MAP_H
#define BLOCK_QCOW2_MAP_H

/* ---- qcow2-l2.c: mappings ---- */

typedef enum Qcow2MapType {
    QCOW2_MAP_UNALLOCATED,          /* the backing file, or zeroes */
    QCOW2_MAP_UNALLOCATED_HOST,     /* the same, with a host cluster to hand
                                     * (subclusters) */
    QCOW2_MAP_ZERO,
    QCOW2_MAP_ZERO_HOST,            /* zeroes, with a host cluster */
    QCOW2_MAP_NORMAL,
    QCOW2_MAP_COMPRESSED,
} Qcow2MapType;

typedef struct Qcow2Map {
    Qcow2MapType type;
    bool copied;                    /* the host clusters are this table's own */
    int64_t len;                    /* bytes that are alike, from the offset */
    int64_t host;                   /* of the first byte, in s->data; for
                                     * _HOST types and NORMAL */
    uint64_t entry;                 /* COMPRESSED: the descriptor */
} Qcow2Map;

/*
 * What the bytes from @off on are, at most @len of them and at most to the end
 * of the slice; contiguous on the host where they have a host. Suspends only
 * if the slice is not in memory. 0, -EIO for damaged entries (signalled), or
 * what reading gave.
 */
int qcow2_map(Co *co, Node *node, int64_t off, int64_t len, Qcow2Map *ret);
/* The same of several extents of the slice, one after the other from @off on: how
 * many of @max, at least one, or the error. */
int qcow2_map_list(Co *co, Node *node, int64_t off, int64_t len,
                   Qcow2Map *ret, int max);

/* The entry and (with subclusters) the bitmap at index @i of a slice. */
static inline uint64_t qcow2_l2_entry(const Qcow2State *s, const Qcow2Table *t,
                                      int i)
{
    return ldq_be_p((const char *)t->data + (int64_t)i * s->l2_entry_size);
}

static inline uint64_t qcow2_l2_bitmap(const Qcow2State *s,
                                       const Qcow2Table *t, int i)
{
    return s->subclusters ?
           ldq_be_p((const char *)t->data + (int64_t)i * 16 + 8) : 0;
}

/* Stores both and marks them dirty. With `meta`. */
void qcow2_l2_store(Qcow2State *s, Qcow2Table *t, int i, uint64_t entry,
                    uint64_t bitmap);
/* Of one subcluster (0 without subclusters). -EIO: not a legal entry. */
int qcow2_l2_type(const Qcow2State *s, uint64_t entry, uint64_t bitmap,
                  int sub);

/*
 * The slice of guest offset @off, pinned, and the entry's index in it; *@ret
 * is NULL with 0 if there is no L2 table. Suspends.
 */
int qcow2_l2_get(Co *co, Node *node, int64_t off, Qcow2Table **ret, int *index);
/* The same to change it, with `meta`: makes the L2 table or, if a snapshot
 * shares it, a copy of it. */
int qcow2_l2_get_mut(Co *co, Node *node, int64_t off, Qcow2Table **ret,
                     int *index);
/* Changes an L1 entry in memory; it is written by the next flush. */
void qcow2_l1_store(Qcow2State *s, int64_t index, uint64_t entry);
/* At least @entries L1 entries, durably; with `meta`. -EFBIG beyond limits.
 * @exact: no more than that. */
int qcow2_l1_grow(Co *co, Node *node, int64_t entries, bool exact);

/* ---- qcow2-alloc.c: allocating writes ---- */

/* One under way; lives on its writer's stack. */
struct Qcow2Alloc {
    Qcow2Alloc *next, **pprev;
    CoQueue waiters;
    int64_t off, len;           /* guest, whole clusters */
    Qcow2Table *slice;          /* pinned until the end */
    int index;                  /* of the first entry in the slice */
    /* Of normal clusters: */
    int64_t host;
    bool in_place;              /* the entries keep their host clusters */
    bool fresh;                 /* the host clusters read as zeroes */
    bool whole;                 /* subclusters: all are copied */
    int64_t cow_start, cow_end; /* guest: what is written, head to tail */
};

/* off, len and slice are set. */
void qcow2_alloc_begin(Qcow2State *s, Qcow2Alloc *a);
/* Unpins the slice and wakes those who wait. */
void qcow2_alloc_end(Qcow2Alloc *a);

/* Waits until no allocating write is under way in [off, off + len). Holding
 * `meta`, which is let go of meanwhile; true if it had to wait: the caller
 * looks everything up again. */
bool qcow2_alloc_wait(Co *co, Node *node, int64_t off, int64_t len);
/* Whether one is: without waiting. */
bool qcow2_alloc_busy(const Qcow2State *s, int64_t off, int64_t len);
/* Writes [off, off + len) into clusters of its own; *@done bytes of it, 0 if
 * nothing is to be allocated (any more). */
int qcow2_alloc_write(Co *co, Node *node, int64_t off, int64_t len,
                      const IoVec *iov, int64_t iov_off, ReqFlags flags,
                      int64_t *done);
/* Maps clusters for [off, off + len), which is cluster aligned. METADATA does
 * not write to them if they are fresh, FALLOC and FULL make them take space.
 * Subclusters stay unallocated. *@end is raised to where they end. */
int qcow2_alloc_map(Co *co, Node *node, int64_t off, int64_t len,
                    PreallocMode mode, int64_t *end);

/* ---- qcow2-read.c, -write.c, -zero.c, -discard.c, -resize.c: verbs ---- */

int qcow2_read(Co *co, Node *node, int64_t off, int64_t len, const IoVec *iov,
               int64_t iov_off, ReqFlags flags);
int qcow2_write(Co *co, Node *node, int64_t off, int64_t len,
                const IoVec *iov, int64_t iov_off, ReqFlags flags);
/* Before anything changes: the image is not corrupt, and marked dirty if its
 * refcounts are lazy. */
int qcow2_write_prepare(Co *co, Node *node);
int qcow2_zero(Co *co, Node *node, int64_t off, int64_t len, ReqFlags flags);
int qcow2_discard(Co *co, Node *node, int64_t off, int64_t len);
/* Cluster aligned (or to the end). @full: unmaps even where the backing file
 * shows through afterwards (make_empty, resize); else it reads as zeroes. */
int qcow2_discard_range(Co *co, Node *node, int64_t off, int64_t len,
                        Qcow2DiscardType type, bool full);
int qcow2_make_empty(Co *co, Node *node);
bool qcow2_resize(Co *co, Node *node, int64_t length, bool exact,
                  PreallocMode prealloc, ReqFlags flags, Error **errp);
/* Allocates [off, off + len) as qemu-img create -o preallocation does; the
 * range is cluster aligned but at the disk's end. */
bool qcow2_preallocate(Co *co, Node *node, int64_t off, int64_t len,
                       PreallocMode mode, Error **errp);
int qcow2_status(Co *co, Node *node, bool precise, int64_t off, int64_t len,
                 Extent *ret);
int qcow2_status_list(Co *co, Node *node, bool precise, int64_t off,
                      int64_t len, Extent *ret, int max);

/* ---- qcow2-compress.c ---- */

int qcow2_read_compressed(Co *co, Node *node, uint64_t entry, int64_t skip,
                          int64_t len, const IoVec *iov, int64_t iov_off);
/* Forgets clusters that were kept decompressed: their places on the host are
 * going to hold something else, or may do. */
void qcow2_unpacked_drop(Qcow2State *s);
int qcow2_write_compressed(Co *co, Node *node, int64_t off, int64_t len,
                           const IoVec *iov, int64_t iov_off);

#endif
