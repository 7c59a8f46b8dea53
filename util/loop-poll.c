/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Looking before sleeping. To put a thread to sleep and to wake it costs more
 * than many a request, mostly in a virtual machine. Where the next event comes
 * within microseconds, the loop looks for it in memory instead: the ring's flags
 * and the post queue, no system call.
 *
 * Two rules decide, so that it is given up where it does not pay:
 *
 *     how long    ns, at most max_ns. It grows where an event came later than
 *                 that, but within twice max_ns, as half of it may have been
 *                 the waking; it falls where none did: an idle loop looks once
 *                 and then sleeps as ever.
 *     how often   a whole look of max_ns in vain lets the next skip waits pass:
 *                 1, 3, 7 and so on to 1023. A look that pays halves the number.
 *                 So where the peer needs our CPU, looking costs next to
 *                 nothing.
 *
 * A timer is never late by a look.
 */
#include "util/loop-impl.h"

#define POLL_FIRST_NS 4000
#define POLL_GROW 2
#define POLL_PENALTY_MAX 1023
#define POLL_MAX_NS (INT64_C(3600) * 1000 * 1000 * 1000)
#define POLL_LOOKS 16           /* for each look at the clock */

static void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

static bool loop_poll_look(Loop *loop, int64_t until)
{
    do {
        for (int i = 0; i < POLL_LOOKS; i++) {
            if (loop->engine->peek(loop) ||
                atomic_load_explicit(&loop->posted, memory_order_relaxed)) {
                return true;
            }
            cpu_pause();
        }
    } while (clock_ns() < until);
    return false;
}

bool loop_poll(Loop *loop, int64_t deadline)
{
    LoopPoll *p = &loop->poll;

    p->began = 0;
    if (p->skip) {
        p->skip--;
        return false;
    }
    if (!p->set.max_ns || !loop->engine->peek) {
        return false;
    }
    p->began = clock_ns();
    if (!p->ns || (deadline >= 0 && deadline - p->began <= p->ns)) {
        return false;
    }
    if (loop_poll_look(loop, p->began + p->ns)) {
        p->penalty /= 2;
        p->began = 0;
        return true;
    }
    if (p->ns >= p->set.max_ns) {
        p->penalty = MIN(2 * p->penalty + 1, POLL_PENALTY_MAX);
        p->skip = p->penalty;
    }
    return false;
}

void loop_poll_slept(Loop *loop)
{
    LoopPoll *p = &loop->poll;
    int64_t max = p->set.max_ns, grow, took;

    if (!p->began) {
        return;
    }
    took = clock_ns() - p->began;
    grow = p->set.grow ? p->set.grow : POLL_GROW;
    if (took / 2 > max) {
        p->ns = p->set.shrink ? p->ns / p->set.shrink : 0;
    } else if (took > p->ns) {
        p->ns = p->ns > max / grow ? max
                                   : MIN(MAX(p->ns * grow, POLL_FIRST_NS), max);
    }
}

typedef struct LoopPollSet {
    LoopPost post;
    Loop *loop;
    LoopPolling set;
} LoopPollSet;

static void loop_poll_set_here(LoopPost *post)
{
    g_autofree LoopPollSet *s = container_of(post, LoopPollSet, post);

    s->set.max_ns = MIN(s->set.max_ns, POLL_MAX_NS);
    s->loop->poll = (LoopPoll){ .set = s->set };
}

void loop_set_polling(Loop *loop, const LoopPolling *set)
{
    LoopPollSet *s = g_new(LoopPollSet, 1);

    *s = (LoopPollSet){ { NULL, loop_poll_set_here }, loop, *set };
    loop_post_node(loop, &s->post);
}
