/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Part of qcow2.h: what is done with an image as a whole: made, described,
 * checked, repaired; its snapshots and bitmaps.
 */
/* Outside of the guard: it includes this file where its types are known. */
#include "block/qcow2.h"

#ifndef BLOCK_QCOW2_IMAGE_H
#define BLOCK_QCOW2_IMAGE_H

/* ---- qcow2-create.c, qcow2-measure.c, qcow2-amend.c, qcow2-info.c ---- */

extern const CreateOption qcow2_create_options[];
extern const CreateOption qcow2_amend_options[];
bool qcow2_create(Co *co, BlockdevCreateOptions *opts, Error **errp);
/* A power of two within the limits, large enough for subclusters. */
bool qcow2_create_check_cluster_size(uint64_t cluster_size, bool extended_l2,
                                     Error **errp);
/* A power of two up to 64; just 16 in an image of version 2. @version_3 is how to
 * ask for another version, NULL if it is no matter. */
bool qcow2_create_check_refcount_bits(int64_t bits, const char *version_3,
                                      Error **errp);
BlockMeasureInfo *qcow2_measure(Co *co, const json_t *opts, Node *source,
                                Error **errp);
bool qcow2_amend(Co *co, Node *node, const json_t *opts, bool force,
                 void (*progress)(void *opaque, int64_t done, int64_t all),
                 void *opaque, Error **errp);
int qcow2_change_backing(Co *co, Node *node, const char *file,
                         const char *fmt);
int qcow2_info(Co *co, Node *node, BlockDriverInfo *ret);
ImageInfoSpecific *qcow2_specific_info(Co *co, Node *node, Error **errp);

/* ---- qcow2-check.c, qcow2-repair.c ---- */

int qcow2_check(Co *co, Node *node, const CheckOptions *opts,
                CheckResult *res);
/* Makes refcounts 1 << @order bits wide. Nothing is in flight. */
bool qcow2_change_refcount_order(Co *co, Node *node, int order, Error **errp);
/* The image was left dirty and is now opened to be written: repairs the
 * refcounts and clears the bit. */
bool qcow2_check_repair_on_open(Co *co, Node *node, Error **errp);

/* ---- qcow2-snapshot.c ---- */

extern const SnapshotOps qcow2_snapshot_ops;
/* Fills s->snapshots out of hdr. @relaxed: OPEN_CHECK. */
bool qcow2_snapshots_load(Co *co, Node *node, bool relaxed, Error **errp);
void qcow2_snapshots_free(Node *node);

/* ---- qcow2-bitmap.c ---- */

extern const BitmapStoreOps qcow2_bitmap_store_ops;
/*
 * Makes DirtyBitmaps of those in the directory; on a writable image marks them
 * in use. Called at open, when it becomes writable, and when activated.
 */
bool qcow2_load_bitmaps(Co *co, Node *node, Error **errp);
/* Stores all persistent ones; @release: frees them in memory as well (close,
 * inactivate). With @keep_in_use they stay marked. */
bool qcow2_store_bitmaps(Co *co, Node *node, bool release, bool keep_in_use,
                         Error **errp);
/* False: somebody uses one, which then can't be freed. */
bool qcow2_bitmaps_can_go(Node *node, Error **errp);
void qcow2_bitmaps_close(Node *node);
/* False: some were found damaged when the image was opened read-only, which stops
 * it from becoming writable. */
bool qcow2_bitmaps_complete(Node *node, Error **errp);
/* Whether bitmaps allow the disk to get @length bytes. */
bool qcow2_bitmaps_can_resize(Co *co, Node *node, int64_t length,
                              Error **errp);

#endif
