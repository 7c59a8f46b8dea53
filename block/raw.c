/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The driver "raw": an image that is the disk, or a window of a longer one.
 *
 *     file:  0 ....... offset |=== the disk ===| ....... end
 *                               size, or up to the end
 *
 * Without a window it changes nothing. With one the file must not be resized
 * by others, and with a given size not by this node, either. It is what a file
 * is taken for if no format knows it: its probe says 1.
 */

#include "block/drivers.h"
#include "block/info.h"
#include "block/io.h"
#include "block/open.h"
#include "block/reopen.h"

#define SECTOR 512

typedef struct RawState {
    int64_t offset;
    int64_t size;               /* -1: up to the end of the file */
} RawState;

static bool raw_has_window(const RawState *s)
{
    return s->offset || s->size >= 0;
}

/* Reads and checks offset and size for a file of @file_len bytes. */
static bool raw_read_options(const BlockdevOptions *opts, int64_t file_len,
                             RawState *s, Error **errp)
{
    const BlockdevOptionsRaw *o = &opts->u.raw;
    int64_t offset = o->has_offset ? o->offset : 0;

    if (offset < 0 || offset > file_len) {
        error_setg(errp, "Offset (%" PRIu64 ") cannot be greater than size of "
                   "the containing file (%" PRId64 ")", (uint64_t)offset,
                   file_len);
        return false;
    }
    if (o->has_size && (o->size < 0 || file_len - offset < o->size)) {
        error_setg(errp, "The sum of offset (%" PRIu64 ") and size (%" PRIu64
                   ") has to be smaller or equal to the  actual size of the "
                   "containing file (%" PRId64 ")", (uint64_t)offset,
                   (uint64_t)o->size, file_len);
        return false;
    }
    if (o->has_size && !IS_ALIGNED(o->size, SECTOR)) {
        error_setg(errp, "Specified size is not multiple of %d", SECTOR);
        return false;
    }
    s->offset = offset;
    s->size = o->has_size ? o->size : -1;
    return true;
}

static int64_t raw_length(const RawState *s, int64_t file_len)
{
    return s->size >= 0 ? s->size
                        : ROUND_UP(MAX(file_len - s->offset, 0), SECTOR);
}

static bool raw_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    RawState *s = node->state;

    /* Attaching asks what is shared, before the options have been read. */
    s->size = -1;
    if (!open_child(co, node, "file", ROLE_PRIMARY, node->options->u.raw.file,
                    errp)) {
        return false;
    }
    if (!raw_read_options(node->options, node->file->child->length, s, errp)) {
        return false;
    }
    node->length = raw_length(s, node->file->child->length);
    return true;
}

/* ---- requests ---- */

static int raw_read(Co *co, Node *node, int64_t off, int64_t len,
                    const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    RawState *s = node->state;

    return io_read(co, node->file, off + s->offset, len, iov, iov_off, flags);
}

/* Whether a write stays in the window, which may end in the middle of this
 * node's last sector. A file that grows takes the window's end along. */
static int raw_check(const Node *node, int64_t off, int64_t len)
{
    const RawState *s = node->state;

    if (s->size >= 0 && off + len > s->size) {
        return -ENOSPC;
    }
    if (off > BLOCK_MAX_LENGTH - len - s->offset) {
        return -EINVAL;
    }
    if (!(node->file->need & PERM_RESIZE) &&
        off + len + s->offset > node->file->child->length) {
        return -ENOSPC;
    }
    return 0;
}

/* -EPERM if the first sector would be taken for a format after the write. */
static int raw_check_guess(Co *co, Node *node, int64_t off, int64_t len,
                           const IoVec *iov, int64_t iov_off)
{
    RawState *s = node->state;
    uint8_t sector[SECTOR];
    int ret = io_pread(co, node->file, s->offset, SECTOR, sector, 0);

    if (ret < 0) {
        return ret;
    }
    iov_to_buf(iov, iov_off, sector + off, MIN(len, SECTOR - off));
    return open_probe_bytes(sector, SECTOR, "") == node->drv ? 0 : -EPERM;
}

static int raw_write(Co *co, Node *node, int64_t off, int64_t len,
                     const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    RawState *s = node->state;
    int ret = raw_check(node, off, len);

    if (G_UNLIKELY(node->probed) && off < SECTOR && ret == 0) {
        ret = raw_check_guess(co, node, off, len, iov, iov_off);
    }
    return ret < 0 ? ret : io_write(co, node->file, off + s->offset, len, iov,
                                    iov_off, flags);
}

static int raw_zero(Co *co, Node *node, int64_t off, int64_t len,
                    ReqFlags flags)
{
    RawState *s = node->state;
    int ret = raw_check(node, off, len);

    return ret < 0 ? ret : io_zero(co, node->file, off + s->offset, len,
                                   flags);
}

static int raw_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    RawState *s = node->state;
    int ret = raw_check(node, off, len);

    return ret < 0 ? ret : io_discard(co, node->file, off + s->offset, len);
}

static int raw_status(Co *co, Node *node, bool precise, int64_t off,
                      int64_t len, Extent *ret)
{
    RawState *s = node->state;

    *ret = (Extent) {
        .len = len,
        .flags = EXTENT_RAW | EXTENT_OFFSET_VALID,
        .map = off + s->offset,
        .file = node->file->child,
    };
    return 0;
}

/* ---- length ---- */

static bool raw_resize(Co *co, Node *node, int64_t length, bool exact,
                       PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    RawState *s = node->state;

    if (s->size >= 0) {
        error_setg(errp, "Cannot resize fixed-size raw disks");
        return false;
    }
    if (length > BLOCK_MAX_LENGTH - s->offset) {
        error_setg(errp, "Disk size too large for the chosen offset");
        return false;
    }
    if (!io_resize(co, node->file, length + s->offset, exact, prealloc, flags,
                   errp)) {
        return false;
    }
    node->length = raw_length(s, node->file->child->length);
    return true;
}

static int64_t raw_refresh_length(Co *co, Node *node)
{
    int64_t len = io_length(co, node->file->child);

    return len < 0 ? len : raw_length(node->state, len);
}

static void raw_child_resized(Co *co, Node *node, Edge *child)
{
    int64_t old_len = node->length;

    node->length = raw_length(node->state, child->child->length);
    io_length_changed(co, node, old_len);
}

/* ---- permissions, reopen, information ---- */

static void raw_child_perms(Node *node, const Edge *e, uint64_t perm,
                            uint64_t shared, uint64_t *need, uint64_t *share)
{
    perm_default_filter(node, e, perm, shared, need, share);
    if (raw_has_window(node->state)) {
        *share &= ~PERM_RESIZE;
    }
}

static bool raw_reopen_prepare(Co *co, ReopenState *st, Transaction *tran,
                               Error **errp)
{
    RawState next;

    if (!raw_read_options(st->options, st->node->file->child->length, &next,
                          errp)) {
        return false;
    }
    st->opaque = g_memdup2(&next, sizeof(next));
    return true;
}

static void raw_reopen_commit(Co *co, ReopenState *st)
{
    Node *node = st->node;
    int64_t old_len = node->length;

    memcpy(node->state, st->opaque, sizeof(RawState));
    g_clear_pointer(&st->opaque, g_free);
    node->length = raw_length(node->state, node->file->child->length);
    io_length_changed(co, node, old_len);
}

static void raw_reopen_abort(Co *co, ReopenState *st)
{
    g_clear_pointer(&st->opaque, g_free);
}

/* They say what is seen of the file, and may change. */
static const char *const raw_content_options[] = { "offset", "size", NULL };

static const ReopenOps raw_reopen_ops = {
    .options = raw_content_options,
    .prepare = raw_reopen_prepare,
    .commit = raw_reopen_commit,
    .abort = raw_reopen_abort,
};

static int raw_info(Co *co, Node *node, BlockDriverInfo *ret)
{
    return info_driver(co, node->file->child, ret);
}

/* Nothing in it says that it is raw. */
static int raw_probe(const uint8_t *buf, int len, const char *filename)
{
    return 1;
}

static const CreateOption raw_create_options[] = {
    { "size", "size", CREATE_SIZE, NULL, "Virtual disk size" },
    { NULL },
};

/* A raw image is as long as its disk. */
static BlockMeasureInfo *raw_measure(Co *co, const json_t *opts, Node *source,
                                     Error **errp)
{
    const char *size = json_string_value(json_object_get(opts, "size"));
    BlockMeasureInfo *info = g_new0(BlockMeasureInfo, 1);

    info->required = source ? source->length :
                     size ? g_ascii_strtoll(size, NULL, 10) : 0;
    info->required = ROUND_UP(info->required, 512);
    info->fully_allocated = info->required;
    return info;
}

static const ImageOps raw_image_ops = {
    .create_options = raw_create_options,
    .probe = raw_probe,
    .measure = raw_measure,
};

const BlockDriver raw_driver = {
    .name = "raw",
    .id = BLOCKDEV_DRIVER_RAW,
    .kind = DRIVER_FORMAT,
    .state_size = sizeof(RawState),
    .content_options = raw_content_options,
    .supports_fua = true,
    .writes_zero_fua = true,
    .open = raw_open,
    .read = raw_read,
    .write = raw_write,
    .zero = raw_zero,
    .discard = raw_discard,
    .status = raw_status,
    .resize = raw_resize,
    .refresh_length = raw_refresh_length,
    .child_resized = raw_child_resized,
    .child_perms = raw_child_perms,
    .info = raw_info,
    .reopen = &raw_reopen_ops,
    .image = &raw_image_ops,
};
