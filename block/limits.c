/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The limits of a node: what its storage below asks of requests, narrowed by
 * its own driver.
 *
 * Buffers and request sizes follow the children, since data go there. Alignment
 * of offsets does not: a format maps them, and the child pads what is too
 * small (io-align.c). Limits of zeroes and discards pass through filters only.
 *
 * They are computed when a node has been opened or reopened, bottom up.
 */
#include "util/osdep.h"

#include "block/limits.h"

static int64_t limits_min_nonzero(int64_t a, int64_t b)
{
    if (a == 0 || b == 0) {
        return MAX(a, b);
    }
    return MIN(a, b);
}

static void limits_take(BlockLimits *l, const BlockLimits *child)
{
    l->mem_alignment = MAX(l->mem_alignment, child->mem_alignment);
    l->max_transfer = limits_min_nonzero(l->max_transfer,
                                         child->max_transfer);
    l->opt_transfer = MAX(l->opt_transfer, child->opt_transfer);
    l->max_iov = limits_min_nonzero(l->max_iov, child->max_iov);
}

static void limits_pass(BlockLimits *l, const BlockLimits *child)
{
    l->max_zero = child->max_zero;
    l->zero_alignment = child->zero_alignment;
    l->max_discard = child->max_discard;
    l->discard_alignment = child->discard_alignment;
}

void limits_refresh(Node *node)
{
    BlockLimits l = { .request_alignment = 1, .mem_alignment = 1 };

    for (guint i = 0; i < node->children->len; i++) {
        Edge *e = g_ptr_array_index(node->children, i);

        limits_take(&l, &e->child->limits);
        if (e->role == ROLE_PRIMARY && node->drv->kind == DRIVER_FILTER) {
            limits_pass(&l, &e->child->limits);
        }
    }
    node->limits = l;
    if (node->drv->limits) {
        node->drv->limits(node);
    }
    g_assert(is_power_of_2(node->limits.request_alignment));
    g_assert(is_power_of_2(node->limits.mem_alignment));
}
