/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Socket addresses of QAPI as the runtime takes them. The result refers to the
 * strings of the argument. */
#ifndef QAPI_SOCK_ADDR_H
#define QAPI_SOCK_ADDR_H

#include "qapi/qapi-types.h"
#include "util/channel.h"

SockAddr sock_addr_from_qapi(const SocketAddress *addr);
SockAddr sock_addr_from_legacy(const SocketAddressLegacy *addr);
/* What a listening socket is bound to, with its real port; NULL: it is none of
 * the kinds that have addresses. */
SocketAddress *sock_addr_of_fd(int fd);

#endif
