/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The commands for nodes: what they do and in which words they refuse, which
 * are those of Debian's qemu-storage-daemon 7.2. */
#include "graph-test.h"
#include "qapi/qapi-commands.h"

/* ---- calling ---- */

static bool call(Co *co, const char *name, const char *args, Error **errp)
{
    g_autoptr(json_t) a = json_parse_str(args, &error_abort);
    g_autoptr(BlockdevOptions) opts = NULL;
    const char *node = json_string_value(json_object_get(a, "node-name"));

    if (!strcmp(name, "blockdev-add")) {
        opts = BlockdevOptions_from_json(a, QAPI_STRICT, &error_abort);
        return qmp_blockdev_add(co, opts, errp);
    }
    if (!strcmp(name, "blockdev-del")) {
        return qmp_blockdev_del(co, node, errp);
    }
    g_assert_cmpstr(name, ==, "block_resize");
    return qmp_block_resize(co,
                            json_string_value(json_object_get(a, "device")),
                            node,
                            json_integer_value(json_object_get(a, "size")),
                            errp);
}

static void ok(Co *co, const char *name, const char *args)
{
    g_assert_true(call(co, name, args, &error_abort));
}

static void fails(Co *co, const char *name, const char *args,
                  const char *message)
{
    Error *err = NULL;

    g_assert_false(call(co, name, args, &err));
    test_expect(err, message);
}

/* ---- claims ---- */

static void test_add_and_del(Co *co, void *arg)
{
    fails(co, "blockdev-add", "{'driver':'null-co'}",
          "'node-name' must be specified for the root node");
    ok(co, "blockdev-add", "{'driver':'null-co','node-name':'d'}");
    fails(co, "blockdev-add", "{'driver':'null-co','node-name':'d'}",
          "Duplicate nodes with node-name='d'");
    fails(co, "blockdev-del", "{'node-name':'x'}",
          "Failed to find node with node-name='x'");
    ok(co, "blockdev-del", "{'node-name':'d'}");
    g_assert_null(node_find("d"));
}

static void test_del_refuses_what_is_in_use(Co *co, void *arg)
{
    Root *root;

    ok(co, "blockdev-add", "{'driver':'null-co','node-name':'d'}");
    ok(co, "blockdev-add", "{'driver':'compress','node-name':'f',"
       "'file':'d'}");
    ok(co, "blockdev-add", "{'driver':'qcow2','node-name':'b',"
       "'file':{'driver':'null-co','node-name':'bf'}}");
    ok(co, "blockdev-add", "{'driver':'qcow2','node-name':'q',"
       "'file':{'driver':'null-co'},'backing':'b'}");
    fails(co, "blockdev-del", "{'node-name':'d'}",
          "Block device d is in use");
    fails(co, "blockdev-del", "{'node-name':'b'}",
          "Node 'b' is busy: node is used as backing hd of 'q'");
    fails(co, "blockdev-del", "{'node-name':'bf'}",
          "Node bf is not owned by the monitor");
    root = test_root(co, node_find("f"), 0, PERM_ALL);
    fails(co, "blockdev-del", "{'node-name':'f'}", "Node f is in use");
    root_free(co, root);
    /* The newest first, each with what only it holds. */
    node_unref_named(co);
    g_assert_null(node_first());
}

static void test_resize(Co *co, void *arg)
{
    ok(co, "blockdev-add", "{'driver':'null-co','node-name':'d'}");
    fails(co, "block_resize", "{'node-name':'x','size':512}",
          "Cannot find device='' nor node-name='x'");
    fails(co, "block_resize", "{'size':512}",
          "Cannot find device='' nor node-name=''");
    fails(co, "block_resize", "{'device':'x','size':512}",
          "Cannot find device='x' nor node-name=''");
    fails(co, "block_resize", "{'node-name':'d','size':-1}",
          "Parameter 'size' expects a >0 size");
    fails(co, "block_resize", "{'node-name':'d','size':513}",
          "The new size must be a multiple of 512");
    fails(co, "block_resize", "{'node-name':'d','size':512}",
          "Image format driver does not support resize");
    g_assert_cmpint(node_find("d")->parents->len, ==, 0);
    node_unref_named(co);
}

static void test_nodes_are_listed_newest_first(Co *co, void *arg)
{
    BlockDeviceInfoList *list = NULL;
    BlockStatsList *stats = NULL;

    ok(co, "blockdev-add", "{'driver':'null-co','node-name':'d',"
       "'cache':{'no-flush':true}}");
    ok(co, "blockdev-add", "{'driver':'qcow2','node-name':'q','file':'d',"
       "'read-only':true}");
    g_assert_true(qmp_query_named_block_nodes(co, false, false, &list,
                                              &error_abort));
    g_assert_cmpstr(list->value->node_name, ==, "q");
    g_assert_cmpstr(list->value->drv, ==, "qcow2");
    g_assert_true(list->value->ro && list->value->active);
    g_assert_cmpint(list->value->image->virtual_size, ==, 65536);
    g_assert_cmpstr(list->next->value->node_name, ==, "d");
    g_assert_true(list->next->value->cache->no_flush);
    g_assert_false(list->next->value->ro);
    g_assert_null(list->next->next);
    qapi_free_BlockDeviceInfoList(list);

    g_assert_true(qmp_query_blockstats(co, false, false, &stats,
                                       &error_abort));
    g_assert_null(stats);
    g_assert_true(qmp_query_blockstats(co, true, true, &stats,
                                       &error_abort));
    g_assert_cmpstr(stats->value->node_name, ==, "d");
    g_assert_cmpstr(stats->next->value->parent->node_name, ==, "d");
    qapi_free_BlockStatsList(stats);
    node_unref_named(co);
}

static void test_graph_is_drawn(Co *co, void *arg)
{
    XDbgBlockGraph *g = NULL;
    Root *root;

    ok(co, "blockdev-add", "{'driver':'null-co','node-name':'d'}");
    root = test_root(co, node_find("d"), PERM_WRITE, PERM_ALL);
    g_assert_true(qmp_x_debug_query_block_graph(co, &g, &error_abort));
    g_assert_true(g->nodes && g->nodes->next && !g->nodes->next->next);
    g_assert_true(g->edges && !g->edges->next);
    g_assert_cmpstr(g->edges->value->name, ==, "root");
    g_assert_true(g->edges->value->perm->value == BLOCK_PERMISSION_WRITE);
    g_assert_true(g->edges->value->parent != g->edges->value->child);
    qapi_free_XDbgBlockGraph(g);
    root_free(co, root);
    node_unref_named(co);
}

int main(int argc, char **argv)
{
    graph_test_init(&argc, &argv);
    graph_test_add("/blockdev-qmp/add-and-del", test_add_and_del);
    graph_test_add("/blockdev-qmp/del-refuses-what-is-in-use",
                   test_del_refuses_what_is_in_use);
    graph_test_add("/blockdev-qmp/resize", test_resize);
    graph_test_add("/blockdev-qmp/nodes-are-listed-newest-first",
                   test_nodes_are_listed_newest_first);
    graph_test_add("/blockdev-qmp/graph-is-drawn", test_graph_is_drawn);
    return g_test_run();
}
