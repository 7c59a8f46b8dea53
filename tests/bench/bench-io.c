/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the request path costs: 4 KiB requests through root and raw to null-co,
 * which does nothing, with and without a dirty bitmap; and to a file in the
 * page cache, one at a time.
 *
 * Usage: bench-io [FILE]
 */
#include "../unit/mem-driver.h"

#include <fcntl.h>

#include "block/dirty-bitmap.h"
#include "block/open.h"

#define RW (PERM_CONSISTENT_READ | PERM_WRITE)
#define LEN 4096

static const char *file;

static Root *open_root(Co *co, const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    BlockdevOptions *opts = BlockdevOptions_from_json(value, QAPI_STRICT,
                                                      &error_abort);
    Node *node = open_options(co, opts, &error_abort);
    Root *root = mem_root(co, node, RW);

    json_decref(value);
    node_unref(co, node);
    return root;
}

static void measure(Co *co, const char *what, Root *root, int n, bool write)
{
    g_autofree uint8_t *buf = g_malloc0(LEN);
    int64_t span = root_length(root) / LEN;
    int64_t start;

    start = clock_ns();
    for (int i = 0; i < n; i++) {
        int64_t off = (i * 7919LL) % span * LEN;
        int ret = write ? root_pwrite(co, root, off, LEN, buf, 0)
                        : root_pread(co, root, off, LEN, buf);

        g_assert(ret == 0);
    }
    printf("%-28s %8.1f ns\n", what, (double)(clock_ns() - start) / n);
}

static void bench(Co *co, void *arg)
{
    Root *root = open_root(co, "{\"driver\":\"raw\",\"file\":"
                           "{\"driver\":\"null-co\"}}");

    measure(co, "null read", root, 2000000, false);
    measure(co, "null write", root, 2000000, true);
    bitmap_create(root_node(root), 65536, "a", &error_abort);
    bitmap_create(root_node(root), 65536, "b", &error_abort);
    measure(co, "null write, two bitmaps", root, 2000000, true);
    root_free(co, root);

    if (file) {
        g_autofree char *text = g_strdup_printf(
            "{\"driver\":\"raw\",\"file\":{\"driver\":\"file\","
            "\"filename\":\"%s\"}}", file);

        root = open_root(co, text);
        measure(co, "file write", root, 100000, true);
        measure(co, "file read", root, 100000, false);
        root_free(co, root);
    }
}

int main(int argc, char **argv)
{
    file = argc > 1 ? argv[1] : NULL;
    block_init();
    mem_test_run(bench);
    return 0;
}
