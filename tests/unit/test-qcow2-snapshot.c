/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Internal snapshots beside a model: random writes, snapshots taken, applied,
 * removed and looked at, images opened anew; every state is held against plain
 * copies of the disk, and our own check (with PEER_QEMU_IMG, default qemu-img,
 * also QEMU's) finds nothing after each round.
 */
#include "block/drivers.h"
#include "block/graph.h"
#include "block/open.h"
#include "block/qcow2.h"
#include "block/root.h"
#include "co-test.h"
#include "util/json.h"
#include "peer-img.h"
#include "qcow2-test.h"

#include <glib/gstdio.h>

#define DISK (4 * MiB)
#define MAX_SNAPSHOTS 6

static char *image;

typedef struct Model {
    uint8_t *disk;
    uint8_t *snaps[MAX_SNAPSHOTS];      /* NULL: there is none */
} Model;

typedef struct Run {
    const char *options;                /* members of the create options */
    int rounds;
    Model m;
    Node *node;
    Root *root;
} Run;

static void run_open(Co *co, Run *r, bool writable)
{
    r->root = qcow2_test_open(co, image, writable);
    r->node = root_node(r->root);
}

static void run_close(Co *co, Run *r)
{
    qcow2_test_close(co, r->root);
    r->node = NULL;
    r->root = NULL;
}

static void run_create(Co *co, Run *r)
{
    qcow2_test_create(co, image, DISK, r->options);
}

static char *snap_name(int i)
{
    return g_strdup_printf("snap%d", i);
}

/* ---- what is done ---- */

static void do_write(Co *co, Run *r)
{
    int64_t off = g_test_rand_int_range(0, DISK);
    int64_t len = g_test_rand_int_range(1, 300000);
    uint8_t byte = g_test_rand_int_range(1, 256);

    len = MIN(len, DISK - off);
    memset(r->m.disk + off, byte, len);
    g_assert_cmpint(root_pwrite(co, r->root, off, len, r->m.disk + off, 0),
                    ==, 0);
}

static void do_zero(Co *co, Run *r)
{
    int64_t off = g_test_rand_int_range(0, DISK);
    int64_t len = g_test_rand_int_range(1, 600000);

    len = MIN(len, DISK - off);
    memset(r->m.disk + off, 0, len);
    g_assert_cmpint(root_zero(co, r->root, off, len,
                              g_test_rand_bit() ? REQ_MAY_UNMAP : 0), ==, 0);
}

static void do_snapshot(Co *co, Run *r)
{
    int i = g_test_rand_int_range(0, MAX_SNAPSHOTS);
    g_autofree char *name = snap_name(i);
    const SnapshotOps *ops = r->node->drv->snapshots;

    if (!r->m.snaps[i]) {
        g_assert_cmpint(ops->create(co, r->node, name, 1000000007, 0), ==, 0);
        r->m.snaps[i] = g_memdup2(r->m.disk, DISK);
    } else if (g_test_rand_bit()) {
        g_assert_true(ops->apply(co, r->node, name, &error_abort));
        memcpy(r->m.disk, r->m.snaps[i], DISK);
    } else {
        SnapshotInfo *info = NULL;

        g_assert_true(ops->remove(co, r->node, NULL, name, &info,
                                  &error_abort));
        g_assert_cmpstr(info->name, ==, name);
        g_assert_cmpint(info->date_sec, ==, 1);
        g_assert_cmpint(info->date_nsec, ==, 7);
        qapi_free_SnapshotInfo(info);
        g_clear_pointer(&r->m.snaps[i], g_free);
    }
}

static void do_refused(Co *co, Run *r)
{
    const SnapshotOps *ops = r->node->drv->snapshots;

    g_assert_false(ops->apply(co, r->node, "none", NULL));
    g_assert_false(ops->remove(co, r->node, "none", NULL, NULL, NULL));
}

/* ---- what is seen ---- */

static void see_disk(Co *co, Run *r, const uint8_t *expected)
{
    g_autofree uint8_t *buf = g_malloc(DISK);

    g_assert_cmpint(r->node->length, ==, DISK);
    g_assert_cmpint(root_pread(co, r->root, 0, DISK, buf), ==, 0);
    for (int64_t i = 0; i < DISK; i++) {
        if (buf[i] != expected[i]) {
            g_error("byte %#" PRIx64 " is %#x, not %#x", i, buf[i],
                    expected[i]);
        }
    }
}

static void see_snapshots(Co *co, Run *r)
{
    for (int i = 0; i < MAX_SNAPSHOTS; i++) {
        g_autofree char *name = snap_name(i);
        bool there;

        run_open(co, r, false);
        co_move(co, r->node->loop);
        there = r->node->drv->snapshots->load(co, r->node, NULL, name, NULL);
        g_assert_cmpint(there, ==, r->m.snaps[i] != NULL);
        if (there) {
            see_disk(co, r, r->m.snaps[i]);
        }
        run_close(co, r);
    }
}

static void see_list(Co *co, Run *r)
{
    SnapshotInfoList *list = NULL;
    int n = 0, expected = 0;

    g_assert_true(r->node->drv->snapshots->list(co, r->node, &list,
                                                &error_abort));
    for (SnapshotInfoList *l = list; l; l = l->next) {
        n++;
    }
    for (int i = 0; i < MAX_SNAPSHOTS; i++) {
        expected += r->m.snaps[i] != NULL;
    }
    g_assert_cmpint(n, ==, expected);
    qapi_free_SnapshotInfoList(list);
}

static void see_check(Co *co, Run *r)
{
    run_open(co, r, false);
    co_move(co, r->node->loop);
    qcow2_test_check(co, r->node);
    run_close(co, r);
}

static void round_co(Co *co, Run *r)
{
    run_open(co, r, true);
    co_move(co, r->node->loop);
    for (int step = g_test_rand_int_range(1, 25); step > 0; step--) {
        int what = g_test_rand_int_range(0, 10);

        if (what < 5) {
            do_write(co, r);
        } else if (what < 7) {
            do_zero(co, r);
        } else {
            do_snapshot(co, r);
        }
    }
    do_refused(co, r);
    see_disk(co, r, r->m.disk);
    see_list(co, r);
    run_close(co, r);
    see_check(co, r);
}

static void run_co(Co *co, void *arg)
{
    Run *r = arg;

    control_lock(co);
    run_create(co, r);
    for (int i = 0; i < r->rounds; i++) {
        round_co(co, r);
        peer_img_check(image);
        if (i % 4 == 3) {
            see_snapshots(co, r);
        }
    }
    control_unlock(co);
}

static void test_model(gconstpointer options)
{
    Run r = { options, g_test_slow() ? 200 : 16 };

    r.m.disk = g_malloc0(DISK);
    co_test_run(run_co, &r);
    g_free(r.m.disk);
    for (int i = 0; i < MAX_SNAPSHOTS; i++) {
        g_free(r.m.snaps[i]);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *options;
    } runs[] = {
        { "default", "" },
        { "small-clusters", ",'cluster-size':4096" },
        { "tiny-clusters", ",'cluster-size':512" },
        { "subclusters", ",'extended-l2':true" },
        { "old", ",'version':'v2'" },
        { "wide", ",'refcount-bits':64,'cluster-size':4096" },
        { "narrow", ",'refcount-bits':8" },
        { "lazy", ",'lazy-refcounts':true" },
        { "preallocated", ",'preallocation':'metadata'" },
    };
    g_autofree char *dir = g_dir_make_tmp("qcow2-snapshot-XXXXXX", NULL);
    int ret;

    g_test_init(&argc, &argv, NULL);
    block_init();
    image = g_build_filename(dir, "image", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2-snapshot/%s",
                                                runs[i].name);

        g_test_add_data_func(path, runs[i].options, test_model);
    }
    ret = g_test_run();
    g_unlink(image);
    g_rmdir(dir);
    g_free(image);
    return ret;
}
