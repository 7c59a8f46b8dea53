/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* A file with our process id, locked as long as we live. */
#ifndef UTIL_PIDFILE_H
#define UTIL_PIDFILE_H

#include "util/error.h"

/* Fails if another process holds it. One a process. */
bool pidfile_create(const char *path, Error **errp);
/* No-op if there is none. */
void pidfile_remove(void);

#endif
