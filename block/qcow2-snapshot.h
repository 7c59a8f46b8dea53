/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the files of qcow2's internal snapshots share.
 *
 *     qcow2-snapshot-table.c  the table as bytes
 *     qcow2-snapshot-load.c   the table on disk: reading, replacing
 *     qcow2-snapshot-refs.c   references that an L1 table holds
 *     qcow2-snapshot.c        the operations
 */
#ifndef BLOCK_QCOW2_SNAPSHOT_H
#define BLOCK_QCOW2_SNAPSHOT_H

#include "block/qcow2-snapshot-table.h"

/* ---- qcow2-snapshot-load.c ---- */

typedef struct Qcow2SnapshotReader Qcow2SnapshotReader;
/*
 * Reads the table entry by entry. next: 1 and *@ret (to be cleared by the
 * caller), or -errno; -EFBIG if the table would be longer than the limit, not
 * counting too much extra data, which is left out; @ret->extra_size says how
 * long it is, then as well; or longer than 2 GiB with all of it.
 */
Qcow2SnapshotReader *qcow2_snapshot_reader_new(Node *node);
int qcow2_snapshot_reader_next(Co *co, Qcow2SnapshotReader *r,
                               Qcow2Snapshot *ret);
/* Bytes of the entries so far. */
int64_t qcow2_snapshot_reader_bytes(const Qcow2SnapshotReader *r);
void qcow2_snapshot_reader_free(Qcow2SnapshotReader *r);

/*
 * Writes s->snapshots to a table of its own, to which the header then points,
 * durably. The old one is freed. With `meta`, which is let go of in between.
 * *@unsure (may be NULL) is set if it failed and the header may lead to either.
 */
int qcow2_snapshots_write(Co *co, Node *node, bool *unsure);

/* ---- qcow2-snapshot-refs.c ---- */

/*
 * Adds @delta to the refcounts of all that @l1 (host order, @n entries) refers
 * to: L2 tables, clusters, compressed data. Tables are read from the disk,
 * where they must be up to date. With `meta`.
 */
int qcow2_snapshot_add_refs(Co *co, Node *node, const uint64_t *l1,
                            uint32_t n, int64_t delta);
/*
 * Makes the COPIED flags of the active L1 and L2 tables what the refcounts
 * say, in the caches, or clears them all if @clear. With `meta`.
 */
int qcow2_snapshot_update_copied(Co *co, Node *node, bool clear);

#endif
