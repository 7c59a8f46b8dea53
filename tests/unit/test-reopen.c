/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Reopening: access both ways, inherited flags, children, all or none. */
#include "graph-test.h"
#include "block/reopen.h"

/* ---- a disk that can be reopened ---- */

static int prepared, committed, aborted;
static bool refuse_prepare;

static bool disk_prepare(Co *co, ReopenState *st, Transaction *tran,
                         Error **errp)
{
    g_assert_cmpint(st->node->quiesced, >, 0);
    if (refuse_prepare) {
        error_setg(errp, "no");
        return false;
    }
    prepared++;
    return true;
}

static void disk_commit(Co *co, ReopenState *st)
{
    g_assert_true(st->node->read_only == st->read_only);
    committed++;
}

static void disk_abort(Co *co, ReopenState *st)
{
    aborted++;
}

static const char *const disk_changeable[] = { "latency-ns", NULL };

static const ReopenOps disk_reopen = {
    .options = disk_changeable, .prepare = disk_prepare,
    .commit = disk_commit, .abort = disk_abort,
};

static const ReopenOps format_reopen = { 0 };

static BlockDriver disk_driver, format_driver;

static void expect_steps(int p, int c, int a)
{
    g_assert_cmpint(prepared, ==, p);
    g_assert_cmpint(committed, ==, c);
    g_assert_cmpint(aborted, ==, a);
    prepared = committed = aborted = 0;
}

static bool reopen_it(Co *co, const char *text, Error **errp)
{
    g_autoptr(json_t) tree = json_parse_str(text, &error_abort);
    BlockdevOptionsList *list = NULL;
    bool ok;

    g_assert_true(BlockdevOptionsList_from_json(tree, QAPI_STRICT, &list,
                                                &error_abort));
    ok = reopen_nodes(co, list, errp);
    qapi_free_BlockdevOptionsList(list);
    return ok;
}

static void expect_refused(Co *co, const char *text, const char *message)
{
    Error *err = NULL;

    g_assert_false(reopen_it(co, text, &err));
    test_expect(err, message);
}

/* ---- claims ---- */

static void test_access_goes_both_ways(Co *co, void *arg)
{
    Node *q = test_add(co, "{'driver':'qcow2','node-name':'q',"
                       "'file':{'driver':'null-co','node-name':'d'}}");
    Node *d = node_find("d");

    g_assert_true(reopen_it(co, "[{'driver':'qcow2','node-name':'q',"
                            "'file':'d','read-only':true}]", &error_abort));
    g_assert_true(q->read_only && d->read_only);
    g_assert_cmphex(q->file->need, ==, PERM_CONSISTENT_READ);
    expect_steps(1, 1, 0);
    g_assert_true(reopen_set_read_only(co, q, false, &error_abort));
    g_assert_false(q->read_only || d->read_only);
    g_assert_true(q->file->need & PERM_WRITE);
    expect_steps(1, 1, 0);
    g_assert_cmpint(d->quiesced, ==, 0);
    node_unref(co, q);
}

static void test_what_is_not_given_goes_back(Co *co, void *arg)
{
    Node *d = test_add(co, "{'driver':'null-co','node-name':'d',"
                       "'latency-ns':5,'read-only':true,"
                       "'detect-zeroes':'on'}");

    g_assert_true(reopen_it(co, "[{'driver':'null-co','node-name':'d'}]",
                            &error_abort));
    g_assert_false(d->read_only);
    g_assert_true(d->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF);
    g_assert_false(d->options->u.null_co.has_latency_ns);
    expect_steps(1, 1, 0);
    node_unref(co, d);
}

static void test_all_or_none(Co *co, void *arg)
{
    Node *d = test_add(co, "{'driver':'null-co','node-name':'d'}");
    Node *e = test_add(co, "{'driver':'null-co','node-name':'e'}");
    Root *root = test_root(co, e, PERM_WRITE, PERM_ALL);

    expect_refused(co, "[{'driver':'null-co','node-name':'d',"
                   "'read-only':true,'detect-zeroes':'on'},{'driver':'null-co','node-name':'e',"
                   "'read-only':true}]",
                   "Block node is read-only");
    g_assert_false(d->read_only || e->read_only);
    g_assert_false(d->options->has_read_only);
    g_assert_true(d->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF);
    expect_steps(2, 0, 2);
    refuse_prepare = true;
    expect_refused(co, "[{'driver':'null-co','node-name':'d',"
                   "'read-only':true}]", "no");
    refuse_prepare = false;
    g_assert_false(d->read_only);
    expect_steps(0, 0, 0);
    root_free(co, root);
    node_unref(co, e);
    node_unref(co, d);
}

static void test_backing_is_replaced_and_removed(Co *co, void *arg)
{
    Node *a = test_add(co, "{'driver':'qcow2','node-name':'a',"
                       "'file':{'driver':'null-co'}}");
    Node *q = test_add(co, "{'driver':'qcow2','node-name':'q',"
                       "'file':{'driver':'null-co','node-name':'d'}}");

    g_assert_true(reopen_it(co, "[{'driver':'qcow2','node-name':'q',"
                            "'file':'d','backing':'a'}]", &error_abort));
    g_assert_true(q->backing && q->backing->child == a && a->refs == 2);
    expect_refused(co, "[{'driver':'qcow2','node-name':'q','file':'d'}]",
                   "backing is missing for 'q'");
    expect_refused(co, "[{'driver':'qcow2','node-name':'q','file':'d',"
                   "'backing':'q'}]",
                   "Making 'q' a backing child of 'q' would create a cycle");
    g_assert_true(q->backing->child == a);
    g_assert_true(reopen_it(co, "[{'driver':'qcow2','node-name':'q',"
                            "'file':'d','backing':null}]", &error_abort));
    g_assert_true(!q->backing && a->refs == 1);
    node_unref(co, q);
    node_unref(co, a);
    prepared = committed = aborted = 0;
}

static void test_refusals(Co *co, void *arg)
{
    Node *d = test_add(co, "{'driver':'null-co','node-name':'d',"
                       "'size':4096}");
    Node *q = test_add(co, "{'driver':'qcow2','node-name':'q','file':'d'}");

    expect_refused(co, "[{'driver':'null-co'}]", "node-name not specified");
    expect_refused(co, "[{'driver':'null-co','node-name':'x'}]",
                   "Failed to find node with node-name='x'");
    expect_refused(co, "[{'driver':'qcow2','node-name':'d','file':'q'}]",
                   "Cannot change the option 'driver'");
    expect_refused(co, "[{'driver':'null-co','node-name':'d'}]",
                   "Cannot change the option 'size'");
    expect_refused(co, "[{'driver':'null-co','node-name':'d',"
                   "'size':8192}]", "Cannot change the option 'size'");
    expect_refused(co, "[{'driver':'qcow2','node-name':'q','file':'zz'}]",
                   "Cannot find device='' nor node-name='zz'");
    expect_refused(co, "[{'driver':'qcow2','node-name':'q','file':"
                   "{'driver':'null-co'}}]",
                   "Cannot change the option 'file'");
    node_unref(co, q);
    node_unref(co, d);
    prepared = committed = aborted = 0;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    disk_driver = test_disk_driver;
    disk_driver.reopen = &disk_reopen;
    format_driver = test_format_driver;
    format_driver.reopen = &format_reopen;
    driver_register(&disk_driver);
    driver_register(&format_driver);
    graph_test_add("/reopen/access-goes-both-ways",
                   test_access_goes_both_ways);
    graph_test_add("/reopen/what-is-not-given-goes-back",
                   test_what_is_not_given_goes_back);
    graph_test_add("/reopen/all-or-none", test_all_or_none);
    graph_test_add("/reopen/backing-is-replaced-and-removed",
                   test_backing_is_replaced_and_removed);
    graph_test_add("/reopen/refusals", test_refusals);
    return g_test_run();
}
