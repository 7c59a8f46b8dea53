/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * preallocate: a filter that lets a growing file grow in large steps.
 *
 *     0 ......... data_end |~~~ allocated ahead, zero ~~~| file_end
 *
 * The node's length is data_end: what parents have written or asked for. A
 * write that goes beyond file_end first has space allocated for it and for
 * what may follow. What is allocated ahead is given back when the node is
 * closed or becomes read-only, so that the file is as long as its data.
 */

#include "block/drivers.h"
#include "block/io.h"
#include "block/open.h"
#include "block/reopen.h"

#define SECTOR 512

typedef struct PreallocState {
    int64_t align, size;        /* as the options say */
    int64_t file_end;           /* of the file; -1: not looked at yet */
    bool busy;                  /* somebody allocates */
    CoQueue queue;
} PreallocState;

static bool prealloc_options(const BlockdevOptions *opts, const Node *file,
                             PreallocState *s, Error **errp)
{
    const BlockdevOptionsPreallocate *o = &opts->u.preallocate;
    int64_t align = file->limits.request_alignment;

    s->align = o->has_prealloc_align ? o->prealloc_align : MiB;
    s->size = o->has_prealloc_size ? o->prealloc_size : 128 * MiB;
    if (s->align < 0 || !IS_ALIGNED(s->align, SECTOR)) {
        error_setg(errp, "prealloc-align parameter of preallocate filter is "
                   "not aligned to %d", SECTOR);
        return false;
    }
    if (!IS_ALIGNED(s->align, align)) {
        error_setg(errp, "prealloc-align parameter of preallocate filter is "
                   "not aligned to underlying node request alignment (%"
                   PRId64 ")", align);
        return false;
    }
    s->align = MAX(s->align, SECTOR);
    if (s->size < 0) {
        error_setg(errp, "prealloc-size parameter of preallocate filter is "
                   "negative");
        return false;
    }
    return true;
}

static bool prealloc_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    PreallocState *s = node->state;

    s->file_end = -1;
    if (!open_child(co, node, "file", ROLE_PRIMARY,
                    node->options->u.preallocate.file, errp) ||
        !prealloc_options(node->options, node->file->child, s, errp)) {
        return false;
    }
    node->length = node->file->child->length;
    return true;
}

/* ---- ahead and back ---- */

static bool prealloc_may(const Node *node)
{
    return node->file->need & PERM_RESIZE;
}

/* The file ends where the data end. */
static void prealloc_drop(Co *co, Node *node)
{
    PreallocState *s = node->state;

    if (s->file_end > node->length && prealloc_may(node)) {
        io_resize(co, node->file, node->length, true, PREALLOC_MODE_OFF, 0,
                  NULL);
    }
    s->file_end = -1;
}

static void prealloc_close(Co *co, Node *node)
{
    prealloc_drop(co, node);
}

/* Allocates up to what comes after @end; failing is no harm. */
static void prealloc_allocate(Co *co, Node *node, int64_t end)
{
    PreallocState *s = node->state;
    int64_t from = s->file_end;
    int64_t to;

    if (end > BLOCK_MAX_LENGTH - s->size - s->align) {
        return;
    }
    to = ROUND_UP(end + s->size, s->align);
    if (io_zero(co, node->file, from, to - from, REQ_NO_FALLBACK) == 0) {
        s->file_end = to;
    }
}

/* Before a write that ends at @end. */
static void prealloc_before(Co *co, Node *node, int64_t end)
{
    PreallocState *s = node->state;

    if (end <= node->length || !prealloc_may(node)) {
        return;
    }
    while (s->busy) {
        co_queue_wait(co, &s->queue);
    }
    if (s->file_end < 0) {
        s->file_end = node->file->child->length;
    }
    if (end <= s->file_end) {
        return;
    }
    s->busy = true;
    prealloc_allocate(co, node, end);
    s->busy = false;
    co_queue_wake_all(&s->queue);
}

static void prealloc_after(Node *node)
{
    PreallocState *s = node->state;

    if (s->file_end >= 0) {
        s->file_end = MAX(s->file_end, node->file->child->length);
    }
}

static int prealloc_write(Co *co, Node *node, int64_t off, int64_t len,
                          const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    int ret;

    prealloc_before(co, node, off + len);
    ret = io_write(co, node->file, off, len, iov, iov_off, flags);
    prealloc_after(node);
    return ret;
}

static int prealloc_zero(Co *co, Node *node, int64_t off, int64_t len,
                         ReqFlags flags)
{
    int ret;

    prealloc_before(co, node, off + len);
    ret = io_zero(co, node->file, off, len, flags);
    prealloc_after(node);
    return ret;
}

/* ---- length ---- */

static bool prealloc_resize(Co *co, Node *node, int64_t length, bool exact,
                            PreallocMode prealloc, ReqFlags flags,
                            Error **errp)
{
    PreallocState *s = node->state;

    if (length > node->length && length <= s->file_end &&
        prealloc == PREALLOC_MODE_OFF) {
        node->length = length;      /* is there, and zero */
        return true;
    }
    prealloc_drop(co, node);
    if (!io_resize(co, node->file, length, exact, prealloc, flags, errp)) {
        return false;
    }
    node->length = node->file->child->length;
    return true;
}

static int64_t prealloc_refresh_length(Co *co, Node *node)
{
    PreallocState *s = node->state;

    return s->file_end >= 0 ? node->length
                            : io_length(co, node->file->child);
}

/* The file's length is not the node's while something is allocated ahead. */
static void prealloc_child_resized(Co *co, Node *node, Edge *child)
{
    PreallocState *s = node->state;
    int64_t old = node->length;

    if (s->file_end < 0 && !s->busy) {
        node->length = child->child->length;
        io_length_changed(co, node, old);
    }
}

static void prealloc_child_perms(Node *node, const Edge *e, uint64_t perm,
                                 uint64_t shared, uint64_t *need,
                                 uint64_t *share)
{
    PreallocState *s = node->state;
    bool ahead = s->file_end >= 0;

    perm_default_filter(node, e, perm, shared, need, share);
    /* What is allocated ahead is to be given back in the end. */
    if (!node->read_only && !node->inactive && (perm & PERM_WRITE || ahead)) {
        *need |= PERM_WRITE | PERM_RESIZE;
        *share &= ~(uint64_t)(PERM_WRITE | PERM_RESIZE);
    }
}

/* ---- other options ---- */

static bool prealloc_reopen_prepare(Co *co, ReopenState *st,
                                    Transaction *tran, Error **errp)
{
    g_autofree PreallocState *next = g_new0(PreallocState, 1);

    if (!prealloc_options(st->options, st->node->file->child, next, errp)) {
        return false;
    }
    prealloc_drop(co, st->node);
    st->opaque = g_steal_pointer(&next);
    return true;
}

static void prealloc_reopen_commit(Co *co, ReopenState *st)
{
    PreallocState *s = st->node->state, *next = st->opaque;

    s->align = next->align;
    s->size = next->size;
    g_free(next);
}

static void prealloc_reopen_abort(Co *co, ReopenState *st)
{
    g_free(st->opaque);
}

static const char *const prealloc_reopen_options[] = {
    "prealloc-align", "prealloc-size", NULL
};

static const ReopenOps prealloc_reopen_ops = {
    .options = prealloc_reopen_options,
    .prepare = prealloc_reopen_prepare,
    .commit = prealloc_reopen_commit,
    .abort = prealloc_reopen_abort,
};

const BlockDriver preallocate_driver = {
    .name = "preallocate",
    .id = BLOCKDEV_DRIVER_PREALLOCATE,
    .kind = DRIVER_FILTER,
    .state_size = sizeof(PreallocState),
    .supports_fua = true,
    .writes_zero_fua = true,
    .open = prealloc_open,
    .close = prealloc_close,
    .write = prealloc_write,
    .zero = prealloc_zero,
    .resize = prealloc_resize,
    .refresh_length = prealloc_refresh_length,
    .child_resized = prealloc_child_resized,
    .child_perms = prealloc_child_perms,
    .reopen = &prealloc_reopen_ops,
};
