/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* qemu-img create: arguments for block/create.c. */
#include "util/osdep.h"

#include "block/create.h"
#include "tools/img/img.h"

typedef struct CreateArgs {
    const char *filename, *format, *backing, *backing_format;
    char *options;
    int64_t size;
    bool unsafe, quiet, bitmaps;
} CreateArgs;

static const struct option create_longopts[] = {
    { "help", no_argument, 0, 'h' },
    { "object", required_argument, 0, 1 },
    { "bitmaps", no_argument, 0, 2 },
    { 0 }
};

/* -1 to go on, else the exit code. */
static int create_parse_options_of(Co *co, CreateArgs *a, int argc,
                                   char **argv)
{
    int c, ret;

    while ((c = img_getopt(argc, argv, ":F:b:f:ho:qu",
                           create_longopts)) != -1) {
        switch (c) {
        case 'F':
            a->backing_format = optarg;
            break;
        case 'b':
            a->backing = optarg;
            break;
        case 'f':
            a->format = optarg;
            break;
        case 'o':
            if (!img_add_options(&a->options, optarg)) {
                return 1;
            }
            break;
        case 'q':
            a->quiet = true;
            break;
        case 'u':
            a->unsafe = true;
            break;
        case 1:
            ret = img_object(co, optarg);
            if (ret >= 0) {
                return ret;
            }
            break;
        case 2:
            a->bitmaps = true;
            break;
        default:
            return img_getopt_code(c);
        }
    }
    return -1;
}

/* Whose bitmaps? */
static bool create_check_bitmaps(const CreateArgs *a)
{
    bool backing = a->backing || (a->options &&
                                  strstr(a->options, "backing_file="));

    if (a->bitmaps && !backing) {
        error_report("--bitmaps only supported with a backing file");
        return false;
    }
    if (a->bitmaps && a->unsafe) {
        error_report("--bitmaps needs the backing file: -u not supported");
        return false;
    }
    return true;
}

static int create_parse(Co *co, CreateArgs *a, int argc, char **argv)
{
    int ret = create_parse_options_of(co, a, argc, argv);

    if (ret >= 0) {
        return ret;
    }
    if (optind < argc) {
        a->filename = argv[optind++];
    } else if (!img_wants_help(a->options)) {
        return img_usage_error("Expecting image file name");
    }
    if (optind < argc &&
        !img_parse_size("image size", argv[optind++], 0, INT64_MAX,
                        &a->size)) {
        return 1;
    }
    if (optind < argc) {
        return img_usage_error("Unexpected argument: %s", argv[optind]);
    }
    if (!img_wants_help(a->options) && !create_check_bitmaps(a)) {
        return 1;
    }
    return -1;
}

static int create_run(Co *co, const CreateArgs *a)
{
    Error *err = NULL;

    if (img_wants_help(a->options)) {
        if (!create_print_help(a->format, a->filename, &err)) {
            error_report_err(err);
            return 1;
        }
        return 0;
    }
    if (!create_image(co, a->filename, a->format, a->backing,
                      a->backing_format, a->options, a->size, a->unsafe,
                      a->quiet, &err) ||
        (a->bitmaps &&
         !img_create_bitmaps(co, a->filename, a->format, &err))) {
        error_reportf_err(err, "%s: ", a->filename);
        return 1;
    }
    return 0;
}

int img_create(Co *co, int argc, char **argv)
{
    CreateArgs a = { .format = "raw", .size = -1 };
    int ret = create_parse(co, &a, argc, argv);

    if (ret < 0) {
        ret = create_run(co, &a);
    }
    g_free(a.options);
    return ret;
}
