/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * An event loop: one thread, its ready coroutines, timers, and I/O.
 *
 * Two engines do the same: io_uring (files, sockets, timers in one ring, one
 * io_uring_enter an iteration) and epoll with the worker pool for files, used
 * where io_uring is refused. The environment variable BLOCK_LOOP=io_uring or
 * epoll forces one.
 *
 * loop_run() stands in main() and in the thread entry of loop-thread.c and
 * nowhere else: waiting is suspending.
 */
#ifndef UTIL_LOOP_H
#define UTIL_LOOP_H

#include "util/co.h"
#include "util/error.h"

struct msghdr;

typedef void LoopFn(void *arg);

/* A loop for the thread that will run it. NULL if the kernel refuses. */
Loop *loop_new(const char *name, Error **errp);
/* Nothing may be under way on it. */
void loop_free(Loop *loop);

/* Binds @loop to the calling thread for its life and runs until loop_stop().
 * Before the first run its creator may spawn and set timers. */
void loop_run(Loop *loop);
/* From any thread. Ready coroutines that are left run in the next loop_run. */
void loop_stop(Loop *loop);

/* The loop of main(): created by loop_init_main(), for the process's life.
 * After fork(), if the program puts itself into the background: neither rings
 * nor threads survive it. */
bool loop_init_main(Error **errp);
Loop *loop_main(void);
/* The loop that runs in this thread, NULL outside of one. */
Loop *loop_current(void);
/* "io_uring" or "epoll". */
const char *loop_engine(const Loop *loop);
const char *loop_name(const Loop *loop);

/* Owned-by-this-loop assertion; always on. */
#define loop_assert(loop) g_assert(loop_current() == (loop))

/* Runs @fn(@arg) on @loop's thread, from any thread; the single entry. */
void loop_post(Loop *loop, LoopFn *fn, void *arg);

/* ---- timers: CLOCK_MONOTONIC nanoseconds, fired on the loop ---- */

typedef struct LoopTimer LoopTimer;
LoopTimer *loop_timer_new(Loop *loop, LoopFn *fn, void *arg);
void loop_timer_set(LoopTimer *t, int64_t deadline_ns);  /* moves it if set */
void loop_timer_cancel(LoopTimer *t);
void loop_timer_free(LoopTimer *t);                       /* cancels; NULL ok */

/* ---- I/O: on co_loop(co); each suspends ---- */

/* Byte counts or -errno, never -EINTR or -EAGAIN; short reads and writes are the
 * caller's to go on. */
ssize_t co_preadv(Co *co, int fd, const struct iovec *iov, int niov,
                  int64_t off);
/* @flags: RWF_DSYNC or 0. */
ssize_t co_pwritev(Co *co, int fd, const struct iovec *iov, int niov,
                   int64_t off, int flags);
int co_fdatasync(Co *co, int fd);
/*
 * The same on the spot, without suspending, for bytes that need no device. If
 * @memory all of the file lies in memory; else the kernel is told not to wait.
 * -EAGAIN: use the form above, as it would have to, or as the request is big,
 * or as such work has had its share of the loop's turn. -EOPNOTSUPP: this file
 * can't do it.
 */
ssize_t co_preadv_now(Co *co, int fd, const struct iovec *iov, int niov,
                      int64_t off, int64_t len, bool memory);
ssize_t co_pwritev_now(Co *co, int fd, const struct iovec *iov, int niov,
                       int64_t off, int64_t len, int flags, bool memory);
/* FALLOC_FL_* */
int co_fallocate(Co *co, int fd, int mode, int64_t off, int64_t len);

/* Sockets must be non-blocking. -ECANCELED after co_io_cancel. */
ssize_t co_recv(Co *co, int fd, void *buf, size_t len);
ssize_t co_recvmsg(Co *co, int fd, struct msghdr *msg, int flags);
ssize_t co_sendmsg(Co *co, int fd, const struct msghdr *msg, int flags);
int co_accept(Co *co, int fd);                 /* CLOEXEC, non-blocking fd */
int co_connect(Co *co, int fd, const void *addr, unsigned addrlen);
/* @events: POLLIN, POLLOUT; returns revents or -errno. */
int co_poll(Co *co, int fd, int events);

/* Ends the socket, poll or accept operation that @co waits in with -ECANCELED,
 * if it waits in one; same loop only. */
void co_io_cancel(Co *co);

/* ---- util/loop-thread.c: a loop with a thread of its own ---- */

typedef struct LoopThread LoopThread;
LoopThread *loop_thread_new(const char *name, Error **errp);
Loop *loop_thread_loop(LoopThread *t);
pid_t loop_thread_id(LoopThread *t);
/* Stops and joins. Nothing may live on it any more. */
void loop_thread_free(LoopThread *t);

/* ---- util/worker.c: blocking calls and CPU work on private buffers ---- */

typedef int64_t WorkerFn(void *arg);
/* Runs @fn in a pool thread and returns its result. Suspends. */
int64_t worker_run(Co *co, WorkerFn *fn, void *arg);
/* The same for what computes: about as many of these run at once as there are
 * CPUs, the others wait, in order. */
int64_t worker_compute(Co *co, WorkerFn *fn, void *arg);

#endif
