/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Changing the length of a node, and telling those above.
 *
 * While a node grows, the new range is a serialising request: nobody reads it
 * half made. What a longer backing file holds there is hidden by the driver
 * that has one.
 */

#include "block/dirty-bitmap.h"
#include "block/io-steps.h"
#include "block/root.h"

/* Whether @e's parent is a filter, which shows of the child what that is. */
static bool is_below_filter(const Edge *e)
{
    return !e->root && e->parent->drv && node_filter_child(e->parent) == e;
}

void io_length_changed(Co *co, Node *node, int64_t old_len)
{
    if (node->length == old_len) {
        return;
    }
    node->length_changes++;
    if (node->bitmaps) {
        bitmap_note_resize(node, old_len, node->length);
    }
    for (unsigned i = 0; i < node->parents->len; i++) {
        Edge *e = node->parents->pdata[i];
        Node *parent = e->parent;

        if (e->root) {
            if (e->root->ops && e->root->ops->resized) {
                e->root->ops->resized(e->root);
            }
        } else if (parent->drv && parent->drv->child_resized) {
            parent->drv->child_resized(co, parent, e);
        } else if (is_below_filter(e)) {
            int64_t was = parent->length;

            parent->length = node->length;
            io_length_changed(co, parent, was);
        }
    }
}

void io_content_changed(Node *node, int64_t off, int64_t len)
{
    if (node->bitmaps) {
        bitmap_note_write(node, off, len);
    }
    for (unsigned i = 0; i < node->parents->len; i++) {
        const Edge *e = node->parents->pdata[i];

        if (is_below_filter(e)) {
            io_content_changed(e->parent, off, len);
        }
    }
}

int64_t io_length(Co *co, Node *node)
{
    int64_t old_len = node->length;
    int64_t len;

    loop_assert(node->loop);
    if (!node->drv->refresh_length) {
        return node->length;
    }
    len = node->drv->refresh_length(co, node);
    if (len >= 0) {
        node->length = len;
        io_length_changed(co, node, old_len);
    }
    return len;
}

static bool io_resize_driver(Co *co, Node *node, int64_t length, bool exact,
                             PreallocMode prealloc, ReqFlags flags,
                             Error **errp)
{
    if (node->drv->resize) {
        return node->drv->resize(co, node, length, exact, prealloc, flags,
                                 errp);
    }
    if (node->drv->kind == DRIVER_FILTER) {
        return io_resize(co, node->file, length, exact, prealloc, flags, errp);
    }
    error_setg(errp, "Image format driver does not support resize");
    return false;
}

bool io_resize(Co *co, Edge *edge, int64_t length, bool exact,
               PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    Node *node = edge->child;
    int64_t old_len = node->length;
    int64_t grow_from = MIN(old_len, length);
    unsigned changes;
    TrackedReq req;
    bool ok;

    loop_assert(node->loop);
    g_assert(edge->need & PERM_RESIZE);
    if (length < 0) {
        error_setg(errp, "Image size cannot be negative");
        return false;
    }
    if (length > BLOCK_MAX_LENGTH) {
        error_setg(errp, "offset(%" PRId64 ") exceeds maximum(%" PRId64 ")",
                   length, BLOCK_MAX_LENGTH);
        return false;
    }
    if (node->read_only || node->inactive) {
        error_setg(errp, "Image is read-only");
        return false;
    }
    io_track_begin(co, &req, node, grow_from, MAX(old_len, length) - grow_from,
                   true);
    old_len = node->length;
    changes = node->length_changes;
    ok = io_resize_driver(co, node, length, exact, prealloc, flags, errp);
    node->write_gen++;
    if (node->length_changes == changes) {      /* the child has told it else */
        io_length_changed(co, node, old_len);
    }
    io_track_end(&req);
    return ok;
}

int io_grow(Co *co, Node *node, int64_t end)
{
    int ret = 0;

    end = ROUND_UP(end, 512);
    while (ret == 0 && node->length < end) {
        int64_t old_len = node->length;
        Error *err = NULL;
        TrackedReq req;

        io_track_begin(co, &req, node, old_len, end - old_len, true);
        /* Who was before may have done it. */
        if (node->length == old_len) {
            if (!node->drv->resize(co, node, end, false, PREALLOC_MODE_OFF, 0,
                                   &err)) {
                error_report_err(err);
                ret = -EIO;
            }
            node->write_gen++;
            io_length_changed(co, node, old_len);
        }
        io_track_end(&req);
    }
    return ret;
}
