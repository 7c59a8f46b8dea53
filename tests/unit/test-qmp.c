/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * QMP sessions over socket pairs, with commands made for the tests. Each test
 * is a client, a coroutine beside the session's.
 */

#include "co-test.h"
#include "monitor/session.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-events.h"
#include "qmp-table.h"

#include <sys/socket.h>

/* ---- the commands ---- */

static CoQueue slow_queue;      /* who runs test-slow */
static bool slow_open;
static int n_run;               /* commands that have begun */

static bool cmd_capabilities(Co *co, json_t *args, json_t **ret, Error **errp)
{
    QMPCapability oob = QMP_CAPABILITY_OOB;
    QMPCapabilityList link = { .value = oob };

    if (!qmp_qmp_capabilities(co, args, args ? &link : NULL, errp)) {
        return false;
    }
    *ret = json_object();
    return true;
}

static bool cmd_echo(Co *co, json_t *args, json_t **ret, Error **errp)
{
    n_run++;
    *ret = args ? json_incref(args) : json_object();
    return true;
}

static bool cmd_fail(Co *co, json_t *args, json_t **ret, Error **errp)
{
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "no \"such\" thing");
    return false;
}

static bool cmd_event(Co *co, json_t *args, json_t **ret, Error **errp)
{
    qapi_event_send_block_export_deleted("x");
    *ret = json_object();
    return true;
}

static bool cmd_slow(Co *co, json_t *args, json_t **ret, Error **errp)
{
    n_run++;
    while (!slow_open) {
        co_queue_wait(co, &slow_queue);
    }
    *ret = json_object();
    return true;
}

static bool cmd_big(Co *co, json_t *args, json_t **ret, Error **errp)
{
    g_autofree char *text = g_strnfill(8 * MiB, 'x');

    n_run++;
    *ret = json_string(text);
    return true;
}

static bool cmd_silent(Co *co, json_t *args, json_t **ret, Error **errp)
{
    n_run++;
    *ret = json_object();
    return true;
}

const QmpCommand qmp_commands[] = {
    { "qmp_capabilities", cmd_capabilities, 0 },
    { "test-big", cmd_big, 0 },
    { "test-echo", cmd_echo, 0 },
    { "test-event", cmd_event, 0 },
    { "test-fail", cmd_fail, 0 },
    { "test-oob", cmd_echo, QMP_COMMAND_ALLOW_OOB },
    { "test-silent", cmd_silent, QMP_COMMAND_NO_SUCCESS_RESPONSE },
    { "test-slow", cmd_slow, 0 },
    { NULL }
};

/* ---- a client ---- */

typedef struct Client {
    Channel *ch;
    GString *in;
    int hung_up;                /* how often the session has said so */
} Client;

static void client_hung_up(void *opaque)
{
    Client *c = opaque;

    c->hung_up++;
}

static void client_connect(Client *c, bool pretty)
{
    int fds[2];

    g_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    *c = (Client){ channel_new_fd(fds[0]), g_string_new(NULL), 0 };
    session_start(channel_new_fd(fds[1]), pretty, client_hung_up, c);
}

static void client_send(Co *co, Client *c, const char *text)
{
    g_assert_cmpint(channel_write_all(co, c->ch, text, strlen(text)), ==, 0);
}

/* The next line without its end, or NULL at the end. Caller frees. */
static char *client_line(Co *co, Client *c)
{
    char buf[4096], *end, *line;
    gsize seen = 0;
    ssize_t n;

    while (!(end = strstr(c->in->str + seen, "\r\n"))) {
        seen = c->in->len - MIN(c->in->len, 1);
        n = channel_read(co, c->ch, buf, sizeof(buf));
        if (n <= 0) {
            return NULL;
        }
        g_string_append_len(c->in, buf, n);
    }
    line = g_strndup(c->in->str, end - c->in->str);
    g_string_erase(c->in, 0, end + 2 - c->in->str);
    return line;
}

static void client_expect(Co *co, Client *c, const char *expected)
{
    g_autofree char *line = client_line(co, c);

    g_assert_cmpstr(line, ==, expected);
}

static void client_ask(Co *co, Client *c, const char *text,
                       const char *expected)
{
    client_send(co, c, text);
    client_expect(co, c, expected);
}

static void client_expect_prefix(Co *co, Client *c, const char *prefix)
{
    g_autofree char *line = client_line(co, c);

    g_assert_nonnull(line);
    g_assert_true(g_str_has_prefix(line, prefix));
}

static void client_expect_event(Co *co, Client *c)
{
    g_autofree char *line = client_line(co, c);

    g_assert_nonnull(line);
    g_assert_true(g_str_has_prefix(line, "{\"timestamp\": {\"seconds\": "));
    g_assert_true(g_str_has_suffix(line, ", \"event\": "
                                   "\"BLOCK_EXPORT_DELETED\", \"data\": "
                                   "{\"id\": \"x\"}}"));
}

static void client_negotiate(Co *co, Client *c, bool oob)
{
    client_expect_prefix(co, c, "{\"QMP\": {\"version\": {\"qemu\": {");
    client_ask(co, c, oob ? "{'execute': 'qmp_capabilities', 'arguments': "
               "{'enable': ['oob']}}" : "{'execute': 'qmp_capabilities'}",
               "{\"return\": {}}");
}

/* Hangs up, and waits until the session has gone, too. */
static void client_close(Co *co, Client *c)
{
    channel_shutdown(c->ch);
    while (!c->hung_up) {
        co_sleep(co, 1000000);
    }
    g_assert_cmpint(c->hung_up, ==, 1);
    channel_free(c->ch);
    g_string_free(c->in, true);
}

/* ---- the tests ---- */

static void negotiation(Co *co, void *arg)
{
    Client c;

    client_connect(&c, false);
    client_expect_prefix(co, &c, "{\"QMP\": {\"version\": {\"qemu\": {");
    client_ask(co, &c, "{'execute': 'test-echo', 'id': 1}",
               "{\"id\": 1, \"error\": {\"class\": \"CommandNotFound\", "
               "\"desc\": \"Expecting capabilities negotiation with "
               "'qmp_capabilities'\"}}");
    client_ask(co, &c, "{'exec-oob': 'test-oob'}",
               "{\"error\": {\"class\": \"GenericError\", \"desc\": "
               "\"QMP input member 'exec-oob' is unexpected\"}}");
    client_ask(co, &c, "{'execute': 'qmp_capabilities', 'id': 'a'}",
               "{\"return\": {}, \"id\": \"a\"}");
    client_ask(co, &c, "{'execute': 'qmp_capabilities'}",
               "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": "
               "\"Capabilities negotiation is already complete, command "
               "ignored\"}}");
    client_close(co, &c);
}

static const struct {
    const char *request, *desc;
} bad_requests[] = {
    { "[1]", "QMP input must be a JSON object" },
    { "{}", "QMP input lacks member 'execute'" },
    { "{'execute': 1}", "QMP input member 'execute' must be a string" },
    { "{'execute': 'test-echo', 'x': 1}",
      "QMP input member 'x' is unexpected" },
    { "{'execute': 'test-echo', 'arguments': []}",
      "QMP input member 'arguments' must be an object" },
    { "{'execute': 'test-echo', 'exec-oob': 'test-oob'}",
      "QMP input member 'exec-oob' clashes with 'execute'" },
    { "{'exec-oob': 'test-echo'}",
      "The command test-echo does not support OOB" },
    { "}", "JSON parse error, expecting value" },
};

static void refusals(Co *co, void *arg)
{
    Client c;

    client_connect(&c, false);
    client_negotiate(co, &c, true);
    for (size_t i = 0; i < ARRAY_SIZE(bad_requests); i++) {
        g_autofree char *expected = g_strdup_printf(
            "{\"error\": {\"class\": \"GenericError\", \"desc\": \"%s\"}}",
            bad_requests[i].desc);

        client_ask(co, &c, bad_requests[i].request, expected);
    }
    client_ask(co, &c, "{'execute': 'nope', 'id': [1]}",
               "{\"id\": [1], \"error\": {\"class\": \"CommandNotFound\", "
               "\"desc\": \"The command nope has not been found\"}}");
    client_ask(co, &c, "{'execute': 'test-fail'}",
               "{\"error\": {\"class\": \"DeviceNotFound\", "
               "\"desc\": \"no \\\"such\\\" thing\"}}");
    client_close(co, &c);
}

/* Errors of the text keep their place between the answers. */
static void pipeline(Co *co, void *arg)
{
    GString *text = g_string_new(NULL);
    Client c;

    client_connect(&c, false);
    client_negotiate(co, &c, false);
    for (int i = 0; i < 300; i++) {
        g_string_append_printf(text, "{'execute': 'test-echo', 'id': %d}%s"
                               "{'execute': 'test-silent'}", i,
                               i % 3 ? "" : "]");
    }
    client_send(co, &c, text->str);
    for (int i = 0; i < 300; i++) {
        g_autofree char *expected = g_strdup_printf("{\"return\": {}, "
                                                    "\"id\": %d}", i);

        client_expect(co, &c, expected);
        if (i % 3 == 0) {
            client_expect_prefix(co, &c, "{\"error\": ");
        }
    }
    g_string_free(text, true);
    client_close(co, &c);
}

/* Who sends no more still gets all answers, and then the end. */
static void half_close(Co *co, void *arg)
{
    Client c;

    client_connect(&c, false);
    client_negotiate(co, &c, false);
    client_send(co, &c, "{'execute': 'test-echo', 'id': 1}"
                        "{'execute': 'test-echo', 'id': 2}");
    shutdown(channel_fd(c.ch), SHUT_WR);
    client_expect(co, &c, "{\"return\": {}, \"id\": 1}");
    client_expect(co, &c, "{\"return\": {}, \"id\": 2}");
    client_expect(co, &c, NULL);
    client_close(co, &c);
}

static void pretty(Co *co, void *arg)
{
    Client c;

    client_connect(&c, true);
    client_expect(co, &c, "{");
    client_expect(co, &c, "    \"QMP\": {");
    for (g_autofree char *line = NULL; g_strcmp0(line, "}");) {
        g_free(line);
        line = client_line(co, &c);
    }
    client_ask(co, &c, "{'execute': 'qmp_capabilities'}", "{");
    client_expect(co, &c, "    \"return\": {");
    client_expect(co, &c, "    }");
    client_expect(co, &c, "}");
    client_close(co, &c);
}

static void emit_elsewhere(Co *co, void *arg)
{
    Loop *home = co_loop(co);

    co_move(co, arg);
    qapi_event_send_block_export_deleted("x");
    co_move(co, home);
}

static void events(Co *co, void *arg)
{
    LoopThread *thread = loop_thread_new("other", &error_abort);
    Client c, other, fresh;

    client_connect(&c, false);
    client_connect(&other, false);
    client_connect(&fresh, false);
    client_negotiate(co, &c, false);
    client_negotiate(co, &other, false);
    client_expect_prefix(co, &fresh, "{\"QMP\"");
    client_send(co, &c, "{'execute': 'test-event'}");
    client_expect_event(co, &c);
    client_expect(co, &c, "{\"return\": {}}");
    client_expect_event(co, &other);
    emit_elsewhere(co, loop_thread_loop(thread));
    client_expect_event(co, &c);
    client_expect_event(co, &other);
    /* Events are for those who have negotiated. */
    client_ask(co, &fresh, "{'execute': 'qmp_capabilities'}",
               "{\"return\": {}}");
    client_close(co, &fresh);
    client_close(co, &other);
    client_close(co, &c);
    loop_thread_free(thread);
}

/* Commands come one after the other, whoever sends them; not so out of band. */
static void out_of_band(Co *co, void *arg)
{
    Client c, other;

    slow_open = false;
    n_run = 0;
    client_connect(&c, false);
    client_connect(&other, false);
    client_negotiate(co, &c, true);
    client_negotiate(co, &other, false);
    client_send(co, &c, "{'execute': 'test-slow', 'id': 1}"
                        "{'execute': 'test-echo', 'id': 2}");
    while (n_run < 1) {
        co_sleep(co, 1000000);
    }
    client_send(co, &other, "{'execute': 'test-echo', 'id': 3}");
    client_ask(co, &c, "{'exec-oob': 'test-oob', 'id': 4}",
               "{\"return\": {}, \"id\": 4}");
    g_assert_cmpint(n_run, ==, 2);
    slow_open = true;
    co_queue_wake_all(&slow_queue);
    client_expect(co, &c, "{\"return\": {}, \"id\": 1}");
    client_expect(co, &c, "{\"return\": {}, \"id\": 2}");
    client_expect(co, &other, "{\"return\": {}, \"id\": 3}");
    client_close(co, &c);
    client_close(co, &other);
}

/* Who does not read stops being served, and nobody else is held up. */
static void slow_reader(Co *co, void *arg)
{
    Client c, other;

    client_connect(&c, false);
    client_connect(&other, false);
    client_negotiate(co, &c, false);
    client_negotiate(co, &other, false);
    n_run = 0;
    for (int i = 0; i < 30; i++) {
        client_send(co, &c, "{'execute': 'test-big'}");
    }
    for (int i = 0; i < 50; i++) {
        client_ask(co, &other, "{'execute': 'test-echo', 'arguments': "
                   "{'a': null}}", "{\"return\": {\"a\": null}}");
    }
    co_sleep(co, 20000000);
    /* One is being written, one waits. */
    g_assert_cmpint(n_run, <=, 50 + 2);
    client_close(co, &c);
    client_close(co, &other);
}

/* Events that nobody reads are not kept for ever. */
static void deaf_reader(Co *co, void *arg)
{
    g_autofree char *text = g_strnfill(4 * MiB, 'x');
    Client c;
    int n = 0;

    client_connect(&c, false);
    client_negotiate(co, &c, false);
    while (!c.hung_up && n < 40) {
        qapi_event_send_block_export_deleted(text);
        co_sleep(co, 1000000);
        n++;
    }
    g_assert_cmpint(n, >, 64 / 4);
    g_assert_cmpint(c.hung_up, ==, 1);
    client_close(co, &c);
}

/* No command begins after the stop; what was answered is written. */
static void the_end(Co *co, void *arg)
{
    Client c;

    client_connect(&c, false);
    client_negotiate(co, &c, false);
    client_send(co, &c, "{'execute': 'test-big'}{'execute': 'test-echo'}");
    client_expect_prefix(co, &c, "{\"return\": \"xxx");
    client_expect(co, &c, "{\"return\": {}}");
    n_run = 0;
    session_stop_all();
    client_send(co, &c, "{'execute': 'test-echo'}");
    qapi_event_send_block_export_deleted("x");
    session_finish_all(co);
    client_expect_event(co, &c);
    client_expect(co, &c, NULL);
    g_assert_cmpint(n_run, ==, 0);
    channel_free(c.ch);
    g_string_free(c.in, true);
}

static void run(gconstpointer fn)
{
    co_test_run((CoFn *)(uintptr_t)fn, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/qmp/negotiation", negotiation, run);
    g_test_add_data_func("/qmp/refusals", refusals, run);
    g_test_add_data_func("/qmp/pipeline", pipeline, run);
    g_test_add_data_func("/qmp/half-close", half_close, run);
    g_test_add_data_func("/qmp/pretty", pretty, run);
    g_test_add_data_func("/qmp/events", events, run);
    g_test_add_data_func("/qmp/out-of-band", out_of_band, run);
    g_test_add_data_func("/qmp/slow-reader", slow_reader, run);
    g_test_add_data_func("/qmp/deaf-reader", deaf_reader, run);
    g_test_add_data_func("/qmp/the-end", the_end, run);
    return g_test_run();
}
