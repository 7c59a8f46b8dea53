/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A shared library that is loaded when it is first needed. Most runs of the
 * tools never need TLS or an NBD client, and these libraries, with those that
 * they need, would take two thirds of the time that a start takes.
 *
 * A header per library lists its functions once for the table,
 *
 *     #define FOO_LIB(X) X(foo_open) X(foo_close)
 *     extern struct FooLib { FOO_LIB(LAZY_SLOT) } foo_lib;
 *
 * and redirects each name, so that callers look as ever:
 *
 *     #define foo_open foo_lib.foo_open
 *
 * Who gets the first handle of the library calls lazy_lib_load() before.
 */
#ifndef UTIL_LAZY_LIB_H
#define UTIL_LAZY_LIB_H

#include "util/error.h"

typedef struct LazyLib {
    const char *soname;         /* as the linker would have noted it */
    const char *const *names;   /* the functions */
    void **slots;               /* where their addresses go, in this order */
    unsigned n;
    bool loaded;
} LazyLib;

/* For the list: a member of the table, a name. */
#define LAZY_SLOT(f) __typeof__(&f) f;
#define LAZY_NAME(f) #f,

/* Defines @lib of the table @table, whose functions are @LIST. */
#define LAZY_LIB(lib, file, table, LIST)                                    \
    static const char *const lib##_names[] = { LIST(LAZY_NAME) };           \
    G_STATIC_ASSERT(sizeof(table) ==                                        \
                    G_N_ELEMENTS(lib##_names) * sizeof(void *));            \
    static LazyLib lib = {                                                  \
        .soname = file, .names = lib##_names, .slots = (void **)&table,     \
        .n = G_N_ELEMENTS(lib##_names),                                     \
    }

/* Loads it if it isn't yet; from any thread. May wait for the disk. False if
 * it isn't installed or lacks a function. */
bool lazy_lib_load(LazyLib *lib, Error **errp);

#endif
