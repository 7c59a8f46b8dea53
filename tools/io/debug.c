/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-io: breakpoints of drivers that have them (blkdebug), time, and signals.
 */
#include "util/osdep.h"

#include <signal.h>

#include "tools/io/io.h"

/* How often a breakpoint is looked at. */
#define POLL_NS 1000000

/* The first node with breakpoints on the way down to the storage. */
static Node *io_debug_node(const Io *io)
{
    Node *node = root_node(io->root);

    while (node && !node->drv->debug) {
        node = node->file ? node->file->child : NULL;
    }
    return node;
}

static int io_break(Co *co, Io *io, int argc, char **argv)
{
    Node *node = io_debug_node(io);
    int ret = node ? node->drv->debug->breakpoint(node, argv[1], argv[2])
                   : -ENOTSUP;

    if (ret < 0) {
        printf("Could not set breakpoint: %s\n", strerror(-ret));
    }
    return ret;
}

static int io_remove_break(Co *co, Io *io, int argc, char **argv)
{
    Node *node = io_debug_node(io);
    int ret = node ? node->drv->debug->remove_breakpoint(node, argv[1])
                   : -ENOTSUP;

    if (ret < 0) {
        printf("Could not remove breakpoint %s: %s\n", argv[1],
               strerror(-ret));
    }
    return ret;
}

static int io_resume(Co *co, Io *io, int argc, char **argv)
{
    Node *node = io_debug_node(io);
    int ret = node ? node->drv->debug->resume(node, argv[1]) : -ENOTSUP;

    if (ret < 0) {
        printf("Could not resume request: %s\n", strerror(-ret));
    }
    return ret;
}

static int io_wait_break(Co *co, Io *io, int argc, char **argv)
{
    Node *node = io_debug_node(io);

    if (!node) {
        printf("Could not wait for breakpoint: %s\n", strerror(ENOTSUP));
        return -ENOTSUP;
    }
    while (!node->drv->debug->is_suspended(node, argv[1])) {
        co_sleep(co, POLL_NS);
    }
    return 0;
}

static int io_sleep(Co *co, Io *io, int argc, char **argv)
{
    char *end;
    long ms;

    errno = 0;
    ms = strtol(argv[1], &end, 0);
    if (errno || end == argv[1] || *end || ms < 0) {
        printf("%s is not a valid number\n", argv[1]);
        return -EINVAL;
    }
    co_sleep(co, (int64_t)ms * 1000000);
    return 0;
}

static int io_abort(Co *co, Io *io, int argc, char **argv)
{
    abort();
}

static int io_sigraise(Co *co, Io *io, int argc, char **argv)
{
    int64_t sig = io_parse_size(argv[1]);

    if (sig < 0) {
        return sig;
    }
    if (sig > NSIG) {
        printf("signal argument '%s' is too large to be a valid "
               "signal\n", argv[1]);
        return -EINVAL;
    }
    fflush(stdout);
    raise(sig);
    return 0;
}

const IoCommand io_debug_commands[] = {
    {
        .name = "break", .fn = io_break, .min_args = 2, .max_args = 2,
        .args = "event tag",
        .oneline = "sets a breakpoint on event and tags the stopped request "
                   "as tag",
    }, {
        .name = "remove_break", .fn = io_remove_break, .min_args = 1,
        .max_args = 1, .args = "tag",
        .oneline = "remove a breakpoint by tag",
    }, {
        .name = "resume", .fn = io_resume, .min_args = 1, .max_args = 1,
        .args = "tag", .oneline = "resumes the request tagged as tag",
    }, {
        .name = "wait_break", .fn = io_wait_break, .min_args = 1,
        .max_args = 1, .args = "tag",
        .oneline = "waits for the suspension of a request",
    }, {
        .name = "sleep", .fn = io_sleep, .min_args = 1, .max_args = 1,
        .no_file = true,
        .oneline = "waits for the given value in milliseconds",
    }, {
        .name = "abort", .fn = io_abort, .no_file = true,
        .oneline = "simulate a program crash using abort(3)",
    }, {
        .name = "sigraise", .fn = io_sigraise, .min_args = 1, .max_args = 1,
        .no_file = true, .args = "signal", .oneline = "raises a signal",
        .help = "\n 'sigraise 15' sends SIGTERM to qemu-io itself.\n\n",
    },
    { 0 }
};
