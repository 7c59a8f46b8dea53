/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* block-commit: which layers are meant, in QEMU's order and words. */

#include "block/chain.h"
#include "block/commit.h"
#include "block/graph.h"
#include "block/mirror.h"
#include "qapi/qapi-commands.h"

static JobFlags job_flags(bool has_finalize, bool finalize, bool has_dismiss,
                          bool dismiss)
{
    return (has_finalize && !finalize ? JOB_MANUAL_FINALIZE : JOB_DEFAULT) |
           (has_dismiss && !dismiss ? JOB_MANUAL_DISMISS : JOB_DEFAULT);
}

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
    CommitOptions opts = {
        .job_id = arg->job_id ? arg->job_id : "",
        .flags = job_flags(arg->has_auto_finalize, arg->auto_finalize,
                           arg->has_auto_dismiss, arg->auto_dismiss),
        .speed = arg->has_speed ? arg->speed : 0,
        .on_error = arg->has_on_error ? arg->on_error
                                      : BLOCKDEV_ON_ERROR_REPORT,
        .filter_node_name = arg->filter_node_name,
        .backing_file = arg->backing_file,
        .mask_protocol = arg->has_backing_mask_protocol &&
                         arg->backing_mask_protocol,
        .carry_bitmaps = arg->has_bitmaps &&
                         arg->bitmaps == BITMAPS_MODE_CARRY,
    };

    return commit_job_create(co, &opts, device, top, base, errp);
}

static Job *commit_active(Co *co, const BlockCommit *arg, Node *top,
                          Node *base, Error **errp)
{
    BlockdevOnError on_error = arg->has_on_error ? arg->on_error
                                                 : BLOCKDEV_ON_ERROR_REPORT;
    MirrorOptions opts = {
        .job_id = arg->job_id ? arg->job_id : "",
        .flags = job_flags(arg->has_auto_finalize, arg->auto_finalize,
                           arg->has_auto_dismiss, arg->auto_dismiss),
        .speed = arg->has_speed ? arg->speed : 0,
        .on_source_error = on_error,
        .on_target_error = on_error,
        .filter_node_name = arg->filter_node_name,
        .carry_bitmaps = arg->has_bitmaps &&
                         arg->bitmaps == BITMAPS_MODE_CARRY,
    };

    if (arg->backing_file) {
        error_setg(errp, "'backing-file' specified, but 'top' is the active "
                   "layer");
        return NULL;
    }
    return commit_active_job_create(co, &opts, top, base, errp);
}

bool qmp_block_commit(Co *co, BlockCommit *arg, Error **errp)
{
    Node *device = find_device(arg->device, errp);
    Node *top, *base;
    Job *job;

    if (!device || !commit_check_names(arg, errp)) {
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
    if (job) {
        job_start(job);
    }
    return job;
}
