/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the files of qcow2's bitmaps share.
 *
 *     qcow2-bitmap-dir.c      the directory as bytes
 *     qcow2-bitmap.c          what is stored, the directory on disk, removing
 *     qcow2-bitmap-load.c     from the image to DirtyBitmaps
 *     qcow2-bitmap-store.c    and back
 */
#ifndef BLOCK_QCOW2_BITMAP_H
#define BLOCK_QCOW2_BITMAP_H

#include "block/qcow2.h"
#include "block/qcow2-bitmap-dir.h"

/* A bitmap in the image. */
typedef struct Qcow2StoredBitmap {
    Qcow2BitmapEntry *e;        /* owned; as the directory on disk has it */
    uint64_t *table;            /* e->table_size entries in host order; NULL if
                                 * they have not been read: the entry has a
                                 * problem, or is in use from before */
    int64_t disk_size;          /* that the table is for, bytes */
} Qcow2StoredBitmap;

/* s->bitmap_state; NULL before anything is loaded or stored. */
typedef struct Qcow2Bitmaps {
    GPtrArray *stored;          /* of Qcow2StoredBitmap, in directory order */
    GHashTable *names;          /* name (the entry's) to the first of them */
    CoMutex lock;               /* changes of the directory; before `meta` */
    char *damage;               /* the first that was found; or NULL */
    bool unsure;                /* which directory the header leads to: the
                                 * next one is in clusters of its own */
    bool stale;                 /* the disk may have other flags than @stored:
                                 * the directory could not be written */
} Qcow2Bitmaps;

/* Made if need be. */
Qcow2Bitmaps *qcow2_bitmaps(Node *node);
Qcow2StoredBitmap *qcow2_bitmap_stored(Node *node, const char *name);
/* Takes @b as the last one of the directory. */
void qcow2_bitmap_stored_add(Node *node, Qcow2StoredBitmap *b);
/* Exchanges what @old, which is in the directory, and @b of the same name say
 * of their bitmap. */
void qcow2_bitmap_stored_swap(Node *node, Qcow2StoredBitmap *old,
                              Qcow2StoredBitmap *b);
/* Forgets and frees it. */
void qcow2_bitmap_stored_remove(Node *node, const char *name);
void qcow2_bitmap_stored_free(Qcow2StoredBitmap *b);

/*
 * Reads the directory that the header speaks of; entries as
 * qcow2_bitmap_dir_decode() gives them. *@ret (owned by the caller) is NULL if
 * there is none, and may be set in spite of an error: -EINVAL if it is not as it
 * should be, another -errno if it can't be read.
 */
int qcow2_bitmap_dir_read(Co *co, Node *node, GPtrArray **ret, Error **errp);

/*
 * Rewrites the directory with the entries of @stored: in place, which is for
 * changed flags alone, or to clusters of its own, to which the header then
 * points, durably; the old ones are freed. No entries: no directory. All
 * bitmap data must be written before; refcounts become durable here. With the
 * lock. 0 or -errno.
 */
int qcow2_bitmap_dir_write_flags(Co *co, Node *node);
int qcow2_bitmap_dir_replace(Co *co, Node *node);

/* Frees the table at @off and the data that it maps: nothing on disk refers to
 * them any more. */
void qcow2_bitmap_free_clusters(Co *co, Node *node, uint64_t off,
                                const uint64_t *table, uint32_t table_size);

/* Loads the content of a stored bitmap; @opaque is unused. */
bool qcow2_bitmap_load_content(Co *co, DirtyBitmap *bm, Bitset *into,
                               void *opaque, Error **errp);

/* Bytes that one entry of a table stands for in the bitset's own units: a
 * chunk is a cluster or, where that is smaller, a page of a Bitset. */
static inline int64_t qcow2_bitmap_chunk_len(const Qcow2State *s)
{
    return MAX(s->cluster_size, BITSET_PAGE_BYTES);
}

#endif
