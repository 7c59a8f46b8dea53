/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The worker pool: threads for what blocks (name look-ups, and files under the
 * epoll engine) and for what computes (compression, hashes, scans).
 *
 * One pool for the process, with a queue for each kind. A thread is added when a
 * job finds none idle, up to a maximum, and ends when it has been idle for some
 * seconds. What computes has only so many threads at once, two for each CPU: more
 * would drive each other's tables out of the caches, and keep threads from what
 * blocks. A job lies on the stack of the coroutine that waits for it; its end is a
 * remote wake, so jobs that end together ring their loop once.
 *
 * A program that does one thing at a time needs no thread for what is short: to
 * start one and to wait for it takes longer than to open a file, and there is
 * nobody whom a file that hangs could keep waiting.
 *
 * The pool does not survive fork(): programs go into the background first.
 *
 * (The locks are pthread's and not GLib's because the thread sanitizer can't
 * look into those.)
 */
#include "util/worker.h"

#include "util/co-impl.h"

#include <sys/sysinfo.h>
#include <time.h>

#define WORKER_THREADS_MIN 16
#define WORKER_IDLE_SECONDS 10
#define WORKER_COMPUTE_PER_CPU 2

typedef struct WorkerJob {
    struct WorkerJob *next;
    Co *co;
    WorkerFn *fn;
    void *arg;
    int64_t ret;
    bool computes;
} WorkerJob;

typedef struct WorkerQueue {
    WorkerJob *first, *last;
    int length;
} WorkerQueue;

static struct {
    pthread_mutex_t lock;   /* guards everything here */
    pthread_cond_t wake;
    WorkerQueue blocking, computing;
    int threads;
    int idle;
    int computers;          /* threads that compute */
    int max_computers;      /* 0: not known yet */
} pool = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
};

/* Locked. */
static int worker_threads_max(void)
{
    return MAX(WORKER_THREADS_MIN, get_nprocs()) + pool.max_computers;
}

static void queue_add(WorkerQueue *q, WorkerJob *job)
{
    if (q->last) {
        q->last->next = job;
    } else {
        q->first = job;
    }
    q->last = job;
    q->length++;
}

static WorkerJob *queue_take(WorkerQueue *q)
{
    WorkerJob *job = q->first;

    if (job) {
        q->first = job->next;
        q->last = job->next ? q->last : NULL;
        q->length--;
    }
    return job;
}

/* What may be begun, if there are threads. Locked. */
static int worker_ready(void)
{
    return pool.blocking.length +
           MIN(pool.computing.length, pool.max_computers - pool.computers);
}

/* Who @computed goes on with it. Locked. */
static WorkerJob *worker_take(bool computed)
{
    WorkerJob *job = computed ? NULL : queue_take(&pool.blocking);

    if (!job && pool.computers < pool.max_computers) {
        job = queue_take(&pool.computing);
        pool.computers += job != NULL;
    }
    return job ? job : queue_take(&pool.blocking);
}

/* Waits for a job; NULL: none for a long time. Locked. */
static WorkerJob *worker_next_job(bool computed)
{
    struct timespec until;
    int ret = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WORKER_IDLE_SECONDS;
    pool.idle++;
    while (!worker_ready() && ret != ETIMEDOUT) {
        ret = pthread_cond_clockwait(&pool.wake, &pool.lock, CLOCK_MONOTONIC,
                                     &until);
    }
    pool.idle--;
    return worker_take(computed);
}

static void *worker_main(void *arg)
{
    bool computed = false;
    WorkerJob *job;

    pthread_setname_np(pthread_self(), "worker");
    pthread_mutex_lock(&pool.lock);
    while ((job = worker_next_job(computed))) {
        computed = job->computes;
        pthread_mutex_unlock(&pool.lock);
        job->ret = job->fn(job->arg);
        co_wake_remote(job->co);
        pthread_mutex_lock(&pool.lock);
        pool.computers -= computed;
    }
    pool.threads--;
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

/* Locked. False: there is no thread at all and none can be made. */
static bool worker_grow(void)
{
    pthread_t thread;

    if (worker_ready() <= pool.idle || pool.threads >= worker_threads_max()) {
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
    WorkerQueue *queue = job->computes ? &pool.computing : &pool.blocking;
    bool ok = true;
    int ready;

    pthread_mutex_lock(&pool.lock);
    if (!pool.max_computers) {
        pool.max_computers = WORKER_COMPUTE_PER_CPU * get_nprocs();
    }
    ready = worker_ready();
    queue_add(queue, job);
    if (worker_ready() > ready) {
        ok = worker_grow();
        pthread_cond_signal(&pool.wake);
    }
    if (!ok) {
        queue_take(queue);      /* no thread, so there was no other job */
    }
    pthread_mutex_unlock(&pool.lock);
    return ok;
}

static int64_t worker_do(Co *co, WorkerFn *fn, void *arg, bool computes)
{
    WorkerJob job = { .co = co, .fn = fn, .arg = arg, .computes = computes };

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

int64_t worker_run(Co *co, WorkerFn *fn, void *arg)
{
    return worker_do(co, fn, arg, false);
}

int64_t worker_compute(Co *co, WorkerFn *fn, void *arg)
{
    return worker_do(co, fn, arg, true);
}

int64_t worker_run_brief(Co *co, WorkerFn *fn, void *arg)
{
    if (!co->loop->engine->work && loop_is_alone(co->loop)) {
        return fn(arg);
    }
    return worker_run(co, fn, arg);
}
