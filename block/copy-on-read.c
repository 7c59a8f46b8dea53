/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * copy-on-read: what is read through this filter and came from a backing file
 * is written to the layer below the filter, where the next reader finds it.
 *
 *     filter -> top -> ... -> bottom -> ...
 *
 * With "bottom" only what the layers down to it hold is copied: that is how a
 * part of a chain is brought up.
 */

#include "block/drivers.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/open.h"

typedef struct CorState {
    Node *bottom;               /* a reference; NULL: copy all */
} CorState;

static bool cor_find_bottom(Node *node, const char *name, Error **errp)
{
    CorState *s = node->state;
    Node *bottom = node_find(name);

    if (!bottom) {
        error_setg(errp, "Bottom node '%s' not found", name);
        return false;
    }
    if (bottom == node ||
        !node_chain_contains(node->file->child, bottom)) {
        error_setg(errp, "Bottom node '%s' is not in the backing chain of "
                   "'%s'", name, node->file->child->name);
        return false;
    }
    if (bottom->drv->kind == DRIVER_FILTER) {
        error_setg(errp, "Bottom node '%s' is a filter", name);
        return false;
    }
    if (!graph_freeze_chain(node->file->child, bottom, errp)) {
        return false;
    }
    s->bottom = node_ref(bottom);
    return true;
}

static bool cor_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    const BlockdevOptionsCor *o = &node->options->u.copy_on_read;

    if (!open_child(co, node, "file", ROLE_PRIMARY, o->file, errp)) {
        return false;
    }
    node->length = node->file->child->length;
    return !o->bottom || cor_find_bottom(node, o->bottom, errp);
}

static void cor_close(Co *co, Node *node)
{
    CorState *s = node->state;

    if (s->bottom) {
        graph_unfreeze_chain(node->file->child, s->bottom);
        node_unref(co, s->bottom);
    }
}

/* Whether the first *@n bytes of the range are to be copied; -errno. */
static int cor_wants(Co *co, Node *node, int64_t off, int64_t len, int64_t *n)
{
    CorState *s = node->state;
    Node *top = node_skip_filters(node->file->child);
    int ret;

    if (s->bottom) {
        return status_comes_up(co, top, s->bottom, off, len, n);
    }
    ret = status_allocated(co, top, off, len, n);
    return ret < 0 ? ret : !ret;
}

static int cor_read(Co *co, Node *node, int64_t off, int64_t len,
                    const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    for (int64_t done = 0, n; done < len; done += n) {
        int ret = cor_wants(co, node, off + done, len - done, &n);

        if (ret > 0) {
            ret = io_copy_up(co, node->file, off + done, n);
        }
        if (ret < 0) {
            return ret;
        }
    }
    return flags & REQ_PREFETCH ? 0 : io_read(co, node->file, off, len, iov,
                                              iov_off, flags);
}

static void cor_child_perms(Node *node, const Edge *e, uint64_t perm,
                            uint64_t shared, uint64_t *need, uint64_t *share)
{
    perm_default_filter(node, e, perm, shared, need, share);
    if (!node->inactive) {
        *need |= PERM_WRITE_UNCHANGED;
    }
    *share |= PERM_WRITE_UNCHANGED;
}

const BlockDriver copy_on_read_driver = {
    .name = "copy-on-read",
    .id = BLOCKDEV_DRIVER_COPY_ON_READ,
    .kind = DRIVER_FILTER,
    .state_size = sizeof(CorState),
    .open = cor_open,
    .close = cor_close,
    .read = cor_read,
    .child_perms = cor_child_perms,
};
