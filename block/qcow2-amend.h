/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What the files of qcow2's amend share. */
#ifndef BLOCK_QCOW2_AMEND_H
#define BLOCK_QCOW2_AMEND_H

#include "block/qcow2.h"

/*
 * Makes an image without zero flags, which version 2 does not know, that reads
 * the same: in the active tables and in those of snapshots. Nothing is in
 * flight. Durable when it returns true.
 */
bool qcow2_amend_expand_zeroes(Co *co, Node *node, Error **errp);

#endif
