/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Signals of the process as events of a loop. */
#ifndef UTIL_SIGNALS_H
#define UTIL_SIGNALS_H

#include "util/loop.h"

typedef struct Signals Signals;
typedef void SignalFn(int sig, void *arg);

/*
 * From now on @fn(sig, @arg) runs on @loop whenever one of @sigs arrives; they
 * no longer do what they do by default. From the main thread, on its loop,
 * before the loop runs or while it does. Child processes inherit the blocked
 * mask. NULL on error.
 */
Signals *signals_watch(Loop *loop, const int *sigs, size_t n, SignalFn *fn,
                       void *arg, Error **errp);
/* Stops watching, on @loop; the signals stay blocked. NULL ok. */
void signals_free(Signals *s);

#endif
