/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* qemu-nbd: opens one image, exports it, and waits for its end. */

#include "tools/nbd/nbd.h"

#include <fcntl.h>
#include <signal.h>

#include "block/graph.h"
#include "block/export.h"
#include "nbd/server.h"
#include "tools/tool.h"
#include "util/daemonize.h"
#include "util/pidfile.h"
#include "util/signals.h"

/* Why and when to end. */
typedef struct Serving {
    bool persistent;
    bool ending;
    CoQueue wait;
} Serving;

static void serving_end(Serving *s)
{
    s->ending = true;
    co_queue_wake_all(&s->wait);
}

static void connection_gone(NbdServer *server, bool served, void *opaque)
{
    Serving *s = opaque;

    if (served && !s->persistent && nbd_server_connections(server) == 0) {
        serving_end(s);
    }
}

static void signalled(int sig, void *opaque)
{
    serving_end(opaque);
}

/* ---- the image ---- */

static json_t *extra_options(const NbdArgs *args)
{
    json_t *extra = json_object();

    if (args->detect_zeroes) {
        json_object_set_new(extra, "detect-zeroes",
                            json_string(args->detect_zeroes));
    }
    if (args->aio) {
        json_object_set_new(extra, "file",
                            json_pack("{ss}", "aio", args->aio));
    }
    return extra;
}

static Node *open_file(Co *co, const NbdArgs *args, OpenFlags flags,
                       Error **errp)
{
    json_t *extra = extra_options(args);
    Node *node = args->image_opts
                 ? open_image_opts(co, args->file, flags, errp)
                 : open_filename(co, args->file, args->format, extra, flags,
                                 errp);

    json_decref(extra);
    if (!node) {
        error_prepend(errp, "Failed to blk_new_open '%s': ", args->file);
    }
    return node;
}

static Node *open_overlay(Co *co, const NbdArgs *args, Node *base,
                          Error **errp)
{
    return tool_open_overlay(co, base, OPEN_RDWR, errp);
}

static Node *open_window(Co *co, const NbdArgs *args, Node *node, Error **errp)
{
    BlockdevOptions *o;

    if (args->offset > node->length) {
        error_setg(errp, "Offset (%" PRIi64 ") cannot be greater than size of "
                   "the containing file (%" PRIi64 ")", args->offset,
                   node->length);
        return NULL;
    }
    o = g_new0(BlockdevOptions, 1);
    o->driver = BLOCKDEV_DRIVER_RAW;
    o->has_read_only = true;
    o->read_only = node->read_only;
    o->u.raw.has_offset = true;
    o->u.raw.offset = args->offset;
    o->u.raw.file = g_new0(BlockdevRef, 1);
    o->u.raw.file->type = QTYPE_QSTRING;
    o->u.raw.file->u.reference = g_strdup(node->name);
    return open_options(co, o, errp);
}

/* snapshot.id=ID,snapshot.name=NAME, or one of either. */
static bool load_snapshot(Co *co, const NbdArgs *args, Node *node,
                          Error **errp)
{
    const SnapshotOps *ops = node->drv->snapshots;
    g_autofree char *id = NULL, *name = NULL;
    const char *p;
    bool ok;

    if (!args->load_snapshot) {
        return true;
    }
    if (!ops || !ops->load) {
        error_setg(errp, "Failed to load snapshot: Block format '%s' used by "
                   "device '' does not support temporarily loading internal "
                   "snapshots", node->drv->name);
        return false;
    }
    p = strstr(args->load_snapshot, "snapshot.id=");
    if (p) {
        p += strlen("snapshot.id=");
        id = g_strndup(p, strcspn(p, ","));
    }
    p = strstr(args->load_snapshot, "snapshot.name=");
    if (p) {
        p += strlen("snapshot.name=");
        name = g_strndup(p, strcspn(p, ","));
    }
    if (id || name) {
        ok = ops->load(co, node, id, name, errp);
    } else {
        ok = ops->load(co, node, args->load_snapshot, NULL, NULL) ||
             ops->load(co, node, NULL, args->load_snapshot, errp);
    }
    if (!ok) {
        error_prepend(errp, "Failed to load snapshot: ");
    }
    return ok;
}

/* Opens what is put on top of @node, which is consumed. */
static Node *put_on_top(Co *co, Node *node, Node *(*open)(Co *co,
                        const NbdArgs *args, Node *below, Error **errp),
                        const NbdArgs *args, Error **errp)
{
    Node *top = open(co, args, node, errp);

    node_unref(co, node);
    return top;
}

static Node *open_image(Co *co, const NbdArgs *args, Error **errp)
{
    OpenFlags flags = args->flags;
    Node *node;

    if (!args->read_only && !args->snapshot) {
        flags |= OPEN_RDWR;
    }
    node = open_file(co, args, flags, errp);
    if (node && !load_snapshot(co, args, node, errp)) {
        node_unref(co, node);
        return NULL;
    }
    if (node && args->snapshot) {
        node = put_on_top(co, node, open_overlay, args, errp);
    }
    if (node && args->offset) {
        node = put_on_top(co, node, open_window, args, errp);
    }
    return node;
}

/* ---- the server ---- */

static bool add_export(Co *co, const NbdArgs *args, Node *node, Error **errp)
{
    g_autoptr(BlockExportOptions) o = g_new0(BlockExportOptions, 1);
    BlockDirtyBitmapOrStrList **tail = &o->u.nbd.bitmaps;

    o->type = BLOCK_EXPORT_TYPE_NBD;
    o->id = g_strdup("qemu-nbd-export");
    o->node_name = g_strdup(node->name);
    o->has_writable = true;
    o->writable = !args->read_only;
    o->has_writethrough = true;
    o->writethrough = args->writethrough;
    o->u.nbd.name = g_strdup(args->export_name ? args->export_name : "");
    o->u.nbd.description = g_strdup(args->description);
    o->u.nbd.has_allocation_depth = true;
    o->u.nbd.allocation_depth = args->allocation_depth;
    o->u.nbd.has_bitmaps = args->bitmaps->len > 0;
    for (guint i = 0; i < args->bitmaps->len; i++) {
        BlockDirtyBitmapOrStr *ref = g_new0(BlockDirtyBitmapOrStr, 1);
        ref->type = QTYPE_QSTRING;
        ref->u.local = g_strdup(g_ptr_array_index(args->bitmaps, i));
        QAPI_LIST_APPEND(tail, ref);
    }
    return export_add(co, o, errp) != NULL;
}

static NbdServer *start_server(Co *co, const NbdArgs *args, Serving *s,
                               Error **errp)
{
    NbdServerSettings set = {
        .handshake_max_seconds = 10,
        .max_connections = args->shared,
        .max_requests = args->max_requests,
        .connection_gone = connection_gone,
        .opaque = s,
    };
    SockAddr addr = nbd_args_address(args);
    g_autoptr(TlsCreds) tls = NULL;
    NbdServer *server;

    if (args->tls_creds) {
        tls = tls_creds_get(args->tls_creds, true, errp);
        if (!tls) {
            error_prepend(errp, "Failed to get TLS creds: ");
            return NULL;
        }
    }
    set.tls = tls;
    set.tls_authz = args->tls_authz;
    if (!args->activated) {
        return nbd_server_start(co, NBD_SERVER_DEFAULT, &addr, &set, errp);
    }
    server = nbd_server_new(NBD_SERVER_DEFAULT, &set);
    fcntl(NBD_ACTIVATED_FD, F_SETFL,
          fcntl(NBD_ACTIVATED_FD, F_GETFL) | O_NONBLOCK);
    nbd_server_add_listener(server, NBD_ACTIVATED_FD);
    return server;
}

static bool serve(Co *co, const NbdArgs *args, Node *node, Serving *s,
                  Error **errp)
{
    NbdServer *server = start_server(co, args, s, errp);
    NbdDevice *device = NULL;
    bool ok;

    if (!server) {
        return false;
    }
    ok = add_export(co, args, node, errp);
    if (ok && args->connect) {
        control_unlock(co);
        device = nbd_device_connect(co, args, server, errp);
        control_lock(co);
        ok = device;
    }
    ok = ok && (!args->pid_file || pidfile_create(args->pid_file, errp));
    if (ok) {
        daemonize_ready();
        control_unlock(co);
        while (!s->ending) {
            co_queue_wait(co, &s->wait);
        }
        control_lock(co);
    }
    nbd_device_end(co, device);
    nbd_server_stop(co, server);
    pidfile_remove();
    return ok;
}

int nbd_serve(Co *co, const NbdArgs *args)
{
    static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
    Serving s = { .persistent = args->persistent };
    Error *err = NULL;
    Signals *signals = signals_watch(loop_main(), sigs, ARRAY_SIZE(sigs),
                                     signalled, &s, &err);
    bool ok = false;
    Node *node;

    block_init();
    nbd_export_init();
    control_lock(co);
    node = signals ? open_image(co, args, &err) : NULL;
    if (node) {
        ok = serve(co, args, node, &s, &err);
        node_unref(co, node);
    }
    control_unlock(co);
    signals_free(signals);
    if (!ok) {
        error_report_err(err);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
