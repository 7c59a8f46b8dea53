/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Another file name for an image of a chain, while it is in use.
 *
 * Who names the image, its overlays' headers, must find it at every moment: the
 * machine may stop between two steps. So names are added before headers change
 * and taken away afterwards:
 *
 *     the new name is free        link NEW; headers NEW; remove OLD
 *     another image's name        link TMP; headers TMP; exchange OLD and NEW;
 *                                 headers NEW; remove TMP
 *
 * Each step is undone if the transaction aborts; the removal comes last, when it
 * commits, and may fail, which leaves a name too many. Image and new name are in
 * one directory, so that relative names in its header mean what they meant.
 */

#include "block/rename.h"
#include "block/chain.h"
#include "block/open.h"

#include <sys/stat.h>

static Node *rename_protocol(Node *node)
{
    while (node->file && node->drv->kind != DRIVER_PROTOCOL) {
        node = node->file->child;
    }
    return node;
}

static int rename_step(Co *co, Node *node, ImageRename how, const char *name)
{
    Node *protocol = rename_protocol(node);

    return protocol->drv->image->rename(co, protocol, how, name);
}

static void rename_know(Co *co, Node *node, const char *name)
{
    rename_step(co, node, IMAGE_NAME_KNOW, name);
    open_refresh_filename(node);
}

/* ---- looking ahead ---- */

static bool same_inode(const char *a, const char *b)
{
    struct stat st_a, st_b;

    return a && b && stat(a, &st_a) == 0 && stat(b, &st_b) == 0 &&
           st_a.st_dev == st_b.st_dev && st_a.st_ino == st_b.st_ino;
}

/* @name in the directory of the image that is called @old. NULL: elsewhere. */
static char *name_beside(const char *old, const char *name, Error **errp)
{
    g_autofree char *dir = g_path_get_dirname(old);
    g_autofree char *own = g_path_get_dirname(name);
    g_autofree char *base = g_path_get_basename(name);

    if (strchr(name, '/') && !same_inode(dir, own)) {
        error_setg(errp, "'%s' is not in the directory of '%s'", name, old);
        return NULL;
    }
    return strchr(old, '/') ? g_build_filename(dir, base, NULL)
                            : g_strdup(base);
}

/* The layer that is called @path, and has to go. */
static Node *find_leaver(Node *node, Node *top, Node *base, const char *path,
                         Error **errp)
{
    for (Node *n = top; n; n = n == base ? NULL
                                         : node_chain_child(n)->child) {
        Node *protocol = rename_protocol(n);

        if (n == node || node_filter_child(n) || !protocol->drv->image ||
            !protocol->drv->image->rename ||
            !same_inode(protocol->exact_filename, path)) {
            continue;
        }
        if (n == base && n->parents->len > 1) {
            error_setg(errp, "'%s' is in use by others as well", path);
            return NULL;
        }
        return n;
    }
    error_setg(errp, "'%s' exists and is no layer that goes", path);
    return NULL;
}

bool rename_check(Node *node, Node *top, Node *base, const char *name,
                  ImageNewName *ret, Error **errp)
{
    Node *protocol = rename_protocol(node);
    g_autofree char *path = NULL;

    if (!protocol->drv->image || !protocol->drv->image->rename) {
        error_setg(errp, "Images of driver '%s' can't be renamed",
                   protocol->drv->name);
        return false;
    }
    open_refresh_filename(top);
    path = name_beside(protocol->exact_filename, name, errp);
    if (!path) {
        return false;
    }
    if (same_inode(path, protocol->exact_filename)) {
        return true;            /* that is what it is called */
    }
    if (g_file_test(path, G_FILE_TEST_EXISTS)) {
        ret->other = find_leaver(node, top, base, path, errp);
        if (!ret->other) {
            return false;
        }
    }
    ret->path = g_steal_pointer(&path);
    return true;
}

/* ---- steps and their undoing ---- */

typedef struct RenameStep {
    Node *node, *other;
    char *name;                 /* to go back to, or to be removed */
    char *format;
} RenameStep;

static void step_clean(void *opaque)
{
    RenameStep *s = opaque;

    g_free(s->name);
    g_free(s->format);
    g_free(s);
}

static void step_unlink(Co *co, void *opaque)
{
    RenameStep *s = opaque;

    rename_step(co, s->node, IMAGE_NAME_REMOVE, s->name);
}

static void step_header_back(Co *co, void *opaque)
{
    RenameStep *s = opaque;

    chain_write_backing(co, s->node, s->name, s->format);
}

static void step_swap_back(Co *co, void *opaque)
{
    RenameStep *s = opaque;
    g_autofree char *now = g_strdup(
        rename_protocol(s->node)->exact_filename);

    if (rename_step(co, s->node, IMAGE_NAME_EXCHANGE, s->name) == 0) {
        rename_know(co, s->other, now);
        rename_know(co, s->node, s->name);
    }
}

static void step_know_back(Co *co, void *opaque)
{
    RenameStep *s = opaque;

    rename_know(co, s->node, s->name);
}

static const TransactionOps remove_on_abort_ops = {
    .abort = step_unlink, .clean = step_clean,
};
static const TransactionOps remove_on_commit_ops = {
    .commit = step_unlink, .clean = step_clean,
};
static const TransactionOps remove_always_ops = {
    .commit = step_unlink, .abort = step_unlink, .clean = step_clean,
};
static const TransactionOps header_ops = {
    .abort = step_header_back, .clean = step_clean,
};
static const TransactionOps swap_ops = {
    .abort = step_swap_back, .clean = step_clean,
};
static const TransactionOps know_ops = {
    .abort = step_know_back, .clean = step_clean,
};

static void add_step(Transaction *tran, const TransactionOps *ops, Node *node,
                     Node *other, const char *name, const char *format)
{
    RenameStep *s = g_new0(RenameStep, 1);

    s->node = node;
    s->other = other;
    s->name = g_strdup(name);
    s->format = g_strdup(format);
    tran_add(tran, ops, s);
}

static bool write_headers(Co *co, Transaction *tran, const GPtrArray *overlays,
                          const char *name, const char *format, Error **errp)
{
    for (guint i = 0; i < overlays->len; i++) {
        Node *overlay = g_ptr_array_index(overlays, i);
        g_autofree char *old = g_strdup(overlay->backing_file);
        g_autofree char *old_format = g_strdup(overlay->backing_format);

        if (!chain_set_backing(co, overlay, name, format, errp)) {
            return false;
        }
        add_step(tran, &header_ops, overlay, NULL, old, old_format);
    }
    return true;
}

static bool step_failed(int ret, const char *old, const char *name,
                        Error **errp)
{
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not rename '%s' to '%s'", old,
                         name);
    }
    return ret < 0;
}

static bool rename_exchange(Co *co, Transaction *tran, Node *node,
                            const char *old, const ImageNewName *new,
                            Error **errp)
{
    int ret = rename_step(co, node, IMAGE_NAME_EXCHANGE, new->path);

    if (step_failed(ret, old, new->path, errp)) {
        return false;
    }
    add_step(tran, &swap_ops, node, new->other, old, NULL);
    rename_know(co, new->other, old);
    rename_know(co, node, new->path);
    return true;
}

static bool rename_to(Co *co, Transaction *tran, Node *node,
                      const ImageNewName *new, const char *format,
                      Error **errp)
{
    g_autoptr(GPtrArray) overlays = chain_overlays(node);
    g_autofree char *old = g_strdup(rename_protocol(node)->exact_filename);
    g_autofree char *tmp = g_strdup_printf("%s.%d", new->path, (int)getpid());
    const char *stage = new->other ? tmp : new->path;
    int ret = rename_step(co, node, IMAGE_NAME_ADD, stage);

    if (step_failed(ret, old, stage, errp)) {
        return false;
    }
    add_step(tran, new->other ? &remove_always_ops : &remove_on_abort_ops,
             node, NULL, stage, NULL);
    if (!write_headers(co, tran, overlays, stage, format, errp)) {
        return false;
    }
    if (new->other) {
        return rename_exchange(co, tran, node, old, new, errp) &&
               write_headers(co, tran, overlays, new->path, format, errp);
    }
    add_step(tran, &remove_on_commit_ops, node, NULL, old, NULL);
    add_step(tran, &know_ops, node, NULL, old, NULL);
    rename_know(co, node, new->path);
    return true;
}

bool rename_image(Co *co, Transaction *tran, Node *node,
                  const ImageNewName *new, const char *format, Error **errp)
{
    return !new->path || rename_to(co, tran, node, new, format, errp);
}
