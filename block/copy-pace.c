/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * How hard the background may work: so many bytes in flight.
 *
 * While no guest is at work there is no limit but the number of workers. While
 * one is, the window follows its latency, interval by interval: it is halved
 * when the mean has risen to more than twice the lowest seen, and grows slowly
 * while it has not. The lowest is forgotten by and by, as devices and guests
 * change. One chunk may always be in flight: a backup under a busy guest goes
 * on, if slowly.
 *
 * That is about devices with a queue. Who comes first on the loop is another
 * matter: coroutines in the background let others go first (util/co.h).
 */

#include "copy-internal.h"

#define PACE_INTERVAL_NS (20 * 1000 * 1000)
#define PACE_IDLE_NS (200 * 1000 * 1000)
#define PACE_SLACK_NS (100 * 1000)
#define PACE_MIN (64 * KiB)
#define PACE_START (512 * KiB)
#define PACE_MAX (16 * MiB)
#define PACE_STEP (64 * KiB)

static void pace_judge(CopyPace *p)
{
    int64_t mean = p->sum / p->count;

    p->base = p->base ? MIN(mean, p->base + p->base / 64) : mean;
    if (mean > 2 * p->base + PACE_SLACK_NS) {
        p->window = MAX(p->window / 2, PACE_MIN);
    } else {
        p->window = MIN(p->window + PACE_STEP, PACE_MAX);
    }
}

void copy_note_guest(CopyState *s, int64_t begun_ns)
{
    CopyPace *p = &s->pace;
    int64_t now = clock_ns();

    if (!p->window || now - p->last_guest > PACE_IDLE_NS) {
        p->window = PACE_START;
        p->since = now;
        p->sum = p->count = 0;
    }
    p->last_guest = now;
    p->sum += now - begun_ns;
    p->count++;
    if (now - p->since >= PACE_INTERVAL_NS) {
        pace_judge(p);
        p->since = now;
        p->sum = p->count = 0;
    }
}

bool copy_pace_guest_active(const CopyState *s)
{
    return s->pace.window && clock_ns() - s->pace.last_guest <= PACE_IDLE_NS;
}

int64_t copy_pace_idle_ns(const CopyState *s)
{
    int64_t last = s->pace.window ? s->pace.last_guest : clock_ns();

    return last + PACE_IDLE_NS + 1;
}

void copy_pace_enter(Co *co, CopyState *s, int64_t len)
{
    CopyPace *p = &s->pace;

    while (p->in_flight && p->in_flight + len > p->window &&
           copy_pace_guest_active(s)) {
        co_queue_wait(co, &p->waiters);
    }
    p->in_flight += len;
}

void copy_pace_leave(CopyState *s, int64_t len)
{
    s->pace.in_flight -= len;
    co_queue_wake_all(&s->pace.waiters);
}
