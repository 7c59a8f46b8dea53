/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What people and programs ask of nodes. Control lock; on the node's loop;
 * suspends. */
#ifndef BLOCK_INFO_H
#define BLOCK_INFO_H

#include "block/node.h"

/* query-named-block-nodes. @flat leaves out the backing images. */
BlockDeviceInfo *info_node(Co *co, Node *node, bool flat, Error **errp);
/* qemu-img info, without and with the backing chain. */
ImageInfo *info_image(Co *co, Node *node, bool with_chain, Error **errp);
/* Newest first, as QEMU lists them. */
BlockDirtyInfoList *info_bitmaps(Co *co, Node *node);
/* query-blockstats: of a node, with its file's and its backing file's. */
BlockStats *info_stats(Node *node);

/* What the driver tells, a filter's and raw's file for it; -errno. */
int info_driver(Co *co, Node *node, BlockDriverInfo *ret);
/* Bytes of storage that the node's file takes; -errno. */
int64_t info_allocated_size(Co *co, Node *node);

#endif
