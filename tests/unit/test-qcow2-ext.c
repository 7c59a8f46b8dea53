/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The header extensions of qcow2 and the first cluster as a whole. */
#include "block/qcow2-format.h"

#define CLUSTER 65536

typedef struct Build {
    uint8_t buf[CLUSTER];
    size_t at;
} Build;

static Build *build_new(void)
{
    Build *b = g_new0(Build, 1);
    Qcow2Header h = {
        .version = 3, .cluster_bits = 16, .size = 64 * MiB, .l1_size = 1,
        .l1_offset = 0x30000, .reftable_offset = 0x10000,
        .reftable_clusters = 1, .refcount_order = 4,
    };

    b->at = qcow2_header_encode(&h, b->buf, CLUSTER);
    return b;
}

static void build_ext_len(Build *b, uint32_t type, const void *data,
                          size_t len, uint32_t said)
{
    stl_be_p(b->buf + b->at, type);
    stl_be_p(b->buf + b->at + 4, said);
    if (len) {
        memcpy(b->buf + b->at + 8, data, len);
    }
    b->at += 8 + ROUND_UP(len, 8);
}

static void build_ext(Build *b, uint32_t type, const void *data, size_t len)
{
    build_ext_len(b, type, data, len, len);
}

static bool decode(Build *b, size_t len, Qcow2Exts *x, char **backing,
                   Error **errp)
{
    g_auto(Qcow2Header) h = { 0 };

    return qcow2_format_decode(b->buf, len, false, &h, x, backing, errp);
}

static void expect(Build *b, const char *text)
{
    g_auto(Qcow2Exts) x = { 0 };
    g_autofree char *backing = NULL;
    g_autoptr(Error) err = NULL;
    bool ok = decode(b, CLUSTER, &x, &backing, &err);

    if (text) {
        g_assert_false(ok);
        g_assert_cmpstr(error_get_pretty(err), ==, text);
    } else {
        g_assert_true(ok);
    }
}

static void test_known_ones(void)
{
    g_autofree Build *b = build_new();
    g_auto(Qcow2Exts) x = { 0 };
    g_autofree char *backing = NULL;

    build_ext(b, QCOW2_EXT_BACKING_FORMAT, "raw", 3);
    build_ext(b, QCOW2_EXT_DATA_FILE, "foo.raw", 7);
    build_ext(b, 0x12345678, "abcdefghi", 9);
    build_ext(b, 0x12345679, "", 0);
    build_ext(b, QCOW2_EXT_END, NULL, 0);
    memcpy(b->buf + b->at, "base.img", 8);
    stq_be_p(b->buf + 8, b->at);
    stl_be_p(b->buf + 16, 8);

    g_assert_true(decode(b, CLUSTER, &x, &backing, NULL));
    g_assert_cmpstr(x.backing_format, ==, "raw");
    g_assert_cmpstr(x.data_file, ==, "foo.raw");
    g_assert_cmpstr(backing, ==, "base.img");
    g_assert_cmpuint(x.unknown->len, ==, 2);
    g_assert_cmpuint(((Qcow2UnknownExt *)x.unknown->pdata[0])->len, ==, 9);
}

static void test_limits(void)
{
    {
        g_autofree Build *b = build_new();
        build_ext(b, QCOW2_EXT_BACKING_FORMAT, "rrrrrrrrrrrrrrr", 15);
        expect(b, NULL);
    }
    {
        g_autofree Build *b = build_new();
        build_ext(b, QCOW2_EXT_BACKING_FORMAT, "rrrrrrrrrrrrrrrr", 16);
        expect(b, "ERROR: ext_backing_format: len=16 too large (>=16)");
    }
    {
        g_autofree Build *b = build_new();
        build_ext_len(b, 5, "abc", 3, 65536);
        expect(b, "Header extension too large");
    }
    {
        g_autofree Build *b = build_new();
        build_ext_len(b, 5, "abc", 3, 0xffffffff);
        expect(b, "Header extension too large");
    }
    {
        g_autofree Build *b = build_new();
        build_ext(b, QCOW2_EXT_CRYPTO, "0123456789abcdef", 16);
        expect(b, "CRYPTO header extension only expected with LUKS "
               "encryption method");
    }
}

/* The extensions end where the backing file's name begins. */
static void test_the_backing_name_bounds_them(void)
{
    static const struct {
        int backing, len;
        const char *text;
    } cases[] = {
        { 128, 8, NULL },
        { 128, 9, "Header extension too large" },
        { 124, 8, "Header extension too large" },
        { 116, 0, "Header extension too large" },
        { 112, 0xffff, NULL },
        { 50, 0xffff, NULL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree Build *b = build_new();

        stq_be_p(b->buf + 8, cases[i].backing);
        stl_be_p(b->buf + 16, 3);
        build_ext_len(b, 5, NULL, 0, cases[i].len);
        expect(b, cases[i].text);
    }
}

static void test_backing_name_limits(void)
{
    g_autofree Build *b = build_new();

    stq_be_p(b->buf + 8, 0x200);
    stl_be_p(b->buf + 16, 1023);
    expect(b, NULL);
    stl_be_p(b->buf + 16, 1024);
    expect(b, "Backing file name too long");
    stl_be_p(b->buf + 16, 9);
    stq_be_p(b->buf + 8, CLUSTER - 8);
    expect(b, "Backing file name too long");
}

static void test_unknown_features_are_named(void)
{
    uint8_t table[96] = { 0, 10 };
    g_autofree Build *b = build_new();

    strcpy((char *)table + 2, "My feature");
    table[48] = 1;                      /* a compatible one of the same bit */
    table[49] = 11;
    strcpy((char *)table + 50, "Harmless");
    build_ext(b, QCOW2_EXT_FEATURE_TABLE, table, sizeof(table));
    stq_be_p(b->buf + 72, 1 << 10);
    expect(b, "Unsupported qcow2 feature(s): My feature");
    stq_be_p(b->buf + 72, 3 << 10);
    expect(b, "Unsupported qcow2 feature(s): My feature, "
           "Unknown incompatible feature: 800");
    stq_be_p(b->buf + 72, 1 << 5);
    expect(b, "Unsupported qcow2 feature(s): "
           "Unknown incompatible feature: 20");
    /* What the rest means is unknown then. */
    stl_be_p(b->buf + 56, 0);
    expect(b, "Unsupported qcow2 feature(s): "
           "Unknown incompatible feature: 20");
}

static void test_feature_names_of_full_and_cut_length(void)
{
    for (int len = 0; len <= 48; len++) {
        uint8_t table[48];
        g_autofree Build *b = build_new();
        g_autofree char *text = NULL;

        memset(table, 'M', sizeof(table));
        table[0] = 0;
        table[1] = 10;
        build_ext(b, QCOW2_EXT_FEATURE_TABLE, table, len);
        stq_be_p(b->buf + 72, 1 << 10);
        text = len > 2 ?
            g_strdup_printf("Unsupported qcow2 feature(s): %.*s", len - 2,
                            (char *)table + 2) :
            g_strdup("Unsupported qcow2 feature(s): "
                     "Unknown incompatible feature: 400");
        expect(b, text);
    }
}

static void put_bitmaps(uint8_t *p, uint32_t nb, uint32_t reserved,
                        uint64_t size, uint64_t off)
{
    stl_be_p(p, nb);
    stl_be_p(p + 4, reserved);
    stq_be_p(p + 8, size);
    stq_be_p(p + 16, off);
}

static void test_broken_bitmaps_do_not_spoil_the_image(void)
{
    static const struct {
        uint32_t nb, reserved;
        uint64_t size, off;
        const char *text;
    } cases[] = {
        { 1, 0, 32, 0x40000, NULL },
        { 0, 0, 24, 0x40000, "found bitmaps extension with zero bitmaps" },
        { 1, 1, 24, 0x40000, "bitmaps_ext: Reserved field is not zero" },
        { 1, 0, 0, 0x40000, "Requested bitmap directory size is zero" },
        { 1, 0, 32, 0x40001, "bitmaps_ext: invalid bitmap directory offset" },
        { 1, 0, 32, UINT64_C(1) << 60,
          "bitmaps_ext: invalid bitmap directory offset" },
        { 65536, 0, 65536 * 32, 0x40000, "bitmaps_ext: Image has 65536 "
          "bitmaps, exceeding the QEMU supported maximum of 65535" },
        { 1, 0, 64 * MiB + 1, 0x40000, "bitmaps_ext: bitmap directory size "
          "(67108865) exceeds the maximum supported size (67107840)" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree Build *b = build_new();
        g_auto(Qcow2Exts) x = { 0 };
        g_autofree char *backing = NULL;
        uint8_t data[24];

        put_bitmaps(data, cases[i].nb, cases[i].reserved, cases[i].size,
                    cases[i].off);
        build_ext(b, QCOW2_EXT_BITMAPS, data, sizeof(data));
        g_assert_true(decode(b, CLUSTER, &x, &backing, NULL));
        g_assert_true(x.have_bitmaps);
        g_assert_cmpuint(x.nb_bitmaps, ==, cases[i].nb);
        g_assert_cmpstr(x.bitmaps_error ? error_get_pretty(x.bitmaps_error)
                                        : NULL, ==, cases[i].text);
    }
    for (int len = 0; len < 32; len += len == 23 ? 2 : 1) {
        g_autofree Build *b = build_new();
        g_auto(Qcow2Exts) x = { 0 };
        g_autofree char *backing = NULL;
        uint8_t data[32] = { 0 };

        build_ext(b, QCOW2_EXT_BITMAPS, data, len);
        g_assert_true(decode(b, CLUSTER, &x, &backing, NULL));
        g_assert_cmpstr(error_get_pretty(x.bitmaps_error), ==,
                        "bitmaps_ext: Invalid extension length");
    }
}

/* ---- encoding ---- */

static void fill(Qcow2Header *h, Qcow2Exts *x, uint32_t cluster_bits)
{
    *h = (Qcow2Header) {
        .version = 3, .cluster_bits = cluster_bits, .size = 1 * MiB,
        .l1_size = 64, .l1_offset = 3 << cluster_bits,
        .reftable_offset = 1 << cluster_bits, .reftable_clusters = 1,
        .refcount_order = 4,
    };
    memset(x, 0, sizeof(*x));
}

static void test_round_trip(void)
{
    g_autofree uint8_t *buf = g_malloc(CLUSTER);
    g_autofree uint8_t *again = g_malloc(CLUSTER);
    g_autofree char *backing = NULL;
    g_auto(Qcow2Header) h = { 0 };
    g_auto(Qcow2Header) h2 = { 0 };
    g_auto(Qcow2Exts) x = { 0 };
    g_auto(Qcow2Exts) x2 = { 0 };
    Qcow2UnknownExt *u = g_malloc(sizeof(*u) + 5);

    fill(&h, &x, 16);
    x.backing_format = g_strdup("qcow2");
    x.data_file = g_strdup("data.raw");
    x.have_bitmaps = true;
    x.nb_bitmaps = 2;
    x.bitmap_dir_size = 80;
    x.bitmap_dir_offset = 0x70000;
    x.bitmaps_cut_len = 1 * MiB;
    x.bitmaps_cut_end = 5 * MiB;
    u->type = 0xabcdef01;
    u->len = 5;
    memcpy(u->data, "hello", 5);
    x.unknown = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(x.unknown, u);

    g_assert_cmpint(qcow2_format_encode(&h, &x, "base", buf), >, 0);
    g_assert_true(qcow2_format_decode(buf, CLUSTER, false, &h2, &x2, &backing,
                                      &error_abort));
    g_assert_cmpstr(backing, ==, "base");
    g_assert_cmpstr(x2.backing_format, ==, "qcow2");
    g_assert_cmpstr(x2.data_file, ==, "data.raw");
    g_assert_cmpuint(x2.bitmap_dir_offset, ==, 0x70000);
    g_assert_cmpuint(x2.bitmaps_cut_len, ==, 1 * MiB);
    g_assert_cmpuint(x2.bitmaps_cut_end, ==, 5 * MiB);
    g_assert_cmpuint(x2.feature_table_len, ==, 384);
    g_assert_cmpint(qcow2_format_encode(&h2, &x2, backing, again), >, 0);
    g_assert_cmpmem(buf, CLUSTER, again, CLUSTER);
}

static void test_cut_at_every_length(void)
{
    g_autofree uint8_t *buf = g_malloc(CLUSTER);
    g_auto(Qcow2Header) h = { 0 };
    g_auto(Qcow2Exts) x = { 0 };
    int64_t used;

    fill(&h, &x, 16);
    x.backing_format = g_strdup("qcow2");
    x.have_bitmaps = true;
    used = qcow2_format_encode(&h, &x, "base.qcow2", buf);
    g_assert_cmpint(used, >, 500);
    for (int64_t len = 0; len <= used; len++) {
        g_autofree uint8_t *cut = g_memdup2(buf, len);
        g_auto(Qcow2Header) h2 = { 0 };
        g_auto(Qcow2Exts) x2 = { 0 };
        g_autofree char *backing = NULL;
        g_autoptr(Error) err = NULL;
        bool ok = qcow2_format_decode(cut, len, false, &h2, &x2, &backing,
                                      &err);

        g_assert_cmpint(ok, ==, err == NULL);
        g_assert_cmpint(ok, ==, len > 103);
    }
}

static void test_random_damage_is_survived(void)
{
    g_autofree uint8_t *good = g_malloc(CLUSTER);
    g_auto(Qcow2Header) h = { 0 };
    g_auto(Qcow2Exts) x = { 0 };

    fill(&h, &x, 9);
    x.backing_format = g_strdup("qcow2");
    x.have_bitmaps = true;
    g_assert_cmpint(qcow2_format_encode(&h, &x, "base.qcow2", good), >, 0);
    for (int round = 0; round < 100000; round++) {
        g_autofree uint8_t *bad = g_memdup2(good, 512);
        g_auto(Qcow2Header) h2 = { 0 };
        g_auto(Qcow2Exts) x2 = { 0 };
        g_autofree char *backing = NULL;
        g_autoptr(Error) err = NULL;

        for (int i = g_test_rand_int_range(1, 8); i > 0; i--) {
            bad[g_test_rand_int_range(0, 200)] = g_test_rand_int();
        }
        g_assert_cmpint(qcow2_format_decode(bad, 512, g_test_rand_bit(), &h2,
                                            &x2, &backing, &err),
                        ==, err == NULL);
        if (!err) {
            g_autofree uint8_t *out = g_malloc(1 << h2.cluster_bits);

            qcow2_format_encode(&h2, &x2, backing, out);
        }
    }
}

/* By `qemu-img create -o cluster_size=...`: small clusters have no table. */
static void test_where_the_feature_table_is(void)
{
    g_autofree uint8_t *buf = g_malloc(CLUSTER);

    for (uint32_t bits = 9; bits <= 16; bits++) {
        g_auto(Qcow2Header) h = { 0 };
        g_auto(Qcow2Exts) x = { 0 };

        fill(&h, &x, bits);
        g_assert_cmpint(qcow2_format_encode(&h, &x, NULL, buf), ==,
                        bits > 12 ? 112 + 8 + 384 + 8 : 112 + 8);
        fill(&h, &x, bits);
        h.version = 2;
        g_assert_cmpint(qcow2_format_encode(&h, &x, NULL, buf), ==, 72 + 8);
    }
}

static void test_room(void)
{
    g_autofree uint8_t *buf = g_malloc(CLUSTER);
    g_autofree char *name = g_strnfill(1024, 'a');
    g_auto(Qcow2Header) h = { 0 };
    g_auto(Qcow2Exts) x = { 0 };

    fill(&h, &x, 16);
    g_assert_cmpint(qcow2_format_encode(&h, &x, name, buf), ==, -EINVAL);
    g_assert_cmpint(qcow2_format_encode(&h, &x, name + 1, buf), >, 0);
    g_assert_cmpuint(h.backing_len, ==, 1023);
    fill(&h, &x, 9);
    g_assert_cmpint(qcow2_format_encode(&h, &x, name + 1, buf), ==, -ENOSPC);
    g_assert_cmpint(qcow2_format_encode(&h, &x, name + 1024 - 392, buf), ==,
                    512);
    g_assert_cmpint(qcow2_format_encode(&h, &x, name + 1024 - 393, buf), ==,
                    -ENOSPC);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2-ext/known", test_known_ones);
    g_test_add_func("/qcow2-ext/limits", test_limits);
    g_test_add_func("/qcow2-ext/bounded", test_the_backing_name_bounds_them);
    g_test_add_func("/qcow2-ext/backing-name", test_backing_name_limits);
    g_test_add_func("/qcow2-ext/features", test_unknown_features_are_named);
    g_test_add_func("/qcow2-ext/feature-names",
                    test_feature_names_of_full_and_cut_length);
    g_test_add_func("/qcow2-ext/bitmaps",
                    test_broken_bitmaps_do_not_spoil_the_image);
    g_test_add_func("/qcow2-ext/round-trip", test_round_trip);
    g_test_add_func("/qcow2-ext/cut", test_cut_at_every_length);
    g_test_add_func("/qcow2-ext/damage", test_random_damage_is_survived);
    g_test_add_func("/qcow2-ext/table", test_where_the_feature_table_is);
    g_test_add_func("/qcow2-ext/room", test_room);
    return g_test_run();
}
