/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What qcow2_create() makes, byte for byte beside QEMU's own qemu-img, and the
 * words in which it refuses. PEER_QEMU_IMG (default: qemu-img) is that one;
 * without it the comparison is skipped.
 */
#include "block/drivers.h"
#include "block/graph.h"
#include "block/qcow2.h"
#include "block/qcow2-layout.h"
#include "co-test.h"
#include "peer-img.h"
#include "util/json.h"

#include <glib/gstdio.h>

static char *dir;

typedef struct Create {
    const char *json;           /* members beside driver and file */
    bool ok;
    Error *err;
} Create;

static void create_co(Co *co, void *arg)
{
    Create *c = arg;
    g_autofree char *text = NULL;
    json_t *value;
    g_autoptr(BlockdevCreateOptions) opts = NULL;

    text = g_strdup_printf("{'driver':'qcow2','file':{'driver':'file',"
                           "'filename':'%s/ours'}%s%s}", dir,
                           *c->json ? "," : "", c->json);
    value = json_parse_str(text, &error_abort);
    opts = BlockdevCreateOptions_from_json(value, QAPI_STRICT, &error_abort);
    json_decref(value);
    control_lock(co);
    c->ok = qcow2_create(co, opts, &c->err);
    control_unlock(co);
}

static char *path(const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static void make_file(const char *name)
{
    g_autofree char *p = path(name);

    g_assert_true(g_file_set_contents(p, "", 0, NULL));
}

static void assert_same_files(const char *a, const char *b, const char *what)
{
    g_autofree char *pa = path(a);
    g_autofree char *pb = path(b);
    g_autofree char *ca = NULL;
    g_autofree char *cb = NULL;
    gsize la, lb;

    g_assert_true(g_file_get_contents(pa, &ca, &la, NULL));
    g_assert_true(g_file_get_contents(pb, &cb, &lb, NULL));
    for (gsize i = 0; i < MIN(la, lb); i++) {
        if (ca[i] != cb[i]) {
            g_error("%s: differs at %#zx", what, i);
        }
    }
    if (la != lb) {
        g_error("%s: %zu bytes, not %zu", what, la, lb);
    }
}

static const struct {
    const char *json, *o;
} same[] = {
    { "'size':67108864", "size=64M" },
    { "'size':0", "size=0" },
    { "'size':512", "size=512" },
    { "'size':1099511627776", "size=1T" },
    { "'size':2251799813685248", "size=2P" },
    { "'size':1048576,'version':'v2'", "size=1M,compat=0.10" },
    { "'size':1048576,'cluster-size':512", "size=1M,cluster_size=512" },
    { "'size':1048576,'cluster-size':4096", "size=1M,cluster_size=4k" },
    { "'size':1048576,'cluster-size':8192", "size=1M,cluster_size=8k" },
    { "'size':1048576,'cluster-size':2097152", "size=1M,cluster_size=2M" },
    { "'size':1048576,'refcount-bits':1", "size=1M,refcount_bits=1" },
    { "'size':1048576,'refcount-bits':2", "size=1M,refcount_bits=2" },
    { "'size':1048576,'refcount-bits':4", "size=1M,refcount_bits=4" },
    { "'size':1048576,'refcount-bits':8", "size=1M,refcount_bits=8" },
    { "'size':1048576,'refcount-bits':32", "size=1M,refcount_bits=32" },
    { "'size':1048576,'refcount-bits':64", "size=1M,refcount_bits=64" },
    { "'size':1048576,'lazy-refcounts':true", "size=1M,lazy_refcounts=on" },
    { "'size':1073741824,'extended-l2':true", "size=1G,extended_l2=on" },
    { "'size':1048576,'compression-type':'zstd'",
      "size=1M,compression_type=zstd" },
    { "'size':67108864,'preallocation':'metadata'",
      "size=64M,preallocation=metadata" },
    { "'size':999936,'preallocation':'metadata'",
      "size=999936,preallocation=metadata" },
    { "'size':0,'preallocation':'metadata'",
      "size=0,preallocation=metadata" },
    { "'size':1048576,'preallocation':'metadata','extended-l2':true",
      "size=1M,preallocation=metadata,extended_l2=on" },
    { "'size':1048576,'preallocation':'metadata','refcount-bits':2",
      "size=1M,preallocation=metadata,refcount_bits=2" },
    { "'size':1048576,'preallocation':'metadata','version':'v2'",
      "size=1M,preallocation=metadata,compat=0.10" },
    { "'size':1048576,'backing-file':'base','backing-fmt':'raw'",
      "size=1M,backing_file=base,backing_fmt=raw" },
    { "'size':1048576,'backing-file':'base','backing-fmt':'qcow2',"
      "'version':'v2'",
      "size=1M,backing_file=base,backing_fmt=qcow2,compat=0.10" },
    { "'size':1048576,'backing-file':'base','backing-fmt':'raw',"
      "'cluster-size':512",
      "size=1M,backing_file=base,backing_fmt=raw,cluster_size=512" },
};

static void test_same_bytes_as_qemu(void)
{
    if (!peer_img_have()) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
        const char *args[] = { "create", "-q", "-u", "-f", "qcow2", "-o",
                               same[i].o, "theirs", NULL };
        Create c = { same[i].json };

        make_file("ours");
        co_test_run(create_co, &c);
        g_assert_true(c.ok);
        g_assert_true(peer_img(dir, args, NULL, NULL));
        assert_same_files("ours", "theirs", same[i].o);
    }
}

static void test_same_bytes_with_a_data_file(void)
{
    static const struct {
        const char *json, *o;
    } cases[] = {
        { "'size':1048576", "size=1M" },
        { "'size':1048576,'data-file-raw':true", "size=1M,data_file_raw=on" },
        { "'size':1048576,'preallocation':'metadata'",
          "size=1M,preallocation=metadata" },
        { "'size':1048576,'preallocation':'full','data-file-raw':true",
          "size=1M,preallocation=full,data_file_raw=on" },
        { "'size':1048576,'preallocation':'metadata','extended-l2':true",
          "size=1M,preallocation=metadata,extended_l2=on" },
    };

    if (!peer_img_have()) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *json = NULL;
        g_autofree char *o = NULL;
        const char *args[] = { "create", "-q", "-u", "-f", "qcow2", "-o",
                               NULL, "theirs", NULL };
        Create c = { NULL };

        /* The name goes into the header: it has to be the same. */
        make_file("ours");
        make_file("data");
        json = g_strdup_printf("%s,'data-file':{'driver':'file','filename':"
                               "'%s/data'}", cases[i].json, dir);
        c.json = json;
        co_test_run(create_co, &c);
        if (c.err) {
            error_report_err(c.err);
        }
        g_assert_true(c.ok);
        o = g_strdup_printf("%s,data_file=%s/data", cases[i].o, dir);
        args[6] = o;
        {
            g_autofree char *data = path("data");
            g_autofree char *kept = path("data-ours");

            g_assert_cmpint(g_rename(data, kept), ==, 0);
        }
        g_assert_true(peer_img(dir, args, NULL, NULL));
        assert_same_files("ours", "theirs", o);
        assert_same_files("data-ours", "data", o);
    }
}

/* Where our layout is another one, theirs must find it sound. */
static void test_sound_by_qemus_check(void)
{
    static const char *const cases[] = {
        "'size':67108864,'preallocation':'falloc'",
        "'size':8388608,'preallocation':'full','cluster-size':4096",
        "'size':8388608,'preallocation':'metadata','cluster-size':512",
        "'size':34359738368,'cluster-size':512",
        "'size':137438953472,'cluster-size':512,'refcount-bits':64",
        "'size':33554432,'preallocation':'metadata','cluster-size':512,"
        "'refcount-bits':64",
        "'size':33554432,'preallocation':'metadata','cluster-size':512,"
        "'refcount-bits':1",
        "'size':4398046511104,'preallocation':'metadata',"
        "'cluster-size':2097152",
    };

    if (!peer_img_have()) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *args[] = { "check", "-q", "ours", NULL };
        Create c = { cases[i] };

        g_test_message("%s", cases[i]);
        make_file("ours");
        co_test_run(create_co, &c);
        g_assert_true(c.ok);
        g_assert_true(peer_img(dir, args, NULL, NULL));
    }
}

static void test_words_of_refusal(void)
{
    static const struct {
        const char *json, *text;
    } cases[] = {
        { "'size':1000", "Image size must be a multiple of 512 bytes" },
        { "'size':512,'cluster-size':3",
          "Cluster size must be a power of two between 512 and 2048k" },
        { "'size':512,'cluster-size':4194304",
          "Cluster size must be a power of two between 512 and 2048k" },
        { "'size':512,'refcount-bits':0", "Refcount width must be a power of "
          "two and may not exceed 64 bits" },
        { "'size':512,'refcount-bits':-1", "Refcount width must be a power of "
          "two and may not exceed 64 bits" },
        { "'size':512,'refcount-bits':128", "Refcount width must be a power "
          "of two and may not exceed 64 bits" },
        { "'size':512,'data-file-raw':true",
          "data-file-raw requires data-file" },
        { "'size':4503599627370496", "Could not resize image: Failed to grow "
          "the L1 table: File too large" },
        { "'size':9223372036854774784", "Could not resize image: "
          "offset(9223372036854774784) exceeds "
          "maximum(9223372035781033984)" },
        { "'size':9223372036854775808", "Could not resize image: Image size "
          "cannot be negative" },
        { "'size':512,'version':'v2','extended-l2':true,'cluster-size':512",
          "Extended L2 entries are only supported with compatibility level "
          "1.1 and above (use version=v3 or greater)" },
        { "'size':512,'extended-l2':true,'cluster-size':512,"
          "'preallocation':'metadata','backing-file':'x'",
          "Extended L2 entries are only supported with cluster sizes of at "
          "least 16384 bytes" },
        { "'size':512,'preallocation':'metadata','backing-file':'x',"
          "'refcount-bits':5", "Backing file and preallocation can only be "
          "used at the same time if extended_l2 is on" },
        { "'size':512,'backing-fmt':'raw','refcount-bits':5",
          "Backing format cannot be used without backing file" },
        { "'size':512,'version':'v2','refcount-bits':5,"
          "'lazy-refcounts':true", "Lazy refcounts only supported with "
          "compatibility level 1.1 and above (use version=v3 or greater)" },
        { "'size':512,'version':'v2','refcount-bits':8,"
          "'data-file-raw':true", "Different refcount widths than 16 bits "
          "require compatibility level 1.1 or above (use version=v3 or "
          "greater)" },
        { "'size':512,'version':'v2','compression-type':'zstd',"
          "'data-file':'nope'", "External data files are only supported with "
          "compatibility level 1.1 and above (use version=v3 or greater)" },
        { "'size':512,'version':'v2','compression-type':'zstd'",
          "Non-zlib compression type is only supported with compatibility "
          "level 1.1 and above (use version=v3 or greater)" },
        { "'size':512,'cluster-size':512,'backing-file':'"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
          "aaaaaaaaaaaaaaaaaaaaa'", NULL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Create c = { cases[i].json };

        make_file("ours");
        co_test_run(create_co, &c);
        g_assert_false(c.ok);
        if (cases[i].text) {
            g_assert_cmpstr(error_get_pretty(c.err), ==, cases[i].text);
        } else {
            g_assert_true(g_str_has_suffix(error_get_pretty(c.err),
                          "' with format '(null)': No space left on device"));
        }
        error_free(c.err);
    }
}

static void test_old_content_does_not_show(void)
{
    Create c = { "'size':1048576,'preallocation':'metadata'" };
    g_autofree char *p = path("ours");
    g_autofree char *junk = g_strnfill(3 * MiB, 'x');
    g_autofree char *content = NULL;
    gsize len;

    g_assert_true(g_file_set_contents(p, junk, 3 * MiB, NULL));
    co_test_run(create_co, &c);
    g_assert_true(c.ok);
    g_assert_true(g_file_get_contents(p, &content, &len, NULL));
    g_assert_cmpuint(len, ==, (5 + 16) * 65536);
    g_assert_null(memchr(content + 5 * 65536, 'x', len - 5 * 65536));
    g_assert_null(memchr(content + 65536, 'x', 4 * 65536));
}

/* All refcount blocks together count each cluster once, whatever the size. */
static void test_plans_are_consistent(void)
{
    for (int round = 0; round < 20000; round++) {
        Qcow2Layout l = {
            .cluster_bits = g_test_rand_int_range(9, 22),
            .refcount_order = g_test_rand_int_range(0, 7),
            .mapped = g_test_rand_bit(),
            .external_data = g_test_rand_bit(),
        };
        int64_t per_block;

        l.extended_l2 = l.cluster_bits >= 14 && g_test_rand_bit();
        l.size = (INT64_C(1) << g_test_rand_int_range(9, 62)) +
                 512 * g_test_rand_int_range(0, 1000000);
        if (qcow2_layout_plan(&l) < 0) {
            continue;
        }
        per_block = INT64_C(1) << (l.cluster_bits + 3 - l.refcount_order);
        g_assert_cmpint(l.refblocks * per_block, >=, l.end);
        g_assert_cmpint((l.refblocks - 1) * per_block, <, l.end);
        g_assert_cmpint(l.reftable_clusters << (l.cluster_bits - 3), >=,
                        l.refblocks);
        g_assert_cmpint(l.end, >=, l.data);
        g_assert_cmpint(qcow2_layout_file_len(&l), <=,
                        l.end << l.cluster_bits);
    }
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    block_init();
    dir = g_dir_make_tmp("qcow2-create-XXXXXX", NULL);
    g_test_add_func("/qcow2-create/same", test_same_bytes_as_qemu);
    g_test_add_func("/qcow2-create/data-file",
                    test_same_bytes_with_a_data_file);
    g_test_add_func("/qcow2-create/sound", test_sound_by_qemus_check);
    g_test_add_func("/qcow2-create/words", test_words_of_refusal);
    g_test_add_func("/qcow2-create/stale", test_old_content_does_not_show);
    g_test_add_func("/qcow2-create/plans", test_plans_are_consistent);
    ret = g_test_run();
    for (const char *const *n = (const char *const []) {
             "ours", "theirs", "data", "data-ours", NULL }; *n; n++) {
        g_autofree char *p = path(*n);

        g_unlink(p);
    }
    g_rmdir(dir);
    g_free(dir);
    return ret;
}
