/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What the jobs that make layers of a backing chain one are told alike. */
#ifndef BLOCK_CHAIN_JOB_H
#define BLOCK_CHAIN_JOB_H

#include "block/rename.h"
#include "job/job.h"

/* Strings are the caller's; the job has copies. */
typedef struct ChainJobOptions {
    const char *job_id;             /* NULL with JOB_INTERNAL */
    JobFlags flags;
    int64_t speed;                  /* bytes per second; 0: no limit */
    BlockdevOnError on_error;
    const char *filter_node_name;   /* NULL: generated */
    const char *backing_file;       /* for the header of who gets another
                                     * backing file; NULL: as that is called */
    ImageNewName new_name;          /* what is left is called so in the end */
    bool mask_protocol;             /* "raw" for a protocol's name */
    bool carry_bitmaps;
} ChainJobOptions;

#endif
