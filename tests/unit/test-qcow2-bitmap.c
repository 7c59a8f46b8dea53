/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Persistent bitmaps beside a model: random writes, bitmaps made, switched on
 * and off, cleared and removed, images resized, reopened read-only and back,
 * closed and opened; every bit is what it should be, and our check (with
 * PEER_QEMU_IMG, default qemu-img, also QEMU's) finds nothing. Then what is
 * done with damaged directories.
 */
#include "block/dirty-bitmap.h"
#include "block/drivers.h"
#include "block/graph.h"
#include "block/open.h"
#include "block/qcow2-bitmap.h"
#include "block/reopen.h"
#include "block/root.h"
#include "co-test.h"
#include "util/json.h"
#include "peer-img.h"
#include "qcow2-test.h"

#include <glib/gstdio.h>

#define MAX_DISK (48 * MiB)
#define MAX_BITMAPS 5

static char *image;

typedef struct ModelBitmap {
    bool there, recording;
    int shift;
    Bitset *bits;
} ModelBitmap;

typedef struct Run {
    const char *options;
    int rounds;
    int64_t size;
    ModelBitmap m[MAX_BITMAPS];
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
    qcow2_test_create(co, image, r->size, r->options);
}

static const char *bitmap_name(int i)
{
    static const char *const names[MAX_BITMAPS] = {
        "a", "bitmap-1", "a bitmap with a rather long name, which is fine",
        "d\xc3\xa9j\xc3\xa0", "e",
    };

    return names[i];
}

static int64_t nbits(const Run *r, int shift)
{
    return DIV_ROUND_UP(r->size, INT64_C(1) << shift);
}

/* ---- what is done ---- */

static void model_write(Run *r, int64_t off, int64_t len)
{
    for (int i = 0; i < MAX_BITMAPS; i++) {
        ModelBitmap *b = &r->m[i];

        if (b->there && b->recording) {
            int64_t first = off >> b->shift;

            bitset_set(b->bits, first,
                       ((off + len - 1) >> b->shift) - first + 1);
        }
    }
}

static void do_write(Co *co, Run *r)
{
    int64_t off = g_test_rand_int_range(0, r->size);
    int64_t len = g_test_rand_int_range(1, 500000);

    len = MIN(len, r->size - off);
    if (g_test_rand_int_range(0, 12) == 0) {
        off = 0;
        len = r->size;
    }
    model_write(r, off, len);
    g_assert_cmpint(root_zero(co, r->root, off, len, 0), ==, 0);
}

static void do_create(Co *co, Run *r, int i)
{
    ModelBitmap *b = &r->m[i];
    DirtyBitmap *bm;

    b->shift = g_test_rand_int_range(9, 25);
    g_assert_true(r->node->drv->bitmap_store->can_store(
        co, r->node, bitmap_name(i), INT64_C(1) << b->shift, &error_abort));
    bm = bitmap_create(r->node, INT64_C(1) << b->shift, bitmap_name(i),
                       &error_abort);
    bitmap_set_persistent(bm, true);
    b->bits = bitset_new(nbits(r, b->shift));
    b->there = b->recording = true;
}

static void do_remove(Co *co, Run *r, int i)
{
    DirtyBitmap *bm = bitmap_find(r->node, bitmap_name(i));

    g_assert_true(r->node->drv->bitmap_store->remove(
        co, r->node, bitmap_name(i), &error_abort));
    bitmap_release(bm);
    g_clear_pointer(&r->m[i].bits, bitset_free);
    r->m[i].there = false;
}

static void do_bitmap(Co *co, Run *r)
{
    int i = g_test_rand_int_range(0, MAX_BITMAPS);
    ModelBitmap *b = &r->m[i];
    DirtyBitmap *bm = bitmap_find(r->node, bitmap_name(i));

    if (!b->there) {
        do_create(co, r, i);
        return;
    }
    switch (g_test_rand_int_range(0, 5)) {
    case 0:
        do_remove(co, r, i);
        break;
    case 1:
        g_assert_true(bitmap_clear(co, bm, NULL, &error_abort));
        bitset_clear_all(b->bits);
        break;
    case 2:
        bitmap_disable(bm);
        b->recording = false;
        break;
    default:
        bitmap_enable(bm);
        b->recording = true;
        break;
    }
}

static void do_resize(Co *co, Run *r)
{
    int64_t size = ROUND_UP(g_test_rand_int_range(512, MAX_DISK), 512);

    g_assert_true(root_resize(co, r->root, size, true, PREALLOC_MODE_OFF, 0,
                              &error_abort));
    for (int i = 0; i < MAX_BITMAPS; i++) {
        if (r->m[i].there) {
            bitset_free(r->m[i].bits);
            r->m[i].bits = NULL;
        }
    }
    r->size = size;
    /* What a resize does to bits is the core's affair: what is there now is
     * what has to come back. */
    for (int i = 0; i < MAX_BITMAPS; i++) {
        DirtyBitmap *bm = bitmap_find(r->node, bitmap_name(i));

        if (bm) {
            r->m[i].bits = bitset_copy(bitmap_bits(co, bm, &error_abort));
            g_assert_cmpint(bitset_size(r->m[i].bits), ==,
                            nbits(r, r->m[i].shift));
        }
    }
}

static void do_store(Co *co, Run *r)
{
    g_assert_true(r->node->drv->bitmap_store->store(co, r->node, true,
                                                    &error_abort));
}

/* ---- what is seen ---- */

static void see_bitmap(Co *co, Run *r, int i, bool readonly)
{
    ModelBitmap *b = &r->m[i];
    DirtyBitmap *bm = bitmap_find(r->node, bitmap_name(i));
    const Bitset *bits;

    g_assert_cmpint(bm != NULL, ==, b->there);
    if (!bm) {
        return;
    }
    g_assert_true(bm->persistent);
    g_assert_cmpint(bm->readonly, ==, readonly);
    g_assert_cmpint(bm->granularity_shift, ==, b->shift);
    g_assert_cmpint(bm->state, ==, b->recording ? BITMAP_RECORDING
                                                : BITMAP_DISABLED);
    bits = bitmap_bits(co, bm, &error_abort);
    g_assert_cmpint(bitset_count(bits), ==, bitset_count(b->bits));
    g_assert_true(bitset_equal(bits, b->bits));
}

static void see_bitmaps(Co *co, Run *r, bool readonly)
{
    for (int i = 0; i < MAX_BITMAPS; i++) {
        see_bitmap(co, r, i, readonly);
    }
}

static void see_flags(Co *co, Run *r, bool in_use)
{
    g_autoptr(GPtrArray) entries = NULL;

    g_assert_cmpint(qcow2_bitmap_dir_read(co, r->node, &entries, &error_abort),
                    ==, 0);
    for (guint i = 0; entries && i < entries->len; i++) {
        const Qcow2BitmapEntry *e = g_ptr_array_index(entries, i);

        g_assert_cmpint(!!(e->flags & QCOW2_BITMAP_IN_USE), ==, in_use);
    }
}

static void see_check(Co *co, Run *r)
{
    qcow2_test_check(co, r->node);
    peer_img_check(image);
}

static void do_reopen(Co *co, Run *r)
{
    co_move(co, loop_main());
    g_assert_true(root_set_perms(co, r->root, PERM_CONSISTENT_READ, PERM_ALL,
                                 &error_abort));
    g_assert_true(reopen_set_read_only(co, r->node, true, &error_abort));
    co_move(co, r->node->loop);
    see_flags(co, r, false);
    see_bitmaps(co, r, true);
    co_move(co, loop_main());
    g_assert_true(reopen_set_read_only(co, r->node, false, &error_abort));
    g_assert_true(root_set_perms(co, r->root, PERM_CONSISTENT_READ |
                                 PERM_WRITE | PERM_RESIZE, PERM_ALL,
                                 &error_abort));
    co_move(co, r->node->loop);
    see_flags(co, r, true);
}

static void do_any(Co *co, Run *r)
{
    int what = g_test_rand_int_range(0, 100);

    if (what < 50) {
        do_write(co, r);
    } else if (what < 90) {
        do_bitmap(co, r);
    } else if (what < 94) {
        do_resize(co, r);
    } else if (what < 97) {
        do_store(co, r);
    } else {
        do_reopen(co, r);
    }
}

static void run_co(Co *co, void *arg)
{
    Run *r = arg;

    control_lock(co);
    run_create(co, r);
    for (int i = 0; i < r->rounds; i++) {
        run_open(co, r, true);
        see_flags(co, r, true);
        for (int n = g_test_rand_int_range(0, 30); n > 0; n--) {
            do_any(co, r);
        }
        if (g_test_rand_bit()) {
            see_bitmaps(co, r, false);
        }
        run_close(co, r);
        run_open(co, r, false);
        see_flags(co, r, false);
        see_bitmaps(co, r, true);
        see_check(co, r);
        run_close(co, r);
    }
    control_unlock(co);
}

static void test_model(gconstpointer options)
{
    Run r = { options, g_test_slow() ? 300 : 12, 16 * MiB };

    co_test_run(run_co, &r);
    for (int i = 0; i < MAX_BITMAPS; i++) {
        bitset_free(r.m[i].bits);
    }
}

/* ---- damage ---- */

typedef struct Damage {
    int64_t off;                /* in the directory; -1: nb_bitmaps */
    uint8_t byte;
    const char *text;           /* in which writing is refused */
    int left;                   /* bitmaps that can be looked at */
} Damage;

static void damage_make(Co *co, void *arg)
{
    Run r = { "", 0, 16 * MiB };

    control_lock(co);
    run_create(co, &r);
    run_open(co, &r, true);
    for (int i = 2; i >= 0; i--) {      /* the newest is stored first */
        bitmap_set_persistent(bitmap_create(r.node, 65536, bitmap_name(i),
                                            &error_abort), true);
    }
    g_assert_cmpint(root_zero(co, r.root, 0, 100000, 0), ==, 0);
    run_close(co, &r);
    control_unlock(co);
}

static void damage_do(const Damage *d)
{
    g_autofree char *content = NULL;
    gsize len;
    int64_t dir;

    g_assert_true(g_file_get_contents(image, &content, &len, NULL));
    dir = ldq_be_p(content + 0x1f8 + 8 + 16);
    content[d->off < 0 ? 0x1f8 + 8 + 3 : dir + d->off] = d->byte;
    g_assert_true(g_file_set_contents(image, content, len, NULL));
}

static int damage_count(Run *r)
{
    int n = 0;

    for (DirtyBitmap *bm = bitmap_first(r->node); bm; bm = bitmap_next(bm)) {
        n++;
    }
    return n;
}

static void damage_repair(Co *co, Run *r)
{
    CheckOptions opts = { .fix_errors = true, .fix_leaks = true };
    CheckResult res = { 0 };

    r->node = open_filename(co, image, "qcow2", NULL, OPEN_RDWR | OPEN_CHECK,
                            &error_abort);
    r->root = NULL;
    co_move(co, r->node->loop);
    g_assert_cmpint(qcow2_check(co, r->node, &opts, &res), ==, 0);
    g_assert_cmpint(res.corruptions_fixed, >, 0);
    g_assert_cmpint(res.corruptions, ==, 0);
    co_move(co, loop_main());
    node_unref(co, r->node);
    r->node = NULL;
}

static void damage_co(Co *co, void *arg)
{
    const Damage *d = arg;
    Run r = { "", 0, 16 * MiB };
    Error *err = NULL;

    control_lock(co);
    r.node = open_filename(co, image, "qcow2", NULL, OPEN_RDWR, &err);
    g_assert_null(r.node);
    g_assert_true(g_str_has_suffix(error_get_pretty(err), d->text));
    error_free(err);
    err = NULL;

    run_open(co, &r, false);
    g_assert_cmpint(damage_count(&r), ==, d->left);
    co_move(co, loop_main());
    g_assert_false(reopen_set_read_only(co, r.node, false, &err));
    error_free(err);
    run_close(co, &r);

    damage_repair(co, &r);
    run_open(co, &r, true);
    g_assert_cmpint(damage_count(&r), ==, d->left);
    for (DirtyBitmap *bm = bitmap_first(r.node); bm; bm = bitmap_next(bm)) {
        g_assert_cmpint(bitset_count(bitmap_bits(co, bm, &error_abort)), ==,
                        2);
    }
    run_close(co, &r);
    run_open(co, &r, false);
    see_check(co, &r);
    run_close(co, &r);
    control_unlock(co);
}

static void test_damage_locks_out_writers_only(void)
{
    static const Damage damages[] = {
        { 16, 2, "Bitmap 'a' doesn't satisfy the constraints", 2 },
        { 15, 0x82, "Bitmap 'a' doesn't satisfy the constraints", 2 },
        { 17, 200, "Bitmap 'a' doesn't satisfy the constraints", 2 },
        { 6, 1, "Bitmap 'a' doesn't satisfy the constraints", 2 },
        { 11, 9, "Could not read bitmap 'a' from image: Invalid argument", 2 },
        { 18, 200, "Broken bitmap directory", 0 },
        { 32 + 18, 200, "Broken bitmap directory", 1 },
        { -1, 2, "More bitmaps found than specified in header extension", 2 },
        { -1, 4, "Less bitmaps found than specified in header extension", 3 },
        { -1, 0, "found bitmaps extension with zero bitmaps", 0 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
        g_test_message("%" PRId64, damages[i].off);
        co_test_run(damage_make, NULL);
        damage_do(&damages[i]);
        co_test_run(damage_co, (void *)&damages[i]);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name, *options;
    } runs[] = {
        { "default", "" },
        { "tiny-clusters", ",'cluster-size':512" },
        { "small-clusters", ",'cluster-size':4096" },
        { "large-clusters", ",'cluster-size':2097152" },
        { "subclusters", ",'extended-l2':true" },
        { "narrow", ",'refcount-bits':1" },
        { "lazy", ",'lazy-refcounts':true" },
    };
    g_autofree char *dir = g_dir_make_tmp("qcow2-bitmap-XXXXXX", NULL);
    int ret;

    g_test_init(&argc, &argv, NULL);
    error_init(argv[0]);
    block_init();
    image = g_build_filename(dir, "image", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2-bitmap/%s",
                                                runs[i].name);

        g_test_add_data_func(path, runs[i].options, test_model);
    }
    g_test_add_func("/qcow2-bitmap/damage",
                    test_damage_locks_out_writers_only);
    ret = g_test_run();
    g_unlink(image);
    g_rmdir(dir);
    g_free(image);
    return ret;
}
