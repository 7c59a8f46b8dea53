/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the core knows of a driver: a name, a kind, and callbacks of one
 * generation. A driver says only what it changes. A capability that it lacks
 * is a NULL callback or a NULL group. For a filter a NULL callback forwards to
 * the primary edge.
 *
 * All callbacks run on the node's loop. Those with a Co may suspend.
 */
#ifndef BLOCK_DRIVER_H
#define BLOCK_DRIVER_H

#include "block/types.h"

typedef enum DriverKind {
    DRIVER_PROTOCOL,        /* the end of a graph: a file, a null device */
    DRIVER_FORMAT,
    DRIVER_FILTER,          /* shows its primary child's content, unchanged */
} DriverKind;

/* One line of a driver's `-o help`. */
typedef struct CreateOption {
    const char *name;       /* as in -o: "cluster_size" */
    const char *qapi_name;  /* of BlockdevCreateOptions*: "cluster-size" */
    enum { CREATE_SIZE, CREATE_BOOL, CREATE_NUMBER, CREATE_STRING } type;
    const char *def;        /* shown as the default; NULL */
    const char *help;       /* as QEMU prints it */
} CreateOption;

typedef struct CheckOptions {
    bool fix_leaks, fix_errors;
} CheckOptions;

typedef struct CheckResult {
    int64_t corruptions, leaks, check_errors;
    int64_t corruptions_fixed, leaks_fixed;
    int64_t image_end_offset;       /* 0: unknown */
    int64_t total_clusters, allocated_clusters, fragmented_clusters,
            compressed_clusters;
    bool have_clusters;             /* the four above are set */
} CheckResult;

typedef struct ReopenState ReopenState;

typedef struct ReopenOps {
    /* The driver's own options that may change, QAPI names; ends with NULL;
     * NULL: none. */
    const char *const *options;
    /* Prepares *@st (see block/reopen.h) while the graph is quiet. The node
     * still has its old options and flags; commit finds the new ones. */
    bool (*prepare)(Co *co, ReopenState *st, Transaction *tran, Error **errp);
    void (*commit)(Co *co, ReopenState *st);
    /* After all commits, when the children can be written. Optional. */
    void (*commit_post)(Co *co, ReopenState *st);
    void (*abort)(Co *co, ReopenState *st);
} ReopenOps;

/* Steps from one name of an image to another. */
typedef enum ImageRename {
    IMAGE_NAME_ADD,         /* it has this name as well; -EEXIST */
    IMAGE_NAME_REMOVE,      /* it hasn't any more */
    IMAGE_NAME_EXCHANGE,    /* takes it from an image that gets its own */
    IMAGE_NAME_KNOW,        /* the node knows itself by it; never suspends */
} ImageRename;

typedef struct ImageOps {
    /* In the order in which the "Formatting" line shows them (help sorts
     * them); ends with a NULL name. */
    const CreateOption *create_options;
    const CreateOption *amend_options;      /* those of amend, likewise */
    /* Formats an image; opens its files itself by their references. NULL with
     * create_options: an image is its file as the protocol makes it (raw), or
     * (protocols) what is there already. */
    bool (*create)(Co *co, BlockdevCreateOptions *opts, Error **errp);
    /* How sure: 0 (not mine) to 100, by the first @len bytes and the name. */
    int (*probe)(const uint8_t *buf, int len, const char *filename);
    int (*check)(Co *co, Node *node, const CheckOptions *opts,
                 CheckResult *res);
    bool (*amend)(Co *co, Node *node, const json_t *opts, bool force,
                  void (*progress)(void *opaque, int64_t done, int64_t all),
                  void *opaque, Error **errp);
    BlockMeasureInfo *(*measure)(Co *co, const json_t *opts, Node *source,
                                 Error **errp);
    /* New backing file strings in the header; NULL: none. */
    int (*change_backing)(Co *co, Node *node, const char *file,
                          const char *fmt);
    int (*make_empty)(Co *co, Node *node);
    /* Protocols: deletes what the node is stored in; 0 or -errno. */
    int (*remove)(Co *co, Node *node);
    /* Protocols: a step, durable when it returns; 0 or -errno. */
    int (*rename)(Co *co, Node *node, ImageRename how, const char *name);
} ImageOps;

typedef struct SnapshotOps {
    /* @icount: instructions of a machine so far; -1: unknown. 0 or -errno,
     * which programs print. */
    int (*create)(Co *co, Node *node, const char *name, int64_t date_ns,
                  int64_t icount);
    bool (*apply)(Co *co, Node *node, const char *id_or_name, Error **errp);
    bool (*remove)(Co *co, Node *node, const char *id, const char *name,
                   SnapshotInfo **removed, Error **errp);
    bool (*list)(Co *co, Node *node, SnapshotInfoList **ret, Error **errp);
    /* Shows the snapshot's content, read-only. */
    bool (*load)(Co *co, Node *node, const char *id, const char *name,
                 Error **errp);
} SnapshotOps;

typedef struct BitmapStoreOps {
    /* Whether this image, as it is, can hold any; NULL: always. */
    bool (*supported)(Node *node);
    /* False, with what is wrong, if some that are stored could not be loaded
     * because they are damaged; NULL: always true. */
    bool (*complete)(Node *node, Error **errp);
    /* Whether one more persistent bitmap of this kind can be stored. */
    bool (*can_store)(Co *co, Node *node, const char *name,
                      int64_t granularity, Error **errp);
    /* Forgets it on disk, before it is released in memory. */
    bool (*remove)(Co *co, Node *node, const char *name, Error **errp);
    /* The same in an image that can't be opened to be written because its
     * bitmaps are damaged: opened with OPEN_CHECK. NULL: never needed. */
    bool (*remove_damaged)(Co *co, Node *node, const char *name,
                           Error **errp);
    /* Bytes that storing all persistent bitmaps may take. */
    int64_t (*measure)(Node *node);
    /* Stores all that changed; they stay marked in use if @keep_in_use. */
    bool (*store)(Co *co, Node *node, bool keep_in_use, Error **errp);
} BitmapStoreOps;

/* Of copy-before-write: its content as it was at the beginning. */
typedef struct SnapshotAccessOps {
    /* -EACCES where the snapshot is broken or was not asked for. */
    int (*read)(Co *co, Node *node, int64_t off, int64_t len,
                const IoVec *iov, int64_t iov_off);
    int (*status)(Co *co, Node *node, bool precise, int64_t off, int64_t len,
                  Extent *ret);
    /* The range is not wanted any more. */
    int (*discard)(Co *co, Node *node, int64_t off, int64_t len);
    /* Bytes: of the disk when the snapshot was made. */
    int64_t (*length)(const Node *node);
    /* 0, or the -errno that broke the snapshot. */
    int (*error)(const Node *node);
} SnapshotAccessOps;

typedef struct DebugOps {
    void (*event)(Co *co, Node *node, BlkdebugEvent event);
    int (*breakpoint)(Node *node, const char *event, const char *tag);
    int (*remove_breakpoint)(Node *node, const char *tag);
    int (*resume)(Node *node, const char *tag);
    bool (*is_suspended)(Node *node, const char *tag);
} DebugOps;

struct BlockDriver {
    const char *name;           /* "qcow2" */
    BlockdevDriver id;
    DriverKind kind;
    size_t state_size;          /* of node->state, zeroed before open */
    const char *protocol;       /* prefix of its file names: "nbd"; or NULL */
    const char *const *more_protocols;  /* others; ends with NULL; NULL: none */
    bool exact_filename;        /* node->filename alone says it all */
    bool job_filter;            /* block/job-filter.h: called like its child */
    bool lazy_target;           /* a flush leaves out ROLE_TARGET children */
    /* The options (QAPI names) that decide what the node shows; with one of
     * them its file's name is not its name. Ends with NULL; NULL: none. */
    const char *const *content_options;
    bool supports_backing;
    bool writes_zero_fua;       /* zero takes REQ_FUA; write always does or
                                 * has supports_fua false */
    bool supports_fua;
    bool background;            /* who reads it gives way to the loop's others */
    bool supports_compressed;   /* write takes REQ_COMPRESSED */

    /* Turns a name (with its protocol prefix; for "file" also a path without
     * one) into options. */
    BlockdevOptions *(*parse_filename)(const char *filename, Error **errp);

    /* Puts options as people once wrote them (a tree of strings) into today's
     * form. Optional. */
    bool (*old_options)(json_t *tree, Error **errp);

    /* The plain name that would open just this node, if one can; children are
     * not asked. Caller frees. NULL: the file child's name, if any. */
    char *(*exact_name)(const Node *node);

    /* Opens node->options; children by open_child(). Sets node->length. */
    bool (*open)(Co *co, Node *node, OpenFlags flags, Error **errp);
    /* The graph is quiet; children are still attached. Frees what open made. */
    void (*close)(Co *co, Node *node);

    /*
     * Data. Ranges lie inside the node (reads and writes of a growing file may
     * reach past: see limits), are aligned to the limits and within them.
     * 0 or -errno. A NULL zero or discard is -ENOTSUP; the core falls back.
     */
    int (*read)(Co *co, Node *node, int64_t off, int64_t len,
                const IoVec *iov, int64_t iov_off, ReqFlags flags);
    int (*write)(Co *co, Node *node, int64_t off, int64_t len,
                 const IoVec *iov, int64_t iov_off, ReqFlags flags);
    int (*zero)(Co *co, Node *node, int64_t off, int64_t len, ReqFlags flags);
    int (*discard)(Co *co, Node *node, int64_t off, int64_t len);
    /* Protocols: brings the range closer, for reads to come. Optional. */
    int (*prefetch)(Co *co, Node *node, int64_t off, int64_t len);
    /* Hands over to the children what is cached here, then (protocols) makes
     * it durable. The core flushes the children afterwards. */
    int (*flush)(Co *co, Node *node);
    /* Like flush, of this node's own caches only, without durability. */
    int (*flush_to_os)(Co *co, Node *node);

    /*
     * The extent at @off, at most @len bytes; ret->len > 0. With @precise
     * false, zeroes and holes of the storage below need not be looked for.
     * NULL: all data (protocols), or all of it is the primary child's.
     */
    int (*status)(Co *co, Node *node, bool precise, int64_t off, int64_t len,
                  Extent *ret);
    /* The same of several extents, one after the other from @off on: how many of
     * @max, at least one, or -errno. Optional. */
    int (*status_list)(Co *co, Node *node, bool precise, int64_t off,
                       int64_t len, Extent *ret, int max);

    /* Changes node->length. @exact: a longer result is an error. */
    bool (*resize)(Co *co, Node *node, int64_t length, bool exact,
                   PreallocMode prealloc, ReqFlags flags, Error **errp);
    /* Re-reads the length of a growing protocol; -errno or length. */
    int64_t (*refresh_length)(Co *co, Node *node);
    /* Narrows node->limits, which start as the children's. */
    void (*limits)(Node *node);

    /* Native copy of a range between two nodes of this driver, by their
     * edges; NULL: the core reads and writes. */
    int (*copy_range)(Co *co, Node *src, int64_t src_off, Node *dst,
                      int64_t dst_off, int64_t len, ReqFlags flags);

    /*
     * What this node needs of child @e and lets others do there, given what
     * its own parents need and share. NULL: perm_default_*() by kind.
     */
    void (*child_perms)(Node *node, const Edge *e, uint64_t perm,
                        uint64_t shared, uint64_t *need, uint64_t *share);
    /* Stages a change of what the parents need and share (file locks), with
     * undo in @tran. Never suspends. */
    bool (*perm_stage)(Node *node, uint64_t perm, uint64_t shared,
                       Transaction *tran, Error **errp);

    /* Fills in what `qemu-img info` shows. */
    int (*info)(Co *co, Node *node, BlockDriverInfo *ret);
    ImageInfoSpecific *(*specific_info)(Co *co, Node *node, Error **errp);
    /* Bytes or -errno; NULL: the file child's. */
    int64_t (*allocated_size)(Co *co, Node *node);
    /* Another process may write to the image from now on: what is in memory
     * goes to disk. The node is writable still, and quiet. Optional. */
    bool (*inactivate)(Co *co, Node *node, Error **errp);
    /* Nobody else does any more: reads again what is on disk. Optional. */
    bool (*activate)(Co *co, Node *node, Error **errp);
    /* Around the graph's move to another loop, while it is quiet. */
    void (*loop_leave)(Node *node);
    void (*loop_enter)(Node *node, Loop *loop);
    /* A drain begins (the last one ends): what is held back is let go, so that
     * it does not take long. Also before open and after close. */
    void (*drained)(Node *node, bool drained);
    /* See node_cancel_in_flight(). Never suspends. NULL: the children's. */
    void (*cancel_in_flight)(Node *node);
    /* A child's length changed. */
    void (*child_resized)(Co *co, Node *node, Edge *child);

    const ReopenOps *reopen;
    const ImageOps *image;
    const SnapshotOps *snapshots;
    const BitmapStoreOps *bitmap_store;
    const DebugOps *debug;
    const SnapshotAccessOps *snapshot_access;
};

/* What drivers tell each other below the user: not a QAPI type. */
struct BlockDriverInfo {
    int64_t cluster_size;       /* 0: none */
    int64_t subcluster_size;
    int64_t vm_state_offset;    /* where a machine's state would begin; 0 */
    bool is_dirty;
    bool zeroes_new;            /* fresh space reads as zeroes */
};

/* Called from block_init(), once a driver. */
void driver_register(const BlockDriver *drv);
const BlockDriver *driver_find(const char *name);
const BlockDriver *driver_by_id(BlockdevDriver id);
/* By the prefix of file names; "file" among them. */
const BlockDriver *driver_by_protocol(const char *protocol);
/* All, in order of registration. */
const BlockDriver *const *driver_all(size_t *n);
/* Registers every driver of the build; main() of each program calls it. */
void block_init(void);

/* The usual child_perms, for drivers that change only a part. */
void perm_default_filter(Node *node, const Edge *e, uint64_t perm,
                         uint64_t shared, uint64_t *need, uint64_t *share);
void perm_default_format(Node *node, const Edge *e, uint64_t perm,
                         uint64_t shared, uint64_t *need, uint64_t *share);

#endif
