/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What is told about nodes: query-named-block-nodes, query-blockstats, and the
 * facts that qemu-img info prints.
 *
 * Nothing is stored here: every answer is put together from the node and from
 * what its driver tells. Images are described one layer at a time; a chain is a
 * list of such descriptions. Filters in between are looked through.
 */
#include "util/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/info.h"
#include "block/open.h"

/* ---- facts of drivers ---- */

int info_driver(Co *co, Node *node, BlockDriverInfo *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (node->drv->info) {
        return node->drv->info(co, node, ret);
    }
    if (node->file && node->file->role == ROLE_PRIMARY) {
        return info_driver(co, node->file->child, ret);
    }
    return -ENOTSUP;
}

/* A format's data file doesn't count, as in QEMU. */
int64_t info_allocated_size(Co *co, Node *node)
{
    if (node->drv->allocated_size) {
        return node->drv->allocated_size(co, node);
    }
    return node->file ? info_allocated_size(co, node->file->child) : -ENOTSUP;
}

/* ---- one image ---- */

static void info_add_driver_info(Co *co, Node *node, ImageInfo *info)
{
    BlockDriverInfo bdi;
    int64_t size = info_allocated_size(co, node);

    info->has_actual_size = size >= 0;
    info->actual_size = MAX(size, 0);
    if (info_driver(co, node, &bdi) < 0) {
        return;
    }
    info->has_cluster_size = bdi.cluster_size != 0;
    info->cluster_size = bdi.cluster_size;
    info->has_dirty_flag = true;
    info->dirty_flag = bdi.is_dirty;
}

static void info_add_backing(Node *node, ImageInfo *info)
{
    if (!node->backing_file || !node->backing_file[0]) {
        return;
    }
    info->backing_filename = g_strdup(node->backing_file);
    info->full_backing_filename = open_full_backing(node, node->backing_file,
                                                    NULL);
    info->backing_filename_format = g_strdup(node->backing_format);
}

static bool info_add_specific(Co *co, Node *node, ImageInfo *info,
                              Error **errp)
{
    g_autoptr(Error) local = NULL;

    if (node->drv->specific_info) {
        info->format_specific = node->drv->specific_info(co, node, &local);
    }
    if (!local && node->drv->snapshots && node->drv->snapshots->list) {
        node->drv->snapshots->list(co, node, &info->snapshots, &local);
        info->has_snapshots = info->snapshots;
    }
    if (local) {
        error_propagate(errp, g_steal_pointer(&local));
        return false;
    }
    return true;
}

static ImageInfo *info_one_image(Co *co, Node *node, Error **errp)
{
    g_autoptr(ImageInfo) info = g_new0(ImageInfo, 1);

    info->filename = g_strdup(node->filename);
    info->format = g_strdup(node->drv->name);
    info->virtual_size = node->length;
    info->has_encrypted = node->encrypted;
    info->encrypted = node->encrypted;
    info_add_driver_info(co, node, info);
    info_add_backing(node, info);
    if (!info_add_specific(co, node, info, errp)) {
        return NULL;
    }
    return g_steal_pointer(&info);
}

ImageInfo *info_image(Co *co, Node *node, bool with_chain, Error **errp)
{
    g_autoptr(ImageInfo) info = NULL;
    Node *next = node_backing_chain_next(node);

    open_refresh_filename(node);
    info = info_one_image(co, node, errp);
    if (info && with_chain && next) {
        info->backing_image = info_image(co, next, true, errp);
        if (!info->backing_image) {
            return NULL;
        }
    }
    return g_steal_pointer(&info);
}

/* ---- nodes ---- */

static BlockDirtyInfo *info_bitmap(Co *co, DirtyBitmap *bm)
{
    BlockDirtyInfo *info = g_new0(BlockDirtyInfo, 1);

    info->name = g_strdup(bm->name);
    info->count = bitmap_count_bytes(co, bm);
    info->granularity = bitmap_granularity(bm);
    info->recording = bm->state == BITMAP_RECORDING;
    info->busy = bm->busy;
    info->persistent = bm->persistent;
    info->has_inconsistent = bm->state == BITMAP_INCONSISTENT;
    info->inconsistent = info->has_inconsistent;
    return info;
}

BlockDirtyInfoList *info_bitmaps(Co *co, Node *node)
{
    BlockDirtyInfoList *list = NULL, **tail = &list;

    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        QAPI_LIST_APPEND(tail, info_bitmap(co, bm));
    }
    return list;
}

static BlockdevCacheInfo *info_cache(const Node *node)
{
    BlockdevCacheInfo *cache = g_new0(BlockdevCacheInfo, 1);

    cache->writeback = true;
    cache->direct = node->flags & OPEN_NOCACHE;
    cache->no_flush = node->flags & OPEN_NO_FLUSH;
    return cache;
}

static int info_depth(const ImageInfo *image)
{
    int depth = 0;

    for (; image->backing_image; image = image->backing_image) {
        depth++;
    }
    return depth;
}

BlockDeviceInfo *info_node(Co *co, Node *node, bool flat, Error **errp)
{
    g_autoptr(BlockDeviceInfo) info = g_new0(BlockDeviceInfo, 1);

    info->image = info_image(co, node, !flat, errp);
    if (!info->image) {
        return NULL;
    }
    info->file = g_strdup(node->filename);
    info->node_name = g_strdup(node->name);
    info->ro = node->read_only;
    info->drv = g_strdup(node->drv->name);
    if (node->backing) {
        info->backing_file = g_strdup(node->backing->child->filename);
    }
    info->backing_file_depth = info_depth(info->image);
    info->active = !node->inactive;
    info->encrypted = node->encrypted;
    info->detect_zeroes = node->detect_zeroes;
    info->cache = info_cache(node);
    info->write_threshold = node->write_threshold;
    if (node->drv->snapshot_access) {
        int error = node->drv->snapshot_access->error(node);

        info->snapshot_error = error ? g_strdup(strerror(-error)) : NULL;
    }
    info->dirty_bitmaps = info_bitmaps(co, node);
    info->has_dirty_bitmaps = info->dirty_bitmaps;
    return g_steal_pointer(&info);
}

/* ---- statistics ---- */

static BlockStatsSpecific *info_stats_specific(const Node *node)
{
    BlockStatsSpecific *s;
    BlockStatsSpecificFile *file;

    if (node->drv->id != BLOCKDEV_DRIVER_FILE &&
        node->drv->id != BLOCKDEV_DRIVER_HOST_DEVICE) {
        return NULL;
    }
    s = g_new0(BlockStatsSpecific, 1);
    s->driver = node->drv->id;
    file = s->driver == BLOCKDEV_DRIVER_FILE ? &s->u.file
                                             : &s->u.host_device;
    file->discard_nb_ok = node->discard_ok;
    file->discard_nb_failed = node->discard_failed;
    file->discard_bytes_ok = node->discard_bytes;
    return s;
}

BlockStats *info_stats(Node *node)
{
    BlockStats *s = g_new0(BlockStats, 1);

    s->node_name = g_strdup(node->name);
    s->stats = g_new0(BlockDeviceStats, 1);
    s->stats->wr_highest_offset = node->wr_highest_offset;
    s->driver_specific = info_stats_specific(node);
    if (node->file) {
        s->parent = info_stats(node->file->child);
    }
    return s;
}
