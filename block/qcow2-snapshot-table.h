/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The snapshot table of qcow2 as bytes. Pure: no I/O. Specification:
 * "Snapshots".
 */
#ifndef BLOCK_QCOW2_SNAPSHOT_TABLE_H
#define BLOCK_QCOW2_SNAPSHOT_TABLE_H

#include "block/qcow2.h"

/* What we write of extra data at least: sizes and instruction count. */
#define QCOW2_SNAPSHOT_EXTRA 24

/* How long the parts of an entry are, and all of it. */
typedef struct Qcow2SnapshotLens {
    uint32_t id, name, extra;
    uint64_t entry;
} Qcow2SnapshotLens;
/* Of the entry whose first 40 bytes are at @buf. */
void qcow2_snapshot_lens(const uint8_t *buf, Qcow2SnapshotLens *ret);

/*
 * Decodes the entry at @buf, all of which is there, its extra data within the
 * limit. The disk size of old entries, which have none, is @disk_size. @sn is
 * zeroed by the caller and ended by qcow2_snapshot_clear().
 */
void qcow2_snapshot_decode(const uint8_t *buf, uint64_t disk_size,
                           Qcow2Snapshot *sn);
void qcow2_snapshot_clear(Qcow2Snapshot *sn);
/* Fields that a version 3 image must have are there. */
bool qcow2_snapshot_is_complete(const Qcow2Snapshot *sn);

size_t qcow2_snapshot_encoded_len(const Qcow2Snapshot *sn);
void qcow2_snapshot_encode(const Qcow2Snapshot *sn, uint8_t *buf);

#endif
