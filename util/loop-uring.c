/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The io_uring engine: one ring a loop.
 *
 * An operation is an SQE whose user_data points to the LoopOp on the stack of
 * the waiting coroutine; nothing is allocated. What the coroutines of one
 * iteration prepare is submitted in one io_uring_enter, which also waits and
 * carries the timeout of the next timer. If coroutines are ready, it does not
 * wait; and if then nothing is prepared and the kernel holds nothing back for
 * us (the TASKRUN and CQ_OVERFLOW flags of the ring), it is not called at all.
 *
 * The ring is created disabled, as with SINGLE_ISSUER it belongs to the thread
 * that enables it: the loop's. Flags that the kernel does not know are given up
 * step by step; DEFER_TASKRUN (Linux 6.1) is what makes it fast.
 *
 * Other threads wake the loop by its eventfd, which the ring reads. That read
 * is under way only while the loop runs: loop_run() takes it back at its end,
 * so that no completion can come to a loop that has gone.
 *
 * A full submission queue is submitted at once. A full completion queue loses
 * nothing (IORING_FEAT_NODROP): the kernel keeps the rest until there is room.
 *
 * A flush goes to a thread of the kernel, which has to be started first: where
 * nobody else is kept waiting, it is done on the spot.
 *
 * valgrind lets no other thread run while one waits in the ring, nor sees what
 * the ring writes: below it poll() waits for the ring, and reads say so.
 */
#include "util/co-impl.h"

#include <liburing.h>
#include <poll.h>
#include <sys/syscall.h>

#ifdef CONFIG_VALGRIND
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_MAKE_MEM_DEFINED(p, len) ((void)0)
#endif

#define URING_ENTRIES 256
#define URING_CQ_ENTRIES 4096
#define URING_BATCH 64
#define URING_LEN_MAX 0x7ffff000        /* what one read or write moves */

typedef struct UringLoop {
    struct io_uring ring;
    unsigned flags;
    bool enabled;
    LoopOp wake;            /* the read of the eventfd */
    bool wake_armed;
    bool polled;            /* poll() waits, not io_uring_enter */
    uint64_t wake_count;
} UringLoop;

static UringLoop *uring_of(Loop *loop)
{
    return loop->engine_state;
}

/* ---- creation ---- */

static int uring_create(UringLoop *u)
{
    static const unsigned steps[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL |
        IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
        IORING_SETUP_SUBMIT_ALL,
        0,
    };
    /* A deferred completion wakes no poll(). */
    size_t first = u->polled ? ARRAY_SIZE(steps) - 1 : 0;
    int ret = -EINVAL;

    for (size_t i = first; i < ARRAY_SIZE(steps) && ret == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = steps[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = URING_CQ_ENTRIES,
        };

        ret = io_uring_queue_init_params(URING_ENTRIES, &u->ring, &params);
        u->flags = params.flags;
    }
    return ret;
}

/* Whether the kernel knows all that we ask for. */
static bool uring_suffices(UringLoop *u)
{
    static const int ops[] = {
        IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV,
        IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_POLL_ADD,
        IORING_OP_RECV, IORING_OP_ASYNC_CANCEL,
    };
    const unsigned features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG |
                              IORING_FEAT_SUBMIT_STABLE;
    struct io_uring_probe *probe;
    bool ok = (u->ring.features & features) == features;

    probe = io_uring_get_probe_ring(&u->ring);
    if (!probe) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
        ok = ok && io_uring_opcode_supported(probe, ops[i]);
    }
    io_uring_free_probe(probe);
    return ok;
}

static bool uring_init(Loop *loop, Error **errp)
{
    g_autofree UringLoop *u = g_new0(UringLoop, 1);
    int ret;

    u->polled = RUNNING_ON_VALGRIND;
    ret = uring_create(u);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to set up io_uring");
        return false;
    }
    if (!uring_suffices(u)) {
        io_uring_queue_exit(&u->ring);
        error_setg(errp, "io_uring of this kernel is too old");
        return false;
    }
    loop->engine_state = g_steal_pointer(&u);
    return true;
}

static void uring_free(Loop *loop)
{
    UringLoop *u = uring_of(loop);

    io_uring_queue_exit(&u->ring);
    g_free(u);
}

/* ---- completions ---- */

static void uring_complete(UringLoop *u, struct io_uring_cqe *cqe)
{
    LoopOp *op = io_uring_cqe_get_data(cqe);

    if (!op) {
        return;                         /* a cancel; its target tells */
    }
    if (op == &u->wake) {
        u->wake_armed = false;
        return;
    }
    co_op_done(op, cqe->res);
}

static void uring_reap(UringLoop *u)
{
    struct io_uring_cqe *cqes[URING_BATCH];
    unsigned n;

    while ((n = io_uring_peek_batch_cqe(&u->ring, cqes, URING_BATCH)) > 0) {
        for (unsigned i = 0; i < n; i++) {
            uring_complete(u, cqes[i]);
        }
        io_uring_cq_advance(&u->ring, n);
    }
}

/* What io_uring_enter may say without anything being wrong: the time is up, a
 * signal came, or the kernel is short of memory or of room for completions,
 * and what could not be submitted is so next time. */
static void uring_check(int ret)
{
    if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN &&
        ret != -EBUSY) {
        g_error("io_uring_enter: %s", g_strerror(-ret));
    }
}

/* ---- submission ---- */

static struct io_uring_sqe *uring_sqe(UringLoop *u)
{
    struct io_uring_sqe *sqe;

    while (!(sqe = io_uring_get_sqe(&u->ring))) {
        int ret = io_uring_submit(&u->ring);

        uring_check(ret);
        if (ret <= 0) {
            uring_reap(u);
        }
    }
    return sqe;
}

/* Completions that it hands out when it is called. */
static bool uring_kernel_has_more(struct io_uring *ring)
{
    return IO_URING_READ_ONCE(*ring->sq.kflags) &
           (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static void uring_arm_wake(Loop *loop, UringLoop *u)
{
    struct io_uring_sqe *sqe;

    if (u->wake_armed) {
        return;
    }
    sqe = uring_sqe(u);
    io_uring_prep_read(sqe, loop->event_fd, &u->wake_count,
                       sizeof(u->wake_count), 0);
    io_uring_sqe_set_data(sqe, &u->wake);
    u->wake_armed = true;
}

/* Waits for @timeout ns; negative: without end. */
static int uring_poll_ring(UringLoop *u, int64_t timeout)
{
    struct pollfd pfd = { .fd = u->ring.ring_fd, .events = POLLIN };
    struct timespec ts = {
        .tv_sec = timeout / 1000000000,
        .tv_nsec = timeout % 1000000000,
    };
    int ret = io_uring_submit(&u->ring);

    if (ret >= 0) {
        ppoll(&pfd, 1, timeout < 0 ? NULL : &ts, NULL);
        ret = io_uring_submit_and_get_events(&u->ring);
    }
    return ret;
}

static bool uring_peek(Loop *loop)
{
    struct io_uring *ring = &uring_of(loop)->ring;

    if (io_uring_sq_ready(ring)) {
        uring_check(io_uring_submit(ring));
    }
    return io_uring_cq_ready(ring) || uring_kernel_has_more(ring);
}

static void uring_turn(Loop *loop, int64_t timeout)
{
    UringLoop *u = uring_of(loop);
    struct io_uring *ring = &u->ring;
    int ret = 0;

    if (timeout) {
        uring_arm_wake(loop, u);
    }
    if (timeout && u->polled) {
        ret = uring_poll_ring(u, timeout);
    } else if (timeout > 0) {
        struct __kernel_timespec ts = {
            .tv_sec = timeout / 1000000000,
            .tv_nsec = timeout % 1000000000,
        };
        struct io_uring_cqe *cqe;

        ret = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &ts, NULL);
    } else if (timeout < 0) {
        ret = io_uring_submit_and_wait(ring, 1);
    } else if (io_uring_sq_ready(ring) || uring_kernel_has_more(ring)) {
        ret = io_uring_submit_and_get_events(ring);
    }
    uring_check(ret);
    uring_reap(u);
}

/* liburing 2.3 forgot to export its io_uring_enable_rings(). */
static void uring_enable(UringLoop *u)
{
    if ((u->flags & IORING_SETUP_R_DISABLED) &&
        syscall(__NR_io_uring_register, u->ring.ring_fd,
                IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0) {
        error_exit(errno, "Cannot enable io_uring");
    }
}

static void uring_start(Loop *loop)
{
    UringLoop *u = uring_of(loop);

    if (!u->enabled) {
        u->enabled = true;
        uring_enable(u);
    }
    /* Saves the look-up of the fd; not essential. */
    io_uring_register_ring_fd(&u->ring);
}

static void uring_disarm_wake(UringLoop *u)
{
    struct io_uring_sqe *sqe;

    if (!u->wake_armed) {
        return;
    }
    sqe = uring_sqe(u);
    io_uring_prep_cancel(sqe, &u->wake, 0);
    io_uring_sqe_set_data(sqe, NULL);
    while (u->wake_armed) {
        uring_check(io_uring_submit_and_wait(&u->ring, 1));
        uring_reap(u);
    }
}

/* A registered ring is a number of this thread's: whoever frees the loop would
 * unregister one of its own by it. */
static void uring_stop(Loop *loop)
{
    UringLoop *u = uring_of(loop);

    uring_disarm_wake(u);
    io_uring_unregister_ring_fd(&u->ring);
}

/* ---- operations ---- */

static int uring_wait(Co *co, struct io_uring_sqe *sqe, bool cancellable)
{
    LoopOp op = { .cancellable = cancellable };

    io_uring_sqe_set_data(sqe, &op);
    return co_op_wait(co, &op);
}

/* Tells valgrind what a read of @n bytes has written. */
static void uring_filled(const struct iovec *iov, ssize_t n)
{
    for (; n > 0; n -= iov->iov_len, iov++) {
        VALGRIND_MAKE_MEM_DEFINED(iov->iov_base,
                                  MIN(iov->iov_len, (size_t)n));
    }
}

static ssize_t uring_preadv(Co *co, int fd, const struct iovec *iov, int niov,
                            int64_t off)
{
    UringLoop *u = uring_of(co->loop);
    struct io_uring_sqe *sqe = uring_sqe(u);
    ssize_t n;

    if (niov == 1) {
        io_uring_prep_read(sqe, fd, iov->iov_base,
                           MIN(iov->iov_len, URING_LEN_MAX), off);
    } else {
        io_uring_prep_readv(sqe, fd, iov, niov, off);
    }
    n = uring_wait(co, sqe, false);
    if (u->polled) {
        uring_filled(iov, n);
    }
    return n;
}

static ssize_t uring_pwritev(Co *co, int fd, const struct iovec *iov, int niov,
                             int64_t off, int flags)
{
    struct io_uring_sqe *sqe = uring_sqe(uring_of(co->loop));

    if (niov == 1) {
        io_uring_prep_write(sqe, fd, iov->iov_base,
                            MIN(iov->iov_len, URING_LEN_MAX), off);
    } else {
        io_uring_prep_writev(sqe, fd, iov, niov, off);
    }
    sqe->rw_flags = flags;
    return uring_wait(co, sqe, false);
}

static int uring_fdatasync(Co *co, int fd)
{
    struct io_uring_sqe *sqe;

    if (loop_is_alone(co->loop)) {
        return fdatasync(fd) < 0 ? -errno : 0;
    }
    sqe = uring_sqe(uring_of(co->loop));
    io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
    return uring_wait(co, sqe, false);
}

static int uring_fallocate(Co *co, int fd, int mode, int64_t off, int64_t len)
{
    struct io_uring_sqe *sqe = uring_sqe(uring_of(co->loop));

    io_uring_prep_fallocate(sqe, fd, mode, off, len);
    return uring_wait(co, sqe, false);
}

static int uring_poll(Co *co, int fd, int events)
{
    struct io_uring_sqe *sqe = uring_sqe(uring_of(co->loop));

    io_uring_prep_poll_add(sqe, fd, events);
    return uring_wait(co, sqe, true);
}

static ssize_t uring_recv(Co *co, int fd, void *buf, size_t len)
{
    UringLoop *u = uring_of(co->loop);
    struct io_uring_sqe *sqe = uring_sqe(u);
    struct iovec iov = { buf, len };
    ssize_t n;

    io_uring_prep_recv(sqe, fd, buf, MIN(len, URING_LEN_MAX), 0);
    n = uring_wait(co, sqe, true);
    if (u->polled) {
        uring_filled(&iov, n);
    }
    return n;
}

static void uring_cancel(Loop *loop, LoopOp *op)
{
    struct io_uring_sqe *sqe = uring_sqe(uring_of(loop));

    io_uring_prep_cancel(sqe, op, 0);
    io_uring_sqe_set_data(sqe, NULL);
}

const LoopEngine loop_uring = {
    .name = "io_uring",
    .init = uring_init,
    .free = uring_free,
    .start = uring_start,
    .stop = uring_stop,
    .turn = uring_turn,
    .peek = uring_peek,
    .preadv = uring_preadv,
    .pwritev = uring_pwritev,
    .fdatasync = uring_fdatasync,
    .fallocate = uring_fallocate,
    .poll = uring_poll,
    .recv = uring_recv,
    .cancel = uring_cancel,
};
