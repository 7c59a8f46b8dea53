/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* How a loop looks for events in memory before it sleeps in the kernel. */
#ifndef UTIL_LOOP_POLL_H
#define UTIL_LOOP_POLL_H

#include "util/loop.h"

/* What each loop has at first. */
#define LOOP_POLL_NS 32768

typedef struct LoopPolling {
    int64_t max_ns;         /* at most so long; 0: not at all */
    int64_t grow;           /* times so much, where it was too short; 0: 2 */
    int64_t shrink;         /* divided by it, where nothing comes; 0: to none */
} LoopPolling;

/* From any thread. */
void loop_set_polling(Loop *loop, const LoopPolling *set);

#endif
