/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img bench: so many requests, so many of them at once, at offsets that
 * go up by a step and begin anew at the end of the disk; and the time it took.
 *
 * Writes can be flushed every so many requests: after all before have ended, or
 * (--no-drain) beside them.
 */
#include "util/osdep.h"

#include "tools/img/img.h"
#include "util/bytes.h"

typedef struct BenchArgs {
    ImgSource image;
    int64_t count, depth, size, step, offset, pattern, flush_interval;
    bool write, no_drain;
    bool native_aio;            /* not used, but has its condition */
} BenchArgs;

typedef struct Bench {
    const BenchArgs *args;
    Root *root;
    uint8_t *buf;               /* all requests read into it or write it */
    int64_t length;
    int64_t next;               /* offset */
} Bench;

enum { OPT_FLUSH_INTERVAL = IMG_OPT_OWN, OPT_PATTERN, OPT_NO_DRAIN };

static const struct option bench_longopts[] = {
    { "help", no_argument, 0, 'h' },
    { "flush-interval", required_argument, 0, OPT_FLUSH_INTERVAL },
    { "pattern", required_argument, 0, OPT_PATTERN },
    { "image-opts", no_argument, 0, IMG_OPT_IMAGE_OPTS },
    { "no-drain", no_argument, 0, OPT_NO_DRAIN },
    IMG_LONGOPT_SHARE,
    { 0 }
};

/* ---- arguments ---- */

/* A number in [min, INT_MAX]; "Invalid WHAT specified". */
static int bench_number(const char *what, int64_t min, int64_t max,
                        int64_t *ret)
{
    if (!img_parse_number(optarg, min, max, ret)) {
        error_report("Invalid %s specified", what);
        return 1;
    }
    return -1;
}

static int bench_size(const char *what, int64_t max, int64_t *ret)
{
    return img_parse_size(what, optarg, 0, max, ret) ? -1 : 1;
}

static int bench_take_flag(Co *co, BenchArgs *a, int c)
{
    switch (c) {
    case 'i':
        if (!tool_aio_mode(optarg)) {
            error_report("Invalid aio option: %s", optarg);
            return 1;
        }
        a->native_aio |= !strcmp(optarg, "native");
        return -1;
    case 'n':
        a->native_aio = true;
        return -1;
    case 'q':
        return -1;
    case 't':
        if (!tool_cache_mode(optarg, &a->image.flags,
                             &a->image.write_through)) {
            error_report("Invalid cache mode");
            return 1;
        }
        return -1;
    case 'w':
        a->image.flags |= OPEN_RDWR;
        a->write = true;
        return -1;
    case OPT_NO_DRAIN:
        a->no_drain = true;
        return -1;
    default:
        return img_take_source(co, &a->image, c);
    }
}

static int bench_take(Co *co, void *opaque, int c)
{
    BenchArgs *a = opaque;

    switch (c) {
    case 'c':
        return bench_number("request count", 0, INT_MAX, &a->count);
    case 'd':
        return bench_number("queue depth", 1, INT_MAX, &a->depth);
    case 'o':
        return bench_size("offset", INT64_MAX, &a->offset);
    case 's':
        return bench_size("buffer size", INT_MAX, &a->size);
    case 'S':
        return bench_size("step_size", INT_MAX, &a->step);
    case OPT_PATTERN:
        return bench_number("pattern byte", 0, 255, &a->pattern);
    case OPT_FLUSH_INTERVAL:
        return bench_number("flush interval", 0, INT_MAX,
                            &a->flush_interval);
    default:
        return bench_take_flag(co, a, c);
    }
}

static int bench_parse(Co *co, BenchArgs *a, int argc, char **argv)
{
    int ret = img_parse_file(co, argc, argv, ":hc:d:f:ni:o:qs:S:t:wU", bench_longopts,
                             bench_take, a, &a->image.name);

    if (ret >= 0) {
        return ret;
    }
    if (!a->write && a->flush_interval) {
        error_report("--flush-interval is only available in write tests");
        return 1;
    }
    if (a->flush_interval && a->flush_interval < a->depth) {
        error_report("Flush interval can't be smaller than depth");
        return 1;
    }
    a->step = a->step ? a->step : a->size;
    return -1;
}

/* ---- the run ---- */

static int bench_request(Co *co, void *opaque)
{
    Bench *b = opaque;
    const BenchArgs *a = b->args;
    int64_t off = b->next;

    if (b->length <= a->size) {
        b->next = 0;
    } else {
        b->next = (off + a->step) % (b->length - a->size);
    }
    return a->write ? root_pwrite(co, b->root, off, a->size, b->buf, 0)
                    : root_pread(co, b->root, off, a->size, b->buf);
}

static int bench_flush(Co *co, void *opaque)
{
    Bench *b = opaque;

    return root_flush(co, b->root);
}

static int bench_loop(Co *co, Bench *b)
{
    const BenchArgs *a = b->args;
    CoGroup group;
    int ret;

    co_group_init(&group, co_loop(co), a->depth);
    for (int64_t i = 0; i < a->count && group.ret == 0; i++) {
        if (a->flush_interval && i > 0 && i % a->flush_interval == 0) {
            ret = a->no_drain ? 0 : co_group_wait(co, &group);
            if (ret < 0) {
                return ret;
            }
            co_group_start(co, &group, bench_flush, b);
            ret = a->no_drain ? 0 : co_group_wait(co, &group);
            if (ret < 0) {
                return ret;
            }
        }
        co_group_start(co, &group, bench_request, b);
    }
    return co_group_wait(co, &group);
}

static void bench_announce(const BenchArgs *a)
{
    printf("Sending %" PRId64 " %s requests, %" PRId64 " bytes each, "
           "%" PRId64 " in parallel (starting at offset %" PRId64 ", "
           "step size %" PRId64 ")\n", a->count, a->write ? "write" : "read",
           a->size, a->depth, a->offset, a->step);
    if (a->flush_interval) {
        printf("Sending flush every %" PRId64 " requests\n",
               a->flush_interval);
    }
    fflush(stdout);
}

static int bench_run(Co *co, const BenchArgs *a, Root *root)
{
    Bench b = { .args = a, .root = root, .length = root_length(root),
                .next = a->offset };
    int64_t start;
    int ret;

    bench_announce(a);
    b.buf = aligned_alloc_io(4096, MAX(a->size, 1));
    memset(b.buf, a->pattern, MAX(a->size, 1));
    start = clock_ns();
    ret = bench_loop(co, &b);
    if (ret < 0) {
        error_report("Failed request: %s", strerror(-ret));
    } else {
        printf("Run completed in %3.3f seconds.\n",
               (clock_ns() - start) / 1e9);
    }
    aligned_free(b.buf);
    return ret < 0;
}

int img_bench(Co *co, int argc, char **argv)
{
    BenchArgs a = {
        .count = 75000,
        .depth = 64,
        .size = 4096,
    };
    int ret = bench_parse(co, &a, argc, argv);
    Root *root;

    if (ret >= 0) {
        return ret;
    }
    if (!img_check_source(a.image.image_opts, a.image.format)) {
        return 1;
    }
    root = img_open(co, &a.image);
    if (!root) {
        return 1;
    }
    if (a.native_aio && !(a.image.flags & OPEN_NOCACHE)) {
        error_report("Could not open '%s': aio=native was specified, but it "
                     "requires cache.direct=on, which was not specified.",
                     a.image.name);
        ret = 1;
    } else {
        ret = bench_run(co, &a, root);
    }
    root_free(co, root);
    return ret;
}
