/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The worker pool: threads for what blocks (name look-ups, and files under the
 * epoll engine) and for what computes (compression, hashes, scans).
 *
 * One queue for the process. A thread is added when a job finds none idle, up
 * to a maximum, and ends when it has been idle for some seconds. A job lies on
 * the stack of the coroutine that waits for it; its end is a remote wake, so
 * jobs that end together ring their loop once.
 *
 * The pool does not survive fork(): programs go into the background first.
 *
 * (The locks are pthread's and not GLib's because the thread sanitizer can't
 * look into those.)
 */
#include "util/co-impl.h"

#include <sys/sysinfo.h>
#include <time.h>

#define WORKER_THREADS_MIN 16
#define WORKER_IDLE_SECONDS 10

typedef struct WorkerJob {
    struct WorkerJob *next;
    Co *co;
    WorkerFn *fn;
    void *arg;
    int64_t ret;
} WorkerJob;

static struct {
    pthread_mutex_t lock;   /* guards everything here */
    pthread_cond_t wake;
    WorkerJob *first, *last;
    int queued;
    int threads;
    int idle;
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
};

static int worker_threads_max(void)
{
    return MAX(WORKER_THREADS_MIN, get_nprocs());
}

/* Waits for a job; NULL: none for a long time. Locked. */
static WorkerJob *worker_next_job(void)
{
    struct timespec until;
    WorkerJob *job;
    int ret = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WORKER_IDLE_SECONDS;
    pool.idle++;
    while (!pool.first && ret != ETIMEDOUT) {
        ret = pthread_cond_clockwait(&pool.wake, &pool.lock, CLOCK_MONOTONIC,
                                     &until);
    }
    pool.idle--;
    job = pool.first;
    if (job) {
        pool.first = job->next;
        pool.last = job->next ? pool.last : NULL;
        pool.queued--;
    }
    return job;
}

static void *worker_main(void *arg)
{
    WorkerJob *job;

    pthread_setname_np(pthread_self(), "worker");
    pthread_mutex_lock(&pool.lock);
    while ((job = worker_next_job())) {
        pthread_mutex_unlock(&pool.lock);
        job->ret = job->fn(job->arg);
        co_wake_remote(job->co);
        pthread_mutex_lock(&pool.lock);
    }
    pool.threads--;
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* Locked. False: there is no thread at all and none can be made. */
static bool worker_grow(void)
{
    pthread_t thread;

    if (pool.queued <= pool.idle || pool.threads >= worker_threads_max()) {
        return true;
    }
    if (loop_thread_start(&thread, worker_main, NULL) != 0) {
        return pool.threads > 0;
    }
    pthread_detach(thread);
    pool.threads++;
    return true;
}

static bool worker_submit(WorkerJob *job)
{
    bool ok;

    pthread_mutex_lock(&pool.lock);
    pool.queued++;
    ok = worker_grow();
    if (!ok) {
        pool.queued--;
    } else {
        if (pool.last) {
            pool.last->next = job;
        } else {
            pool.first = job;
        }
        pool.last = job;
        pthread_cond_signal(&pool.wake);
    }
    pthread_mutex_unlock(&pool.lock);
    return ok;
}

int64_t worker_run(Co *co, WorkerFn *fn, void *arg)
{
    WorkerJob job = { .co = co, .fn = fn, .arg = arg };

    if (co->loop->engine->work) {
        return co->loop->engine->work(co, fn, arg);
    }
    if (!worker_submit(&job)) {
        /* No thread to be had: late is better than never. */
        return fn(arg);
    }
    co_suspend(co);
    return job.ret;
}
