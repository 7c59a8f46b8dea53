/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the files of the dirty bitmaps share.
 *
 *     dirty-bitmap.c    the table of a node, states, pending sets
 *     bitmap-content.c  looking at and changing the bits
 *     bitmap-freeze.c   a bitmap stands still while a successor records
 *     bitmap-edit.c     changes that a transaction can take back
 *     bitmap-layer.c    the layers of a chain and what they have
 *     bitmap-carry.c    bitmaps follow the data when the graph changes
 *     bitmap-chain.c    whether a backup may rest on the bitmaps of a chain
 */
#ifndef BLOCK_BITMAP_PRIVATE_H
#define BLOCK_BITMAP_PRIVATE_H

#include "block/dirty-bitmap.h"

/* What was written since the last fold, for all recorders of a granularity. */
typedef struct BitmapPending {
    int shift;
    int recorders;
    Bitset *bits;
} BitmapPending;

struct BitmapTable {
    DirtyBitmap *first;         /* the newest; linked by next and prev */
    GHashTable *names;          /* name (the bitmap's) to DirtyBitmap */
    unsigned n_persistent;
    int64_t persistent_name_bytes;
    GPtrArray *pendings;        /* of BitmapPending: those with recorders */
};

/* How many bits stand for @len bytes. */
static inline int64_t bitmap_nbits(int64_t len, int shift)
{
    return (len + ((int64_t)1 << shift) - 1) >> shift;
}

/* Whether writes go to its own bits. */
bool bitmap_is_recorder(const DirtyBitmap *bm);
/* Around every change of what bitmap_is_recorder() looks at: leave takes the
 * pending bits that it has a right to, enter starts it without those of
 * others. */
void bitmap_recorder_leave(DirtyBitmap *bm);
void bitmap_recorder_enter(DirtyBitmap *bm);
/* Brings @bm->bits (and those of its companions) up to date. */
void bitmap_fold(DirtyBitmap *bm);

/* ---- bitmap-layer.c; the graph must not change meanwhile ---- */

bool bitmap_layer_same(Node *a, Node *b);
/* The uppermost node of the layer below @node's, NULL at @base (which may be
 * NULL) and at the end. */
Node *bitmap_layer_below(Node *node, Node *base);
DirtyBitmap *bitmap_layer_find(Node *node, const char *name);
/* All that have a name, each name once; an array of DirtyBitmap. */
GPtrArray *bitmap_layer_all(Node *node);

#endif
