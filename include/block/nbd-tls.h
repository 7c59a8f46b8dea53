/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* TLS of NBD clients, below libnbd. */
#ifndef BLOCK_NBD_TLS_H
#define BLOCK_NBD_TLS_H

#include "util/tls.h"

/* Asks the server at @fd (which it takes) for TLS. A socket on which everything
 * else goes, and the greeting comes once more; -1 on error. Suspends. */
int nbd_tls_start(Co *co, int fd, TlsCreds *creds, const char *hostname,
                  Error **errp);

#endif
