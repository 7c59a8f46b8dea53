/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Options, one after the other: each that sets something up does what a QMP
 * command does, with typed options made of key=value text or of JSON.
 */
#include "options.h"

#include "block/graph.h"
#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "monitor/object.h"
#include "nbd/address.h"
#include "qapi/qapi-commands.h"
#include "util/keyval.h"
#include "util/loop.h"
#include "util/trace-option.h"

#include <getopt.h>

enum {
    OPT_BLOCKDEV = 256, OPT_CHARDEV, OPT_DAEMONIZE, OPT_EXPORT, OPT_MONITOR,
    OPT_NBD_SERVER, OPT_OBJECT, OPT_PIDFILE, OPT_UNEXPECTED = 1,
};

/* In order, and what is no option as an option of its own. */
static const char short_options[] = "-hT:V";
static const struct option long_options[] = {
    { "blockdev", required_argument, NULL, OPT_BLOCKDEV },
    { "chardev", required_argument, NULL, OPT_CHARDEV },
    { "daemonize", no_argument, NULL, OPT_DAEMONIZE },
    { "export", required_argument, NULL, OPT_EXPORT },
    { "help", no_argument, NULL, 'h' },
    { "monitor", required_argument, NULL, OPT_MONITOR },
    { "nbd-server", required_argument, NULL, OPT_NBD_SERVER },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "pidfile", required_argument, NULL, OPT_PIDFILE },
    { "trace", required_argument, NULL, 'T' },
    { "version", no_argument, NULL, 'V' },
    { NULL }
};

/* ---- text to values ---- */

typedef struct OptionValue {
    json_t *json;
    QapiMode mode;
    bool help;                  /* asked for */
} OptionValue;

static bool option_parse(const char *arg, const char *implied_key,
                         bool has_help, OptionValue *value, Error **errp)
{
    *value = (OptionValue){ NULL };
    if (*arg == '{') {
        value->mode = QAPI_STRICT;
        value->json = json_parse_str(arg, errp);
    } else {
        value->mode = QAPI_KEYVAL;
        value->json = keyval_parse(arg, implied_key,
                                   has_help ? &value->help : NULL, errp);
    }
    return value->json;
}

/* A new object of the type; NULL on error. */
static void *option_object(const QapiType *type, const char *arg,
                           const char *implied_key, Error **errp)
{
    OptionValue value;
    void *object;

    if (!option_parse(arg, implied_key, false, &value, errp)) {
        return NULL;
    }
    object = qapi_from_json(type, value.json, value.mode, NULL, errp);
    json_decref(value.json);
    return object;
}

/* ---- the options ---- */

static OptionsResult done_if(bool ok)
{
    return ok ? OPTIONS_DONE : OPTIONS_FAILED;
}

static OptionsResult option_blockdev(Co *co, const char *arg, Error **errp)
{
    g_autoptr(BlockdevOptions) opts =
        option_object(&qapi_type_BlockdevOptions, arg, "driver", errp);

    return done_if(opts && qmp_blockdev_add(co, opts, errp));
}

static OptionsResult option_chardev(Co *co, const char *arg, Error **errp)
{
    g_autoptr(json_t) opts = NULL;
    const char *backend;
    bool help = false;

    opts = keyval_parse_flat_warn(arg, "backend", &help, errp);
    if (!opts) {
        return OPTIONS_FAILED;
    }
    backend = json_get_string(json_object_get(opts, "backend"));
    if (help || (backend && g_str_equal(backend, "help"))) {
        help_print_chardevs();
        return OPTIONS_HELP;
    }
    return done_if(chardev_add(co, opts, errp));
}

static OptionsResult option_export(Co *co, const char *arg, Error **errp)
{
    g_autoptr(BlockExportOptions) opts =
        option_object(&qapi_type_BlockExportOptions, arg, "type", errp);

    return done_if(opts && qmp_block_export_add(co, opts, errp));
}

static OptionsResult option_monitor(Co *co, const char *arg, Error **errp)
{
    g_autoptr(MonitorOptions) opts =
        option_object(&qapi_type_MonitorOptions, arg, "chardev", errp);

    return done_if(opts && monitor_add(opts, errp));
}

static OptionsResult option_nbd_server(Co *co, const char *arg, Error **errp)
{
    g_autoptr(NbdServerOptions) opts =
        option_object(&qapi_type_NbdServerOptions, arg, NULL, errp);
    SockAddr addr;

    if (!opts) {
        return OPTIONS_FAILED;
    }
    addr = sock_addr_from_qapi(opts->addr);
    return done_if(nbd_server_start_qapi(co, qapi_NbdServerOptions_base(opts),
                                         &addr, errp));
}

static OptionsResult option_object_help(const json_t *json)
{
    const char *type = json_get_string(json_object_get(json, "qom-type"));

    if (type) {
        help_print_object(type);
    } else {
        help_print_objects();
    }
    return OPTIONS_HELP;
}

static OptionsResult option_add_object(Co *co, const char *arg, Error **errp)
{
    g_autoptr(ObjectOptions) opts = NULL;
    g_autoptr(json_t) json = NULL;
    OptionValue value;

    if (!option_parse(arg, "qom-type", true, &value, errp)) {
        return OPTIONS_FAILED;
    }
    json = value.json;
    if (value.help) {
        return option_object_help(json);
    }
    opts = ObjectOptions_from_json(json, value.mode, errp);
    return done_if(opts && object_add(co, opts, errp));
}

static OptionsResult option_trace(const char *arg)
{
    int code = trace_option(arg);

    return code < 0 ? OPTIONS_DONE : code == 0 ? OPTIONS_HELP : OPTIONS_FAILED;
}

static OptionsResult option_run(Co *co, int opt, const char *arg,
                                Error **errp)
{
    switch (opt) {
    case OPT_BLOCKDEV:
        return option_blockdev(co, arg, errp);
    case OPT_CHARDEV:
        return option_chardev(co, arg, errp);
    case OPT_EXPORT:
        return option_export(co, arg, errp);
    case OPT_MONITOR:
        return option_monitor(co, arg, errp);
    case OPT_NBD_SERVER:
        return option_nbd_server(co, arg, errp);
    case OPT_OBJECT:
        return option_add_object(co, arg, errp);
    case 'T':
        return option_trace(arg);
    case OPT_UNEXPECTED:
        error_setg(errp, "Unexpected argument");
        return OPTIONS_FAILED;
    default:
        return OPTIONS_DONE;
    }
}

/* ---- the command line ---- */

static void set_location(char **argv, int first, int end)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    g_autofree char *text = NULL;

    for (int i = first; i < end; i++) {
        g_ptr_array_add(words, argv[i]);
    }
    g_ptr_array_add(words, NULL);
    text = g_strjoinv(" ", (char **)words->pdata);
    error_set_location("%s", text);
}

bool options_scan(int argc, char **argv)
{
    bool background = false;
    int opt;

    while ((opt = getopt_long(argc, argv, short_options, long_options,
                              NULL)) != -1) {
        switch (opt) {
        case 'h':
            help_print(argv[0]);
            exit(EXIT_SUCCESS);
        case 'V':
            help_print_version();
            exit(EXIT_SUCCESS);
        case '?':
            exit(EXIT_FAILURE);
        case OPT_DAEMONIZE:
            background = true;
            break;
        default:
            break;
        }
    }
    return background;
}

OptionsResult options_process(Co *co, int argc, char **argv,
                              const char **pidfile)
{
    OptionsResult result = OPTIONS_DONE;
    Error *err = NULL;
    int opt, first;

    optind = 0;
    for (;;) {
        first = MAX(optind, 1);
        opt = getopt_long(argc, argv, short_options, long_options, NULL);
        if (opt == -1 || result != OPTIONS_DONE || monitor_quit_requested()) {
            break;
        }
        if (opt == OPT_PIDFILE) {
            *pidfile = optarg;
        }
        set_location(argv, first, optind);
        control_lock(co);
        result = option_run(co, opt, optarg, &err);
        co_move(co, loop_main());
        control_unlock(co);
    }
    if (err && !monitor_quit_requested()) {
        error_report_err(err);
    } else {
        error_free(err);
    }
    error_set_location(NULL);
    return result;
}
