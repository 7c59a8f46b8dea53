/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The health of bitmaps across the layers of a chain.
 *
 *     top     b  c         what was written since the last snapshot
 *     mid     b            what was written before it
 *     base    b  c  d      and before that
 *
 * What has changed since the beginning of a name is the union of its bitmaps,
 * if the layers that have it are the top one and those below it without a gap,
 * and each of them holds all that was written to its layer. Here only b may be
 * healthy. Layers are looked at from the top, and the first that is wrong is
 * the reason.
 */

#include "block/bitmap-chain.h"
#include "block/bitmap-private.h"
#include "block/graph.h"

/* What people call a layer. */
static const char *layer_name(Node *node)
{
    node = node_skip_filters(node);
    return node->named_by_user || !node->filename[0] ? node->name
                                                     : node->filename;
}

static bool lower_layer_has(Node *layer, const char *name)
{
    while ((layer = bitmap_layer_below(layer, NULL))) {
        if (bitmap_layer_find(layer, name)) {
            return true;
        }
    }
    return false;
}

/* ---- judging ---- */

/* What is wrong with a layer that has @bm, or NULL. The one above it has
 * @length, and its bitmap knows that the disk has reached to @above. */
static char *judge_present(Node *layer, const DirtyBitmap *bm, int64_t above,
                           int64_t length)
{
    if (bm->state == BITMAP_INCONSISTENT) {
        return g_strdup_printf("It is inconsistent in layer '%s'",
                               layer_name(layer));
    }
    if (!bitmap_is_recording(bm)) {
        return g_strdup_printf("It is disabled in layer '%s'",
                               layer_name(layer));
    }
    if (layer->length > above) {
        return g_strdup_printf("Layer '%s' is longer than the one above it "
                               "(%" PRId64 " bytes, not %" PRId64 ")",
                               layer_name(layer), layer->length, length);
    }
    return NULL;
}

static char *judge_absent(Node *layer, const char *name, bool top)
{
    if (top) {
        return g_strdup_printf("The top layer '%s' lacks it",
                               layer_name(layer));
    }
    if (lower_layer_has(layer, name)) {
        return g_strdup_printf("Layer '%s' lacks it, but a layer below has it",
                               layer_name(layer));
    }
    return NULL;
}

/* The first layer that is wrong, from the top; NULL if none is. */
static Node *bitmap_judge(Node *top, const char *name, char **reason)
{
    int64_t above = INT64_MAX, length = INT64_MAX;

    for (Node *layer = top; layer; layer = bitmap_layer_below(layer, NULL)) {
        DirtyBitmap *bm = bitmap_layer_find(layer, name);

        *reason = bm ? judge_present(layer, bm, above, length)
                     : judge_absent(layer, name, layer == top);
        if (*reason) {
            return layer;
        }
        if (!bm) {
            return NULL;        /* where the name began */
        }
        /* What was cut off the layer above will be dirty if it returns. */
        length = layer->length;
        above = MAX(layer->length, bm->cut_end);
    }
    return NULL;
}

/* ---- describing ---- */

static BitmapChainLayer *describe_layer(Node *node, const char *name)
{
    BitmapChainLayer *l = g_new0(BitmapChainLayer, 1);
    DirtyBitmap *bm = bitmap_layer_find(node, name);

    node = node_skip_filters(node);
    l->node = g_strdup(node->name);
    l->filename = g_strdup(node->filename);
    l->size = node->length;
    l->present = bm;
    if (bm) {
        l->has_granularity = l->has_recording = l->has_persistent = true;
        l->has_inconsistent = true;
        l->granularity = bitmap_granularity(bm);
        l->recording = bitmap_is_recording(bm);
        l->persistent = bm->persistent;
        l->inconsistent = bm->state == BITMAP_INCONSISTENT;
    }
    return l;
}

static BitmapChain *describe_chain(Node *top, const char *name)
{
    BitmapChain *c = g_new0(BitmapChain, 1);
    Node *wrong = bitmap_judge(top, name, &c->reason);
    BitmapChainLayerList **tail = &c->layers;

    c->name = g_strdup(name);
    c->healthy = !wrong;
    c->layer = wrong ? g_strdup(node_skip_filters(wrong)->name) : NULL;
    for (Node *layer = top; layer; layer = bitmap_layer_below(layer, NULL)) {
        if (layer == top || bitmap_layer_find(layer, name) ||
            lower_layer_has(layer, name)) {
            *tail = g_new0(BitmapChainLayerList, 1);
            (*tail)->value = describe_layer(layer, name);
            tail = &(*tail)->next;
        }
    }
    return c;
}

/* Every name of the chain once. */
static GPtrArray *chain_names(Node *top)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *names = g_ptr_array_new();

    for (Node *layer = top; layer; layer = bitmap_layer_below(layer, NULL)) {
        g_autoptr(GPtrArray) all = bitmap_layer_all(layer);

        for (guint i = 0; i < all->len; i++) {
            char *name = ((DirtyBitmap *)g_ptr_array_index(all, i))->name;

            if (g_hash_table_add(seen, name)) {
                g_ptr_array_add(names, name);
            }
        }
    }
    return names;
}

BitmapChainList *bitmap_chain_query(Co *co, Node *node, const char *name)
{
    Loop *home = co_loop(co);
    g_autoptr(GPtrArray) names = NULL;
    BitmapChainList *list = NULL, **tail = &list;

    control_assert();
    co_move(co, node->loop);
    if (name) {
        names = g_ptr_array_new();
        g_ptr_array_add(names, (char *)name);
    } else {
        names = chain_names(node);
    }
    for (guint i = 0; i < names->len; i++) {
        *tail = g_new0(BitmapChainList, 1);
        (*tail)->value = describe_chain(node, g_ptr_array_index(names, i));
        tail = &(*tail)->next;
    }
    co_move(co, home);
    return list;
}
