/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* qemu-io read and write: one buffer, one request, one report. */
#include "util/osdep.h"

#include "tools/io/io.h"

#define PATTERN_READ  0xab      /* of buffers that are read into */
#define PATTERN_WRITE 0xcd

/* ---- read ---- */

typedef struct IoRead {
    IoReport report;
    bool vmstate, dump;
    int pattern;                /* -1: nothing to verify */
    bool has_from, has_count;
    int64_t off, len, from, count;
} IoRead;

static int io_read_options(IoRead *r, int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "bCl:pP:qs:v")) != -1) {
        switch (c) {
        case 'b':
            r->vmstate = true;
            break;
        case 'C':
            r->report.machine = true;
            break;
        case 'l':
            r->has_count = true;
            r->count = io_parse_size(optarg);
            if (r->count < 0) {
                return r->count;
            }
            break;
        case 'p':
            break;
        case 'P':
            r->pattern = io_parse_pattern(optarg);
            if (r->pattern < 0) {
                return -EINVAL;
            }
            break;
        case 'q':
            r->report.quiet = true;
            break;
        case 's':
            r->has_from = true;
            r->from = io_parse_size(optarg);
            if (r->from < 0) {
                return r->from;
            }
            break;
        case 'v':
            r->dump = true;
            break;
        default:
            return io_command_usage("read");
        }
    }
    return optind == argc - 2 ? 0 : io_command_usage("read");
}

static int io_check_sectors(int64_t off, int64_t len)
{
    if (off % 512) {
        printf("%" PRId64 " is not a sector-aligned value for 'offset'\n",
               off);
        return -EINVAL;
    }
    if (len % 512) {
        printf("%" PRId64 " is not a sector-aligned value for 'count'\n",
               len);
        return -EINVAL;
    }
    return 0;
}

/* The two words at @argv: offset and length. */
static int io_parse_range(char **argv, bool unlimited, const char *hint,
                          int64_t *off, int64_t *len)
{
    *off = io_parse_size(argv[0]);
    if (*off < 0) {
        return *off;
    }
    *len = io_parse_size(argv[1]);
    if (*len < 0) {
        return *len;
    }
    if (*len > (INT_MAX & ~511) && !unlimited) {
        printf("length cannot exceed %d%s, given %s\n", INT_MAX & ~511, hint,
               argv[1]);
        return -EINVAL;
    }
    return 0;
}

static int io_read_parse(IoRead *r, int argc, char **argv)
{
    int ret = io_read_options(r, argc, argv);

    if (ret < 0) {
        return ret;
    }
    ret = io_parse_range(argv + optind, false, "", &r->off, &r->len);
    if (ret < 0) {
        return ret;
    }
    if (r->pattern < 0 && (r->has_from || r->has_count)) {
        return io_command_usage("read");
    }
    if (!r->has_count) {
        r->count = r->len - r->from;
    }
    if (r->count < 0 || r->count > r->len - r->from) {
        printf("pattern verification range exceeds end of read data\n");
        return -EINVAL;
    }
    return r->vmstate ? io_check_sectors(r->off, r->len) : 0;
}

static int io_read_verify(const IoRead *r, const uint8_t *buf)
{
    for (int64_t i = 0; i < r->count; i++) {
        if (buf[r->from + i] != r->pattern) {
            printf("Pattern verification failed at offset %" PRId64
                   ", %" PRId64 " bytes\n", r->off + r->from, r->count);
            return -EINVAL;
        }
    }
    return 0;
}

static int io_read_command(Co *co, Io *io, int argc, char **argv)
{
    IoRead r = { .pattern = -1 };
    int ret = io_read_parse(&r, argc, argv);
    uint8_t *buf;

    if (ret < 0) {
        return ret;
    }
    buf = io_alloc(io, r.len, PATTERN_READ);
    io_report_start(&r.report);
    ret = r.vmstate ? -ENOTSUP
                    : root_pread(co, io->root, r.off, r.len, buf);
    if (ret < 0) {
        printf("read failed: %s\n", strerror(-ret));
    } else {
        ret = r.pattern >= 0 ? io_read_verify(&r, buf) : 0;
        if (r.dump && !r.report.quiet) {
            io_dump(buf, r.off, r.len);
        }
        io_report(&r.report, "read", r.off, r.len, r.len);
    }
    io_free(io, buf);
    return ret;
}

/* ---- write ---- */

typedef struct IoWrite {
    IoReport report;
    bool vmstate, compress, zero, has_pattern;
    ReqFlags flags;
    int pattern;
    const char *source;         /* -s */
    int64_t off, len;
} IoWrite;

static int io_write_options(IoWrite *w, int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "bcCfnpP:qs:uz")) != -1) {
        switch (c) {
        case 'b':
            w->vmstate = true;
            break;
        case 'c':
            w->compress = true;
            break;
        case 'C':
            w->report.machine = true;
            break;
        case 'f':
            w->flags |= REQ_FUA;
            break;
        case 'n':
            w->flags |= REQ_NO_FALLBACK;
            break;
        case 'p':
            break;
        case 'P':
            w->has_pattern = true;
            w->pattern = io_parse_pattern(optarg);
            if (w->pattern < 0) {
                return -EINVAL;
            }
            break;
        case 'q':
            w->report.quiet = true;
            break;
        case 's':
            w->source = optarg;
            break;
        case 'u':
            w->flags |= REQ_MAY_UNMAP;
            break;
        case 'z':
            w->zero = true;
            break;
        default:
            return io_command_usage("write");
        }
    }
    return optind == argc - 2 ? 0 : io_command_usage("write");
}

static const char *io_write_complaint(const IoWrite *w)
{
    if (w->vmstate && w->zero) {
        return "-b and -z cannot be specified at the same time";
    }
    if ((w->flags & REQ_FUA) && (w->vmstate || w->compress)) {
        return "-f and -b or -c cannot be specified at the same time";
    }
    if ((w->flags & REQ_NO_FALLBACK) && !w->zero) {
        return "-n requires -z to be specified";
    }
    if ((w->flags & REQ_MAY_UNMAP) && !w->zero) {
        return "-u requires -z to be specified";
    }
    if (w->zero + w->has_pattern + (w->source != NULL) > 1) {
        return "Only one of -z, -P, and -s can be specified at the same time";
    }
    return NULL;
}

static int io_write_parse(IoWrite *w, int argc, char **argv)
{
    int ret = io_write_options(w, argc, argv);
    const char *complaint;

    if (ret < 0) {
        return ret;
    }
    complaint = io_write_complaint(w);
    if (complaint) {
        printf("%s\n", complaint);
        return -EINVAL;
    }
    ret = io_parse_range(argv + optind, w->flags & REQ_NO_FALLBACK,
                         " without -n", &w->off, &w->len);
    if (ret == 0 && (w->vmstate || w->compress)) {
        ret = io_check_sectors(w->off, w->len);
    }
    return ret;
}

/* Fills @buf with the file's bytes, again and again. */
static bool io_fill_from_file(uint8_t *buf, int64_t len, const char *name)
{
    FILE *f = fopen(name, "r");
    int64_t n;

    if (!f) {
        fprintf(stderr, "%s: %s\n", name, strerror(errno));
        return false;
    }
    n = fread(buf, 1, len, f);
    if (ferror(f) || (n == 0 && len > 0)) {
        fprintf(stderr, "%s: %s\n", name,
                ferror(f) ? strerror(errno) : "file is empty");
        fclose(f);
        return false;
    }
    fclose(f);
    for (int64_t pos = n; pos < len; pos++) {
        buf[pos] = buf[pos - n];
    }
    return true;
}

static int io_write_data(Co *co, Io *io, IoWrite *w)
{
    uint8_t *buf = io_alloc(io, w->len, w->pattern);
    int ret = -EINVAL;

    if (!w->source || io_fill_from_file(buf, w->len, w->source)) {
        io_report_start(&w->report);
        ret = w->vmstate ? -ENOTSUP :
            root_pwrite(co, io->root, w->off, w->len, buf,
                        w->flags | (w->compress ? REQ_COMPRESSED : 0));
        if (ret < 0) {
            printf("write failed: %s\n", strerror(-ret));
        }
    }
    io_free(io, buf);
    return ret;
}

static int io_write_zeroes(Co *co, Io *io, IoWrite *w)
{
    int ret;

    io_report_start(&w->report);
    ret = root_zero(co, io->root, w->off, w->len, w->flags);
    if (ret < 0) {
        printf("write failed: %s\n", strerror(-ret));
    }
    return ret;
}

static int io_write_command(Co *co, Io *io, int argc, char **argv)
{
    IoWrite w = { .pattern = PATTERN_WRITE };
    int ret = io_write_parse(&w, argc, argv);

    if (ret == 0) {
        ret = w.zero ? io_write_zeroes(co, io, &w)
                     : io_write_data(co, io, &w);
        if (ret == 0) {
            io_report(&w.report, "wrote", w.off, w.len, w.len);
        }
    }
    return ret;
}

/* ---- discard ---- */

static int io_discard_command(Co *co, Io *io, int argc, char **argv)
{
    IoReport report = { 0 };
    int64_t off = 0, len = 0;
    int c, ret;

    while ((c = getopt(argc, argv, "Cq")) != -1) {
        switch (c) {
        case 'C':
            report.machine = true;
            break;
        case 'q':
            report.quiet = true;
            break;
        default:
            return io_command_usage("discard");
        }
    }
    if (optind != argc - 2) {
        return io_command_usage("discard");
    }
    ret = io_parse_range(argv + optind, false, "", &off, &len);
    if (ret < 0) {
        return ret;
    }
    io_report_start(&report);
    ret = root_discard(co, io->root, off, len);
    if (ret < 0) {
        printf("discard failed: %s\n", strerror(-ret));
    } else {
        io_report(&report, "discard", off, len, len);
    }
    return ret;
}

const IoCommand io_rw_commands[] = {
    {
        .name = "read", .altname = "r", .fn = io_read_command,
        .min_args = 2, .max_args = -1,
        .args = "[-abCqv] [-P pattern [-s off] [-l len]] off len",
        .oneline = "reads a number of bytes at a specified offset",
        .help =
"\n"
" 'read -v 512 1k' shows the kilobyte from byte 512 on.\n"
"\n"
" -b  the state of a virtual machine instead of the disk\n"
" -C  a report for programs\n"
" -l  length of what -P verifies\n"
" -P  verify that all bytes are this one\n"
" -q  no report\n"
" -s  where in the data -P begins to verify\n"
" -v  show the data\n"
"\n",
    }, {
        .name = "write", .altname = "w", .fn = io_write_command,
        .min_args = 2, .max_args = -1, .perms = PERM_WRITE,
        .args = "[-bcCfnquz] [-P pattern | -s source_file] off len",
        .oneline = "writes a number of bytes at a specified offset",
        .help =
"\n"
" 'write 512 1k' writes a kilobyte of 0xcd from byte 512 on.\n"
"\n"
" -b  to the state of a virtual machine instead of the disk\n"
" -c  compressed\n"
" -C  a report for programs\n"
" -f  durable before it ends (FUA)\n"
" -n  with -z: fail rather than write zeroes as data\n"
" -P  another byte\n"
" -q  no report\n"
" -s  the bytes of this file, again and again\n"
" -u  with -z: the space may be given back\n"
" -z  zeroes, without data\n"
"\n",
    }, {
        .name = "discard", .altname = "d", .fn = io_discard_command,
        .min_args = 2, .max_args = -1, .perms = PERM_WRITE,
        .args = "[-Cq] off len",
        .oneline = "discards a number of bytes at a specified offset",
        .help =
"\n"
" 'discard 512 1k' gives back the kilobyte from byte 512 on.\n"
"\n"
" -C  a report for programs\n"
" -q  no report\n"
"\n",
    },
    { 0 }
};
