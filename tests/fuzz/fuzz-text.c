/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * libFuzzer: text that people and programs send. FUZZ_WHAT says which:
 *
 *     FUZZ_JSON  one value, parsed at once and fed in pieces: the same comes of
 *                it; written and parsed again it is the same, too
 *     FUZZ_QAPI  JSON (as after "json:") or key=value text for one of the large
 *                types: what the visitors take they give back, and take again
 *     FUZZ_QMP   a client's side of a session, to its end
 *
 * In the first two, the first byte chooses pieces and types.
 */
#include "util/osdep.h"

#include <sys/socket.h>

#include "monitor/session.h"
#include "qapi/qapi-commands.h"
#include "util/keyval.h"
#include "util/loop.h"
#include "../unit/qmp-table.h"
#include "fuzz.h"

enum { FUZZ_JSON, FUZZ_QAPI, FUZZ_QMP };

/* -0.0 is written as -0, as by QEMU, and that is read as the integer 0. */
static char *fuzz_text(const json_t *value)
{
    g_autofree char *text = json_format(value);
    GString *s = g_string_new(text);

    g_string_replace(s, "-0", "0", 0);
    return g_string_free(s, FALSE);
}

static void fuzz_same(const json_t *a, const json_t *b)
{
    g_autofree char *one = fuzz_text(a), *other = fuzz_text(b);

    if (strcmp(one, other)) {
        g_error("%s is not %s", one, other);
    }
}

/* ---- values ---- */

static void fuzz_take(void *opaque, json_t *value, Error *err)
{
    GPtrArray *got = opaque;

    g_ptr_array_add(got, value);        /* NULL: an error */
    error_free(err);
}

static void fuzz_drop(gpointer value)
{
    json_decref(value);
}

static void fuzz_json(const uint8_t *data, size_t len)
{
    const char *text = (const char *)data + 1;
    size_t n = len - 1, piece = data[0] % 16 + 1;
    g_autoptr(GPtrArray) got = g_ptr_array_new_with_free_func(fuzz_drop);
    g_autoptr(JsonStream) stream = json_stream_new(fuzz_take, got);
    g_autoptr(json_t) value = json_parse(text, n, NULL);

    for (size_t i = 0; i < n; i += piece) {
        json_stream_feed(stream, text + i, MIN(piece, n - i));
    }
    json_stream_end(stream);
    if (value) {
        g_autofree char *out = json_format(value);
        g_autofree char *pretty = json_format_pretty(value);
        g_autoptr(json_t) again = json_parse_str(out, &error_abort);
        g_autoptr(json_t) third = json_parse_str(pretty, &error_abort);

        g_assert(got->len == 1 && got->pdata[0]);
        fuzz_same(value, got->pdata[0]);
        fuzz_same(value, again);
        fuzz_same(value, third);
    }
}

/* ---- visitors ---- */

static const QapiType *const fuzz_types[] = {
    &qapi_type_BlockdevOptions, &qapi_type_BlockdevCreateOptions,
    &qapi_type_TransactionAction, &qapi_type_BlockExportOptions,
    &qapi_type_SocketAddress, &qapi_type_ObjectOptions,
    &qapi_type_NbdServerOptions, &qapi_type_BlockdevRef,
};

static void fuzz_qapi(const uint8_t *data, size_t len)
{
    const QapiType *type = fuzz_types[data[0] % G_N_ELEMENTS(fuzz_types)];
    g_autofree char *text = g_strndup((const char *)data + 1, len - 1);
    bool keyval = data[0] & 128, ok = false;
    g_autoptr(json_t) in = keyval ? keyval_parse(text, "driver", NULL, NULL)
                                  : json_parse(text, strlen(text), NULL);
    g_autoptr(json_t) out = NULL, again = NULL;
    void *object, *copy;

    if (!in) {
        return;
    }
    object = qapi_from_json(type, in, keyval ? QAPI_KEYVAL : QAPI_STRICT, &ok,
                            NULL);
    if (!ok) {
        g_assert(!object);
        return;
    }
    out = qapi_to_json(type, object);
    copy = qapi_from_json(type, out, QAPI_STRICT, &ok, &error_abort);
    again = qapi_to_json(type, copy);
    fuzz_same(out, again);
    qapi_free(type, copy);
    qapi_free(type, object);
}

/* ---- a session ---- */

static bool fuzz_negotiate(Co *co, json_t *args, json_t **ret, Error **errp)
{
    if (!qmp_qmp_capabilities(co, false, NULL, errp)) {
        return false;
    }
    *ret = json_object();
    return true;
}

static bool fuzz_echo(Co *co, json_t *args, json_t **ret, Error **errp)
{
    *ret = args ? json_incref(args) : json_object();
    return true;
}

static bool fuzz_wait(Co *co, json_t *args, json_t **ret, Error **errp)
{
    co_yield(co);
    error_setg(errp, "no");
    return false;
}

const QmpCommand qmp_commands[] = {
    { "qmp_capabilities", fuzz_negotiate, 0 },
    { "echo", fuzz_echo, 0 },
    { "oob", fuzz_echo, QMP_COMMAND_ALLOW_OOB },
    { "silent", fuzz_echo, QMP_COMMAND_NO_SUCCESS_RESPONSE },
    { "wait", fuzz_wait, 0 },
    { NULL }
};

static void fuzz_hung_up(void *opaque)
{
}

static void fuzz_client(Co *co, void *opaque)
{
    static const char hello[] = "{'execute':'qmp_capabilities'}";
    const Input *in = opaque;
    struct iovec iov[2] = {
        { (char *)hello, sizeof(hello) - 1 },
        { (void *)in->data, in->len },
    };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
    uint8_t buf[16384];
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   fds) < 0) {
        abort();
    }
    session_start(channel_new_fd(fds[0]), false, fuzz_hung_up, NULL);
    co_sendmsg(co, fds[1], &msg, 0);
    shutdown(fds[1], SHUT_WR);
    while (co_recv(co, fds[1], buf, sizeof(buf)) > 0) {
    }
    close(fds[1]);
    loop_stop(loop_main());
}

/* ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    if (FUZZ_WHAT == FUZZ_QMP) {
        loop_init_main(&error_abort);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    Input in = { data, len };

    if (!len || len > 32768) {
        return -1;
    }
    if (FUZZ_WHAT == FUZZ_JSON) {
        fuzz_json(data, len);
    } else if (FUZZ_WHAT == FUZZ_QAPI) {
        fuzz_qapi(data, len);
    } else {
        co_spawn(loop_main(), fuzz_client, &in);
        loop_run(loop_main());
    }
    return 0;
}
