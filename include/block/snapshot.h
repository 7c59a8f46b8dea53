/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* External snapshots: what is written from now on goes to another image. */
#ifndef BLOCK_SNAPSHOT_H
#define BLOCK_SNAPSHOT_H

#include "block/node.h"

/*
 * Whether @overlay can become the overlay of another node: nobody reads it, it
 * supports backing files and has none. QEMU's texts.
 */
bool snapshot_check_overlay(const Node *overlay, Error **errp);
/*
 * @node becomes the backing file of @overlay and all its parents go over to
 * @overlay; when @tran commits, @node becomes read-only. Control lock; suspends;
 * comes out on the graph's loop.
 */
bool snapshot_append(Co *co, Transaction *tran, Node *node, Node *overlay,
                     Error **errp);

#endif
