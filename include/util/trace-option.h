/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* -T, --trace of all programs: there are no trace events here, and that is what
 * it tells. */
#ifndef UTIL_TRACE_OPTION_H
#define UTIL_TRACE_OPTION_H

/*
 * [[enable=]PATTERN][,events=FILE][,file=FILE]: warns of events that are named
 * but do not exist; "help" lists those that do. -1 to go on, else the exit code:
 * 0 after the help, 1 after a complaint.
 */
int trace_option(const char *arg);

#endif
