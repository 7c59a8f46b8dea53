/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* Monitors bring clients and sessions together. */

#include "monitor/monitor.h"

#include "monitor/chardev.h"
#include "session.h"

typedef struct Monitor {
    Chardev *chr;
    bool pretty;
} Monitor;

static GPtrArray *monitors;     /* of Monitor; NULL: none */
static bool quit_requested;
static Co *quit_waiter;

static void monitor_client_gone(void *opaque)
{
    Monitor *mon = opaque;

    chardev_client_gone(mon->chr);
}

static void monitor_client(Channel *ch, void *opaque)
{
    Monitor *mon = opaque;

    session_start(ch, mon->pretty, monitor_client_gone, mon);
}

bool monitor_add(const MonitorOptions *opts, Error **errp)
{
    Chardev *chr = chardev_find(opts->chardev);
    Monitor *mon;

    if (!chr) {
        error_setg(errp, "chardev \"%s\" not found", opts->chardev);
        return false;
    }
    if (opts->has_mode && opts->mode != MONITOR_MODE_CONTROL) {
        error_setg(errp, "Only QMP is supported");
        return false;
    }
    mon = g_new0(Monitor, 1);
    mon->chr = chr;
    mon->pretty = opts->has_pretty && opts->pretty;
    if (!chardev_use(chr, monitor_client, mon, errp)) {
        g_free(mon);
        return false;
    }
    if (!monitors) {
        monitors = g_ptr_array_new_with_free_func(g_free);
    }
    g_ptr_array_add(monitors, mon);
    return true;
}

/* ---- the end ---- */

void monitor_request_quit(void)
{
    quit_requested = true;
    session_stop_all();
    if (quit_waiter) {
        co_wake(g_steal_pointer(&quit_waiter));
    }
}

void monitor_on_session_end(void (*fn)(unsigned session))
{
    session_set_end(fn);
}

bool monitor_quit_requested(void)
{
    return quit_requested;
}

void monitor_wait_quit(Co *co)
{
    if (!quit_requested) {
        quit_waiter = co;
        co_suspend(co);
    }
}

void monitor_finish(Co *co)
{
    chardev_stop_all(co);
    session_finish_all(co);
    chardev_remove_all();
    g_clear_pointer(&monitors, g_ptr_array_unref);
    quit_requested = false;
}
