/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The export type "nbd": a node under a name, with its metadata contexts.
 *
 * Clients hold a reference; so an export that was asked to shut down stays
 * until the last of them has gone, unseen by new ones. Its bitmaps are busy as
 * long as it lives.
 */

#include <poll.h>
#include <sys/socket.h>

#include "nbd/server-internal.h"

#include "block/graph.h"

static const BlockExportDriver nbd_export_driver;

NbdExportFacts nbd_export_facts(Co *co, NbdExport *exp)
{
    /* All connections share one root: a flush covers them all. */
    bool multi = exp->server->set.max_connections != 1;
    Root *root = exp->common.root;
    NbdExportFacts facts;

    co_move(co, exp->loop);
    root_begin(co, root);
    facts.size = MAX(root_length(root), 0);
    facts.min_block = root_node(root)->limits.request_alignment;
    facts.flags = exp->flags | (multi ? NBD_FLAG_CAN_MULTI_CONN : 0);
    root_end(root);
    co_move(co, loop_main());
    return facts;
}

typedef struct LoopNews {
    char *id;
    Loop *loop;
} LoopNews;

static void loop_news_arrive(void *opaque)
{
    g_autofree LoopNews *news = opaque;
    g_autofree char *id = news->id;
    BlockExport *common = export_find(id);

    /* If it is another one of that name by now, its walks take a detour. */
    if (common && common->drv == &nbd_export_driver) {
        container_of(common, NbdExport, common)->loop = news->loop;
    }
}

/*
 * Called on the loop that the export is about to leave. Readers that wait for
 * their clients wake up and follow; each lists itself again where it arrives.
 */
static void nbd_export_loop_changed(BlockExport *common, Loop *loop)
{
    NbdExport *exp = container_of(common, NbdExport, common);
    LoopNews *news = g_new(LoopNews, 1);

    *news = (LoopNews) { g_strdup(exp->common.id), loop };
    loop_post(loop_main(), loop_news_arrive, news);
    for (guint i = 0; i < exp->served->len; i++) {
        NbdConn *conn = g_ptr_array_index(exp->served, i);
        conn->listed = false;
        if (conn->receiving) {
            co_io_cancel(conn->reader);
        }
    }
    g_ptr_array_set_size(exp->served, 0);
}

static bool check_strings(const char *name, const char *description,
                          Error **errp)
{
    if (strlen(name) > NBD_MAX_STRING_SIZE) {
        error_setg(errp, "export name '%s' too long", name);
        return false;
    }
    if (description && strlen(description) > NBD_MAX_STRING_SIZE) {
        error_setg(errp, "description '%s' too long", description);
        return false;
    }
    return true;
}

/* ---- bitmaps ---- */

/*
 * A bitmap's node may be no part of what is exported, or cease to be: it stays
 * nevertheless, and on the same loop, for its bits are read from there.
 */
static bool goes_along(Node *node, const Node *with, Error **errp)
{
    g_autoptr(GPtrArray) all = graph_connected(node);

    if (!g_ptr_array_find(all, with, NULL)) {
        error_setg(errp, "Node '%s' and the bitmaps of its export need the "
                   "same iothread", with->name);
        return false;
    }
    return true;
}

static bool keeper_loop_can_change(Root *keeper, Loop *loop, Error **errp)
{
    const NbdExport *exp = keeper->opaque;

    return goes_along(root_node(keeper), root_node(exp->common.root), errp);
}

static bool nbd_export_loop_can_change(BlockExport *common, Loop *loop,
                                       Error **errp)
{
    const NbdExport *exp = container_of(common, NbdExport, common);
    Node *node = root_node(common->root);

    for (guint i = 0; i < exp->keepers->len; i++) {
        Root *keeper = g_ptr_array_index(exp->keepers, i);

        if (!goes_along(root_node(keeper), node, errp)) {
            return false;
        }
    }
    return true;
}

static const RootOps keeper_ops = {
    .kind = "export",
    .stay_at_node = true,
    .loop_can_change = keeper_loop_can_change,
};

static bool keep_bitmap(Co *co, NbdExport *exp, Node *node, DirtyBitmap *bm,
                        Error **errp)
{
    Root *keeper;

    if (!graph_set_loop(co, bm->node, node->loop, errp)) {
        return false;
    }
    keeper = root_open(co, bm->node, "", &keeper_ops, exp, 0, PERM_ALL, errp);
    if (!keeper) {
        return false;
    }
    keeper->allow_inactive = true;
    g_ptr_array_add(exp->keepers, keeper);
    return true;
}

/* A bitmap of the export's node or of one below it; or of any node, where the
 * reference names one. */
static DirtyBitmap *find_bitmap(Node *node, const BlockDirtyBitmapOrStr *ref,
                                Error **errp)
{
    const char *name;

    if (ref->type == QTYPE_QDICT) {
        return bitmap_lookup(ref->u.external.node, ref->u.external.name, NULL,
                             errp);
    }
    name = ref->u.local;
    for (; node; node = node_chain_child(node) ? node_chain_child(node)->child
                                                : NULL) {
        DirtyBitmap *bm = bitmap_find(node, name);
        if (bm) {
            return bm;
        }
    }
    error_setg(errp, "Bitmap '%s' is not found", name);
    return NULL;
}

static bool check_bitmap(const NbdExport *exp, const Node *node,
                         const DirtyBitmap *bm, Error **errp)
{
    if (!bitmap_check(bm, BITMAP_CHECK_ALLOW_RO, errp)) {
        return false;
    }
    if (!exp->common.writable && !node->read_only &&
        bm->state == BITMAP_RECORDING) {
        error_setg(errp, "Enabled bitmap '%s' incompatible with readonly "
                   "export", bm->name);
        return false;
    }
    return true;
}

/* On the main loop, as all that follows. */
static bool add_bitmap(Co *co, NbdExport *exp, Node *node,
                       const BlockDirtyBitmapOrStr *ref, Error **errp)
{
    DirtyBitmap *bm = find_bitmap(node, ref, errp);

    if (!bm || !check_bitmap(exp, node, bm, errp) ||
        !keep_bitmap(co, exp, node, bm, errp)) {
        return false;
    }
    g_ptr_array_add(exp->contexts,
                    nbd_context_bitmap(bm, exp->bitmaps->len));
    g_ptr_array_add(exp->bitmaps, bm);
    co_move(co, bm->node->loop);
    bitmap_set_busy(bm, true);
    co_move(co, loop_main());
    return true;
}

/* Lets go of the bitmaps where they live. */
static void export_free_contents(Co *co, NbdExport *exp)
{
    NbdCoverage *coverage;

    co_move(co, root_node(exp->common.root)->loop);
    coverage = g_steal_pointer(&exp->coverage);
    for (guint i = 0; i < exp->bitmaps->len; i++) {
        DirtyBitmap *bm = g_ptr_array_index(exp->bitmaps, i);

        co_move(co, bm->node->loop);
        bitmap_set_busy(bm, false);
    }
    co_move(co, loop_main());
    for (guint i = 0; i < exp->keepers->len; i++) {
        root_free(co, g_ptr_array_index(exp->keepers, i));
    }
    nbd_coverage_free(coverage);
    g_ptr_array_free(exp->bitmaps, true);
    g_ptr_array_free(exp->keepers, true);
    g_ptr_array_free(exp->contexts, true);
    g_ptr_array_free(exp->conns, true);
    g_ptr_array_free(exp->served, true);
    g_free(exp->name);
    g_free(exp->description);
}

static bool add_contexts(Co *co, NbdExport *exp,
                         const BlockExportOptionsNbd *opts, Error **errp)
{
    Node *node = root_node(exp->common.root);
    bool ok = true;

    g_ptr_array_add(exp->contexts, nbd_context_allocation());
    if (opts->has_allocation_depth && opts->allocation_depth) {
        g_ptr_array_add(exp->contexts, nbd_context_depth());
    }
    for (BlockDirtyBitmapOrStrList *b = opts->bitmaps; b && ok; b = b->next) {
        ok = add_bitmap(co, exp, node, b->value, errp);
    }
    g_ptr_array_add(exp->contexts, nbd_context_joint());
    if (ok && exp->bitmaps->len) {
        co_move(co, node->loop);
        exp->coverage = nbd_coverage_new(exp->bitmaps, node->length);
        co_move(co, loop_main());
    }
    return ok;
}

static uint16_t base_flags(const NbdExport *exp)
{
    uint16_t flags = NBD_FLAG_HAS_FLAGS | NBD_FLAG_SEND_FLUSH |
                     NBD_FLAG_SEND_FUA | NBD_FLAG_SEND_CACHE;

    return flags | (exp->common.writable
                    ? NBD_FLAG_SEND_TRIM | NBD_FLAG_SEND_WRITE_ZEROES |
                      NBD_FLAG_SEND_FAST_ZERO
                    : NBD_FLAG_READ_ONLY);
}

static bool nbd_export_create(Co *co, BlockExport *common,
                              BlockExportOptions *opts, Error **errp)
{
    NbdExport *exp = container_of(common, NbdExport, common);
    BlockExportOptionsNbd *nbd = &opts->u.nbd;
    const char *name = nbd->name ? nbd->name : opts->node_name;
    NbdServer *server = nbd_server_lookup(nbd->server, errp);

    if (!server) {
        return false;
    }
    if (!check_strings(name, nbd->description, errp)) {
        return false;
    }
    if (nbd_server_export(server, name)) {
        error_setg(errp, "NBD server already has export named '%s'", name);
        return false;
    }
    exp->server = server;
    exp->name = g_strdup(name);
    exp->description = g_strdup(nbd->description);
    exp->contexts =
        g_ptr_array_new_with_free_func((GDestroyNotify)nbd_context_free);
    exp->bitmaps = g_ptr_array_new();
    exp->keepers = g_ptr_array_new();
    exp->conns = g_ptr_array_new();
    exp->served = g_ptr_array_new();
    exp->flags = base_flags(exp);
    exp->loop = root_node(common->root)->loop;
    if (!add_contexts(co, exp, nbd, errp)) {
        export_free_contents(co, exp);
        return false;
    }
    server->exports_alive++;
    g_ptr_array_add(server->exports, exp);
    return true;
}

void nbd_export_enter(NbdExport *exp, NbdConn *conn)
{
    export_ref(&exp->common);
    g_ptr_array_add(exp->conns, conn);
}

void nbd_export_leave(NbdExport *exp, NbdConn *conn)
{
    g_ptr_array_remove_fast(exp->conns, conn);
    export_unref(&exp->common);
}

static void nbd_export_request_shutdown(BlockExport *common)
{
    NbdExport *exp = container_of(common, NbdExport, common);

    g_ptr_array_remove(exp->server->exports, exp);
    for (guint i = 0; i < exp->conns->len; i++) {
        NbdConn *conn = g_ptr_array_index(exp->conns, i);
        /* From the main loop: the channel itself is not touched. */
        shutdown(channel_fd(conn->ch), SHUT_RDWR);
    }
}

static bool nbd_export_client_leaving(BlockExport *common)
{
    NbdExport *exp = container_of(common, NbdExport, common);

    for (guint i = 0; i < exp->conns->len; i++) {
        NbdConn *conn = g_ptr_array_index(exp->conns, i);
        struct pollfd p = { channel_fd(conn->ch), POLLRDHUP, 0 };

        if (poll(&p, 1, 0) == 1) {
            return true;
        }
    }
    return false;
}

static void nbd_export_remove(Co *co, BlockExport *common)
{
    NbdExport *exp = container_of(common, NbdExport, common);

    g_ptr_array_remove(exp->server->exports, exp);
    export_free_contents(co, exp);
    exp->server->exports_alive--;
    co_queue_wake_all(&exp->server->changed);
}

static void nbd_export_query(Co *co, BlockExport *common,
                             BlockExportInfo *info)
{
    NbdExport *exp = container_of(common, NbdExport, common);
    Root *root = common->root;

    if (!exp->coverage) {
        return;
    }
    co_move(co, exp->loop);
    root_begin(co, root);
    info->has_coverage = true;
    info->coverage = nbd_coverage_query(co, exp->coverage);
    root_end(root);
    co_move(co, loop_main());
}

static void nbd_export_resized(BlockExport *common)
{
    NbdExport *exp = container_of(common, NbdExport, common);

    if (exp->coverage) {
        nbd_coverage_resize(exp->coverage, root_node(common->root)->length);
    }
}

static const BlockExportDriver nbd_export_driver = {
    .type = BLOCK_EXPORT_TYPE_NBD,
    .size = sizeof(NbdExport),
    .create = nbd_export_create,
    .request_shutdown = nbd_export_request_shutdown,
    .remove = nbd_export_remove,
    .client_leaving = nbd_export_client_leaving,
    .query = nbd_export_query,
    .loop_can_change = nbd_export_loop_can_change,
    .loop_changed = nbd_export_loop_changed,
    .resized = nbd_export_resized,
};

void nbd_export_init(void)
{
    export_register(&nbd_export_driver);
}
