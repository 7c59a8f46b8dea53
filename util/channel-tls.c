/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * TLS as a layer of a channel.
 *
 *     kernel --read--> in --pull--> GnuTLS --> the user
 *     kernel <-write-- out <-push-- GnuTLS <-- the user
 *
 * GnuTLS never waits: it takes what is in `in` and is told "not now" when that
 * is empty, and it always finds room in `out`. All waiting is ours, between its
 * calls, so that a reader and a writer may share a session: their calls do not
 * overlap. The writer empties `out`; what a reader's call leaves there (an
 * answer to a request for new keys) goes with the next write.
 *
 * The handshake's calls do the expensive arithmetic: each runs in a worker. Until
 * it is over nobody else knows the session.
 */
#include "util/tls-impl.h"

#include "util/loop.h"

#define IN_SIZE (64 * 1024)
#define RECORD_SIZE (16 * 1024)     /* the longest record (RFC 8446, 5.1) */
#define BATCH_SIZE (16 * RECORD_SIZE)

typedef struct TlsLayer {
    gnutls_session_t session;
    TlsCreds *creds;
    char *peer;             /* see channel_tls_peer */
    uint8_t *in;            /* received: [in_pos, in_end) */
    size_t in_pos, in_end;
    bool in_eof;
    GByteArray *out;        /* to be sent */
    uint8_t *gather;        /* small pieces on their way to a record */
} TlsLayer;

/* ---- what GnuTLS calls ---- */

static ssize_t tls_pull(gnutls_transport_ptr_t opaque, void *buf, size_t len)
{
    TlsLayer *t = opaque;
    size_t n = MIN(len, t->in_end - t->in_pos);

    if (!n && !t->in_eof) {
        gnutls_transport_set_errno(t->session, EAGAIN);
        return -1;
    }
    memcpy(buf, t->in + t->in_pos, n);
    t->in_pos += n;
    return n;
}

static ssize_t tls_push(gnutls_transport_ptr_t opaque, const void *buf,
                        size_t len)
{
    TlsLayer *t = opaque;

    g_byte_array_append(t->out, buf, len);
    return len;
}

/* ---- waiting ---- */

/* Receives once more. 0 or -errno. */
static int tls_fill(Co *co, Channel *ch, TlsLayer *t)
{
    ssize_t n;

    if (t->in_pos == t->in_end) {
        t->in_pos = t->in_end = 0;
    }
    n = channel_raw_read(co, ch, t->in + t->in_end, IN_SIZE - t->in_end);
    if (n < 0) {
        return n;
    }
    t->in_eof = n == 0;
    t->in_end += n;
    return 0;
}

static int tls_drain(Co *co, Channel *ch, TlsLayer *t)
{
    size_t done = 0;

    while (done < t->out->len) {
        struct iovec iov = { t->out->data + done, t->out->len - done };
        ssize_t n = channel_raw_writev(co, ch, &iov, 1);

        if (n < 0) {
            return n;
        }
        done += n;
    }
    g_byte_array_set_size(t->out, 0);
    return 0;
}

/* ---- reading and writing ---- */

static int tls_errno(int ret)
{
    return ret == GNUTLS_E_PREMATURE_TERMINATION ? -ECONNABORTED : -EIO;
}

static ssize_t tls_layer_read(Co *co, Channel *ch, void *layer, void *buf,
                              size_t len)
{
    TlsLayer *t = layer;

    for (;;) {
        ssize_t n = gnutls_record_recv(t->session, buf, len);
        int ret;

        if (n >= 0) {
            return n;
        }
        if (n == GNUTLS_E_PREMATURE_TERMINATION) {
            return 0;       /* without a good-bye, as many do */
        }
        if (n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED &&
            n != GNUTLS_E_REHANDSHAKE) {
            return tls_errno(n);
        }
        if (n == GNUTLS_E_AGAIN) {
            ret = tls_fill(co, ch, t);
            if (ret < 0) {
                return ret;
            }
        }
    }
}

/* The next bytes of @iov from @off on, as one piece of a record's size. */
static const void *tls_gather(TlsLayer *t, const struct iovec *iov, int niov,
                              size_t off, size_t *len)
{
    size_t n = 0;

    while (niov && off >= iov->iov_len) {
        off -= iov->iov_len;
        iov++;
        niov--;
    }
    if (niov && (niov == 1 || iov->iov_len - off >= RECORD_SIZE)) {
        *len = MIN(iov->iov_len - off, RECORD_SIZE);
        return (char *)iov->iov_base + off;
    }
    for (; niov && n < RECORD_SIZE; iov++, niov--) {
        size_t part = MIN(iov->iov_len - off, RECORD_SIZE - n);

        memcpy(t->gather + n, (char *)iov->iov_base + off, part);
        n += part;
        off = 0;
    }
    *len = n;
    return t->gather;
}

static ssize_t tls_layer_writev(Co *co, Channel *ch, void *layer,
                                const struct iovec *iov, int niov)
{
    TlsLayer *t = layer;
    size_t done = 0, len;
    int ret;

    while (done < BATCH_SIZE) {
        const void *p = tls_gather(t, iov, niov, done, &len);
        ssize_t n;

        if (!len) {
            break;
        }
        n = gnutls_record_send(t->session, p, len);
        if (n < 0) {
            return tls_errno(n);
        }
        done += n;
    }
    ret = tls_drain(co, ch, t);
    return ret < 0 ? ret : (ssize_t)done;
}

static void tls_layer_free(void *layer)
{
    TlsLayer *t = layer;

    gnutls_deinit(t->session);
    tls_creds_unref(t->creds);
    g_byte_array_unref(t->out);
    g_free(t->in);
    g_free(t->gather);
    g_free(t->peer);
    g_free(t);
}

static const ChannelLayer tls_layer_ops = {
    .read = tls_layer_read,
    .writev = tls_layer_writev,
    .free = tls_layer_free,
};

bool channel_is_tls(const Channel *ch)
{
    return channel_layer(ch, &tls_layer_ops) != NULL;
}

char *channel_tls_peer(const Channel *ch)
{
    TlsLayer *t = channel_layer(ch, &tls_layer_ops);

    return t ? g_strdup(t->peer) : NULL;
}

/* ---- the handshake ---- */

static int tls_set_credentials(TlsLayer *t)
{
    const TlsCreds *c = t->creds;

    switch (c->kind) {
    case TLS_ANON:
        return gnutls_credentials_set(t->session, GNUTLS_CRD_ANON,
                                      c->server ? (void *)c->anon_server
                                                : (void *)c->anon_client);
    case TLS_PSK:
        return gnutls_credentials_set(t->session, GNUTLS_CRD_PSK,
                                      c->server ? (void *)c->psk_server
                                                : (void *)c->psk_client);
    default:
        if (c->server && c->verify_peer) {
            gnutls_certificate_server_set_request(t->session,
                                                  GNUTLS_CERT_REQUEST);
        }
        return gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE,
                                      c->x509);
    }
}

static TlsLayer *tls_new(TlsCreds *creds, const char *hostname, Error **errp)
{
    TlsLayer *t = g_new0(TlsLayer, 1);
    int ret;

    t->creds = tls_creds_ref(creds);
    t->in = g_malloc(IN_SIZE);
    t->gather = g_malloc(RECORD_SIZE);
    t->out = g_byte_array_new();
    ret = gnutls_init(&t->session, (creds->server ? GNUTLS_SERVER
                                                  : GNUTLS_CLIENT) |
                                   GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    if (ret >= 0) {
        ret = gnutls_priority_set(t->session, creds->priority);
    }
    if (ret >= 0) {
        ret = tls_set_credentials(t);
    }
    if (ret >= 0 && hostname && creds->kind == TLS_X509) {
        ret = gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, hostname,
                                     strlen(hostname));
    }
    if (ret < 0) {
        error_setg(errp, "Cannot initialize TLS session: %s",
                   gnutls_strerror(ret));
        tls_layer_free(t);
        return NULL;
    }
    gnutls_transport_set_ptr(t->session, t);
    gnutls_transport_set_pull_function(t->session, tls_pull);
    gnutls_transport_set_push_function(t->session, tls_push);
    gnutls_handshake_set_timeout(t->session, 0);
    return t;
}

static int64_t tls_handshake_work(void *opaque)
{
    TlsLayer *t = opaque;

    return gnutls_handshake(t->session);
}

static bool tls_shake_hands(Co *co, Channel *ch, TlsLayer *t, Error **errp)
{
    for (;;) {
        int ret = worker_run(co, tls_handshake_work, t);
        int err = tls_drain(co, ch, t);

        if (ret >= 0 && err == 0) {
            return true;
        }
        if (ret < 0 && gnutls_error_is_fatal(ret)) {
            error_setg(errp, "TLS handshake failed: %s",
                       gnutls_strerror(ret));
            return false;
        }
        if (err == 0 && ret == GNUTLS_E_AGAIN) {
            err = tls_fill(co, ch, t);
        }
        if (err < 0) {
            error_setg_errno(errp, -err, "TLS handshake failed");
            return false;
        }
    }
}

/* ---- who it is ---- */

static bool tls_take_name(TlsLayer *t, Error **errp)
{
    unsigned n;
    const gnutls_datum_t *certs = gnutls_certificate_get_peers(t->session, &n);
    gnutls_x509_crt_t cert;
    gnutls_datum_t dn = { NULL, 0 };
    int ret;

    if (!certs || !n) {
        error_setg(errp, "No certificate peers");
        return false;
    }
    gnutls_x509_crt_init(&cert);
    ret = gnutls_x509_crt_import(cert, &certs[0], GNUTLS_X509_FMT_DER);
    if (ret >= 0) {
        ret = gnutls_x509_crt_get_dn3(cert, &dn, GNUTLS_X509_DN_FLAG_COMPAT);
    }
    gnutls_x509_crt_deinit(cert);
    if (ret < 0) {
        error_setg(errp, "Cannot get client distinguished name: %s",
                   gnutls_strerror(ret));
        return false;
    }
    t->peer = g_strndup((const char *)dn.data, dn.size);
    gnutls_free(dn.data);
    return true;
}

static void tls_tell_status(unsigned status, const char *hostname,
                            Error **errp)
{
    if (status & GNUTLS_CERT_INSECURE_ALGORITHM) {
        error_setg(errp, "The certificate uses an insecure algorithm");
    } else if (status & GNUTLS_CERT_REVOKED) {
        error_setg(errp, "The certificate has been revoked");
    } else if (status & GNUTLS_CERT_SIGNER_NOT_FOUND) {
        error_setg(errp, "The certificate hasn't got a known issuer");
    } else if ((status & GNUTLS_CERT_UNEXPECTED_OWNER) &&
               !(status & ~(GNUTLS_CERT_INVALID |
                            GNUTLS_CERT_UNEXPECTED_OWNER))) {
        error_setg(errp, "Certificate does not match the hostname %s",
                   hostname);
    } else {
        error_setg(errp, "The certificate is not trusted");
    }
}

static bool tls_check_certificate(TlsLayer *t, const char *hostname,
                                  Error **errp)
{
    unsigned status = 0;
    int ret = gnutls_certificate_verify_peers3(t->session, hostname, &status);

    if (ret < 0) {
        error_setg(errp, "Verify failed: %s",
                   ret == GNUTLS_E_NO_CERTIFICATE_FOUND
                   ? "No certificate was found." : gnutls_strerror(ret));
        return false;
    }
    if (!status) {
        return tls_take_name(t, errp);
    }
    tls_tell_status(status, hostname, errp);
    return false;
}

static bool tls_check_peer(TlsLayer *t, const char *hostname, Error **errp)
{
    const TlsCreds *c = t->creds;

    if (c->kind == TLS_PSK && c->server) {
        t->peer = g_strdup(gnutls_psk_server_get_username(t->session));
    }
    if (c->kind != TLS_X509 || !c->verify_peer) {
        return true;
    }
    if (!c->server && !hostname) {
        error_setg(errp, "No hostname for certificate validation");
        return false;
    }
    return tls_check_certificate(t, c->server ? NULL : hostname, errp);
}

bool channel_start_tls(Co *co, Channel *ch, TlsCreds *creds,
                       const char *hostname, Error **errp)
{
    TlsLayer *t = tls_new(creds, hostname, errp);

    if (!t) {
        return false;
    }
    if (!tls_shake_hands(co, ch, t, errp) ||
        !tls_check_peer(t, hostname, errp)) {
        tls_layer_free(t);
        return false;
    }
    channel_push_layer(ch, &tls_layer_ops, t);
    return true;
}
