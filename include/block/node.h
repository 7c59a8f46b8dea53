/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Nodes and the edges between them.
 *
 *     Root ---edge---> Node ---edge---> Node        (parent ---> child)
 *
 * A connected graph belongs to one loop. Its nodes' data are touched by
 * coroutines of that loop only. Names, reference counts and the shape of the
 * graph change only under the control lock (block/graph.h), on the graph's
 * loop, while the graph is quiet.
 */
#ifndef BLOCK_NODE_H
#define BLOCK_NODE_H

#include "block/driver.h"
#include "util/reqlist.h"

typedef struct TrackedReq TrackedReq;       /* block/io-track.c */
typedef struct BitmapTable BitmapTable;     /* block/dirty-bitmap.c */

/* Is told of writes to a node that do not come over the edge @through, when
 * they have ended, well or not. The node's loop; must not suspend. */
typedef struct NodeWatch NodeWatch;
struct NodeWatch {
    const Edge *through;
    void (*wrote)(NodeWatch *w, int64_t off, int64_t len);
    NodeWatch *next;
};

struct Edge {
    char *name;             /* "file", "backing", "data-file", "target" */
    EdgeRole role;
    Node *parent;           /* NULL if root is set */
    Root *root;
    Node *child;
    uint64_t need, share;   /* BlockPerm: of the parent, to others */
    /* The parent handed this child over frozen: nobody may replace it. */
    bool frozen;
};

struct Node {
    char *name;             /* unique; "#block123" if nobody gave one */
    bool named_by_user;     /* blockdev-add: listed, and deleted by the user */
    OwnerId owner;
    const BlockDriver *drv;
    void *state;            /* the driver's, drv->state_size bytes */
    Loop *loop;
    int refs;               /* control lock */

    BlockdevOptions *options;   /* as opened, all defaults resolved or unset */
    OpenFlags flags;
    bool read_only;         /* as it is now */
    bool inactive;          /* blockdev-set-active */
    bool encrypted;
    char *filename;         /* as shown: a path, a URI, or json:{...} */
    char *exact_filename;   /* a plain path or URI, or NULL */
    char *backing_file;     /* of the image header, as written; NULL: none */
    char *backing_format;
    char *full_backing;     /* backing_file made absolute; NULL: none */
    BlockdevDetectZeroesOptions detect_zeroes;

    int64_t length;         /* bytes; a protocol's may grow by itself */
    unsigned length_changes;    /* how often the parents were told of one */
    BlockLimits limits;

    GPtrArray *children;    /* of Edge, in the order of attachment */
    GPtrArray *parents;     /* of Edge, owned by the parents */
    Edge *file;             /* ROLE_PRIMARY, _STORAGE or _METADATA; or NULL */
    Edge *backing;          /* ROLE_COW or NULL */

    /* Requests (block/io-track.c, block/drain.c). */
    TrackedReq *tracked;
    unsigned serialising;   /* how many of them are */
    int64_t write_gen;      /* counts completed writes */
    int64_t flushed_gen;    /* of the last successful flush */
    int64_t flushes_begun;  /* how many flushes have begun */
    int64_t flush_done;     /* number of the last one that succeeded */
    bool flushing;
    CoQueue flush_queue;
    unsigned quiesced;      /* depth of drains */

    BitmapTable *bitmaps;   /* NULL: none */
    NodeWatch *watches;
    int64_t wr_highest_offset;
    int64_t write_threshold;    /* 0: off */
    uint64_t discard_ok, discard_failed, discard_bytes;

    bool opened;            /* the driver's open has succeeded */
    bool probed;            /* raw by guess: block 0 must stay no format */
    bool backing_overridden;    /* not what the header says */
    Node *inherits_from;    /* the parent whose options define it; or NULL */
    GList link;             /* in the list of all nodes */

    bool implicit;          /* a job put it in; queries skip it */
    bool never_freeze;
    void *job;              /* the job that this filter belongs to, or NULL */
    unsigned busy;          /* jobs that keep it from others ... */
    const char *busy_with;  /* ... and of which type the last one is */
};

/* A closed node on the main loop, in the table. @name NULL: a generated one.
 * One reference. NULL if the name is malformed or taken; QEMU's texts. */
Node *node_new(const BlockDriver *drv, const char *name, Error **errp);
/* Whether node_new would take the name. */
bool node_check_name(const char *name, Error **errp);
/* False if a job keeps it: "Node 'x' is busy: block device is in use by block
 * job: TYPE". */
bool node_check_busy(const Node *node, Error **errp);

/* Control lock. */
Node *node_find(const char *name);
/* As QMP's commands look them up: a device's name or a node-name; "Cannot find
 * device='x' nor node-name='x'". */
Node *node_lookup(const char *name, Error **errp);
/* For commands that take both; either may be NULL. */
Node *node_lookup_either(const char *device, const char *name, Error **errp);
Node *node_first(void);
Node *node_next(const Node *node);              /* in order of creation */
Node *node_ref(Node *node);
/* The last reference closes the node and lets go of its children. The control
 * lock is held; suspends; walks to the node's loop and back. NULL ok. */
void node_unref(Co *co, Node *node);
/* At exit: drops what blockdev-add holds, the newest first. Control lock. */
void node_unref_named(Co *co);

/*
 * Nobody wants to wait for what is under way at @node: requests that the storage
 * below does not answer end soon with an error. Backing files, which hold other
 * people's data, are left alone. The node's loop; never suspends.
 */
void node_cancel_in_flight(Node *node);

/* What messages call it: its node-name. */
const char *node_display_name(const Node *node);

/* The child of a filter or a format that holds the same guest content: a
 * filter's primary child, else NULL. */
Edge *node_filter_child(const Node *node);
/* The next layer of a chain: the backing edge behind any filters, or NULL. */
Edge *node_cow_child(const Node *node);
/* filter child or cow child */
Edge *node_chain_child(const Node *node);
Node *node_skip_filters(Node *node);
/* The next layer's node below @node, past filters; NULL at the end. */
Node *node_backing_chain_next(Node *node);
bool node_chain_contains(Node *top, Node *base);
Edge *node_child(const Node *node, const char *name);

#endif
