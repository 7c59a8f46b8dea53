/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the runtime costs: a switch, a spawn, a walk to another thread and
 * back, a 4 KiB read from the page cache, a request and its 4 KiB reply over a
 * Unix socket. Nanoseconds each; the engine by BLOCK_LOOP.
 */
#include "util/loop.h"

#include <fcntl.h>
#include <sys/socket.h>

#define BLOCK 4096
#define FILE_BLOCKS 4096
#define REQUEST 28

static void report(const char *what, int64_t t0, int64_t n)
{
    int64_t ns = clock_ns() - t0;

    printf("%-36s %8.1f ns\n", what, (double)ns / n);
}

/* ---- switch and spawn ---- */

static void yielder(Co *co, void *arg)
{
    int *running = arg;

    for (int i = 0; i < 100000; i++) {
        co_yield(co);
    }
    --*running;
}

static void bench_switch(Co *co, int n)
{
    g_autofree char *what = g_strdup_printf("yield, %d coroutines", n);
    int running = n;
    int64_t t0 = clock_ns();

    for (int i = 0; i < n; i++) {
        co_spawn(co_loop(co), yielder, &running);
    }
    while (running) {
        co_yield(co);
    }
    report(what, t0, (n + 1) * INT64_C(100000));
}

static void nothing(Co *co, void *arg)
{
}

static void bench_spawn(Co *co)
{
    int64_t t0 = clock_ns();

    for (int i = 0; i < 1000000; i++) {
        co_spawn(co_loop(co), nothing, NULL);
        if (i % 32 == 31) {
            co_yield(co);
        }
    }
    report("spawn and end", t0, 1000000);
}

/* ---- threads ---- */

static void bench_move(Co *co)
{
    LoopThread *t = loop_thread_new("bench", &error_abort);
    Loop *home = co_loop(co);
    int64_t t0 = clock_ns();

    for (int i = 0; i < 100000; i++) {
        co_move(co, loop_thread_loop(t));
        co_move(co, home);
    }
    report("walk to another thread and back", t0, 100000);
    loop_thread_free(t);
}

static int64_t work(void *arg)
{
    return 0;
}

static void bench_worker(Co *co)
{
    int64_t t0 = clock_ns();

    for (int i = 0; i < 100000; i++) {
        worker_run(co, work, NULL);
    }
    report("worker round trip", t0, 100000);
}

/* ---- files ---- */

typedef struct ReadTest {
    int fd;
    int64_t left;
} ReadTest;

static int reader(Co *co, void *arg)
{
    ReadTest *t = arg;
    g_autofree char *buf = g_malloc(BLOCK);
    struct iovec iov = { buf, BLOCK };
    uint32_t seed = 1;

    while (t->left-- > 0) {
        seed = seed * 1664525 + 1013904223;
        if (co_preadv(co, t->fd, &iov, 1,
                      (int64_t)(seed >> 8) % FILE_BLOCKS * BLOCK) != BLOCK) {
            g_error("read failed");
        }
    }
    return 0;
}

static void bench_read(Co *co, int depth)
{
    g_autofree char *what = g_strdup_printf("cached 4 KiB read, depth %d",
                                            depth);
    g_autofree char *path = NULL, *data = g_malloc0(FILE_BLOCKS * BLOCK);
    autofd int fd = g_file_open_tmp("bench-XXXXXX", &path, NULL);
    ReadTest t = { fd, 400000 };
    CoGroup g;
    int64_t t0;

    unlink(path);
    if (pwrite(fd, data, FILE_BLOCKS * BLOCK, 0) != FILE_BLOCKS * BLOCK) {
        g_error("write failed");
    }
    co_group_init(&g, co_loop(co), depth);
    t0 = clock_ns();
    for (int i = 0; i < depth; i++) {
        co_group_start(co, &g, reader, &t);
    }
    co_group_wait(co, &g);
    report(what, t0, 400000);
}

/* ---- sockets: small requests one way, 4 KiB replies the other ---- */

typedef struct SocketTest {
    int client, server;
    int depth;
    int64_t requests;
    int running;
    Co *main;
} SocketTest;

static void send_all(Co *co, int fd, void *buf, size_t len)
{
    while (len > 0) {
        struct iovec iov = { buf, len };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n = co_sendmsg(co, fd, &msg, 0);

        if (n < 0) {
            g_error("send: %s", g_strerror(-n));
        }
        buf = (char *)buf + n;
        len -= n;
    }
}

static void server(Co *co, void *arg)
{
    SocketTest *t = arg;
    static char in[64 * 1024], out[BLOCK];
    int64_t have = 0;
    ssize_t n;

    while ((n = co_recv(co, t->server, in, sizeof(in))) > 0) {
        for (have += n; have >= REQUEST; have -= REQUEST) {
            send_all(co, t->server, out, sizeof(out));
        }
    }
    co_wake_remote(t->main);
}

static void client(Co *co, void *arg)
{
    SocketTest *t = arg;
    static char in[256 * 1024], out[REQUEST];
    int64_t have = 0, sent, received = 0;
    ssize_t n;

    for (sent = 0; sent < t->depth; sent++) {
        send_all(co, t->client, out, sizeof(out));
    }
    while (received < t->requests) {
        n = co_recv(co, t->client, in, sizeof(in));
        if (n <= 0) {
            g_error("receive: %s", g_strerror(-n));
        }
        for (have += n; have >= BLOCK; have -= BLOCK) {
            received++;
            if (sent < t->requests) {
                send_all(co, t->client, out, sizeof(out));
                sent++;
            }
        }
    }
    shutdown(t->client, SHUT_RDWR);
}

static void bench_socket(Co *co, int depth)
{
    g_autofree char *what = g_strdup_printf("request and reply, depth %d",
                                            depth);
    LoopThread *thread = loop_thread_new("client", &error_abort);
    SocketTest t = { .depth = depth, .requests = 200000, .main = co };
    int64_t t0;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0) {
        g_error("socketpair failed");
    }
    t.client = fds[0];
    t.server = fds[1];
    t0 = clock_ns();
    co_spawn(co_loop(co), server, &t);
    co_spawn_remote(loop_thread_loop(thread), client, &t);
    co_suspend(co);
    report(what, t0, t.requests);
    /* A walk there and back: the client has gone then. */
    co_move(co, loop_thread_loop(thread));
    co_move(co, loop_main());
    loop_thread_free(thread);
    close(fds[0]);
    close(fds[1]);
}

static void bench_main(Co *co, void *arg)
{
    printf("engine %s\n", loop_engine(co_loop(co)));
    bench_switch(co, 1);
    bench_switch(co, 32);
    bench_switch(co, 100);
    bench_spawn(co);
    bench_move(co);
    bench_worker(co);
    bench_read(co, 1);
    bench_read(co, 32);
    bench_socket(co, 1);
    bench_socket(co, 32);
    loop_stop(co_loop(co));
}

int main(void)
{
    loop_init_main(&error_fatal);
    co_spawn(loop_main(), bench_main, NULL);
    loop_run(loop_main());
    return 0;
}
