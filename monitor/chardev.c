/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Devices by name, and who waits at them.
 *
 *     listening       an acceptor coroutine for each listening socket
 *     connected       `ready` holds the one client there will ever be
 *     reconnecting    a dialer coroutine connects, and again after the end
 *
 * A client is handed to the user as soon as there is a user and the client
 * before has gone (`busy`). The options are read in chardev-options.c.
 */
#include "chardev-internal.h"

#include "util/daemonize.h"
#include "util/id.h"

#include <unistd.h>

#define ACCEPT_PAUSE_NS (100 * 1000 * 1000)
#define BACKLOG 16

typedef struct Acceptor {
    Chardev *chr;
    int fd;
    Co *co;                     /* NULL: not started, or ended */
} Acceptor;

/* Connects again and again; NULL where nobody has asked for that. */
typedef struct Dialer {
    Chardev *chr;
    json_t *json;               /* owns what addr refers to */
    SockAddr addr;
    int64_t pause_ns;
    CoSleep pause;
    Co *co;                     /* as an acceptor's */
} Dialer;

struct Chardev {
    char *id;
    const char *backend;
    Acceptor *acceptors;
    int n_acceptors;
    Dialer *dialer;
    char *unlink_path;          /* absolute; NULL: none */
    Channel *ready;             /* connected, but nobody has asked for it */
    ChardevClientFn *fn;
    void *opaque;
    bool busy;                  /* has a client */
    bool stopping;
    int running;                /* acceptors, dialer */
    CoQueue idle;               /* they, while it is busy */
    CoQueue ended;              /* chardev_remove_all() */
};

static GPtrArray *chardevs;     /* of Chardev; NULL: none yet */
static bool stdio_taken;

Chardev *chardev_find(const char *id)
{
    for (Chardev *chr = chardev_next(NULL); chr; chr = chardev_next(chr)) {
        if (g_str_equal(chr->id, id)) {
            return chr;
        }
    }
    return NULL;
}

Chardev *chardev_next(Chardev *chr)
{
    guint i = 0;

    if (!chardevs) {
        return NULL;
    }
    if (chr && g_ptr_array_find(chardevs, chr, &i)) {
        i++;
    }
    return i < chardevs->len ? g_ptr_array_index(chardevs, i) : NULL;
}

const char *chardev_id(const Chardev *chr)
{
    return chr->id;
}

const char *chardev_backend(const Chardev *chr)
{
    return chr->backend;
}

bool chardev_is_connected(const Chardev *chr)
{
    return chr->busy || chr->ready;
}

/* ---- clients ---- */

static void chardev_serve(Chardev *chr, Channel *ch)
{
    chr->busy = true;
    chr->fn(ch, chr->opaque);
}

/* A connected socket, or -1 if it ends. */
static int chardev_accept(Co *co, Acceptor *acc)
{
    while (!acc->chr->stopping) {
        int fd = co_accept(co, acc->fd);

        if (fd >= 0) {
            return fd;
        }
        if (fd != -ECANCELED) {
            /* Out of descriptors: there will be some again. */
            co_sleep(co, ACCEPT_PAUSE_NS);
        }
    }
    return -1;
}

static void chardev_wait_idle(Co *co, Chardev *chr)
{
    while (chr->busy && !chr->stopping) {
        co_queue_wait(co, &chr->idle);
    }
}

static void chardev_acceptor(Co *co, void *opaque)
{
    Acceptor *acc = opaque;
    Chardev *chr = acc->chr;

    while (!chr->stopping) {
        int fd = -1;

        if (!chr->busy) {
            fd = chardev_accept(co, acc);
        }
        chardev_wait_idle(co, chr);
        if (fd >= 0 && chr->stopping) {
            close(fd);
        } else if (fd >= 0) {
            chardev_serve(chr, channel_new_fd(fd));
        }
    }
    acc->co = NULL;
    chr->running--;
    co_queue_wake_all(&chr->ended);
}

/* Tells of a failure once, until it has worked again. */
static void chardev_dial(Co *co, Dialer *d, bool *told)
{
    Error *err = NULL;
    int fd = sock_connect(co, &d->addr, &err);

    if (fd >= 0) {
        *told = false;
        chardev_serve(d->chr, channel_new_fd(fd));
        chardev_wait_idle(co, d->chr);
    } else if (*told || d->chr->stopping) {
        error_free(err);
    } else {
        *told = true;
        error_prepend(&err, "Unable to connect character device %s: ",
                      d->chr->id);
        warn_report_err(err);
    }
}

static void chardev_dialer(Co *co, void *opaque)
{
    Dialer *d = opaque;
    bool told = false;

    while (!d->chr->stopping) {
        chardev_dial(co, d, &told);
        if (!d->chr->stopping) {
            co_sleep_ns(co, &d->pause, d->pause_ns);
        }
    }
    d->co = NULL;
    d->chr->running--;
    co_queue_wake_all(&d->chr->ended);
}

static void chardev_start_dialer(Chardev *chr, const ChardevOptions *opts,
                                 const json_t *json)
{
    chr->dialer = g_new(Dialer, 1);
    *chr->dialer = (Dialer) {
        .chr = chr,
        .json = json_incref((json_t *)json),
        .addr = opts->addr,
        .pause_ns = MIN(opts->reconnect, INT_MAX) * INT64_C(1000000000),
    };
}

bool chardev_use(Chardev *chr, ChardevClientFn *fn, void *opaque,
                 Error **errp)
{
    if (chr->fn) {
        error_setg(errp, "Device '%s' is in use", chr->id);
        return false;
    }
    chr->fn = fn;
    chr->opaque = opaque;
    if (chr->ready) {
        chardev_serve(chr, g_steal_pointer(&chr->ready));
    }
    for (int i = 0; i < chr->n_acceptors; i++) {
        Acceptor *acc = &chr->acceptors[i];

        chr->running++;
        acc->co = co_spawn(loop_main(), chardev_acceptor, acc);
    }
    if (chr->dialer) {
        chr->running++;
        chr->dialer->co = co_spawn(loop_main(), chardev_dialer, chr->dialer);
    }
    return true;
}

void chardev_client_gone(Chardev *chr)
{
    chr->busy = false;
    co_queue_wake_all(&chr->idle);
}

/* ---- backends ---- */

/* The daemon may leave its folder before it removes the socket. */
static char *chardev_absolute(const char *path)
{
    return g_path_is_absolute(path) ? g_strdup(path)
                                    : g_canonicalize_filename(path, NULL);
}

static char *chardev_shown_name(const Chardev *chr)
{
    g_autofree char *name = sock_local_name(chr->acceptors[0].fd);

    return g_strdup_printf("%s%s", g_str_has_prefix(name, "unix:") ||
                           g_str_has_prefix(name, "vsock:") ? "" : "tcp:",
                           name);
}

static bool chardev_wait(Co *co, Chardev *chr, Error **errp)
{
    g_autofree char *name = chardev_shown_name(chr);
    int fd;

    info_report("QEMU waiting for connection on: disconnected:%s,server=on",
                name);
    fd = co_accept(co, chr->acceptors[0].fd);
    if (fd < 0) {
        error_setg_errno(errp, fd, "Unable to accept connection");
        return false;
    }
    chr->ready = channel_new_fd(fd);
    return true;
}

static bool chardev_listen(Co *co, Chardev *chr, const ChardevOptions *opts,
                           Error **errp)
{
    g_autofree int *fds = NULL;
    int n = sock_listen_all(co, &opts->addr, BACKLOG, &fds, errp);

    if (n < 0) {
        return false;
    }
    chr->acceptors = g_new0(Acceptor, n);
    chr->n_acceptors = n;
    for (int i = 0; i < n; i++) {
        chr->acceptors[i] = (Acceptor){ .chr = chr, .fd = fds[i] };
    }
    if (opts->addr.kind == SOCK_UNIX && !opts->addr.abstract) {
        chr->unlink_path = chardev_absolute(opts->addr.path);
    }
    return !opts->wait || chardev_wait(co, chr, errp);
}

static bool chardev_open_socket(Co *co, Chardev *chr,
                                const ChardevOptions *opts,
                                const json_t *json, Error **errp)
{
    int fd;

    if (opts->server) {
        return chardev_listen(co, chr, opts, errp);
    }
    if (opts->reconnect) {
        chardev_start_dialer(chr, opts, json);
        return true;
    }
    fd = sock_connect(co, &opts->addr, errp);
    if (fd < 0) {
        return false;
    }
    chr->ready = channel_new_fd(fd);
    return true;
}

static bool chardev_open_stdio(Chardev *chr, Error **errp)
{
    if (daemonize_pending()) {
        error_setg(errp, "cannot use stdio with -daemonize");
        return false;
    }
    if (stdio_taken) {
        error_setg(errp, "cannot use stdio by multiple character devices");
        return false;
    }
    stdio_taken = true;
    chr->ready = channel_new_pipe(dup(STDIN_FILENO), dup(STDOUT_FILENO));
    return true;
}

static void chardev_free(void *opaque)
{
    Chardev *chr = opaque;

    for (int i = 0; i < chr->n_acceptors; i++) {
        close(chr->acceptors[i].fd);
    }
    if (chr->unlink_path) {
        unlink(chr->unlink_path);
    }
    if (chr->dialer) {
        json_decref(chr->dialer->json);
        g_free(chr->dialer);
    }
    channel_free(chr->ready);
    g_free(chr->unlink_path);
    g_free(chr->acceptors);
    g_free(chr->id);
    g_free(chr);
}

bool chardev_add(Co *co, const json_t *json, Error **errp)
{
    ChardevOptions opts;
    Chardev *chr;
    bool is_stdio, ok;

    if (!chardev_options_parse(&opts, json, errp)) {
        return false;
    }
    is_stdio = g_str_equal(opts.backend, "stdio");
    if (chardev_find(opts.id) && !(is_stdio && stdio_taken)) {
        error_setg(errp, "duplicate yank instance");
        return false;
    }
    chr = g_new0(Chardev, 1);
    chr->id = g_strdup(opts.id);
    chr->backend = opts.backend;
    ok = is_stdio ? chardev_open_stdio(chr, errp)
                  : chardev_open_socket(co, chr, &opts, json, errp);
    if (!ok) {
        chardev_free(chr);
        return false;
    }
    if (!chardevs) {
        chardevs = g_ptr_array_new_with_free_func(chardev_free);
    }
    g_ptr_array_add(chardevs, chr);
    return true;
}

static void chardev_stop(Co *co, Chardev *chr)
{
    chr->stopping = true;
    for (int i = 0; i < chr->n_acceptors; i++) {
        if (chr->acceptors[i].co) {
            co_io_cancel(chr->acceptors[i].co);
        }
    }
    if (chr->dialer && chr->dialer->co) {
        co_io_cancel(chr->dialer->co);
        co_sleep_wake(&chr->dialer->pause);
    }
    co_queue_wake_all(&chr->idle);
    while (chr->running) {
        co_queue_wait(co, &chr->ended);
    }
}

void chardev_stop_all(Co *co)
{
    for (Chardev *chr = chardev_next(NULL); chr; chr = chardev_next(chr)) {
        chardev_stop(co, chr);
    }
}

void chardev_remove_all(void)
{
    g_clear_pointer(&chardevs, g_ptr_array_unref);
    stdio_taken = false;
}
