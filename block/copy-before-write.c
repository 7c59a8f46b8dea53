/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * copy-before-write: a filter that keeps the content of its child as it was at
 * the beginning. Before a write goes down, what it is about to change is
 * copied to the target, once.
 *
 *     access     what the snapshot may be asked for (all, or a bitmap's part)
 *     done       what has been copied on behalf of writes: lies in the target
 *     reading    ranges that a snapshot reader takes from the child right now
 *
 * A snapshot reader takes a cluster from the target if it is done, else from
 * the child, and marks it as being read, without suspending in between. (Of a
 * cluster that is done, a part that no write has come to may still lie in the
 * child: see block/copy-buffer.c.) A
 * write first copies, then waits for the readers of its range, then goes down:
 * so no reader ever sees new data.
 *
 * What is copied may wait in memory (block/copy-buffer.c): it is done, too, and
 * readers find it there first. A part needs the rest of its cluster as it was.
 * While nobody uses the filter the disk may be written beside it: then no part is
 * completed, and when that time ends, parts are lost if the disk was written.
 *
 * A copy that fails either fails the write (break-guest-write), or breaks the
 * snapshot: from then on its readers get -EACCES, and writes go down at once.
 * With a timeout the guest does not wait longer than that: the copy is then
 * left behind, and counted by a root of the filter's own until it ends.
 */

#include "block/copy-before-write.h"
#include "block/dirty-bitmap.h"
#include "block/drivers.h"
#include "block/graph.h"
#include "block/open.h"
#include "block/root.h"
#include "qapi/qapi-events.h"
#include "util/reqlist.h"

typedef struct CbwState {
    Edge *target;
    CopyState *copy;
    OnCbwError on_error;
    int64_t timeout_ns;
    int64_t length;             /* of the snapshot; the disk may be resized */
    bool used;                  /* so that nobody writes beside us */
    const Node *left_disk;      /* the last one whom we kept others from, ... */
    int64_t left_gen;           /* ... and its write_gen at the end of that */
    int error;                  /* -errno: the snapshot is broken */
    Bitset *access, *done;      /* one bit a cluster of the copy */
    ReqList reading;
    Root *behind;               /* counts copies that guests left behind */
    bool discard_source;
} CbwState;

/* ---- copying before a write ---- */

typedef struct CbwCopy {
    Node *node;
    int64_t off, len;
    int ret;
    bool ended;
    bool left;                  /* the guest has gone: free by yourself */
    CoSleep guest;
} CbwCopy;

static int64_t cbw_shift(const CbwState *s)
{
    return __builtin_ctzll(copy_cluster_size(s->copy));
}

static void cbw_break(Node *node, int error)
{
    CbwState *s = node->state;

    if (!s->error) {
        s->error = error;
        qapi_event_send_block_snapshot_broken(node->name, strerror(-error));
    }
}

static void cbw_copy_run(Co *co, void *opaque)
{
    CbwCopy *c = opaque;
    CbwState *s = c->node->state;
    bool is_read;

    c->ret = copy_range_now(co, s->copy, c->off, c->len, &is_read);
    c->ended = true;
    if (c->left) {
        g_free(c);
    } else {
        co_sleep_wake(&c->guest);
    }
    root_end(s->behind);
}

/* Like copy_range_now, but gives up waiting after the timeout. */
static int cbw_copy_bounded(Co *co, Node *node, int64_t off, int64_t len)
{
    CbwState *s = node->state;
    CbwCopy *c = g_new0(CbwCopy, 1);
    int ret;

    c->node = node;
    c->off = off;
    c->len = len;
    root_hold(s->behind);
    co_spawn(node->loop, cbw_copy_run, c);
    co_sleep_ns(co, &c->guest, s->timeout_ns);
    if (!c->ended) {
        c->left = true;
        return -ETIMEDOUT;
    }
    ret = c->ret;
    g_free(c);
    return ret;
}

static int cbw_do_copy(Co *co, Node *node, int64_t off, int64_t len)
{
    CbwState *s = node->state;
    int64_t first = off >> cbw_shift(s);
    bool is_read;
    int ret;

    len = MIN(len, s->length - off);
    if (s->error || len <= 0) {
        return 0;
    }
    if (s->timeout_ns) {
        ret = cbw_copy_bounded(co, node, off, len);
    } else {
        ret = copy_range_now(co, s->copy, off, len, &is_read);
    }
    if (ret < 0 && s->on_error == ON_CBW_ERROR_BREAK_GUEST_WRITE) {
        return ret;
    }
    if (ret < 0) {
        cbw_break(node, ret);
    } else {
        bitset_set(s->done, first,
                   ((off + len - 1) >> cbw_shift(s)) - first + 1);
    }
    reqlist_wait_all(co, &s->reading, off, len);
    return 0;
}

static int cbw_read(Co *co, Node *node, int64_t off, int64_t len,
                    const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    CbwState *s = node->state;
    int64_t begun = clock_ns();
    int ret = io_read(co, node->file, off, len, iov, iov_off, flags);

    copy_note_guest(s->copy, begun);
    return ret;
}

static int cbw_write(Co *co, Node *node, int64_t off, int64_t len,
                     const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    CbwState *s = node->state;
    int64_t begun = clock_ns();
    int ret = 0;

    if (!(flags & REQ_WRITE_UNCHANGED)) {
        ret = cbw_do_copy(co, node, off, len);
    }
    if (ret == 0) {
        ret = io_write(co, node->file, off, len, iov, iov_off, flags);
    }
    copy_note_guest(s->copy, begun);
    return ret;
}

static int cbw_zero(Co *co, Node *node, int64_t off, int64_t len,
                    ReqFlags flags)
{
    CbwState *s = node->state;
    int64_t begun = clock_ns();
    int ret = cbw_do_copy(co, node, off, len);

    if (ret == 0) {
        ret = io_zero(co, node->file, off, len, flags);
    }
    copy_note_guest(s->copy, begun);
    return ret;
}

static int cbw_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    int ret = cbw_do_copy(co, node, off, len);

    return ret < 0 ? ret : io_discard(co, node->file, off, len);
}

/* What is cut off is saved first, in whole clusters: nothing of them is left to
 * the source. */
static bool cbw_resize(Co *co, Node *node, int64_t length, bool exact,
                       PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    CbwState *s = node->state;
    int64_t from = ROUND_DOWN(length, copy_cluster_size(s->copy));
    int ret = length < node->length
              ? cbw_do_copy(co, node, from, node->length - from) : 0;

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not save what is to be cut off");
        return false;
    }
    return io_resize(co, node->file, length, exact, prealloc, flags, errp);
}

/* ---- the snapshot ---- */

/* Where the first part of [off, off + *@len) is to be found: in the target, the
 * child, or in memory (*@from is NULL then). */
static int snapshot_locate(Node *node, int64_t off, int64_t *len, Edge **from,
                           const void **data)
{
    CbwState *s = node->state;
    int shift = cbw_shift(s);
    int64_t bit = off >> shift, end = off + *len;
    int64_t last = ((end - 1) >> shift) + 1;
    int64_t stop;
    bool done;

    if (s->error || bitset_next_clear(s->access, bit, last) >= 0) {
        return -EACCES;
    }
    done = bitset_test(s->done, bit);
    stop = done ? bitset_next_clear(s->done, bit, last)
                : bitset_next_set(s->done, bit, last);
    if (stop >= 0) {
        *len = (stop << shift) - off;
    }
    switch (done ? copy_buffer_find(s->copy, off, len, data)
                 : COPY_IN_SOURCE) {
    case COPY_IN_TARGET:
        *from = s->target;
        break;
    case COPY_IN_MEMORY:
        *from = NULL;
        break;
    case COPY_IN_SOURCE:
        *from = node->file;
        break;
    }
    return 0;
}

/* What waits in memory, without suspending. */
static void snapshot_read_memory(const void *data, const IoVec *iov,
                                 int64_t iov_off, int64_t len)
{
    if (data) {
        iov_from_buf(iov, iov_off, data, len);
    } else {
        iov_memset(iov, iov_off, 0, len);
    }
}

static int snapshot_read(Co *co, Node *node, int64_t off, int64_t len,
                         const IoVec *iov, int64_t iov_off)
{
    CbwState *s = node->state;

    while (len) {
        int64_t n = len;
        const void *data;
        RangeReq req;
        Edge *from;
        int ret;

        /* Two readers of one range: one after the other. */
        reqlist_wait_all(co, &s->reading, off, len);
        ret = snapshot_locate(node, off, &n, &from, &data);
        if (ret < 0) {
            return ret;
        }
        if (from == node->file) {
            reqlist_add(&s->reading, &req, off, n);
        }
        if (from) {
            ret = io_read(co, from, off, n, iov, iov_off, 0);
        } else {
            snapshot_read_memory(data, iov, iov_off, n);
        }
        if (from == node->file) {
            reqlist_remove(&s->reading, &req);
        }
        if (ret < 0) {
            return ret;
        }
        off += n;
        iov_off += n;
        len -= n;
    }
    /* A copy that failed meanwhile let a write through. */
    return s->error ? -EACCES : 0;
}

/* Gives way to those who use the disk itself. */
static int cbw_snapshot_read(Co *co, Node *node, int64_t off, int64_t len,
                             const IoVec *iov, int64_t iov_off)
{
    CbwState *s = node->state;
    int ret;

    copy_pace_enter(co, s->copy, len);
    ret = snapshot_read(co, node, off, len, iov, iov_off);
    copy_pace_leave(s->copy, len);
    return ret;
}

static int cbw_snapshot_status(Co *co, Node *node, bool precise, int64_t off,
                               int64_t len, Extent *ret)
{
    CbwState *s = node->state;
    const void *data;
    RangeReq req;
    Edge *from;
    int err = snapshot_locate(node, off, &len, &from, &data);

    if (err < 0) {
        return err;
    }
    /* Looked at while nothing of it changes, like a read. */
    if (from == node->file) {
        reqlist_wait_all(co, &s->reading, off, len);
        err = snapshot_locate(node, off, &len, &from, &data);
        if (err < 0) {
            return err;
        }
    }
    if (!from) {
        *ret = (Extent) {
            .len = len,
            .flags = EXTENT_ALLOCATED | (data ? EXTENT_DATA : EXTENT_ZERO),
        };
        return 0;
    }
    if (from == node->file) {
        reqlist_add(&s->reading, &req, off, len);
    }
    err = status_above(co, from->child, NULL, false, precise, off, len, ret);
    if (from == node->file) {
        reqlist_remove(&s->reading, &req);
    }
    if (err == 0) {
        ret->flags &= ~(EXTENT_OFFSET_VALID | EXTENT_RAW);
    }
    return err;
}

static int cbw_snapshot_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    CbwState *s = node->state;
    int64_t cluster = copy_cluster_size(s->copy);
    int64_t first = DIV_ROUND_UP(off, cluster);
    int64_t last = off + len == s->length
                   ? bitset_size(s->access) : (off + len) / cluster;

    if (last <= first) {
        return 0;
    }
    bitset_clear(s->access, first, last - first);
    copy_forget(s->copy, off, len);
    off = first * cluster;
    return io_discard(co, s->target, off, MIN(last * cluster, s->length) - off);
}

static int64_t cbw_snapshot_length(const Node *node)
{
    const CbwState *s = node->state;

    return s->length;
}

static int cbw_error(const Node *node)
{
    const CbwState *s = node->state;

    return s->error;
}

static const SnapshotAccessOps cbw_snapshot_ops = {
    .read = cbw_snapshot_read,
    .status = cbw_snapshot_status,
    .discard = cbw_snapshot_discard,
    .length = cbw_snapshot_length,
    .error = cbw_error,
};

/* ---- opening and closing ---- */

/* Only what the bitmap says is dirty belongs to the snapshot. */
static bool use_bitmap(Co *co, Node *node, const BlockDirtyBitmap *ref,
                       Error **errp)
{
    CbwState *s = node->state;
    DirtyBitmap *bm = bitmap_lookup(ref->node, ref->name, NULL, errp);
    const Bitset *bits;

    if (!bm || !bitmap_check(bm, BITMAP_CHECK_ALLOW_RO, errp)) {
        return false;
    }
    bits = bitmap_bits(co, bm, errp);
    if (!bits) {
        return false;
    }
    bitset_clear_all(s->access);
    bitset_or_scaled(s->access, cbw_shift(s), bits, bm->granularity_shift);
    bitset_and(copy_todo(s->copy), s->access);
    return true;
}

static bool open_children(Co *co, Node *node, const BlockdevOptionsCbw *o,
                          Error **errp)
{
    CbwState *s = node->state;

    if (!open_child(co, node, "file", ROLE_PRIMARY, o->file, errp)) {
        return false;
    }
    s->target = open_child(co, node, "target", ROLE_TARGET, o->target, errp);
    if (!s->target) {
        return false;
    }
    s->length = node->length = node->file->child->length;
    return true;
}

static bool open_state(Co *co, Node *node, const BlockdevOptionsCbw *o,
                       Error **errp)
{
    CbwState *s = node->state;
    CopyOptions copy = {
        .min_cluster_size = o->has_min_cluster_size ? o->min_cluster_size : 0,
    };

    if (o->has_min_cluster_size && o->min_cluster_size > INT64_MAX) {
        error_setg(errp, "min-cluster-size too large: %" PRIu64 " > %" PRIi64,
                   o->min_cluster_size, INT64_MAX);
        return false;
    }
    s->on_error = o->has_on_cbw_error ? o->on_cbw_error
                                      : ON_CBW_ERROR_BREAK_GUEST_WRITE;
    s->timeout_ns = o->has_cbw_timeout
                    ? (int64_t)o->cbw_timeout * INT64_C(1000000000) : 0;
    s->copy = copy_state_new(co, node->file, s->target, &copy, errp);
    if (!s->copy) {
        return false;
    }
    s->access = bitset_copy(copy_todo(s->copy));
    s->done = bitset_new(bitset_size(s->access));
    return !o->bitmap || use_bitmap(co, node, o->bitmap, errp);
}

/* The time without users is over. */
static void lose_parts_if_written(Node *node)
{
    CbwState *s = node->state;
    const Node *disk = node_skip_filters(node->file->child);

    if (s->error || (s->left_disk == disk && s->left_gen == disk->write_gen)) {
        return;
    }
    if (copy_buffer_lose_parts(s->copy)) {
        bitset_andnot(s->done, copy_todo(s->copy));
        warn_report("Node '%s': target '%s' lacks some of what was saved, as "
                    "'%s' was written beside it", node->name,
                    s->target->child->name, disk->name);
    }
}

/* Who keeps the target finds there all that was saved. */
static void write_out(Co *co, Node *node)
{
    CbwState *s = node->state;
    int ret;

    if (!s->used) {
        lose_parts_if_written(node);
    }
    ret = s->error ? 0 : copy_buffer_write_out(co, s->copy);
    if (ret < 0) {
        warn_report("Node '%s': target '%s' lacks some of what was saved: %s",
                    node->name, s->target->child->name, g_strerror(-ret));
    }
}

static void cbw_close(Co *co, Node *node)
{
    CbwState *s = node->state;

    if (s->copy) {
        write_out(co, node);
        copy_buffer_close(co, s->copy);
    }
    root_free(co, s->behind);
    copy_state_free(s->copy);
    bitset_free(s->access);
    bitset_free(s->done);
}

/* Who says what is to happen when the target fails or is slow wants to see it
 * happen: there, a buffer has to be asked for. */
static int64_t cbw_buffer_size(const BlockdevOptionsCbw *o)
{
    if (o->has_cbw_buffer) {
        return MIN(o->cbw_buffer, INT64_MAX);
    }
    return o->has_on_cbw_error || o->has_cbw_timeout ? 0 : CBW_BUFFER_DEFAULT;
}

static void cbw_behind_quiesce(Root *root)
{
    Node *node = root->opaque;

    copy_buffer_quiesce(((CbwState *)node->state)->copy);
}

static void cbw_behind_resume(Root *root)
{
    Node *node = root->opaque;

    copy_buffer_resume(((CbwState *)node->state)->copy);
}

static const RootOps cbw_behind_ops = {
    .kind = "copy-before-write",
    .quiesce = cbw_behind_quiesce,
    .resume = cbw_behind_resume,
};

static bool cbw_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    const BlockdevOptionsCbw *o = &node->options->u.copy_before_write;
    CbwState *s = node->state;

    if (!open_children(co, node, o, errp) ||
        !open_state(co, node, o, errp)) {
        goto fail;
    }
    s->behind = root_open(co, s->target->child, "", &cbw_behind_ops, node, 0,
                          PERM_ALL, errp);
    if (s->behind) {
        copy_buffer_use(s->copy, cbw_buffer_size(o), s->behind, node);
        return true;
    }
fail:
    cbw_close(co, node);
    return false;
}

static void cbw_child_perms(Node *node, const Edge *e, uint64_t perm,
                            uint64_t shared, uint64_t *need, uint64_t *share)
{
    if (e->role == ROLE_TARGET) {
        /* Writes are shared: the guest's disk may lie below the target, as its
         * backing file. The length was compared once, at the beginning. */
        *need = PERM_WRITE;
        *share = PERM_ALL & ~PERM_RESIZE;
        return;
    }
    perm_default_filter(node, e, perm, shared, need, share);
    if (node->parents->len == 0) {
        /* Not in use yet: whoever writes to the child may go on. */
        *need = 0;
        *share = PERM_ALL;
        return;
    }
    if (perm & PERM_WRITE) {
        *need |= PERM_CONSISTENT_READ;
    }
    if (((CbwState *)node->state)->discard_source) {
        *need |= PERM_WRITE;
    }
    *share &= ~(uint64_t)(PERM_WRITE | PERM_RESIZE);
}

/* The graph is quiet. What is below, a job's filter, say, may come and go: who is
 * asked is the disk itself. */
static void cbw_use_commit(Co *co, void *opaque)
{
    Node *node = opaque;
    CbwState *s = node->state;
    Loop *home = co_loop(co);

    co_move(co, node->loop);
    if (s->used && !node->parents->len) {
        s->left_disk = node_skip_filters(node->file->child);
        s->left_gen = s->left_disk->write_gen;
    } else if (!s->used && node->parents->len) {
        lose_parts_if_written(node);
    }
    s->used = node->parents->len;
    co_move(co, home);
}

static const TransactionOps cbw_use_ops = {
    .commit = cbw_use_commit,
};

/* Nobody gets what we kept from others without this being asked. */
static bool cbw_perm_stage(Node *node, uint64_t perm, uint64_t shared,
                           Transaction *tran, Error **errp)
{
    const CbwState *s = node->state;

    if (s->used != (node->parents->len != 0)) {
        tran_add(tran, &cbw_use_ops, node);
    }
    return true;
}

const BlockDriver copy_before_write_driver = {
    .name = "copy-before-write",
    .id = BLOCKDEV_DRIVER_COPY_BEFORE_WRITE,
    .kind = DRIVER_FILTER,
    .state_size = sizeof(CbwState),
    .exact_name = open_file_name,
    .open = cbw_open,
    .close = cbw_close,
    .read = cbw_read,
    .write = cbw_write,
    .zero = cbw_zero,
    .discard = cbw_discard,
    .resize = cbw_resize,
    .child_perms = cbw_child_perms,
    .perm_stage = cbw_perm_stage,
    .snapshot_access = &cbw_snapshot_ops,
    .supports_fua = true,
    .writes_zero_fua = true,
};

/* ---- for the backup job ---- */

static BlockdevRef *ref_to(const Node *node)
{
    BlockdevRef *ref = g_new0(BlockdevRef, 1);

    ref->type = QTYPE_QSTRING;
    ref->u.reference = g_strdup(node->name);
    return ref;
}

static BlockdevOptions *cbw_options(const Node *source, const Node *target,
                                    const CbwSettings *set)
{
    BlockdevOptions *o = g_new0(BlockdevOptions, 1);
    BlockdevOptionsCbw *c = &o->u.copy_before_write;

    o->driver = BLOCKDEV_DRIVER_COPY_BEFORE_WRITE;
    o->node_name = g_strdup(set->filter_node_name);
    o->has_read_only = true;
    o->read_only = source->read_only;
    c->file = ref_to(source);
    c->target = ref_to(target);
    c->has_on_cbw_error = true;
    c->on_cbw_error = set->on_cbw_error;
    c->has_min_cluster_size = set->min_cluster_size != 0;
    c->min_cluster_size = set->min_cluster_size;
    c->has_cbw_buffer = true;
    c->cbw_buffer = set->buffer;
    return o;
}

Node *cbw_append(Co *co, Node *source, Node *target,
                 const CbwSettings *settings, Error **errp)
{
    Node *cbw = open_options(co, cbw_options(source, target, settings), errp);
    Loop *home = co_loop(co);
    Transaction *tran;
    CbwState *s;
    bool ok;

    if (!cbw) {
        error_prepend(errp, "Could not create node: ");
        return NULL;
    }
    s = cbw->state;
    s->timeout_ns = settings->timeout_ns;
    s->discard_source = settings->discard_source;
    copy_set_discard_source(s->copy, settings->discard_source);
    tran = tran_new();
    ok = graph_insert_filter(co, tran, cbw, source, errp) &&
         graph_check_one(tran, cbw, errp);
    tran_finalize(co, tran, ok);
    co_move(co, home);
    if (!ok) {
        node_unref(co, cbw);
        return NULL;
    }
    return cbw;
}

void cbw_drop(Co *co, Node *cbw)
{
    graph_drop_filter(co, cbw, cbw);
}

CopyState *cbw_copy_state(Node *cbw)
{
    return ((CbwState *)cbw->state)->copy;
}

bool cbw_stop(Node *cbw)
{
    CbwState *s = cbw->state;

    s->on_error = ON_CBW_ERROR_BREAK_SNAPSHOT;
    if (!s->error) {
        s->error = -ECANCELED;
    }
    return !copy_stop(s->copy) && !s->behind->in_flight;
}

int cbw_snapshot_error(Node *cbw)
{
    return cbw_error(cbw);
}
