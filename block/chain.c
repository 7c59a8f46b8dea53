/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Looking for layers of a backing chain, and what a layer's header says about
 * the one below.
 */

#include "block/chain.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/open.h"
#include "block/reopen.h"
#include "block/root.h"

#define BACKING_FILE_MAX 1023       /* bytes */

static bool same_file(const char *a, const char *b)
{
    g_autofree char *real_a = NULL, *real_b = NULL;
    char *p;

    if (!a || !b) {
        return false;
    }
    if (!strcmp(a, b)) {
        return true;
    }
    p = realpath(a, NULL);
    real_a = g_strdup(p);
    free(p);
    p = realpath(b, NULL);
    real_b = g_strdup(p);
    free(p);
    return real_a && real_b && !strcmp(real_a, real_b);
}

Node *chain_find_image(Node *top, const char *filename)
{
    open_refresh_filename(top);
    top = node_skip_filters(top);
    for (Node *n = node_backing_chain_next(top); n;
         top = n, n = node_backing_chain_next(n)) {
        g_autofree char *full = open_full_backing(top, filename, NULL);

        if ((top->backing_file && !strcmp(top->backing_file, filename)) ||
            !strcmp(n->filename, filename) ||
            same_file(n->exact_filename, full)) {
            return n;
        }
    }
    return NULL;
}

bool chain_check_root(const Node *node, Error **errp)
{
    for (guint i = 0; i < node->parents->len; i++) {
        const Edge *e = g_ptr_array_index(node->parents, i);

        if (!e->root || strstr(e->root->ops->kind, "job")) {
            error_setg(errp, "Need a root block node");
            return false;
        }
    }
    return true;
}

Node *chain_overlay(Node *top, Node *node)
{
    Node *overlay = NULL;

    for (Node *n = top; n;) {
        Edge *e = node_chain_child(n);

        if (n == node) {
            return overlay;
        }
        if (e && !node_filter_child(n)) {
            overlay = n;
        }
        n = e ? e->child : NULL;
    }
    return NULL;
}

static void add_overlays(const Node *node, GPtrArray *overlays)
{
    for (guint i = 0; i < node->parents->len; i++) {
        const Edge *e = g_ptr_array_index(node->parents, i);

        if (e->parent && e->role == ROLE_COW) {
            g_ptr_array_add(overlays, e->parent);
        } else if (e->parent && node_filter_child(e->parent) == e) {
            add_overlays(e->parent, overlays);
        }
    }
}

GPtrArray *chain_overlays(const Node *node)
{
    GPtrArray *overlays = g_ptr_array_new();

    add_overlays(node, overlays);
    return overlays;
}

bool chain_check_busy(Node *top, Node *base, Error **errp)
{
    for (Node *n = top; n;) {
        Edge *e = node_chain_child(n);

        if (!node_check_busy(n, errp)) {
            return false;
        }
        n = n == base || !e ? NULL : e->child;
    }
    return true;
}

const char *chain_format_of(const Node *base, bool mask_protocol)
{
    return mask_protocol && base->drv->kind == DRIVER_PROTOCOL
           ? "raw" : base->drv->name;
}

static int write_backing(Co *co, Node *node, const char *file, const char *fmt)
{
    int ret = -ENOTSUP;

    if (file && strlen(file) > BACKING_FILE_MAX) {
        return -EINVAL;
    }
    co_move(co, node->loop);
    if (node->drv->image && node->drv->image->change_backing) {
        ret = node->drv->image->change_backing(co, node, file, fmt);
    }
    if (ret == 0) {
        g_free(node->full_backing);
        node->full_backing = open_full_backing(node, node->backing_file,
                                               NULL);
    }
    return ret;
}

int chain_write_backing(Co *co, Node *node, const char *file,
                        const char *fmt)
{
    Loop *home = co_loop(co);
    bool sealed = node->read_only;
    /* A node's own names don't outlive a reopen. */
    g_autofree char *own_file = g_strdup(file);
    g_autofree char *own_fmt = g_strdup(fmt);
    int ret;

    if (sealed) {
        co_move(co, loop_main());
        if (!reopen_set_read_only(co, node, false, NULL)) {
            co_move(co, home);
            return -EACCES;
        }
    }
    ret = write_backing(co, node, own_file, own_fmt);
    if (sealed) {
        co_move(co, loop_main());
        reopen_set_read_only(co, node, true, NULL);
    }
    co_move(co, home);
    return ret;
}

bool chain_set_backing(Co *co, Node *node, const char *file, const char *fmt,
                       Error **errp)
{
    int ret = chain_write_backing(co, node, file, fmt);

    if (ret < 0) {
        error_setg_errno(errp, -ret,
                         "Could not update the backing file string");
    }
    return ret >= 0;
}

bool chain_settle(Co *co, Transaction *tran, Node *node, Node *written,
                  Error **errp)
{
    int ret;

    graph_drain(co, tran, node);
    ret = io_flush(co, written);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not flush node '%s'",
                         written->name);
    }
    return ret >= 0;
}
