/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Names that users give to nodes, jobs, objects and exports. */
#ifndef UTIL_ID_H
#define UTIL_ID_H

#include "util/error.h"

/* A letter, then letters, digits, '-', '.', '_'. */
bool id_wellformed(const char *id);
/* Sets "Parameter '@param' expects an identifier", with the rule as hint. */
void id_set_malformed(Error **errp, const char *param);

#endif
