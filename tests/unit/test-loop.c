/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The loop: timers, posts, moves between threads, and I/O; run once for each
 * engine. */
#include "co-test.h"
#include "util/loop-impl.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <glib-unix.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static void test_engine(void)
{
    const char *force = g_getenv("BLOCK_LOOP");
    Loop *loop = loop_new("test", &error_abort);

    if (force) {
        g_assert_cmpstr(loop_engine(loop), ==, force);
    }
    g_assert_cmpstr(loop_name(loop), ==, "test");
    loop_free(loop);
}

static void test_engine_unknown(void)
{
    g_autofree char *force = g_strdup(g_getenv("BLOCK_LOOP"));
    g_autoptr(Error) err = NULL;

    g_setenv("BLOCK_LOOP", "kqueue", true);
    g_assert_null(loop_new("test", &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "BLOCK_LOOP must be 'io_uring' or 'epoll'");
    g_setenv("BLOCK_LOOP", "", true);       /* as good as not set */
    loop_free(loop_new("test", &error_abort));
    if (force) {
        g_setenv("BLOCK_LOOP", force, true);
    } else {
        g_unsetenv("BLOCK_LOOP");
    }
}

/* From now on the kernel refuses io_uring, as in many containers. */
static void refuse_io_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = { ARRAY_SIZE(code), code };

    g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
    g_assert_cmpint(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), ==, 0);
}

static void refused_in_subprocess(void)
{
    g_autoptr(Error) err = NULL;
    Loop *loop;

    refuse_io_uring();
    g_unsetenv("BLOCK_LOOP");
    loop = loop_new("test", &error_abort);
    g_assert_cmpstr(loop_engine(loop), ==, "epoll");
    loop_free(loop);

    g_setenv("BLOCK_LOOP", "io_uring", true);
    g_assert_null(loop_new("test", &err));
#ifdef CONFIG_IO_URING
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Failed to set up io_uring: Operation not permitted");
#endif
}

/* Where io_uring is refused, the other engine serves, unless one insists. */
static void test_refused(void)
{
    if (g_test_subprocess()) {
        refused_in_subprocess();
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
}

/* ---- timers ---- */

static GString *trace;

static void timer_say(void *arg)
{
    g_string_append(trace, arg);
}

static void timers_main(Co *co, void *arg)
{
    const char *names[] = { "a", "b", "c", "d", "e", "f" };
    int order[] = { 3, 0, 5, 1, 4, 2 };
    LoopTimer *t[6];
    int64_t now = clock_ns();

    for (int i = 0; i < 6; i++) {
        t[i] = loop_timer_new(co_loop(co), timer_say, (void *)names[i]);
    }
    for (int i = 0; i < 6; i++) {
        loop_timer_set(t[order[i]], now + (order[i] + 1) * 1000000);
    }
    loop_timer_set(t[4], now + 500000);                 /* moved forward */
    loop_timer_set(t[1], now + 7000000);                /* moved back */
    loop_timer_cancel(t[2]);
    loop_timer_cancel(t[2]);
    co_sleep(co, 9000000);
    g_assert_cmpstr(trace->str, ==, "eadfb");
    for (int i = 0; i < 6; i++) {
        loop_timer_set(t[i], now);
    }
    for (int i = 5; i >= 3; i--) {
        loop_timer_free(t[i]);
    }
    co_sleep(co, 1);
    g_assert_cmpstr(trace->str, ==, "eadfbabc");
    for (int i = 0; i < 3; i++) {
        loop_timer_free(t[i]);
    }
    loop_timer_free(NULL);
}

static void test_timers(void)
{
    trace = g_string_new(NULL);
    co_test_run_alone(timers_main, NULL);
    g_string_free(trace, true);
}

typedef struct Many {
    LoopTimer *timer;
    int64_t deadline;
    int64_t *last;
    int *fired;
} Many;

static void many_fire(void *arg)
{
    Many *m = arg;

    g_assert_cmpint(m->deadline, >=, *m->last);
    g_assert_cmpint(clock_ns(), >=, m->deadline);
    *m->last = m->deadline;
    ++*m->fired;
}

/* Random sets, moves and cancels keep the heap in order. */
static void many_timers_main(Co *co, void *arg)
{
    g_autofree Many *m = g_new0(Many, 1000);
    int64_t now = clock_ns(), last = 0;
    int fired = 0, cancelled = 0;

    for (int i = 0; i < 1000; i++) {
        m[i].timer = loop_timer_new(co_loop(co), many_fire, &m[i]);
        m[i].last = &last;
        m[i].fired = &fired;
    }
    for (int i = 0; i < 3000; i++) {
        Many *t = &m[i % 1000];

        t->deadline = now + g_test_rand_int_range(10, 20) * 1000000;
        loop_timer_set(t->timer, t->deadline);
    }
    for (int i = 0; i < 1000; i += 7) {
        loop_timer_cancel(m[i].timer);
        cancelled++;
    }
    co_sleep(co, 30000000);
    g_assert_cmpint(fired, ==, 1000 - cancelled);
    for (int i = 0; i < 1000; i++) {
        loop_timer_free(m[i].timer);
    }
}

static void test_many_timers(void)
{
    co_test_run_alone(many_timers_main, NULL);
}

/* ---- posts and threads ---- */

static void post_count(void *arg)
{
    ++*(int *)arg;
}

static void local_post_main(Co *co, void *arg)
{
    int n = 0;

    loop_post(co_loop(co), post_count, &n);
    g_assert_cmpint(n, ==, 0);
    co_yield(co);
    g_assert_cmpint(n, ==, 1);
}

static void test_local_post(void)
{
    co_test_run_alone(local_post_main, NULL);
}

#define POSTERS 4
#define POSTS 20000

typedef struct Storm {
    Loop *loop;
    Co *co;
    int64_t arrived;
} Storm;

typedef struct Poster {
    Storm *storm;
    int64_t sent, seen;
} Poster;

static void poster_arrive(void *arg)
{
    Poster *p = arg;

    p->seen++;
    if (++p->storm->arrived == POSTERS * POSTS) {
        co_wake(p->storm->co);
    }
}

static gpointer poster_thread(gpointer arg)
{
    Poster *p = arg;

    for (p->sent = 0; p->sent < POSTS; p->sent++) {
        loop_post(p->storm->loop, poster_arrive, p);
        if (p->sent % 1000 == 0) {
            g_usleep(100);      /* let the loop fall asleep now and then */
        }
    }
    return NULL;
}

static void storm_main(Co *co, void *arg)
{
    Storm storm = { co_loop(co), co, 0 };
    Poster p[POSTERS] = { 0 };
    GThread *threads[POSTERS];

    for (int i = 0; i < POSTERS; i++) {
        p[i].storm = &storm;
        threads[i] = g_thread_new("poster", poster_thread, &p[i]);
    }
    co_suspend(co);
    for (int i = 0; i < POSTERS; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpint(p[i].seen, ==, POSTS);
    }
}

/* No post is lost between a loop that falls asleep and those who ring. */
static void test_post_storm(void)
{
    co_test_run_alone(storm_main, NULL);
}

typedef struct Traveller {
    Loop *home;
    LoopThread *threads[2];
    int *done;
} Traveller;

static void travel(Co *co, void *arg)
{
    Traveller *t = arg;
    int private = 0;

    for (int i = 0; i < 200; i++) {
        Loop *loop = loop_thread_loop(t->threads[i % 2]);

        co_move(co, loop);
        g_assert_true(co_loop(co) == loop);
        loop_assert(loop);
        co_yield(co);
        loop_assert(loop);
        private++;
    }
    co_move(co, t->home);
    loop_assert(t->home);
    co_move(co, t->home);
    g_assert_cmpint(private, ==, 200);
    ++*t->done;
}

static void travel_main(Co *co, void *arg)
{
    int done = 0;
    Traveller t = { .home = co_loop(co), .done = &done };

    for (int i = 0; i < 2; i++) {
        t.threads[i] = loop_thread_new("traveller", &error_abort);
        g_assert_cmpint(loop_thread_id(t.threads[i]), >, 0);
        g_assert_cmpint(loop_thread_id(t.threads[i]), !=, getpid());
    }
    for (int i = 0; i < 20; i++) {
        co_spawn(co_loop(co), travel, &t);
    }
    while (done < 20) {
        co_sleep(co, 1000000);
    }
    for (int i = 0; i < 2; i++) {
        loop_thread_free(t.threads[i]);
    }
    loop_thread_free(NULL);
}

static void test_move(void)
{
    co_test_run_alone(travel_main, NULL);
}

static void remote_child(Co *co, void *arg)
{
    Co *parent = arg;

    loop_assert(co_loop(co));
    g_assert_true(co_loop(co) != co_loop(parent));
    co_sleep(co, 1000000);
    co_wake_remote(parent);
}

static void remote_main(Co *co, void *arg)
{
    LoopThread *t = loop_thread_new("a-name-longer-than-the-kernels",
                                    &error_abort);

    for (int i = 0; i < 50; i++) {
        co_spawn_remote(loop_thread_loop(t), remote_child, co);
        co_suspend(co);
    }
    /* The last child may still be on its way out. */
    co_move(co, loop_thread_loop(t));
    co_move(co, loop_main());
    loop_thread_free(t);
}

static void test_remote(void)
{
    co_test_run(remote_main, NULL);
}

static int64_t thread_switches(pid_t tid)
{
    g_autofree char *path = g_strdup_printf("/proc/self/task/%d/status", tid);
    g_autofree char *text = NULL;
    int64_t sum = 0;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    for (char *p = text; (p = strstr(p, "voluntary_ctxt_switches:")); p++) {
        sum += strtoll(p + strlen("voluntary_ctxt_switches:"), NULL, 10);
    }
    return sum;
}

static void test_idle(void)
{
    LoopThread *t = loop_thread_new("idle", &error_abort);
    int64_t before;

    g_usleep(50000);
    before = thread_switches(loop_thread_id(t));
    g_usleep(300000);
    g_assert_cmpint(thread_switches(loop_thread_id(t)), ==, before);
    loop_thread_free(t);
}

/* Coroutines that never wait don't keep timers and I/O from their turn. */
static void spinner(Co *co, void *arg)
{
    bool *stop = arg;

    while (!*stop) {
        co_yield(co);
    }
}

static void fair_main(Co *co, void *arg)
{
    bool stop = false;
    int fds[2];
    char c;
    struct msghdr msg = { .msg_iov = &(struct iovec){ &c, 1 },
                          .msg_iovlen = 1 };

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
                    ==, 0);
    for (int i = 0; i < 10; i++) {
        co_spawn(co_loop(co), spinner, &stop);
    }
    co_sleep(co, 1000000);
    g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
    g_assert_cmpint(co_poll(co, fds[0], POLLIN) & POLLIN, ==, POLLIN);
    g_assert_cmpint(co_recvmsg(co, fds[0], &msg, 0), ==, 1);
    stop = true;
    co_yield(co);
    close(fds[0]);
    close(fds[1]);
}

static void test_fair(void)
{
    co_test_run_alone(fair_main, NULL);
}

static void stop_thread_loop(void *arg)
{
    loop_stop(arg);
}

/* A loop runs again after a stop, with what was left. */
static void test_run_again(void)
{
    Loop *loop = loop_new("again", &error_abort);

    for (int i = 0; i < 3; i++) {
        loop_stop(loop);
        loop_run(loop);
    }
    loop_post(loop, stop_thread_loop, loop);
    loop_run(loop);
    loop_free(loop);
}

/* ---- looking before sleeping ---- */

typedef struct Ping {
    int fd;
    int rounds;
    int pause_us;
} Ping;

/* Answers each byte after a pause. */
static void *ping_main(void *arg)
{
    Ping *p = arg;
    char c;

    for (int i = 0; i < p->rounds; i++) {
        g_assert_cmpint(read(p->fd, &c, 1), ==, 1);
        if (p->pause_us) {
            g_usleep(p->pause_us);
        }
        g_assert_cmpint(write(p->fd, &c, 1), ==, 1);
    }
    return NULL;
}

static void ping_rounds(Co *co, int rounds, int pause_us)
{
    int fds[2];
    Ping p = { .rounds = rounds, .pause_us = pause_us };
    pthread_t thread;
    char c = 'x';

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_unix_set_fd_nonblocking(fds[0], true, NULL);
    p.fd = fds[1];
    g_assert_cmpint(pthread_create(&thread, NULL, ping_main, &p), ==, 0);
    for (int i = 0; i < rounds; i++) {
        g_assert_cmpint(write(fds[0], &c, 1), ==, 1);
        g_assert_cmpint(co_recv(co, fds[0], &c, 1), ==, 1);
    }
    pthread_join(thread, NULL);
    close(fds[0]);
    close(fds[1]);
}

static int64_t thread_cpu_ns(void)
{
    struct timespec ts;

    g_assert_cmpint(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts), ==, 0);
    return ts.tv_sec * (int64_t)1000000000 + ts.tv_nsec;
}

/* It learns to look for as long as it may where answers come soon, and timers
 * are not late by it; what comes seldom is slept for. */
static void polling_main(Co *co, void *arg)
{
    LoopPolling set = { .max_ns = (int64_t)1000000000 };
    Loop *loop = co_loop(co);
    int64_t t0, cpu;

    if (!loop->engine->peek) {
        g_test_skip("this engine can't look");
        return;
    }
    loop_set_polling(loop, &set);
    co_yield(co);
    ping_rounds(co, 40, 0);
    g_assert_cmpint(loop->poll.ns, >, 0);

    /* A timer within the time it would look: it sleeps. */
    loop->poll = (LoopPoll){ .set = set, .ns = set.max_ns };
    t0 = clock_ns();
    cpu = thread_cpu_ns();
    co_sleep(co, 100000000);
    g_assert_cmpint(clock_ns() - t0, >=, 100000000);
    g_assert_cmpint(thread_cpu_ns() - cpu, <, 50000000);

    /* Later than it may look: the time falls to nothing at once, or in steps. */
    set.max_ns = 1000;
    loop->poll = (LoopPoll){ .set = set, .ns = set.max_ns };
    ping_rounds(co, 1, 20000);
    g_assert_cmpint(loop->poll.ns, ==, 0);
    set.shrink = 4;
    loop->poll = (LoopPoll){ .set = set, .ns = set.max_ns };
    ping_rounds(co, 1, 20000);
    g_assert_cmpint(loop->poll.ns, ==, 250);

    /* Each whole look in vain is followed by more waits without any. */
    g_assert_cmpuint(loop->poll.penalty, ==, 1);
    g_assert_cmpuint(loop->poll.skip, ==, 1);
    loop->poll.ns = set.max_ns;
    ping_rounds(co, 2, 20000);
    g_assert_cmpuint(loop->poll.penalty, ==, 3);
    g_assert_cmpuint(loop->poll.skip, ==, 3);

    /* As long as can be said. */
    set = (LoopPolling){ INT64_MAX, INT64_MAX, 0 };
    loop_set_polling(loop, &set);
    co_yield(co);
    ping_rounds(co, 40, 0);
    loop->poll.penalty = loop->poll.skip = 0;
    ping_rounds(co, 1, 20000);
    g_assert_cmpint(loop->poll.ns, >, 0);
    g_assert_cmpuint(loop->poll.penalty, ==, 0);

    /* Not at all. */
    set = (LoopPolling){ 0 };
    loop_set_polling(loop, &set);
    co_yield(co);
    ping_rounds(co, 40, 0);
    g_assert_cmpint(loop->poll.ns, ==, 0);
    g_assert_cmpint(loop->poll.began, ==, 0);
}

static void test_polling(void)
{
    co_test_run_alone(polling_main, NULL);
}

/* CPU time of a round whose peer answers at once. */
static int64_t ping_cost(Co *co)
{
    enum { ROUNDS = 5000 };
    int64_t cpu = thread_cpu_ns();

    ping_rounds(co, ROUNDS, 0);
    return (thread_cpu_ns() - cpu) / ROUNDS;
}

/* A peer on the loop's own CPU: looking keeps it from its answer, and must be
 * given up. */
static void polling_in_vain_main(Co *co, void *arg)
{
    LoopPolling none = { 0 };
    cpu_set_t old, one;
    int64_t with, without;

    g_assert_cmpint(sched_getaffinity(0, sizeof(old), &old), ==, 0);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    g_assert_cmpint(sched_setaffinity(0, sizeof(one), &one), ==, 0);
    with = ping_cost(co);
    loop_set_polling(co_loop(co), &none);
    co_yield(co);
    without = ping_cost(co);
    g_test_message("%" PRId64 ", without %" PRId64 " ns", with, without);
    g_assert_cmpint(with, <, without + LOOP_POLL_NS / 2);
    g_assert_cmpint(sched_setaffinity(0, sizeof(old), &old), ==, 0);
}

static void test_polling_in_vain(void)
{
    co_test_run_alone(polling_in_vain_main, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop/engine", test_engine);
    g_test_add_func("/loop/engine-unknown", test_engine_unknown);
    g_test_add_func("/loop/refused", test_refused);
    g_test_add_func("/loop/timers", test_timers);
    g_test_add_func("/loop/many-timers", test_many_timers);
    g_test_add_func("/loop/local-post", test_local_post);
    g_test_add_func("/loop/post-storm", test_post_storm);
    g_test_add_func("/loop/move", test_move);
    g_test_add_func("/loop/remote", test_remote);
    g_test_add_func("/loop/idle", test_idle);
    g_test_add_func("/loop/fair", test_fair);
    g_test_add_func("/loop/run-again", test_run_again);
    g_test_add_func("/loop/polling", test_polling);
    g_test_add_func("/loop/polling-in-vain", test_polling_in_vain);
    return g_test_run();
}
