/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The copying of qemu-img convert: a handful of workers over one disk.
 *
 *     take      the next range whose status is alike, at most a buffer
 *     read      into the worker's own buffer (data only)
 *     turn      wait until all before it has been handed over (not with -W)
 *     write     data, zeroes, compressed clusters, or nothing
 *
 * What the source has as zeroes is not written where the target reads as
 * zeroes by itself; what the source leaves to its backing file is left to the
 * target's (-B). Data are searched for zeroes in units of the target's
 * cluster, at least of -S, since less would not save anything.
 *
 * Data that come and go at once (files in memory) are best copied by one worker
 * at a time, in pieces that fit into the processor's cache. So who takes a range
 * while all before it is written copies it by pieces, and sees whether these had
 * to wait. If so, the others read ahead, whole buffers; else they wait for their
 * turn. Out of order (-W), who copies by pieces is whoever comes when nobody does.
 *
 * To be written in order means, one after the other. Only compressed data are handed
 * over while those before them are still being compressed, since the target keeps
 * the order (qcow2-compress.c); zeroes wait for all of them.
 *
 * The first error ends all: whoever waits for its turn gives up.
 */
#include "util/osdep.h"

#include "block/io.h"
#include "tools/img/convert.h"
#include "util/bytes.h"

#define SECTOR 512

typedef enum ConvertKind {
    KIND_DATA,
    KIND_ZERO,
    KIND_BACKING,           /* the target's backing file has it */
} ConvertKind;

typedef struct ConvertRange {
    ConvertSource *src;
    int64_t off, len;       /* in the joined disk */
    int64_t failed;         /* where writing did, as far as it is known */
    ConvertKind kind;
    bool handed;            /* the next one's turn has come */
} ConvertRange;

/* ---- take ---- */

static ConvertSource *convert_source_at(ConvertCopy *c, int64_t off)
{
    for (int i = 0; i < c->n_sources; i++) {
        if (off < c->sources[i].start + c->sources[i].span) {
            return &c->sources[i];
        }
    }
    g_assert_not_reached();
}

/* Whose content is the same for source and target's backing file at @off;
 * *@len is cut so that it holds for all of it. */
static Node *convert_base(const ConvertCopy *c, Node *top, int64_t off,
                          int64_t *len)
{
    if (c->backing_len < 0 || off >= c->backing_len) {
        return NULL;
    }
    *len = MIN(*len, c->backing_len - off);
    return node_backing_chain_next(top);
}

static int convert_status(Co *co, const ConvertCopy *c, ConvertRange *r)
{
    Node *top = root_node(r->src->root);
    int64_t off = r->off - r->src->start;
    Node *base;
    Extent ext;
    int ret;

    if (off >= r->src->len) {
        r->kind = KIND_ZERO;
        return 0;
    }
    r->len = MIN(r->len, r->src->len - off);
    base = convert_base(c, top, r->off, &r->len);
    ret = status_above(co, top, base, false, true, off, r->len, &ext);
    if (ret < 0) {
        if (c->salvage) {
            r->kind = KIND_DATA;
            return 0;
        }
        error_report("error while reading block status at offset %" PRId64
                     ": %s", r->off, strerror(-ret));
        return ret;
    }
    r->len = ext.len;
    if (ext.flags & EXTENT_ZERO) {
        r->kind = KIND_ZERO;
    } else {
        r->kind = (ext.flags & EXTENT_DATA) || !base ? KIND_DATA
                                                     : KIND_BACKING;
    }
    return 0;
}

/* Compressed clusters are written whole: a range ends with one, or it is a
 * single cluster of whatever status. */
static void convert_fit_clusters(const ConvertCopy *c, ConvertRange *r)
{
    int64_t left = c->total - r->off;

    if (r->len >= c->cluster_size) {
        r->len = ROUND_DOWN(r->len, c->cluster_size);
    } else if (r->len < left) {
        r->len = MIN(c->cluster_size, left);
        r->kind = KIND_DATA;
    }
}

/* 1, 0 if there is nothing left, -errno. */
static int convert_take_locked(Co *co, ConvertCopy *c, ConvertRange *r)
{
    int ret;

    if (c->ret < 0 || c->next >= c->total) {
        return 0;
    }
    *r = (ConvertRange) { .off = c->next };
    r->src = convert_source_at(c, r->off);
    r->len = MIN(r->src->start + r->src->span, c->total) - r->off;
    ret = convert_status(co, c, r);
    if (ret < 0) {
        return ret;
    }
    if (r->kind == KIND_ZERO && c->min_sparse == 0) {
        r->kind = KIND_DATA;
    }
    if (c->compressed) {
        convert_fit_clusters(c, r);
    }
    if (r->kind == KIND_DATA) {
        r->len = MIN(r->len, CONVERT_BUFFER);
    }
    c->next += r->len;
    return 1;
}

static int convert_take(Co *co, ConvertCopy *c, ConvertRange *r)
{
    int ret;

    co_mutex_lock(co, &c->lock);
    ret = convert_take_locked(co, c, r);
    co_mutex_unlock(&c->lock);
    return ret;
}

/* ---- read ---- */

/* Sector by sector; what can't be read is zero. */
static void convert_salvage(Co *co, const ConvertCopy *c, Root *root,
                            int64_t off, int64_t len, uint8_t *buf,
                            int64_t shown)
{
    for (int64_t pos = 0; pos < len; pos += SECTOR) {
        int64_t n = MIN(SECTOR, len - pos);
        int ret = root_pread(co, root, off + pos, n, buf + pos);

        if (ret < 0) {
            if (!c->quiet) {
                warn_report("error while reading offset %" PRId64 ": %s",
                            shown + pos, strerror(-ret));
            }
            memset(buf + pos, 0, n);
        }
    }
}

/* A range that spans sources is read piece by piece. */
static int convert_read(Co *co, ConvertCopy *c, const ConvertRange *r,
                        uint8_t *buf)
{
    for (int64_t pos = 0; pos < r->len;) {
        ConvertSource *src = convert_source_at(c, r->off + pos);
        int64_t off = r->off + pos - src->start;
        int64_t span = MIN(r->len - pos, src->span - off);
        int64_t len = CLAMP(src->len - off, 0, span);
        int ret = len ? root_pread(co, src->root, off, len, buf + pos) : 0;

        if (ret < 0 && c->salvage) {
            convert_salvage(co, c, src->root, off, len, buf + pos,
                            r->off + pos);
        } else if (ret < 0) {
            return ret;
        }
        memset(buf + pos + len, 0, span - len);
        pos += span;
    }
    return 0;
}

/* ---- turn ---- */

/* False if it is in vain: somebody failed. */
static bool convert_wait_turn(Co *co, ConvertCopy *c, int64_t off)
{
    while (c->in_order && c->ret == 0 &&
           (c->handed != off || c->writing == CONVERT_WRITING)) {
        co_queue_wait(co, &c->turn);
    }
    c->writing++;
    return c->ret == 0;
}

/* Nothing more of @r comes before the next range. */
static void convert_hand_over(ConvertCopy *c, ConvertRange *r)
{
    if (!r->handed) {
        r->handed = true;
        c->handed = r->off + r->len;
        co_queue_wake_all(&c->turn);
    }
}

/* Until all before @off is written; false as above. */
static bool convert_wait_written(Co *co, ConvertCopy *c, int64_t off)
{
    while (c->in_order && c->ret == 0 && c->written != off) {
        co_queue_wait(co, &c->turn);
    }
    return c->ret == 0;
}

/* ---- write ---- */

/* Whether zeroes need not be written at @off; if only for a part, *@len is
 * that part. */
static bool convert_is_zero_already(const ConvertCopy *c, int64_t off,
                                    int64_t *len)
{
    if (!c->target_is_zero) {
        return false;
    }
    if (c->backing_len > off) {
        *len = MIN(*len, c->backing_len - off);
        return false;
    }
    return true;
}

static int convert_write_zeroes(Co *co, ConvertCopy *c, const ConvertRange *r,
                                int64_t off, int64_t len)
{
    while (len > 0) {
        int64_t n = len;

        if (!convert_is_zero_already(c, off, &n)) {
            int ret = c->compressed && !convert_wait_written(co, c, r->off)
                      ? c->ret : root_zero(co, c->target, off, n,
                                           REQ_MAY_UNMAP);

            if (ret < 0) {
                return ret;
            }
        }
        off += n;
        len -= n;
    }
    return 0;
}

/* How many bytes from @pos on are alike: all zero or not, by units of @unit
 * of the disk. */
static int64_t convert_alike(const ConvertRange *r, const uint8_t *buf,
                             int64_t pos, int64_t unit, bool *zero)
{
    int64_t end = pos;

    while (end < r->len) {
        int64_t next = MIN(ROUND_DOWN(r->off + end, unit) + unit - r->off,
                           r->len);
        bool is_zero = buffer_is_zero(buf + end, next - end);

        if (end > pos && is_zero != *zero) {
            break;
        }
        *zero = is_zero;
        end = next;
    }
    return end - pos;
}

/* Compressed clusters one by one, to see at which it fails. */
static int convert_write_slowly(Co *co, ConvertCopy *c, ConvertRange *r,
                                const uint8_t *buf, int64_t pos, int64_t len)
{
    for (int64_t end = pos + len, n; pos < end; pos += n) {
        int ret;

        n = MIN(end - pos, c->cluster_size);
        ret = root_pwrite(co, c->target, r->off + pos, n, buf + pos,
                          REQ_COMPRESSED);
        if (ret < 0) {
            r->failed = r->off + pos;
            return ret;
        }
    }
    return 0;
}

static int convert_write_data(Co *co, ConvertCopy *c, ConvertRange *r,
                              const uint8_t *buf)
{
    int64_t unit = c->compressed ? c->cluster_size :
                   MAX(c->min_sparse, c->cluster_size);
    ReqFlags flags = c->compressed ? REQ_COMPRESSED : 0;

    if (c->min_sparse == 0 && !c->compressed) {
        return root_pwrite(co, c->target, r->off, r->len, buf, 0);
    }
    for (int64_t pos = 0, n; pos < r->len; pos += n) {
        bool zero = false;
        int ret;

        n = convert_alike(r, buf, pos, unit, &zero);
        if (zero) {
            ret = convert_write_zeroes(co, c, r, r->off + pos, n);
        } else {
            if (c->compressed && pos + n == r->len) {
                convert_hand_over(c, r);
            }
            ret = root_pwrite(co, c->target, r->off + pos, n, buf + pos,
                              flags);
        }
        if (ret < 0 && !zero && c->compressed) {
            ret = convert_write_slowly(co, c, r, buf, pos, n);
        }
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static int convert_write(Co *co, ConvertCopy *c, ConvertRange *r,
                         const uint8_t *buf)
{
    switch (r->kind) {
    case KIND_DATA:
        return convert_write_data(co, c, r, buf);
    case KIND_ZERO:
        return convert_write_zeroes(co, c, r, r->off, r->len);
    case KIND_BACKING:
        return 0;
    }
    g_assert_not_reached();
}

/* The host copies, if it can. */
static int convert_offload(Co *co, ConvertCopy *c, const ConvertRange *r)
{
    Root *src = r->src->root;
    int64_t off = r->off - r->src->start;
    int ret;

    if (off + r->len > r->src->len) {
        return -ENOTSUP;
    }
    root_begin(co, src);
    root_begin(co, c->target);
    ret = io_copy_range(co, src->edge, off, c->target->edge, r->off, r->len,
                        0);
    root_end(c->target);
    root_end(src);
    return ret;
}

/* ---- a worker ---- */

static void convert_done(ConvertCopy *c, ConvertRange *r)
{
    convert_hand_over(c, r);
    c->writing--;
    c->written += r->len;
    img_progress_set(c->progress, 100.0 * c->written / c->total);
    co_queue_wake_all(&c->turn);
}

static void convert_fail(ConvertCopy *c, int ret)
{
    if (c->ret == 0) {
        c->ret = ret;
    }
    co_queue_wake_all(&c->turn);
}

static void convert_throttle(Co *co, ConvertCopy *c, int64_t len)
{
    int64_t delay;

    while ((delay = ratelimit_delay(&c->limit)) > 0) {
        co_sleep(co, delay);
    }
    ratelimit_account(&c->limit, len);
}

static int convert_complain(const ConvertCopy *c, const char *what,
                            int64_t off, int ret)
{
    if (c->ret == 0) {
        error_report("error while %s at byte %" PRId64 ": %s", what, off,
                     strerror(-ret));
    }
    return ret;
}

static int convert_read_whole(Co *co, ConvertCopy *c, const ConvertRange *r,
                              uint8_t *buf)
{
    int ret = convert_read(co, c, r, buf);

    return ret < 0 ? convert_complain(c, "reading", r->off, ret) : 0;
}

static int convert_write_whole(Co *co, ConvertCopy *c, ConvertRange *r,
                               const uint8_t *buf)
{
    int ret;

    r->failed = r->off;
    ret = convert_write(co, c, r, buf);
    if (ret < 0) {
        /* What comes first on the disk complains first. */
        convert_wait_written(co, c, r->off);
        return convert_complain(c, "writing", r->failed, ret);
    }
    return 0;
}

/* Errors are told as if it were done in one go. */
static int convert_by_pieces(Co *co, ConvertCopy *c, const ConvertRange *r,
                             uint8_t *buf)
{
    int64_t unit = MAX(c->min_sparse, c->cluster_size);
    int64_t piece = MAX(CONVERT_PIECE, unit), end = r->off + r->len;
    unsigned waits = co_waits(co), n = 0;

    for (ConvertRange p = *r; p.off < end; p.off += p.len) {
        int ret;

        p.len = MIN(ROUND_DOWN(p.off + piece, unit), end) - p.off;
        ret = convert_read(co, c, &p, buf);
        if (ret < 0) {
            return convert_complain(c, "reading", r->off, ret);
        }
        ret = convert_write(co, c, &p, buf);
        if (ret < 0) {
            return convert_complain(c, "writing", r->off, ret);
        }
        n++;
        co_yield(co);
    }
    c->quick = co_waits(co) - waits <= n / 2;
    return 0;
}

/* Whether the range at @off may be copied by pieces. Out of order, what has been
 * written does not say what comes first. */
static bool convert_is_free(const ConvertCopy *c, int64_t off)
{
    return c->in_order ? c->written == off : !c->by_pieces;
}

/* False if somebody failed. */
static bool convert_wait_quick(Co *co, ConvertCopy *c, int64_t off)
{
    while (c->quick && c->ret == 0 && !convert_is_free(c, off)) {
        co_queue_wait(co, &c->turn);
    }
    return c->ret == 0;
}

/* By the host, or by pieces: 1 if it is done, 0 if not, -errno. */
static int convert_in_short(Co *co, ConvertCopy *c, const ConvertRange *r,
                            uint8_t *buf)
{
    int ret;

    if (c->copy_range) {
        c->copy_range = convert_offload(co, c, r) == 0;
        if (c->copy_range) {
            return convert_wait_turn(co, c, r->off) ? 1 : c->ret;
        }
    }
    if (c->compressed || c->n_workers == 1) {
        return 0;
    }
    if (!convert_wait_quick(co, c, r->off)) {
        return c->ret;
    }
    if (!convert_is_free(c, r->off)) {
        return 0;
    }
    if (!convert_wait_turn(co, c, r->off)) {
        return c->ret;
    }
    c->by_pieces = true;
    ret = convert_by_pieces(co, c, r, buf);
    c->by_pieces = false;
    return ret < 0 ? ret : 1;
}

static int convert_one(Co *co, ConvertCopy *c, ConvertRange *r,
                       uint8_t *buf)
{
    int ret = 0;

    if (r->kind == KIND_DATA) {
        convert_throttle(co, c, r->len);
        ret = convert_in_short(co, c, r, buf);
        if (ret == 0) {
            ret = convert_read_whole(co, c, r, buf);
        }
    }
    if (ret == 0) {
        ret = convert_wait_turn(co, c, r->off)
              ? convert_write_whole(co, c, r, buf) : c->ret;
    }
    if (ret < 0) {
        return ret;
    }
    convert_done(c, r);
    return 0;
}

static int convert_worker(Co *co, void *opaque)
{
    ConvertCopy *c = opaque;
    uint8_t *buf = aligned_alloc_io(4096, CONVERT_BUFFER);
    ConvertRange r;
    int ret;

    while ((ret = convert_take(co, c, &r)) > 0) {
        ret = convert_one(co, c, &r, buf);
        if (ret < 0) {
            break;
        }
    }
    if (ret < 0) {
        convert_fail(c, ret);
    }
    aligned_free(buf);
    return ret;
}

int convert_copy(Co *co, ConvertCopy *c)
{
    CoGroup group;

    c->quick = true;
    co_group_init(&group, co_loop(co), c->n_workers);
    for (int i = 0; i < c->n_workers; i++) {
        co_group_start(co, &group, convert_worker, c);
    }
    co_group_wait(co, &group);
    return c->ret;
}
