/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The order in which a transaction's steps end. */
#include "util/transaction.h"

static GString *trace;
static Co *expected_co;

static void trace_commit(Co *co, void *opaque)
{
    g_assert_true(co == expected_co);
    g_string_append_printf(trace, "c%s ", (const char *)opaque);
}

static void trace_abort(Co *co, void *opaque)
{
    g_assert_true(co == expected_co);
    g_string_append_printf(trace, "a%s ", (const char *)opaque);
}

static void trace_clean(void *opaque)
{
    g_string_append_printf(trace, "x%s ", (const char *)opaque);
}

static void trace_release(Co *co, void *opaque)
{
    g_assert_true(co == expected_co);
    g_string_append_printf(trace, "r%s ", (const char *)opaque);
}

static const TransactionOps all_ops = {
    .commit = trace_commit,
    .abort = trace_abort,
    .clean = trace_clean,
    .release = trace_release,
};
static const TransactionOps abort_ops = { .abort = trace_abort };
static const TransactionOps no_ops;

static void check(bool ok, const char *expect)
{
    Transaction *tran = tran_new();

    trace = g_string_new(NULL);
    expected_co = (Co *)trace;      /* any address: it is only handed on */
    tran_add(tran, &all_ops, (void *)"1");
    tran_add(tran, &abort_ops, (void *)"2");
    tran_add(tran, &no_ops, NULL);
    tran_add(tran, &all_ops, (void *)"3");
    g_assert_cmpint(tran_finalize(expected_co, tran, ok), ==, ok);
    g_assert_cmpstr(trace->str, ==, expect);
    g_string_free(trace, TRUE);
}

static void test_commit(void)
{
    check(true, "c1 c3 x3 x1 r3 r1 ");
}

static void test_abort(void)
{
    check(false, "a3 a2 a1 x3 x1 r3 r1 ");
}

static void test_empty(void)
{
    tran_commit(NULL, tran_new());
    tran_abort(NULL, tran_new());
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/transaction/commit", test_commit);
    g_test_add_func("/transaction/abort", test_abort);
    g_test_add_func("/transaction/empty", test_empty);
    return g_test_run();
}
