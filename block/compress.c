/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * compress: a filter that has all data that are written through it stored
 * compressed. Requests are whole clusters of the format below, since only
 * these can be compressed: the core fills up what is smaller.
 */

#include "block/drivers.h"
#include "block/info.h"
#include "block/io.h"
#include "block/open.h"

typedef struct CompressState {
    int64_t cluster_size;       /* of the format below; 0: unknown */
} CompressState;

static bool compress_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    CompressState *s = node->state;
    BlockDriverInfo bdi;
    Node *below;

    if (!open_child(co, node, "file", ROLE_PRIMARY,
                    node->options->u.compress.file, errp)) {
        return false;
    }
    below = node_skip_filters(node->file->child);
    if (!below->drv->supports_compressed) {
        error_setg(errp, "Compression is not supported for underlying "
                   "format: %s", below->drv->name);
        return false;
    }
    s->cluster_size = info_driver(co, below, &bdi) < 0 ? 0 : bdi.cluster_size;
    node->length = below->length;
    return true;
}

static void compress_limits(Node *node)
{
    CompressState *s = node->state;

    if (s->cluster_size) {
        node->limits.request_alignment = s->cluster_size;
    }
}

static int compress_write(Co *co, Node *node, int64_t off, int64_t len,
                          const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    return io_write(co, node->file, off, len, iov, iov_off,
                    flags | REQ_COMPRESSED);
}

const BlockDriver compress_driver = {
    .name = "compress",
    .id = BLOCKDEV_DRIVER_COMPRESS,
    .kind = DRIVER_FILTER,
    .state_size = sizeof(CompressState),
    .supports_fua = true,
    .supports_compressed = true,
    .open = compress_open,
    .limits = compress_limits,
    .write = compress_write,
};
