/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Filters that jobs put into a graph, of drivers that users can't ask for. Main
 * loop, control lock; suspends.
 */
#ifndef BLOCK_JOB_FILTER_H
#define BLOCK_JOB_FILTER_H

#include "block/node.h"

/*
 * Puts a new node on top of @below, whose parents all go over to it. Its
 * primary child is called "backing", as QEMU's; @target (or NULL) becomes its
 * child "target". @name NULL: one is generated and the node is implicit. A new
 * reference, or NULL. @init (may be NULL) fills in the state first.
 */
Node *job_filter_insert(Co *co, const BlockDriver *drv, const char *name,
                        Node *below, Node *target,
                        void (*init)(Node *filter, void *opaque),
                        void *opaque, Error **errp);
/* The parents of @filter go back to its primary child; drops the reference. */
void job_filter_drop(Co *co, Node *filter);

#endif
