/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Byte streams: a socket (one fd, non-blocking) or a pair of pipes (two fds,
 * blocking, see below), and at most one layer on top of it.
 *
 *     channel_read, channel_writev      what users call
 *            |                  \
 *         layer (TLS)            |      encrypts, calls the raw ones
 *            |                  /
 *     channel_raw_read, _raw_writev     the kernel
 *
 * The standard streams share their open file with other processes: to make
 * them non-blocking would do the same to those. So a pair waits for readiness
 * and then moves no more than is sure not to block: what a read finds, and
 * PIPE_BUF bytes for a write.
 *
 * A channel keeps nothing that belongs to a loop: its user may take it along
 * to another one between two operations.
 */
#include "util/channel.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

struct Channel {
    int rfd, wfd;           /* equal: a socket */
    bool down;              /* a pair that has been shut down */
    Co *reader, *writer;    /* who waits on a pair */
    const ChannelLayer *ops;
    void *layer;
};

Channel *channel_new_fd(int fd)
{
    Channel *ch = g_new0(Channel, 1);
    int one = 1;

    ch->rfd = ch->wfd = fd;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    /* Fails on what is not TCP, and need not be known there. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return ch;
}

Channel *channel_new_pipe(int rfd, int wfd)
{
    Channel *ch = g_new0(Channel, 1);

    g_assert(rfd != wfd);
    ch->rfd = rfd;
    ch->wfd = wfd;
    signal(SIGPIPE, SIG_IGN);
    return ch;
}

static bool channel_is_socket(const Channel *ch)
{
    return ch->rfd == ch->wfd;
}

void channel_free(Channel *ch)
{
    if (!ch) {
        return;
    }
    g_assert(!ch->reader && !ch->writer);
    if (ch->ops && ch->ops->free) {
        ch->ops->free(ch->layer);
    }
    close(ch->rfd);
    if (!channel_is_socket(ch)) {
        close(ch->wfd);
    }
    g_free(ch);
}

int channel_fd(const Channel *ch)
{
    return ch->rfd;
}

void channel_push_layer(Channel *ch, const ChannelLayer *ops, void *layer)
{
    g_assert(!ch->ops);
    ch->ops = ops;
    ch->layer = layer;
}

void *channel_layer(const Channel *ch, const ChannelLayer *ops)
{
    return ch->ops == ops ? ch->layer : NULL;
}

void channel_shutdown(Channel *ch)
{
    if (channel_is_socket(ch)) {
        shutdown(ch->rfd, SHUT_RDWR);
        return;
    }
    ch->down = true;
    if (ch->reader) {
        co_io_cancel(ch->reader);
    }
    if (ch->writer) {
        co_io_cancel(ch->writer);
    }
}

char *channel_peer_name(const Channel *ch)
{
    return channel_is_socket(ch) ? sock_peer_name(ch->rfd)
                                 : g_strdup_printf("fd:%d", ch->rfd);
}

/* ---- the kernel ---- */

static ssize_t pair_read(Co *co, Channel *ch, void *buf, size_t len)
{
    ssize_t n;
    int ret;

    while (!ch->down) {
        ch->reader = co;
        ret = co_poll(co, ch->rfd, POLLIN);
        ch->reader = NULL;
        if (ret < 0 && ret != -ECANCELED) {
            return ret;
        }
        if (ret > 0) {
            n = read(ch->rfd, buf, len);
            if (n >= 0) {
                return n;
            }
            if (errno != EINTR && errno != EAGAIN) {
                return -errno;
            }
        }
    }
    return 0;
}

static ssize_t pair_write(Co *co, Channel *ch, const void *buf, size_t len)
{
    ssize_t n;
    int ret;

    while (!ch->down) {
        ch->writer = co;
        ret = co_poll(co, ch->wfd, POLLOUT);
        ch->writer = NULL;
        if (ret < 0 && ret != -ECANCELED) {
            return ret;
        }
        if (ret > 0) {
            n = write(ch->wfd, buf, MIN(len, PIPE_BUF));
            if (n >= 0) {
                return n;
            }
            if (errno != EINTR && errno != EAGAIN) {
                return -errno;
            }
        }
    }
    return -EPIPE;
}

ssize_t channel_raw_read(Co *co, Channel *ch, void *buf, size_t len)
{
    return channel_is_socket(ch) ? co_recv(co, ch->rfd, buf, len)
                                 : pair_read(co, ch, buf, len);
}

ssize_t channel_raw_writev(Co *co, Channel *ch, const struct iovec *iov,
                           int niov)
{
    struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = niov };

    if (channel_is_socket(ch)) {
        return co_sendmsg(co, ch->wfd, &msg, 0);
    }
    while (niov > 1 && iov->iov_len == 0) {
        iov++;
        niov--;
    }
    return pair_write(co, ch, iov->iov_base, iov->iov_len);
}

/* ---- reading ---- */

ssize_t channel_read(Co *co, Channel *ch, void *buf, size_t len)
{
    return ch->ops ? ch->ops->read(co, ch, ch->layer, buf, len)
                   : channel_raw_read(co, ch, buf, len);
}

int channel_read_all(Co *co, Channel *ch, void *buf, size_t len)
{
    struct iovec iov = { buf, len };

    return channel_readv_all(co, ch, &iov, 1);
}

int channel_readv_all(Co *co, Channel *ch, struct iovec *iov, int niov)
{
    bool begun = false;
    ssize_t n;

    niov = iov_advance(&iov, niov, 0);
    while (niov > 0) {
        n = channel_read(co, ch, iov->iov_base, iov->iov_len);
        if (n < 0) {
            return n;
        }
        if (n == 0) {
            return begun ? -EPIPE : 0;
        }
        begun = true;
        niov = iov_advance(&iov, niov, n);
    }
    return 1;
}

/* ---- writing ---- */

int channel_writev_all(Co *co, Channel *ch, struct iovec *iov, int niov)
{
    ssize_t n;

    niov = iov_advance(&iov, niov, 0);
    while (niov > 0) {
        n = ch->ops ? ch->ops->writev(co, ch, ch->layer, iov, niov)
                    : channel_raw_writev(co, ch, iov, niov);
        if (n < 0) {
            return n;
        }
        niov = iov_advance(&iov, niov, n);
    }
    return 0;
}

int channel_write_all(Co *co, Channel *ch, const void *buf, size_t len)
{
    struct iovec iov = { (void *)buf, len };

    return channel_writev_all(co, ch, &iov, 1);
}
