/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Shared by block/open*.c and create.c. */
#ifndef BLOCK_OPEN_INTERNAL_H
#define BLOCK_OPEN_INTERNAL_H

#include <jansson.h>

#include "block/open.h"

/* ---- open-name.c: names to trees of options ---- */

/* A tree {"driver": ..., "filename": ...} (or what the protocol's driver makes
 * of the name) that opens the protocol level. */
json_t *open_name_to_protocol(const char *filename, Error **errp);
/* Puts what @src has into @dst where @dst has nothing, at every depth. */
void open_tree_join(json_t *dst, const json_t *src);

/* ---- open-tree.c: trees that leave things out to typed options ---- */

/* Opens @tree, which may lack drivers and holds strings or JSON values. @name
 * is shown in the warning about a probed raw image; NULL: no warning. */
Node *open_tree(Co *co, json_t *tree, OpenFlags flags, const char *name,
                Error **errp);

#endif
