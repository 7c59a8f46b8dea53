/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* program_run(): arguments in, exit status out, suspending in between. */

#include "util/loop.h"
#include "util/program.h"

static int program(Co *co, int argc, char **argv)
{
    g_assert_cmpint(argc, ==, 2);
    g_assert_cmpstr(argv[1], ==, "x");
    g_assert_true(loop_current() == loop_main());
    co_sleep(co, 1000);
    return 42;
}

static void test_status(void)
{
    char name[] = "program", arg[] = "x";
    char *argv[] = { name, arg, NULL };

    g_assert_cmpint(program_run(2, argv, program), ==, 42);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/program/status", test_status);
    return g_test_run();
}
