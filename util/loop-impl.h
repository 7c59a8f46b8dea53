/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The inside of a loop, for the files of the runtime only: its lists, the
 * post queue, and what an engine must be able to do.
 */
#ifndef UTIL_LOOP_IMPL_H
#define UTIL_LOOP_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "util/loop-poll.h"

#ifdef CONFIG_CO_UCONTEXT
#include <ucontext.h>
typedef struct CoContext {
    ucontext_t uc;
    void (*fn)(void *);
    void *arg;
} CoContext;
#else
typedef struct CoContext {
    void *sp;
} CoContext;
#endif

/* A message to a loop's thread; lies in whatever the message is about. */
typedef struct LoopPost {
    struct LoopPost *next;
    void (*fn)(struct LoopPost *post);
} LoopPost;

/* An I/O operation, on the stack of the coroutine that waits for it. */
typedef struct LoopOp {
    Co *co;                 /* NULL: the engine's own */
    struct LoopOp *next;    /* epoll: the next one that waits on this fd */
    int fd;
    int events;
    int res;
    bool cancellable;
    bool done;
} LoopOp;

typedef struct CoList {
    Co *first, *last;
} CoList;

struct LoopTimer {
    Loop *loop;
    LoopFn *fn;
    void *arg;
    int64_t deadline;
    uint64_t seq;           /* order among equal deadlines */
    unsigned pos;           /* its place in the heap, from 1; 0: not set */
};

typedef struct LoopEngine {
    const char *name;
    /* In any thread. False: the kernel refuses. */
    bool (*init)(Loop *loop, Error **errp);
    void (*free)(Loop *loop);
    /* In the loop's thread, at the start and the end of loop_run(); may be
     * NULL. */
    void (*start)(Loop *loop);
    void (*stop)(Loop *loop);
    /*
     * One iteration: submits what is prepared, waits at most @timeout ns (-1:
     * without limit, 0: not at all) for a completion or a wake-up, and hands
     * all completions to co_op_done().
     */
    void (*turn)(Loop *loop, int64_t timeout);
    /* Submits what is prepared and looks whether something has come, without a
     * call if nothing is prepared. NULL: it can't. */
    bool (*peek)(Loop *loop);

    ssize_t (*preadv)(Co *co, int fd, const struct iovec *iov, int niov,
                      int64_t off);
    ssize_t (*pwritev)(Co *co, int fd, const struct iovec *iov, int niov,
                       int64_t off, int flags);
    int (*fdatasync)(Co *co, int fd);
    int (*fallocate)(Co *co, int fd, int mode, int64_t off, int64_t len);
    int (*poll)(Co *co, int fd, int events);
    /* NULL: a non-blocking attempt, then poll. */
    ssize_t (*recv)(Co *co, int fd, void *buf, size_t len);
    /* @op is under way and cancellable; it ends soon, perhaps at once. */
    void (*cancel)(Loop *loop, LoopOp *op);
    /* Takes one of the ready coroutines off @list, which is not empty. NULL:
     * the first. With it, nothing is done on the spot. */
    Co *(*pick)(Loop *loop, CoList *list);
    /* Instead of a worker thread; NULL: the pool. */
    int64_t (*work)(Co *co, WorkerFn *fn, void *arg);
} LoopEngine;

extern const LoopEngine loop_uring, loop_epoll;
/* For tests: the engine of all loops made from now on; NULL: as usual. */
extern const LoopEngine *loop_engine_simulated;

/* See loop-poll.c. */
typedef struct LoopPoll {
    LoopPolling set;
    int64_t ns;             /* how long it looks now */
    int64_t began;          /* this wait; 0: it teaches nothing */
    unsigned skip;          /* so many waits without a look */
    unsigned penalty;       /* what the next look in vain will cost, halved */
} LoopPoll;

struct Loop {
    const LoopEngine *engine;
    void *engine_state;
    char *name;
    int event_fd;           /* readable: somebody has posted while we slept */

    /* Owned by the loop's thread (by its creator before the first run). */
    pthread_t thread;
    bool bound;             /* thread is set */
    bool running;
    bool stopping;
    Co *current;
    CoList ready, background;   /* those that wait to run */
    LoopPost *post_first, *post_last;
    GPtrArray *timers;      /* a heap; see loop-timer.c */
    uint64_t timer_seq;
    int live;               /* coroutines that belong here */
    LoopPoll poll;
    int64_t now_bytes;      /* done on the spot in this turn; see loop-io.c */
    Co *pool;               /* coroutines to use again */
    int npool;
    CoContext ctx;          /* the scheduler, while a coroutine runs */
    void *fake_stack;
    void *tsan_fiber;

    /* Shared; see "the post queue" in loop.c. */
    _Atomic(LoopPost *) posted __attribute__((aligned(64)));
    atomic_int posting;
};

/* How much may be done on the spot in a turn, in bytes: at all, and until there
 * is no more for the background. */
#define LOOP_NOW_BYTES MiB
#define LOOP_NOW_BACKGROUND (256 * KiB)

/* Whether the calling thread may touch @loop's own data. */
bool loop_is_mine(const Loop *loop);
/* loop_post() without allocation; @post must not be on the way already. */
void loop_post_node(Loop *loop, LoopPost *post);
/* Whether the running coroutine is all there is on the main loop: no other, and
 * no post. So it is in programs that do one thing; what timers they have keep
 * house. */
bool loop_is_alone(const Loop *loop);
/* Appends to its ready list. */
void loop_ready(Loop *loop, Co *co);

/* ---- util/loop-timer.c ---- */

void loop_timer_init(LoopTimer *t, Loop *loop, LoopFn *fn, void *arg);
/* The earliest deadline, -1 if no timer is set. */
int64_t loop_timer_next(const Loop *loop);
/* Fires what is due. */
void loop_timer_run(Loop *loop);

/* ---- util/loop-poll.c ---- */

/* Looks for events for a while, if that promises to pay, but not so long that a
 * timer of @deadline (-1: none) would be late. True: there are some. */
bool loop_poll(Loop *loop, int64_t deadline);
/* After it was false, and the engine has waited. */
void loop_poll_slept(Loop *loop);

/* A thread in which no signal is delivered; 0 or an errno. */
int loop_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg);

#endif
