/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
#ifndef BLOCK_LIMITS_H
#define BLOCK_LIMITS_H

#include "block/node.h"

/* Sets node->limits by its children's and its driver's. Never suspends. */
void limits_refresh(Node *node);

#endif
