/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * A thread whose only content is a loop: what an iothread object is made of.
 *
 * Signals belong to the main thread (signals.c): all others start with every
 * signal blocked, by loop_thread_start().
 */
#include "util/loop-impl.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>

struct LoopThread {
    Loop *loop;
    pthread_t thread;
    pid_t tid;
    sem_t started;          /* posted when the thread has set tid */
};

int loop_thread_start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
    sigset_t all, old;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(thread, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return ret;
}

static void *loop_thread_main(void *arg)
{
    LoopThread *t = arg;
    char name[16];          /* the kernel's limit */

    g_strlcpy(name, loop_name(t->loop), sizeof(name));
    pthread_setname_np(pthread_self(), name);
    t->tid = syscall(SYS_gettid);
    sem_post(&t->started);
    loop_run(t->loop);
    return NULL;
}

LoopThread *loop_thread_new(const char *name, Error **errp)
{
    Loop *loop = loop_new(name, errp);
    LoopThread *t;
    int ret;

    if (!loop) {
        return NULL;
    }
    t = g_new0(LoopThread, 1);
    t->loop = loop;
    sem_init(&t->started, 0, 0);
    ret = loop_thread_start(&t->thread, loop_thread_main, t);
    if (ret) {
        error_setg_errno(errp, ret, "Failed to create thread '%s'", name);
        loop_free(loop);
        sem_destroy(&t->started);
        g_free(t);
        return NULL;
    }
    while (sem_wait(&t->started) < 0) {
        /* EINTR */
    }
    return t;
}

Loop *loop_thread_loop(LoopThread *t)
{
    return t->loop;
}

pid_t loop_thread_id(LoopThread *t)
{
    return t->tid;
}

void loop_thread_free(LoopThread *t)
{
    if (!t) {
        return;
    }
    loop_stop(t->loop);
    pthread_join(t->thread, NULL);
    loop_free(t->loop);
    sem_destroy(&t->started);
    g_free(t);
}
