/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The drivers file, raw and null on real files: requests, growth, holes,
 * preallocation, direct I/O, permissions that come and go, QEMU's texts.
 */
#include "mem-driver.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "block/create.h"
#include "block/open.h"
#include "util/loop-impl.h"

#define RW (PERM_CONSISTENT_READ | PERM_WRITE)

static char *dir;

static char *path_of(const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static void make_file(const char *path, int64_t len)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, len), ==, 0);
    close(fd);
}

static BlockdevOptions *options_of(const char *fmt, const char *path)
{
    g_autofree char *text = path ? g_strdup_printf(fmt, path) : g_strdup(fmt);
    json_t *value = json_loads(text, 0, NULL);
    BlockdevOptions *opts;

    g_assert_nonnull(value);
    opts = BlockdevOptions_from_json(value, QAPI_STRICT, &error_abort);
    json_decref(value);
    return opts;
}

static Root *open_root(Co *co, const char *fmt, const char *path,
                       uint64_t perm)
{
    Node *node = open_options(co, options_of(fmt, path), &error_abort);
    Root *root = mem_root(co, node, perm);

    node_unref(co, node);       /* the root's reference stays */
    return root;
}

static void expect_error(Co *co, const char *fmt, const char *path,
                         const char *message_fmt)
{
    g_autofree char *message = path ? g_strdup_printf(message_fmt, path)
                                    : g_strdup(message_fmt);
    Error *err = NULL;

    g_assert_null(open_options(co, options_of(fmt, path), &err));
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_free(err);
}

/* ---- requests beside a model ---- */

static void requests_on(Co *co, const char *fmt, const char *path)
{
    enum { LEN = 256 * 1024 };
    g_autofree uint8_t *model = g_malloc0(LEN);
    g_autofree uint8_t *buf = g_malloc(LEN);
    g_autofree uint8_t *disk = NULL;
    gsize disk_len;
    Root *root;

    make_file(path, LEN);
    root = open_root(co, fmt, path, RW);
    g_assert_cmpint(root_length(root), ==, LEN);
    for (int i = 0; i < 300; i++) {
        int64_t off = g_test_rand_int_range(0, LEN);
        int64_t len = g_test_rand_int_range(0, MIN(LEN - off, 20000) + 1);
        ReqFlags fua = g_test_rand_int_range(0, 10) ? 0 : REQ_FUA;

        switch (g_test_rand_int_range(0, 4)) {
        case 0:
            g_assert_cmpint(root_pread(co, root, off, len, buf), ==, 0);
            g_assert_cmpmem(buf, len, model + off, len);
            break;
        case 1:
            g_assert_cmpint(root_zero(co, root, off, len,
                                      fua | (i % 2 ? REQ_MAY_UNMAP : 0)),
                            ==, 0);
            memset(model + off, 0, len);
            break;
        default:
            memset(model + off, i, len);
            g_assert_cmpint(root_pwrite(co, root, off, len, model + off, fua),
                            ==, 0);
            break;
        }
    }
    g_assert_cmpint(root_flush(co, root), ==, 0);
    root_free(co, root);
    g_assert_true(g_file_get_contents(path, (char **)&disk, &disk_len, NULL));
    g_assert_cmpmem(disk, disk_len, model, LEN);
}

static void requests(Co *co, void *arg)
{
    g_autofree char *path = path_of("requests");

    requests_on(co, "{\"driver\":\"file\",\"filename\":\"%s\"}", path);
}

static void direct(Co *co, void *arg)
{
    g_autofree char *path = path_of("direct");

    requests_on(co, "{\"driver\":\"file\",\"filename\":\"%s\","
                "\"cache\":{\"direct\":true}}", path);
}

static bool direct_possible(void)
{
    g_autofree char *path = path_of("probe");
    int fd = open(path, O_RDWR | O_CREAT | O_DIRECT, 0644);

    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static void test_requests(void)
{
    mem_test_run(requests);
}

static void test_direct(void)
{
    if (!direct_possible()) {
        g_test_skip("the file system has no O_DIRECT");
        return;
    }
    mem_test_run(direct);
}

/* ---- other names ---- */

/* With no descriptor to be had the directory can't be synced. */
static int rename_without_sync(Co *co, Node *node, ImageRename how,
                               const char *name)
{
    int next = dup(0), ret;
    struct rlimit old, none;

    close(next);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &old), ==, 0);
    none = (struct rlimit) { next, old.rlim_max };
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
    ret = node->drv->image->rename(co, node, how, name);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &old), ==, 0);
    return ret;
}

/* A step that fails has not been taken. */
static void names(Co *co, void *arg)
{
    g_autofree char *path = path_of("name"), *other = path_of("other");
    g_autofree char *added = path_of("added");
    struct stat own, st;
    Root *root;
    Node *node;

    make_file(path, 4096);
    make_file(other, 8192);
    root = open_root(co, "{\"driver\":\"file\",\"filename\":\"%s\"}", path,
                     RW);
    node = root_node(root);
    g_assert_cmpint(stat(path, &own), ==, 0);
    g_assert_cmpint(rename_without_sync(co, node, IMAGE_NAME_ADD, added), ==,
                    -EMFILE);
    g_assert_cmpint(stat(added, &st), <, 0);
    g_assert_cmpint(rename_without_sync(co, node, IMAGE_NAME_EXCHANGE, other),
                    ==, -EMFILE);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpuint(st.st_ino, ==, own.st_ino);
    g_assert_cmpint(node->drv->image->rename(co, node, IMAGE_NAME_ADD, added),
                    ==, 0);
    g_assert_cmpint(stat(added, &st), ==, 0);
    g_assert_cmpuint(st.st_ino, ==, own.st_ino);
    g_assert_cmpint(rename_without_sync(co, node, IMAGE_NAME_ADD, added), ==,
                    -EEXIST);
    g_assert_cmpint(stat(added, &st), ==, 0);
    root_free(co, root);
}

static void test_names(void)
{
    mem_test_run(names);
}

/* ---- short and interrupted calls ---- */

/* What comes of each call, in turns: at most so many bytes, or -errno. */
static const ssize_t moods[] = { 4096, -EINTR, -EINTR, 512, -EAGAIN, 100000 };
static const LoopEngine *calm;
static unsigned mood, moody_calls;

static ssize_t moody_cut(const struct iovec *iov, int niov, struct iovec *cut)
{
    ssize_t n = moods[mood++ % ARRAY_SIZE(moods)];

    moody_calls++;
    *cut = *iov;
    cut->iov_len = MIN(cut->iov_len, (size_t)MAX(n, 0));
    return MIN(n, 0);
}

static ssize_t moody_preadv(Co *co, int fd, const struct iovec *iov, int niov,
                            int64_t off)
{
    struct iovec cut;
    ssize_t ret = moody_cut(iov, niov, &cut);

    return ret ? ret : calm->preadv(co, fd, &cut, 1, off);
}

static ssize_t moody_pwritev(Co *co, int fd, const struct iovec *iov, int niov,
                             int64_t off, int flags)
{
    struct iovec cut;
    ssize_t ret = moody_cut(iov, niov, &cut);

    return ret ? ret : calm->pwritev(co, fd, &cut, 1, off, flags);
}

/* Long requests, which are not carried out on the spot. */
static void moody(Co *co, void *arg)
{
    enum { LEN = 700 * 1024 };
    g_autofree char *path = path_of("moody");
    g_autofree uint8_t *data = g_malloc(LEN);
    g_autofree uint8_t *buf = g_malloc(LEN);
    LoopEngine engine = *loop_main()->engine;
    Root *root;

    make_file(path, LEN);
    root = open_root(co, "{\"driver\":\"file\",\"filename\":\"%s\"}", path,
                     RW);
    for (int i = 0; i < LEN; i++) {
        data[i] = 1 + i % 251;
    }
    calm = loop_main()->engine;
    engine.preadv = moody_preadv;
    engine.pwritev = moody_pwritev;
    loop_main()->engine = &engine;
    for (int fua = 0; fua < 2; fua++) {
        for (mood = 0; mood < ARRAY_SIZE(moods); mood++) {
            unsigned first = mood;

            data[0] = 1 + first + fua;
            g_assert_cmpint(root_pwrite(co, root, 0, LEN, data,
                                        fua ? REQ_FUA : 0), ==, 0);
            mood = first;
            memset(buf, 0, LEN);
            g_assert_cmpint(root_pread(co, root, 0, LEN, buf), ==, 0);
            g_assert_cmpmem(buf, LEN, data, LEN);
            mood = first;
        }
    }
    g_assert_cmpint(moody_calls, >, 4 * ARRAY_SIZE(moods));
    loop_main()->engine = calm;
    root_free(co, root);
}

static void test_moody(void)
{
    mem_test_run(moody);
}

/* ---- a device ---- */

/* Output of a shell command without its newline; NULL if it failed. */
static char *shell(const char *command)
{
    char *out = NULL;
    int status = 1;

    if (!g_spawn_command_line_sync(command, &out, NULL, &status, NULL) ||
        status != 0) {
        g_free(out);
        return NULL;
    }
    return g_strchomp(out);
}

static char *device;

static void device_main(Co *co, void *arg)
{
    enum { LEN = 1024 * 1024 };
    g_autofree uint8_t *model = g_malloc0(LEN);
    g_autofree uint8_t *buf = g_malloc(LEN);
    Error *err = NULL;
    Root *root;

    for (int direct = 0; direct < 2; direct++) {
        root = open_root(co, direct ? "{\"driver\":\"host_device\","
                         "\"filename\":\"%s\",\"discard\":\"unmap\","
                         "\"cache\":{\"direct\":true}}"
                         : "{\"driver\":\"host_device\","
                         "\"filename\":\"%s\"}", device,
                         RW | PERM_RESIZE);
        g_assert_cmpint(root_length(root), ==, LEN);
        for (int i = 0; i < 100; i++) {
            int64_t off = g_test_rand_int_range(0, LEN);
            int64_t len = g_test_rand_int_range(0, LEN - off + 1);

            if (i % 3) {
                memset(model + off, i, len);
                g_assert_cmpint(root_pwrite(co, root, off, len, model + off,
                                            i % 2 ? REQ_FUA : 0), ==, 0);
            } else {
                memset(model + off, 0, len);
                g_assert_cmpint(root_zero(co, root, off, len,
                                          i % 2 ? REQ_MAY_UNMAP : 0), ==, 0);
            }
        }
        g_assert_cmpint(root_pread(co, root, 0, LEN, buf), ==, 0);
        g_assert_cmpmem(buf, LEN, model, LEN);
        g_assert_cmpint(root_discard(co, root, 0, LEN), ==, 0);
        g_assert_cmpint(root_flush(co, root), ==, 0);
        g_assert_cmpint(root_zero(co, root, 0, LEN, 0), ==, 0);
        memset(model, 0, LEN);
        g_assert_false(root_resize(co, root, 2 * LEN, false,
                                   PREALLOC_MODE_OFF, 0, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, "Cannot grow device files");
        error_clear(&err);
        root_free(co, root);
    }
}

static void test_device(void)
{
    g_autofree char *path = path_of("device");
    g_autofree char *attach = g_strdup_printf("losetup -f --show %s", path);
    g_autofree char *detach = NULL, *out = NULL;

    make_file(path, MiB);
    device = geteuid() == 0 ? shell(attach) : NULL;
    if (!device) {
        g_test_skip("a loop device needs root and losetup");
        return;
    }
    mem_test_run(device_main);
    detach = g_strdup_printf("losetup -d %s", device);
    out = shell(detach);
    g_assert_nonnull(out);
    g_clear_pointer(&device, g_free);
}

/* ---- odd lengths and growth ---- */

#define PLAIN "{\"driver\":\"file\",\"filename\":\"%s\"}"

static void odd_length(Co *co, void *arg)
{
    g_autofree char *path = path_of("odd");
    uint8_t buf[1024], want[1024] = { 0 };
    struct stat st;
    Extent ext;
    Root *root;
    int fd;

    make_file(path, 0);
    memset(want, 0xaa, 1000);
    fd = open(path, O_RDWR);
    g_assert_cmpint(pwrite(fd, want, 1000, 0), ==, 1000);
    close(fd);

    root = open_root(co, PLAIN, path, RW | PERM_RESIZE);
    g_assert_cmpint(root_length(root), ==, 1024);
    memset(buf, 1, sizeof(buf));
    g_assert_cmpint(root_pread(co, root, 0, 1024, buf), ==, 0);
    g_assert_cmpmem(buf, 1024, want, 1024);
    g_assert_cmpint(status_layer(co, root_node(root), true, 0, 1024, &ext), ==,
                    0);
    g_assert_cmpint(ext.len, ==, 1000);
    g_assert_true(ext.flags & EXTENT_DATA);
    g_assert_cmpint(status_layer(co, root_node(root), true, 1000, 24, &ext),
                    ==, 0);
    g_assert_cmpint(ext.len, ==, 24);
    g_assert_true((ext.flags & EXTENT_ZERO) && (ext.flags & EXTENT_EOF));

    root->allow_beyond_end = true;
    g_assert_cmpint(root_pwrite(co, root, 5000, 3, want, 0), ==, 0);
    g_assert_cmpint(root_zero(co, root, 6000, 1000, REQ_MAY_UNMAP), ==, 0);
    g_assert_cmpint(root_length(root), ==, 7000);
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 7000);
    root_free(co, root);
}

static void test_odd_length(void)
{
    mem_test_run(odd_length);
}

static void holes(Co *co, void *arg)
{
    g_autofree char *path = path_of("holes");
    g_autofree uint8_t *buf = g_malloc(64 * KiB);
    Root *root;
    Extent ext;
    Node *node;
    int64_t full;

    make_file(path, 4 * MiB);
    root = open_root(co, "{\"driver\":\"file\",\"filename\":\"%s\","
                     "\"discard\":\"unmap\"}", path, RW);
    node = root_node(root);
    memset(buf, 7, 64 * KiB);
    g_assert_cmpint(root_pwrite(co, root, MiB, 64 * KiB, buf, 0), ==, 0);
    g_assert_cmpint(status_layer(co, node, true, 0, 4 * MiB, &ext), ==, 0);
    if (!(ext.flags & EXTENT_ZERO)) {
        g_test_skip("the file system does not tell of holes");
        root_free(co, root);
        return;
    }
    g_assert_cmpint(ext.len, ==, MiB);
    g_assert_cmpint(status_layer(co, node, true, MiB, 3 * MiB, &ext), ==, 0);
    g_assert_cmpint(ext.len, ==, 64 * KiB);
    g_assert_true(ext.flags & EXTENT_DATA);
    g_assert_true(ext.map == MiB && ext.file == node);
    /* Not precisely: all is data, and nobody looked. */
    g_assert_cmpint(status_layer(co, node, false, 0, 4 * MiB, &ext), ==, 0);
    g_assert_cmpint(ext.len, ==, 4 * MiB);
    g_assert_true(ext.flags & EXTENT_DATA);

    /* What was seen as data is not believed after it has been discarded. */
    full = node->drv->allocated_size(co, node);
    g_assert_cmpint(root_discard(co, root, MiB, 32 * KiB), ==, 0);
    g_assert_cmpint(node->drv->allocated_size(co, node), <, full);
    g_assert_cmpint(status_layer(co, node, true, MiB, 3 * MiB, &ext), ==, 0);
    g_assert_true(ext.flags & EXTENT_ZERO);
    g_assert_cmpint(ext.len, ==, 32 * KiB);
    g_assert_cmpint(root_zero(co, root, MiB, 64 * KiB, REQ_MAY_UNMAP), ==, 0);
    g_assert_cmpint(status_is_zero(co, node, 0, 4 * MiB), ==, 1);
    root_free(co, root);
}

static void test_holes(void)
{
    mem_test_run(holes);
}

/* Another process writes into the file behind our back. */
static void poke(const char *path, int64_t off)
{
    int fd = open(path, O_RDWR);

    g_assert_cmpint(pwrite(fd, "x", 1, off), ==, 1);
    close(fd);
}

static bool is_hole(Co *co, Root *root, int64_t off)
{
    Extent ext;

    g_assert_cmpint(status_layer(co, root_node(root), true, off, 4 * KiB,
                                 &ext), ==, 0);
    return ext.flags & EXTENT_ZERO;
}

/* A hole is looked up once where the locks keep other writers out, and each
 * time where they don't. */
static void holes_remembered(Co *co, void *arg)
{
    g_autofree char *path = path_of("remembered");
    Node *node;
    Root *root;

    for (int shared = 0; shared <= 1; shared++) {
        make_file(path, 4 * MiB);
        node = open_options(co, options_of("{\"driver\":\"file\",\"filename\":"
                                           "\"%s\",\"locking\":\"on\"}", path),
                            &error_abort);
        root = root_open(co, node, "test", &mem_root_ops, NULL, RW | PERM_RESIZE,
                         shared ? PERM_ALL : PERM_ALL & ~PERM_WRITE,
                         &error_abort);
        node_unref(co, node);
        if (!is_hole(co, root, 0)) {
            g_test_skip("the file system does not tell of holes");
            root_free(co, root);
            return;
        }
        poke(path, 2 * MiB);
        g_assert_true(is_hole(co, root, 2 * MiB) == !shared);

        /* Our own writes end it, and so does a new length. */
        g_assert_cmpint(root_pwrite(co, root, MiB, 5, "hello", 0), ==, 0);
        g_assert_false(is_hole(co, root, MiB));
        g_assert_false(is_hole(co, root, 2 * MiB));
        g_assert_true(is_hole(co, root, 3 * MiB));
        poke(path, 3 * MiB);
        g_assert_true(root_resize(co, root, 5 * MiB, true, PREALLOC_MODE_OFF,
                                  0, &error_abort));
        g_assert_false(is_hole(co, root, 3 * MiB));
        root_free(co, root);
    }
}

static void test_holes_remembered(void)
{
    mem_test_run(holes_remembered);
}

static void resizing(Co *co, void *arg)
{
    g_autofree char *path = path_of("resize");
    Error *err = NULL;
    struct stat st;
    Root *root;

    make_file(path, MiB);
    root = open_root(co, PLAIN, path, RW | PERM_RESIZE);
    g_assert_true(root_resize(co, root, 2 * MiB, true, PREALLOC_MODE_FALLOC, 0,
                              &error_abort));
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 2 * MiB);
    g_assert_cmpint(st.st_blocks * 512, >=, MiB);
    g_assert_true(root_resize(co, root, 3 * MiB, true, PREALLOC_MODE_FULL, 0,
                              &error_abort));
    g_assert_cmpint(root_length(root), ==, 3 * MiB);
    g_assert_false(root_resize(co, root, MiB, true, PREALLOC_MODE_FULL, 0,
                               &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Preallocation can't be used for shrinking files");
    error_clear(&err);
    g_assert_false(root_resize(co, root, 4 * MiB, true, PREALLOC_MODE_METADATA,
                               0, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Unsupported preallocation mode: metadata");
    error_clear(&err);
    g_assert_true(root_resize(co, root, 512, true, PREALLOC_MODE_OFF, 0,
                              &error_abort));
    g_assert_cmpint(root_length(root), ==, 512);
    root_free(co, root);
}

static void test_resize(void)
{
    mem_test_run(resizing);
}

/* ---- creating ---- */

static bool create(Co *co, const char *path, const char *more, Error **errp)
{
    g_autofree char *text = g_strdup_printf("{\"driver\":\"file\","
                                            "\"filename\":\"%s\",%s}",
                                            path, more);
    json_t *value = json_loads(text, 0, NULL);
    g_autoptr(BlockdevCreateOptions) opts =
        BlockdevCreateOptions_from_json(value, QAPI_STRICT, &error_abort);

    json_decref(value);
    return driver_find("file")->image->create(co, opts, errp);
}

static void creating(Co *co, void *arg)
{
    g_autofree char *path = path_of("created");
    g_autofree char *nowhere = path_of("no/where");
    g_autofree char *message = NULL;
    Error *err = NULL;
    struct stat st;

    g_assert_true(create(co, path, "\"size\":1048576", &error_abort));
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, MiB);
    g_assert_true(create(co, path, "\"size\":65536,\"preallocation\":\"full\"",
                         &error_abort));
    g_assert_cmpint(stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 65536);
    g_assert_cmpint(st.st_blocks * 512, >=, 65536);

    g_assert_false(create(co, nowhere, "\"size\":512", &err));
    message = g_strdup_printf("Could not create '%s': No such file or "
                              "directory", nowhere);
    g_assert_cmpstr(error_get_pretty(err), ==, message);
    error_clear(&err);
    g_assert_false(create(co, path, "\"size\":4611686018427387904", &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Could not resize file: File too large");
    error_clear(&err);
    g_assert_false(create(co, path, "\"size\":512,\"preallocation\":"
                          "\"metadata\"", &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Unsupported preallocation mode: metadata");
    error_clear(&err);
}

static void test_create(void)
{
    mem_test_run(creating);
}

/* ---- opening ---- */

static void errors(Co *co, void *arg)
{
    g_autofree char *path = path_of("regular");
    g_autofree char *missing = path_of("missing");

    make_file(path, MiB);
    expect_error(co, PLAIN, missing,
                 "Could not open '%s': No such file or directory");
    expect_error(co, PLAIN, dir, "Could not open '%s': Is a directory");
    expect_error(co, PLAIN, "/dev/null",
                 "'file' driver requires '%s' to be a regular file");
    expect_error(co, "{\"driver\":\"host_device\",\"filename\":\"%s\"}", path,
                 "'host_device' driver requires '%s' to be either a character "
                 "or block device");
    expect_error(co, "{\"driver\":\"file\",\"filename\":\"%s\","
                 "\"aio\":\"native\"}", path, "aio=native was specified, but "
                 "it requires cache.direct=on, which was not specified.");
}

static void test_errors(void)
{
    mem_test_run(errors);
}

static int access_mode(const char *path)
{
    struct stat want, st;

    g_assert_cmpint(stat(path, &want), ==, 0);
    for (int fd = 3; fd < 200; fd++) {
        if (fstat(fd, &st) == 0 && st.st_ino == want.st_ino &&
            st.st_dev == want.st_dev) {
            return fcntl(fd, F_GETFL) & O_ACCMODE;
        }
    }
    return -1;
}

static void auto_read_only(Co *co, void *arg)
{
    g_autofree char *path = path_of("auto");
    uint8_t b[512] = { 5 };
    Root *root;

    make_file(path, MiB);
    root = open_root(co, "{\"driver\":\"file\",\"filename\":\"%s\","
                     "\"auto-read-only\":true,\"locking\":\"off\"}", path,
                     PERM_CONSISTENT_READ);
    g_assert_cmpint(access_mode(path), ==, O_RDONLY);
    g_assert_true(root_set_perms(co, root, RW, PERM_ALL, &error_abort));
    g_assert_cmpint(access_mode(path), ==, O_RDWR);
    g_assert_cmpint(root_pwrite(co, root, 0, 512, b, 0), ==, 0);
    g_assert_true(root_set_perms(co, root, PERM_CONSISTENT_READ, PERM_ALL,
                                 &error_abort));
    g_assert_cmpint(access_mode(path), ==, O_RDONLY);
    g_assert_cmpint(root_pread(co, root, 0, 512, b), ==, 0);
    g_assert_cmpint(b[0], ==, 5);
    root_free(co, root);
}

static void test_auto_read_only(void)
{
    mem_test_run(auto_read_only);
}

/* ---- raw and null ---- */

static void windows(Co *co, void *arg)
{
    g_autofree char *path = path_of("window");
    uint8_t buf[1024];
    Error *err = NULL;
    Extent ext;
    Root *root;

    make_file(path, MiB);
#define WINDOW(more) "{\"driver\":\"raw\"," more                            \
        ",\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}"
    expect_error(co, WINDOW("\"offset\":2097152"), path, "Offset (2097152) "
                 "cannot be greater than size of the containing file "
                 "(1048576)");
    expect_error(co, WINDOW("\"size\":100"), path,
                 "Specified size is not multiple of 512");
    expect_error(co, WINDOW("\"size\":1048576,\"offset\":512"), path,
                 "The sum of offset (512) and size (1048576) has to be "
                 "smaller or equal to the  actual size of the containing file "
                 "(1048576)");

    root = open_root(co, WINDOW("\"size\":4096,\"offset\":1000"), path,
                     RW | PERM_RESIZE);
    g_assert_cmpint(root_length(root), ==, 4096);
    memset(buf, 3, sizeof(buf));
    g_assert_cmpint(root_pwrite(co, root, 3072, 1024, buf, 0), ==, 0);
    g_assert_cmpint(root_pwrite(co, root, 3073, 1024, buf, 0), ==, -EIO);
    root->allow_beyond_end = true;
    g_assert_cmpint(root_pwrite(co, root, 3073, 1024, buf, 0), ==, -ENOSPC);
    g_assert_false(root_resize(co, root, 8192, false, PREALLOC_MODE_OFF, 0,
                               &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Cannot resize fixed-size raw disks");
    error_clear(&err);
    g_assert_cmpint(status_layer(co, root_node(root), false, 10, 20, &ext), ==,
                    0);
    g_assert_cmpint(ext.map, ==, 1010);
    g_assert_true(ext.file == root_node(root)->file->child);
    root_free(co, root);

    /* The window ends in the middle of its last sector: nothing is written
     * past the end of the file. */
    root = open_root(co, WINDOW("\"offset\":511"), path, RW);
    g_assert_cmpint(root_length(root), ==, MiB);
    g_assert_cmpint(root_pread(co, root, MiB - 1024, 1024, buf), ==, 0);
    g_assert_cmpint(root_pwrite(co, root, MiB - 1024, 1024, buf, 0), ==,
                    -ENOSPC);
    root_free(co, root);

    root = open_root(co, WINDOW("\"offset\":65536"), path, RW | PERM_RESIZE);
    g_assert_cmpint(root_length(root), ==, MiB - 65536);
    g_assert_true(root_resize(co, root, 2 * MiB, true, PREALLOC_MODE_OFF, 0,
                              &error_abort));
    g_assert_cmpint(root_length(root), ==, 2 * MiB);
    g_assert_cmpint(root_node(root)->file->child->length, ==,
                    2 * MiB + 65536);
    root_free(co, root);
}

static void test_raw_windows(void)
{
    mem_test_run(windows);
}

static void nothing(Co *co, void *arg)
{
    uint8_t buf[512];
    Root *root;
    int64_t start;

    root = open_root(co, "{\"driver\":\"null-co\",\"size\":1000,"
                     "\"read-zeroes\":true}", NULL, RW);
    g_assert_cmpint(root_length(root), ==, 1024);
    memset(buf, 1, sizeof(buf));
    g_assert_cmpint(root_pwrite(co, root, 0, 512, buf, REQ_FUA), ==, 0);
    g_assert_cmpint(root_pread(co, root, 0, 512, buf), ==, 0);
    g_assert_true(buffer_is_zero(buf, 512));
    root_free(co, root);

    root = open_root(co, "{\"driver\":\"null-aio\",\"latency-ns\":3000000}",
                     NULL, RW);
    g_assert_cmpint(root_length(root), ==, GiB);
    start = clock_ns();
    g_assert_cmpint(root_pread(co, root, 0, 512, buf), ==, 0);
    g_assert_cmpint(clock_ns() - start, >=, 3000000);
    root_free(co, root);
}

static void test_null(void)
{
    mem_test_run(nothing);
}

/* ---- copying inside of the kernel ---- */

static void copying(Co *co, void *arg)
{
    g_autofree char *a = path_of("copy-a");
    g_autofree char *b = path_of("copy-b");
    g_autofree uint8_t *buf = g_malloc(64 * KiB);
    g_autofree uint8_t *got = g_malloc(64 * KiB);
    Root *src, *dst;
    int ret;

    make_file(a, MiB);
    make_file(b, MiB);
    src = open_root(co, "{\"driver\":\"raw\",\"offset\":4096,\"file\":" PLAIN
                    "}", a, RW);
    dst = open_root(co, PLAIN, b, RW);
    for (int i = 0; i < 64 * KiB; i++) {
        buf[i] = g_test_rand_int_range(0, 256);
    }
    g_assert_cmpint(root_pwrite(co, src, 8192, 64 * KiB, buf, 0), ==, 0);
    ret = io_copy_range(co, src->edge, 8192, dst->edge, 100 * KiB, 64 * KiB,
                        0);
    if (ret == -ENOTSUP) {
        g_test_skip("the file system does not copy ranges");
    } else {
        g_assert_cmpint(ret, ==, 0);
        g_assert_cmpint(root_pread(co, dst, 100 * KiB, 64 * KiB, got), ==, 0);
        g_assert_cmpmem(got, 64 * KiB, buf, 64 * KiB);
        g_assert_cmpint(root_node(dst)->write_gen, >, 0);
    }
    g_assert_cmpint(io_copy_range(co, src->edge, MiB - 8192, dst->edge, 0,
                                  8192, 0), ==, -ENOTSUP);
    root_free(co, src);
    root_free(co, dst);
}

static void test_copy_range(void)
{
    mem_test_run(copying);
}

static void remove_dir(void)
{
    GDir *d = g_dir_open(dir, 0, NULL);
    const char *name;

    while ((name = g_dir_read_name(d))) {
        g_autofree char *path = path_of(name);

        unlink(path);
    }
    g_dir_close(d);
    rmdir(dir);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    dir = g_dir_make_tmp("test-file-XXXXXX", NULL);
    block_init();
    g_test_add_func("/file/requests", test_requests);
    g_test_add_func("/file/direct", test_direct);
    g_test_add_func("/file/short-and-interrupted", test_moody);
    g_test_add_func("/file/names", test_names);
    g_test_add_func("/host-device/requests", test_device);
    g_test_add_func("/file/odd-length", test_odd_length);
    g_test_add_func("/file/holes", test_holes);
    g_test_add_func("/file/holes-remembered", test_holes_remembered);
    g_test_add_func("/file/resize", test_resize);
    g_test_add_func("/file/create", test_create);
    g_test_add_func("/file/errors-in-qemus-words", test_errors);
    g_test_add_func("/file/auto-read-only", test_auto_read_only);
    g_test_add_func("/raw/windows", test_raw_windows);
    g_test_add_func("/null/requests", test_null);
    g_test_add_func("/file/copy-range", test_copy_range);
    ret = g_test_run();
    remove_dir();
    g_free(dir);
    return ret;
}
