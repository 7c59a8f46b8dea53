/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Where everything lies in a new qcow2 image, and the content of each of its
 * metadata clusters. Pure: no I/O.
 */
#ifndef BLOCK_QCOW2_LAYOUT_H
#define BLOCK_QCOW2_LAYOUT_H

#include "block/qcow2-format.h"

typedef struct Qcow2Layout {
    /* Asked for. */
    uint32_t cluster_bits;
    uint32_t refcount_order;
    bool extended_l2;
    bool external_data;         /* guest offsets are host offsets */
    bool mapped;                /* L2 tables that map all of the disk */
    int64_t size;               /* of the disk, bytes */

    /* Planned: numbers and, as indexes of clusters, places. */
    int64_t l1_entries, l1_clusters;
    int64_t l2_tables;
    int64_t guest_clusters;     /* that are mapped */
    int64_t refblocks, reftable_clusters;
    int64_t reftable, first_refblock, l1, l2, more_refblocks, data;
    int64_t end;                /* the first cluster that is not in use */
} Qcow2Layout;

/* Fills in the second half. -EFBIG: the L1 table would be too large. */
int qcow2_layout_plan(Qcow2Layout *l);
/* The other tables, and host offsets, are within the format's limits. */
bool qcow2_layout_fits(const Qcow2Layout *l);

/* The length in bytes of all that is before the data. */
int64_t qcow2_layout_metadata_len(const Qcow2Layout *l);
/* The length of the file: as QEMU's, an L1 table at the end is not padded. */
int64_t qcow2_layout_file_len(const Qcow2Layout *l);

/* Fills @buf (one cluster) with what cluster @index holds; the header, cluster
 * 0, is zeroes here. @index is before the data. */
void qcow2_layout_fill(const Qcow2Layout *l, int64_t index, uint8_t *buf);

#endif
