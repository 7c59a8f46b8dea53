/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Passwords and keys by the names that users give them (`--object secret,...`),
 * for those who need them: drivers, NBD. Main loop only.
 */
#ifndef UTIL_SECRET_H
#define UTIL_SECRET_H

#include "util/co.h"
#include "util/error.h"

/* Where a secret comes from; what is not said is NULL. */
typedef struct SecretSource {
    const char *data;           /* one of these two */
    const char *file;
    bool base64;                /* how it is written */
    const char *keyid;          /* the secret (32 bytes) that decrypts it, ... */
    const char *iv;             /* ... by AES-256-CBC, and the IV in base64 */
} SecretSource;

/* Reads, decodes and decrypts; replaces a secret of the same name. Suspends.
 * QEMU's texts. */
bool secret_load(Co *co, const char *id, const SecretSource *src,
                 Error **errp);
void secret_forget(const char *id);
/* Any bytes; a new reference, or NULL: "No secret with id 'x'". */
GBytes *secret_get(const char *id, Error **errp);

#endif
