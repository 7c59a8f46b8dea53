/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * main() of every program. The only place but for loop-thread.c where a loop is
 * run: everything else happens in coroutines.
 */

#include "util/error.h"
#include "util/loop.h"
#include "util/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sysexits.h>

typedef struct Program {
    ProgramFn *fn;
    int argc;
    char **argv;
    int status;
} Program;

static void program_co(Co *co, void *opaque)
{
    Program *p = opaque;

    p->status = p->fn(co, p->argc, p->argv);
    loop_stop(loop_main());
}

/* Where a program is started without them, an image must not be opened in the
 * place of its output, which would go into it. */
static void program_fill_standard_fds(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

int program_run(int argc, char **argv, ProgramFn *fn)
{
    Program p = { .fn = fn, .argc = argc, .argv = argv };
    Error *err = NULL;

    error_init(argv[0]);
    program_fill_standard_fds();
    /* That a peer has gone or a file may not be so long is an error, no more. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (!loop_init_main(&err)) {
        error_report_err(err);
        return EX_OSERR;        /* 1 is an answer of compare's */
    }
    co_spawn(loop_main(), program_co, &p);
    loop_run(loop_main());
    return p.status;
}
