/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What all kinds of exports have in common: a name, a root in the graph, a
 * count of references, and an orderly end.
 *
 *     user_owned    the user has not asked it to go (one reference)
 *     refs          the user's, and one for each client
 *
 * Who lets go of the last reference takes the export apart and says
 * BLOCK_EXPORT_DELETED: the command, before its answer, if there are no clients;
 * else a coroutine, under the control lock. Everything here is the main loop's.
 */

#include "block/export.h"
#include "block/activate.h"
#include "block/graph.h"
#include "qapi/qapi-events.h"
#include "util/id.h"
#include "util/iothread.h"

static GPtrArray *drivers;          /* of const BlockExportDriver */
static BlockExport *exports;        /* newest first */
static CoQueue changed;             /* woken when one has gone */

void export_register(const BlockExportDriver *drv)
{
    if (!drivers) {
        drivers = g_ptr_array_new();
    }
    g_ptr_array_add(drivers, (gpointer)drv);
}

static const BlockExportDriver *find_driver(BlockExportType type)
{
    for (guint i = 0; drivers && i < drivers->len; i++) {
        const BlockExportDriver *drv = g_ptr_array_index(drivers, i);
        if (drv->type == type) {
            return drv;
        }
    }
    return NULL;
}

BlockExport *export_find(const char *id)
{
    for (BlockExport *exp = exports; exp; exp = exp->next) {
        if (strcmp(exp->id, id) == 0) {
            return exp;
        }
    }
    return NULL;
}

BlockExport *export_next(BlockExport *exp)
{
    return exp ? exp->next : exports;
}

/* ---- the root ---- */

static bool export_loop_can_change(Root *root, Loop *loop, Error **errp)
{
    BlockExport *exp = root->opaque;

    if (exp->fixed_iothread) {
        return root_refuse_loop(root, loop, errp);
    }
    return !exp->drv->loop_can_change ||
           exp->drv->loop_can_change(exp, loop, errp);
}

static void export_loop_changed(Root *root, Loop *loop)
{
    BlockExport *exp = root->opaque;

    if (exp->drv->loop_changed) {
        exp->drv->loop_changed(exp, loop);
    }
}

static void export_resized(Root *root)
{
    BlockExport *exp = root->opaque;

    if (exp->drv->resized) {
        exp->drv->resized(exp);
    }
}

static const RootOps export_root_ops = {
    .kind = "export",
    .resized = export_resized,
    .loop_can_change = export_loop_can_change,
    .loop_changed = export_loop_changed,
};

/* ---- adding ---- */

static Node *find_node(const BlockExportOptions *opts, Error **errp)
{
    Node *node = node_lookup_either(NULL, opts->node_name, errp);

    if (!node) {
        return NULL;
    }
    if (opts->has_writable && opts->writable && node->read_only) {
        error_setg(errp, "Cannot export read-only node as writable");
        return NULL;
    }
    return node;
}

/* Unless the export bears it, its node is active. */
static bool activate(Co *co, Node *node, const BlockExportOptions *opts,
                     Error **errp)
{
    return !node->inactive ||
           (opts->has_allow_inactive && opts->allow_inactive) ||
           node_activate(co, node, errp);
}

static bool move_to_iothread(Co *co, Node *node,
                             const BlockExportOptions *opts, Error **errp)
{
    IOThread *t;

    if (!opts->iothread) {
        return true;
    }
    t = iothread_find(opts->iothread);
    if (!t) {
        error_setg(errp, "iothread \"%s\" not found", opts->iothread);
        return false;
    }
    /* Not fixed: the export works wherever the graph is. */
    return graph_set_loop(co, node, iothread_loop(t),
                          opts->has_fixed_iothread && opts->fixed_iothread
                          ? errp : NULL) ||
           !(opts->has_fixed_iothread && opts->fixed_iothread);
}

static const BlockExportDriver *check_options(const BlockExportOptions *opts,
                                              Error **errp)
{
    const BlockExportDriver *drv;

    if (!id_wellformed(opts->id)) {
        error_setg(errp, "Invalid block export id");
        return NULL;
    }
    if (export_find(opts->id)) {
        error_setg(errp, "Block export id '%s' is already in use", opts->id);
        return NULL;
    }
    drv = find_driver(opts->type);
    if (!drv) {
        error_setg(errp, "No driver found for the requested export type");
    }
    return drv;
}

BlockExport *export_add(Co *co, BlockExportOptions *opts, Error **errp)
{
    const BlockExportDriver *drv = check_options(opts, errp);
    uint64_t need;
    Node *node;
    BlockExport *exp;

    control_assert();
    if (!drv) {
        return NULL;
    }
    node = find_node(opts, errp);
    if (!node || !activate(co, node, opts, errp) ||
        !move_to_iothread(co, node, opts, errp)) {
        return NULL;
    }
    exp = g_malloc0(drv->size);
    exp->drv = drv;
    exp->id = g_strdup(opts->id);
    exp->refs = 1;
    exp->user_owned = true;
    exp->writable = opts->has_writable && opts->writable;
    exp->fixed_iothread = opts->has_fixed_iothread && opts->fixed_iothread;
    need = PERM_CONSISTENT_READ | (exp->writable ? PERM_WRITE : 0);
    exp->root = root_open(co, node, "", &export_root_ops, exp,
                          node->inactive ? 0 : need, PERM_ALL, errp);
    if (!exp->root) {
        goto fail;
    }
    exp->root->need = need;         /* when the node is active */
    exp->root->allow_inactive = opts->has_allow_inactive &&
                                opts->allow_inactive;
    exp->root->write_through = opts->has_writethrough && opts->writethrough;
    if (!drv->create(co, exp, opts, errp)) {
        goto fail;
    }
    exp->next = exports;
    exports = exp;
    return exp;

fail:
    root_free(co, exp->root);
    g_free(exp->id);
    g_free(exp);
    return NULL;
}

/* ---- ending ---- */

static void export_take_apart(Co *co, BlockExport *exp)
{
    BlockExport **link = &exports;

    control_assert();
    exp->drv->remove(co, exp);
    root_free(co, exp->root);
    while (*link != exp) {
        link = &(*link)->next;
    }
    *link = exp->next;
    qapi_event_send_block_export_deleted(exp->id);
    g_free(exp->id);
    g_free(exp);
    co_queue_wake_all(&changed);
}

static void export_end(Co *co, void *opaque)
{
    control_lock(co);
    export_take_apart(co, opaque);
    control_unlock(co);
}

void export_ref(BlockExport *exp)
{
    g_assert(exp->refs > 0);
    exp->refs++;
}

void export_unref(BlockExport *exp)
{
    g_assert(exp->refs > 0);
    if (--exp->refs == 0) {
        co_spawn(loop_main(), export_end, exp);
    }
}

/* Nobody waits for the answers any more. On the graph's loop: who takes the
 * export apart walks there first, and so comes later. */
static void cancel_in_flight(void *opaque)
{
    Root *root = opaque;

    for (Node *n = root->in_flight ? root_node(root) : NULL; n;
         n = node_backing_chain_next(n)) {
        node_cancel_in_flight(n);
    }
}

/* The user's reference is the caller's from now on. */
static void export_disown(BlockExport *exp)
{
    g_assert(exp->user_owned);
    exp->user_owned = false;
    exp->drv->request_shutdown(exp);
    if (exp->refs > 1 && exp->root->loop == loop_current()) {
        cancel_in_flight(exp->root);
    } else if (exp->refs > 1) {
        loop_post(exp->root->loop, cancel_in_flight, exp->root);
    }
}

void export_request_shutdown(BlockExport *exp)
{
    if (exp->user_owned) {
        export_disown(exp);
        export_unref(exp);
    }
}

#define LEAVING_STEP_NS (1000 * 1000)
#define LEAVING_STEPS 1000

/* A client that has hung up is gone for the user, although its connection may
 * have to walk home from another thread yet. */
static void wait_for_leaving(Co *co, const char *id)
{
    BlockExport *exp = export_find(id);

    for (int i = 0; i < LEAVING_STEPS && exp && exp->refs > 1 &&
                    exp->drv->client_leaving &&
                    exp->drv->client_leaving(exp); i++) {
        co_sleep(co, LEAVING_STEP_NS);
        exp = export_find(id);
    }
}

bool export_delete(Co *co, const char *id, BlockExportRemoveMode mode,
                   Error **errp)
{
    BlockExport *exp;

    if (mode == BLOCK_EXPORT_REMOVE_MODE_SAFE) {
        wait_for_leaving(co, id);
    }
    exp = export_find(id);
    if (!exp) {
        error_setg(errp, "Export '%s' is not found", id);
        return false;
    }
    if (!exp->user_owned) {
        error_setg(errp, "Export '%s' is already shutting down", exp->id);
        return false;
    }
    if (mode == BLOCK_EXPORT_REMOVE_MODE_SAFE && exp->refs > 1) {
        error_setg(errp, "export '%s' still in use", exp->id);
        error_append_hint(errp, "Use mode='hard' to force client disconnect\n");
        return false;
    }
    export_disown(exp);
    if (exp->refs > 1) {
        export_unref(exp);
    } else {
        exp->refs = 0;
        export_take_apart(co, exp);
    }
    return true;
}

/* Which exports are meant. */
typedef struct ExportChoice {
    BlockExportType type;           /* BLOCK_EXPORT_TYPE__MAX: any */
    OwnerId owner;                  /* 0: anybody's */
} ExportChoice;

static bool is_meant(const BlockExport *exp, const ExportChoice *choice)
{
    return (choice->type == BLOCK_EXPORT_TYPE__MAX ||
            exp->drv->type == choice->type) &&
           (!choice->owner || exp->owner == choice->owner);
}

static bool any_of(const ExportChoice *choice)
{
    for (BlockExport *exp = exports; exp; exp = exp->next) {
        if (is_meant(exp, choice)) {
            return true;
        }
    }
    return false;
}

static void close_exports(Co *co, const ExportChoice *choice)
{
    BlockExport *next;

    for (BlockExport *exp = exports; exp; exp = next) {
        next = exp->next;
        if (is_meant(exp, choice)) {
            export_request_shutdown(exp);
        }
    }
    control_unlock(co);
    while (any_of(choice)) {
        co_queue_wait(co, &changed);
    }
    control_lock(co);
}

void export_close_all(Co *co, BlockExportType type)
{
    ExportChoice choice = { .type = type };

    close_exports(co, &choice);
}

void export_close_owned(Co *co, OwnerId owner)
{
    ExportChoice choice = { BLOCK_EXPORT_TYPE__MAX, owner };

    close_exports(co, &choice);
}
