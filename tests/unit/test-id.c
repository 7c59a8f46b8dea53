/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Which names users may give, and what they are told of others. */
#include "util/id.h"

static void test_wellformed(void)
{
    static const char *const good[] = { "a", "Z9", "a-b.c_d" };
    static const char *const bad[] = {
        "", "1", "-a", "a b", "a,", "#x", ".a", "_a", "a/", "\xc3\xa9",
    };

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        g_assert_true(id_wellformed(good[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_assert_false(id_wellformed(bad[i]));
    }
}

static void test_message(void)
{
    g_autoptr(Error) err = NULL;

    id_set_malformed(&err, "id");
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Parameter 'id' expects an identifier");
    g_assert_cmpstr(error_get_hint(err), ==, "Identifiers consist of letters, "
                    "digits, '-', '.', '_', starting with a letter.\n");
    id_set_malformed(NULL, "id");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/id/wellformed", test_wellformed);
    g_test_add_func("/id/message", test_message);
    return g_test_run();
}
