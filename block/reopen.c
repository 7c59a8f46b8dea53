/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * New options for open nodes, all or none.
 *
 *     queue      the nodes that were named, and below them what inherits from
 *                them (children that were defined inline)
 *     prepare    children replaced, flags set, drivers' prepare: with undo
 *     check      permissions of the proposed graph
 *     commit     drivers' commit, names and limits made anew
 *
 * An option that is not given goes back to its default. Besides access, cache
 * and the like, and children, only what a driver lists in
 * ReopenOps.options may change.
 */
#include "util/osdep.h"

#include "block/graph.h"
#include "block/limits.h"
#include "block/open.h"
#include "block/reopen.h"
#include "util/json.h"

/* Flags that options decide; the rest stays as the node was opened. */
#define REOPEN_OPTION_FLAGS                                              \
    (OPEN_RDWR | OPEN_AUTO_RDONLY | OPEN_NOCACHE | OPEN_NO_FLUSH |       \
     OPEN_FORCE_SHARE | OPEN_UNMAP)

typedef struct ReopenEntry {
    ReopenState st;
    bool implied;           /* nobody named it: its parent changes */
    bool prepared;          /* by the driver */
    /* What to go back to. */
    BlockdevOptions *old_options;
    OpenFlags old_flags;
    bool old_read_only;
    BlockdevDetectZeroesOptions old_detect_zeroes;
} ReopenEntry;

typedef struct ReopenRun {
    Co *co;
    Transaction *tran;
    GPtrArray *entries;     /* of ReopenEntry, owned by the transaction */
} ReopenRun;

/* ---- one node: do and undo ---- */

static void reopen_entry_commit(Co *co, void *opaque)
{
    ReopenEntry *e = opaque;
    Node *node = e->st.node;

    co_move(co, node->loop);
    if (e->prepared && node->drv->reopen->commit) {
        node->drv->reopen->commit(co, &e->st);
    }
    qapi_free_BlockdevOptions(e->old_options);
    limits_refresh(node);
    open_refresh_filename(node);
}

static void reopen_entry_abort(Co *co, void *opaque)
{
    ReopenEntry *e = opaque;
    Node *node = e->st.node;

    co_move(co, node->loop);
    if (e->prepared && node->drv->reopen->abort) {
        node->drv->reopen->abort(co, &e->st);
    }
    if (e->old_options) {
        node->options = e->old_options;
        node->flags = e->old_flags;
        node->read_only = e->old_read_only;
        node->detect_zeroes = e->old_detect_zeroes;
    }
    qapi_free_BlockdevOptions(e->st.options);
}

static const TransactionOps reopen_entry_ops = {
    .commit = reopen_entry_commit,
    .abort = reopen_entry_abort,
    .clean = g_free,
};

/* Everything is as it will be, down to the files' permissions. */
static void reopen_post_commit(Co *co, void *opaque)
{
    ReopenRun *run = opaque;

    for (guint i = 0; i < run->entries->len; i++) {
        ReopenEntry *e = g_ptr_array_index(run->entries, i);
        const ReopenOps *ops = e->st.node->drv->reopen;

        if (e->prepared && ops->commit_post) {
            co_move(co, e->st.node->loop);
            ops->commit_post(co, &e->st);
        }
    }
}

static const TransactionOps reopen_post_ops = {
    .commit = reopen_post_commit,
};

/* ---- queue ---- */

static ReopenEntry *reopen_find(const ReopenRun *run, const Node *node)
{
    for (guint i = 0; i < run->entries->len; i++) {
        ReopenEntry *e = g_ptr_array_index(run->entries, i);

        if (e->st.node == node) {
            return e;
        }
    }
    return NULL;
}

/* Consumes @opts. */
static void reopen_queue(ReopenRun *run, Node *node, BlockdevOptions *opts,
                         OpenFlags flags, bool implied)
{
    ReopenEntry *e = g_new0(ReopenEntry, 1);

    flags = (node->flags & ~REOPEN_OPTION_FLAGS) |
            (flags & REOPEN_OPTION_FLAGS);
    graph_drain(run->co, run->tran, node);
    e->st.node = node;
    e->st.options = opts;
    e->st.flags = flags;
    e->st.read_only = !(flags & OPEN_RDWR);
    e->implied = implied;
    g_ptr_array_add(run->entries, e);
    tran_add(run->tran, &reopen_entry_ops, e);
}

/* The child that @edge leads to, defined as @definition or as it was (NULL). */
static bool reopen_queue_child(ReopenRun *run, const ReopenEntry *parent,
                               const Edge *edge, json_t *definition,
                               Error **errp)
{
    OpenFlags flags = open_inherited_flags(parent->st.flags, edge->role);
    g_autoptr(BlockdevOptions) opts = definition ?
        BlockdevOptions_from_json(definition, QAPI_STRICT, errp) :
        BlockdevOptions_clone(edge->child->options);

    if (!opts) {
        return false;
    }
    if (definition && opts->node_name &&
        strcmp(opts->node_name, edge->child->name) != 0) {
        error_setg(errp, "Cannot change the option 'node-name'");
        return false;
    }
    if (!open_resolve_flags(opts, &flags, errp)) {
        return false;
    }
    if (definition || ((flags ^ edge->child->flags) & REOPEN_OPTION_FLAGS)) {
        reopen_queue(run, edge->child, g_steal_pointer(&opts), flags,
                     !definition);
    }
    return true;
}

/* Children that were defined inside of the node's options. */
static bool reopen_queue_children(ReopenRun *run, const ReopenEntry *e,
                                  Error **errp)
{
    Node *node = e->st.node;
    g_autoptr(json_t) opts = BlockdevOptions_to_json(e->st.options);

    for (guint i = 0; i < node->children->len; i++) {
        Edge *edge = g_ptr_array_index(node->children, i);
        json_t *value = json_object_get(opts, edge->name);

        if (edge->child->inherits_from != node ||
            reopen_find(run, edge->child)) {
            continue;
        }
        if (!reopen_queue_child(run, e, edge, e->implied ||
                                !json_is_object(value) ? NULL : value,
                                errp)) {
            return false;
        }
    }
    return true;
}

/* ---- what may change ---- */

static bool reopen_may_change(const BlockDriver *drv, const char *key)
{
    static const char *const common[] = {
        "read-only", "auto-read-only", "cache", "discard", "detect-zeroes",
        "force-share", "active", "owner", NULL,
    };
    const char *const *own = drv->reopen ? drv->reopen->options : NULL;

    return g_strv_contains(common, key) || (own && g_strv_contains(own, key));
}

static bool reopen_is_child(const Node *node, const char *key)
{
    return node_child(node, key) || !strcmp(key, "backing");
}

/* @a has a member that @b doesn't have or has otherwise, and that must not. */
static bool reopen_check_fixed(const Node *node, json_t *a, const json_t *b,
                               Error **errp)
{
    const char *key;
    json_t *value;

    json_object_foreach(a, key, value) {
        if (reopen_may_change(node->drv, key) || reopen_is_child(node, key)) {
            continue;
        }
        if (!strcmp(key, "node-name")) {
            continue;
        }
        if (!json_equal(value, json_object_get(b, key))) {
            error_setg(errp, "Cannot change the option '%s'", key);
            return false;
        }
    }
    return true;
}

static bool reopen_check_options(const ReopenEntry *e, json_t *new_opts,
                                 Error **errp)
{
    const Node *node = e->st.node;
    g_autoptr(json_t) old_opts = BlockdevOptions_to_json(node->options);

    if (e->st.options->driver != node->options->driver) {
        error_setg(errp, "Cannot change the option 'driver'");
        return false;
    }
    return reopen_check_fixed(node, new_opts, old_opts, errp) &&
           reopen_check_fixed(node, old_opts, new_opts, errp);
}

/* ---- children ---- */

static bool reopen_detach(ReopenRun *run, Edge *edge, Error **errp)
{
    if (edge->frozen) {
        error_setg(errp, "Cannot change '%s' link from '%s' to '%s'",
                   edge->name, edge->parent->name, edge->child->name);
        return false;
    }
    graph_detach(run->tran, edge);
    return true;
}

static bool reopen_put_child(ReopenRun *run, Node *node, const char *key,
                             const char *reference, Error **errp)
{
    Edge *edge = node_child(node, key);
    Node *child = node_lookup_either(NULL, reference, errp);

    if (!child) {
        return false;
    }
    if (edge) {
        return graph_replace_child(run->co, run->tran, edge, child, errp);
    }
    return graph_attach(run->co, run->tran, node, key, ROLE_COW, child, errp);
}

/* @value: what the new options say about the child; NULL: nothing. */
static bool reopen_child(ReopenRun *run, Node *node, const char *key,
                         const json_t *value, Error **errp)
{
    Edge *edge = node_child(node, key);

    if (json_is_null(value)) {
        return !edge || reopen_detach(run, edge, errp);
    }
    if (json_is_string(value)) {
        return reopen_put_child(run, node, key, json_string_value(value),
                                errp);
    }
    if (value && edge && edge->child->inherits_from == node) {
        return true;
    }
    if (value) {
        error_setg(errp, "Cannot change the option '%s'", key);
        return false;
    }
    if (edge && !strcmp(key, "backing")) {
        error_setg(errp, "backing is missing for '%s'", node->name);
        return false;
    }
    return true;
}

static bool reopen_children(ReopenRun *run, ReopenEntry *e,
                            const json_t *opts, Error **errp)
{
    Node *node = e->st.node;
    g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < node->children->len; i++) {
        Edge *edge = g_ptr_array_index(node->children, i);

        if (edge != node->backing) {
            g_ptr_array_add(keys, g_strdup(edge->name));
        }
    }
    if (node->drv->supports_backing) {
        g_ptr_array_add(keys, g_strdup("backing"));
    }
    for (guint i = 0; i < keys->len; i++) {
        const char *key = g_ptr_array_index(keys, i);

        if (!reopen_child(run, node, key, json_object_get(opts, key), errp)) {
            return false;
        }
    }
    return true;
}

/* ---- prepare ---- */

static bool reopen_prepare_driver(ReopenRun *run, ReopenEntry *e,
                                  Error **errp)
{
    Node *node = e->st.node;
    const ReopenOps *ops = node->drv->reopen;

    if (!ops) {
        if (node->drv->kind == DRIVER_FILTER) {
            return true;
        }
        error_setg(errp, "Block format '%s' used by node '%s' does not "
                   "support reopening files", node->drv->name, node->name);
        return false;
    }
    co_move(run->co, node->loop);
    e->prepared = !ops->prepare ||
                  ops->prepare(run->co, &e->st, run->tran, errp);
    return e->prepared;
}

/* From here on the node is what it is going to be. */
static void reopen_switch(ReopenEntry *e)
{
    Node *node = e->st.node;

    e->old_options = node->options;
    e->old_flags = node->flags;
    e->old_read_only = node->read_only;
    e->old_detect_zeroes = node->detect_zeroes;
    node->options = e->st.options;
    node->flags = e->st.flags;
    node->read_only = e->st.read_only;
    node->detect_zeroes = node->options->has_detect_zeroes ?
        node->options->detect_zeroes : BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF;
}

static bool reopen_prepare(ReopenRun *run, ReopenEntry *e, Error **errp)
{
    g_autoptr(json_t) opts = BlockdevOptions_to_json(e->st.options);

    if (!e->implied && (!reopen_check_options(e, opts, errp) ||
                        !reopen_children(run, e, opts, errp))) {
        return false;
    }
    if (!reopen_prepare_driver(run, e, errp)) {
        return false;
    }
    reopen_switch(e);
    return true;
}

static bool reopen_prepare_all(ReopenRun *run, Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();

    /* The queue grows while it is walked. */
    for (guint i = 0; i < run->entries->len; i++) {
        if (!reopen_queue_children(run, g_ptr_array_index(run->entries, i),
                                   errp)) {
            return false;
        }
    }
    for (guint i = 0; i < run->entries->len; i++) {
        ReopenEntry *e = g_ptr_array_index(run->entries, i);

        if (!reopen_prepare(run, e, errp)) {
            return false;
        }
        g_ptr_array_add(nodes, e->st.node);
    }
    if (!graph_check(run->tran, (Node *const *)nodes->pdata, nodes->len,
                     errp)) {
        return false;
    }
    tran_add(run->tran, &reopen_post_ops, run);
    return true;
}

static bool reopen_queue_named(ReopenRun *run, const BlockdevOptions *opts,
                               Error **errp)
{
    OpenFlags flags = OPEN_RDWR;
    Node *node;

    if (!opts->node_name) {
        error_setg(errp, "node-name not specified");
        return false;
    }
    node = node_find(opts->node_name);
    if (!node) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   opts->node_name);
        return false;
    }
    if (!open_resolve_flags(opts, &flags, errp)) {
        return false;
    }
    reopen_queue(run, node, BlockdevOptions_clone(opts), flags, false);
    return true;
}

static bool reopen_finish(ReopenRun *run, bool ok, Error **errp)
{
    ok = ok && reopen_prepare_all(run, errp);
    tran_finalize(run->co, run->tran, ok);
    g_ptr_array_free(run->entries, true);
    co_move(run->co, loop_main());
    return ok;
}

bool reopen_nodes(Co *co, const BlockdevOptionsList *list, Error **errp)
{
    ReopenRun run = { co, tran_new(), g_ptr_array_new() };
    bool ok = true;

    control_assert();
    for (; ok && list; list = list->next) {
        ok = reopen_queue_named(&run, list->value, errp);
    }
    return reopen_finish(&run, ok, errp);
}

bool reopen_set_read_only(Co *co, Node *node, bool read_only, Error **errp)
{
    ReopenRun run = { co, tran_new(), g_ptr_array_new() };
    BlockdevOptions *opts = BlockdevOptions_clone(node->options);

    control_assert();
    opts->has_read_only = true;
    opts->read_only = read_only;
    reopen_queue(&run, node, opts,
                 (node->flags & ~OPEN_RDWR) | (read_only ? 0 : OPEN_RDWR),
                 true);
    return reopen_finish(&run, true, errp);
}
