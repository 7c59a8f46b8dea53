/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Short jobs for the worker pool; the others: util/loop.h. */
#ifndef UTIL_WORKER_H
#define UTIL_WORKER_H

#include "util/loop.h"

/* worker_run() for a job that gets by with little stack: it is done on the spot
 * where that keeps nobody waiting, as @co is all there is on the main loop. */
int64_t worker_run_brief(Co *co, WorkerFn *fn, void *arg);

#endif
