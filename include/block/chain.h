/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Backing chains as the commands that change them see them. Control lock. */
#ifndef BLOCK_CHAIN_H
#define BLOCK_CHAIN_H

#include "block/node.h"

/* The layer of @top's chain, below @top, that is called @filename: as it is
 * shown, or as the header of the layer above names it. NULL: none. */
Node *chain_find_image(Node *top, const char *filename);
/* Only roots that are no job's use it: "Need a root block node". */
bool chain_check_root(const Node *node, Error **errp);
/* The overlay of @node in @top's chain; NULL if it is not in it or is @top.
 * Filters on the way belong to the overlay's edge. */
Node *chain_overlay(Node *top, Node *node);
/* The nodes whose backing file @node is, filters between looked through. An array
 * of Node, which the caller frees. */
GPtrArray *chain_overlays(const Node *node);
/* Every node from @top down to @base (inclusive; NULL: the end), filters, too,
 * is free of jobs. */
bool chain_check_busy(Node *top, Node *base, Error **errp);

/*
 * Writes new names of the backing file into @node's header (@file NULL: none);
 * a node that is read-only is opened for writing for that time. The graph is
 * quiet. Comes out on the loop where it was called; 0 or -errno.
 */
int chain_write_backing(Co *co, Node *node, const char *file,
                        const char *fmt);
/* The same, with QEMU's text for jobs. */
bool chain_set_backing(Co *co, Node *node, const char *file, const char *fmt,
                       Error **errp);
/* The graph of @node is drained until @tran has ended, and what @written holds
 * is on disk. Comes out on the graph's loop. */
bool chain_settle(Co *co, Transaction *tran, Node *node, Node *written,
                  Error **errp);
/* The format's name as it stands beside the name of @base in a header. */
const char *chain_format_of(const Node *base, bool mask_protocol);

#endif
