/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What waits in memory: see copy-entry.h. */

#include "copy-entry.h"
#include "util/bytes.h"

#define ENTRY_ZERO_COST 256

/* ---- entries ---- */

bool copy_entry_is_part(const CopyEntry *e)
{
    return e->n < e->len;
}

int64_t copy_entry_cost(const CopyEntry *e)
{
    return !e->data ? ENTRY_ZERO_COST :
           copy_entry_is_part(e) ? e->n + COPY_PART_ALIGN : e->n;
}

void copy_entry_enqueue(CopyBuffer *b, CopyEntry *e)
{
    GQueue *queue = copy_entry_is_part(e) ? &b->parts : &b->whole;

    g_queue_push_tail(queue, e);
    e->link = queue->tail;
}

void copy_entry_dequeue(CopyBuffer *b, CopyEntry *e)
{
    g_queue_delete_link(copy_entry_is_part(e) ? &b->parts : &b->whole, e->link);
    e->link = NULL;
}

CopyEntry *copy_entry_at(const CopyState *s, int64_t cluster)
{
    return g_hash_table_lookup(s->buffer->by_cluster,
                               GSIZE_TO_POINTER(cluster));
}

void copy_entry_add(CopyState *s, CopyEntry *e)
{
    CopyBuffer *b = s->buffer;

    for (int64_t at = e->off; at < e->off + e->len;
         at += copy_cluster_size(s)) {
        g_hash_table_insert(b->by_cluster, GSIZE_TO_POINTER(at >> s->shift),
                            e);
    }
    copy_entry_enqueue(b, e);
    b->entries++;
}

void copy_entry_free(CopyState *s, CopyEntry *e)
{
    s->buffer->used -= copy_entry_cost(e);
    aligned_free(e->data);
    g_free(e);
}

void copy_entry_remove(CopyState *s, CopyEntry *e)
{
    CopyBuffer *b = s->buffer;

    for (int64_t at = e->off; at < e->off + e->len;
         at += copy_cluster_size(s)) {
        g_hash_table_remove(b->by_cluster, GSIZE_TO_POINTER(at >> s->shift));
    }
    if (e->link) {
        copy_entry_dequeue(b, e);
    }
    b->entries--;
    copy_entry_free(s, e);
}

void copy_entry_written(CopyState *s, CopyEntry *e)
{
    if (s->progress) {
        s->progress(s->progress_opaque, e->len);
    }
    copy_entry_remove(s, e);
}

/* ---- parts ---- */

void *copy_entry_alloc(const CopyState *s, int64_t len, int64_t align)
{
    int64_t need = MAX(s->source->child->limits.mem_alignment,
                       s->target->child->limits.mem_alignment);

    return aligned_try_alloc_io(MAX(need, align), len);
}

int copy_entry_read_all(Co *co, CopyState *s, const CopyEntry *e, void **ret)
{
    void *all = copy_entry_alloc(s, e->len, COPY_BLOCK);
    int r = all ? io_pread(co, s->source, e->off, e->len, all, 0) : -ENOMEM;

    if (r < 0) {
        aligned_free(all);
        return r;
    }
    memcpy((char *)all + e->from, e->data, e->n);
    *ret = all;
    return 0;
}

int copy_entry_complete(Co *co, CopyState *s, CopyEntry *e)
{
    int64_t len = e->len;
    void *all;
    int ret;

    s->buffer->used += len;
    ret = copy_entry_read_all(co, s, e, &all);
    if (ret < 0) {
        s->buffer->used -= len;
        return ret;
    }
    s->buffer->used -= copy_entry_cost(e);
    aligned_free(e->data);
    e->data = all;
    e->from = 0;
    e->n = len;
    return 0;
}

void copy_entry_give_up(CopyState *s, CopyEntry *e)
{
    bitset_set(s->todo, e->off >> s->shift,
               DIV_ROUND_UP(e->len, copy_cluster_size(s)));
    copy_entry_remove(s, e);
}
