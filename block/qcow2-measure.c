/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * How large a qcow2 image would be (qemu-img measure).
 *
 * Metadata are those of a fully mapped image: that is what it grows to, and an
 * upper bound of what an image with less data needs. Data are counted by whole
 * clusters of the new image that the source has any data in.
 */
#include "block/qcow2.h"
#include "block/qcow2-bitmap-dir.h"
#include "block/qcow2-layout.h"

#define MEASURE_DEFAULT_CLUSTER (64 * KiB)

typedef struct MeasurePlan {
    Qcow2Layout layout;
    bool version_2;
    bool all_data;              /* preallocated, or the rest is elsewhere */
} MeasurePlan;

/* The options as typed ones; those that change nothing here are left out. */
static BlockdevCreateOptionsQcow2 *measure_options(const json_t *opts,
                                                   Error **errp)
{
    static const char *const used[] = {
        "size", "version", "cluster-size", "refcount-bits", "extended-l2",
        "preallocation",
    };
    g_autoptr(json_t) tree = json_object();

    json_object_set_new(tree, "file", json_string("measured"));
    json_object_set_new(tree, "size", json_string("0"));
    for (size_t i = 0; i < ARRAY_SIZE(used); i++) {
        json_t *value = json_object_get(opts, used[i]);

        if (value) {
            json_object_set(tree, used[i], value);
        }
    }
    return BlockdevCreateOptionsQcow2_from_json(tree, QAPI_KEYVAL, errp);
}

static bool measure_check_prealloc(const json_t *opts, Error **errp)
{
    const char *mode = json_string_value(json_object_get(opts,
                                                         "preallocation"));

    return !mode || PreallocMode_parse(mode, 0, errp) >= 0;
}

static bool measure_check_refcounts(const BlockdevCreateOptionsQcow2 *o,
                                    MeasurePlan *p, Error **errp)
{
    int64_t bits = o->has_refcount_bits ? o->refcount_bits : 16;

    if (!qcow2_create_check_refcount_bits(
            bits, p->version_2 ? "compat=1.1" : NULL, errp)) {
        return false;
    }
    p->layout.refcount_order = __builtin_ctzll(bits);
    return true;
}

static bool measure_plan(const BlockdevCreateOptionsQcow2 *o, uint64_t size,
                         MeasurePlan *p, Error **errp)
{
    uint64_t cluster_size = o->has_cluster_size ? o->cluster_size
                                                : MEASURE_DEFAULT_CLUSTER;
    Qcow2Layout *l = &p->layout;

    p->version_2 = o->has_version && o->version == BLOCKDEV_QCOW2_VERSION_V2;
    l->extended_l2 = o->has_extended_l2 && o->extended_l2;
    l->mapped = true;
    if (!qcow2_create_check_cluster_size(cluster_size, l->extended_l2,
                                         errp) ||
        !measure_check_refcounts(o, p, errp)) {
        return false;
    }
    l->cluster_bits = __builtin_ctzll(cluster_size);
    l->size = size;
    if (size > INT64_MAX - cluster_size || qcow2_layout_plan(l) < 0) {
        error_setg(errp, "The image size is too large (try using a larger "
                   "cluster size)");
        return false;
    }
    return true;
}

/* Bytes of the clusters in which @source has data; -errno. */
static int64_t measure_data(Co *co, Node *source, int64_t cluster_size)
{
    int64_t sum = 0, off = 0;

    while (off < source->length) {
        Extent e;
        int64_t end;
        int r = status_above(co, source, NULL, false, true, off,
                             source->length - off, &e);

        if (r < 0) {
            return r;
        }
        if ((e.flags & EXTENT_ZERO) ||
            !(e.flags & EXTENT_DATA) || !(e.flags & EXTENT_ALLOCATED)) {
            off += e.len;
            continue;
        }
        end = ROUND_UP(off + e.len, cluster_size);
        sum += end - ROUND_DOWN(off, cluster_size);
        off = end;
    }
    return sum;
}

/* What the persistent bitmaps of @source take in the new image. */
static int64_t measure_bitmaps(const MeasurePlan *p, Node *source)
{
    int64_t cluster_size = INT64_C(1) << p->layout.cluster_bits;
    int64_t sum = 0, dir_len = 0;

    for (DirtyBitmap *bm = bitmap_first(source); bm; bm = bitmap_next(bm)) {
        int64_t table;

        if (!bm->persistent) {
            continue;
        }
        table = qcow2_bitmap_table_size(source->length,
                                        bm->granularity_shift, cluster_size);
        sum += table * cluster_size + ROUND_UP(table * 8, cluster_size);
        dir_len += qcow2_bitmap_entry_len(strlen(bm->name));
    }
    return sum + ROUND_UP(dir_len, cluster_size);
}

/* A source whose driver can keep bitmaps at all, and does. */
static bool measure_has_bitmaps(const MeasurePlan *p, Node *source)
{
    source = source ? node_skip_filters(source) : NULL;
    if (p->version_2 || !source || !source->drv->bitmap_store) {
        return false;
    }
    return source->drv->id != BLOCKDEV_DRIVER_QCOW2 ||
           qcow2_state(source)->hdr.version >= 3;
}

static BlockMeasureInfo *measure_info(Co *co, const MeasurePlan *p,
                                      Node *source, Error **errp)
{
    const Qcow2Layout *l = &p->layout;
    int64_t cluster_size = INT64_C(1) << l->cluster_bits;
    int64_t data = p->all_data ? l->guest_clusters << l->cluster_bits : 0;
    BlockMeasureInfo *info;

    if (!p->all_data && source) {
        data = measure_data(co, source, cluster_size);
        if (data < 0) {
            error_setg_errno(errp, -data, "Unable to get block status");
            return NULL;
        }
    }
    info = g_new0(BlockMeasureInfo, 1);
    info->fully_allocated = l->end << l->cluster_bits;
    info->required = qcow2_layout_metadata_len(l) + data;
    if (measure_has_bitmaps(p, source)) {
        info->has_bitmaps = true;
        info->bitmaps = measure_bitmaps(p, node_skip_filters(source));
    }
    return info;
}

BlockMeasureInfo *qcow2_measure(Co *co, const json_t *opts, Node *source,
                                Error **errp)
{
    g_autoptr(BlockdevCreateOptionsQcow2) o = NULL;
    MeasurePlan p = { 0 };

    if (!measure_check_prealloc(opts, errp)) {
        return NULL;
    }
    o = measure_options(opts, errp);
    if (!o || !measure_plan(o, source ? (uint64_t)source->length : o->size,
                            &p, errp)) {
        return NULL;
    }
    p.all_data = (o->has_preallocation &&
                  (o->preallocation == PREALLOC_MODE_FULL ||
                   o->preallocation == PREALLOC_MODE_FALLOC)) ||
                 (source && json_object_get(opts, "backing-file"));
    return measure_info(co, &p, source, errp);
}
