/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * One attempt to reach an NBD export: a socket of ours, a handshake of
 * libnbd's. What a server says in words when it refuses is no part of libnbd's
 * errors; it is taken out of its debug messages.
 */
#include "util/osdep.h"

#include "block/nbd-client.h"
#include "block/nbd-tls.h"

#include <poll.h>

void nbd_target_copy(NbdTarget *dst, const NbdTarget *src)
{
    *dst = (NbdTarget) {
        .addr = SocketAddress_clone(src->addr),
        .export = g_strdup(src->export),
        .context = g_strdup(src->context),
        .context_needed = src->context_needed,
        .tls = src->tls ? tls_creds_ref(src->tls) : NULL,
        .hostname = g_strdup(src->hostname),
    };
}

void nbd_target_clear(NbdTarget *t)
{
    qapi_free_SocketAddress(t->addr);
    g_free(t->export);
    g_free(t->context);
    tls_creds_unref(t->tls);
    g_free(t->hostname);
}

int nbd_connect_pump(Co *co, struct nbd_handle *nbd)
{
    unsigned dir = nbd_aio_get_direction(nbd);
    int events = (dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                 (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0);
    int ret;

    if (!events) {
        return -ENOTCONN;
    }
    ret = co_poll(co, nbd_aio_get_fd(nbd), events);
    if (ret < 0) {
        return ret;
    }
    if (ret & (POLLIN | POLLHUP)) {
        nbd_aio_notify_read(nbd);
    } else {
        nbd_aio_notify_write(nbd);
    }
    return 0;
}

/* ---- the handshake ---- */

#define SERVER_SAYS "server error message: "

static int nbd_connect_debug(void *opaque, const char *context,
                             const char *msg)
{
    char **said = opaque;
    const char *p = strstr(msg, SERVER_SAYS);

    if (p) {
        g_free(*said);
        *said = g_strdup(p + strlen(SERVER_SAYS));
    }
    return 0;
}

static void nbd_connect_set_error(const NbdTarget *t, const char *said,
                                  Error **errp)
{
    ERRP_GUARD();
    const char *msg = nbd_get_error();
    int err = nbd_get_errno();

    if (err == ENOENT) {
        error_setg(errp, "Requested export not available");
    } else if (said) {
        error_setg(errp, "Server refuses export '%s'", t->export);
    } else {
        error_setg(errp, "Failed to read initial magic: %s",
                   msg ? msg : "Unexpected end-of-file before all data were "
                               "read");
    }
    if (said) {
        error_append_hint(errp, "server reported: %s\n", said);
    }
}

static bool nbd_connect_configure(struct nbd_handle *nbd, const NbdTarget *t,
                                  char **said)
{
    return nbd_set_export_name(nbd, t->export) == 0 &&
           nbd_add_meta_context(nbd, t->context) == 0 &&
           nbd_set_debug_callback(nbd, (nbd_debug_callback) {
               .callback = nbd_connect_debug, .user_data = said }) == 0 &&
           nbd_set_debug(nbd, true) == 0;
}

/* Until libnbd is ready for requests. Takes @fd. */
static bool nbd_connect_handshake(Co *co, struct nbd_handle *nbd, int fd,
                                  Error **errp)
{
    int ret = 0;

    if (nbd_aio_connect_socket(nbd, fd) < 0) {
        return false;
    }
    while (ret == 0 && nbd_aio_is_connecting(nbd)) {
        ret = nbd_connect_pump(co, nbd);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to shake hands");
    }
    return ret == 0 && nbd_aio_is_ready(nbd) == 1;
}

/* ---- what the server offers ---- */

static int64_t nbd_connect_block_size(struct nbd_handle *nbd, int which)
{
    return MAX(nbd_get_block_size(nbd, which), 0);
}

static bool nbd_connect_check_info(const NbdInfo *info, Error **errp)
{
    if (info->size < 0) {
        error_setg(errp, "export length is too large");
        return false;
    }
    if (info->min_block &&
        (!is_power_of_2(info->min_block) || info->min_block > 64 * KiB)) {
        error_setg(errp, "server minimum block size %" PRId64
                   " is not a power of two or too large", info->min_block);
        return false;
    }
    if (info->min_block && !IS_ALIGNED(info->size, info->min_block)) {
        error_setg(errp, "export size %" PRId64 " is not multiple of minimum "
                   "block size %" PRId64, info->size, info->min_block);
        return false;
    }
    if (info->max_block && info->max_block < MAX(info->min_block, 1)) {
        error_setg(errp, "server maximum block size %" PRId64
                   " is too small", info->max_block);
        return false;
    }
    return true;
}

static void nbd_connect_info(struct nbd_handle *nbd, const NbdTarget *t,
                             NbdInfo *info)
{
    *info = (NbdInfo) {
        .size = nbd_get_size(nbd),
        .min_block = nbd_connect_block_size(nbd, LIBNBD_SIZE_MINIMUM),
        .opt_block = nbd_connect_block_size(nbd, LIBNBD_SIZE_PREFERRED),
        .max_block = nbd_connect_block_size(nbd, LIBNBD_SIZE_MAXIMUM),
        .read_only = nbd_is_read_only(nbd) > 0,
        .can_flush = nbd_can_flush(nbd) > 0,
        .can_fua = nbd_can_fua(nbd) > 0,
        .can_trim = nbd_can_trim(nbd) > 0,
        .can_zero = nbd_can_zero(nbd) > 0,
        .can_fast_zero = nbd_can_fast_zero(nbd) > 0,
        .can_cache = nbd_can_cache(nbd) > 0,
        .has_status = nbd_can_meta_context(nbd, t->context) > 0,
    };
}

struct nbd_handle *nbd_connect_once(Co *co, const NbdTarget *t, NbdInfo *info,
                                    Error **errp)
{
    SockAddr addr = sock_addr_from_qapi(t->addr);
    g_autofree char *said = NULL;
    struct nbd_handle *nbd;
    NbdTunnel *tunnel = NULL;
    Error *err = NULL;
    int fd = nbd_lib_load(errp) ? sock_connect(co, &addr, errp) : -1;

    if (fd >= 0 && t->tls) {
        tunnel = nbd_tls_start(co, fd, t->tls, t->hostname, &fd, errp);
    }
    if (fd < 0 || (t->tls && !tunnel)) {
        return NULL;
    }
    nbd = nbd_create();
    if (!nbd) {
        error_setg(errp, "%s", nbd_get_error());
        close(fd);
        nbd_tls_end(tunnel);
        return NULL;
    }
    nbd_set_private_data(nbd, (uintptr_t)tunnel);
    if (!nbd_connect_configure(nbd, t, &said)) {
        error_setg(errp, "%s", nbd_get_error());
        close(fd);
    } else if (!nbd_connect_handshake(co, nbd, fd, &err)) {
        if (err) {
            error_propagate(errp, err);
        } else {
            nbd_connect_set_error(t, said, errp);
        }
    } else {
        nbd_set_debug(nbd, false);
        nbd_clear_debug_callback(nbd);
        nbd_connect_info(nbd, t, info);
        if (nbd_connect_check_info(info, errp)) {
            return nbd;
        }
    }
    nbd_connect_close(nbd);
    return NULL;
}

void nbd_connect_close(struct nbd_handle *nbd)
{
    NbdTunnel *tunnel;

    if (nbd) {
        tunnel = (NbdTunnel *)nbd_get_private_data(nbd);
        nbd_close(nbd);
        nbd_tls_end(tunnel);
    }
}
