/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* TLS of NBD clients, below libnbd. */
#ifndef BLOCK_NBD_TLS_H
#define BLOCK_NBD_TLS_H

#include "util/tls.h"

/* A connection with a thread that carries bytes between it and a socket. */
typedef struct NbdTunnel NbdTunnel;

/* Asks the server at @fd (which it takes) for TLS. *@plain is the socket on which
 * everything else goes, and the greeting comes once more; the caller's. NULL on
 * error. Suspends. */
NbdTunnel *nbd_tls_start(Co *co, int fd, TlsCreds *creds, const char *hostname,
                         int *plain, Error **errp);
/* The caller has closed its end. Any thread, once; NULL ok. Blocks for a moment. */
void nbd_tls_end(NbdTunnel *t);

#endif
