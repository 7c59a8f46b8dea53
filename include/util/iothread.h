/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Loop threads by the names that users give them (`--object iothread,id=x`).
 * Main loop only, but for iothread_use and iothread_unuse: who uses a thread's
 * loop holds it by them, so that object-del can refuse to take it away.
 */
#ifndef UTIL_IOTHREAD_H
#define UTIL_IOTHREAD_H

#include "util/loop.h"

typedef struct IOThread IOThread;

IOThread *iothread_new(const char *id, Error **errp);
/* False if somebody uses it. */
bool iothread_delete(IOThread *t, Error **errp);
IOThread *iothread_find(const char *id);
Loop *iothread_loop(const IOThread *t);
pid_t iothread_thread_id(const IOThread *t);
void iothread_use(Loop *loop);          /* no-op for other loops */
void iothread_unuse(Loop *loop);
/* All that are left, at the end of the program. */
void iothread_delete_all(void);

#endif
