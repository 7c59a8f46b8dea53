/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The objects tls-creds-anon, tls-creds-psk and tls-creds-x509. A change of a
 * property loads the files anew: who connects afterwards sees the result, also
 * of files that were replaced in place. A server keeps what it was started with.
 */
#include "monitor/object-internal.h"

#include "util/secret.h"
#include "util/tls.h"

#define TLS_PROPERTIES                                              \
    { "dir", "string", "null" },                                    \
    { "endpoint", "QCryptoTLSCredsEndpoint", "\"client\"" },        \
    { "priority", "string", "null" }

static const ObjectProperty anon_properties[] = {
    TLS_PROPERTIES,
    { "verify-peer", "bool", "true" },
    { NULL }
};

static const ObjectProperty psk_properties[] = {
    TLS_PROPERTIES,
    { "username", "string", "null" },
    { "verify-peer", "bool", "true" },
    { NULL }
};

static const ObjectProperty x509_properties[] = {
    { "dir", "string", "null" },
    { "endpoint", "QCryptoTLSCredsEndpoint", "\"client\"" },
    { "passwordid", "string", "null" },
    { "priority", "string", "null" },
    { "sanity-check", "bool", "true" },
    { "verify-peer", "bool", "true" },
    { NULL }
};

static bool tls_check_values(const json_t *values, Error **errp)
{
    const char *endpoint = object_value_str(values, "endpoint");

    if (QCryptoTLSCredsEndpoint_parse(endpoint, -1, NULL) < 0) {
        error_setg(errp, "Parameter 'endpoint' does not accept value '%s'",
                   endpoint);
        return false;
    }
    return true;
}

static TlsKind tls_kind(ObjectType type)
{
    return type == OBJECT_TYPE_TLS_CREDS_ANON ? TLS_ANON :
           type == OBJECT_TYPE_TLS_CREDS_PSK ? TLS_PSK : TLS_X509;
}

static bool tls_apply(Co *co, Object *obj, const json_t *values, bool first,
                      Error **errp)
{
    const char *passwordid = object_value_str(values, "passwordid");
    g_autoptr(GBytes) secret = passwordid ? secret_get(passwordid, errp)
                                          : NULL;
    g_autofree char *password = NULL;
    TlsCredsSource src = {
        .kind = tls_kind(object_type(obj)),
        .server = strcmp(object_value_str(values, "endpoint"), "server") == 0,
        .verify_peer = json_is_true(json_object_get(values, "verify-peer")),
        .sanity_check = json_is_true(json_object_get(values, "sanity-check")),
        .dir = object_value_str(values, "dir"),
        .username = object_value_str(values, "username"),
        .priority = object_value_str(values, "priority"),
    };
    TlsCreds *creds;

    if (passwordid && !secret) {
        return false;
    }
    if (secret) {
        password = g_strndup(g_bytes_get_data(secret, NULL),
                             g_bytes_get_size(secret));
        src.password = password;
    }
    if (!src.dir && src.kind == TLS_X509) {
        error_setg(errp, "Missing 'dir' property value");
        return false;
    }
    creds = tls_creds_new(co, &src, errp);
    if (creds) {
        tls_creds_add(object_id(obj), creds);
    }
    return creds;
}

static bool tls_remove(Co *co, Object *obj, Error **errp)
{
    tls_creds_forget(object_id(obj));
    return true;
}

const ObjectClass tls_creds_anon_class = {
    anon_properties, tls_check_values, tls_apply, tls_remove
};
const ObjectClass tls_creds_psk_class = {
    psk_properties, tls_check_values, tls_apply, tls_remove
};
const ObjectClass tls_creds_x509_class = {
    x509_properties, tls_check_values, tls_apply, tls_remove
};
