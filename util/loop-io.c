/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * I/O of coroutines: the same for both engines as far as it can be.
 *
 * Files go to the engine, unless the caller has reason to think that their
 * bytes are at hand (co_preadv_now, co_pwritev_now): to copy them at once costs
 * less than a way through the ring, far less than one through its workers where
 * the kernel sends buffered writes to most file systems, or through ours. But a
 * coroutine that never suspends would keep the loop from all others, so a turn
 * of the loop has only so many bytes of it.
 *
 * Sockets, by measurement (tests/bench/bench-loop.c, requests of 28 bytes and
 * replies of 4 KiB over a Unix socket at depth 1 and 32):
 *
 * - A send is tried at once and waits for readiness only where the kernel says
 *   "not now": the peer gets to work while we go on, which the ring would put
 *   off to the end of the iteration.
 * - A stream's reader comes back after it has emptied the socket, so an
 *   attempt would mostly fail. Through the ring, receiving takes no system call
 *   of its own: 5 to 10 % less time per request than attempt, poll, attempt.
 * - The rest (accept, connect, ancillary data) is rare: attempt, then poll.
 */
#include "util/co-impl.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define CONNECT_RETRY_NS (5 * 1000 * 1000)
#define FILE_RETRY_NS (1000 * 1000)

/* What is done on the spot: the longest request; a call is as dear as so many
 * bytes. */
#define LOOP_NOW_MAX (256 * KiB)
#define LOOP_NOW_CALL (4 * KiB)

/* What RWF_NOWAIT is, for C libraries that don't know it. */
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif

static const LoopEngine *co_engine(const Co *co)
{
    return co_loop(co)->engine;
}

/* The ring does not do again what a signal has cut off, and hands on what a device
 * has no room for at the moment: nothing has been done. */
static bool co_file_again(Co *co, ssize_t ret)
{
    if (G_UNLIKELY(ret == -EAGAIN)) {
        co_sleep(co, FILE_RETRY_NS);
    }
    return G_UNLIKELY(ret == -EINTR || ret == -EAGAIN);
}

ssize_t co_preadv(Co *co, int fd, const struct iovec *iov, int niov,
                  int64_t off)
{
    ssize_t n;

    do {
        n = co_engine(co)->preadv(co, fd, iov, MIN(niov, IOV_MAX), off);
    } while (co_file_again(co, n));
    return n;
}

ssize_t co_pwritev(Co *co, int fd, const struct iovec *iov, int niov,
                   int64_t off, int flags)
{
    ssize_t n;

    do {
        n = co_engine(co)->pwritev(co, fd, iov, MIN(niov, IOV_MAX), off,
                                   flags);
    } while (co_file_again(co, n));
    return n;
}

/* Whether a request may be carried out on the spot. */
static bool loop_take_now(Loop *loop, int64_t len)
{
    if (len > LOOP_NOW_MAX || loop->now_bytes > LOOP_NOW_BYTES ||
        loop->engine->pick) {
        return false;
    }
    loop->now_bytes += len + LOOP_NOW_CALL;
    return true;
}

ssize_t co_preadv_now(Co *co, int fd, const struct iovec *iov, int niov,
                      int64_t off, int64_t len, bool memory)
{
    ssize_t n;

    if (!loop_take_now(co_loop(co), len)) {
        return -EAGAIN;
    }
    n = preadv2(fd, iov, MIN(niov, IOV_MAX), off, memory ? 0 : RWF_NOWAIT);
    return n < 0 ? -errno : n;
}

ssize_t co_pwritev_now(Co *co, int fd, const struct iovec *iov, int niov,
                       int64_t off, int64_t len, int flags, bool memory)
{
    ssize_t n;

    if (!loop_take_now(co_loop(co), len)) {
        return -EAGAIN;
    }
    n = pwritev2(fd, iov, MIN(niov, IOV_MAX), off,
                 flags | (memory ? 0 : RWF_NOWAIT));
    return n < 0 ? -errno : n;
}

int co_fdatasync(Co *co, int fd)
{
    return co_engine(co)->fdatasync(co, fd);
}

int co_fallocate(Co *co, int fd, int mode, int64_t off, int64_t len)
{
    return co_engine(co)->fallocate(co, fd, mode, off, len);
}

int co_poll(Co *co, int fd, int events)
{
    return co_engine(co)->poll(co, fd, events);
}

/* After a failed attempt: 0 to try again, or -errno. */
static int co_io_again(Co *co, int fd, int events)
{
    int ret = -errno;

    if (ret == -EINTR) {
        return 0;
    }
    if (ret != -EAGAIN) {
        return ret;
    }
    ret = co_poll(co, fd, events);
    return ret < 0 ? ret : 0;
}

ssize_t co_recv(Co *co, int fd, void *buf, size_t len)
{
    ssize_t n;
    int ret = 0;

    if (co_engine(co)->recv) {
        return co_engine(co)->recv(co, fd, buf, len);
    }
    while (ret == 0) {
        n = recv(fd, buf, len, MSG_DONTWAIT);
        if (n >= 0) {
            return n;
        }
        ret = co_io_again(co, fd, POLLIN);
    }
    return ret;
}

ssize_t co_recvmsg(Co *co, int fd, struct msghdr *msg, int flags)
{
    struct msghdr m;
    ssize_t n;
    int ret = 0;

    while (ret == 0) {
        m = *msg;
        m.msg_iovlen = MIN(m.msg_iovlen, IOV_MAX);
        n = recvmsg(fd, &m, flags | MSG_DONTWAIT);
        if (n >= 0) {
            msg->msg_namelen = m.msg_namelen;
            msg->msg_controllen = m.msg_controllen;
            msg->msg_flags = m.msg_flags;
            return n;
        }
        ret = co_io_again(co, fd, POLLIN);
    }
    return ret;
}

ssize_t co_sendmsg(Co *co, int fd, const struct msghdr *msg, int flags)
{
    struct msghdr m = *msg;
    ssize_t n;
    int ret = 0;

    m.msg_iovlen = MIN(m.msg_iovlen, IOV_MAX);
    while (ret == 0) {
        n = sendmsg(fd, &m, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            return n;
        }
        ret = co_io_again(co, fd, POLLOUT);
    }
    return ret;
}

int co_accept(Co *co, int fd)
{
    int conn, ret = 0;

    while (ret == 0) {
        conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (conn >= 0) {
            return conn;
        }
        /* The peer has gone before we came: that is nobody's error. */
        ret = errno == ECONNABORTED ? 0 : co_io_again(co, fd, POLLIN);
    }
    return ret;
}

/* A poll may be woken before a socket is connected or has failed: io_uring tells of
 * room to write in a vsock that waits for its peer. */
static int co_connect_finish(Co *co, int fd)
{
    for (;;) {
        struct sockaddr_storage peer;
        socklen_t peer_len = sizeof(peer);
        int err = 0, ret = co_poll(co, fd, POLLOUT);
        socklen_t len = sizeof(err);

        if (ret < 0) {
            return ret;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0) {
            return -errno;
        }
        if (err || getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0) {
            return -err;
        }
        co_sleep(co, CONNECT_RETRY_NS);
    }
}

int co_connect(Co *co, int fd, const void *addr, unsigned addrlen)
{
    for (;;) {
        if (connect(fd, addr, addrlen) == 0) {
            return 0;
        }
        switch (errno) {
        case EINPROGRESS:
        case EINTR:
            return co_connect_finish(co, fd);
        case EAGAIN:
            /* A Unix listener whose backlog is full: there is no event for
             * "room again". */
            co_sleep(co, CONNECT_RETRY_NS);
            break;
        default:
            return -errno;
        }
    }
}
