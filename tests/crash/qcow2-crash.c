/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What is left of a qcow2 image when the power fails.
 *
 *     qcow2-crash [--set NAME|all] [--seed N] [--ops N] [--crashes N]
 *
 * The image lives in memory, in a driver that logs when each write and flush
 * began and ended. Coroutines work on it as a guest would, each sector that is
 * written saying who it is. Then, for many moments of that run, the disk after
 * a crash is made up: what was flushed is there; of what was not, any sectors
 * may be there. Debian's qemu-img checks the result, which may leak clusters
 * but not be corrupt, and reads it: every sector has to hold what the last
 * flush promised, or something that was written to this very sector later.
 */
#include "../unit/mem-driver.h"
#include "../unit/test-dir.h"

#include "block/open.h"
#include "util/bytes.h"
#include "util/reqlist.h"

#include <sys/wait.h>

#define SECTOR 512
#define WORKERS 5
#define CAPACITY (96 * MiB)

typedef struct OptionSet {
    const char *name;
    const char *create;
    int64_t cluster, size;
    bool compressed, backing, lazy;
    int64_t align;
} OptionSet;

static const OptionSet sets[] = {
    { "c4k", "cluster_size=4k", 4096, 2 * MiB, .align = 512 },
    { "c512", "cluster_size=512", 512, 256 * KiB, .align = 512 },
    { "default", "cluster_size=64k", 65536, 6 * MiB, .align = 1 },
    { "direct", "cluster_size=8k", 8192, 3 * MiB, .align = 4096 },
    { "rc1", "cluster_size=1k,refcount_bits=1", 1024, 1 * MiB, .align = 512 },
    { "extl2", "cluster_size=16k,extended_l2=on", 16384, 3 * MiB,
      .align = 512 },
    { "compressed", "cluster_size=4k", 4096, 2 * MiB, .compressed = true,
      .align = 1 },
    { "backing", "cluster_size=8k", 8192, 2 * MiB, .backing = true,
      .align = 512 },
    { "lazy", "cluster_size=4k,lazy_refcounts=on", 4096, 2 * MiB,
      .lazy = true, .align = 512 },
};

/* ---- the log ---- */

typedef enum EventKind { EV_WRITE, EV_ZERO, EV_FLUSH } EventKind;

typedef struct Event {
    EventKind kind;
    int64_t off, len;
    uint8_t *data;
    int64_t start, done;        /* moments; done INT64_MAX: never */
} Event;

typedef enum OpKind {
    OP_WRITE, OP_ZERO, OP_MAYBE_ZERO,
} OpKind;

/* A guest's operation, in the history of each of its sectors. */
typedef struct Op {
    OpKind kind;
    int64_t start, done;
} Op;

typedef struct Test {
    const OptionSet *set;
    uint32_t seed;
    int left;
    char *image, *base;
    GPtrArray *log;             /* of Event */
    int64_t now;
    GPtrArray *ops;             /* of Op */
    GPtrArray *history;         /* of GArray of op numbers, by sector */
    GArray *flushes;            /* of Op: the guest's */
    uint8_t *initial;           /* the image when it was opened */
    int64_t initial_len;
    Root *root;
    ReqList busy;
    bool failed;
} Test;

static Test *current;

static void fail(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

static void fail(const char *fmt, ...)
{
    va_list ap;

    if (!current->failed) {
        printf("# FAILED %s, seed %u: ", current->set->name, current->seed);
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        printf("\n");
    }
    current->failed = true;
}

static Event *log_begin(EventKind kind, int64_t off, int64_t len)
{
    Event *e = g_new0(Event, 1);

    *e = (Event) { kind, off, len, NULL, ++current->now, INT64_MAX };
    g_ptr_array_add(current->log, e);
    return e;
}

static void event_free(gpointer p)
{
    Event *e = p;

    g_free(e->data);
    g_free(e);
}

/* ---- the driver ---- */

static int crash_write(Co *co, Node *node, int64_t off, int64_t len,
                       const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    Event *e = log_begin(EV_WRITE, off, len);
    int r;

    e->data = g_malloc(len);
    iov_to_buf(iov, iov_off, e->data, len);
    r = mem_write(co, node, off, len, iov, iov_off, flags);
    e->done = ++current->now;
    return r;
}

static int crash_zero(Co *co, Node *node, int64_t off, int64_t len,
                      ReqFlags flags)
{
    Event *e = log_begin(EV_ZERO, off, len);
    int r = mem_zero(co, node, off, len, flags);

    e->done = ++current->now;
    return r;
}

static int crash_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    Event *e = log_begin(EV_ZERO, off, len);
    int r = mem_discard(co, node, off, len);

    e->done = ++current->now;
    return r;
}

static int crash_flush(Co *co, Node *node)
{
    Event *e = log_begin(EV_FLUSH, 0, 0);
    int r = mem_flush(co, node);

    e->done = ++current->now;
    return r;
}

static int crash_info(Co *co, Node *node, BlockDriverInfo *ret)
{
    *ret = (BlockDriverInfo) { .zeroes_new = true };
    return 0;
}

static Node *crash_node(BlockDriver *drv, Test *t)
{
    MemState *s;
    Node *node;

    *drv = mem_driver;
    drv->write = crash_write;
    drv->zero = crash_zero;
    drv->discard = crash_discard;
    drv->flush = crash_flush;
    drv->info = crash_info;
    node = mem_file(drv, t->initial, t->initial_len, CAPACITY, t->seed + 2);
    node->limits.request_alignment = t->set->align;
    s = node->state;
    s->latency_ns = 100000;
    return node;
}

/* ---- the guest ---- */

static void note_op(Test *t, int number, int64_t off, int64_t len)
{
    for (int64_t i = off / SECTOR; i < (off + len) / SECTOR; i++) {
        g_array_append_val((GArray *)g_ptr_array_index(t->history, i),
                           number);
    }
}

/* What a sector says: which operation, and where it belongs. */
static void sign(uint8_t *buf, int number, int64_t sector)
{
    for (int i = 0; i < SECTOR; i += 16) {
        stq_be_p(buf + i, number + 1);
        stq_be_p(buf + i + 8, sector);
    }
}

static void do_op(Co *co, Test *t, OpKind kind, int64_t off, int64_t len,
                  ReqFlags flags)
{
    int number = t->ops->len;
    Op *op = g_new0(Op, 1);
    int r;

    *op = (Op) { kind, ++t->now, INT64_MAX };
    g_ptr_array_add(t->ops, op);
    note_op(t, number, off, len);
    if (kind == OP_WRITE) {
        g_autofree uint8_t *buf = g_malloc(len);

        for (int64_t i = 0; i < len; i += SECTOR) {
            sign(buf + i, number, (off + i) / SECTOR);
        }
        r = root_pwrite(co, t->root, off, len, buf, flags);
    } else if (kind == OP_ZERO) {
        r = root_zero(co, t->root, off, len, flags);
    } else {
        r = root_discard(co, t->root, off, len);
    }
    if (r < 0) {
        fail("operation %d: %s", number, g_strerror(-r));
    }
    op->done = ++t->now;
}

static void do_flush(Co *co, Test *t)
{
    Op op = { .start = ++t->now };

    if (root_flush(co, t->root) < 0) {
        fail("flush");
    }
    op.done = ++t->now;
    g_array_append_val(t->flushes, op);
}

static void one_op(Co *co, Test *t, GRand *rand)
{
    int what = g_rand_int_range(rand, 0, 100);
    int64_t sectors = t->set->size / SECTOR;
    int64_t max = 3 * t->set->cluster / SECTOR;
    int64_t off = (int64_t)g_rand_int_range(rand, 0, sectors) * SECTOR;
    int64_t len = (int64_t)g_rand_int_range(rand, 1, max) * SECTOR;
    ReqFlags flags = 0;
    RangeReq req;

    if (what < 12) {
        do_flush(co, t);
        return;
    }
    if (t->set->compressed && what < 50) {
        off = ROUND_DOWN(off, t->set->cluster);
        len = ROUND_UP(len, t->set->cluster);
        flags = REQ_COMPRESSED;
    }
    len = MIN(len, t->set->size - off);
    while (reqlist_wait_one(co, &t->busy, off, len)) {
        /* Asks again. */
    }
    reqlist_add(&t->busy, &req, off, len);
    if (what < 72) {
        do_op(co, t, OP_WRITE, off, len, flags);
    } else if (what < 85) {
        do_op(co, t, OP_ZERO, off, len, what & 1 ? REQ_MAY_UNMAP : 0);
    } else {
        do_op(co, t, OP_MAYBE_ZERO, off, len, 0);
    }
    reqlist_remove(&t->busy, &req);
}

typedef struct Worker {
    Test *t;
    uint32_t seed;
} Worker;

static int worker(Co *co, void *arg)
{
    g_autofree Worker *w = arg;
    GRand *rand = g_rand_new_with_seed(w->seed);

    while (w->t->left-- > 0 && !w->t->failed) {
        one_op(co, w->t, rand);
    }
    g_rand_free(rand);
    return 0;
}

static void run_guest(Co *co, Test *t, GRand *rand)
{
    g_autofree char *text = g_strdup_printf(
        "{\"driver\": \"qcow2\", \"discard\": \"unmap\", \"file\": \"mem\", "
        "\"l2-cache-size\": %d, \"l2-cache-entry-size\": 512}",
        g_rand_boolean(rand) ? 1024 : 1 << 20);
    json_t *json = json_parse_str(text, &error_abort);
    BlockdevOptions *opts = BlockdevOptions_from_json(json, QAPI_STRICT,
                                                      &error_abort);
    BlockDriver drv;
    Node *mem, *node;
    CoGroup group;

    json_decref(json);
    control_lock(co);
    mem = crash_node(&drv, t);
    node = open_options(co, opts, &error_abort);
    t->root = mem_root(co, node, PERM_CONSISTENT_READ | PERM_WRITE);
    node_unref(co, node);
    control_unlock(co);
    co_group_init(&group, co_loop(co), WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        Worker *w = g_new(Worker, 1);

        *w = (Worker) { t, g_rand_int(rand) };
        co_group_start(co, &group, worker, w);
    }
    co_group_wait(co, &group);
    control_lock(co);
    root_free(co, t->root);
    node_unref(co, mem);
    control_unlock(co);
}

/* ---- crashes ---- */

static void apply(const Event *e, int64_t off, int64_t len, uint8_t *disk)
{
    if (e->kind == EV_ZERO) {
        memset(disk + off, 0, len);
    } else {
        memcpy(disk + off, e->data + (off - e->off), len);
    }
}

/* An event that no flush has covered: all of it, nothing, or some sectors. */
static void apply_torn(const Event *e, GRand *rand, uint8_t *disk)
{
    int how = g_rand_int_range(rand, 0, 3);

    for (int64_t off = e->off; off < e->off + e->len;) {
        int64_t end = MIN(ROUND_DOWN(off, SECTOR) + SECTOR, e->off + e->len);

        if (how == 1 || (how == 2 && g_rand_boolean(rand))) {
            apply(e, off, end - off, disk);
        }
        off = end;
    }
}

/* The last moment that a flush before @crash has made durable. */
static int64_t durable_until(const Test *t, int64_t crash)
{
    int64_t ret = 0;

    for (unsigned i = 0; i < t->log->len; i++) {
        const Event *e = g_ptr_array_index(t->log, i);

        if (e->kind == EV_FLUSH && e->done < crash) {
            ret = MAX(ret, e->start);
        }
    }
    return ret;
}

static int64_t make_disk(const Test *t, int64_t crash, GRand *rand,
                         uint8_t *disk)
{
    int64_t durable = durable_until(t, crash);
    int64_t len = t->initial_len;

    memset(disk, 0, CAPACITY);
    memcpy(disk, t->initial, t->initial_len);
    for (unsigned i = 0; i < t->log->len; i++) {
        const Event *e = g_ptr_array_index(t->log, i);

        if (e->kind == EV_FLUSH || e->start > crash) {
            continue;
        }
        if (e->done < durable) {
            apply(e, e->off, e->len, disk);
        } else {
            apply_torn(e, rand, disk);
        }
        len = MAX(len, e->off + e->len);
    }
    return len;
}

static bool value_is(const uint8_t *buf, int number, int64_t sector)
{
    uint8_t want[SECTOR];

    memset(want, 0, SECTOR);
    if (number >= 0) {
        sign(want, number, sector);
    }
    return !memcmp(buf, want, SECTOR);
}

/* Whether @buf may be in @sector after a crash, given the last flush. */
static bool sector_ok(const Test *t, int64_t sector, const uint8_t *buf,
                      int64_t crash, int64_t flushed)
{
    const GArray *h = g_ptr_array_index(t->history, sector);

    for (unsigned i = h->len; i-- > 0;) {
        int number = g_array_index(h, int, i);
        const Op *op = g_ptr_array_index(t->ops, number);

        if (op->start > crash) {
            continue;
        }
        if (value_is(buf, op->kind == OP_WRITE ? number : -1, sector)) {
            return true;
        }
        if (op->done < flushed && op->kind != OP_MAYBE_ZERO) {
            return false;
        }
    }
    /* As it was in the beginning. */
    return value_is(buf, t->set->backing ? INT_MAX - 1 : -1, sector);
}

static int64_t guest_flushed(const Test *t, int64_t crash)
{
    int64_t ret = 0;

    for (unsigned i = 0; i < t->flushes->len; i++) {
        const Op *op = &g_array_index(t->flushes, Op, i);

        if (op->done < crash) {
            ret = MAX(ret, op->start);
        }
    }
    return ret;
}

static int run(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

static int run(const char *fmt, ...)
{
    g_autofree char *cmd = NULL;
    va_list ap;
    int status;

    va_start(ap, fmt);
    cmd = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    status = system(cmd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void check_crash(Test *t, int64_t crash, GRand *rand, uint8_t *disk)
{
    int64_t len = make_disk(t, crash, rand, disk);
    int64_t flushed = guest_flushed(t, crash);
    g_autofree char *raw = g_strdup_printf("%s.raw", t->image);
    g_autofree char *text = NULL;
    size_t n;
    int r;

    g_file_set_contents(t->image, (char *)disk, len, NULL);
    if (t->set->lazy) {
        run("qemu-img check -q -r all %s >/dev/null 2>&1", t->image);
    }
    r = run("qemu-img check %s >%s.out 2>&1", t->image, t->image);
    if (r != 0 && r != 3) {
        g_autofree char *path = g_strdup_printf("%s.out", t->image);
        g_autofree char *out = NULL;

        g_file_get_contents(path, &out, NULL, NULL);
        fail("crash at %" PRId64 ": check says %d: %s", crash, r, out);
        return;
    }
    r = run("qemu-img convert -O raw %s %s", t->image, raw);
    if (r != 0 || !g_file_get_contents(raw, &text, &n, NULL) ||
        (int64_t)n < t->set->size) {
        fail("crash at %" PRId64 ": convert says %d", crash, r);
        return;
    }
    for (int64_t i = 0; i < t->set->size / SECTOR; i++) {
        const uint8_t *buf = (uint8_t *)text + i * SECTOR;

        if (!sector_ok(t, i, buf, crash, flushed)) {
            fail("crash at %" PRId64 " (flushed until %" PRId64 "): sector %"
                 PRId64 " says %" PRId64 ", %" PRId64, crash, flushed, i,
                 (int64_t)ldq_be_p(buf) - 1, (int64_t)ldq_be_p(buf + 8));
            return;
        }
    }
}

/* ---- the whole ---- */

static void make_image(Test *t)
{
    char *data;
    size_t len;

    if (t->set->backing) {
        g_autofree uint8_t *base = g_malloc(t->set->size);

        for (int64_t i = 0; i < t->set->size / SECTOR; i++) {
            sign(base + i * SECTOR, INT_MAX - 1, i);
        }
        g_file_set_contents(t->base, (char *)base, t->set->size, NULL);
        run("qemu-img create -q -f qcow2 -F raw -b %s -o %s %s %" PRId64,
            t->base, t->set->create, t->image, t->set->size);
    } else {
        run("qemu-img create -q -f qcow2 -o %s %s %" PRId64, t->set->create,
            t->image, t->set->size);
    }
    g_assert_true(g_file_get_contents(t->image, &data, &len, NULL));
    t->initial = (uint8_t *)data;
    t->initial_len = ROUND_UP(len, SECTOR);
    t->initial = g_realloc(t->initial, t->initial_len);
    memset(t->initial + len, 0, t->initial_len - len);
}

static void test_main(Co *co, void *arg)
{
    Test *t = arg;
    GRand *rand = g_rand_new_with_seed(t->seed);

    run_guest(co, t, rand);
    g_rand_free(rand);
    loop_stop(loop_main());
}

static bool run_set(const OptionSet *set, const char *dir, uint32_t seed,
                    int ops, int crashes)
{
    Test t = { .set = set, .seed = seed, .left = ops };
    uint8_t *disk = g_malloc(CAPACITY);
    GRand *rand = g_rand_new_with_seed(seed + 1);

    current = &t;
    t.image = g_strdup_printf("%s/%s.qcow2", dir, set->name);
    t.base = g_strdup_printf("%s/%s.base", dir, set->name);
    t.log = g_ptr_array_new_with_free_func(event_free);
    t.ops = g_ptr_array_new_with_free_func(g_free);
    t.flushes = g_array_new(false, false, sizeof(Op));
    t.history = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);
    for (int64_t i = 0; i < set->size / SECTOR; i++) {
        g_ptr_array_add(t.history, g_array_new(false, false, sizeof(int)));
    }
    make_image(&t);
    co_spawn(loop_main(), test_main, &t);
    loop_run(loop_main());
    for (int i = 0; i < crashes && !t.failed; i++) {
        check_crash(&t, g_rand_int_range(rand, 1, t.now + 2), rand, disk);
    }
    g_ptr_array_unref(t.log);
    g_ptr_array_unref(t.ops);
    g_ptr_array_unref(t.history);
    g_array_unref(t.flushes);
    g_rand_free(rand);
    g_free(t.initial);
    g_free(t.image);
    g_free(t.base);
    g_free(disk);
    return !t.failed;
}

int main(int argc, char **argv)
{
    int seed = 0, ops = 400, crashes = 25, n = 0;
    g_autofree char *only = NULL;
    const GOptionEntry entries[] = {
        { "set", 0, 0, G_OPTION_ARG_STRING, &only, "option set", "NAME" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "0: by the clock", "N" },
        { "ops", 0, 0, G_OPTION_ARG_INT, &ops, "operations", "N" },
        { "crashes", 0, 0, G_OPTION_ARG_INT, &crashes, "moments", "N" },
        { NULL },
    };
    GOptionContext *ctx = g_option_context_new(NULL);
    g_autofree char *dir = NULL;
    bool ok = true;

    g_option_context_add_main_entries(ctx, entries, NULL);
    if (!g_option_context_parse(ctx, &argc, &argv, NULL)) {
        return 2;
    }
    g_option_context_free(ctx);
    error_init(argv[0]);
    if (access("/usr/bin/qemu-img", X_OK) < 0) {
        printf("1..0 # SKIP no qemu-img to bear witness\n");
        return 0;
    }
    dir = g_dir_make_tmp("qcow2-crash-XXXXXX", NULL);
    seed = seed ? seed : (int)(clock_ns() & INT_MAX);
    loop_init_main(&error_abort);
    block_init();
    printf("TAP version 13\n# seed %d\n1..%zu\n", seed,
           only && strcmp(only, "all") ? 1 : ARRAY_SIZE(sets));
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        bool good;

        if (only && strcmp(only, "all") && strcmp(only, sets[i].name)) {
            continue;
        }
        good = run_set(&sets[i], dir, seed, ops, crashes);
        printf("%sok %d - %s\n", good ? "" : "not ", ++n, sets[i].name);
        fflush(stdout);
        ok = ok && good;
    }
    if (ok) {
        test_dir_remove(dir);
    } else {
        printf("# the last images are in %s\n", dir);
    }
    return ok ? 0 : 1;
}
