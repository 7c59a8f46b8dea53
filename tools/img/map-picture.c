/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img map --output=png: the disk, each piece in the colour of the layer
 * that it comes from, and below it what each layer holds by itself.
 */
#include "util/osdep.h"

#include "block/io.h"
#include "tools/img/img.h"
#include "tools/img/picture.h"
#include "util/bytes.h"

#define STEP GiB                /* asked for at once */

static const char *layer_name(const Node *node)
{
    const char *name = node->filename;

    if (!name || !*name || g_str_has_prefix(name, "json:")) {
        return node->name;
    }
    return strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
}

/* Of a layer, or with @chain of the first one from it down that says anything;
 * *@depth counts. */
static int layer_status(Co *co, Node *node, bool chain, int64_t off,
                        int64_t len, Extent *ext, int *depth)
{
    int ret;

    *ext = (Extent) { .len = len };
    for (*depth = 0; node; node = node_backing_chain_next(node), ++*depth) {
        ret = status_layer(co, node, true, off, ext->len, ext);
        if (ret < 0 || !chain || (ext->flags & (EXTENT_DATA | EXTENT_ZERO))) {
            return ret;
        }
    }
    ext->flags = 0;
    return 0;
}

/* @depth: whose own band it is; -1: the whole disk. */
static bool mark_band(Co *co, Picture *p, Node *node, const char *label,
                      int depth)
{
    PictureBand *band = picture_band(p, label);
    int64_t end = MIN(p->start + p->len, node->length);

    for (int64_t off = p->start; off < end;) {
        Extent ext;
        int from;
        int ret = layer_status(co, node, depth < 0, off, MIN(end - off, STEP),
                               &ext, &from);

        if (ret < 0) {
            error_report("Could not read file metadata: %s", strerror(-ret));
            return false;
        }
        /* Zeroes for want of anything below are not the layer's own. */
        if (!(ext.flags & EXTENT_ALLOCATED) && depth >= 0) {
            ext.flags = 0;
        }
        if (ext.flags & EXTENT_ZERO) {
            picture_mark(p, band, off, ext.len, PICTURE_ZERO);
        } else if (ext.flags & EXTENT_DATA) {
            picture_mark(p, band, off, ext.len,
                         picture_colour(depth < 0 ? from : depth));
        }
        off += ext.len;
    }
    return true;
}

static void name_layer(Picture *p, const PictureBand *band, int depth)
{
    g_autofree char *size = size_to_str(band->bytes);

    picture_legend(p, picture_colour(depth),
                   g_strdup_printf("depth %d: %s of data in %s", depth, size,
                                   band->label));
}

int img_map_picture(Co *co, Node *top, int64_t start, int64_t end)
{
    g_autofree char *size = size_to_str(top->length);
    g_autoptr(Picture) p = picture_new(
        start, MAX(end - start, 0), g_strdup_printf("%s, a disk of %s",
                                                    layer_name(top), size));
    Error *err = NULL;
    int depth = 0;

    if (!mark_band(co, p, top, "the disk", -1)) {
        return 1;
    }
    for (Node *node = top; node; node = node_backing_chain_next(node)) {
        if (!mark_band(co, p, node, layer_name(node), depth)) {
            return 1;
        }
        name_layer(p, g_ptr_array_index(p->bands, depth + 1), depth);
        depth++;
    }
    picture_legend(p, PICTURE_ZERO, g_strdup("zeroes; white is not allocated"));
    if (!picture_write(p, &err)) {
        error_report_err(err);
        return 1;
    }
    return 0;
}
