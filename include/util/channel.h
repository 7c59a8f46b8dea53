/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A byte stream: a socket, with a layer such as TLS on it where asked for.
 * Used by one reader coroutine and one writer coroutine at a time, on one loop
 * at a time.
 */
#ifndef UTIL_CHANNEL_H
#define UTIL_CHANNEL_H

#include "util/iov.h"
#include "util/loop.h"

typedef struct Channel Channel;

/* Takes @fd (connected, stream); makes it non-blocking and TCP undelayed. */
Channel *channel_new_fd(int fd);
/*
 * A pair of pipes, terminals or files, such as (dup'ed) stdin and stdout.
 * Takes both. They are left in their blocking mode, which others may share:
 * reads and writes wait for readiness and move little at a time. From now on
 * the process ignores SIGPIPE.
 */
Channel *channel_new_pipe(int rfd, int wfd);
void channel_free(Channel *ch);                /* closes; NULL ok */
/* Of a pair: the one to read from. */
int channel_fd(const Channel *ch);
/* Suspends. At most @len bytes, 0 at the end of stream, or -errno. */
ssize_t channel_read(Co *co, Channel *ch, void *buf, size_t len);
/* Suspends until all is there: 1; 0 if the stream ended before the first
 * byte; -EPIPE in the middle; other -errno. */
int channel_read_all(Co *co, Channel *ch, void *buf, size_t len);
int channel_readv_all(Co *co, Channel *ch, struct iovec *iov, int niov);
/* Suspends until all is written; the array is consumed. 0 or -errno. */
int channel_writev_all(Co *co, Channel *ch, struct iovec *iov, int niov);
int channel_write_all(Co *co, Channel *ch, const void *buf, size_t len);
/* Ends both directions: the reader gets the end of stream, the writer -EPIPE.
 * From the channel's loop. */
void channel_shutdown(Channel *ch);
/* "unix:/path", "1.2.3.4:10809"; for messages. Caller frees. */
char *channel_peer_name(const Channel *ch);

/* A layer on a channel (TLS): replaces how bytes move. */
typedef struct ChannelLayer {
    ssize_t (*read)(Co *co, Channel *ch, void *layer, void *buf, size_t len);
    ssize_t (*writev)(Co *co, Channel *ch, void *layer,
                      const struct iovec *iov, int niov);
    void (*free)(void *layer);
} ChannelLayer;
/* Owns @layer from now on. */
void channel_push_layer(Channel *ch, const ChannelLayer *ops, void *layer);
/* The layer, if it is one of @ops, or NULL. */
void *channel_layer(const Channel *ch, const ChannelLayer *ops);
/* What a layer itself reads and writes with. */
ssize_t channel_raw_read(Co *co, Channel *ch, void *buf, size_t len);
ssize_t channel_raw_writev(Co *co, Channel *ch, const struct iovec *iov,
                           int niov);

/* ---- util/channel-socket.c ---- */

/* An address as the command line and QMP give it, free of QAPI. */
typedef enum SockKind { SOCK_INET, SOCK_UNIX, SOCK_VSOCK, SOCK_FD } SockKind;
typedef struct SockAddr {
    SockKind kind;
    const char *host, *port;    /* inet; port may be "0" or a service name */
    int port_to;                /* inet: tries ports up to this one; 0: off */
    int ipv4, ipv6;             /* -1 unset, 0 off, 1 on */
    bool keep_alive, numeric;
    const char *path;           /* unix */
    bool abstract, tight;       /* unix; tight is true unless asked otherwise */
    const char *cid;            /* vsock, with port */
    const char *fd_name;        /* fd: a number */
} SockAddr;

/*
 * Listening sockets, non-blocking; messages as QEMU's. Blocking name look-ups
 * go through a worker. A socket that is in the way on a Unix path is unlinked
 * first; anything else there is an error. The path gets the permissions that
 * the umask leaves, from the beginning.
 *
 * A name may stand for several addresses (the empty one: all of IPv4 and
 * all of IPv6): the _all form listens on each that works and returns how many
 * (*@fds: caller frees), the other takes the first. -1 on error.
 */
int sock_listen_all(Co *co, const SockAddr *addr, int backlog, int **fds,
                    Error **errp);
int sock_listen(Co *co, const SockAddr *addr, int backlog, Error **errp);
/* Closes a listening socket and removes its path. */
void sock_unlisten(int fd);
/* A connected, non-blocking socket or -1. Suspends. */
int sock_connect(Co *co, const SockAddr *addr, Error **errp);
/* The address a socket is really bound to (the port the system chose), or of
 * its peer: "unix:/path", "unix:@abstract", "1.2.3.4:10809", "[::1]:10809",
 * "vsock:3:10809". Caller frees. */
char *sock_local_name(int fd);
char *sock_peer_name(int fd);
int sock_local_port(int fd);           /* inet and vsock, else 0 */

#endif
