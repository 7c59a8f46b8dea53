/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Where requests enter a graph: an export, a job, a tool's handle.
 *
 * A root counts what it has in flight. Draining closes the door: root_begin()
 * then waits until the drain ends. Work that consists of several requests
 * which others may wait for (a background copy: read, then write) is one
 * root_begin/root_end pair around all of it, with the requests made on edges
 * inside (block/io.h); otherwise a drain could stop it half way and wait for
 * a guest's request that waits for the other half.
 *
 * Created and freed under the control lock on the main loop. Requests are made
 * on the graph's loop.
 */
#ifndef BLOCK_ROOT_H
#define BLOCK_ROOT_H

#include "block/node.h"

typedef struct RootOps {
    /* For messages and queries: "block-backend", "job", "export". */
    const char *kind;
    /* The door has been closed (opened again). Never suspends. Optional. */
    void (*quiesce)(Root *root);
    void (*resume)(Root *root);
    /* The disk has a new length. */
    void (*resized)(Root *root);
    /* The node is meant, not its place in the graph: graph_replace_node()
     * leaves the root where it is. */
    bool stay_at_node;
    /* May the graph move to @loop? NULL: yes. */
    bool (*loop_can_change)(Root *root, Loop *loop, Error **errp);
    /* The graph is about to live on @loop (root->loop says so already); the root
     * is quiesced. Called on the old loop. Never suspends. */
    void (*loop_changed)(Root *root, Loop *loop);
} RootOps;

/* A RootOps.loop_can_change of those who stay where they are. */
bool root_refuse_loop(Root *root, Loop *loop, Error **errp);

typedef struct RootStats {
    uint64_t bytes[4], operations[4], failed[4], invalid[4];
    uint64_t time_ns[4];    /* index: RootStat */
} RootStats;
typedef enum RootStat {
    STAT_READ, STAT_WRITE, STAT_FLUSH, STAT_UNMAP
} RootStat;

struct Root {
    char *name;             /* "" if it has none */
    const RootOps *ops;
    void *opaque;
    Edge *edge;             /* NULL: empty */
    Loop *loop;             /* the graph's; the last one while empty */
    uint64_t need, share;
    unsigned in_flight;
    unsigned quiesced;
    CoQueue door;
    Co *drain_waiter;       /* block/drain.c: waits for in_flight == 0 */
    bool disable_flush;     /* cache=unsafe */
    bool write_through;     /* every write is followed by a flush or is FUA */
    /* Requests past the end fail with -EIO unless this is set. */
    bool allow_beyond_end;
    bool allow_inactive;    /* its node may get inactive (block/activate.h) */
    RootStats stats;
};

Root *root_new(const char *name, const RootOps *ops, void *opaque,
               uint64_t need, uint64_t share);
/* root_new + attach + permission check, in a transaction of its own.
 * NULL on error. Control lock. */
Root *root_open(Co *co, Node *node, const char *name, const RootOps *ops,
                void *opaque, uint64_t need, uint64_t share, Error **errp);
bool root_insert(Co *co, Root *root, Node *node, Error **errp);
/* Waits for what is in flight, lets go of the node. */
void root_remove(Co *co, Root *root);
void root_free(Co *co, Root *root);             /* root_remove first; NULL ok */
/* Drains around it. Suspends; comes back to the same loop. */
bool root_set_perms(Co *co, Root *root, uint64_t need, uint64_t share,
                    Error **errp);

Node *root_node(const Root *root);              /* NULL if empty */
int64_t root_length(const Root *root);          /* bytes or -ENOMEDIUM */

/*
 * Waits at the door while the root is quiesced, then counts. If the graph has
 * gone to another loop meanwhile, the coroutine walks after it: a move wakes all
 * who wait at the door on the old loop, and each looks at root->loop again.
 * The caller comes out on root->loop and walks home by itself if it must.
 */
void root_begin(Co *co, Root *root);
void root_end(Root *root);
/* Counts without waiting at the door: only from inside a request of the same
 * graph, for work that goes on after that request. Ended by root_end. */
void root_hold(Root *root);

/* Each is begin, a range check (-EIO), the request, end. Suspends. */
int root_read(Co *co, Root *root, int64_t off, int64_t len, const IoVec *iov,
              int64_t iov_off, ReqFlags flags);
int root_write(Co *co, Root *root, int64_t off, int64_t len, const IoVec *iov,
               int64_t iov_off, ReqFlags flags);
int root_pread(Co *co, Root *root, int64_t off, int64_t len, void *buf);
int root_pwrite(Co *co, Root *root, int64_t off, int64_t len, const void *buf,
                ReqFlags flags);
int root_zero(Co *co, Root *root, int64_t off, int64_t len, ReqFlags flags);
int root_discard(Co *co, Root *root, int64_t off, int64_t len);
int root_flush(Co *co, Root *root);
bool root_resize(Co *co, Root *root, int64_t length, bool exact,
                 PreallocMode prealloc, ReqFlags flags, Error **errp);

#endif
