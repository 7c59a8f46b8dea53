/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img create --bitmaps: the new overlay gets the bitmaps of its base, as a
 * snapshot that carries them along does. What was made is deleted if it comes
 * to nothing.
 */
#include "util/osdep.h"

#include "block/bitmap-carry.h"
#include "tools/img/img.h"

static void delete_stored(Co *co, Node *node)
{
    if (node->drv->image && node->drv->image->remove) {
        node->drv->image->remove(co, node);
    }
}

/* An image that can't even be opened. */
static void delete_file(Co *co, const char *filename)
{
    Node *node = open_protocol(co, filename, 0, NULL);

    if (node) {
        delete_stored(co, node);
        node_unref(co, node);
    }
}

/* All of them, stored, or none. */
static bool take_bitmaps(Co *co, Node *node, Error **errp)
{
    Transaction *tran;

    if (!node->backing) {
        error_setg(errp, "It has no backing file");
        return false;
    }
    tran = tran_new();
    if (!tran_finalize(co, tran,
                       bitmap_carry_snapshot(co, tran, node->backing->child,
                                             node, errp))) {
        return false;
    }
    return !node->drv->bitmap_store ||
           node->drv->bitmap_store->store(co, node, false, errp);
}

bool img_create_bitmaps(Co *co, const char *filename, const char *format,
                        Error **errp)
{
    ImgSource src = {
        .name = filename, .format = format, .flags = OPEN_RDWR,
    };
    Root *root = img_try_open(co, &src, errp);
    Node *node = root ? root_node(root) : NULL;
    bool ok;

    if (!root) {
        delete_file(co, filename);
        return false;
    }
    ok = take_bitmaps(co, node, errp);
    if (!ok) {
        Edge *data = node_child(node, "data-file");

        if (data) {
            delete_stored(co, data->child);
        }
        delete_stored(co, node->file->child);
    }
    root_free(co, root);
    return ok;
}
