/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Another file name for an image that is in use. Control lock. */
#ifndef BLOCK_RENAME_H
#define BLOCK_RENAME_H

#include "block/node.h"

/* path NULL: the name stays. g_free() it. */
typedef struct ImageNewName {
    char *path;
    Node *other;                /* has this name now; NULL: nobody */
} ImageNewName;

/*
 * What @name, in the directory of @node's image, means for @node, when the
 * layers from @top down to @base, of which it is one, are about to become one:
 * free, or the name of a layer that goes. Looks at the file system.
 */
bool rename_check(Node *node, Node *top, Node *base, const char *name,
                  ImageNewName *ret, Error **errp);
/*
 * @node's image is called new->path from now on, and new->other's, if there is
 * one, like @node's before; the headers of @node's overlays follow (@format: the
 * backing format that they name). If the name stays nothing happens. The graph
 * is quiet. Comes out on the loop where it was called; suspends. On error @tran
 * is to be aborted.
 */
bool rename_image(Co *co, Transaction *tran, Node *node,
                  const ImageNewName *new, const char *format, Error **errp);

#endif
