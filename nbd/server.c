/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Listeners and the life of connections.
 *
 * Each listener has a coroutine that accepts; each connection one that shakes
 * hands and serves. Both live on the main loop's tables until they end by
 * themselves: stopping a server shuts their sockets down and waits.
 */

#include <sys/socket.h>

#include "block/graph.h"
#include "nbd/server-internal.h"
#include "qapi/sock-addr.h"

static GPtrArray *servers;          /* of NbdServer */

/* ---- connections ---- */

static NbdConn *conn_new(NbdServer *server, int fd)
{
    NbdConn *conn = g_new0(NbdConn, 1);

    conn->server = server;
    conn->ch = channel_new_fd(fd);
    conn->meta_names = g_ptr_array_new_with_free_func(g_free);
    conn->contexts = g_ptr_array_new();
    g_ptr_array_add(server->conns, conn);
    return conn;
}

static void conn_free(NbdConn *conn)
{
    NbdServer *server = conn->server;
    bool served = conn->served;

    g_ptr_array_remove_fast(server->conns, conn);
    channel_free(conn->ch);
    g_free(conn->client);
    g_free(conn->meta_export);
    g_ptr_array_free(conn->meta_names, true);
    g_ptr_array_free(conn->contexts, true);
    g_free(conn);
    co_queue_wake_all(&server->changed);
    if (server->set.connection_gone) {
        server->set.connection_gone(server, served, server->set.opaque);
    }
}

char *nbd_conn_client_name(const NbdConn *conn)
{
    g_autofree char *identity = channel_tls_peer(conn->ch);
    g_autofree char *peer = NULL;
    struct ucred cred;
    socklen_t len = sizeof(cred);
    char *port;

    if (identity) {
        return g_strdup_printf("tls:%s", identity);
    }
    if (getsockopt(channel_fd(conn->ch), SOL_SOCKET, SO_PEERCRED, &cred,
                   &len) == 0 && cred.pid > 0) {
        return g_strdup_printf("pid:%d", cred.pid);
    }
    peer = channel_peer_name(conn->ch);
    port = strrchr(peer, ':');
    if (port) {
        *port = 0;
    }
    return g_str_has_prefix(peer, "vsock:")
           ? g_steal_pointer(&peer) : g_strdup_printf("host:%s", peer);
}

static void handshake_expired(void *opaque)
{
    NbdConn *conn = opaque;

    channel_shutdown(conn->ch);
}

static NbdHandshake conn_handshake(Co *co, NbdConn *conn)
{
    int seconds = conn->server->set.handshake_max_seconds;
    LoopTimer *timer = NULL;
    NbdHandshake result;

    if (seconds) {
        timer = loop_timer_new(loop_main(), handshake_expired, conn);
        loop_timer_set(timer, clock_ns() + seconds * INT64_C(1000000000));
    }
    result = nbd_handshake(co, conn);
    loop_timer_free(timer);
    return result;
}

/*
 * By default a Unix socket holds 208 KiB: a reply of 256 KiB, as nbdcopy asks for,
 * takes two turns with a wait between. This much holds one and the beginning of the
 * next, if the system allows it. TCP finds its own size.
 */
#define UNIX_SEND_BUFFER (512 * KiB)

static void conn_make_room(const NbdConn *conn)
{
    int fd = channel_fd(conn->ch), domain, have, want = UNIX_SEND_BUFFER;
    socklen_t n = sizeof(domain), m = sizeof(have);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 &&
        domain == AF_UNIX &&
        getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &have, &m) == 0 && have < want) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &want, sizeof(want));
    }
}

static void conn_run(Co *co, void *opaque)
{
    NbdConn *conn = opaque;

    if (conn_handshake(co, conn) == NBD_HANDSHAKE_GO) {
        NbdExport *exp = conn->exp;

        conn->served = true;
        conn->client = nbd_conn_client_name(conn);
        conn_make_room(conn);
        nbd_transmission(co, conn);
        nbd_export_leave(exp, conn);
    }
    conn_free(conn);
}

void nbd_server_add_client(NbdServer *server, int fd)
{
    co_spawn(loop_main(), conn_run, conn_new(server, fd));
}

/* ---- listeners ---- */

#define ACCEPT_PAUSE_NS (100 * 1000 * 1000)

typedef struct Listener {
    NbdServer *server;
    guint index;
} Listener;

static int *listener_fd(Listener *l)
{
    return &g_array_index(l->server->listeners, int, l->index);
}

/* Where no more are allowed, clients wait in the socket's queue. */
static void wait_for_room(Co *co, Listener *l)
{
    NbdServer *server = l->server;
    unsigned max = server->set.max_connections;

    while (max && server->conns->len >= max && *listener_fd(l) >= 0) {
        co_queue_wait(co, &server->changed);
    }
}

static void accept_run(Co *co, void *opaque)
{
    g_autofree Listener *l = opaque;
    NbdServer *server = l->server;

    while (*listener_fd(l) >= 0) {
        int fd = co_accept(co, *listener_fd(l));

        if (fd >= 0) {
            wait_for_room(co, l);
        }
        if (fd >= 0 && *listener_fd(l) >= 0) {
            nbd_server_add_client(server, fd);
        } else if (fd >= 0) {
            close(fd);
        } else if (fd != -ECANCELED) {
            /* Out of something that others may give back meanwhile, or a network
             * that has a bad day: no reason to hear nobody any more. */
            co_sleep(co, ACCEPT_PAUSE_NS);
        }
    }
    g_ptr_array_remove_fast(server->accepting, co);
    co_queue_wake_all(&server->changed);
}

void nbd_server_add_listener(NbdServer *server, int fd)
{
    Listener *l = g_new0(Listener, 1);

    l->server = server;
    l->index = server->listeners->len;
    g_array_append_val(server->listeners, fd);
    /* Entered here, not by itself: the server may be stopped before it runs. */
    g_ptr_array_add(server->accepting, co_spawn(loop_main(), accept_run, l));
}

void nbd_server_stop_listening(NbdServer *server)
{
    for (guint i = 0; i < server->listeners->len; i++) {
        int *fd = &g_array_index(server->listeners, int, i);
        if (*fd >= 0) {
            sock_unlisten(*fd);
            *fd = -1;
        }
    }
    for (guint i = 0; i < server->accepting->len; i++) {
        co_io_cancel(g_ptr_array_index(server->accepting, i));
    }
    co_queue_wake_all(&server->changed);
}

/* ---- servers ---- */

NbdServer *nbd_server_new(const char *id, const NbdServerSettings *settings)
{
    NbdServer *server = g_new0(NbdServer, 1);

    g_assert(!nbd_server_find(id));
    server->id = g_strdup(id);
    server->set = *settings;
    server->set.max_requests = settings->max_requests ? settings->max_requests
                                                      : NBD_DEFAULT_REQUESTS;
    server->set.tls = settings->tls ? tls_creds_ref(settings->tls) : NULL;
    server->set.tls_authz = server->authz = g_strdup(settings->tls_authz);
    server->exports = g_ptr_array_new();
    server->conns = g_ptr_array_new();
    server->memory = budget_new(settings->max_memory ? settings->max_memory
                                                     : NBD_DEFAULT_MEMORY);
    server->listeners = g_array_new(false, false, sizeof(int));
    server->accepting = g_ptr_array_new();
    if (!servers) {
        servers = g_ptr_array_new();
    }
    g_ptr_array_add(servers, server);
    return server;
}

NbdServer *nbd_server_start(Co *co, const char *id, const SockAddr *addr,
                            const NbdServerSettings *settings, Error **errp)
{
    g_autofree int *fds = NULL;
    NbdServer *server;
    int n = sock_listen_all(co, addr, 128, &fds, errp);

    if (n < 0) {
        return NULL;
    }
    server = nbd_server_new(id, settings);
    for (int i = 0; i < n; i++) {
        nbd_server_add_listener(server, fds[i]);
    }
    return server;
}

NbdServer *nbd_server_find(const char *id)
{
    for (guint i = 0; servers && i < servers->len; i++) {
        NbdServer *server = g_ptr_array_index(servers, i);
        if (strcmp(server->id, id) == 0 && !server->stopping) {
            return server;
        }
    }
    return NULL;
}

NbdServer *nbd_server_lookup(const char *id, Error **errp)
{
    NbdServer *server = nbd_server_find(id ? id : NBD_SERVER_DEFAULT);

    if (!server && id) {
        error_setg(errp, "NBD server '%s' not running", id);
    } else if (!server) {
        error_setg(errp, "NBD server not running");
    }
    return server;
}

NbdServer *nbd_server_next(NbdServer *server)
{
    guint i = 0;

    if (server && g_ptr_array_find(servers, server, &i)) {
        i++;
    }
    return servers && i < servers->len ? g_ptr_array_index(servers, i) : NULL;
}

NbdServerInfo *nbd_server_info(NbdServer *server)
{
    NbdServerInfo *info = g_new0(NbdServerInfo, 1);

    info->id = g_strdup(server->id);
    info->tls = server->set.tls != NULL;
    info->connections = server->conns->len;
    info->exports = server->exports->len;
    info->memory = budget_used(server->memory);
    if (server->listeners->len) {
        info->addr = sock_addr_of_fd(g_array_index(server->listeners, int, 0));
    }
    return info;
}

unsigned nbd_server_connections(const NbdServer *server)
{
    return server->conns->len;
}

BlockExport *nbd_server_export(NbdServer *server, const char *name)
{
    for (guint i = 0; i < server->exports->len; i++) {
        NbdExport *exp = g_ptr_array_index(server->exports, i);
        if (strcmp(exp->name, name) == 0) {
            return &exp->common;
        }
    }
    return NULL;
}

static void server_free(NbdServer *server)
{
    g_ptr_array_remove(servers, server);
    if (servers->len == 0) {
        g_ptr_array_free(g_steal_pointer(&servers), true);
    }
    g_ptr_array_free(server->exports, true);
    g_ptr_array_free(server->conns, true);
    g_array_free(server->listeners, true);
    g_ptr_array_free(server->accepting, true);
    tls_creds_unref(server->set.tls);
    budget_free(server->memory);
    g_free(server->authz);
    g_free(server->id);
    g_free(server);
}

void nbd_server_stop(Co *co, NbdServer *server)
{
    g_autoptr(GPtrArray) exports = NULL;

    server->stopping = true;
    nbd_server_stop_listening(server);
    exports = g_ptr_array_copy(server->exports, NULL, NULL);
    for (guint i = 0; i < exports->len; i++) {
        NbdExport *exp = g_ptr_array_index(exports, i);
        export_request_shutdown(&exp->common);
    }
    for (guint i = 0; i < server->conns->len; i++) {
        NbdConn *conn = g_ptr_array_index(server->conns, i);
        /* From the main loop: the channel itself is not touched. */
        shutdown(channel_fd(conn->ch), SHUT_RDWR);
    }
    control_unlock(co);
    while (server->conns->len || server->accepting->len ||
           server->exports_alive) {
        co_queue_wait(co, &server->changed);
    }
    control_lock(co);
    server_free(server);
}
