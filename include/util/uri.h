/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Names of NBD exports as people give them for an image: the URIs of the NBD
 * project's doc/uri.md as far as QEMU takes them, and QEMU's older "nbd:" form.
 *
 *     nbd://HOST[:PORT][/EXPORT]       nbd+tcp:// is the same
 *     nbd+unix:///[EXPORT]?socket=PATH
 *     nbds://[USER@]HOST[:PORT][/EXPORT][?tls-certificates=DIR]
 *     nbds+unix://[USER@]/[EXPORT]?socket=PATH[&tls-psk-file=FILE]
 *     nbd:HOST:PORT[:exportname=EXPORT]
 *     nbd:unix:PATH[:exportname=EXPORT]
 */
#ifndef UTIL_URI_H
#define UTIL_URI_H

#include "util/error.h"

typedef struct NbdUri {
    char *socket;           /* path of a Unix socket; else host and port */
    char *host;
    char *port;             /* a number, or in the older form a service */
    char *export;           /* "" is the default export */
    bool tls;               /* nbds: and the following, each NULL if unset */
    char *certificates;     /* a folder */
    char *psk_file;
    char *hostname;         /* of the certificate */
    char *username;         /* of the key */
} NbdUri;

/* "nbd:" or one of the schemes above, whatever follows. */
bool uri_is_nbd(const char *name);
/* NULL if uri_is_nbd(@name) but the rest is wrong. The caller owns it. */
NbdUri *uri_parse_nbd(const char *name, Error **errp);
void uri_free_nbd(NbdUri *uri);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(NbdUri, uri_free_nbd)

#endif
