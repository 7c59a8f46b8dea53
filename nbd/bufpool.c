/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Payload buffers of one connection. Sizes are rounded up to a power of two;
 * each class up to 1 MiB keeps a few free buffers, so that a steady load
 * allocates nothing. Larger ones come and go, and all together keep no more than
 * KEEP_ALL; beyond the connection's own memory only what the server can spare.
 * One loop.
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
    Budget *memory;             /* the server's */
};

/* How much of @kept is the server's. */
static size_t charged(size_t kept)
{
    return kept > NBD_OWN_MEMORY ? kept - NBD_OWN_MEMORY : 0;
}

static bool keep_more(NbdBufPool *pool, size_t size)
{
    if (pool->kept + size > KEEP_ALL ||
        !budget_take_spare(pool->memory, charged(pool->kept + size) -
                                         charged(pool->kept))) {
        return false;
    }
    pool->kept += size;
    return true;
}

static void keep_less(NbdBufPool *pool, size_t size)
{
    budget_give(pool->memory, charged(pool->kept) -
                              charged(pool->kept - size));
    pool->kept -= size;
}

static int class_of(size_t len)
{
    int bits = len <= 1 ? 0 : 64 - __builtin_clzll(len - 1);

    return MAX(bits, CLASS_MIN_BITS) - CLASS_MIN_BITS;
}

static size_t class_size(int class)
{
    return (size_t)1 << (class + CLASS_MIN_BITS);
}

size_t nbd_bufpool_room(size_t len)
{
    int class = class_of(len);

    return len == 0 ? 0 : class < CLASSES ? class_size(class) : len;
}

NbdBufPool *nbd_bufpool_new(Budget *memory)
{
    NbdBufPool *pool = g_new0(NbdBufPool, 1);

    pool->memory = memory;
    return pool;
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
    keep_less(pool, pool->kept);
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
        return aligned_try_alloc_io(BUF_ALIGN, class_size(class));
    }
    pool->first[class] = buf->next;
    pool->count[class]--;
    keep_less(pool, class_size(class));
    return buf;
}

void nbd_bufpool_put(NbdBufPool *pool, void *data, size_t len)
{
    int class = class_of(len);
    FreeBuf *buf = data;

    if (!buf) {
        return;
    }
    if (class >= CLASSES ||
        pool->count[class] >= KEEP_BYTES / class_size(class) ||
        !keep_more(pool, class_size(class))) {
        aligned_free(buf);
        return;
    }
    buf->next = pool->first[class];
    pool->first[class] = buf;
    pool->count[class]++;
}
