/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What qcow2 adds to a request: 4 KiB random reads and writes of a mapped
 * image, beside the same through raw, at depth 1 and 32; and writes that
 * allocate, into a fresh image.
 *
 * Usage: bench-qcow2 [DIR [MIB]]
 */
#include "bench-random.h"

#include "block/create.h"
#include "block/graph.h"
#include "block/open.h"

#define RW (PERM_CONSISTENT_READ | PERM_WRITE)
#define OPS 200000

static const char *dir = "/dev/shm";
static int64_t size = 1024 * MiB;

static Root *open_root(Co *co, const char *driver, const char *name)
{
    g_autofree char *text = g_strdup_printf(
        "{\"driver\":\"%s\",\"file\":{\"driver\":\"file\",\"filename\":"
        "\"%s/%s\"}}", driver, dir, name);
    json_t *value = json_loads(text, 0, NULL);
    BlockdevOptions *opts = BlockdevOptions_from_json(value, QAPI_STRICT,
                                                      &error_abort);
    Node *node = open_options(co, opts, &error_abort);
    Root *root = mem_root(co, node, RW);

    json_decref(value);
    node_unref(co, node);
    return root;
}

static void measure(Co *co, const char *what, Root *root, int depth,
                    bool write, int ops)
{
    printf("%-24s depth %2d %8.0f a second\n", what, depth,
           bench_random(co, root, depth, write, ops));
    fflush(stdout);
}

static void fill(Co *co, Root *root)
{
    g_autofree uint8_t *buf = g_malloc(2 * MiB);

    memset(buf, 1, 2 * MiB);
    for (int64_t off = 0; off < size; off += 2 * MiB) {
        g_assert(root_pwrite(co, root, off, 2 * MiB, buf, 0) == 0);
    }
    root_flush(co, root);
}

static void make(Co *co, const char *fmt, const char *name)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);

    create_image(co, path, fmt, NULL, NULL, NULL, size, false, true,
                 &error_abort);
}

static void bench_one(Co *co, const char *fmt)
{
    g_autofree char *name = g_strdup_printf("bench.%s", fmt);
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *read = g_strdup_printf("%s read", fmt);
    g_autofree char *write = g_strdup_printf("%s write", fmt);
    g_autofree char *fresh = g_strdup_printf("%s write, fresh", fmt);
    Root *root;

    make(co, fmt, name);
    root = open_root(co, fmt, name);
    measure(co, fresh, root, 32, true, size / BENCH_LEN / 4);
    fill(co, root);
    for (int depth = 1; depth <= 32; depth *= 32) {
        measure(co, read, root, depth, false, OPS);
        measure(co, write, root, depth, true, OPS);
    }
    root_free(co, root);
    unlink(path);
}

static void bench(Co *co, void *arg)
{
    control_lock(co);
    bench_one(co, "raw");
    bench_one(co, "qcow2");
    control_unlock(co);
}

int main(int argc, char **argv)
{
    dir = argc > 1 ? argv[1] : dir;
    size = argc > 2 ? atoll(argv[2]) * MiB : size;
    loop_init_main(&error_abort);
    block_init();
    printf("engine %s\n", loop_engine(loop_main()));
    co_test_run(bench, NULL);
    return 0;
}
