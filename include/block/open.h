/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * One road into the graph: typed BlockdevOptions to a driver. File names,
 * json:{}, nbd://, key=value lists, probing, and the backing string of an
 * image header are parsers that produce BlockdevOptions. Control lock; the
 * main loop; suspends.
 */
#ifndef BLOCK_OPEN_H
#define BLOCK_OPEN_H

#include "block/node.h"

/* Opens a graph; a new reference, or NULL. @opts is consumed. */
Node *open_options(Co *co, BlockdevOptions *opts, Error **errp);
/* The same where options that are not given mean what @flags says. */
Node *open_with_flags(Co *co, BlockdevOptions *opts, OpenFlags flags,
                      Error **errp);
/* An inline definition or the name of a node that is there. */
Node *open_ref(Co *co, const BlockdevRef *ref, Error **errp);

/*
 * What people type: a path, a URI, "json:{...}". @format NULL probes (with
 * QEMU's warning when a raw image is probed and written to). @extra (may be
 * NULL) is a tree of option strings to add, as keyval_parse makes it.
 */
Node *open_filename(Co *co, const char *filename, const char *format,
                    const json_t *extra, OpenFlags flags, Error **errp);
/* --image-opts: "driver=qcow2,file.filename=x". */
Node *open_image_opts(Co *co, const char *optstr, OpenFlags flags,
                      Error **errp);
/* The protocol node alone, to be formatted. */
Node *open_protocol(Co *co, const char *filename, OpenFlags flags,
                    Error **errp);

/*
 * For drivers: opens the child that @ref describes (NULL: an error if
 * @required) and attaches it. Inherits flags by role (a format's file is
 * opened as its parent is, a backing file read-only).
 */
Edge *open_child(Co *co, Node *parent, const char *name, EdgeRole role,
                 const BlockdevRef *ref, Error **errp);
/* Opens node->backing_file (with the user's `backing`, if one is given) and
 * attaches it; true and no edge if there is none. */
bool open_backing(Co *co, Node *node, const BlockdevRefOrNull *ref,
                  Error **errp);

/* For drivers that find out that they can't write: turns a node with
 * auto-read-only read-only, else fails with @message (NULL: "Image is
 * read-only"). */
bool open_apply_auto_read_only(Node *node, const char *message, Error **errp);
/* What a child in @role is opened with by a parent that has @parent. */
OpenFlags open_inherited_flags(OpenFlags parent, EdgeRole role);
/* @flags with what @opts says in its place; checks that they fit together. */
bool open_resolve_flags(const BlockdevOptions *opts, OpenFlags *flags,
                        Error **errp);

/* Probes by content and name; "raw" is the last resort. NULL: unreadable. */
const BlockDriver *open_probe(Co *co, Node *protocol, Error **errp);
/* The same of @len bytes in memory; raw if nothing knows them. */
const BlockDriver *open_probe_bytes(const uint8_t *buf, int len,
                                    const char *filename);

/* The name that @filename, written in an image at @base, means; caller frees.
 * QEMU's rules: absolute and protocol names stand, others are relative to the
 * directory of @base; json: bases are an error. */
char *open_combine_paths(const char *base, const char *filename,
                         Error **errp);
/* The same for the backing file that is written in the header of @node; NULL
 * if there is none (no error) or it can't be told. */
char *open_full_backing(Node *node, const char *backing_file, Error **errp);
/* The protocol prefix of a name ("nbd"), or NULL for a path; caller frees. */
char *open_protocol_prefix(const char *filename);
/* The protocol's driver that opens a name: a path may lead to a device. NULL with
 * "Unknown protocol '...'". */
const BlockDriver *open_protocol_driver(const char *filename, Error **errp);

/* The plain name of @node's file: an exact_name for filters that are called
 * like what they show. */
char *open_file_name(const Node *node);
/* node->filename and node->exact_filename out of options and children. */
void open_refresh_filename(Node *node);
/* The options that tell the node's content, children spelled out: what stands
 * behind json: in its name. A new reference. */
json_t *open_content_json(Node *node);

#endif
