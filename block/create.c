/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * New images.
 *
 *     create_options   typed options to drv->image->create: blockdev-create
 *     create_image     what qemu-img create takes: a file name, -o, -b, a size
 *
 * The second is a parser for the first: it makes the file (and a data file),
 * opens it and passes its node to the format by reference. If formatting
 * fails, what it made is deleted again. How large the image is and whether its
 * backing file is what it is said to be is settled before anything is written.
 */
#include "util/osdep.h"

#include "block/create-options.h"
#include "block/create.h"
#include "block/graph.h"
#include "block/open-internal.h"
#include "block/root.h"
#include "util/json.h"

#define CREATE_SECTOR 512

/* One create_image(): parameters and what becomes of them. */
typedef struct CreateRun {
    const char *filename;
    const BlockDriver *drv, *protocol;
    CreateList *list;
    int64_t size;           /* -1: not known yet */
    bool own_size;          /* that is it, whatever the options say */
    bool check_backing;
    bool quiet;
} CreateRun;

bool create_options(Co *co, BlockdevCreateOptions *opts, Error **errp)
{
    const BlockDriver *drv = driver_by_id(opts->driver);

    control_assert();
    if (!drv || !drv->image || !drv->image->create) {
        error_setg(errp, "Driver '%s' does not support blockdev-create",
                   BlockdevDriver_str(opts->driver));
        return false;
    }
    return drv->image->create(co, opts, errp);
}

static bool create_from_tree(Co *co, json_t *tree, Error **errp)
{
    g_autoptr(BlockdevCreateOptions) opts =
        BlockdevCreateOptions_from_json(tree, QAPI_KEYVAL, errp);

    return opts && create_options(co, opts, errp);
}

/* ---- drivers ---- */

static bool create_can(const BlockDriver *drv, const char *what, Error **errp)
{
    if (!drv->image || !drv->image->create_options) {
        error_setg(errp, "%s driver '%s' does not support image creation",
                   what, drv->name);
        return false;
    }
    return true;
}

static bool create_find_drivers(CreateRun *run, const char *fmt, Error **errp)
{
    run->drv = driver_find(fmt);
    if (!run->drv) {
        error_setg(errp, "Unknown file format '%s'", fmt);
        return false;
    }
    run->protocol = open_protocol_driver(run->filename, errp);
    return run->protocol && create_can(run->drv, "Format", errp) &&
           create_can(run->protocol, "Protocol", errp);
}

/* ---- size and backing file ---- */

static bool create_take_size(CreateRun *run, Error **errp)
{
    const char *value = create_list_get(run->list, "size");

    if (value) {
        if (run->size != -1) {
            error_setg(errp, "The image size must be specified only once");
            return false;
        }
        run->size = g_ascii_strtoull(value, NULL, 10);
    }
    return true;
}

static bool create_take_backing(CreateRun *run, const char *backing,
                                const char *backing_fmt, Error **errp)
{
    if (backing && !create_list_set(run->list, "backing_file", backing, NULL)) {
        error_setg(errp, "Backing file not supported for file format '%s'",
                   run->drv->name);
        return false;
    }
    if (backing_fmt &&
        !create_list_set(run->list, "backing_fmt", backing_fmt, NULL)) {
        error_setg(errp, "Backing file format not supported for file format "
                   "'%s'", run->drv->name);
        return false;
    }
    backing = create_list_get(run->list, "backing_file");
    if (backing && !backing[0]) {
        error_setg(errp, "Expected backing file name, got empty string");
        return false;
    }
    if (backing && !strcmp(backing, run->filename)) {
        error_setg(errp, "Error: Trying to create an image with the same "
                   "filename as the backing file");
        return false;
    }
    return true;
}

/* The image below exists, is of the format that is said, and gives the size. */
static bool create_check_backing(Co *co, CreateRun *run, Error **errp)
{
    ERRP_GUARD();
    const char *backing = create_list_get(run->list, "backing_file");
    const char *fmt = create_list_get(run->list, "backing_fmt");
    g_autofree char *full = open_combine_paths(run->filename, backing, errp);
    Node *node;

    if (!full) {
        return false;
    }
    node = open_filename(co, full, fmt, NULL, 0, errp);
    if (!node) {
        error_append_hint(errp, "Could not open backing image.\n");
        return false;
    }
    if (!fmt) {
        error_setg(errp, "Backing file specified without backing format");
        error_append_hint(errp, "Detected format of %s.", node->drv->name);
    } else if (run->size == -1) {
        run->size = node->length;
    }
    node_unref(co, node);
    return fmt;
}

static bool create_settle_size(Co *co, CreateRun *run, Error **errp)
{
    g_autofree char *value = NULL;

    if (run->check_backing && create_list_get(run->list, "backing_file") &&
        !create_check_backing(co, run, errp)) {
        return false;
    }
    if (run->size == -1) {
        error_setg(errp, "Image creation needs a size parameter");
        return false;
    }
    value = g_strdup_printf("%" PRId64, run->size);
    return create_list_set(run->list, "size", value, errp);
}

/* ---- files ---- */

static const RootOps create_root_ops = { .kind = "block-backend" };

static Node *create_open_in_place(Co *co, const BlockDriver *protocol,
                                  const char *filename, Error **errp)
{
    ERRP_GUARD();
    Node *node = open_protocol(co, filename, OPEN_RDWR | OPEN_RESIZE, errp);

    if (!node) {
        error_prepend(errp, "Protocol driver '%s' does not support image "
                      "creation, and opening the image failed: ",
                      protocol->name);
    }
    return node;
}

static bool create_allots_nothing(const char *prealloc, Error **errp)
{
    Error *err = NULL;
    int mode = prealloc ? PreallocMode_parse(prealloc, -1, &err)
                        : PREALLOC_MODE_OFF;

    error_free(err);
    if (mode < 0) {
        error_setg(errp, "invalid parameter value: %s", prealloc);
    } else if (mode != PREALLOC_MODE_OFF) {
        error_setg(errp, "Unsupported preallocation mode '%s'", prealloc);
    }
    return mode == PREALLOC_MODE_OFF;
}

/* What is there already: long enough, and without the head of an old image. */
static bool create_in_place(Co *co, const BlockDriver *protocol,
                            const char *filename, const json_t *options,
                            Error **errp)
{
    const char *size = json_string_value(json_object_get(options, "size"));
    int64_t len = size ? g_ascii_strtoll(size, NULL, 10) : 0;
    Root *root;
    Node *node;
    int ret = 0;
    bool ok;

    if (!create_allots_nothing(json_string_value(json_object_get(
            options, "preallocation")), errp)) {
        return false;
    }
    node = create_open_in_place(co, protocol, filename, errp);
    if (!node) {
        return false;
    }
    root = root_open(co, node, "", &create_root_ops, NULL,
                     PERM_WRITE | PERM_RESIZE, PERM_ALL, errp);
    ok = root && root_resize(co, root, len, false, PREALLOC_MODE_OFF, 0, errp);
    if (ok) {
        ret = root_zero(co, root, 0, MIN(root_length(root), CREATE_SECTOR), 0);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to clear the new image's first "
                         "sector");
    }
    root_free(co, root);
    node_unref(co, node);
    return ok && ret == 0;
}

static bool create_protocol_file(Co *co, const BlockDriver *protocol,
                                 const char *filename, json_t *options,
                                 Error **errp)
{
    g_autoptr(json_t) tree = NULL;

    if (!create_can(protocol, "Protocol", errp)) {
        return false;
    }
    if (!protocol->image->create) {
        return create_in_place(co, protocol, filename, options, errp);
    }
    tree = open_name_to_protocol(filename, errp);
    if (!tree) {
        return false;
    }
    open_tree_join(tree, options);
    return create_from_tree(co, tree, errp);
}

bool create_file(Co *co, const char *filename, int64_t size, Error **errp)
{
    const BlockDriver *protocol = open_protocol_driver(filename, errp);
    g_autofree char *value = g_strdup_printf("%" PRId64, size);
    g_autoptr(json_t) options = json_pack("{s:s}", "size", value);

    return protocol &&
           create_protocol_file(co, protocol, filename, options, errp);
}

/* Makes @filename, of no length, and opens it to be formatted. */
static Node *create_and_open(Co *co, const char *filename,
                             const CreateList *list, Error **errp)
{
    const BlockDriver *protocol = open_protocol_driver(filename, errp);
    g_autoptr(json_t) options = json_object();

    if (!protocol) {
        return NULL;
    }
    create_list_to_tree(list, true, options);
    json_object_set_new(options, "size", json_string("0"));
    if (!create_protocol_file(co, protocol, filename, options, errp)) {
        return NULL;
    }
    return open_protocol(co, filename, OPEN_RDWR | OPEN_RESIZE, errp);
}

/* Closes it; deletes it first if the image has come to nothing. */
static void create_close_file(Co *co, Node *node, bool keep)
{
    if (node && !keep && node->drv->image && node->drv->image->remove) {
        node->drv->image->remove(co, node);
    }
    node_unref(co, node);
}

/* ---- formatting ---- */

/* In a tree for the format: a name becomes a new file, open, by reference. */
static bool create_place_file(Co *co, CreateRun *run, json_t *tree,
                              const char *key, const char *filename,
                              Node **node, Error **errp)
{
    *node = create_and_open(co, filename, run->list, errp);
    if (!*node) {
        return false;
    }
    json_object_set_new(tree, key, json_string((*node)->name));
    return true;
}

static bool create_format(Co *co, CreateRun *run, Error **errp)
{
    g_autoptr(json_t) tree = json_object();
    const char *data_file = create_list_get(run->list, "data_file");
    Node *file = NULL, *data = NULL;
    bool ok;

    create_list_to_tree(run->list, false, tree);
    json_object_set_new(tree, "driver", json_string(run->drv->name));
    ok = create_place_file(co, run, tree, "file", run->filename, &file,
                           errp) &&
         (!data_file || create_place_file(co, run, tree, "data-file",
                                          data_file, &data, errp)) &&
         create_from_tree(co, tree, errp);
    create_close_file(co, data, ok);
    create_close_file(co, file, ok);
    return ok;
}

/* The file is the image. */
static bool create_plain(Co *co, CreateRun *run, Error **errp)
{
    g_autoptr(json_t) options = json_object();
    const char *prealloc = create_list_get(run->list, "preallocation");

    if (prealloc && PreallocMode_parse(prealloc, 0, errp) < 0) {
        return false;
    }
    create_list_to_tree(run->list, false, options);
    create_list_to_tree(run->list, true, options);
    return create_protocol_file(co, run->protocol, run->filename, options,
                                errp);
}

/* What people ask for is rounded up to sectors, as QEMU does; programs
 * (blockdev-create) get what they say. */
static void create_round_size(CreateRun *run)
{
    int64_t size = MIN(run->size, BLOCK_MAX_LENGTH);
    g_autofree char *value =
        g_strdup_printf("%" PRId64, ROUND_UP(size, CREATE_SECTOR));

    create_list_set(run->list, "size", value, &error_abort);
}

static void create_announce(const CreateRun *run)
{
    g_autofree char *options = create_list_print(run->list);

    printf("Formatting '%s', fmt=%s%s\n", run->filename, run->drv->name,
           options);
    fflush(stdout);
}

/* Who asked for a size need not be told of tables. */
static void create_explain_too_large(const CreateRun *run, Error **errp)
{
    bool clusters = create_list_has(run->list, "cluster_size");

    if (!g_str_has_suffix(error_get_pretty(*errp), g_strerror(EFBIG))) {
        return;
    }
    error_clear(errp);
    error_setg(errp, "The image size is too large for file format '%s'%s",
               run->drv->name,
               clusters ? " (try using a larger cluster size)" : "");
}

static bool create_write(Co *co, CreateRun *run, Error **errp)
{
    ERRP_GUARD();
    bool format = run->drv->kind == DRIVER_FORMAT && run->drv->image->create;
    bool ok = format ? create_format(co, run, errp)
                     : create_plain(co, run, errp);

    if (!ok) {
        create_explain_too_large(run, errp);
    }
    return ok;
}

static bool create_run(Co *co, CreateRun *run, const char *fmt,
                       const char *backing, const char *backing_fmt,
                       const char *options, Error **errp)
{
    g_autoptr(CreateList) list = NULL;

    control_assert();
    if (!create_find_drivers(run, fmt, errp)) {
        return false;
    }
    list = create_list_new(run->drv, run->protocol);
    run->list = list;
    if ((options && !create_list_parse(list, options, errp)) ||
        (!run->own_size && !create_take_size(run, errp)) ||
        !create_take_backing(run, backing, backing_fmt, errp) ||
        !create_settle_size(co, run, errp)) {
        return false;
    }
    if (!run->quiet) {
        create_announce(run);
    }
    create_round_size(run);
    return create_write(co, run, errp);
}

bool create_image(Co *co, const char *filename, const char *fmt,
                  const char *backing, const char *backing_fmt,
                  const char *options, int64_t size, bool no_backing_check,
                  bool quiet, Error **errp)
{
    CreateRun run = { .filename = filename, .size = size, .quiet = quiet,
                      .check_backing = !no_backing_check };

    return create_run(co, &run, fmt, backing, backing_fmt, options, errp);
}

bool create_image_sized(Co *co, const char *filename, const char *fmt,
                        const char *backing, const char *backing_fmt,
                        const char *options, int64_t size, Error **errp)
{
    CreateRun run = { .filename = filename, .size = size, .quiet = true,
                      .own_size = true };

    return create_run(co, &run, fmt, backing, backing_fmt, options, errp);
}

bool create_check_options(const BlockDriver *drv, const char *filename,
                          const char *options, Error **errp)
{
    const BlockDriver *protocol = open_protocol_driver(filename, errp);
    g_autoptr(CreateList) list = NULL;

    if (!protocol) {
        return false;
    }
    list = create_list_new(drv, protocol);
    return !options || create_list_parse(list, options, errp);
}

bool create_print_help(const char *fmt, const char *filename, Error **errp)
{
    g_autoptr(CreateList) list = NULL;
    CreateRun run = { .filename = filename };

    if (filename) {
        if (!create_find_drivers(&run, fmt, errp)) {
            return false;
        }
        printf("Supported options:\n");
    } else {
        run.drv = driver_find(fmt);
        if (!run.drv) {
            error_setg(errp, "Unknown file format '%s'", fmt);
            return false;
        }
        if (!create_can(run.drv, "Format", errp)) {
            return false;
        }
        printf("Supported %s options:\n", fmt);
    }
    list = create_list_new(run.drv, run.protocol);
    create_list_help(list);
    if (!filename) {
        printf("\nThe protocol level may support further options.\n"
               "Specify the target filename to include those options.\n");
    }
    return true;
}
