/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* qemu-nbd: serves one image over NBD. The parts are in tools/nbd/. */

#include "tools/nbd/nbd.h"
#include "util/daemonize.h"
#include "util/program.h"

static NbdArgs args;

static int qemu_nbd(Co *co, int argc, char **argv)
{
    int code;

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
    g_ptr_array_free(args.bitmaps, true);
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
