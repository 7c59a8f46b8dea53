/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Making images. The tools' way (-o key=value, a file name) is a parser that
 * produces BlockdevCreateOptions, creates the file below first and then calls
 * the format, as QEMU does.
 */
#ifndef BLOCK_CREATE_H
#define BLOCK_CREATE_H

#include "block/node.h"

/* blockdev-create: drv->image->create. Control lock, main loop, suspends. */
bool create_options(Co *co, BlockdevCreateOptions *opts, Error **errp);

/*
 * qemu-img create: @options is a list "k=v,k=v" or NULL; @size -1: from the
 * backing file. Prints "Formatting '...', fmt=..." as QEMU does unless @quiet.
 * @no_backing_check is -u.
 */
bool create_image(Co *co, const char *filename, const char *fmt,
                  const char *backing, const char *backing_fmt,
                  const char *options, int64_t size, bool no_backing_check,
                  bool quiet, Error **errp);

/* The same without a word, of just this @size whatever -o says, and without a
 * look at the backing file: for qemu-img convert. */
bool create_image_sized(Co *co, const char *filename, const char *fmt,
                        const char *backing, const char *backing_fmt,
                        const char *options, int64_t size, Error **errp);

/* Whether @options (NULL: none) can be given for a new image of this format
 * under this name; values are not checked further than by their type. */
bool create_check_options(const BlockDriver *drv, const char *filename,
                          const char *options, Error **errp);

/* The file below of a new image: truncated if it is there. */
bool create_file(Co *co, const char *filename, int64_t size, Error **errp);

/* "-o help": the options of @fmt on the protocol of @filename, to stdout. */
bool create_print_help(const char *fmt, const char *filename, Error **errp);

/* "-o help" of amend: what @drv can change in an image, to stdout. "Format
 * driver 'x' does not support option amendment". */
bool create_print_amend_help(const BlockDriver *drv, Error **errp);
/* As create_parse_options(), of the options that can be amended. */
json_t *create_parse_amend(const BlockDriver *drv, const char *str,
                           Error **errp);

/* "key=value,..." in the driver's create_options to the QAPI member names,
 * values still strings; NULL with QEMU's text on an unknown one. */
json_t *create_parse_options(const BlockDriver *drv, const char *str,
                             Error **errp);

#endif
