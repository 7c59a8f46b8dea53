/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Whether an incremental backup may rest on the bitmaps of a chain. */
#ifndef BLOCK_BITMAP_CHAIN_H
#define BLOCK_BITMAP_CHAIN_H

#include "block/node.h"

/*
 * What query-bitmap-chain says of @name, or of every name that a layer of the
 * chain below @node has (@name NULL; the list may be empty), in the order of
 * the layers from the top. Reads states, no content. Control lock; walks to the
 * graph's loop and back.
 */
BitmapChainList *bitmap_chain_query(Co *co, Node *node, const char *name);

#endif
