/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A table of secrets. The order of loading: read, and if a key is named, undo
 * base64 where told, decrypt, take off the padding (PKCS #7: the last byte says
 * how many there are); else undo base64 where told.
 */
#include "util/secret.h"

#include "util/loop.h"
#include "util/tls-lib.h"

#include <string.h>

#define KEY_SIZE   32
#define BLOCK_SIZE 16

static GHashTable *secrets;     /* id to GBytes */

/* The memory is not left lying about. */
static void secret_wipe(void *opaque)
{
    GByteArray *buf = opaque;

    if (buf->len) {
        explicit_bzero(buf->data, buf->len);
    }
    g_byte_array_unref(buf);
}

static GBytes *secret_take(GByteArray *buf)
{
    return g_bytes_new_with_free_func(buf->data, buf->len, secret_wipe, buf);
}

/* ---- reading ---- */

typedef struct SecretFile {
    const char *path;
    GByteArray *buf;
    GError *err;
} SecretFile;

static int64_t secret_read_file(void *opaque)
{
    SecretFile *f = opaque;
    gchar *text;
    gsize len;

    if (g_file_get_contents(f->path, &text, &len, &f->err)) {
        f->buf = g_byte_array_new_take((guint8 *)text, len);
    }
    return 0;
}

static GByteArray *secret_read(Co *co, const SecretSource *src, Error **errp)
{
    SecretFile f = { .path = src->file };

    if (src->data && src->file) {
        error_setg(errp, "'file' and 'data' are mutually exclusive");
        return NULL;
    }
    if (src->data) {
        return g_byte_array_append(g_byte_array_new(),
                                   (const guint8 *)src->data,
                                   strlen(src->data));
    }
    if (!src->file) {
        error_setg(errp, "Either 'file' or 'data' must be provided");
        return NULL;
    }
    worker_run(co, secret_read_file, &f);
    if (!f.buf) {
        error_setg(errp, "Unable to read %s: %s", src->file, f.err->message);
        g_error_free(f.err);
    }
    return f.buf;
}

/* ---- decoding ---- */

static const char base64_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\n";

static GByteArray *secret_decode(const char *text, size_t len, Error **errp)
{
    g_autofree char *copy = g_strndup(text, len);
    guchar *data;
    gsize n;

    if (strlen(copy) != len) {
        error_setg(errp, "Base64 data is not NUL terminated");
        return NULL;
    }
    if (strspn(copy, base64_chars) != len) {
        error_setg(errp, "Base64 data contains invalid characters");
        return NULL;
    }
    data = g_base64_decode(copy, &n);
    return g_byte_array_new_take(data, n);
}

/* Replaces *@buf by its decoded content. */
static bool secret_undo_base64(GByteArray **buf, Error **errp)
{
    GByteArray *out = secret_decode((const char *)(*buf)->data, (*buf)->len,
                                    errp);

    if (!out) {
        return false;
    }
    secret_wipe(*buf);
    *buf = out;
    return true;
}

static GBytes *secret_key(const char *keyid, Error **errp)
{
    GBytes *key = secret_get(keyid, errp);

    if (key && g_bytes_get_size(key) != KEY_SIZE) {
        error_setg(errp, "Key should be %d bytes in length", KEY_SIZE);
        g_clear_pointer(&key, g_bytes_unref);
    }
    return key;
}

static GByteArray *secret_iv(const char *text, Error **errp)
{
    GByteArray *iv;

    if (!text) {
        error_setg(errp, "IV is required to decrypt secret");
        return NULL;
    }
    iv = secret_decode(text, strlen(text), errp);
    if (iv && iv->len != BLOCK_SIZE) {
        error_setg(errp, "IV should be %d bytes in length not %u", BLOCK_SIZE,
                   iv->len);
        g_clear_pointer(&iv, g_byte_array_unref);
    }
    return iv;
}

static bool secret_decrypt_bytes(GByteArray *buf, GBytes *key, GByteArray *iv,
                                 Error **errp)
{
    gnutls_datum_t k = { (void *)g_bytes_get_data(key, NULL), KEY_SIZE };
    gnutls_datum_t v = { iv->data, iv->len };
    gnutls_cipher_hd_t cipher;
    int ret;

    if (buf->len % BLOCK_SIZE) {
        error_setg(errp, "Length %u must be a multiple of block size %d",
                   buf->len, BLOCK_SIZE);
        return false;
    }
    if (!tls_lib_load(errp)) {
        return false;
    }
    ret = gnutls_cipher_init(&cipher, GNUTLS_CIPHER_AES_256_CBC, &k, &v);
    if (ret < 0) {
        error_setg(errp, "Cannot initialize cipher: %s",
                   gnutls_strerror(ret));
        return false;
    }
    ret = gnutls_cipher_decrypt(cipher, buf->data, buf->len);
    gnutls_cipher_deinit(cipher);
    if (ret < 0) {
        error_setg(errp, "Cannot decrypt data: %s", gnutls_strerror(ret));
        return false;
    }
    return true;
}

static bool secret_take_off_padding(GByteArray *buf, Error **errp)
{
    unsigned n;

    if (!buf->len) {
        return true;
    }
    n = buf->data[buf->len - 1];
    if (!n || n > BLOCK_SIZE || n > buf->len) {
        error_setg(errp, "Incorrect number of padding bytes (%u) found on "
                   "decrypted data", n);
        return false;
    }
    g_byte_array_set_size(buf, buf->len - n);
    return true;
}

static bool secret_decrypt(GByteArray *buf, const SecretSource *src,
                           Error **errp)
{
    g_autoptr(GBytes) key = secret_key(src->keyid, errp);
    g_autoptr(GByteArray) iv = key ? secret_iv(src->iv, errp) : NULL;

    return iv && secret_decrypt_bytes(buf, key, iv, errp) &&
           secret_take_off_padding(buf, errp);
}

/* ---- the table ---- */

bool secret_load(Co *co, const char *id, const SecretSource *src,
                 Error **errp)
{
    GByteArray *buf = secret_read(co, src, errp);

    if (!buf) {
        return false;
    }
    if ((src->base64 && !secret_undo_base64(&buf, errp)) ||
        (src->keyid && !secret_decrypt(buf, src, errp))) {
        secret_wipe(buf);
        return false;
    }
    if (!secrets) {
        secrets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                        (GDestroyNotify)g_bytes_unref);
    }
    g_hash_table_replace(secrets, g_strdup(id), secret_take(buf));
    return true;
}

void secret_forget(const char *id)
{
    if (secrets) {
        g_hash_table_remove(secrets, id);
        if (!g_hash_table_size(secrets)) {
            g_clear_pointer(&secrets, g_hash_table_unref);
        }
    }
}

GBytes *secret_get(const char *id, Error **errp)
{
    GBytes *secret = secrets ? g_hash_table_lookup(secrets, id) : NULL;

    if (!secret) {
        error_setg(errp, "No secret with id '%s'", id);
        return NULL;
    }
    return g_bytes_ref(secret);
}
