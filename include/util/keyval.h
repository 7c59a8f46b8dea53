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
 * @implied_key (may be NULL) names a first value without "key=". If @help is
 * given, "help" or "?" sets it. Leaves are strings. NULL on error. Caller
 * owns the result. Messages as QEMU's keyval parser prints them.
 */
json_t *keyval_parse(const char *str, const char *implied_key, bool *help,
                     Error **errp);
/* The same without nesting: "a.b" stays one key. */
json_t *keyval_parse_flat(const char *str, const char *implied_key,
                          bool *help, Error **errp);
/* A flat object with dotted keys to a nested tree, and back. */
json_t *keyval_nest(const json_t *flat, Error **errp);
json_t *keyval_flatten(const json_t *tree);

#endif
