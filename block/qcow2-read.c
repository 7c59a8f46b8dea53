/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Reading, and telling what is where.
 *
 * A request that lies in one extent is one lookup and one read of the data
 * file: nothing is allocated. One that is scattered over several extents reads
 * them side by side.
 *
 * What is unallocated comes from the backing file, past whose end there are
 * zeroes.
 */
#include "block/qcow2.h"

#define READ_WORKERS 8
#define STATUS_LIST 128         /* extents that are told of at once */

/* One extent of a request. */
typedef struct ReadPart {
    Node *node;
    int64_t off, len;
    const IoVec *iov;
    int64_t iov_off;
    ReqFlags flags;
    Qcow2Map map;
} ReadPart;

static int read_backing(Co *co, Node *node, const ReadPart *p)
{
    int64_t have = 0;
    int r;

    if (node->backing && p->off < node->backing->child->length) {
        have = MIN(p->len, node->backing->child->length - p->off);
        qcow2_event(co, node, BLKDBG_READ_BACKING_AIO);
        r = io_read(co, node->backing, p->off, have, p->iov, p->iov_off,
                    p->flags);
        if (r < 0) {
            return r;
        }
    }
    iov_memset(p->iov, p->iov_off + have, 0, p->len - have);
    return 0;
}

static int read_part(Co *co, const ReadPart *p)
{
    Qcow2State *s = qcow2_state(p->node);

    switch (p->map.type) {
    case QCOW2_MAP_NORMAL:
        qcow2_event(co, p->node, BLKDBG_READ_AIO);
        return io_read(co, s->data, p->map.host, p->len, p->iov, p->iov_off,
                       p->flags);
    case QCOW2_MAP_ZERO:
    case QCOW2_MAP_ZERO_HOST:
        iov_memset(p->iov, p->iov_off, 0, p->len);
        return 0;
    case QCOW2_MAP_COMPRESSED:
        return qcow2_read_compressed(co, p->node, p->map.entry,
                                     qcow2_in_cluster(s, p->off), p->len,
                                     p->iov, p->iov_off);
    default:
        return read_backing(co, p->node, p);
    }
}

static int read_part_run(Co *co, void *arg)
{
    g_autofree ReadPart *p = arg;

    return read_part(co, p);
}

/* The rest of a request whose first extent is not all of it. */
static int read_scattered(Co *co, ReadPart first, int64_t len)
{
    CoGroup group;
    ReadPart p = first;
    int r = 0, all;

    co_group_init(&group, co_loop(co), READ_WORKERS);
    for (;;) {
        ReadPart *part;

        p.len = p.map.len;
        part = g_new(ReadPart, 1);
        *part = p;
        co_group_start(co, &group, read_part_run, part);
        p.off += p.len;
        p.iov_off += p.len;
        len -= p.len;
        if (len == 0 || group.ret < 0) {
            break;
        }
        r = qcow2_map(co, p.node, p.off, len, &p.map);
        if (r < 0) {
            break;
        }
    }
    all = co_group_wait(co, &group);
    return r < 0 ? r : all;
}

int qcow2_read(Co *co, Node *node, int64_t off, int64_t len, const IoVec *iov,
               int64_t iov_off, ReqFlags flags)
{
    Qcow2State *s = qcow2_state(node);
    unsigned epoch = qcow2_epoch_enter(s);
    ReadPart p = {
        .node = node, .off = off, .len = len, .iov = iov, .iov_off = iov_off,
        .flags = flags,
    };
    int r = s->corrupt ? -ENOMEDIUM : qcow2_map(co, node, off, len, &p.map);

    if (r >= 0) {
        r = p.map.len == len ? read_part(co, &p) : read_scattered(co, p, len);
    }
    qcow2_epoch_leave(s, epoch);
    return r;
}

/* ---- status ---- */

static void map_to_extent(const Qcow2State *s, const Qcow2Map *m, Extent *ret)
{
    switch (m->type) {
    case QCOW2_MAP_NORMAL:
        ret->flags = EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_OFFSET_VALID;
        break;
    case QCOW2_MAP_COMPRESSED:
        ret->flags = EXTENT_DATA | EXTENT_ALLOCATED | EXTENT_COMPRESSED;
        break;
    case QCOW2_MAP_ZERO:
        ret->flags = EXTENT_ZERO | EXTENT_ALLOCATED;
        break;
    case QCOW2_MAP_ZERO_HOST:
        ret->flags = EXTENT_ZERO | EXTENT_ALLOCATED | EXTENT_OFFSET_VALID;
        break;
    case QCOW2_MAP_UNALLOCATED_HOST:
        ret->flags = EXTENT_OFFSET_VALID;   /* QEMU tells of the place, too */
        break;
    default:
        ret->flags = 0;
        break;
    }
    if (ret->flags & EXTENT_OFFSET_VALID) {
        ret->map = m->host;
        ret->file = s->data->child;
    }
    ret->len = m->len;
}

/* Whether @m goes on where @ret ends. */
static bool extent_continues(const Qcow2State *s, const Extent *ret,
                             const Qcow2Map *m)
{
    Extent next = { 0 };

    map_to_extent(s, m, &next);
    return next.flags == ret->flags &&
           (!(next.flags & EXTENT_OFFSET_VALID) ||
            next.map == ret->map + ret->len);
}

static bool extent_is_plain(const Extent *e)
{
    return (e->flags & EXTENT_DATA) && !(e->flags & EXTENT_COMPRESSED);
}

/*
 * Asking the file where it has holes takes a system call an extent. It pays
 * only where metadata were preallocated: the image then uses more clusters
 * than the file occupies, by a ninth and by two. It is the image that counts,
 * so that nobody looks for holes in a data file beside it.
 */
static bool find_holes(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    Node *file = node_skip_filters(node->file->child);
    int64_t length, used, enough;
    bool ret = true;
    int r;

    if (!file->drv->allocated_size) {
        return true;
    }
    used = file->drv->allocated_size(co, file);
    length = io_length(co, file);
    if (used < 0 || length < 0) {
        return true;
    }
    used >>= s->cluster_bits;
    length = DIV_ROUND_UP(length, s->cluster_size);
    enough = MAX(used * 10 / 9, used + 2);
    if (length < enough) {
        return false;
    }
    co_mutex_lock(co, &s->meta);
    r = qcow2_refcount_has(co, node, length, enough, &ret);
    co_mutex_unlock(&s->meta);
    return r < 0 || ret;
}

/* Found out once. */
static bool file_has_holes(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);

    if (!s->holes_checked) {
        s->has_holes = find_holes(co, node);
        s->holes_checked = true;
    }
    return s->has_holes;
}

int qcow2_status(Co *co, Node *node, bool precise, int64_t off, int64_t len,
                 Extent *ret)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Map m;
    int r = s->corrupt ? -ENOMEDIUM : qcow2_map(co, node, off, len, &m);

    if (r < 0) {
        return r;
    }
    memset(ret, 0, sizeof(*ret));
    map_to_extent(s, &m, ret);
    while (ret->len < len) {
        r = qcow2_map(co, node, off + ret->len, len - ret->len, &m);
        if (r < 0) {
            return r;
        }
        if (!extent_continues(s, ret, &m)) {
            break;
        }
        ret->len += m.len;
    }
    if (precise && extent_is_plain(ret) && file_has_holes(co, node)) {
        ret->flags |= EXTENT_RECURSE;
    }
    return 0;
}

int qcow2_status_list(Co *co, Node *node, bool precise, int64_t off,
                      int64_t len, Extent *ret, int max)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Map maps[STATUS_LIST];
    bool plain = false;
    int n = s->corrupt ? -ENOMEDIUM :
            qcow2_map_list(co, node, off, len, maps, MIN(max, STATUS_LIST));

    for (int i = 0; i < n; i++) {
        ret[i] = (Extent) { 0 };
        map_to_extent(s, &maps[i], &ret[i]);
        plain = plain || extent_is_plain(&ret[i]);
    }
    if (precise && plain && file_has_holes(co, node)) {
        for (int i = 0; i < n; i++) {
            ret[i].flags |= extent_is_plain(&ret[i]) ? EXTENT_RECURSE : 0;
        }
    }
    return n;
}
