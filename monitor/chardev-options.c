/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The options of --chardev. One table serves all backends, as in QEMU, where
 * an option of another backend is not an error either. What the table knows
 * but no code does is refused as soon as it is asked for.
 */
#include "chardev-internal.h"

#include "util/id.h"

#include <unistd.h>

typedef enum OptionKind { OPTION_STR, OPTION_BOOL, OPTION_NUM } OptionKind;

static const struct {
    const char *name;
    OptionKind kind;
    bool built;
} option_table[] = {
    { "abstract", OPTION_BOOL, true },
    { "backend", OPTION_STR, true },
    { "delay", OPTION_BOOL, true },
    { "fd", OPTION_STR, true },
    { "host", OPTION_STR, true },
    { "id", OPTION_STR, true },
    { "ipv4", OPTION_BOOL, true },
    { "ipv6", OPTION_BOOL, true },
    { "logappend", OPTION_BOOL, true },
    { "logfile", OPTION_STR, false },
    { "mux", OPTION_BOOL, false },
    { "nodelay", OPTION_BOOL, true },
    { "path", OPTION_STR, true },
    { "port", OPTION_STR, true },
    { "reconnect", OPTION_NUM, true },
    { "server", OPTION_BOOL, true },
    { "signal", OPTION_BOOL, true },
    { "telnet", OPTION_BOOL, false },
    { "tight", OPTION_BOOL, true },
    { "tls-authz", OPTION_STR, true },
    { "tls-creds", OPTION_STR, true },
    { "tn3270", OPTION_BOOL, false },
    { "to", OPTION_NUM, true },
    { "wait", OPTION_BOOL, true },
    { "websocket", OPTION_BOOL, false },
};

const char *const chardev_backends[] = { "socket", "stdio", NULL };

static const char *get_str(const json_t *json, const char *key)
{
    return json_get_string(json_object_get(json, key));
}

static bool parse_bool(const char *value, bool *out)
{
    if (g_str_equal(value, "on") || g_str_equal(value, "yes") ||
        g_str_equal(value, "true") || g_str_equal(value, "y")) {
        *out = true;
    } else if (g_str_equal(value, "off") || g_str_equal(value, "no") ||
               g_str_equal(value, "false") || g_str_equal(value, "n")) {
        *out = false;
    } else {
        return false;
    }
    return true;
}

/* After check_options(), which has seen that it is one. */
static bool get_bool(const json_t *json, const char *key, bool value)
{
    const char *str = get_str(json, key);

    if (str) {
        parse_bool(str, &value);
    }
    return value;
}

static int get_tristate(const json_t *json, const char *key)
{
    return get_str(json, key) ? get_bool(json, key, false) : -1;
}

static int64_t get_num(const json_t *json, const char *key)
{
    const char *str = get_str(json, key);

    return str ? g_ascii_strtoll(str, NULL, 0) : 0;
}

static bool check_value(OptionKind kind, const char *key, const char *value,
                        Error **errp)
{
    gchar *end;
    bool flag;

    if (kind == OPTION_BOOL && !parse_bool(value, &flag)) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", key);
        return false;
    }
    if (kind == OPTION_NUM) {
        g_ascii_strtoull(value, &end, 0);
        if (!*value || *end) {
            error_setg(errp, "Parameter '%s' expects a number", key);
            return false;
        }
    }
    return true;
}

static bool check_option(const char *key, const char *value, Error **errp)
{
    bool flag = true;

    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        if (!g_str_equal(option_table[i].name, key)) {
            continue;
        }
        if (!check_value(option_table[i].kind, key, value, errp)) {
            return false;
        }
        if (option_table[i].kind == OPTION_BOOL) {
            parse_bool(value, &flag);
        }
        if (flag && !option_table[i].built) {
            error_setg(errp, "Character devices here have no '%s'", key);
            return false;
        }
        return true;
    }
    error_setg(errp, "Invalid parameter '%s'", key);
    return false;
}

static bool check_options(const json_t *json, Error **errp)
{
    const char *id = get_str(json, "id"), *key;
    json_t *value;

    json_object_foreach((json_t *)json, key, value) {
        if (!check_option(key, json_get_string(value), errp)) {
            return false;
        }
    }
    if (!id) {
        error_setg(errp, "chardev: no id specified");
        return false;
    }
    if (!id_wellformed(id)) {
        id_set_malformed(errp, "id");
        return false;
    }
    return true;
}

static bool parse_backend(ChardevOptions *opts, const json_t *json,
                          Error **errp)
{
    const char *name = get_str(json, "backend");

    if (!name) {
        error_setg(errp, "chardev: \"%s\" missing backend", opts->id);
        return false;
    }
    for (int i = 0; chardev_backends[i]; i++) {
        if (g_str_equal(chardev_backends[i], name)) {
            opts->backend = chardev_backends[i];
            return true;
        }
    }
    error_setg(errp, "'%s' is not a valid char driver name", name);
    return false;
}

/* ---- sockets ---- */

static bool parse_address(SockAddr *addr, const json_t *json, Error **errp)
{
    const char *path = get_str(json, "path");
    const char *host = get_str(json, "host");
    const char *port = get_str(json, "port");
    const char *fd = get_str(json, "fd");

    if (!!path + !!host + !!fd > 1) {
        error_setg(errp, "None or one of 'path', 'fd' or 'host' option "
                   "required.");
        return false;
    }
    if (host && !port) {
        error_setg(errp, "chardev: socket: no port given");
        return false;
    }
    *addr = (SockAddr) {
        .kind = path ? SOCK_UNIX : host || port ? SOCK_INET : SOCK_FD,
        .path = path,
        .abstract = get_bool(json, "abstract", false),
        .tight = get_bool(json, "tight", true),
        .host = host ? host : "",
        .port = port,
        .port_to = get_num(json, "to"),
        .ipv4 = get_tristate(json, "ipv4"),
        .ipv6 = get_tristate(json, "ipv6"),
        .fd_name = fd ? fd : "",
    };
    return true;
}

static bool parse_socket(ChardevOptions *opts, const json_t *json,
                         Error **errp)
{
    const char *tls = get_str(json, "tls-creds");

    opts->server = get_bool(json, "server", false);
    opts->wait = opts->server && get_bool(json, "wait", true);
    opts->reconnect = get_num(json, "reconnect");
    if (!parse_address(&opts->addr, json, errp)) {
        return false;
    }
    if (!opts->server && get_str(json, "wait")) {
        error_setg(errp, "'wait' option is incompatible with socket in "
                   "client connect mode");
        return false;
    }
    if (opts->server && opts->reconnect) {
        error_setg(errp, "'reconnect' option is incompatible with socket in "
                   "server listen mode");
        return false;
    }
    if (tls) {
        error_setg(errp, "No TLS credentials with id '%s'", tls);
        return false;
    }
    return true;
}

static bool parse_stdio(const json_t *json, Error **errp)
{
    if (!get_bool(json, "signal", true) && isatty(STDIN_FILENO)) {
        error_setg(errp, "Character devices here leave the terminal as it "
                   "is: no 'signal=off'");
        return false;
    }
    return true;
}

bool chardev_options_parse(ChardevOptions *opts, const json_t *json,
                           Error **errp)
{
    *opts = (ChardevOptions){ NULL };
    if (!check_options(json, errp)) {
        return false;
    }
    opts->id = get_str(json, "id");
    if (!parse_backend(opts, json, errp)) {
        return false;
    }
    return g_str_equal(opts->backend, "socket")
           ? parse_socket(opts, json, errp) : parse_stdio(json, errp);
}
