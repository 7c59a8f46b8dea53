/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Permissions: what is handed down, what conflicts, what is undone. */
#include "graph-test.h"

#define RO (PERM_CONSISTENT_READ | PERM_WRITE_UNCHANGED)

static void expect_edge(const Edge *e, uint64_t need, uint64_t share)
{
    g_assert_cmphex(e->need, ==, need);
    g_assert_cmphex(e->share, ==, share);
}

static const TestDisk *disk_of(const char *name)
{
    return node_find(name)->state;
}

static void test_names_of_permissions(void)
{
    char *s = perm_names(PERM_ALL);

    g_assert_cmpstr(s, ==, "consistent read, write, write unchanged, resize");
    g_free(s);
    s = perm_names(0);
    g_assert_cmpstr(s, ==, "");
    g_free(s);
}

/* What Debian's qemu-storage-daemon shows in x-debug-query-block-graph. */
static void test_format_without_users(Co *co, void *arg)
{
    Node *top = test_add(co,
        "{'driver':'qcow2','node-name':'top',"
        " 'file':{'driver':'null-co','node-name':'f'},"
        " 'backing':{'driver':'qcow2','node-name':'base',"
        "            'file':{'driver':'null-co'}}}");

    expect_edge(top->file, PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE,
                RO);
    expect_edge(top->backing, 0, PERM_ALL);
    expect_edge(top->backing->child->file, PERM_CONSISTENT_READ, RO);
    g_assert_cmphex(disk_of("f")->perm, ==, top->file->need);
    g_assert_cmphex(disk_of("f")->shared, ==, RO);
    node_unref(co, top);
}

static void test_filter_hands_through(Co *co, void *arg)
{
    Node *f = test_add(co, "{'driver':'compress','node-name':'f',"
                       "'file':{'driver':'null-co','node-name':'d'}}");
    Root *root;

    expect_edge(f->file, 0, PERM_ALL);
    root = test_root(co, f, PERM_CONSISTENT_READ | PERM_WRITE,
                     PERM_ALL & ~PERM_RESIZE);
    expect_edge(f->file, PERM_CONSISTENT_READ | PERM_WRITE,
                PERM_ALL & ~PERM_RESIZE);
    g_assert_cmphex(disk_of("d")->perm, ==, f->file->need);
    root_free(co, root);
    expect_edge(f->file, 0, PERM_ALL);
    g_assert_cmphex(disk_of("d")->perm, ==, 0);
    node_unref(co, f);
}

static void test_backing_follows_its_parents_users(Co *co, void *arg)
{
    Node *top = test_add(co,
        "{'driver':'qcow2','node-name':'top','file':{'driver':'null-co'},"
        " 'backing':{'driver':'qcow2','file':{'driver':'null-co'}}}");
    Root *root = test_root(co, top, PERM_CONSISTENT_READ | PERM_WRITE,
                           PERM_CONSISTENT_READ);

    expect_edge(top->backing, PERM_CONSISTENT_READ, RO);
    root_free(co, root);
    node_unref(co, top);
}

static void test_force_share_lets_all(Co *co, void *arg)
{
    Node *q = test_add(co, "{'driver':'qcow2','node-name':'q',"
                       "'read-only':true,'force-share':true,"
                       "'file':{'driver':'null-co','node-name':'d'}}");

    expect_edge(q->file, PERM_CONSISTENT_READ, PERM_ALL);
    node_unref(co, q);
}

static void test_conflicts_are_named(Co *co, void *arg)
{
    Node *d = test_add(co, "{'driver':'null-co','node-name':'d'}");
    Node *q = test_add(co, "{'driver':'qcow2','node-name':'q','file':'d'}");
    Error *err = NULL;

    test_add_fails(co, "{'driver':'qcow2','node-name':'c','file':'d'}",
        "Permission conflict on node 'd': permissions 'write, resize' are "
        "both required by node 'q' (uses node 'd' as 'file' child) and "
        "unshared by node 'c' (uses node 'd' as 'file' child).");
    g_assert_null(root_open(co, d, "", &test_root_ops, NULL, PERM_WRITE,
                            PERM_ALL, &err));
    test_expect(err,
        "Permission conflict on node 'd': permissions 'write' are both "
        "required by an unnamed block device (uses node 'd' as 'root' child) "
        "and unshared by node 'q' (uses node 'd' as 'file' child).");
    g_assert_cmpint(d->parents->len, ==, 1);
    g_assert_cmphex(disk_of("d")->perm, ==, q->file->need);
    node_unref(co, q);
    g_assert_cmphex(disk_of("d")->perm, ==, 0);
    node_unref(co, d);
}

static void test_read_only_node_has_no_writers(Co *co, void *arg)
{
    Node *d = test_add(co, "{'driver':'null-co','node-name':'d',"
                       "'read-only':true}");
    Error *err = NULL;

    g_assert_null(root_open(co, d, "", &test_root_ops, NULL, PERM_WRITE,
                            PERM_ALL, &err));
    test_expect(err, "Block node is read-only");
    node_unref(co, d);
}

static void test_what_a_driver_refuses_is_undone(Co *co, void *arg)
{
    Node *f = test_add(co, "{'driver':'compress','node-name':'f',"
                       "'file':{'driver':'null-co','node-name':'d'}}");
    Root *root = test_root(co, f, PERM_CONSISTENT_READ, PERM_ALL);
    Error *err = NULL;

    test_refuse_perm = true;
    g_assert_null(root_open(co, f, "", &test_root_ops, NULL, PERM_WRITE,
                            PERM_CONSISTENT_READ, &err));
    test_refuse_perm = false;
    test_expect(err, "Failed to get \"write\" lock");
    expect_edge(f->file, PERM_CONSISTENT_READ, PERM_ALL);
    g_assert_cmphex(disk_of("d")->perm, ==, PERM_CONSISTENT_READ);
    g_assert_cmphex(disk_of("d")->shared, ==, PERM_ALL);
    root_free(co, root);
    node_unref(co, f);
}

int main(int argc, char **argv)
{
    graph_test_init(&argc, &argv);
    g_test_add_func("/perm/names", test_names_of_permissions);
    graph_test_add("/perm/format-without-users", test_format_without_users);
    graph_test_add("/perm/filter-hands-through", test_filter_hands_through);
    graph_test_add("/perm/backing-follows-its-parents-users",
                   test_backing_follows_its_parents_users);
    graph_test_add("/perm/force-share-lets-all", test_force_share_lets_all);
    graph_test_add("/perm/conflicts-are-named", test_conflicts_are_named);
    graph_test_add("/perm/read-only-node-has-no-writers",
                   test_read_only_node_has_no_writers);
    graph_test_add("/perm/what-a-driver-refuses-is-undone",
                   test_what_a_driver_refuses_is_undone);
    return g_test_run();
}
