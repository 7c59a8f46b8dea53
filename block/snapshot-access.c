/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * snapshot-access: shows the snapshot that the copy-before-write filter below
 * keeps, read-only, as a disk of its own. Discards tell the filter what has
 * been fetched and need not be kept any longer.
 */

#include "block/drivers.h"
#include "block/node.h"
#include "block/open.h"

static const SnapshotAccessOps *below(const Node *node)
{
    return node->file->child->drv->snapshot_access;
}

static bool snapshot_access_open(Co *co, Node *node, OpenFlags flags,
                                 Error **errp)
{
    Edge *file = open_child(co, node, "file", ROLE_METADATA,
                            node->options->u.snapshot_access.file, errp);

    if (!file) {
        return false;
    }
    if (!below(node)) {
        error_setg(errp, "Node '%s' has no snapshot to give access to",
                   file->child->name);
        return false;
    }
    node->length = below(node)->length(file->child);
    return true;
}

static int snapshot_access_read(Co *co, Node *node, int64_t off, int64_t len,
                                const IoVec *iov, int64_t iov_off,
                                ReqFlags flags)
{
    return below(node)->read(co, node->file->child, off, len, iov, iov_off);
}

static int snapshot_access_status(Co *co, Node *node, bool precise,
                                  int64_t off, int64_t len, Extent *ret)
{
    return below(node)->status(co, node->file->child, precise, off, len, ret);
}

static int snapshot_access_discard(Co *co, Node *node, int64_t off,
                                   int64_t len)
{
    return below(node)->discard(co, node->file->child, off, len);
}

static int snapshot_access_flush(Co *co, Node *node)
{
    return 0;
}

static int snapshot_access_write(Co *co, Node *node, int64_t off, int64_t len,
                                 const IoVec *iov, int64_t iov_off,
                                 ReqFlags flags)
{
    return -ENOTSUP;
}

/* It reads around the filter's own content, so it needs nothing of it. */
static void snapshot_access_child_perms(Node *node, const Edge *e,
                                        uint64_t perm, uint64_t shared,
                                        uint64_t *need, uint64_t *share)
{
    *need = 0;
    *share = PERM_ALL;
}

const BlockDriver snapshot_access_driver = {
    .name = "snapshot-access",
    .id = BLOCKDEV_DRIVER_SNAPSHOT_ACCESS,
    .kind = DRIVER_FORMAT,
    .background = true,
    .exact_name = open_file_name,
    .open = snapshot_access_open,
    .read = snapshot_access_read,
    .write = snapshot_access_write,
    .status = snapshot_access_status,
    .discard = snapshot_access_discard,
    .flush = snapshot_access_flush,
    .child_perms = snapshot_access_child_perms,
};
