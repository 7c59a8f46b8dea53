/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Where the data of a disk are: of one layer, and through a chain.
 *
 * One layer's answer comes from its driver. It is then completed:
 *
 *     EXTENT_RAW        the answer is the child's at .map, with its own extent
 *     DATA or ZERO      decided by this layer: ALLOCATED
 *     neither           falls through to the backing file; without one, or
 *                       past its end, it reads as zeroes
 *     EXTENT_RECURSE    the storage below may know of zeroes in the data
 *
 * Through a chain the first layer that allocates decides. A layer that is
 * shorter than those above it reads as zeroes past its end, and decides that.
 *
 * Offsets need no alignment: the question to the driver is widened to its
 * alignment and the answer cut back.
 */

#include "block/io.h"

/* What the driver says, without its own alignment. */
static int status_driver(Co *co, Node *node, bool precise, int64_t off,
                         int64_t len, Extent *ret)
{
    int64_t align = node->limits.request_alignment;
    int64_t start = ROUND_DOWN(off, align);
    int64_t skip = off - start;
    int r;

    *ret = (Extent) { .len = len };
    if (!node->drv->status) {
        if (node->drv->kind == DRIVER_PROTOCOL || !node->file) {
            ret->flags = EXTENT_DATA | EXTENT_OFFSET_VALID;
        } else {
            ret->flags = EXTENT_RAW | EXTENT_OFFSET_VALID;
        }
        ret->map = off;
        ret->file = node->file ? node->file->child : node;
        return 0;
    }
    r = node->drv->status(co, node, precise, start,
                          ROUND_UP(off + len, align) - start, ret);
    if (r < 0) {
        return r;
    }
    g_assert(ret->len > skip);
    ret->len = MIN(ret->len - skip, len);
    ret->map += skip;
    return 0;
}

/* The child's answer where this node only hands on. Of a filter the chain goes
 * on below; what a raw node shows is all that its child shows. */
static int status_raw(Co *co, Node *node, bool precise, Extent *ret)
{
    int64_t map = ret->map;
    Node *child = ret->file;
    int64_t len = ret->len;
    int r;

    if (map >= child->length) {
        ret->flags = EXTENT_ZERO | EXTENT_ALLOCATED;
        return 0;
    }
    if (node->drv->kind == DRIVER_FILTER) {
        r = status_layer(co, child, precise, map, len, ret);
    } else {
        r = status_above(co, child, NULL, false, precise, map, len, ret);
    }
    ret->flags &= ~(EXTENT_RAW | EXTENT_EOF);
    return r;
}

/* Zeroes in data that the storage below knows of. */
static int status_recurse(Co *co, Extent *ret)
{
    Extent below;
    int r;

    if (ret->map >= ret->file->length) {
        ret->flags |= EXTENT_ZERO;
        return 0;
    }
    r = status_layer(co, ret->file, true, ret->map, ret->len, &below);
    if (r < 0) {
        return 0;           /* the answer is right without it */
    }
    if (below.len < ret->len && (below.flags & EXTENT_EOF) &&
        (below.flags & EXTENT_ZERO)) {
        ret->flags |= EXTENT_ZERO;      /* past the end it goes on so */
        return 0;
    }
    ret->len = below.len;
    ret->flags |= below.flags & EXTENT_ZERO;
    return 0;
}

/* Neither data nor zero: what the backing file's length says. */
static void status_unallocated(Node *node, int64_t off, Extent *ret)
{
    Node *backing = node->backing ? node->backing->child : NULL;

    if (!backing || off >= backing->length) {
        ret->flags |= EXTENT_ZERO;
    } else if (off + ret->len > backing->length) {
        ret->len = backing->length - off;
    }
}

/* Completes what the driver said of @off. */
static int status_complete(Co *co, Node *node, bool precise, int64_t off,
                           Extent *ret)
{
    int r = 0;

    if (ret->flags & EXTENT_RAW) {
        r = status_raw(co, node, precise, ret);
    } else if (ret->flags & (EXTENT_DATA | EXTENT_ZERO)) {
        ret->flags |= EXTENT_ALLOCATED;
        if (precise && (ret->flags & EXTENT_RECURSE) &&
            (ret->flags & EXTENT_DATA) && !(ret->flags & EXTENT_ZERO) &&
            (ret->flags & EXTENT_OFFSET_VALID) && ret->file &&
            ret->file != node) {
            r = status_recurse(co, ret);
        }
    } else if (node->drv->supports_backing &&
               !(ret->flags & EXTENT_ALLOCATED)) {
        status_unallocated(node, off, ret);
    }
    if (r == 0 && off + ret->len == node->length) {
        ret->flags |= EXTENT_EOF;
    }
    return r;
}

int status_layer(Co *co, Node *node, bool precise, int64_t off, int64_t len,
                 Extent *ret)
{
    int r;

    loop_assert(node->loop);
    g_assert(off >= 0 && len > 0);
    if (off >= node->length) {
        *ret = (Extent) { .len = len, .flags = EXTENT_ZERO | EXTENT_EOF };
        return 0;
    }
    len = MIN(len, node->length - off);
    r = status_driver(co, node, precise, off, len, ret);
    return r < 0 ? r : status_complete(co, node, precise, off, ret);
}

/* The next layer down. */
static Node *status_next(Node *node)
{
    Edge *e = node_chain_child(node);

    return e ? e->child : NULL;
}

/* In case of a layer shorter than the top: zeroes, decided by it. */
static void status_short_layer(Node *node, int depth, int64_t len, Extent *ret)
{
    *ret = (Extent) {
        .len = len,
        .flags = EXTENT_ZERO | EXTENT_ALLOCATED,
        .file = node,
        .depth = depth,
    };
}

int status_above(Co *co, Node *top, Node *base, bool include_base,
                 bool precise, int64_t off, int64_t len, Extent *ret)
{
    bool at_end = false;
    int depth = 0;

    if (top == base && !include_base) {
        *ret = (Extent) { .len = len, .depth = -1 };
        return 0;
    }
    for (Node *node = top; node; node = status_next(node)) {
        int r;

        if (node == base && !include_base) {
            break;
        }
        if (node != top && off >= node->length) {
            status_short_layer(node, depth, len, ret);
            at_end = off + len == top->length;
            break;
        }
        r = status_layer(co, node, precise, off, len, ret);
        if (r < 0) {
            return r;
        }
        ret->depth = depth;
        if (ret->len < len) {
            at_end = false;
        }
        if (node == top && (ret->flags & EXTENT_EOF)) {
            at_end = true;
        }
        len = ret->len;
        if (ret->flags & EXTENT_ALLOCATED || node == base) {
            break;
        }
        depth++;
    }
    ret->flags &= ~EXTENT_EOF;
    if (at_end) {
        ret->flags |= EXTENT_EOF;
    }
    if (!(ret->flags & EXTENT_ALLOCATED)) {
        ret->depth = -1;
    }
    return 0;
}

/* Completes the @n extents that @top's driver told of, as far as they need no other
 * layer and keep their length; how many those are, or -errno. */
static int status_list_complete(Co *co, Node *top, bool precise, int64_t off,
                                Extent *ret, int n)
{
    bool last_layer = !status_next(top);

    for (int i = 0; i < n; i++) {
        int64_t len = ret[i].len;
        int r = status_complete(co, top, precise, off, &ret[i]);

        if (r < 0) {
            return r;
        }
        if (!(ret[i].flags & EXTENT_ALLOCATED)) {
            if (!last_layer) {
                return i;
            }
            ret[i].depth = -1;
        }
        if (ret[i].len < len) {
            return i + 1;
        }
        off += len;
    }
    return n;
}

int status_list(Co *co, Node *top, bool precise, int64_t off, int64_t len,
                Extent *ret, int max)
{
    int r = 0;

    loop_assert(top->loop);
    if (top->drv->status_list && max > 1 && off + len <= top->length &&
        (off | len) % top->limits.request_alignment == 0) {
        r = top->drv->status_list(co, top, precise, off, len, ret, max);
        if (r > 0) {
            r = status_list_complete(co, top, precise, off, ret, r);
        }
    }
    if (r == 0) {
        r = status_above(co, top, NULL, false, precise, off, len, ret);
        return r < 0 ? r : 1;
    }
    return r;
}

int status_allocated(Co *co, Node *node, int64_t off, int64_t len, int64_t *n)
{
    Extent ext;
    int ret = status_layer(co, node, false, off, len, &ext);

    if (ret < 0) {
        return ret;
    }
    *n = ext.len;
    return !!(ext.flags & EXTENT_ALLOCATED);
}

int status_allocated_above(Co *co, Node *top, Node *base, bool include_base,
                           int64_t off, int64_t len, int64_t *n)
{
    Extent ext;
    int ret = status_above(co, top, base, include_base, false, off, len, &ext);

    if (ret < 0) {
        return ret;
    }
    *n = ext.len;
    return !!(ext.flags & EXTENT_ALLOCATED);
}

int status_comes_up(Co *co, Node *top, Node *bottom, int64_t off, int64_t len,
                    int64_t *n)
{
    int ret = status_allocated(co, top, off, len, n);
    Node *next = node_backing_chain_next(top);
    Node *base = bottom ? node_backing_chain_next(bottom) : NULL;

    if (ret != 0 || !next || top == bottom) {
        return MIN(ret, 0);
    }
    if (base && off < base->length) {
        return status_allocated_above(co, top, bottom, true, off,
                                      MIN(*n, base->length - off), n);
    }
    return status_allocated_above(co, next, bottom, bottom, off, *n, n);
}

int status_is_zero(Co *co, Node *node, int64_t off, int64_t len)
{
    while (len > 0) {
        Extent ext;
        int ret = status_above(co, node, NULL, false, true, off, len, &ext);

        if (ret < 0) {
            return ret;
        }
        if (!(ext.flags & EXTENT_ZERO)) {
            return 0;
        }
        off += ext.len;
        len -= ext.len;
    }
    return 1;
}
