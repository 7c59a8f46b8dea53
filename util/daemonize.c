/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The child's standard error is a pipe until it is ready. A zero byte in it
 * says so; the pipe's end without one says that the child has failed.
 */

#include "util/daemonize.h"
#include "util/osdep.h"

#include <fcntl.h>
#include <sys/wait.h>

static bool waiting;            /* a parent waits for daemonize_ready() */

/* Copies to standard error what the child prints; true if it got ready. */
static bool parent_listen(int fd)
{
    char buf[1024];
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) > 0 ||
           (n < 0 && errno == EINTR)) {
        char *zero = n > 0 ? memchr(buf, 0, n) : NULL;

        if (n > 0) {
            fwrite(buf, 1, zero ? zero - buf : n, stderr);
        }
        if (zero) {
            return true;
        }
    }
    return false;
}

static void G_GNUC_NORETURN parent_wait(pid_t child, int fd)
{
    int status;

    if (parent_listen(fd)) {
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        continue;
    }
    _exit(WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
}

void daemonize_begin(void)
{
    int fds[2];
    pid_t child;

    if (pipe(fds) < 0 || (child = fork()) < 0) {
        perror("Failed to fork");
        exit(1);
    }
    if (child) {
        close(fds[1]);
        parent_wait(child, fds[0]);
    }
    close(fds[0]);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    waiting = true;
}

bool daemonize_pending(void)
{
    return waiting;
}

void daemonize_ready(void)
{
    int null;

    if (!waiting) {
        return;
    }
    waiting = false;
    setsid();
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    fflush(stderr);
    if (write(STDERR_FILENO, "", 1) == 1 && null >= 0) {
        dup2(null, STDERR_FILENO);
    }
    if (null > STDERR_FILENO) {
        close(null);
    }
}
