/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* qemu-img measure: how large a new image would be, as its driver counts. */
#include "util/osdep.h"

#include "block/create.h"
#include "tools/img/img.h"
#include "util/json.h"

typedef struct MeasureArgs {
    ImgSource src;              /* name NULL: --size */
    ImgOutput output;
    const char *out_format, *snapshot;
    char *options;
    int64_t size;               /* -1: not given */
    bool bitmaps;
} MeasureArgs;

enum { OPT_OUTPUT = IMG_OPT_OWN, OPT_SIZE, OPT_BITMAPS };

static const struct option measure_longopts[] = {
    IMG_LONGOPTS,
    { "output", required_argument, 0, OPT_OUTPUT },
    { "size", required_argument, 0, OPT_SIZE },
    { "bitmaps", no_argument, 0, OPT_BITMAPS },
    IMG_LONGOPT_SHARE,
    { 0 }
};

/* ---- arguments ---- */

static int measure_take(Co *co, void *opaque, int c)
{
    MeasureArgs *a = opaque;

    switch (c) {
    case 'l':
        a->snapshot = optarg;
        return -1;
    case 'o':
        return img_add_options(&a->options, optarg) ? -1 : 1;
    case 'O':
        a->out_format = optarg;
        return -1;
    case OPT_OUTPUT:
        return img_parse_output(optarg, &a->output) ? -1 : 1;
    case OPT_SIZE:
        return img_parse_size("image size", optarg, 0, INT64_MAX, &a->size)
               ? -1 : 1;
    case OPT_BITMAPS:
        a->bitmaps = true;
        return -1;
    default:
        return img_take_source(co, &a->src, c);
    }
}

static const char *measure_complaint(const MeasureArgs *a, int n_args)
{
    if (n_args > 1) {
        return "At most one filename argument is allowed.";
    }
    if (n_args == 0 && a->bitmaps) {
        return "--bitmaps requires a filename argument.";
    }
    if (n_args == 0 && (a->src.image_opts || a->src.format || a->snapshot)) {
        return "--image-opts, -f, and -l require a filename argument.";
    }
    if (n_args == 0 && a->size == -1) {
        return "Either --size N or one filename must be specified.";
    }
    if (n_args == 1 && a->size != -1) {
        return "--size N cannot be used together with a filename.";
    }
    return NULL;
}

static int measure_parse(Co *co, MeasureArgs *a, int argc, char **argv)
{
    const char *complaint;
    int ret = img_parse_options(co, argc, argv, "hf:l:o:O:U",
                                measure_longopts, measure_take, a);

    if (ret >= 0) {
        return ret;
    }
    complaint = measure_complaint(a, argc - optind);
    if (complaint) {
        error_report("%s", complaint);
        return 1;
    }
    a->src.name = argv[optind];
    return -1;
}

/* ---- measuring ---- */

static void measure_print(const MeasureArgs *a, const BlockMeasureInfo *info)
{
    if (a->output == IMG_OUTPUT_JSON) {
        img_print_json(BlockMeasureInfo_to_json(info));
        return;
    }
    printf("required size: %" PRId64 "\n"
           "fully allocated size: %" PRId64 "\n", info->required,
           info->fully_allocated);
    if (info->has_bitmaps) {
        printf("bitmaps size: %" PRId64 "\n", info->bitmaps);
    }
}

/* As convert --bitmaps makes it. */
static bool measure_add_bitmaps(const BlockDriver *drv, BlockMeasureInfo *info)
{
    if (!drv->bitmap_store) {
        error_report("Format driver '%s' does not support bitmaps", drv->name);
        return false;
    }
    if (!info->has_bitmaps) {
        error_report("Source lacks bitmap support");
        return false;
    }
    info->required += info->bitmaps;
    info->fully_allocated += info->bitmaps;
    return true;
}

static int measure_run(Co *co, const MeasureArgs *a, const BlockDriver *drv,
                       Node *source)
{
    g_autoptr(BlockMeasureInfo) info = NULL;
    Error *err = NULL;
    g_autoptr(json_t) options = create_parse_options(drv, a->options, &err);

    if (!options) {
        error_report_err(err);
        error_report("Invalid options for file format '%s'", drv->name);
        return 1;
    }
    if (!source) {
        g_autofree char *size = g_strdup_printf("%" PRId64, a->size);

        json_object_set_new(options, "size", json_string(size));
    }
    info = drv->image->measure(co, options, source, &err);
    if (!info) {
        error_report_err(err);
        return 1;
    }
    if (a->bitmaps && !measure_add_bitmaps(drv, info)) {
        return 1;
    }
    measure_print(a, info);
    return 0;
}

static int measure_with_source(Co *co, const MeasureArgs *a,
                               const BlockDriver *drv)
{
    Root *root = img_open(co, &a->src);
    int ret = 1;

    if (!root) {
        return 1;
    }
    if (!a->snapshot ||
        img_load_snapshot(co, root_node(root), a->snapshot)) {
        ret = measure_run(co, a, drv, root_node(root));
    }
    root_free(co, root);
    return ret;
}

static int measure_all(Co *co, const MeasureArgs *a)
{
    const BlockDriver *drv = driver_find(a->out_format);

    if (!drv) {
        error_report("Unknown file format '%s'", a->out_format);
        return 1;
    }
    if (!img_check_snapshot(a->snapshot)) {
        return 1;
    }
    if (!drv->image || !drv->image->measure) {
        error_report("Block driver '%s' does not support size measurement",
                     drv->name);
        return 1;
    }
    return a->src.name ? measure_with_source(co, a, drv)
                       : measure_run(co, a, drv, NULL);
}

int img_measure(Co *co, int argc, char **argv)
{
    MeasureArgs a = { .out_format = "raw", .size = -1 };
    int ret = measure_parse(co, &a, argc, argv);

    if (ret < 0) {
        ret = measure_all(co, &a);
    }
    g_free(a.options);
    return ret;
}
