/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The mirror job: a target is made equal to a disk and kept so, until it takes
 * the disk's place. Committing the active layer is the same with the base for
 * target.
 */
#ifndef BLOCK_MIRROR_H
#define BLOCK_MIRROR_H

#include "block/bitmap-sync.h"
#include "block/chain-job.h"

/* What the target lies over when it has taken over. */
typedef enum MirrorBacking {
    MIRROR_BACKING_LEAVE,           /* what it has, if anything */
    MIRROR_BACKING_SOURCE,          /* what was not copied: the source's base
                                     * for top, the source for none */
    MIRROR_BACKING_OPEN,            /* what its header names; so far it was
                                     * opened without */
} MirrorBacking;

typedef struct MirrorOptions {
    ChainJobOptions common;         /* on_error: of the source; new_name: of
                                     * the target when it has taken over */
    BlockdevOnError on_target_error;
    MirrorSyncMode sync;
    BitmapSync bitmap;              /* with sync incremental and bitmap */
    int64_t granularity;            /* bytes; 0: by the target */
    int64_t buf_size;               /* bytes in flight; 0: the default */
    bool no_unmap;
    bool new_target;                /* made for the job: most likely zeroes */
    MirrorCopyMode copy_mode;
    const char *replaces;           /* NULL: the source */
    MirrorBacking backing;
    /* Takes over by itself as soon as nothing is left. */
    bool auto_complete;
    /* Ends by itself as soon as nothing is left, with everything where it is:
     * for tools. Bitmaps are carried all the same. */
    bool stay;
} MirrorOptions;

/*
 * From the moment of this call on, what is written to @source is noted. Control
 * lock; main loop; suspends. The job has not started. Job-complete makes @target
 * take @source's place; a soft cancel leaves it a copy of that moment.
 */
Job *mirror_job_create(Co *co, const MirrorOptions *opts, Node *source,
                       Node *target, Error **errp);
/* Commits the active layer @top down into @base, which grows if it is shorter.
 * Of @opts, sync, granularity and the like have no meaning. */
Job *commit_active_job_create(Co *co, const MirrorOptions *opts, Node *top,
                              Node *base, Error **errp);

#endif
