/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* For unit tests: QEMU's own qemu-img, PEER_QEMU_IMG or that of the PATH. */
#ifndef TESTS_UNIT_PEER_IMG_H
#define TESTS_UNIT_PEER_IMG_H

#include "util/osdep.h"

/* Runs it in @dir (NULL: here) with @args, which end with NULL; @out, @err: may
 * be NULL, caller frees. False if it isn't there. */
static inline bool peer_img_spawn(const char *dir, const char *const *args,
                                  char **out, char **err, int *status)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    const char *prog = g_getenv("PEER_QEMU_IMG");

    g_ptr_array_add(argv, (char *)(prog ? prog : "qemu-img"));
    for (; *args; args++) {
        g_ptr_array_add(argv, (char *)*args);
    }
    g_ptr_array_add(argv, NULL);
    return g_spawn_sync(dir, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH,
                        NULL, NULL, out, err, status, NULL);
}

/* The same; false as well if it fails. */
static inline bool peer_img(const char *dir, const char *const *args,
                            char **out, char **err)
{
    int status;

    return peer_img_spawn(dir, args, out, err, &status) &&
           g_spawn_check_wait_status(status, NULL);
}

/* Skips the test if it isn't there. */
static inline bool peer_img_have(void)
{
    const char *args[] = { "--version", NULL };
    g_autofree char *out = NULL;

    if (peer_img(NULL, args, &out, NULL)) {
        return true;
    }
    g_test_skip("no qemu-img to compare with");
    return false;
}

/* It finds nothing wrong with @image, if it is there. */
static inline void peer_img_check(const char *image)
{
    const char *args[] = { "check", "-q", image, NULL };
    int status;

    if (peer_img_spawn(NULL, args, NULL, NULL, &status)) {
        g_assert_true(g_spawn_check_wait_status(status, NULL));
    }
}

#endif
