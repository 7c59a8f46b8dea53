/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img convert --incremental: copies what is dirty in a bitmap that an NBD
 * server exports, and nothing else, over several connections.
 *
 *     dirty ranges (one connection, the bitmap's context in place of the
 *     allocation)  ->  pieces  ->  workers: read, or zero where the server
 *     says so  ->  target
 *
 * The connections are made one after the other and as far as the server lets
 * them; a server for one client at a time is enough.
 */
#include "util/osdep.h"

#include "block/io.h"
#include "tools/img/convert.h"
#include "tools/tool.h"

#ifdef CONFIG_LIBNBD

#define CONNECTIONS 4
#define EXTRA_TIMEOUT_S 2

typedef struct DirtyRange {
    int64_t off, len;
} DirtyRange;

typedef struct Pull {
    Root *from[CONNECTIONS];
    int n_from;
    Root *target;
    const GArray *dirty;        /* of DirtyRange */
    guint at;                   /* the range that is being given out ... */
    int64_t given;              /* ... and what of it has been */
    int64_t done, total;        /* bytes */
    int next_from;
    int ret;
    ImgProgress *progress;
} Pull;

/* ---- connections ---- */

static Node *pull_nbd_node(Root *root)
{
    Node *node = root_node(root);

    if (strcmp(node->drv->name, "raw") == 0 && node->file) {
        node = node->file->child;
    }
    return strcmp(node->drv->name, "nbd") == 0 ? node : NULL;
}

/* One more connection like @like; @context: for its status. NULL: no. */
static Root *pull_connect(Co *co, const BlockdevOptions *like,
                          const char *context, Error **errp)
{
    BlockdevOptions *opts = BlockdevOptions_clone(like);
    Node *node;

    g_clear_pointer(&opts->node_name, g_free);
    g_free(opts->u.nbd.x_dirty_bitmap);
    opts->u.nbd.x_dirty_bitmap = g_strdup(context);
    opts->has_read_only = opts->read_only = true;
    opts->u.nbd.has_open_timeout = true;
    opts->u.nbd.open_timeout = EXTRA_TIMEOUT_S;
    node = open_options(co, opts, errp);
    return node ? tool_root_new(co, node, 0, false, errp) : NULL;
}

/* ---- what is dirty ---- */

static int pull_list(Co *co, Root *map, GArray *dirty)
{
    int64_t off = 0, len = root_length(map);
    int ret = 0;

    root_begin(co, map);
    while (off < len && ret == 0) {
        Extent ext;

        ret = status_layer(co, root_node(map), true, off, len - off, &ext);
        if (ret == 0 && !(ext.flags & EXTENT_DATA)) {
            DirtyRange *last = dirty->len
                ? &g_array_index(dirty, DirtyRange, dirty->len - 1) : NULL;

            if (last && last->off + last->len == off) {
                last->len += ext.len;
            } else {
                DirtyRange range = { off, ext.len };
                g_array_append_val(dirty, range);
            }
        }
        off += ret == 0 ? ext.len : 0;
    }
    root_end(map);
    return ret;
}

GArray *convert_find_dirty(Co *co, const ImgSource *src, const char *bitmap)
{
    g_autofree char *context = g_strdup_printf("qemu:dirty-bitmap:%s", bitmap);
    g_autoptr(GArray) dirty = g_array_new(false, false, sizeof(DirtyRange));
    g_autoptr(BlockdevOptions) opts = NULL;
    Root *root = img_open(co, src), *map;
    Error *err = NULL;
    int ret;

    if (!root) {
        return NULL;
    }
    if (!pull_nbd_node(root)) {
        error_report("--incremental needs an NBD export as its source");
        root_free(co, root);
        return NULL;
    }
    opts = BlockdevOptions_clone(pull_nbd_node(root)->options);
    root_free(co, root);
    map = pull_connect(co, opts, context, &err);
    if (!map) {
        error_reportf_err(err, "Bitmap '%s' is not found at the server: ",
                          bitmap);
        return NULL;
    }
    ret = pull_list(co, map, dirty);
    root_free(co, map);
    if (ret < 0) {
        error_report("error while reading bitmap '%s': %s", bitmap,
                     strerror(-ret));
        return NULL;
    }
    return g_steal_pointer(&dirty);
}

/* ---- copying ---- */

/* The next piece that nobody has; false: there is none. */
static bool pull_take(Pull *p, int64_t *off, int64_t *len)
{
    const DirtyRange *r;

    if (p->ret < 0 || p->at == p->dirty->len) {
        return false;
    }
    r = &g_array_index(p->dirty, DirtyRange, p->at);
    *off = r->off + p->given;
    *len = MIN(r->len - p->given, CONVERT_BUFFER);
    p->given += *len;
    if (p->given == r->len) {
        p->at++;
        p->given = 0;
    }
    return true;
}

static int pull_status(Co *co, Root *from, int64_t off, int64_t len,
                       Extent *ext)
{
    int ret;

    root_begin(co, from);
    ret = status_layer(co, root_node(from), true, off, len, ext);
    root_end(from);
    return ret;
}

static int pull_piece(Co *co, Pull *p, Root *from, int64_t off, int64_t len,
                      void *buf)
{
    while (len) {
        Extent ext;
        int ret = pull_status(co, from, off, len, &ext);

        if (ret < 0) {
            error_report("error while reading block status at offset %" PRId64
                         ": %s", off, strerror(-ret));
            return ret;
        }
        if (ext.flags & EXTENT_ZERO) {
            ret = root_zero(co, p->target, off, ext.len, REQ_MAY_UNMAP);
        } else {
            ret = root_pread(co, from, off, ext.len, buf);
            if (ret < 0) {
                error_report("error while reading at byte %" PRId64 ": %s",
                             off, strerror(-ret));
                return ret;
            }
            ret = root_pwrite(co, p->target, off, ext.len, buf, 0);
        }
        if (ret < 0) {
            error_report("error while writing at byte %" PRId64 ": %s", off,
                         strerror(-ret));
            return ret;
        }
        off += ext.len;
        len -= ext.len;
    }
    return 0;
}

static int pull_work(Co *co, void *opaque)
{
    Pull *p = opaque;
    Root *from = p->from[p->next_from++ % p->n_from];
    g_autofree void *buf = g_malloc(CONVERT_BUFFER);
    int64_t off, len;

    while (pull_take(p, &off, &len)) {
        int ret = pull_piece(co, p, from, off, len, buf);

        if (ret < 0) {
            p->ret = ret;
            return ret;
        }
        p->done += len;
        img_progress_set(p->progress, p->done * 100.0 / p->total);
    }
    return 0;
}

int convert_incremental(Co *co, ConvertCopy *c, const GArray *dirty)
{
    Pull p = {
        .from = { c->sources[0].root }, .n_from = 1, .target = c->target,
        .dirty = dirty, .progress = c->progress,
    };
    CoGroup group;
    int ret;

    for (guint i = 0; i < dirty->len; i++) {
        p.total += g_array_index(dirty, DirtyRange, i).len;
    }
    while (p.n_from < MIN(CONNECTIONS, c->n_workers) &&
           p.total > CONVERT_BUFFER * p.n_from) {
        Root *more = pull_connect(
            co, pull_nbd_node(c->sources[0].root)->options, NULL, NULL);

        if (!more) {
            break;
        }
        p.from[p.n_from++] = more;
    }
    co_group_init(&group, co_loop(co), c->n_workers);
    for (int i = 0; i < c->n_workers; i++) {
        co_group_start(co, &group, pull_work, &p);
    }
    ret = co_group_wait(co, &group);
    for (int i = 1; i < p.n_from; i++) {
        root_free(co, p.from[i]);
    }
    return ret;
}

#else

GArray *convert_find_dirty(Co *co, const ImgSource *src, const char *bitmap)
{
    error_report("--incremental needs libnbd, which was not compiled in");
    return NULL;
}

int convert_incremental(Co *co, ConvertCopy *c, const GArray *dirty)
{
    return -ENOTSUP;
}

#endif
