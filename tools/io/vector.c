/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-io readv, writev, aio_read, aio_write: requests of several buffers, and
 * requests that go on while the next commands run.
 *
 * An asynchronous request is a coroutine of its own that reports by itself when
 * it ends. aio_flush, close and the end of the program wait for all of them.
 */
#include "util/osdep.h"

#include "tools/io/io.h"

#define PATTERN_READ  0xab
#define PATTERN_WRITE 0xcd

/* A request; an asynchronous one outlives its command. */
typedef struct IoVector {
    Io *io;
    const char *command;        /* its name, for usage and complaints */
    IoReport report;
    bool write, async, zero, invalid, dump;
    int pattern;                /* -1: none was given */
    ReqFlags flags;
    int64_t off;
    uint8_t *buf;               /* all buffers are parts of it */
    IoVec iov;
    int64_t len;
} IoVector;

/* ---- parsing ---- */

static int io_vector_option(IoVector *v, int c)
{
    switch (c) {
    case 'C':
        v->report.machine = true;
        return 0;
    case 'f':
        v->flags |= REQ_FUA;
        return 0;
    case 'i':
        v->invalid = true;
        return 0;
    case 'P':
        v->pattern = io_parse_pattern(optarg);
        return v->pattern < 0 ? -EINVAL : 0;
    case 'q':
        v->report.quiet = true;
        return 0;
    case 'u':
        v->flags |= REQ_MAY_UNMAP;
        return 0;
    case 'v':
        v->dump = true;
        return 0;
    case 'z':
        v->zero = true;
        return 0;
    default:
        return io_command_usage(v->command);
    }
}

/* The lengths at @argv: one buffer each, cut out of one piece of memory. */
static int io_vector_buffers(IoVector *v, int n, char **argv)
{
    g_autofree int64_t *lens = g_new(int64_t, n);
    int pattern = v->pattern >= 0 && v->write ? v->pattern :
                  v->write ? PATTERN_WRITE : PATTERN_READ;
    int64_t pos = 0;

    for (int i = 0; i < n; i++) {
        lens[i] = io_parse_size(argv[i]);
        if (lens[i] < 0) {
            return lens[i];
        }
        if (lens[i] > (INT_MAX & ~511)) {
            printf("Argument '%s' exceeds maximum size %d\n", argv[i],
                   INT_MAX & ~511);
            return -EINVAL;
        }
        if (lens[i] > (INT_MAX & ~511) - v->len) {
            printf("The total number of bytes exceed the maximum size %d\n",
                   INT_MAX & ~511);
            return -EINVAL;
        }
        v->len += lens[i];
    }
    v->buf = io_alloc(v->io, v->len, pattern);
    iov_init(&v->iov, n);
    for (int i = 0; i < n; i++) {
        iov_add(&v->iov, v->buf + pos, lens[i]);
        pos += lens[i];
    }
    return 0;
}

static int io_vector_zero_length(IoVector *v, int n, char **argv)
{
    if (n != 1) {
        printf("-z supports only a single length parameter\n");
        return -EINVAL;
    }
    v->len = io_parse_size(argv[0]);
    return MIN(v->len, 0);
}

static int io_vector_parse(IoVector *v, const char *options, int argc,
                           char **argv)
{
    int c, ret;

    while ((c = getopt(argc, argv, options)) != -1) {
        ret = io_vector_option(v, c);
        if (ret < 0) {
            return ret;
        }
    }
    if (optind > argc - 2) {
        return io_command_usage(v->command);
    }
    if ((v->flags & REQ_MAY_UNMAP) && !v->zero) {
        printf("-u requires -z to be specified\n");
        return -EINVAL;
    }
    v->off = io_parse_size(argv[optind]);
    if (v->off < 0) {
        return v->off;
    }
    argc -= optind + 1;
    argv += optind + 1;
    return v->zero ? io_vector_zero_length(v, argc, argv)
                   : io_vector_buffers(v, argc, argv);
}

static IoVector *io_vector_new(Io *io, const char *command, bool write,
                               bool async)
{
    IoVector *v = g_new0(IoVector, 1);

    v->io = io;
    v->command = command;
    v->write = write;
    v->async = async;
    v->pattern = -1;
    return v;
}

static void io_vector_free(IoVector *v)
{
    iov_destroy(&v->iov);
    io_free(v->io, v->buf);
    g_free(v);
}

/* ---- running ---- */

static int io_vector_verify(const IoVector *v)
{
    for (int64_t i = 0; i < v->len; i++) {
        if (v->buf[i] != v->pattern) {
            printf("Pattern verification failed at offset %" PRId64
                   ", %" PRId64 " bytes\n", v->off, v->len);
            return -EINVAL;
        }
    }
    return 0;
}

static const char *io_vector_verb(const IoVector *v)
{
    if (!v->write) {
        return "readv";
    }
    return v->async ? "aio_write" : "writev";
}

static int io_vector_run(Co *co, IoVector *v)
{
    Root *root = v->io->root;
    int ret;

    io_report_start(&v->report);
    if (v->zero) {
        ret = root_zero(co, root, v->off, v->len, v->flags);
    } else if (v->write) {
        ret = root_write(co, root, v->off, v->len, &v->iov, 0, v->flags);
    } else {
        ret = root_read(co, root, v->off, v->len, &v->iov, 0, 0);
    }
    if (ret < 0) {
        printf("%s failed: %s\n", io_vector_verb(v), strerror(-ret));
        return ret;
    }
    if (!v->write && v->pattern >= 0) {
        ret = io_vector_verify(v);
    }
    if (v->dump && !v->report.quiet) {
        io_dump(v->buf, v->off, v->len);
    }
    io_report(&v->report, v->write ? "wrote" : "read", v->off, v->len,
              v->len);
    return ret;
}

static void io_vector_co(Co *co, void *opaque)
{
    IoVector *v = opaque;
    Io *io = v->io;

    io_vector_run(co, v);
    fflush(stdout);
    io_vector_free(v);
    if (--io->in_flight == 0 && io->drainer) {
        Co *drainer = io->drainer;

        io->drainer = NULL;
        co_wake(drainer);
    }
}

void io_drain(Co *co, Io *io)
{
    if (io->in_flight > 0) {
        io->drainer = co;
        co_suspend(co);
    }
}

/* Consumes @v. */
static int io_vector_start(Co *co, IoVector *v, const char *options, int argc,
                           char **argv)
{
    int ret = io_vector_parse(v, options, argc, argv);

    if (ret < 0) {
        io_vector_free(v);
        return ret;
    }
    if (v->invalid) {
        RootStat stat = v->write ? STAT_WRITE : STAT_READ;

        printf("injecting invalid %s request\n", v->write ? "write" : "read");
        v->io->root->stats.invalid[stat]++;
        io_vector_free(v);
        return 0;
    }
    if (v->async) {
        v->io->in_flight++;
        co_spawn(co_loop(co), io_vector_co, v);
        co_yield(co);               /* it begins before the next command */
        return 0;
    }
    ret = io_vector_run(co, v);
    io_vector_free(v);
    return ret;
}

static int io_readv(Co *co, Io *io, int argc, char **argv)
{
    return io_vector_start(co, io_vector_new(io, "readv", false, false),
                           "CP:qv", argc, argv);
}

static int io_writev(Co *co, Io *io, int argc, char **argv)
{
    return io_vector_start(co, io_vector_new(io, "writev", true, false),
                           "CfqP:", argc, argv);
}

static int io_aio_read(Co *co, Io *io, int argc, char **argv)
{
    return io_vector_start(co, io_vector_new(io, "aio_read", false, true),
                           "CP:iqv", argc, argv);
}

static int io_aio_write(Co *co, Io *io, int argc, char **argv)
{
    return io_vector_start(co, io_vector_new(io, "aio_write", true, true),
                           "CfiP:quz", argc, argv);
}

static int io_aio_flush(Co *co, Io *io, int argc, char **argv)
{
    io_drain(co, io);
    return 0;
}

#define ASYNC_HELP                                                        \
" The command ends at once; aio_flush waits for the request. An error of\n" \
" the request does not count as one of the command.\n"

const IoCommand io_vector_commands[] = {
    {
        .name = "readv", .fn = io_readv, .min_args = 2, .max_args = -1,
        .args = "[-Cqv] [-P pattern] off len [len..]",
        .oneline = "reads a number of bytes at a specified offset",
        .help =
"\n"
" 'readv -v 512 1k 1k' reads two kilobytes into two buffers.\n"
"\n"
" -C  a report for programs\n"
" -P  verify that all bytes are this one\n"
" -q  no report\n"
" -v  show the data\n"
"\n",
    }, {
        .name = "writev", .fn = io_writev, .min_args = 2, .max_args = -1,
        .perms = PERM_WRITE,
        .args = "[-Cfq] [-P pattern] off len [len..]",
        .oneline = "writes a number of bytes at a specified offset",
        .help =
"\n"
" 'writev 512 1k 1k' writes two kilobytes out of two buffers.\n"
"\n"
" -C  a report for programs\n"
" -f  durable before it ends (FUA)\n"
" -P  another byte than 0xcd\n"
" -q  no report\n"
"\n",
    }, {
        .name = "aio_read", .fn = io_aio_read, .min_args = 2, .max_args = -1,
        .args = "[-Ciqv] [-P pattern] off len [len..]",
        .oneline = "asynchronously reads a number of bytes",
        .help = "\n" ASYNC_HELP
"\n"
" -C  a report for programs\n"
" -i  count it as an invalid request\n"
" -P  verify that all bytes are this one\n"
" -q  no report\n"
" -v  show the data\n"
"\n",
    }, {
        .name = "aio_write", .fn = io_aio_write, .min_args = 2,
        .max_args = -1, .perms = PERM_WRITE,
        .args = "[-Cfiquz] [-P pattern] off len [len..]",
        .oneline = "asynchronously writes a number of bytes",
        .help = "\n" ASYNC_HELP
"\n"
" -C  a report for programs\n"
" -f  durable before it ends (FUA)\n"
" -i  count it as an invalid request\n"
" -P  another byte than 0xcd\n"
" -q  no report\n"
" -u  with -z: the space may be given back\n"
" -z  zeroes, without data\n"
"\n",
    }, {
        .name = "aio_flush", .fn = io_aio_flush,
        .oneline = "completes all outstanding aio requests",
    },
    { 0 }
};
