/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Buckets and turns.
 *
 *     bucket    level       fills with what passes, leaks at `avg` a second
 *               brim        `max * length`; without bursts what 100 ms allow
 *               burst       with length > 1: a second level that leaks at `max`,
 *                           so that a burst goes no faster than that
 *
 * A request passes while no level is over its brim, and only then fills them:
 * so a large one passes, too, and those behind it wait the longer.
 *
 * A group's lock guards all of it. Who has to wait stands in the queue of his
 * member and direction; a timer on the main loop comes when the first of a
 * direction may pass, and lets pass, in turns, as many as may.
 */
#include "util/throttle.h"

#include <pthread.h>

#include "util/loop.h"

#define THROTTLE_VALUE_MAX INT64_C(1000000000000000)
#define NS_PER_S 1e9

typedef struct ThrottleBucket {
    double level, burst;
} ThrottleBucket;

typedef struct ThrottleWaiter {
    Co *co;
    int64_t bytes;
} ThrottleWaiter;

struct ThrottleGroup {
    char *name;
    int refs;                   /* under throttle_names_lock */
    pthread_mutex_t lock;
    /* Under it: */
    ThrottleConfig cfg;
    ThrottleBucket bucket[THROTTLE_KINDS];
    int64_t leaked_at;          /* clock_ns() */
    GPtrArray *members;
    guint turn[2];              /* by direction: who is next */
    int64_t deadline;           /* for the timer; 0: none */
    bool posted;                /* the main loop has been told */
    /* The main loop's: */
    LoopTimer *timer;
};

struct ThrottleMember {
    ThrottleGroup *group;
    GQueue waiting[2];          /* of ThrottleWaiter, by direction */
    unsigned released;
};

/* ---- limits ---- */

void throttle_config_init(ThrottleConfig *cfg)
{
    *cfg = (ThrottleConfig) { 0 };
    for (int i = 0; i < THROTTLE_KINDS; i++) {
        cfg->limit[i].length = 1;
    }
}

static bool limit_mixes(const ThrottleLimit *l)
{
    return (l[0].avg && (l[1].avg || l[2].avg)) ||
           (l[0].max && (l[1].max || l[2].max));
}

static const char *limit_problem(const ThrottleLimit *l)
{
    if (l->avg < 0 || l->max < 0 || l->avg > THROTTLE_VALUE_MAX ||
        l->max > THROTTLE_VALUE_MAX) {
        return "bps/iops/max values must be within [0, 1000000000000000]";
    }
    if (!l->length) {
        return "the burst length cannot be 0";
    }
    if (l->length > 1 && !l->max) {
        return "burst length set without burst rate";
    }
    if (l->max && l->length > THROTTLE_VALUE_MAX / l->max) {
        return "burst length too high for this burst rate";
    }
    if (l->max && !l->avg) {
        return "bps_max/iops_max require corresponding bps/iops values";
    }
    if (l->max && l->max < l->avg) {
        return "bps_max/iops_max cannot be lower than bps/iops";
    }
    return NULL;
}

bool throttle_config_check(const ThrottleConfig *cfg, Error **errp)
{
    const ThrottleLimit *ops = &cfg->limit[THROTTLE_OPS_TOTAL];

    if (limit_mixes(&cfg->limit[THROTTLE_BPS_TOTAL]) || limit_mixes(ops)) {
        error_setg(errp, "bps/iops/max total values and read/write values "
                   "cannot be used at the same time");
        return false;
    }
    if (cfg->op_size && !ops[0].avg && !ops[1].avg && !ops[2].avg) {
        error_setg(errp, "iops size requires an iops value to be set");
        return false;
    }
    for (int i = 0; i < THROTTLE_KINDS; i++) {
        const char *problem = limit_problem(&cfg->limit[i]);

        if (problem) {
            error_setg(errp, "%s", problem);
            return false;
        }
    }
    return true;
}

/* ---- buckets ---- */

static void group_leak(ThrottleGroup *g)
{
    int64_t now = clock_ns();
    double s = (now - g->leaked_at) / NS_PER_S;

    g->leaked_at = now;
    for (int i = 0; i < THROTTLE_KINDS; i++) {
        ThrottleBucket *b = &g->bucket[i];

        b->level = MAX(b->level - g->cfg.limit[i].avg * s, 0);
        b->burst = MAX(b->burst - g->cfg.limit[i].max * s, 0);
    }
}

/* Seconds until the bucket is not over its brim. */
static double bucket_delay(const ThrottleBucket *b, const ThrottleLimit *l)
{
    double brim = l->max ? (double)l->max * l->length : l->avg / 10.0;

    if (!l->avg) {
        return 0;
    }
    if (b->level > brim) {
        return (b->level - brim) / l->avg;
    }
    brim = l->max / 10.0;
    return l->length > 1 && b->burst > brim ? (b->burst - brim) / l->max : 0;
}

static const ThrottleKind buckets_of[2][4] = {
    { THROTTLE_BPS_TOTAL, THROTTLE_OPS_TOTAL,
      THROTTLE_BPS_READ, THROTTLE_OPS_READ },
    { THROTTLE_BPS_TOTAL, THROTTLE_OPS_TOTAL,
      THROTTLE_BPS_WRITE, THROTTLE_OPS_WRITE },
};

/* Nanoseconds until a request may pass. */
static int64_t group_delay(ThrottleGroup *g, int dir)
{
    double delay = 0;

    for (int i = 0; i < 4; i++) {
        ThrottleKind k = buckets_of[dir][i];

        delay = MAX(delay, bucket_delay(&g->bucket[k], &g->cfg.limit[k]));
    }
    return (int64_t)(MIN(delay, 1e9) * NS_PER_S);
}

static void group_account(ThrottleGroup *g, int dir, int64_t bytes)
{
    double ops = g->cfg.op_size && bytes > g->cfg.op_size
                 ? (double)bytes / g->cfg.op_size : 1;

    for (int i = 0; i < 4; i++) {
        ThrottleKind k = buckets_of[dir][i];
        double units = k >= THROTTLE_OPS_TOTAL ? ops : bytes;

        if (g->cfg.limit[k].avg) {
            g->bucket[k].level += units;
            g->bucket[k].burst += units;
        }
    }
}

/* ---- turns; under the lock ---- */

static ThrottleMember *group_next(ThrottleGroup *g, int dir)
{
    for (guint i = 0; i < g->members->len; i++) {
        guint at = (g->turn[dir] + i) % g->members->len;
        ThrottleMember *m = g_ptr_array_index(g->members, at);

        if (m->waiting[dir].length) {
            g->turn[dir] = at;
            return m;
        }
    }
    return NULL;
}

static void member_pass_one(ThrottleMember *m, int dir)
{
    ThrottleWaiter *w = g_queue_pop_head(&m->waiting[dir]);

    group_account(m->group, dir, w->bytes);
    co_wake_remote(w->co);      /* @w is on its stack */
}

/* Lets one pass; false if none waits or none may, with the time until then. */
static bool group_pass(ThrottleGroup *g, int dir, int64_t *delay)
{
    ThrottleMember *m = group_next(g, dir);
    int64_t ns;

    if (!m) {
        return false;
    }
    ns = group_delay(g, dir);
    if (ns) {
        *delay = *delay ? MIN(*delay, ns) : ns;
        return false;
    }
    member_pass_one(m, dir);
    g->turn[dir]++;
    return true;
}

static void group_set_timer(void *opaque);

static void group_arm(ThrottleGroup *g, int64_t delay)
{
    g->deadline = delay ? clock_ns() + delay : 0;
    if (delay && !g->posted) {
        g->posted = true;
        loop_post(loop_main(), group_set_timer, g);
    }
}

static void group_dispatch(ThrottleGroup *g)
{
    int64_t delay;
    bool read, write;

    group_leak(g);
    do {
        delay = 0;
        read = group_pass(g, 0, &delay);
        write = group_pass(g, 1, &delay);
    } while (read || write);
    group_arm(g, delay);
}

/* ---- the timer; main loop ---- */

static void group_timer_fired(void *opaque)
{
    ThrottleGroup *g = opaque;

    pthread_mutex_lock(&g->lock);
    group_dispatch(g);
    pthread_mutex_unlock(&g->lock);
}

static void group_set_timer(void *opaque)
{
    ThrottleGroup *g = opaque;

    if (!g->timer) {
        g->timer = loop_timer_new(loop_main(), group_timer_fired, g);
    }
    pthread_mutex_lock(&g->lock);
    g->posted = false;
    if (g->deadline) {
        loop_timer_set(g->timer, g->deadline);
    }
    pthread_mutex_unlock(&g->lock);
}

/* ---- groups ---- */

static pthread_mutex_t throttle_names_lock = PTHREAD_MUTEX_INITIALIZER;
static GPtrArray *throttle_groups;

ThrottleGroup *throttle_group_new(const char *name)
{
    ThrottleGroup *g = g_new0(ThrottleGroup, 1);

    g->name = g_strdup(name);
    g->refs = 1;
    pthread_mutex_init(&g->lock, NULL);
    throttle_config_init(&g->cfg);
    g->leaked_at = clock_ns();
    g->members = g_ptr_array_new();
    pthread_mutex_lock(&throttle_names_lock);
    if (!throttle_groups) {
        throttle_groups = g_ptr_array_new();
    }
    g_ptr_array_add(throttle_groups, g);
    pthread_mutex_unlock(&throttle_names_lock);
    return g;
}

ThrottleGroup *throttle_group_find(const char *name)
{
    ThrottleGroup *found = NULL;

    pthread_mutex_lock(&throttle_names_lock);
    for (guint i = 0; throttle_groups && i < throttle_groups->len; i++) {
        ThrottleGroup *g = g_ptr_array_index(throttle_groups, i);

        if (g_str_equal(g->name, name)) {
            found = g;
            found->refs++;
        }
    }
    pthread_mutex_unlock(&throttle_names_lock);
    return found;
}

/* On the main loop, behind what was posted there. */
static void group_free(void *opaque)
{
    ThrottleGroup *g = opaque;

    loop_timer_free(g->timer);
    g_ptr_array_free(g->members, true);
    pthread_mutex_destroy(&g->lock);
    g_free(g->name);
    g_free(g);
}

void throttle_group_unref(ThrottleGroup *g)
{
    bool last;

    if (!g) {
        return;
    }
    pthread_mutex_lock(&throttle_names_lock);
    last = --g->refs == 0;
    if (last) {
        g_ptr_array_remove(throttle_groups, g);
        if (!throttle_groups->len) {
            g_clear_pointer(&throttle_groups, g_ptr_array_unref);
        }
    }
    pthread_mutex_unlock(&throttle_names_lock);
    if (last) {
        g_assert(!g->members->len);
        if (g->timer || g->posted) {
            loop_post(loop_main(), group_free, g);
        } else {
            group_free(g);
        }
    }
}

const char *throttle_group_name(const ThrottleGroup *g)
{
    return g->name;
}

bool throttle_group_in_use(ThrottleGroup *g)
{
    bool used;

    pthread_mutex_lock(&throttle_names_lock);
    used = g->refs > 1;
    pthread_mutex_unlock(&throttle_names_lock);
    return used;
}

void throttle_group_configure(ThrottleGroup *g, const ThrottleConfig *cfg)
{
    pthread_mutex_lock(&g->lock);
    g->cfg = *cfg;
    memset(g->bucket, 0, sizeof(g->bucket));
    group_dispatch(g);
    pthread_mutex_unlock(&g->lock);
}

/* ---- members ---- */

ThrottleMember *throttle_member_new(ThrottleGroup *g)
{
    ThrottleMember *m = g_new0(ThrottleMember, 1);

    pthread_mutex_lock(&throttle_names_lock);
    g->refs++;
    pthread_mutex_unlock(&throttle_names_lock);
    m->group = g;
    pthread_mutex_lock(&g->lock);
    g_ptr_array_add(g->members, m);
    pthread_mutex_unlock(&g->lock);
    return m;
}

void throttle_member_free(ThrottleMember *m)
{
    if (!m) {
        return;
    }
    g_assert(!m->waiting[0].length && !m->waiting[1].length);
    pthread_mutex_lock(&m->group->lock);
    g_ptr_array_remove(m->group->members, m);
    pthread_mutex_unlock(&m->group->lock);
    throttle_group_unref(m->group);
    g_free(m);
}

void throttle_member_wait(Co *co, ThrottleMember *m, int64_t bytes,
                          bool is_write)
{
    ThrottleGroup *g = m->group;
    ThrottleWaiter w = { co, bytes };
    int dir = is_write;

    pthread_mutex_lock(&g->lock);
    group_leak(g);
    if (m->released || (!group_next(g, dir) && !group_delay(g, dir))) {
        group_account(g, dir, bytes);
        pthread_mutex_unlock(&g->lock);
        return;
    }
    g_queue_push_tail(&m->waiting[dir], &w);
    group_dispatch(g);
    pthread_mutex_unlock(&g->lock);
    co_suspend(co);
}

void throttle_member_release(ThrottleMember *m)
{
    pthread_mutex_lock(&m->group->lock);
    m->released++;
    for (int dir = 0; dir < 2; dir++) {
        while (m->waiting[dir].length) {
            member_pass_one(m, dir);
        }
    }
    pthread_mutex_unlock(&m->group->lock);
}

void throttle_member_hold(ThrottleMember *m)
{
    pthread_mutex_lock(&m->group->lock);
    g_assert(m->released);
    m->released--;
    pthread_mutex_unlock(&m->group->lock);
}
