/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The entries of the buffer that copy-buffer.c fills and copy-drain.c empties: a
 * run of clusters each, found by any of them. Whole, or a part: then the rest of
 * its one cluster still lies in the source, and who reads that has a request on
 * it, so that it stays as it is. A part that nobody has a request on is in its
 * queue.
 */
#ifndef BLOCK_COPY_ENTRY_H
#define BLOCK_COPY_ENTRY_H

#include "block/root.h"
#include "copy-internal.h"

#define COPY_DRAINERS 4
#define COPY_BLOCK 4096
#define COPY_PART_ALIGN 512             /* as O_DIRECT has it */

typedef struct CopyEntry {
    int64_t off, len;
    int64_t from, n;            /* where in it @data belongs; a part: n < len */
    void *data;                 /* NULL: zeroes */
    GList *link;                /* in its queue; NULL: being written */
    struct CopyEntry *next;     /* of a batch */
} CopyEntry;

struct CopyBuffer {
    Root *root;
    const Node *owner;          /* while nobody uses it, others may write */
    int64_t limit, used;        /* bytes */
    int64_t reserve;            /* of it, for completing parts; 0: no parts */
    GHashTable *by_cluster;
    GQueue whole, parts;
    int entries, drainers;
    int flushing;               /* who waits for all to be written */
    int error;                  /* what ended the draining; 0 or -errno */
    bool error_is_read;
    int64_t retry_ns;           /* not before, but for who flushes */
    bool closed;                /* takes nothing any more */
    LoopTimer *tick;            /* to look whether the guests have stopped */
    bool ticking;
    CoQueue changed;            /* an entry has gone, a drainer has ended */
};

bool copy_entry_is_part(const CopyEntry *e);
int64_t copy_entry_cost(const CopyEntry *e);    /* bytes */
void copy_entry_enqueue(CopyBuffer *b, CopyEntry *e);
void copy_entry_dequeue(CopyBuffer *b, CopyEntry *e);
/* NULL if there is none with this cluster. */
CopyEntry *copy_entry_at(const CopyState *s, int64_t cluster);
/* One that has been counted in used. */
void copy_entry_add(CopyState *s, CopyEntry *e);
void copy_entry_free(CopyState *s, CopyEntry *e);       /* not added */
void copy_entry_remove(CopyState *s, CopyEntry *e);
/* The same: the target has it. */
void copy_entry_written(CopyState *s, CopyEntry *e);
/* The same: nobody will write it, it is in todo again. */
void copy_entry_give_up(CopyState *s, CopyEntry *e);

/* Memory for the data; NULL if there is none. */
void *copy_entry_alloc(const CopyState *s, int64_t len, int64_t align);
/* All of a part's range as it was, in new memory. The caller has a request on
 * it. Suspends. */
int copy_entry_read_all(Co *co, CopyState *s, const CopyEntry *e, void **ret);
/* Likewise, and the entry is whole then. It is not in its queue. */
int copy_entry_complete(Co *co, CopyState *s, CopyEntry *e);

/* ---- copy-drain.c ---- */

/* Writes what is due; the rest later. After each change of the buffer. */
void copy_drain_start(CopyState *s);
void copy_drain_drop_tick(CopyBuffer *b);

#endif
