/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Handing an image over to another process and taking it back. An inactive node
 * writes nothing and lets others write to its file. Control lock; main loop;
 * suspends.
 */
#ifndef BLOCK_ACTIVATE_H
#define BLOCK_ACTIVATE_H

#include "block/node.h"

/* What the node knows is brought to disk; then it and its children, but for
 * those that an active node uses, are inactive. */
bool node_inactivate(Co *co, Node *node, Error **errp);
/* The node and its children are active; what is on disk is read anew. */
bool node_activate(Co *co, Node *node, Error **errp);

#endif
