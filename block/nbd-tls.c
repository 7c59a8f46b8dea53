/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * TLS of the driver "nbd". libnbd does not know our credentials; so the server is
 * greeted and asked for TLS here, and libnbd gets one end of a pair of sockets
 * behind which two coroutines carry bytes to and fro:
 *
 *     libnbd -- plain -- NbdTunnel -- TLS -- server
 *
 * They have a thread of their own: ciphers take time, and no loop that is busy
 * with other things shall keep them waiting. libnbd is shown the greeting once
 * more, and its answer, which the server has had from us, is swallowed. The
 * coroutines end when either side hangs up; their owner then takes the thread
 * and the channels away.
 */
#include "util/osdep.h"

#include "block/nbd-tls.h"
#include "nbd/proto.h"
#include "util/bytes.h"
#include "util/loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define GREETING_SIZE 18
#define OPT_SIZE 16             /* of an option, and of a reply, without data */
#define REP_SIZE 20
#define ANSWER_SIZE 4
#define TUNNEL_BUF (256 * 1024)
#define REPLY_MAX 4096
#define LAST_WORDS_MS 20        /* that a server has time to take */

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

struct NbdTunnel {
    LoopThread *thread;
    Channel *tls, *plain;
    uint8_t greeting[GREETING_SIZE];
    int running;                /* coroutines; on the thread's loop */
    int ended;                  /* an eventfd: none is left */
};

static void nbd_tls_hang_up(NbdTunnel *t)
{
    uint64_t one = 1;

    channel_shutdown(t->tls);
    channel_shutdown(t->plain);
    if (--t->running == 0 && write(t->ended, &one, sizeof(one)) < 0) {
        abort();                /* an empty eventfd takes it */
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
    NbdTunnel *t = opaque;
    uint8_t answer[ANSWER_SIZE];

    if (channel_read_all(co, t->plain, answer, sizeof(answer)) == 1) {
        nbd_tls_carry(co, t->plain, t->tls);
    }
    nbd_tls_hang_up(t);
}

static void nbd_tls_down(Co *co, void *opaque)
{
    NbdTunnel *t = opaque;

    if (channel_write_all(co, t->plain, t->greeting, GREETING_SIZE) == 0) {
        nbd_tls_carry(co, t->tls, t->plain);
    }
    nbd_tls_hang_up(t);
}

static bool nbd_tls_handshake(Co *co, NbdTunnel *t, TlsCreds *creds,
                              const char *hostname, Error **errp)
{
    return nbd_tls_greet(co, t->tls, t->greeting, errp) &&
           nbd_tls_take_reply(co, t->tls, errp) &&
           channel_start_tls(co, t->tls, creds, hostname, errp);
}

static void nbd_tls_free(NbdTunnel *t)
{
    loop_thread_free(t->thread);
    channel_free(t->tls);
    channel_free(t->plain);
    if (t->ended >= 0) {
        close(t->ended);
    }
    g_free(t);
}

/* What the coroutines need. *@plain is the other end. */
static bool nbd_tls_equip(NbdTunnel *t, int *plain, Error **errp)
{
    int pair[2];

    t->ended = eventfd(0, EFD_CLOEXEC);
    if (t->ended < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                   pair) < 0) {
        error_setg_errno(errp, errno, "Failed to create sockets");
        return false;
    }
    t->plain = channel_new_fd(pair[0]);
    t->thread = loop_thread_new("nbd-tls", errp);
    if (!t->thread) {
        close(pair[1]);
        return false;
    }
    *plain = pair[1];
    return true;
}

NbdTunnel *nbd_tls_start(Co *co, int fd, TlsCreds *creds, const char *hostname,
                         int *plain, Error **errp)
{
    NbdTunnel *t = g_new0(NbdTunnel, 1);
    Loop *loop;

    t->ended = -1;
    t->tls = channel_new_fd(fd);
    if (!nbd_tls_handshake(co, t, creds, hostname, errp) ||
        !nbd_tls_equip(t, plain, errp)) {
        nbd_tls_free(t);
        return NULL;
    }
    t->running = 2;
    loop = loop_thread_loop(t->thread);
    co_spawn_remote(loop, nbd_tls_up, t);
    co_spawn_remote(loop, nbd_tls_down, t);
    return t;
}

void nbd_tls_end(NbdTunnel *t)
{
    struct pollfd p;

    if (!t) {
        return;
    }
    p = (struct pollfd) { .fd = t->ended, .events = POLLIN };
    if (poll(&p, 1, LAST_WORDS_MS) != 1) {
        /* From another thread: the channel itself is not touched. */
        shutdown(channel_fd(t->tls), SHUT_RDWR);
        while (poll(&p, 1, -1) != 1) {
            /* EINTR */
        }
    }
    nbd_tls_free(t);
}
