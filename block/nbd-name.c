/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Names of NBD disks: URIs and QEMU's older forms become options, and options a
 * URI where one can say all that they do.
 */
#include "util/osdep.h"

#include "block/nbd-disk.h"
#include "util/uri.h"

#define NBD_DEFAULT_PORT "10809"

static SocketAddress *nbd_name_address(NbdUri *uri)
{
    SocketAddress *addr = g_new0(SocketAddress, 1);

    if (uri->socket) {
        addr->type = SOCKET_ADDRESS_TYPE_UNIX;
        addr->u.q_unix.path = g_steal_pointer(&uri->socket);
    } else {
        addr->type = SOCKET_ADDRESS_TYPE_INET;
        addr->u.inet.host = g_steal_pointer(&uri->host);
        addr->u.inet.port = g_steal_pointer(&uri->port);
    }
    return addr;
}

BlockdevOptions *nbd_name_parse(const char *filename, Error **errp)
{
    g_autoptr(NbdUri) uri = uri_parse_nbd(filename, errp);
    BlockdevOptions *opts;

    if (!uri) {
        return NULL;
    }
    opts = g_new0(BlockdevOptions, 1);
    opts->driver = BLOCKDEV_DRIVER_NBD;
    opts->u.nbd.server = nbd_name_address(uri);
    if (*uri->export) {
        opts->u.nbd.export = g_steal_pointer(&uri->export);
    }
    opts->u.nbd.has_tls = opts->u.nbd.tls = uri->tls;
    opts->u.nbd.tls_certificates = g_steal_pointer(&uri->certificates);
    opts->u.nbd.tls_psk_file = g_steal_pointer(&uri->psk_file);
    opts->u.nbd.tls_hostname = g_steal_pointer(&uri->hostname);
    opts->u.nbd.tls_username = g_steal_pointer(&uri->username);
    return opts;
}

bool nbd_name_old_options(json_t *tree, Error **errp)
{
    json_t *path = json_object_get(tree, "path");
    json_t *host = json_object_get(tree, "host");
    json_t *port = json_object_get(tree, "port");
    bool old = path || host || port;
    const char *wrong =
        json_object_get(tree, "server")
            ? old ? "Cannot use 'server' and path/host/port at the same time"
                  : NULL :
        path && host ? "path and host may not be used at the same time" :
        port && !host ? "port may not be used without host" :
        !old ? "NBD server address missing" : NULL;

    if (wrong) {
        error_setg(errp, "%s", wrong);
        return false;
    }
    if (path) {
        json_object_set_new(tree, "server", json_pack(
            "{s:s, s:O}", "type", "unix", "path", path));
    } else if (host) {
        json_object_set_new(tree, "server", json_pack(
            "{s:s, s:O}", "type", "inet", "host", host));
        json_object_set(json_object_get(tree, "server"), "port", port);
        if (!port) {
            json_object_set_new(json_object_get(tree, "server"), "port",
                                json_string(NBD_DEFAULT_PORT));
        }
    }
    json_object_del(tree, "path");
    json_object_del(tree, "host");
    json_object_del(tree, "port");
    return true;
}

char *nbd_name_exact(const Node *node)
{
    const BlockdevOptionsNbd *o = &node->options->u.nbd;
    const char *slash = o->export ? "/" : "";
    const char *export = o->export ? o->export : "";

    if (o->has_tls && o->tls) {
        return NULL;
    }
    switch (o->server->type) {
    case SOCKET_ADDRESS_TYPE_UNIX:
        return g_strdup_printf("nbd+unix://%s%s?socket=%s", slash, export,
                               o->server->u.q_unix.path);
    case SOCKET_ADDRESS_TYPE_INET:
        return g_strdup_printf("nbd://%s:%s%s%s", o->server->u.inet.host,
                               o->server->u.inet.port, slash, export);
    default:
        return NULL;
    }
}
