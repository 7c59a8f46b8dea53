/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The shape of the graph: names, edits and their undo, draining, loops. */
#include "graph-test.h"

#define DISK(name) "{'driver':'null-co','node-name':'" name "'}"
#define FILTER(name, file) \
    "{'driver':'compress','node-name':'" name "','file':'" file "'}"
#define FORMAT(name, file) \
    "{'driver':'qcow2','node-name':'" name "','file':'" file "'}"

/* ---- names and lives ---- */

static void test_names(Co *co, void *arg)
{
    Node *a = test_add(co, DISK("a"));
    Node *gen = test_add(co, "{'driver':'null-co'}");

    g_assert_true(node_find("a") == a);
    g_assert_true(node_first() == a && node_next(a) == gen);
    g_assert_true(g_str_has_prefix(gen->name, "#block"));
    test_add_fails(co, DISK("a"), "Duplicate nodes with node-name='a'");
    test_add_fails(co, DISK("1a"), "Invalid node-name: '1a'");
    test_add_fails(co, DISK("a b"), "Invalid node-name: 'a b'");
    test_add_fails(co, DISK(""), "Invalid node-name: ''");
    test_add_fails(co, DISK("a123456789012345678901234567890x"),
                   "Node name too long");
    node_unref(co, a);
    g_assert_null(node_find("a"));
    node_unref(co, gen);
}

static void test_lookup(Co *co, void *arg)
{
    Node *a = test_add(co, DISK("a"));
    Error *err = NULL;

    g_assert_true(node_lookup("a", &error_abort) == a);
    g_assert_true(node_lookup_either(NULL, "a", &error_abort) == a);
    g_assert_null(node_lookup("b", &err));
    test_expect(err, "Cannot find device='b' nor node-name='b'");
    err = NULL;
    g_assert_null(node_lookup_either(NULL, "b", &err));
    test_expect(err, "Cannot find device='' nor node-name='b'");
    node_unref(co, a);
}

static void test_chain_is_closed_with_its_top(Co *co, void *arg)
{
    Node *top = test_add(co,
        "{'driver':'qcow2','node-name':'top','file':{'driver':'null-co'},"
        " 'backing':{'driver':'qcow2','node-name':'base',"
        "            'file':{'driver':'null-co'}}}");
    Node *base = node_find("base");

    g_assert_cmpint(test_opened, ==, 2);
    g_assert_true(top->backing->child == base);
    g_assert_true(top->file && !strcmp(top->file->name, "file"));
    g_assert_cmpint(top->children->len, ==, 2);
    g_assert_true(base->parents->len == 1);
    g_assert_true(node_backing_chain_next(top) == base);
    g_assert_true(node_chain_contains(top, base));
    g_assert_false(node_chain_contains(base, top));
    node_unref(co, top);
    g_assert_cmpint(test_closed, ==, 2);
}

static void test_failed_open_leaves_nothing(Co *co, void *arg)
{
    test_add_fails(co, "{'driver':'qcow2','node-name':'q',"
                   "'file':{'driver':'null-co'},'backing':'nope'}",
                   "Could not open backing file: "
                   "Cannot find device='nope' nor node-name='nope'");
    test_add_fails(co, "{'driver':'qcow2','node-name':'q',"
                   "'file':{'driver':'null-co'},'force-share':true}",
                   "force-share=on can only be used with read-only images");
    test_add_fails(co, "{'driver':'null-co','node-name':'q',"
                   "'detect-zeroes':'unmap'}",
                   "setting detect-zeroes to unmap is not allowed without "
                   "setting discard operation to unmap");
    test_add_fails(co, "{'driver':'file','filename':'x'}",
                   "Unknown driver 'file'");
}

static void test_flags_are_inherited_by_role(Co *co, void *arg)
{
    Node *top = test_add(co,
        "{'driver':'qcow2','node-name':'top','auto-read-only':true,"
        " 'cache':{'direct':true,'no-flush':true},"
        " 'file':{'driver':'null-co','node-name':'f'},"
        " 'backing':{'driver':'qcow2','node-name':'base',"
        "            'file':{'driver':'null-co','node-name':'bf',"
        "                    'cache':{'direct':false}}}}");
    Node *base = node_find("base");

    g_assert_cmphex(node_find("f")->flags, ==,
                    OPEN_RDWR | OPEN_AUTO_RDONLY | OPEN_NOCACHE |
                    OPEN_NO_FLUSH | OPEN_UNMAP);
    g_assert_cmphex(base->flags, ==, OPEN_NOCACHE | OPEN_NO_FLUSH);
    g_assert_true(base->read_only && !top->read_only);
    g_assert_cmphex(node_find("bf")->flags, ==, OPEN_NO_FLUSH | OPEN_UNMAP);
    g_assert_true(base->inherits_from == top);
    node_unref(co, top);
}

static void test_json_name_tells_the_content(Co *co, void *arg)
{
    Node *top = test_add(co,
        "{'driver':'qcow2','node-name':'top',"
        " 'file':{'driver':'null-co','size':4096},"
        " 'backing':{'driver':'qcow2','file':{'driver':'null-co'}}}");

    g_assert_cmpstr(top->filename, ==,
        "json:{\"driver\": \"qcow2\", "
        "\"file\": {\"driver\": \"null-co\", \"size\": 4096}, "
        "\"backing\": {\"driver\": \"qcow2\", "
        "\"file\": {\"driver\": \"null-co\"}}}");
    g_assert_null(top->exact_filename);
    node_unref(co, top);
}

/* ---- edits ---- */

static void test_cycles_are_refused(Co *co, void *arg)
{
    Node *d = test_add(co, DISK("d"));
    Node *a = test_add(co, FILTER("a", "d"));
    Node *b = test_add(co, FILTER("b", "a"));
    Transaction *tran = tran_new();
    Error *err = NULL;

    g_assert_null(graph_attach(co, tran, a, "backing", ROLE_COW, b, &err));
    test_expect(err, "Making 'b' a backing child of 'a' would create a "
                "cycle");
    tran_abort(co, tran);
    node_unref(co, b);
    node_unref(co, a);
    node_unref(co, d);
}

static void test_abort_undoes_edits(Co *co, void *arg)
{
    Node *d = test_add(co, DISK("d"));
    Node *e = test_add(co, DISK("e"));
    Node *f = test_add(co, FORMAT("f", "d"));
    Root *root = test_root(co, f, 0, PERM_ALL);
    Transaction *tran = tran_new();

    graph_drain(co, tran, f);
    g_assert_nonnull(graph_attach(co, tran, f, "backing", ROLE_COW, e,
                                  &error_abort));
    g_assert_true(f->backing->child == e && e->refs == 2);
    g_assert_cmpint(e->quiesced, >, 0);
    graph_detach(tran, f->file);
    g_assert_null(f->file);
    g_assert_true(graph_replace_child(co, tran, root->edge, e, &error_abort));
    g_assert_true(root_node(root) == e && root->quiesced == e->quiesced);
    tran_abort(co, tran);

    g_assert_null(f->backing);
    g_assert_true(f->file && f->file->child == d && f->children->len == 1);
    g_assert_true(root_node(root) == f && root->quiesced == 0);
    g_assert_cmpint(e->refs, ==, 1);
    g_assert_cmpint(e->quiesced + d->quiesced + f->quiesced, ==, 0);
    root_free(co, root);
    node_unref(co, f);
    node_unref(co, e);
    node_unref(co, d);
}

static void test_filter_goes_in_and_out(Co *co, void *arg)
{
    Node *d = test_add(co, DISK("d"));
    Node *f = test_add(co, FORMAT("f", "d"));
    Root *root = test_root(co, f, PERM_WRITE, PERM_ALL);
    Node *filter = test_add(co, FILTER("filter", "f"));
    Transaction *tran = tran_new();

    g_assert_true(graph_insert_filter(co, tran, filter, f, &error_abort));
    g_assert_true(graph_check_one(tran, f, &error_abort));
    tran_commit(co, tran);
    g_assert_true(root_node(root) == filter);
    g_assert_true(node_skip_filters(filter) == f);
    g_assert_true(node_filter_child(filter)->need == PERM_WRITE);
    g_assert_cmpint(f->parents->len, ==, 1);

    tran = tran_new();
    g_assert_true(graph_replace_node(co, tran, filter, f, &error_abort));
    g_assert_true(graph_check_one(tran, f, &error_abort));
    tran_commit(co, tran);
    g_assert_true(root_node(root) == f);
    g_assert_cmpint(root->quiesced, ==, 0);
    node_unref(co, filter);
    root_free(co, root);
    node_unref(co, f);
    node_unref(co, d);
}

/* ---- a filter that can't be taken out at once ---- */

static int drop_refusals;       /* of staged permissions so far */

static bool drop_counted_perm(Node *node, uint64_t perm, uint64_t shared,
                              Transaction *tran, Error **errp)
{
    drop_refusals += test_refuse_perm;
    return test_disk_perm(node, perm, shared, tran, errp);
}

/* A chain filter -> d below a root, on @loop; d's locks can't be had. */
static Root *drop_prepare(Co *co, BlockDriver *drv, Node **filter, Loop *loop)
{
    Node *d = test_add(co, DISK("d"));
    Root *root;

    *drv = *d->drv;
    drv->perm_stage = drop_counted_perm;
    d->drv = drv;
    *filter = test_add(co, FILTER("filter", "d"));
    root = test_root(co, *filter, PERM_WRITE, PERM_ALL);
    g_assert_true(graph_set_loop(co, d, loop, &error_abort));
    drop_refusals = 0;
    test_refuse_perm = true;
    return root;
}

static void drop_relent(void *opaque)
{
    test_refuse_perm = false;
}

static void drop_waits_on(Co *co, Loop *loop)
{
    BlockDriver drv;
    Node *filter, *d;
    Root *root = drop_prepare(co, &drv, &filter, loop);
    LoopTimer *timer;

    d = filter->file->child;
    co_move(co, loop);
    timer = loop_timer_new(loop, drop_relent, NULL);
    loop_timer_set(timer, clock_ns() + 50 * 1000 * 1000);
    graph_drop_filter(co, filter, d);
    g_assert_true(co_loop(co) == loop);
    g_assert_false(test_refuse_perm);
    g_assert_cmpint(drop_refusals, >, 0);
    g_assert_null(node_find("filter"));
    g_assert_true(root_node(root) == d);
    g_assert_cmpint(d->parents->len, ==, 1);
    g_assert_cmpint(d->quiesced + root->quiesced, ==, 0);
    loop_timer_free(timer);
    co_move(co, loop_main());
    root_free(co, root);
    node_unref(co, d);
}

/* On the loop where it began, whoever else lives there. */
static void test_drop_waits_for_locks(Co *co, void *arg)
{
    LoopThread *t = loop_thread_new("io", &error_abort);

    drop_waits_on(co, loop_main());
    drop_waits_on(co, loop_thread_loop(t));
    loop_thread_free(t);
}

/* Not forever: nobody would know why the job hangs. */
static void test_drop_gives_up(Co *co, void *arg)
{
    BlockDriver drv;
    Node *filter;

    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 60 * 1000 * 1000, 0);
        g_test_trap_assert_failed();
        g_test_trap_assert_stderr("*Cannot take filter 'filter' out of the "
                                  "graph: Failed to get \"write\" lock*");
        return;
    }
    drop_prepare(co, &drv, &filter, loop_main());
    graph_drop_filter(co, filter, filter->file->child);
}

/* Some mean the node, whatever is put on top of it. */
static void test_root_stays_at_its_node(Co *co, void *arg)
{
    static const RootOps stays = { .kind = "job", .stay_at_node = true };
    Node *d = test_add(co, DISK("d"));
    Node *f = test_add(co, FILTER("f", "d"));
    Root *goes = test_root(co, d, PERM_WRITE, PERM_ALL);
    Root *root = root_open(co, d, "", &stays, NULL, PERM_CONSISTENT_READ,
                           PERM_ALL, &error_abort);
    Transaction *tran = tran_new();

    g_assert_true(graph_insert_filter(co, tran, f, d, &error_abort));
    g_assert_true(graph_check_one(tran, d, &error_abort));
    tran_commit(co, tran);
    g_assert_true(root_node(goes) == f && root_node(root) == d);
    g_assert_cmpint(d->parents->len, ==, 2);
    root_free(co, goes);
    root_free(co, root);
    node_unref(co, f);
    node_unref(co, d);
}

static void test_frozen_chain_does_not_change(Co *co, void *arg)
{
    Node *d = test_add(co, DISK("d"));
    Node *e = test_add(co, DISK("e"));
    Node *f = test_add(co, FILTER("f", "d"));
    Transaction *tran = tran_new();
    Error *err = NULL;

    g_assert_true(graph_freeze_chain(f, NULL, &error_abort));
    g_assert_false(graph_freeze_chain(f, NULL, &err));
    test_expect(err, "Cannot freeze 'file' link to 'd'");
    err = NULL;
    g_assert_false(graph_replace_node(co, tran, d, e, &err));
    test_expect(err, "Cannot change 'file' link from 'f' to 'd'");
    tran_abort(co, tran);
    graph_unfreeze_chain(f, NULL);
    tran = tran_new();
    g_assert_true(graph_replace_node(co, tran, d, e, &error_abort));
    tran_commit(co, tran);
    g_assert_true(f->file->child == e);
    node_unref(co, f);
    node_unref(co, e);
    node_unref(co, d);
}

/* ---- draining ---- */

typedef struct Requester {
    Root *root;
    bool may_enter;
    int entered, left;
    Co *waiting;            /* inside of the request */
} Requester;

static void requester_run(Co *co, void *arg)
{
    Requester *r = arg;

    root_begin(co, r->root);
    g_assert_true(r->may_enter);
    r->entered++;
    r->waiting = co;
    co_suspend(co);
    root_end(r->root);
    r->left++;
}

static void wake_requester(Co *co, void *arg)
{
    Requester *r = arg;

    co_yield(co);
    co_wake(r->waiting);
}

static void test_drain_waits_and_holds_back(Co *co, void *arg)
{
    Node *d = test_add(co, DISK("d"));
    Node *f = test_add(co, FILTER("f", "d"));
    Requester r = { test_root(co, f, 0, PERM_ALL), true };

    co_spawn(loop_main(), requester_run, &r);
    co_yield(co);
    g_assert_cmpint(r.entered, ==, 1);
    co_spawn(loop_main(), wake_requester, &r);
    drain_begin(co, d);
    g_assert_cmpint(r.left, ==, 1);

    r.may_enter = false;
    co_spawn(loop_main(), requester_run, &r);
    co_yield(co);
    drain_begin(co, f);
    drain_end(d);
    co_yield(co);
    g_assert_cmpint(r.entered, ==, 1);
    r.may_enter = true;
    drain_end(f);
    co_yield(co);
    g_assert_cmpint(r.entered, ==, 2);
    co_wake(r.waiting);
    co_yield(co);
    root_free(co, r.root);
    node_unref(co, f);
    node_unref(co, d);
}

static void test_drain_survives_edits(Co *co, void *arg)
{
    Node *d = test_add(co, DISK("d"));
    Node *e = test_add(co, DISK("e"));
    Node *f = test_add(co, FORMAT("f", "d"));
    Requester r = { test_root(co, f, 0, PERM_ALL), false };
    Transaction *tran;

    drain_begin(co, f);
    co_spawn(loop_main(), requester_run, &r);
    co_yield(co);
    /* What joins is drained, too; what leaves stays so until the end. */
    tran = tran_new();
    graph_attach(co, tran, f, "backing", ROLE_COW, e, &error_abort);
    tran_commit(co, tran);
    g_assert_cmpint(e->quiesced, ==, 1);
    tran = tran_new();
    graph_drain(co, tran, f);
    graph_detach(tran, f->backing);
    g_assert_true(graph_replace_child(co, tran, r.root->edge, e,
                                      &error_abort));
    tran_commit(co, tran);
    g_assert_cmpint(e->quiesced, ==, 1);
    co_yield(co);
    g_assert_cmpint(r.entered, ==, 0);
    r.may_enter = true;
    drain_end(f);
    g_assert_cmpint(d->quiesced + e->quiesced + f->quiesced, ==, 0);
    co_yield(co);
    g_assert_cmpint(r.entered, ==, 1);
    co_wake(r.waiting);
    co_yield(co);
    root_free(co, r.root);
    node_unref(co, f);
    node_unref(co, e);
    node_unref(co, d);
}

static void test_drain_all(Co *co, void *arg)
{
    Node *d = test_add(co, DISK("d"));
    Node *e = test_add(co, DISK("e"));
    Node *f = test_add(co, FILTER("f", "d"));

    drain_all_begin(co);
    drain_all_begin(co);
    g_assert_true(d->quiesced == 2 && e->quiesced == 2 && f->quiesced == 2);
    drain_all_end(co);
    drain_all_end(co);
    g_assert_true(d->quiesced == 0 && e->quiesced == 0 && f->quiesced == 0);
    node_unref(co, f);
    node_unref(co, e);
    node_unref(co, d);
}

/* ---- loops ---- */

static bool refuse_loop(Root *root, Loop *loop, Error **errp)
{
    error_setg(errp, "Cannot change iothread of active block backend");
    return false;
}

static int loop_changes;

static void count_loop_change(Root *root, Loop *loop)
{
    g_assert_true(root->loop == loop && loop_current() != loop);
    loop_changes++;
}

static void test_graph_moves_as_a_whole(Co *co, void *arg)
{
    static const RootOps ops = {
        .kind = "export", .loop_changed = count_loop_change,
    };
    LoopThread *t = loop_thread_new("io", &error_abort);
    Loop *io = loop_thread_loop(t);
    Node *d = test_add(co, DISK("d"));
    Node *f = test_add(co, FILTER("f", "d"));
    Root *root = root_open(co, f, "", &ops, NULL, PERM_CONSISTENT_READ,
                           PERM_ALL, &error_abort);
    char buf[16];

    loop_changes = 0;
    g_assert_true(graph_set_loop(co, d, io, &error_abort));
    g_assert_true(co_loop(co) == loop_main());
    g_assert_true(d->loop == io && f->loop == io && root->loop == io);
    g_assert_cmpint(test_moved, ==, 1);
    g_assert_cmpint(loop_changes, ==, 1);
    co_move(co, io);
    g_assert_cmpint(root_pread(co, root, 0, sizeof(buf), buf), ==, 0);
    co_move(co, loop_main());
    root_free(co, root);
    node_unref(co, f);
    node_unref(co, d);
    loop_thread_free(t);
}

static void test_root_may_refuse_to_move(Co *co, void *arg)
{
    static const RootOps ops = {
        .kind = "export", .loop_can_change = refuse_loop,
    };
    LoopThread *t = loop_thread_new("io", &error_abort);
    Node *d = test_add(co, DISK("d"));
    Root *root = root_open(co, d, "", &ops, NULL, 0, PERM_ALL, &error_abort);
    Error *err = NULL;

    g_assert_false(graph_set_loop(co, d, loop_thread_loop(t), &err));
    test_expect(err, "Cannot change iothread of active block backend");
    g_assert_true(d->loop == loop_main() && d->quiesced == 0);
    root_free(co, root);
    node_unref(co, d);
    loop_thread_free(t);
}

/* A new parent joins its child where that lives; a child follows a parent that
 * is in use; undone with the transaction. */
static void test_graphs_meet_on_one_loop(Co *co, void *arg)
{
    LoopThread *t = loop_thread_new("io", &error_abort);
    Loop *io = loop_thread_loop(t);
    Node *d = test_add(co, DISK("d"));
    Node *e = test_add(co, DISK("e"));
    Transaction *tran;
    Root *root;
    Node *f;

    g_assert_true(graph_set_loop(co, d, io, &error_abort));
    f = test_add(co, FORMAT("f", "d"));
    g_assert_true(f->loop == io && co_loop(co) == loop_main());
    root = test_root(co, f, 0, PERM_ALL);
    tran = tran_new();
    g_assert_nonnull(graph_attach(co, tran, f, "backing", ROLE_COW, e,
                                  &error_abort));
    g_assert_true(e->loop == io);
    tran_abort(co, tran);
    co_move(co, loop_main());
    g_assert_true(e->loop == loop_main() && e->quiesced == 0);
    g_assert_true(f->loop == io);
    root_free(co, root);
    node_unref(co, f);
    node_unref(co, e);
    node_unref(co, d);
    loop_thread_free(t);
}

static void meet_and_part(Co *co, Node *parent, Node *child)
{
    Loop *a = parent->loop, *b = child->loop;
    Transaction *tran = tran_new();

    g_assert_nonnull(graph_attach(co, tran, parent, "backing", ROLE_COW, child,
                                  &error_abort));
    g_assert_true(parent->loop == child->loop);
    tran_abort(co, tran);
    g_assert_true(parent->loop == a && child->loop == b);
    co_move(co, a);
    g_assert_cmpint(parent->quiesced, ==, 0);
    co_move(co, b);
    g_assert_cmpint(child->quiesced, ==, 0);
    co_move(co, loop_main());
}

/* Two threads: after a join that fails everybody lives where he did, with all
 * that he is connected with, whether the child came to the parent or the parent
 * to a child that must stay. */
static void test_failed_join_goes_back(Co *co, void *arg)
{
    static const RootOps stay_ops = {
        .kind = "test", .loop_can_change = root_refuse_loop,
    };
    LoopThread *t[2] = { loop_thread_new("io0", &error_abort),
                         loop_thread_new("io1", &error_abort) };
    Node *d = test_add(co, DISK("d")), *e = test_add(co, DISK("e"));
    Node *f = test_add(co, FORMAT("f", "d")), *g = test_add(co, FORMAT("g", "e"));
    Root *above = test_root(co, f, 0, PERM_ALL);
    Root *below = test_root(co, g, 0, PERM_ALL);
    Loop *l[2] = { loop_thread_loop(t[0]), loop_thread_loop(t[1]) };

    g_assert_true(graph_set_loop(co, f, l[0], &error_abort));
    g_assert_true(graph_set_loop(co, g, l[1], &error_abort));
    meet_and_part(co, f, g);
    g_assert_true(d->loop == l[0] && e->loop == l[1]);
    g_assert_true(above->loop == l[0] && below->loop == l[1]);

    below->ops = &stay_ops;
    meet_and_part(co, f, g);
    g_assert_true(d->loop == l[0] && e->loop == l[1]);
    g_assert_true(above->loop == l[0] && below->loop == l[1]);

    below->ops = &test_root_ops;
    root_free(co, below);
    root_free(co, above);
    meet_and_part(co, f, g);    /* without users the parent goes */
    g_assert_true(d->loop == l[0] && e->loop == l[1]);
    for (int i = 0; i < 2; i++) {
        node_unref(co, i ? g : f);
        node_unref(co, i ? e : d);
        loop_thread_free(t[i]);
    }
}

/* ---- control lock ---- */

static GString *lock_trace;

static void lock_taker(Co *co, void *arg)
{
    control_lock(co);
    g_string_append(lock_trace, arg);
    co_yield(co);
    g_string_append(lock_trace, arg);
    control_unlock(co);
}

static void test_control_lock_is_fair(Co *co, void *arg)
{
    LoopThread *t = loop_thread_new("io", &error_abort);

    lock_trace = g_string_new(NULL);
    g_assert_true(control_is_locked());
    co_spawn(loop_main(), lock_taker, (void *)"a");
    co_spawn(loop_main(), lock_taker, (void *)"b");
    co_yield(co);
    g_assert_cmpstr(lock_trace->str, ==, "");
    /* From another loop, and back to it. */
    co_move(co, loop_thread_loop(t));
    control_unlock(co);
    g_assert_true(co_loop(co) == loop_thread_loop(t));
    control_lock(co);
    g_assert_true(co_loop(co) == loop_thread_loop(t));
    co_move(co, loop_main());
    g_assert_cmpstr(lock_trace->str, ==, "aabb");
    g_string_free(lock_trace, true);
    loop_thread_free(t);
}

int main(int argc, char **argv)
{
    graph_test_init(&argc, &argv);
    graph_test_add("/graph/names", test_names);
    graph_test_add("/graph/lookup", test_lookup);
    graph_test_add("/graph/chain-is-closed-with-its-top",
                   test_chain_is_closed_with_its_top);
    graph_test_add("/graph/failed-open-leaves-nothing",
                   test_failed_open_leaves_nothing);
    graph_test_add("/graph/flags-are-inherited-by-role",
                   test_flags_are_inherited_by_role);
    graph_test_add("/graph/json-name-tells-the-content",
                   test_json_name_tells_the_content);
    graph_test_add("/graph/cycles-are-refused", test_cycles_are_refused);
    graph_test_add("/graph/abort-undoes-edits", test_abort_undoes_edits);
    graph_test_add("/graph/filter-goes-in-and-out",
                   test_filter_goes_in_and_out);
    graph_test_add("/graph/drop-waits-for-locks", test_drop_waits_for_locks);
    graph_test_add("/graph/drop-gives-up", test_drop_gives_up);
    graph_test_add("/graph/root-stays-at-its-node",
                   test_root_stays_at_its_node);
    graph_test_add("/graph/frozen-chain-does-not-change",
                   test_frozen_chain_does_not_change);
    graph_test_add("/graph/drain-waits-and-holds-back",
                   test_drain_waits_and_holds_back);
    graph_test_add("/graph/drain-survives-edits", test_drain_survives_edits);
    graph_test_add("/graph/drain-all", test_drain_all);
    graph_test_add("/graph/moves-as-a-whole", test_graph_moves_as_a_whole);
    graph_test_add("/graph/root-may-refuse-to-move",
                   test_root_may_refuse_to_move);
    graph_test_add("/graph/graphs-meet-on-one-loop",
                   test_graphs_meet_on_one_loop);
    graph_test_add("/graph/failed-join-goes-back", test_failed_join_goes_back);
    graph_test_add("/graph/control-lock-is-fair", test_control_lock_is_fair);
    return g_test_run();
}
