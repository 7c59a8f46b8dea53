/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The target of drive-backup and drive-mirror: a file name, to be made or opened
 * for the job alone.
 */
#ifndef BLOCK_MONITOR_DRIVE_TARGET_H
#define BLOCK_MONITOR_DRIVE_TARGET_H

#include "block/types.h"
#include "qapi/qapi-types.h"
#include "util/json.h"

typedef struct DriveTarget {
    const char *filename;
    const char *format;         /* NULL: as the source's, or probed if it is
                                 * there already */
    MirrorSyncMode sync;
    bool existing;              /* else it is made */
    const json_t *options;      /* more of its node's, or NULL */
    OpenFlags flags;            /* to open it with, besides the source's */
} DriveTarget;

/* A new reference, or NULL with errors of creation and opening. Control lock;
 * suspends. */
Node *drive_target_open(Co *co, const DriveTarget *t, Node *source,
                        Error **errp);

#endif
