/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A connection to an NBD server that comes again when it is lost: what the
 * driver "nbd" stands on. libnbd speaks the protocol; here are coroutines that
 * wait for it, and what becomes of requests meanwhile.
 *
 *     nbd-connect.c   one attempt: a socket, a handshake
 *     nbd-tls.c       TLS below it
 *     nbd-client.c    requests, loss, return
 *     nbd.c           the block driver
 *
 * A client is used on one loop at a time, its user's.
 */
#ifndef BLOCK_NBD_CLIENT_H
#define BLOCK_NBD_CLIENT_H

#include "block/nbd-lib.h"
#include "qapi/sock-addr.h"
#include "util/co.h"
#include "util/loop.h"
#include "util/tls.h"

/* ---- nbd-connect.c ---- */

/* Whom to ask for what. Copied by those who keep it. */
typedef struct NbdTarget {
    SocketAddress *addr;
    char *export;               /* "" is the default export */
    char *context;              /* whose status is asked for */
    bool context_needed;        /* a server that comes again without is none */
    TlsCreds *tls;              /* NULL: none */
    char *hostname;             /* that the certificate must have; or NULL */
} NbdTarget;
void nbd_target_copy(NbdTarget *dst, const NbdTarget *src);
void nbd_target_clear(NbdTarget *t);

/* What a server says of an export. */
typedef struct NbdInfo {
    int64_t size;
    int64_t min_block, opt_block, max_block;    /* 0: it does not say */
    bool read_only, can_flush, can_fua, can_trim, can_zero, can_fast_zero,
         can_cache, has_status;
} NbdInfo;

/*
 * Connects and shakes hands: a handle that is ready, or NULL. Suspends; ends
 * soon, with an error, after co_io_cancel(). QEMU's texts.
 */
struct nbd_handle *nbd_connect_once(Co *co, const NbdTarget *t, NbdInfo *info,
                                    Error **errp);
/* Frees the handle, and the tunnel below it; NULL ok. */
void nbd_connect_close(struct nbd_handle *nbd);
/* Waits until the handle's socket allows what it wants to do, and lets it. 0,
 * or -errno if it could not wait (-ECANCELED after co_io_cancel). */
int nbd_connect_pump(Co *co, struct nbd_handle *nbd);

/* ---- nbd-client.c ---- */

typedef struct NbdClient NbdClient;

/* @reconnect_ns: how long requests wait for a server that is lost. */
NbdClient *nbd_client_new(const NbdTarget *t, int64_t reconnect_ns);
/* Tries for @timeout_ns (0: once). Suspends. */
bool nbd_client_open(Co *co, NbdClient *c, int64_t timeout_ns, Error **errp);
/* Before nbd_client_close, where the loop may end soon: nothing tries to connect
 * any more. Suspends. */
void nbd_client_end_attempt(Co *co, NbdClient *c);
/* No request is under way. Says good-bye, frees. */
void nbd_client_close(NbdClient *c);
/* Nor is one here: the user is about to go to another loop. */
void nbd_client_leave_loop(NbdClient *c);
/* If the server does not answer anything for a while, the requests under way
 * end with -ECANCELED and the connection counts as lost. Never suspends. */
void nbd_client_cancel(NbdClient *c);
/* Of the last server that answered. */
const NbdInfo *nbd_client_info(const NbdClient *c);

/* One request, on its coroutine's stack. */
typedef struct NbdOp NbdOp;
struct NbdOp {
    /* Gives it to the handle; what nbd_aio_* returned. It may be called again
     * if the connection is lost. */
    int64_t (*issue)(struct nbd_handle *nbd, NbdOp *op);
    int64_t off, len;
    void *buf;
    uint32_t flags;             /* LIBNBD_CMD_FLAG_* */
    /* Block status: the first extent of the context. */
    uint32_t extent_len, extent_flags;

    /* nbd-client.c */
    Co *waiting;
    bool done;
    int err;                    /* positive errno of the server */
    unsigned given_up;          /* the client's, when it began */
    NbdOp *next, **link;
};
/* The callback to hand to nbd_aio_*. */
nbd_completion_callback nbd_client_completion(NbdOp *op);
/* 0 or -errno: what the server said, or -EIO if it is lost. Suspends. */
int nbd_client_run(Co *co, NbdClient *c, NbdOp *op);

#endif
