/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* I/O of coroutines on files and sockets; run once for each engine. */
#include "co-test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static int temp_file(void)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("loop-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    unlink(path);
    return fd;
}

static void socket_pair(int fds[2])
{
    g_assert_cmpint(socketpair(AF_UNIX,
                               SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                               fds), ==, 0);
}

/* ---- files ---- */

static void file_main(Co *co, void *arg)
{
    autofd int fd = temp_file();
    char a[100], b[5000], c[5100];
    struct iovec two[] = { { a, sizeof(a) }, { b, sizeof(b) } };
    struct iovec one = { c, sizeof(c) };
    struct stat st;

    memset(a, 'a', sizeof(a));
    memset(b, 'b', sizeof(b));
    g_assert_cmpint(co_pwritev(co, fd, two, 2, 1000, 0), ==, 5100);
    g_assert_cmpint(co_preadv(co, fd, &one, 1, 1000), ==, 5100);
    g_assert_true(memcmp(c, a, 100) == 0 && memcmp(c + 100, b, 5000) == 0);
    g_assert_cmpint(co_preadv(co, fd, &one, 1, 6000), ==, 100);
    g_assert_cmpint(co_preadv(co, fd, &one, 1, 6100), ==, 0);
    memset(c, 'c', sizeof(c));
    g_assert_cmpint(co_pwritev(co, fd, &one, 1, 0, RWF_DSYNC), ==, 5100);
    g_assert_cmpint(co_preadv(co, fd, two, 2, 0), ==, 5100);
    g_assert_cmpint(a[0], ==, 'c');
    g_assert_cmpint(co_fdatasync(co, fd), ==, 0);
    g_assert_cmpint(co_fallocate(co, fd, 0, 0, 1 << 20), ==, 0);
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 1 << 20);
    g_assert_cmpint(co_fallocate(co, fd, 0, 0, 0), ==, -EINVAL);
}

static void test_file(void)
{
    co_test_run_alone(file_main, NULL);
}

/* A coroutine that does everything on the spot must let others run. */
static void now_other(Co *co, void *arg)
{
    *(bool *)arg = true;
}

static void file_now_main(Co *co, void *arg)
{
    autofd int fd = memfd_create("loop", MFD_CLOEXEC);
    static char big[512 * 1024];
    char a[4096];
    struct iovec iov = { a, sizeof(a) }, large = { big, sizeof(big) };
    bool ran = false;
    ssize_t n;
    int calls;

    memset(a, 'a', sizeof(a));
    g_assert_cmpint(co_pwritev_now(co, fd, &iov, 1, 100, sizeof(a), 0, true),
                    ==, sizeof(a));
    a[0] = 0;
    g_assert_cmpint(co_preadv_now(co, fd, &iov, 1, 100, sizeof(a), true),
                    ==, sizeof(a));
    g_assert_cmpint(a[0], ==, 'a');
    g_assert_cmpint(co_preadv_now(co, fd, &iov, 1, 4196, sizeof(a), true),
                    ==, 0);
    g_assert_cmpint(co_preadv_now(co, -1, &iov, 1, 0, sizeof(a), true),
                    ==, -EBADF);
    g_assert_cmpint(co_pwritev_now(co, fd, &large, 1, 0, sizeof(big), 0, true),
                    ==, -EAGAIN);

    co_spawn(co_loop(co), now_other, &ran);
    for (calls = 0; calls < 10000; calls++) {
        n = co_preadv_now(co, fd, &iov, 1, 0, sizeof(a), true);
        if (n == -EAGAIN) {
            break;
        }
        g_assert_cmpint(n, >, 0);
        g_assert_false(ran);
    }
    g_assert_cmpint(calls, <, 10000);
    co_sleep(co, 1);
    g_assert_true(ran);
    g_assert_cmpint(co_preadv_now(co, fd, &iov, 1, 0, sizeof(a), true), >, 0);
}

static void test_file_now(void)
{
    co_test_run_alone(file_now_main, NULL);
}

/* What is in the page cache is there at once; what is not leaves the file as
 * it is and is -EAGAIN. Writes: where the file system can do it. */
static void file_cached_main(Co *co, void *arg)
{
    autofd int fd = temp_file();
    char a[4096], b[4096];
    struct iovec iov = { a, sizeof(a) }, back = { b, sizeof(b) };
    ssize_t n;

    memset(a, 'x', sizeof(a));
    g_assert_cmpint(co_pwritev(co, fd, &iov, 1, 0, 0), ==, sizeof(a));
    n = co_preadv_now(co, fd, &back, 1, 0, sizeof(b), false);
    g_assert_true(n == sizeof(b) || n == -EAGAIN || n == -EOPNOTSUPP);
    if (n > 0) {
        g_assert_cmpmem(b, n, a, n);
    }
    memset(a, 'y', sizeof(a));
    n = co_pwritev_now(co, fd, &iov, 1, 0, sizeof(a), 0, false);
    g_assert_true(n == sizeof(a) || n == -EAGAIN || n == -EOPNOTSUPP);
    g_assert_cmpint(co_preadv(co, fd, &back, 1, 0), ==, sizeof(b));
    g_assert_cmpint(b[0], ==, n > 0 ? 'y' : 'x');
}

static void test_file_cached(void)
{
    co_test_run_alone(file_cached_main, NULL);
}

static void file_errors_main(Co *co, void *arg)
{
    autofd int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    autofd int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    char c = 0;
    struct iovec iov = { &c, 1 };

    g_assert_cmpint(co_pwritev(co, fd, &iov, 1, 0, 0), ==, -EBADF);
    g_assert_cmpint(co_pwritev(co, full, &iov, 1, 0, 0), ==, -ENOSPC);
    g_assert_cmpint(co_preadv(co, -1, &iov, 1, 0), ==, -EBADF);
    g_assert_cmpint(co_fdatasync(co, -1), ==, -EBADF);
    g_assert_cmpint(co_poll(co, -1, POLLIN), <, 0);
}

static void test_file_errors(void)
{
    co_test_run_alone(file_errors_main, NULL);
}

/* More buffers than the kernel takes at once: a short transfer, no error. */
static void many_buffers_main(Co *co, void *arg)
{
    autofd int fd = temp_file();
    g_autofree char *data = g_malloc(3000);
    g_autofree struct iovec *iov = g_new(struct iovec, 3000);

    for (int i = 0; i < 3000; i++) {
        data[i] = i;
        iov[i] = (struct iovec){ data + i, 1 };
    }
    g_assert_cmpint(co_pwritev(co, fd, iov, 3000, 0, 0), ==, IOV_MAX);
    memset(data, 0, 3000);
    g_assert_cmpint(co_preadv(co, fd, iov, 3000, 0), ==, IOV_MAX);
    g_assert_cmpint(data[77], ==, 77);
}

static void test_many_buffers(void)
{
    co_test_run_alone(many_buffers_main, NULL);
}

typedef struct FileJob {
    int fd;
    int *left;
    Co *parent;
    int64_t off;
} FileJob;

static void file_job(Co *co, void *arg)
{
    FileJob *job = arg;
    int64_t buf[512], got[512];
    struct iovec out = { buf, sizeof(buf) }, in = { got, sizeof(got) };

    for (int i = 0; i < 512; i++) {
        buf[i] = job->off + i;
    }
    g_assert_cmpint(co_pwritev(co, job->fd, &out, 1, job->off, 0), ==, 4096);
    g_assert_cmpint(co_preadv(co, job->fd, &in, 1, job->off), ==, 4096);
    g_assert_true(memcmp(buf, got, 4096) == 0);
    if (--*job->left == 0) {
        co_wake(job->parent);
    }
}

static void crowd_main(Co *co, void *arg)
{
    enum { N = 1500 };
    autofd int fd = temp_file();
    g_autofree FileJob *jobs = g_new(FileJob, N);
    int left = N;

    for (int i = 0; i < N; i++) {
        jobs[i] = (FileJob){ fd, &left, co, i * 4096 };
        co_spawn(co_loop(co), file_job, &jobs[i]);
    }
    co_suspend(co);
    g_assert_cmpint(left, ==, 0);
}

/* More requests at once than the submission queue holds. */
static void test_crowd(void)
{
    co_test_run_alone(crowd_main, NULL);
}

/* ---- sockets ---- */

typedef struct Echo {
    int fd;
    int64_t bytes;
    bool done;
} Echo;

static void echo_main(Co *co, void *arg)
{
    Echo *e = arg;
    char buf[8000];
    ssize_t n;

    while ((n = co_recv(co, e->fd, buf, sizeof(buf))) > 0) {
        for (ssize_t done = 0, m; done < n; done += m) {
            struct iovec iov = { buf + done, n - done };
            struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

            m = co_sendmsg(co, e->fd, &msg, 0);
            g_assert_cmpint(m, >, 0);
        }
        e->bytes += n;
    }
    g_assert_cmpint(n, ==, 0);
    e->done = true;
}

static void pump_out(Co *co, void *arg)
{
    Echo *e = arg;
    g_autofree char *buf = g_malloc0(100000);

    for (int64_t left = e->bytes; left > 0;) {
        struct iovec iov = { buf, MIN(left, 100000) };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n = co_sendmsg(co, e->fd, &msg, 0);

        g_assert_cmpint(n, >, 0);
        left -= n;
    }
    shutdown(e->fd, SHUT_WR);
}

/* A reader and a writer on one fd, both of which must wait at times. */
static void socket_main(Co *co, void *arg)
{
    char buf[3000];
    int fds[2];
    Echo echo, out;
    int64_t got = 0;
    ssize_t n;

    socket_pair(fds);
    echo = (Echo){ fds[1], 0, false };
    out = (Echo){ fds[0], 20 * MiB, false };
    co_spawn(co_loop(co), echo_main, &echo);
    co_spawn(co_loop(co), pump_out, &out);
    while (got < out.bytes) {
        struct iovec iov = { buf, sizeof(buf) };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

        n = got % 2 ? co_recvmsg(co, fds[0], &msg, 0)
                    : co_recv(co, fds[0], buf, sizeof(buf));
        g_assert_cmpint(n, >, 0);
        got += n;
    }
    while (!echo.done) {
        co_sleep(co, 1000000);
    }
    g_assert_cmpint(echo.bytes, ==, out.bytes);
    close(fds[0]);
    close(fds[1]);
}

static void test_socket(void)
{
    co_test_run_alone(socket_main, NULL);
}

static void socket_errors_main(Co *co, void *arg)
{
    char c = 0;
    struct iovec iov = { &c, 1 };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    int fds[2];

    socket_pair(fds);
    close(fds[1]);
    g_assert_cmpint(co_sendmsg(co, fds[0], &msg, 0), ==, -EPIPE);
    g_assert_cmpint(co_recv(co, fds[0], &c, 1), ==, 0);
    close(fds[0]);
    g_assert_cmpint(co_recv(co, fds[0], &c, 1), ==, -EBADF);
}

static void test_socket_errors(void)
{
    co_test_run_alone(socket_errors_main, NULL);
}

typedef struct Listener {
    int fd, conn;
    struct sockaddr_un addr;
    socklen_t len;
} Listener;

static void accept_one(Co *co, void *arg)
{
    Listener *l = arg;

    l->conn = co_accept(co, l->fd);
}

static void listener_open(Listener *l)
{
    *l = (Listener){ .conn = -1, .addr.sun_family = AF_UNIX };
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    g_assert_cmpint(l->fd, >=, 0);
    /* The kernel chooses an abstract name. */
    g_assert_cmpint(bind(l->fd, (struct sockaddr *)&l->addr,
                         sizeof(sa_family_t)), ==, 0);
    l->len = sizeof(l->addr);
    g_assert_cmpint(getsockname(l->fd, (struct sockaddr *)&l->addr, &l->len),
                    ==, 0);
}

static void accept_main(Co *co, void *arg)
{
    Listener l;
    int fd, flags;

    listener_open(&l);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    g_assert_cmpint(co_connect(co, fd, &l.addr, l.len), ==, -ECONNREFUSED);
    g_assert_cmpint(listen(l.fd, 0), ==, 0);
    co_spawn(co_loop(co), accept_one, &l);
    co_yield(co);
    g_assert_cmpint(l.conn, ==, -1);
    g_assert_cmpint(co_connect(co, fd, &l.addr, l.len), ==, 0);
    while (l.conn == -1) {
        co_yield(co);
    }
    g_assert_cmpint(l.conn, >=, 0);
    flags = fcntl(l.conn, F_GETFL);
    g_assert_cmpint(flags & O_NONBLOCK, ==, O_NONBLOCK);
    g_assert_cmpint(fcntl(l.conn, F_GETFD), ==, FD_CLOEXEC);
    close(l.conn);
    close(fd);
    close(l.fd);
}

static void test_accept(void)
{
    co_test_run_alone(accept_main, NULL);
}

static void late_acceptor(Co *co, void *arg)
{
    Listener *l = arg;

    co_sleep(co, 20000000);
    for (int i = 0; i < 3; i++) {
        int conn = co_accept(co, l->fd);

        g_assert_cmpint(conn, >=, 0);
        close(conn);
    }
}

/* A backlog that is full makes a connect wait, not fail. */
static void backlog_main(Co *co, void *arg)
{
    Listener l;
    int fds[3];

    listener_open(&l);
    g_assert_cmpint(listen(l.fd, 0), ==, 0);
    co_spawn(co_loop(co), late_acceptor, &l);
    for (int i = 0; i < 3; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        g_assert_cmpint(co_connect(co, fds[i], &l.addr, l.len), ==, 0);
    }
    for (int i = 0; i < 3; i++) {
        char c;

        g_assert_cmpint(co_recv(co, fds[i], &c, 1), ==, 0);
        close(fds[i]);
    }
    close(l.fd);
}

static void test_backlog(void)
{
    co_test_run_alone(backlog_main, NULL);
}

/* ---- poll and cancel ---- */

typedef struct Waiter {
    int fd, events;
    Co *co;
    int ret;
} Waiter;

static void wait_poll(Co *co, void *arg)
{
    Waiter *w = arg;

    w->co = co;
    w->ret = co_poll(co, w->fd, w->events);
    w->co = NULL;
}

static void wait_recv(Co *co, void *arg)
{
    Waiter *w = arg;
    char c;

    w->co = co;
    w->ret = co_recv(co, w->fd, &c, 1);
    w->co = NULL;
}

static void wait_accept(Co *co, void *arg)
{
    Waiter *w = arg;

    w->co = co;
    w->ret = co_accept(co, w->fd);
    w->co = NULL;
}

static void fill(int fd)
{
    char buf[4096] = { 0 };

    while (write(fd, buf, sizeof(buf)) > 0) {
    }
}

static void poll_main(Co *co, void *arg)
{
    autofd int file = temp_file();
    Waiter in, out;
    char buf[4096];
    int fds[2];

    socket_pair(fds);
    g_assert_cmpint(co_poll(co, file, POLLIN) & POLLIN, ==, POLLIN);
    g_assert_cmpint(co_poll(co, fds[0], POLLIN | POLLOUT), ==, POLLOUT);
    fill(fds[0]);
    in = (Waiter){ fds[0], POLLIN, NULL, 0 };
    out = (Waiter){ fds[0], POLLOUT, NULL, 0 };
    co_spawn(co_loop(co), wait_poll, &in);
    co_spawn(co_loop(co), wait_poll, &out);
    co_sleep(co, 5000000);
    g_assert_true(in.co && out.co);
    while (read(fds[1], buf, sizeof(buf)) > 0) {
    }
    co_sleep(co, 5000000);
    g_assert_true(in.co && !out.co);
    g_assert_cmpint(out.ret, ==, POLLOUT);
    g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
    co_sleep(co, 5000000);
    g_assert_true(!in.co);
    g_assert_cmpint(in.ret, ==, POLLIN);
    close(fds[1]);
    g_assert_cmpint(co_poll(co, fds[0], POLLIN) & POLLHUP, ==, POLLHUP);
    close(fds[0]);
}

static void test_poll(void)
{
    co_test_run_alone(poll_main, NULL);
}

static void cancel_one(Co *co, CoFn *fn, int fd, int events)
{
    Waiter w = { fd, events, NULL, 0 }, other = { fd, POLLIN, NULL, 0 };

    co_spawn(co_loop(co), fn, &w);
    co_spawn(co_loop(co), wait_poll, &other);
    co_sleep(co, 1000000);
    g_assert_nonnull(w.co);
    co_io_cancel(w.co);
    co_io_cancel(w.co);
    co_sleep(co, 1000000);
    g_assert_true(!w.co && other.co);
    g_assert_cmpint(w.ret, ==, -ECANCELED);
    co_io_cancel(other.co);
    co_sleep(co, 1000000);
    g_assert_cmpint(other.ret, ==, -ECANCELED);
}

static void sleeper(Co *co, void *arg)
{
    Waiter *w = arg;

    w->co = co;
    co_suspend(co);
    w->co = NULL;
}

static void cancel_main(Co *co, void *arg)
{
    Waiter s = { 0 };
    Listener l;
    int fds[2];

    socket_pair(fds);
    cancel_one(co, wait_poll, fds[0], POLLIN);
    cancel_one(co, wait_recv, fds[0], 0);
    fill(fds[0]);
    cancel_one(co, wait_poll, fds[0], POLLOUT);
    listener_open(&l);
    g_assert_cmpint(listen(l.fd, 1), ==, 0);
    cancel_one(co, wait_accept, l.fd, 0);
    /* Who does not wait for I/O is left alone. */
    co_spawn(co_loop(co), sleeper, &s);
    co_yield(co);
    co_io_cancel(s.co);
    co_yield(co);
    g_assert_nonnull(s.co);
    co_wake(s.co);
    co_yield(co);
    close(fds[0]);
    close(fds[1]);
    close(l.fd);
}

static void test_cancel(void)
{
    co_test_run_alone(cancel_main, NULL);
}

/* A number that is closed and opened again is another file. */
static void reuse_main(Co *co, void *arg)
{
    for (int i = 0; i < 20; i++) {
        Waiter w;
        char c;
        int fds[2];

        socket_pair(fds);
        w = (Waiter){ fds[0], POLLIN, NULL, 0 };
        co_spawn(co_loop(co), wait_poll, &w);
        co_yield(co);
        g_assert_nonnull(w.co);
        g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
        while (w.co) {
            co_yield(co);
        }
        g_assert_cmpint(w.ret, ==, POLLIN);
        g_assert_cmpint(co_recv(co, fds[0], &c, 1), ==, 1);
        close(fds[0]);
        close(fds[1]);
    }
}

static void test_reuse(void)
{
    co_test_run_alone(reuse_main, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop-io/file", test_file);
    g_test_add_func("/loop-io/file-now", test_file_now);
    g_test_add_func("/loop-io/file-cached", test_file_cached);
    g_test_add_func("/loop-io/file-errors", test_file_errors);
    g_test_add_func("/loop-io/many-buffers", test_many_buffers);
    g_test_add_func("/loop-io/crowd", test_crowd);
    g_test_add_func("/loop-io/socket", test_socket);
    g_test_add_func("/loop-io/socket-errors", test_socket_errors);
    g_test_add_func("/loop-io/accept", test_accept);
    g_test_add_func("/loop-io/backlog", test_backlog);
    g_test_add_func("/loop-io/poll", test_poll);
    g_test_add_func("/loop-io/cancel", test_cancel);
    g_test_add_func("/loop-io/reuse", test_reuse);
    return g_test_run();
}
