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
 *     whole, parts the entries that nobody writes, in the order of arrival
 *     drainers     coroutines in the background that write them (copy-drain.c)
 *
 * A small write saves the blocks that it changes and no more: such an entry is
 * a part of its cluster, the rest of which still lies in the source. Somebody
 * else who is about to change the rest reads all of it; so does a drainer.
 * Who reads the rest holds a request on the cluster, so that it stays as it is;
 * and a part that nobody has a request on is in its queue.
 *
 * The old bytes of a cluster in the buffer are nowhere else: it stays there
 * until the target has them. If the target refuses, it stays, and is tried
 * again when something else arrives or when a job asks for the end of it.
 * Where the buffer is full copies go to the target as they would without one,
 * by the guest's own coroutine: no guest ever waits for what a drainer writes.
 */

#include "copy-entry.h"
#include "util/bytes.h"

/* ---- filling ---- */

bool copy_buffer_has_room(const CopyState *s, int64_t len)
{
    const CopyBuffer *b = s->buffer;

    return b && !b->closed && b->used + len <= b->limit;
}

static CopyEntry *entry_new(CopyState *s, int64_t off, int64_t len, bool zero)
{
    CopyEntry *e = g_new0(CopyEntry, 1);

    e->off = off;
    e->len = e->n = len;
    if (!zero) {
        e->data = copy_entry_alloc(s, len, COPY_BLOCK);
        if (!e->data) {
            g_free(e);
            return NULL;
        }
    }
    s->buffer->used += copy_entry_cost(e);
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
        copy_entry_free(s, e);
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
            copy_entry_add(s, e);
        } else {
            copy_entry_free(s, e);
        }
    }
    if (ret == 0) {
        if (nothing && s->progress) {
            s->progress(s->progress_opaque, nothing);
        }
        reqlist_remove(&s->requests, req);
    }
    copy_drain_start(s);
    return ret;
}

/* Whether a part of [off, off + len) of a claimed cluster is enough, and which
 * blocks of it. */
static bool part_is_enough(Co *co, CopyState *s, const RangeReq *req,
                           int64_t *off, int64_t *len)
{
    CopyBuffer *b = s->buffer;
    int64_t end = MIN(ROUND_UP(*off + *len, COPY_BLOCK), req->off + req->len);
    int64_t n = req->len;

    *off = MAX(ROUND_DOWN(*off, COPY_BLOCK), req->off);
    *len = end - *off;
    return b && b->reserve && req->len <= copy_cluster_size(s) &&
           *len <= req->len / 2 &&
           copy_kind(co, s, req->off, &n) == COPY_DATA && n == req->len &&
           copy_buffer_has_room(s, *len + COPY_PART_ALIGN + b->reserve);
}

int copy_buffer_take_part(Co *co, CopyState *s, RangeReq *req, int64_t off,
                          int64_t len)
{
    CopyEntry *e;
    int ret;

    if (!part_is_enough(co, s, req, &off, &len)) {
        return -ENOTSUP;
    }
    e = g_new0(CopyEntry, 1);
    *e = (CopyEntry) {
        .off = req->off,
        .len = req->len,
        .from = off - req->off,
        .n = len,
        .data = copy_entry_alloc(s, len, COPY_PART_ALIGN),
    };
    if (!e->data) {
        g_free(e);
        return -ENOMEM;
    }
    s->buffer->used += copy_entry_cost(e);
    ret = io_pread(co, s->source, off, len, e->data, 0);
    if (ret == 0 && s->buffer->closed) {
        ret = -ECANCELED;
    }
    if (ret == 0) {
        copy_entry_add(s, e);
        reqlist_remove(&s->requests, req);
    } else {
        copy_entry_free(s, e);
    }
    copy_drain_start(s);
    return ret;
}

/* ---- the rest of a part ---- */

/* Where there is no room for the rest, the target gets all. */
static int part_write(Co *co, CopyState *s, const CopyEntry *e, bool *is_read)
{
    void *all;
    int ret;

    *is_read = true;
    ret = copy_entry_read_all(co, s, e, &all);
    if (ret == 0) {
        *is_read = false;
        ret = io_pwrite(co, s->target, e->off, e->len, all,
                        copy_data_flags(s));
        aligned_free(all);
    }
    return ret;
}

/* A part that is not all that is to be saved of it in [off, end). */
static CopyEntry *part_find(const CopyState *s, int64_t off, int64_t end)
{
    if (!s->buffer || !s->buffer->parts.length) {
        return NULL;
    }
    for (int64_t at = ROUND_DOWN(off, copy_cluster_size(s)); at < end;
         at += copy_cluster_size(s)) {
        CopyEntry *e = copy_entry_at(s, at >> s->shift);

        if (e && copy_entry_is_part(e) &&
            (MAX(off, e->off) < e->off + e->from ||
             MIN(end, e->off + e->len) > e->off + e->from + e->n)) {
            return e;
        }
    }
    return NULL;
}

int copy_buffer_save_rest(Co *co, CopyState *s, int64_t off, int64_t end,
                          bool *is_read)
{
    CopyBuffer *b = s->buffer;
    CopyEntry *e = part_find(s, off, end);
    bool room, gone;
    RangeReq req;
    int ret;

    if (!e) {
        return 0;
    }
    reqlist_add(&s->requests, &req, e->off, e->len);
    copy_entry_dequeue(b, e);
    room = copy_buffer_has_room(s, e->len);
    *is_read = true;
    ret = room ? copy_entry_complete(co, s, e) : part_write(co, s, e, is_read);
    gone = ret == 0 && !room;
    if (b->closed && !gone) {
        copy_entry_give_up(s, e);
        ret = -ECANCELED;
    } else if (gone) {
        copy_entry_written(s, e);
    } else {
        copy_entry_enqueue(b, e);
        copy_drain_start(s);
    }
    reqlist_remove(&s->requests, &req);
    co_queue_wake_all(&b->changed);
    return ret < 0 ? ret : 1;
}

/* ---- finding ---- */

/* Where the first of the *@len bytes from @off on in an entry are. */
static CopyPlace entry_find(const CopyEntry *e, int64_t off, int64_t *len,
                            const void **data)
{
    int64_t first = e->off + e->from, end = first + e->n;

    if (off < first) {
        *len = MIN(*len, first - off);
        return COPY_IN_SOURCE;
    }
    if (off >= end) {
        *len = MIN(*len, e->off + e->len - off);
        return COPY_IN_SOURCE;
    }
    *len = MIN(*len, end - off);
    *data = e->data ? (char *)e->data + (off - first) : NULL;
    return COPY_IN_MEMORY;
}

CopyPlace copy_buffer_find(CopyState *s, int64_t off, int64_t *len,
                           const void **data)
{
    CopyEntry *e;

    if (!s->buffer || !s->buffer->entries) {
        return COPY_IN_TARGET;
    }
    e = copy_entry_at(s, off >> s->shift);
    if (e) {
        return entry_find(e, off, len, data);
    }
    for (int64_t at = ROUND_DOWN(off, copy_cluster_size(s));
         at < off + *len; at += copy_cluster_size(s)) {
        if (copy_entry_at(s, at >> s->shift)) {
            *len = at - off;
            break;
        }
    }
    return COPY_IN_TARGET;
}

static void forget_of(CopyState *s, const GQueue *queue, int64_t off,
                      int64_t len)
{
    GList *next;

    for (GList *l = queue->head; l; l = next) {
        CopyEntry *e = l->data;

        next = l->next;
        if (e->off >= off && e->off + e->len <= off + len) {
            copy_entry_remove(s, e);
        }
    }
}

void copy_buffer_forget(CopyState *s, int64_t off, int64_t len)
{
    if (s->buffer) {
        forget_of(s, &s->buffer->whole, off, len);
        forget_of(s, &s->buffer->parts, off, len);
    }
}

bool copy_buffer_lose_parts(CopyState *s)
{
    CopyEntry *e;
    bool any = false;

    while (s->buffer && (e = g_queue_peek_head(&s->buffer->parts))) {
        copy_entry_give_up(s, e);
        any = true;
    }
    return any;
}

/* ---- beginning and end ---- */

void copy_buffer_use(CopyState *s, int64_t limit, Root *root,
                     const Node *owner)
{
    CopyBuffer *b;

    /* Who reads such a target must find there what the source has lost. */
    if (s->write_flags || limit < copy_cluster_size(s)) {
        return;
    }
    b = s->buffer = g_new0(CopyBuffer, 1);
    b->root = root;
    b->owner = owner;
    b->limit = limit;
    b->reserve = COPY_DRAINERS * copy_cluster_size(s);
    if (limit < 4 * b->reserve) {
        b->reserve = 0;
    }
    b->by_cluster = g_hash_table_new(NULL, NULL);
    g_queue_init(&b->whole);
    g_queue_init(&b->parts);
}

bool copy_buffer_stop(CopyState *s)
{
    CopyBuffer *b = s->buffer;

    if (b) {
        b->closed = true;
    }
    return b && b->drainers;
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
    while (copy_buffer_stop(s)) {
        co_queue_wait(co, &b->changed);
    }
    copy_drain_drop_tick(b);
    while ((e = g_queue_peek_head(&b->whole)) ||
           (e = g_queue_peek_head(&b->parts))) {
        copy_entry_give_up(s, e);
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
