/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img rebase: another backing file for an image.
 *
 * With -u only the names in the header change. Without, the image keeps its
 * content: wherever it is not allocated and old and new base differ, the old
 * base's bytes are written into it first, in whole clusters. Only when all of
 * that is on disk the header changes; so whatever interrupts it leaves an image
 * of the old content over the old base.
 *
 *     old    what the image shows below itself now; nothing: zeroes
 *     new    likewise, afterwards
 *     common a node of the old chain that is the new base itself: what is not
 *            allocated above it needs no look
 *
 * With -c what is copied becomes compressed clusters. These are written whole, so
 * where the image has a part of one already, all that the disk shows there goes
 * into it.
 */
#include "util/osdep.h"

#include "block/info.h"
#include "block/io.h"
#include "tools/img/img.h"
#include "util/bytes.h"

#define REBASE_BUFFER (2 * MiB)

typedef struct RebaseArgs {
    ImgSource image;
    const char *backing, *format;
    const char *cache, *src_cache;
    OpenFlags src_flags;
    bool unsafe, compress, progress, quiet;
} RebaseArgs;

typedef struct RebaseSide {
    Root *root;                 /* NULL: zeroes */
    int64_t len;
    uint8_t *buf;
} RebaseSide;

typedef struct Rebase {
    Root *image;
    RebaseSide old, new;
    Node *common;
    int64_t cluster;
    uint8_t *whole;             /* a cluster, with -c; else NULL */
    ImgProgress progress;
} Rebase;

static const struct option rebase_longopts[] = {
    IMG_LONGOPTS,
    IMG_LONGOPT_SHARE,
    { "compress", no_argument, 0, 'c' },
    { 0 }
};

/* ---- arguments ---- */

static int rebase_take(Co *co, void *opaque, int c)
{
    RebaseArgs *a = opaque;

    switch (c) {
    case 'F':
        a->format = optarg;
        return -1;
    case 'b':
        a->backing = optarg;
        return -1;
    case 'c':
        a->compress = true;
        return -1;
    case 'u':
        a->unsafe = true;
        return -1;
    case 'p':
        a->progress = true;
        return -1;
    case 't':
        a->cache = optarg;
        return -1;
    case 'T':
        a->src_cache = optarg;
        return -1;
    case 'q':
        a->quiet = true;
        return -1;
    case 'U':
        a->src_flags |= OPEN_FORCE_SHARE;
        return -1;
    default:
        return img_take_source(co, &a->image, c);
    }
}

static int rebase_parse(Co *co, RebaseArgs *a, int argc, char **argv)
{
    bool unused;
    int ret = img_parse_file(co, argc, argv, ":hf:F:b:cupt:T:qU",
                             rebase_longopts, rebase_take, a,
                             &a->image.name);

    if (ret >= 0) {
        return ret;
    }
    if (!a->unsafe && !a->backing) {
        return img_usage_error("Must specify backing file (-b) or use unsafe "
                               "mode (-u)");
    }
    if (!img_check_source(a->image.image_opts, a->image.format)) {
        return 1;
    }
    return img_target_cache(a->cache, &a->image.flags,
                            &a->image.write_through) &&
           img_source_cache(a->src_cache, &a->src_flags, &unused) ? -1 : 1;
}

/* ---- opening ---- */

static bool rebase_side_open(Co *co, RebaseSide *s, Node *node, Error **errp)
{
    s->root = tool_root_new(co, node, 0, false, errp);
    if (!s->root) {
        return false;
    }
    s->len = root_length(s->root);
    s->buf = aligned_alloc_io(4096, REBASE_BUFFER);
    return true;
}

static void rebase_side_close(Co *co, RebaseSide *s)
{
    root_free(co, s->root);
    aligned_free(s->buf);
}

static bool rebase_open_old(Co *co, Rebase *r)
{
    Node *node = node_backing_chain_next(root_node(r->image));
    Error *err = NULL;

    if (node && !rebase_side_open(co, &r->old, node_ref(node), &err)) {
        error_reportf_err(err, "Could not open old backing file '%s': ",
                          node->filename);
        return false;
    }
    return true;
}

static bool rebase_open_new(Co *co, Rebase *r, const RebaseArgs *a)
{
    g_autofree char *name = NULL;
    Error *err = NULL;
    Node *node = NULL;

    if (!a->backing[0]) {
        return true;
    }
    name = open_full_backing(root_node(r->image), a->backing, &err);
    if (name) {
        node = open_filename(co, name, a->format, NULL, a->src_flags, &err);
    }
    if (!node || !rebase_side_open(co, &r->new, node, &err)) {
        error_reportf_err(err, "Could not open new backing file '%s': ",
                          a->backing);
        return false;
    }
    return true;
}

/* The new base where it is part of the old chain. */
static Node *rebase_find_common(const Rebase *r)
{
    Node *node = root_node(r->image);

    if (!r->new.root) {
        return NULL;
    }
    while ((node = node_backing_chain_next(node))) {
        if (node->drv == root_node(r->new.root)->drv &&
            node->exact_filename &&
            !g_strcmp0(node->exact_filename,
                       root_node(r->new.root)->exact_filename)) {
            return node;
        }
    }
    return NULL;
}

/* ---- copying ---- */

static int rebase_read(Co *co, RebaseSide *s, const char *which, int64_t off,
                       int64_t len)
{
    int64_t there = s->root ? CLAMP(s->len - off, 0, len) : 0;
    int ret = there ? root_pread(co, s->root, off, there, s->buf) : 0;

    if (ret < 0) {
        error_report("error while reading from %s backing file: %s", which,
                     strerror(-ret));
        return ret;
    }
    memset(s->buf + there, 0, len - there);
    return 0;
}

/* The cluster at @off as the disk shows it. */
static int rebase_compress(Co *co, Rebase *r, int64_t off)
{
    int64_t start = ROUND_DOWN(off, r->cluster);
    int64_t len = MIN(r->cluster, root_length(r->image) - start);
    int ret = root_pread(co, r->image, start, len, r->whole);

    return ret < 0 ? ret : root_pwrite(co, r->image, start, len, r->whole,
                                       REQ_COMPRESSED);
}

/*
 * Zeroes that stay in front of a backing file. Over none, an image that has no other
 * way to say zero may just have nothing there: that is written.
 */
static int rebase_zero(Co *co, Rebase *r, int64_t off, int64_t len,
                       const uint8_t *zeroes)
{
    Node *image = root_node(r->image);
    int ret = root_zero(co, r->image, off, len, 0);

    for (int64_t pos = 0, n; ret == 0 && pos < len; pos += n) {
        ret = status_allocated(co, image, off + pos, len - pos, &n);
        if (ret == 0) {
            ret = root_pwrite(co, r->image, off + pos, n, zeroes, 0);
        } else if (ret > 0) {
            ret = 0;
        }
    }
    return ret;
}

/* Writes the clusters in which the two differ. */
static int rebase_write(Co *co, Rebase *r, int64_t off, int64_t len)
{
    for (int64_t pos = 0, n; pos < len; pos += n) {
        int64_t at = off + pos;
        int ret = 0;

        n = MIN(r->cluster - at % r->cluster, len - pos);
        if (!memcmp(r->old.buf + pos, r->new.buf + pos, n)) {
            continue;
        }
        if (buffer_is_zero(r->old.buf + pos, n)) {
            ret = rebase_zero(co, r, at, n, r->old.buf + pos);
        } else if (r->whole) {
            ret = rebase_compress(co, r, at);
        } else {
            ret = root_pwrite(co, r->image, at, n, r->old.buf + pos, 0);
        }
        if (ret < 0) {
            error_report("Error while writing to COW image: %s",
                         strerror(-ret));
            return ret;
        }
    }
    return 0;
}

/* 1 if the range has to be looked at; *@len is cut. */
static int rebase_needs_look(Co *co, const Rebase *r, int64_t off,
                             int64_t *len)
{
    Node *image = root_node(r->image);
    int ret = status_allocated(co, image, off, *len, len);

    if (ret == 0 && r->common) {
        ret = status_allocated_above(co, image, r->common, false, off, *len,
                                     len);
        return ret;
    }
    return ret < 0 ? ret : !ret;
}

static bool rebase_copy(Co *co, Rebase *r)
{
    int64_t total = root_length(r->image);
    int ret = 0;

    for (int64_t off = 0, len; off < total; off += len) {
        len = MIN(total - off, REBASE_BUFFER - off % REBASE_BUFFER);
        ret = rebase_needs_look(co, r, off, &len);
        if (ret < 0) {
            error_report("error while reading image metadata: %s",
                         strerror(-ret));
            return false;
        }
        if (ret > 0 &&
            (rebase_read(co, &r->old, "old", off, len) < 0 ||
             rebase_read(co, &r->new, "new", off, len) < 0 ||
             rebase_write(co, r, off, len) < 0)) {
            return false;
        }
        img_progress_set(&r->progress, 100.0 * (off + len) / total);
    }
    ret = root_flush(co, r->image);
    if (ret < 0) {
        error_report("error while flushing: %s", strerror(-ret));
    }
    return ret >= 0;
}

static bool rebase_safely(Co *co, Rebase *r, const RebaseArgs *a)
{
    BlockDriverInfo info;

    if (!rebase_open_old(co, r) || !rebase_open_new(co, r, a)) {
        return false;
    }
    if (!root_node(r->image)->drv->supports_backing) {
        return true;            /* the header is where this ends */
    }
    /* Either side may be missing, but is compared. */
    r->old.buf = r->old.buf ? r->old.buf
                            : aligned_alloc_io(4096, REBASE_BUFFER);
    r->new.buf = r->new.buf ? r->new.buf
                            : aligned_alloc_io(4096, REBASE_BUFFER);
    r->common = rebase_find_common(r);
    r->cluster = info_driver(co, root_node(r->image), &info) >= 0 &&
                 info.cluster_size ? info.cluster_size : REBASE_BUFFER;
    r->whole = a->compress ? aligned_alloc_io(4096, r->cluster) : NULL;
    return rebase_copy(co, r);
}

/* ---- the header ---- */

static int rebase_header(Co *co, Node *node, const RebaseArgs *a)
{
    const char *backing = a->backing;
    int ret = -ENOTSUP;

    if (backing && backing[0] && node->drv->supports_backing && !a->format) {
        error_report("Could not change the backing file to '%s': backing "
                     "format must be specified", backing);
        return 1;
    }
    if (node->drv->image && node->drv->image->change_backing) {
        bool none = !backing || !backing[0];

        ret = node->drv->image->change_backing(co, node,
                                               none ? NULL : backing,
                                               none ? NULL : a->format);
    }
    if (ret == -ENOSPC) {
        error_report("Could not change the backing file to '%s': No space "
                     "left in the file header", backing ? backing : "");
    } else if (ret < 0) {
        error_report("Could not change the backing file to '%s': %s",
                     backing ? backing : "", strerror(-ret));
    }
    return ret < 0;
}

static Root *rebase_open_image(Co *co, const RebaseArgs *a)
{
    Root *image = img_open(co, &a->image);

    if (image && a->compress && !root_node(image)->drv->supports_compressed) {
        error_report("Compression not supported for this file format");
        root_free(co, image);
        return NULL;
    }
    return image;
}

static int rebase_run(Co *co, RebaseArgs *a)
{
    Rebase r = { 0 };
    int ret = 1;

    if (a->format && !driver_find(a->format)) {
        error_report("Invalid format name: '%s'", a->format);
        return 1;
    }
    img_progress_begin(&r.progress, a->progress && !a->quiet);
    r.image = rebase_open_image(co, a);
    if (r.image && (a->unsafe || rebase_safely(co, &r, a))) {
        ret = rebase_header(co, root_node(r.image), a);
    }
    if (ret == 0) {
        img_progress_set(&r.progress, 100.0);
    }
    rebase_side_close(co, &r.new);
    rebase_side_close(co, &r.old);
    root_free(co, r.image);
    aligned_free(r.whole);
    img_progress_end(&r.progress);
    return ret;
}

int img_rebase(Co *co, int argc, char **argv)
{
    RebaseArgs a = {
        .image.flags = OPEN_RDWR,
        .cache = "writeback",
        .src_cache = "writeback",
    };
    int ret = rebase_parse(co, &a, argc, argv);

    if (ret >= 0) {
        return ret;
    }
    if (a.unsafe) {
        a.image.flags |= OPEN_NO_BACKING;
    }
    return rebase_run(co, &a);
}
