/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The NBD server: listeners, their connections, and the exports that they
 * offer. Main loop only, except where nbd/server-internal.h says otherwise.
 */
#ifndef NBD_SERVER_H
#define NBD_SERVER_H

#include "block/export.h"
#include "util/tls.h"

typedef struct NbdServer NbdServer;

typedef struct NbdServerSettings {
    int handshake_max_seconds;      /* 0: no limit */
    unsigned max_connections;       /* 0: no limit */
    unsigned max_requests;          /* in flight of a connection; 0: default */
    uint64_t max_memory;            /* that connections share for payloads, in
                                     * bytes; 0: default */
    TlsCreds *tls;                  /* every client has to use it; NULL: none
                                     * can. The server takes a reference */
    const char *tls_authz;          /* who may come in (util/authz.h); NULL */
    /* A connection has ended; @served: it got as far as transmission.
     * Optional: for programs that end with their last client. */
    void (*connection_gone)(NbdServer *server, bool served, void *opaque);
    void *opaque;
} NbdServerSettings;

/* A server without listeners. @id is unused so far; copied. */
NbdServer *nbd_server_new(const char *id, const NbdServerSettings *settings);
/* Takes a listening, non-blocking socket and begins to accept from it. */
void nbd_server_add_listener(NbdServer *server, int fd);
/* Takes a connected socket, as if it had been accepted. */
void nbd_server_add_client(NbdServer *server, int fd);
/* nbd_server_new + sock_listen_all + nbd_server_add_listener. Suspends. */
NbdServer *nbd_server_start(Co *co, const char *id, const SockAddr *addr,
                            const NbdServerSettings *settings, Error **errp);
/* Ends listeners, exports and connections; suspends until all have gone and
 * frees the server. Releases the control lock meanwhile. */
void nbd_server_stop(Co *co, NbdServer *server);
NbdServer *nbd_server_find(const char *id);
/* NULL: the default one. "NBD server not running". */
NbdServer *nbd_server_lookup(const char *id, Error **errp);
NbdServer *nbd_server_next(NbdServer *server);      /* NULL: the first */
NbdServerInfo *nbd_server_info(NbdServer *server);
/* No new connections are accepted from now on. */
void nbd_server_stop_listening(NbdServer *server);
unsigned nbd_server_connections(const NbdServer *server);

#define NBD_DEFAULT_REQUESTS 16
#define NBD_MOST_REQUESTS 1024
#define NBD_DEFAULT_MEMORY (256 * MiB)

/* What qemu-nbd and `nbd-server-start` call theirs. */
#define NBD_SERVER_DEFAULT "default"

/* Makes the export type "nbd" known; once. */
void nbd_export_init(void);
/* The export that clients know by @name, or NULL. */
BlockExport *nbd_server_export(NbdServer *server, const char *name);

#endif
