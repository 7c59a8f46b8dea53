/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img bitmap --check: whether incremental backups may rest on the bitmaps
 * of an image and its backing files. Nothing is changed.
 *
 *     0  all bitmaps (or the one that is named) are healthy
 *     1  one is not
 *     2  it can't be told
 */
#include "util/osdep.h"

#include "block/bitmap-chain.h"
#include "tools/img/img.h"

enum { CHECK_HEALTHY, CHECK_NOT, CHECK_FAILED };

typedef struct BitmapCheckArgs {
    ImgSource src;
    ImgOutput output;
    const char *bitmap;         /* NULL: all */
} BitmapCheckArgs;

enum { OPT_OUTPUT = 256, OPT_OBJECT, OPT_IMAGE_OPTS, OPT_CHECK };

static const struct option check_longopts[] = {
    IMG_LONGOPTS,
    { "check", no_argument, 0, OPT_CHECK },
    IMG_LONGOPT_SHARE,
    { "output", required_argument, 0, OPT_OUTPUT },
    { 0 }
};

/* -1 to go on, else the exit code: 0 after the help, what is not 0 failed. */
static int check_take(Co *co, void *opaque, int c)
{
    BitmapCheckArgs *a = opaque;

    switch (c) {
    case OPT_CHECK:
        return -1;
    case OPT_OUTPUT:
        if (!img_parse_output(optarg, &a->output)) {
            return 1;
        }
        return -1;
    default:
        return img_take_source(co, &a->src, c);
    }
}

static int check_parse(Co *co, BitmapCheckArgs *a, int argc, char **argv)
{
    int ret = img_parse_options(co, argc, argv, ":f:hU",
                                check_longopts, check_take, a);

    if (ret >= 0) {
        return ret;
    }
    if (optind >= argc || optind + 2 < argc) {
        return img_usage_error("--check expects a filename, and a bitmap name "
                               "or none");
    }
    a->src.name = argv[optind];
    a->bitmap = argv[optind + 1];
    return img_check_source(a->src.image_opts, a->src.format) ? -1 : 1;
}

static void check_print(const BitmapChainList *list)
{
    for (; list; list = list->next) {
        const BitmapChain *c = list->value;

        if (c->healthy) {
            printf("%s: healthy\n", c->name);
        } else {
            printf("%s: not healthy: %s\n", c->name, c->reason);
        }
    }
}

static void check_print_json(const BitmapChainList *list)
{
    json_t *array = json_array();

    for (; list; list = list->next) {
        json_array_append_new(array, BitmapChain_to_json(list->value));
    }
    img_print_json(array);
}

static int check_run(Co *co, const BitmapCheckArgs *a)
{
    g_autoptr(BitmapChainList) list = NULL;
    Root *root = img_open(co, &a->src);
    int ret = CHECK_HEALTHY;

    if (!root) {
        return CHECK_FAILED;
    }
    list = bitmap_chain_query(co, root_node(root), a->bitmap);
    if (a->output == IMG_OUTPUT_JSON) {
        check_print_json(list);
    } else {
        check_print(list);
    }
    for (const BitmapChainList *l = list; l; l = l->next) {
        ret = l->value->healthy ? ret : CHECK_NOT;
    }
    root_free(co, root);
    return ret;
}

int img_bitmap_check(Co *co, int argc, char **argv)
{
    BitmapCheckArgs a = { 0 };
    int ret = check_parse(co, &a, argc, argv);

    if (ret > 0) {
        return CHECK_FAILED;
    }
    return ret < 0 ? check_run(co, &a) : ret;
}
