/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Roots: the doors of a graph.
 *
 *     root_begin   waits while the door is closed, follows the graph to its
 *                  loop, counts
 *     request      range check, then io_*() on the root's edge
 *     root_end     counts down; the last one wakes a drain
 *
 * The edge is looked at behind the door only: while the door is closed the
 * graph may change and the root may become empty (-ENOMEDIUM).
 *
 * Inserting and removing are graph edits and drain the graph around them.
 */

#include "block/root.h"
#include "block/graph.h"
#include "block/io.h"

/* ---- life ---- */

bool root_refuse_loop(Root *root, Loop *loop, Error **errp)
{
    error_setg(errp, "Cannot change iothread of active block backend");
    return false;
}

Root *root_new(const char *name, const RootOps *ops, void *opaque,
               uint64_t need, uint64_t share)
{
    Root *root = g_new0(Root, 1);

    root->name = g_strdup(name ? name : "");
    root->ops = ops;
    root->opaque = opaque;
    root->loop = loop_current();
    root->need = need;
    root->share = share;
    return root;
}

Root *root_open(Co *co, Node *node, const char *name, const RootOps *ops,
                void *opaque, uint64_t need, uint64_t share, Error **errp)
{
    Root *root = root_new(name, ops, opaque, need, share);

    if (!root_insert(co, root, node, errp)) {
        root_free(co, root);
        return NULL;
    }
    return root;
}

bool root_insert(Co *co, Root *root, Node *node, Error **errp)
{
    Loop *home = co_loop(co);
    Transaction *tran;
    bool ok;

    g_assert(!root->edge);
    drain_begin(co, node);
    tran = tran_new();
    ok = graph_attach_root(co, tran, root, node, root->need, root->share,
                           errp) &&
         graph_check_one(tran, node, errp);
    tran_finalize(co, tran, ok);
    co_move(co, node->loop);
    drain_end(node);
    co_move(co, home);
    return ok;
}

/* Those who are left may need less now. That they can't let go of something
 * (a file that can't be opened read-only) is no reason to stay. */
static void root_relax_perms(Co *co, Node *node)
{
    Transaction *tran = tran_new();

    tran_finalize(co, tran, graph_check_one(tran, node, NULL));
}

void root_remove(Co *co, Root *root)
{
    Loop *home = co_loop(co);
    Node *node = root_node(root);
    Transaction *tran;

    if (!node) {
        return;
    }
    node_ref(node);
    drain_begin(co, node);
    tran = tran_new();
    graph_detach(tran, root->edge);
    tran_commit(co, tran);
    co_move(co, node->loop);
    root_relax_perms(co, node);
    drain_end(node);
    co_move(co, home);
    node_unref(co, node);
}

void root_free(Co *co, Root *root)
{
    if (!root) {
        return;
    }
    root_remove(co, root);
    g_assert(root->in_flight == 0);
    g_assert(co_queue_empty(&root->door));
    g_free(root->name);
    g_free(root);
}

typedef struct RootPermsUndo {
    Root *root;
    uint64_t need, share;
} RootPermsUndo;

static void root_perms_abort(Co *co, void *opaque)
{
    RootPermsUndo *undo = opaque;

    undo->root->need = undo->root->edge->need = undo->need;
    undo->root->share = undo->root->edge->share = undo->share;
}

static const TransactionOps root_perms_ops = {
    .abort = root_perms_abort,
    .clean = g_free,
};

bool root_set_perms(Co *co, Root *root, uint64_t need, uint64_t share,
                    Error **errp)
{
    Loop *home = co_loop(co);
    Node *node = root_node(root);
    RootPermsUndo *undo;
    Transaction *tran;
    bool ok;

    if (!node) {
        root->need = need;
        root->share = share;
        return true;
    }
    undo = g_new(RootPermsUndo, 1);
    *undo = (RootPermsUndo) { root, root->need, root->share };
    drain_begin(co, node);
    tran = tran_new();
    tran_add(tran, &root_perms_ops, undo);
    root->need = root->edge->need = need;
    root->share = root->edge->share = share;
    ok = tran_finalize(co, tran, graph_check_one(tran, node, errp));
    drain_end(node);
    co_move(co, home);
    return ok;
}

Node *root_node(const Root *root)
{
    return root->edge ? root->edge->child : NULL;
}

int64_t root_length(const Root *root)
{
    return root->edge ? root->edge->child->length : -ENOMEDIUM;
}

/* ---- the door ---- */

void root_begin(Co *co, Root *root)
{
    while (G_UNLIKELY(root->loop != co_loop(co) || root->quiesced)) {
        if (root->loop != co_loop(co)) {
            co_move(co, root->loop);
        } else {
            co_queue_wait(co, &root->door);
        }
    }
    root->in_flight++;
}

void root_end(Root *root)
{
    g_assert(root->in_flight > 0);
    if (--root->in_flight == 0 && root->drain_waiter) {
        Co *waiter = root->drain_waiter;

        root->drain_waiter = NULL;
        co_wake(waiter);
    }
}

void root_hold(Root *root)
{
    loop_assert(root->loop);
    root->in_flight++;
}

/* ---- requests ---- */

static int root_check_range(const Root *root, int64_t off, int64_t len)
{
    if (!root->edge) {
        return -ENOMEDIUM;
    }
    if (off < 0 || len < 0 || off > BLOCK_MAX_LENGTH - len) {
        return -EIO;
    }
    if (!root->allow_beyond_end && off + len > root->edge->child->length) {
        return -EIO;
    }
    return 0;
}

/* Begins a request: its start time, or -errno and nothing has begun. */
static int root_request_begin(Co *co, Root *root, RootStat stat, int64_t off,
                              int64_t len, int64_t *start_ns)
{
    int ret;

    root_begin(co, root);
    ret = root_check_range(root, off, len);
    if (ret < 0) {
        root->stats.invalid[stat]++;
        root_end(root);
        return ret;
    }
    *start_ns = clock_ns();
    return 0;
}

static int root_request_end(Root *root, RootStat stat, int64_t len,
                            int64_t start_ns, int ret)
{
    if (ret < 0) {
        root->stats.failed[stat]++;
    } else {
        root->stats.bytes[stat] += len;
        root->stats.operations[stat]++;
    }
    root->stats.time_ns[stat] += clock_ns() - start_ns;
    root_end(root);
    return ret;
}

static ReqFlags root_write_flags(const Root *root, ReqFlags flags)
{
    if (root->disable_flush) {
        return flags & ~REQ_FUA;
    }
    return root->write_through ? flags | REQ_FUA : flags;
}

int root_read(Co *co, Root *root, int64_t off, int64_t len, const IoVec *iov,
              int64_t iov_off, ReqFlags flags)
{
    int64_t start;
    int ret = root_request_begin(co, root, STAT_READ, off, len, &start);

    if (ret < 0) {
        return ret;
    }
    ret = io_read(co, root->edge, off, len, iov, iov_off, flags);
    return root_request_end(root, STAT_READ, len, start, ret);
}

int root_write(Co *co, Root *root, int64_t off, int64_t len, const IoVec *iov,
               int64_t iov_off, ReqFlags flags)
{
    int64_t start;
    int ret = root_request_begin(co, root, STAT_WRITE, off, len, &start);

    if (ret < 0) {
        return ret;
    }
    ret = io_write(co, root->edge, off, len, iov, iov_off,
                   root_write_flags(root, flags));
    return root_request_end(root, STAT_WRITE, len, start, ret);
}

int root_pread(Co *co, Root *root, int64_t off, int64_t len, void *buf)
{
    IoVec v;

    iov_init_buf(&v, buf, len);
    return root_read(co, root, off, len, &v, 0, 0);
}

int root_pwrite(Co *co, Root *root, int64_t off, int64_t len, const void *buf,
                ReqFlags flags)
{
    IoVec v;

    iov_init_buf(&v, (void *)buf, len);
    return root_write(co, root, off, len, &v, 0, flags);
}

int root_zero(Co *co, Root *root, int64_t off, int64_t len, ReqFlags flags)
{
    int64_t start;
    int ret = root_request_begin(co, root, STAT_WRITE, off, len, &start);

    if (ret < 0) {
        return ret;
    }
    ret = io_zero(co, root->edge, off, len, root_write_flags(root, flags));
    return root_request_end(root, STAT_WRITE, len, start, ret);
}

int root_discard(Co *co, Root *root, int64_t off, int64_t len)
{
    int64_t start;
    int ret = root_request_begin(co, root, STAT_UNMAP, off, len, &start);

    if (ret < 0) {
        return ret;
    }
    ret = io_discard(co, root->edge, off, len);
    return root_request_end(root, STAT_UNMAP, len, start, ret);
}

int root_flush(Co *co, Root *root)
{
    int64_t start;
    int ret = root_request_begin(co, root, STAT_FLUSH, 0, 0, &start);

    if (ret < 0) {
        return ret;
    }
    ret = root->disable_flush ? 0 : io_flush(co, root->edge->child);
    return root_request_end(root, STAT_FLUSH, 0, start, ret);
}

bool root_resize(Co *co, Root *root, int64_t length, bool exact,
                 PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    bool ok = false;

    root_begin(co, root);
    if (!root->edge) {
        error_setg(errp, "No medium inserted");
    } else {
        ok = io_resize(co, root->edge, length, exact, prealloc, flags, errp);
    }
    root_end(root);
    return ok;
}
