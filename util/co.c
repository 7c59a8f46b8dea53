/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Coroutines: their life, their stacks, and how control goes to and fro.
 *
 *             co_spawn            co_dispatch           fn returns
 *     (pool) ----------> READY ----------------> RUNNING ----------> DEAD
 *                        ^   ^                   |  |  |              |
 *                co_wake |   | arrival           |  |  | co_yield     v
 *                        |   +----- MOVING <-----+  |  +--> READY   (pool)
 *                     SUSPENDED <-------------------+
 *
 * Only the scheduler (loop.c, on the thread's own stack) switches to a
 * coroutine and a coroutine only switches back to the scheduler, so there are
 * never two coroutines in each other's frames. What must not happen while a
 * coroutine still stands on its stack (to post it to another thread, to
 * unmap its stack) is done by the scheduler after the switch: see
 * co_dispatch().
 *
 * A coroutine that has ended stands inside co_main() and is used again from
 * there, so a spawn from the pool needs neither a system call nor a new first
 * frame. The pool belongs to the loop. Co lies above its own stack, in the
 * same mapping:
 *
 *     map                                                        map + len
 *     | guard page | stack  ...  <- grows down | Co | colour      |
 *
 * Successive mappings lie at a distance that is a multiple of the page, so
 * that the hot ends of all stacks would compete for the same few sets of the
 * first-level cache: the colour moves them apart.
 *
 * errno and other thread-local data: a compiler may keep the address of a
 * thread-local variable over a call. A function that suspends in co_move()
 * must not look at errno or at a thread-local variable both before and after.
 */
#include "util/co-impl.h"

#include <sys/mman.h>

#ifdef UNDER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#endif
#ifdef UNDER_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef CONFIG_VALGRIND
#include <valgrind/valgrind.h>
#endif

#if defined(UNDER_ASAN) || defined(UNDER_TSAN)
#define CO_STACK_LEN (1024 * KiB)
#else
#define CO_STACK_LEN (256 * KiB)
#endif
#define CO_POOL_MAX 128
#define CO_COLOURS 16
#define CO_COLOUR_LEN 256

/* ---- switching ---- */

/* On the scheduler's stack. */
static void co_enter(Loop *loop, Co *co)
{
#ifdef UNDER_ASAN
    __sanitizer_start_switch_fiber(&loop->fake_stack, co->stack,
                                   co->stack_len);
#endif
#ifdef UNDER_TSAN
    loop->tsan_fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(co->tsan_fiber, 0);
#endif
    co_context_switch(&loop->ctx, &co->ctx);
#ifdef UNDER_ASAN
    __sanitizer_finish_switch_fiber(loop->fake_stack, NULL, NULL);
#endif
}

/* On the coroutine's stack, just entered. */
static void co_entered(Co *co)
{
#ifdef UNDER_ASAN
    __sanitizer_finish_switch_fiber(co->fake_stack, &co->from_stack,
                                    &co->from_len);
#endif
}

/* Back to the scheduler. When it returns, this may be another thread. */
static void co_leave(Co *co, bool for_good)
{
    Loop *loop = co->loop;

#ifdef UNDER_ASAN
    __sanitizer_start_switch_fiber(for_good ? NULL : &co->fake_stack,
                                   co->from_stack, co->from_len);
#endif
#ifdef UNDER_TSAN
    __tsan_switch_to_fiber(loop->tsan_fiber, 0);
#endif
    co_context_switch(&co->ctx, &loop->ctx);
    co_entered(co);
}

static void co_main(void *arg)
{
    Co *co = arg;

    co_entered(co);
    while (co->fn) {
        co->fn(co, co->arg);
        g_assert(!co->wake_pending);
        co->state = CO_DEAD;
        co_leave(co, false);
    }
    co_leave(co, true);
    g_assert_not_reached();
}

/* ---- stacks ---- */

static Co *co_new(void)
{
    static atomic_uint colour;
    size_t page = sysconf(_SC_PAGESIZE);
    size_t skip = atomic_fetch_add_explicit(&colour, 1, memory_order_relaxed)
                  % CO_COLOURS * CO_COLOUR_LEN;
    char *map;
    Co *co;

    map = mmap(NULL, page + CO_STACK_LEN, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) < 0) {
        error_exit(errno, "Cannot map the stack of a coroutine");
    }
#ifdef UNDER_ASAN
    __asan_unpoison_memory_region(map + page, CO_STACK_LEN);
    __lsan_register_root_region(map + page, CO_STACK_LEN);
#endif
    co = (Co *)(map + page + CO_STACK_LEN - skip -
                ROUND_UP(sizeof(Co), CO_COLOUR_LEN));
    co->stack = map + page;
    co->stack_len = (char *)co - (char *)co->stack;
#ifdef UNDER_TSAN
    co->tsan_fiber = __tsan_create_fiber(0);
#endif
#ifdef CONFIG_VALGRIND
    co->valgrind_id = VALGRIND_STACK_REGISTER(co->stack, co);
#endif
    co_context_init(&co->ctx, co->stack, co->stack_len, co_main, co);
    return co;
}

static void co_free(Loop *loop, Co *co)
{
    size_t page = sysconf(_SC_PAGESIZE);
    char *stack = co->stack;

    /* Let it end, so that the tools forget what they keep about it. */
    co->fn = NULL;
    co->loop = loop;
    co_enter(loop, co);
#ifdef UNDER_TSAN
    __tsan_destroy_fiber(co->tsan_fiber);
#endif
#ifdef CONFIG_VALGRIND
    VALGRIND_STACK_DEREGISTER(co->valgrind_id);
#endif
#ifdef UNDER_ASAN
    __lsan_unregister_root_region(stack, CO_STACK_LEN);
    __asan_unpoison_memory_region(stack, CO_STACK_LEN);
#endif
    munmap(stack - page, page + CO_STACK_LEN);
}

static void co_release(Loop *loop, Co *co)
{
    if (loop->npool == CO_POOL_MAX) {
        co_free(loop, co);
        return;
    }
    co->next = loop->pool;
    loop->pool = co;
    loop->npool++;
}

void co_pool_drain(Loop *loop)
{
    while (loop->pool) {
        Co *co = loop->pool;

        loop->pool = co->next;
        loop->npool--;
        co_free(loop, co);
    }
}

/* ---- spawn ---- */

static Co *co_start(Loop *loop, CoFn *fn, void *arg)
{
    Co *co = loop->pool;

    if (co) {
        loop->pool = co->next;
        loop->npool--;
    } else {
        co = co_new();
    }
    co->fn = fn;
    co->arg = arg;
    co->loop = loop;
    co->state = CO_READY;
    co->background = loop->current && loop->current->background;
    loop->live++;
    loop_ready(loop, co);
    return co;
}

Co *co_spawn(Loop *loop, CoFn *fn, void *arg)
{
    g_assert(loop_is_mine(loop));
    return co_start(loop, fn, arg);
}

typedef struct CoSpawn {
    LoopPost post;
    Loop *loop;
    CoFn *fn;
    void *arg;
} CoSpawn;

static void co_spawn_arrived(LoopPost *post)
{
    g_autofree CoSpawn *s = container_of(post, CoSpawn, post);

    co_start(s->loop, s->fn, s->arg);
}

void co_spawn_remote(Loop *loop, CoFn *fn, void *arg)
{
    CoSpawn *s = g_new(CoSpawn, 1);

    *s = (CoSpawn){ { NULL, co_spawn_arrived }, loop, fn, arg };
    loop_post_node(loop, &s->post);
}

/* ---- suspend and wake ---- */

static void co_make_ready(Co *co)
{
    g_assert(co->state == CO_SUSPENDED);
    co->state = CO_READY;
    loop_ready(co->loop, co);
}

void co_suspend(Co *co)
{
    g_assert(co->state == CO_RUNNING && co->loop->current == co);
    if (co->wake_pending) {
        co->wake_pending = false;
        return;
    }
    co->state = CO_SUSPENDED;
    co->waits++;
    co_leave(co, false);
}

unsigned co_waits(const Co *co)
{
    return co->waits;
}

void co_wake(Co *co)
{
    g_assert(loop_is_mine(co->loop) && !co->op);
    co_make_ready(co);
}

static void co_wake_arrived(LoopPost *post)
{
    Co *co = container_of(post, Co, post);

    if (co->state == CO_SUSPENDED && !co->op) {
        co_make_ready(co);
    } else {
        g_assert(!co->wake_pending);
        co->wake_pending = true;
    }
}

void co_wake_remote(Co *co)
{
    co->post.fn = co_wake_arrived;
    loop_post_node(co->loop, &co->post);
}

void co_yield(Co *co)
{
    g_assert(co->state == CO_RUNNING && co->loop->current == co);
    co->state = CO_READY;
    loop_ready(co->loop, co);
    co_leave(co, false);
}

int co_op_wait(Co *co, LoopOp *op)
{
    g_assert(co->state == CO_RUNNING && co->loop->current == co);
    op->co = co;
    co->op = op;
    co->state = CO_SUSPENDED;
    co->waits++;
    co_leave(co, false);
    co->op = NULL;
    return op->res;
}

void co_op_done(LoopOp *op, int res)
{
    g_assert(!op->done);
    op->done = true;
    op->res = res;
    co_make_ready(op->co);
}

void co_io_cancel(Co *co)
{
    LoopOp *op = co->op;

    g_assert(loop_is_mine(co->loop));
    if (op && op->cancellable && !op->done) {
        op->cancellable = false;
        co->loop->engine->cancel(co->loop, op);
    }
}

/* ---- move ---- */

static void co_arrived(LoopPost *post)
{
    Co *co = container_of(post, Co, post);

    co->loop->live++;
    co->state = CO_READY;
    loop_ready(co->loop, co);
}

void co_move(Co *co, Loop *loop)
{
    g_assert(co->state == CO_RUNNING && co->loop->current == co);
    if (co->loop == loop) {
        return;
    }
    co->move_to = loop;
    co->state = CO_MOVING;
    co_leave(co, false);
}

Loop *co_loop(const Co *co)
{
    return co->loop;
}

void co_set_background(Co *co, bool background)
{
    co->background = background;
}

bool co_is_background(const Co *co)
{
    return co->background;
}

void co_dispatch(Loop *loop, Co *co)
{
    g_assert(co->state == CO_READY && co->loop == loop);
    co->state = CO_RUNNING;
    loop->current = co;
    co_enter(loop, co);
    loop->current = NULL;

    if (co->state == CO_MOVING) {
        loop->live--;
        co->loop = co->move_to;
        co->post.fn = co_arrived;
        loop_post_node(co->loop, &co->post);
    } else if (co->state == CO_DEAD) {
        loop->live--;
        co_release(loop, co);
    }
}
