/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Random operations on a qcow2 image, held against an array of bytes.
 *
 *     qcow2-random [--set NAME|all] [--seed N] [--rounds N] [--ops N]
 *                  [--workers N] [--dir DIR]
 *
 * A round opens the image with random cache sizes, lets several coroutines
 * write, zero, discard, read, flush and resize at the same time (never two in
 * one range of bytes, but often in one cluster), make, apply and delete
 * snapshots and reopen it with other options in between, and closes it. Then
 * the witnesses speak: Debian's qemu-img checks and reads the image, Debian's
 * qemu-io writes to it a little. Any difference ends the test with the seed
 * that repeats it: the same operations, and with one worker in the same order.
 */
#include "../unit/test-dir.h"

#include "block/driver.h"
#include "block/graph.h"
#include "block/open.h"
#include "block/reopen.h"
#include "block/root.h"
#include "util/bytes.h"
#include "util/reqlist.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

typedef struct OptionSet {
    const char *name;
    const char *create;         /* of qemu-img create -o */
    const char *open;           /* more JSON members */
    int64_t cluster, size;
    int64_t backing;            /* bytes; 0: none */
    bool compressed, data_raw, v2;
    int snapshots;              /* that can be made: refcounts end there */
} OptionSet;

static const OptionSet sets[] = {
    { "default", "cluster_size=64k", "", 65536, 8 * MiB - 1536 },
    { "c512", "cluster_size=512", "", 512, 400 * KiB },
    { "c512-ends-odd", "cluster_size=512,refcount_bits=8", "", 512,
      123 * 512 + 512 },
    { "c4k-rc1", "cluster_size=4k,refcount_bits=1", "", 4096, 3 * MiB + 512,
      .snapshots = -1 },
    { "c16k-rc64", "cluster_size=16k,refcount_bits=64", "", 16384,
      6 * MiB - 512 },
    { "rc2-backing", "cluster_size=8k,refcount_bits=2", "", 8192, 4 * MiB,
      3 * MiB + 512, .snapshots = 1 },
    { "v2", "compat=0.10,cluster_size=4k", "", 4096, 4 * MiB - 512,
      .v2 = true },
    { "v2-backing", "compat=0.10", "", 65536, 6 * MiB, 9 * MiB, .v2 = true },
    { "lazy", "lazy_refcounts=on,cluster_size=4k", "", 4096, 4 * MiB },
    { "extl2", "extended_l2=on,cluster_size=64k", "", 65536, 8 * MiB - 512 },
    { "extl2-backing", "extended_l2=on,cluster_size=16k", "", 16384, 5 * MiB,
      4 * MiB - 512 },
    { "deflate", "cluster_size=64k", "", 65536, 8 * MiB - 2048,
      .compressed = true },
    { "deflate-c4k-backing", "cluster_size=4k,refcount_bits=4", "", 4096,
      3 * MiB, 4 * MiB, .compressed = true, .snapshots = -1 },
    { "zstd", "cluster_size=32k,compression_type=zstd", "", 32768, 6 * MiB,
      .compressed = true },
    { "zstd-extl2", "extended_l2=on,compression_type=zstd", "", 65536,
      8 * MiB, .compressed = true },
    { "c2m", "cluster_size=2M", "", 2 * MiB, 40 * MiB - 512 },
    { "backing-shorter", "cluster_size=64k", "", 65536, 8 * MiB,
      5 * MiB + 512 },
    { "backing-longer", "cluster_size=64k", "", 65536, 8 * MiB, 12 * MiB },
    { "no-unref", "cluster_size=4k", ", \"discard-no-unref\": true", 4096,
      4 * MiB },
    { "keeps-discards", "cluster_size=4k",
      ", \"pass-discard-request\": false", 4096, 4 * MiB },
    { "overlap-all", "cluster_size=4k", ", \"overlap-check\": \"all\"", 4096,
      2 * MiB },
    { "extl2-rc1", "extended_l2=on,cluster_size=16k,refcount_bits=1", "",
      16384, 3 * MiB + 512, 4 * MiB, .snapshots = -1 },
    { "extl2-no-unref", "extended_l2=on,cluster_size=32k,refcount_bits=64",
      ", \"discard-no-unref\": true", 32768, 5 * MiB - 512, 4 * MiB + 512 },
    { "extl2-data-file", "extended_l2=on,cluster_size=16k,data_file=%s.data",
      "", 16384, 4 * MiB - 512, 5 * MiB, .snapshots = -1 },
    { "zstd-extl2-backing", "extended_l2=on,compression_type=zstd,"
      "cluster_size=16k,refcount_bits=8", "", 16384, 4 * MiB + 512,
      5 * MiB - 512, .compressed = true, .snapshots = 3 },
    { "deflate-c512", "cluster_size=512", "", 512, 300 * KiB + 512,
      200 * KiB, .compressed = true },
    { "deflate-c2m", "cluster_size=2M", "", 2 * MiB, 8 * MiB + 512,
      .compressed = true },
    { "deflate-no-unref", "cluster_size=8k",
      ", \"discard-no-unref\": true", 8192, 3 * MiB - 512,
      .compressed = true },
    { "data-file-no-unref", "data_file=%s.data,cluster_size=8k",
      ", \"discard-no-unref\": true", 8192, 4 * MiB - 512, 3 * MiB,
      .snapshots = -1 },
    { "data-file", "data_file=%s.data", "", 65536, 8 * MiB - 512,
      .snapshots = -1 },
    { "data-file-raw", "data_file=%s.data,data_file_raw=on,cluster_size=4k",
      "", 4096, 4 * MiB - 512, .data_raw = true, .snapshots = -1 },
};

/* An internal snapshot. */
typedef struct Snap {
    char *name;
    uint8_t *model;
    int64_t size;
} Snap;

typedef struct Test {
    const OptionSet *set;
    uint32_t seed;
    int rounds, ops, workers;
    char *image;
    uint8_t *model;
    int64_t size;
    GPtrArray *snaps;           /* of Snap */
    int names;
    bool direct;                /* the files can be opened with O_DIRECT */
    Root *root;
    ReqList busy;
    CoRwLock whole;             /* held to write by who resizes */
    int left;                   /* operations of this round */
    bool failed;
} Test;

static const RootOps root_ops = { .kind = "block-backend" };

static void fail(Test *t, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static void fail(Test *t, const char *fmt, ...)
{
    g_autofree char *msg = NULL;
    va_list ap;

    va_start(ap, fmt);
    msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (!t->failed) {
        printf("# FAILED %s, seed %u: %s\n", t->set->name, t->seed, msg);
        fflush(stdout);
    }
    t->failed = true;
}

/* ---- the witnesses ---- */

static bool run(Test *t, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static bool run(Test *t, const char *fmt, ...)
{
    g_autofree char *cmd = NULL;
    g_autofree char *quiet = NULL;
    va_list ap;
    int status;

    va_start(ap, fmt);
    cmd = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    quiet = g_strdup_printf("%s >%s.out 2>&1", cmd, t->image);
    status = system(quiet);
    if (status != 0) {
        g_autofree char *path = g_strdup_printf("%s.out", t->image);
        g_autofree char *out = NULL;

        g_file_get_contents(path, &out, NULL, NULL);
        fail(t, "%s: status %d: %s", cmd, status, out);
    }
    return status == 0;
}

static void compare_file(Test *t, const char *path, const char *who,
                         const uint8_t *model, int64_t size)
{
    g_autofree char *text = NULL;
    size_t len = 0;

    if (!g_file_get_contents(path, &text, &len, NULL) ||
        (int64_t)len < size) {
        fail(t, "%s: %zu bytes instead of %" PRId64, who, len, size);
        return;
    }
    for (int64_t i = 0; i < size; i++) {
        if ((uint8_t)text[i] != model[i]) {
            fail(t, "%s: byte %" PRId64 " is %02x instead of %02x", who, i,
                 (uint8_t)text[i], model[i]);
            return;
        }
    }
}

static void witness(Test *t, GRand *rand)
{
    g_autofree char *raw = g_strdup_printf("%s.raw", t->image);

    if (!run(t, "qemu-img check -f qcow2 %s", t->image) ||
        !run(t, "qemu-img convert -f qcow2 -O raw %s %s", t->image, raw)) {
        return;
    }
    compare_file(t, raw, "convert", t->model, t->size);
    if (t->set->data_raw) {
        g_autofree char *data = g_strdup_printf("%s.data", t->image);

        compare_file(t, data, "raw data file", t->model, t->size);
    }
    for (unsigned i = 0; i < t->snaps->len && !t->failed; i++) {
        const Snap *snap = g_ptr_array_index(t->snaps, i);

        if (run(t, "qemu-img convert -l snapshot.name=%s -f qcow2 -O raw "
                "%s %s", snap->name, t->image, raw)) {
            /* It cuts snapshots to the length of the disk. */
            compare_file(t, raw, snap->name, snap->model,
                         MIN(snap->size, t->size));
        }
    }
    for (int i = 0; i < 3 && !t->failed; i++) {
        int64_t len = 512 * g_rand_int_range(rand, 1, 300);
        int64_t off = 512 * g_rand_int_range(rand, 0, t->size / 512);
        int byte = g_rand_int_range(rand, 1, 256);

        len = MIN(len, t->size - off);
        run(t, "qemu-io -f qcow2 -c 'write -P %d %" PRId64 " %" PRId64 "' %s",
            byte, off, len, t->image);
        memset(t->model + off, byte, len);
    }
}

/* ---- operations: the range is this coroutine's alone ---- */

static void op_read(Co *co, Test *t, int64_t off, int64_t len)
{
    g_autofree uint8_t *buf = g_malloc(len);
    int r = root_pread(co, t->root, off, len, buf);

    if (r < 0) {
        fail(t, "read %" PRId64 "+%" PRId64 ": %s", off, len, g_strerror(-r));
        return;
    }
    for (int64_t i = 0; i < len; i++) {
        if (buf[i] != t->model[off + i]) {
            fail(t, "read %" PRId64 "+%" PRId64 ": byte %" PRId64
                 " is %02x instead of %02x", off, len, off + i, buf[i],
                 t->model[off + i]);
            return;
        }
    }
}

static void fill(GRand *rand, uint8_t *buf, int64_t len, bool smooth)
{
    int kind = smooth ? g_rand_int_range(rand, 0, 3) :
               g_rand_int_range(rand, 0, 6);
    uint8_t byte = g_rand_int_range(rand, 1, 256);

    for (int64_t i = 0; i < len; i++) {
        buf[i] = kind < 3 ? byte + i / 100 : g_rand_int(rand);
    }
}

static void op_write(Co *co, Test *t, GRand *rand, int64_t off, int64_t len,
                     ReqFlags flags)
{
    g_autofree uint8_t *buf = g_malloc(len);
    int r;

    fill(rand, buf, len, flags & REQ_COMPRESSED);
    r = root_pwrite(co, t->root, off, len, buf, flags);
    if (r < 0) {
        fail(t, "write %" PRId64 "+%" PRId64 ": %s", off, len,
             g_strerror(-r));
    }
    memcpy(t->model + off, buf, len);
}

static void op_zero(Co *co, Test *t, int64_t off, int64_t len, ReqFlags flags)
{
    int r = root_zero(co, t->root, off, len, flags);

    if (r < 0) {
        fail(t, "zero %" PRId64 "+%" PRId64 ": %s", off, len, g_strerror(-r));
    }
    memset(t->model + off, 0, len);
}

/* Whole clusters must be zero afterwards (version 3), the rest may be. */
static void op_discard(Co *co, Test *t, int64_t off, int64_t len)
{
    int64_t cluster = t->set->cluster;
    int64_t from = ROUND_UP(off, cluster);
    int64_t to = ROUND_DOWN(off + len, cluster);
    g_autofree uint8_t *buf = g_malloc(len);
    int r = root_discard(co, t->root, off, len);

    if (r >= 0) {
        r = root_pread(co, t->root, off, len, buf);
    }
    if (r < 0) {
        fail(t, "discard %" PRId64 "+%" PRId64 ": %s", off, len,
             g_strerror(-r));
        return;
    }
    for (int64_t i = 0; i < len; i++) {
        bool must = !t->set->v2 && off + i >= from && off + i < to;

        if (buf[i] && (must || buf[i] != t->model[off + i])) {
            fail(t, "discard %" PRId64 "+%" PRId64 ": byte %" PRId64 " is %02x",
                 off, len, off + i, buf[i]);
            return;
        }
    }
    memcpy(t->model + off, buf, len);
}

static void op_resize(Co *co, Test *t, GRand *rand)
{
    int64_t max = t->set->size + 4 * t->set->cluster;
    int64_t size = 512 * g_rand_int_range(rand, t->set->size / 1024,
                                          max / 512);
    PreallocMode mode = PREALLOC_MODE_OFF;
    Error *err = NULL;

    if (t->set->v2 && t->snaps->len) {
        return;
    }
    if (size > t->size && g_rand_boolean(rand)) {
        mode = g_rand_int_range(rand, 0, PREALLOC_MODE__MAX);
    }
    if (!root_resize(co, t->root, size, true, mode, 0, &err)) {
        fail(t, "resize to %" PRId64 ": %s", size, error_get_pretty(err));
        error_free(err);
        return;
    }
    if (size > t->size) {
        memset(t->model + t->size, 0, size - t->size);
    }
    t->size = size;
}

static void snap_free(gpointer p)
{
    Snap *snap = p;

    g_free(snap->name);
    g_free(snap->model);
    g_free(snap);
}

static void snap_create(Co *co, Test *t, Error **errp)
{
    Node *node = root_node(t->root);
    Snap *snap = g_new0(Snap, 1);
    int r;

    snap->name = g_strdup_printf("snap%d", t->names++);
    r = node->drv->snapshots->create(co, node, snap->name, 0, 0);
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to create a snapshot");
        snap_free(snap);
        return;
    }
    snap->model = g_memdup2(t->model, t->size);
    snap->size = t->size;
    g_ptr_array_add(t->snaps, snap);
}

/* Nothing else is under way. */
static void op_snapshot(Co *co, Test *t, GRand *rand)
{
    Node *node = root_node(t->root);
    int max = t->set->snapshots ? t->set->snapshots : 4;
    Error *err = NULL;
    unsigned i;
    Snap *snap;

    if (max < 0) {
        return;
    }
    if (!t->snaps->len || ((int)t->snaps->len < max && g_rand_boolean(rand))) {
        snap_create(co, t, &err);
    } else {
        i = g_rand_int_range(rand, 0, t->snaps->len);
        snap = g_ptr_array_index(t->snaps, i);
        if (g_rand_boolean(rand)) {
            node->drv->snapshots->remove(co, node, NULL, snap->name, NULL,
                                         &err);
            g_ptr_array_remove_index(t->snaps, i);
        } else if (node->drv->snapshots->apply(co, node, snap->name, &err)) {
            t->size = snap->size;
            memcpy(t->model, snap->model, t->size);
        }
    }
    if (err) {
        fail(t, "snapshot: %s", error_get_pretty(err));
        error_free(err);
    }
}

/* ---- options ---- */

/* The members of the image's options that may be anything. */
static char *random_options(const Test *t, GRand *rand)
{
    static const char *const detect[] = { "off", "on", "unmap" };
    int64_t cluster = t->set->cluster;
    /* One after the other: arguments have no order. */
    int64_t l2 = g_rand_boolean(rand) ? 2 * cluster : 64 * cluster;
    int64_t entry = g_rand_boolean(rand) ? 512 : cluster;
    int interval = g_rand_int_range(rand, 0, 3);
    const char *zeroes = detect[g_rand_int_range(rand, 0, 3)];
    GString *s = g_string_new(NULL);

    g_string_append_printf(
        s, "\"driver\": \"qcow2\", \"l2-cache-size\": %" PRId64
        ", \"l2-cache-entry-size\": %" PRId64 ", \"cache-clean-interval\": %d"
        ", \"discard\": \"unmap\", \"detect-zeroes\": \"%s\"%s",
        l2, entry, interval, zeroes, t->set->open);
    if (!t->set->v2) {
        g_string_append_printf(s, ", \"lazy-refcounts\": %s",
                               g_rand_int_range(rand, 0, 4) ? "false" :
                               "true");
    }
    if (!strstr(t->set->open, "pass-discard")) {
        const char *request = g_rand_int_range(rand, 0, 4) ? "true" : "false";
        const char *snapshot = g_rand_boolean(rand) ? "true" : "false";
        const char *other = g_rand_boolean(rand) ? "true" : "false";

        g_string_append_printf(s, ", \"pass-discard-request\": %s"
                               ", \"pass-discard-snapshot\": %s"
                               ", \"pass-discard-other\": %s"
                               ", \"refcount-cache-size\": %" PRId64,
                               request, snapshot, other,
                               g_rand_boolean(rand) ? cluster : 64 * cluster);
    }
    if (!strstr(t->set->open, "overlap-check")) {
        static const char *const checks[] = { "none", "constant", "cached",
                                              "all" };

        g_string_append_printf(s, ", \"overlap-check\": \"%s\"",
                               checks[g_rand_int_range(rand, 0, 4)]);
    }
    g_string_append_printf(s, ", \"cache\": {\"direct\": %s}",
                           t->direct && g_rand_boolean(rand) ? "true" :
                           "false");
    return g_string_free(s, false);
}

static bool reopen(Co *co, Test *t, GRand *rand, bool read_only, Error **errp)
{
    Node *node = root_node(t->root);
    g_autofree char *options = random_options(t, rand);
    g_autofree char *backing = node->backing ?
        g_strdup_printf(", \"backing\": \"%s\"",
                        node->backing->child->name) : g_strdup("");
    g_autofree char *text = g_strdup_printf(
        "[{%s, \"node-name\": \"%s\", \"file\": \"%s\"%s, "
        "\"read-only\": %s}]", options, node->name, node->file->child->name,
        backing, read_only ? "true" : "false");
    g_autoptr(json_t) json = json_parse_str(text, &error_abort);
    BlockdevOptionsList *list = NULL;
    bool ok;

    g_assert_true(BlockdevOptionsList_from_json(json, QAPI_STRICT, &list,
                                                &error_abort));
    ok = reopen_nodes(co, list, errp);
    qapi_free_BlockdevOptionsList(list);
    return ok;
}

/* Other options; now and then it can't be written meanwhile. Nothing else is
 * under way. */
static void op_reopen(Co *co, Test *t, GRand *rand)
{
    bool ok = true;
    Error *err = NULL;

    control_lock(co);
    if (g_rand_boolean(rand)) {
        ok = root_set_perms(co, t->root, PERM_CONSISTENT_READ,
                            PERM_CONSISTENT_READ, &err) &&
             reopen(co, t, rand, true, &err);
        if (ok) {
            op_read(co, t, 0, MIN(t->size, 1 * MiB));
        }
    }
    ok = ok && reopen(co, t, rand, false, &err) &&
         root_set_perms(co, t->root, PERM_CONSISTENT_READ | PERM_WRITE |
                        PERM_RESIZE, PERM_CONSISTENT_READ, &err);
    control_unlock(co);
    if (!ok) {
        fail(t, "reopen: %s", error_get_pretty(err));
        error_free(err);
    }
}

static void pick_range(Test *t, GRand *rand, int64_t *off, int64_t *len)
{
    int64_t cluster = t->set->cluster;
    int64_t unit = g_rand_boolean(rand) ? 1 : g_rand_boolean(rand) ? 512 :
                   cluster;
    int64_t max = g_rand_int_range(rand, 0, 8) ? 2 * cluster : 40 * cluster;

    max = MIN(max, 4 * MiB);
    *off = g_rand_int_range(rand, 0, t->size) / unit * unit;
    *len = (g_rand_int_range(rand, 0, max) / unit + 1) * unit;
    *len = MIN(*len, t->size - *off);
}

static void one_op(Co *co, Test *t, GRand *rand)
{
    int what = g_rand_int_range(rand, 0, 100);
    int64_t off, len;
    RangeReq req;

    if (what >= 97) {
        co_rwlock_wrlock(co, &t->whole);
        if (what == 99) {
            op_resize(co, t, rand);
        } else if (what == 97) {
            op_reopen(co, t, rand);
        } else {
            op_snapshot(co, t, rand);
        }
        co_rwlock_unlock(&t->whole);
        return;
    }
    co_rwlock_rdlock(co, &t->whole);
    pick_range(t, rand, &off, &len);
    if (t->set->compressed && what < 15) {
        off = ROUND_DOWN(off, t->set->cluster);
        len = MIN(ROUND_UP(len, t->set->cluster), t->size - off);
    }
    while (reqlist_wait_one(co, &t->busy, off, len)) {
        /* Asks again. */
    }
    reqlist_add(&t->busy, &req, off, len);
    if (what < 40) {
        op_write(co, t, rand, off, len,
                 t->set->compressed && what < 15 ? REQ_COMPRESSED : 0);
    } else if (what < 55) {
        op_zero(co, t, off, len, what & 1 ? REQ_MAY_UNMAP : 0);
    } else if (what < 65) {
        op_discard(co, t, off, len);
    } else if (what < 95) {
        op_read(co, t, off, len);
    } else {
        root_flush(co, t->root);
    }
    reqlist_remove(&t->busy, &req);
    co_rwlock_unlock(&t->whole);
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

/* ---- rounds ---- */

static Node *open_image(Co *co, Test *t, GRand *rand)
{
    g_autofree char *options = random_options(t, rand);
    g_autofree char *text = g_strdup_printf(
        "{%s, \"node-name\": \"disk\", \"file\": {\"driver\": \"file\", "
        "\"filename\": \"%s\"}}", options, t->image);
    json_t *json = json_parse_str(text, &error_abort);
    BlockdevOptions *opts = BlockdevOptions_from_json(json, QAPI_STRICT,
                                                      &error_abort);

    json_decref(json);
    return open_options(co, opts, &error_abort);
}

static void one_round(Co *co, Test *t, GRand *rand)
{
    CoGroup group;
    Node *node;

    control_lock(co);
    node = open_image(co, t, rand);
    if (node->length != t->size) {
        fail(t, "length %" PRId64 " instead of %" PRId64, node->length,
             t->size);
    }
    t->root = root_open(co, node, "", &root_ops, t,
                        PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE,
                        PERM_CONSISTENT_READ, &error_abort);
    node_unref(co, node);
    control_unlock(co);

    t->left = t->ops;
    co_group_init(&group, co_loop(co), t->workers);
    for (int i = 0; i < t->workers; i++) {
        Worker *w = g_new(Worker, 1);

        *w = (Worker) { t, g_rand_int(rand) };
        co_group_start(co, &group, worker, w);
    }
    co_group_wait(co, &group);
    if (!t->failed) {
        op_read(co, t, 0, t->size);
    }
    control_lock(co);
    root_free(co, t->root);
    control_unlock(co);
    if (!t->failed) {
        witness(t, rand);
    }
}

static bool make_images(Test *t, GRand *rand)
{
    g_autofree char *options = g_strdup(t->set->create);
    g_autofree char *base = g_strdup_printf("%s.base", t->image);
    int64_t n = t->set->backing;

    if (strstr(options, "%s")) {
        gchar **parts = g_strsplit(t->set->create, "%s", 2);

        g_free(options);
        options = g_strjoin(t->image, parts[0], parts[1], NULL);
        g_strfreev(parts);
    }
    t->size = t->set->size;
    t->model = g_malloc0(t->size + 64 * MiB);
    if (!n) {
        return run(t, "qemu-img create -f qcow2 -o %s %s %" PRId64, options,
                   t->image, t->size);
    }
    for (int64_t i = 0; i < n; i += 4096) {
        memset(t->model + i, g_rand_int_range(rand, 0, 4) ?
               g_rand_int_range(rand, 1, 256) : 0, MIN(4096, n - i));
    }
    if (!g_file_set_contents(base, (char *)t->model, n, NULL)) {
        return false;
    }
    /* What the backing file has behind the end is never seen. */
    memset(t->model + t->size, 0, 64 * MiB);
    return run(t, "qemu-img create -f qcow2 -b %s -F raw -o %s %s %" PRId64,
               base, options, t->image, t->size);
}

static void test_main(Co *co, void *arg)
{
    Test *t = arg;
    GRand *rand = g_rand_new_with_seed(t->seed);

    t->snaps = g_ptr_array_new_with_free_func(snap_free);
    if (make_images(t, rand)) {
        for (int i = 0; i < t->rounds && !t->failed; i++) {
            one_round(co, t, rand);
        }
    }
    g_rand_free(rand);
    g_ptr_array_unref(t->snaps);
    g_free(t->model);
    loop_stop(loop_main());
}

static bool run_set(const OptionSet *set, const char *dir, uint32_t seed,
                    int rounds, int ops, int workers)
{
    Test t = { .set = set, .seed = seed, .rounds = rounds, .ops = ops,
               .workers = workers };
    g_autofree char *probe = g_build_filename(dir, "probe", NULL);
    int fd = open(probe, O_RDWR | O_CREAT | O_DIRECT, 0600);

    t.direct = fd >= 0;
    if (fd >= 0) {
        close(fd);
    }
    unlink(probe);
    t.image = g_strdup_printf("%s/%s.qcow2", dir, set->name);
    co_spawn(loop_main(), test_main, &t);
    loop_run(loop_main());
    g_free(t.image);
    return !t.failed;
}

int main(int argc, char **argv)
{
    int seed = 0, rounds = 3, ops = 400, workers = 6, n = 0;
    g_autofree char *only = NULL;
    g_autofree char *dir = NULL;
    const GOptionEntry entries[] = {
        { "set", 0, 0, G_OPTION_ARG_STRING, &only, "option set", "NAME" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "0: by the clock", "N" },
        { "rounds", 0, 0, G_OPTION_ARG_INT, &rounds, "rounds", "N" },
        { "ops", 0, 0, G_OPTION_ARG_INT, &ops, "of a round", "N" },
        { "workers", 0, 0, G_OPTION_ARG_INT, &workers, "at once", "N" },
        { "dir", 0, 0, G_OPTION_ARG_STRING, &dir, "kept", "DIR" },
        { NULL },
    };
    GOptionContext *ctx = g_option_context_new(NULL);
    g_autofree char *tmp = g_dir_make_tmp("qcow2-random-XXXXXX", NULL);
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
    seed = seed ? seed : (int)(clock_ns() & INT_MAX);
    loop_init_main(&error_abort);
    block_init();
    printf("TAP version 13\n# seed %d\n1..%zu\n", seed,
           only && strcmp(only, "all") ? 1 : ARRAY_SIZE(sets));
    fflush(stdout);
    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        bool good;

        if (only && strcmp(only, "all") && strcmp(only, sets[i].name)) {
            continue;
        }
        good = run_set(&sets[i], dir ? dir : tmp, seed, rounds, ops,
                       workers);
        printf("%sok %d - %s\n", good ? "" : "not ", ++n, sets[i].name);
        fflush(stdout);
        ok = ok && good;
    }
    if (ok || dir) {
        test_dir_remove(tmp);
    } else {
        printf("# images are in %s\n", tmp);
    }
    return ok ? 0 : 1;
}
