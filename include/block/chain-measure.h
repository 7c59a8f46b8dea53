/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* How much there would be to copy if layers became one. */
#ifndef BLOCK_CHAIN_MEASURE_H
#define BLOCK_CHAIN_MEASURE_H

#include "block/node.h"

/*
 * Bytes that are allocated in the layers from @top down to above @base (*@down:
 * what a commit copies), and below @top down to @base where @top has nothing
 * itself (*@up: what a stream copies).
 *
 * Control lock, main loop; while it looks, which may take long, it lets go of
 * the lock. The chain is busy then and stays as it is. Fails if all jobs are
 * cancelled meanwhile. Suspends.
 */
bool chain_measure(Co *co, Node *top, Node *base, int64_t *down, int64_t *up,
                   Error **errp);

#endif
