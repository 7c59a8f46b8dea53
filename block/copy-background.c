/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Copying in the background: a dispatcher claims chunks in order and hands
 * them to a bounded number of coroutines. The first error stops it; the chunk
 * that failed is in todo again, so that a second call resumes.
 */

#include "copy-internal.h"
#include "block/root.h"

#define DEFAULT_WORKERS 8
#define DEFAULT_CHUNK (256 * KiB)
#define GUEST_CHUNK (128 * KiB)         /* while guests are at work */

typedef struct Background {
    CopyState *s;
    CopyCall *call;
    CoGroup group;
    bool failed;
    bool error_is_read;
} Background;

typedef struct Chunk {
    Background *bg;
    RangeReq req;
} Chunk;

static int chunk_run(Co *co, void *opaque)
{
    g_autofree Chunk *chunk = opaque;
    Background *bg = chunk->bg;
    bool is_read = false;
    int ret = copy_region(co, bg->s, chunk->req.off, chunk->req.len, &is_read);

    copy_pace_leave(bg->s, chunk->req.len);
    copy_release(bg->s, &chunk->req, ret);
    root_end(bg->call->root);
    if (ret < 0 && !bg->failed) {
        bg->failed = true;
        bg->error_is_read = is_read;
    }
    return ret;
}

/* Waits as the speed limit says; false if the call is to end. */
static bool wait_for_turn(Co *co, CopyCall *call)
{
    while (call->limit && !call->cancelled) {
        int64_t ns = ratelimit_delay(call->limit);

        if (!ns) {
            break;
        }
        co_sleep_ns(co, &call->sleep, ns);
    }
    return !call->cancelled;
}

static bool all_unallocated(Co *co, CopyState *s, const RangeReq *req)
{
    int64_t off = req->off, end = off + req->len;

    while (off < end) {
        int64_t n;

        if (status_allocated_above(co, s->source->child, s->opts.base, false,
                                   off, end - off, &n) != 0 || n <= 0) {
            return false;
        }
        off += n;
    }
    return true;
}

static int64_t chunk_max(const CopyState *s, const CopyCall *call)
{
    int64_t max = !call->max_chunk ? DEFAULT_CHUNK :
        ROUND_UP(MIN(call->max_chunk, INT64_MAX / 2), copy_cluster_size(s));

    if (copy_pace_guest_active(s)) {
        max = MIN(max, GUEST_CHUNK);
    }
    return MAX(max, copy_cluster_size(s));
}

/* Starts the next chunk; false if there is none left. Waits for its turn before
 * it claims anything that a guest may want. */
static bool start_chunk(Co *co, Background *bg, int64_t off, int64_t *next)
{
    CopyCall *call = bg->call;
    CopyState *s = bg->s;
    int64_t max = chunk_max(s, call);
    Chunk *chunk = g_new0(Chunk, 1);

    chunk->bg = bg;
    root_begin(co, call->root);
    copy_pace_enter(co, s, max);
    if (!copy_claim(s, &chunk->req, off, call->off + call->len, max)) {
        copy_pace_leave(s, max);
        root_end(call->root);
        g_free(chunk);
        return false;
    }
    copy_pace_leave(s, max - chunk->req.len);
    *next = chunk->req.off + chunk->req.len;
    if (s->opts.skip_unallocated && all_unallocated(co, s, &chunk->req)) {
        copy_pace_leave(s, chunk->req.len);
        copy_release(s, &chunk->req, 0);
        root_end(call->root);
        g_free(chunk);
        return true;
    }
    if (call->limit) {
        ratelimit_account(call->limit, chunk->req.len);
    }
    co_group_start(co, &bg->group, chunk_run, chunk);
    return true;
}

/* Something is left: of a copy that failed, or that was written to again. Waits
 * for those who keep it from being copied. */
static bool work_left(Co *co, CopyState *s, const CopyCall *call)
{
    int64_t end = MIN(call->off + call->len, s->len);
    int64_t first, n;

    if (reqlist_wait_one(co, &s->requests, call->off, call->len)) {
        return true;
    }
    if (!bitset_next_run(s->todo, call->off >> s->shift,
                         DIV_ROUND_UP(end, copy_cluster_size(s)), 1, &first,
                         &n)) {
        return false;
    }
    reqlist_wait_one(co, &s->active, first << s->shift, n << s->shift);
    return true;
}

static int background_run(Co *co, Background *bg)
{
    CopyState *s = bg->s;
    CopyCall *call = bg->call;
    int ret;

    do {
        int64_t next = call->off;

        while (!bg->failed && wait_for_turn(co, call) &&
               start_chunk(co, bg, next, &next)) {
            continue;
        }
        ret = co_group_wait(co, &bg->group);
        if (ret == 0 && !call->cancelled) {
            ret = copy_buffer_flush(co, s, &call->cancelled,
                                    &bg->error_is_read);
        }
    } while (ret == 0 && !call->cancelled && work_left(co, s, call));
    return ret == 0 && call->cancelled ? -ECANCELED : ret;
}

int copy_background(Co *co, CopyState *s, CopyCall *call, bool *error_is_read)
{
    Background bg = { .s = s, .call = call };
    bool was = co_is_background(co);
    int ret;

    call->state = s;
    co_set_background(co, true);
    co_group_init(&bg.group, co_loop(co),
                  call->max_workers ? call->max_workers : DEFAULT_WORKERS);
    ret = background_run(co, &bg);
    copy_drop_spares(s);
    co_set_background(co, was);
    if (ret < 0) {
        *error_is_read = bg.error_is_read;
    }
    return ret;
}

void copy_cancel(CopyCall *call)
{
    call->cancelled = true;
    co_sleep_wake(&call->sleep);
    if (call->state) {
        copy_buffer_wake(call->state);
    }
}
