/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Errors of the control path: a message for people and a class for QMP.
 *
 * A function that can fail takes `Error **errp` last and returns a bool or a
 * pointer. On failure it sets *errp unless errp is NULL; on success it leaves
 * it alone. The message is set where the cause is known, prefixed on the way
 * up and printed once. The data path returns -errno instead, never both.
 *
 * errp may be NULL (the caller does not want the message), &error_abort or
 * &error_fatal (print and exit with 1). Messages end without a full stop or a
 * newline; further lines for the reader go into the hint.
 */
#ifndef UTIL_ERROR_H
#define UTIL_ERROR_H

#include "util/osdep.h"

typedef struct Error Error;

typedef enum ErrorClass {
    ERROR_CLASS_GENERIC_ERROR,
    ERROR_CLASS_COMMAND_NOT_FOUND,
    ERROR_CLASS_DEVICE_NOT_ACTIVE,
    ERROR_CLASS_DEVICE_NOT_FOUND,
    ERROR_CLASS_KVM_MISSING_CAP,
} ErrorClass;

extern Error *error_abort;
extern Error *error_fatal;

void error_setg(Error **errp, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* Appends ": strerror(@err)"; @err is a positive or negative errno. */
void error_setg_errno(Error **errp, int err, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);
void error_set(Error **errp, ErrorClass cls, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/* *@errp must be set (or errp be NULL). */
void error_prepend(Error *const *errp, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);
void error_append_hint(Error *const *errp, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);

/* Gives @err (may be NULL) to @errp, or frees it if nobody wants it. */
void error_propagate(Error **errp, Error *err);

const char *error_get_pretty(const Error *err);
const char *error_get_hint(const Error *err);    /* "" if there is none */
ErrorClass error_get_class(const Error *err);
/* The class as QMP spells it: "GenericError", "CommandNotFound", ... */
const char *error_class_str(ErrorClass cls);
Error *error_copy(const Error *err);
void error_free(Error *err);
/* error_free(*@errp), *@errp = NULL; all of it may be NULL. */
void error_clear(Error **errp);

/*
 * Printing, as the programs do: "PROGRAM: message\nhint". Consumes @err.
 * error_init() sets the program's name from argv[0], as QEMU shows it: what
 * follows the last slash. @argv0 must live on.
 */
void error_init(const char *argv0);
/*
 * What is being parsed, shown between the program's name and the message:
 * "--blockdev ARG". NULL when the arguments have been read. Main thread,
 * before there are others.
 */
void error_set_location(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void error_report_err(Error *err);
void error_reportf_err(Error *err, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* For what goes wrong where no caller can be told, as at a close: prints it, and
 * from then on error_was_late(), which the exit code of a tool obeys. Any thread. */
void error_report_late(Error *err);
bool error_was_late(void);
void error_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void warn_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
void warn_report_err(Error *err);
void info_report(const char *fmt, ...) G_GNUC_PRINTF(1, 2);

/*
 * What a process can't go on without is not to be had, and nobody can be told:
 * prints "MESSAGE: strerror(@err)", without the latter if that is 0, and ends the
 * process without a look back, as other threads may be at work. A loss of power is
 * no worse. With 71 (EX_OSERR), as 1 is what compare says of images that differ.
 */
_Noreturn void error_exit(int err, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Error, error_free)

/*
 * For functions that must see the error that they pass up even if their caller
 * passed NULL or &error_fatal: first statement of the function.
 */
typedef struct ErrorGuard {
    Error *local;
    Error **caller;
} ErrorGuard;
void error_guard_cleanup(ErrorGuard *guard);
#define ERRP_GUARD()                                                          \
    __attribute__((cleanup(error_guard_cleanup))) ErrorGuard error_guard_ = { \
        NULL, errp };                                                         \
    if (!errp || errp == &error_fatal) {                                      \
        errp = &error_guard_.local;                                           \
    }

#endif
