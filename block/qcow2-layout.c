/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Where everything lies in a new qcow2 image:
 *
 *     header | refcount table | refcount block | L1 | L2 ... | more blocks | data
 *
 * All metadata come first and in one piece, so that they are made by few large
 * writes, and data lie in one piece behind them, in the order of the disk. The
 * number of refcount blocks depends on the length of the file, which depends
 * on them: plan() repeats until nothing grows any more.
 *
 * While one refcount block is enough, which it is for every image that is not
 * preallocated (64 KiB clusters), this is byte for byte what QEMU makes.
 */
#include "block/qcow2-layout.h"

/* Host offsets end here (specification: bits 9 to 55 of an entry). */
#define LAYOUT_MAX_CLUSTERS(l) ((INT64_C(1) << 56) >> (l)->cluster_bits)

static int64_t layout_l2_entries(const Qcow2Layout *l)
{
    return INT64_C(1) << (l->cluster_bits - (l->extended_l2 ? 4 : 3));
}

static int64_t layout_refblock_entries(const Qcow2Layout *l)
{
    return INT64_C(1) << (l->cluster_bits + 3 - l->refcount_order);
}

static void layout_place(Qcow2Layout *l)
{
    l->reftable = 1;
    l->first_refblock = l->reftable + l->reftable_clusters;
    l->l1 = l->first_refblock + 1;
    l->l2 = l->l1 + l->l1_clusters;
    l->more_refblocks = l->l2 + l->l2_tables;
    l->data = l->more_refblocks + l->refblocks - 1;
    l->end = l->data + (l->external_data ? 0 : l->guest_clusters);
}

int qcow2_layout_plan(Qcow2Layout *l)
{
    int64_t cluster_size = INT64_C(1) << l->cluster_bits;
    int64_t blocks;

    l->l1_entries = qcow2_header_l1_entries(l->size, l->cluster_bits,
                                            l->extended_l2);
    if (l->l1_entries > QCOW2_MAX_L1_BYTES / 8) {
        return -EFBIG;
    }
    l->l1_clusters = DIV_ROUND_UP(l->l1_entries * 8, cluster_size);
    l->guest_clusters = l->mapped ? DIV_ROUND_UP(l->size, cluster_size) : 0;
    l->l2_tables = DIV_ROUND_UP(l->guest_clusters, layout_l2_entries(l));
    l->refblocks = 1;
    do {
        l->reftable_clusters = DIV_ROUND_UP(l->refblocks * 8, cluster_size);
        layout_place(l);
        blocks = l->refblocks;
        l->refblocks = DIV_ROUND_UP(l->end, layout_refblock_entries(l));
    } while (l->refblocks != blocks);
    return 0;
}

bool qcow2_layout_fits(const Qcow2Layout *l)
{
    return l->reftable_clusters << l->cluster_bits <=
           QCOW2_MAX_REFTABLE_BYTES && l->end <= LAYOUT_MAX_CLUSTERS(l);
}

int64_t qcow2_layout_metadata_len(const Qcow2Layout *l)
{
    return l->data << l->cluster_bits;
}

int64_t qcow2_layout_file_len(const Qcow2Layout *l)
{
    if (l->end == l->l2) {
        return (l->l1 << l->cluster_bits) + l->l1_entries * 8;
    }
    return l->end << l->cluster_bits;
}

/* ---- content ---- */

static int64_t layout_refblock_place(const Qcow2Layout *l, int64_t i)
{
    return i == 0 ? l->first_refblock : l->more_refblocks + i - 1;
}

static void layout_fill_reftable(const Qcow2Layout *l, int64_t i, uint8_t *buf)
{
    int64_t n = INT64_C(1) << (l->cluster_bits - 3);

    for (int64_t k = 0; k < n && i * n + k < l->refblocks; k++) {
        stq_be_p(buf + k * 8, layout_refblock_place(l, i * n + k)
                              << l->cluster_bits);
    }
}

/* Refcounts of one are all there are: entries of 2^order bits, big-endian,
 * those of less than a byte from its lowest bit on. */
static void layout_fill_refblock(const Qcow2Layout *l, int64_t i, uint8_t *buf)
{
    int64_t n = layout_refblock_entries(l);
    int64_t used = CLAMP(l->end - i * n, 0, n);
    int order = l->refcount_order;

    if (order >= 3) {
        for (int64_t k = 1; k <= used; k++) {
            buf[(k << (order - 3)) - 1] = 1;
        }
        return;
    }
    for (int64_t k = 0; k < used; k++) {
        int64_t bit = k << order;

        buf[bit / 8] |= 1 << bit % 8;
    }
}

static void layout_fill_l1(const Qcow2Layout *l, int64_t i, uint8_t *buf)
{
    int64_t n = INT64_C(1) << (l->cluster_bits - 3);

    for (int64_t k = 0; k < n && i * n + k < l->l2_tables; k++) {
        stq_be_p(buf + k * 8, (uint64_t)(l->l2 + i * n + k)
                              << l->cluster_bits | QCOW2_COPIED);
    }
}

/* With extended entries the clusters are there and none of their subclusters
 * is: a backing file shows through. */
static void layout_fill_l2(const Qcow2Layout *l, int64_t i, uint8_t *buf)
{
    int64_t n = layout_l2_entries(l);
    int64_t base = l->external_data ? 0 : l->data;
    int entry_len = l->extended_l2 ? 16 : 8;

    for (int64_t k = 0; k < n && i * n + k < l->guest_clusters; k++) {
        stq_be_p(buf + k * entry_len, (uint64_t)(base + i * n + k)
                                      << l->cluster_bits | QCOW2_COPIED);
    }
}

void qcow2_layout_fill(const Qcow2Layout *l, int64_t index, uint8_t *buf)
{
    g_assert(index >= 0 && index < l->data);
    memset(buf, 0, (size_t)1 << l->cluster_bits);
    if (index < l->reftable) {
        return;
    }
    if (index < l->first_refblock) {
        layout_fill_reftable(l, index - l->reftable, buf);
    } else if (index == l->first_refblock) {
        layout_fill_refblock(l, 0, buf);
    } else if (index < l->l2) {
        layout_fill_l1(l, index - l->l1, buf);
    } else if (index < l->more_refblocks) {
        layout_fill_l2(l, index - l->l2, buf);
    } else {
        layout_fill_refblock(l, index - l->more_refblocks + 1, buf);
    }
}
