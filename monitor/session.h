/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* A client that speaks QMP, from the greeting to its last answer. Main loop. */
#ifndef MONITOR_SESSION_H
#define MONITOR_SESSION_H

#include "util/channel.h"
#include "util/json.h"

typedef struct Session Session;

/*
 * Greets who is at the other end of @ch, which it owns from now on, and serves
 * it. @hung_up(@opaque) is called once, when the client sends no more; what it
 * has sent is still answered.
 */
void session_start(Channel *ch, bool pretty, LoopFn *hung_up, void *opaque);

/* Called with the number of each session that is over; NULL: nothing is. */
typedef void SessionEndFn(unsigned session);
void session_set_end(SessionEndFn *fn);

/* To all who have negotiated. */
void session_send_event(const json_t *event);

/* No session begins another command. */
void session_stop_all(void);
/* Waits until all has been written, but not for clients who don't read; then
 * hangs up (nobody is told), and waits until the commands that are under way
 * have ended, but not for ever. */
void session_finish_all(Co *co);

#endif
