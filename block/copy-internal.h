/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* What copy.c and copy-background.c share. */
#ifndef BLOCK_COPY_INTERNAL_H
#define BLOCK_COPY_INTERNAL_H

#include "block/copy.h"

/* See copy-pace.c. Times in nanoseconds of clock_ns(). */
typedef struct CopyPace {
    int64_t window;             /* bytes; 0: no guest was seen yet */
    int64_t in_flight;
    int64_t last_guest;
    int64_t since, sum, count;  /* latencies of the interval */
    int64_t base;               /* the lowest mean, not long ago */
    CoQueue waiters;
} CopyPace;

typedef struct CopyBuffer CopyBuffer;

#define COPY_SPARES 8

struct CopyState {
    Edge *source, *target;
    CopyOptions opts;
    int64_t len;                /* of the disk, when the copy began */
    int shift;                  /* of the cluster size */
    /* The target shows the source where it has nothing: who reads the target
     * and was sent to the source must be done before the copy lets the source
     * change. Writes are REQ_SERIALISING then: they wait for such readers. */
    ReqFlags write_flags;
    Bitset *todo;
    ReqList requests;
    ReqList active;             /* written by others to both sides */
    void (*progress)(void *opaque, int64_t bytes);
    void *progress_opaque;
    CopyPace pace;
    void *spares[COPY_SPARES];  /* memory that data went through */
    int n_spares;
    CopyBuffer *buffer;         /* NULL: copies go to the target at once */
    bool stopped;               /* nothing more is begun */
};

/* Moves the first run of todo in [off, end) that nobody is at, at most @max
 * bytes, into a request. False if there is none. */
bool copy_claim(CopyState *s, RangeReq *req, int64_t off, int64_t end,
                int64_t max);
/* Ends it; back to todo if @ret says that it failed. */
void copy_release(CopyState *s, RangeReq *req, int ret);
typedef enum CopyKind {
    COPY_DATA,
    COPY_ZERO,
    COPY_NOTHING,               /* not wanted: it lies in the base */
} CopyKind;
/* What to do with the first part of [off, off + *@len). Not knowing better, all
 * of it is data. */
CopyKind copy_kind(Co *co, CopyState *s, int64_t off, int64_t *len);
/* Copies a claimed range. *@is_read is set if an error was the source's. */
int copy_region(Co *co, CopyState *s, int64_t off, int64_t len, bool *is_read);

/* With which data and zeroes are written to the target. */
ReqFlags copy_data_flags(const CopyState *s);
ReqFlags copy_zero_flags(const CopyState *s);

/* Gives back the memory that is kept for the next range. */
void copy_drop_spares(CopyState *s);

/* ---- copy-buffer.c ---- */

bool copy_buffer_has_room(const CopyState *s, int64_t len);
/* Reads a claimed range into memory and ends the claim; on error it is the
 * caller's still. */
int copy_buffer_take(Co *co, CopyState *s, RangeReq *req);
/* The same with no more than the blocks of [off, off + len), if that is worth
 * it: else -ENOTSUP. */
int copy_buffer_take_part(Co *co, CopyState *s, RangeReq *req, int64_t off,
                          int64_t len);
/* Something in [off, end) of which only another part is saved, saved as a whole:
 * 1, or -errno (*@is_read: of the source). 0: there is nothing such. Nobody must
 * have a request on the range. */
int copy_buffer_save_rest(Co *co, CopyState *s, int64_t off, int64_t end,
                          bool *is_read);
/* Waits until the target has all: 0, or what it refused with (*@is_read: the
 * source did); what it doesn't have stays. 0 also when *@cancelled (see
 * copy_buffer_wake). */
int copy_buffer_flush(Co *co, CopyState *s, const bool *cancelled,
                      bool *is_read);
void copy_buffer_wake(CopyState *s);
/* Lets nothing more in, and no drainer go on; true if there is one still. */
bool copy_buffer_stop(CopyState *s);
/* What lies wholly in the range need not be written. */
void copy_buffer_forget(CopyState *s, int64_t off, int64_t len);
void copy_buffer_free(CopyState *s);

/* ---- copy-pace.c ---- */

bool copy_pace_guest_active(const CopyState *s);
/* From when on it is not, if nothing is heard of it till then. */
int64_t copy_pace_idle_ns(const CopyState *s);

#endif
