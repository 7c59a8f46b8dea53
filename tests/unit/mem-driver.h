/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * For unit tests of the request path: a protocol driver over memory that
 * checks what it is handed (alignment, limits), counts, takes its time, and
 * fails on demand. Tests copy mem_driver and take callbacks away.
 */
#ifndef TESTS_UNIT_MEM_DRIVER_H
#define TESTS_UNIT_MEM_DRIVER_H

#include "block/graph.h"
#include "block/io.h"
#include "block/root.h"
#include "co-test.h"

typedef struct MemState {
    uint8_t *data;
    int64_t capacity;
    int64_t latency_ns;         /* of each call, random below it */
    GRand *rand;
    int reads, writes, zeroes, discards, flushes;
    int in_flight, max_in_flight;
    ReqFlags last_flags;
    int64_t last_off, last_len;
    int fail_write, fail_read, fail_flush;      /* -errno, until cleared */
    bool unsupported_zero;
} MemState;

static inline void mem_wait(Co *co, MemState *s)
{
    s->in_flight++;
    s->max_in_flight = MAX(s->max_in_flight, s->in_flight);
    if (s->latency_ns) {
        co_sleep(co, g_rand_int_range(s->rand, 0, s->latency_ns));
    }
    s->in_flight--;
}

static inline void mem_check(Node *node, int64_t off, int64_t len,
                             ReqFlags flags)
{
    MemState *s = node->state;
    const BlockLimits *l = &node->limits;

    g_assert_cmpint(off % l->request_alignment, ==, 0);
    g_assert_cmpint(len % l->request_alignment, ==, 0);
    g_assert_cmpint(len, >, 0);
    g_assert_cmpint(off + len, <=, s->capacity);
    g_assert_cmpint(len, <=, BLOCK_MAX_REQUEST);
    s->last_flags = flags;
    s->last_off = off;
    s->last_len = len;
}

static inline void mem_check_iov(Node *node, int64_t len, const IoVec *iov,
                                 int64_t iov_off)
{
    const BlockLimits *l = &node->limits;

    g_assert_cmpint(iov_off + len, <=, iov->len);
    g_assert_true(!l->max_transfer || len <= l->max_transfer);
    g_assert_true(iov_is_aligned(iov, iov_off, len, l->mem_alignment));
    if (l->max_iov) {
        g_assert_cmpint(iov_cut_count(iov, iov_off, len), <=, l->max_iov);
    }
}

static inline int mem_read(Co *co, Node *node, int64_t off, int64_t len,
                           const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    MemState *s = node->state;

    mem_check(node, off, len, flags);
    mem_check_iov(node, len, iov, iov_off);
    s->reads++;
    mem_wait(co, s);
    if (s->fail_read) {
        return s->fail_read;
    }
    iov_from_buf(iov, iov_off, s->data + off, len);
    return 0;
}

/* The data move in two halves around the wait: what overlaps tears. */
static inline int mem_write(Co *co, Node *node, int64_t off, int64_t len,
                            const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    MemState *s = node->state;

    mem_check(node, off, len, flags);
    mem_check_iov(node, len, iov, iov_off);
    s->writes++;
    if (s->fail_write) {
        mem_wait(co, s);
        return s->fail_write;
    }
    iov_to_buf(iov, iov_off, s->data + off, len / 2);
    mem_wait(co, s);
    iov_to_buf(iov, iov_off + len / 2, s->data + off + len / 2,
               len - len / 2);
    return 0;
}

static inline int mem_zero(Co *co, Node *node, int64_t off, int64_t len,
                           ReqFlags flags)
{
    MemState *s = node->state;
    const BlockLimits *l = &node->limits;

    mem_check(node, off, len, flags);
    g_assert_true(!l->max_zero || len <= l->max_zero);
    if (s->unsupported_zero) {
        return -ENOTSUP;
    }
    s->zeroes++;
    mem_wait(co, s);
    memset(s->data + off, 0, len);
    return s->fail_write;
}

static inline int mem_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    MemState *s = node->state;
    const BlockLimits *l = &node->limits;

    mem_check(node, off, len, 0);
    g_assert_true(!l->max_discard || len <= l->max_discard);
    s->discards++;
    mem_wait(co, s);
    if (l->discard_alignment && (off | len) % l->discard_alignment) {
        return -EINVAL;
    }
    memset(s->data + off, 0, len);
    return 0;
}

static inline int mem_flush(Co *co, Node *node)
{
    MemState *s = node->state;

    s->flushes++;
    mem_wait(co, s);
    return s->fail_flush;
}

static inline bool mem_resize(Co *co, Node *node, int64_t length, bool exact,
                              PreallocMode prealloc, ReqFlags flags,
                              Error **errp)
{
    MemState *s = node->state;

    g_assert_cmpint(length, <=, s->capacity);
    node->length = length;
    return true;
}

static inline void mem_close(Co *co, Node *node)
{
    MemState *s = node->state;

    g_assert_cmpint(s->in_flight, ==, 0);
    g_free(s->data);
    g_rand_free(s->rand);
}

static const BlockDriver mem_driver = {
    .name = "mem",
    .kind = DRIVER_PROTOCOL,
    .state_size = sizeof(MemState),
    .close = mem_close,
    .read = mem_read,
    .write = mem_write,
    .zero = mem_zero,
    .discard = mem_discard,
    .flush = mem_flush,
    .resize = mem_resize,
};

/* An open node of @drv (mem_driver or a copy). Control lock. */
static inline Node *mem_node(const BlockDriver *drv, const char *name,
                             int64_t length, int64_t align)
{
    Node *node = node_new(drv, name, &error_abort);
    MemState *s = node->state;

    node->opened = true;
    node->flags = OPEN_RDWR | OPEN_UNMAP;
    node->length = length;
    node->limits.request_alignment = align;
    s->capacity = length + 64 * KiB;
    s->data = g_malloc0(s->capacity);
    s->rand = g_rand_new_with_seed(g_test_rand_int());
    return node;
}

/* A file of @length bytes, a copy of @data, that may grow to @capacity; formats
 * can be opened over it. Control lock. */
static inline Node *mem_file(const BlockDriver *drv, const void *data,
                             int64_t length, int64_t capacity, uint32_t seed)
{
    Node *node = node_new(drv, "mem", &error_abort);
    MemState *s = node->state;

    node->opened = true;
    node->flags = OPEN_RDWR | OPEN_UNMAP;
    node->options = g_new0(BlockdevOptions, 1);
    node->options->driver = BLOCKDEV_DRIVER_NULL_CO;
    node->length = length;
    node->limits.request_alignment = 1;
    s->capacity = capacity;
    s->data = g_malloc0(capacity);
    memcpy(s->data, data, length);
    s->rand = g_rand_new_with_seed(seed);
    return node;
}

static const RootOps mem_root_ops = { .kind = "test" };

static inline Root *mem_root(Co *co, Node *node, uint64_t perm)
{
    return root_open(co, node, "", &mem_root_ops, NULL, perm, PERM_ALL,
                     &error_abort);
}

/* Runs @fn with the control lock held. */
typedef struct MemTest {
    CoFn *fn;
} MemTest;

static inline void mem_test_main(Co *co, void *arg)
{
    MemTest *t = arg;

    control_lock(co);
    t->fn(co, NULL);
    control_unlock(co);
}

static inline void mem_test_run(CoFn *fn)
{
    MemTest t = { fn };

    co_test_run(mem_test_main, &t);
}

/* Waits until all of @n coroutines have said done. */
typedef struct MemCrowd {
    Co *waiter;
    int left;
} MemCrowd;

static inline void mem_crowd_done(MemCrowd *c)
{
    if (--c->left == 0 && c->waiter) {
        co_wake(c->waiter);
    }
}

static inline void mem_crowd_wait(Co *co, MemCrowd *c)
{
    if (c->left > 0) {
        c->waiter = co;
        co_suspend(co);
        c->waiter = NULL;
    }
}

/* For chains of layers: a format that may have a backing image, and a filter. */
static inline void mem_layer_drivers(BlockDriver *layer, BlockDriver *filter)
{
    *layer = mem_driver;
    layer->kind = DRIVER_FORMAT;
    layer->supports_backing = true;
    *filter = mem_driver;
    filter->kind = DRIVER_FILTER;
}

#endif
