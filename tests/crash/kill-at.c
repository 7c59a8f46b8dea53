/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Runs a program and kills it (SIGKILL) just before it changes files for the
 * n-th time, counted from its first change of a file's name:
 *
 *     KILL_AT=n KILL_AT_PROGRAM=program kill-at arguments...
 *
 * The arguments are the program's. What counts are the system calls that name,
 * write and flush files, of all threads; which of them it was goes to standard
 * error. Exits with 137 if the program was killed, with 77 if programs can't be
 * watched here, else with the program's own code.
 */

#include "util/osdep.h"

#include <errno.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define EXIT_KILLED 137
#define EXIT_CANT 77

typedef struct Call {
    unsigned long number;
    const char *name;
    bool names;
} Call;

static const Call calls[] = {
#ifdef SYS_link
    { SYS_link, "link", true },
    { SYS_rename, "rename", true },
    { SYS_unlink, "unlink", true },
#endif
    { SYS_linkat, "linkat", true },
    { SYS_renameat2, "renameat2", true },
#ifdef SYS_renameat
    { SYS_renameat, "renameat", true },
#endif
    { SYS_unlinkat, "unlinkat", true },
    { SYS_pwrite64, "pwrite", false },
    { SYS_pwritev, "pwritev", false },
    { SYS_pwritev2, "pwritev2", false },
    { SYS_fsync, "fsync", false },
    { SYS_fdatasync, "fdatasync", false },
    { SYS_fallocate, "fallocate", false },
    { SYS_ftruncate, "ftruncate", false },
    { SYS_io_uring_enter, "io_uring_enter", false },
};

static const Call *call_find(unsigned long number)
{
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        if (calls[i].number == number) {
            return &calls[i];
        }
    }
    return NULL;
}

/* The call that @pid is about to make; NULL: another one, or it comes back. */
static const Call *call_entered(pid_t pid)
{
    struct __ptrace_syscall_info info = { 0 };

    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_ENTRY) {
        return NULL;
    }
    return call_find(info.entry.nr);
}

static int watch(pid_t main_pid, int64_t left)
{
    bool begun = false;
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
        int sig = 0;

        if (pid == main_pid && WIFEXITED(status)) {
            return WEXITSTATUS(status);
        }
        if (pid == main_pid && WIFSIGNALED(status)) {
            return 128 + WTERMSIG(status);
        }
        if (!WIFSTOPPED(status)) {
            continue;
        }
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            const Call *call = call_entered(pid);

            begun |= call && call->names;
            if (begun && call && --left == 0) {
                kill(main_pid, SIGKILL);
                fprintf(stderr, "kill-at: before %s\n", call->name);
                continue;
            }
        } else if (!(status >> 16) && WSTOPSIG(status) != SIGSTOP) {
            sig = WSTOPSIG(status);
        }
        ptrace(PTRACE_SYSCALL, pid, 0, sig);
    }
    return EXIT_CANT;
}

int main(int argc, char **argv)
{
    const char *count = getenv("KILL_AT");
    const char *program = getenv("KILL_AT_PROGRAM");
    int status;
    pid_t pid;

    if (!count || !program) {
        fprintf(stderr, "kill-at: KILL_AT and KILL_AT_PROGRAM are needed\n");
        return EXIT_FAILURE;
    }
    pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0) {
            _exit(EXIT_CANT);
        }
        raise(SIGSTOP);
        execv(program, argv);
        _exit(EXIT_FAILURE);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, pid, 0,
               PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE |
               PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL) < 0) {
        return EXIT_CANT;
    }
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    return watch(pid, g_ascii_strtoll(count, NULL, 10));
}
