/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The layers of a chain and their bitmaps. A layer is a format or protocol node
 * with the filters on top of it, of which any may have the bitmap; what is
 * nearer to the guest counts.
 */

#include "block/bitmap-private.h"

bool bitmap_layer_same(Node *a, Node *b)
{
    return node_skip_filters(a) == node_skip_filters(b);
}

Node *bitmap_layer_below(Node *node, Node *base)
{
    Edge *e = node_cow_child(node);

    return e && !(base && bitmap_layer_same(e->child, base)) ? e->child : NULL;
}

DirtyBitmap *bitmap_layer_find(Node *node, const char *name)
{
    while (node) {
        DirtyBitmap *bm = bitmap_find(node, name);
        Edge *e = node_filter_child(node);

        if (bm) {
            return bm;
        }
        node = e ? e->child : NULL;
    }
    return NULL;
}

/* Those of one node whose names have not been seen; nearer nodes come first. */
static void layer_add(GPtrArray *all, GHashTable *seen, Node *node)
{
    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        if (bm->name && g_hash_table_add(seen, bm->name)) {
            g_ptr_array_add(all, bm);
        }
    }
}

GPtrArray *bitmap_layer_all(Node *node)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *all = g_ptr_array_new();

    while (node) {
        Edge *e = node_filter_child(node);

        layer_add(all, seen, node);
        node = e ? e->child : NULL;
    }
    return all;
}
