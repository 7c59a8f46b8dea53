/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The bitmap directory of qcow2: limits, cuts, damage, tables. */
#include "block/qcow2-bitmap-dir.h"

#define CLUSTER 65536

static Qcow2BitmapEntry *entry_new(const char *name)
{
    Qcow2BitmapEntry *e = g_new0(Qcow2BitmapEntry, 1);

    e->table_offset = 0x40000;
    e->table_size = 1;
    e->flags = QCOW2_BITMAP_AUTO;
    e->type = 1;
    e->granularity_shift = 16;
    e->name = g_strdup(name);
    return e;
}

static GPtrArray *array_new(void)
{
    return g_ptr_array_new_with_free_func(
        (GDestroyNotify)qcow2_bitmap_entry_free);
}

static uint8_t *sample(size_t *len)
{
    g_autoptr(GPtrArray) a = array_new();

    g_ptr_array_add(a, entry_new("b0"));
    g_ptr_array_add(a, entry_new("bitmap1"));
    g_ptr_array_add(a, entry_new("dis"));
    return qcow2_bitmap_dir_encode(a, len);
}

/* As qemu-img wrote it. */
static void test_bytes_are_qemus(void)
{
    static const uint8_t qemu[] = {
        0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2,
        1, 0x10, 0, 2, 0, 0, 0, 0, 'b', '0', 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2,
        1, 0x0f, 0, 7, 0, 0, 0, 0, 'b', 'i', 't', 'm', 'a', 'p', '1', 0,
        0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0,
        1, 0x10, 0, 3, 0, 0, 0, 0, 'd', 'i', 's', 0, 0, 0, 0, 0,
    };
    g_autoptr(GPtrArray) a = NULL;
    g_autofree uint8_t *out = NULL;
    const Qcow2BitmapEntry *e;
    size_t len;

    g_assert_true(qcow2_bitmap_dir_decode(qemu, sizeof(qemu), 3, CLUSTER, &a,
                                          &error_abort));
    g_assert_cmpuint(a->len, ==, 3);
    e = a->pdata[1];
    g_assert_null(e->problem);
    g_assert_cmpstr(e->name, ==, "bitmap1");
    g_assert_cmpuint(e->table_offset, ==, 0x50000);
    g_assert_cmpuint(e->granularity_shift, ==, 15);
    e = a->pdata[2];
    g_assert_cmpuint(e->flags, ==, 0);
    out = qcow2_bitmap_dir_encode(a, &len);
    g_assert_cmpmem(out, len, qemu, sizeof(qemu));
}

typedef struct Patch {
    int off, len;
    uint64_t value;
    const char *problem;
} Patch;

#define CONSTRAINTS "Bitmap 'b0' doesn't satisfy the constraints"

static const Patch patches[] = {
    { 0, 8, 0, CONSTRAINTS },
    { 0, 8, 0x10001, CONSTRAINTS },
    { 0, 8, 0x10000, NULL },
    { 0, 8, UINT64_C(1) << 63, CONSTRAINTS },
    { 8, 4, 0, CONSTRAINTS },
    { 8, 4, 8192, NULL },
    { 8, 4, 8193, CONSTRAINTS },
    { 8, 4, 0x8000000, CONSTRAINTS },
    { 8, 4, 0xffffffff, CONSTRAINTS },
    { 12, 4, 3, NULL },
    { 12, 4, 6, CONSTRAINTS },
    { 12, 4, 8, CONSTRAINTS },
    { 16, 1, 0, CONSTRAINTS },
    { 16, 1, 2, CONSTRAINTS },
    { 17, 1, 8, CONSTRAINTS },
    { 17, 1, 9, NULL },
    { 17, 1, 31, NULL },
    { 17, 1, 32, CONSTRAINTS },
    { 17, 1, 255, CONSTRAINTS },
};

static void put(uint8_t *buf, const Patch *p)
{
    uint8_t be[8];

    stq_be_p(be, p->value);
    memcpy(buf + p->off, be + 8 - p->len, p->len);
}

static void test_each_field_is_checked(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
        size_t len;
        g_autofree uint8_t *buf = sample(&len);
        g_autoptr(GPtrArray) a = NULL;

        put(buf, &patches[i]);
        g_assert_true(qcow2_bitmap_dir_decode(buf, len, 3, CLUSTER, &a,
                                              &error_abort));
        g_assert_cmpstr(((Qcow2BitmapEntry *)a->pdata[0])->problem, ==,
                        patches[i].problem);
        /* The others are as good as ever. */
        g_assert_null(((Qcow2BitmapEntry *)a->pdata[1])->problem);
        g_assert_null(((Qcow2BitmapEntry *)a->pdata[2])->problem);
    }
}

static void expect(const uint8_t *buf, size_t len, uint32_t nb, guint read,
                   const char *text)
{
    g_autoptr(GPtrArray) a = NULL;
    g_autoptr(Error) err = NULL;

    g_assert_cmpint(qcow2_bitmap_dir_decode(buf, len, nb, CLUSTER, &a, &err),
                    ==, text == NULL);
    g_assert_cmpuint(a->len, ==, read);
    g_assert_cmpstr(err ? error_get_pretty(err) : NULL, ==, text);
}

static void test_structure(void)
{
    size_t len;
    g_autofree uint8_t *buf = sample(&len);

    expect(buf, len, 3, 3, NULL);
    expect(buf, len, 2, 2,
           "More bitmaps found than specified in header extension");
    expect(buf, len, 4, 3,
           "Less bitmaps found than specified in header extension");
    expect(buf, len - 8, 3, 2, "Broken bitmap directory");
    expect(buf, 0, 0, 0, NULL);
    stw_be_p(buf + 18, 1024);
    expect(buf, len, 3, 0, "Broken bitmap directory");
}

static void test_extra_data_is_told(void)
{
    size_t len;
    g_autofree uint8_t *buf = sample(&len);
    g_autoptr(GPtrArray) a = NULL;

    stl_be_p(buf + 20, 2);
    stw_be_p(buf + 18, 4);
    g_assert_true(qcow2_bitmap_dir_decode(buf, len, 3, CLUSTER, &a, NULL));
    g_assert_cmpstr(((Qcow2BitmapEntry *)a->pdata[0])->problem, ==,
                    "Bitmap extra data is not supported");
    stl_be_p(buf + 20, 0xffffffff);
    expect(buf, len, 3, 0, "Broken bitmap directory");
}

static void test_a_name_is_there_once(void)
{
    g_autoptr(GPtrArray) a = array_new();
    g_autoptr(GPtrArray) b = NULL;
    g_autofree uint8_t *buf = NULL;
    size_t len;

    g_ptr_array_add(a, entry_new("x"));
    g_ptr_array_add(a, entry_new("y"));
    g_ptr_array_add(a, entry_new("x"));
    buf = qcow2_bitmap_dir_encode(a, &len);
    g_assert_true(qcow2_bitmap_dir_decode(buf, len, 3, CLUSTER, &b, NULL));
    g_assert_null(((Qcow2BitmapEntry *)b->pdata[0])->problem);
    g_assert_cmpstr(((Qcow2BitmapEntry *)b->pdata[2])->problem, ==,
                    "Bitmap already exists: x");
}

static void test_cut_at_every_length(void)
{
    size_t len;
    g_autofree uint8_t *buf = sample(&len);

    for (size_t n = 0; n < len; n++) {
        g_autofree uint8_t *cut = g_memdup2(buf, n);

        expect(cut, n, 3, n / 32, n % 32 ? "Broken bitmap directory" :
               "Less bitmaps found than specified in header extension");
    }
}

static void test_random_damage_is_survived(void)
{
    for (int round = 0; round < 200000; round++) {
        size_t len, again_len;
        g_autofree uint8_t *buf = sample(&len);
        g_autofree uint8_t *again = NULL;
        g_autoptr(GPtrArray) a = NULL;
        g_autoptr(Error) err = NULL;

        for (int i = g_test_rand_int_range(1, 6); i > 0; i--) {
            buf[g_test_rand_int_range(0, len)] = g_test_rand_int();
        }
        g_assert_cmpint(qcow2_bitmap_dir_decode(buf, len, 3, 512, &a, &err),
                        ==, err == NULL);
        again = qcow2_bitmap_dir_encode(a, &again_len);
        g_assert_nonnull(again);
        g_assert_cmpuint(again_len, <=, len);
    }
}

static void test_limits(void)
{
    g_autofree char *name = g_strnfill(1023, 'n');
    g_autoptr(GPtrArray) a = array_new();
    g_autofree uint8_t *buf = NULL;
    size_t len;

    for (int i = 0; i < 64000; i++) {
        g_ptr_array_add(a, entry_new(name));
    }
    buf = qcow2_bitmap_dir_encode(a, &len);
    g_assert_cmpuint(len, ==, 64000 * 1048);
    for (int i = 0; i < 1535; i++) {
        g_ptr_array_add(a, entry_new("n"));
    }
    g_assert_cmpuint(a->len, ==, 65535);
    g_assert_null(qcow2_bitmap_dir_encode(a, &len));    /* too long */
    g_ptr_array_set_size(a, 1000);
    while (a->len < 65535) {
        g_ptr_array_add(a, entry_new("n"));
    }
    g_free(buf);
    buf = qcow2_bitmap_dir_encode(a, &len);
    g_assert_nonnull(buf);
    g_ptr_array_add(a, entry_new("n"));
    g_assert_null(qcow2_bitmap_dir_encode(a, &len));    /* too many */
}

static void test_sizes(void)
{
    g_assert_cmpint(qcow2_bitmap_bytes(0, 16), ==, 0);
    g_assert_cmpint(qcow2_bitmap_bytes(1, 16), ==, 1);
    g_assert_cmpint(qcow2_bitmap_bytes(8 * 65536, 16), ==, 1);
    g_assert_cmpint(qcow2_bitmap_bytes(8 * 65536 + 1, 16), ==, 2);
    g_assert_cmpint(qcow2_bitmap_bytes(INT64_MAX, 9), ==, INT64_C(1) << 51);
    g_assert_cmpint(qcow2_bitmap_table_size(2 * TiB, 9, 65536), ==, 8192);
    g_assert_cmpint(qcow2_bitmap_table_size(1, 31, 512), ==, 1);
    g_assert_cmpint(qcow2_bitmap_table_size(0, 31, 512), ==, 0);
}

static void test_table_entries(void)
{
    static const struct {
        uint64_t entry;
        Qcow2BitmapCluster kind;
        int64_t off;
    } cases[] = {
        { 0, QCOW2_BITMAP_ZEROES, 0 },
        { 1, QCOW2_BITMAP_ONES, 0 },
        { 0x50000, QCOW2_BITMAP_DATA, 0x50000 },
        { 0x00ffffffffff0000, QCOW2_BITMAP_DATA, 0x00ffffffffff0000 },
        { 2, QCOW2_BITMAP_INVALID, 0 },
        { 0x100, QCOW2_BITMAP_INVALID, 0 },
        { 0x200, QCOW2_BITMAP_INVALID, 0 },
        { 0x50001, QCOW2_BITMAP_INVALID, 0 },
        { 0x50200, QCOW2_BITMAP_INVALID, 0 },
        { UINT64_C(1) << 56, QCOW2_BITMAP_INVALID, 0 },
        { UINT64_C(1) << 63, QCOW2_BITMAP_INVALID, 0 },
        { UINT64_MAX, QCOW2_BITMAP_INVALID, 0 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t off = 0;

        g_assert_cmpint(qcow2_bitmap_table_decode(cases[i].entry, CLUSTER,
                                                  &off), ==, cases[i].kind);
        g_assert_cmpint(off, ==, cases[i].off);
        if (cases[i].kind != QCOW2_BITMAP_INVALID) {
            g_assert_cmpuint(qcow2_bitmap_table_encode(cases[i].kind, off),
                             ==, cases[i].entry);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2-bitmap-dir/qemu", test_bytes_are_qemus);
    g_test_add_func("/qcow2-bitmap-dir/fields", test_each_field_is_checked);
    g_test_add_func("/qcow2-bitmap-dir/structure", test_structure);
    g_test_add_func("/qcow2-bitmap-dir/extra", test_extra_data_is_told);
    g_test_add_func("/qcow2-bitmap-dir/names", test_a_name_is_there_once);
    g_test_add_func("/qcow2-bitmap-dir/cut", test_cut_at_every_length);
    g_test_add_func("/qcow2-bitmap-dir/damage",
                    test_random_damage_is_survived);
    g_test_add_func("/qcow2-bitmap-dir/limits", test_limits);
    g_test_add_func("/qcow2-bitmap-dir/sizes", test_sizes);
    g_test_add_func("/qcow2-bitmap-dir/table", test_table_entries);
    return g_test_run();
}
