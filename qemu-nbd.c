/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* qemu-nbd: serves one image over NBD. The parts are in tools/nbd/. */

#include "monitor/object.h"
#include "tools/nbd/nbd.h"
#include "tools/tool.h"
#include "util/daemonize.h"
#include "util/program.h"

static NbdArgs args;

/* --object; false: that is all, with *@code. */
static bool add_objects(Co *co, int *code)
{
    for (guint i = 0; i < args.objects->len; i++) {
        Error *err = NULL;
        bool help;

        if (!tool_add_object(co, g_ptr_array_index(args.objects, i), &help,
                             &err)) {
            error_report_err(err);
            *code = EXIT_FAILURE;
            return false;
        }
        if (help) {
            *code = EXIT_SUCCESS;
            return false;
        }
    }
    return true;
}

static int qemu_nbd(Co *co, int argc, char **argv)
{
    int code;

    if (!add_objects(co, &code)) {
        return code;
    }
    if (args.list) {
#ifdef CONFIG_LIBNBD
        code = nbd_list(co, &args);
#else
        error_report("List mode needs libnbd, which was not compiled in");
        code = EXIT_FAILURE;
#endif
    } else {
        code = nbd_serve(co, &args);
    }
    object_del_all(co);
    g_free(args.device_socket);
    g_ptr_array_free(args.bitmaps, true);
    g_ptr_array_free(args.objects, true);
    return code;
}

int main(int argc, char **argv)
{
    nbd_args_parse(&args, argc, argv);
    if (args.fork) {
        daemonize_begin();
    }
    return program_run(argc, argv, qemu_nbd);
}
