/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Fields, sizes, aligned memory. What sizes look like was read off QEMU 7.2. */
#include "util/bytes.h"
#include "util/iov.h"

static void test_fields(void)
{
    unsigned char buf[9] = { 0xff, 1, 2, 3, 4, 5, 6, 7, 8 };

    g_assert_cmphex(lduw_be_p(buf + 1), ==, 0x0102);
    g_assert_cmphex(ldl_be_p(buf + 1), ==, 0x01020304);
    g_assert_cmphex(ldq_be_p(buf + 1), ==, 0x0102030405060708);
    stw_be_p(buf + 1, 0xa1a2);
    g_assert_cmphex(buf[1], ==, 0xa1);
    g_assert_cmphex(buf[2], ==, 0xa2);
    g_assert_cmphex(buf[3], ==, 3);
    stl_be_p(buf + 1, 0xb1b2b3b4);
    g_assert_cmphex(ldl_be_p(buf + 1), ==, 0xb1b2b3b4);
    stq_be_p(buf + 1, 0xc1c2c3c4c5c6c7c8);
    g_assert_cmphex(ldq_be_p(buf + 1), ==, 0xc1c2c3c4c5c6c7c8);
    g_assert_cmphex(buf[0], ==, 0xff);
}

static void test_size_parse_good(void)
{
    static const struct {
        const char *str;
        uint64_t value;
    } good[] = {
        { "0", 0 }, { "0.0", 0 }, { "1", 1 }, { " 1", 1 }, { "\t1", 1 },
        { "+1", 1 }, { "+1k", 1024 }, { "010", 10 }, { "010k", 10240 },
        { "1b", 1 }, { "1B", 1 }, { "1.0", 1 }, { "1.00B", 1 }, { "1.", 1 },
        { "1k", 1024 }, { "1K", 1024 }, { "1m", MiB }, { "1M", MiB },
        { "1g", GiB }, { "1G", GiB }, { "1t", TiB }, { "1T", TiB },
        { "1p", 1024 * TiB }, { "1P", 1024 * TiB },
        { "1e", 1024 * 1024 * TiB }, { "1E", 1024 * 1024 * TiB },
        { "7E", 8070450532247928832 }, { "7.99E", 9211842821808707328 },
        { "8E", UINT64_C(1) << 63 }, { "0.5E", 576460752303423488 },
        { "1.5G", 1610612736 }, { "1.25k", 1280 }, { "5.k", 5120 },
        { "0.k", 0 }, { "0.1k", 102 }, { "0.0001k", 0 }, { "0.999k", 1023 },
        { "1.9999k", 2048 }, { "1.33333M", 1398098 },
        { "0x10", 16 }, { "0X10", 16 }, { "0x1e", 30 }, { "0x1b", 27 },
        { "0x10E", 270 },
        { "18446744073709551615", UINT64_MAX },
    };

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        uint64_t value = ~good[i].value;

        g_test_message("%s", good[i].str);
        g_assert_cmpint(size_parse(good[i].str, 'B', NULL, &value), ==, 0);
        g_assert_cmpuint(value, ==, good[i].value);
    }
}

static void test_size_parse_bad(void)
{
    static const char *const bad[] = {
        "", " ", "x", "k", ".", ".k", ".5", ".5k", "+", "-", "-0", "-1", "-1k",
        " -1", "- 1", "+-1", "1 ", "1k ", "1kk", "1KiB", "1k.", "1,5", "1.0x",
        "1.5", "1.5B", "1.5b", "1023.9999999", "1e3", "1E5", "1.e2", "1.5e3k",
        "1.0e1k", "1.5E2", "1.-5k", "1.+5k", "1. 5k", "1.infk", "inf", "nan",
        "1e400", "0x", "0x1.8", "0x1.", "0x.8", "0xG", "00x10", "0b1",
        "99999999999999999999x", "99999999999999999999E", "-0x1",
    };
    static const char *const large[] = {
        "18446744073709551616", "99999999999999999999", "16E", "16777216T",
        "18446744073709551615.5k", "15.9999999999999999999E",
    };
    uint64_t value = 42;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_test_message("%s", bad[i]);
        g_assert_cmpint(size_parse(bad[i], 'B', NULL, &value), ==, -EINVAL);
    }
    for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
        g_test_message("%s", large[i]);
        g_assert_cmpint(size_parse(large[i], 'B', NULL, &value), ==, -ERANGE);
    }
    g_assert_cmpuint(value, ==, 42);
}

static void test_size_parse_end_and_default(void)
{
    const char *str = "1.5Gfoo", *end;
    uint64_t value = 0;

    g_assert_cmpint(size_parse(str, 'B', &end, &value), ==, 0);
    g_assert_true(end == str + 4);
    g_assert_cmpuint(value, ==, 3 * GiB / 2);

    str = "foo";
    g_assert_cmpint(size_parse(str, 'B', &end, &value), ==, -EINVAL);
    g_assert_true(end == str);

    g_assert_cmpint(size_parse("3", 'M', NULL, &value), ==, 0);
    g_assert_cmpuint(value, ==, 3 * MiB);
    g_assert_cmpint(size_parse("1.5", 'M', NULL, &value), ==, 0);
    g_assert_cmpuint(value, ==, 3 * MiB / 2);
    g_assert_cmpint(size_parse("3b", 'M', NULL, &value), ==, 0);
    g_assert_cmpuint(value, ==, 3);
}

static void test_hex_suffix_warns(void)
{
    if (g_test_subprocess()) {
        uint64_t value;

        error_init("qemu-img");
        g_assert_cmpint(size_parse("0x10k", 'B', NULL, &value), ==, 0);
        g_assert_cmpuint(value, ==, 16384);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("qemu-img: warning: Using a multiplier suffix on "
                              "hex numbers is deprecated: 0x10k\n");
}

static void test_size_to_str(void)
{
    static const struct {
        uint64_t value;
        const char *str;
    } sizes[] = {
        { 0, "0 B" }, { 512, "512 B" }, { 999, "999 B" },
        { 1000, "0.977 KiB" }, { 1024, "1 KiB" }, { 1536, "1.5 KiB" },
        { 10240, "10 KiB" }, { 100352, "98 KiB" }, { 200704, "196 KiB" },
        { 500224, "488 KiB" }, { 1000448, "977 KiB" },
        { 1022976, "999 KiB" }, { 1023488, "1e+03 KiB" },
        { 1024000, "0.977 MiB" }, { 1047552, "0.999 MiB" },
        { 1048064, "1 MiB" }, { 1234944, "1.18 MiB" },
        { 12345856, "11.8 MiB" }, { 64 * MiB, "64 MiB" },
        { 1072168960, "0.999 GiB" }, { 3 * GiB / 2, "1.5 GiB" },
        { 999 * GiB, "999 GiB" }, { 1000 * GiB, "0.977 TiB" },
        { 1023 * GiB, "0.999 TiB" }, { 1023 * TiB, "0.999 PiB" },
        { 1024 * TiB, "1 PiB" }, { UINT64_MAX, "16 EiB" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autofree char *str = size_to_str(sizes[i].value);

        g_assert_cmpstr(str, ==, sizes[i].str);
    }
}

static void test_aligned(void)
{
    static const size_t aligns[] = { 1, 8, 512, 4096, 65536 };

    for (size_t i = 0; i < ARRAY_SIZE(aligns); i++) {
        g_autoptr(AlignedBuf) a = aligned_alloc_io(aligns[i], 12345);
        g_autoptr(AlignedBuf) b = aligned_try_alloc_io(aligns[i], 0);

        g_assert_true(IS_ALIGNED((uintptr_t)a, aligns[i]));
        g_assert_nonnull(b);
        memset(a, 1, 12345);
    }
}

/* Zeroes between ones, and each single byte of them. */
static void zero_try(uint8_t *mem, size_t off, size_t len, size_t step)
{
    uint8_t *buf = mem + off;

    memset(buf, 0, len);
    g_assert_true(buffer_is_zero(buf, len));
    for (size_t i = 0; i < len; i += step) {
        buf[i] = 1 << i % 8;
        g_assert_false(buffer_is_zero(buf, len));
        buf[i] = 0;
    }
    memset(buf, 0xff, len);
}

static void test_buffer_is_zero(void)
{
    static const size_t large[] = { 4096, 4097, 65535, 65536, 70001 };
    size_t size = 128 * KiB;
    g_autoptr(AlignedBuf) mem = aligned_alloc_io(4096, size);

    memset(mem, 0xff, size);
    for (size_t len = 0; len < 600; len++) {
        for (size_t off = 1; off <= 64; off += off < 8 ? 1 : 7) {
            zero_try(mem, off, len, 1);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
        zero_try(mem, 64, large[i], 13);
        zero_try(mem, 77, large[i], 17);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bytes/fields", test_fields);
    g_test_add_func("/bytes/size-parse/good", test_size_parse_good);
    g_test_add_func("/bytes/size-parse/bad", test_size_parse_bad);
    g_test_add_func("/bytes/size-parse/end", test_size_parse_end_and_default);
    g_test_add_func("/bytes/size-parse/hex-suffix", test_hex_suffix_warns);
    g_test_add_func("/bytes/size-to-str", test_size_to_str);
    g_test_add_func("/bytes/aligned", test_aligned);
    g_test_add_func("/bytes/buffer-is-zero", test_buffer_is_zero);
    return g_test_run();
}
