/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Shared by graph.c, graph-loop.c and node.c; for nobody else. */
#ifndef BLOCK_GRAPH_INTERNAL_H
#define BLOCK_GRAPH_INTERNAL_H

#include "block/graph.h"

/* Takes the edge out, frees it and drops its reference; no way back. */
void graph_drop_edge(Co *co, Edge *e);
/* Brings two graphs that are to be joined to one loop; undone with @tran. */
bool graph_meet(Co *co, Transaction *tran, Node *parent, Node *child,
                Error **errp);

#endif
