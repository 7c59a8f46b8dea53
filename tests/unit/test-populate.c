/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The bitmap-populate job beside a model: chains of random layers, granules of
 * every size, with and without a guest that writes; and what becomes of the
 * bitmap when the job fails, is cancelled, ignores an error or stops at it.
 */
#include "mem-driver.h"

#include "block/dirty-bitmap.h"
#include "block/populate.h"

#define UNIT 4096
#define MAX_UNITS 96
#define MAX_LAYERS 4

enum { HOLE, DATA, ZERO };

/* A layer that knows of each unit whether it is its own. Beside it what a
 * reader sees there. */
typedef struct Disk {
    MemState mem;
    uint8_t kind[MAX_UNITS];
    int fail_status;            /* -errno, until cleared */
} Disk;

static Disk *disk_of(Node *node)
{
    return node->state;
}

static int disk_status(Co *co, Node *node, bool precise, int64_t off,
                       int64_t len, Extent *ret)
{
    Disk *d = disk_of(node);
    int64_t end = off;
    uint8_t kind = d->kind[off / UNIT];

    while (end < off + len && d->kind[end / UNIT] == kind) {
        end = (end / UNIT + 1) * UNIT;
    }
    *ret = (Extent) { .len = MIN(end - off, len) };
    ret->flags = kind == DATA ? EXTENT_DATA : kind == ZERO ? EXTENT_ZERO : 0;
    return d->fail_status;
}

/* The unit's content through the chain. */
static void disk_look(Node *node, int unit, uint8_t *buf)
{
    memset(buf, 0, UNIT);
    while (node && (int64_t)unit * UNIT < node->length) {
        Disk *d = disk_of(node);

        if (d->kind[unit] != HOLE) {
            if (d->kind[unit] == DATA) {
                memcpy(buf, d->mem.data + (int64_t)unit * UNIT, UNIT);
            }
            return;
        }
        node = node->backing ? node->backing->child : NULL;
    }
}

static int disk_read(Co *co, Node *node, int64_t off, int64_t len,
                     const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    Disk *d = disk_of(node);
    uint8_t buf[UNIT];

    mem_wait(co, &d->mem);
    if (d->mem.fail_read && off <= 20 * UNIT && off + len > 20 * UNIT) {
        return d->mem.fail_read;
    }
    for (int64_t done = 0; done < len;) {
        int64_t in = (off + done) % UNIT, n = MIN(UNIT - in, len - done);

        disk_look(node, (off + done) / UNIT, buf);
        iov_from_buf(iov, iov_off + done, buf + in, n);
        done += n;
    }
    return 0;
}

/* Whole units. */
static int disk_write(Co *co, Node *node, int64_t off, int64_t len,
                      const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    memset(disk_of(node)->kind + off / UNIT, DATA, len / UNIT);
    return mem_write(co, node, off, len, iov, iov_off, flags);
}

static BlockDriver disk_driver;

/* ---- chains ---- */

static void disk_fill(Node *node, GRand *rand)
{
    Disk *d = disk_of(node);

    for (int i = 0; i < node->length / UNIT; i++) {
        uint8_t *at = d->mem.data + (int64_t)i * UNIT;

        d->kind[i] = g_rand_int_range(rand, 0, 2) ? HOLE
                                                  : g_rand_int_range(rand, 0, 3);
        /* Some data are zeroes, and some differ in one byte only. */
        if (d->kind[i] == DATA && g_rand_int_range(rand, 0, 3)) {
            memset(at, g_rand_int_range(rand, 1, 3), UNIT);
            at[g_rand_int_range(rand, 0, UNIT)] ^= g_rand_int_range(rand, 0, 2);
        }
    }
}

static Node *disk_new(const char *name, int64_t length, GRand *rand)
{
    Node *node = mem_node(&disk_driver, name, length, UNIT);

    if (rand) {
        disk_fill(node, rand);
    }
    return node;
}

static void put_below(Co *co, Node *node, Node *backing)
{
    Transaction *tran = tran_new();

    node->backing = graph_attach(co, tran, node, "backing", ROLE_COW, backing,
                                 &error_abort);
    backing->read_only = true;
    tran_finalize(co, tran, graph_check_one(tran, node, &error_abort));
    node_unref(co, backing);
}

/* @nodes[0] is the top layer; the reference of it is the caller's. */
static int chain_new(Co *co, Node **nodes, GRand *rand)
{
    static const char *const names[] = { "l0", "l1", "l2", "l3" };
    int n = g_rand_int_range(rand, 1, MAX_LAYERS + 1);

    for (int i = n - 1; i >= 0; i--) {
        int64_t length = g_rand_int_range(rand, 0, 3) ? MAX_UNITS
                         : g_rand_int_range(rand, 1, MAX_UNITS + 1);

        nodes[i] = disk_new(names[i], length * UNIT, rand);
        if (i + 1 < n) {
            put_below(co, nodes[i], nodes[i + 1]);
        }
    }
    return n;
}

/* ---- the model ---- */

static bool unit_allocated(Node *node, const Node *base, int unit)
{
    for (Node *n = node; n && n != base;
         n = n->backing ? n->backing->child : NULL) {
        /* A layer that is shorter than the top decides what is past its end. */
        if ((int64_t)unit * UNIT >= n->length ||
            disk_of(n)->kind[unit] != HOLE) {
            return true;
        }
    }
    return false;
}

static bool unit_dirty(Node *node, Node *base, BitmapPattern pattern, int unit)
{
    uint8_t a[UNIT], b[UNIT];

    switch (pattern) {
    case BITMAP_PATTERN_ALLOCATION_TOP:
        return disk_of(node)->kind[unit] != HOLE;
    case BITMAP_PATTERN_ALLOCATION_ABOVE:
        return unit_allocated(node, base, unit);
    case BITMAP_PATTERN_NON_ZERO:
        disk_look(node, unit, a);
        return !buffer_is_zero(a, UNIT);
    default:
        disk_look(node, unit, a);
        disk_look(base, unit, b);
        return (int64_t)unit * UNIT >= base->length || memcmp(a, b, UNIT);
    }
}

/* ---- jobs ---- */

static BlockDirtyBitmapPopulate args(BitmapPattern pattern, const char *base)
{
    return (BlockDirtyBitmapPopulate) {
        .job_id = (char *)"j", .node = (char *)"l0", .name = (char *)"b",
        .pattern = pattern, .base_node = (char *)base,
    };
}

static Job *start(Co *co, const BlockDirtyBitmapPopulate *arg)
{
    Job *job = populate_job_create(co, arg, NULL, &error_abort);

    job_ref(job);
    job_start(job);
    return job;
}

static void wait_pending(Co *co, Job *job)
{
    while (job->status != JOB_STATUS_PENDING) {
        control_unlock(co);
        co_sleep(co, 1000 * 1000);
        control_lock(co);
    }
}

static int run(Co *co, const BlockDirtyBitmapPopulate *arg, Error **errp)
{
    return job_wait(co, start(co, arg), errp);
}

static bool bit_of(Co *co, DirtyBitmap *bm, int unit)
{
    return bitset_test(bitmap_bits(co, bm, &error_abort),
                       (int64_t)unit * UNIT >> bm->granularity_shift);
}

/* Each granule is dirty just if one of its units is. */
static void compare(Co *co, DirtyBitmap *bm, const bool *units)
{
    int per = MAX(1, bitmap_granularity(bm) / UNIT);
    int n = bm->node->length / UNIT;

    for (int first = 0; first < n; first += per) {
        bool want = false;

        for (int i = first; i < MIN(first + per, n); i++) {
            want |= units[i];
        }
        g_assert_cmpint(bit_of(co, bm, first), ==, want);
    }
}

/* ---- random chains ---- */

typedef struct Guest {
    Root *root;
    GRand *rand;
    bool *units;
    MemCrowd crowd;
    bool stop;
} Guest;

static void guest_main(Co *co, void *arg)
{
    Guest *g = arg;
    uint8_t buf[UNIT];
    int n = root_length(g->root) / UNIT;

    while (!g->stop) {
        int unit = g_rand_int_range(g->rand, 0, n);

        /* The same, something else, or zeroes. */
        memset(buf, g_rand_int_range(g->rand, 0, 3), UNIT);
        g_assert_cmpint(root_pwrite(co, g->root, (int64_t)unit * UNIT, UNIT,
                                    buf, 0), ==, 0);
        g->units[unit] = true;
        co_sleep(co, 20 * 1000);
    }
    mem_crowd_done(&g->crowd);
}

/* The guest writes from before the job's first step until it waits for its
 * end, and stops then. */
static void run_beside_guest(Co *co, BlockDirtyBitmapPopulate *arg, Guest *g)
{
    Job *job;

    arg->has_auto_finalize = true;
    job = start(co, arg);
    disk_of(root_node(g->root))->mem.latency_ns = 50 * 1000;
    co_spawn(loop_current(), guest_main, g);
    wait_pending(co, job);
    g->stop = true;
    mem_crowd_wait(co, &g->crowd);
    g_assert_true(job_user_finalize(co, job, &error_abort));
    g_assert_cmpint(job_wait(co, job, &error_abort), ==, 0);
}

static void one_chain(Co *co, GRand *rand, bool write)
{
    BitmapPattern pattern = g_rand_int_range(rand, 0, BITMAP_PATTERN__MAX);
    Node *nodes[MAX_LAYERS], *base = NULL, *other;
    BlockDirtyBitmapPopulate arg;
    bool units[MAX_UNITS] = { 0 };
    Guest g = { .rand = rand, .units = units, .crowd.left = 1 };
    int n = chain_new(co, nodes, rand);
    DirtyBitmap *bm;

    other = disk_new("other", g_rand_int_range(rand, 1, MAX_UNITS) * UNIT,
                     rand);
    if (pattern == BITMAP_PATTERN_DIFFERENCE) {
        base = n > 1 && g_rand_boolean(rand)
               ? nodes[g_rand_int_range(rand, 1, n)] : other;
    } else if (pattern == BITMAP_PATTERN_ALLOCATION_ABOVE && n > 1) {
        base = nodes[g_rand_int_range(rand, 1, n)];
    }
    for (int i = 0; i < nodes[0]->length / UNIT; i++) {
        units[i] = unit_dirty(nodes[0], base, pattern, i);
    }
    bm = bitmap_create(nodes[0], 512 << g_rand_int_range(rand, 0, 12), "b",
                       &error_abort);
    bitmap_set_range(bm, 0, 1);
    units[0] = true;
    if (g_rand_boolean(rand)) {
        bitmap_disable(bm);
    }
    g.root = mem_root(co, nodes[0], PERM_CONSISTENT_READ | PERM_WRITE);
    arg = args(pattern, base ? base->name : NULL);
    if (write) {
        run_beside_guest(co, &arg, &g);
    } else {
        g_assert_cmpint(run(co, &arg, &error_abort), ==, 0);
    }
    /* Sub-unit granules of written and found units are all alike. */
    if (bitmap_granularity(bm) >= UNIT) {
        compare(co, bm, units);
    }
    g_assert_false(bm->busy);
    g_assert_null(bitmap_next(bm));
    root_free(co, g.root);
    node_unref(co, nodes[0]);
    node_unref(co, other);
}

static void many_chains(Co *co, int n, bool guest)
{
    GRand *rand = g_rand_new_with_seed(g_test_rand_int());

    for (int i = 0; i < n; i++) {
        one_chain(co, rand, guest);
    }
    g_rand_free(rand);
}

static void random_chains(Co *co, void *arg)
{
    many_chains(co, 300, false);
}

static void test_random(void)
{
    mem_test_run(random_chains);
}

static void random_with_guest(Co *co, void *arg)
{
    many_chains(co, 150, true);
}

static void test_guest(void)
{
    mem_test_run(random_with_guest);
}

/* Granules below a unit: only those that hold something. */
static void fine(Co *co, void *arg)
{
    Node *node = disk_new("l0", 64 * KiB, NULL);
    DirtyBitmap *bm = bitmap_create(node, 512, "b", &error_abort);
    BlockDirtyBitmapPopulate a = args(BITMAP_PATTERN_NON_ZERO, NULL);

    disk_of(node)->kind[3] = DATA;
    disk_of(node)->mem.data[3 * UNIT + 1023] = 1;
    disk_of(node)->mem.data[3 * UNIT + 1024] = 1;
    g_assert_cmpint(run(co, &a, &error_abort), ==, 0);
    g_assert_cmpint(bitmap_count_bytes(co, bm), ==, 1024);
    g_assert_cmpint(bitset_next_set(bm->bits, 0, 128), ==, 3 * 8 + 1);
    node_unref(co, node);
}

static void test_fine(void)
{
    mem_test_run(fine);
}

/* ---- failures ---- */

/* Unit 20 can't be read; 5 was dirty before, 7 is written meanwhile. */
typedef struct Trouble {
    Node *node;
    DirtyBitmap *bm;
    Root *root;
} Trouble;

static void trouble_new(Co *co, Trouble *t)
{
    t->node = disk_new("l0", MAX_UNITS * UNIT, NULL);
    memset(disk_of(t->node)->kind, DATA, MAX_UNITS);
    memset(disk_of(t->node)->mem.data + 10 * UNIT, 1, 2 * UNIT);
    t->bm = bitmap_create(t->node, UNIT, "b", &error_abort);
    bitmap_set_range(t->bm, 5 * UNIT, UNIT);
    t->root = mem_root(co, t->node, PERM_CONSISTENT_READ | PERM_WRITE);
}

static void trouble_expect(Co *co, Trouble *t, int count, bool found)
{
    g_assert_false(t->bm->busy);
    g_assert_true(bit_of(co, t->bm, 5));
    g_assert_true(bit_of(co, t->bm, 10) == found);
    g_assert_cmpint(bitmap_count_bytes(co, t->bm), ==, count * UNIT);
    root_free(co, t->root);
    node_unref(co, t->node);
}

static void trouble_write(Co *co, Trouble *t)
{
    uint8_t buf[UNIT] = { 0 };

    g_assert_cmpint(root_pwrite(co, t->root, 7 * UNIT, UNIT, buf, 0), ==, 0);
}

static void report(Co *co, void *opaque)
{
    BlockDirtyBitmapPopulate arg = args(BITMAP_PATTERN_NON_ZERO, NULL);
    Error *err = NULL;
    Trouble t;
    Job *job;

    trouble_new(co, &t);
    disk_of(t.node)->mem.fail_read = -EIO;
    job = start(co, &arg);
    trouble_write(co, &t);
    g_assert_cmpint(job_wait(co, job, &err), ==, -EIO);
    g_assert_cmpstr(error_get_pretty(err), ==, "Input/output error");
    error_free(err);
    trouble_expect(co, &t, 2, false);
}

static void test_report(void)
{
    mem_test_run(report);
}

static void report_status(Co *co, void *opaque)
{
    BlockDirtyBitmapPopulate arg = args(BITMAP_PATTERN_ALLOCATION_TOP, NULL);
    Trouble t;

    trouble_new(co, &t);
    disk_of(t.node)->fail_status = -EIO;
    g_assert_cmpint(run(co, &arg, NULL), ==, -EIO);
    trouble_expect(co, &t, 1, false);

    /* With ignore: all of it might be dirty. */
    trouble_new(co, &t);
    disk_of(t.node)->fail_status = -EIO;
    arg.has_on_error = true;
    arg.on_error = BLOCKDEV_ON_ERROR_IGNORE;
    g_assert_cmpint(run(co, &arg, &error_abort), ==, 0);
    trouble_expect(co, &t, MAX_UNITS, true);
}

static void test_report_status(void)
{
    mem_test_run(report_status);
}

static void ignore(Co *co, void *opaque)
{
    BlockDirtyBitmapPopulate arg = args(BITMAP_PATTERN_NON_ZERO, NULL);
    Trouble t;

    trouble_new(co, &t);
    /* Chunks of their own: 0 .. 15, 16 .. 31, ... */
    for (int i = 15; i < MAX_UNITS; i += 16) {
        disk_of(t.node)->kind[i] = ZERO;
    }
    disk_of(t.node)->mem.fail_read = -EIO;
    arg.has_on_error = true;
    arg.on_error = BLOCKDEV_ON_ERROR_IGNORE;
    g_assert_cmpint(run(co, &arg, &error_abort), ==, 0);
    g_assert_true(bit_of(co, t.bm, 16) && bit_of(co, t.bm, 30));
    g_assert_false(bit_of(co, t.bm, 31));
    trouble_expect(co, &t, 1 + 2 + 15, true);
}

static void test_ignore(void)
{
    mem_test_run(ignore);
}

static void stop(Co *co, void *opaque)
{
    BlockDirtyBitmapPopulate arg = args(BITMAP_PATTERN_NON_ZERO, NULL);
    int64_t told = 0;
    Trouble t;
    Job *job;

    trouble_new(co, &t);
    disk_of(t.node)->mem.fail_read = -EIO;
    disk_of(t.node)->mem.latency_ns = 50 * 1000 * 1000;
    arg.has_on_error = true;
    arg.on_error = BLOCKDEV_ON_ERROR_STOP;
    job = start(co, &arg);
    /* What was read behind the error is read again, and told once. */
    while (job->status != JOB_STATUS_PAUSED) {
        g_assert_cmpint(job->progress_current, >=, told);
        told = job->progress_current;
        co_sleep(co, 100 * 1000);
    }
    g_assert_cmpint(job->progress_current, >=, told);
    g_assert_cmpint(job->iostatus, ==, BLOCK_DEVICE_IO_STATUS_FAILED);
    trouble_write(co, &t);
    disk_of(t.node)->mem.fail_read = 0;
    g_assert_true(job_user_resume(job, &error_abort));
    job_ref(job);
    g_assert_cmpint(job_wait(co, job, &error_abort), ==, 0);
    g_assert_cmpint(job->progress_current, ==, job->progress_total);
    job_unref(job);
    trouble_expect(co, &t, 4, true);
}

static void test_stop(void)
{
    mem_test_run(stop);
}

static void cancel(Co *co, void *opaque)
{
    BlockDirtyBitmapPopulate arg = args(BITMAP_PATTERN_NON_ZERO, NULL);
    Trouble t;
    Job *job;

    for (int record = 0; record < 2; record++) {
        trouble_new(co, &t);
        if (!record) {
            bitmap_disable(t.bm);
        }
        arg.has_speed = true;
        arg.speed = 1;
        job = start(co, &arg);
        trouble_write(co, &t);
        co_sleep(co, 2 * 1000 * 1000);
        g_assert_true(job_user_cancel(co, job, false, &error_abort));
        g_assert_cmpint(job_wait(co, job, NULL), ==, -ECANCELED);
        trouble_expect(co, &t, 1 + record, false);
    }
}

static void test_cancel(void)
{
    mem_test_run(cancel);
}

/* What is written while it waits to be finalized is there, too; and when the
 * image has become read-only there is nothing to write to. */
static void finalize(Co *co, void *opaque)
{
    BlockDirtyBitmapPopulate arg = args(BITMAP_PATTERN_NON_ZERO, NULL);
    Error *err = NULL;
    Trouble t;
    Job *job;

    arg.has_auto_finalize = true;
    for (int readonly = 0; readonly < 2; readonly++) {
        trouble_new(co, &t);
        bitmap_disable(t.bm);
        job = start(co, &arg);
        wait_pending(co, job);
        g_assert_true(t.bm->busy);
        trouble_write(co, &t);
        bitmap_set_readonly(t.bm, readonly);
        g_assert_true(job_user_finalize(co, job, &error_abort));
        g_assert_cmpint(job_wait(co, job, &err), ==, readonly ? -EPERM : 0);
        if (readonly) {
            g_assert_cmpstr(error_get_pretty(err), ==,
                            "Bitmap 'b' is readonly and cannot be modified");
            error_free(err);
        }
        trouble_expect(co, &t, readonly ? 1 : 4, !readonly);
    }
}

static void test_finalize(void)
{
    mem_test_run(finalize);
}

/* ---- wrong arguments ---- */

static void refused(Co *co, BlockDirtyBitmapPopulate arg, const char *message)
{
    Error *err = NULL;

    g_assert_null(populate_job_create(co, &arg, NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
    g_assert_null(job_next(NULL));
}

static void refusals(Co *co, void *opaque)
{
    Node *node = disk_new("l0", MAX_UNITS * UNIT, NULL);
    Node *other = disk_new("other", MAX_UNITS * UNIT, NULL);
    DirtyBitmap *bm = bitmap_create(node, UNIT, "b", &error_abort);
    BlockDirtyBitmapPopulate a = args(BITMAP_PATTERN_DIFFERENCE, "other");
    Root *guest = mem_root(co, other, PERM_WRITE);

    refused(co, args(BITMAP_PATTERN_DIFFERENCE, NULL),
            "Pattern 'difference' needs 'base-node'");
    refused(co, args(BITMAP_PATTERN_NON_ZERO, "other"),
            "Pattern 'non-zero' has no use for 'base-node'");
    refused(co, args(BITMAP_PATTERN_ALLOCATION_TOP, "other"),
            "Pattern 'allocation-top' has no use for 'base-node'");
    refused(co, args(BITMAP_PATTERN_ALLOCATION_ABOVE, "other"),
            "Node 'other' is not a backing image of 'l0'");
    refused(co, args(BITMAP_PATTERN_DIFFERENCE, "l0"),
            "Node 'l0' can't be its own base");
    refused(co, args(BITMAP_PATTERN_DIFFERENCE, "none"),
            "Cannot find device='none' nor node-name='none'");
    /* What is compared with must stand still. */
    g_assert_null(populate_job_create(co, &a, NULL, NULL));
    root_free(co, guest);
    a.has_speed = true;
    a.speed = -1;
    refused(co, a, "Parameter 'speed' expects a non-negative value");
    a.speed = 0;
    a.job_id = (char *)"1 2";
    refused(co, a, "Invalid job ID '1 2'");
    a.name = (char *)"c";
    refused(co, a, "Dirty bitmap 'c' not found");
    bitmap_set_busy(bm, true);
    refused(co, args(BITMAP_PATTERN_NON_ZERO, NULL), "Bitmap 'b' is currently"
            " in use by another operation and cannot be used");
    bitmap_set_busy(bm, false);
    bitmap_set_inconsistent(bm);
    refused(co, args(BITMAP_PATTERN_NON_ZERO, NULL),
            "Bitmap 'b' is inconsistent and cannot be used");
    node_unref(co, node);
    node_unref(co, other);
}

static void test_refusals(void)
{
    mem_test_run(refusals);
}

/* As if nothing had been. */
static void undo(Co *co, void *opaque)
{
    BlockDirtyBitmapPopulate arg = args(BITMAP_PATTERN_NON_ZERO, NULL);
    Trouble t;

    trouble_new(co, &t);
    bitmap_disable(t.bm);
    populate_job_undo(co, populate_job_create(co, &arg, NULL, &error_abort));
    g_assert_null(job_next(NULL));
    g_assert_null(bitmap_next(t.bm));
    trouble_expect(co, &t, 1, false);
}

static void test_undo(void)
{
    mem_test_run(undo);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    disk_driver = mem_driver;
    disk_driver.kind = DRIVER_FORMAT;
    disk_driver.supports_backing = true;
    disk_driver.state_size = sizeof(Disk);
    disk_driver.status = disk_status;
    disk_driver.read = disk_read;
    disk_driver.write = disk_write;
    g_test_add_func("/populate/random-chains", test_random);
    g_test_add_func("/populate/beside-a-guest", test_guest);
    g_test_add_func("/populate/fine-granules", test_fine);
    g_test_add_func("/populate/error-report", test_report);
    g_test_add_func("/populate/error-of-status", test_report_status);
    g_test_add_func("/populate/error-ignore", test_ignore);
    g_test_add_func("/populate/error-stop", test_stop);
    g_test_add_func("/populate/cancel", test_cancel);
    g_test_add_func("/populate/finalize-by-hand", test_finalize);
    g_test_add_func("/populate/refusals", test_refusals);
    g_test_add_func("/populate/undo", test_undo);
    return g_test_run();
}
