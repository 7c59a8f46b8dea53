/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qcow2_measure() beside `qemu-img measure` of PEER_QEMU_IMG (default:
 * qemu-img), for a table of options and sources. Skipped without it.
 */
#include "block/create.h"
#include "block/drivers.h"
#include "block/graph.h"
#include "block/open.h"
#include "block/qcow2.h"
#include "co-test.h"
#include "peer-img.h"
#include "util/json.h"

#include <glib/gstdio.h>

static char *dir;

typedef struct Measure {
    const char *options;        /* as after -o; or NULL */
    const char *size;           /* or */
    const char *source;         /* a file in dir */
    const char *format;
    BlockMeasureInfo *info;
    Error *err;
} Measure;

static void measure_co(Co *co, void *arg)
{
    Measure *m = arg;
    g_autoptr(json_t) opts = create_parse_options(driver_find("qcow2"),
                                                  m->options, &error_abort);
    Loop *home = co_loop(co);
    Node *source = NULL;

    control_lock(co);
    if (m->source) {
        g_autofree char *p = g_build_filename(dir, m->source, NULL);

        source = open_filename(co, p, m->format, NULL, 0, &error_abort);
    } else {
        json_object_set_new(opts, "size", json_string(m->size));
    }
    m->info = qcow2_measure(co, opts, source, &m->err);
    co_move(co, home);
    node_unref(co, source);
    control_unlock(co);
}

static void peer_do(const char *line)
{
    g_auto(GStrv) args = g_strsplit(line, " ", -1);

    g_assert_true(peer_img(dir, (const char *const *)args, NULL, NULL));
}

static void compare(const char *options, const char *size,
                    const char *source, const char *format)
{
    Measure m = { options, size, source, format };
    const char *args[12] = { "measure", "--output=json", "-O", "qcow2" };
    g_autofree char *out = NULL;
    g_autofree char *err = NULL;
    g_autofree char *theirs = NULL;
    int n = 4;

    if (options) {
        args[n++] = "-o";
        args[n++] = options;
    }
    args[n++] = size ? "--size" : "-f";
    args[n++] = size ? size : format;
    args[n] = source;
    co_test_run(measure_co, &m);
    if (!peer_img(dir, args, &out, &err)) {
        g_assert_null(m.info);
        theirs = g_strconcat("qemu-img: ", error_get_pretty(m.err), NULL);
        g_assert_cmpstr(g_strchomp(err), ==, theirs);
        error_free(m.err);
        return;
    }
    if (m.err) {
        error_report_err(m.err);
        g_error("%s refused", options);
    }
    {
        g_autoptr(json_t) value = json_parse_str(out, &error_abort);
        json_t *bitmaps = json_object_get(value, "bitmaps");

        g_assert_cmpint(m.info->required, ==, json_integer_value(
                        json_object_get(value, "required")));
        g_assert_cmpint(m.info->fully_allocated, ==, json_integer_value(
                        json_object_get(value, "fully-allocated")));
        g_assert_cmpint(m.info->has_bitmaps, ==, bitmaps != NULL);
        if (bitmaps) {
            g_assert_cmpint(m.info->bitmaps, ==,
                            json_integer_value(bitmaps));
        }
    }
    qapi_free_BlockMeasureInfo(m.info);
}

static void test_sizes_and_options(void)
{
    static const char *const sizes[] = {
        "0", "1000", "65536", "64M", "1000M", "1T", "100T", "1P", "4P",
        "9223372036854775807",
    };
    static const char *const options[] = {
        NULL, "cluster_size=512", "cluster_size=4k", "cluster_size=2M",
        "refcount_bits=64", "refcount_bits=1", "extended_l2=on",
        "extended_l2=on,cluster_size=8k", "preallocation=full",
        "preallocation=falloc", "preallocation=metadata", "compat=0.10",
        "compat=0.10,refcount_bits=1", "refcount_bits=3", "cluster_size=3",
        "preallocation=foo", "data_file=x", "lazy_refcounts=on",
    };

    if (!peer_img_have()) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
            g_test_message("%s %s", options[i], sizes[k]);
            compare(options[i], sizes[k], NULL, NULL);
        }
    }
}

static void test_sources(void)
{
    static const char *const options[] = {
        NULL, "cluster_size=4k", "cluster_size=2M", "compat=0.10",
        "preallocation=full", "backing_file=base,backing_fmt=raw",
    };
    g_autofree char *raw = g_build_filename(dir, "raw", NULL);
    FILE *f;

    if (!peer_img_have()) {
        return;
    }
    f = g_fopen(raw, "w");
    fseek(f, 5 * MiB + 4096 * 3, SEEK_SET);
    fputs("data", f);
    fseek(f, 9 * MiB + 70000, SEEK_SET);
    for (int i = 0; i < 100000; i++) {
        fputc('x', f);
    }
    g_assert_cmpint(fclose(f), ==, 0);
    g_assert_cmpint(truncate(raw, 64 * MiB), ==, 0);
    peer_do("convert -O qcow2 raw image");
    peer_do("bitmap --add image b0");
    peer_do("bitmap --add -g 512 image b1");
    peer_do("convert -O qcow2 -o compat=0.10 raw old");
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        g_test_message("%s", options[i]);
        compare(options[i], NULL, "raw", "raw");
        compare(options[i], NULL, "image", "qcow2");
        compare(options[i], NULL, "old", "qcow2");
    }
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    block_init();
    dir = g_dir_make_tmp("qcow2-measure-XXXXXX", NULL);
    g_test_add_func("/qcow2-measure/options", test_sizes_and_options);
    g_test_add_func("/qcow2-measure/sources", test_sources);
    ret = g_test_run();
    for (const char *const *n = (const char *const []) {
             "raw", "image", "old", NULL }; *n; n++) {
        g_autofree char *p = g_build_filename(dir, *n, NULL);

        g_unlink(p);
    }
    g_rmdir(dir);
    g_free(dir);
    return ret;
}
