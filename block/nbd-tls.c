/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * TLS of the driver "nbd". libnbd does not know our credentials; so we ask the
 * server for TLS (nbd-starttls.c), and libnbd gets one end of a pair of sockets
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

#include "block/nbd-starttls.h"
#include "block/nbd-tls.h"
#include "util/loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define ANSWER_SIZE 4
#define TUNNEL_BUF (256 * 1024)
#define LAST_WORDS_MS 20        /* that a server has time to take */

/* ---- the tunnel ---- */

struct NbdTunnel {
    LoopThread *thread;
    Channel *tls, *plain;
    uint8_t greeting[NBD_GREETING_SIZE];
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

    if (channel_write_all(co, t->plain, t->greeting, NBD_GREETING_SIZE) == 0) {
        nbd_tls_carry(co, t->tls, t->plain);
    }
    nbd_tls_hang_up(t);
}

static bool nbd_tls_handshake(Co *co, NbdTunnel *t, TlsCreds *creds,
                              const char *hostname, Error **errp)
{
    return nbd_starttls(co, t->tls, t->greeting, errp) &&
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
