/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Scattered buffers: filling, cutting, copying.
 *
 * An IoVec is in one of three forms. A view of one buffer (iov == &one,
 * capacity 0), a view of a foreign array (capacity 0), or an array of its own:
 * this begins in `one` and moves to the heap with the second entry. Only the
 * last can grow.
 *
 * Every walk over a cut [off, off + len) is the same loop: iov_walk_next()
 * hands out one contiguous piece after the other.
 */
#include "util/iov.h"

typedef struct IoWalk {
    const struct iovec *iov;
    size_t skip;            /* bytes of *iov that lie before the cut */
    int64_t left;
} IoWalk;

static IoWalk iov_walk(const IoVec *v, int64_t off, int64_t len)
{
    IoWalk w = { .iov = v->iov, .left = len };

    g_assert(off >= 0 && len >= 0 && off <= v->len && len <= v->len - off);
    if (len) {
        while (off >= (int64_t)w.iov->iov_len) {
            off -= w.iov->iov_len;
            w.iov++;
        }
        w.skip = off;
    }
    return w;
}

static bool iov_walk_next(IoWalk *w, struct iovec *piece)
{
    if (!w->left) {
        return false;
    }
    piece->iov_base = (char *)w->iov->iov_base + w->skip;
    piece->iov_len = MIN((int64_t)(w->iov->iov_len - w->skip), w->left);
    w->left -= piece->iov_len;
    w->skip = 0;
    w->iov++;
    return true;
}

void iov_init_buf(IoVec *v, void *buf, int64_t len)
{
    *v = (IoVec) {
        .iov = &v->one,
        .niov = 1,
        .len = len,
        .one = { .iov_base = buf, .iov_len = len },
    };
}

void iov_init_external(IoVec *v, struct iovec *iov, int niov)
{
    *v = (IoVec) { .iov = iov, .niov = niov };
    for (int i = 0; i < niov; i++) {
        v->len += iov[i].iov_len;
    }
}

void iov_init(IoVec *v, int capacity_hint)
{
    *v = (IoVec) { .iov = &v->one, .capacity = 1 };
    if (capacity_hint > 1) {
        v->capacity = capacity_hint;
        v->iov = g_new(struct iovec, capacity_hint);
    }
}

static void iov_grow(IoVec *v)
{
    int capacity = MAX(8, v->capacity * 2);

    if (v->iov == &v->one) {
        v->iov = g_new(struct iovec, capacity);
        v->iov[0] = v->one;
    } else {
        v->iov = g_renew(struct iovec, v->iov, capacity);
    }
    v->capacity = capacity;
}

void iov_add(IoVec *v, void *buf, int64_t len)
{
    g_assert(v->capacity > 0 && len >= 0);
    if (!len) {
        return;
    }
    if (v->niov == v->capacity) {
        iov_grow(v);
    }
    v->iov[v->niov++] = (struct iovec) { .iov_base = buf, .iov_len = len };
    v->len += len;
}

void iov_concat(IoVec *v, const IoVec *src, int64_t off, int64_t len)
{
    IoWalk w = iov_walk(src, off, len);
    struct iovec piece;

    while (iov_walk_next(&w, &piece)) {
        iov_add(v, piece.iov_base, piece.iov_len);
    }
}

void iov_reset(IoVec *v)
{
    g_assert(v->capacity > 0);
    v->niov = 0;
    v->len = 0;
}

void iov_destroy(IoVec *v)
{
    if (v->capacity && v->iov != &v->one) {
        g_free(v->iov);
    }
    *v = (IoVec) { 0 };
}

int iov_cut_count(const IoVec *v, int64_t off, int64_t len)
{
    IoWalk w = iov_walk(v, off, len);
    struct iovec piece;
    int n = 0;

    while (iov_walk_next(&w, &piece)) {
        n += piece.iov_len > 0;
    }
    return n;
}

int iov_cut(const IoVec *v, int64_t off, int64_t len, struct iovec *out)
{
    IoWalk w = iov_walk(v, off, len);
    struct iovec piece;
    int n = 0;

    while (iov_walk_next(&w, &piece)) {
        if (piece.iov_len) {
            out[n++] = piece;
        }
    }
    return n;
}

void iov_from_buf(const IoVec *v, int64_t off, const void *buf, int64_t len)
{
    IoWalk w = iov_walk(v, off, len);
    const char *from = buf;
    struct iovec piece;

    while (iov_walk_next(&w, &piece)) {
        memcpy(piece.iov_base, from, piece.iov_len);
        from += piece.iov_len;
    }
}

void iov_to_buf(const IoVec *v, int64_t off, void *buf, int64_t len)
{
    IoWalk w = iov_walk(v, off, len);
    struct iovec piece;
    char *to = buf;

    while (iov_walk_next(&w, &piece)) {
        memcpy(to, piece.iov_base, piece.iov_len);
        to += piece.iov_len;
    }
}

void iov_memset(const IoVec *v, int64_t off, int byte, int64_t len)
{
    IoWalk w = iov_walk(v, off, len);
    struct iovec piece;

    while (iov_walk_next(&w, &piece)) {
        memset(piece.iov_base, byte, piece.iov_len);
    }
}

bool iov_is_zero(const IoVec *v, int64_t off, int64_t len)
{
    IoWalk w = iov_walk(v, off, len);
    struct iovec piece;

    while (iov_walk_next(&w, &piece)) {
        if (!buffer_is_zero(piece.iov_base, piece.iov_len)) {
            return false;
        }
    }
    return true;
}

bool iov_is_aligned(const IoVec *v, int64_t off, int64_t len, int64_t align)
{
    IoWalk w = iov_walk(v, off, len);
    struct iovec piece;

    while (iov_walk_next(&w, &piece)) {
        if (!IS_ALIGNED((uintptr_t)piece.iov_base, align) ||
            !IS_ALIGNED((int64_t)piece.iov_len, align)) {
            return false;
        }
    }
    return true;
}

int iov_advance(struct iovec **iov, int niov, size_t n)
{
    while (niov && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        niov--;
    }
    if (n) {
        g_assert(niov);
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
    return niov;
}
