/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Dirty bitmaps follow the data when the graph changes: `bitmaps: carry` of
 * blockdev-snapshot, block-commit, block-stream and blockdev-mirror.
 *
 * Each function is a step of the transaction that edits the graph: it makes,
 * fills and starts bitmaps at once, and @tran takes it back if it aborts. It is
 * called BEFORE the edits, while the chain is still what it was, with the graph
 * of the nodes drained until @tran has ended (graph_drain). Control lock; any
 * loop, to which it comes back; suspends (bits may have to be loaded). On error
 * @tran is to be aborted.
 *
 * Words. A layer is a format or protocol node with the filters on top of it; a
 * name is looked for from the top of a layer down. The run of a name is the
 * layers one below the other that have it, from the topmost on; what ends it
 * above the base is a gap. A run is sound if none of its bitmaps is
 * inconsistent and all but the topmost record; then the union of its bits is
 * all that changed since the lowest of them was made. Runs that are not sound
 * are not carried: an incremental backup could not have rested on them, and it
 * must not look as if it could. Nor are those which begin below the top and
 * record: what was written above them is not in them. (Those that begin below
 * the top and are disabled are closed stretches of time, and are carried.)
 *
 * Bitmaps without a name are a job's and stay. Busy ones are carried as they
 * are; what a backup's freeze records meanwhile is included.
 */
#ifndef BLOCK_BITMAP_CARRY_H
#define BLOCK_BITMAP_CARRY_H

#include "block/node.h"

/*
 * Snapshot: @overlay is about to take @node's place. It gets an empty recording
 * bitmap for each of @node's layer that records and isn't inconsistent; same
 * name, granularity and persistence. One that is there already (an image made
 * by qemu-img create --bitmaps) is kept if it has the same granularity, records
 * and is persistent if the other one is; else this fails. Fails if @overlay
 * can't store a persistent one.
 */
bool bitmap_carry_snapshot(Co *co, Transaction *tran, Node *node,
                           Node *overlay, Error **errp);

/*
 * Commit: the data of the layers from @top down to above @base are in @base
 * now, and these layers are about to go. Each sound run is merged into @base's
 * bitmap of that name, which is made (granularity, persistence and state of the
 * topmost) if @base has none, and records afterwards if either did. If a bitmap
 * of @base that has not recorded what the job wrote is to record, or there was a
 * gap above it, all of it becomes dirty. @base must be writable still.
 */
bool bitmap_carry_commit(Co *co, Transaction *tran, Node *top, Node *base,
                         Error **errp);

/*
 * Stream: the data of the layers below @top and above @base (NULL: to the end)
 * are in @top now. Each sound run that begins above @base is merged up into
 * @top's bitmap of that name, which is made if it begins below. If a gap goes
 * away so that @top's bitmap would meet one of @base that it has no claim to,
 * or the run wasn't sound, all of @top's becomes dirty: never fewer bits.
 */
bool bitmap_carry_stream(Co *co, Transaction *tran, Node *top, Node *base,
                         Error **errp);

/*
 * Mirror: @target holds what @source shows and is about to take its place. Each
 * sound run that begins above @base is copied to @target: merged if there is
 * one of that name, else made. @base is the first layer that was not copied:
 * NULL for sync=full, the backing of @source for sync=top, and for sync=none
 * whatever lies below @target as well.
 */
bool bitmap_carry_mirror(Co *co, Transaction *tran, Node *source, Node *base,
                         Node *target, Error **errp);

/*
 * For the beginning of a job: false if @target could not take what would be
 * carried to it from the layers from @top down to above @base as they are now
 * (it can't store bitmaps; too many of them). Changes nothing; needs no drain.
 */
bool bitmap_carry_possible(Co *co, Node *top, Node *base, Node *target,
                           Error **errp);

#endif
