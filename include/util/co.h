/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Stackful coroutines.
 *
 * A coroutine belongs to one loop at a time and runs only from that loop's
 * dispatch: nothing runs nested inside another coroutine, and a coroutine that
 * does not suspend is atomic to its loop. Whatever may suspend takes `Co *co`
 * first; code without one never suspends.
 *
 * Between co_suspend() and the matching co_wake() there is exactly one of
 * each: there are no spurious wakes. Who suspends records itself where the
 * waker finds it (a queue, a request).
 *
 * Stacks come from a pool and end in a guard page. Sanitizers and valgrind
 * are told of every switch.
 */
#ifndef UTIL_CO_H
#define UTIL_CO_H

#include "util/osdep.h"

typedef struct Co Co;
typedef struct Loop Loop;

typedef void CoFn(Co *co, void *arg);

/* Makes a coroutine ready on @loop. Called on @loop's thread. Freed by itself
 * when @fn returns. */
Co *co_spawn(Loop *loop, CoFn *fn, void *arg);

/* From any thread; the coroutine begins on @loop's next turn. */
void co_spawn_remote(Loop *loop, CoFn *fn, void *arg);

/* Suspends until co_wake(). */
void co_suspend(Co *co);

/* Makes a suspended coroutine of the calling thread's loop ready. It runs
 * after the caller suspends, in the order of the wakes. */
void co_wake(Co *co);

/* co_wake() from any thread; one wake for one suspend, whatever comes first.
 * From the moment that another thread may call it until the coroutine is
 * back, the coroutine must not wait for anything else but I/O, and not move. */
void co_wake_remote(Co *co);

/* Lets all that is ready now run first. */
void co_yield(Co *co);

/* How often it has been suspended, but for co_yield(): the difference tells
 * whether what was done meanwhile had to wait for anything. Wraps around. */
unsigned co_waits(const Co *co);

/* Walks to another loop's thread; returns there. The only way between
 * threads. No-op if it is there already. Suspends. */
void co_move(Co *co, Loop *loop);

Loop *co_loop(const Co *co);

/* A coroutine in the background runs when no other of its loop is ready, and a
 * little in each of the loop's turns. What it spawns is so, too. */
void co_set_background(Co *co, bool background);
bool co_is_background(const Co *co);

/* Suspends for @ns nanoseconds. */
void co_sleep(Co *co, int64_t ns);

/* A sleep that co_sleep_wake() ends early: for rate limits and job pauses.
 * Zero-initialised; one sleeper at a time. True if the time has run out. */
typedef struct CoSleep {
    Co *co;
    struct LoopTimer *timer;
} CoSleep;
bool co_sleep_ns(Co *co, CoSleep *sleep, int64_t ns);
void co_sleep_wake(CoSleep *sleep);     /* no-op if nobody sleeps */

/* ---- util/co-lock.c: waiting for each other, inside one loop ---- */

typedef struct CoWaiter CoWaiter;

/* First come, first served. Zero-initialised. */
typedef struct CoQueue {
    CoWaiter *first, *last;
} CoQueue;
void co_queue_wait(Co *co, CoQueue *q);
bool co_queue_wake_one(CoQueue *q);     /* false if nobody waits */
void co_queue_wake_all(CoQueue *q);
bool co_queue_empty(const CoQueue *q);

/* Fair; not recursive. Zero-initialised. */
typedef struct CoMutex {
    bool locked;
    CoQueue waiters;
} CoMutex;
void co_mutex_lock(Co *co, CoMutex *m);
void co_mutex_unlock(CoMutex *m);

/* Many readers or one writer; a waiting writer goes before later readers. */
typedef struct CoRwLock {
    int readers;
    bool writer;
    CoQueue waiters;
} CoRwLock;
void co_rwlock_rdlock(Co *co, CoRwLock *l);
void co_rwlock_wrlock(Co *co, CoRwLock *l);
void co_rwlock_unlock(CoRwLock *l);

/* ---- util/co-group.c: a bounded fan-out whose end one can wait for ---- */

/*
 * Runs at most @max members at once. The result of a member is an errno: the
 * first negative one is kept. Lives on the stack of its owner, who waits for
 * all members before it ends.
 */
typedef struct CoGroup {
    Loop *loop;
    int max;
    int running;
    int ret;
    int wake_at;            /* wake the owner when running has come down here */
    Co *waiting;
} CoGroup;
typedef int CoGroupFn(Co *co, void *arg);
void co_group_init(CoGroup *g, Loop *loop, int max);
/* Suspends while @max members run. */
void co_group_start(Co *co, CoGroup *g, CoGroupFn *fn, void *arg);
/* Waits for all; returns the first error or 0, and forgets it. */
int co_group_wait(Co *co, CoGroup *g);

#endif
