/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * throttle: a filter whose requests keep to the limits of a throttle group.
 * Flushes are not counted. While the graph is drained nothing is held back, or
 * a drain would last as long as the limits say.
 */

#include "block/drivers.h"
#include "block/io.h"
#include "block/open.h"
#include "block/reopen.h"
#include "util/throttle.h"

typedef struct ThrottleState {
    ThrottleMember *member;
} ThrottleState;

static ThrottleMember *throttle_join(const BlockdevOptions *opts,
                                     Error **errp)
{
    const char *name = opts->u.throttle.throttle_group;
    ThrottleGroup *group = throttle_group_find(name);
    ThrottleMember *member;

    if (!group) {
        error_setg(errp, "Throttle group '%s' does not exist", name);
        return NULL;
    }
    member = throttle_member_new(group);
    throttle_group_unref(group);
    return member;
}

static bool throttle_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    ThrottleState *s = node->state;

    if (!open_child(co, node, "file", ROLE_PRIMARY,
                    node->options->u.throttle.file, errp)) {
        return false;
    }
    node->length = node->file->child->length;
    s->member = throttle_join(node->options, errp);
    if (s->member && node->quiesced) {
        throttle_member_release(s->member);
    }
    return s->member;
}

static void throttle_close(Co *co, Node *node)
{
    ThrottleState *s = node->state;

    throttle_member_free(s->member);
    s->member = NULL;
}

static void throttle_drained(Node *node, bool drained)
{
    ThrottleState *s = node->state;

    if (!s->member) {
        return;         /* not open yet, or not any more */
    }
    if (drained) {
        throttle_member_release(s->member);
    } else {
        throttle_member_hold(s->member);
    }
}

static int throttle_read(Co *co, Node *node, int64_t off, int64_t len,
                         const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    ThrottleState *s = node->state;

    throttle_member_wait(co, s->member, len, false);
    return io_read(co, node->file, off, len, iov, iov_off, flags);
}

static int throttle_write(Co *co, Node *node, int64_t off, int64_t len,
                          const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    ThrottleState *s = node->state;

    throttle_member_wait(co, s->member, len, true);
    return io_write(co, node->file, off, len, iov, iov_off, flags);
}

static int throttle_zero(Co *co, Node *node, int64_t off, int64_t len,
                         ReqFlags flags)
{
    ThrottleState *s = node->state;

    throttle_member_wait(co, s->member, len, true);
    return io_zero(co, node->file, off, len, flags);
}

static int throttle_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    ThrottleState *s = node->state;

    throttle_member_wait(co, s->member, len, true);
    return io_discard(co, node->file, off, len);
}

/* ---- another group ---- */

static bool throttle_reopen_prepare(Co *co, ReopenState *st,
                                    Transaction *tran, Error **errp)
{
    st->opaque = throttle_join(st->options, errp);
    return st->opaque;
}

static void throttle_reopen_commit(Co *co, ReopenState *st)
{
    ThrottleState *s = st->node->state;

    throttle_member_free(s->member);
    s->member = st->opaque;
    if (st->node->quiesced) {
        throttle_member_release(s->member);
    }
}

static void throttle_reopen_abort(Co *co, ReopenState *st)
{
    throttle_member_free(st->opaque);
}

static const char *const throttle_options[] = { "throttle-group", NULL };

static const ReopenOps throttle_reopen_ops = {
    .options = throttle_options,
    .prepare = throttle_reopen_prepare,
    .commit = throttle_reopen_commit,
    .abort = throttle_reopen_abort,
};

const BlockDriver throttle_driver = {
    .name = "throttle",
    .id = BLOCKDEV_DRIVER_THROTTLE,
    .kind = DRIVER_FILTER,
    .state_size = sizeof(ThrottleState),
    .content_options = throttle_options,
    .supports_fua = true,
    .writes_zero_fua = true,
    .supports_compressed = true,
    .open = throttle_open,
    .close = throttle_close,
    .drained = throttle_drained,
    .read = throttle_read,
    .write = throttle_write,
    .zero = throttle_zero,
    .discard = throttle_discard,
    .reopen = &throttle_reopen_ops,
};
