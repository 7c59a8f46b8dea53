/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * block-commit, block-stream, change-backing-file: which layers are meant, in
 * QEMU's order and words.
 */

#include "block/chain.h"
#include "block/commit.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/mirror.h"
#include "block/owner.h"
#include "block/reopen.h"
#include "block/snapshot-delete.h"
#include "block/stream.h"
#include "qapi/qapi-commands.h"

/* What the arguments of all of these commands say alike. */
#define COMMON_OPTIONS(arg) ((ChainJobOptions) {                            \
        .job_id = (arg)->job_id,                                            \
        .flags = job_flags((arg)->has_auto_finalize, (arg)->auto_finalize,  \
                           (arg)->has_auto_dismiss, (arg)->auto_dismiss),   \
        .speed = (arg)->has_speed ? (arg)->speed : 0,                       \
        .on_error = (arg)->has_on_error ? (arg)->on_error                   \
                                        : BLOCKDEV_ON_ERROR_REPORT,         \
        .filter_node_name = (arg)->filter_node_name,                        \
        .carry_bitmaps = (arg)->has_bitmaps &&                              \
                         (arg)->bitmaps == BITMAPS_MODE_CARRY,              \
    })

static Node *find_device(const char *name, Error **errp)
{
    Node *node = node_find(name);

    if (!node) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "Device '%s' not found", name);
        return NULL;
    }
    return chain_check_root(node, errp) ? node : NULL;
}

/* A layer by its name; it must be in @top's chain. */
static Node *find_layer(Node *top, const char *name, Error **errp)
{
    Node *node = node_lookup_either(NULL, name, errp);

    if (node && !node_chain_contains(top, node)) {
        error_setg(errp, "'%s' is not in this backing file chain", name);
        return NULL;
    }
    return node;
}

static Node *lowest_layer(Node *node)
{
    while (node_chain_child(node)) {
        node = node_chain_child(node)->child;
    }
    return node;
}

/* ---- block-commit ---- */

static bool commit_check_names(const BlockCommit *arg, Error **errp)
{
    if (arg->top_node && arg->top) {
        error_setg(errp, "'top-node' and 'top' are mutually exclusive");
        return false;
    }
    if (arg->base_node && arg->base) {
        error_setg(errp, "'base-node' and 'base' are mutually exclusive");
        return false;
    }
    return true;
}

static Node *commit_find_top(const BlockCommit *arg, Node *device,
                             Error **errp)
{
    Node *top = device;

    if (arg->top_node) {
        return find_layer(device, arg->top_node, errp);
    }
    if (arg->top && strcmp(device->filename, arg->top) != 0) {
        top = chain_find_image(device, arg->top);
    }
    if (!top) {
        error_setg(errp, "Top image file %s not found",
                   arg->top ? arg->top : "NULL");
    }
    return top;
}

static Node *commit_find_base(const BlockCommit *arg, Node *top, Error **errp)
{
    Node *base;

    if (arg->base_node) {
        return find_layer(top, arg->base_node, errp);
    }
    if (!arg->base) {
        return lowest_layer(top);
    }
    base = chain_find_image(top, arg->base);
    if (!base) {
        error_setg(errp, "Can't find '%s' in the backing chain", arg->base);
    }
    return base;
}

static Job *commit_layers(Co *co, const BlockCommit *arg, Node *device,
                          Node *top, Node *base, Error **errp)
{
    ChainJobOptions opts = COMMON_OPTIONS(arg);

    opts.backing_file = arg->backing_file;
    opts.mask_protocol = arg->has_backing_mask_protocol &&
                         arg->backing_mask_protocol;
    return commit_job_create(co, &opts, device, top, base, errp);
}

static Job *commit_active(Co *co, const BlockCommit *arg, Node *top,
                          Node *base, Error **errp)
{
    MirrorOptions opts = { .common = COMMON_OPTIONS(arg) };

    if (arg->backing_file) {
        error_setg(errp, "'backing-file' specified, but 'top' is the active "
                   "layer");
        return NULL;
    }
    opts.on_target_error = opts.common.on_error;
    return commit_active_job_create(co, &opts, top, base, errp);
}

bool qmp_block_commit(Co *co, BlockCommit *arg, Error **errp)
{
    Node *device = find_device(arg->device, errp);
    Node *top, *base;
    OwnerId owner;
    Job *job;

    if (!device || !commit_check_names(arg, errp) ||
        !owner_choose(arg->has_owner, arg->owner, &owner, errp)) {
        return false;
    }
    top = commit_find_top(arg, device, errp);
    base = top ? commit_find_base(arg, top, errp) : NULL;
    if (!base || !chain_check_busy(top, base, errp)) {
        return false;
    }
    if (top == base) {
        error_setg(errp, "cannot commit an image into itself");
        return false;
    }
    job = top == device || node_skip_filters(device) == node_skip_filters(top)
          ? commit_active(co, arg, device, base, errp)
          : commit_layers(co, arg, device, top, base, errp);
    return job_start_owned(job, owner);
}

/* ---- block-stream ---- */

static bool stream_check_names(const BlockStream *arg, Error **errp)
{
    if (arg->base && arg->base_node) {
        error_setg(errp, "'base' and 'base-node' cannot be specified at the "
                   "same time");
        return false;
    }
    if (arg->base && arg->bottom) {
        error_setg(errp, "'base' and 'bottom' cannot be specified at the same "
                   "time");
        return false;
    }
    if (arg->bottom && arg->base_node) {
        error_setg(errp, "'bottom' and 'base-node' cannot be specified at the "
                   "same time");
        return false;
    }
    return true;
}

/* The layer above the base; NULL with @base unset. */
static Node *stream_above(Node *device, Node *base)
{
    Node *top = node_skip_filters(device);

    while (!node_chain_contains(top->backing->child, base) ||
           node_backing_chain_next(top) != node_skip_filters(base)) {
        top = node_backing_chain_next(top);
    }
    return top;
}

static bool stream_find_base(const BlockStream *arg, Node *device,
                             Node **bottom, Error **errp)
{
    Node *base;

    if (arg->base) {
        base = chain_find_image(device, arg->base);
        if (!base) {
            error_setg(errp, "Can't find '%s' in the backing chain",
                       arg->base);
            return false;
        }
    } else {
        base = node_lookup_either(NULL, arg->base_node, errp);
        if (!base) {
            return false;
        }
        if (node_skip_filters(base) == node_skip_filters(device) ||
            !node_chain_contains(device, base)) {
            error_setg(errp, "Node '%s' is not a backing image of '%s'",
                       arg->base_node, device->name);
            return false;
        }
    }
    *bottom = stream_above(device, base);
    return true;
}

static bool stream_find_bottom(const BlockStream *arg, Node *device,
                               Node **bottom, Error **errp)
{
    Node *node = node_lookup_either(NULL, arg->bottom, errp);

    if (!node) {
        return false;
    }
    if (node_filter_child(node)) {
        error_setg(errp, "Node '%s' is a filter, use a non-filter node as "
                   "'bottom'", arg->bottom);
        return false;
    }
    if (!node_chain_contains(device, node)) {
        error_setg(errp, "Node '%s' is not in a chain starting from '%s'",
                   arg->bottom, device->name);
        return false;
    }
    *bottom = node;
    return true;
}

static ChainJobOptions stream_options(const BlockStream *arg)
{
    ChainJobOptions opts = COMMON_OPTIONS(arg);

    opts.backing_file = arg->backing_file;
    opts.mask_protocol = arg->has_backing_mask_protocol &&
                         arg->backing_mask_protocol;
    return opts;
}

bool qmp_block_stream(Co *co, BlockStream *arg, Error **errp)
{
    ChainJobOptions opts = stream_options(arg);
    Node *device, *bottom = NULL;
    OwnerId owner;
    Job *job;

    if (!stream_check_names(arg, errp) ||
        !owner_choose(arg->has_owner, arg->owner, &owner, errp)) {
        return false;
    }
    device = node_lookup(arg->device, errp);
    if (!device) {
        return false;
    }
    if (arg->bottom) {
        if (!stream_find_bottom(arg, device, &bottom, errp)) {
            return false;
        }
    } else if ((arg->base || arg->base_node) &&
               !stream_find_base(arg, device, &bottom, errp)) {
        return false;
    }
    if (!chain_check_busy(device, bottom, errp)) {
        return false;
    }
    if (!bottom && arg->backing_file) {
        error_setg(errp, "backing file specified, but streaming the entire "
                   "chain");
        return false;
    }
    job = stream_job_create(co, &opts, node_skip_filters(device), bottom,
                            errp);
    return job_start_owned(job, owner);
}

/* ---- block-snapshot-delete ---- */

bool qmp_block_snapshot_delete(Co *co, BlockSnapshotDelete *arg, Error **errp)
{
    SnapshotDeleteOptions opts = {
        .common = COMMON_OPTIONS(arg),
        .direction = arg->direction,
        .final_name = arg->final_name,
    };
    Node *top = node_lookup(arg->top, errp);
    Node *base = top ? find_layer(top, arg->base, errp) : NULL;
    OwnerId owner;
    Job *job;

    if (!base ||
        !owner_choose(arg->has_owner, arg->owner, &owner, errp)) {
        return false;
    }
    opts.common.carry_bitmaps |= !arg->has_bitmaps;
    top = node_skip_filters(top);
    base = node_skip_filters(base);
    if (top == base) {
        error_setg(errp, "'%s' and '%s' are one layer", arg->top, arg->base);
        return false;
    }
    if (!chain_check_busy(top, base, errp)) {
        return false;
    }
    job = snapshot_delete_create(co, &opts, top, base, errp);
    return job_start_owned(job, owner);
}

/* ---- change-backing-file ---- */

bool qmp_change_backing_file(Co *co, const char *device,
                             const char *image_node_name,
                             const char *backing_file, Error **errp)
{
    Node *top = node_lookup(device, errp);
    Node *node;
    bool sealed;
    int ret;

    if (!top || !chain_check_root(top, errp)) {
        return false;
    }
    node = node_lookup_either(NULL, image_node_name, errp);
    if (!node) {
        return false;
    }
    if (!node_cow_child(node)) {
        error_setg(errp, "not allowing backing file change on an image "
                   "without a backing file");
        return false;
    }
    if (!node_chain_contains(top, node)) {
        error_setg(errp, "'%s' and image file are not in the same chain",
                   device);
        return false;
    }
    sealed = node->read_only;
    if (sealed && !reopen_set_read_only(co, node, false, errp)) {
        return false;
    }
    drain_begin(co, node);
    ret = chain_write_backing(co, node, backing_file, node->backing_format);
    co_move(co, node->loop);
    drain_end(node);
    co_move(co, loop_main());
    if (sealed) {
        reopen_set_read_only(co, node, true, NULL);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not change backing file to '%s'",
                         backing_file);
    }
    return ret == 0;
}
