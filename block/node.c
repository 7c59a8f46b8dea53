/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The table of nodes, their life, and walks along a chain.
 *
 * A node enters the table, under a unique name, before its driver opens it, and
 * leaves it when its last reference goes: edges and whoever opened it hold
 * references. A node without references has no parents, so nothing but the
 * driver's own background work can be under way when it is closed.
 *
 * The walks (node_filter_child and the like) read edges only; they hold for as
 * long as the graph may not change.
 */
#include "util/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/graph-internal.h"
#include "block/io.h"

#define NODE_NAME_MAX 31
#define CLOSE_PATIENCE_NS (INT64_C(30) * 1000 * 1000 * 1000)

static GQueue node_list = G_QUEUE_INIT;
static GHashTable *node_table;      /* name -> Node */
static unsigned node_counter;       /* of generated names */

/* ---- names ---- */

/* A letter, then letters, digits, and -._ */
static bool node_name_is_wellformed(const char *name)
{
    if (!g_ascii_isalpha(name[0])) {
        return false;
    }
    for (const char *p = name + 1; *p; p++) {
        if (!g_ascii_isalnum(*p) && !strchr("-._", *p)) {
            return false;
        }
    }
    return true;
}

static char *node_generate_name(void)
{
    char *name = NULL;

    do {
        g_free(name);
        name = g_strdup_printf("#block%u%02d", node_counter++,
                               g_random_int_range(0, 100));
    } while (node_find(name));
    return name;
}

bool node_check_name(const char *name, Error **errp)
{
    if (!node_name_is_wellformed(name)) {
        error_setg(errp, "Invalid node-name: '%s'", name);
        return false;
    }
    if (node_find(name)) {
        error_setg(errp, "Duplicate nodes with node-name='%s'", name);
        return false;
    }
    if (strlen(name) > NODE_NAME_MAX) {
        error_setg(errp, "Node name too long");
        return false;
    }
    return true;
}

Node *node_find(const char *name)
{
    return node_table ? g_hash_table_lookup(node_table, name) : NULL;
}

Node *node_lookup_either(const char *device, const char *name, Error **errp)
{
    Node *node = device ? node_find(device) : NULL;

    control_assert();
    if (!node && name) {
        node = node_find(name);
    }
    if (!node) {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'",
                   device ? device : "", name ? name : "");
    }
    return node;
}

Node *node_lookup(const char *name, Error **errp)
{
    return node_lookup_either(name, name, errp);
}

Node *node_first(void)
{
    return node_list.head ? node_list.head->data : NULL;
}

Node *node_next(const Node *node)
{
    return node->link.next ? node->link.next->data : NULL;
}

const char *node_display_name(const Node *node)
{
    return node->name;
}

/* ---- life ---- */

Node *node_new(const BlockDriver *drv, const char *name, Error **errp)
{
    Node *node;

    control_assert();
    if (name && !node_check_name(name, errp)) {
        return NULL;
    }
    node = g_new0(Node, 1);
    node->name = name ? g_strdup(name) : node_generate_name();
    node->drv = drv;
    node->state = g_malloc0(drv->state_size);
    node->loop = loop_main();
    node->refs = 1;
    node->limits.request_alignment = 1;
    node->limits.mem_alignment = 1;
    node->children = g_ptr_array_new();
    node->parents = g_ptr_array_new();
    if (!node_table) {
        node_table = g_hash_table_new(g_str_hash, g_str_equal);
    }
    g_hash_table_insert(node_table, node->name, node);
    node->link.data = node;
    g_queue_push_tail_link(&node_list, &node->link);
    return node;
}

static void node_free(Node *node)
{
    g_hash_table_remove(node_table, node->name);
    g_queue_unlink(&node_list, &node->link);
    for (Node *n = node_first(); n; n = node_next(n)) {
        if (n->inherits_from == node) {
            n->inherits_from = NULL;
        }
    }
    g_ptr_array_free(node->children, true);
    g_ptr_array_free(node->parents, true);
    qapi_free_BlockdevOptions(node->options);
    g_free(node->state);
    g_free(node->name);
    g_free(node->filename);
    g_free(node->exact_filename);
    g_free(node->backing_file);
    g_free(node->backing_format);
    g_free(node->full_backing);
    g_free(node);
}

/* What a lost parent needed of @node is given back: locks, above all. */
static void node_relax(Co *co, Node *node)
{
    Transaction *tran = tran_new();

    tran_finalize(co, tran, graph_check_one(tran, node, NULL));
}

static void node_drop_children(Co *co, Node *node)
{
    while (node->children->len > 0) {
        Edge *e = g_ptr_array_index(node->children, 0);
        Node *child = node_ref(e->child);

        graph_drop_edge(co, e);
        if (child->refs > 1) {
            node_relax(co, child);
        }
        node_unref(co, child);
    }
}

void node_cancel_in_flight(Node *node)
{
    loop_assert(node->loop);
    if (node->drv->cancel_in_flight) {
        node->drv->cancel_in_flight(node);
        return;
    }
    for (guint i = 0; i < node->children->len; i++) {
        Edge *e = g_ptr_array_index(node->children, i);

        if (e->role != ROLE_COW) {
            node_cancel_in_flight(e->child);
        }
    }
}

/* A dead server keeps nobody from closing what lies there. */
typedef struct CloseWatch {
    Node *node;
    LoopTimer *timer;
} CloseWatch;

static void node_close_late(void *opaque)
{
    CloseWatch *w = opaque;

    node_cancel_in_flight(w->node);
    loop_timer_set(w->timer, clock_ns() + CLOSE_PATIENCE_NS);
}

/* What a failed flush leaves behind, nobody can be told any more. */
static void node_close_driver(Co *co, Node *node)
{
    CloseWatch w = { node, NULL };

    w.timer = loop_timer_new(node->loop, node_close_late, &w);
    loop_timer_set(w.timer, clock_ns() + CLOSE_PATIENCE_NS);
    io_flush(co, node);
    if (node->drv->close) {
        node->drv->close(co, node);
    }
    loop_timer_free(w.timer);
}

static void node_close(Co *co, Node *node)
{
    Loop *home = co_loop(co);
    DrainSection *s = drain_section_begin(co, node);

    g_assert(node->parents->len == 0);
    if (node->opened) {
        node_close_driver(co, node);
        node->opened = false;
    }
    bitmap_release_all(node);
    node_drop_children(co, node);
    g_assert(!node->tracked);
    drain_forget(node);
    drain_section_end(s);
    node_free(node);
    co_move(co, home);
}

Node *node_ref(Node *node)
{
    control_assert();
    node->refs++;
    return node;
}

void node_unref(Co *co, Node *node)
{
    if (!node) {
        return;
    }
    control_assert();
    g_assert(node->refs > 0);
    if (node->refs > 1) {
        node->refs--;
        return;
    }
    /* The reference stays until it is closed: drivers look at their node. */
    node_close(co, node);
}

void node_unref_named(Co *co)
{
    GList *l = node_list.tail;

    while (l) {
        Node *node = l->data;

        if (node->named_by_user) {
            node->named_by_user = false;
            node_unref(co, node);
            /* Its children may have gone with it. */
            l = node_list.tail;
        } else {
            l = l->prev;
        }
    }
}

/* ---- chains ---- */

Edge *node_filter_child(const Node *node)
{
    return node->drv->kind == DRIVER_FILTER ? node->file : NULL;
}

Node *node_skip_filters(Node *node)
{
    while (node && node_filter_child(node)) {
        node = node_filter_child(node)->child;
    }
    return node;
}

Edge *node_cow_child(const Node *node)
{
    while (node_filter_child(node)) {
        node = node_filter_child(node)->child;
    }
    return node->backing;
}

Edge *node_chain_child(const Node *node)
{
    Edge *e = node_filter_child(node);

    return e ? e : node->backing;
}

Node *node_backing_chain_next(Node *node)
{
    Edge *e = node_cow_child(node);

    return e ? node_skip_filters(e->child) : NULL;
}

bool node_chain_contains(Node *top, Node *base)
{
    for (Node *n = top; n;) {
        Edge *e;

        if (n == base) {
            return true;
        }
        e = node_chain_child(n);
        n = e ? e->child : NULL;
    }
    return false;
}

Edge *node_child(const Node *node, const char *name)
{
    for (guint i = 0; i < node->children->len; i++) {
        Edge *e = g_ptr_array_index(node->children, i);

        if (!strcmp(e->name, name)) {
            return e;
        }
    }
    return NULL;
}

bool node_check_busy(const Node *node, Error **errp)
{
    if (!node->busy) {
        return true;
    }
    error_setg(errp, "Node '%s' is busy: block device is in use by block job: "
               "%s", node->name, node->busy_with);
    return false;
}
