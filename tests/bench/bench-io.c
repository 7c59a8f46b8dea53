/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the request path costs: 4 KiB requests through root and raw to null-co,
 * which does nothing, and to a file in the page cache, one at a time; then
 * random writes with 0, 1, 8 and 64 bitmaps that record, in turn: medians of
 * the thread's CPU time.
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

/* ---- recording bitmaps ---- */

enum { ROUNDS = 9 };
static const int counts[] = { 0, 1, 8, 64 };

static double cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * 1e9 + ts.tv_nsec;
}

/* Of a write while @count bitmaps record. */
static double write_ns(Co *co, Root *root, int n, int count)
{
    g_autofree uint8_t *buf = g_malloc0(LEN);
    int64_t span = root_length(root) / LEN;
    uint64_t x = 1;
    double start;

    for (int i = 0; i < count; i++) {
        g_autofree char *name = g_strdup_printf("b%d", i);

        bitmap_create(root_node(root), 65536, name, &error_abort);
    }
    start = cpu_ns();
    for (int i = 0; i < n; i++) {
        x = x * 6364136223846793005 + 1442695040888963407;
        g_assert(root_pwrite(co, root, (x >> 20) % span * LEN, LEN, buf,
                             0) == 0);
    }
    start = cpu_ns() - start;
    bitmap_release_all(root_node(root));
    return start / n;
}

static int compare_doubles(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;

    return (d > 0) - (d < 0);
}

static void measure_bitmaps(Co *co, const char *what, Root *root, int n)
{
    double ns[ARRAY_SIZE(counts)][ROUNDS];

    for (int round = 0; round < ROUNDS; round++) {
        for (size_t k = 0; k < ARRAY_SIZE(counts); k++) {
            ns[k][round] = write_ns(co, root, n, counts[k]);
        }
    }
    for (size_t k = 0; k < ARRAY_SIZE(counts); k++) {
        qsort(ns[k], ROUNDS, sizeof(double), compare_doubles);
        printf("%s, %2d bitmaps %12.1f ns of CPU, %5.1f %%\n", what, counts[k],
               ns[k][ROUNDS / 2],
               100 * ns[k][ROUNDS / 2] / ns[0][ROUNDS / 2]);
    }
}

static void bench(Co *co, void *arg)
{
    Root *root = open_root(co, "{\"driver\":\"raw\",\"file\":"
                           "{\"driver\":\"null-co\"}}");

    measure(co, "null read", root, 2000000, false);
    measure(co, "null write", root, 2000000, true);
    measure_bitmaps(co, "null write", root, 300000);
    root_free(co, root);

    if (file) {
        g_autofree char *text = g_strdup_printf(
            "{\"driver\":\"raw\",\"file\":{\"driver\":\"file\","
            "\"filename\":\"%s\"}}", file);

        root = open_root(co, text);
        measure(co, "file write", root, 100000, true);
        measure(co, "file read", root, 100000, false);
        measure_bitmaps(co, "file write", root, 50000);
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
