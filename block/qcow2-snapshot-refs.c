/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The references that an L1 table holds: to its L2 tables, and through them to
 * data. A snapshot holds one on everything that it shares; where there is more
 * than one, the COPIED flag is off and a write makes a copy.
 *
 * Images with an external data file have no snapshots: nothing counts there.
 * Runs of clusters that lie side by side are counted in one step.
 */
#include "block/qcow2-snapshot.h"

/* ---- adding ---- */

typedef struct RefRun {
    Node *node;
    int64_t delta;
    int64_t off, len;           /* not added yet; len 0: none */
} RefRun;

static int run_flush(Co *co, RefRun *run)
{
    int r = 0;

    if (run->len) {
        r = qcow2_refcount_add(co, run->node, run->off, run->len, run->delta,
                               QCOW2_DISCARD_SNAPSHOT);
        run->len = 0;
    }
    return r;
}

static int run_add(Co *co, RefRun *run, int64_t off, int64_t len)
{
    int r;

    if (run->len && off == run->off + run->len) {
        run->len += len;
        return 0;
    }
    r = run_flush(co, run);
    run->off = off;
    run->len = len;
    return r;
}

static int add_entry(Co *co, RefRun *run, uint64_t entry)
{
    Qcow2State *s = qcow2_state(run->node);
    int64_t off, len;

    if (entry & QCOW2_COMPRESSED_FLAG) {
        int r = run_flush(co, run);

        /* Compressed clusters share host clusters: never in one run. */
        qcow2_parse_compressed(s, entry, &off, &len);
        return r < 0 ? r : qcow2_refcount_add(co, run->node, off, len,
                                              run->delta,
                                              QCOW2_DISCARD_SNAPSHOT);
    }
    off = entry & QCOW2_OFFSET_MASK;
    if (!off) {
        return 0;
    }
    return off & (s->cluster_size - 1) ? -EIO :
           run_add(co, run, off, s->cluster_size);
}

static int add_l2(Co *co, RefRun *run, int64_t l2_off, uint8_t *buf)
{
    Qcow2State *s = qcow2_state(run->node);
    int r;

    if (l2_off & (s->cluster_size - 1)) {
        return -EIO;
    }
    r = io_pread(co, run->node->file, l2_off, s->cluster_size, buf, 0);
    for (int64_t at = 0; r >= 0 && at < s->cluster_size;
         at += s->l2_entry_size) {
        r = add_entry(co, run, ldq_be_p(buf + at));
    }
    if (r >= 0) {
        r = run_flush(co, run);
    }
    if (r >= 0) {
        r = qcow2_refcount_add(co, run->node, l2_off, s->cluster_size,
                               run->delta, QCOW2_DISCARD_SNAPSHOT);
    }
    return r;
}

/* Undoes the first @n tables of a failed addition; what can't be undone leaks
 * (or, with @delta < 0, has leaked already). */
static void undo_refs(Co *co, Node *node, const uint64_t *l1, uint32_t n,
                      int64_t delta, uint8_t *buf)
{
    RefRun run = { node, -delta };

    for (uint32_t i = 0; i < n; i++) {
        int64_t off = l1[i] & QCOW2_OFFSET_MASK;

        if (off && add_l2(co, &run, off, buf) < 0) {
            return;
        }
    }
}

int qcow2_snapshot_add_refs(Co *co, Node *node, const uint64_t *l1,
                            uint32_t n, int64_t delta)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    RefRun run = { node, delta };
    int r = 0;

    if (!buf) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        int64_t off = l1[i] & QCOW2_OFFSET_MASK;

        if (!off) {
            continue;
        }
        r = add_l2(co, &run, off, buf);
        if (r < 0) {
            if (delta > 0) {
                undo_refs(co, node, l1, i, delta, buf);
            }
            return r;
        }
    }
    return 0;
}

/* ---- COPIED ---- */

/* Whether exactly one refers to the cluster of @entry. */
static int entry_is_copied(Co *co, Node *node, uint64_t entry, bool *ret)
{
    Qcow2State *s = qcow2_state(node);
    int64_t off = entry & QCOW2_OFFSET_MASK;
    uint64_t count;
    int r;

    *ret = false;
    if ((entry & QCOW2_COMPRESSED_FLAG) || !off) {
        return 0;
    }
    r = qcow2_refcount_get(co, node, off >> s->cluster_bits, &count);
    *ret = count == 1;
    return r;
}

static int update_slice(Co *co, Node *node, Qcow2Table *t, bool clear)
{
    Qcow2State *s = qcow2_state(node);

    for (int i = 0; i < 1 << s->slice_bits; i++) {
        uint64_t entry = qcow2_l2_entry(s, t, i);
        bool copied = false;
        uint64_t now;
        int r;

        if (!entry || (entry & QCOW2_COMPRESSED_FLAG)) {
            continue;
        }
        if (!clear) {
            r = entry_is_copied(co, node, entry, &copied);
            if (r < 0) {
                return r;
            }
        }
        now = (entry & ~QCOW2_COPIED) | (copied ? QCOW2_COPIED : 0);
        if (now != entry) {
            qcow2_l2_store(s, t, i, now, qcow2_l2_bitmap(s, t, i));
        }
    }
    return 0;
}

static int update_l2(Co *co, Node *node, int64_t off, bool clear)
{
    Qcow2State *s = qcow2_state(node);
    int slice_len = s->l2_entry_size << s->slice_bits;
    int r = 0;

    for (int64_t at = 0; r >= 0 && at < s->cluster_size; at += slice_len) {
        Qcow2Table *t;

        r = qcow2_cache_get(co, s->l2_cache, off + at, &t);
        if (r >= 0) {
            r = update_slice(co, node, t, clear);
            qcow2_cache_put(t);
        }
    }
    return r;
}

int qcow2_snapshot_update_copied(Co *co, Node *node, bool clear)
{
    Qcow2State *s = qcow2_state(node);

    for (uint32_t i = 0; i < s->hdr.l1_size; i++) {
        int64_t off = s->l1[i] & QCOW2_OFFSET_MASK;
        uint64_t now, count = 0;
        int r;

        if (!off) {
            continue;
        }
        if (off & (s->cluster_size - 1)) {
            return -EIO;
        }
        if (!clear) {
            r = qcow2_refcount_get(co, node, off >> s->cluster_bits, &count);
            if (r < 0) {
                return r;
            }
        }
        /* A table that others share is left as it is: it is theirs, too. */
        if (clear || count == 1) {
            r = update_l2(co, node, off, clear);
            if (r < 0) {
                return r;
            }
        }
        now = off | (count == 1 ? QCOW2_COPIED : 0);
        if (now != s->l1[i]) {
            qcow2_l1_store(s, i, now);
        }
    }
    return 0;
}
