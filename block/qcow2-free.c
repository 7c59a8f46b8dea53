/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Giving clusters back, when nothing can be hurt by it any more.
 *
 *   table changed   -->  freed  --flush-->  freed_durable  --release-->  free
 *   (in memory)                             (with an epoch)   refcount - 1
 *
 * A reference that has left a table in memory may still be in the table on
 * disk: after a crash the cluster would be read, and written, through it. And
 * requests that looked the cluster up before may be reading or writing it. So
 * its refcount falls only when the table is durable and every request that
 * began before is over. Until then a crash leaves leaks, nothing else.
 *
 * Epochs. A request counts itself in the current epoch. The epoch advances
 * when nobody is left in the one before; what was freed in epoch e is out of
 * all hands in epoch e + 2.
 *
 * Discards are passed to the file while the refcount is still 1: nobody can
 * have been given the cluster in the meantime, nor a part of it: what is left of
 * it takes no more compressed data.
 */
#include "block/qcow2.h"

typedef struct Freed {
    int64_t off, len;               /* bytes; need not be aligned */
    Qcow2DiscardType type;
    unsigned epoch;
} Freed;

void qcow2_freed_init(Node *node)
{
    Qcow2State *s = qcow2_state(node);

    s->freed = g_array_new(false, false, sizeof(Freed));
    s->freed_durable = g_array_new(false, false, sizeof(Freed));
}

void qcow2_freed_close(Node *node)
{
    Qcow2State *s = qcow2_state(node);

    g_clear_pointer(&s->freed, g_array_unref);
    g_clear_pointer(&s->freed_durable, g_array_unref);
    s->freed_bytes = 0;
}

void qcow2_free_later(Node *node, int64_t off, int64_t len,
                      Qcow2DiscardType type)
{
    Qcow2State *s = qcow2_state(node);
    Freed f = { off, len, type, s->epoch };

    s->freed_bytes += len;
    if (s->freed->len && !qcow2_in_cluster(s, off)) {
        Freed *last = &g_array_index(s->freed, Freed, s->freed->len - 1);

        if (last->off + last->len == off && last->type == type &&
            last->epoch == s->epoch) {
            last->len += len;
            return;
        }
    }
    g_array_append_val(s->freed, f);
}

void qcow2_free_entry_later(Node *node, uint64_t entry, Qcow2DiscardType type)
{
    Qcow2State *s = qcow2_state(node);
    int64_t off, len;

    if (entry & QCOW2_COMPRESSED_FLAG) {
        qcow2_parse_compressed(s, entry, &off, &len);
        qcow2_free_later(node, off, len, type);
        return;
    }
    off = entry & QCOW2_OFFSET_MASK;
    if (!off || s->external_data) {
        return;
    }
    if (qcow2_in_cluster(s, off)) {
        /* Nothing says whose it is; it stays, as a leak. */
        return;
    }
    qcow2_free_later(node, off, s->cluster_size, type);
}

GArray *qcow2_free_take(Node *node)
{
    Qcow2State *s = qcow2_state(node);
    GArray *ret;

    if (!s->freed->len) {
        return NULL;
    }
    ret = s->freed;
    s->freed = g_array_new(false, false, sizeof(Freed));
    s->freed_bytes = 0;
    return ret;
}

void qcow2_free_durable(Node *node, GArray *freed)
{
    if (freed) {
        g_array_append_vals(qcow2_state(node)->freed_durable, freed->data,
                            freed->len);
        g_array_unref(freed);
    }
}

void qcow2_free_undurable(Node *node, GArray *freed)
{
    Qcow2State *s = qcow2_state(node);

    if (freed) {
        for (unsigned i = 0; i < freed->len; i++) {
            s->freed_bytes += g_array_index(freed, Freed, i).len;
        }
        g_array_prepend_vals(s->freed, freed->data, freed->len);
        g_array_unref(freed);
    }
}

static void epoch_advance(Qcow2State *s)
{
    for (int i = 0; i < 2 && !s->epoch_reqs[(s->epoch + 1) & 1]; i++) {
        s->epoch++;
    }
}

/* Takes what is out of everybody's hands off freed_durable. */
static GArray *take_releasable(Qcow2State *s)
{
    GArray *ret = g_array_new(false, false, sizeof(Freed));
    unsigned kept = 0;

    for (unsigned i = 0; i < s->freed_durable->len; i++) {
        Freed f = g_array_index(s->freed_durable, Freed, i);

        if (s->epoch - f.epoch >= 2) {
            g_array_append_val(ret, f);
        } else {
            g_array_index(s->freed_durable, Freed, kept++) = f;
        }
    }
    g_array_set_size(s->freed_durable, kept);
    return ret;
}

static void append_cluster(GArray *list, int64_t off, int64_t len,
                           Qcow2DiscardType type)
{
    Freed f = { off, len, type };

    if (list->len) {
        Freed *last = &g_array_index(list, Freed, list->len - 1);

        if (last->off + last->len == off && last->type == type) {
            last->len += len;
            return;
        }
    }
    g_array_append_val(list, f);
}

static bool list_has(const GArray *list, int64_t off)
{
    for (unsigned i = 0; i < list->len; i++) {
        const Freed *f = &g_array_index(list, Freed, i);

        if (off >= f->off && off < f->off + f->len) {
            return true;
        }
    }
    return false;
}

static void leak(int r)
{
    error_report("qcow2_free_clusters failed: %s", g_strerror(-r));
}

/*
 * One freed range: counts above 1 fall by one; clusters of count 1, which are
 * about to become free, are put on @last. Runs of equal counts go together.
 */
static void drop_range(Co *co, Node *node, const Freed *f, GArray *last)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end = qcow2_cluster_up(s, f->off + f->len);
    bool whole = !qcow2_in_cluster(s, f->off | f->len);

    for (int64_t off = qcow2_cluster_down(s, f->off); off < end;
         off += s->cluster_size) {
        uint64_t v;
        int r = qcow2_refcount_get(co, node, off >> s->cluster_bits, &v);

        /* Only parts of clusters can be on the list twice in one go. */
        if (r >= 0 && v == 1 && (whole || !list_has(last, off))) {
            append_cluster(last, off, s->cluster_size, f->type);
            if (off == qcow2_cluster_down(s, s->free_byte)) {
                s->free_byte = 0;
            }
            continue;
        }
        if (r >= 0) {
            r = qcow2_refcount_add(co, node, off, s->cluster_size, -1,
                                   QCOW2_DISCARD_NEVER);
        }
        if (r < 0) {
            leak(r);
        }
    }
}

void qcow2_free_release(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    g_autoptr(GArray) list = NULL;
    g_autoptr(GArray) last = NULL;

    if (s->in_release || !s->freed_durable->len) {
        return;
    }
    epoch_advance(s);
    list = take_releasable(s);
    if (!list->len) {
        return;
    }
    s->in_release = true;
    last = g_array_new(false, false, sizeof(Freed));
    co_mutex_lock(co, &s->meta);
    for (unsigned i = 0; i < list->len; i++) {
        drop_range(co, node, &g_array_index(list, Freed, i), last);
    }
    co_mutex_unlock(&s->meta);

    for (unsigned i = 0; i < last->len; i++) {
        const Freed *f = &g_array_index(last, Freed, i);

        if (s->pass_discard[f->type]) {
            io_discard(co, node->file, f->off, f->len);
        }
    }

    co_mutex_lock(co, &s->meta);
    for (unsigned i = 0; i < last->len; i++) {
        const Freed *f = &g_array_index(last, Freed, i);
        int r = qcow2_refcount_add(co, node, f->off, f->len, -1,
                                   QCOW2_DISCARD_NEVER);

        if (r < 0) {
            leak(r);
        }
    }
    co_mutex_unlock(&s->meta);
    s->in_release = false;
}
