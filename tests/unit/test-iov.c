/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Scattered buffers against one flat buffer, and buffer_is_zero(). */
#include <sys/mman.h>

#include "util/bytes.h"
#include "util/iov.h"

#define FLAT 1000

/* An IoVec of random pieces that covers @buf in order. */
static void iov_init_random(IoVec *v, unsigned char *buf, int64_t len)
{
    iov_init(v, g_test_rand_int_range(0, 4));
    for (int64_t off = 0; off < len;) {
        int64_t n = g_test_rand_int_range(0, 90);

        n = MIN(n, len - off);
        iov_add(v, buf + off, n);
        off += n;
    }
}

static void test_views(void)
{
    char a[8], b[24];
    struct iovec arr[] = { { a, sizeof(a) }, { b, sizeof(b) } };
    IoVec v;

    iov_init_buf(&v, b, sizeof(b));
    g_assert_cmpint(v.len, ==, 24);
    g_assert_cmpint(v.niov, ==, 1);
    g_assert_true(v.iov[0].iov_base == b);
    iov_destroy(&v);

    iov_init_external(&v, arr, 2);
    g_assert_cmpint(v.len, ==, 32);
    g_assert_cmpint(v.niov, ==, 2);
    iov_destroy(&v);
    g_assert_true(arr[1].iov_base == b);

    iov_init(&v, 0);
    iov_add(&v, a, 8);
    g_assert_cmpint(v.niov, ==, 1);
    iov_add(&v, b, 24);
    iov_add(&v, b, 0);
    g_assert_cmpint(v.niov, ==, 2);
    g_assert_cmpint(v.len, ==, 32);
    g_assert_true(v.iov[0].iov_base == a);
    iov_reset(&v);
    g_assert_cmpint(v.len, ==, 0);
    iov_add(&v, b, 24);
    g_assert_true(v.iov[0].iov_base == b);
    iov_destroy(&v);
}

static void check_cut(const IoVec *v, unsigned char *base, int64_t off,
                      int64_t len)
{
    int n = iov_cut_count(v, off, len);
    g_autofree struct iovec *cut = g_new(struct iovec, n + 1);
    unsigned char *expect = base + off;

    g_assert_cmpint(iov_cut(v, off, len, cut), ==, n);
    for (int i = 0; i < n; i++) {
        g_assert_true(cut[i].iov_base == expect);
        g_assert_cmpuint(cut[i].iov_len, >, 0);
        expect += cut[i].iov_len;
    }
    g_assert_true(expect == base + off + len);
}

static void test_random(void)
{
    for (int round = 0; round < 2000; round++) {
        unsigned char mem[FLAT], shadow[FLAT], buf[FLAT];
        int64_t off = g_test_rand_int_range(0, FLAT + 1);
        int64_t len = g_test_rand_int_range(0, FLAT - off + 1);
        IoVec v, part;

        for (int i = 0; i < FLAT; i++) {
            mem[i] = shadow[i] = g_test_rand_int_range(1, 256);
            buf[i] = g_test_rand_int_range(1, 256);
        }
        iov_init_random(&v, mem, FLAT);
        g_assert_cmpint(v.len, ==, FLAT);
        check_cut(&v, mem, off, len);

        iov_init(&part, 1);
        iov_concat(&part, &v, off, len);
        g_assert_cmpint(part.len, ==, len);
        check_cut(&part, mem + off, 0, len);

        iov_from_buf(&v, off, buf, len);
        memcpy(shadow + off, buf, len);
        g_assert_cmpmem(mem, FLAT, shadow, FLAT);
        memset(buf, 0, sizeof(buf));
        iov_to_buf(&part, 0, buf, len);
        g_assert_cmpmem(buf, len, shadow + off, len);

        g_assert_cmpint(iov_is_zero(&v, off, len), ==, len == 0);
        iov_memset(&v, off, 0, len);
        memset(shadow + off, 0, len);
        g_assert_cmpmem(mem, FLAT, shadow, FLAT);
        g_assert_true(iov_is_zero(&v, off, len));
        iov_destroy(&part);
        iov_destroy(&v);
    }
}

static void test_aligned(void)
{
    g_autoptr(AlignedBuf) mem = aligned_alloc_io(4096, 8192);
    char *p = mem;
    IoVec v;

    iov_init(&v, 2);
    iov_add(&v, p, 4096);
    iov_add(&v, p + 4096, 4096);
    g_assert_true(iov_is_aligned(&v, 0, 8192, 4096));
    g_assert_true(iov_is_aligned(&v, 512, 7680, 512));
    g_assert_false(iov_is_aligned(&v, 512, 7680, 4096));
    g_assert_false(iov_is_aligned(&v, 0, 8191, 512));
    g_assert_false(iov_is_aligned(&v, 1, 512, 512));
    iov_destroy(&v);
}

static void test_advance(void)
{
    char buf[30];
    struct iovec arr[] = { { buf, 10 }, { buf + 10, 0 }, { buf + 10, 20 } };
    struct iovec *p = arr;

    g_assert_cmpint(iov_advance(&p, 3, 0), ==, 3);
    g_assert_cmpint(iov_advance(&p, 3, 4), ==, 3);
    g_assert_true(p->iov_base == buf + 4 && p->iov_len == 6);
    g_assert_cmpint(iov_advance(&p, 3, 7), ==, 1);
    g_assert_true(p->iov_base == buf + 11 && p->iov_len == 19);
    g_assert_cmpint(iov_advance(&p, 1, 19), ==, 0);
}

static void test_buffer_is_zero(void)
{
    g_autoptr(AlignedBuf) mem = aligned_alloc_io(4096, 8192);
    unsigned char *p = mem;

    memset(p, 0, 8192);
    for (size_t len = 0; len < 1100; len++) {
        size_t start = g_test_rand_int_range(0, 130);

        /* What lies beside the buffer must not matter. */
        p[start + len] = 1;
        if (start) {
            p[start - 1] = 1;
        }
        g_assert_true(buffer_is_zero(p + start, len));
        for (size_t i = 0; i < len; i++) {
            p[start + i] = 0x80;
            g_assert_false(buffer_is_zero(p + start, len));
            p[start + i] = 0;
        }
        p[start + len] = 0;
        if (start) {
            p[start - 1] = 0;
        }
    }
    g_assert_true(buffer_is_zero(p, 8192));
    for (size_t i = 0; i < 8192; i++) {
        p[i] = 1;
        g_assert_false(buffer_is_zero(p, 8192));
        p[i] = 0;
    }
}

static size_t resident(const uint8_t *p, size_t len)
{
    size_t n = 0, pages = len / getpagesize();
    g_autofree unsigned char *in = g_malloc0(pages);

    g_assert_cmpint(mincore((void *)p, len, in), ==, 0);
    for (size_t i = 0; i < pages; i++) {
        n += in[i] & 1;
    }
    return n;
}

/* What was there is there, and only that takes memory. */
static void test_release_zeroes(void)
{
    size_t page = getpagesize(), len = 64 * page;
    g_autofree uint8_t *want = g_malloc0(len);
    uint8_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    g_assert_true(p != MAP_FAILED);
    madvise(p, len, MADV_NOHUGEPAGE);
    for (size_t round = 0; round < 4; round++) {
        want[(round * 20 + 1) * page - 1] = 1;
        memset(p, 0, len);
        memcpy(p, want, len);
        g_assert_cmpint(resident(p, len), ==, 64);
        /* The first and the last page are not whole. */
        buffer_release_zeroes(p + 1, len - 2);
        g_assert_cmpint(resident(p, len), ==, MAX(round + 2, 2));
        g_assert_cmpint(memcmp(p, want, len), ==, 0);
    }
    munmap(p, len);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iov/views", test_views);
    g_test_add_func("/iov/random", test_random);
    g_test_add_func("/iov/aligned", test_aligned);
    g_test_add_func("/iov/advance", test_advance);
    g_test_add_func("/iov/buffer-is-zero", test_buffer_is_zero);
    g_test_add_func("/iov/buffer-release-zeroes", test_release_zeroes);
    return g_test_run();
}
