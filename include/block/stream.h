/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The stream job: data of layers of a backing chain come up into one of them. */
#ifndef BLOCK_STREAM_H
#define BLOCK_STREAM_H

#include "block/chain-job.h"

/*
 * Copies what the layers below @top down to @bottom hold into @top, which then
 * has what is below @bottom as its backing file. @bottom NULL: all of them.
 * @top is no filter. Control lock; main loop; suspends. The job has not started.
 */
Job *stream_job_create(Co *co, const ChainJobOptions *opts, Node *top,
                       Node *bottom, Error **errp);

#endif
