/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Files that grow by direct writes: longer than what was written while they
 * grow, exactly as long once nobody grows them; nothing that was written is
 * ever cut off; and only where nobody else writes.
 */
#include "mem-driver.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "block/open.h"
#include "util/bytes.h"

#define PIECE (64 * KiB)
#define PERM (PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE)
#define ALONE (PERM_ALL & ~(PERM_WRITE | PERM_RESIZE))

static char *path;

static Root *open_fresh(Co *co, bool direct, uint64_t share)
{
    g_autofree char *text = g_strdup_printf(
        "{\"driver\":\"file\",\"filename\":\"%s\",\"cache\":{\"direct\":%s}}",
        path, direct ? "true" : "false");
    json_t *value = json_loads(text, 0, NULL);
    BlockdevOptions *opts = BlockdevOptions_from_json(value, QAPI_STRICT,
                                                      &error_abort);
    Node *node;
    Root *root;

    json_decref(value);
    g_assert_true(g_file_set_contents(path, "", 0, NULL));
    node = open_options(co, opts, &error_abort);
    root = root_open(co, node, "", &mem_root_ops, NULL, PERM, share,
                     &error_abort);
    node_unref(co, node);
    root->allow_beyond_end = true;
    return root;
}

static int64_t size_of_file(void)
{
    struct stat st;

    g_assert_cmpint(stat(path, &st), ==, 0);
    return st.st_size;
}

/* ---- many writers ---- */

typedef struct Piece {
    Root *root;
    int64_t off;
} Piece;

static int piece_write(Co *co, void *opaque)
{
    g_autofree Piece *p = opaque;
    g_autoptr(AlignedBuf) buf = aligned_try_alloc_io(4096, PIECE);

    memset(buf, 1 + p->off / PIECE % 255, PIECE);
    return root_pwrite(co, p->root, p->off, PIECE, buf, 0);
}

/* Pieces from @first on, every @step th; sixteen at once. */
static void write_pieces(Co *co, Root *root, int64_t first, int n, int step)
{
    CoGroup group;

    co_group_init(&group, co_loop(co), 16);
    for (int i = 0; i < n; i++) {
        Piece *p = g_new(Piece, 1);

        *p = (Piece) { root, (first + (int64_t)i * step) * PIECE };
        co_group_start(co, &group, piece_write, p);
    }
    g_assert_cmpint(co_group_wait(co, &group), ==, 0);
}

static void check_pieces(int64_t first, int n, int step)
{
    g_autofree uint8_t *buf = g_malloc(PIECE), *want = g_malloc(PIECE);
    int fd = open(path, O_RDONLY);

    g_assert_cmpint(fd, >=, 0);
    for (int i = 0; i < n; i++) {
        int64_t at = first + (int64_t)i * step;

        memset(want, 1 + at % 255, PIECE);
        g_assert_cmpint(pread(fd, buf, PIECE, at * PIECE), ==, PIECE);
        g_assert_cmpmem(buf, PIECE, want, PIECE);
    }
    close(fd);
}

static void grow(Co *co, void *arg)
{
    Root *root = open_fresh(co, true, ALONE);

    write_pieces(co, root, 0, 8, 1);
    g_assert_cmpint(size_of_file(), ==, 8 * PIECE);     /* not yet worth it */
    write_pieces(co, root, 8, 120, 1);
    g_assert_cmpint(root_length(root), ==, 128 * PIECE);
    g_assert_cmpint(size_of_file(), >, 128 * PIECE);
    root_free(co, root);
    g_assert_cmpint(size_of_file(), ==, 128 * PIECE);
    check_pieces(0, 128, 1);
}

/* Each write is far past the one before: often past the tail. */
static void jump(Co *co, void *arg)
{
    Root *root = open_fresh(co, true, ALONE);

    for (int step = 1; step < 2000; step = step * 5 + 1) {
        write_pieces(co, root, 0, 100, step);
        check_pieces(0, 100, step);
    }
    root_free(co, root);
    g_assert_cmpint(size_of_file(), ==, (99 * INT64_C(781) + 1) * PIECE);
    check_pieces(0, 100, 781);
}

/* Who may not grow it any more, or not alone, has no tail; who may again gets one
 * again. */
static void permission(Co *co, void *arg)
{
    Root *root = open_fresh(co, true, ALONE);

    for (int n = 128; n <= 384; n += 128) {
        bool alone = n != 256;

        write_pieces(co, root, n - 128, 128, 1);
        g_assert_cmpint(size_of_file(), >, n * PIECE);
        g_assert_true(root_set_perms(
            co, root, alone ? PERM & ~PERM_RESIZE : PERM,
            alone ? ALONE : PERM_ALL, &error_abort));
        g_assert_cmpint(size_of_file(), ==, n * PIECE);
        g_assert_true(root_set_perms(co, root, PERM, ALONE, &error_abort));
    }
    root_free(co, root);
    g_assert_cmpint(size_of_file(), ==, 384 * PIECE);
    check_pieces(0, 384, 1);
}

static void resize(Co *co, void *arg)
{
    Root *root = open_fresh(co, true, ALONE);

    for (int i = 0; i < 3; i++) {
        int64_t len = (100 + 50 * i) * PIECE;

        write_pieces(co, root, 0, 120, 2);
        g_assert_cmpint(size_of_file(), >, 240 * PIECE);
        g_assert_true(root_resize(co, root, len, true, PREALLOC_MODE_OFF, 0,
                                  &error_abort));
        g_assert_cmpint(size_of_file(), ==, len);
        g_assert_cmpint(root_length(root), ==, len);
    }
    root_free(co, root);
    g_assert_cmpint(size_of_file(), ==, 200 * PIECE);
    check_pieces(0, 100, 2);
}

static void no_tail(Co *co, bool direct, uint64_t share)
{
    Root *root = open_fresh(co, direct, share);

    write_pieces(co, root, 0, 128, 1);
    g_assert_cmpint(size_of_file(), ==, 128 * PIECE);
    root_free(co, root);
    g_assert_cmpint(size_of_file(), ==, 128 * PIECE);
}

static void buffered(Co *co, void *arg)
{
    no_tail(co, false, ALONE);
}

static void not_alone(Co *co, void *arg)
{
    no_tail(co, true, PERM_ALL);
    no_tail(co, true, PERM_ALL & ~PERM_RESIZE);
}

static void limited(Co *co, void *arg)
{
    struct rlimit old, new;

    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
    new = old;
    new.rlim_cur = 16 * MiB;
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &new), ==, 0);
    no_tail(co, true, ALONE);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
}

/* Somebody else has made it longer: it is not ours to cut. */
static void touched(Co *co, void *arg)
{
    Root *root = open_fresh(co, true, ALONE);
    int64_t len;

    write_pieces(co, root, 0, 128, 1);
    len = size_of_file() + PIECE;
    g_assert_cmpint(truncate(path, len), ==, 0);
    root_free(co, root);
    g_assert_cmpint(size_of_file(), ==, len);
}

#define ASKED_END ((99 * 21 + 1) * PIECE)

typedef struct Asker {
    Root *root;
    int64_t longest;
    bool stop, stopped;
} Asker;

static void ask(Co *co, void *arg)
{
    Asker *a = arg;

    while (!a->stop && a->longest <= ASKED_END) {
        a->longest = MAX(a->longest, io_length(co, root_node(a->root)));
        co_yield(co);
    }
    a->stopped = true;
}

/* Who asks for the length never hears of the tail, also while it is made: what is
 * written where the node was thought to end would be cut off with it. */
static void asked(Co *co, void *arg)
{
    for (int i = 0; i < 20; i++) {
        Root *root = open_fresh(co, true, ALONE);
        Asker asker = { .root = root };

        co_spawn(co_loop(co), ask, &asker);
        write_pieces(co, root, 0, 100, 21);
        asker.stop = true;
        while (!asker.stopped) {
            co_yield(co);
        }
        root_free(co, root);
        check_pieces(0, 100, 21);
        g_assert_cmpint(size_of_file(), ==, ASKED_END);
        g_assert_cmpint(asker.longest, ==, ASKED_END);
    }
}

static void test_case(gconstpointer fn)
{
    int fd = open(path, O_RDWR | O_CREAT | O_DIRECT, 0644);

    if (fd < 0) {
        g_test_skip("the file system has no O_DIRECT");
        return;
    }
    close(fd);
    mem_test_run((CoFn *)fn);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        CoFn *fn;
    } cases[] = {
        { "/file-ahead/grow", grow },
        { "/file-ahead/jump", jump },
        { "/file-ahead/permission", permission },
        { "/file-ahead/resize", resize },
        { "/file-ahead/buffered", buffered },
        { "/file-ahead/not-alone", not_alone },
        { "/file-ahead/limited", limited },
        { "/file-ahead/touched", touched },
        { "/file-ahead/asked", asked },
    };
    g_autofree char *dir = NULL;
    int ret;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("test-ahead-XXXXXX", NULL);
    path = g_build_filename(dir, "image", NULL);
    block_init();
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_add_data_func(cases[i].name, cases[i].fn, test_case);
    }
    ret = g_test_run();
    unlink(path);
    rmdir(dir);
    g_free(path);
    return ret;
}
