/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * How the size of a disk tells: random 4 KiB reads and writes over a fully
 * mapped image of 1 TiB beside one of 10 GiB, at depth 1 and 32. "cold" is
 * from the opening on, so that all tables have to be read. The images take turns,
 * and the median counts; less than half the speed is an error.
 *
 * Usage: bench-qcow2-tables [DIR [OPS]]
 *
 * The images' clusters are mapped and not written (preallocation=metadata): a
 * DIR in memory shows what the driver takes, and needs OPS x 128 KiB of it.
 */
#include "bench-random.h"

#include "block/create.h"
#include "block/graph.h"
#include "block/open.h"

#define RW (PERM_CONSISTENT_READ | PERM_WRITE)
#define TURNS 9
#define SMALL (10 * GiB)
#define LARGE (1024 * GiB)

static const char *dir = "/dev/shm";
static int ops = 20000;

enum { READ_1, WRITE_1, READ_32, WRITE_32, LOADS };

/* One image and its figures, operations a second. */
typedef struct Image {
    const char *name;
    int64_t size;
    Root *root;
    double cold, turns[LOADS][TURNS];
} Image;

static void open_image(Co *co, Image *im)
{
    g_autofree char *path = g_build_filename(dir, im->name, NULL);
    Node *node;

    create_image(co, path, "qcow2", NULL, NULL, "preallocation=metadata",
                 im->size, false, true, &error_abort);
    node = open_filename(co, path, "qcow2", NULL, OPEN_RDWR, &error_abort);
    im->root = mem_root(co, node, RW);
    node_unref(co, node);
    im->cold = bench_random(co, im->root, 32, false, ops);
}

static void measure_image(Co *co, Image *im, int turn)
{
    for (int i = 0; i < LOADS; i++) {
        im->turns[i][turn] = bench_random(co, im->root, i >= READ_32 ? 32 : 1,
                                          i & 1, ops);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(Image *im, int load)
{
    qsort(im->turns[load], TURNS, sizeof(double), compare_doubles);
    return im->turns[load][TURNS / 2];
}

static void close_image(Co *co, Image *im)
{
    g_autofree char *path = g_build_filename(dir, im->name, NULL);

    root_free(co, im->root);
    unlink(path);
}

/* Whether the larger one has at least half of the speed. */
static bool show(const char *what, double small, double large)
{
    printf("%-16s %10.0f %10.0f  %5.2f\n", what, small, large, large / small);
    return large >= small / 2;
}

static void bench(Co *co, void *arg)
{
    Image s = { "bench-small.qcow2", SMALL };
    Image l = { "bench-large.qcow2", LARGE };
    static const char *const names[LOADS] = { "read 1", "write 1", "read 32",
                                              "write 32" };
    bool ok = true;

    control_lock(co);
    open_image(co, &s);
    open_image(co, &l);
    for (int i = 0; i < TURNS; i++) {
        measure_image(co, &s, i);
        measure_image(co, &l, i);
    }
    close_image(co, &s);
    close_image(co, &l);
    control_unlock(co);
    printf("%-16s %10s %10s  ratio\n", "a second", "10 GiB", "1 TiB");
    show("read 32, cold", s.cold, l.cold);
    for (int i = 0; i < LOADS; i++) {
        ok &= show(names[i], median(&s, i), median(&l, i));
    }
    if (!ok) {
        printf("below half\n");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    dir = argc > 1 ? argv[1] : dir;
    ops = argc > 2 ? atoi(argv[2]) : ops;
    loop_init_main(&error_abort);
    block_init();
    printf("engine %s\n", loop_engine(loop_main()));
    co_test_run(bench, NULL);
    return 0;
}
