/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Dirty bitmaps of a node: name, granularity, state.
 *
 * All recording bitmaps of one granularity share one pending set: a guest
 * write sets bits once, however many record. The pending set is folded into
 * each of them when one is looked at, cleared, frozen, disabled or stored.
 * Contents that were stored in an image are loaded when they are first looked
 * at; until then what is written meanwhile is collected beside.
 *
 * Everything runs on the node's loop. Changes of the table (create, release)
 * also need the control lock. Granularity is in bytes, a power of two; a bit
 * stands for the bytes from bit * granularity on.
 */
#ifndef BLOCK_DIRTY_BITMAP_H
#define BLOCK_DIRTY_BITMAP_H

#include "block/node.h"
#include "util/bitset.h"

#define BITMAP_MAX_NAME 1023        /* bytes */
#define BITMAP_MAX_COUNT 65535      /* persistent ones of a node */

typedef enum BitmapState {
    BITMAP_RECORDING,
    BITMAP_DISABLED,
    BITMAP_INCONSISTENT,            /* in use when the image was left */
} BitmapState;

struct DirtyBitmap {
    Node *node;
    char *name;                     /* NULL: anonymous, a job's */
    int granularity_shift;
    BitmapState state;
    bool busy;                      /* an operation or an export holds it */
    bool persistent;
    bool readonly;                  /* the image is read-only: no changes */
    bool changed;                   /* since it was loaded or stored; see
                                     * bitmap_is_changed() */
    /* Private to block/bitmap-*.c and dirty-bitmap.c from here. */
    DirtyBitmap *next, *prev;
    int64_t cut_end;                /* the longest that the disk has been since
                                     * it was cut; 0: it has not been cut */
    Bitset *bits;                   /* what is known in memory */
    bool loaded;                    /* bits are all there is */
    bool loading;
    CoQueue load_queue;
    int64_t load_nbits;             /* as stored */
    bool (*load)(Co *co, DirtyBitmap *bm, Bitset *into, void *opaque,
                 Error **errp);
    void *load_opaque;
    DirtyBitmap *successor;         /* records while this one is frozen */
};

/* ---- table ---- */

/* Recording, empty, not persistent. NULL if the name is taken or too long or
 * the granularity is none; QEMU's texts. @name NULL: anonymous. */
DirtyBitmap *bitmap_create(Node *node, int64_t granularity, const char *name,
                           Error **errp);
/* Frees it. It must not be busy. */
void bitmap_release(DirtyBitmap *bm);
/* All of a node that have a name (or all): at its close. */
void bitmap_release_all(Node *node);
DirtyBitmap *bitmap_find(Node *node, const char *name);
DirtyBitmap *bitmap_first(Node *node);          /* the newest first */
DirtyBitmap *bitmap_next(const DirtyBitmap *bm);
/* How many persistent ones there are, and the bytes of their names. */
unsigned bitmap_count_persistent(const Node *node, int64_t *name_bytes);
/* The default for new bitmaps of @node: cluster size in 4 KiB .. 64 KiB. */
int64_t bitmap_default_granularity(Co *co, Node *node);

typedef enum BitmapCheck {
    BITMAP_CHECK_BUSY = 1, BITMAP_CHECK_RO = 2, BITMAP_CHECK_INCONSISTENT = 4,
    BITMAP_CHECK_DEFAULT = 7,
    BITMAP_CHECK_ALLOW_RO = 5,
} BitmapCheck;
/* Whether it may be used so; QEMU's texts and hints. */
bool bitmap_check(const DirtyBitmap *bm, int flags, Error **errp);
/* "Dirty bitmap 'x' not found"; *@ret_node may be NULL. Control lock. */
DirtyBitmap *bitmap_lookup(const char *node, const char *name, Node **ret_node,
                           Error **errp);

int64_t bitmap_granularity(const DirtyBitmap *bm);
/* Whether writes are recorded, be it in a successor: as QMP shows it. */
bool bitmap_is_recording(const DirtyBitmap *bm);
/* Whether it must be stored, with what is pending and what a successor has. */
bool bitmap_is_changed(DirtyBitmap *bm);
void bitmap_set_busy(DirtyBitmap *bm, bool busy);
void bitmap_set_persistent(DirtyBitmap *bm, bool persistent);
/* While it is set nothing is recorded; the image is read-only. */
void bitmap_set_readonly(DirtyBitmap *bm, bool readonly);
/* Neither recorded nor looked at any more: only to be removed. */
void bitmap_set_inconsistent(DirtyBitmap *bm);
void bitmap_enable(DirtyBitmap *bm);
void bitmap_disable(DirtyBitmap *bm);

/* ---- content ---- */

/* Contents will be loaded by @fn when needed; @opaque stays the caller's. @fn
 * sets bits in an empty set of the size that the node has now. It suspends and
 * must not use the bitmap itself. What is recorded meanwhile is not lost. */
void bitmap_set_loader(DirtyBitmap *bm,
                       bool (*fn)(Co *co, DirtyBitmap *bm, Bitset *into,
                                  void *opaque, Error **errp),
                       void *opaque);
/* The bits, all loaded and folded; right until the next write. Suspends only
 * if they must be loaded. NULL on error. */
const Bitset *bitmap_bits(Co *co, DirtyBitmap *bm, Error **errp);
/* The same to change them; marks it changed. */
Bitset *bitmap_bits_mut(Co *co, DirtyBitmap *bm, Error **errp);
/* A copy of the bits, and of a successor's: how a freeze may end is not known to
 * who finds them in the image. Suspends as bitmap_bits(); NULL on error. */
Bitset *bitmap_bits_to_store(Co *co, DirtyBitmap *bm, Error **errp);
int64_t bitmap_count_bytes(Co *co, DirtyBitmap *bm);    /* dirty bytes, as
                                                         * QMP's count */
/* Clears all; *@backup (if not NULL) takes the old bits, for undo. */
bool bitmap_clear(Co *co, DirtyBitmap *bm, Bitset **backup, Error **errp);
/* Puts back what clear or merge saved, and consumes it. What was recorded since
 * is gone: only while the graph is still drained. */
void bitmap_restore(DirtyBitmap *bm, Bitset *backup);
/* dst |= src; any granularities, and nodes on any loops. If @dst's node is the
 * longer one, what lies past the end of @src's becomes dirty. On @dst's loop,
 * to which it comes back. */
bool bitmap_merge(Co *co, DirtyBitmap *dst, DirtyBitmap *src,
                  Bitset **backup, Error **errp);
/* The two halves of a merge, for several sources at once: collects @src, scaled
 * to @dst's granularity, beside; then adds what was collected in one moment. */
bool bitmap_gather(Co *co, Bitset *into, DirtyBitmap *dst,
                   DirtyBitmap *src, Error **errp);
bool bitmap_merge_bits(Co *co, DirtyBitmap *dst, const Bitset *bits,
                       Bitset **backup, Error **errp);
/* @bits, of @bm's granularity and size, whether or not it is loaded. */
void bitmap_add_bits(DirtyBitmap *bm, const Bitset *bits);
/* Of any state, beside what is recorded. Resetting needs what is loaded. */
void bitmap_set_range(DirtyBitmap *bm, int64_t off, int64_t len);
void bitmap_reset_range(DirtyBitmap *bm, int64_t off, int64_t len);
/* Hex SHA-256 of the bits, as x-debug-block-dirty-bitmap-sha256. */
char *bitmap_sha256(Co *co, DirtyBitmap *bm, Error **errp);

/* ---- block/bitmap-edit.c: changes that a transaction can undo ---- */

/*
 * Control lock; on the bitmap's loop, to which they come back; they suspend if
 * they take @co. The graph is drained until @tran has ended, or nothing else
 * happens in it.
 */
/* Fails if it exists, or can't be stored as it ought to. */
DirtyBitmap *bitmap_edit_create(Co *co, Transaction *tran, Node *node,
                                const char *name, int64_t granularity,
                                bool persistent, bool recording,
                                Error **errp);
/* Nothing goes before the commit: an inconsistent bitmap could not be stored
 * again. It is busy until then. */
void bitmap_edit_remove(Transaction *tran, DirtyBitmap *bm);
/* At once, and for good; also what is stored, which may fail. */
bool bitmap_delete(Co *co, DirtyBitmap *bm, Error **errp);
/* As if it were removed and made anew, in its place. Not of a busy one. */
bool bitmap_edit_replace(Co *co, Transaction *tran, DirtyBitmap *bm,
                         int64_t granularity, bool persistent, bool recording,
                         Error **errp);
bool bitmap_edit_clear(Co *co, Transaction *tran, DirtyBitmap *bm,
                       Error **errp);
/* @bits is of @bm's granularity and size. */
bool bitmap_edit_merge(Co *co, Transaction *tran, DirtyBitmap *bm,
                       const Bitset *bits, Error **errp);
void bitmap_edit_record(Transaction *tran, DirtyBitmap *bm, bool record);
/* Whether it can serve as one made with these (0: any granularity); what is
 * different in @errp. */
bool bitmap_is_like(const DirtyBitmap *bm, int64_t granularity,
                    bool persistent, bool recording, Error **errp);
/* Whether a persistent one could be made; QEMU's texts. */
bool bitmap_storable(Co *co, Node *node, const char *name,
                      int64_t granularity, Error **errp);

/* ---- for block/io.c ---- */

/* [off, off + len) has been or is being changed; what of it lies past the end may
 * have been. Never suspends. */
void bitmap_note_write(Node *node, int64_t off, int64_t len);
/* The node has a new length. What was cut off and comes back is dirty in all
 * bitmaps of any state: they have lost what they knew of it. */
void bitmap_note_resize(Node *node, int64_t old_len, int64_t new_len);

/* ---- for drivers that keep bitmaps ---- */

/* The end of what was cut off the disk while persistent bitmaps were there and
 * has not come back; 0: nothing. To be stored with them. */
int64_t bitmap_cut_end(Node *node);
/* As it was stored, with the length that the disk had then, before contents
 * are looked at. What has grown since is dirty. */
void bitmap_set_cut(DirtyBitmap *bm, int64_t len, int64_t end);
/* The disk that it speaks of has reached to @end and may do so again: what lies
 * past the end of its node will be dirty then. */
void bitmap_raise_cut(DirtyBitmap *bm, int64_t end);

/* ---- block/bitmap-freeze.c: for the time of a backup ---- */

/*
 * The bitmap stands still (busy) while a successor records. commit: the
 * successor's bits are all that remain. rollback: both are joined.
 * Starts at one point in time with the copy: in a drained section.
 */
typedef struct BitmapFreeze BitmapFreeze;
BitmapFreeze *bitmap_freeze(DirtyBitmap *bm, Error **errp);
DirtyBitmap *bitmap_freeze_frozen(BitmapFreeze *f);
void bitmap_freeze_commit(Co *co, BitmapFreeze *f);    /* frees @f */
void bitmap_freeze_rollback(Co *co, BitmapFreeze *f);  /* frees @f */

#endif
