/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The drivers "null-co" and "null-aio": a disk that forgets what is written
 * and reads as zeroes, or (by default) leaves the reader's buffer as it is.
 * For measuring all that lies above. With latency-ns each request takes that
 * long. Both are the same here; QEMU has two.
 */

#include "block/drivers.h"
#include "block/io.h"
#include "block/reopen.h"

#define NULL_DEFAULT_SIZE GiB

typedef struct NullState {
    int64_t length;
    int64_t latency_ns;
    bool read_zeroes;
} NullState;

static const BlockdevOptionsNull *null_options(const BlockdevOptions *opts)
{
    return opts->driver == BLOCKDEV_DRIVER_NULL_AIO ? &opts->u.null_aio
                                                    : &opts->u.null_co;
}

/* "null-co://", "null-aio://": nothing may follow. */
static BlockdevOptions *null_parse(const char *filename, BlockdevDriver id,
                                   const char *prefix, Error **errp)
{
    BlockdevOptions *opts;

    if (strcmp(filename, prefix) != 0) {
        error_setg(errp, "The only allowed filename for this driver is '%s'",
                   prefix);
        return NULL;
    }
    opts = g_new0(BlockdevOptions, 1);
    opts->driver = id;
    return opts;
}

static BlockdevOptions *null_co_parse_filename(const char *filename,
                                               Error **errp)
{
    return null_parse(filename, BLOCKDEV_DRIVER_NULL_CO, "null-co://", errp);
}

static BlockdevOptions *null_aio_parse_filename(const char *filename,
                                                Error **errp)
{
    return null_parse(filename, BLOCKDEV_DRIVER_NULL_AIO, "null-aio://", errp);
}

static const char *const null_content_options[] = {
    "size", "read-zeroes", NULL
};

/* A name has no place for options. */
static char *null_exact_name(const Node *node)
{
    const BlockdevOptionsNull *o = null_options(node->options);

    if (o->has_size || o->has_read_zeroes) {
        return NULL;
    }
    return g_strdup_printf("%s://", node->drv->name);
}

static bool null_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    const BlockdevOptionsNull *o = null_options(node->options);
    NullState *s = node->state;

    s->length = o->has_size ? o->size : NULL_DEFAULT_SIZE;
    s->latency_ns = o->has_latency_ns ? (int64_t)o->latency_ns : 0;
    s->read_zeroes = o->has_read_zeroes && o->read_zeroes;
    if (s->latency_ns < 0) {
        error_setg(errp, "latency-ns is invalid");
        return false;
    }
    if (s->length < 0) {
        error_setg(errp, "Invalid size");
        return false;
    }
    node->length = s->length > BLOCK_MAX_LENGTH ? s->length
                                                : ROUND_UP(s->length, 512);
    return true;
}

static int null_wait(Co *co, Node *node)
{
    NullState *s = node->state;

    if (s->latency_ns) {
        co_sleep(co, s->latency_ns);
    }
    return 0;
}

static int null_read(Co *co, Node *node, int64_t off, int64_t len,
                     const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    NullState *s = node->state;

    if (s->read_zeroes) {
        iov_memset(iov, iov_off, 0, len);
    }
    return null_wait(co, node);
}

static int null_write(Co *co, Node *node, int64_t off, int64_t len,
                      const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    return null_wait(co, node);
}

static int null_zero(Co *co, Node *node, int64_t off, int64_t len,
                     ReqFlags flags)
{
    return null_wait(co, node);
}

static int null_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    return null_wait(co, node);
}

static int null_status(Co *co, Node *node, bool precise, int64_t off,
                       int64_t len, Extent *ret)
{
    NullState *s = node->state;

    *ret = (Extent) {
        .len = len,
        .flags = EXTENT_OFFSET_VALID | (s->read_zeroes ? EXTENT_ZERO : 0),
        .map = off,
        .file = node,
    };
    return 0;
}

static int64_t null_allocated_size(Co *co, Node *node)
{
    return 0;
}

/* The options that stay must stay the same; nothing is to be done. */
static bool null_reopen_prepare(Co *co, ReopenState *st, Transaction *tran,
                                Error **errp)
{
    const BlockdevOptionsNull *a = null_options(st->options);
    const BlockdevOptionsNull *b = null_options(st->node->options);

    if (a->has_size != b->has_size || (a->has_size && a->size != b->size)) {
        error_setg(errp, "Cannot change the option 'size'");
        return false;
    }
    return true;
}

static const ReopenOps null_reopen_ops = {
    .prepare = null_reopen_prepare,
};

#define NULL_DRIVER_COMMON                          \
    .kind = DRIVER_PROTOCOL,                        \
    .state_size = sizeof(NullState),                \
    .exact_filename = true,                         \
    .supports_fua = true,                           \
    .writes_zero_fua = true,                        \
    .content_options = null_content_options,        \
    .exact_name = null_exact_name,                  \
    .open = null_open,                              \
    .read = null_read,                              \
    .write = null_write,                            \
    .zero = null_zero,                              \
    .discard = null_discard,                        \
    .flush = null_wait,                             \
    .status = null_status,                          \
    .allocated_size = null_allocated_size,          \
    .reopen = &null_reopen_ops

const BlockDriver null_co_driver = {
    .name = "null-co",
    .id = BLOCKDEV_DRIVER_NULL_CO,
    .protocol = "null-co",
    .parse_filename = null_co_parse_filename,
    NULL_DRIVER_COMMON,
};

const BlockDriver null_aio_driver = {
    .name = "null-aio",
    .id = BLOCKDEV_DRIVER_NULL_AIO,
    .protocol = "null-aio",
    .parse_filename = null_aio_parse_filename,
    NULL_DRIVER_COMMON,
};
