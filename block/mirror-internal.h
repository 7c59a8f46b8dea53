/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The mirror job: what its making, its run and its end share. */
#ifndef BLOCK_MIRROR_INTERNAL_H
#define BLOCK_MIRROR_INTERNAL_H

#include "block/copy-job.h"
#include "block/mirror.h"
#include "mirror-top.h"

typedef struct MirrorJob {
    Job common;
    MirrorSyncMode sync;
    BitmapSync bitmap;
    BlockdevOnError on_source_error, on_target_error;
    MirrorCopyMode copy_mode;       /* main loop */
    bool commit;
    bool carry, stay, no_unmap, new_target;
    MirrorBacking backing;
    ImageNewName new_name;
    bool auto_complete;
    char *replaces;                 /* NULL: the source */
    Node *source, *target;          /* kept by job_block_node */
    Node *base;                     /* what is not copied: NULL for full */
    Node *filter;                   /* NULL: gone */
    Root *root;                     /* on the filter: counts the copying */
    GPtrArray *guards;              /* of Root */
    bool frozen;                    /* commit: the chain down to the target */
    CopyState *copy;
    bool copied;                    /* all, in the end; main loop */
    bool pivot;                     /* main loop: job-complete was given */
    /* The run loop's. */
    CopyRun run;
    bool begun;                     /* the first todo is complete */
    bool ready;
    bool finish;                    /* end as soon as nothing is left */
} MirrorJob;

static inline MirrorJob *mirror(Job *job)
{
    return container_of(job, MirrorJob, common);
}

/* ---- mirror.c ---- */

extern const JobDriver mirror_driver, commit_active_driver;

/* ---- mirror-end.c: as the job's driver has them ---- */

int mirror_prepare(Co *co, Job *job);
/* Also of a job that was never whole. */
void mirror_clean_up(Co *co, Job *job);

#endif
