/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The epoll engine: readiness from epoll, files by the worker pool. For places
 * where io_uring is refused.
 *
 * Waiters hang on a watch of their fd, a list of LoopOp on the stacks of the
 * waiting coroutines. A watch is armed one-shot with the union of what its
 * waiters want, and anew after each event and each change of the list; so an
 * fd that nobody waits for never wakes us. The kernel forgets an fd that is
 * closed; the watch learns of it by ENOENT when it arms the number's next
 * owner.
 *
 * Files that epoll refuses (EPERM: regular files, directories) are always
 * ready, as poll(2) has it.
 */
#include "util/co-impl.h"
#include "util/worker.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>

#define EPOLL_BATCH 64

/* The low bits of the two interfaces are the same by definition. */
G_STATIC_ASSERT(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT &&
                POLLERR == EPOLLERR && POLLHUP == EPOLLHUP &&
                POLLPRI == EPOLLPRI && POLLRDHUP == EPOLLRDHUP);

typedef struct EpollLoop {
    int fd;
    GHashTable *watches;    /* fd to LoopOp, the list of its waiters */
} EpollLoop;

static EpollLoop *epoll_of(Loop *loop)
{
    return loop->engine_state;
}

static bool epoll_init(Loop *loop, Error **errp)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.fd = loop->event_fd };
    autofd int fd = epoll_create1(EPOLL_CLOEXEC);
    EpollLoop *e;

    if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, loop->event_fd, &ev) < 0) {
        error_setg_errno(errp, errno, "Failed to set up epoll");
        return false;
    }
    e = g_new0(EpollLoop, 1);
    e->fd = fd_steal(&fd);
    e->watches = g_hash_table_new(NULL, NULL);
    loop->engine_state = e;
    return true;
}

static void epoll_free(Loop *loop)
{
    EpollLoop *e = epoll_of(loop);

    g_assert(g_hash_table_size(e->watches) == 0);
    g_hash_table_unref(e->watches);
    close(e->fd);
    g_free(e);
}

/* ---- watches ---- */

static LoopOp *watch_get(EpollLoop *e, int fd)
{
    return g_hash_table_lookup(e->watches, GINT_TO_POINTER(fd));
}

static void watch_set(EpollLoop *e, int fd, LoopOp *first)
{
    if (first) {
        g_hash_table_insert(e->watches, GINT_TO_POINTER(fd), first);
    } else {
        g_hash_table_remove(e->watches, GINT_TO_POINTER(fd));
    }
}

/* Tells the kernel what the waiters of @fd want now; 0 or -errno. */
static int watch_arm(EpollLoop *e, int fd)
{
    struct epoll_event ev = { .events = EPOLLONESHOT, .data.fd = fd };
    LoopOp *op = watch_get(e, fd);

    if (!op) {
        epoll_ctl(e->fd, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    for (; op; op = op->next) {
        ev.events |= op->events;
    }
    if (epoll_ctl(e->fd, EPOLL_CTL_MOD, fd, &ev) == 0) {
        return 0;
    }
    if (errno == ENOENT && epoll_ctl(e->fd, EPOLL_CTL_ADD, fd, &ev) == 0) {
        return 0;
    }
    return -errno;
}

static void watch_add(EpollLoop *e, LoopOp *op)
{
    op->next = watch_get(e, op->fd);
    watch_set(e, op->fd, op);
}

static void watch_remove(EpollLoop *e, LoopOp *op)
{
    LoopOp *first = watch_get(e, op->fd), **link = &first;

    while (*link != op) {
        link = &(*link)->next;
    }
    *link = op->next;
    watch_set(e, op->fd, first);
}

/* An event has come: ends those who asked for it, arms again for the rest. */
static void watch_fire(EpollLoop *e, int fd, unsigned events)
{
    LoopOp *op = watch_get(e, fd), *next, *rest = NULL;
    bool armed = true;

    for (; op; op = next) {
        unsigned hit = events & (op->events | POLLERR | POLLHUP);

        next = op->next;
        if (hit) {
            co_op_done(op, hit);
        } else {
            op->next = rest;
            rest = op;
            armed = false;
        }
    }
    watch_set(e, fd, rest);
    if (!armed && watch_arm(e, fd) < 0) {
        watch_fire(e, fd, POLLNVAL | POLLERR);
    }
}

/* ---- the turn ---- */

static void epoll_drain_event_fd(Loop *loop)
{
    uint64_t count;

    if (read(loop->event_fd, &count, sizeof(count)) < 0 && errno != EINTR) {
        g_error("eventfd of loop %s: %s", loop->name, g_strerror(errno));
    }
}

/* Milliseconds, rounded up: a timer must not be early. */
static int epoll_ms(int64_t timeout)
{
    return timeout <= 0 ? timeout
                        : MIN(DIV_ROUND_UP(timeout, 1000000), INT_MAX);
}

static void epoll_turn(Loop *loop, int64_t timeout)
{
    EpollLoop *e = epoll_of(loop);
    struct epoll_event events[EPOLL_BATCH];
    int n = epoll_wait(e->fd, events, EPOLL_BATCH, epoll_ms(timeout));

    if (n < 0 && errno != EINTR) {
        g_error("epoll_wait: %s", g_strerror(errno));
    }
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == loop->event_fd) {
            epoll_drain_event_fd(loop);
        } else {
            watch_fire(e, events[i].data.fd, events[i].events);
        }
    }
}

static int epoll_poll(Co *co, int fd, int events)
{
    EpollLoop *e = epoll_of(co->loop);
    LoopOp op = { .fd = fd, .events = events, .cancellable = true };
    int ret;

    watch_add(e, &op);
    ret = watch_arm(e, fd);
    if (ret < 0) {
        watch_remove(e, &op);
        if (ret != -EPERM) {
            return ret;
        }
        co_yield(co);
        return events & (POLLIN | POLLOUT);
    }
    return co_op_wait(co, &op);
}

static void epoll_cancel(Loop *loop, LoopOp *op)
{
    EpollLoop *e = epoll_of(loop);

    watch_remove(e, op);
    watch_arm(e, op->fd);
    co_op_done(op, -ECANCELED);
}

/* ---- files: blocking calls in the worker pool ---- */

typedef struct FileCall {
    int fd;
    const struct iovec *iov;
    int niov;
    int flags;              /* pwritev2's, or fallocate's mode */
    int64_t off;
    int64_t len;
} FileCall;

static int64_t file_preadv(void *arg)
{
    FileCall *c = arg;
    ssize_t n;

    do {
        n = preadv(c->fd, c->iov, c->niov, c->off);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int64_t file_pwritev(void *arg)
{
    FileCall *c = arg;
    ssize_t n;

    do {
        n = pwritev2(c->fd, c->iov, c->niov, c->off, c->flags);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int64_t file_fdatasync(void *arg)
{
    FileCall *c = arg;

    return fdatasync(c->fd) < 0 ? -errno : 0;
}

static int64_t file_fallocate(void *arg)
{
    FileCall *c = arg;
    int ret;

    do {
        ret = fallocate(c->fd, c->flags, c->off, c->len);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

static ssize_t epoll_preadv(Co *co, int fd, const struct iovec *iov, int niov,
                            int64_t off)
{
    FileCall c = { .fd = fd, .iov = iov, .niov = niov, .off = off };

    return worker_run_brief(co, file_preadv, &c);
}

static ssize_t epoll_pwritev(Co *co, int fd, const struct iovec *iov, int niov,
                             int64_t off, int flags)
{
    FileCall c = { .fd = fd, .iov = iov, .niov = niov, .off = off,
                   .flags = flags };

    return worker_run_brief(co, file_pwritev, &c);
}

static int epoll_fdatasync(Co *co, int fd)
{
    FileCall c = { .fd = fd };

    return worker_run_brief(co, file_fdatasync, &c);
}

static int epoll_fallocate(Co *co, int fd, int mode, int64_t off, int64_t len)
{
    FileCall c = { .fd = fd, .flags = mode, .off = off, .len = len };

    return worker_run_brief(co, file_fallocate, &c);
}

const LoopEngine loop_epoll = {
    .name = "epoll",
    .init = epoll_init,
    .free = epoll_free,
    .turn = epoll_turn,
    .preadv = epoll_preadv,
    .pwritev = epoll_pwritev,
    .fdatasync = epoll_fdatasync,
    .fallocate = epoll_fallocate,
    .poll = epoll_poll,
    .cancel = epoll_cancel,
};
