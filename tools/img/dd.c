/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img dd: the content of an image, from a block on, so many blocks, to a
 * new image. The output is as long as what `count` leaves of the input, less
 * what is skipped (that is QEMU's count: skipped blocks use it up, too).
 */
#include "util/osdep.h"

#include "block/create.h"
#include "block/io.h"
#include "tools/img/img.h"
#include "util/bytes.h"

#define DD_CHUNK (1 * MiB)

typedef struct DdArgs {
    ImgSource in, out;
    int64_t bs, count, skip;    /* count -1: all */
} DdArgs;

static const struct option dd_longopts[] = {
    IMG_LONGOPTS,
    IMG_LONGOPT_SHARE,
    { 0 }
};

/* ---- arguments ---- */

static bool dd_operand(DdArgs *a, const char *operand)
{
    const char *value = strchr(operand, '=');

    if (!value) {
        error_report("unrecognized operand %s", operand);
        return false;
    }
    value++;
    if (g_str_has_prefix(operand, "bs=")) {
        return img_parse_size("bs", value, 1, INT_MAX, &a->bs);
    }
    if (g_str_has_prefix(operand, "count=")) {
        return img_parse_size("count", value, 0, INT64_MAX, &a->count);
    }
    if (g_str_has_prefix(operand, "skip=")) {
        return img_parse_size("skip", value, 0, INT64_MAX, &a->skip);
    }
    if (g_str_has_prefix(operand, "if=")) {
        a->in.name = value;
        return true;
    }
    if (g_str_has_prefix(operand, "of=")) {
        a->out.name = value;
        return true;
    }
    error_report("unrecognized operand %.*s", (int)(value - 1 - operand),
                 operand);
    return false;
}

static int dd_take(Co *co, void *opaque, int c)
{
    DdArgs *a = opaque;

    switch (c) {
    case 'O':
        a->out.format = optarg;
        return -1;
    default:
        return img_take_source(co, &a->in, c);
    }
}

static int dd_parse(Co *co, DdArgs *a, int argc, char **argv)
{
    int ret = img_parse_options(co, argc, argv, ":hf:O:U",
                                dd_longopts, dd_take, a);

    if (ret >= 0) {
        return ret;
    }
    for (int i = optind; i < argc; i++) {
        if (!dd_operand(a, argv[i])) {
            return 1;
        }
    }
    if (!a->in.name || !a->out.name) {
        error_report("Must specify both input and output files");
        return 1;
    }
    return img_check_source(a->in.image_opts, a->in.format) ? -1 : 1;
}

/* ---- the run ---- */

static Root *dd_create(Co *co, const DdArgs *a, int64_t size)
{
    Error *err = NULL;

    if (!driver_find(a->out.format)) {
        error_report("Unknown file format");
        return NULL;
    }
    if (!create_image_sized(co, a->out.name, a->out.format, NULL, NULL, NULL,
                            size, &err)) {
        error_reportf_err(err, "%s: error while creating output image: ",
                          a->out.name);
        return NULL;
    }
    return img_open(co, &a->out);
}

static int dd_copy(Co *co, Root *in, Root *out, int64_t start, int64_t len)
{
    g_autoptr(AlignedBuf) buf = aligned_alloc_io(4096, DD_CHUNK);

    for (int64_t off = 0, n; off < len; off += n) {
        int ret;

        n = MIN(DD_CHUNK, len - off);
        ret = root_pread(co, in, start + off, n, buf);
        if (ret < 0) {
            error_report("error while reading from input image file: %s",
                         strerror(-ret));
            return 1;
        }
        ret = root_pwrite(co, out, off, n, buf, 0);
        if (ret < 0) {
            error_report("error while writing to output image file: %s",
                         strerror(-ret));
            return 1;
        }
    }
    return 0;
}

static int dd_run(Co *co, const DdArgs *a, Root *in)
{
    int64_t size = root_length(in), start;
    Root *out;
    int ret;

    if (a->count >= 0 && a->count <= INT64_MAX / a->bs) {
        size = MIN(size, a->count * a->bs);
    }
    if (a->skip > INT64_MAX / a->bs || a->skip * a->bs > size) {
        error_report("%s: cannot skip to specified offset", a->in.name);
        start = size;
    } else {
        start = a->skip * a->bs;
    }
    out = dd_create(co, a, size - start);
    if (!out) {
        return 1;
    }
    ret = dd_copy(co, in, out, start, size - start);
    if (ret == 0 && root_flush(co, out) < 0) {
        error_report("error while flushing the output image file");
        ret = 1;
    }
    root_free(co, out);
    return ret;
}

int img_dd(Co *co, int argc, char **argv)
{
    DdArgs a = {
        .out = { .format = "raw", .flags = OPEN_RDWR | OPEN_RESIZE },
        .bs = 512,
        .count = -1,
    };
    int ret = dd_parse(co, &a, argc, argv);
    Root *in;

    if (ret >= 0) {
        return ret;
    }
    in = img_open(co, &a.in);
    if (!in) {
        return 1;
    }
    ret = dd_run(co, &a, in);
    root_free(co, in);
    return ret;
}
