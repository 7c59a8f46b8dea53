/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Coroutines of one loop that wait for each other: a queue, a mutex, a lock
 * for many readers or one writer.
 *
 * A CoWaiter lies on the stack of the coroutine that waits. Locks are handed
 * over: who unlocks makes the next in the queue the owner before it is woken,
 * so nobody can slip in between and nobody asks twice.
 */
#include "util/co.h"

struct CoWaiter {
    Co *co;
    CoWaiter *next;
    bool writer;            /* CoRwLock */
};

static void co_queue_push(CoQueue *q, CoWaiter *w)
{
    w->next = NULL;
    if (q->last) {
        q->last->next = w;
    } else {
        q->first = w;
    }
    q->last = w;
}

/* The waiter's stack must not be touched once its coroutine is woken; so this
 * gives the coroutine. */
static Co *co_queue_pop(CoQueue *q)
{
    CoWaiter *w = q->first;

    if (!w) {
        return NULL;
    }
    q->first = w->next;
    if (!q->first) {
        q->last = NULL;
    }
    return w->co;
}

void co_queue_wait(Co *co, CoQueue *q)
{
    CoWaiter w = { .co = co };

    co_queue_push(q, &w);
    co_suspend(co);
}

bool co_queue_wake_one(CoQueue *q)
{
    Co *co = co_queue_pop(q);

    if (co) {
        co_wake(co);
    }
    return co;
}

void co_queue_wake_all(CoQueue *q)
{
    /* The woken run later: whoever waits again is not met here. */
    while (co_queue_wake_one(q)) {
    }
}

bool co_queue_empty(const CoQueue *q)
{
    return !q->first;
}

void co_mutex_lock(Co *co, CoMutex *m)
{
    if (m->locked) {
        co_queue_wait(co, &m->waiters);
        return;
    }
    m->locked = true;
}

void co_mutex_unlock(CoMutex *m)
{
    g_assert(m->locked);
    if (!co_queue_wake_one(&m->waiters)) {
        m->locked = false;
    }
}

static void co_rwlock_wait(Co *co, CoRwLock *l, bool writer)
{
    CoWaiter w = { .co = co, .writer = writer };

    co_queue_push(&l->waiters, &w);
    co_suspend(co);
}

void co_rwlock_rdlock(Co *co, CoRwLock *l)
{
    if (l->writer || l->waiters.first) {
        co_rwlock_wait(co, l, false);
        return;
    }
    l->readers++;
}

void co_rwlock_wrlock(Co *co, CoRwLock *l)
{
    if (l->writer || l->readers) {
        co_rwlock_wait(co, l, true);
        return;
    }
    l->writer = true;
}

void co_rwlock_unlock(CoRwLock *l)
{
    g_assert(l->writer || l->readers);
    if (l->writer) {
        l->writer = false;
    } else {
        l->readers--;
    }
    if (!l->readers && l->waiters.first && l->waiters.first->writer) {
        l->writer = true;
        co_queue_wake_one(&l->waiters);
        return;
    }
    while (l->waiters.first && !l->waiters.first->writer) {
        l->readers++;
        co_queue_wake_one(&l->waiters);
    }
}
