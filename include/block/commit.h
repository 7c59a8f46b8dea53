/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The commit job: data of layers of a backing chain go down into one of them. */
#ifndef BLOCK_COMMIT_H
#define BLOCK_COMMIT_H

#include "block/chain-job.h"

/*
 * Commits the layers from @top down to above @base; @top is not @main, whose
 * chain it is in. In the end they leave the chain, and the overlay of @top has
 * @base below itself. Control lock; main loop; suspends. The job has not
 * started.
 */
Job *commit_job_create(Co *co, const ChainJobOptions *opts, Node *main,
                       Node *top, Node *base, Error **errp);

#endif
