/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Channels over sockets and pipes, and socket addresses; run once for each
 * engine. */
#include "co-test.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "util/channel.h"

static char *dir;

static char *in_dir(const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static void channel_pair(Channel *ch[2])
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                    ==, 0);
    ch[0] = channel_new_fd(fds[0]);
    ch[1] = channel_new_fd(fds[1]);
}

/* A pair of pipes: what one writes the other reads. */
static void pipe_pair(Channel *ch[2])
{
    int there[2], back[2];

    g_assert_cmpint(pipe2(there, O_CLOEXEC), ==, 0);
    g_assert_cmpint(pipe2(back, O_CLOEXEC), ==, 0);
    ch[0] = channel_new_pipe(back[0], there[1]);
    ch[1] = channel_new_pipe(there[0], back[1]);
}

/* ---- streams ---- */

#define STREAM_LEN (1000 * 1000)

typedef struct Writer {
    Channel *ch;
    const char *data;
    int ret;
    bool done;
} Writer;

static void write_stream(Co *co, void *arg)
{
    Writer *w = arg;
    struct iovec iov[] = {
        { (char *)w->data, 0 },
        { (char *)w->data, 10 },
        { (char *)w->data + 10, 0 },
        { (char *)w->data + 10, STREAM_LEN / 2 },
        { (char *)w->data + 10 + STREAM_LEN / 2, STREAM_LEN / 2 - 10 },
        { NULL, 0 },
    };

    w->ret = channel_writev_all(co, w->ch, iov, ARRAY_SIZE(iov));
    w->done = true;
}

static void stream_over(Co *co, Channel *ch[2])
{
    g_autofree char *data = g_malloc(STREAM_LEN);
    g_autofree char *got = g_malloc0(STREAM_LEN);
    Writer w = { .ch = ch[0], .data = data };
    struct iovec iov[] = {
        { got + 5, 0 },
        { got + 5, 700 },
        { got + 705, STREAM_LEN - 705 },
        { got, 0 },
    };
    char c;

    for (int i = 0; i < STREAM_LEN; i++) {
        data[i] = i * 7 + i / 1000;
    }
    co_spawn(co_loop(co), write_stream, &w);
    g_assert_cmpint(channel_read_all(co, ch[1], got, 5), ==, 1);
    g_assert_cmpint(channel_readv_all(co, ch[1], iov, ARRAY_SIZE(iov)), ==, 1);
    g_assert_true(memcmp(data, got, STREAM_LEN) == 0);
    while (!w.done) {
        co_yield(co);
    }
    g_assert_cmpint(w.ret, ==, 0);

    /* The end: clean, then in the middle. */
    g_assert_cmpint(channel_write_all(co, ch[0], "abc", 3), ==, 0);
    channel_free(ch[0]);
    g_assert_cmpint(channel_read_all(co, ch[1], got, 4), ==, -EPIPE);
    g_assert_cmpint(channel_read_all(co, ch[1], got, 4), ==, 0);
    g_assert_cmpint(channel_read(co, ch[1], &c, 1), ==, 0);
    g_assert_cmpint(channel_write_all(co, ch[1], "abc", 3), ==, -EPIPE);
    channel_free(ch[1]);
}

static void stream_main(Co *co, void *arg)
{
    void (*make)(Channel **) = arg;
    Channel *ch[2];

    make(ch);
    stream_over(co, ch);
}

static void test_stream(void)
{
    co_test_run_alone(stream_main, channel_pair);
    channel_free(NULL);
}

static void test_stream_pipe(void)
{
    co_test_run_alone(stream_main, pipe_pair);
}

static void read_until_end(Co *co, void *arg)
{
    Writer *r = arg;
    char c;

    r->ret = channel_read(co, r->ch, &c, 1);
    r->done = true;
}

static void write_until_end(Co *co, void *arg)
{
    Writer *w = arg;
    static const char data[65536];

    do {
        w->ret = channel_write_all(co, w->ch, data, sizeof(data));
    } while (w->ret == 0);
    w->done = true;
}

static void shutdown_main(Co *co, void *arg)
{
    void (*make)(Channel **) = arg;
    Channel *ch[2];
    Writer r = { 0 }, w = { 0 };

    make(ch);
    r.ch = w.ch = ch[0];
    co_spawn(co_loop(co), read_until_end, &r);
    co_spawn(co_loop(co), write_until_end, &w);
    co_sleep(co, 5000000);
    g_assert_true(!r.done && !w.done);
    channel_shutdown(ch[0]);
    while (!r.done || !w.done) {
        co_yield(co);
    }
    g_assert_cmpint(r.ret, ==, 0);
    g_assert_cmpint(w.ret, ==, -EPIPE);
    channel_free(ch[0]);
    channel_free(ch[1]);
}

/* A shutdown wakes who reads and who writes. */
static void test_shutdown(void)
{
    co_test_run_alone(shutdown_main, channel_pair);
}

static void test_shutdown_pipe(void)
{
    co_test_run_alone(shutdown_main, pipe_pair);
}

/* A layer that turns the bits over. */
static ssize_t not_read(Co *co, Channel *ch, void *layer, void *buf,
                        size_t len)
{
    ssize_t n = channel_raw_read(co, ch, buf, MIN(len, 3));

    for (ssize_t i = 0; i < n; i++) {
        ((char *)buf)[i] ^= 0xff;
    }
    return n;
}

static ssize_t not_writev(Co *co, Channel *ch, void *layer,
                          const struct iovec *iov, int niov)
{
    char c = *(char *)iov->iov_base ^ 0xff;
    struct iovec one = { &c, 1 };

    return channel_raw_writev(co, ch, &one, 1);
}

static void not_free(void *layer)
{
    ++*(int *)layer;
}

static const ChannelLayer not_layer = { not_read, not_writev, not_free };

static void layer_main(Co *co, void *arg)
{
    Channel *ch[2];
    int freed = 0;
    char buf[8] = "";

    channel_pair(ch);
    channel_push_layer(ch[0], &not_layer, &freed);
    g_assert_cmpint(channel_write_all(co, ch[0], "hello", 5), ==, 0);
    g_assert_cmpint(channel_read_all(co, ch[1], buf, 5), ==, 1);
    g_assert_cmpint(buf[0], ==, (char)('h' ^ 0xff));
    g_assert_cmpint(channel_write_all(co, ch[1], buf, 5), ==, 0);
    g_assert_cmpint(channel_read_all(co, ch[0], buf, 5), ==, 1);
    g_assert_cmpstr(buf, ==, "hello");
    channel_free(ch[0]);
    channel_free(ch[1]);
    g_assert_cmpint(freed, ==, 1);
}

static void test_layer(void)
{
    co_test_run_alone(layer_main, NULL);
}

/* ---- addresses ---- */

static void expect_error(Error **err, const char *text)
{
    g_assert_nonnull(*err);
    g_assert_cmpstr(error_get_pretty(*err), ==, text);
    error_clear(err);
}

/* Connects, and hears an answer through what was accepted. */
static void talk(Co *co, int listener, const SockAddr *addr)
{
    Channel *client, *server;
    char buf[2];
    int fd;

    fd = sock_connect(co, addr, &error_abort);
    client = channel_new_fd(fd);
    server = channel_new_fd(co_accept(co, listener));
    g_assert_cmpint(channel_write_all(co, server, "ok", 2), ==, 0);
    g_assert_cmpint(channel_read_all(co, client, buf, 2), ==, 1);
    g_assert_true(memcmp(buf, "ok", 2) == 0);
    channel_free(client);
    channel_free(server);
}

static void unix_main(Co *co, void *arg)
{
    g_autofree char *path = in_dir("s"), *file = in_dir("file");
    g_autofree char *expect = g_strdup_printf("unix:%s", path);
    g_autofree char *name = NULL, *msg = NULL;
    SockAddr addr = { .kind = SOCK_UNIX, .path = path, .tight = true };
    Error *err = NULL;
    struct stat st;
    int fd, again;

    g_assert_cmpint(sock_connect(co, &addr, &err), ==, -1);
    msg = g_strdup_printf("Failed to connect to '%s': "
                          "No such file or directory", path);
    expect_error(&err, msg);
    umask(077);
    fd = sock_listen(co, &addr, 10, &error_abort);
    umask(022);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0700);
    name = sock_local_name(fd);
    g_assert_cmpstr(name, ==, expect);
    g_assert_cmpint(sock_local_port(fd), ==, 0);
    talk(co, fd, &addr);
    again = sock_listen(co, &addr, 10, &error_abort);
    talk(co, again, &addr);
    close(fd);
    g_assert_cmpint(access(path, F_OK), ==, 0);
    sock_unlisten(again);
    g_assert_cmpint(access(path, F_OK), ==, -1);

    /* What is no socket is not removed. */
    g_assert_true(g_file_set_contents(file, "precious", -1, NULL));
    addr.path = file;
    g_free(msg);
    msg = g_strdup_printf("Failed to bind socket to %s: "
                          "Address already in use", file);
    g_assert_cmpint(sock_listen(co, &addr, 10, &err), ==, -1);
    expect_error(&err, msg);
    g_assert_cmpint(stat(file, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 8);
    unlink(file);
    addr.path = "/nonexistent/x";
    g_assert_cmpint(sock_listen(co, &addr, 10, &err), ==, -1);
    expect_error(&err, "Failed to bind socket to /nonexistent/x: "
                       "No such file or directory");
}

static void test_unix(void)
{
    co_test_run_alone(unix_main, NULL);
}

static void unix_names_main(Co *co, void *arg)
{
    g_autofree char *longest = g_strnfill(108, 'x');
    g_autofree char *too_long = g_strnfill(109, 'x');
    g_autofree char *name = g_strdup_printf("block-test-%d", getpid());
    g_autofree char *expect = g_strdup_printf("unix:@%s", name);
    g_autofree char *local = NULL, *peer = NULL, *temp = NULL;
    SockAddr addr = { .kind = SOCK_UNIX, .path = too_long, .tight = true };
    Error *err = NULL;
    Channel *ch;
    int fd, conn;

    g_assert_cmpint(sock_listen(co, &addr, 10, &err), ==, -1);
    g_assert_cmpstr(error_get_hint(err), ==,
                    "Path must be less than 108 bytes\n");
    g_assert_true(g_str_has_suffix(error_get_pretty(err), "' is too long"));
    error_clear(&err);
    addr.path = longest;
    g_assert_cmpint(chdir(dir), ==, 0);
    fd = sock_listen(co, &addr, 10, &error_abort);
    talk(co, fd, &addr);
    sock_unlisten(fd);
    g_assert_cmpint(access(longest, F_OK), ==, -1);

    addr.abstract = true;
    g_assert_cmpint(sock_connect(co, &addr, &err), ==, -1);
    g_assert_cmpstr(error_get_hint(err), ==,
                    "Path must be less than 107 bytes\n");
    error_clear(&err);
    addr.path = name;
    fd = sock_listen(co, &addr, 10, &error_abort);
    local = sock_local_name(fd);
    g_assert_cmpstr(local, ==, expect);
    talk(co, fd, &addr);
    conn = sock_connect(co, &addr, &error_abort);
    ch = channel_new_fd(co_accept(co, fd));
    peer = channel_peer_name(ch);
    g_assert_cmpstr(peer, ==, expect);
    channel_free(ch);
    close(conn);
    addr.tight = false;
    g_assert_cmpint(sock_connect(co, &addr, &err), ==, -1);
    error_clear(&err);
    sock_unlisten(fd);

    addr = (SockAddr){ .kind = SOCK_UNIX, .path = "" };
    fd = sock_listen(co, &addr, 10, &error_abort);
    temp = sock_local_name(fd);
    g_assert_nonnull(strstr(temp, "qemu-socket-"));
    sock_unlisten(fd);
    g_assert_cmpint(access(temp + strlen("unix:"), F_OK), ==, -1);
}

static void test_unix_names(void)
{
    co_test_run_alone(unix_names_main, NULL);
}

static void inet_main(Co *co, void *arg)
{
    g_autofree char *name = NULL, *expect = NULL, *msg = NULL, *number = NULL;
    SockAddr addr = { .kind = SOCK_INET, .host = "127.0.0.1", .port = "0",
                      .ipv4 = -1, .ipv6 = -1, .keep_alive = true };
    Error *err = NULL;
    socklen_t len = sizeof(int);
    int fd, other, conn, port, value = 0;

    fd = sock_listen(co, &addr, 10, &error_abort);
    port = sock_local_port(fd);
    g_assert_cmpint(port, >, 0);
    name = sock_local_name(fd);
    expect = g_strdup_printf("127.0.0.1:%d", port);
    g_assert_cmpstr(name, ==, expect);
    addr.port = number = g_strdup_printf("%d", port);
    talk(co, fd, &addr);
    conn = sock_connect(co, &addr, &error_abort);
    g_assert_cmpint(getsockopt(conn, IPPROTO_TCP, TCP_NODELAY, &value, &len),
                    ==, 0);
    g_assert_cmpint(value, !=, 0);
    value = 0;
    g_assert_cmpint(getsockopt(conn, SOL_SOCKET, SO_KEEPALIVE, &value, &len),
                    ==, 0);
    g_assert_cmpint(value, !=, 0);
    close(conn);

    g_assert_cmpint(sock_listen(co, &addr, 10, &err), ==, -1);
    expect_error(&err, "Failed to find an available port: "
                       "Address already in use");
    addr.port_to = MIN(port + 50, 65535);
    other = sock_listen(co, &addr, 10, &error_abort);
    g_assert_cmpint(sock_local_port(other), >, port);
    close(other);
    addr.port_to = port - 1;
    g_assert_cmpint(sock_listen(co, &addr, 10, &err), ==, -1);
    expect_error(&err, "Failed to create a socket");
    close(fd);

    g_assert_cmpint(sock_connect(co, &addr, &err), ==, -1);
    msg = g_strdup_printf("Failed to connect to '127.0.0.1:%d': "
                          "Connection refused", port);
    expect_error(&err, msg);
}

static void test_inet(void)
{
    co_test_run_alone(inet_main, NULL);
}

static void inet_errors_main(Co *co, void *arg)
{
    static const struct {
        SockAddr addr;
        const char *msg;
    } cases[] = {
        { { .host = "127.0.0.1", .port = "foo", .ipv4 = -1, .ipv6 = -1 },
          "address resolution failed for 127.0.0.1:foo: "
          "Servname not supported for ai_socktype" },
        { { .host = "127.0.0.1", .port = "99999", .ipv4 = -1, .ipv6 = -1 },
          "address resolution failed for 127.0.0.1:99999: "
          "Servname not supported for ai_socktype" },
        { { .host = "127.0.0.1", .port = "0", .ipv4 = 0, .ipv6 = 0 },
          "Cannot disable IPv4 and IPv6 at same time" },
        { { .host = "127.0.0.1", .port = "0", .ipv4 = 0, .ipv6 = 1 },
          "address resolution failed for 127.0.0.1:0: "
          "Address family for hostname not supported" },
        { { .host = "localhost", .port = "0", .ipv4 = -1, .ipv6 = -1,
            .numeric = true },
          "address resolution failed for localhost:0: "
          "Name or service not known" },
        { { .host = "192.0.2.1", .port = "0", .ipv4 = -1, .ipv6 = -1 },
          "Failed to bind socket: Cannot assign requested address" },
        { { .kind = SOCK_VSOCK, .cid = "foo", .port = "99" },
          "Failed to parse cid 'foo'" },
        { { .kind = SOCK_VSOCK, .cid = "5", .port = "bar" },
          "Failed to parse port 'bar'" },
        { { .kind = SOCK_FD, .fd_name = "77" },
          "File descriptor '77' is not a socket" },
        { { .kind = SOCK_FD, .fd_name = "foo" },
          "Unable to parse FD number foo" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Error *err = NULL;

        g_assert_cmpint(sock_listen(co, &cases[i].addr, 10, &err), ==, -1);
        expect_error(&err, cases[i].msg);
    }
}

static void test_errors(void)
{
    co_test_run_alone(inet_errors_main, NULL);
}

static bool have_ipv6(void)
{
    struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6,
                                 .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    autofd int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 &&
           bind(fd, (struct sockaddr *)&sin6, sizeof(sin6)) == 0;
}

static void wildcard_main(Co *co, void *arg)
{
    g_autofree int *fds = NULL;
    g_autofree char *port = NULL;
    SockAddr addr = { .kind = SOCK_INET, .host = "", .port = "0",
                      .ipv4 = -1, .ipv6 = -1 };
    SockAddr there = { .kind = SOCK_INET, .ipv4 = -1, .ipv6 = -1 };
    Error *err = NULL;
    int n, fd;

    /* The empty name is all addresses of both families, on one port. */
    n = sock_listen_all(co, &addr, 10, &fds, &error_abort);
    g_assert_cmpint(n, ==, 2);
    g_assert_cmpint(sock_local_port(fds[0]), ==, sock_local_port(fds[1]));
    there.port = port = g_strdup_printf("%d", sock_local_port(fds[0]));
    there.host = "127.0.0.1";
    talk(co, fds[0], &there);
    there.host = "::1";
    talk(co, fds[1], &there);
    close(fds[0]);
    close(fds[1]);

    /* Both families asked for: one socket for both. */
    addr.ipv4 = addr.ipv6 = 1;
    fd = sock_listen(co, &addr, 10, &error_abort);
    g_free(port);
    there.port = port = g_strdup_printf("%d", sock_local_port(fd));
    there.host = "127.0.0.1";
    talk(co, fd, &there);
    there.host = "::1";
    talk(co, fd, &there);
    close(fd);

    /* IPv6 alone. */
    addr.ipv4 = -1;
    fd = sock_listen(co, &addr, 10, &error_abort);
    g_free(port);
    there.port = port = g_strdup_printf("%d", sock_local_port(fd));
    talk(co, fd, &there);
    there.host = "127.0.0.1";
    g_assert_cmpint(sock_connect(co, &there, &err), ==, -1);
    error_clear(&err);
    close(fd);
}

static void test_wildcard(void)
{
    if (!have_ipv6()) {
        g_test_skip("no IPv6 here");
        return;
    }
    co_test_run_alone(wildcard_main, NULL);
}

static void fd_main(Co *co, void *arg)
{
    g_autofree char *path = in_dir("s"), *number = NULL;
    SockAddr addr = { .kind = SOCK_UNIX, .path = path, .tight = true };
    SockAddr by_fd = { .kind = SOCK_FD };
    int fd = sock_listen(co, &addr, 10, &error_abort);

    fcntl(fd, F_SETFL, 0);
    by_fd.fd_name = number = g_strdup_printf("%d", fd);
    g_assert_cmpint(sock_listen(co, &by_fd, 10, &error_abort), ==, fd);
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_NONBLOCK, ==, O_NONBLOCK);
    talk(co, fd, &addr);
    sock_unlisten(fd);
}

static void test_fd(void)
{
    co_test_run_alone(fd_main, NULL);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("ch-XXXXXX", NULL);
    g_assert_nonnull(dir);
    g_test_add_func("/channel/stream", test_stream);
    g_test_add_func("/channel/stream-pipe", test_stream_pipe);
    g_test_add_func("/channel/shutdown", test_shutdown);
    g_test_add_func("/channel/shutdown-pipe", test_shutdown_pipe);
    g_test_add_func("/channel/layer", test_layer);
    g_test_add_func("/channel/unix", test_unix);
    g_test_add_func("/channel/unix-names", test_unix_names);
    g_test_add_func("/channel/inet", test_inet);
    g_test_add_func("/channel/errors", test_errors);
    g_test_add_func("/channel/wildcard", test_wildcard);
    g_test_add_func("/channel/fd", test_fd);
    ret = g_test_run();
    g_rmdir(dir);
    g_free(dir);
    return ret;
}
