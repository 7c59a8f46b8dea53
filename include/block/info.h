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
BlockDirtyInfoList *info_bitmaps(Co *co, Node *node);

#endif
