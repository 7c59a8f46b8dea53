/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * "driver=qcow2,file.driver=file,file.filename=a,,b" to a tree of strings:
 * dotted keys nest, keys that are all digits make arrays, ",," is a comma.
 */
#ifndef UTIL_KEYVAL_H
#define UTIL_KEYVAL_H

#include <jansson.h>

#include "util/error.h"

/*
 * For --blockdev, --export, --object, --nbd-server. @implied_key (may be NULL)
 * names a first value without "key=". If @help is given, "help" or "?" sets it
 * (it is not cleared); without it they are an error. Leaves are strings; of a
 * key given twice the last counts. NULL on error. Caller owns the result.
 * Messages as QEMU's keyval parser prints them.
 */
json_t *keyval_parse(const char *str, const char *implied_key, bool *help,
                     Error **errp);

/*
 * For -o: the same without nesting ("a.b" stays one key) and without rules for
 * keys, but "foo" is foo=on and "nofoo" is foo=off. Without @help, "help" is a
 * key like others. Can't fail today.
 */
json_t *keyval_parse_flat(const char *str, const char *implied_key,
                          bool *help, Error **errp);

/* For --image-opts and --chardev: likewise, and warns of "foo" and "nofoo". */
json_t *keyval_parse_flat_warn(const char *str, const char *implied_key,
                               bool *help, Error **errp);

/*
 * A flat object with dotted keys to a nested tree, and back. Values are shared
 * and may be of any type; nothing is split inside them. Flattening keeps empty
 * objects and arrays as values.
 */
json_t *keyval_nest(const json_t *flat, Error **errp);
json_t *keyval_flatten(const json_t *tree);

#endif
