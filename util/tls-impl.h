/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What credentials are to the layer that uses them. */
#ifndef UTIL_TLS_IMPL_H
#define UTIL_TLS_IMPL_H

#include "util/tls-lib.h"
#include "util/tls.h"

struct TlsCreds {
    TlsKind kind;
    bool server, verify_peer;
    gnutls_priority_t priority;
    /* One of these. */
    gnutls_certificate_credentials_t x509;
    gnutls_anon_client_credentials_t anon_client;
    gnutls_anon_server_credentials_t anon_server;
    gnutls_psk_client_credentials_t psk_client;
    gnutls_psk_server_credentials_t psk_server;
    gnutls_dh_params_t dh;          /* those that the above refer to */
};

#endif
