/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Errors: storing, prefixing, guarding, and how they are printed. */
#include "util/error.h"

static void test_set(void)
{
    g_autoptr(Error) err = NULL;

    errno = EBUSY;
    error_setg(&err, "no %s", "luck");
    g_assert_cmpint(errno, ==, EBUSY);
    g_assert_cmpstr(error_get_pretty(err), ==, "no luck");
    g_assert_cmpstr(error_get_hint(err), ==, "");
    g_assert_cmpint(error_get_class(err), ==, ERROR_CLASS_GENERIC_ERROR);

    error_prepend(&err, "Disk %d: ", 1);
    error_append_hint(&err, "Try %s\n", "again");
    error_append_hint(&err, "or not\n");
    g_assert_cmpstr(error_get_pretty(err), ==, "Disk 1: no luck");
    g_assert_cmpstr(error_get_hint(err), ==, "Try again\nor not\n");
}

static void test_errno_takes_either_sign(void)
{
    Error *err = NULL;

    error_setg_errno(&err, ENOENT, "Could not open '%s'", "x");
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Could not open 'x': No such file or directory");
    error_clear(&err);
    g_assert_null(err);

    error_setg_errno(&err, -ENOSPC, "Write failed");
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Write failed: No space left on device");
    error_clear(&err);
}

static void test_class(void)
{
    g_autoptr(Error) err = NULL;
    g_autoptr(Error) copy = NULL;

    error_set(&err, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
              "d");
    error_append_hint(&err, "hint\n");
    copy = error_copy(err);
    g_assert_cmpstr(error_get_pretty(copy), ==, "Device 'd' not found");
    g_assert_cmpstr(error_get_hint(copy), ==, "hint\n");
    g_assert_cmpstr(error_class_str(error_get_class(copy)), ==,
                    "DeviceNotFound");
    g_assert_cmpstr(error_class_str(ERROR_CLASS_GENERIC_ERROR), ==,
                    "GenericError");
    g_assert_cmpstr(error_class_str(ERROR_CLASS_COMMAND_NOT_FOUND), ==,
                    "CommandNotFound");
}

static void test_nobody_listens(void)
{
    Error *err = NULL;

    error_setg(NULL, "lost");
    error_prepend(NULL, "lost");
    error_append_hint(NULL, "lost");
    error_propagate(NULL, NULL);
    error_setg(&err, "dropped");
    error_propagate(NULL, err);
    error_clear(NULL);
    error_free(NULL);
}

static void test_propagate_keeps_the_first(void)
{
    g_autoptr(Error) first = NULL;
    Error *second = NULL;

    error_setg(&first, "first");
    error_setg(&second, "second");
    error_propagate(&first, second);
    g_assert_cmpstr(error_get_pretty(first), ==, "first");
}

static bool fail_guarded(Error **errp)
{
    ERRP_GUARD();

    error_setg(errp, "inner");
    error_prepend(errp, "outer: ");
    return false;
}

static void test_guard(void)
{
    g_autoptr(Error) err = NULL;

    g_assert_false(fail_guarded(NULL));
    g_assert_false(fail_guarded(&err));
    g_assert_cmpstr(error_get_pretty(err), ==, "outer: inner");
}

static void print_all(void)
{
    Error *err = NULL;

    error_init("/usr/bin/qemu-img");
    error_report("plain %d", 1);
    warn_report("mind %d", 2);
    info_report("know %d", 3);
    error_setg(&err, "Parameter 'id' expects an identifier");
    error_append_hint(&err, "Identifiers consist of letters\n");
    error_reportf_err(err, "%s: ", "x");
    err = NULL;
    error_init("a");
    error_set_location("--blockdev %s", "foo");
    error_setg(&err, "bad");
    warn_report_err(err);
    err = NULL;
    error_setg(&err, "bad");
    error_report_err(err);
    error_set_location(NULL);
    error_report("bye");
}

static void test_printing(void)
{
    if (g_test_subprocess()) {
        print_all();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr(
        "qemu-img: plain 1\n"
        "qemu-img: warning: mind 2\n"
        "qemu-img: info: know 3\n"
        "qemu-img: x: Parameter 'id' expects an identifier\n"
        "Identifiers consist of letters\n"
        "a: --blockdev foo: warning: bad\n"
        "a: --blockdev foo: bad\n"
        "a: bye\n");
}

static void test_fatal_exits_with_1(void)
{
    if (g_test_subprocess()) {
        error_init("qemu-io");
        fail_guarded(&error_fatal);
        g_assert_not_reached();
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_assert_true(g_test_trap_reached_timeout() == FALSE);
    g_test_trap_assert_stderr("qemu-io: outer: inner\n");
}

static void test_exit_is_no_signal(void)
{
    if (g_test_subprocess()) {
        error_init("qemu-io");
        printf("printed before\n");
        error_exit(ENOMEM, "Cannot map %s", "a stack");
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stdout("*printed before\n");
    g_test_trap_assert_stderr("qemu-io: Cannot map a stack: "
                              "Cannot allocate memory\n");
}

static void test_abort_aborts(void)
{
    if (g_test_subprocess()) {
        error_init("qemu-io");
        error_setg(&error_abort, "never");
        g_assert_not_reached();
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("qemu-io: never\n*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/error/set", test_set);
    g_test_add_func("/error/errno-sign", test_errno_takes_either_sign);
    g_test_add_func("/error/class", test_class);
    g_test_add_func("/error/nobody-listens", test_nobody_listens);
    g_test_add_func("/error/first-wins", test_propagate_keeps_the_first);
    g_test_add_func("/error/guard", test_guard);
    g_test_add_func("/error/printing", test_printing);
    g_test_add_func("/error/fatal", test_fatal_exits_with_1);
    g_test_add_func("/error/exit", test_exit_is_no_signal);
    g_test_add_func("/error/abort", test_abort_aborts);
    return g_test_run();
}
