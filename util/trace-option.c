/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Scripts that were written for QEMU may ask for its trace events. None of
 * them exists here, so that each name gets QEMU's warning; a pattern matches
 * nothing, which is no error. For a look inside there are perf and gdb.
 */
#include "util/osdep.h"

#include "util/error.h"
#include "util/json.h"
#include "util/keyval.h"
#include "util/trace-option.h"

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

static bool trace_file(const char *path)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL)) {
        error_report("%s: %s", path, strerror(errno));
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

static bool trace_check_keys(const json_t *opts)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)opts, key, value) {
        if (!g_str_equal(key, "enable") && !g_str_equal(key, "events") &&
            !g_str_equal(key, "file")) {
            error_report("Invalid parameter '%s'", key);
            return false;
        }
    }
    return true;
}

int trace_option(const char *arg)
{
    Error *err = NULL;
    g_autoptr(json_t) opts = keyval_parse_flat(arg, "enable", NULL, &err);
    const char *key;
    json_t *value;

    if (!opts) {
        error_report_err(err);
        return 1;
    }
    if (!trace_check_keys(opts)) {
        return 1;
    }
    json_object_foreach(opts, key, value) {
        const char *str = json_string_value(value);

        if (g_str_equal(key, "enable") && g_str_equal(str, "help")) {
            return 0;
        }
        if (g_str_equal(key, "enable")) {
            trace_name(str);
        } else if (g_str_equal(key, "events") && !trace_file(str)) {
            return 1;
        }
    }
    return -1;
}
