/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What can be said with -o about a new image: a list of the format's options
 * and then those of its protocol that the format doesn't have, each with the
 * value that was given for it.
 */
#ifndef BLOCK_CREATE_OPTIONS_H
#define BLOCK_CREATE_OPTIONS_H

#include <jansson.h>

#include "block/driver.h"

typedef struct CreateEntry {
    const CreateOption *def;
    bool of_protocol;
    char *value;            /* normalised: bytes, on/off; NULL: not given */
} CreateEntry;

typedef struct CreateList {
    GArray *entries;        /* of CreateEntry, in the drivers' order */
    const CreateOption *create_only;    /* when amending: what a new image
                                         * can have; NULL */
} CreateList;

/* @protocol may be NULL. */
CreateList *create_list_new(const BlockDriver *drv,
                            const BlockDriver *protocol);
/* Of what @drv can amend; NULL: "Format driver 'x' does not support option
 * amendment". */
CreateList *create_list_new_amend(const BlockDriver *drv, Error **errp);
void create_list_free(CreateList *list);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CreateList, create_list_free)

/* "k=v,k2=v2"; later ones win. QEMU's texts. */
bool create_list_parse(CreateList *list, const char *str, Error **errp);
/* "Invalid parameter 'x'" if there is no such option. */
bool create_list_set(CreateList *list, const char *name, const char *value,
                     Error **errp);
bool create_list_has(const CreateList *list, const char *name);
const char *create_list_get(const CreateList *list, const char *name);

/* " cluster_size=65536 size=1024": values and defaults. Caller frees. */
char *create_list_print(const CreateList *list);
/* One line an option, sorted, to stdout. */
void create_list_help(const CreateList *list);
/* Adds the values that were given under their QAPI names, as strings. */
void create_list_to_tree(const CreateList *list, bool of_protocol,
                         json_t *tree);

#endif
