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
/* The longest entry that can be decoded, but for extra data. */
#define QCOW2_SNAPSHOT_MAX_ENTRY (40 + 2 * 65536)

/*
 * Decodes the entry at @buf, of which @len bytes are there. Its length; 0 with
 * *@need set if more bytes are needed. Extra data past the limit are left out
 * and @sn->extra_size says how long they are. The disk size of old entries,
 * which have none, is @disk_size. @sn is zeroed by the caller and ended by
 * qcow2_snapshot_clear().
 */
uint64_t qcow2_snapshot_decode(const uint8_t *buf, size_t len,
                               uint64_t disk_size, Qcow2Snapshot *sn,
                               uint64_t *need);
void qcow2_snapshot_clear(Qcow2Snapshot *sn);
/* Fields that a version 3 image must have are there. */
bool qcow2_snapshot_is_complete(const Qcow2Snapshot *sn);

size_t qcow2_snapshot_encoded_len(const Qcow2Snapshot *sn);
void qcow2_snapshot_encode(const Qcow2Snapshot *sn, uint8_t *buf);

#endif
