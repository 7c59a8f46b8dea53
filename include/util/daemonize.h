/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Going into the background only once everything is set up: the parent waits,
 * passes on what the child prints as errors, and ends as the child tells.
 */
#ifndef UTIL_DAEMONIZE_H
#define UTIL_DAEMONIZE_H

#include <stdbool.h>

/* Forks; returns in the child only. First in main(), before any thread or
 * ring. Exits with 1 if the system refuses. */
void daemonize_begin(void);
/* Whether it is on its way: the standard streams are not there to stay. */
bool daemonize_pending(void);
/* In the child: the parent ends with 0 now. Leaves the terminal: a session of
 * its own, standard input and output on /dev/null, standard error as well. */
void daemonize_ready(void);

#endif
