/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * TLS credentials: read once, from files with QEMU's names in a folder, checked,
 * and shared by all sessions.
 *
 *     x509   ca-cert.pem [ca-crl.pem], server-cert.pem server-key.pem,
 *            client-cert.pem client-key.pem (a client may have none)
 *     psk    keys.psk: lines of USER:KEY-IN-HEX
 *     all    [dh-params.pem], of servers
 *
 * Once made they never change; sessions of any thread hold references.
 */
#include "util/tls-impl.h"

#include <time.h>

#include "util/loop.h"

static GHashTable *table;       /* id to TlsCreds; main loop */

static bool tls_check(int ret, Error **errp, const char *what,
                      const char *path)
{
    if (ret < 0) {
        error_setg(errp, "%s%s%s: %s", what, path ? " " : "",
                   path ? path : "", gnutls_strerror(ret));
    }
    return ret >= 0;
}

/* ---- files ---- */

/* The path of a file in the folder; *@ret NULL: it isn't there, and that is
 * allowed. */
static bool tls_file(const TlsCredsSource *src, const char *name,
                     bool required, char **ret, Error **errp)
{
    char *path = g_build_filename(src->dir, name, NULL);

    if (access(path, R_OK) < 0) {
        bool ok = errno == ENOENT && !required;

        if (!ok) {
            error_setg_errno(errp, errno, "Unable to access credentials %s",
                             path);
        }
        g_clear_pointer(&path, g_free);
        *ret = NULL;
        return ok;
    }
    *ret = path;
    return true;
}

static bool tls_read(const char *path, gnutls_datum_t *ret, Error **errp)
{
    return tls_check(gnutls_load_file(path, ret), errp,
                     "Unable to read credentials", path);
}

/* ---- x509: whether certificates can work ---- */

typedef struct CertList {
    gnutls_x509_crt_t *certs;
    unsigned n;
} CertList;

static void cert_list_clear(CertList *l)
{
    for (unsigned i = 0; i < l->n; i++) {
        gnutls_x509_crt_deinit(l->certs[i]);
    }
    gnutls_free(l->certs);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CertList, cert_list_clear)

static bool cert_list_load(CertList *l, const char *path, const char *what,
                           Error **errp)
{
    gnutls_datum_t data;
    int ret;

    if (!tls_read(path, &data, errp)) {
        return false;
    }
    ret = gnutls_x509_crt_list_import2(&l->certs, &l->n, &data,
                                       GNUTLS_X509_FMT_PEM, 0);
    gnutls_free(data.data);
    return tls_check(ret, errp, what, path);
}

static bool cert_check_times(gnutls_x509_crt_t cert, const char *path,
                             const char *whose, Error **errp)
{
    time_t now = time(NULL);

    if (gnutls_x509_crt_get_expiration_time(cert) < now) {
        error_setg(errp, "The %s certificate %s has expired", whose, path);
        return false;
    }
    if (gnutls_x509_crt_get_activation_time(cert) > now) {
        error_setg(errp, "The %s certificate %s is not yet active", whose,
                   path);
        return false;
    }
    return true;
}

static bool cert_check_ca(gnutls_x509_crt_t cert, const char *path,
                          bool is_ca, const char *whose, Error **errp)
{
    int ret = gnutls_x509_crt_get_basic_constraints(cert, NULL, NULL, NULL);

    if (ret > 0 && !is_ca) {
        error_setg(errp, "The certificate %s basic constraints show a CA, "
                   "but we need one for a %s", path, whose);
        return false;
    }
    if (ret == 0 && is_ca) {
        error_setg(errp, "The certificate %s basic constraints do not show a "
                   "CA", path);
        return false;
    }
    if (ret == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE && is_ca) {
        error_setg(errp, "The certificate %s is missing basic constraints "
                   "for a CA", path);
        return false;
    }
    return true;
}

static bool cert_check_one(gnutls_x509_crt_t cert, const char *path,
                           bool server, bool is_ca, Error **errp)
{
    const char *whose = is_ca ? "CA" : server ? "server" : "client";

    return cert_check_times(cert, path, whose, errp) &&
           cert_check_ca(cert, path, is_ca, whose, errp);
}

static bool cert_check_pair(const CertList *own, const CertList *cas,
                            const char *own_path, const char *ca_path,
                            bool server, Error **errp)
{
    unsigned status = 0;
    int ret = gnutls_x509_crt_list_verify(own->certs, own->n, cas->certs,
                                          cas->n, NULL, 0, 0, &status);

    if (ret < 0 || status) {
        error_setg(errp, "Our own certificate %s failed validation against "
                   "%s: %s", own_path, ca_path, ret < 0 ? gnutls_strerror(ret)
                   : status & GNUTLS_CERT_EXPIRED
                   ? "The certificate has expired"
                   : status & GNUTLS_CERT_REVOKED
                   ? "The certificate has been revoked"
                   : status & GNUTLS_CERT_SIGNER_NOT_FOUND
                   ? "The certificate hasn't got a known issuer"
                   : "The certificate is not trusted");
        return false;
    }
    return true;
}

static bool cert_check(const TlsCredsSource *src, const char *ca_path,
                       const char *own_path, Error **errp)
{
    g_auto(CertList) cas = { 0 }, own = { 0 };

    if (!cert_list_load(&cas, ca_path, "Unable to import CA certificates",
                        errp)) {
        return false;
    }
    for (unsigned i = 0; i < cas.n; i++) {
        if (!cert_check_one(cas.certs[i], ca_path, src->server, true, errp)) {
            return false;
        }
    }
    if (!own_path) {
        return true;
    }
    return cert_list_load(&own, own_path, "Unable to import certificate",
                          errp) &&
           (!own.n || cert_check_one(own.certs[0], own_path, src->server,
                                     false, errp)) &&
           cert_check_pair(&own, &cas, own_path, ca_path, src->server, errp);
}

/* ---- x509: loading ---- */

static bool x509_load_dh(TlsCreds *c, const TlsCredsSource *src,
                         gnutls_dh_params_t *ret, Error **errp)
{
    g_autofree char *path = NULL;
    gnutls_datum_t data;
    bool ok;

    *ret = NULL;
    if (!src->server || !src->dir) {
        return true;
    }
    if (!tls_file(src, "dh-params.pem", false, &path, errp)) {
        return false;
    }
    if (!path) {
        return true;
    }
    if (!tls_read(path, &data, errp)) {
        return false;
    }
    gnutls_dh_params_init(&c->dh);
    ok = tls_check(gnutls_dh_params_import_pkcs3(c->dh, &data,
                                                 GNUTLS_X509_FMT_PEM),
                   errp, "Unable to load DH parameters from", path);
    gnutls_free(data.data);
    *ret = c->dh;
    return ok;
}

static bool x509_load_own(TlsCreds *c, const TlsCredsSource *src,
                          const char *cert, const char *key, Error **errp)
{
    g_autofree char *what =
        g_strdup_printf("Cannot load certificate '%s' & key", cert);

    return tls_check(gnutls_certificate_set_x509_key_file2(
                         c->x509, cert, key, GNUTLS_X509_FMT_PEM,
                         src->password, 0), errp, what, key);
}

static bool x509_load(TlsCreds *c, const TlsCredsSource *src, Error **errp)
{
    g_autofree char *ca = NULL, *crl = NULL, *cert = NULL, *key = NULL;
    const char *cert_name = src->server ? "server-cert.pem"
                                        : "client-cert.pem";
    const char *key_name = src->server ? "server-key.pem" : "client-key.pem";
    gnutls_dh_params_t dh;

    if (!tls_check(gnutls_certificate_allocate_credentials(&c->x509), errp,
                   "Cannot allocate credentials", NULL)) {
        return false;
    }
    if (!src->dir) {
        return tls_check(gnutls_certificate_set_x509_system_trust(c->x509),
                         errp, "Cannot load the system's certificates", NULL);
    }
    if (!tls_file(src, "ca-cert.pem", true, &ca, errp) ||
        !tls_file(src, "ca-crl.pem", false, &crl, errp) ||
        !tls_file(src, cert_name, src->server, &cert, errp) ||
        !tls_file(src, key_name, src->server, &key, errp) ||
        !x509_load_dh(c, src, &dh, errp) ||
        (src->sanity_check && !cert_check(src, ca, cert, errp))) {
        return false;
    }
    if (!tls_check(gnutls_certificate_set_x509_trust_file(
                       c->x509, ca, GNUTLS_X509_FMT_PEM), errp,
                   "Cannot load CA certificate", ca) ||
        (crl && !tls_check(gnutls_certificate_set_x509_crl_file(
                               c->x509, crl, GNUTLS_X509_FMT_PEM), errp,
                           "Cannot load CRL", crl)) ||
        (cert && key && !x509_load_own(c, src, cert, key, errp))) {
        return false;
    }
    if (dh) {
        gnutls_certificate_set_dh_params(c->x509, dh);
    } else if (src->server) {
        gnutls_certificate_set_known_dh_params(c->x509,
                                               GNUTLS_SEC_PARAM_MEDIUM);
    }
    return true;
}

/* ---- anonymous and pre-shared keys ---- */

static bool anon_load(TlsCreds *c, const TlsCredsSource *src, Error **errp)
{
    gnutls_dh_params_t dh;

    if (!src->server) {
        return tls_check(gnutls_anon_allocate_client_credentials(
                             &c->anon_client), errp,
                         "Cannot allocate credentials", NULL);
    }
    if (!tls_check(gnutls_anon_allocate_server_credentials(&c->anon_server),
                   errp, "Cannot allocate credentials", NULL) ||
        !x509_load_dh(c, src, &dh, errp)) {
        return false;
    }
    if (dh) {
        gnutls_anon_set_server_dh_params(c->anon_server, dh);
    } else {
        gnutls_anon_set_server_known_dh_params(c->anon_server,
                                               GNUTLS_SEC_PARAM_MEDIUM);
    }
    return true;
}

static char *psk_path(const TlsCredsSource *src, Error **errp)
{
    char *path;

    if (src->psk_file) {
        return g_strdup(src->psk_file);
    }
    if (!src->dir) {
        error_setg(errp, "Missing 'dir' property value");
        return NULL;
    }
    return tls_file(src, "keys.psk", true, &path, errp) ? path : NULL;
}

/* The key of a user, in hexadecimal digits. */
static char *psk_find(const char *path, const char *user, Error **errp)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    size_t len = strlen(user);

    if (!g_file_get_contents(path, &text, NULL, &err)) {
        error_setg(errp, "Cannot read PSK file %s", path);
        return NULL;
    }
    lines = g_strsplit(text, "\n", -1);
    for (char **l = lines; *l; l++) {
        if (g_str_has_prefix(*l, user) && (*l)[len] == ':') {
            return g_strdup(g_strstrip(*l + len + 1));
        }
    }
    error_setg(errp, "Username %s not found in PSK file %s", user, path);
    return NULL;
}

static bool psk_load_client(TlsCreds *c, const char *path, const char *user,
                            Error **errp)
{
    char *key = psk_find(path, user, errp);
    gnutls_datum_t datum = { (void *)key, key ? strlen(key) : 0 };
    bool ok;

    if (!key) {
        return false;
    }
    ok = tls_check(gnutls_psk_allocate_client_credentials(&c->psk_client),
                   errp, "Cannot allocate credentials", NULL) &&
         tls_check(gnutls_psk_set_client_credentials(
                       c->psk_client, user, &datum, GNUTLS_PSK_KEY_HEX),
                   errp, "Cannot set the key of user", user);
    explicit_bzero(key, strlen(key));
    g_free(key);
    return ok;
}

static bool psk_load(TlsCreds *c, const TlsCredsSource *src, Error **errp)
{
    g_autofree char *path = psk_path(src, errp);
    gnutls_dh_params_t dh;

    if (!path) {
        return false;
    }
    if (!src->server) {
        return psk_load_client(c, path, src->username ? src->username
                                                      : "qemu", errp);
    }
    if (src->username) {
        error_setg(errp, "username should not be set when endpoint=server");
        return false;
    }
    if (!tls_check(gnutls_psk_allocate_server_credentials(&c->psk_server),
                   errp, "Cannot allocate credentials", NULL) ||
        !x509_load_dh(c, src, &dh, errp) ||
        !tls_check(gnutls_psk_set_server_credentials_file(c->psk_server,
                                                          path),
                   errp, "Cannot set PSK server credentials", path)) {
        return false;
    }
    if (dh) {
        gnutls_psk_set_server_dh_params(c->psk_server, dh);
    } else {
        gnutls_psk_set_server_known_dh_params(c->psk_server,
                                              GNUTLS_SEC_PARAM_MEDIUM);
    }
    return true;
}

/* ---- life ---- */

static void tls_creds_free(void *opaque)
{
    TlsCreds *c = opaque;

    g_clear_pointer(&c->x509, gnutls_certificate_free_credentials);
    g_clear_pointer(&c->anon_client, gnutls_anon_free_client_credentials);
    g_clear_pointer(&c->anon_server, gnutls_anon_free_server_credentials);
    g_clear_pointer(&c->psk_client, gnutls_psk_free_client_credentials);
    g_clear_pointer(&c->psk_server, gnutls_psk_free_server_credentials);
    g_clear_pointer(&c->dh, gnutls_dh_params_deinit);
    g_clear_pointer(&c->priority, gnutls_priority_deinit);
}

TlsCreds *tls_creds_ref(TlsCreds *creds)
{
    return g_atomic_rc_box_acquire(creds);
}

void tls_creds_unref(TlsCreds *creds)
{
    if (creds) {
        g_atomic_rc_box_release_full(creds, tls_creds_free);
    }
}

static bool tls_creds_load(TlsCreds *c, const TlsCredsSource *src,
                           Error **errp)
{
    switch (src->kind) {
    case TLS_ANON:
        return anon_load(c, src, errp);
    case TLS_PSK:
        return psk_load(c, src, errp);
    default:
        if (!src->dir && src->server) {
            error_setg(errp, "Missing 'dir' property value");
            return false;
        }
        return x509_load(c, src, errp);
    }
}

typedef struct Loading {
    TlsCreds *creds;
    const TlsCredsSource *src;
    Error **errp;
} Loading;

static int64_t tls_creds_load_work(void *opaque)
{
    Loading *l = opaque;

    return tls_creds_load(l->creds, l->src, l->errp);
}

static bool tls_set_priority(TlsCreds *c, const char *priority,
                             const char *extra, Error **errp)
{
    g_autofree char *all = g_strjoin(":", priority, extra, NULL);

    return tls_check(gnutls_priority_init(&c->priority, all, NULL), errp,
                     "Unable to set TLS session priority", all);
}

TlsCreds *tls_creds_new(Co *co, const TlsCredsSource *src, Error **errp)
{
    static const char *const extra[] = {
        [TLS_ANON] = "+ANON-DH",
        [TLS_PSK] = "+ECDHE-PSK:+DHE-PSK:+PSK",
        [TLS_X509] = NULL,
    };
    TlsCreds *c = g_atomic_rc_box_new0(TlsCreds);
    Loading l = { c, src, errp };

    c->kind = src->kind;
    c->server = src->server;
    c->verify_peer = src->verify_peer;
    if (!tls_lib_load(errp)) {
        g_atomic_rc_box_release(c);
        return NULL;
    }
    if (!tls_set_priority(c, src->priority ? src->priority : "NORMAL",
                          extra[src->kind], errp) ||
        !worker_run(co, tls_creds_load_work, &l)) {
        tls_creds_unref(c);
        return NULL;
    }
    return c;
}

/* ---- names ---- */

void tls_creds_add(const char *id, TlsCreds *creds)
{
    if (!table) {
        table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                      (GDestroyNotify)tls_creds_unref);
    }
    g_hash_table_replace(table, g_strdup(id), creds);
}

void tls_creds_forget(const char *id)
{
    if (table) {
        g_hash_table_remove(table, id);
        if (!g_hash_table_size(table)) {
            g_clear_pointer(&table, g_hash_table_unref);
        }
    }
}

TlsCreds *tls_creds_get(const char *id, bool server, Error **errp)
{
    TlsCreds *creds = table ? g_hash_table_lookup(table, id) : NULL;

    if (!creds) {
        error_setg(errp, "No TLS credentials with id '%s'", id);
        return NULL;
    }
    if (creds->server != server) {
        error_setg(errp, "Expected TLS credentials for a %s endpoint",
                   server ? "server" : "client");
        return NULL;
    }
    return tls_creds_ref(creds);
}
