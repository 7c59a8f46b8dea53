/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the command line tools share: the words of their common options and the
 * root by which they reach an image.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include "block/root.h"

/* "none", "writeback", ... to flags; false if there is no such mode. */
bool tool_cache_mode(const char *mode, OpenFlags *flags, bool *write_through);
/* "ignore", "off", "unmap", "on". */
bool tool_discard_mode(const char *mode, OpenFlags *flags);
/* An I/O engine that QEMU knows: "threads", "native", "io_uring". Ours is
 * chosen by itself, so there is nothing to set. */
bool tool_aio_mode(const char *mode);

/*
 * --object: checks the definition and makes the object. "help" prints what
 * there is and sets *@help. Control lock.
 */
bool tool_add_object(Co *co, const char *arg, bool *help, Error **errp);

/*
 * A root for an open node, which keeps the only reference: root_free() closes
 * the image. It needs what @flags say (RDWR, RESIZE) and shares everything, or
 * with @alone lets nobody else change the content (unless @flags have
 * FORCE_SHARE). Consumes @node, also on failure. Control lock; suspends.
 */
Root *tool_root_new(Co *co, Node *node, OpenFlags flags, bool alone,
                    Error **errp);

/*
 * A temporary overlay on @base, which takes a reference of its own; opened as
 * @flags say. A new reference or NULL. Control lock; suspends.
 */
Node *tool_open_overlay(Co *co, Node *base, OpenFlags flags, Error **errp);

/*
 * What main() shall return where the work ended with @status: @failed instead of
 * 0 if something was lost when an image was closed, or if what was printed did
 * not arrive, which is told. A pipe whose reader has gone is nobody's error.
 */
int tool_exit_code(int status, int failed);

/*
 * Members in the order in which QEMU prints them, at every depth; what it
 * does not print comes last. A new reference.
 */
json_t *tool_order_members(const json_t *value);
/* What the driver tells for people, indented by four spaces. */
void tool_print_specific(const ImageInfoSpecific *info);

#endif
