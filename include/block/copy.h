/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The copy engine: what of a source is still to be copied to a target, and the
 * copying. It serves copy-before-write (a guest's write waits for its own
 * range) and the backup job (in the background, bounded) from one state.
 *
 * A range leaves todo when its copy begins and comes back if it fails. All on
 * the graph's loop.
 */
#ifndef BLOCK_COPY_H
#define BLOCK_COPY_H

#include "block/io.h"
#include "util/bitset.h"
#include "util/ratelimit.h"
#include "util/reqlist.h"

typedef struct CopyState CopyState;

typedef struct CopyOptions {
    int64_t min_cluster_size;   /* bytes; 0: by the target, at least 64 KiB */
    int64_t cluster_size;       /* bytes; not 0: just this */
    bool no_unmap;              /* zeroes are written, never holes */
    bool compress;
    bool use_copy_range;
    bool discard_source;        /* what has been copied; needs PERM_WRITE */
    bool skip_unallocated;      /* not what @base and below hold */
    Node *base;
} CopyOptions;

/* Reads @source and writes @target (edges of the caller, who outlives it).
 * All of the source is in todo at first. */
CopyState *copy_state_new(Co *co, Edge *source, Edge *target,
                          const CopyOptions *opts, Error **errp);
void copy_state_free(CopyState *s);             /* NULL ok */
int64_t copy_cluster_size(const CopyState *s);  /* bytes */
/* One bit a cluster; the owner may change it while nothing is being copied. */
Bitset *copy_todo(CopyState *s);
int64_t copy_bytes_todo(const CopyState *s);
/* Called with the bytes of every range that has been copied, whoever did it. */
void copy_set_progress(CopyState *s, void (*fn)(void *opaque, int64_t bytes),
                       void *opaque);
void copy_set_skip(CopyState *s, bool skip_unallocated, Node *base);
void copy_set_compress(CopyState *s, bool compress);
void copy_set_copy_range(CopyState *s, bool use);
void copy_set_discard_source(CopyState *s, bool discard);
/* The clusters that lie wholly in the range are not wanted any more. */
void copy_forget(CopyState *s, int64_t off, int64_t len);

/* What was read for a guest may wait in memory, up to @limit bytes of it, for
 * being written to the target under @root (the caller's, who closes the buffer
 * before it goes). Not where readers of the target would miss it there. While
 * @owner has no users, the source may change: what was read in part waits then. */
struct Root;
void copy_buffer_use(CopyState *s, int64_t limit, struct Root *root,
                     const Node *owner);
/*
 * Where the old bytes from @off on are, which have been copied; *@len cut to what
 * is alike. *@data: in memory, until the caller suspends; NULL: zeroes.
 */
typedef enum CopyPlace {
    COPY_IN_TARGET,
    COPY_IN_MEMORY,
    COPY_IN_SOURCE,             /* still: only a part had to be copied */
} CopyPlace;
CopyPlace copy_buffer_find(CopyState *s, int64_t off, int64_t *len,
                           const void **data);
/* @root's door has been closed, is open again: to be called by its owner. */
void copy_buffer_quiesce(CopyState *s);
void copy_buffer_resume(CopyState *s);
/* Writes to the target what is left, if nobody has closed the buffer. 0, or what
 * the target or the source refused with. Suspends; comes back to the caller's
 * loop. */
int copy_buffer_write_out(Co *co, CopyState *s);
/* The source has changed meanwhile: clusters that were read in part are in todo
 * again. Whether there were any. Nothing must be under way. */
bool copy_buffer_lose_parts(CopyState *s);
/* Lets nothing more in and ends the writing; what is left is in todo again.
 * Suspends; comes back to the caller's loop. */
void copy_buffer_close(Co *co, CopyState *s);

/* A guest's request, begun at clock_ns() @begun_ns, has ended: how hard the
 * background works follows how long these take. */
void copy_note_guest(CopyState *s, int64_t begun_ns);
/* Waits until @len more bytes may be in flight that no guest waits for. */
void copy_pace_enter(Co *co, CopyState *s, int64_t len);
void copy_pace_leave(CopyState *s, int64_t len);

/* Copies what of [off, off + len) is in todo, and waits for what others copy of
 * it; into memory, if there is a buffer with room (and then perhaps no more than
 * this range of the clusters that it touches). *@error_is_read tells the
 * side that failed. Suspends. */
int copy_range_now(Co *co, CopyState *s, int64_t off, int64_t len,
                   bool *error_is_read);

/* No more is begun: copy_range_now returns -ECANCELED where it would have to copy,
 * nothing that waits in memory is written. True: somebody is still at what was
 * begun before; what he can't end is in todo again. Never suspends. */
bool copy_stop(CopyState *s);

typedef struct CopyCall {
    int64_t off, len;           /* bytes */
    int max_workers;            /* 0: the engine's choice */
    int64_t max_chunk;          /* bytes; 0: the engine's choice */
    RateLimit *limit;           /* NULL: none */
    /* Each chunk is one root_begin/root_end of this root. */
    struct Root *root;
    /* The engine's. */
    CopyState *state;
    bool cancelled;
    CoSleep sleep;
} CopyCall;
/* Copies in the background until nothing of the range is in todo (0), a chunk
 * fails (-errno, *@error_is_read), or it is cancelled (-ECANCELED). */
int copy_background(Co *co, CopyState *s, CopyCall *call, bool *error_is_read);
/* Ends @call soon; from any coroutine of the loop. */
void copy_cancel(CopyCall *call);

/* ---- for sources that are written to while they are copied ---- */

/* The clusters that the range touches are to be copied (again), also where
 * somebody is about to say that they need not. Returns the bytes that were not
 * in todo before. */
int64_t copy_mark(CopyState *s, int64_t off, int64_t len);
/*
 * Somebody writes the range to both sides himself: waits for what is being
 * copied of it, and keeps it from being copied until copy_active_end. With
 * @done the clusters that lie wholly in the range need no copying any more;
 * returns their bytes in todo.
 */
typedef struct CopyActive {
    RangeReq req;
    int64_t off, len;
    bool spoiled;               /* marked meanwhile: others write it, too */
} CopyActive;
void copy_active_begin(Co *co, CopyState *s, CopyActive *a, int64_t off,
                       int64_t len);
int64_t copy_active_end(CopyState *s, CopyActive *a, bool done);
/* Who has written it to the source has all clusters that it touches copied, instead
 * of writing to the target. */
int copy_active_copy(Co *co, CopyState *s, CopyActive *a);

#endif
