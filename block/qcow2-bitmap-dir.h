/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The bitmap directory and the bitmap tables of qcow2 as bytes. Pure: no I/O.
 * Specification: "Bitmap directory", "Bitmap table".
 */
#ifndef BLOCK_QCOW2_BITMAP_DIR_H
#define BLOCK_QCOW2_BITMAP_DIR_H

#include "block/qcow2-format.h"

#define QCOW2_BITMAP_IN_USE (1U << 0)
#define QCOW2_BITMAP_AUTO (1U << 1)
#define QCOW2_BITMAP_MAX_NAME 1023      /* bytes */
#define QCOW2_BITMAP_MIN_SHIFT 9        /* granularity 512 bytes */
#define QCOW2_BITMAP_MAX_SHIFT 31       /* 2 GiB */
/* The data of one bitmap, as QEMU limits them. */
#define QCOW2_BITMAP_MAX_BYTES (512 * MiB)

/* One bitmap as the directory has it. */
typedef struct Qcow2BitmapEntry {
    uint64_t table_offset;
    uint32_t table_size;            /* entries */
    uint32_t flags;
    uint8_t type;                   /* 1: dirty tracking */
    uint8_t granularity_shift;
    char *name;                     /* ends at its first 0 */
    /* Why this bitmap can't be used; NULL: it can. Owned. */
    char *problem;
} Qcow2BitmapEntry;

void qcow2_bitmap_entry_free(Qcow2BitmapEntry *e);

/*
 * The entries (of Qcow2BitmapEntry, owned) of a directory of @len bytes that
 * is said to have @nb. Entries that break a rule of their own have a problem.
 * False with QEMU's text if the directory as a whole is broken; *@ret has
 * what was read before.
 */
bool qcow2_bitmap_dir_decode(const uint8_t *buf, size_t len, uint32_t nb,
                             int64_t cluster_size, GPtrArray **ret,
                             Error **errp);
/* The bytes of a directory of these entries; *@len takes their number.
 * NULL if there are more than the limits allow. */
uint8_t *qcow2_bitmap_dir_encode(const GPtrArray *entries, size_t *len);
/*
 * Takes the first entry called @name out of a directory of *@len bytes, of
 * which only what stands before it has to make sense. All other bytes stay as
 * they are. *@left takes the number of entries that are left, or -1 if there
 * is more behind them. False: there is none of that name.
 */
bool qcow2_bitmap_dir_cut(uint8_t *buf, size_t *len, const char *name,
                          int64_t *left);
/* Bytes of an entry with a name of @name_len bytes. */
size_t qcow2_bitmap_entry_len(size_t name_len);

/* Bytes of bits, and table entries, for a disk of @size bytes. */
int64_t qcow2_bitmap_bytes(int64_t size, int granularity_shift);
int64_t qcow2_bitmap_table_size(int64_t size, int granularity_shift,
                                int64_t cluster_size);

/* ---- table entries ---- */

typedef enum Qcow2BitmapCluster {
    QCOW2_BITMAP_ZEROES,
    QCOW2_BITMAP_ONES,
    QCOW2_BITMAP_DATA,              /* at *off */
    QCOW2_BITMAP_INVALID,
} Qcow2BitmapCluster;

Qcow2BitmapCluster qcow2_bitmap_table_decode(uint64_t entry,
                                             int64_t cluster_size,
                                             int64_t *off);
uint64_t qcow2_bitmap_table_encode(Qcow2BitmapCluster kind, int64_t off);

#endif
