/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the bitmap-populate job knows of a range without reading it: each pattern
 * asks for the status of its layers, and says what has to be read.
 */
#include "block/populate-private.h"

#include "block/io.h"

static int scan_allocation(Co *co, PopulateJob *p, int64_t off, int64_t len,
                           Scan *s)
{
    int ret;

    root_begin(co, p->root);
    if (p->pattern == BITMAP_PATTERN_ALLOCATION_TOP) {
        ret = status_allocated(co, p->node, off, len, &s->len);
    } else {
        ret = status_allocated_above(co, p->node, p->base, false, off, len,
                                     &s->len);
    }
    root_end(p->root);
    s->kind = ret > 0 ? SCAN_DIRTY : SCAN_CLEAN;
    return MIN(ret, 0);
}

/* 1: zeroes, 0: it has to be read. Comes back to the loop it came from. */
static int scan_zero(Co *co, Root *root, int64_t off, int64_t *len)
{
    Loop *home = co_loop(co);
    Extent ext;
    int ret;

    root_begin(co, root);
    ret = status_above(co, root_node(root), NULL, false, true, off, *len,
                       &ext);
    root_end(root);
    co_move(co, home);
    if (ret < 0) {
        return ret;
    }
    *len = ext.len;
    return !!(ext.flags & EXTENT_ZERO);
}

static int scan_non_zero(Co *co, PopulateJob *p, int64_t off, int64_t len,
                         Scan *s)
{
    int ret = scan_zero(co, p->root, off, &len);

    *s = (Scan) {
        .kind = ret ? SCAN_CLEAN : SCAN_READ, .len = len, .read_node = true,
    };
    return MIN(ret, 0);
}

static int scan_difference(Co *co, PopulateJob *p, int64_t off, int64_t len,
                           Scan *s)
{
    int node_zero, base_zero;

    if (off >= p->base_length) {
        *s = (Scan) { .kind = SCAN_DIRTY, .len = len };
        return 0;
    }
    len = MIN(len, p->base_length - off);
    if (p->base_below) {
        /* What none of the layers above decides is the base's own. */
        int ret = scan_allocation(co, p, off, len, s);

        if (ret < 0 || s->kind == SCAN_CLEAN) {
            return ret;
        }
        len = s->len;
    }
    node_zero = scan_zero(co, p->root, off, &len);
    base_zero = node_zero < 0 ? 0 : scan_zero(co, p->base_root, off, &len);
    *s = (Scan) {
        .kind = node_zero && base_zero ? SCAN_CLEAN : SCAN_READ,
        .len = len, .read_node = !node_zero, .read_base = !base_zero,
    };
    return MIN(node_zero, 0) + MIN(base_zero, 0);
}

int populate_scan(Co *co, PopulateJob *p, int64_t off, int64_t len, Scan *s)
{
    switch (p->pattern) {
    case BITMAP_PATTERN_NON_ZERO:
        return scan_non_zero(co, p, off, len, s);
    case BITMAP_PATTERN_DIFFERENCE:
        return scan_difference(co, p, off, len, s);
    default:
        return scan_allocation(co, p, off, len, s);
    }
}
