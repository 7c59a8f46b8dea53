/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Bitset against a plain array of bool. After each operation the whole set is
 * compared through several of its functions, and the states of its pages are
 * held to their rule: mixed pages are neither empty nor full.
 */
#include "util/bitset.h"

#define PAGE ((int64_t)BITSET_PAGE_BITS)

typedef struct Model {
    Bitset *set;
    bool *bits;
    int64_t n;
} Model;

static int64_t random_below(int64_t n)
{
    return n <= 1 ? 0 : (int64_t)(g_test_rand_double() * n) % n;
}

static Model *model_new(int64_t n)
{
    Model *m = g_new0(Model, 1);

    m->set = bitset_new(n);
    m->bits = g_new0(bool, n + 1);
    m->n = n;
    return m;
}

static void model_free(Model *m)
{
    bitset_free(m->set);
    g_free(m->bits);
    g_free(m);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Model, model_free)

static void model_fill(Model *m, int64_t first, int64_t n, bool value)
{
    memset(m->bits + first, value, n);
    if (value) {
        bitset_set(m->set, first, n);
    } else {
        bitset_clear(m->set, first, n);
    }
}

/* A range that likes page borders, single bits and long stretches. */
static void random_range(int64_t size, int64_t *first, int64_t *n)
{
    int64_t end;

    *first = random_below(size + 1);
    if (g_test_rand_int_range(0, 3) == 0) {
        *first = ROUND_DOWN(*first, PAGE);
    }
    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        end = *first + 1;
        break;
    case 1:
        end = *first + random_below(200);
        break;
    case 2:
        end = ROUND_UP(*first + random_below(3 * PAGE), PAGE);
        break;
    default:
        end = *first + random_below(size - *first + 1);
        break;
    }
    *n = MIN(end, size) - *first;
}

static void model_scribble(Model *m, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        int64_t first, n;

        random_range(m->n, &first, &n);
        model_fill(m, first, n, g_test_rand_bit());
    }
}

static int64_t model_count(const Model *m, int64_t first, int64_t n)
{
    int64_t count = 0;

    for (int64_t i = first; i < first + n; i++) {
        count += m->bits[i];
    }
    return count;
}

static int64_t model_find(const Model *m, int64_t from, int64_t end,
                          bool value)
{
    for (; from < end; from++) {
        if (m->bits[from] == value) {
            return from;
        }
    }
    return -1;
}

static void check_page(const Model *m, int64_t page)
{
    int64_t valid = MIN(m->n - page * PAGE, PAGE);
    int64_t count = model_count(m, page * PAGE, valid);
    g_autofree uint8_t *expect = g_malloc0(BITSET_PAGE_BYTES);
    uint8_t bytes[BITSET_PAGE_BYTES];

    switch (bitset_page_state(m->set, page)) {
    case BITSET_PAGE_CLEAR:
        g_assert_cmpint(count, ==, 0);
        break;
    case BITSET_PAGE_SET:
        g_assert_cmpint(count, ==, valid);
        break;
    case BITSET_PAGE_MIXED:
        g_assert_cmpint(count, >, 0);
        g_assert_cmpint(count, <, valid);
        break;
    }
    for (int64_t i = 0; i < valid; i++) {
        expect[i / 8] |= m->bits[page * PAGE + i] << (i % 8);
    }
    bitset_page_read(m->set, page, bytes);
    g_assert_cmpmem(bytes, sizeof(bytes), expect, BITSET_PAGE_BYTES);
}

/* From @first on, a few at a time. */
static void check_changes(const Model *m, int64_t first, int64_t end)
{
    int64_t at[70], from = first;
    int max = g_test_rand_int_range(1, ARRAY_SIZE(at) + 1), n;

    do {
        n = bitset_next_changes(m->set, from, end, at, max);
        g_assert_cmpint(n, <=, max);
        for (int i = 0; i < n; i++) {
            g_assert_cmpint(at[i], ==,
                            model_find(m, from, end, !m->bits[from]));
            from = at[i];
        }
    } while (n == max);
    g_assert_true(from >= end ||
                  model_find(m, from, end, !m->bits[from]) < 0);
}

static void check_queries(const Model *m)
{
    for (int i = 0; i < 8; i++) {
        int64_t first, n, end, start, len, found, stop, max;

        random_range(m->n, &first, &n);
        end = first + n;
        g_assert_cmpint(bitset_count_range(m->set, first, n), ==,
                        model_count(m, first, n));
        found = model_find(m, first, end, true);
        g_assert_cmpint(bitset_next_set(m->set, first, end), ==, found);
        g_assert_cmpint(bitset_next_clear(m->set, first, end), ==,
                        model_find(m, first, end, false));
        max = g_test_rand_bit() ? INT64_MAX : 1 + random_below(2 * PAGE);
        g_assert_cmpint(bitset_next_run(m->set, first, end, max, &start, &len),
                        ==, found >= 0);
        if (found >= 0) {
            stop = model_find(m, found, end, false);
            stop = stop < 0 ? end : stop;
            g_assert_cmpint(start, ==, found);
            g_assert_cmpint(len, ==, MIN(stop - found, max));
        }
        check_changes(m, first, end);
        if (first < m->n) {
            g_assert_cmpint(bitset_test(m->set, first), ==, m->bits[first]);
        }
    }
}

static void model_check(const Model *m)
{
    int64_t count = model_count(m, 0, m->n);

    g_assert_cmpint(bitset_size(m->set), ==, m->n);
    g_assert_cmpint(bitset_count(m->set), ==, count);
    g_assert_cmpint(bitset_empty(m->set), ==, count == 0);
    g_assert_cmpint(bitset_npages(m->set), ==, DIV_ROUND_UP(m->n, PAGE));
    for (int64_t i = 0; i < bitset_npages(m->set); i++) {
        check_page(m, i);
    }
    check_queries(m);
}

static const int64_t sizes[] = {
    0, 1, 63, 64, 65, 1000, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 5 * PAGE - 7,
    16 * PAGE, 17 * PAGE + 12345,
};

static void test_fill(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autoptr(Model) m = model_new(sizes[i]);

        model_check(m);
        for (int round = 0; round < 60; round++) {
            model_scribble(m, 1);
            model_check(m);
        }
        bitset_clear_all(m->set);
        memset(m->bits, 0, m->n);
        model_check(m);
        bitset_set_all(m->set);
        memset(m->bits, 1, m->n);
        model_check(m);
    }
}

static void test_invert(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        g_autoptr(Model) m = model_new(sizes[i]);

        for (int round = 0; round < 10; round++) {
            bitset_invert(m->set);
            for (int64_t b = 0; b < m->n; b++) {
                m->bits[b] = !m->bits[b];
            }
            model_check(m);
            model_scribble(m, 3);
        }
    }
}

static void test_resize(void)
{
    for (int round = 0; round < 300; round++) {
        g_autoptr(Model) m = model_new(
            sizes[g_test_rand_int_range(0, ARRAY_SIZE(sizes))]);

        if (g_test_rand_bit()) {
            bitset_set_all(m->set);
            memset(m->bits, 1, m->n);
        }
        model_scribble(m, g_test_rand_int_range(0, 6));
        for (int step = 0; step < 3; step++) {
            int64_t n = g_test_rand_bit() ?
                        sizes[g_test_rand_int_range(0, ARRAY_SIZE(sizes))] :
                        random_below(20 * PAGE);

            m->bits = g_renew(bool, m->bits, n + 1);
            if (n > m->n) {
                memset(m->bits + m->n, 0, n - m->n);
            }
            m->n = n;
            bitset_resize(m->set, n);
            model_check(m);
        }
    }
}

static void model_merge(Model *a, const Model *b, int op)
{
    (op == 0 ? bitset_or : op == 1 ? bitset_and : bitset_andnot)(a->set,
                                                                 b->set);
    for (int64_t i = 0; i < a->n; i++) {
        a->bits[i] = op == 0 ? a->bits[i] || b->bits[i] :
                     a->bits[i] && b->bits[i] == (op == 1);
    }
}

static void test_merge(void)
{
    for (int round = 0; round < 400; round++) {
        int64_t n = sizes[g_test_rand_int_range(0, ARRAY_SIZE(sizes))];
        g_autoptr(Model) a = model_new(n);
        g_autoptr(Model) b = model_new(n);

        model_scribble(a, g_test_rand_int_range(0, 6));
        model_scribble(b, g_test_rand_int_range(0, 6));
        model_merge(a, b, round % 3);
        model_check(a);
        model_check(b);
    }
}

/* @copy of @b's set gets another size; what is cut off stays in @b. */
static void copy_resize_check(const Model *b, Bitset *copy, int64_t n)
{
    bitset_resize(copy, n);
    for (int64_t i = 0; i < n; i++) {
        g_assert_cmpint(bitset_test(copy, i), ==, i < b->n && b->bits[i]);
    }
    g_assert_cmpint(bitset_count(copy), ==, model_count(b, 0, MIN(n, b->n)));
}

static void copies_step(Model *a, const Model *b)
{
    g_autoptr(Bitset) copy = bitset_copy(b->set);

    switch (g_test_rand_int_range(0, 6)) {
    case 0:
        bitset_invert(a->set);
        for (int64_t i = 0; i < a->n; i++) {
            a->bits[i] = !a->bits[i];
        }
        break;
    case 1:
        memcpy(a->bits, b->bits, a->n);
        bitset_free(a->set);
        a->set = g_steal_pointer(&copy);
        break;
    case 2:
        model_merge(a, b, g_test_rand_int_range(0, 3));
        break;
    case 3:
        copy_resize_check(b, copy, random_below(2 * b->n));
        break;
    case 4:
        model_fill(a, random_below(a->n), 1, g_test_rand_bit());
        break;
    default:
        model_scribble(a, 1);
        break;
    }
}

/* Sets that come from one another by copies and merges, each changed by
 * itself: what they share is no concern of theirs. */
static void test_copies_are_independent(void)
{
    enum { N = 5 };
    Model *m[N];

    for (int round = 0; round < 60; round++) {
        int64_t n = sizes[g_test_rand_int_range(1, ARRAY_SIZE(sizes))];

        for (int i = 0; i < N; i++) {
            m[i] = model_new(n);
            model_scribble(m[i], 3);
        }
        for (int step = g_test_rand_int_range(1, 40); step > 0; step--) {
            copies_step(m[g_test_rand_int_range(0, N)],
                        m[g_test_rand_int_range(0, N)]);
        }
        for (int i = 0; i < N; i++) {
            model_check(m[i]);
            model_free(m[i]);
        }
    }
}

static void test_copy_and_equal(void)
{
    for (int round = 0; round < 200; round++) {
        int64_t n = sizes[g_test_rand_int_range(1, ARRAY_SIZE(sizes))];
        int64_t bit = random_below(n);
        g_autoptr(Model) m = model_new(n);
        g_autoptr(Bitset) copy = NULL;

        model_scribble(m, g_test_rand_int_range(0, 6));
        copy = bitset_copy(m->set);
        g_assert_true(bitset_equal(m->set, copy));
        if (bitset_test(copy, bit)) {
            bitset_clear(copy, bit, 1);
        } else {
            bitset_set(copy, bit, 1);
        }
        g_assert_false(bitset_equal(m->set, copy));
        model_check(m);
    }
}

static void check_scaled(int64_t dst_bytes, int dst_shift, int64_t src_bytes,
                         int src_shift)
{
    g_autoptr(Model) d = model_new(DIV_ROUND_UP(dst_bytes, 1 << dst_shift));
    g_autoptr(Model) s = model_new(DIV_ROUND_UP(src_bytes, 1 << src_shift));

    model_scribble(s, g_test_rand_int_range(0, 6));
    model_scribble(d, g_test_rand_int_range(0, 2));
    for (int i = g_test_rand_int_range(0, 300); i > 0; i--) {
        model_fill(s, random_below(s->n), MIN(s->n, 1), true);
    }
    bitset_or_scaled(d->set, dst_shift, s->set, src_shift);
    for (int64_t i = 0; i < s->n; i++) {
        int64_t first = i << src_shift >> dst_shift;
        int64_t end = (((i + 1) << src_shift) - 1) >> dst_shift;

        for (; s->bits[i] && first <= end && first < d->n; first++) {
            d->bits[first] = true;
        }
    }
    model_check(d);
}

static void test_or_scaled(void)
{
    for (int k = 0; k <= 18; k++) {
        for (int round = 0; round < 12; round++) {
            int64_t fine = g_test_rand_bit() ? 7 * PAGE + 77 : random_below(
                12 * PAGE);

            check_scaled(fine * 2, 1, fine * 2, 1 + k);
            check_scaled(fine * 2, 1 + k, fine * 2, 1);
            /* Of disks of different lengths. */
            check_scaled(random_below(24 * PAGE), 1, fine * 2, 1 + k);
            check_scaled(random_below(24 * PAGE), 1 + k, fine * 2, 1);
        }
    }
}

static void test_page_write(void)
{
    for (size_t i = 1; i < ARRAY_SIZE(sizes); i++) {
        g_autoptr(Model) m = model_new(sizes[i]);

        for (int round = 0; round < 30; round++) {
            int64_t page = random_below(bitset_npages(m->set));
            int64_t valid = MIN(m->n - page * PAGE, PAGE);
            uint8_t bytes[BITSET_PAGE_BYTES];

            memset(bytes, round % 3 == 0 ? 0 : 0xff, sizeof(bytes));
            if (round % 3 == 2) {
                for (size_t b = 0; b < sizeof(bytes); b++) {
                    bytes[b] = g_test_rand_int_range(0, 256);
                }
            }
            bitset_page_write(m->set, page, bytes);
            for (int64_t b = 0; b < valid; b++) {
                m->bits[page * PAGE + b] = bytes[b / 8] >> (b % 8) & 1;
            }
            model_check(m);
        }
    }
}

static void test_huge_is_small(void)
{
    int64_t n = (int64_t)1 << 48;
    g_autoptr(Bitset) set = bitset_new(n);
    g_autoptr(Bitset) other = bitset_new(n);
    int64_t first, len;

    g_assert_cmpuint(bitset_memory(set), <, MiB);
    bitset_set(set, n - 1, 1);
    bitset_set(set, 12345, 10);
    g_assert_cmpint(bitset_count(set), ==, 11);
    g_assert_cmpint(bitset_next_set(set, 12355, n), ==, n - 1);
    g_assert_cmpuint(bitset_memory(set), <, 4 * MiB);

    bitset_set_all(other);
    bitset_clear(other, 77, 1);
    bitset_or(set, other);
    g_assert_cmpint(bitset_count(set), ==, n - 1);
    g_assert_cmpint(bitset_next_clear(set, 0, n), ==, 77);
    g_assert_true(bitset_next_run(set, 78, n, INT64_MAX, &first, &len));
    g_assert_cmpint(len, ==, n - 78);
    bitset_andnot(set, other);
    g_assert_true(bitset_empty(set));
    g_assert_cmpuint(bitset_memory(set), <, MiB);
}

/* 16 TiB at 64 KiB. */
static void test_memory(void)
{
    int64_t n = (int64_t)1 << 28;
    g_autoptr(Bitset) set = bitset_new(n);

    for (int i = 0; i < 100; i++) {
        bitset_set(set, i * (n / 100), 3);
    }
    g_assert_cmpuint(bitset_memory(set), <, MiB);
    for (int64_t bit = 0; bit < n; bit += PAGE / 2) {
        bitset_set(set, bit, 1);
    }
    g_assert_cmpuint(bitset_memory(set), <, 40 * MiB);
    bitset_set(set, 0, n);
    g_assert_cmpuint(bitset_memory(set), <, 16 * KiB);
}

/* ---- more pages than are taken one by one ---- */

enum { POOL_PAGES = 3000, POOL_THREADS = 4, POOL_ROUNDS = 8 };

/* Page p is mixed and has a bit of its own, if p % of == which. */
static void pool_fill(Bitset *set, int of, int which, int bit)
{
    for (int64_t p = which; p < POOL_PAGES; p += of) {
        bitset_set(set, p * PAGE + (p * 7 + bit) % PAGE, 1);
    }
}

static void pool_check(const Bitset *set, int bit)
{
    g_assert_cmpint(bitset_count(set), ==, POOL_PAGES);
    for (int64_t p = 0; p < POOL_PAGES; p++) {
        g_assert_true(bitset_test(set, p * PAGE + (p * 7 + bit) % PAGE));
    }
}

/* Pages come and go in an order of their own; some go in another thread. */
static void *pool_thread(void *opaque)
{
    int bit = GPOINTER_TO_INT(opaque);
    Bitset *last = NULL;

    for (int round = 0; round < POOL_ROUNDS; round++) {
        Bitset *set = bitset_new((int64_t)POOL_PAGES * PAGE);
        g_autoptr(Bitset) copy = NULL;

        pool_fill(set, 2, round % 2, bit);
        copy = bitset_copy(set);
        pool_fill(set, 2, !(round % 2), bit);
        pool_check(set, bit);
        g_assert_cmpint(bitset_count(copy), ==, POOL_PAGES / 2);
        bitset_free(last);
        pool_check(set, bit);
        last = set;
    }
    return last;
}

static void test_pool(void)
{
    GThread *threads[POOL_THREADS];

    for (int i = 0; i < POOL_THREADS; i++) {
        threads[i] = g_thread_new("pool", pool_thread, GINT_TO_POINTER(i));
    }
    for (int i = 0; i < POOL_THREADS; i++) {
        Bitset *set = g_thread_join(threads[i]);

        pool_check(set, i);
        bitset_free(set);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bitset/fill", test_fill);
    g_test_add_func("/bitset/invert", test_invert);
    g_test_add_func("/bitset/resize", test_resize);
    g_test_add_func("/bitset/merge", test_merge);
    g_test_add_func("/bitset/copy", test_copy_and_equal);
    g_test_add_func("/bitset/copies", test_copies_are_independent);
    g_test_add_func("/bitset/or-scaled", test_or_scaled);
    g_test_add_func("/bitset/page-write", test_page_write);
    g_test_add_func("/bitset/huge-is-small", test_huge_is_small);
    g_test_add_func("/bitset/memory", test_memory);
    g_test_add_func("/bitset/pool", test_pool);
    return g_test_run();
}
