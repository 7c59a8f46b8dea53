/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Part of qcow2.h: refcounts, allocating and freeing host clusters, keeping
 * writes off metadata.
 */
/* Outside of the guard: it includes this file where its types are known. */
#include "block/qcow2.h"

#ifndef BLOCK_QCOW2_REFS_H
#define BLOCK_QCOW2_REFS_H

/* ---- qcow2-refcount.c, qcow2-refcount-grow.c: with `meta` ---- */

/* No cluster is ever put beyond what an L2 entry can say. */
#define QCOW2_MAX_HOST_OFFSET ((int64_t)1 << 56)

bool qcow2_refcount_init(Co *co, Node *node, Error **errp);
void qcow2_refcount_close(Node *node);
/* Writes all dirty refcounts and links; not flushed. Without `meta`. */
int qcow2_refcount_write(Co *co, Node *node);
/* Everything that counts references is durable when it returns 0, then so are
 * guest data that were written: what L2 tables wait for. Without `meta`. */
int qcow2_refcount_barrier(Co *co, Node *node);
/* The table gets room for block @blocks - 1; with `meta`. */
int qcow2_reftable_grow(Co *co, Node *node, int64_t blocks);
/* Makes block @i of the table, which has none, at @off; the clusters of
 * [first, end) that it counts are in use. */
int qcow2_refblock_new(Co *co, Node *node, int64_t i, int64_t off,
                       int64_t first, int64_t end);
/* As qcow2_alloc_clusters(), of @n clusters behind all that blocks count. */
int64_t qcow2_alloc_long_run(Co *co, Node *node, int64_t n);
/* Drops the blocks at the end of the table that count nothing but themselves,
 * durably. */
int qcow2_refblocks_trim(Co *co, Node *node);
/* Of host cluster @index. 0 for those beyond all tables. */
int qcow2_refcount_get(Co *co, Node *node, int64_t index, uint64_t *ret);
/* Behind the last cluster before @index that is in use; 0 if none is. */
int qcow2_refcount_end(Co *co, Node *node, int64_t index, int64_t *ret);
/* Whether @enough clusters before @end are in use. */
int qcow2_refcount_has(Co *co, Node *node, int64_t end, int64_t enough,
                       bool *ret);
/* One entry of a block of width 1 << order bits. */
uint64_t qcow2_refcount_load(const void *block, int order, int64_t i);
void qcow2_refcount_store(void *block, int order, int64_t i, uint64_t v);
/*
 * Adds @delta (may be negative) to the refcounts of all clusters that
 * [off, off + len) touches; makes blocks as needed. -EINVAL if one would leave
 * 0 .. refcount_max; then nothing is changed. Falls to 0 give the cluster
 * free at once and discard it by @type: only for what nothing durable refers
 * to.
 */
int qcow2_refcount_add(Co *co, Node *node, int64_t off, int64_t len,
                       int64_t delta, Qcow2DiscardType type);
/* How many clusters from @index on are free, at most @max. */
int qcow2_refcount_count_free(Co *co, Node *node, int64_t index, int64_t max,
                              int64_t *ret);
/* The first free cluster at or after @index. */
int qcow2_refcount_find_free(Co *co, Node *node, int64_t index, int64_t *ret);
/* Takes the free clusters [first, first + n): 1 if blocks were made first, so
 * that the search must begin anew. */
int qcow2_refcount_take(Co *co, Node *node, int64_t first, int64_t n);

/* ---- qcow2-clusters.c: with `meta` ---- */

/* Contiguous clusters for @bytes, refcount 1; offset or -errno. */
int64_t qcow2_alloc_clusters(Co *co, Node *node, int64_t bytes);
/* The first free clusters, at most @n of them: *@got, contiguous. */
int64_t qcow2_alloc_some(Co *co, Node *node, int64_t n, int64_t *got);
/* Up to @n clusters at @off exactly: how many were free and taken; -errno. */
int64_t qcow2_alloc_clusters_at(Co *co, Node *node, int64_t off, int64_t n);
/* Space for compressed data, not aligned; may share clusters. */
int64_t qcow2_alloc_bytes(Co *co, Node *node, int64_t bytes);
/* Gives back what nothing durable has ever referred to (a failed allocation)
 * or nothing refers to any more, durably. */
void qcow2_free_clusters(Co *co, Node *node, int64_t off, int64_t len,
                         Qcow2DiscardType type);

/* ---- qcow2-free.c: dropping references in two steps ---- */

void qcow2_freed_init(Node *node);
void qcow2_freed_close(Node *node);
/* Drops one reference to the clusters of [off, off + len), whose mention has
 * just left a table in memory. Never suspends. */
void qcow2_free_later(Node *node, int64_t off, int64_t len,
                      Qcow2DiscardType type);
/* The same for what an L2 entry holds: normal, with zero flag, compressed. */
void qcow2_free_entry_later(Node *node, uint64_t entry, Qcow2DiscardType type);
/* What was freed so far, for qcow2_free_durable() when all tables changed so
 * far are durable, or qcow2_free_undurable() if that failed. */
GArray *qcow2_free_take(Node *node);
void qcow2_free_durable(Node *node, GArray *freed);
void qcow2_free_undurable(Node *node, GArray *freed);
/* Gives back what is durable and out of everybody's hands; passes discards.
 * Without `meta`. Errors leak clusters. */
void qcow2_free_release(Co *co, Node *node);
/* Freed bytes from which a flush is forced to get space back. */
#define QCOW2_FREED_MAX (64 * MiB)

/* A data request is in flight: the clusters it looked up stay as they are. */
static inline unsigned qcow2_epoch_enter(Qcow2State *s)
{
    unsigned e = s->epoch & 1;

    s->epoch_reqs[e]++;
    return e;
}

static inline void qcow2_epoch_leave(Qcow2State *s, unsigned e)
{
    s->epoch_reqs[e]--;
}

/* ---- qcow2-overlap.c ---- */

/*
 * Before metadata (@data false) or guest data go to [off, off + len) of the
 * image file: none of the sections in overlap_check but those in @ignore may
 * lie there. On a hit: signals corruption, -EIO.
 */
int qcow2_overlap_check(Co *co, Node *node, int ignore, int64_t off,
                        int64_t len, bool data);
/* An L2 table or refcount block came into or went out of use. */
void qcow2_overlap_add(Qcow2State *s, int64_t off, int section);
void qcow2_overlap_remove(Qcow2State *s, int64_t off);
/* All tables may have changed (snapshot apply, repair). */
void qcow2_overlap_reset(Qcow2State *s);

#endif
