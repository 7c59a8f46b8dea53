/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Socket addresses: from what people write to listening and connected
 * sockets, and back to text.
 *
 * Unix and vsock addresses are one struct sockaddr each; an inet address is a
 * list of them, from getaddrinfo() in a worker. Listening takes each of the
 * list that works, connecting the first; the last error is told if none does.
 *
 * What the ipv4 and ipv6 options mean (found by trying QEMU's):
 *
 *     ipv4   ipv6     family          IPv6 sockets take IPv4 too
 *     -      -        any             yes, unless IPv4 has its own
 *     on     -, off   IPv4
 *     off    -, on    IPv6            no
 *     -      on       IPv6            no
 *     -      off      IPv4
 *     on     on       any; IPv6 for   yes
 *                     all addresses
 *     off    off      refused
 */
#include "util/channel.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/vm_sockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int sock_new(int family)
{
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static void sock_option(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof(value));
}

/* ---- names of sockets ---- */

static char *unix_name(const struct sockaddr_un *un, socklen_t len)
{
    size_t n = len - MIN(len, offsetof(struct sockaddr_un, sun_path));

    if (n > 0 && !un->sun_path[0]) {
        return g_strdup_printf("unix:@%.*s", (int)n - 1, un->sun_path + 1);
    }
    return g_strdup_printf("unix:%.*s", (int)n, un->sun_path);
}

static char *sockaddr_name(const struct sockaddr_storage *ss, socklen_t len)
{
    const struct sockaddr_in *in = (const void *)ss;
    const struct sockaddr_in6 *in6 = (const void *)ss;
    const struct sockaddr_vm *vm = (const void *)ss;
    char text[INET6_ADDRSTRLEN];

    switch (ss->ss_family) {
    case AF_UNIX:
        return unix_name((const struct sockaddr_un *)ss, len);
    case AF_INET:
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
        return g_strdup_printf("%s:%d", text, ntohs(in->sin_port));
    case AF_INET6:
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        return g_strdup_printf("[%s]:%d", text, ntohs(in6->sin6_port));
    case AF_VSOCK:
        return g_strdup_printf("vsock:%u:%u", vm->svm_cid, vm->svm_port);
    default:
        return g_strdup("unknown");
    }
}

char *sock_local_name(int fd)
{
    struct sockaddr_storage ss = { 0 };
    socklen_t len = sizeof(ss);

    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0) {
        return g_strdup_printf("fd:%d", fd);
    }
    return sockaddr_name(&ss, len);
}

char *sock_peer_name(int fd)
{
    struct sockaddr_storage ss = { 0 };
    socklen_t len = sizeof(ss);

    if (getpeername(fd, (struct sockaddr *)&ss, &len) < 0) {
        return g_strdup_printf("fd:%d", fd);
    }
    /* Who connects over Unix mostly has no name: then the listener's. */
    if (ss.ss_family == AF_UNIX &&
        len <= offsetof(struct sockaddr_un, sun_path)) {
        return sock_local_name(fd);
    }
    return sockaddr_name(&ss, len);
}

int sock_local_port(int fd)
{
    struct sockaddr_storage ss = { 0 };
    socklen_t len = sizeof(ss);

    if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0) {
        return 0;
    }
    switch (ss.ss_family) {
    case AF_INET:
    case AF_INET6:      /* the port lies at the same place */
        return ntohs(((struct sockaddr_in *)&ss)->sin_port);
    case AF_VSOCK:
        return ((struct sockaddr_vm *)&ss)->svm_port;
    default:
        return 0;
    }
}

/* ---- Unix ---- */

/* A path of all 108 bytes has no NUL: who takes it for a string, as valgrind
 * does, finds one behind it. */
typedef struct UnixAddr {
    struct sockaddr_un un;
    char end;
} UnixAddr;

static bool unix_fill(const SockAddr *addr, const char *path, UnixAddr *ret,
                      socklen_t *len, Error **errp)
{
    struct sockaddr_un *un = &ret->un;
    size_t n = strlen(path);
    size_t max = sizeof(un->sun_path) - (addr->abstract ? 1 : 0);

    if (n > max) {
        error_setg(errp, "UNIX socket path '%s' is too long", path);
        error_append_hint(errp, "Path must be less than %zu bytes\n", max);
        return false;
    }
    memset(ret, 0, sizeof(*ret));
    un->sun_family = AF_UNIX;
    *len = sizeof(*un);
    if (addr->abstract) {
        memcpy(un->sun_path + 1, path, n);
        if (addr->tight) {
            *len = offsetof(struct sockaddr_un, sun_path) + 1 + n;
        }
    } else {
        memcpy(un->sun_path, path, n);
    }
    return true;
}

/* A name that nobody has, where the user gave none. */
static char *unix_temp_path(Error **errp)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("qemu-socket-XXXXXX", &path, NULL);

    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to make a temporary socket name");
        return NULL;
    }
    close(fd);
    unlink(path);
    return g_steal_pointer(&path);
}

/* Only a socket is taken out of the way: bind() refuses the rest. */
static bool unix_make_room(const char *path, Error **errp)
{
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        return true;
    }
    if (unlink(path) < 0 && errno != ENOENT) {
        error_setg_errno(errp, errno, "Failed to unlink socket %s", path);
        return false;
    }
    return true;
}

static int unix_listen(const SockAddr *addr, int backlog, Error **errp)
{
    g_autofree char *path = NULL;
    autofd int fd = -1;
    UnixAddr un;
    socklen_t len;

    path = *addr->path || addr->abstract ? g_strdup(addr->path)
                                         : unix_temp_path(errp);
    if (!path || !unix_fill(addr, path, &un, &len, errp)) {
        return -1;
    }
    fd = sock_new(AF_UNIX);
    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to create Unix socket");
        return -1;
    }
    if (!addr->abstract && !unix_make_room(path, errp)) {
        return -1;
    }
    if (bind(fd, (struct sockaddr *)&un, len) < 0) {
        error_setg_errno(errp, errno, "Failed to bind socket to %s", path);
        return -1;
    }
    if (listen(fd, backlog) < 0) {
        error_setg_errno(errp, errno, "Failed to listen on socket");
        return -1;
    }
    return fd_steal(&fd);
}

static int unix_connect(Co *co, const SockAddr *addr, Error **errp)
{
    autofd int fd = -1;
    UnixAddr un;
    socklen_t len;
    int ret;

    if (!unix_fill(addr, addr->path, &un, &len, errp)) {
        return -1;
    }
    fd = sock_new(AF_UNIX);
    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to create socket");
        return -1;
    }
    ret = co_connect(co, fd, &un, len);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to connect to '%s'", addr->path);
        return -1;
    }
    return fd_steal(&fd);
}

void sock_unlisten(int fd)
{
    struct sockaddr_un un = { 0 };
    socklen_t len = sizeof(un);

    if (getsockname(fd, (struct sockaddr *)&un, &len) == 0 &&
        un.sun_family == AF_UNIX && un.sun_path[0]) {
        g_autofree char *path = g_strndup(un.sun_path, sizeof(un.sun_path));

        unlink(path);
    }
    close(fd);
}

/* ---- inet ---- */

typedef struct Lookup {
    const char *host, *port;
    struct addrinfo hints;
    struct addrinfo *result;
} Lookup;

static int64_t inet_lookup_blocking(void *arg)
{
    Lookup *l = arg;

    return getaddrinfo(*l->host ? l->host : NULL, l->port, &l->hints,
                       &l->result);
}

static bool inet_is_wildcard(const char *host)
{
    return !*host || g_str_equal(host, "::");
}

static int inet_family(const SockAddr *addr)
{
    if (addr->ipv4 == 1 && addr->ipv6 == 1) {
        return inet_is_wildcard(addr->host) ? AF_INET6 : AF_UNSPEC;
    }
    if (addr->ipv6 == 1 || addr->ipv4 == 0) {
        return AF_INET6;
    }
    if (addr->ipv4 == 1 || addr->ipv6 == 0) {
        return AF_INET;
    }
    return AF_UNSPEC;
}

/* getaddrinfo() would cut the number to 16 bits. */
static bool inet_port_too_big(const char *port)
{
    char *end;
    unsigned long n = strtoul(port, &end, 10);

    return *port && !*end && n > UINT16_MAX;
}

static struct addrinfo *inet_lookup(Co *co, const SockAddr *addr, int flags,
                                    Error **errp)
{
    Lookup l = {
        .host = addr->host,
        .port = addr->port,
        .hints = {
            .ai_family = inet_family(addr),
            .ai_socktype = SOCK_STREAM,
            .ai_flags = flags | (addr->numeric ? AI_NUMERICHOST |
                                                 AI_NUMERICSERV : 0),
        },
    };
    int ret;

    if (addr->ipv4 == 0 && addr->ipv6 == 0) {
        error_setg(errp, "Cannot disable IPv4 and IPv6 at same time");
        return NULL;
    }
    ret = inet_port_too_big(addr->port)
          ? EAI_SERVICE : worker_run(co, inet_lookup_blocking, &l);
    if (ret) {
        error_setg(errp, "address resolution failed for %s:%s: %s",
                   addr->host, addr->port, gai_strerror(ret));
        return NULL;
    }
    return l.result;
}

static void inet_set_port(struct sockaddr *sa, int port)
{
    ((struct sockaddr_in *)sa)->sin_port = htons(port);
}

static int inet_get_port(const struct sockaddr *sa)
{
    return ntohs(((const struct sockaddr_in *)sa)->sin_port);
}

/* One address and port: a listening socket or -errno. */
static int inet_listen_at(const struct addrinfo *ai, int backlog, bool v6only)
{
    autofd int fd = sock_new(ai->ai_family);
    int ret;

    if (fd < 0) {
        return -errno;
    }
    sock_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (ai->ai_family == AF_INET6) {
        sock_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
    }
    ret = bind(fd, ai->ai_addr, ai->ai_addrlen);
    if (ret < 0 && errno == EADDRINUSE && ai->ai_family == AF_INET6 &&
        !v6only) {
        /* IPv4 has a socket of its own already. */
        return inet_listen_at(ai, backlog, true);
    }
    if (ret < 0 || listen(fd, backlog) < 0) {
        return -errno;
    }
    return fd_steal(&fd);
}

/* One address, the first free port of the range. */
static int inet_listen_one(const SockAddr *addr, struct addrinfo *ai,
                           int backlog, Error **errp)
{
    bool v6only = addr->ipv4 == 0 || (addr->ipv6 == 1 && addr->ipv4 != 1);
    int first = inet_get_port(ai->ai_addr);
    int last = addr->port_to ? addr->port_to : first;
    int ret = 0;

    for (int port = first; port <= last; port++) {
        inet_set_port(ai->ai_addr, port);
        ret = inet_listen_at(ai, backlog, v6only);
        if (ret >= 0) {
            return ret;
        }
        if (ret != -EADDRINUSE) {
            error_setg_errno(errp, -ret, "Failed to bind socket");
            return -1;
        }
    }
    if (ret == 0) {
        error_setg(errp, "Failed to create a socket");
    } else {
        error_setg_errno(errp, -ret, "Failed to find an available port");
    }
    return -1;
}

static int inet_listen(Co *co, const SockAddr *addr, int backlog, int **fds,
                       Error **errp)
{
    struct addrinfo *list = inet_lookup(co, addr, AI_PASSIVE, errp);
    g_autoptr(GArray) socks = g_array_new(false, false, sizeof(int));
    Error *err = NULL;
    int chosen = 0, n;

    if (!list) {
        return -1;
    }
    for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        int fd;

        /* The port that the system chose is the one for all addresses. */
        if (inet_get_port(ai->ai_addr) == 0) {
            inet_set_port(ai->ai_addr, chosen);
        }
        error_clear(&err);
        fd = inet_listen_one(addr, ai, backlog, &err);
        if (fd >= 0) {
            chosen = sock_local_port(fd);
            g_array_append_val(socks, fd);
        }
    }
    freeaddrinfo(list);
    if (!socks->len) {
        error_propagate(errp, err);
        return -1;
    }
    error_clear(&err);
    n = socks->len;
    *fds = (int *)g_array_free(g_steal_pointer(&socks), false);
    return n;
}

static int inet_connect(Co *co, const SockAddr *addr, Error **errp)
{
    struct addrinfo *list = inet_lookup(co, addr, 0, errp);
    int conn = -1, ret = -EADDRNOTAVAIL;

    if (!list) {
        return -1;
    }
    for (struct addrinfo *ai = list; ai && conn < 0; ai = ai->ai_next) {
        autofd int fd = sock_new(ai->ai_family);

        ret = fd < 0 ? -errno
                     : co_connect(co, fd, ai->ai_addr, ai->ai_addrlen);
        if (ret == 0) {
            conn = fd_steal(&fd);
        }
    }
    freeaddrinfo(list);
    if (conn < 0) {
        error_setg_errno(errp, -ret, "Failed to connect to '%s:%s'",
                         addr->host, addr->port);
        return -1;
    }
    sock_option(conn, IPPROTO_TCP, TCP_NODELAY, 1);
    if (addr->keep_alive) {
        sock_option(conn, SOL_SOCKET, SO_KEEPALIVE, 1);
    }
    return conn;
}

/* ---- vsock ---- */

static bool vsock_number(const char *what, const char *text, unsigned *ret,
                         Error **errp)
{
    uint64_t n;

    if (!g_ascii_string_to_unsigned(text, 10, 0, UINT32_MAX, &n, NULL)) {
        error_setg(errp, "Failed to parse %s '%s'", what, text);
        return false;
    }
    *ret = n;
    return true;
}

static int vsock_prepare(const SockAddr *addr, struct sockaddr_vm *vm,
                         Error **errp)
{
    int fd;

    memset(vm, 0, sizeof(*vm));
    vm->svm_family = AF_VSOCK;
    if (!vsock_number("cid", addr->cid, &vm->svm_cid, errp) ||
        !vsock_number("port", addr->port, &vm->svm_port, errp)) {
        return -1;
    }
    fd = sock_new(AF_VSOCK);
    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to create socket");
    }
    return fd;
}

static int vsock_listen(const SockAddr *addr, int backlog, Error **errp)
{
    struct sockaddr_vm vm;
    autofd int fd = vsock_prepare(addr, &vm, errp);

    if (fd < 0) {
        return -1;
    }
    if (bind(fd, (struct sockaddr *)&vm, sizeof(vm)) < 0) {
        error_setg_errno(errp, errno, "Failed to bind socket");
        return -1;
    }
    if (listen(fd, backlog) < 0) {
        error_setg_errno(errp, errno, "Failed to listen on socket");
        return -1;
    }
    return fd_steal(&fd);
}

static int vsock_connect(Co *co, const SockAddr *addr, Error **errp)
{
    struct sockaddr_vm vm;
    autofd int fd = vsock_prepare(addr, &vm, errp);
    int ret;

    if (fd < 0) {
        return -1;
    }
    ret = co_connect(co, fd, &vm, sizeof(vm));
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to connect to '%s:%s'",
                         addr->cid, addr->port);
        return -1;
    }
    return fd_steal(&fd);
}

/* ---- fds that we were started with ---- */

static int fd_socket(const SockAddr *addr, Error **errp)
{
    uint64_t n;
    int type;
    socklen_t len = sizeof(type);

    if (!g_ascii_string_to_unsigned(addr->fd_name, 10, 0, INT_MAX, &n, NULL)) {
        error_setg(errp, "Unable to parse FD number %s", addr->fd_name);
        return -1;
    }
    if (getsockopt(n, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
        error_setg(errp, "File descriptor '%s' is not a socket",
                   addr->fd_name);
        return -1;
    }
    fcntl(n, F_SETFD, FD_CLOEXEC);
    fcntl(n, F_SETFL, fcntl(n, F_GETFL) | O_NONBLOCK);
    return n;
}

static int fd_listen(const SockAddr *addr, int backlog, Error **errp)
{
    int fd = fd_socket(addr, errp);

    if (fd >= 0 && listen(fd, backlog) < 0) {
        error_setg_errno(errp, errno, "Failed to listen on fd socket");
        return -1;
    }
    return fd;
}

/* ---- all kinds ---- */

int sock_listen_all(Co *co, const SockAddr *addr, int backlog, int **fds,
                    Error **errp)
{
    int fd = -1;

    switch (addr->kind) {
    case SOCK_INET:
        return inet_listen(co, addr, backlog, fds, errp);
    case SOCK_UNIX:
        fd = unix_listen(addr, backlog, errp);
        break;
    case SOCK_VSOCK:
        fd = vsock_listen(addr, backlog, errp);
        break;
    case SOCK_FD:
        fd = fd_listen(addr, backlog, errp);
        break;
    }
    if (fd < 0) {
        return -1;
    }
    *fds = g_memdup2(&fd, sizeof(fd));
    return 1;
}

int sock_listen(Co *co, const SockAddr *addr, int backlog, Error **errp)
{
    g_autofree int *fds = NULL;
    int n = sock_listen_all(co, addr, backlog, &fds, errp);

    for (int i = 1; i < n; i++) {
        close(fds[i]);
    }
    return n < 0 ? -1 : fds[0];
}

int sock_connect(Co *co, const SockAddr *addr, Error **errp)
{
    switch (addr->kind) {
    case SOCK_INET:
        return inet_connect(co, addr, errp);
    case SOCK_UNIX:
        return unix_connect(co, addr, errp);
    case SOCK_VSOCK:
        return vsock_connect(co, addr, errp);
    case SOCK_FD:
        return fd_socket(addr, errp);
    }
    g_assert_not_reached();
}
