/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Inside of qemu-io: a table of commands, and the session that they work on.
 *
 * A command gets its words as argc and argv, tells what happens, and returns 0
 * or -errno; any failure makes the program end with 1. What QEMU prints to
 * standard output goes there, too.
 */
#ifndef TOOLS_IO_IO_H
#define TOOLS_IO_IO_H

#include <getopt.h>

#include "block/graph.h"
#include "block/root.h"
#include "tools/tool.h"

/* The open file and what is under way. */
typedef struct Io {
    Root *root;                 /* NULL: no file is open */
    Node *image;                /* root's node, or what lies below its filter */
    bool copy_on_read;          /* which is a filter between the two */
    bool misalign;              /* -m: buffers off their alignment */
    bool quit;
    int in_flight;              /* aio requests */
    Co *drainer;                /* waits for in_flight == 0 */
} Io;

typedef int IoCommandFn(Co *co, Io *io, int argc, char **argv);

typedef struct IoCommand {
    const char *name, *altname;
    IoCommandFn *fn;
    int min_args, max_args;     /* max -1: no limit */
    bool no_file;               /* works without an open file */
    uint64_t perms;             /* that it needs on the open file */
    const char *args;           /* "[-q] off len", NULL: none */
    const char *oneline;
    const char *help;           /* NULL: there is no more to say */
} IoCommand;

/* Tables of commands, ended by a NULL name. */
extern const IoCommand io_rw_commands[], io_vector_commands[],
    io_disk_commands[], io_file_commands[], io_reopen_commands[],
    io_debug_commands[];

/* ---- tools/io/command.c ---- */

/* Runs one line; -errno if it failed. */
int io_command_run(Co *co, Io *io, const char *line);
int io_command_help(Co *co, Io *io, int argc, char **argv);
/* Options that are wrong: one line of usage; returns -EINVAL. */
int io_command_usage(const char *name);

/* ---- tools/io/common.c ---- */

/* A size; complains and returns -EINVAL or -ERANGE. */
int64_t io_parse_size(const char *str);
/* 0..255, or -1 after a complaint. */
int io_parse_pattern(const char *str);
/* "64 KiB", "1.500 KiB"; the caller frees. */
char *io_size_str(double value);
void *io_alloc(const Io *io, int64_t len, int pattern);
void io_free(const Io *io, void *buf);
void io_dump(const uint8_t *buf, int64_t off, int64_t len);

/* What a request came to: "wrote 512/512 bytes at offset 0", ... */
typedef struct IoReport {
    bool quiet, machine;        /* -q, -C */
    int64_t start_ns;
} IoReport;
void io_report_start(IoReport *r);
void io_report(const IoReport *r, const char *verb, int64_t off,
               int64_t len, int64_t total);

/* ---- tools/io/file.c ---- */

/* What the program's options and open's say alike. */
typedef struct IoOpen {
    const char *name;           /* NULL: all is in options */
    const char *format;         /* NULL: probe */
    const char *options;        /* "key=value,..."; NULL: none */
    bool image_opts;            /* name is such a list */
    bool snapshot;              /* write into a temporary overlay */
    bool copy_on_read, native_aio;
    OpenFlags flags;
    bool write_through;
} IoOpen;
/* For writing, discards passed on, every write durable: as QEMU's does. */
#define IO_OPEN_DEFAULTS \
    { .flags = OPEN_RDWR | OPEN_UNMAP, .write_through = true }

/* C d i k n r s t U: 1 if @c is one of them, 0 if not, -EINVAL after a
 * complaint. */
int io_open_option(IoOpen *what, int c, const char *arg);
/* "a=b", "c=d": "a=b,c=d". */
void io_add_options(char **list, const char *more);
/* False after a complaint. */
bool io_open(Co *co, Io *io, const IoOpen *what);
/* Waits for what is under way. */
void io_close(Co *co, Io *io);

/* ---- tools/io/vector.c ---- */

void io_drain(Co *co, Io *io);

#endif
