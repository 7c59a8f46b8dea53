/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The copy engine: see include/block/copy.h.
 *
 *     todo        bits still to copy, one a cluster
 *     requests    ranges that somebody copies at this moment
 *     buffer      old data that the target doesn't have yet (copy-buffer.c)
 *
 * A cluster is in one of four states: in todo, in a request, in the buffer, or
 * in none of these (done, or never wanted). Where a part of it is in the buffer
 * (the rest still lies in the source), it may be in a request as well.
 * copy_claim() takes it from todo into a request at once, without suspending;
 * copy_release() takes it out, back to todo if the copy failed. So a cluster is
 * never copied twice at the same time, and who needs one that another copies
 * waits for that request.
 *
 * Background chunks claim only after their root has let them in: a claim is
 * never held by somebody who waits at a closed door, else a drain would wait
 * for a guest's request that waits for that claim.
 */

#include "copy-internal.h"
#include "block/info.h"
#include "util/bytes.h"

#define COPY_DEFAULT_CLUSTER (64 * KiB)
#define COPY_GUEST_CHUNK MiB
#define COPY_PIECE (2 * MiB)    /* goes through memory at once; whole clusters */
#define COPY_SPARE_SIZE (256 * KiB)
#define COPY_SPARE_ALIGN 4096

/* ---- making ---- */

static int64_t cluster_size_for(Co *co, Node *target, int64_t min)
{
    BlockDriverInfo info = { 0 };
    int64_t size = MAX(COPY_DEFAULT_CLUSTER, min);

    target = node_skip_filters(target);
    if (info_driver(co, target, &info) >= 0) {
        return MAX(size, info.cluster_size);
    }
    if (!target->backing) {
        warn_report("The target block device doesn't provide information "
                    "about the block size and it doesn't have a backing "
                    "file. The default block size of %" PRId64 " bytes is "
                    "used. If the actual block size of the target exceeds "
                    "this default, the backup may be unusable", size);
    }
    return size;
}

CopyState *copy_state_new(Co *co, Edge *source, Edge *target,
                          const CopyOptions *opts, Error **errp)
{
    int64_t cluster = opts->cluster_size ? opts->cluster_size :
        cluster_size_for(co, target->child, opts->min_cluster_size);
    CopyState *s;

    if (!is_power_of_2(cluster) || (opts->min_cluster_size &&
                                    !is_power_of_2(opts->min_cluster_size))) {
        error_setg(errp, "min-cluster-size needs to be a power of 2");
        return NULL;
    }
    s = g_new0(CopyState, 1);
    s->source = source;
    s->target = target;
    s->opts = *opts;
    s->len = source->child->length;
    s->shift = __builtin_ctzll(cluster);
    if (node_chain_contains(target->child, source->child)) {
        s->write_flags = REQ_SERIALISING;
    }
    s->todo = bitset_new(DIV_ROUND_UP(s->len, cluster));
    bitset_set_all(s->todo);
    return s;
}

void copy_state_free(CopyState *s)
{
    if (s) {
        g_assert(!s->requests.first && !s->active.first);
        copy_buffer_free(s);
        copy_drop_spares(s);
        bitset_free(s->todo);
        g_free(s);
    }
}

int64_t copy_cluster_size(const CopyState *s)
{
    return INT64_C(1) << s->shift;
}

Bitset *copy_todo(CopyState *s)
{
    return s->todo;
}

void copy_set_progress(CopyState *s, void (*fn)(void *opaque, int64_t bytes),
                       void *opaque)
{
    s->progress = fn;
    s->progress_opaque = opaque;
}

void copy_set_skip(CopyState *s, bool skip_unallocated, Node *base)
{
    s->opts.skip_unallocated = skip_unallocated;
    s->opts.base = base;
}

void copy_set_compress(CopyState *s, bool compress)
{
    s->opts.compress = compress;
}

/* Bytes of @n clusters from @bit on, cut at the end of the disk. */
static int64_t cluster_bytes(const CopyState *s, int64_t bit, int64_t n)
{
    return MIN((bit + n) << s->shift, s->len) - (bit << s->shift);
}

int64_t copy_bytes_todo(const CopyState *s)
{
    int64_t nbits = bitset_size(s->todo);
    int64_t bytes = bitset_count(s->todo) << s->shift;

    if (nbits && bitset_test(s->todo, nbits - 1)) {
        bytes -= (nbits << s->shift) - s->len;
    }
    return bytes;
}

/* ---- claims ---- */

/* Cuts the run [*first, *first + *n) before the first range of @list in it, or
 * says where to look on (0: it is free). */
static int64_t skip_taken(const CopyState *s, const ReqList *list,
                          int64_t *first, int64_t *n)
{
    const RangeReq *r = reqlist_find(list, *first << s->shift, *n << s->shift);

    while (r && r->off >> s->shift > *first) {
        *n = (r->off >> s->shift) - *first;
        r = reqlist_find(list, *first << s->shift, *n << s->shift);
    }
    return r ? DIV_ROUND_UP(r->off + r->len, copy_cluster_size(s)) : 0;
}

bool copy_claim(CopyState *s, RangeReq *req, int64_t off, int64_t end,
                int64_t max)
{
    int64_t first, n, next = off >> s->shift;
    int64_t last = DIV_ROUND_UP(MIN(end, s->len), copy_cluster_size(s));

    do {
        if (next >= last ||
            !bitset_next_run(s->todo, next, last, MAX(max >> s->shift, 1),
                             &first, &n)) {
            return false;
        }
        next = skip_taken(s, &s->requests, &first, &n);
        if (!next) {
            next = skip_taken(s, &s->active, &first, &n);
        }
    } while (next);
    bitset_clear(s->todo, first, n);
    reqlist_add(&s->requests, req, first << s->shift,
                cluster_bytes(s, first, n));
    return true;
}

void copy_release(CopyState *s, RangeReq *req, int ret)
{
    /* What was marked meanwhile has been counted twice and is copied once. */
    int64_t done = ret < 0 ? req->len - copy_mark(s, req->off, req->len)
                           : req->len;

    if (done && s->progress) {
        s->progress(s->progress_opaque, done);
    }
    reqlist_remove(&s->requests, req);
}

void copy_forget(CopyState *s, int64_t off, int64_t len)
{
    int64_t first = DIV_ROUND_UP(off, copy_cluster_size(s));
    int64_t last = off + len == s->len ? bitset_size(s->todo)
                                       : (off + len) >> s->shift;

    if (last > first) {
        bitset_clear(s->todo, first, last - first);
        copy_buffer_forget(s, first << s->shift,
                           cluster_bytes(s, first, last - first));
    }
}

/* ---- copying one claimed range ---- */

void copy_set_copy_range(CopyState *s, bool use)
{
    s->opts.use_copy_range = use;
}

void copy_set_discard_source(CopyState *s, bool discard)
{
    s->opts.discard_source = discard;
}

ReqFlags copy_data_flags(const CopyState *s)
{
    return s->write_flags | (s->opts.compress ? REQ_COMPRESSED : 0);
}

ReqFlags copy_zero_flags(const CopyState *s)
{
    return s->write_flags | (s->opts.no_unmap ? 0 : REQ_MAY_UNMAP);
}

static int copy_zeroes(Co *co, CopyState *s, int64_t off, int64_t len,
                       bool *is_read)
{
    *is_read = false;
    return io_zero(co, s->target, off, len, copy_zero_flags(s));
}

/* Memory that comes fresh for each range is paid for page by page, and is cold. */
static void *copy_take_spare(CopyState *s, int64_t align, int64_t len)
{
    if (align > COPY_SPARE_ALIGN || len > COPY_SPARE_SIZE) {
        return aligned_try_alloc_io(MAX(align, COPY_SPARE_ALIGN), len);
    }
    return s->n_spares ? s->spares[--s->n_spares]
                       : aligned_try_alloc_io(COPY_SPARE_ALIGN,
                                              COPY_SPARE_SIZE);
}

static void copy_give_spare(CopyState *s, int64_t align, int64_t len,
                            void *buf)
{
    if (align > COPY_SPARE_ALIGN || len > COPY_SPARE_SIZE ||
        s->n_spares == COPY_SPARES) {
        aligned_free(buf);
    } else {
        s->spares[s->n_spares++] = buf;
    }
}

void copy_drop_spares(CopyState *s)
{
    while (s->n_spares) {
        aligned_free(s->spares[--s->n_spares]);
    }
}

static int copy_through(Co *co, CopyState *s, int64_t off, int64_t len,
                        void *buf, bool *is_read)
{
    int ret;

    *is_read = true;
    ret = io_pread(co, s->source, off, len, buf, 0);
    if (ret < 0) {
        return ret;
    }
    *is_read = false;
    return s->stopped ? -ECANCELED
                      : io_pwrite(co, s->target, off, len, buf,
                                  copy_data_flags(s));
}

static int copy_data(Co *co, CopyState *s, int64_t off, int64_t len,
                     bool *is_read)
{
    int64_t align = MAX(s->source->child->limits.mem_alignment,
                        s->target->child->limits.mem_alignment);
    void *buf;
    int ret;

    if (s->opts.use_copy_range && !s->opts.compress && !s->write_flags) {
        ret = io_copy_range(co, s->source, off, s->target, off, len, 0);
        if (ret == 0) {
            return 0;
        }
        s->opts.use_copy_range = false;
    }
    *is_read = true;
    buf = copy_take_spare(s, align, len);
    if (!buf) {
        return -ENOMEM;
    }
    ret = copy_through(co, s, off, len, buf, is_read);
    copy_give_spare(s, align, len, buf);
    return ret;
}

CopyKind copy_kind(Co *co, CopyState *s, int64_t off, int64_t *len)
{
    Extent ext;

    if (status_above(co, s->source->child,
                     s->opts.skip_unallocated ? s->opts.base : NULL, false,
                     true, off, *len, &ext) < 0) {
        return COPY_DATA;
    }
    *len = ext.len;
    if (s->opts.skip_unallocated && !(ext.flags & EXTENT_ALLOCATED)) {
        return COPY_NOTHING;
    }
    return ext.flags & EXTENT_ZERO ? COPY_ZERO : COPY_DATA;
}

/*
 * Whether a target's cluster gets all of the source's or nothing: a compressed
 * one is written whole, and what is left out of one becomes zeroes where the
 * target's backing file is not there yet. A commit's target is the base itself.
 */
static bool copy_whole_clusters(const CopyState *s)
{
    return s->opts.compress ||
           (s->opts.skip_unallocated && s->opts.base != s->target->child);
}

/* What is not alike in a cluster that is written whole is data. */
static CopyKind copy_kind_whole(const CopyState *s, CopyKind kind, int64_t off,
                                int64_t end, int64_t *len)
{
    int64_t cluster = copy_cluster_size(s);

    if (*len >= cluster) {
        *len = ROUND_DOWN(*len, cluster);
        return kind;
    }
    *len = MIN(cluster, end - off);
    return COPY_DATA;
}

int copy_region(Co *co, CopyState *s, int64_t off, int64_t len, bool *is_read)
{
    int64_t start = off, end = off + len;

    while (off < end) {
        int64_t n = end - off;
        CopyKind kind = copy_kind(co, s, off, &n);
        int ret = 0;

        if (s->stopped) {
            return -ECANCELED;
        }
        if (n < end - off && copy_whole_clusters(s)) {
            kind = copy_kind_whole(s, kind, off, end, &n);
        }
        if (kind == COPY_ZERO) {
            ret = copy_zeroes(co, s, off, n, is_read);
        } else if (kind == COPY_DATA) {
            n = MIN(n, COPY_PIECE);
            ret = copy_data(co, s, off, n, is_read);
        }
        if (ret < 0) {
            return ret;
        }
        off += n;
    }
    if (s->opts.discard_source) {
        io_discard(co, s->source, start, len);  /* may fail: it saves space */
    }
    return 0;
}

/* ---- for guests ---- */

/* A claimed range, into memory or to the target. [off, off + len) is what the
 * guest is about to change. */
static int copy_claimed(Co *co, CopyState *s, RangeReq *req, int64_t off,
                        int64_t len, bool *is_read)
{
    int ret = s->stopped ? -ECANCELED
                         : copy_buffer_take_part(co, s, req, off, len);

    *is_read = true;
    if (ret == -ENOTSUP) {
        ret = copy_buffer_has_room(s, req->len)
              ? copy_buffer_take(co, s, req) : -ENOMEM;
    }
    if (ret == 0) {
        return 0;
    }
    if (!s->stopped && (ret == -ENOMEM || ret == -ECANCELED)) {
        ret = copy_region(co, s, req->off, req->len, is_read);
    }
    copy_release(s, req, ret);
    return ret;
}

int copy_range_now(Co *co, CopyState *s, int64_t off, int64_t len,
                   bool *error_is_read)
{
    int64_t cluster = copy_cluster_size(s);
    int64_t start = ROUND_DOWN(off, cluster);
    int64_t end = MIN(ROUND_UP(off + len, cluster), s->len);
    int ret = 0;

    do {
        RangeReq req;

        while (ret >= 0 && copy_claim(s, &req, start, end, COPY_GUEST_CHUNK)) {
            ret = copy_claimed(co, s, &req, off, len, error_is_read);
        }
        /* What others copy may come back to todo: look again. */
    } while (ret >= 0 &&
             (reqlist_wait_one(co, &s->requests, start, end - start) ||
              (ret = copy_buffer_save_rest(co, s, off, off + len,
                                           error_is_read)) > 0));
    return ret;
}

bool copy_stop(CopyState *s)
{
    s->stopped = true;
    return copy_buffer_stop(s) || s->requests.first;
}

/* ---- sources that are written to meanwhile ---- */

int64_t copy_mark(CopyState *s, int64_t off, int64_t len)
{
    int64_t first = off >> s->shift, before = copy_bytes_todo(s);
    int64_t last = DIV_ROUND_UP(MIN(off + len, s->len), copy_cluster_size(s));

    if (last <= first) {
        return 0;
    }
    bitset_set(s->todo, first, last - first);
    for (RangeReq *r = s->active.first; r; r = r->next) {
        CopyActive *a = container_of(r, CopyActive, req);

        a->spoiled |= r->off < off + len && off < r->off + r->len;
    }
    return copy_bytes_todo(s) - before;
}

void copy_active_begin(Co *co, CopyState *s, CopyActive *a, int64_t off,
                       int64_t len)
{
    int64_t start = ROUND_DOWN(off, copy_cluster_size(s));
    int64_t n = ROUND_UP(off + len, copy_cluster_size(s)) - start;

    a->off = off;
    a->len = len;
    a->spoiled = false;
    while (reqlist_wait_one(co, &s->requests, start, n) ||
           reqlist_wait_one(co, &s->active, start, n)) {
        continue;
    }
    reqlist_add(&s->active, &a->req, start, n);
}

int copy_active_copy(Co *co, CopyState *s, CopyActive *a)
{
    bool is_read;

    a->off = a->req.off;
    a->len = MIN(a->req.off + a->req.len, s->len) - a->off;
    return copy_region(co, s, a->off, a->len, &is_read);
}

int64_t copy_active_end(CopyState *s, CopyActive *a, bool done)
{
    int64_t before = copy_bytes_todo(s);

    if (done && !a->spoiled) {
        copy_forget(s, a->off, a->len);
    }
    reqlist_remove(&s->active, &a->req);
    return before - copy_bytes_todo(s);
}
