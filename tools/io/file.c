/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-io open, close: which file the session has.
 *
 * A session has one file at a time. Closing waits for asynchronous requests.
 */
#include "util/osdep.h"

#include "block/open.h"
#include "tools/io/io.h"
#include "util/json.h"
#include "util/keyval.h"

/* ---- options ---- */

void io_add_options(char **list, const char *more)
{
    char *joined = *list ? g_strdup_printf("%s,%s", *list, more)
                         : g_strdup(more);

    g_free(*list);
    *list = joined;
}

static int io_open_mode(IoOpen *what, int c, const char *mode)
{
    const char *kind = "cache";
    bool ok;

    if (c == 'd') {
        kind = "discard";
        ok = tool_discard_mode(mode, &what->flags);
    } else if (c == 'i') {
        kind = "aio";
        ok = tool_aio_mode(mode);
        what->native_aio |= !strcmp(mode, "native");
    } else {
        ok = tool_cache_mode(mode, &what->flags, &what->write_through);
    }
    if (!ok) {
        error_report("Invalid %s option: %s", kind, mode);
        return -EINVAL;
    }
    return 1;
}

int io_open_option(IoOpen *what, int c, const char *arg)
{
    switch (c) {
    case 'C':
        what->copy_on_read = true;
        return 1;
    case 'd':
    case 'i':
    case 't':
        return io_open_mode(what, c, arg);
    case 'k':
        what->native_aio = true;
        return 1;
    case 'n':
        return io_open_mode(what, 't', "none");
    case 'r':
        what->flags &= ~OPEN_RDWR;
        return 1;
    case 's':
        what->snapshot = true;
        return 1;
    case 'U':
        what->flags |= OPEN_FORCE_SHARE;
        return 1;
    default:
        return 0;
    }
}

/* ---- open ---- */

/* What is asked for but can't be had. */
static bool io_open_check(const IoOpen *what, Error **errp)
{
    if (what->native_aio && !(what->flags & OPEN_NOCACHE)) {
        error_setg(errp, "aio=native was specified, but it requires "
                   "cache.direct=on, which was not specified.");
        return false;
    }
    if (what->copy_on_read && !(what->flags & OPEN_RDWR)) {
        error_setg(errp, "Can't use copy-on-read on read-only device");
        return false;
    }
    return true;
}

static Node *io_open_node(Co *co, const IoOpen *what, OpenFlags flags,
                          Error **errp)
{
    g_autoptr(json_t) flat = NULL;
    g_autoptr(json_t) tree = NULL;

    if (what->image_opts || !what->name) {
        return open_image_opts(co, what->name ? what->name : what->options,
                               flags, errp);
    }
    if (what->options && what->options[0]) {
        flat = keyval_parse_flat_warn(what->options, NULL, NULL, errp);
        tree = flat ? keyval_nest(flat, errp) : NULL;
        if (!tree) {
            return NULL;
        }
    }
    return open_filename(co, what->name, what->format, tree, flags, errp);
}

/* -s: the file stays as it is. */
static Node *io_open_below_overlay(Co *co, const IoOpen *what, Error **errp)
{
    Node *base = io_open_node(co, what, what->flags & ~OPEN_RDWR, errp);
    Node *top = base ? tool_open_overlay(co, base, what->flags, errp) : NULL;

    node_unref(co, base);
    return top;
}

/* -C: @image below a filter, which takes over the reference. */
static Node *io_open_filter(Co *co, Node *image, OpenFlags flags,
                            Error **errp)
{
    g_autofree char *options = g_strdup_printf("driver=copy-on-read,file=%s",
                                               image->name);
    Node *filter = open_image_opts(co, options, flags, errp);

    node_unref(co, image);
    return filter;
}

bool io_open(Co *co, Io *io, const IoOpen *what)
{
    bool named = what->name && !what->image_opts;
    Error *err = NULL;
    Node *node = NULL;

    if (io->root) {
        error_report("file open already, try 'help close'");
        return false;
    }
    if (io_open_check(what, &err)) {
        node = what->snapshot ? io_open_below_overlay(co, what, &err)
                              : io_open_node(co, what, what->flags, &err);
    }
    io->image = node;
    io->copy_on_read = what->copy_on_read;
    if (node && io->copy_on_read) {
        node = io_open_filter(co, node, what->flags, &err);
    }
    if (node) {
        io->root = tool_root_new(co, node, what->flags, false, &err);
    }
    if (!io->root) {
        error_reportf_err(err, "can't open%s%s: ", named ? " device " : "",
                          named ? what->name : "");
        return false;
    }
    io->root->write_through = what->write_through;
    return true;
}

void io_close(Co *co, Io *io)
{
    io_drain(co, io);
    root_free(co, io->root);
    io->root = NULL;
}

static int io_open_command(Co *co, Io *io, int argc, char **argv)
{
    g_autofree char *options = NULL;
    IoOpen what = IO_OPEN_DEFAULTS;
    int c, ret;

    while ((c = getopt(argc, argv, "snCro:ki:t:d:U")) != -1) {
        if (c == 'o') {
            io_add_options(&options, optarg);
            continue;
        }
        ret = io_open_option(&what, c, optarg);
        if (ret <= 0) {
            return ret < 0 ? ret : io_command_usage("open");
        }
    }
    if (optind < argc - 1) {
        return io_command_usage("open");
    }
    what.name = argv[optind];
    what.options = options ? options : "";
    return io_open(co, io, &what) ? 0 : -EINVAL;
}

static int io_close_command(Co *co, Io *io, int argc, char **argv)
{
    io_close(co, io);
    return 0;
}

const IoCommand io_file_commands[] = {
    {
        .name = "open", .altname = "o", .fn = io_open_command,
        .min_args = 1, .max_args = -1, .no_file = true,
        .args = "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
        .oneline = "open the file specified by path",
        .help =
"\n"
" 'open -n -o driver=raw /tmp/data' opens a raw image past the host's cache.\n"
"\n"
" -C  keep what is read of the backing file\n"
" -d  discards: ignore or unmap\n"
" -i  threads, native or io_uring; the engine is chosen by itself\n"
" -k  the same as -i native\n"
" -n  the same as -t none\n"
" -o  options of the driver; without a path, all of them\n"
" -r  only for reading\n"
" -s  write into a temporary overlay\n"
" -t  cache mode: none, writeback, writethrough, directsync, unsafe\n"
" -U  share the file with those who write it\n"
"\n",
    }, {
        .name = "close", .altname = "c", .fn = io_close_command,
        .oneline = "close the current open file",
    },
    { 0 }
};
