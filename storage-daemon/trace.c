/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Scripts that were written for QEMU may ask for its trace events. None of
 * them exists here, so that each name gets QEMU's warning; a pattern matches
 * nothing, which is no error. For a look inside there are perf and gdb.
 */
#include "trace.h"

#include "util/json.h"
#include "util/keyval.h"

/* "-name" switches off; '*' and '?' make a pattern. */
static void trace_name(const char *name)
{
    if (*name == '-') {
        name++;
    }
    if (*name && !strpbrk(name, "*?")) {
        warn_report("trace event '%s' does not exist", name);
    }
}

static bool trace_file(const char *path, Error **errp)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        error_setg_errno(errp, errno, "Could not read '%s'", path);
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    for (int i = 0; lines[i]; i++) {
        g_strstrip(lines[i]);
        if (*lines[i] != '#') {
            trace_name(lines[i]);
        }
    }
    return true;
}

OptionsResult trace_option(const char *arg, Error **errp)
{
    g_autoptr(json_t) opts = keyval_parse_flat(arg, "enable", NULL, errp);
    const char *key;
    json_t *value;

    json_object_foreach(opts, key, value) {
        const char *str = json_string_value(value);

        if (g_str_equal(key, "enable") && g_str_equal(str, "help")) {
            return OPTIONS_HELP;
        }
        if (g_str_equal(key, "enable")) {
            trace_name(str);
        } else if (g_str_equal(key, "events")) {
            if (!trace_file(str, errp)) {
                return OPTIONS_FAILED;
            }
        } else if (!g_str_equal(key, "file")) {
            error_setg(errp, "Invalid parameter '%s'", key);
            return OPTIONS_FAILED;
        }
    }
    return OPTIONS_DONE;
}
