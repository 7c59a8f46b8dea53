/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* --trace: there are no trace events here, and that is what it tells. */
#ifndef STORAGE_DAEMON_TRACE_H
#define STORAGE_DAEMON_TRACE_H

#include "options.h"
#include "util/error.h"

/* [[enable=]PATTERN][,events=FILE][,file=FILE]: warns of events that are
 * named but do not exist. */
OptionsResult trace_option(const char *arg, Error **errp);

#endif
