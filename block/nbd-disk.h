/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the files of the driver "nbd" share. A connection is nbd-client.h's.
 *
 *     nbd.c           open, close, requests
 *     nbd-name.c      names and options
 *     nbd-status.c    block status
 */
#ifndef BLOCK_NBD_DISK_H
#define BLOCK_NBD_DISK_H

#include "block/drivers.h"
#include "block/io.h"
#include "block/nbd-client.h"

typedef struct NbdState {
    NbdClient *client;
    bool depth;             /* the context's values are layers, not flags */
    GArray *answer;         /* of uint32_t: lengths and flags; NULL: none kept */
    guint answer_at;        /* of the extent that begins ... */
    int64_t answer_off;     /* ... here */
} NbdState;

/* What the server offers. */
const NbdInfo *nbd_disk_info(const Node *node);
/* nbd_client_run(), and sees the server's length. Suspends. */
int nbd_disk_run(Co *co, Node *node, NbdOp *op);

/* The callbacks of BlockDriver: parse_filename; path, or host and port, beside
 * the other options; exact_name. */
BlockdevOptions *nbd_name_parse(const char *filename, Error **errp);
bool nbd_name_old_options(json_t *tree, Error **errp);
char *nbd_name_exact(const Node *node);

/* BlockDriver.status. */
int nbd_status_query(Co *co, Node *node, bool precise, int64_t off,
                     int64_t len, Extent *ret);

#endif
