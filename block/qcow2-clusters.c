/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Which host clusters are given out.
 *
 * The search for free ones starts at free_cursor, before which there is none;
 * the first run that is long enough is taken. Compressed data are put one
 * behind the other, at free_byte, as long as the cluster can be shared. All of
 * it is called with `meta`; counting is in qcow2-refcount.c.
 */
#include "block/qcow2.h"

/* Whether [first, first + n) is so long that the blocks that it lacks, each in
 * the first cluster that it counts, would always part it. */
static bool lacks_blocks(const Qcow2State *s, int64_t first, int64_t n)
{
    int64_t end = ((first + n - 1) >> s->refblock_bits) + 1;

    for (int64_t i = first >> s->refblock_bits;
         i < end && n >> s->refblock_bits; i++) {
        if (i >= s->reftable_size ||
            !(s->reftable[i] & QCOW2_REFT_OFFSET_MASK)) {
            return true;
        }
    }
    return false;
}

/* Between @min and @max clusters, as many as lie together; see the callers. */
static int64_t alloc_run(Co *co, Node *node, int64_t min, int64_t max,
                         int64_t *got)
{
    Qcow2State *s = qcow2_state(node);
    int64_t first, n;
    bool at_cursor = true;
    int r;

    for (int64_t i = s->free_cursor;; i = first + n) {
        r = qcow2_refcount_find_free(co, node, i, &first);
        if (r < 0) {
            return r;
        }
        if (at_cursor) {
            s->free_cursor = first;
        }
        r = qcow2_refcount_count_free(co, node, first, max, &n);
        if (r < 0) {
            return r;
        }
        if (n < min) {
            at_cursor = false;
            continue;
        }
        if (first && lacks_blocks(s, first, min)) {
            *got = min;
            return qcow2_alloc_long_run(co, node, min);
        }
        r = qcow2_refcount_take(co, node, first, n);
        if (r < 0) {
            return r;
        }
        if (r == 0) {
            break;
        }
        n = 0;
        first = s->free_cursor;
        at_cursor = true;
    }
    if (first == s->free_cursor) {
        s->free_cursor = first + n;
    }
    *got = n;
    return first << s->cluster_bits;
}

int64_t qcow2_alloc_clusters(Co *co, Node *node, int64_t bytes)
{
    int64_t n = qcow2_size_to_clusters(qcow2_state(node), bytes), got;

    qcow2_event(co, node, BLKDBG_CLUSTER_ALLOC);
    return alloc_run(co, node, n, n, &got);
}

int64_t qcow2_alloc_some(Co *co, Node *node, int64_t n, int64_t *got)
{
    qcow2_event(co, node, BLKDBG_CLUSTER_ALLOC);
    return alloc_run(co, node, 1, n, got);
}

int64_t qcow2_alloc_clusters_at(Co *co, Node *node, int64_t off, int64_t n)
{
    Qcow2State *s = qcow2_state(node);
    int64_t first = off >> s->cluster_bits, got;
    int r;

    g_assert(!qcow2_in_cluster(s, off));
    do {
        r = qcow2_refcount_count_free(co, node, first, n, &got);
        if (r < 0) {
            return r;
        }
        r = got ? qcow2_refcount_take(co, node, first, got) : 0;
    } while (r > 0);
    if (r < 0) {
        return r;
    }
    if (got && first == s->free_cursor) {
        s->free_cursor += got;
    }
    return got;
}

/* Whether the cluster that compressed data were last put in takes @bytes more
 * and one more reference. With *@spill the next one is needed, too. */
static int bytes_fit(Co *co, Node *node, int64_t bytes, bool *fit,
                     bool *spill)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t refs = s->refcount_max;
    int r = 0;

    if (s->free_byte) {
        r = qcow2_refcount_get(co, node, s->free_byte >> s->cluster_bits,
                               &refs);
    }
    *fit = s->free_byte && refs > 0 && refs < s->refcount_max;
    *spill = *fit && qcow2_in_cluster(s, s->free_byte) + bytes >
             s->cluster_size;
    return r;
}

int64_t qcow2_alloc_bytes(Co *co, Node *node, int64_t bytes)
{
    Qcow2State *s = qcow2_state(node);
    int64_t off = s->free_byte;
    bool fit, spill;
    int64_t r;

    g_assert(bytes > 0 && bytes <= s->cluster_size);
    qcow2_event(co, node, BLKDBG_CLUSTER_ALLOC_BYTES);
    r = bytes_fit(co, node, bytes, &fit, &spill);
    if (r < 0) {
        return r;
    }
    if (spill) {
        r = qcow2_alloc_clusters_at(co, node, qcow2_cluster_up(s, off), 1);
        if (r < 0) {
            return r;
        }
        fit = r == 1;
    }
    if (!fit) {
        off = qcow2_alloc_clusters(co, node, bytes);
        if (off < 0) {
            return off;
        }
    } else {
        r = qcow2_refcount_add(co, node, off, 1, 1, QCOW2_DISCARD_NEVER);
        if (r < 0 && spill) {
            qcow2_free_clusters(co, node, qcow2_cluster_up(s, off), 1,
                                QCOW2_DISCARD_NEVER);
        }
        if (r < 0) {
            return r;
        }
    }
    s->free_byte = qcow2_in_cluster(s, off + bytes) ? off + bytes : 0;
    return off;
}

void qcow2_free_clusters(Co *co, Node *node, int64_t off, int64_t len,
                         Qcow2DiscardType type)
{
    int r;

    qcow2_event(co, node, BLKDBG_CLUSTER_FREE);
    r = qcow2_refcount_add(co, node, off, len, -1, type);
    if (r < 0) {
        error_report("qcow2_free_clusters failed: %s", g_strerror(-r));
    }
}
