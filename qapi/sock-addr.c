/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Socket addresses of QAPI as the runtime takes them. */

#include "qapi/sock-addr.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>

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

static SocketAddress *of_inet(const struct sockaddr *sa, socklen_t len)
{
    SocketAddress *addr;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return NULL;
    }
    addr = g_new0(SocketAddress, 1);
    addr->type = SOCKET_ADDRESS_TYPE_INET;
    addr->u.inet.host = g_strdup(host);
    addr->u.inet.port = g_strdup(port);
    return addr;
}

static SocketAddress *of_unix(const struct sockaddr_un *un, socklen_t len)
{
    size_t n = len - offsetof(struct sockaddr_un, sun_path);
    bool abstract = n && !un->sun_path[0];
    SocketAddress *addr = g_new0(SocketAddress, 1);

    addr->type = SOCKET_ADDRESS_TYPE_UNIX;
    addr->u.q_unix.path = g_strndup(un->sun_path + abstract, n - abstract);
    addr->u.q_unix.has_abstract = addr->u.q_unix.abstract = abstract;
    return addr;
}

SocketAddress *sock_addr_of_fd(int fd)
{
    union {
        struct sockaddr sa;
        struct sockaddr_un un;
        struct sockaddr_vm vm;
        struct sockaddr_storage any;
    } u;
    socklen_t len = sizeof(u);
    SocketAddress *addr;

    if (fd < 0 || getsockname(fd, &u.sa, &len) < 0) {
        return NULL;
    }
    switch (u.sa.sa_family) {
    case AF_UNIX:
        return of_unix(&u.un, len);
    case AF_VSOCK:
        addr = g_new0(SocketAddress, 1);
        addr->type = SOCKET_ADDRESS_TYPE_VSOCK;
        addr->u.vsock.cid = g_strdup_printf("%u", u.vm.svm_cid);
        addr->u.vsock.port = g_strdup_printf("%u", u.vm.svm_port);
        return addr;
    default:
        return of_inet(&u.sa, len);
    }
}
