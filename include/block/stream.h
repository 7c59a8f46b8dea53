/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The stream job: data of layers of a backing chain come up into one of them. */
#ifndef BLOCK_STREAM_H
#define BLOCK_STREAM_H

#include "block/rename.h"
#include "job/job.h"

typedef struct StreamOptions {
    const char *job_id;
    JobFlags flags;
    int64_t speed;                  /* bytes per second; 0: no limit */
    BlockdevOnError on_error;
    const char *filter_node_name;   /* NULL: generated */
    const char *backing_file;       /* for the header; NULL: as the base is
                                     * called */
    ImageNewName new_name;          /* what is left is called so in the end */
    bool mask_protocol;             /* "raw" for a protocol's name */
    bool carry_bitmaps;
} StreamOptions;

/*
 * Copies what the layers below @top down to @bottom hold into @top, which then
 * has what is below @bottom as its backing file. @bottom NULL: all of them.
 * @top is no filter. Control lock; main loop; suspends. The job has not started.
 */
Job *stream_job_create(Co *co, const StreamOptions *opts, Node *top,
                       Node *bottom, Error **errp);

#endif
