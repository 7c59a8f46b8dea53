/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Secrets: each way to give one, and what is wrong with others. */

#include "co-test.h"
#include "util/secret.h"

#include <glib/gstdio.h>

#define ZERO_KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define ZERO_IV  "AAAAAAAAAAAAAAAAAAAAAA=="
/* "hello" under both, by openssl enc -aes-256-cbc. */
#define HELLO    "wjXeJNI54DzI43fGBPymew=="

static void expect(const char *id, const char *value)
{
    g_autoptr(GBytes) secret = secret_get(id, &error_abort);
    gsize len;
    const char *data = g_bytes_get_data(secret, &len);

    g_assert_cmpmem(data, len, value, strlen(value));
}

static void load(Co *co, const char *id, SecretSource src)
{
    g_assert_true(secret_load(co, id, &src, &error_abort));
}

static void refuse(Co *co, SecretSource src, const char *desc)
{
    Error *err = NULL;

    g_assert_false(secret_load(co, "bad", &src, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, desc);
    error_free(err);
    g_assert_null(secret_get("bad", NULL));
}

static void ways(Co *co, void *arg)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("secret-XXXXXX", &path, NULL);

    g_assert(write(fd, "in a\nfile", 9) == 9);
    close(fd);
    load(co, "raw", (SecretSource){ .data = "abc" });
    expect("raw", "abc");
    load(co, "raw", (SecretSource){ .data = "" });
    expect("raw", "");
    load(co, "file", (SecretSource){ .file = path });
    expect("file", "in a\nfile");
    load(co, "b64", (SecretSource){ .data = "YWJjZA==", .base64 = true });
    expect("b64", "abcd");
    load(co, "key", (SecretSource){ .data = ZERO_KEY, .base64 = true });
    load(co, "enc", (SecretSource){ .data = HELLO, .base64 = true,
                                    .keyid = "key", .iv = ZERO_IV });
    expect("enc", "hello");
    g_unlink(path);

    secret_forget("raw");
    g_assert_null(secret_get("raw", NULL));
    secret_forget("raw");
    secret_forget("file");
    secret_forget("b64");
    secret_forget("key");
    secret_forget("enc");
}

static void refusals(Co *co, void *arg)
{
    load(co, "key", (SecretSource){ .data = ZERO_KEY, .base64 = true });
    load(co, "short", (SecretSource){ .data = "abc" });
    refuse(co, (SecretSource){ NULL },
           "Either 'file' or 'data' must be provided");
    refuse(co, (SecretSource){ .data = "a", .file = "b" },
           "'file' and 'data' are mutually exclusive");
    refuse(co, (SecretSource){ .data = "a b", .base64 = true },
           "Base64 data contains invalid characters");
    refuse(co, (SecretSource){ .data = "a", .keyid = "gone" },
           "No secret with id 'gone'");
    refuse(co, (SecretSource){ .data = "a", .keyid = "short" },
           "Key should be 32 bytes in length");
    refuse(co, (SecretSource){ .data = "a", .keyid = "key" },
           "IV is required to decrypt secret");
    refuse(co, (SecretSource){ .data = "a", .keyid = "key", .iv = "abcd" },
           "IV should be 16 bytes in length not 3");
    refuse(co, (SecretSource){ .data = "abc", .keyid = "key",
                               .iv = ZERO_IV },
           "Length 3 must be a multiple of block size 16");
    refuse(co, (SecretSource){ .data = ZERO_KEY, .base64 = true,
                               .keyid = "key", .iv = ZERO_IV },
           "Incorrect number of padding bytes (180) found on decrypted data");
    secret_forget("short");
    secret_forget("key");
}

static void run(gconstpointer fn)
{
    co_test_run((CoFn *)(uintptr_t)fn, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/secret/ways", ways, run);
    g_test_add_data_func("/secret/refusals", refusals, run);
    return g_test_run();
}
