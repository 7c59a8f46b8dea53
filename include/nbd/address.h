/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Socket addresses of QAPI as the runtime takes them. The result refers to the
 * strings of the argument. */
#ifndef NBD_ADDRESS_H
#define NBD_ADDRESS_H

#include "qapi/qapi-types.h"
#include "util/channel.h"

SockAddr sock_addr_from_qapi(const SocketAddress *addr);
SockAddr sock_addr_from_legacy(const SocketAddressLegacy *addr);

/* Starts the server "default" with the options' limits; QEMU's texts. */
bool nbd_server_start_qapi(Co *co, const NbdServerOptionsBase *opts,
                           const SockAddr *addr, Error **errp);

#endif
