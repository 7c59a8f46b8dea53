/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Part of qcow2.h: the header and other tables on their way to and from the
 * disk; the caches; options.
 */
/* Outside of the guard: it includes this file where its types are known. */
#include "block/qcow2.h"

#ifndef BLOCK_QCOW2_TABLES_H
#define BLOCK_QCOW2_TABLES_H

/* ---- qcow2.c ---- */

/* Everything of this section that is about the header is in
 * qcow2-header-io.c (beside the codecs, which do no I/O). */
/* Rewrites the first cluster: header, extensions, backing name; unknown ones
 * are kept. -ENOSPC if it does not fit. Does not flush. */
int qcow2_write_header(Co *co, Node *node);
/*
 * Bytes [off, off + len) of the header, at most QCOW2_HDR_PUT_MAX, then a flush; s->hdr
 * still has what they were, and is changed by the caller if it succeeds. If not,
 * they are put back, and where that fails as well nothing more is written. With
 * `header_lock`, or before anybody else knows the node. -errno.
 */
#define QCOW2_HDR_PUT_MAX 24
int qcow2_header_put(Co *co, Node *node, int64_t off, const void *buf,
                     int len);
int qcow2_header_put_u64(Co *co, Node *node, int64_t off, uint64_t value);
/* Sets or clears a bit of the header's incompatible features, durably. No-op
 * with 0 if it is so already. */
int qcow2_mark_dirty(Co *co, Node *node);
/* Flushes first. Nothing happens while the image is untidy. */
int qcow2_mark_clean(Co *co, Node *node);
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
/* Writes @buf into clusters of its own, durably with their refcounts and all that
 * was written before; their offset or -errno. With `meta`, which is let go of
 * meanwhile. */
int64_t qcow2_write_new(Co *co, Node *node, const void *buf, int64_t len);
/*
 * The dirty sectors (64 entries, 512 bytes) of a table in memory, taken at one
 * moment and written later. take clears @dirty, and sets *@copy: NULL if
 * nothing is dirty; or -ENOMEM, with all as it was and *@copy NULL. write
 * frees @copy (NULL ok), does not flush, and on error sets the bits of @dirty
 * again.
 */
typedef struct Qcow2DirtyCopy Qcow2DirtyCopy;
int qcow2_dirty_take(const uint64_t *table, int64_t entries, Bitset *dirty,
                     Qcow2DirtyCopy **copy);
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
/* Frees what was not used since the last call; how many bytes that were. */
int64_t qcow2_cache_clean_unused(Qcow2Cache *c);
bool qcow2_cache_is_empty(const Qcow2Cache *c);

#endif
