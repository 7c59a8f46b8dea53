/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Changing the options of open nodes, several in one transaction: options,
 * read-only both ways, children replaced. The graph is drained around it.
 */
#ifndef BLOCK_REOPEN_H
#define BLOCK_REOPEN_H

#include "block/node.h"

struct ReopenState {
    Node *node;
    BlockdevOptions *options;   /* the new ones */
    OpenFlags flags;
    bool read_only;
    void *opaque;               /* the driver's */
};

/* All or none. Control lock; suspends; comes out on the main loop. @list is not
 * consumed. */
bool reopen_nodes(Co *co, const BlockdevOptionsList *list, Error **errp);
/* Only the access changes: for jobs and tools. */
bool reopen_set_read_only(Co *co, Node *node, bool read_only, Error **errp);

#endif
