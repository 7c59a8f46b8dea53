/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img resize: a disk of another length. The size is the last argument and
 * may begin with + or -, so it is taken off before the options are read.
 */
#include "util/osdep.h"

#include "tools/img/img.h"
#include "util/bytes.h"

typedef struct ResizeArgs {
    ImgSource image;
    int64_t size;
    int relative;               /* 1, -1: to the length now; 0 */
    PreallocMode prealloc;
    bool shrink, quiet;
} ResizeArgs;

enum { OPT_PREALLOC = IMG_OPT_OWN, OPT_SHRINK };

static const struct option resize_longopts[] = {
    IMG_LONGOPTS,
    { "preallocation", required_argument, 0, OPT_PREALLOC },
    { "shrink", no_argument, 0, OPT_SHRINK },
    { 0 }
};

static int resize_take(Co *co, void *opaque, int c)
{
    ResizeArgs *a = opaque;
    int mode;

    switch (c) {
    case 'q':
        a->quiet = true;
        return -1;
    case OPT_PREALLOC:
        mode = PreallocMode_parse(optarg, -1, NULL);
        if (mode < 0) {
            error_report("Invalid preallocation mode '%s'", optarg);
            return 1;
        }
        a->prealloc = mode;
        return -1;
    case OPT_SHRINK:
        a->shrink = true;
        return -1;
    default:
        return img_take_source(co, &a->image, c);
    }
}

static bool resize_parse_size(ResizeArgs *a, const char *value)
{
    uint64_t n;

    a->relative = value[0] == '+' ? 1 : value[0] == '-' ? -1 : 0;
    if (size_parse(value + (a->relative != 0), 'B', NULL, &n) < 0) {
        error_report("Parameter 'size' expects a non-negative number below "
                     "2^64");
        fprintf(stderr, "Optional suffix k, M, G, T, P or E means kilo-, "
                "mega-, giga-, tera-, peta-\nand exabytes, respectively.\n");
        return false;
    }
    a->size = n > INT64_MAX ? -1 : (int64_t)n;
    return true;
}

static int resize_parse(Co *co, ResizeArgs *a, int argc, char **argv)
{
    const char *size;
    int ret;

    if (argc < 3) {
        return img_usage_error("Not enough arguments");
    }
    size = argv[--argc];
    ret = img_parse_options(co, argc, argv, ":f:hq", resize_longopts,
                            resize_take, a);
    if (ret >= 0) {
        return ret;
    }
    if (optind != argc - 1) {
        return img_usage_error("Expecting image file name and size");
    }
    a->image.name = argv[optind];
    return img_check_source(a->image.image_opts, a->image.format) &&
           resize_parse_size(a, size) ? -1 : 1;
}

/* The length to be, or 0 after a complaint. */
static int64_t resize_total(const ResizeArgs *a, int64_t now)
{
    int64_t total = a->size;
    bool overflow = a->size < 0;

    if (a->relative) {
        overflow |= __builtin_add_overflow(now, a->relative * a->size,
                                           &total);
    }
    if (overflow || total <= 0) {
        error_report("New image size must be positive");
        return 0;
    }
    if (total <= now && a->prealloc != PREALLOC_MODE_OFF) {
        error_report("Preallocation can only be used for growing images");
        return 0;
    }
    if (total < now && !a->shrink) {
        error_report("Use the --shrink option to perform a shrink "
                     "operation.");
        warn_report("Shrinking an image will delete all data beyond the "
                    "shrunken image's end. Before performing such an "
                    "operation, make sure there is no important data there.");
        return 0;
    }
    return total;
}

static int resize_run(Co *co, const ResizeArgs *a, Root *root)
{
    int64_t total = resize_total(a, root_length(root));
    Error *err = NULL;

    if (total == 0) {
        return 1;
    }
    if (!root_resize(co, root, total, true, a->prealloc, 0, &err)) {
        error_report_err(err);
        return 1;
    }
    if (!a->quiet) {
        printf("Image resized.\n");
    }
    return 0;
}

int img_resize(Co *co, int argc, char **argv)
{
    ResizeArgs a = { .image.flags = OPEN_RDWR | OPEN_RESIZE };
    int ret = resize_parse(co, &a, argc, argv);
    Root *root;

    if (ret >= 0) {
        return ret;
    }
    root = img_open(co, &a.image);
    if (!root) {
        return 1;
    }
    ret = resize_run(co, &a, root);
    root_free(co, root);
    return ret;
}
