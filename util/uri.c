/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * NBD exports by name. GLib takes URIs apart; what remains here is which parts
 * NBD allows: a Unix URI has a socket and no server, a TCP URI has a server and
 * no socket; with TLS the query also says which credentials. Of the path the first
 * slash is no part of the export's name.
 */
#include "util/uri.h"

#define NBD_DEFAULT_PORT 10809
#define EXPORT_NAME ":exportname="

bool uri_is_nbd(const char *name)
{
    return g_str_has_prefix(name, "nbd:") ||
           g_str_has_prefix(name, "nbd+tcp:") ||
           g_str_has_prefix(name, "nbd+unix:") ||
           g_str_has_prefix(name, "nbds:") ||
           g_str_has_prefix(name, "nbds+tcp:") ||
           g_str_has_prefix(name, "nbds+unix:");
}

void uri_free_nbd(NbdUri *uri)
{
    if (uri) {
        g_free(uri->socket);
        g_free(uri->host);
        g_free(uri->port);
        g_free(uri->export);
        g_free(uri->certificates);
        g_free(uri->psk_file);
        g_free(uri->hostname);
        g_free(uri->username);
        g_free(uri);
    }
}

/* Where the value of a query's parameter goes; NULL: there is no such one. */
static char **uri_parameter(NbdUri *ret, const char *name)
{
    if (!strcmp(name, "socket")) {
        return &ret->socket;
    }
    return !ret->tls ? NULL :
           !strcmp(name, "tls-certificates") ? &ret->certificates :
           !strcmp(name, "tls-psk-file") ? &ret->psk_file :
           !strcmp(name, "tls-hostname") ? &ret->hostname : NULL;
}

/* Each parameter once, and none that is not known. */
static bool uri_take_query(NbdUri *ret, const char *query)
{
    g_auto(GStrv) parts = g_strsplit_set(query ? query : "", "&;", -1);

    for (char **p = parts; *p && query; p++) {
        g_auto(GStrv) pair = g_strsplit(*p, "=", 2);
        char **to = pair[0] && pair[1] ? uri_parameter(ret, pair[0]) : NULL;

        if (!to || *to) {
            return false;
        }
        *to = g_uri_unescape_string(pair[1], NULL);
        if (!*to) {
            return false;
        }
    }
    return true;
}

/* False if the parts do not make an NBD address. */
static bool uri_take_address(NbdUri *ret, GUri *uri)
{
    const char *scheme = g_uri_get_scheme(uri);
    const char *host = g_uri_get_host(uri);
    bool has_host = host && *host;
    int port = g_uri_get_port(uri);

    ret->tls = g_str_has_prefix(scheme, "nbds");
    ret->username = ret->tls ? g_strdup(g_uri_get_userinfo(uri)) : NULL;
    if (!uri_take_query(ret, g_uri_get_query(uri))) {
        return false;
    }
    if (g_str_has_suffix(scheme, "+unix")) {
        return ret->socket && !has_host && port == -1;
    }
    ret->host = g_strdup(host);
    ret->port = g_strdup_printf("%d", port > 0 ? port : NBD_DEFAULT_PORT);
    return has_host && !ret->socket;
}

static NbdUri *uri_parse_standard(const char *name, Error **errp)
{
    g_autoptr(GUri) uri = g_uri_parse(name, G_URI_FLAGS_ENCODED_QUERY, NULL);
    g_autoptr(NbdUri) ret = g_new0(NbdUri, 1);
    const char *path;

    if (!uri || !uri_take_address(ret, uri)) {
        error_setg(errp, "No valid URL specified");
        return NULL;
    }
    path = g_uri_get_path(uri);
    ret->export = g_strdup(path + (*path == '/'));
    return g_steal_pointer(&ret);
}

/* HOST:PORT or [IPV6]:PORT. */
static bool uri_take_host_port(NbdUri *ret, const char *str, Error **errp)
{
    bool v6 = *str == '[';
    const char *end = strchr(str, v6 ? ']' : ':');
    const char *port = end ? end + v6 : NULL;

    if (!port || *port != ':' || !port[1]) {
        error_setg(errp, "error parsing %saddress '%s'", v6 ? "IPv6 " : "",
                   str);
        return false;
    }
    ret->host = g_strndup(str + v6, end - str - v6);
    ret->port = g_strdup(port + 1);
    return true;
}

/* What follows "nbd:" where there is no "://". */
static NbdUri *uri_parse_older(const char *rest, Error **errp)
{
    g_autoptr(NbdUri) ret = g_new0(NbdUri, 1);
    const char *export = strstr(rest, EXPORT_NAME);
    g_autofree char *address = g_strndup(rest, export ? (size_t)(export - rest)
                                                      : strlen(rest));

    if (!*address || (export && !export[strlen(EXPORT_NAME)])) {
        error_setg(errp, "NBD server address missing");
        return NULL;
    }
    ret->export = g_strdup(export ? export + strlen(EXPORT_NAME) : "");
    if (g_str_has_prefix(address, "unix:")) {
        ret->socket = g_strdup(address + strlen("unix:"));
    } else if (!uri_take_host_port(ret, address, errp)) {
        return NULL;
    }
    return g_steal_pointer(&ret);
}

NbdUri *uri_parse_nbd(const char *name, Error **errp)
{
    if (strstr(name, "://")) {
        return uri_parse_standard(name, errp);
    }
    if (!g_str_has_prefix(name, "nbd:")) {
        error_setg(errp, "File name string for NBD must start with 'nbd:'");
        return NULL;
    }
    return uri_parse_older(name + strlen("nbd:"), errp);
}
