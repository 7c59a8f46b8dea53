/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Socket addresses of QAPI as the runtime takes them. */

#include "qapi/sock-addr.h"

static int tristate(bool has, bool value)
{
    return has ? value : -1;
}

static SockAddr from_inet(const InetSocketAddress *in)
{
    return (SockAddr) {
        .kind = SOCK_INET,
        .host = in->host,
        .port = in->port,
        .port_to = in->has_to ? in->to : 0,
        .ipv4 = tristate(in->has_ipv4, in->ipv4),
        .ipv6 = tristate(in->has_ipv6, in->ipv6),
        .keep_alive = in->has_keep_alive && in->keep_alive,
        .numeric = in->has_numeric && in->numeric,
    };
}

static SockAddr from_unix(const UnixSocketAddress *un)
{
    return (SockAddr) {
        .kind = SOCK_UNIX,
        .path = un->path,
        .abstract = un->has_abstract && un->abstract,
        .tight = !un->has_tight || un->tight,
    };
}

static SockAddr from_vsock(const VsockSocketAddress *vs)
{
    return (SockAddr) { .kind = SOCK_VSOCK, .cid = vs->cid, .port = vs->port };
}

static SockAddr from_fd(const FdSocketAddress *fd)
{
    return (SockAddr) { .kind = SOCK_FD, .fd_name = fd->str };
}

SockAddr sock_addr_from_qapi(const SocketAddress *addr)
{
    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        return from_inet(&addr->u.inet);
    case SOCKET_ADDRESS_TYPE_UNIX:
        return from_unix(&addr->u.q_unix);
    case SOCKET_ADDRESS_TYPE_VSOCK:
        return from_vsock(&addr->u.vsock);
    default:
        return from_fd(&addr->u.fd);
    }
}

SockAddr sock_addr_from_legacy(const SocketAddressLegacy *addr)
{
    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        return from_inet(addr->u.inet.data);
    case SOCKET_ADDRESS_TYPE_UNIX:
        return from_unix(addr->u.q_unix.data);
    case SOCKET_ADDRESS_TYPE_VSOCK:
        return from_vsock(addr->u.vsock.data);
    default:
        return from_fd(addr->u.fd.data);
    }
}
