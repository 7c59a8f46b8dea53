/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The frame of a program: the main loop, and one coroutine that is the program.
 */
#ifndef UTIL_PROGRAM_H
#define UTIL_PROGRAM_H

#include "util/co.h"

/* The program: its result is the exit status. Main loop; may suspend. */
typedef int ProgramFn(Co *co, int argc, char **argv);

/*
 * What main() calls, after any fork(): names the program for messages, puts
 * /dev/null where standard input or output is closed, ignores SIGPIPE and
 * SIGXFSZ, makes the main loop and runs it until @fn returns. Returns what main()
 * shall return: EX_OSERR, 71, with a message, if there can be no loop. What other
 * coroutines still do then is not waited for.
 */
int program_run(int argc, char **argv, ProgramFn *fn);

#endif
