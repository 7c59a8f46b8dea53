/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The copy-before-write filter as the backup job uses it: put on top of a node
 * for the time of the job. Control lock; the graph is drained by these, which
 * come out on the loop that they were called on.
 */
#ifndef BLOCK_COPY_BEFORE_WRITE_H
#define BLOCK_COPY_BEFORE_WRITE_H

#include "block/copy.h"

#define CBW_BUFFER_DEFAULT (64 * MiB)

typedef struct CbwSettings {
    const char *filter_node_name;       /* NULL: generated */
    OnCbwError on_cbw_error;
    int64_t timeout_ns;                 /* 0: none */
    int64_t min_cluster_size;           /* 0: by the target */
    int64_t buffer;                     /* bytes; 0: none */
    bool discard_source;                /* what has been copied */
} CbwSettings;

/* A new reference to the filter, or NULL. The caller drains @source's graph
 * around this and what else belongs to the same point in time. */
Node *cbw_append(Co *co, Node *source, Node *target,
                 const CbwSettings *settings, Error **errp);
/* Takes it out of the graph and drops the reference. */
void cbw_drop(Co *co, Node *cbw);
CopyState *cbw_copy_state(Node *cbw);
/* Nobody wants the snapshot any more: guests' writes go down at once, and those
 * that wait for a copy when it is over; none is begun any more. False if one is
 * still under way. Never suspends. On @cbw's loop. */
bool cbw_stop(Node *cbw);
/* 0, or the error that broke the snapshot (-errno). */
int cbw_snapshot_error(Node *cbw);

#endif
