/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What qcow2 images tell of themselves (qemu-img info, query-*), and changing
 * what they say about their backing file.
 */
#include "block/qcow2-bitmap.h"

int qcow2_info(Co *co, Node *node, BlockDriverInfo *ret)
{
    Qcow2State *s = qcow2_state(node);
    Node *data = node_skip_filters(s->data->child);
    BlockDriverInfo below = { 0 };

    ret->cluster_size = s->cluster_size;
    ret->subcluster_size = s->sub_size;
    ret->vm_state_offset = ROUND_UP(node->length,
                                    INT64_C(1) << (s->cluster_bits +
                                                   s->l2_bits));
    ret->is_dirty = s->hdr.incompatible & QCOW2_INCOMPAT_DIRTY;
    ret->zeroes_new = true;
    if (s->hdr.l1_size > 0 && s->l1[0]) {
        /* Preallocated: what is mapped reads as the file does. */
        ret->zeroes_new = data->drv->info &&
                          data->drv->info(co, data, &below) >= 0 &&
                          below.zeroes_new;
    }
    return 0;
}

static Qcow2BitmapInfo *info_bitmap(const Qcow2BitmapEntry *e)
{
    Qcow2BitmapInfo *info = g_new0(Qcow2BitmapInfo, 1);
    Qcow2BitmapInfoFlagsList **tail = &info->flags;

    info->name = g_strdup(e->name);
    info->granularity = 1U << e->granularity_shift;
    if (e->flags & QCOW2_BITMAP_IN_USE) {
        QAPI_LIST_APPEND(tail, QCOW2_BITMAP_INFO_FLAGS_IN_USE);
    }
    if (e->flags & QCOW2_BITMAP_AUTO) {
        QAPI_LIST_APPEND(tail, QCOW2_BITMAP_INFO_FLAGS_AUTO);
    }
    return info;
}

/* Those that the image holds, as it holds them. */
static void info_bitmaps(Node *node, ImageInfoSpecificQCow2 *info)
{
    Qcow2Bitmaps *all = qcow2_state(node)->bitmap_state;
    Qcow2BitmapInfoList **tail = &info->bitmaps;

    for (guint i = 0; all && i < all->stored->len; i++) {
        Qcow2StoredBitmap *b = g_ptr_array_index(all->stored, i);

        if (!b->e->problem) {
            QAPI_LIST_APPEND(tail, info_bitmap(b->e));
            info->has_bitmaps = true;
        }
    }
}

static void info_version_3(Node *node, ImageInfoSpecificQCow2 *info)
{
    Qcow2State *s = qcow2_state(node);

    info->has_lazy_refcounts = true;
    info->lazy_refcounts = s->hdr.compatible & QCOW2_COMPAT_LAZY;
    info->has_corrupt = true;
    info->corrupt = s->hdr.incompatible & QCOW2_INCOMPAT_CORRUPT;
    info->has_extended_l2 = true;
    info->extended_l2 = s->subclusters;
    if (s->external_data) {
        info->data_file = g_strdup(s->ext.data_file);
        info->has_data_file_raw = true;
        info->data_file_raw = s->hdr.autoclear & QCOW2_AUTOCLEAR_RAW_DATA;
    }
    info_bitmaps(node, info);
}

ImageInfoSpecific *qcow2_specific_info(Co *co, Node *node, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    ImageInfoSpecific *spec = g_new0(ImageInfoSpecific, 1);
    ImageInfoSpecificQCow2 *info = g_new0(ImageInfoSpecificQCow2, 1);

    spec->type = IMAGE_INFO_SPECIFIC_KIND_QCOW2;
    spec->u.qcow2.data = info;
    info->compat = g_strdup(s->hdr.version < 3 ? "0.10" : "1.1");
    info->refcount_bits = s->refcount_bits;
    info->compression_type = QCOW2_COMPRESSION_TYPE_ZLIB;
#ifdef CONFIG_ZSTD
    if (s->hdr.compression_type == QCOW2_COMPRESSION_ZSTD) {
        info->compression_type = QCOW2_COMPRESSION_TYPE_ZSTD;
    }
#endif
    if (s->hdr.version >= 3) {
        info_version_3(node, info);
    }
    return spec;
}

/* The header with the strings as they are now, on disk. */
static int info_write_backing(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    co_mutex_lock(co, &s->meta);
    r = qcow2_write_header(co, node);
    co_mutex_unlock(&s->meta);
    return r < 0 ? r : io_flush(co, node->file->child);
}

/* Writes the header with these strings, which @node takes over; if it fails
 * the old ones stay, also in the file: the new may be a name that goes now. */
static int info_put_backing(Co *co, Node *node, char *file, char *fmt)
{
    Qcow2State *s = qcow2_state(node);
    char *old_file = node->backing_file, *old_fmt = s->ext.backing_format;
    int r;

    node->backing_file = file;
    s->ext.backing_format = fmt;
    r = info_write_backing(co, node);
    if (r < 0) {
        node->backing_file = old_file;
        s->ext.backing_format = old_fmt;
        g_free(file);
        g_free(fmt);
        info_write_backing(co, node);
        return r;
    }
    g_free(old_file);
    g_free(old_fmt);
    g_free(node->backing_format);
    node->backing_format = g_strdup(fmt);
    return 0;
}

int qcow2_change_backing(Co *co, Node *node, const char *file,
                         const char *fmt)
{
    Qcow2State *s = qcow2_state(node);
    bool have = file && *file;

    if (have && ((s->hdr.autoclear & QCOW2_AUTOCLEAR_RAW_DATA) ||
                 (fmt && strlen(fmt) > QCOW2_MAX_BACKING_FORMAT))) {
        return -EINVAL;
    }
    return info_put_backing(co, node, have ? g_strdup(file) : NULL,
                            have && fmt && *fmt ? g_strdup(fmt) : NULL);
}
