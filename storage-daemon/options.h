/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The command line of qemu-storage-daemon. */
#ifndef STORAGE_DAEMON_OPTIONS_H
#define STORAGE_DAEMON_OPTIONS_H

#include "util/co.h"

typedef enum OptionsResult {
    OPTIONS_DONE,               /* all is set up */
    OPTIONS_HELP,               /* help was asked for and given */
    OPTIONS_FAILED,             /* the reason has been printed */
} OptionsResult;

/* What is looked at before there is a loop: prints help or the version and
 * exits; true if the program goes to the background. Exits on bad usage. */
bool options_scan(int argc, char **argv);

/*
 * Carries out all others in the order that they have. *@pidfile is set to what
 * --pidfile says. Ends without a message if the program is asked to quit.
 * Suspends.
 */
OptionsResult options_process(Co *co, int argc, char **argv,
                              const char **pidfile);

/* ---- help.c ---- */

void help_print(const char *program);
void help_print_version(void);
void help_print_chardevs(void);
void help_print_objects(void);
/* Falls back to the list if there is no such type. */
void help_print_object(const char *type);

#endif
