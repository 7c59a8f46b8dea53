/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Payload buffers of one connection. Sizes are rounded up to a power of two;
 * each class up to 1 MiB keeps a few free buffers, so that a steady load
 * allocates nothing. Larger ones come and go, and all together keep no more than
 * KEEP_ALL. One loop.
 */

#include "nbd/server-internal.h"

#define CLASS_MIN_BITS 12           /* 4 KiB */
#define CLASS_MAX_BITS 20           /* 1 MiB */
#define CLASSES (CLASS_MAX_BITS - CLASS_MIN_BITS + 1)
#define KEEP_BYTES (1u << 21)       /* of one class */
#define KEEP_ALL (1u << 22)
#define BUF_ALIGN 4096

typedef struct FreeBuf {
    struct FreeBuf *next;
} FreeBuf;

struct NbdBufPool {
    FreeBuf *first[CLASSES];
    unsigned count[CLASSES];
    size_t kept;
};

static int class_of(size_t len)
{
    int bits = len <= 1 ? 0 : 64 - __builtin_clzll(len - 1);

    return MAX(bits, CLASS_MIN_BITS) - CLASS_MIN_BITS;
}

NbdBufPool *nbd_bufpool_new(void)
{
    return g_new0(NbdBufPool, 1);
}

void nbd_bufpool_free(NbdBufPool *pool)
{
    if (!pool) {
        return;
    }
    for (int i = 0; i < CLASSES; i++) {
        while (pool->first[i]) {
            FreeBuf *buf = pool->first[i];
            pool->first[i] = buf->next;
            aligned_free(buf);
        }
    }
    g_free(pool);
}

void *nbd_bufpool_get(NbdBufPool *pool, size_t len)
{
    int class = class_of(len);
    FreeBuf *buf;

    if (class >= CLASSES) {
        return aligned_try_alloc_io(BUF_ALIGN, len);
    }
    buf = pool->first[class];
    if (!buf) {
        return aligned_try_alloc_io(BUF_ALIGN,
                                    (size_t)1 << (class + CLASS_MIN_BITS));
    }
    pool->first[class] = buf->next;
    pool->count[class]--;
    pool->kept -= (size_t)1 << (class + CLASS_MIN_BITS);
    return buf;
}

void nbd_bufpool_put(NbdBufPool *pool, void *data, size_t len)
{
    int class = class_of(len);
    size_t size = (size_t)1 << (class + CLASS_MIN_BITS);
    FreeBuf *buf = data;

    if (!buf) {
        return;
    }
    if (class >= CLASSES ||
        pool->count[class] >= KEEP_BYTES / size ||
        pool->kept + size > KEEP_ALL) {
        aligned_free(buf);
        return;
    }
    buf->next = pool->first[class];
    pool->first[class] = buf;
    pool->count[class]++;
    pool->kept += size;
}
