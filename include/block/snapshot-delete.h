/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Several layers of a backing chain become one. */
#ifndef BLOCK_SNAPSHOT_DELETE_H
#define BLOCK_SNAPSHOT_DELETE_H

#include "block/chain-job.h"

typedef struct SnapshotDeleteOptions {
    ChainJobOptions common;         /* but for new_name: see final_name */
    SnapshotDeleteDirection direction;
    const char *final_name;         /* NULL: as it is called */
} SnapshotDeleteOptions;

/*
 * The layers from @top down to @base, which is below it, become one. The job
 * (job->snapshot_delete says which) ends by itself; it has not started. With
 * direction auto, the allocation of all layers is looked at first. Control lock;
 * main loop; suspends.
 */
Job *snapshot_delete_create(Co *co, const SnapshotDeleteOptions *opts,
                            Node *top, Node *base, Error **errp);

#endif
