/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The loop: what is common to both engines.
 *
 * One iteration of loop_run():
 *
 *     dispatch    run posts and ready coroutines, until there are none, or
 *                 LOOP_BUDGET of them have run, or they have done much I/O on
 *                 the spot; those of the background where no other is ready,
 *                 but at least one a turn
 *     turn        the engine submits what they have prepared, all at once,
 *                 and waits; not at all if something is still ready, or is
 *                 seen to come (loop-poll.c)
 *     collect     take what other threads have posted; fire timers
 *
 * so that coroutines that wake each other cost no system calls, and a crowd of
 * them can't keep I/O waiting for more than one budget.
 *
 * The post queue. Other threads push onto the stack `posted` with a
 * compare-and-swap; the loop takes the whole stack at once and turns it round.
 * Before the loop waits in the kernel it swaps NULL for the mark LOOP_ASLEEP,
 * which fails if a post is there. Who pushes and finds the mark has to ring
 * (write to event_fd), and replaces the mark by its post: so one ring wakes the
 * loop, later posts see that it is on its way, and posts to a loop that is
 * awake cost no system call at all. A loop may find a ring that it does not
 * need (it woke for something else at the same time): harmless.
 *
 * `posting` counts the threads between their push and their ring: loop_free()
 * waits for them, as the post itself may have been what ends the loop.
 *
 * Posts from the loop's own thread skip all this and go to its local list.
 */
#include "util/co-impl.h"

#include <sched.h>
#include <sys/eventfd.h>

#define LOOP_BUDGET 256

static LoopPost loop_asleep;
#define LOOP_ASLEEP (&loop_asleep)

static __thread Loop *current_loop;
static Loop *main_loop;

/*
 * Not to be inlined: a coroutine that moves runs on in another thread, and the
 * compiler would keep the address of the first one's variable.
 */
__attribute__((noinline)) Loop *loop_current(void)
{
    __asm__ volatile("" ::: "memory");
    return current_loop;
}

const LoopEngine *loop_engine_simulated;

bool loop_is_mine(const Loop *loop)
{
    if (loop->running) {
        return loop_current() == loop;
    }
    return !loop->bound || pthread_equal(loop->thread, pthread_self());
}

bool loop_is_alone(const Loop *loop)
{
    return loop == main_loop && loop->live == 1 && !loop->post_first &&
           !atomic_load_explicit(&loop->posted, memory_order_relaxed);
}

/* ---- creation ---- */

static bool loop_choose_engine(Loop *loop, Error **errp)
{
    const char *force = g_getenv("BLOCK_LOOP");

    if (loop_engine_simulated) {
        loop->engine = loop_engine_simulated;
        return loop->engine->init(loop, errp);
    }
    if (force && !*force) {
        force = NULL;
    }
    if (force && !g_str_equal(force, "io_uring") &&
        !g_str_equal(force, "epoll")) {
        error_setg(errp, "BLOCK_LOOP must be 'io_uring' or 'epoll'");
        return false;
    }
#ifdef CONFIG_IO_URING
    if (!force || g_str_equal(force, "io_uring")) {
        loop->engine = &loop_uring;
        if (loop->engine->init(loop, force ? errp : NULL)) {
            return true;
        }
        if (force) {
            return false;
        }
    }
#else
    if (force && g_str_equal(force, "io_uring")) {
        error_setg(errp, "This build has no io_uring");
        return false;
    }
#endif
    loop->engine = &loop_epoll;
    return loop->engine->init(loop, errp);
}

Loop *loop_new(const char *name, Error **errp)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    void *mem;
    Loop *loop;

    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to create an eventfd");
        return NULL;
    }
    if (posix_memalign(&mem, _Alignof(Loop), sizeof(*loop))) {
        g_error("out of memory");
    }
    loop = memset(mem, 0, sizeof(*loop));
    loop->name = g_strdup(name);
    loop->event_fd = fd;
    loop->timers = g_ptr_array_new();
    loop->poll.set.max_ns = LOOP_POLL_NS;
    if (!loop_choose_engine(loop, errp)) {
        loop->engine = NULL;
        loop_free(loop);
        return NULL;
    }
    return loop;
}

void loop_free(Loop *loop)
{
    if (!loop) {
        return;
    }
    g_assert(!loop->running && !loop->live && !loop->post_first);
    g_assert(!atomic_load(&loop->posted) && !loop->timers->len);
    while (atomic_load(&loop->posting)) {
        sched_yield();
    }
    co_pool_drain(loop);
    if (loop->engine) {
        loop->engine->free(loop);
    }
    g_ptr_array_free(loop->timers, true);
    close(loop->event_fd);
    g_free(loop->name);
    free(loop);
}

bool loop_init_main(Error **errp)
{
    g_assert(!main_loop);
    main_loop = loop_new("main", errp);
    return main_loop;
}

Loop *loop_main(void)
{
    return main_loop;
}

const char *loop_engine(const Loop *loop)
{
    return loop->engine->name;
}

const char *loop_name(const Loop *loop)
{
    return loop->name;
}

/* ---- posts ---- */

static void loop_post_local(Loop *loop, LoopPost *post)
{
    post->next = NULL;
    if (loop->post_last) {
        loop->post_last->next = post;
    } else {
        loop->post_first = post;
    }
    loop->post_last = post;
}

static void loop_ring(Loop *loop)
{
    uint64_t one = 1;

    while (write(loop->event_fd, &one, sizeof(one)) < 0) {
        if (errno != EINTR) {
            g_error("eventfd of loop %s: %s", loop->name, g_strerror(errno));
        }
    }
}

static void loop_post_remote(Loop *loop, LoopPost *post)
{
    LoopPost *old;

    atomic_fetch_add(&loop->posting, 1);
    old = atomic_load_explicit(&loop->posted, memory_order_relaxed);
    do {
        post->next = old == LOOP_ASLEEP ? NULL : old;
    } while (!atomic_compare_exchange_weak(&loop->posted, &old, post));
    if (old == LOOP_ASLEEP) {
        loop_ring(loop);
    }
    atomic_fetch_sub(&loop->posting, 1);
}

void loop_post_node(Loop *loop, LoopPost *post)
{
    if (loop_current() == loop) {
        loop_post_local(loop, post);
    } else {
        loop_post_remote(loop, post);
    }
}

/* Takes what other threads have posted; the loop is awake afterwards. */
static void loop_collect(Loop *loop)
{
    LoopPost *post, *oldest = NULL;

    if (!atomic_load_explicit(&loop->posted, memory_order_relaxed)) {
        return;
    }
    post = atomic_exchange(&loop->posted, NULL);
    if (post == LOOP_ASLEEP) {
        return;
    }
    while (post) {
        LoopPost *next = post->next;

        post->next = oldest;
        oldest = post;
        post = next;
    }
    while (oldest) {
        LoopPost *next = oldest->next;

        loop_post_local(loop, oldest);
        oldest = next;
    }
}

/* False: somebody has posted, there is no time to sleep. */
static bool loop_fall_asleep(Loop *loop)
{
    LoopPost *none = NULL;

    return atomic_compare_exchange_strong(&loop->posted, &none, LOOP_ASLEEP);
}

typedef struct LoopCall {
    LoopPost post;
    LoopFn *fn;
    void *arg;
} LoopCall;

static void loop_call_arrived(LoopPost *post)
{
    g_autofree LoopCall *call = container_of(post, LoopCall, post);

    call->fn(call->arg);
}

void loop_post(Loop *loop, LoopFn *fn, void *arg)
{
    LoopCall *call = g_new(LoopCall, 1);

    *call = (LoopCall){ { NULL, loop_call_arrived }, fn, arg };
    loop_post_node(loop, &call->post);
}

/* ---- the run ---- */

void loop_ready(Loop *loop, Co *co)
{
    CoList *list = co->background ? &loop->background : &loop->ready;

    co->next = NULL;
    if (list->last) {
        list->last->next = co;
    } else {
        list->first = co;
    }
    list->last = co;
}

static LoopPost *loop_next_post(Loop *loop)
{
    LoopPost *post = loop->post_first;

    if (post) {
        loop->post_first = post->next;
        if (!post->next) {
            loop->post_last = NULL;
        }
    }
    return post;
}

static Co *loop_next_co(Loop *loop, CoList *list)
{
    Co *co = list->first;

    if (co && loop->engine->pick) {
        return loop->engine->pick(loop, list);
    }
    if (co) {
        list->first = co->next;
        if (!co->next) {
            list->last = NULL;
        }
    }
    return co;
}

/* One of the background, if the turn has room for it; false if not. */
static bool loop_dispatch_background(Loop *loop, bool first)
{
    Co *co = NULL;

    if (first || loop->now_bytes < LOOP_NOW_BACKGROUND) {
        co = loop_next_co(loop, &loop->background);
    }
    if (co) {
        co_dispatch(loop, co);
    }
    return co;
}

/* Posts and coroutines in turn, so that neither starves the other. */
static void loop_dispatch(Loop *loop)
{
    bool first = true;

    for (int n = 0; n < LOOP_BUDGET && !loop->stopping &&
                    loop->now_bytes < LOOP_NOW_BYTES; n++) {
        LoopPost *post = loop_next_post(loop);
        Co *co = loop_next_co(loop, &loop->ready);

        if (post) {
            post->fn(post);
        }
        if (co) {
            co_dispatch(loop, co);
        }
        if (!post && !co) {
            if (!loop_dispatch_background(loop, first)) {
                break;
            }
            first = false;
        }
    }
    if (first && !loop->stopping) {
        loop_dispatch_background(loop, true);
    }
}

/* How long the engine may wait: -1 without limit. */
static int64_t loop_timeout(Loop *loop)
{
    int64_t left = -1;
    int64_t deadline;

    if (loop->ready.first || loop->background.first || loop->post_first) {
        return 0;
    }
    deadline = loop_timer_next(loop);
    if (loop_poll(loop, deadline)) {
        return 0;
    }
    if (deadline >= 0) {
        /* Not in MAX(), which would look at the clock twice. */
        left = deadline - clock_ns();
        left = MAX(left, 0);
    }
    if (left != 0 && !loop_fall_asleep(loop)) {
        return 0;
    }
    return left;
}

void loop_run(Loop *loop)
{
    g_assert(!loop_current() && !loop->running);
    g_assert(!loop->bound || pthread_equal(loop->thread, pthread_self()));
    loop->thread = pthread_self();
    loop->bound = true;
    loop->running = true;
    loop->stopping = false;
    current_loop = loop;
    if (loop->engine->start) {
        loop->engine->start(loop);
    }

    while (!loop->stopping) {
        loop_dispatch(loop);
        if (!loop->stopping) {
            int64_t timeout = loop_timeout(loop);

            loop->engine->turn(loop, timeout);
            if (timeout) {
                loop_poll_slept(loop);
            }
            loop->now_bytes = 0;
            loop_collect(loop);
            loop_timer_run(loop);
        }
    }

    if (loop->engine->stop) {
        loop->engine->stop(loop);
    }
    current_loop = NULL;
    loop->running = false;
}

static void loop_stop_here(void *arg)
{
    Loop *loop = arg;

    loop->stopping = true;
}

void loop_stop(Loop *loop)
{
    loop_post(loop, loop_stop_here, loop);
}
