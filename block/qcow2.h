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
    int refblock_bits;              /* log2 of the entries of a refcount block */
    int refslice_bits;              /* the same of a cached slice of one */
    int refcount_bits;              /* 1 .. 64 */
    uint64_t refcount_max;

    CoMutex meta;
    CoMutex header_lock;            /* writing bits or all of the header */

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
    int64_t free_byte;              /* where the next compressed data go; 0 */
    int64_t fresh_offset;           /* from here on the file was never used
                                     * and reads as zeroes; INT64_MAX: no */
    bool lazy_refcounts;            /* option or feature bit, when writable */
    bool in_release;                /* freed ranges are being given back */

    /* Freed ranges on their way (qcow2-refcount.c). */
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

/* ---- qcow2.c ---- */

/* Everything of this section that is about the header is in
 * qcow2-header-io.c (beside the codecs, which do no I/O). */
/* Rewrites the first cluster: header, extensions, backing name; unknown ones
 * are kept. -ENOSPC if it does not fit. Does not flush. */
int qcow2_write_header(Co *co, Node *node);
/* One big-endian field of the header, then a flush. */
int qcow2_header_put_u64(Co *co, Node *node, int64_t field_offset,
                         uint64_t value);
/* Sets or clears a bit of the header's incompatible features, durably. No-op
 * with 0 if it is so already. */
int qcow2_mark_dirty(Co *co, Node *node);
int qcow2_mark_clean(Co *co, Node *node);           /* flushes first */
int qcow2_mark_corrupt(Co *co, Node *node);
int qcow2_mark_consistent(Co *co, Node *node);      /* flushes first */
/*
 * Says so on stderr, sends BLOCK_IMAGE_CORRUPTED (once for fatal ones) and, if
 * @fatal, marks the image corrupt and lets no more writes pass. @off and @len
 * are of the damage, -1 if there are none.
 */
void qcow2_signal_corruption(Co *co, Node *node, bool fatal, int64_t off,
                             int64_t len, const char *fmt, ...)
    G_GNUC_PRINTF(6, 7);
/*
 * A table of @entries entries of @entry_len bytes at @off: the number is at
 * most @max_bytes' worth, the offset is cluster aligned and fits. "@name too
 * large" or "@name offset invalid".
 */
bool qcow2_validate_table(const Qcow2State *s, uint64_t off, uint64_t entries,
                          size_t entry_len, int64_t max_bytes,
                          const char *name, Error **errp);
/* Reads tables of big-endian u64 into host order; *@ret is g_free()d. The size
 * has been checked before. */
int qcow2_read_table(Co *co, Node *node, int64_t off, int64_t entries,
                     uint64_t **ret);
/* Writes zeroes to the cluster that a new table will be brought down to later:
 * if the storage is full, it has to be told now, while nothing depends on the
 * table, and not when what was acknowledged does. */
int qcow2_reserve_table(Co *co, Node *node, int64_t off);
/* Writes one, after an overlap check against all sections but @ignore. */
int qcow2_write_table(Co *co, Node *node, int ignore, int64_t off,
                      int64_t entries, const uint64_t *table);
/*
 * The dirty sectors (64 entries, 512 bytes) of a table in memory, taken at one
 * moment and written later. take clears @dirty; NULL if nothing is dirty.
 * write frees @copy (NULL ok), does not flush, and on error sets the bits of
 * @dirty again.
 */
typedef struct Qcow2DirtyCopy Qcow2DirtyCopy;
Qcow2DirtyCopy *qcow2_dirty_take(const uint64_t *table, int64_t entries,
                                 Bitset *dirty);
int qcow2_dirty_write(Co *co, Node *node, int ignore, int64_t off,
                      Qcow2DirtyCopy *copy, Bitset *dirty);
/* Not written: the bits of @dirty are set again. Frees @copy (NULL ok). */
void qcow2_dirty_undo(Qcow2DirtyCopy *copy, Bitset *dirty);
/*
 * Makes all metadata changed before the call durable, in order, then gives
 * back what was freed before it. Suspends; without `meta`.
 */
int qcow2_flush_metadata(Co *co, Node *node);
/* The same for who holds `meta`; what was freed stays pending. */
int qcow2_flush_tables(Co *co, Node *node);
/* Drops all cached tables after a flush: for those who change tables on disk
 * by themselves (check -r, snapshot apply). With `meta`. */
int qcow2_empty_caches(Co *co, Node *node);

/* Something is cached: it will be looked through for what is not used. */
void qcow2_cache_clean_arm(Qcow2State *s);
/* Around a change of the loop, and at the end. */
void qcow2_cache_clean_stop(Qcow2State *s);

/* ---- qcow2-options.c ---- */

/* What the user's options, or the defaults, come to. */
typedef struct Qcow2Options {
    int64_t l2_tables, refblock_tables;     /* of the caches */
    int l2_entry_size, refblock_entry_size; /* bytes of one */
    int64_t clean_interval;                 /* seconds */
    int overlap_check;
    bool lazy_refcounts, discard_no_unref;
    bool pass_discard[QCOW2_DISCARD__MAX];
} Qcow2Options;

/* Of an image of this geometry (version, cluster size, length, feature bits in
 * hdr). QEMU's texts. Pure. */
bool qcow2_options_parse(const Qcow2Header *hdr,
                         const BlockdevOptionsQcow2 *opts, OpenFlags flags,
                         Qcow2Options *ret, Error **errp);

/* ---- qcow2-table-cache.c ---- */

/* One cached table (or slice of a table), big-endian as on disk. */
typedef struct Qcow2Table {
    int64_t off;                    /* in the image file; 0: unused */
    void *data;
    unsigned pins;
    /* Private to qcow2-table-cache.c from here. */
    int slot;
    bool valid, recent, writing;
    unsigned clean_gen;
    int dirty_from, dirty_to;       /* bytes; equal: clean */
    struct Qcow2Table *hash_next;
    CoQueue waiters;
} Qcow2Table;

/*
 * At most @max tables of @entry_size bytes; memory is taken as they come.
 * @barrier (may be NULL) runs before tables are written: what they refer to
 * must be durable when it returns 0. @section is what a write of them is
 * allowed to overlap (its own).
 */
Qcow2Cache *qcow2_cache_new(Node *node, int64_t max, int entry_size,
                            int section,
                            int (*barrier)(Co *co, Node *node));
/* Nothing may be pinned; dirty tables are lost. NULL ok. */
void qcow2_cache_free(Qcow2Cache *c);
int qcow2_cache_entry_size(const Qcow2Cache *c);
/* In memory: pins it; NULL if not. Never suspends. */
Qcow2Table *qcow2_cache_find(Qcow2Cache *c, int64_t off);
/* Reads it if need be, and pins it. @off is a multiple of the entry size. */
int qcow2_cache_get(Co *co, Qcow2Cache *c, int64_t off, Qcow2Table **ret);
/* Not read: all zeroes and dirty. */
int qcow2_cache_get_new(Co *co, Qcow2Cache *c, int64_t off, Qcow2Table **ret);
void qcow2_cache_put(Qcow2Table *t);                /* unpins; NULL ok */
/* Bytes [from, from + len) of it have been changed. */
void qcow2_cache_dirty(Qcow2Cache *c, Qcow2Table *t, int from, int len);
bool qcow2_cache_has_dirty(const Qcow2Cache *c);
/* Writes all that is dirty at the time of the call; does not flush after. */
int qcow2_cache_write(Co *co, Qcow2Cache *c);
/* Forgets the tables in [off, off + len), even dirty ones: their clusters are
 * free or were written otherwise. Waits for those being written. */
void qcow2_cache_drop(Co *co, Qcow2Cache *c, int64_t off, int64_t len);
void qcow2_cache_drop_all(Co *co, Qcow2Cache *c);
/* Frees what was not used since the last call; true if anything remains. */
bool qcow2_cache_clean_unused(Qcow2Cache *c);

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

/* ---- qcow2-refcount.c, qcow2-refcount-grow.c: with `meta` ---- */

bool qcow2_refcount_init(Co *co, Node *node, Error **errp);
void qcow2_refcount_close(Node *node);
/* Writes all dirty refcounts and links; not flushed. Without `meta`. */
int qcow2_refcount_write(Co *co, Node *node);
/* Everything that counts references is durable when it returns 0, then so are
 * guest data that were written: what L2 tables wait for. Without `meta`. */
int qcow2_refcount_barrier(Co *co, Node *node);
/* The table gets room for block @blocks - 1; with `meta`. */
int qcow2_reftable_grow(Co *co, Node *node, int64_t blocks);
/* Of host cluster @index. 0 for those beyond all tables. */
int qcow2_refcount_get(Co *co, Node *node, int64_t index, uint64_t *ret);
/* One entry of a block of width 1 << order bits. */
uint64_t qcow2_refcount_load(const void *block, int order, int64_t i);
void qcow2_refcount_store(void *block, int order, int64_t i, uint64_t v);
/*
 * Adds @delta (may be negative) to the refcounts of all clusters that
 * [off, off + len) touches; makes blocks as needed. -EINVAL if one would leave
 * 0 .. refcount_max; then nothing is changed. Falls to 0 give the cluster
 * free at once and discard it by @type: only for what nothing durable refers
 * to.
 */
int qcow2_refcount_add(Co *co, Node *node, int64_t off, int64_t len,
                       int64_t delta, Qcow2DiscardType type);
/* Contiguous clusters for @bytes, refcount 1; offset or -errno. */
int64_t qcow2_alloc_clusters(Co *co, Node *node, int64_t bytes);
/* The first free clusters, at most @n of them: *@got, contiguous. */
int64_t qcow2_alloc_some(Co *co, Node *node, int64_t n, int64_t *got);
/* Up to @n clusters at @off exactly: how many were free and taken; -errno. */
int64_t qcow2_alloc_clusters_at(Co *co, Node *node, int64_t off, int64_t n);
/* Space for compressed data, not aligned; may share clusters. */
int64_t qcow2_alloc_bytes(Co *co, Node *node, int64_t bytes);
/* Gives back what nothing durable has ever referred to (a failed allocation)
 * or nothing refers to any more, durably. */
void qcow2_free_clusters(Co *co, Node *node, int64_t off, int64_t len,
                         Qcow2DiscardType type);

/* ---- qcow2-free.c: dropping references in two steps ---- */

void qcow2_freed_init(Node *node);
void qcow2_freed_close(Node *node);
/* Drops one reference to the clusters of [off, off + len), whose mention has
 * just left a table in memory. Never suspends. */
void qcow2_free_later(Node *node, int64_t off, int64_t len,
                      Qcow2DiscardType type);
/* The same for what an L2 entry holds: normal, with zero flag, compressed. */
void qcow2_free_entry_later(Node *node, uint64_t entry, Qcow2DiscardType type);
/* What was freed so far, for qcow2_free_durable() when all tables changed so
 * far are durable, or qcow2_free_undurable() if that failed. */
GArray *qcow2_free_take(Node *node);
void qcow2_free_durable(Node *node, GArray *freed);
void qcow2_free_undurable(Node *node, GArray *freed);
/* Gives back what is durable and out of everybody's hands; passes discards.
 * Without `meta`. Errors leak clusters. */
void qcow2_free_release(Co *co, Node *node);
/* Freed bytes from which a flush is forced to get space back. */
#define QCOW2_FREED_MAX (64 * MiB)

/* A data request is in flight: the clusters it looked up stay as they are. */
static inline unsigned qcow2_epoch_enter(Qcow2State *s)
{
    unsigned e = s->epoch & 1;

    s->epoch_reqs[e]++;
    return e;
}

static inline void qcow2_epoch_leave(Qcow2State *s, unsigned e)
{
    s->epoch_reqs[e]--;
}

/* ---- qcow2-overlap.c ---- */

/*
 * Before metadata (@data false) or guest data go to [off, off + len) of the
 * image file: none of the sections in overlap_check but those in @ignore may
 * lie there. On a hit: signals corruption, -EIO.
 */
int qcow2_overlap_check(Co *co, Node *node, int ignore, int64_t off,
                        int64_t len, bool data);
/* An L2 table or refcount block came into or went out of use. */
void qcow2_overlap_add(Qcow2State *s, int64_t off, int section);
void qcow2_overlap_remove(Qcow2State *s, int64_t off);
/* All tables may have changed (snapshot apply, repair). */
void qcow2_overlap_reset(Qcow2State *s);

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

/* ---- the verbs: qcow2-read.c, -write.c, -zero.c, -discard.c, -resize.c ---- */

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

/* ---- qcow2-compress.c ---- */

int qcow2_read_compressed(Co *co, Node *node, uint64_t entry, int64_t skip,
                          int64_t len, const IoVec *iov, int64_t iov_off);
int qcow2_write_compressed(Co *co, Node *node, int64_t off, int64_t len,
                           const IoVec *iov, int64_t iov_off);

/* ---- qcow2-create.c, qcow2-measure.c, qcow2-amend.c, qcow2-info.c ---- */

extern const CreateOption qcow2_create_options[];
extern const CreateOption qcow2_amend_options[];
bool qcow2_create(Co *co, BlockdevCreateOptions *opts, Error **errp);
/* A power of two within the limits, large enough for subclusters. */
bool qcow2_create_check_cluster_size(uint64_t cluster_size, bool extended_l2,
                                     Error **errp);
BlockMeasureInfo *qcow2_measure(Co *co, const json_t *opts, Node *source,
                                Error **errp);
bool qcow2_amend(Co *co, Node *node, const json_t *opts, bool force,
                 void (*progress)(void *opaque, int64_t done, int64_t all),
                 void *opaque, Error **errp);
int qcow2_change_backing(Co *co, Node *node, const char *file,
                         const char *fmt);
int qcow2_info(Co *co, Node *node, BlockDriverInfo *ret);
ImageInfoSpecific *qcow2_specific_info(Co *co, Node *node, Error **errp);

/* ---- qcow2-check.c, qcow2-repair.c ---- */

int qcow2_check(Co *co, Node *node, const CheckOptions *opts,
                CheckResult *res);
/* Makes refcounts 1 << @order bits wide. Nothing is in flight. */
bool qcow2_change_refcount_order(Co *co, Node *node, int order, Error **errp);
/* The image was left dirty and is now opened to be written: repairs the
 * refcounts and clears the bit. */
bool qcow2_check_repair_on_open(Co *co, Node *node, Error **errp);

/* ---- qcow2-snapshot.c ---- */

extern const SnapshotOps qcow2_snapshot_ops;
/* Fills s->snapshots out of hdr. @relaxed: OPEN_CHECK. */
bool qcow2_snapshots_load(Co *co, Node *node, bool relaxed, Error **errp);
void qcow2_snapshots_free(Node *node);

/* ---- qcow2-bitmap.c ---- */

extern const BitmapStoreOps qcow2_bitmap_store_ops;
/*
 * Makes DirtyBitmaps of those in the directory; on a writable image marks them
 * in use. Called at open, when it becomes writable, and when activated.
 */
bool qcow2_load_bitmaps(Co *co, Node *node, Error **errp);
/* Stores all persistent ones; @release: frees them in memory as well (close,
 * inactivate). With @keep_in_use they stay marked. */
bool qcow2_store_bitmaps(Co *co, Node *node, bool release, bool keep_in_use,
                         Error **errp);
void qcow2_bitmaps_close(Node *node);
/* What was found damaged when the image was opened read-only stops it from
 * becoming writable. */
bool qcow2_bitmaps_can_write(Node *node, Error **errp);
/* Whether bitmaps allow the disk to get @length bytes; and makes them. */
bool qcow2_bitmaps_can_resize(Co *co, Node *node, int64_t length,
                              Error **errp);

#endif
