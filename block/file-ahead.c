/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A file that grows by writes is made longer ahead of them.
 *
 * A direct write past the end of a file has it for itself: the file system does
 * such writes one by one. So a file that keeps growing gets a tail, a hole of
 * AHEAD_STEP at a time, in which many writes go on at once. The tail is cut off
 * when nobody grows the file any more, before it is resized, and at close; a
 * crash leaves it there, and a hole past the last cluster means nothing.
 *
 *     node->length   what the layers above see: never the tail
 *     ahead.end      the highest end of a write that was begun, or more
 *     ahead.length   the file's own length, with the tail; 0: it has none
 *     ahead.next     what a worker is just making of it; 0: nothing
 *
 * The file is only ever set to a length past ahead.end, and writes past
 * ahead.length wait meanwhile: none is cut off. With a lock that keeps others
 * from writing there are no writes but ours; if the length is not what we have
 * set, somebody else minds it, and it is left alone.
 *
 * Not here: preallocation. The tail has no blocks, and takes no space.
 */

#include <sys/resource.h>
#include <sys/stat.h>

#include "block/file.h"
#include "util/bytes.h"

#define AHEAD_AFTER MiB                 /* so much growth by writes */
#define AHEAD_STEP (64 * MiB)

typedef struct FileLengthen {
    int fd;
    int64_t length;
} FileLengthen;

static int64_t file_lengthen_work(void *opaque)
{
    const FileLengthen *l = opaque;
    struct rlimit limit;
    struct stat st;

    /* Beyond the limit there is a signal, not an error. */
    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || fstat(l->fd, &st) < 0) {
        return -errno;
    }
    if (st.st_size >= l->length ||
        (limit.rlim_cur != RLIM_INFINITY &&
         (rlim_t)l->length > limit.rlim_cur)) {
        return -EFBIG;
    }
    return ftruncate(l->fd, l->length) < 0 ? -errno : 0;
}

bool file_ahead_may(uint64_t perm, uint64_t shared)
{
    return (perm & PERM_RESIZE) && !(shared & (PERM_WRITE | PERM_RESIZE));
}

static bool file_ahead_is_worth(const FileState *s)
{
    return s->caps.ahead && s->ahead.grown >= AHEAD_AFTER &&
           s->lock.fd >= 0 && file_ahead_may(s->lock.perm, s->lock.shared);
}

void file_ahead_reach(Co *co, Node *node, int64_t end)
{
    FileState *s = node->state;
    FileAhead *a = &s->ahead;
    int64_t old;

    while (a->busy && end > a->length) {
        co_queue_wait(co, &a->waiters);
    }
    old = MAX(a->end, node->length);
    a->grown += MAX(end - old, 0);
    a->end = MAX(old, end);
    if (end > a->length && file_ahead_is_worth(s)) {
        FileLengthen l = { s->fd, ROUND_UP(a->end, MiB) + AHEAD_STEP };

        a->busy = true;
        a->next = l.length;
        s->caps.ahead = worker_run(co, file_lengthen_work, &l) == 0;
        a->length = s->caps.ahead ? l.length : a->length;
        a->next = 0;
        file_ahead_resume(s);
    }
}

int64_t file_ahead_true_length(const FileState *s, int64_t length)
{
    const FileAhead *a = &s->ahead;
    bool tail = (a->length && length == a->length) ||
                (a->next && length == a->next);

    return tail ? a->end : length;
}

void file_ahead_end(FileState *s)
{
    struct stat st;

    if (s->ahead.busy) {
        return;
    }
    if (s->ahead.length && fstat(s->fd, &st) == 0 &&
        st.st_size == s->ahead.length &&
        ftruncate(s->fd, s->ahead.end) < 0) {
        return;                 /* a tail does no harm */
    }
    s->ahead.length = s->ahead.end = s->ahead.grown = 0;
}

void file_ahead_stop(Co *co, FileState *s)
{
    while (s->ahead.busy) {
        co_queue_wait(co, &s->ahead.waiters);
    }
    file_ahead_end(s);
    s->ahead.busy = true;
}

void file_ahead_resume(FileState *s)
{
    s->ahead.busy = false;
    co_queue_wake_all(&s->ahead.waiters);
}
