/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Libraries that are loaded when they are needed: the C library's mathematics
 * stands for one that is there. */
#include "util/osdep.h"

#include <math.h>

#include "util/lazy-lib.h"

#define MATH_LIB(X) X(trunc) X(hypot)
static struct MathLib {
    MATH_LIB(LAZY_SLOT)
} math_lib;
LAZY_LIB(math_file, "libm.so.6", math_lib, MATH_LIB);

static void test_found(void)
{
    g_assert_null(math_lib.trunc);
    for (int i = 0; i < 2; i++) {
        g_assert_true(lazy_lib_load(&math_file, &error_abort));
        g_assert_true(math_file.loaded);
    }
    g_assert_cmpfloat(math_lib.trunc(3.7), ==, 3);
    g_assert_cmpfloat(math_lib.hypot(3, 4), ==, 5);
}

static void refuse(const char *soname, const char *name, const char *words)
{
    const char *names[] = { "cos", name };
    void *slots[2];
    LazyLib lib = { soname, names, slots, 2 };

    /* It is tried anew each time. */
    for (int i = 0; i < 2; i++) {
        Error *err = NULL;

        g_assert_false(lazy_lib_load(&lib, &err));
        g_assert_nonnull(strstr(error_get_pretty(err), words));
        g_assert_false(lib.loaded);
        error_free(err);
    }
}

static void test_refused(void)
{
    refuse("libnobody-has-this.so.1", "sin",
           "Failed to load a library: libnobody-has-this.so.1: cannot open");
    refuse("libm.so.6", "no_such_function",
           "Library libm.so.6 lacks 'no_such_function'");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lazy-lib/found", test_found);
    g_test_add_func("/lazy-lib/refused", test_refused);
    return g_test_run();
}
