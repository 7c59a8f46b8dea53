/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-storage-daemon: sets up what the options say, serves QMP until it is
 * asked to end, and takes everything down in order.
 *
 * The order of the end: jobs are told, so that none holds up what follows;
 * clients of exports go, so that no more requests come; then the NBD server,
 * the jobs, and the nodes, which store what they have in memory; the last events
 * are told; then threads and files go. The same way ends a start that has
 * failed.
 */
#include "options.h"

#include "block/drivers.h"
#include "block/export.h"
#include "block/graph.h"
#include "block/owner.h"
#include "job/job.h"
#include "monitor/monitor.h"
#include "monitor/object.h"
#include "nbd/server.h"
#include "util/daemonize.h"
#include "util/pidfile.h"
#include "util/program.h"
#include "util/signals.h"

#include <signal.h>
#include <unistd.h>

static bool background;
static Co *setup_co;            /* while options are carried out */

static void on_signal(int sig, void *arg)
{
    monitor_request_quit();
    if (setup_co) {
        /* It may be waiting for a client. */
        co_io_cancel(setup_co);
    }
}

static bool set_up(Co *co, int argc, char **argv, int *status)
{
    const char *pidfile = NULL;
    OptionsResult result;
    Error *err = NULL;

    setup_co = co;
    result = options_process(co, argc, argv, &pidfile);
    setup_co = NULL;
    if (monitor_quit_requested() || result == OPTIONS_HELP) {
        *status = EXIT_SUCCESS;
        return false;
    }
    *status = EXIT_FAILURE;
    if (result == OPTIONS_FAILED) {
        return false;
    }
    if (pidfile && !pidfile_create(pidfile, &err)) {
        error_reportf_err(err, "cannot create PID file: ");
        return false;
    }
    *status = EXIT_SUCCESS;
    return true;
}

static void go_to_background(void)
{
    if (chdir("/") < 0) {
        warn_report("cannot change to the root folder");
    }
    daemonize_ready();
}

static void take_down(Co *co)
{
    NbdServer *server;

    control_lock(co);
    job_ask_all_to_end(co);
    export_close_all(co, BLOCK_EXPORT_TYPE__MAX);
    server = nbd_server_next(NULL);
    if (server) {
        nbd_server_stop(co, server);
    }
    job_cancel_all(co);
    node_unref_named(co);
    control_unlock(co);
    monitor_finish(co);
    control_lock(co);
    object_del_all(co);
    control_unlock(co);
    pidfile_remove();
}

static int storage_daemon(Co *co, int argc, char **argv)
{
    static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };
    Error *err = NULL;
    Signals *signals;
    int status;

    signals = signals_watch(loop_main(), sigs, ARRAY_SIZE(sigs), on_signal,
                            NULL, &err);
    if (!signals) {
        error_report_err(err);
        return EXIT_FAILURE;
    }
    block_init();
    nbd_export_init();
    monitor_on_session_end(owner_session_ended);
    if (set_up(co, argc, argv, &status)) {
        if (background) {
            go_to_background();
        }
        monitor_wait_quit(co);
    }
    take_down(co);
    signals_free(signals);
    return status;
}

int main(int argc, char **argv)
{
    background = options_scan(argc, argv);
    if (background) {
        daemonize_begin();
    }
    return program_run(argc, argv, storage_daemon);
}
