/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * TLS of the driver "nbd". libnbd does not know our credentials; so the server is
 * greeted and asked for TLS here, and libnbd gets one end of a pair of sockets
 * behind which two coroutines on the main loop carry bytes to and fro:
 *
 *     libnbd -- plain -- Tunnel -- TLS -- server
 *
 * libnbd is shown the greeting once more, and its answer, which the server has
 * had from us, is swallowed. A tunnel ends when either side hangs up; it belongs
 * to nobody.
 */
#include "util/osdep.h"

#include "block/nbd-tls.h"
#include "nbd/proto.h"
#include "util/bytes.h"
#include "util/loop.h"

#include <sys/socket.h>

#define GREETING_SIZE 18
#define OPT_SIZE 16             /* of an option, and of a reply, without data */
#define REP_SIZE 20
#define ANSWER_SIZE 4
#define TUNNEL_BUF (256 * 1024)
#define REPLY_MAX 4096

/* ---- asking for TLS ---- */

static bool nbd_tls_read(Co *co, Channel *ch, void *buf, size_t len,
                         Error **errp)
{
    int ret = channel_read_all(co, ch, buf, len);

    if (ret == 1) {
        return true;
    }
    if (ret == 0) {
        error_setg(errp, "Failed to read data: Unexpected end-of-file before "
                   "all data were read");
    } else {
        error_setg_errno(errp, -ret, "Failed to read data");
    }
    return false;
}

static bool nbd_tls_greet(Co *co, Channel *ch, uint8_t *greeting,
                          Error **errp)
{
    uint16_t flags;
    uint8_t out[ANSWER_SIZE + OPT_SIZE];

    if (!nbd_tls_read(co, ch, greeting, GREETING_SIZE, errp)) {
        return false;
    }
    if (ldq_be_p(greeting) != NBD_INIT_MAGIC ||
        ldq_be_p(greeting + 8) != NBD_OPTS_MAGIC) {
        error_setg(errp, "Server does not support STARTTLS");
        return false;
    }
    flags = lduw_be_p(greeting + 16);
    if (!(flags & NBD_FLAG_FIXED_NEWSTYLE)) {
        error_setg(errp, "Server does not support STARTTLS");
        return false;
    }
    stl_be_p(out, flags & (NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
    stq_be_p(out + 4, NBD_OPTS_MAGIC);
    stl_be_p(out + 12, NBD_OPT_STARTTLS);
    stl_be_p(out + 16, 0);
    return channel_write_all(co, ch, out, sizeof(out)) == 0;
}

static bool nbd_tls_take_reply(Co *co, Channel *ch, Error **errp)
{
    ERRP_GUARD();
    uint8_t head[REP_SIZE], text[REPLY_MAX + 1];
    uint32_t type, len;

    if (!nbd_tls_read(co, ch, head, sizeof(head), errp)) {
        return false;
    }
    type = ldl_be_p(head + 12);
    len = ldl_be_p(head + 16);
    if (ldq_be_p(head) != NBD_REP_MAGIC || len > REPLY_MAX) {
        error_setg(errp, "Unexpected reply to option 5 (starttls)");
        return false;
    }
    if (!nbd_tls_read(co, ch, text, len, errp)) {
        return len == 0 && type == NBD_REP_ACK;
    }
    if (type == NBD_REP_ACK) {
        return true;
    }
    text[len] = 0;
    error_setg(errp, type == NBD_REP_ERR_POLICY
               ? "Denied by server for option 5 (starttls)"
               : "Server refuses option 5 (starttls)");
    if (len) {
        error_append_hint(errp, "server reported: %s\n", (char *)text);
    }
    return false;
}

/* ---- the tunnel ---- */

typedef struct Tunnel {
    Channel *tls, *plain;
    uint8_t greeting[GREETING_SIZE];
    int running;
} Tunnel;

static void nbd_tls_end(Tunnel *t)
{
    channel_shutdown(t->tls);
    channel_shutdown(t->plain);
    if (--t->running == 0) {
        channel_free(t->tls);
        channel_free(t->plain);
        g_free(t);
    }
}

static void nbd_tls_carry(Co *co, Channel *from, Channel *to)
{
    g_autofree uint8_t *buf = g_malloc(TUNNEL_BUF);

    for (;;) {
        ssize_t n = channel_read(co, from, buf, TUNNEL_BUF);

        if (n <= 0 || channel_write_all(co, to, buf, n) < 0) {
            return;
        }
    }
}

static void nbd_tls_up(Co *co, void *opaque)
{
    Tunnel *t = opaque;
    uint8_t answer[ANSWER_SIZE];

    if (channel_read_all(co, t->plain, answer, sizeof(answer)) == 1) {
        nbd_tls_carry(co, t->plain, t->tls);
    }
    nbd_tls_end(t);
}

static void nbd_tls_down(Co *co, void *opaque)
{
    Tunnel *t = opaque;

    if (channel_write_all(co, t->plain, t->greeting, GREETING_SIZE) == 0) {
        nbd_tls_carry(co, t->tls, t->plain);
    }
    nbd_tls_end(t);
}

static bool nbd_tls_handshake(Co *co, Tunnel *t, TlsCreds *creds,
                              const char *hostname, Error **errp)
{
    return nbd_tls_greet(co, t->tls, t->greeting, errp) &&
           nbd_tls_take_reply(co, t->tls, errp) &&
           channel_start_tls(co, t->tls, creds, hostname, errp);
}

int nbd_tls_start(Co *co, int fd, TlsCreds *creds, const char *hostname,
                  Error **errp)
{
    Tunnel *t = g_new0(Tunnel, 1);
    int pair[2];

    t->tls = channel_new_fd(fd);
    if (!nbd_tls_handshake(co, t, creds, hostname, errp)) {
        channel_free(t->tls);
        g_free(t);
        return -1;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   pair) < 0) {
        error_setg_errno(errp, errno, "Failed to create sockets");
        channel_free(t->tls);
        g_free(t);
        return -1;
    }
    t->plain = channel_new_fd(pair[0]);
    t->running = 2;
    co_spawn_remote(loop_main(), nbd_tls_up, t);
    co_spawn_remote(loop_main(), nbd_tls_down, t);
    return pair[1];
}
