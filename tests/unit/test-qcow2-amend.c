/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Amending images: each change, and chains of random ones, leave an image that
 * reads the same, in snapshots as well, and that our check and (PEER_QEMU_IMG,
 * default qemu-img) QEMU's find sound; the words in which it refuses; and that one
 * that fails leaves no trace in memory.
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

#define DISK (2 * MiB)

static char *dir, *image, *base;

typedef struct Run {
    const char *create;         /* members of the create options */
    const char *amend;          /* an object; what amend is given */
    bool zeroes;                /* write zero clusters and snapshots before */
    const char *text;           /* the refusal; NULL: it works */
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
    g_autofree char *members = g_strdup_printf("%s%s", *r->create ? "," : "",
                                               r->create);

    qcow2_test_create(co, image, DISK, members);
}

static void run_write(Co *co, Run *r, int64_t off, int64_t len, int byte)
{
    g_autofree uint8_t *buf = g_malloc(len);

    memset(buf, byte, len);
    g_assert_cmpint(root_pwrite(co, r->root, off, len, buf, 0), ==, 0);
}

/* Data, zeroes with and without a cluster behind them, and two snapshots that
 * share some of it. */
static void run_fill(Co *co, Run *r)
{
    const SnapshotOps *ops = r->node->drv->snapshots;

    run_write(co, r, 0, 300000, 1);
    if (!r->zeroes) {
        return;
    }
    g_assert_cmpint(root_zero(co, r->root, 65536, 65536, 0), ==, 0);
    g_assert_cmpint(root_zero(co, r->root, 1 * MiB, 200000, 0), ==, 0);
    g_assert_cmpint(ops->create(co, r->node, "one", 0, 0), ==, 0);
    run_write(co, r, 1 * MiB, 70000, 2);
    g_assert_cmpint(root_zero(co, r->root, 196608, 65536, 0), ==, 0);
    g_assert_cmpint(ops->create(co, r->node, "two", 0, 0), ==, 0);
    run_write(co, r, 0, 70000, 3);
}

/* The content of the disk or of a snapshot; NULL if there is none. */
static uint8_t *run_read(Co *co, Run *r, const char *snapshot, int64_t len)
{
    uint8_t *buf = g_malloc0(len);

    run_open(co, r, false);
    if (snapshot && !r->node->drv->snapshots->load(co, r->node, NULL,
                                                   snapshot, NULL)) {
        g_clear_pointer(&buf, g_free);
    } else {
        g_assert_cmpint(root_pread(co, r->root, 0,
                                   MIN(len, r->node->length), buf), ==, 0);
    }
    run_close(co, r);
    return buf;
}

static void see_same(const uint8_t *a, const uint8_t *b)
{
    g_assert_cmpint(a == NULL, ==, b == NULL);
    if (a) {
        g_assert_cmpint(memcmp(a, b, DISK), ==, 0);
    }
}

static void see_check(Co *co, Run *r)
{
    run_open(co, r, false);
    qcow2_test_check(co, r->node);
    run_close(co, r);
    peer_img_check(image);
}

static void amend_once(Co *co, Run *r)
{
    g_autoptr(json_t) opts = json_parse_str(r->amend, &error_abort);
    Error *err = NULL;

    run_open(co, r, true);
    g_assert_cmpint(qcow2_amend(co, r->node, opts, false, NULL, NULL, &err),
                    ==, r->text == NULL);
    g_assert_cmpstr(err ? error_get_pretty(err) : NULL, ==, r->text);
    error_free(err);
    run_close(co, r);
}

static void run_co(Co *co, void *arg)
{
    static const char *const names[] = { NULL, "one", "two" };
    uint8_t *before[3], *after;
    Run *r = arg;

    control_lock(co);
    run_create(co, r);
    run_open(co, r, true);
    run_fill(co, r);
    run_close(co, r);
    for (int i = 0; i < 3; i++) {
        before[i] = run_read(co, r, names[i], DISK);
    }
    amend_once(co, r);
    see_check(co, r);
    for (int i = 0; i < 3; i++) {
        after = run_read(co, r, names[i], DISK);
        see_same(before[i], after);
        g_free(before[i]);
        g_free(after);
    }
    control_unlock(co);
}

static void test_changes_keep_the_content(void)
{
    static const struct {
        const char *create, *amend;
        bool zeroes;
    } cases[] = {
        { "", "{'version':'v2'}", false },
        { "", "{'version':'v2'}", true },
        { "'cluster-size':4096", "{'version':'v2'}", true },
        { "'lazy-refcounts':true", "{'version':'v2'}", true },
        { "'version':'v2'", "{'version':'v3'}", true },
        { "'version':'v2'", "{'version':'v3','lazy-refcounts':'on',"
          "'refcount-bits':'64'}", true },
        { "", "{'refcount-bits':'64'}", true },
        { "", "{'refcount-bits':'2'}", true },
        { "'cluster-size':512", "{'refcount-bits':'64'}", true },
        { "'cluster-size':512,'refcount-bits':64", "{'refcount-bits':'4'}",
          true },
        { "'cluster-size':512,'refcount-bits':64",
          "{'refcount-bits':'16','version':'v2'}", true },
        { "", "{'lazy-refcounts':'on'}", true },
        { "'lazy-refcounts':true", "{'lazy-refcounts':'off'}", true },
        { "", "{'size':'3M'}", false },
        { "", "{'version':'v3'}", true },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *with_base = NULL;
        Run r = { cases[i].create, cases[i].amend, cases[i].zeroes };

        g_test_message("%s -> %s", r.create, r.amend);
        co_test_run(run_co, &r);
        with_base = g_strdup_printf("'backing-file':'%s','backing-fmt':'raw'"
                                    "%s%s", base, *r.create ? "," : "",
                                    r.create);
        r.create = with_base;
        co_test_run(run_co, &r);
    }
}

static void test_words_of_refusal(void)
{
    static const struct {
        const char *create, *amend, *text;
        bool zeroes;
    } cases[] = {
        { "", "{'cluster-size':'4k'}", "Invalid parameter 'cluster_size'" },
        { "", "{'preallocation':'off'}",
          "Invalid parameter 'preallocation'" },
        { "", "{'version':'foo'}", "Unknown compatibility level foo" },
        { "'version':'v2'", "{'lazy-refcounts':'on'}", "Lazy refcounts only "
          "supported with compatibility level 1.1 and above (use compat=1.1 "
          "or greater)" },
        { "", "{'refcount-bits':'3'}", "Refcount width must be a power of two "
          "and may not exceed 64 bits" },
        { "", "{'refcount-bits':'128'}", "Refcount width must be a power of "
          "two and may not exceed 64 bits" },
        { "'version':'v2'", "{'refcount-bits':'8'}", "Refcount widths other "
          "than 16 bits require compatibility level 1.1 or above (use "
          "compat=1.1 or greater)" },
        { "'refcount-bits':8", "{'version':'v2'}",
          "compat=0.10 requires refcount_bits=16" },
        { "", "{'backing-file':'x'}", "Cannot amend the backing file" },
        { "", "{'backing-fmt':'raw'}", "Cannot amend the backing file" },
        { "", "{'data-file':'x'}", "data-file can only be set for images that "
          "use an external data file" },
        { "", "{'data-file-raw':'on'}",
          "data-file-raw cannot be set on existing images" },
        { "'extended-l2':true", "{'version':'v2'}", "Cannot downgrade an "
          "image with incompatible features 0x10 set" },
        { "", "{'refcount-bits':'1'}", "Cannot decrease refcount entry width "
          "to 1 bits: Cluster at offset 0x50000 has a refcount of 2", true },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Run r = { cases[i].create, cases[i].amend, cases[i].zeroes,
                  cases[i].text };

        g_test_message("%s -> %s", r.create, r.amend);
        co_test_run(run_co, &r);
    }
}

/* A name that does not fit into the header fails when all else is done. */
static void failure_co(Co *co, void *arg)
{
    g_autofree char *name = g_strnfill(400, 'n');
    g_autofree char *text = g_strdup_printf(
        "{'data-file':'%s','lazy-refcounts':'off','data-file-raw':'off'}",
        name);
    g_autofree char *members = g_strdup_printf(
        ",'cluster-size':512,'lazy-refcounts':true,'data-file-raw':true,"
        "'data-file':{'driver':'file','filename':'%s'}", base);
    g_autoptr(json_t) opts = json_parse_str(text, &error_abort);
    Error *err = NULL;
    Run r = { 0 };
    Qcow2State *s;

    control_lock(co);
    qcow2_test_create(co, image, DISK, members);
    run_open(co, &r, true);
    run_write(co, &r, 0, 4096, 1);
    s = qcow2_state(r.node);
    g_assert_false(qcow2_amend(co, r.node, opts, false, NULL, NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Failed to update the image "
                    "header: No space left on device");
    error_free(err);
    g_assert_cmpint(s->hdr.compatible, ==, QCOW2_COMPAT_LAZY);
    g_assert_cmpint(s->hdr.autoclear, ==, QCOW2_AUTOCLEAR_RAW_DATA);
    g_assert_cmpstr(s->ext.data_file, ==, base);
    g_assert_true(s->lazy_refcounts);
    g_assert_cmpint(qcow2_write_header(co, r.node), ==, 0);
    run_write(co, &r, 8192, 4096, 2);
    run_close(co, &r);
    see_check(co, &r);
    control_unlock(co);
}

static void test_failure_leaves_no_trace(void)
{
    co_test_run(failure_co, NULL);
}

int main(int argc, char **argv)
{
    g_autofree char *junk = g_strnfill(DISK, 'b');
    int ret;

    g_test_init(&argc, &argv, NULL);
    block_init();
    dir = g_dir_make_tmp("qcow2-amend-XXXXXX", NULL);
    image = g_build_filename(dir, "image", NULL);
    base = g_build_filename(dir, "base", NULL);
    g_assert_true(g_file_set_contents(base, junk, DISK, NULL));
    g_test_add_func("/qcow2-amend/changes", test_changes_keep_the_content);
    g_test_add_func("/qcow2-amend/words", test_words_of_refusal);
    g_test_add_func("/qcow2-amend/failure", test_failure_leaves_no_trace);
    ret = g_test_run();
    g_unlink(image);
    g_unlink(base);
    g_rmdir(dir);
    g_free(dir);
    g_free(image);
    g_free(base);
    return ret;
}
