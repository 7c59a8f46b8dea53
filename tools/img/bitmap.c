/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qemu-img bitmap: the QMP commands of persistent bitmaps, on an image that
 * nobody runs. Actions are carried out in the order given; the first that fails
 * ends it, and what was done before stays.
 */
#include "util/osdep.h"

#include "qapi/qapi-commands.h"
#include "tools/img/img.h"
#include "tools/img/picture.h"

typedef enum BitmapAct {
    ACT_ADD, ACT_REMOVE, ACT_CLEAR, ACT_ENABLE, ACT_DISABLE, ACT_MERGE,
} BitmapAct;

static const char *const bitmap_act_names[] = {
    "add", "remove", "clear", "enable", "disable", "merge",
};

typedef struct BitmapAction {
    BitmapAct act;
    const char *source;         /* of a merge */
} BitmapAction;

typedef struct BitmapArgs {
    ImgSource image;            /* to be changed */
    ImgSource other;            /* -b: what is merged stands here; or no name */
    const char *bitmap;
    int64_t granularity;        /* 0: the default */
    BitmapIfExists if_exists;
    GArray *actions;            /* of BitmapAction */
    bool add, merge;
    const char *output;         /* "png": a picture and nothing else */
    char **files;               /* to be drawn */
    int n_files;
} BitmapArgs;

enum { OPT_OBJECT = 256, OPT_IMAGE_OPTS, OPT_IF_EXISTS, OPT_OUTPUT,
       OPT_ACT };

static const struct option bitmap_longopts[] = {
    { "help", no_argument, 0, 'h' },
    { "object", required_argument, 0, OPT_OBJECT },
    { "image-opts", no_argument, 0, OPT_IMAGE_OPTS },
    { "add", no_argument, 0, OPT_ACT + ACT_ADD },
    { "granularity", required_argument, 0, 'g' },
    { "output", required_argument, 0, OPT_OUTPUT },
    { "force-share", no_argument, 0, 'U' },
    { "if-exists", required_argument, 0, OPT_IF_EXISTS },
    { "remove", no_argument, 0, OPT_ACT + ACT_REMOVE },
    { "clear", no_argument, 0, OPT_ACT + ACT_CLEAR },
    { "enable", no_argument, 0, OPT_ACT + ACT_ENABLE },
    { "disable", no_argument, 0, OPT_ACT + ACT_DISABLE },
    { "merge", required_argument, 0, OPT_ACT + ACT_MERGE },
    { "source-file", required_argument, 0, 'b' },
    { "source-format", required_argument, 0, 'F' },
    { 0 }
};

static bool bitmap_parse_if_exists(BitmapArgs *a)
{
    int value = BitmapIfExists_parse(optarg, 0, NULL);

    if (value < 0) {
        error_report("Invalid --if-exists '%s': fail, keep and replace are "
                     "known", optarg);
        return false;
    }
    a->if_exists = value;
    return true;
}

static void bitmap_take_action(BitmapArgs *a, BitmapAct act)
{
    BitmapAction action = { act, act == ACT_MERGE ? optarg : NULL };

    g_array_append_val(a->actions, action);
    a->add |= act == ACT_ADD;
    a->merge |= act == ACT_MERGE;
}

static int bitmap_parse_options(Co *co, BitmapArgs *a, int argc, char **argv)
{
    int c, ret;

    while ((c = img_getopt(argc, argv, ":b:f:F:g:hU",
                           bitmap_longopts)) != -1) {
        switch (c) {
        case 'b':
            a->other.name = optarg;
            break;
        case 'f':
            a->image.format = optarg;
            break;
        case 'F':
            a->other.format = optarg;
            break;
        case 'g':
            if (!img_parse_size("granularity", optarg, 0, INT64_MAX,
                                &a->granularity)) {
                return 1;
            }
            break;
        case OPT_OBJECT:
            ret = img_object(co, optarg);
            if (ret >= 0) {
                return ret;
            }
            break;
        case 'U':
            a->image.flags |= OPEN_FORCE_SHARE;
            break;
        case OPT_OUTPUT:
            a->output = optarg;
            break;
        case OPT_IMAGE_OPTS:
            a->image.image_opts = true;
            break;
        case OPT_IF_EXISTS:
            if (!bitmap_parse_if_exists(a)) {
                return 1;
            }
            break;
        default:
            if (c < OPT_ACT) {
                return img_getopt_code(c);
            }
            bitmap_take_action(a, c - OPT_ACT);
        }
    }
    return -1;
}

/* --output */
static const char *bitmap_picture_complaint(const BitmapArgs *a, int n_args)
{
    if (strcmp(a->output, "png")) {
        return "--output must be used with png as argument.";
    }
    if (a->actions->len || a->other.name || a->other.format) {
        return "--output=png can't be used with actions";
    }
    return n_args < 1 ? "Expecting at least one image file name" : NULL;
}

static const char *bitmap_complaint(const BitmapArgs *a, int n_args)
{
    if (a->output) {
        return bitmap_picture_complaint(a, n_args);
    }
    if (a->image.flags & OPEN_FORCE_SHARE) {
        return "-U only supported with --output";
    }
    if (a->actions->len == 0) {
        return "Need at least one of --add, --remove, --clear, --enable, "
               "--disable, or --merge";
    }
    if (a->granularity && !a->add) {
        return "granularity only supported with --add";
    }
    if (a->if_exists != BITMAP_IF_EXISTS_FAIL && !a->add) {
        return "--if-exists only supported with --add";
    }
    if (a->other.format && !a->other.name) {
        return "-F only supported with -b";
    }
    if (a->other.name && !a->merge) {
        return "Merge bitmap source file only supported with --merge";
    }
    if (n_args != 2) {
        return "Expecting filename and bitmap name";
    }
    return NULL;
}

static int bitmap_parse(Co *co, BitmapArgs *a, int argc, char **argv)
{
    int ret = bitmap_parse_options(co, a, argc, argv);
    const char *complaint;

    if (ret >= 0) {
        return ret;
    }
    complaint = bitmap_complaint(a, argc - optind);
    if (complaint) {
        error_report("%s", complaint);
        return 1;
    }
    if (!img_check_source(a->image.image_opts, a->image.format)) {
        return 1;
    }
    a->files = argv + optind;
    a->n_files = argc - optind;
    a->image.name = argv[optind];
    a->bitmap = argv[optind + 1];
    return -1;
}

/* ---- actions ---- */

/* Whether the actions leave it disabled: what --if-exists keep asks for. */
static bool bitmap_ends_disabled(const BitmapArgs *a)
{
    bool disabled = false;

    for (guint i = 0; i < a->actions->len; i++) {
        switch (g_array_index(a->actions, BitmapAction, i).act) {
        case ACT_ENABLE:
            disabled = false;
            break;
        case ACT_DISABLE:
            disabled = true;
            break;
        default:
            break;
        }
    }
    return disabled;
}

static bool bitmap_add(Co *co, const BitmapArgs *a, Node *node, Error **errp)
{
    BlockDirtyBitmapAdd arg = {
        .node = node->name,
        .name = (char *)a->bitmap,
        .has_granularity = a->granularity,
        .granularity = MIN(a->granularity, UINT32_MAX),
        .has_persistent = true,
        .persistent = true,
        /* A new one is disabled by its action, if none before it fails. */
        .has_disabled = true,
        .disabled = a->if_exists == BITMAP_IF_EXISTS_KEEP &&
                    bitmap_ends_disabled(a),
        .has_if_exists = true,
        .if_exists = a->if_exists,
    };

    return qmp_block_dirty_bitmap_add(co, &arg, errp);
}

static bool bitmap_merge_from(Co *co, const BitmapArgs *a, Node *node,
                              Node *from, const char *source, Error **errp)
{
    BlockDirtyBitmapOrStr which = { .type = QTYPE_QSTRING };
    BlockDirtyBitmapOrStrList list = { .value = &which };
    BlockDirtyBitmapMerge arg = {
        .node = node->name,
        .target = (char *)a->bitmap,
        .bitmaps = &list,
    };

    if (from == node) {
        which.u.local = (char *)source;
    } else {
        which.type = QTYPE_QDICT;
        which.u.external.node = from->name;
        which.u.external.name = (char *)source;
    }
    return qmp_block_dirty_bitmap_merge(co, &arg, errp);
}

/* @from: the node of -b, or @node. */
static bool bitmap_act(Co *co, const BitmapArgs *a, const BitmapAction *action,
                       Node *node, Node *from, Error **errp)
{
    BlockDirtyBitmap which = { node->name, (char *)a->bitmap };

    switch (action->act) {
    case ACT_ADD:
        return bitmap_add(co, a, node, errp);
    case ACT_REMOVE:
        return qmp_block_dirty_bitmap_remove(co, &which, errp);
    case ACT_CLEAR:
        return qmp_block_dirty_bitmap_clear(co, &which, errp);
    case ACT_ENABLE:
        return qmp_block_dirty_bitmap_enable(co, &which, errp);
    case ACT_DISABLE:
        return qmp_block_dirty_bitmap_disable(co, &which, errp);
    case ACT_MERGE:
        return bitmap_merge_from(co, a, node, from, action->source, errp);
    }
    g_assert_not_reached();
}

static int bitmap_act_all(Co *co, const BitmapArgs *a, Node *node, Node *from)
{
    for (guint i = 0; i < a->actions->len; i++) {
        const BitmapAction *action = &g_array_index(a->actions, BitmapAction,
                                                    i);
        Error *err = NULL;

        if (!bitmap_act(co, a, action, node, from, &err)) {
            error_reportf_err(err, "Operation %s on bitmap %s failed: ",
                              bitmap_act_names[action->act], a->bitmap);
            return 1;
        }
    }
    return 0;
}

/* ---- damaged images ---- */

static bool bitmap_only_removes(const BitmapArgs *a)
{
    for (guint i = 0; i < a->actions->len; i++) {
        if (g_array_index(a->actions, BitmapAction, i).act != ACT_REMOVE) {
            return false;
        }
    }
    return true;
}

/* An image with damaged bitmaps can't be opened to be written, but those that
 * can be named can be removed. False if that is not the matter. */
static bool bitmap_rescue(Co *co, const BitmapArgs *a)
{
    ImgSource src = a->image;
    const BitmapStoreOps *ops;
    Error *err = NULL;
    Root *root;
    Node *node;
    bool ok;

    src.flags |= OPEN_CHECK;
    root = img_try_open(co, &src, NULL);
    if (!root) {
        return false;
    }
    node = root_node(root);
    ops = node->drv->bitmap_store;
    ok = ops && ops->remove_damaged &&
         ops->remove_damaged(co, node, a->bitmap, &err);
    error_free(err);
    root_free(co, root);
    return ok;
}

/* ---- the command ---- */

static int bitmap_run_open(Co *co, const BitmapArgs *a, Root *root)
{
    Root *other = NULL;
    int ret = 1;

    if (a->other.name) {
        other = img_open(co, &a->other);
    }
    if (other || !a->other.name) {
        ret = bitmap_act_all(co, a, root_node(root),
                             root_node(other ? other : root));
    }
    root_free(co, other);
    return ret;
}

static int bitmap_run(Co *co, const BitmapArgs *a)
{
    Error *err = NULL;
    Root *root = img_try_open(co, &a->image, &err);
    int ret;

    if (!root) {
        if (bitmap_only_removes(a) && bitmap_rescue(co, a)) {
            error_free(err);
            return 0;
        }
        error_report_err(err);
        return 1;
    }
    ret = bitmap_run_open(co, a, root);
    root_free(co, root);
    return ret;
}

static int bitmap_draw(Co *co, BitmapArgs *a)
{
    Error *err = NULL;

    if (!picture_check(&err)) {
        error_report_err(err);
        return 1;
    }
    a->image.flags &= ~OPEN_RDWR;
    return img_bitmap_picture(co, &a->image, a->files, a->n_files);
}

static bool bitmap_wants_check(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
        if (!strcmp(argv[i], "--check")) {
            return true;
        }
    }
    return false;
}

int img_bitmap(Co *co, int argc, char **argv)
{
    /* What lies below may be gone: bitmaps are of the image alone. */
    BitmapArgs a = {
        .image.flags = OPEN_RDWR | OPEN_NO_BACKING,
        .other.flags = OPEN_NO_BACKING,
    };
    int ret;

    if (bitmap_wants_check(argc, argv)) {
        return img_bitmap_check(co, argc, argv);
    }
    a.actions = g_array_new(false, false, sizeof(BitmapAction));
    ret = bitmap_parse(co, &a, argc, argv);
    if (ret < 0) {
        ret = a.output ? bitmap_draw(co, &a) : bitmap_run(co, &a);
    }
    g_array_free(a.actions, true);
    return ret;
}
