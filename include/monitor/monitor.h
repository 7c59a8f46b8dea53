/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * QMP monitors: each serves the clients of one character device. Main loop.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "qapi/qapi-types.h"
#include "util/co.h"

/* --monitor; "chardev \"x\" not found", "Device 'x' is in use". */
bool monitor_add(const MonitorOptions *opts, Error **errp);

/* @fn is called with the number of each session that has ended: the one that
 * owner_set_session() (block/owner.h) was told while its commands ran. */
void monitor_on_session_end(void (*fn)(unsigned session));

/* Asks the program to end: `quit` or a signal. No command begins any more. */
void monitor_request_quit(void);
bool monitor_quit_requested(void);
/* Suspends until it is. One waiter. */
void monitor_wait_quit(Co *co);

/* Answers what is under way, tells clients the last events and hangs up.
 * Suspends, for two seconds at most. Then character devices are gone, too. */
void monitor_finish(Co *co);

#endif
