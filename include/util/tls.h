/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * TLS on channels, by GnuTLS: credentials that users name (`--object
 * tls-creds-x509,...`) and the layer that uses them.
 */
#ifndef UTIL_TLS_H
#define UTIL_TLS_H

#include "util/channel.h"

typedef struct TlsCreds TlsCreds;

typedef enum TlsKind {
    TLS_ANON,               /* encryption without knowing with whom */
    TLS_PSK,                /* both sides know a key */
    TLS_X509,               /* certificates */
} TlsKind;

/* Where credentials come from; what is not said is NULL. */
typedef struct TlsCredsSource {
    TlsKind kind;
    bool server;            /* which end they are for */
    bool verify_peer;       /* server: the client must have a certificate that
                             * the CA has signed; client: likewise the server */
    bool sanity_check;      /* refuse certificates that can't work */
    const char *dir;        /* of files called as QEMU's: ca-cert.pem, ... */
    const char *psk_file;   /* in place of keys.psk in @dir */
    const char *username;   /* PSK: the client's; "qemu" */
    const char *priority;   /* of GnuTLS; "NORMAL" */
    const char *password;   /* of the private key */
} TlsCredsSource;

/* ---- util/tls-creds.c: immutable, counted, for any thread ---- */

/* x509 of a client without @dir: what the system trusts. Reads files in a
 * worker; suspends. QEMU's texts. */
TlsCreds *tls_creds_new(Co *co, const TlsCredsSource *src, Error **errp);
TlsCreds *tls_creds_ref(TlsCreds *creds);
void tls_creds_unref(TlsCreds *creds);              /* NULL ok */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TlsCreds, tls_creds_unref)

/* By name; main loop. The table takes @creds and drops those of that name. */
void tls_creds_add(const char *id, TlsCreds *creds);
void tls_creds_forget(const char *id);
/* A new reference, or NULL: "No TLS credentials with id 'x'", "Expected TLS
 * credentials for a server endpoint". */
TlsCreds *tls_creds_get(const char *id, bool server, Error **errp);

/* ---- util/channel-tls.c ---- */

/*
 * Shakes hands and puts the layer on @ch. The work of it is done by workers,
 * the waiting is suspending. @hostname: a client's idea of whom it talks to,
 * needed to verify an x509 peer. False if the peer is not who it should be.
 */
bool channel_start_tls(Co *co, Channel *ch, TlsCreds *creds,
                       const char *hostname, Error **errp);
bool channel_is_tls(const Channel *ch);
/* Whom the handshake has shown the peer to be: the distinguished name of its
 * certificate, or the user of its key; NULL: nobody. Caller frees. */
char *channel_tls_peer(const Channel *ch);

#endif
