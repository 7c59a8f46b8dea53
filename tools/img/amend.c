/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img amend: other format options for an image that exists. What can be
 * amended, and in which words it is refused, is the driver's.
 */
#include "util/osdep.h"

#include "block/create.h"
#include "tools/img/img.h"

typedef struct AmendArgs {
    ImgSource image;
    char *options;
    const char *cache;
    bool progress, quiet, force;
} AmendArgs;

enum { OPT_FORCE = IMG_OPT_OWN };

static const struct option amend_longopts[] = {
    IMG_LONGOPTS,
    { "force", no_argument, 0, OPT_FORCE },
    { 0 }
};

/* ---- arguments: -1 to go on, else the exit code ---- */

static int amend_take(Co *co, void *opaque, int c)
{
    AmendArgs *a = opaque;

    switch (c) {
    case 'o':
        return img_add_options(&a->options, optarg) ? -1 : 1;
    case 't':
        a->cache = optarg;
        return -1;
    case 'p':
        a->progress = true;
        return -1;
    case 'q':
        a->quiet = true;
        return -1;
    case OPT_FORCE:
        a->force = true;
        return -1;
    default:
        return img_take_source(co, &a->image, c);
    }
}

static int amend_help(const BlockDriver *drv)
{
    Error *err = NULL;

    if (!create_print_amend_help(drv, &err)) {
        error_report_err(err);
        return 1;
    }
    return 0;
}

/* The format alone says what it can amend. */
static int amend_help_of_format(const char *format)
{
    const BlockDriver *drv = driver_find(format);

    if (!drv) {
        error_report("Unknown file format '%s'", format);
        return 1;
    }
    return amend_help(drv);
}

static int amend_parse(Co *co, AmendArgs *a, int argc, char **argv)
{
    int ret = img_parse_options(co, argc, argv, ":ho:f:t:pq",
                                amend_longopts, amend_take, a);

    if (ret >= 0) {
        return ret;
    }
    if (!a->options) {
        return img_usage_error("Must specify options (-o)");
    }
    if (a->image.format && img_wants_help(a->options)) {
        return amend_help_of_format(a->image.format);
    }
    if (optind != argc - 1) {
        error_report("Expecting one image file name");
        return 1;
    }
    a->image.name = argv[optind];
    return img_check_source(a->image.image_opts, a->image.format) &&
           img_target_cache(a->cache ? a->cache : "writeback",
                            &a->image.flags, &a->image.write_through) ? -1 : 1;
}

/* ---- amending ---- */

static void amend_show(void *opaque, int64_t done, int64_t all)
{
    img_progress_set(opaque, all > 0 ? 100.0 * done / all : 100.0);
}

static bool amend_image(Co *co, const AmendArgs *a, Node *node,
                        ImgProgress *progress, Error **errp)
{
    g_autoptr(json_t) opts = create_parse_amend(node->drv, a->options, errp);
    Loop *home = co_loop(co);
    bool ok;

    if (!opts) {
        return false;
    }
    co_move(co, node->loop);
    ok = node->drv->image->amend(co, node, opts, a->force, amend_show,
                                 progress, errp);
    co_move(co, home);
    return ok;
}

static int amend_run(Co *co, const AmendArgs *a, Root *root)
{
    ImgProgress progress;
    Error *err = NULL;

    if (img_wants_help(a->options)) {
        return amend_help(root_node(root)->drv);
    }
    img_progress_begin(&progress, a->progress && !a->quiet);
    if (amend_image(co, a, root_node(root), &progress, &err)) {
        img_progress_set(&progress, 100);
    }
    img_progress_end(&progress);
    if (err) {
        error_report_err(err);
        return 1;
    }
    return 0;
}

int img_amend(Co *co, int argc, char **argv)
{
    AmendArgs a = { .image.flags = OPEN_RDWR | OPEN_RESIZE };
    int ret = amend_parse(co, &a, argc, argv);
    Root *root;

    if (ret < 0) {
        root = img_open(co, &a.image);
        ret = root ? amend_run(co, &a, root) : 1;
        root_free(co, root);
    }
    g_free(a.options);
    return ret;
}
