/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * main() of every program. The only place but for loop-thread.c where a loop is
 * run: everything else happens in coroutines.
 */

#include "util/error.h"
#include "util/loop.h"
#include "util/program.h"

#include <signal.h>

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

int program_run(int argc, char **argv, ProgramFn *fn)
{
    Program p = { .fn = fn, .argc = argc, .argv = argv };
    Error *err = NULL;

    error_init(argv[0]);
    signal(SIGPIPE, SIG_IGN);
    if (!loop_init_main(&err)) {
        error_report_err(err);
        return 1;
    }
    co_spawn(loop_main(), program_co, &p);
    loop_run(loop_main());
    return p.status;
}
