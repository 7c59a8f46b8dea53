/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What a guest's write is about to change is read into memory, and the write
 * goes on at once; later it is written to the target.
 *
 *     todo --> request --> (copied) target
 *                  \--> buffer --/
 *
 *     by_cluster   cluster to CopyEntry, which is a run of clusters
 *     queue        the entries that nobody writes, in the order of arrival
 *     drainers     coroutines in the background that write them, joined with
 *                  their neighbours
 *
 * The old bytes of a cluster in the buffer are nowhere else: it stays there
 * until the target has them. If the target refuses, it stays, and is tried
 * again when something else arrives or when a job asks for the end of it.
 * Where the buffer is full copies go to the target as they would without one,
 * by the guest's own coroutine: no guest ever waits for a drainer.
 *
 * Drainers are counted by the owner's root from first to last. They end when its
 * door closes, and the owner starts them anew when it opens: so a drain waits
 * for no more than a batch, and they never stand at the door, where who drains
 * and closes the buffer would wait for them.
 */

#include "copy-internal.h"
#include "block/root.h"
#include "util/bytes.h"

#define BUFFER_JOIN MiB
#define BUFFER_JOIN_MAX 64
#define BUFFER_DRAINERS 4
#define BUFFER_ZERO_COST 256
#define BUFFER_RETRY_NS (INT64_C(1000) * 1000 * 1000)

typedef struct CopyEntry {
    int64_t off, len;
    void *data;                 /* NULL: zeroes */
    GList *link;                /* in the queue; NULL: being written */
    struct CopyEntry *next;     /* of a batch */
} CopyEntry;

struct CopyBuffer {
    Root *root;
    int64_t limit, used;        /* bytes */
    GHashTable *by_cluster;
    GQueue queue;
    int entries, drainers;
    int flushing;               /* who waits for all to be written */
    int error;                  /* what the target refused with; 0 or -errno */
    int64_t retry_ns;           /* not before, but for who flushes */
    bool closed;                /* takes nothing any more */
    CoQueue changed;            /* an entry has gone, a drainer has ended */
};

/* ---- entries ---- */

static int64_t entry_cost(const CopyEntry *e)
{
    return e->data ? e->len : BUFFER_ZERO_COST;
}

static CopyEntry *entry_at(const CopyState *s, int64_t cluster)
{
    return g_hash_table_lookup(s->buffer->by_cluster,
                               GSIZE_TO_POINTER(cluster));
}

static void entry_add(CopyState *s, CopyEntry *e)
{
    CopyBuffer *b = s->buffer;

    for (int64_t at = e->off; at < e->off + e->len;
         at += copy_cluster_size(s)) {
        g_hash_table_insert(b->by_cluster, GSIZE_TO_POINTER(at >> s->shift),
                            e);
    }
    g_queue_push_tail(&b->queue, e);
    e->link = b->queue.tail;
    b->entries++;
}

static void entry_free(CopyState *s, CopyEntry *e)
{
    s->buffer->used -= entry_cost(e);
    aligned_free(e->data);
    g_free(e);
}

static void entry_remove(CopyState *s, CopyEntry *e)
{
    CopyBuffer *b = s->buffer;

    for (int64_t at = e->off; at < e->off + e->len;
         at += copy_cluster_size(s)) {
        g_hash_table_remove(b->by_cluster, GSIZE_TO_POINTER(at >> s->shift));
    }
    if (e->link) {
        g_queue_delete_link(&b->queue, e->link);
    }
    b->entries--;
    entry_free(s, e);
}

/* ---- draining ---- */

static bool entry_joins(const CopyEntry *e, const CopyEntry *next, int64_t len)
{
    return next && next->link && !e->data == !next->data &&
           len + next->len <= BUFFER_JOIN;
}

/* Takes the oldest entry out of the queue, and its neighbours; the first of
 * the batch in the order of the disk. */
static CopyEntry *batch_take(CopyState *s, int64_t *len)
{
    CopyBuffer *b = s->buffer;
    CopyEntry *first = g_queue_peek_head(&b->queue), *e, *other;
    int n = 1;

    if (!first) {
        return NULL;
    }
    *len = first->len;
    while (n < BUFFER_JOIN_MAX && first->off > 0 &&
           entry_joins(first, other = entry_at(s, (first->off >> s->shift) - 1),
                       *len)) {
        first = other;
        *len += other->len;
        n++;
    }
    *len = 0;
    for (e = first, n = 1;; e = e->next, n++) {
        *len += e->len;
        g_queue_delete_link(&b->queue, e->link);
        e->link = NULL;
        other = entry_at(s, (e->off + e->len) >> s->shift);
        if (n == BUFFER_JOIN_MAX || !entry_joins(e, other, *len)) {
            e->next = NULL;
            return first;
        }
        e->next = other;
    }
}

static int batch_write(Co *co, CopyState *s, const CopyEntry *batch,
                       int64_t len)
{
    IoVec v;
    int ret;

    if (!batch->data) {
        return io_zero(co, s->target, batch->off, len,
                       REQ_MAY_UNMAP | s->write_flags);
    }
    iov_init(&v, 8);
    for (const CopyEntry *e = batch; e; e = e->next) {
        iov_add(&v, e->data, e->len);
    }
    ret = io_write(co, s->target, batch->off, len, &v, 0,
                   s->write_flags | (s->opts.compress ? REQ_COMPRESSED : 0));
    iov_destroy(&v);
    return ret;
}

static void batch_end(CopyState *s, CopyEntry *batch, int ret)
{
    CopyBuffer *b = s->buffer;

    while (batch) {
        CopyEntry *e = batch;

        batch = e->next;
        if (ret < 0) {
            g_queue_push_tail(&b->queue, e);
            e->link = b->queue.tail;
            continue;
        }
        if (s->progress) {
            s->progress(s->progress_opaque, e->len);
        }
        entry_remove(s, e);
    }
    /* That another batch got through meanwhile doesn't end an error. */
    if (ret < 0) {
        b->error = ret;
        b->retry_ns = clock_ns() + BUFFER_RETRY_NS;
    }
    co_queue_wake_all(&b->changed);
}

/* Writes one batch; false if there is nothing to do (any more). */
static bool drain_step(Co *co, CopyState *s)
{
    CopyBuffer *b = s->buffer;
    bool urgent = b->flushing || b->used > b->limit / 2;
    CopyEntry *batch;
    int64_t len;
    int ret;

    batch = b->closed || b->error ? NULL : batch_take(s, &len);
    if (!batch) {
        return false;
    }
    if (!urgent) {
        copy_pace_enter(co, s, len);
    }
    ret = batch_write(co, s, batch, len);
    if (!urgent) {
        copy_pace_leave(s, len);
    }
    batch_end(s, batch, ret);
    return true;
}

static void drain_run(Co *co, void *opaque)
{
    CopyState *s = opaque;
    CopyBuffer *b = s->buffer;
    bool more;

    co_set_background(co, true);
    do {
        more = !b->root->quiesced && drain_step(co, s);
    } while (more);
    b->drainers--;
    co_queue_wake_all(&b->changed);
    root_end(b->root);
}

/* As many drainers as there is to do. */
static void drain_start(CopyState *s)
{
    CopyBuffer *b = s->buffer;
    int wanted = b->flushing ? BUFFER_DRAINERS
                             : 1 + BUFFER_DRAINERS * b->used / b->limit;

    if (b->error && clock_ns() >= b->retry_ns) {
        b->error = 0;
    }
    wanted = MIN(MIN(wanted, BUFFER_DRAINERS), (int)b->queue.length);
    while (!b->error && !b->root->quiesced && b->drainers < wanted) {
        b->drainers++;
        root_hold(b->root);
        co_spawn(b->root->loop, drain_run, s);
    }
}

void copy_buffer_resume(CopyState *s)
{
    if (s->buffer && !s->buffer->closed) {
        drain_start(s);
    }
}

/* ---- filling ---- */

bool copy_buffer_has_room(const CopyState *s, int64_t len)
{
    const CopyBuffer *b = s->buffer;

    return b && !b->closed && b->used + len <= b->limit;
}

static CopyEntry *entry_new(CopyState *s, int64_t off, int64_t len, bool zero)
{
    int64_t align = MAX(s->source->child->limits.mem_alignment,
                        s->target->child->limits.mem_alignment);
    CopyEntry *e = g_new0(CopyEntry, 1);

    e->off = off;
    e->len = len;
    if (!zero) {
        e->data = aligned_try_alloc_io(MAX(align, 4096), len);
        if (!e->data) {
            g_free(e);
            return NULL;
        }
    }
    s->buffer->used += entry_cost(e);
    return e;
}

/* The first part of [off, end), in whole clusters. What is neither wholly zero
 * nor wholly not wanted is data. */
static int entry_read(Co *co, CopyState *s, int64_t off, int64_t end,
                      CopyEntry **ret, int64_t *len)
{
    int64_t cluster = copy_cluster_size(s), n = end - off;
    CopyKind kind = copy_kind(co, s, off, &n);
    CopyEntry *e;
    int r;

    *ret = NULL;
    *len = off + n == end ? n : ROUND_DOWN(off + n, cluster) - off;
    if (!*len) {
        kind = COPY_DATA;
        *len = MIN(cluster, end - off);
    }
    if (kind == COPY_NOTHING) {
        return 0;
    }
    e = entry_new(s, off, *len, kind == COPY_ZERO);
    if (!e) {
        return -ENOMEM;
    }
    r = e->data ? io_pread(co, s->source, off, *len, e->data, 0) : 0;
    if (r < 0) {
        entry_free(s, e);
        return r;
    }
    *ret = e;
    return 0;
}

int copy_buffer_take(Co *co, CopyState *s, RangeReq *req)
{
    int64_t off = req->off, end = off + req->len, n;
    CopyEntry *list = NULL, *e;
    int64_t nothing = 0;
    int ret = 0;

    for (; off < end && ret == 0; off += n) {
        ret = entry_read(co, s, off, end, &e, &n);
        if (e) {
            e->next = list;
            list = e;
        } else {
            nothing += n;
        }
    }
    if (ret == 0 && s->buffer->closed) {
        ret = -ECANCELED;
    }
    while ((e = list)) {
        list = e->next;
        if (ret == 0) {
            entry_add(s, e);
        } else {
            entry_free(s, e);
        }
    }
    if (ret == 0) {
        if (nothing && s->progress) {
            s->progress(s->progress_opaque, nothing);
        }
        reqlist_remove(&s->requests, req);
        drain_start(s);
    }
    return ret;
}

bool copy_buffer_find(CopyState *s, int64_t off, int64_t *len,
                      const void **data)
{
    CopyEntry *e;

    if (!s->buffer || !s->buffer->entries) {
        return false;
    }
    e = entry_at(s, off >> s->shift);
    if (e) {
        *len = MIN(*len, e->off + e->len - off);
        *data = e->data ? (char *)e->data + (off - e->off) : NULL;
        return true;
    }
    for (int64_t at = ROUND_DOWN(off, copy_cluster_size(s));
         at < off + *len; at += copy_cluster_size(s)) {
        if (entry_at(s, at >> s->shift)) {
            *len = at - off;
            break;
        }
    }
    return false;
}

void copy_buffer_forget(CopyState *s, int64_t off, int64_t len)
{
    GList *next;

    for (GList *l = s->buffer ? s->buffer->queue.head : NULL; l; l = next) {
        CopyEntry *e = l->data;

        next = l->next;
        if (e->off >= off && e->off + e->len <= off + len) {
            entry_remove(s, e);
        }
    }
}

/* ---- beginning and end ---- */

void copy_buffer_use(CopyState *s, int64_t limit, Root *root)
{
    CopyBuffer *b;

    /* Who reads such a target must find there what the source has lost. */
    if (s->write_flags || limit < copy_cluster_size(s)) {
        return;
    }
    b = s->buffer = g_new0(CopyBuffer, 1);
    b->root = root;
    b->limit = limit;
    b->by_cluster = g_hash_table_new(NULL, NULL);
    g_queue_init(&b->queue);
}

int copy_buffer_flush(Co *co, CopyState *s, const bool *cancelled)
{
    CopyBuffer *b = s->buffer;
    int ret;

    if (!b) {
        return 0;
    }
    b->error = 0;
    b->flushing++;
    drain_start(s);
    while (b->entries && !b->error && !*cancelled) {
        co_queue_wait(co, &b->changed);
    }
    b->flushing--;
    ret = b->entries ? b->error : 0;
    return ret;
}

void copy_buffer_wake(CopyState *s)
{
    if (s->buffer) {
        co_queue_wake_all(&s->buffer->changed);
    }
}

void copy_buffer_close(Co *co, CopyState *s)
{
    CopyBuffer *b = s->buffer;
    Loop *home = co_loop(co);
    CopyEntry *e;

    if (!b) {
        return;
    }
    co_move(co, b->root->loop);
    b->closed = true;
    while (b->drainers) {
        co_queue_wait(co, &b->changed);
    }
    while ((e = g_queue_peek_head(&b->queue))) {
        bitset_set(s->todo, e->off >> s->shift,
                   DIV_ROUND_UP(e->len, copy_cluster_size(s)));
        entry_remove(s, e);
    }
    co_move(co, home);
}

void copy_buffer_free(CopyState *s)
{
    if (s->buffer) {
        g_assert(!s->buffer->entries && !s->buffer->drainers);
        g_hash_table_unref(s->buffer->by_cluster);
        g_free(s->buffer);
    }
}
