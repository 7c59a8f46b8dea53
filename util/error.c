/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Error objects, and the one place where the programs write messages.
 *
 * An Error is a message, a class and perhaps a hint. Two addresses are special
 * as `Error **`: &error_abort and &error_fatal. They never hold an error; an
 * error that arrives there is printed and ends the process. So whatever stores
 * into an errp goes through error_deliver().
 *
 * A printed line is "PROGRAM: [LOCATION: ][warning: |info: ]MESSAGE", and the
 * hint follows as it is. The line leaves in one write, so that those of several
 * threads do not mix. The program's name and the location are set by main()
 * while it parses its arguments, before there is a second thread.
 */
#include "util/error.h"

#include <stdatomic.h>
#include <sysexits.h>

struct Error {
    char *msg;
    GString *hint;          /* NULL if there is none */
    ErrorClass cls;
};

Error *error_abort;
Error *error_fatal;

static const char *error_program;
static char *error_location;
static atomic_bool error_late;

void error_init(const char *argv0)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;

    error_program = slash ? slash + 1 : argv0;
}

void error_set_location(const char *fmt, ...)
{
    g_free(error_location);
    error_location = NULL;
    if (fmt) {
        va_list ap;

        va_start(ap, fmt);
        error_location = g_strdup_vprintf(fmt, ap);
        va_end(ap);
    }
}

/* One line, perhaps with its hint, in one write. */
static void error_print(const char *kind, const char *msg, const char *hint)
{
    g_autofree char *text = NULL;

    text = g_strdup_printf("%s: %s%s%s%s\n%s",
                           error_program ?: program_invocation_short_name,
                           error_location ?: "", error_location ? ": " : "",
                           kind, msg, hint);
    fflush(stdout);
    fputs(text, stderr);
    fflush(stderr);
}

/* Takes @err; must not be handed NULL. */
static void error_deliver(Error **errp, Error *err)
{
    if (errp == &error_abort) {
        error_print("", err->msg, error_get_hint(err));
        abort();
    }
    if (errp == &error_fatal) {
        error_report_err(err);
        exit(1);
    }
    if (errp && !*errp) {
        *errp = err;
    } else {
        error_free(err);
    }
}

static void G_GNUC_PRINTF(4, 0)
error_setv(Error **errp, ErrorClass cls, const char *suffix, const char *fmt,
           va_list ap)
{
    int saved = errno;
    Error *err;

    if (!errp) {
        return;
    }
    g_assert(!*errp);

    err = g_new0(Error, 1);
    err->cls = cls;
    err->msg = g_strdup_vprintf(fmt, ap);
    if (suffix) {
        char *msg = g_strconcat(err->msg, ": ", suffix, NULL);

        g_free(err->msg);
        err->msg = msg;
    }
    error_deliver(errp, err);
    errno = saved;
}

void error_setg(Error **errp, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_setv(errp, ERROR_CLASS_GENERIC_ERROR, NULL, fmt, ap);
    va_end(ap);
}

void error_setg_errno(Error **errp, int err, const char *fmt, ...)
{
    int num = err < 0 ? -err : err;
    va_list ap;

    va_start(ap, fmt);
    error_setv(errp, ERROR_CLASS_GENERIC_ERROR, num ? g_strerror(num) : NULL,
               fmt, ap);
    va_end(ap);
}

void error_set(Error **errp, ErrorClass cls, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_setv(errp, cls, NULL, fmt, ap);
    va_end(ap);
}

void error_prepend(Error *const *errp, const char *fmt, ...)
{
    g_autofree char *prefix = NULL;
    char *msg;
    va_list ap;

    if (!errp) {
        return;
    }
    va_start(ap, fmt);
    prefix = g_strdup_vprintf(fmt, ap);
    va_end(ap);

    msg = g_strconcat(prefix, (*errp)->msg, NULL);
    g_free((*errp)->msg);
    (*errp)->msg = msg;
}

void error_append_hint(Error *const *errp, const char *fmt, ...)
{
    va_list ap;

    if (!errp) {
        return;
    }
    if (!(*errp)->hint) {
        (*errp)->hint = g_string_new(NULL);
    }
    va_start(ap, fmt);
    g_string_append_vprintf((*errp)->hint, fmt, ap);
    va_end(ap);
}

void error_propagate(Error **errp, Error *err)
{
    if (err) {
        error_deliver(errp, err);
    }
}

const char *error_get_pretty(const Error *err)
{
    return err->msg;
}

const char *error_get_hint(const Error *err)
{
    return err->hint ? err->hint->str : "";
}

ErrorClass error_get_class(const Error *err)
{
    return err->cls;
}

const char *error_class_str(ErrorClass cls)
{
    static const char *const names[] = {
        [ERROR_CLASS_GENERIC_ERROR] = "GenericError",
        [ERROR_CLASS_COMMAND_NOT_FOUND] = "CommandNotFound",
        [ERROR_CLASS_DEVICE_NOT_ACTIVE] = "DeviceNotActive",
        [ERROR_CLASS_DEVICE_NOT_FOUND] = "DeviceNotFound",
        [ERROR_CLASS_KVM_MISSING_CAP] = "KVMMissingCap",
    };

    return names[cls];
}

Error *error_copy(const Error *err)
{
    Error *copy = g_new0(Error, 1);

    copy->msg = g_strdup(err->msg);
    copy->cls = err->cls;
    if (err->hint) {
        copy->hint = g_string_new(err->hint->str);
    }
    return copy;
}

void error_free(Error *err)
{
    if (err) {
        g_free(err->msg);
        if (err->hint) {
            g_string_free(err->hint, TRUE);
        }
        g_free(err);
    }
}

void error_clear(Error **errp)
{
    if (errp) {
        error_free(*errp);
        *errp = NULL;
    }
}

void error_guard_cleanup(ErrorGuard *guard)
{
    error_propagate(guard->caller, guard->local);
}

void error_report_err(Error *err)
{
    error_print("", err->msg, error_get_hint(err));
    error_free(err);
}

void error_report_late(Error *err)
{
    atomic_store(&error_late, true);
    error_report_err(err);
}

bool error_was_late(void)
{
    return atomic_load(&error_late);
}

void error_reportf_err(Error *err, const char *fmt, ...)
{
    g_autofree char *prefix = NULL;
    va_list ap;

    va_start(ap, fmt);
    prefix = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_prepend(&err, "%s", prefix);
    error_report_err(err);
}

static void G_GNUC_PRINTF(2, 0)
error_vreport(const char *kind, const char *fmt, va_list ap)
{
    g_autofree char *msg = g_strdup_vprintf(fmt, ap);

    error_print(kind, msg, "");
}

void error_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_vreport("", fmt, ap);
    va_end(ap);
}

void warn_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_vreport("warning: ", fmt, ap);
    va_end(ap);
}

void warn_report_err(Error *err)
{
    error_print("warning: ", err->msg, error_get_hint(err));
    error_free(err);
}

void info_report(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    error_vreport("info: ", fmt, ap);
    va_end(ap);
}

void error_exit(int err, const char *fmt, ...)
{
    g_autofree char *msg = NULL;
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    text = g_strdup_printf("%s%s%s", msg, err ? ": " : "",
                           err ? g_strerror(err) : "");
    error_print("", text, "");
    _exit(EX_OSERR);
}
