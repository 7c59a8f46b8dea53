/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Names of NBD exports. What is taken and refused was read off QEMU 7.2. */
#include "util/uri.h"

static void check_tcp(const char *name, const char *host, const char *port,
                      const char *export)
{
    g_autoptr(NbdUri) uri = uri_parse_nbd(name, &error_abort);

    g_assert_null(uri->socket);
    g_assert_cmpstr(uri->host, ==, host);
    g_assert_cmpstr(uri->port, ==, port);
    g_assert_cmpstr(uri->export, ==, export);
}

static void check_unix(const char *name, const char *socket,
                       const char *export)
{
    g_autoptr(NbdUri) uri = uri_parse_nbd(name, &error_abort);

    g_assert_null(uri->host);
    g_assert_null(uri->port);
    g_assert_cmpstr(uri->socket, ==, socket);
    g_assert_cmpstr(uri->export, ==, export);
}

static void check_bad(const char *name, const char *msg)
{
    g_autoptr(Error) err = NULL;

    g_test_message("%s", name);
    g_assert_null(uri_parse_nbd(name, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, msg);
}

static void test_tcp(void)
{
    check_tcp("nbd://localhost", "localhost", "10809", "");
    check_tcp("nbd://localhost/", "localhost", "10809", "");
    check_tcp("nbd://localhost:0/x", "localhost", "10809", "x");
    check_tcp("nbd+tcp://localhost:1/a/b", "localhost", "1", "a/b");
    check_tcp("nbd://localhost:05/a%20b", "localhost", "5", "a b");
    check_tcp("nbd://[::1]:1//x/", "::1", "1", "/x/");
    check_tcp("nbd://u@h%41:1/x#frag", "hA", "1", "x");
}

static void test_unix(void)
{
    check_unix("nbd+unix:///x?socket=/s", "/s", "x");
    check_unix("nbd+unix://?socket=/s", "/s", "");
    check_unix("nbd+unix:///?socket=/s", "/s", "");
    check_unix("nbd+unix:////x/?socket=/s", "/s", "/x/");
    check_unix("nbd+unix:///?socket=%2fs%20x%26", "/s x&", "");
}

static void test_tls(void)
{
    g_autoptr(NbdUri) tcp = uri_parse_nbd(
        "nbds://me@h:1/x?tls-certificates=%2Fd&tls-hostname=n", &error_abort);
    g_autoptr(NbdUri) un = uri_parse_nbd(
        "nbds+unix://me@/x?socket=/s&tls-psk-file=/k", &error_abort);

    g_assert_true(tcp->tls && un->tls);
    g_assert_cmpstr(tcp->host, ==, "h");
    g_assert_cmpstr(tcp->username, ==, "me");
    g_assert_cmpstr(tcp->certificates, ==, "/d");
    g_assert_cmpstr(tcp->hostname, ==, "n");
    g_assert_cmpstr(un->socket, ==, "/s");
    g_assert_cmpstr(un->psk_file, ==, "/k");
    g_assert_cmpstr(un->export, ==, "x");
    check_bad("nbd://h/x?tls-certificates=/d", "No valid URL specified");
    check_bad("nbds://h/x?tls-psk-file=/d&tls-psk-file=/d",
              "No valid URL specified");
    check_bad("nbds://h/x?other=1", "No valid URL specified");
}

static void test_older(void)
{
    check_tcp("nbd:localhost:1", "localhost", "1", "");
    check_tcp("nbd:localhost:abc", "localhost", "abc", "");
    check_tcp("nbd:[::1]:1:exportname=x", "::1", "1", "x");
    check_unix("nbd:unix:/s", "/s", "");
    check_unix("nbd:unix:/a:b", "/a:b", "");
    check_unix("nbd:unix:/s:exportname=x:y", "/s", "x:y");
}

static void test_bad(void)
{
    static const char *const uris[] = {
        "nbd://", "nbd:///x", "nbd://:1/x", "nbd://h:99999", "nbd://h:abc",
        "nbd://h:+5", "nbd://h/x?y=z", "nbd://h?socket=/x", "nbd:////x",
        "nbd+unix:///x", "nbd+unix://h/x?socket=/s",
        "nbd+unix://:1/x?socket=/s", "nbd+unix:///x?foo=1",
        "nbd+unix:///x?socket=/s&foo=1", "nbd+unix:///x?socket=/s;b=c",
        "nbd+unix:///x?socket=/s&socket=/t", "nbd+unix:///x?SOCKET=/s",
        "nbd+unix:///x?socket", "nbd+unix:///%zz?socket=/s",
    };

    for (size_t i = 0; i < ARRAY_SIZE(uris); i++) {
        check_bad(uris[i], "No valid URL specified");
    }
    check_bad("nbd:", "NBD server address missing");
    check_bad("nbd::exportname=x", "NBD server address missing");
    check_bad("nbd:unix:/s:exportname=", "NBD server address missing");
    check_bad("nbd:localhost", "error parsing address 'localhost'");
    check_bad("nbd:localhost:", "error parsing address 'localhost:'");
    check_bad("nbd:[::1]", "error parsing IPv6 address '[::1]'");
    check_bad("nbd+unix:?socket=/s",
              "File name string for NBD must start with 'nbd:'");
}

static void test_is_nbd(void)
{
    g_assert_true(uri_is_nbd("nbd:"));
    g_assert_true(uri_is_nbd("nbd://x"));
    g_assert_true(uri_is_nbd("nbd+tcp://x"));
    g_assert_true(uri_is_nbd("nbd+unix://x"));
    g_assert_false(uri_is_nbd("NBD://x"));
    g_assert_true(uri_is_nbd("nbds://x"));
    g_assert_false(uri_is_nbd("nbdx://x"));
    g_assert_false(uri_is_nbd("nbd"));
    g_assert_false(uri_is_nbd("./nbd:"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/uri/tcp", test_tcp);
    g_test_add_func("/uri/unix", test_unix);
    g_test_add_func("/uri/tls", test_tls);
    g_test_add_func("/uri/older", test_older);
    g_test_add_func("/uri/bad", test_bad);
    g_test_add_func("/uri/is-nbd", test_is_nbd);
    return g_test_run();
}
