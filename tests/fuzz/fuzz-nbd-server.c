/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * libFuzzer: what a client may send to the NBD server. Each input is the bytes of
 * one connection to a server with a writable export of a small disk; the first
 * byte says whether a good handshake is put before the rest, whether that is
 * shaped like requests, and whether the server is short of memory. The server must
 * end the connection, leak nothing and not crash.
 *
 *     meson setup fuzz -Dfuzz=enabled (CC=clang)
 *     fuzz/tests/fuzz/fuzz-nbd-server -max_total_time=60
 */
#include "util/osdep.h"

#include <sys/socket.h>

#include "block/graph.h"
#include "block/open.h"
#include "nbd/server.h"
#include "util/bytes.h"
#include "util/loop.h"
#include "fuzz.h"

static NbdServer *server, *poor;   /* without memory to share */

/* Structured replies or extended headers, contexts, GO. */
static size_t fuzz_handshake(uint8_t *p, bool extended)
{
    static const char query[] = "base:allocation";
    uint8_t *start = p;

    stl_be_p(p, 3);
    stq_be_p(p + 4, UINT64_C(0x49484156454f5054));
    stl_be_p(p + 12, extended ? 11 : 8);
    stl_be_p(p + 16, 0);
    stq_be_p(p + 20, UINT64_C(0x49484156454f5054));
    stl_be_p(p + 28, 10);
    stl_be_p(p + 32, 13 + sizeof(query) - 1);
    stl_be_p(p + 36, 1);
    p[40] = 'd';
    stl_be_p(p + 41, 1);
    stl_be_p(p + 45, sizeof(query) - 1);
    memcpy(p + 49, query, sizeof(query) - 1);
    p += 49 + sizeof(query) - 1;
    stq_be_p(p, UINT64_C(0x49484156454f5054));
    stl_be_p(p + 8, 7);
    stl_be_p(p + 12, 7);
    stl_be_p(p + 16, 1);
    p[20] = 'd';
    stw_be_p(p + 21, 0);
    return p + 23 - start;
}

static NbdServer *fuzz_server(Co *co, const char *id, Node *node,
                              uint64_t memory)
{
    NbdServerSettings set = { .max_memory = memory };
    g_autoptr(BlockExportOptions) opts = g_new0(BlockExportOptions, 1);
    NbdServer *s = nbd_server_new(id, &set);

    opts->type = BLOCK_EXPORT_TYPE_NBD;
    opts->id = g_strdup(id);
    opts->node_name = g_strdup(node->name);
    opts->has_writable = opts->writable = true;
    opts->u.nbd.name = g_strdup("d");
    opts->u.nbd.server = g_strdup(id);
    export_add(co, opts, &error_abort);
    return s;
}

static void fuzz_start(Co *co, void *opaque)
{
    BlockdevOptions *disk = g_new0(BlockdevOptions, 1);
    Node *node;

    control_lock(co);
    disk->driver = BLOCKDEV_DRIVER_NULL_CO;
    disk->u.null_co.has_size = disk->u.null_co.has_read_zeroes = true;
    disk->u.null_co.size = 16 * MiB;
    disk->u.null_co.read_zeroes = true;
    node = open_options(co, disk, &error_abort);
    server = fuzz_server(co, NBD_SERVER_DEFAULT, node, 0);
    poor = fuzz_server(co, "poor", node, 1);
    control_unlock(co);
    loop_stop(loop_main());
}

/* Throws away what the server says, until it hangs up. */
static void fuzz_read(Co *co, int fd)
{
    uint8_t buf[65536];

    while (co_recv(co, fd, buf, sizeof(buf)) > 0) {
    }
}

/* Makes requests of the bytes: the magic where one could begin, known commands,
 * ranges near the disk's. */
static void fuzz_shape(uint8_t *p, size_t len, bool extended)
{
    size_t size = extended ? 32 : 28;

    for (size_t o = 0; o + size <= len; o += size) {
        stl_be_p(p + o, extended ? 0x21e41c71 : 0x25609513);
        stw_be_p(p + o + 6, p[o + 7] & 7);
        stl_be_p(p + o + 16, 0);
        p[o + 20] &= 1;
        p[o + 24] = 0;
    }
}

static void fuzz_send(Co *co, void *opaque)
{
    Input *in = opaque;
    g_autofree uint8_t *data = g_memdup2(in->data, in->len);
    bool extended = data[0] & 2;
    uint8_t head[128];
    size_t n = data[0] & 1 ? fuzz_handshake(head, extended) : 0;
    struct iovec iov[2] = { { head, n }, { data + 1, in->len - 1 } };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
    NbdServer *s = data[0] & 8 ? poor : server;
    int pair[2];

    if (data[0] & 4) {
        fuzz_shape(data + 1, in->len - 1, extended);
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0) {
        abort();
    }
    nbd_server_add_client(s, pair[0]);
    co_sendmsg(co, pair[1], &msg, 0);
    shutdown(pair[1], SHUT_WR);
    fuzz_read(co, pair[1]);
    while (nbd_server_connections(s)) {
        co_yield(co);
    }
    close(pair[1]);
    loop_stop(loop_main());
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    loop_init_main(&error_abort);
    block_init();
    nbd_export_init();
    co_spawn(loop_main(), fuzz_start, NULL);
    loop_run(loop_main());
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    Input in = { data, len };

    if (!len || len > 65536) {
        return -1;
    }
    co_spawn(loop_main(), fuzz_send, &in);
    loop_run(loop_main());
    return 0;
}
