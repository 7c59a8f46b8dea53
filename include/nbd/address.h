/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Servers as QAPI describes them. */
#ifndef NBD_ADDRESS_H
#define NBD_ADDRESS_H

#include "qapi/sock-addr.h"

/* Starts the server "default" with the options' limits; QEMU's texts. */
bool nbd_server_start_qapi(Co *co, const NbdServerOptionsBase *opts,
                           const SockAddr *addr, Error **errp);

#endif
