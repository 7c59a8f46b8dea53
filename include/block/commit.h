/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The commit job: data of layers of a backing chain go down into one of them. */
#ifndef BLOCK_COMMIT_H
#define BLOCK_COMMIT_H

#include "block/rename.h"
#include "job/job.h"

typedef struct CommitOptions {
    const char *job_id;             /* NULL with JOB_INTERNAL */
    JobFlags flags;
    int64_t speed;                  /* bytes per second; 0: no limit */
    BlockdevOnError on_error;
    const char *filter_node_name;   /* NULL: generated */
    const char *backing_file;       /* for the overlay's header; NULL: as the
                                     * base is called */
    ImageNewName new_name;          /* what is left is called so in the end */
    bool mask_protocol;             /* "raw" for a protocol's name */
    bool carry_bitmaps;
} CommitOptions;

/*
 * Commits the layers from @top down to above @base; @top is not @main, whose
 * chain it is in. In the end they leave the chain, and the overlay of @top has
 * @base below itself. Control lock; main loop; suspends. The job has not
 * started.
 */
Job *commit_job_create(Co *co, const CommitOptions *opts, Node *main,
                       Node *top, Node *base, Error **errp);

#endif
