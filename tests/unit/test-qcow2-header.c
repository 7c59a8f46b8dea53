/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The qcow2 header: what is refused in which words, cut short everywhere. */
#include "block/qcow2-format.h"

#define CLUSTER 65536

/* As `qemu-img create -f qcow2 x 64M` writes it. */
static void header_good(Qcow2Header *h)
{
    memset(h, 0, sizeof(*h));
    h->version = 3;
    h->cluster_bits = 16;
    h->size = 64 * MiB;
    h->l1_size = 1;
    h->l1_offset = 0x30000;
    h->reftable_offset = 0x10000;
    h->reftable_clusters = 1;
    h->refcount_order = 4;
    h->header_length = 112;
}

static uint8_t *cluster_good(void)
{
    uint8_t *buf = g_malloc0(CLUSTER);
    Qcow2Header h;

    header_good(&h);
    g_assert_cmpuint(qcow2_header_encode(&h, buf, CLUSTER), ==, 112);
    return buf;
}

/* Decoding @buf fails with @text (or succeeds if that is NULL). */
static void expect(const uint8_t *buf, size_t len, bool relaxed,
                   const char *text)
{
    g_auto(Qcow2Header) h = { 0 };
    g_autoptr(Error) err = NULL;
    bool ok = qcow2_header_decode(buf, len, relaxed, &h, &err);

    if (text) {
        g_assert_false(ok);
        g_assert_cmpstr(error_get_pretty(err), ==, text);
    } else {
        g_assert_true(ok);
        g_assert_null(err);
    }
}

typedef struct Patch {
    int off, len;
    uint64_t value;
    const char *text;
} Patch;

/* One changed field each, and the words of `qemu-img info` for it. */
static const Patch patches[] = {
    { 0, 4, 0x41424344, "Image is not in qcow2 format" },
    { 4, 4, 0, "Unsupported qcow2 version 0" },
    { 4, 4, 1, "Unsupported qcow2 version 1" },
    { 4, 4, 2, NULL },
    { 4, 4, 4, "Unsupported qcow2 version 4" },
    { 4, 4, 0x80000000, "Unsupported qcow2 version 2147483648" },
    { 8, 8, 0x10001, "Invalid backing file offset" },
    { 8, 8, UINT64_C(1) << 62, "Invalid backing file offset" },
    { 20, 4, 0, "Unsupported cluster size: 2^0" },
    { 20, 4, 8, "Unsupported cluster size: 2^8" },
    { 20, 4, 9, "L1 table is too small" },
    { 20, 4, 21, "Reference count table offset invalid" },
    { 20, 4, 22, "Unsupported cluster size: 2^22" },
    { 20, 4, 0xffffffff, "Unsupported cluster size: 2^4294967295" },
    { 24, 8, 0, NULL },
    { 24, 8, 1, NULL },
    { 24, 8, UINT64_C(1) << 40, "L1 table is too small" },
    { 24, 8, UINT64_C(1) << 62, "Image is too big" },
    { 24, 8, UINT64_C(1) << 63, "Image is too big" },
    { 24, 8, UINT64_MAX, "Image is too big" },
    { 32, 4, 3, "Unsupported encryption method 3" },
    { 36, 4, 0, "L1 table is too small" },
    { 36, 4, 4194304, NULL },
    { 36, 4, 4194305, "Active L1 table too large" },
    { 36, 4, 0xffffffff, "Active L1 table too large" },
    { 40, 8, 0x30001, "Active L1 table offset invalid" },
    { 40, 8, UINT64_C(1) << 62, NULL },
    { 40, 8, UINT64_C(1) << 63, "Active L1 table offset invalid" },
    { 48, 8, 0x10001, "Reference count table offset invalid" },
    { 48, 8, UINT64_C(1) << 62, NULL },
    { 48, 8, UINT64_C(1) << 63, "Reference count table offset invalid" },
    { 48, 8, (UINT64_C(1) << 63) - 65536,
      "Reference count table offset invalid" },
    { 56, 4, 0, "Image does not contain a reference count table" },
    { 56, 4, 128, NULL },
    { 56, 4, 129, "Reference count table too large" },
    { 56, 4, 0xffffffff, "Reference count table too large" },
    { 60, 4, 65536, NULL },
    { 60, 4, 65537, "Snapshot table too large" },
    { 64, 8, 3, "Snapshot table offset invalid" },
    { 72, 8, 1, NULL },
    { 72, 8, 2, NULL },
    { 72, 8, 4, NULL },
    { 72, 8, 8, "qcow2: Compression type incompatible feature bit must not "
      "be set" },
    { 72, 8, 16, NULL },
    { 72, 8, 32, NULL },
    { 80, 8, UINT64_MAX, NULL },
    { 88, 8, UINT64_MAX, NULL },
    { 96, 4, 6, NULL },
    { 96, 4, 7, "Reference count entry width too large; may not exceed 64 "
      "bits" },
    { 96, 4, 0xffffffff, "Reference count entry width too large; may not "
      "exceed 64 bits" },
    { 100, 4, 0, "qcow2 header too short" },
    { 100, 4, 103, "qcow2 header too short" },
    { 100, 4, 104, NULL },
    { 100, 4, 105, NULL },
    { 100, 4, 65536, NULL },
    { 100, 4, 65537, "qcow2 header exceeds cluster size" },
    { 100, 4, 0xffffffff, "qcow2 header exceeds cluster size" },
    { 104, 1, 1, "qcow2: Compression type incompatible feature bit must be "
      "set" },
    { 104, 1, 2, "qcow2: unknown compression type: 2" },
    { 104, 1, 255, "qcow2: unknown compression type: 255" },
    { 105, 1, 255, NULL },
};

static void put(uint8_t *buf, int off, int len, uint64_t value)
{
    uint8_t be[8];

    stq_be_p(be, value);
    memcpy(buf + off, be + 8 - len, len);
}

static void test_each_field_is_checked_in_qemus_words(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
        g_autofree uint8_t *buf = cluster_good();

        g_test_message("%zu: %d", i, patches[i].off);
        put(buf, patches[i].off, patches[i].len, patches[i].value);
        expect(buf, CLUSTER, false, patches[i].text);
    }
}

static void test_what_repair_mends_passes_a_check(void)
{
    g_autofree uint8_t *buf = cluster_good();

    put(buf, 56, 4, 0);
    expect(buf, CLUSTER, true, NULL);
    put(buf, 60, 4, 65537);
    expect(buf, CLUSTER, true, NULL);
    put(buf, 64, 8, 3);
    expect(buf, CLUSTER, true, NULL);
    put(buf, 36, 4, 0);
    expect(buf, CLUSTER, true, "L1 table is too small");
}

static void test_encrypted_images_are_refused(void)
{
    for (int method = 1; method <= 2; method++) {
        g_autofree uint8_t *buf = cluster_good();
        g_auto(Qcow2Header) h = { 0 };
        g_autoptr(Error) err = NULL;

        put(buf, 32, 4, method);
        g_assert_false(qcow2_header_decode(buf, CLUSTER, false, &h, &err));
        g_assert_nonnull(strstr(error_get_pretty(err),
                                method == 1 ? "AES" : "LUKS"));
    }
}

static void test_subclusters_have_a_least_size(void)
{
    g_autofree uint8_t *buf = cluster_good();

    put(buf, 72, 8, 16);
    put(buf, 20, 4, 13);
    expect(buf, CLUSTER, false, "Unsupported subcluster size: 256");
}

/* A file cut at any byte is what it would be with zeroes behind the cut, and
 * nothing is read behind it (the sanitizer sees to that). */
static void test_cut_at_every_length(void)
{
    g_autofree uint8_t *full = cluster_good();

    for (size_t len = 0; len <= 120; len++) {
        g_autofree uint8_t *cut = g_memdup2(full, len);
        g_autofree uint8_t *padded = g_malloc0(CLUSTER);
        g_auto(Qcow2Header) a = { 0 };
        g_auto(Qcow2Header) b = { 0 };
        g_autoptr(Error) ea = NULL;
        g_autoptr(Error) eb = NULL;
        bool ok;

        if (len) {
            memcpy(padded, cut, len);
        }
        ok = qcow2_header_decode(cut, len, false, &a, &ea);
        g_assert_cmpint(qcow2_header_decode(padded, CLUSTER, false, &b, &eb),
                        ==, ok);
        if (ok) {
            g_assert_cmpuint(len, >=, 104);
            g_assert_cmpmem(&a, sizeof(a), &b, sizeof(b));
        } else {
            g_assert_cmpstr(error_get_pretty(ea), ==, error_get_pretty(eb));
        }
    }
}

static void test_unknown_fields_are_kept(void)
{
    g_autofree uint8_t *buf = cluster_good();
    g_autofree uint8_t *out = g_malloc0(CLUSTER);
    g_auto(Qcow2Header) h = { 0 };

    put(buf, 100, 4, 136);
    for (int i = 112; i < 136; i++) {
        buf[i] = i;
    }
    g_assert_true(qcow2_header_decode(buf, CLUSTER, false, &h, NULL));
    g_assert_cmpuint(h.unknown_len, ==, 24);
    g_assert_cmpuint(qcow2_header_encode(&h, out, CLUSTER), ==, 136);
    g_assert_cmpmem(out, CLUSTER, buf, CLUSTER);
    g_assert_cmpuint(qcow2_header_encode(&h, out, 135), ==, 0);
}

static void test_version_2_has_its_defaults(void)
{
    g_autofree uint8_t *buf = cluster_good();
    g_autofree uint8_t *out = g_malloc0(CLUSTER);
    g_auto(Qcow2Header) h = { 0 };

    put(buf, 4, 4, 2);
    memset(buf + 72, 0xff, 40);
    g_assert_true(qcow2_header_decode(buf, CLUSTER, false, &h, NULL));
    g_assert_cmpuint(h.incompatible, ==, 0);
    g_assert_cmpuint(h.compatible, ==, 0);
    g_assert_cmpuint(h.autoclear, ==, 0);
    g_assert_cmpuint(h.refcount_order, ==, 4);
    g_assert_cmpuint(h.header_length, ==, 72);
    g_assert_cmpuint(qcow2_header_encode(&h, out, CLUSTER), ==, 72);
    g_assert_cmpmem(out, 72, buf, 72);
}

static void test_what_decodes_encodes_the_same(void)
{
    g_autofree uint8_t *out = g_malloc0(CLUSTER);

    for (int round = 0; round < 200000; round++) {
        g_autofree uint8_t *buf = cluster_good();
        g_auto(Qcow2Header) h = { 0 };
        size_t n;

        for (int i = g_test_rand_int_range(1, 4); i > 0; i--) {
            int at = g_test_rand_int_range(4, 112);

            buf[at] = g_test_rand_bit() ? 0 : g_test_rand_int();
        }
        if (!qcow2_header_decode(buf, 512, false, &h, NULL) ||
            h.header_length < 112) {
            continue;
        }
        memset(buf + 105, 0, 7);        /* padding */
        n = qcow2_header_encode(&h, out, CLUSTER);
        g_assert_cmpmem(out, n, buf, n);
    }
}

static void test_cluster_size_comes_first(void)
{
    g_autofree uint8_t *buf = cluster_good();

    g_assert_cmpint(qcow2_header_cluster_size(buf, 24, NULL), ==, CLUSTER);
    g_assert_cmpint(qcow2_header_cluster_size(buf, 20, NULL), ==, -1);
    put(buf, 20, 4, 21);
    g_assert_cmpint(qcow2_header_cluster_size(buf, 24, NULL), ==, 2 * MiB);
}

static void test_l1_entries(void)
{
    g_assert_cmpuint(qcow2_header_l1_entries(0, 16, false), ==, 0);
    g_assert_cmpuint(qcow2_header_l1_entries(1, 16, false), ==, 1);
    g_assert_cmpuint(qcow2_header_l1_entries(512 * MiB, 16, false), ==, 1);
    g_assert_cmpuint(qcow2_header_l1_entries(512 * MiB + 1, 16, false), ==, 2);
    g_assert_cmpuint(qcow2_header_l1_entries(512 * MiB, 16, true), ==, 2);
    g_assert_cmpuint(qcow2_header_l1_entries(UINT64_MAX, 9, false), ==,
                     UINT64_C(1) << 49);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2-header/fields",
                    test_each_field_is_checked_in_qemus_words);
    g_test_add_func("/qcow2-header/relaxed",
                    test_what_repair_mends_passes_a_check);
    g_test_add_func("/qcow2-header/encrypted",
                    test_encrypted_images_are_refused);
    g_test_add_func("/qcow2-header/subclusters",
                    test_subclusters_have_a_least_size);
    g_test_add_func("/qcow2-header/cut", test_cut_at_every_length);
    g_test_add_func("/qcow2-header/unknown", test_unknown_fields_are_kept);
    g_test_add_func("/qcow2-header/v2", test_version_2_has_its_defaults);
    g_test_add_func("/qcow2-header/random", test_what_decodes_encodes_the_same);
    g_test_add_func("/qcow2-header/cluster-size",
                    test_cluster_size_comes_first);
    g_test_add_func("/qcow2-header/l1", test_l1_entries);
    return g_test_run();
}
