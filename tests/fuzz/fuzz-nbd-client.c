/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * libFuzzer: what a server may send to the driver "nbd". Each input is all that a
 * server says; the first byte puts a good handshake before it. The driver opens,
 * asks for status, reads and writes, and must come to an end with whatever
 * answers it gets.
 */
#include "util/osdep.h"

#include <sys/socket.h>

#include "block/nbd-client.h"
#include "util/bytes.h"
#include "fuzz.h"

static uint8_t *fuzz_reply(uint8_t *p, uint32_t option, uint32_t type,
                           const void *data, uint32_t len)
{
    stq_be_p(p, UINT64_C(0x0003e889045565a9));
    stl_be_p(p + 8, option);
    stl_be_p(p + 12, type);
    stl_be_p(p + 16, len);
    if (len) {
        memcpy(p + 20, data, len);
    }
    return p + 20 + len;
}

/* Structured replies, base:allocation as context 1, a disk of 1 MiB. */
static size_t fuzz_handshake(uint8_t *start)
{
    static const char context[] = "\0\0\0\1base:allocation";
    uint8_t info[12], *p = start;

    stq_be_p(p, UINT64_C(0x4e42444d41474943));
    stq_be_p(p + 8, UINT64_C(0x49484156454f5054));
    stw_be_p(p + 16, 3);
    p = fuzz_reply(p + 18, 8, 1, NULL, 0);
    p = fuzz_reply(p, 10, 4, context, sizeof(context) - 1);
    p = fuzz_reply(p, 10, 1, NULL, 0);
    stw_be_p(info, 0);
    stq_be_p(info + 2, MiB);
    stw_be_p(info + 10, 0xced);
    p = fuzz_reply(p, 7, 3, info, sizeof(info));
    return fuzz_reply(p, 7, 1, NULL, 0) - start;
}

static int64_t fuzz_issue(struct nbd_handle *nbd, NbdOp *op)
{
    return op->flags
        ? nbd_aio_pwrite(nbd, op->buf, op->len, op->off,
                         nbd_client_completion(op), 0)
        : nbd_aio_pread(nbd, op->buf, op->len, op->off,
                        nbd_client_completion(op), 0);
}

static void fuzz_use(Co *co, struct nbd_handle *nbd)
{
    uint8_t buf[4096] = { 0 };
    NbdOp ops[2] = {
        { .issue = fuzz_issue, .len = 4096, .buf = buf },
        { .issue = fuzz_issue, .len = 512, .off = 4096, .buf = buf,
          .flags = 1 },
    };

    for (int i = 0; i < 2; i++) {
        if (ops[i].issue(nbd, &ops[i]) < 0) {
            return;
        }
        while (!ops[i].done && nbd_connect_pump(co, nbd) == 0) {
        }
    }
}

static void fuzz_receive(Co *co, void *opaque)
{
    Input *in = opaque;
    uint8_t head[256];
    size_t n = in->data[0] & 1 ? fuzz_handshake(head) : 0;
    struct iovec iov[2] = {
        { head, n }, { (void *)(in->data + 1), in->len - 1 }
    };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
    SocketAddress addr = { .type = SOCKET_ADDRESS_TYPE_FD };
    NbdTarget target = { &addr, (char *)"", (char *)"base:allocation" };
    struct nbd_handle *nbd;
    NbdInfo info;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0) {
        abort();
    }
    co_sendmsg(co, pair[0], &msg, 0);
    shutdown(pair[0], SHUT_WR);
    addr.u.fd.str = g_strdup_printf("%d", pair[1]);
    nbd = nbd_connect_once(co, &target, &info, NULL);
    if (nbd) {
        fuzz_use(co, nbd);
    }
    nbd_close(nbd);
    g_free(addr.u.fd.str);
    close(pair[0]);
    loop_stop(loop_main());
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    loop_init_main(&error_abort);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    Input in = { data, len };

    if (!len || len > 65536) {
        return -1;
    }
    co_spawn(loop_main(), fuzz_receive, &in);
    loop_run(loop_main());
    return 0;
}
