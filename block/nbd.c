/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The driver "nbd": a disk at an NBD server. What the server offers (NbdInfo)
 * decides what each request becomes:
 *
 *     FUA       the server's, or a flush behind it
 *     zero      with FAST_ZERO where the caller has a better way than a slow
 *               one; without it such a request is -ENOTSUP
 *     status    base:allocation, or the context of x-dirty-bitmap: of its flags
 *               bit 0 is read as "no data", bit 1 as "zeroes". A read-only
 *               node with x-dirty-bitmap keeps all extents of an answer
 *
 * A server that comes again may offer another length: the first request then
 * tells the graph. Names are nbd-name.c's, block status is nbd-status.c's.
 */
#include "util/osdep.h"

#include "block/drivers.h"
#include "block/io.h"
#include "block/nbd-disk.h"
#include "block/open.h"
#include "block/reopen.h"

#define NS_PER_S INT64_C(1000000000)
#define NBD_MAX_REQUEST (64 * MiB)      /* libnbd's */
#define NBD_UNTOLD_REQUEST (32 * MiB)   /* where the server names no limit */
#define BASE_ALLOCATION "base:allocation"
#define ALLOCATION_DEPTH "qemu:allocation-depth"

const NbdInfo *nbd_disk_info(const Node *node)
{
    const NbdState *s = node->state;

    return nbd_client_info(s->client);
}

/* ---- open and close ---- */

static int64_t nbd_seconds(bool has, uint32_t seconds)
{
    return has ? seconds * NS_PER_S : 0;
}

static bool nbd_check_offer(Node *node, const NbdTarget *t, Error **errp)
{
    const NbdInfo *info = nbd_disk_info(node);

    if (node->options->u.nbd.x_dirty_bitmap && !info->has_status) {
        error_setg(errp, "requested x-dirty-bitmap %s not found", t->context);
        return false;
    }
    return !info->read_only || node->read_only ||
           open_apply_auto_read_only(node, "request on write denied without "
                                     "write permission", errp);
}

/* Credentials by name, or those that the options themselves describe. */
static bool nbd_find_tls(Co *co, const BlockdevOptionsNbd *o, NbdTarget *t,
                         Error **errp)
{
    TlsCredsSource src = {
        .kind = o->tls_psk_file ? TLS_PSK : TLS_X509,
        .verify_peer = true,
        .sanity_check = true,
        .dir = o->tls_certificates,
        .psk_file = o->tls_psk_file,
        .username = o->tls_username,
    };
    bool own = (o->has_tls && o->tls) || o->tls_certificates ||
               o->tls_psk_file;

    if (own && o->tls_creds) {
        error_setg(errp, "'tls-creds' does not go with other credentials");
        return false;
    }
    t->hostname = o->tls_hostname ? o->tls_hostname :
                  o->server->type == SOCKET_ADDRESS_TYPE_INET
                  ? o->server->u.inet.host : NULL;
    if (o->tls_creds) {
        t->tls = tls_creds_get(o->tls_creds, false, errp);
    } else if (own) {
        t->tls = tls_creds_new(co, &src, errp);
    }
    return t->tls || !(own || o->tls_creds);
}

static bool nbd_disk_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    const BlockdevOptionsNbd *o = &node->options->u.nbd;
    NbdState *s = node->state;
    NbdTarget t = {
        .addr = o->server,
        .export = o->export ? o->export : (char *)"",
        .context = o->x_dirty_bitmap ? o->x_dirty_bitmap
                                     : (char *)BASE_ALLOCATION,
        .context_needed = o->x_dirty_bitmap,
    };

    if (strlen(t.export) > 4096) {
        error_setg(errp, "export name too long to send to server");
        return false;
    }
    if (!nbd_find_tls(co, o, &t, errp)) {
        return false;
    }
    s->depth = strcmp(t.context, ALLOCATION_DEPTH) == 0;
    s->client = nbd_client_new(&t, nbd_seconds(o->has_reconnect_delay,
                                               o->reconnect_delay));
    tls_creds_unref(t.tls);
    if (!nbd_client_open(co, s->client, nbd_seconds(o->has_open_timeout,
                                                    o->open_timeout), errp) ||
        !nbd_check_offer(node, &t, errp)) {
        nbd_client_close(s->client);
        return false;
    }
    if (o->x_dirty_bitmap && node->read_only) {
        s->answer = g_array_new(false, false, sizeof(uint32_t));
    }
    node->length = nbd_disk_info(node)->size;
    return true;
}

static void nbd_disk_close(Co *co, Node *node)
{
    NbdState *s = node->state;

    g_clear_pointer(&s->answer, g_array_unref);
    nbd_client_end_attempt(co, s->client);
    nbd_client_close(s->client);
}

static void nbd_disk_limits(Node *node)
{
    const NbdInfo *info = nbd_disk_info(node);
    BlockLimits *l = &node->limits;
    int64_t align = info->min_block ? info->min_block : 512;

    /* What isn't a whole number of blocks has to be read to its end. */
    if (!IS_ALIGNED(info->size, align)) {
        align = 1;
    }
    l->request_alignment = align;
    l->max_transfer = info->max_block
                      ? ROUND_DOWN(MIN(info->max_block, NBD_MAX_REQUEST), align)
                      : NBD_UNTOLD_REQUEST;
    if (info->opt_block > align) {
        l->opt_transfer = info->opt_block;
    }
}

/* ---- requests ---- */

/* The server that answers now has another length than the one before. */
static void nbd_see_length(Co *co, Node *node)
{
    int64_t old = node->length, now = nbd_disk_info(node)->size;

    if (G_UNLIKELY(now != old)) {
        node->length = now;
        io_length_changed(co, node, old);
    }
}

int nbd_disk_run(Co *co, Node *node, NbdOp *op)
{
    NbdState *s = node->state;
    int ret = nbd_client_run(co, s->client, op);

    nbd_see_length(co, node);
    return ret;
}

static int64_t nbd_issue_read(struct nbd_handle *nbd, NbdOp *op)
{
    return nbd_aio_pread(nbd, op->buf, op->len, op->off,
                         nbd_client_completion(op), op->flags);
}

static int64_t nbd_issue_write(struct nbd_handle *nbd, NbdOp *op)
{
    return nbd_aio_pwrite(nbd, op->buf, op->len, op->off,
                          nbd_client_completion(op), op->flags);
}

static int64_t nbd_issue_zero(struct nbd_handle *nbd, NbdOp *op)
{
    return nbd_aio_zero(nbd, op->len, op->off, nbd_client_completion(op),
                        op->flags);
}

static int64_t nbd_issue_trim(struct nbd_handle *nbd, NbdOp *op)
{
    return nbd_aio_trim(nbd, op->len, op->off, nbd_client_completion(op),
                        op->flags);
}

static int64_t nbd_issue_cache(struct nbd_handle *nbd, NbdOp *op)
{
    return nbd_aio_cache(nbd, op->len, op->off, nbd_client_completion(op), 0);
}

static int64_t nbd_issue_flush(struct nbd_handle *nbd, NbdOp *op)
{
    return nbd_aio_flush(nbd, nbd_client_completion(op), 0);
}

static int nbd_disk_flush(Co *co, Node *node)
{
    NbdOp op = { .issue = nbd_issue_flush };

    return nbd_disk_info(node)->can_flush ? nbd_disk_run(co, node, &op) : 0;
}

/* One piece of memory that is the cut; *@own is set if it had to be made. */
static void *nbd_buffer(const IoVec *iov, int64_t iov_off, int64_t len,
                        void **own)
{
    struct iovec one;

    *own = NULL;
    if (iov_cut_count(iov, iov_off, len) == 1) {
        iov_cut(iov, iov_off, len, &one);
        return one.iov_base;
    }
    *own = g_try_malloc(len);
    return *own;
}

static int nbd_disk_read(Co *co, Node *node, int64_t off, int64_t len,
                    const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    NbdOp op = { .issue = nbd_issue_read, .off = off, .len = len };
    g_autofree void *own = NULL;
    int ret;

    op.buf = nbd_buffer(iov, iov_off, len, &own);
    if (!op.buf) {
        return -ENOMEM;
    }
    ret = nbd_disk_run(co, node, &op);
    if (ret == 0 && own) {
        iov_from_buf(iov, iov_off, own, len);
    }
    return ret;
}

/* Runs what changes data; @fua: durable when it returns. */
static int nbd_disk_run_fua(Co *co, Node *node, NbdOp *op, bool fua)
{
    bool native = nbd_disk_info(node)->can_fua;
    int ret;

    op->flags |= fua && native ? LIBNBD_CMD_FLAG_FUA : 0;
    ret = nbd_disk_run(co, node, op);
    return ret == 0 && fua && !native ? nbd_disk_flush(co, node) : ret;
}

static int nbd_disk_write(Co *co, Node *node, int64_t off, int64_t len,
                     const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    NbdOp op = { .issue = nbd_issue_write, .off = off, .len = len };
    g_autofree void *own = NULL;

    op.buf = nbd_buffer(iov, iov_off, len, &own);
    if (!op.buf) {
        return -ENOMEM;
    }
    if (own) {
        iov_to_buf(iov, iov_off, own, len);
    }
    return nbd_disk_run_fua(co, node, &op, flags & REQ_FUA);
}

static int nbd_disk_zero(Co *co, Node *node, int64_t off, int64_t len,
                    ReqFlags flags)
{
    const NbdInfo *info = nbd_disk_info(node);
    NbdOp op = { .issue = nbd_issue_zero, .off = off, .len = len };

    if (!info->can_zero ||
        ((flags & REQ_NO_FALLBACK) && !info->can_fast_zero)) {
        return -ENOTSUP;
    }
    op.flags = (flags & REQ_MAY_UNMAP ? 0 : LIBNBD_CMD_FLAG_NO_HOLE) |
               (flags & REQ_NO_FALLBACK ? LIBNBD_CMD_FLAG_FAST_ZERO : 0);
    return nbd_disk_run_fua(co, node, &op, flags & REQ_FUA);
}

static int nbd_disk_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    NbdOp op = { .issue = nbd_issue_trim, .off = off, .len = len };

    return nbd_disk_info(node)->can_trim ? nbd_disk_run(co, node, &op) : 0;
}

static int nbd_disk_prefetch(Co *co, Node *node, int64_t off, int64_t len)
{
    NbdOp op = { .issue = nbd_issue_cache, .off = off, .len = len };

    return nbd_disk_info(node)->can_cache ? nbd_disk_run(co, node, &op) : 0;
}

/* ---- length and reopening ---- */

static bool nbd_disk_resize(Co *co, Node *node, int64_t length, bool exact,
                       PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    if (exact && length != node->length) {
        error_setg(errp, "Cannot resize NBD nodes");
        return false;
    }
    if (length > node->length) {
        error_setg(errp, "Cannot grow NBD nodes");
        return false;
    }
    return true;
}

static int64_t nbd_disk_refresh_length(Co *co, Node *node)
{
    return nbd_disk_info(node)->size;
}

static int64_t nbd_disk_allocated_size(Co *co, Node *node)
{
    return -ENOTSUP;
}

static void nbd_disk_loop_leave(Node *node)
{
    NbdState *s = node->state;

    nbd_client_leave_loop(s->client);
}

static void nbd_disk_cancel_in_flight(Node *node)
{
    NbdState *s = node->state;

    nbd_client_cancel(s->client);
}

/* Only the access changes. */
static bool nbd_reopen_prepare(Co *co, ReopenState *st, Transaction *tran,
                               Error **errp)
{
    if (!st->read_only && nbd_disk_info(st->node)->read_only) {
        error_setg(errp, "Can't reopen read-only NBD mount as read/write");
        return false;
    }
    return true;
}

static const ReopenOps nbd_reopen_ops = {
    .prepare = nbd_reopen_prepare,
};

/* Where a server is and what it is asked for; the rest is how. */
static const char *const nbd_disk_content_options[] = {
    "server", "export", "tls-creds", "tls-hostname", "tls",
    "tls-certificates", "tls-psk-file", "tls-username", NULL
};

static const CreateOption nbd_create_options[] = {
    { "size", "size", CREATE_SIZE, NULL, "Virtual disk size" },
    { NULL },
};

static const ImageOps nbd_image_ops = {
    .create_options = nbd_create_options,
};

static const char *const nbd_protocols[] = {
    "nbd+tcp", "nbd+unix", "nbds", "nbds+tcp", "nbds+unix", NULL
};

const BlockDriver nbd_driver = {
    .name = "nbd",
    .id = BLOCKDEV_DRIVER_NBD,
    .kind = DRIVER_PROTOCOL,
    .state_size = sizeof(NbdState),
    .protocol = "nbd",
    .more_protocols = nbd_protocols,
    .exact_filename = true,
    .content_options = nbd_disk_content_options,
    .supports_fua = true,
    .writes_zero_fua = true,
    .parse_filename = nbd_name_parse,
    .old_options = nbd_name_old_options,
    .exact_name = nbd_name_exact,
    .open = nbd_disk_open,
    .close = nbd_disk_close,
    .limits = nbd_disk_limits,
    .read = nbd_disk_read,
    .write = nbd_disk_write,
    .zero = nbd_disk_zero,
    .discard = nbd_disk_discard,
    .flush = nbd_disk_flush,
    .prefetch = nbd_disk_prefetch,
    .status = nbd_status_query,
    .resize = nbd_disk_resize,
    .refresh_length = nbd_disk_refresh_length,
    .allocated_size = nbd_disk_allocated_size,
    .loop_leave = nbd_disk_loop_leave,
    .cancel_in_flight = nbd_disk_cancel_in_flight,
    .reopen = &nbd_reopen_ops,
    .image = &nbd_image_ops,
};
