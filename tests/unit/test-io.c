/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The request path over a driver that checks what it is handed: alignment,
 * serialising, splitting, what is emulated, flushes, draining, growth.
 */
#include "mem-driver.h"

#define RW (PERM_CONSISTENT_READ | PERM_WRITE)

static MemState *mem(Root *root)
{
    return root_node(root)->state;
}

static void done(Co *co, Root *root)
{
    Node *node = root_node(root);

    root_free(co, root);
    node_unref(co, node);
}

/* ---- alignment ---- */

/* A random cut of @buf into up to @n entries. */
static void random_iov(IoVec *v, uint8_t *buf, int64_t len, int n)
{
    iov_init(v, n);
    while (len > 0 && n > 1) {
        int64_t piece = g_test_rand_int_range(1, len + 1);

        iov_add(v, buf, piece);
        buf += piece;
        len -= piece;
        n--;
    }
    if (len > 0) {
        iov_add(v, buf, len);
    }
}

static void fill_random(uint8_t *buf, int64_t len)
{
    for (int64_t i = 0; i < len; i++) {
        buf[i] = g_test_rand_int_range(0, 256);
    }
}

static void matrix_step(Co *co, Root *root, uint8_t *model, int64_t length)
{
    g_autofree uint8_t *buf = g_malloc(length);
    int64_t off = g_test_rand_int_range(0, length);
    int64_t max = g_test_rand_int_range(0, 2) ? 700 : length - off;
    int64_t len = g_test_rand_int_range(0, MIN(max, length - off) + 1);
    IoVec v;

    random_iov(&v, buf, len, g_test_rand_int_range(1, 9));
    switch (g_test_rand_int_range(0, 3)) {
    case 0:
        g_assert_cmpint(root_read(co, root, off, len, &v, 0, 0), ==, 0);
        g_assert_cmpmem(buf, len, model + off, len);
        break;
    case 1:
        fill_random(buf, len);
        memcpy(model + off, buf, len);
        g_assert_cmpint(root_write(co, root, off, len, &v, 0, 0), ==, 0);
        break;
    default:
        memset(model + off, 0, len);
        g_assert_cmpint(root_zero(co, root, off, len, 0), ==, 0);
        break;
    }
    iov_destroy(&v);
}

static void matrix(Co *co, void *arg)
{
    static const struct {
        int64_t align, mem_align, max_transfer;
        int max_iov;
        bool no_zero;
    } cases[] = {
        { 1, 1, 0, 0, false },
        { 1, 1, 1000, 0, true },
        { 512, 1, 0, 0, false },
        { 512, 512, 0, 0, false },
        { 512, 1, 1024, 0, true },
        { 4096, 512, 8192, 4, false },
        { 4096, 4096, 0, 2, true },
        { 1, 1, 0, 1, false },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t length = 64 * KiB;
        g_autofree uint8_t *model = g_malloc0(length);
        Node *node = mem_node(&mem_driver, "n", length, cases[i].align);
        Root *root = mem_root(co, node, RW);

        node->limits.mem_alignment = cases[i].mem_align;
        node->limits.max_transfer = cases[i].max_transfer;
        node->limits.max_iov = cases[i].max_iov;
        mem(root)->unsupported_zero = cases[i].no_zero;
        for (int j = 0; j < 400; j++) {
            matrix_step(co, root, model, length);
        }
        g_assert_cmpmem(mem(root)->data, length, model, length);
        done(co, root);
    }
}

static void test_alignment_matrix(void)
{
    mem_test_run(matrix);
}

/* An aligned request in aligned memory goes straight to the driver. */
static void straight(Co *co, void *arg)
{
    Node *node = mem_node(&mem_driver, "n", MiB, 512);
    Root *root = mem_root(co, node, RW);
    uint8_t buf[4096];

    memset(buf, 1, sizeof(buf));
    g_assert_cmpint(root_pwrite(co, root, 8192, sizeof(buf), buf, 0), ==, 0);
    g_assert_cmpint(mem(root)->writes, ==, 1);
    g_assert_cmpint(mem(root)->reads, ==, 0);
    g_assert_cmpint(mem(root)->last_off, ==, 8192);
    g_assert_cmpint(mem(root)->last_len, ==, 4096);
    /* One byte: one block read, one block written. */
    g_assert_cmpint(root_pwrite(co, root, 1000, 1, buf, 0), ==, 0);
    g_assert_cmpint(mem(root)->writes, ==, 2);
    g_assert_cmpint(mem(root)->reads, ==, 1);
    /* Over a boundary: both ends are read, one write. */
    g_assert_cmpint(root_pwrite(co, root, 1000, 3000, buf, 0), ==, 0);
    g_assert_cmpint(mem(root)->writes, ==, 3);
    g_assert_cmpint(mem(root)->reads, ==, 3);
    g_assert_cmpuint(root->stats.operations[STAT_WRITE], ==, 3);
    g_assert_cmpuint(root->stats.bytes[STAT_WRITE], ==, 4096 + 1 + 3000);
    done(co, root);
}

static void test_straight(void)
{
    mem_test_run(straight);
}

/* ---- serialising ---- */

typedef struct Owner {
    Root *root;
    int64_t off, len;
    int rounds;
    MemCrowd *crowd;
} Owner;

/* Owns a range that shares blocks with its neighbours'. */
static void owner_main(Co *co, void *arg)
{
    Owner *o = arg;
    g_autofree uint8_t *mine = g_malloc0(o->len);
    g_autofree uint8_t *seen = g_malloc(o->len);

    for (int i = 0; i < o->rounds; i++) {
        int64_t a = g_test_rand_int_range(0, o->len);
        int64_t n = g_test_rand_int_range(1, o->len - a + 1);

        if (g_test_rand_int_range(0, 4) == 0) {
            memset(mine + a, 0, n);
            g_assert_cmpint(root_zero(co, o->root, o->off + a, n, 0), ==, 0);
        } else {
            fill_random(mine + a, n);
            g_assert_cmpint(root_pwrite(co, o->root, o->off + a, n, mine + a,
                                        0), ==, 0);
        }
        g_assert_cmpint(root_pread(co, o->root, o->off, o->len, seen), ==, 0);
        g_assert_cmpmem(seen, o->len, mine, o->len);
    }
    mem_crowd_done(o->crowd);
}

static void owners(Co *co, void *arg)
{
    Node *node = mem_node(&mem_driver, "n", 16 * KiB, 4096);
    Root *root = mem_root(co, node, RW);
    MemCrowd crowd = { .left = 24 };
    Owner owner[24];
    int64_t off = 0;

    mem(root)->latency_ns = 200000;
    node->limits.mem_alignment = 512;
    for (size_t i = 0; i < ARRAY_SIZE(owner); i++) {
        int64_t len = i == 23 ? 16 * KiB - off
                              : g_test_rand_int_range(1, 1300);

        len = MIN(len, 16 * KiB - off - (23 - (int)i));
        owner[i] = (Owner) { root, off, len, 20, &crowd };
        off += len;
        co_spawn(co_loop(co), owner_main, &owner[i]);
    }
    mem_crowd_wait(co, &crowd);
    g_assert_null(node->tracked);
    g_assert_cmpuint(node->serialising, ==, 0);
    done(co, root);
}

static void test_neighbours_keep_their_bytes(void)
{
    mem_test_run(owners);
}

/* Overlapping serialising requests of every kind come to an end. */
static void tangle_main(Co *co, void *arg)
{
    Owner *o = arg;
    uint8_t buf[2048] = { 0 };
    IoVec v;

    for (int i = 0; i < o->rounds; i++) {
        int64_t off = g_test_rand_int_range(0, 6000);
        int64_t len = g_test_rand_int_range(1, 2048);
        ReqFlags flags = g_test_rand_int_range(0, 2) ? REQ_SERIALISING : 0;

        iov_init_buf(&v, buf, len);
        if (g_test_rand_int_range(0, 3)) {
            root_write(co, o->root, off, len, &v, 0, flags);
        } else {
            root_read(co, o->root, off, len, &v, 0, flags);
        }
    }
    mem_crowd_done(o->crowd);
}

static void tangle(Co *co, void *arg)
{
    Node *node = mem_node(&mem_driver, "n", 8 * KiB, 512);
    Root *root = mem_root(co, node, RW);
    MemCrowd crowd = { .left = 30 };
    Owner o = { root, 0, 0, 30, &crowd };

    mem(root)->latency_ns = 100000;
    for (int i = 0; i < 30; i++) {
        co_spawn(co_loop(co), tangle_main, &o);
    }
    mem_crowd_wait(co, &crowd);
    g_assert_cmpuint(node->serialising, ==, 0);
    done(co, root);
}

static void test_no_deadlock_among_serialising(void)
{
    mem_test_run(tangle);
}

typedef struct Tracker {
    Node *node;
    int64_t off, len;
    bool serialising;
    bool in;
    int64_t hold_ns;
    MemCrowd *crowd;
} Tracker;

static void tracker_main(Co *co, void *arg)
{
    Tracker *t = arg;
    TrackedReq req;

    io_track_begin(co, &req, t->node, t->off, t->len, t->serialising);
    t->in = true;
    co_sleep(co, t->hold_ns);
    t->in = false;
    io_track_end(&req);
    mem_crowd_done(t->crowd);
}

static void arrival(Co *co, void *arg)
{
    Node *node = mem_node(&mem_driver, "n", 64 * KiB, 512);
    Root *root = mem_root(co, node, RW);
    MemCrowd crowd = { .left = 4 };
    Tracker plain = { node, 0, 1024, false, false, 5000000, &crowd };
    Tracker serial = { node, 100, 10, true, false, 5000000, &crowd };
    Tracker late = { node, 500, 12, false, false, 5000000, &crowd };
    Tracker far = { node, 4096, 512, false, false, 5000000, &crowd };

    co_spawn(co_loop(co), tracker_main, &plain);
    co_spawn(co_loop(co), tracker_main, &serial);
    co_spawn(co_loop(co), tracker_main, &late);
    co_spawn(co_loop(co), tracker_main, &far);
    co_yield(co);
    co_yield(co);
    g_assert_true(plain.in);
    g_assert_false(serial.in);      /* waits for plain */
    g_assert_false(late.in);        /* waits for serial, though it is 501 on */
    g_assert_true(far.in);
    while (!serial.in) {
        co_sleep(co, 100000);
    }
    g_assert_false(plain.in);
    g_assert_false(late.in);
    mem_crowd_wait(co, &crowd);
    done(co, root);
}

static void test_order_of_arrival(void)
{
    mem_test_run(arrival);
}

/* ---- splitting and emulation ---- */

static void split(Co *co, void *arg)
{
    Node *node = mem_node(&mem_driver, "n", MiB, 512);
    Root *root = mem_root(co, node, RW);
    g_autofree uint8_t *buf = g_malloc0(100 * KiB);
    MemState *s = mem(root);

    node->limits.max_transfer = 16 * KiB;
    g_assert_cmpint(root_pwrite(co, root, 0, 100 * KiB, buf, 0), ==, 0);
    g_assert_cmpint(s->writes, ==, 7);
    g_assert_cmpint(root_pread(co, root, 0, 100 * KiB, buf), ==, 0);
    g_assert_cmpint(s->reads, ==, 7);

    /* Head, middle in pieces, tail. */
    node->limits.zero_alignment = 4096;
    node->limits.max_zero = 8192;
    g_assert_cmpint(root_zero(co, root, 512, 20 * KiB, 0), ==, 0);
    g_assert_cmpint(s->zeroes, ==, 4);

    node->limits.discard_alignment = 4096;
    node->limits.max_discard = 64 * KiB;
    g_assert_cmpint(root_discard(co, root, 512, 100 * KiB), ==, 0);
    g_assert_cmpint(s->discards, ==, 4);
    done(co, root);
}

static void test_split(void)
{
    mem_test_run(split);
}

static void fua(Co *co, void *arg)
{
    BlockDriver native = mem_driver, half = mem_driver;
    uint8_t buf[512] = { 1 };
    Root *root;

    root = mem_root(co, mem_node(&mem_driver, "n", MiB, 1), RW);
    g_assert_cmpint(root_pwrite(co, root, 0, 512, buf, REQ_FUA), ==, 0);
    g_assert_cmpint(mem(root)->flushes, ==, 1);
    g_assert_false(mem(root)->last_flags & REQ_FUA);
    root->write_through = true;
    g_assert_cmpint(root_zero(co, root, 0, 512, 0), ==, 0);
    g_assert_cmpint(mem(root)->flushes, ==, 2);
    root->disable_flush = true;
    g_assert_cmpint(root_pwrite(co, root, 0, 512, buf, REQ_FUA), ==, 0);
    g_assert_cmpint(root_flush(co, root), ==, 0);
    g_assert_cmpint(mem(root)->flushes, ==, 2);
    done(co, root);

    native.supports_fua = native.writes_zero_fua = true;
    root = mem_root(co, mem_node(&native, "n", MiB, 1), RW);
    g_assert_cmpint(root_pwrite(co, root, 0, 512, buf, REQ_FUA), ==, 0);
    g_assert_true(mem(root)->last_flags & REQ_FUA);
    g_assert_cmpint(root_zero(co, root, 0, 512, REQ_FUA), ==, 0);
    g_assert_true(mem(root)->last_flags & REQ_FUA);
    g_assert_cmpint(mem(root)->flushes, ==, 0);
    /* With cache.no-flush nothing is asked for. */
    root_node(root)->flags |= OPEN_NO_FLUSH;
    g_assert_cmpint(root_pwrite(co, root, 0, 512, buf, REQ_FUA), ==, 0);
    g_assert_false(mem(root)->last_flags & REQ_FUA);
    done(co, root);

    half.supports_fua = true;
    root = mem_root(co, mem_node(&half, "n", MiB, 1), RW);
    g_assert_cmpint(root_zero(co, root, 0, 512, REQ_FUA), ==, 0);
    g_assert_false(mem(root)->last_flags & REQ_FUA);
    g_assert_cmpint(mem(root)->flushes, ==, 1);
    done(co, root);
}

static void test_fua(void)
{
    mem_test_run(fua);
}

static void zero(Co *co, void *arg)
{
    BlockDriver none = mem_driver;
    g_autofree uint8_t *buf = g_malloc(3 * MiB);
    Root *root;
    MemState *s;

    none.zero = NULL;
    root = mem_root(co, mem_node(&none, "n", 4 * MiB, 512), RW);
    s = mem(root);
    memset(s->data, 0xff, 4 * MiB);
    g_assert_cmpint(root_zero(co, root, 0, 3 * MiB, REQ_NO_FALLBACK), ==,
                    -ENOTSUP);
    g_assert_cmpint(s->data[0], ==, 0xff);
    g_assert_cmpint(root_zero(co, root, 0, 3 * MiB, 0), ==, 0);
    g_assert_true(buffer_is_zero(s->data, 3 * MiB));
    g_assert_cmpint(s->data[3 * MiB], ==, 0xff);
    g_assert_cmpint(s->writes, <=, 4);
    done(co, root);

    root = mem_root(co, mem_node(&mem_driver, "n", 4 * MiB, 512), RW);
    s = mem(root);
    g_assert_cmpint(root_zero(co, root, 0, 512, REQ_MAY_UNMAP), ==, 0);
    g_assert_true(s->last_flags & REQ_MAY_UNMAP);
    root_node(root)->flags &= ~OPEN_UNMAP;
    g_assert_cmpint(root_zero(co, root, 0, 512, REQ_MAY_UNMAP), ==, 0);
    g_assert_false(s->last_flags & REQ_MAY_UNMAP);

    /* detect-zeroes */
    root_node(root)->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP;
    root_node(root)->flags |= OPEN_UNMAP;
    memset(buf, 0, 8192);
    s->zeroes = 0;
    g_assert_cmpint(root_pwrite(co, root, 4096, 8192, buf, 0), ==, 0);
    g_assert_cmpint(s->zeroes, ==, 1);
    g_assert_cmpint(s->writes, ==, 0);
    g_assert_true(s->last_flags & REQ_MAY_UNMAP);
    buf[8191] = 1;
    g_assert_cmpint(root_pwrite(co, root, 4096, 8192, buf, 0), ==, 0);
    g_assert_cmpint(s->writes, ==, 1);
    done(co, root);
}

static void test_zero(void)
{
    mem_test_run(zero);
}

static void discard(Co *co, void *arg)
{
    BlockDriver none = mem_driver;
    Root *root;
    MemState *s;

    none.discard = NULL;
    root = mem_root(co, mem_node(&none, "n", MiB, 512), RW);
    g_assert_cmpint(root_discard(co, root, 0, MiB), ==, 0);
    g_assert_cmpint(root_node(root)->write_gen, ==, 0);
    done(co, root);

    /* Parts of blocks stay, and nothing is an error. */
    root = mem_root(co, mem_node(&mem_driver, "n", MiB, 512), RW);
    s = mem(root);
    root_node(root)->limits.discard_alignment = 4096;
    memset(s->data, 0xff, MiB);
    g_assert_cmpint(root_discard(co, root, 100, 10000), ==, 0);
    g_assert_cmpint(s->data[100], ==, 0xff);
    g_assert_cmpint(s->data[4095], ==, 0xff);
    g_assert_true(buffer_is_zero(s->data + 4096, 4096));
    g_assert_cmpint(s->data[8192], ==, 0xff);
    s->discards = 0;
    root_node(root)->flags &= ~OPEN_UNMAP;
    g_assert_cmpint(root_discard(co, root, 0, MiB), ==, 0);
    g_assert_cmpint(s->discards, ==, 0);
    done(co, root);
}

static void test_discard(void)
{
    mem_test_run(discard);
}

/* ---- flush ---- */

static void flush_main(Co *co, void *arg)
{
    Owner *o = arg;

    g_assert_cmpint(root_flush(co, o->root), ==, 0);
    mem_crowd_done(o->crowd);
}

static void flush(Co *co, void *arg)
{
    Root *root = mem_root(co, mem_node(&mem_driver, "n", MiB, 1), RW);
    MemState *s = mem(root);
    MemCrowd crowd = { .left = 10 };
    Owner o = { root, 0, 0, 0, &crowd };
    uint8_t buf[512] = { 0 };

    g_assert_cmpint(root_flush(co, root), ==, 0);
    g_assert_cmpint(s->flushes, ==, 0);         /* nothing was written */
    g_assert_cmpint(root_pwrite(co, root, 0, 512, buf, 0), ==, 0);
    g_assert_cmpint(root_flush(co, root), ==, 0);
    g_assert_cmpint(root_flush(co, root), ==, 0);
    g_assert_cmpint(s->flushes, ==, 1);

    /* What failed is tried again; what failed to write counts as written. */
    s->fail_write = -EIO;
    g_assert_cmpint(root_pwrite(co, root, 0, 512, buf, 0), ==, -EIO);
    s->fail_write = 0;
    s->fail_flush = -ENOSPC;
    g_assert_cmpint(root_flush(co, root), ==, -ENOSPC);
    g_assert_cmpint(root_flush(co, root), ==, -ENOSPC);
    s->fail_flush = 0;
    g_assert_cmpint(root_flush(co, root), ==, 0);
    g_assert_cmpint(s->flushes, ==, 4);

    /* Ten at once are at most two. */
    g_assert_cmpint(root_pwrite(co, root, 0, 512, buf, 0), ==, 0);
    s->flushes = 0;
    s->latency_ns = 1000000;
    for (int i = 0; i < 10; i++) {
        co_spawn(co_loop(co), flush_main, &o);
    }
    mem_crowd_wait(co, &crowd);
    g_assert_cmpint(s->flushes, >=, 1);
    g_assert_cmpint(s->flushes, <=, 2);
    done(co, root);
}

static void test_flush(void)
{
    mem_test_run(flush);
}

typedef struct SlowFlush {
    Root *root;
    int begun, ended;
    MemCrowd crowd;
} SlowFlush;

static void slow_flush_main(Co *co, void *arg)
{
    SlowFlush *f = arg;

    g_assert_cmpint(root_flush(co, f->root), ==, 0);
    mem_crowd_done(&f->crowd);
}

/* A write that completes while a flush runs is not covered by that flush. */
static void flush_race(Co *co, void *arg)
{
    Root *root = mem_root(co, mem_node(&mem_driver, "n", MiB, 1), RW);
    MemState *s = mem(root);
    SlowFlush f = { .root = root, .crowd = { .left = 1 } };
    uint8_t buf[512] = { 0 };

    g_assert_cmpint(root_pwrite(co, root, 0, 512, buf, 0), ==, 0);
    s->latency_ns = 20000000;
    co_spawn(co_loop(co), slow_flush_main, &f);
    while (s->flushes == 0) {
        co_yield(co);
    }
    s->latency_ns = 0;
    g_assert_cmpint(root_pwrite(co, root, 512, 512, buf, 0), ==, 0);
    g_assert_cmpint(root_flush(co, root), ==, 0);
    g_assert_cmpint(s->flushes, ==, 2);
    mem_crowd_wait(co, &f.crowd);
    done(co, root);
}

static void test_flush_race(void)
{
    mem_test_run(flush_race);
}

/* ---- ends of the disk, errors ---- */

static void ends(Co *co, void *arg)
{
    Root *root = mem_root(co, mem_node(&mem_driver, "n", 64 * KiB, 512),
                          RW | PERM_RESIZE);
    MemState *s = mem(root);
    uint8_t buf[2048];

    g_assert_cmpint(root_pread(co, root, 64 * KiB - 512, 1024, buf), ==, -EIO);
    g_assert_cmpint(root_pwrite(co, root, 64 * KiB, 1, buf, 0), ==, -EIO);
    g_assert_cmpint(root_zero(co, root, INT64_MAX - 10, 100, 0), ==, -EIO);
    g_assert_cmpint(root_discard(co, root, -1, 100), ==, -EIO);
    g_assert_cmpint(root_pread(co, root, 0, 0, NULL), ==, 0);
    g_assert_cmpuint(root->stats.invalid[STAT_READ], ==, 1);
    g_assert_cmpuint(root->stats.invalid[STAT_WRITE], ==, 2);

    root->allow_beyond_end = true;
    memset(s->data, 0xee, s->capacity);
    memset(buf, 0x55, sizeof(buf));
    g_assert_cmpint(root_pread(co, root, 64 * KiB - 100, 1024, buf), ==, 0);
    g_assert_cmpint(buf[99], ==, 0xee);
    g_assert_true(buffer_is_zero(buf + 100, 924));
    g_assert_cmpint(buf[1024], ==, 0x55);
    g_assert_cmpint(root_pread(co, root, MiB, 2048, buf), ==, 0);
    g_assert_true(buffer_is_zero(buf, 2048));

    /* A write past the end grows the node, in whole blocks. */
    memset(buf, 0x77, sizeof(buf));
    g_assert_cmpint(root_pwrite(co, root, 64 * KiB - 10, 1000, buf, 0), ==, 0);
    g_assert_cmpint(root_length(root), ==, 64 * KiB + 1024);
    g_assert_cmpint(s->data[64 * KiB + 989], ==, 0x77);
    g_assert_cmpint(s->data[64 * KiB + 990], ==, 0);

    s->fail_write = -ENOSPC;
    g_assert_cmpint(root_pwrite(co, root, 70 * KiB, 512, buf, 0), ==, -ENOSPC);
    g_assert_cmpint(root_length(root), ==, 64 * KiB + 1024);
    s->fail_write = 0;
    s->fail_read = -EIO;
    g_assert_cmpint(root_pread(co, root, 3, 5, buf), ==, -EIO);
    /* The rest of a block can't be read: it is not overwritten blindly. */
    s->writes = 0;
    g_assert_cmpint(root_pwrite(co, root, 3, 5, buf, 0), ==, -EIO);
    g_assert_cmpint(s->writes, ==, 0);
    g_assert_cmpuint(root->stats.failed[STAT_WRITE], ==, 2);
    done(co, root);
}

static void test_ends_and_errors(void)
{
    mem_test_run(ends);
}

static void readonly(Co *co, void *arg)
{
    Root *root = mem_root(co, mem_node(&mem_driver, "n", MiB, 1), RW);
    uint8_t b = 0;
    Error *err = NULL;

    root_node(root)->read_only = true;
    g_assert_cmpint(root_pwrite(co, root, 0, 1, &b, 0), ==, -EPERM);
    g_assert_cmpint(root_zero(co, root, 0, 1, 0), ==, -EPERM);
    g_assert_cmpint(root_discard(co, root, 0, 1), ==, -EPERM);
    g_assert_cmpint(root_flush(co, root), ==, 0);
    root_node(root)->read_only = false;
    g_assert_true(root_set_perms(co, root, RW | PERM_RESIZE, PERM_ALL,
                                 &error_abort));
    root_node(root)->read_only = true;
    g_assert_false(root_resize(co, root, 5, true, PREALLOC_MODE_OFF, 0, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Image is read-only");
    error_free(err);
    done(co, root);
}

static void test_read_only(void)
{
    mem_test_run(readonly);
}

/* ---- filters: a driver that says nothing forwards all ---- */

static const BlockDriver nofilter = {
    .name = "nofilter",
    .kind = DRIVER_FILTER,
};

static Edge *attach(Co *co, Node *parent, const char *name, EdgeRole role,
                    Node *child)
{
    Transaction *tran = tran_new();
    Edge *e = graph_attach(co, tran, parent, name, role, child, &error_abort);

    tran_finalize(co, tran, graph_check_one(tran, parent, &error_abort));
    return e;
}

static Node *filter_on(Co *co, const BlockDriver *drv, const char *name,
                       Node *below)
{
    Node *node = node_new(drv, name, &error_abort);

    node->opened = true;
    node->flags = OPEN_RDWR | OPEN_UNMAP;
    attach(co, node, "file", ROLE_PRIMARY, below);
    node->length = below->length;
    node_unref(co, below);      /* the edge's reference stays */
    return node;
}

static int resized_calls;
static void count_resized(Root *root)
{
    resized_calls++;
}

static void filter(Co *co, void *arg)
{
    static const RootOps ops = { .kind = "test", .resized = count_resized };
    BlockDriver native = mem_driver;
    Node *below, *node;
    Root *root;
    MemState *s;
    uint8_t buf[512];
    Extent ext;

    native.supports_fua = native.writes_zero_fua = true;
    below = mem_node(&native, "below", MiB, 512);
    s = below->state;
    node = filter_on(co, &nofilter, "f", below);
    root = root_open(co, node, "", &ops, NULL, RW | PERM_RESIZE, PERM_ALL,
                     &error_abort);
    memset(buf, 0x12, sizeof(buf));
    g_assert_cmpint(root_pwrite(co, root, 700, 300, buf, REQ_FUA), ==, 0);
    g_assert_true(s->last_flags & REQ_FUA);
    g_assert_cmpint(s->data[700], ==, 0x12);
    g_assert_cmpint(s->data[999], ==, 0x12);
    g_assert_cmpint(root_zero(co, root, 700, 100, 0), ==, 0);
    g_assert_cmpint(root_pread(co, root, 790, 20, buf), ==, 0);
    g_assert_true(buffer_is_zero(buf, 10) && buf[10] == 0x12);
    g_assert_cmpint(root_discard(co, root, 0, 512), ==, 0);
    g_assert_cmpint(s->discards, ==, 1);
    g_assert_cmpint(root_flush(co, root), ==, 0);
    g_assert_cmpint(s->flushes, ==, 1);
    g_assert_cmpint(status_layer(co, node, true, 5, 100, &ext), ==, 0);
    g_assert_true(ext.file == below && ext.map == 5);
    g_assert_true(root_resize(co, root, MiB + 512, true, PREALLOC_MODE_OFF, 0,
                              &error_abort));
    g_assert_cmpint(node->length, ==, MiB + 512);
    g_assert_cmpint(resized_calls, ==, 1);
    done(co, root);
}

static void test_empty_filter_forwards(void)
{
    mem_test_run(filter);
}

/* ---- drain ---- */

typedef struct Guest {
    Root *root;
    int64_t off;
    bool stop;
    int requests;
    MemCrowd *crowd;
} Guest;

static void guest_main(Co *co, void *arg)
{
    Guest *g = arg;
    uint8_t buf[512] = { 0 };

    while (!g->stop) {
        g_assert_cmpint(root_pwrite(co, g->root, g->off, 512, buf, 0), ==, 0);
        g->requests++;
    }
    mem_crowd_done(g->crowd);
}

static int quiesces, resumes;
static void count_quiesce(Root *root)
{
    quiesces++;
}

static void count_resume(Root *root)
{
    resumes++;
}

static void drain(Co *co, void *arg)
{
    static const RootOps ops = {
        .kind = "test", .quiesce = count_quiesce, .resume = count_resume,
    };
    Node *below = mem_node(&mem_driver, "below", MiB, 512);
    Node *node = filter_on(co, &nofilter, "f", below);
    Root *a = root_open(co, node, "", &ops, NULL, RW, PERM_ALL, &error_abort);
    Root *b = mem_root(co, below, RW);
    MemCrowd crowd = { .left = 8 };
    Guest guests[8];
    MemState *s = below->state;
    int before;

    s->latency_ns = 100000;
    quiesces = resumes = 0;
    for (int i = 0; i < 8; i++) {
        guests[i] = (Guest) { i % 2 ? a : b, i * 512, false, 0, &crowd };
        co_spawn(co_loop(co), guest_main, &guests[i]);
    }
    for (int round = 0; round < 20; round++) {
        co_sleep(co, 300000);
        drain_begin(co, round % 2 ? node : below);
        g_assert_cmpuint(a->in_flight, ==, 0);
        g_assert_cmpuint(b->in_flight, ==, 0);
        g_assert_cmpint(s->in_flight, ==, 0);
        drain_begin(co, node);
        before = s->writes;
        co_sleep(co, 300000);
        g_assert_cmpint(s->writes, ==, before);
        drain_end(node);
        co_sleep(co, 300000);
        g_assert_cmpint(s->writes, ==, before);
        drain_end(round % 2 ? node : below);
    }
    g_assert_cmpint(quiesces, ==, 20);
    g_assert_cmpint(resumes, ==, 20);
    for (int i = 0; i < 8; i++) {
        guests[i].stop = true;
        g_assert_cmpint(guests[i].requests, >, 0);
    }
    mem_crowd_wait(co, &crowd);
    root_free(co, b);
    done(co, a);
}

static void test_drain(void)
{
    mem_test_run(drain);
}

/* A root held from inside a request is waited for, too. */
static void hold_main(Co *co, void *arg)
{
    Guest *g = arg;

    co_sleep(co, 2000000);
    g->stop = true;
    root_end(g->root);
}

static void hold(Co *co, void *arg)
{
    Root *root = mem_root(co, mem_node(&mem_driver, "n", MiB, 512), RW);
    Guest g = { .root = root };

    root_begin(co, root);
    root_hold(root);
    root_end(root);
    co_spawn(co_loop(co), hold_main, &g);
    drain_begin(co, root_node(root));
    g_assert_true(g.stop);
    drain_end(root_node(root));
    done(co, root);
}

static void test_hold(void)
{
    mem_test_run(hold);
}

static void drain_inside(Co *co, void *arg)
{
    Root *root = mem_root(co, mem_node(&mem_driver, "n", MiB, 512), RW);
    TrackedReq req;

    io_track_begin(co, &req, root_node(root), 0, 512, false);
    drain_begin(co, root_node(root));
}

static void test_drain_inside_asserts(void)
{
    if (g_test_subprocess()) {
        mem_test_run(drain_inside);
        return;
    }
    g_test_trap_subprocess(NULL, 10 * G_USEC_PER_SEC, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*io_track_has*");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/io/alignment-matrix", test_alignment_matrix);
    g_test_add_func("/io/aligned-goes-straight", test_straight);
    g_test_add_func("/io/neighbours-keep-their-bytes",
                    test_neighbours_keep_their_bytes);
    g_test_add_func("/io/no-deadlock-among-serialising",
                    test_no_deadlock_among_serialising);
    g_test_add_func("/io/order-of-arrival", test_order_of_arrival);
    g_test_add_func("/io/split", test_split);
    g_test_add_func("/io/fua", test_fua);
    g_test_add_func("/io/zero", test_zero);
    g_test_add_func("/io/discard", test_discard);
    g_test_add_func("/io/flush", test_flush);
    g_test_add_func("/io/flush-covers-only-what-completed", test_flush_race);
    g_test_add_func("/io/ends-and-errors", test_ends_and_errors);
    g_test_add_func("/io/read-only", test_read_only);
    g_test_add_func("/io/empty-filter-forwards", test_empty_filter_forwards);
    g_test_add_func("/io/drain", test_drain);
    g_test_add_func("/io/drain-waits-for-held-roots", test_hold);
    g_test_add_func("/io/drain-inside-a-request-asserts",
                    test_drain_inside_asserts);
    return g_test_run();
}
