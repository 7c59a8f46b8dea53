/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The mirror job's filter: sees what guests write. */
#ifndef BLOCK_MIRROR_TOP_H
#define BLOCK_MIRROR_TOP_H

#include "block/copy.h"
#include "job/job.h"

typedef struct MirrorTop {
    Job *job;               /* its progress, and its sleep while idle */
    bool commit;            /* the target lies below the source */
    Edge *target;
    CopyState *copy;        /* NULL: the job is not (any more) interested */
    bool active;            /* writes go to both sides at once */
    bool whole;             /* the target's backing file comes later */
    bool idle;              /* the job sleeps until there is something to do */
    bool hold;              /* the job's length stays as it is for the moment */
    int64_t held;           /* bytes by which it has grown meanwhile */
    unsigned failures;      /* of writes to the target */
    GArray *watches;        /* of what is written beside; or NULL */
} MirrorTop;

extern const BlockDriver mirror_top_driver;

static inline MirrorTop *mirror_top(const Node *filter)
{
    return filter->state;
}

/* The length that is shown includes what was written since @hold. */
void mirror_top_unhold(MirrorTop *t);

/*
 * Who writes to the source beside the filter is noted as well, also to what the
 * source itself filters, whatever that becomes. Control lock; mirror_top_watch on
 * the graph's loop and before anybody can write; mirror_top_unwatch on the main
 * loop while the graph is drained, or when t->copy is gone. It suspends.
 */
void mirror_top_watch(Node *filter);
void mirror_top_unwatch(Co *co, Node *filter);

#endif
