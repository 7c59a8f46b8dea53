/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Dirty bitmaps in memory: pending sets, states, freezing, loading, and the
 * hash that QEMU computes; all of it beside a model of plain byte flags.
 */
#include "mem-driver.h"

#include "block/dirty-bitmap.h"

#define RW (PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE)

static Node *disk(int64_t length)
{
    return mem_node(&mem_driver, "n", length, 512);
}

static bool dirty(Co *co, DirtyBitmap *bm, int64_t off)
{
    return bitset_test(bitmap_bits(co, bm, &error_abort),
                       off / bitmap_granularity(bm));
}

/* ---- table ---- */

static void table(Co *co, void *arg)
{
    Node *node = disk(MiB);
    g_autofree char *name = g_strnfill(BITMAP_MAX_NAME + 1, 'z');
    DirtyBitmap *a, *b, *anon;
    Error *err = NULL;

    g_assert_null(bitmap_first(node));
    a = bitmap_create(node, 65536, "a", &error_abort);
    b = bitmap_create(node, 512, "b", &error_abort);
    anon = bitmap_create(node, 512, NULL, &error_abort);
    g_assert_true(bitmap_first(node) == anon && bitmap_next(anon) == b);
    g_assert_true(bitmap_next(b) == a && !bitmap_next(a));
    g_assert_true(bitmap_find(node, "b") == b && !bitmap_find(node, "c"));

    g_assert_null(bitmap_create(node, 65536, "a", &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Bitmap already exists: a");
    error_clear(&err);
    g_assert_null(bitmap_create(node, 65536, name, &err));
    g_assert_true(g_str_has_prefix(error_get_pretty(err),
                                   "Bitmap name too long: zzz"));
    error_clear(&err);
    g_assert_null(bitmap_create(node, 1000, "c", &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Granularity must be power of 2 and at least 512");
    error_clear(&err);

    g_assert_true(bitmap_lookup("n", "a", NULL, &error_abort) == a);
    g_assert_null(bitmap_lookup("n", "x", NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Dirty bitmap 'x' not found");
    error_clear(&err);
    g_assert_null(bitmap_lookup("m", "x", NULL, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Node 'm' not found");
    error_clear(&err);

    bitmap_release(b);
    g_assert_true(bitmap_next(anon) == a && !bitmap_find(node, "b"));
    bitmap_release(a);
    bitmap_release(anon);
    g_assert_null(node->bitmaps);
    node_unref(co, node);
}

static void test_table(void)
{
    mem_test_run(table);
}

static void checks(Co *co, void *arg)
{
    Node *node = disk(MiB);
    DirtyBitmap *a = bitmap_create(node, 65536, "a", &error_abort);
    Error *err = NULL;

    g_assert_true(bitmap_check(a, BITMAP_CHECK_DEFAULT, &error_abort));
    bitmap_set_busy(a, true);
    g_assert_false(bitmap_check(a, BITMAP_CHECK_DEFAULT, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "Bitmap 'a' is currently in "
                    "use by another operation and cannot be used");
    error_clear(&err);
    bitmap_set_busy(a, false);
    bitmap_set_readonly(a, true);
    g_assert_false(bitmap_check(a, BITMAP_CHECK_DEFAULT, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Bitmap 'a' is readonly and cannot be modified");
    error_clear(&err);
    g_assert_true(bitmap_check(a, BITMAP_CHECK_ALLOW_RO, &error_abort));
    bitmap_set_readonly(a, false);
    bitmap_set_inconsistent(a);
    g_assert_false(bitmap_check(a, BITMAP_CHECK_ALLOW_RO, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Bitmap 'a' is inconsistent and cannot be used");
    g_assert_cmpstr(error_get_hint(err), ==, "Try block-dirty-bitmap-remove "
                    "to delete this bitmap from disk\n");
    error_clear(&err);
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 0);
    node_unref(co, node);
}

static void test_checks(void)
{
    mem_test_run(checks);
}

/* ---- recording ---- */

static void record(Co *co, void *arg)
{
    Root *root = mem_root(co, disk(MiB), RW);
    Node *node = root_node(root);
    DirtyBitmap *a = bitmap_create(node, 65536, "a", &error_abort);
    DirtyBitmap *b, *fine, *off;
    uint8_t buf[1024] = { 1 };

    g_assert_cmpint(root_pwrite(co, root, 65536 - 512, 1024, buf, 0), ==, 0);
    /* Who comes later does not see what is pending for others. */
    b = bitmap_create(node, 65536, "b", &error_abort);
    fine = bitmap_create(node, 512, "fine", &error_abort);
    off = bitmap_create(node, 512, "off", &error_abort);
    bitmap_disable(off);
    g_assert_cmpint(bitmap_count_bytes(co, b), ==, 0);
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 131072);
    g_assert_cmpint(root_zero(co, root, 256 * KiB, 512, 0), ==, 0);
    g_assert_cmpint(root_discard(co, root, 512 * KiB, 1024), ==, 0);
    g_assert_true(bitmap_is_changed(b));
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 262144);
    g_assert_cmpint(bitmap_count_bytes(co, b), ==, 131072);
    g_assert_cmpint(bitmap_count_bytes(co, fine), ==, 1536);
    g_assert_cmpint(bitmap_count_bytes(co, off), ==, 0);

    /* Reads and what failed before the driver don't count; failed writes do. */
    g_assert_cmpint(root_pread(co, root, 0, 1024, buf), ==, 0);
    g_assert_cmpint(root_pwrite(co, root, MiB, 512, buf, 0), ==, -EIO);
    g_assert_cmpint(bitmap_count_bytes(co, fine), ==, 1536);
    ((MemState *)node->state)->fail_write = -EIO;
    g_assert_cmpint(root_pwrite(co, root, 0, 512, buf, 0), ==, -EIO);
    g_assert_cmpint(bitmap_count_bytes(co, fine), ==, 2048);
    ((MemState *)node->state)->fail_write = 0;

    /* Disabling keeps what is there and stops; enabling goes on. */
    g_assert_cmpint(root_pwrite(co, root, 1024, 512, buf, 0), ==, 0);
    bitmap_disable(fine);
    g_assert_cmpint(root_pwrite(co, root, 2048, 512, buf, 0), ==, 0);
    bitmap_enable(off);
    bitmap_enable(fine);
    g_assert_cmpint(root_pwrite(co, root, 4096, 512, buf, 0), ==, 0);
    g_assert_true(dirty(co, fine, 1024) && !dirty(co, fine, 2048));
    g_assert_true(dirty(co, fine, 4096) && dirty(co, off, 4096));
    g_assert_cmpint(bitmap_count_bytes(co, off), ==, 512);

    /* An unaligned write dirties what was asked for, not the blocks' rest. */
    g_assert_true(bitmap_clear(co, fine, NULL, &error_abort));
    g_assert_cmpint(root_pwrite(co, root, 511, 2, buf, 0), ==, 0);
    g_assert_cmpint(bitmap_count_bytes(co, fine), ==, 1024);

    root_free(co, root);
    node_unref(co, node);
}

static void test_record(void)
{
    mem_test_run(record);
}

static void resize(Co *co, void *arg)
{
    Root *root = mem_root(co, disk(MiB), RW);
    Node *node = root_node(root);
    DirtyBitmap *a = bitmap_create(node, 65536, "a", &error_abort);
    DirtyBitmap *off = bitmap_create(node, 512, "off", &error_abort);
    uint8_t buf[512] = { 1 };

    bitmap_disable(off);
    g_assert_cmpint(root_pwrite(co, root, MiB - 512, 512, buf, 0), ==, 0);
    g_assert_true(root_resize(co, root, MiB - 1024, true, PREALLOC_MODE_OFF,
                              0, &error_abort));
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 65536);
    g_assert_true(root_resize(co, root, 512 * KiB, true, PREALLOC_MODE_OFF, 0,
                              &error_abort));
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 0);
    g_assert_true(root_resize(co, root, MiB + 65536, true, PREALLOC_MODE_OFF,
                              0, &error_abort));
    /* What was cut off and is back: dirty; what is new: not. */
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 512 * KiB);
    g_assert_cmpint(bitmap_count_bytes(co, off), ==, 512 * KiB);
    g_assert_true(dirty(co, a, 512 * KiB) && dirty(co, a, MiB - 1));
    g_assert_cmpint(bitmap_cut_end(node), ==, 0);
    g_assert_cmpint(root_pwrite(co, root, MiB + 65536 - 512, 512, buf, 0), ==,
                    0);
    g_assert_true(dirty(co, a, MiB));
    root_free(co, root);
    node_unref(co, node);
}

static void test_resize(void)
{
    mem_test_run(resize);
}

/* A failed write that has gone beyond the end: dirty once the disk is so long. */
static void beyond(Co *co, void *arg)
{
    Root *root = mem_root(co, disk(MiB), RW);
    Node *node = root_node(root);
    DirtyBitmap *a = bitmap_create(node, 4096, "a", &error_abort);

    bitmap_note_write(node, MiB - 512, 8192);
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 4096);
    bitmap_note_write(node, MiB + 4096, 8192);
    g_assert_true(root_resize(co, root, MiB + 8192, true, PREALLOC_MODE_OFF, 0,
                              &error_abort));
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 3 * 4096);
    g_assert_true(root_resize(co, root, MiB + 65536, true, PREALLOC_MODE_OFF,
                              0, &error_abort));
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 4 * 4096);
    g_assert_cmpint(bitmap_cut_end(node), ==, 0);
    root_free(co, root);
    node_unref(co, node);
}

static void test_beyond_the_end(void)
{
    mem_test_run(beyond);
}

/* ---- clear, restore, merge ---- */

static void merge(Co *co, void *arg)
{
    Node *node = disk(MiB), *other;
    DirtyBitmap *a = bitmap_create(node, 65536, "a", &error_abort);
    DirtyBitmap *b = bitmap_create(node, 4096, "b", &error_abort);
    DirtyBitmap *d;
    Bitset *backup = NULL;

    bitmap_set_range(b, 70000, 1);
    bitmap_set_range(a, 0, 1);
    g_assert_true(bitmap_merge(co, a, b, &backup, &error_abort));
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 131072);
    bitmap_restore(a, g_steal_pointer(&backup));
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 65536);
    g_assert_true(bitmap_merge(co, b, a, NULL, &error_abort));
    g_assert_cmpint(bitmap_count_bytes(co, b), ==, 65536 + 4096);
    g_assert_true(bitmap_merge(co, a, a, NULL, &error_abort));

    g_assert_true(bitmap_clear(co, b, &backup, &error_abort));
    g_assert_cmpint(bitmap_count_bytes(co, b), ==, 0);
    bitmap_restore(b, backup);
    g_assert_cmpint(bitmap_count_bytes(co, b), ==, 65536 + 4096);
    bitmap_reset_range(b, 4096, 4096);
    g_assert_cmpint(bitmap_count_bytes(co, b), ==, 65536);

    other = mem_node(&mem_driver, "m", MiB, 512);
    d = bitmap_create(other, 512, "d", &error_abort);
    bitmap_set_range(d, MiB - 1, 1);
    g_assert_true(bitmap_merge(co, a, d, NULL, &error_abort));
    g_assert_true(dirty(co, a, MiB - 1));
    node_unref(co, other);
    node_unref(co, node);
}

static void test_merge(void)
{
    mem_test_run(merge);
}

/* Merges what 512 bytes at @off of a node of @src_len bytes make into an empty
 * bitmap of a node of @dst_len bytes; the dirty bytes then. */
static int64_t merge_sizes(Co *co, int64_t src_len, int64_t src_granularity,
                           int64_t off, int64_t dst_len,
                           int64_t dst_granularity, int64_t *first)
{
    Node *from = mem_node(&mem_driver, "from", src_len, 512);
    Node *to = mem_node(&mem_driver, "to", dst_len, 512);
    DirtyBitmap *src = bitmap_create(from, src_granularity, "b", &error_abort);
    DirtyBitmap *dst = bitmap_create(to, dst_granularity, "b", &error_abort);
    int64_t n;

    if (off >= 0) {
        bitmap_set_range(src, off, 512);
    }
    g_assert_true(bitmap_merge(co, dst, src, NULL, &error_abort));
    n = bitmap_count_bytes(co, dst);
    *first = bitset_next_set(bitmap_bits(co, dst, &error_abort), 0,
                             bitset_size(dst->bits)) * dst_granularity;
    node_unref(co, from);
    node_unref(co, to);
    return n;
}

static void merge_across_sizes(Co *co, void *arg)
{
    int64_t first;

    /* The tail is dirty, from the granule on in which the source ends. */
    g_assert_cmpint(merge_sizes(co, MiB, 4096, -1, 2 * MiB, 4096, &first), ==,
                    MiB);
    g_assert_cmpint(first, ==, MiB);
    g_assert_cmpint(merge_sizes(co, MiB - 512, 65536, -1, 2 * MiB, 4096,
                                &first), ==, MiB + 4096);
    g_assert_cmpint(first, ==, MiB - 4096);
    g_assert_cmpint(merge_sizes(co, MiB - 512, 4096, 0, 2 * MiB, 65536,
                                &first), ==, MiB + 131072);
    g_assert_cmpint(first, ==, 0);
    g_assert_cmpint(merge_sizes(co, 0, 4096, -1, MiB, 512, &first), ==, MiB);
    /* What the destination doesn't reach is nothing to it. */
    g_assert_cmpint(merge_sizes(co, 2 * MiB, 4096, MiB + 8192, MiB, 4096,
                                &first), ==, 0);
    g_assert_cmpint(merge_sizes(co, 2 * MiB, MiB, MiB - 512, MiB - 512, 512,
                                &first), ==, MiB - 512);
    g_assert_cmpint(merge_sizes(co, 2 * MiB, 4096, 0, 0, 4096, &first), ==,
                    0);
    /* Equal sizes: only what was dirty. */
    g_assert_cmpint(merge_sizes(co, MiB, 4096, 8192, MiB, 4096, &first), ==,
                    4096);
    g_assert_cmpint(first, ==, 8192);
}

static void test_merge_across_sizes(void)
{
    mem_test_run(merge_across_sizes);
}

/* ---- hash: what QEMU 7.2 answered for the same writes ---- */

static void sha(Co *co, void *arg)
{
    static const struct {
        int64_t len, granularity, off[2], n[2];
        const char *hash;
    } cases[] = {
        { 1 << 20, 65536, { 0 }, { 0 },
          "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc" },
        { 1 << 20, 65536, { 0, 131072 }, { 65536, 65536 },
          "f13ee6ed54ea2aae9fc49a9faeb5da6e8ddef0e12ed5d30d35a624ae813e0485" },
        { (1 << 20) + 512, 65536, { 1 << 20 }, { 512 },
          "41b8f24b79ae38bb5f3af44cf187d022c20517a6f576791e466d536517b68fb9" },
        { 1536, 512, { 512 }, { 512 },
          "d86e8112f3c4c4442126f8e9f44f16867da487f29052bf91b810457db34209a4" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        Node *node = disk(cases[i].len);
        DirtyBitmap *a = bitmap_create(node, cases[i].granularity, "a",
                                       &error_abort);
        g_autofree char *hex = NULL;

        for (int j = 0; j < 2; j++) {
            bitmap_note_write(node, cases[i].off[j], cases[i].n[j]);
        }
        hex = bitmap_sha256(co, a, &error_abort);
        g_assert_cmpstr(hex, ==, cases[i].hash);
        node_unref(co, node);
    }
}

static void test_sha256(void)
{
    mem_test_run(sha);
}

/* ---- freeze ---- */

static void freeze(Co *co, void *arg)
{
    Node *node = disk(MiB);
    DirtyBitmap *a = bitmap_create(node, 4096, "a", &error_abort);
    BitmapFreeze *f;
    Error *err = NULL;

    bitmap_note_write(node, 0, 1);
    f = bitmap_freeze(a, &error_abort);
    bitmap_note_write(node, 8192, 1);
    g_assert_true(bitmap_freeze_frozen(f) == a && a->busy);
    g_assert_true(bitmap_is_recording(a));
    g_assert_true(dirty(co, a, 0) && !dirty(co, a, 8192));
    g_assert_null(bitmap_freeze(a, &err));
    error_clear(&err);
    bitmap_freeze_commit(co, f);
    g_assert_false(a->busy);
    g_assert_true(!dirty(co, a, 0) && dirty(co, a, 8192));
    bitmap_note_write(node, 16384, 1);
    g_assert_true(dirty(co, a, 16384));
    g_assert_true(bitmap_first(node) == a && !bitmap_next(a));

    f = bitmap_freeze(a, &error_abort);
    bitmap_note_write(node, 0, 1);
    bitmap_freeze_rollback(co, f);
    bitmap_note_write(node, 4096, 1);
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 4 * 4096);

    /* One that does not record has a successor that does not, either. */
    bitmap_disable(a);
    f = bitmap_freeze(a, &error_abort);
    bitmap_note_write(node, 65536, 1);
    bitmap_freeze_commit(co, f);
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 0);
    g_assert_false(bitmap_is_recording(a));
    node_unref(co, node);
}

static void test_freeze(void)
{
    mem_test_run(freeze);
}

/* ---- lazy loading ---- */

typedef struct Loader {
    Node *node;
    int calls;
    bool fail;
} Loader;

/* Bit 3 is stored; a write comes while it is read. */
static bool loader(Co *co, DirtyBitmap *bm, Bitset *into, void *opaque,
                   Error **errp)
{
    Loader *l = opaque;

    l->calls++;
    co_sleep(co, 1000000);
    bitmap_note_write(l->node, 5 * 4096, 1);
    if (l->fail) {
        error_setg(errp, "unreadable");
        return false;
    }
    bitset_set(into, 3, 1);
    return true;
}

typedef struct Looker {
    DirtyBitmap *bm;
    MemCrowd *crowd;
} Looker;

static void looker_main(Co *co, void *arg)
{
    Looker *k = arg;

    g_assert_cmpint(bitmap_count_bytes(co, k->bm), ==, 3 * 4096);
    mem_crowd_done(k->crowd);
}

static void lazy(Co *co, void *arg)
{
    Node *node = disk(MiB);
    DirtyBitmap *a = bitmap_create(node, 4096, "a", &error_abort);
    Loader l = { .node = node, .fail = true };
    MemCrowd crowd = { .left = 5 };
    Looker k = { a, &crowd };
    BitmapFreeze *f;
    Error *err = NULL;

    bitmap_set_loader(a, loader, &l);
    bitmap_note_write(node, 4096, 1);
    g_assert_null(bitmap_bits(co, a, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "unreadable");
    error_clear(&err);
    l.fail = false;
    for (int i = 0; i < 5; i++) {
        co_spawn(co_loop(co), looker_main, &k);
    }
    mem_crowd_wait(co, &crowd);
    g_assert_cmpint(l.calls, ==, 2);
    g_assert_true(dirty(co, a, 4096) && dirty(co, a, 3 * 4096));

    /* Cleared without ever having been loaded. */
    bitmap_set_loader(a, loader, &l);
    g_assert_true(bitmap_clear(co, a, NULL, &error_abort));
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 0);
    g_assert_cmpint(l.calls, ==, 2);

    /* Frozen and rolled back: what is stored is still part of it. */
    bitmap_set_loader(a, loader, &l);
    f = bitmap_freeze(a, &error_abort);
    bitmap_note_write(node, 0, 1);
    bitmap_freeze_rollback(co, f);
    g_assert_cmpint(bitmap_count_bytes(co, a), ==, 3 * 4096);
    g_assert_cmpint(l.calls, ==, 3);
    node_unref(co, node);
}

static void test_lazy_loading(void)
{
    mem_test_run(lazy);
}

/* Bit 3 is stored; meanwhile a node grows, as a format's file does. */
static bool growing_loader(Co *co, DirtyBitmap *bm, Bitset *into, void *opaque,
                           Error **errp)
{
    Node *node = opaque;
    int64_t old_len = node->length;

    node->length = old_len + 65536;
    bitmap_note_resize(node, old_len, node->length);
    bitmap_note_write(node, old_len, 512);
    bitset_set(into, 3, 1);
    return true;
}

/* Merges the bitmap of one disk into another's; one of the bitmaps is loaded for that,
 * and one of the disks grows meanwhile. */
static void merge_meanwhile(Co *co, int64_t granularity, bool lazy_source,
                            bool source_grows, bool in_halves)
{
    Node *from = mem_node(&mem_driver, "from", MiB, 512);
    Node *to = mem_node(&mem_driver, "to", MiB, 512);
    DirtyBitmap *src = bitmap_create(from, granularity, "b", &error_abort);
    DirtyBitmap *dst = bitmap_create(to, 4096, "b", &error_abort);
    g_autoptr(Bitset) bits = bitset_new(bitset_size(dst->bits));

    bitmap_set_loader(lazy_source ? src : dst, growing_loader,
                      source_grows ? from : to);
    bitmap_set_range(src, 100000, 1);
    if (in_halves) {
        g_assert_true(bitmap_gather(co, bits, dst, src, &error_abort));
        g_assert_true(bitmap_gather(co, bits, dst, src, &error_abort));
        g_assert_true(bitmap_merge_bits(co, dst, bits, NULL, &error_abort));
    } else {
        g_assert_true(bitmap_merge(co, dst, src, NULL, &error_abort));
    }
    g_assert_true(dirty(co, dst, 100000));
    g_assert_true(dirty(co, dst, 3 * (lazy_source ? granularity : 4096)));
    if (source_grows) {
        /* It will be dirty here when this disk is so long. */
        g_assert_cmpint(dst->cut_end, ==, MiB + 65536);
    } else {
        g_assert_cmpint(bitset_size(dst->bits), ==, (MiB + 65536) / 4096);
        g_assert_true(dirty(co, dst, MiB));
    }
    node_unref(co, from);
    node_unref(co, to);
}

static void merge_growing(Co *co, void *arg)
{
    for (int i = 0; i < 16; i++) {
        if (!(i & 1) || (i & 2)) {
            merge_meanwhile(co, i & 8 ? 4096 : 512, i & 2, i & 1, i & 4);
        }
    }
}

static void test_merge_growing(void)
{
    mem_test_run(merge_growing);
}

/* ---- all of it at random, beside a model ---- */

#define MODEL_LEN (256 * 512)
#define MODEL_BITMAPS 5

typedef struct Model {
    DirtyBitmap *bm;
    BitmapFreeze *freeze;
    bool recording;
    bool bytes[MODEL_LEN / 512];        /* by blocks of 512 */
    bool live[MODEL_LEN / 512];         /* while it is frozen */
} Model;

static void model_mark(Model *m, bool *bytes, int64_t off, int64_t len,
                       bool value)
{
    int64_t g = bitmap_granularity(m->bm);
    int64_t first = off / g * g;
    int64_t last = MIN((off + len + g - 1) / g * g, MODEL_LEN);

    for (int64_t i = first; i < last; i += 512) {
        bytes[i / 512] = value;
    }
}

static void model_check(Co *co, Model *m)
{
    int64_t count = 0, g = bitmap_granularity(m->bm);

    for (int64_t off = 0; off < MODEL_LEN; off += g) {
        g_assert_cmpint(dirty(co, m->bm, off), ==, m->bytes[off / 512]);
        count += m->bytes[off / 512] ? g : 0;
    }
    g_assert_cmpint(bitmap_count_bytes(co, m->bm), ==, count);
}

static void model_write(Node *node, Model *models)
{
    int64_t off = g_test_rand_int_range(0, MODEL_LEN);
    int64_t len = g_test_rand_int_range(1, MIN(MODEL_LEN - off, 9000) + 1);

    bitmap_note_write(node, off, len);
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        Model *m = &models[i];

        if (m->recording) {
            model_mark(m, m->freeze ? m->live : m->bytes, off, len, true);
        }
    }
}

static void model_freeze(Co *co, Model *m)
{
    if (!m->freeze) {
        m->freeze = bitmap_freeze(m->bm, &error_abort);
        memset(m->live, 0, sizeof(m->live));
        return;
    }
    if (g_test_rand_int_range(0, 2)) {
        bitmap_freeze_commit(co, m->freeze);
        memcpy(m->bytes, m->live, sizeof(m->live));
    } else {
        bitmap_freeze_rollback(co, m->freeze);
        for (size_t i = 0; i < ARRAY_SIZE(m->live); i++) {
            m->bytes[i] |= m->live[i];
        }
    }
    m->freeze = NULL;
}

static void model_merge(Co *co, Model *dst, Model *src)
{
    g_assert_true(bitmap_merge(co, dst->bm, src->bm, NULL, &error_abort));
    for (int64_t i = 0; i < MODEL_LEN; i += 512) {
        if (src->bytes[i / 512]) {
            model_mark(dst, dst->bytes, i, 512, true);
        }
    }
}

static void model_step(Co *co, Node *node, Model *models)
{
    Model *m = &models[g_test_rand_int_range(0, MODEL_BITMAPS)];

    switch (g_test_rand_int_range(0, 10)) {
    case 0:
        model_freeze(co, m);
        break;
    case 1:
        model_check(co, m);
        break;
    case 2:
        if (!m->freeze) {
            m->recording = !m->recording;
            (m->recording ? bitmap_enable : bitmap_disable)(m->bm);
        }
        break;
    case 3:
        if (!m->freeze) {
            g_assert_true(bitmap_clear(co, m->bm, NULL, &error_abort));
            memset(m->bytes, 0, sizeof(m->bytes));
        }
        break;
    case 4:
        model_merge(co, m, &models[g_test_rand_int_range(0, MODEL_BITMAPS)]);
        break;
    case 5: {
        int64_t off = g_test_rand_int_range(0, MODEL_LEN / 4096) * 4096;

        bitmap_reset_range(m->bm, off, 4096);
        model_mark(m, m->bytes, off, 4096, false);
        break;
    }
    default:
        model_write(node, models);
        break;
    }
}

static void model(Co *co, void *arg)
{
    static const int64_t granularity[MODEL_BITMAPS] = {
        512, 4096, 4096, 1024, 512
    };
    Node *node = disk(MODEL_LEN);
    g_autofree Model *models = g_new0(Model, MODEL_BITMAPS);

    for (int i = 0; i < MODEL_BITMAPS; i++) {
        g_autofree char *name = g_strdup_printf("bm%d", i);

        models[i].bm = bitmap_create(node, granularity[i], name,
                                     &error_abort);
        models[i].recording = true;
    }
    for (int i = 0; i < 5000; i++) {
        model_step(co, node, models);
    }
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        model_check(co, &models[i]);
        if (models[i].freeze) {
            model_freeze(co, &models[i]);
            model_check(co, &models[i]);
        }
    }
    node_unref(co, node);
}

static void test_random_model(void)
{
    mem_test_run(model);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bitmap/table", test_table);
    g_test_add_func("/bitmap/checks-in-qemus-words", test_checks);
    g_test_add_func("/bitmap/record", test_record);
    g_test_add_func("/bitmap/resize", test_resize);
    g_test_add_func("/bitmap/beyond-the-end", test_beyond_the_end);
    g_test_add_func("/bitmap/clear-and-merge", test_merge);
    g_test_add_func("/bitmap/merge-across-sizes", test_merge_across_sizes);
    g_test_add_func("/bitmap/sha256-is-qemus", test_sha256);
    g_test_add_func("/bitmap/freeze", test_freeze);
    g_test_add_func("/bitmap/lazy-loading", test_lazy_loading);
    g_test_add_func("/bitmap/merge-growing", test_merge_growing);
    g_test_add_func("/bitmap/random-model", test_random_model);
    return g_test_run();
}
