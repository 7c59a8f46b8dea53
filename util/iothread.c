/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* A table of named loop threads; see iothread.h. */

#include "util/iothread.h"

struct IOThread {
    char *id;
    LoopThread *thread;
    unsigned users;
};

static GHashTable *iothreads;           /* id -> IOThread */

static void iothread_destroy(void *opaque)
{
    IOThread *t = opaque;

    loop_thread_free(t->thread);
    g_free(t->id);
    g_free(t);
}

IOThread *iothread_new(const char *id, Error **errp)
{
    LoopThread *thread = loop_thread_new(id, errp);
    IOThread *t;

    if (!thread) {
        return NULL;
    }
    if (!iothreads) {
        iothreads = g_hash_table_new_full(g_str_hash, g_str_equal, NULL,
                                          iothread_destroy);
    }
    t = g_new0(IOThread, 1);
    t->id = g_strdup(id);
    t->thread = thread;
    g_hash_table_insert(iothreads, t->id, t);
    return t;
}

bool iothread_delete(IOThread *t, Error **errp)
{
    if (t->users) {
        error_setg(errp, "object '%s' is in use, can not be deleted", t->id);
        return false;
    }
    g_hash_table_remove(iothreads, t->id);
    return true;
}

IOThread *iothread_find(const char *id)
{
    return iothreads ? g_hash_table_lookup(iothreads, id) : NULL;
}

Loop *iothread_loop(const IOThread *t)
{
    return loop_thread_loop(t->thread);
}

pid_t iothread_thread_id(const IOThread *t)
{
    return loop_thread_id(t->thread);
}

static IOThread *iothread_by_loop(const Loop *loop)
{
    GHashTableIter it;
    void *value;

    if (!iothreads) {
        return NULL;
    }
    g_hash_table_iter_init(&it, iothreads);
    while (g_hash_table_iter_next(&it, NULL, &value)) {
        if (iothread_loop(value) == loop) {
            return value;
        }
    }
    return NULL;
}

static void iothread_use_here(void *opaque)
{
    IOThread *t = iothread_by_loop(opaque);

    if (t) {
        t->users++;
    }
}

static void iothread_unuse_here(void *opaque)
{
    IOThread *t = iothread_by_loop(opaque);

    if (t) {
        g_assert(t->users > 0);
        t->users--;
    }
}

static void on_main(LoopFn *fn, Loop *loop)
{
    if (loop_current() == loop_main()) {
        fn(loop);
    } else {
        loop_post(loop_main(), fn, loop);
    }
}

void iothread_use(Loop *loop)
{
    on_main(iothread_use_here, loop);
}

void iothread_unuse(Loop *loop)
{
    on_main(iothread_unuse_here, loop);
}

void iothread_delete_all(void)
{
    g_clear_pointer(&iothreads, g_hash_table_destroy);
}
