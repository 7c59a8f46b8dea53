/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * blockdev-mirror and drive-mirror: checks in QEMU's order and words. The target
 * of drive-mirror is made or opened here and belongs to its job.
 */

#include "block/chain.h"
#include "block/graph.h"
#include "block/mirror.h"
#include "block/owner.h"
#include "drive-target.h"
#include "qapi/qapi-commands.h"

#define GRANULARITY_MIN 512
#define GRANULARITY_MAX (64 * 1024 * 1024)

static bool check_granularity(uint32_t granularity, Error **errp)
{
    if (granularity < GRANULARITY_MIN || granularity > GRANULARITY_MAX) {
        error_setg(errp, "Parameter 'granularity' expects a value in range "
                   "[512B, 64MB]");
        return false;
    }
    if (!is_power_of_2(granularity)) {
        error_setg(errp, "Parameter 'granularity' expects a power of 2");
        return false;
    }
    return true;
}

/* Only what shows the source's content may go away for the target. */
static bool check_replaces(Node *source, const char *name, Error **errp)
{
    Node *node = node_find(name);

    if (!node) {
        error_setg(errp, "Failed to find node with node-name='%s'", name);
        return false;
    }
    for (Node *n = source; n != node; n = node_filter_child(n)->child) {
        if (!node_filter_child(n)) {
            error_setg(errp, "Cannot replace '%s' by a node mirrored from "
                       "'%s', because it cannot be guaranteed that doing so "
                       "would not lead to an abrupt change of visible data",
                       name, source->name);
            return false;
        }
    }
    return true;
}

/* QEMU's mirrors know of no bitmaps. */
static bool check_sync(const MirrorCommon *arg, const char *bitmap,
                       Error **errp)
{
    if (bitmap_sync_copies(arg->sync) && !bitmap) {
        error_setg(errp, "Sync mode '%s' not supported",
                   MirrorSyncMode_str(arg->sync));
        return false;
    }
    return true;
}

static bool check_arguments(const MirrorCommon *arg, const char *bitmap,
                            Node *source, Node *target, Error **errp)
{
    if (arg->has_granularity && arg->granularity &&
        !check_granularity(arg->granularity, errp)) {
        return false;
    }
    if (!node_check_busy(source, errp) || !node_check_busy(target, errp) ||
        (arg->replaces && !check_replaces(source, arg->replaces, errp)) ||
        !check_sync(arg, bitmap, errp)) {
        return false;
    }
    if (arg->has_buf_size && arg->buf_size < 0) {
        error_setg(errp, "Invalid parameter 'buf-size'");
        return false;
    }
    if (source == target) {
        error_setg(errp, "Can't mirror node into itself");
        return false;
    }
    return true;
}

static MirrorOptions options_of(const MirrorCommon *arg, Node *source)
{
    MirrorOptions o = {
        .common = {
            .job_id = arg->job_id,
            .flags = job_flags(arg->has_auto_finalize, arg->auto_finalize,
                               arg->has_auto_dismiss, arg->auto_dismiss),
            .speed = arg->has_speed ? arg->speed : 0,
            .on_error = arg->has_on_source_error
                        ? arg->on_source_error : BLOCKDEV_ON_ERROR_REPORT,
        },
        .sync = arg->sync,
        .granularity = arg->has_granularity ? arg->granularity : 0,
        .buf_size = arg->has_buf_size ? arg->buf_size : 0,
        .on_target_error = arg->has_on_target_error
                           ? arg->on_target_error : BLOCKDEV_ON_ERROR_REPORT,
        .copy_mode = arg->has_copy_mode ? arg->copy_mode
                                        : MIRROR_COPY_MODE_BACKGROUND,
        .replaces = arg->replaces,
        .no_unmap = arg->has_unmap && !arg->unmap,
    };

    if (o.sync == MIRROR_SYNC_MODE_TOP && !node_backing_chain_next(source)) {
        o.sync = MIRROR_SYNC_MODE_FULL;
    }
    return o;
}

bool qmp_blockdev_mirror(Co *co, BlockdevMirror *arg, Error **errp)
{
    const MirrorCommon *common = qapi_BlockdevMirror_base(arg);
    Node *source = node_lookup(arg->device, errp);
    Node *target;
    MirrorOptions opts;
    OwnerId owner;

    if (!source || !chain_check_root(source, errp) ||
        !owner_choose(arg->has_owner, arg->owner, &owner, errp)) {
        return false;
    }
    target = node_lookup(arg->target, errp);
    if (!target ||
        !check_arguments(common, arg->bitmap, source, target, errp)) {
        return false;
    }
    opts = options_of(common, source);
    opts.common.filter_node_name = arg->filter_node_name;
    opts.common.carry_bitmaps = arg->has_bitmaps &&
                                arg->bitmaps == BITMAPS_MODE_CARRY;
    return bitmap_sync_choose(&opts.bitmap, source, arg->bitmap, arg->sync,
                              arg->has_bitmap_mode, arg->bitmap_mode, errp) &&
           job_start_owned(mirror_job_create(co, &opts, source, target, errp),
                           owner);
}

/* ---- drive-mirror ---- */

static bool drive_exists(const DriveMirror *arg)
{
    return arg->has_mode && arg->mode == NEW_IMAGE_MODE_EXISTING;
}

/* A new reference. */
static Node *drive_target(Co *co, const DriveMirror *arg, Node *source,
                          Error **errp)
{
    g_autoptr(json_t) named = json_pack("{s:s*}", "node-name", arg->node_name);
    DriveTarget t = {
        .filename = arg->target,
        .format = arg->format,
        .sync = arg->sync,
        .existing = drive_exists(arg),
        .options = named,
        .flags = OPEN_NO_BACKING,
    };

    return drive_target_open(co, &t, source, errp);
}

static bool drive_mirror_start(Co *co, const DriveMirror *arg, Node *source,
                               Node *target, Error **errp)
{
    const MirrorCommon *common = qapi_DriveMirror_base(arg);
    MirrorOptions opts;

    if (!check_arguments(common, NULL, source, target, errp)) {
        return false;
    }
    opts = options_of(common, source);
    opts.new_target = !drive_exists(arg);
    opts.backing = opts.new_target ? MIRROR_BACKING_SOURCE
                                   : MIRROR_BACKING_OPEN;
    return job_start_owned(mirror_job_create(co, &opts, source, target, errp),
                           0);
}

bool qmp_drive_mirror(Co *co, DriveMirror *arg, Error **errp)
{
    Node *source = node_lookup(arg->device, errp);
    Node *target;
    bool ok;

    if (!source || !chain_check_root(source, errp)) {
        return false;
    }
    if (arg->replaces && !arg->node_name) {
        error_setg(errp, "a node-name must be provided when replacing a named "
                   "node of the graph");
        return false;
    }
    target = drive_target(co, arg, source, errp);
    if (!target) {
        return false;
    }
    ok = drive_mirror_start(co, arg, source, target, errp);
    node_unref(co, target);
    return ok;
}
