/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Requests over a connection that may be lost.
 *
 * Nobody listens while there are no requests: one of those that wait for a
 * reply is the pump, which waits for the socket and lets libnbd work; the others
 * sleep. A pump whose own reply has come hands over to another one. So nothing
 * of an idle client runs on a loop, and it can be taken to another one.
 *
 *     connected     requests go to libnbd
 *     lost          an attempt runs in the background and tries again and again;
 *                   requests wait for it until lost_at + reconnect_ns
 *     given up      the same, but requests fail at once with -EIO
 *
 * When a connection dies, libnbd ends every request with ENOTCONN, which no
 * server can say. What ended so is issued again on the next connection: reads
 * and writes of ranges give the same result if they are done twice, and the
 * block layer lets nothing overlap that must not.
 *
 * Who cancels is patient with a server that answers others: only one that is
 * silent is given up, by shutting the socket down on our side.
 *
 * An attempt owns all that it uses and belongs to the loop where it began. A
 * client that goes away leaves it behind: it is cancelled and frees itself.
 */
#include "util/osdep.h"

#include "block/nbd-client.h"

#include <sys/socket.h>

#define RETRY_FIRST_NS (INT64_C(50) * 1000 * 1000)
#define RETRY_LAST_NS (INT64_C(1000) * 1000 * 1000)
#define ATTEMPT_NS (INT64_C(10) * 1000 * 1000 * 1000)
#define PATIENCE_NS (INT64_C(3) * 1000 * 1000 * 1000)

/* Ends a try that takes too long. */
typedef struct Limit {
    Co *co;
    bool expired;
} Limit;

typedef struct Attempt {
    NbdClient *client;          /* NULL: nobody waits for it any more */
    Co *co;
    NbdTarget target;
    CoSleep sleep;
    Co *closer;                 /* NULL, or waits for its end */
} Attempt;

struct NbdClient {
    NbdTarget target;
    int64_t reconnect_ns;
    struct nbd_handle *nbd;     /* NULL: lost */
    NbdInfo info;
    int64_t lost_at;
    Attempt *attempt;
    GPtrArray *sleepers;        /* of CoSleep: they wait for the attempt */
    Co *pump;
    CoQueue pump_ends;
    NbdOp *waiting;             /* those that sleep */
    unsigned running;           /* requests under way */
    unsigned answered;          /* how many have been */
    unsigned given_up;          /* how often all under way were */
    LoopTimer *patience;        /* not NULL: cancelling */
    unsigned answered_before;   /* answered, when that began */
};

NbdClient *nbd_client_new(const NbdTarget *t, int64_t reconnect_ns)
{
    NbdClient *c = g_new0(NbdClient, 1);

    nbd_target_copy(&c->target, t);
    c->reconnect_ns = reconnect_ns;
    c->sleepers = g_ptr_array_new();
    return c;
}

const NbdInfo *nbd_client_info(const NbdClient *c)
{
    return &c->info;
}

static bool nbd_client_alive(const NbdClient *c)
{
    return c->nbd && nbd_aio_is_dead(c->nbd) != 1 &&
           nbd_aio_is_closed(c->nbd) != 1;
}

/* A descriptor that was given is closed with its connection: its number may be
 * anybody's then. */
static bool nbd_client_comes_again(const NbdClient *c)
{
    return c->target.addr->type != SOCKET_ADDRESS_TYPE_FD;
}

/* ---- the first connection ---- */

static void nbd_client_expired(void *opaque)
{
    Limit *limit = opaque;

    limit->expired = true;
    co_io_cancel(limit->co);
}

static LoopTimer *nbd_client_limit(Limit *limit, int64_t deadline)
{
    LoopTimer *timer = loop_timer_new(co_loop(limit->co), nbd_client_expired,
                                      limit);

    loop_timer_set(timer, deadline);
    return timer;
}

static bool nbd_client_open_until(Co *co, NbdClient *c, int64_t deadline,
                                  const Limit *limit, Error **errp)
{
    int64_t pause = RETRY_FIRST_NS;

    for (;;) {
        g_autoptr(Error) err = NULL;

        c->nbd = nbd_connect_once(co, &c->target, &c->info, &err);
        if (c->nbd) {
            return true;
        }
        if (limit->expired || clock_ns() >= deadline ||
            !nbd_client_comes_again(c)) {
            error_propagate(errp, g_steal_pointer(&err));
            return false;
        }
        co_sleep(co, MIN(pause, MAX(deadline - clock_ns(), 1)));
        pause = MIN(pause * 2, RETRY_LAST_NS);
    }
}

bool nbd_client_open(Co *co, NbdClient *c, int64_t timeout_ns, Error **errp)
{
    Limit limit = { co, false };
    int64_t deadline = clock_ns() + timeout_ns;
    LoopTimer *timer = timeout_ns ? nbd_client_limit(&limit, deadline) : NULL;
    bool ok = nbd_client_open_until(co, c, deadline, &limit, errp);

    loop_timer_free(timer);
    return ok;
}

/* ---- coming again ---- */

static void nbd_client_attempt_free(Attempt *a)
{
    nbd_target_clear(&a->target);
    g_free(a);
}

static void nbd_client_returned(NbdClient *c, struct nbd_handle *nbd,
                                const NbdInfo *info)
{
    c->nbd = nbd;
    c->info = *info;
    c->attempt = NULL;
    for (guint i = 0; i < c->sleepers->len; i++) {
        co_sleep_wake(g_ptr_array_index(c->sleepers, i));
    }
}

static void nbd_client_attempt_run(Co *co, void *opaque)
{
    Attempt *a = opaque;
    int64_t pause = RETRY_FIRST_NS;

    while (a->client) {
        Limit limit = { co, false };
        LoopTimer *timer = nbd_client_limit(&limit, clock_ns() + ATTEMPT_NS);
        NbdInfo info;
        struct nbd_handle *nbd = nbd_connect_once(co, &a->target, &info,
                                                  NULL);

        loop_timer_free(timer);
        if (nbd && a->target.context_needed && !info.has_status) {
            nbd_connect_close(g_steal_pointer(&nbd));
        }
        if (nbd && a->client) {
            nbd_client_returned(a->client, nbd, &info);
            break;
        }
        nbd_connect_close(nbd);
        if (a->client) {
            co_sleep_ns(co, &a->sleep, pause);
            pause = MIN(pause * 2, RETRY_LAST_NS);
        }
    }
    if (a->closer) {
        co_wake(a->closer);
    }
    nbd_client_attempt_free(a);
}

static void nbd_client_attempt_start(Co *co, NbdClient *c)
{
    Attempt *a = g_new0(Attempt, 1);

    a->client = c;
    nbd_target_copy(&a->target, &c->target);
    c->attempt = a;
    a->co = co_spawn(co_loop(co), nbd_client_attempt_run, a);
}

static void nbd_client_attempt_abandon(NbdClient *c)
{
    Attempt *a = g_steal_pointer(&c->attempt);

    if (a) {
        a->client = NULL;
        co_sleep_wake(&a->sleep);
        co_io_cancel(a->co);
    }
}

void nbd_client_end_attempt(Co *co, NbdClient *c)
{
    if (c->attempt) {
        c->attempt->closer = co;
        nbd_client_attempt_abandon(c);
        co_suspend(co);
    }
}

/* What is left of a dead connection goes, once its pump has let go of it. */
static void nbd_client_bury(Co *co, NbdClient *c)
{
    while (c->pump) {
        co_io_cancel(c->pump);
        co_queue_wait(co, &c->pump_ends);
    }
    if (c->nbd && !nbd_client_alive(c)) {
        nbd_connect_close(g_steal_pointer(&c->nbd));
        c->lost_at = clock_ns();
    }
}

/* Waits for a connection as long as is allowed. */
static int nbd_client_connected(Co *co, NbdClient *c, const NbdOp *op)
{
    while (op->given_up == c->given_up) {
        CoSleep sleep = { NULL };
        int64_t left;

        if (nbd_client_alive(c)) {
            return 0;
        }
        nbd_client_bury(co, c);
        if (c->nbd) {
            continue;
        }
        if (!nbd_client_comes_again(c)) {
            return -EIO;
        }
        if (!c->attempt) {
            nbd_client_attempt_start(co, c);
        }
        left = c->lost_at + c->reconnect_ns - clock_ns();
        if (left <= 0) {
            return -EIO;
        }
        g_ptr_array_add(c->sleepers, &sleep);
        co_sleep_ns(co, &sleep, left);
        g_ptr_array_remove_fast(c->sleepers, &sleep);
    }
    return -ECANCELED;
}

/* ---- requests ---- */

static int nbd_client_completed(void *opaque, int *error)
{
    NbdOp *op = opaque;

    op->done = true;
    op->err = *error;
    if (op->waiting) {
        co_wake(g_steal_pointer(&op->waiting));
    }
    return 1;
}

nbd_completion_callback nbd_client_completion(NbdOp *op)
{
    return (nbd_completion_callback) {
        .callback = nbd_client_completed,
        .user_data = op,
    };
}

static void nbd_client_sleep(Co *co, NbdClient *c, NbdOp *op)
{
    op->next = c->waiting;
    op->link = &c->waiting;
    if (op->next) {
        op->next->link = &op->next;
    }
    c->waiting = op;
    op->waiting = co;
    co_suspend(co);
    *op->link = op->next;
    if (op->next) {
        op->next->link = op->link;
    }
}

/* Another one that sleeps becomes the pump, if one still sleeps. */
static void nbd_client_hand_over(NbdClient *c)
{
    NbdOp *op = c->waiting;

    while (op && !op->waiting) {
        op = op->next;
    }
    if (op) {
        co_wake(g_steal_pointer(&op->waiting));
    }
}

static void nbd_client_wait(Co *co, NbdClient *c, NbdOp *op)
{
    while (!op->done) {
        if (c->pump) {
            nbd_client_sleep(co, c, op);
            continue;
        }
        c->pump = co;
        while (!op->done && nbd_client_alive(c)) {
            nbd_connect_pump(co, c->nbd);
        }
        c->pump = NULL;
        co_queue_wake_all(&c->pump_ends);
        nbd_client_hand_over(c);
    }
}

static int nbd_client_run_again(Co *co, NbdClient *c, NbdOp *op)
{
    for (;;) {
        int ret = nbd_client_connected(co, c, op);

        if (ret < 0) {
            return ret;
        }
        op->done = false;
        if (op->issue(c->nbd, op) < 0) {
            ret = -nbd_get_errno();
            if (nbd_client_alive(c)) {
                return ret ? ret : -EIO;
            }
            continue;
        }
        /* The pump may wait for other events than are of use now. */
        if (c->pump && (nbd_aio_get_direction(c->nbd) &
                        LIBNBD_AIO_DIRECTION_WRITE)) {
            co_io_cancel(c->pump);
        }
        nbd_client_wait(co, c, op);
        if (op->err != ENOTCONN) {
            c->answered++;
            return -op->err;
        }
    }
}

int nbd_client_run(Co *co, NbdClient *c, NbdOp *op)
{
    int ret;

    op->given_up = c->given_up;
    c->running++;
    ret = nbd_client_run_again(co, c, op);
    c->running--;
    return ret;
}

/* ---- cancelling ---- */

static void nbd_client_give_up(NbdClient *c)
{
    c->given_up++;
    if (nbd_client_alive(c)) {
        shutdown(nbd_aio_get_fd(c->nbd), SHUT_RDWR);
    }
    for (guint i = 0; i < c->sleepers->len; i++) {
        co_sleep_wake(g_ptr_array_index(c->sleepers, i));
    }
}

static void nbd_client_impatient(void *opaque)
{
    NbdClient *c = opaque;
    bool silent = c->answered == c->answered_before;

    g_clear_pointer(&c->patience, loop_timer_free);
    if (c->running && silent) {
        nbd_client_give_up(c);
    } else if (c->running) {
        nbd_client_cancel(c);
    }
}

void nbd_client_cancel(NbdClient *c)
{
    if (!c->patience) {
        c->answered_before = c->answered;
        c->patience = loop_timer_new(loop_current(), nbd_client_impatient, c);
        loop_timer_set(c->patience, clock_ns() + PATIENCE_NS);
    }
}

/* ---- the end ---- */

void nbd_client_leave_loop(NbdClient *c)
{
    g_assert(!c->pump && !c->waiting);
    g_clear_pointer(&c->patience, loop_timer_free);
    nbd_client_attempt_abandon(c);
}

void nbd_client_close(NbdClient *c)
{
    nbd_client_leave_loop(c);
    if (c->nbd) {
        if (nbd_client_alive(c)) {
            nbd_aio_disconnect(c->nbd, 0);
        }
        nbd_connect_close(c->nbd);
    }
    nbd_target_clear(&c->target);
    g_ptr_array_free(c->sleepers, true);
    g_free(c);
}
