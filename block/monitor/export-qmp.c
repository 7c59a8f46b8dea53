/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* nbd-server-*, block-export-*, query-block-exports. */

#include "block/graph.h"
#include "block/owner.h"
#include "nbd/address.h"
#include "nbd/server.h"
#include "qapi/qapi-commands.h"

#define DEFAULT_HANDSHAKE_SECONDS 10
#define DEFAULT_MAX_CONNECTIONS 100

/* ---- servers ---- */

bool nbd_server_start_qapi(Co *co, const NbdServerOptionsBase *opts,
                           const SockAddr *addr, Error **errp)
{
    const char *id = opts->id ? opts->id : NBD_SERVER_DEFAULT;
    g_autoptr(TlsCreds) tls = NULL;
    NbdServerSettings set = {
        .handshake_max_seconds = opts->has_handshake_max_seconds
                                 ? opts->handshake_max_seconds
                                 : DEFAULT_HANDSHAKE_SECONDS,
        .max_connections = opts->has_max_connections
                           ? opts->max_connections : DEFAULT_MAX_CONNECTIONS,
        .max_requests = opts->has_max_requests ? opts->max_requests
                                               : NBD_DEFAULT_REQUESTS,
        .max_memory = opts->has_max_memory ? opts->max_memory
                                           : NBD_DEFAULT_MEMORY,
    };

    if (nbd_server_find(id)) {
        if (opts->id) {
            error_setg(errp, "NBD server '%s' already running", id);
        } else {
            error_setg(errp, "NBD server already running");
        }
        return false;
    }
    if (set.max_requests < 1 || set.max_requests > NBD_MOST_REQUESTS) {
        error_setg(errp, "Parameter 'max-requests' expects a value between 1 "
                   "and %d", NBD_MOST_REQUESTS);
        return false;
    }
    if (!set.max_memory) {
        error_setg(errp, "Parameter 'max-memory' expects a positive number");
        return false;
    }
    if (opts->tls_authz && !opts->tls_creds) {
        error_setg(errp, "TLS authorization requires TLS credentials");
        return false;
    }
    if (opts->tls_creds) {
        tls = tls_creds_get(opts->tls_creds, true, errp);
        if (!tls) {
            return false;
        }
    }
    set.tls = tls;
    set.tls_authz = opts->tls_authz;
    return nbd_server_start(co, id, addr, &set, errp);
}

bool qmp_nbd_server_start(Co *co, NbdServerOptionsLegacy *arg, Error **errp)
{
    SockAddr addr = sock_addr_from_legacy(arg->addr);

    return nbd_server_start_qapi(co, qapi_NbdServerOptionsLegacy_base(arg),
                                 &addr, errp);
}

bool qmp_nbd_server_stop(Co *co, const char *id, Error **errp)
{
    NbdServer *server = nbd_server_lookup(id, errp);

    if (!server) {
        return false;
    }
    nbd_server_stop(co, server);
    return true;
}

bool qmp_query_nbd_servers(Co *co, NbdServerInfoList **ret, Error **errp)
{
    NbdServerInfoList *list = NULL, **tail = &list;

    for (NbdServer *s = nbd_server_next(NULL); s; s = nbd_server_next(s)) {
        NbdServerInfo *info = nbd_server_info(s);

        QAPI_LIST_APPEND(tail, info);
    }
    *ret = list;
    return true;
}

/* ---- exports ---- */

bool qmp_block_export_add(Co *co, BlockExportOptions *arg, Error **errp)
{
    BlockExport *exp;
    OwnerId owner;

    if (!owner_choose(arg->has_owner, arg->owner, &owner, errp)) {
        return false;
    }
    exp = export_add(co, arg, errp);
    if (exp) {
        exp->owner = owner;
    }
    return exp;
}

static BlockExportInfo *export_info(Co *co, BlockExport *exp)
{
    BlockExportInfo *info = g_new0(BlockExportInfo, 1);
    Node *node = root_node(exp->root);

    info->id = g_strdup(exp->id);
    info->type = exp->drv->type;
    info->node_name = g_strdup(node ? node->name : "");
    info->shutting_down = !exp->user_owned;
    if (exp->drv->query) {
        exp->drv->query(co, exp, info);
    }
    return info;
}

/* Of what is dirty, what the client has that has the most of it. */
static int64_t best_coverage(const NbdCoverageInfo *info)
{
    int64_t best = 0;

    for (NbdClientCoverageList *c = info->clients; c; c = c->next) {
        best = MAX(best, c->value->covered);
    }
    return best;
}

/* Whether some client has read what a bitmap says, for each. */
static bool check_coverage(Co *co, const char *id, Error **errp)
{
    BlockExport *exp = export_find(id);
    g_autoptr(BlockExportInfo) info = exp ? export_info(co, exp) : NULL;

    if (!exp) {
        error_setg(errp, "Export '%s' is not found", id);
        return false;
    }
    for (NbdCoverageInfoList *c = info->coverage; c; c = c->next) {
        int64_t covered = best_coverage(c->value);

        if (covered < c->value->dirty) {
            error_setg(errp, "Of bitmap '%s' of export '%s' only %" PRId64
                       " of %" PRId64 " bytes have been read",
                       c->value->bitmap, id, covered, c->value->dirty);
            return false;
        }
    }
    return true;
}

bool qmp_block_export_del(Co *co, const char *id, bool has_mode,
                          BlockExportRemoveMode mode,
                          bool has_require_coverage, bool require_coverage,
                          Error **errp)
{
    if (has_require_coverage && require_coverage &&
        !check_coverage(co, id, errp)) {
        return false;
    }
    return export_delete(co, id, has_mode ? mode
                                          : BLOCK_EXPORT_REMOVE_MODE_SAFE,
                         errp);
}

bool qmp_query_block_exports(Co *co, BlockExportInfoList **ret, Error **errp)
{
    BlockExportInfoList *list = NULL;
    BlockExportInfoList **tail = &list;

    for (BlockExport *exp = export_next(NULL); exp; exp = export_next(exp)) {
        BlockExportInfo *info = export_info(co, exp);

        QAPI_LIST_APPEND(tail, info);
    }
    *ret = list;
    return true;
}

/* ---- the old commands ---- */

static BlockDirtyBitmapOrStrList *one_bitmap(const char *name)
{
    BlockDirtyBitmapOrStrList *list = NULL;
    BlockDirtyBitmapOrStr *ref = g_new0(BlockDirtyBitmapOrStr, 1);

    ref->type = QTYPE_QSTRING;
    ref->u.local = g_strdup(name);
    QAPI_LIST_PREPEND(list, ref);
    return list;
}

bool qmp_nbd_server_add(Co *co, NbdServerAddOptions *arg, Error **errp)
{
    g_autoptr(BlockExportOptions) opts = g_new0(BlockExportOptions, 1);
    const char *name = arg->name ? arg->name : arg->device;
    Node *node = node_lookup(arg->device, errp);

    if (!node) {
        return false;
    }
    opts->type = BLOCK_EXPORT_TYPE_NBD;
    opts->id = g_strdup(name);
    opts->node_name = g_strdup(node->name);
    /* A read-only node is exported as it is, whatever was asked for. */
    opts->has_writable = true;
    opts->writable = arg->has_writable && arg->writable && !node->read_only;
    opts->u.nbd.name = g_strdup(name);
    opts->u.nbd.description = g_strdup(arg->description);
    if (arg->bitmap) {
        opts->u.nbd.bitmaps = one_bitmap(arg->bitmap);
    }
    return export_add(co, opts, errp) != NULL;
}

bool qmp_nbd_server_remove(Co *co, const char *name, bool has_mode,
                           BlockExportRemoveMode mode, Error **errp)
{
    BlockExport *exp = export_find(name);

    if (exp && exp->drv->type != BLOCK_EXPORT_TYPE_NBD) {
        error_setg(errp, "Block export '%s' is not an NBD export", name);
        return false;
    }
    return export_delete(co, name, has_mode ? mode
                                            : BLOCK_EXPORT_REMOVE_MODE_SAFE,
                         errp);
}
