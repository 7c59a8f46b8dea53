/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Images with damaged metadata: whatever stands in them, nothing but errors may
 * come of it.
 *
 *     qcow2-damage [--seed N] [--images N]
 *
 * Each image is one of a few sound ones (made with Debian's tools, with data,
 * snapshots, compressed clusters) in which some fields of the header, the
 * tables or the extensions have been replaced: by random bits, small numbers,
 * offsets of other tables, numbers near the limits. It is opened, read,
 * written, mapped, resized, checked, repaired and closed. Built with sanitizers
 * the test is worth most.
 */
#include "../unit/test-dir.h"

#include "block/driver.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/open.h"
#include "block/root.h"
#include "util/bytes.h"

#include <signal.h>
#include <fcntl.h>

typedef struct Sound {
    const char *create;
    bool compress, snapshot;
    uint8_t *data;
    size_t len;
    GArray *fields;             /* of int64_t: where metadata are */
} Sound;

static Sound sounds[] = {
    { "cluster_size=4k", .snapshot = true },
    { "cluster_size=512,refcount_bits=1", .compress = true },
    { "cluster_size=16k,extended_l2=on", .snapshot = true },
    { "cluster_size=4k,compat=0.10", .snapshot = true },
    { "cluster_size=64k,lazy_refcounts=on", .compress = true,
      .snapshot = true },
};

static char *image;
static char bail_out[100];      /* what is said if it takes too long */
static const RootOps root_ops = { .kind = "block-backend" };

static void run(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

static void run(const char *fmt, ...)
{
    g_autofree char *cmd = NULL;
    va_list ap;

    va_start(ap, fmt);
    cmd = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_assert_cmpint(system(cmd), ==, 0);
}

/* ---- sound images ---- */

static void add_fields(Sound *s, uint64_t off, int64_t n)
{
    for (int64_t i = 0; i < n && off + 8 <= s->len; i++, off += 8) {
        int64_t o = off;

        g_array_append_val(s->fields, o);
    }
}

/* The header twice, since everything hangs on it; what tables begin with. */
static void find_fields(Sound *s)
{
    uint64_t l1 = ldq_be_p(s->data + 40);
    uint64_t reft = ldq_be_p(s->data + 48);
    uint64_t snaps = ldq_be_p(s->data + 64);

    s->fields = g_array_new(false, false, sizeof(int64_t));
    add_fields(s, 0, 40);
    add_fields(s, 8, 14);
    add_fields(s, l1, 4);
    add_fields(s, ldq_be_p(s->data + l1) & 0xfffffffffffe00ULL, 30);
    add_fields(s, reft, 4);
    add_fields(s, ldq_be_p(s->data + reft), 16);
    if (snaps) {
        uint64_t snap_l1 = ldq_be_p(s->data + snaps);

        add_fields(s, snaps, 16);
        add_fields(s, snap_l1, 4);
        add_fields(s, ldq_be_p(s->data + snap_l1) & 0xfffffffffffe00ULL, 8);
    }
}

static void make_sound(Sound *s)
{
    char *data;

    run("qemu-img create -q -f qcow2 -o %s %s 2M", s->create, image);
    run("qemu-io -c 'write -q -P 1 0 70k' -c 'write -q -P 2 1M 33k' %s", image);
    if (s->compress) {
        run("qemu-io -c 'write -c -q -P 3 512k 128k' %s", image);
    }
    if (s->snapshot) {
        run("qemu-img snapshot -c one %s", image);
    }
    run("qemu-io -c 'write -q -P 4 16k 30k' -c 'write -q -z 1M 64k' %s", image);
    g_assert_true(g_file_get_contents(image, &data, &s->len, NULL));
    s->data = (uint8_t *)data;
    find_fields(s);
}

/* ---- damage ---- */

static uint64_t bad_value(GRand *rand, const Sound *s, uint64_t old)
{
    uint64_t field = g_array_index(s->fields, int64_t,
                                   g_rand_int_range(rand, 0, s->fields->len));
    uint64_t flags = (uint64_t)g_rand_int_range(rand, 0, 4) << 62;

    switch (g_rand_int_range(rand, 0, 8)) {
    case 0:
        return old ^ (1ULL << g_rand_int_range(rand, 0, 64));
    case 1:
        return (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand);
    case 2:
        return g_rand_int_range(rand, 0, 64);
    case 3:
        return (field & ~511ULL) | flags;
    case 4:
        return (s->len & ~511ULL) | flags;
    case 5:
        return ((1ULL << g_rand_int_range(rand, 9, 64)) - 512) | flags;
    case 6:
        return old << 32 | g_rand_int_range(rand, 0, 1 << 16);
    default:
        return old + 512 * (uint64_t)g_rand_int_range(rand, -8, 8);
    }
}

static void damage(const Sound *s, GRand *rand)
{
    g_autofree uint8_t *copy = g_memdup2(s->data, s->len);

    for (int n = g_rand_int_range(rand, 1, 4); n > 0; n--) {
        int64_t at = g_array_index(s->fields, int64_t,
                                   g_rand_int_range(rand, 0, s->fields->len));

        stq_be_p(copy + at, bad_value(rand, s, ldq_be_p(copy + at)));
    }
    if (g_rand_int_range(rand, 0, 16) == 0) {
        g_file_set_contents(image, (char *)copy,
                            g_rand_int_range(rand, 1, s->len), NULL);
    } else {
        g_file_set_contents(image, (char *)copy, s->len, NULL);
    }
}

/* ---- use ---- */

static void map_all(Co *co, Node *node)
{
    int64_t off = 0;
    Extent e;

    for (int i = 0; i < 1000 && off < node->length; i++, off += e.len) {
        if (status_above(co, node, NULL, false, true, off,
                         node->length - off, &e) < 0) {
            break;
        }
        g_assert_cmpint(e.len, >, 0);
    }
}

static void use_randomly(Co *co, Root *root, GRand *rand, bool writable)
{
    Node *node = root_node(root);
    g_autofree uint8_t *buf = g_malloc(128 * KiB);

    memset(buf, 0x77, 128 * KiB);
    for (int i = 0; i < 24 && root_length(root) > 0; i++) {
        int64_t off = g_rand_int_range(rand, 0, MIN(root_length(root),
                                                    4 * MiB));
        int64_t len = MIN(g_rand_int_range(rand, 1, 128 * KiB),
                          root_length(root) - off);

        switch (g_rand_int_range(rand, 0, writable ? 8 : 2)) {
        case 0:
            root_pread(co, root, off, len, buf);
            break;
        case 1:
            map_all(co, node);
            break;
        case 2:
            root_zero(co, root, off, len, 0);
            break;
        case 3:
            root_discard(co, root, off, len);
            break;
        case 4:
            root_flush(co, root);
            break;
        case 5:
            root_resize(co, root, (off + 511) / 512 * 512, true,
                        PREALLOC_MODE_OFF, 0, NULL);
            break;
        default:
            root_pwrite(co, root, off, len, buf, 0);
            break;
        }
    }
}

static void use_snapshots(Co *co, Node *node, GRand *rand)
{
    const SnapshotOps *ops = node->drv->snapshots;

    switch (g_rand_int_range(rand, 0, 6)) {
    case 0:
        ops->create(co, node, "two", 0, 0);
        break;
    case 1:
        ops->apply(co, node, "one", NULL);
        break;
    case 2:
        ops->remove(co, node, NULL, "one", NULL, NULL);
        break;
    default:
        break;
    }
}

static Node *open_image(Co *co, bool writable, OpenFlags flags)
{
    json_t *extra = json_object();
    Error *err = NULL;
    Node *node = open_filename(co, image, "qcow2", extra,
                               (writable ? OPEN_RDWR : 0) | OPEN_UNMAP | flags,
                               &err);

    json_decref(extra);
    error_free(err);
    return node;
}

static void check_image(Co *co, GRand *rand)
{
    bool fix = g_rand_boolean(rand);
    CheckOptions opts = { .fix_leaks = fix, .fix_errors = fix };
    CheckResult res = { 0 };
    Node *node = open_image(co, fix, OPEN_CHECK);

    if (node) {
        node->drv->image->check(co, node, &opts, &res);
        node_unref(co, node);
    }
}

static void use_image(Co *co, GRand *rand)
{
    bool writable = g_rand_int_range(rand, 0, 4);
    uint64_t perm = PERM_CONSISTENT_READ |
                    (writable ? PERM_WRITE | PERM_RESIZE : 0);
    Node *node = open_image(co, writable, 0);
    Root *root;

    if (!node) {
        return;
    }
    root = root_open(co, node, "", &root_ops, NULL, perm, PERM_ALL, NULL);
    if (root) {
        control_unlock(co);
        use_randomly(co, root, rand, writable);
        control_lock(co);
        if (writable) {
            use_snapshots(co, node, rand);
        }
    }
    root_free(co, root);
    node_unref(co, node);
}

typedef struct Test {
    int seed, images;
    int slowest;                /* the seed that took longest, and how long */
    int64_t slowest_ns;
} Test;

static void test_main(Co *co, void *arg)
{
    Test *t = arg;

    control_lock(co);
    for (int i = 0; i < t->images; i++) {
        GRand *rand = g_rand_new_with_seed(t->seed + i);
        int64_t start = clock_ns();

        snprintf(bail_out, sizeof(bail_out), "Bail out! an image takes "
                 "minutes: --seed %d --images 1\n", t->seed + i);
        alarm(200);
        damage(&sounds[g_rand_int_range(rand, 0, ARRAY_SIZE(sounds))], rand);
        if (g_rand_boolean(rand)) {
            check_image(co, rand);
        }
        use_image(co, rand);
        check_image(co, rand);
        if (clock_ns() - start > t->slowest_ns) {
            t->slowest_ns = clock_ns() - start;
            t->slowest = t->seed + i;
        }
        g_rand_free(rand);
    }
    control_unlock(co);
    loop_stop(loop_main());
}

/* Says which image it was; the seed makes it again. */
static void on_alarm(int sig)
{
    if (write(STDOUT_FILENO, bail_out, strlen(bail_out)) < 0) {
        _exit(2);
    }
    abort();
}

int main(int argc, char **argv)
{
    Test t = { .images = 200 };
    const GOptionEntry entries[] = {
        { "seed", 0, 0, G_OPTION_ARG_INT, &t.seed, "0: by the clock", "N" },
        { "images", 0, 0, G_OPTION_ARG_INT, &t.images, "images", "N" },
        { NULL },
    };
    GOptionContext *ctx = g_option_context_new(NULL);
    g_autofree char *dir = NULL;
    int null = open("/dev/null", O_WRONLY);

    g_option_context_add_main_entries(ctx, entries, NULL);
    if (!g_option_context_parse(ctx, &argc, &argv, NULL)) {
        return 2;
    }
    g_option_context_free(ctx);
    if (access("/usr/bin/qemu-img", X_OK) < 0) {
        printf("1..0 # SKIP no qemu-img to make images with\n");
        return 0;
    }
    dir = g_dir_make_tmp("qcow2-damage-XXXXXX", NULL);
    image = g_build_filename(dir, "image", NULL);
    t.seed = t.seed ? t.seed : (int)(clock_ns() & INT_MAX);
    printf("TAP version 13\n1..1\n# seed %d\n", t.seed);
    fflush(stdout);
    for (size_t i = 0; i < ARRAY_SIZE(sounds); i++) {
        make_sound(&sounds[i]);
    }
    signal(SIGALRM, on_alarm);
    /* What is said about damage would fill the log. */
    if (!getenv("QCOW2_DAMAGE_VERBOSE")) {
        dup2(null, STDERR_FILENO);
    }
    close(null);
    loop_init_main(&error_abort);
    block_init();
    co_spawn(loop_main(), test_main, &t);
    loop_run(loop_main());
    printf("# slowest: --seed %d, %.3f s\n", t.slowest, t.slowest_ns / 1e9);
    printf("ok 1 - %d damaged images\n", t.images);
    for (size_t i = 0; i < ARRAY_SIZE(sounds); i++) {
        g_free(sounds[i].data);
        g_array_unref(sounds[i].fields);
    }
    test_dir_remove(dir);
    g_free(image);
    return 0;
}
