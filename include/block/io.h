/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Requests inside a graph: from a node to its child, over an edge. All run on
 * the graph's loop, suspend, and return 0 or -errno.
 *
 * One order for every verb, each step a file of its own:
 *   enter (asserts, count)                         io.c
 *   track, serialise                               io-track.c
 *   align: head and tail read-modify-write         io-align.c
 *   split by the limits                            io-split.c
 *   the driver
 *   emulate FUA, zero, discard                     io-emulate.c
 *   leave: bitmaps, write generation, waiters      io.c
 *
 * The edge must have been granted the permission: it is asserted. A range must
 * lie inside the child, but for nodes whose parents may resize them: a write
 * past the end then grows a protocol node.
 */
#ifndef BLOCK_IO_H
#define BLOCK_IO_H

#include "block/node.h"

int io_read(Co *co, Edge *edge, int64_t off, int64_t len, const IoVec *iov,
            int64_t iov_off, ReqFlags flags);
int io_write(Co *co, Edge *edge, int64_t off, int64_t len, const IoVec *iov,
             int64_t iov_off, ReqFlags flags);
int io_zero(Co *co, Edge *edge, int64_t off, int64_t len, ReqFlags flags);
/* What lies past the end has nothing to give back and is passed over. */
int io_discard(Co *co, Edge *edge, int64_t off, int64_t len);
/* All writes that completed before it are durable after it. */
int io_flush(Co *co, Node *node);

/* One buffer. */
int io_pread(Co *co, Edge *edge, int64_t off, int64_t len, void *buf,
             ReqFlags flags);
int io_pwrite(Co *co, Edge *edge, int64_t off, int64_t len, const void *buf,
              ReqFlags flags);
/* Write, then flush: for metadata whose order matters. */
int io_pwrite_sync(Co *co, Edge *edge, int64_t off, int64_t len,
                   const void *buf, ReqFlags flags);

/* Copies inside the storage where the drivers can; -ENOTSUP else. */
int io_copy_range(Co *co, Edge *src, int64_t src_off, Edge *dst,
                  int64_t dst_off, int64_t len, ReqFlags flags);

/*
 * Makes @edge's child hold [off, off + len), rounded to clusters, in its own
 * layer as far as it is not allocated there: copied up from the layers below.
 * The parent has PERM_WRITE or PERM_WRITE_UNCHANGED. Nothing that overlaps
 * runs beside it.
 */
int io_copy_up(Co *co, Edge *edge, int64_t off, int64_t len);

bool io_resize(Co *co, Edge *edge, int64_t length, bool exact,
               PreallocMode prealloc, ReqFlags flags, Error **errp);
/* A protocol's length, asked anew; bytes or -errno. */
int64_t io_length(Co *co, Node *node);

/*
 * After @node's length has changed from @old_len by other ways than io_write
 * and io_resize (a child grew, the server says so): bitmaps, parents and roots
 * learn of it. node->length is set already.
 */
void io_length_changed(Co *co, Node *node, int64_t old_len);

/*
 * What [off, off + len) of @node holds has changed by other ways than writes, as
 * when it could not be cut off as a whole: its bitmaps, and those of the filters
 * above it, learn of it.
 */
void io_content_changed(Node *node, int64_t off, int64_t len);

/* ---- block/io-track.c ---- */

/*
 * A request under way. io_* make their own. A driver or filter that works on
 * its own node's range beside guest requests (copy-on-read, a discard in the
 * background) marks the range by one of its own, which lives on its stack.
 */
struct TrackedReq {
    Node *node;
    Co *co;
    int64_t off, end;           /* rounded to the alignment if serialising */
    bool serialising;
    TrackedReq *older, *newer;
    CoQueue waiters;
};
/* Suspends while overlapping older requests are under way, if they or this one
 * are serialising. */
void io_track_begin(Co *co, TrackedReq *req, Node *node, int64_t off,
                    int64_t len, bool serialising);
void io_track_end(TrackedReq *req);
/* Whether @co is inside of a request of @node: for assertions. */
bool io_track_has(const Node *node, const Co *co);

/* ---- for blkdebug ---- */

/* Something is about to happen that rules may wait for. Suspends only if they
 * say so. */
static inline void io_debug_event(Co *co, Node *node, BlkdebugEvent event)
{
    if (G_UNLIKELY(node->drv->debug)) {
        node->drv->debug->event(co, node, event);
    }
}

/* ---- block/status.c ---- */

/* One extent of @node's own layer (filters and raw look through). */
int status_layer(Co *co, Node *node, bool precise, int64_t off, int64_t len,
                 Extent *ret);
/* Through the chain from @top down to @base (NULL: all; exclusive). depth is
 * set. With include_base, @base itself is the last to be asked. */
int status_above(Co *co, Node *top, Node *base, bool include_base,
                 bool precise, int64_t off, int64_t len, Extent *ret);
/* The same of several extents through the whole chain, one after the other from
 * @off on, at most @max: how many, at least one, or -errno. */
int status_list(Co *co, Node *top, bool precise, int64_t off, int64_t len,
                Extent *ret, int max);
/* 1 if all of [off, off + *@n) is allocated in @node's layer, 0 if none of it;
 * *@n is cut to what is alike. */
int status_allocated(Co *co, Node *node, int64_t off, int64_t len, int64_t *n);
int status_allocated_above(Co *co, Node *top, Node *base, bool include_base,
                           int64_t off, int64_t len, int64_t *n);
/* 1 if @top shows of [off, off + *@n) what the layers below it down to @bottom
 * (inclusive; NULL: all) make of it, 0 if not. Where one of these ends before what
 * is below @bottom does, its zeroes count. */
int status_comes_up(Co *co, Node *top, Node *bottom, int64_t off, int64_t len,
                    int64_t *n);
/* 1: all of it reads as zeroes; 0: not known to. */
int status_is_zero(Co *co, Node *node, int64_t off, int64_t len);

/* ---- block/drain.c ---- */

/*
 * Closes the doors of all roots of @node's connected graph and suspends until
 * nothing is in flight. Nests. From inside a request it asserts. Control lock.
 * The coroutine walks to the graph's loop and comes out there; drain_end()
 * belongs on that loop, too, and ends the last drain that began at @node.
 */
void drain_begin(Co *co, Node *node);
void drain_end(Node *node);
void drain_all_begin(Co *co);           /* comes out on the loop it came from */
void drain_all_end(Co *co);

/*
 * A drain remembers the nodes that it closed and opens just these, whatever
 * became of the graph meanwhile. What joins them in the meantime is drained,
 * too. This is the same as an object, for those whose @node may go away.
 */
typedef struct DrainSection DrainSection;
DrainSection *drain_section_begin(Co *co, Node *node);
/* From any loop: the doors open on the graph's loop, at once if that is the
 * caller's. Frees @s. */
void drain_section_end(DrainSection *s);
bool drain_section_covers(const DrainSection *s, const Node *node);

/* For block/graph.c and root.c. A new edge has joined the graphs of @a and @b;
 * both are quiet if one of them is drained. */
void drain_join(Node *a, Node *b);
/* @node is being closed: no drain remembers it. */
void drain_forget(Node *node);
/* root->edge has changed (NULL, another node): its door is closed just if its
 * node is drained. */
void drain_root_moved(Root *root);

#endif
