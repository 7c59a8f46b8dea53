/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Signals as events: blocked in the main thread (all others block everything,
 * see loop_thread_start) and read from a signalfd by a coroutine. No code of
 * ours runs in a signal handler.
 *
 * The coroutine owns the Signals and frees it; signals_free() only tells it to
 * end.
 */
#include "util/signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>

struct Signals {
    int fd;
    SignalFn *fn;
    void *arg;
    Co *co;
    bool stop;
};

static void signals_read(Signals *s)
{
    struct signalfd_siginfo info;

    while (!s->stop && read(s->fd, &info, sizeof(info)) == sizeof(info)) {
        s->fn(info.ssi_signo, s->arg);
    }
}

static void signals_main(Co *co, void *arg)
{
    Signals *s = arg;

    while (!s->stop) {
        int ret = co_poll(co, s->fd, POLLIN);

        if (ret >= 0) {
            signals_read(s);
        } else if (ret != -ECANCELED) {
            error_exit(-ret, "Cannot wait for signals");
        }
    }
    close(s->fd);
    g_free(s);
}

Signals *signals_watch(Loop *loop, const int *sigs, size_t n, SignalFn *fn,
                       void *arg, Error **errp)
{
    Signals *s;
    sigset_t set;
    int fd;

    sigemptyset(&set);
    for (size_t i = 0; i < n; i++) {
        sigaddset(&set, sigs[i]);
    }
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to create a signalfd");
        return NULL;
    }
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    s = g_new0(Signals, 1);
    *s = (Signals){ .fd = fd, .fn = fn, .arg = arg };
    s->co = co_spawn(loop, signals_main, s);
    return s;
}

void signals_free(Signals *s)
{
    if (s) {
        s->stop = true;
        co_io_cancel(s->co);
    }
}
