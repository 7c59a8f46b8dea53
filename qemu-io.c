/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-io: a session with one image. Commands come from -c or, without one,
 * from standard input, a line each, behind a prompt. The first failure is
 * remembered in the exit code; only "quit" and the end of the input stop it.
 *
 * Reading a line suspends, so that asynchronous requests go on meanwhile.
 */
#include "util/osdep.h"

#include <getopt.h>
#include <poll.h>

#include "tools/io/io.h"
#include "tools/tool.h"
#include "util/program.h"
#include "util/trace-option.h"

typedef struct IoArgs {
    IoOpen open;
    GPtrArray *commands;        /* of const char: -c */
    bool misalign;
} IoArgs;

enum { OPT_OBJECT = 256, OPT_IMAGE_OPTS };

static const char io_shortopts[] = "hVc:d:f:rsnCki:mt:T:U";
static const struct option io_longopts[] = {
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { "cmd", required_argument, NULL, 'c' },
    { "format", required_argument, NULL, 'f' },
    { "read-only", no_argument, NULL, 'r' },
    { "snapshot", no_argument, NULL, 's' },
    { "nocache", no_argument, NULL, 'n' },
    { "copy-on-read", no_argument, NULL, 'C' },
    { "misalign", no_argument, NULL, 'm' },
    { "native-aio", no_argument, NULL, 'k' },
    { "aio", required_argument, NULL, 'i' },
    { "discard", required_argument, NULL, 'd' },
    { "cache", required_argument, NULL, 't' },
    { "trace", required_argument, NULL, 'T' },
    { "force-share", no_argument, NULL, 'U' },
    { "object", required_argument, NULL, OPT_OBJECT },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS },
    { 0 }
};

static void io_usage(void)
{
    printf(
"Usage: qemu-io [OPTIONS]... [-c STRING]... [file]\n"
"QEMU Disk exerciser\n"
"\n"
"  --object OBJECTDEF   an object that the image needs\n"
"  --image-opts         file is a list of options: driver=qcow2,...\n"
"  -c, --cmd STRING     run this command; without any, standard input is "
"read\n"
"  -f, --format FMT     the format of file (found out if not given)\n"
"  -r, --read-only      only for reading\n"
"  -s, --snapshot       write into a temporary overlay\n"
"  -n, --nocache        past the host's cache: -t none\n"
"  -C, --copy-on-read   keep what is read of the backing file\n"
"  -m, --misalign       use memory that is not aligned\n"
"  -k, --native-aio     the same as -i native\n"
"  -i, --aio=MODE       threads, native (needs -t none) or io_uring; the engine\n"
"                       is chosen by itself\n"
"  -t, --cache=MODE     none, writeback, writethrough (default), directsync,\n"
"                       unsafe\n"
"  -d, --discard=MODE   ignore or unmap (default)\n"
"  -U, --force-share    share the image with those who write it\n"
"  -h, --help           display this help and exit\n"
"  -V, --version        output version information and exit\n"
"\n"
"'qemu-io -c help' lists the commands.\n");
}

static void io_version(void)
{
    printf("qemu-io version " QEMU_VERSION "\n"
           "Copyright (c) 2026 The project's contributors\n");
}

/* ---- arguments: -1 to go on, else the exit code ---- */

static int io_take_object(Co *co, const char *arg)
{
    Error *err = NULL;
    bool help;

    if (!tool_add_object(co, arg, &help, &err)) {
        error_report_err(err);
        return 1;
    }
    return help ? 0 : -1;
}

static int io_take_option(Co *co, IoArgs *a, int c)
{
    int ret = io_open_option(&a->open, c, optarg);

    if (ret != 0) {
        return ret < 0 ? 1 : -1;
    }
    switch (c) {
    case 'c':
        g_ptr_array_add(a->commands, optarg);
        return -1;
    case 'f':
        a->open.format = optarg;
        return -1;
    case 'm':
        a->misalign = true;
        return -1;
    case 'T':
        return trace_option(optarg);
    case OPT_OBJECT:
        return io_take_object(co, optarg);
    case OPT_IMAGE_OPTS:
        a->open.image_opts = true;
        return -1;
    case 'V':
        io_version();
        return 0;
    case 'h':
        io_usage();
        return 0;
    default:
        io_usage();
        return 1;
    }
}

static int io_parse(Co *co, IoArgs *a, int argc, char **argv)
{
    int c, ret;

    while ((c = getopt_long(argc, argv, io_shortopts, io_longopts,
                            NULL)) != -1) {
        ret = io_take_option(co, a, c);
        if (ret >= 0) {
            return ret;
        }
    }
    if (argc - optind > 1) {
        io_usage();
        return 1;
    }
    if (a->open.format && a->open.image_opts) {
        error_report("--image-opts and -f are mutually exclusive");
        return 1;
    }
    a->open.name = argv[optind];
    return -1;
}

/* ---- standard input ---- */

/* More bytes into @buf; false at the end. */
static bool io_fill(Co *co, GString *buf)
{
    char chunk[4096];
    ssize_t n;

    co_poll(co, STDIN_FILENO, POLLIN);
    do {
        n = read(STDIN_FILENO, chunk, sizeof(chunk));
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return false;
    }
    g_string_append_len(buf, chunk, n);
    return true;
}

/* The next line without its end, NULL if there is none; the caller frees. */
static char *io_read_line(Co *co, GString *buf)
{
    for (;;) {
        char *end = memchr(buf->str, '\n', buf->len);
        char *line;

        if (end) {
            line = g_strndup(buf->str, end - buf->str);
            g_string_erase(buf, 0, end + 1 - buf->str);
            return line;
        }
        if (!io_fill(co, buf)) {
            line = buf->len ? g_strdup(buf->str) : NULL;
            g_string_truncate(buf, 0);
            return line;
        }
    }
}

static int io_run_input(Co *co, Io *io)
{
    GString *buf = g_string_new(NULL);
    int status = 0;

    while (!io->quit) {
        g_autofree char *line = NULL;

        printf("qemu-io> ");
        fflush(stdout);
        line = io_read_line(co, buf);
        if (!line) {
            break;
        }
        if (io_command_run(co, io, line) < 0) {
            status = 1;
        }
    }
    g_string_free(buf, true);
    return status;
}

static int io_run_commands(Co *co, Io *io, const GPtrArray *commands)
{
    int status = 0;

    for (guint i = 0; i < commands->len && !io->quit; i++) {
        if (io_command_run(co, io, g_ptr_array_index(commands, i)) < 0) {
            status = 1;
        }
    }
    return status;
}

/* ---- the program ---- */

static int io_session(Co *co, IoArgs *a)
{
    Io io = { .misalign = a->misalign };
    int status;

    if (a->open.name && !io_open(co, &io, &a->open)) {
        return 1;
    }
    status = a->commands->len ? io_run_commands(co, &io, a->commands)
                              : io_run_input(co, &io);
    if (io.root) {
        io_close(co, &io);
    }
    return status;
}

static int qemu_io(Co *co, int argc, char **argv)
{
    IoArgs a = {
        .open = IO_OPEN_DEFAULTS,
        .commands = g_ptr_array_new(),
    };
    int ret;

    block_init();
    ret = io_parse(co, &a, argc, argv);
    if (ret < 0) {
        control_lock(co);
        ret = io_session(co, &a);
        control_unlock(co);
    }
    g_ptr_array_free(a.commands, true);
    return tool_exit_code(ret, 1);
}

int main(int argc, char **argv)
{
    return program_run(argc, argv, qemu_io);
}
