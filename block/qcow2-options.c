/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Options of an open image: sizes of the caches, what is passed on, what is
 * checked. Typed options in, numbers out; nothing else.
 *
 * Cache sizes are limits: memory is taken by what is used. The L2 cache may
 * cover the whole disk up to 128 MiB of tables, 1 TiB at 64 KiB clusters.
 */
#include "block/qcow2.h"

#define DEFAULT_L2_CACHE_MAX (128 * MiB)
#define DEFAULT_REFCOUNT_CACHE (8 * MiB)
#define MIN_L2_TABLES 2
#define MIN_REFCOUNT_CLUSTERS 4
/* Tables are cached in slices of at most so many bytes, unless asked. */
#define DEFAULT_SLICE (64 * KiB)
#define DEFAULT_CLEAN_INTERVAL 600

typedef struct CacheSizes {
    int64_t cluster_size;
    int64_t max_l2;             /* bytes of L2 tables of the whole disk */
    int64_t l2, refcount;       /* out, bytes */
} CacheSizes;

static bool combined_sizes(const BlockdevOptionsQcow2 *opts, CacheSizes *c,
                           Error **errp)
{
    int64_t all = opts->cache_size;
    int64_t min_refcount = MIN_REFCOUNT_CLUSTERS * c->cluster_size;

    if (opts->has_l2_cache_size && opts->has_refcount_cache_size) {
        error_setg(errp, "cache-size, l2-cache-size and refcount-cache-size "
                   "may not be set at the same time");
        return false;
    }
    if (opts->has_l2_cache_size && opts->l2_cache_size > all) {
        error_setg(errp, "l2-cache-size may not exceed cache-size");
        return false;
    }
    if (opts->has_refcount_cache_size && opts->refcount_cache_size > all) {
        error_setg(errp, "refcount-cache-size may not exceed cache-size");
        return false;
    }
    if (opts->has_l2_cache_size) {
        c->refcount = all - c->l2;
    } else if (opts->has_refcount_cache_size) {
        c->l2 = all - c->refcount;
    } else if (all >= c->max_l2 + min_refcount) {
        c->l2 = c->max_l2;
        c->refcount = all - c->l2;
    } else {
        c->refcount = MIN(all, min_refcount);
        c->l2 = all - c->refcount;
    }
    return true;
}

static bool cache_size_is_number(const char *name, int64_t size,
                                 Error **errp)
{
    if (size < 0) {
        error_setg(errp, "Parameter '%s' expects a non-negative number below "
                   "2^64", name);
    }
    return size >= 0;
}

static bool cache_sizes(const BlockdevOptionsQcow2 *opts, CacheSizes *c,
                        Error **errp)
{
    if (!cache_size_is_number("l2-cache-entry-size",
                              opts->l2_cache_entry_size, errp) ||
        !cache_size_is_number("cache-size", opts->cache_size, errp) ||
        !cache_size_is_number("l2-cache-size", opts->l2_cache_size, errp) ||
        !cache_size_is_number("refcount-cache-size",
                              opts->refcount_cache_size, errp)) {
        return false;
    }
    c->l2 = opts->has_l2_cache_size ? opts->l2_cache_size :
            MIN(c->max_l2, DEFAULT_L2_CACHE_MAX);
    c->refcount = opts->has_refcount_cache_size ? opts->refcount_cache_size :
                  MAX(DEFAULT_REFCOUNT_CACHE,
                      MIN_REFCOUNT_CLUSTERS * c->cluster_size);
    if (opts->has_cache_size && !combined_sizes(opts, c, errp)) {
        return false;
    }
    /* More would never be used. */
    c->l2 = MIN(c->l2, c->max_l2);
    return true;
}

static bool parse_caches(const Qcow2Header *hdr,
                         const BlockdevOptionsQcow2 *opts, Qcow2Options *ret,
                         Error **errp)
{
    bool extended = hdr->incompatible & QCOW2_INCOMPAT_EXTL2;
    CacheSizes c = { .cluster_size = (int64_t)1 << hdr->cluster_bits };
    int64_t entry = opts->has_l2_cache_entry_size ?
                    opts->l2_cache_entry_size :
                    MIN(c.cluster_size, DEFAULT_SLICE);

    c.max_l2 = (hdr->size >> hdr->cluster_bits) * (extended ? 16 : 8) +
               c.cluster_size;
    if (!cache_sizes(opts, &c, errp)) {
        return false;
    }
    if (entry < 1 << QCOW2_MIN_CLUSTER_BITS || entry > c.cluster_size ||
        !is_power_of_2(entry)) {
        error_setg(errp, "L2 cache entry size must be a power of two between "
                   "%d and the cluster size (%" PRId64 ")",
                   1 << QCOW2_MIN_CLUSTER_BITS, c.cluster_size);
        return false;
    }
    ret->l2_entry_size = entry;
    ret->l2_tables = MAX(c.l2 / entry, MIN_L2_TABLES);
    if (ret->l2_tables > INT_MAX) {
        error_setg(errp, "L2 cache size too big");
        return false;
    }
    if (c.refcount / c.cluster_size > INT_MAX) {
        error_setg(errp, "Refcount cache size too big");
        return false;
    }
    c.refcount = MAX(c.refcount, MIN_REFCOUNT_CLUSTERS * c.cluster_size);
    ret->refblock_entry_size = MIN(c.cluster_size, DEFAULT_SLICE);
    ret->refblock_tables = c.refcount / ret->refblock_entry_size;
    return true;
}

static int overlap_template(Qcow2OverlapCheckMode mode)
{
    switch (mode) {
    case QCOW2_OVERLAP_CHECK_MODE_NONE:
        return QCOW2_OL_NONE;
    case QCOW2_OVERLAP_CHECK_MODE_CONSTANT:
        return QCOW2_OL_CONSTANT;
    case QCOW2_OVERLAP_CHECK_MODE_ALL:
        return QCOW2_OL_ALL;
    default:
        return QCOW2_OL_CACHED;
    }
}

static int parse_overlap(const Qcow2OverlapChecks *o)
{
    const Qcow2OverlapCheckFlags *f;
    int ret;

    if (!o) {
        return QCOW2_OL_CACHED;
    }
    if (o->type == QTYPE_QSTRING) {
        return overlap_template(o->u.mode);
    }
    f = &o->u.flags;
    ret = f->has_template ? overlap_template(f->template) : QCOW2_OL_CACHED;
#define OVERLAP_FLAG(member, bit)                               \
    if (f->has_##member) {                                      \
        ret = f->member ? ret | (bit) : ret & ~(bit);           \
    }
    OVERLAP_FLAG(main_header, QCOW2_OL_MAIN_HEADER)
    OVERLAP_FLAG(active_l1, QCOW2_OL_ACTIVE_L1)
    OVERLAP_FLAG(active_l2, QCOW2_OL_ACTIVE_L2)
    OVERLAP_FLAG(refcount_table, QCOW2_OL_REFCOUNT_TABLE)
    OVERLAP_FLAG(refcount_block, QCOW2_OL_REFCOUNT_BLOCK)
    OVERLAP_FLAG(snapshot_table, QCOW2_OL_SNAPSHOT_TABLE)
    OVERLAP_FLAG(inactive_l1, QCOW2_OL_INACTIVE_L1)
    OVERLAP_FLAG(inactive_l2, QCOW2_OL_INACTIVE_L2)
    OVERLAP_FLAG(bitmap_directory, QCOW2_OL_BITMAP_DIR)
#undef OVERLAP_FLAG
    return ret;
}

static void parse_discard(const BlockdevOptionsQcow2 *opts, OpenFlags flags,
                          Qcow2Options *ret)
{
    ret->pass_discard[QCOW2_DISCARD_ALWAYS] = true;
    ret->pass_discard[QCOW2_DISCARD_REQUEST] =
        opts->has_pass_discard_request ? opts->pass_discard_request :
        (flags & OPEN_UNMAP) != 0;
    ret->pass_discard[QCOW2_DISCARD_SNAPSHOT] =
        !opts->has_pass_discard_snapshot || opts->pass_discard_snapshot;
    ret->pass_discard[QCOW2_DISCARD_OTHER] =
        opts->has_pass_discard_other && opts->pass_discard_other;
    ret->discard_no_unref = opts->has_discard_no_unref &&
                            opts->discard_no_unref;
}

bool qcow2_options_parse(const Qcow2Header *hdr,
                         const BlockdevOptionsQcow2 *opts, OpenFlags flags,
                         Qcow2Options *ret, Error **errp)
{
    memset(ret, 0, sizeof(*ret));
    if (!parse_caches(hdr, opts, ret, errp)) {
        return false;
    }
    ret->clean_interval = opts->has_cache_clean_interval ?
                          opts->cache_clean_interval : DEFAULT_CLEAN_INTERVAL;
    if (ret->clean_interval < 0 || ret->clean_interval > UINT32_MAX) {
        error_setg(errp, "Cache clean interval too big");
        return false;
    }
    ret->lazy_refcounts = opts->has_lazy_refcounts ? opts->lazy_refcounts :
                          (hdr->compatible & QCOW2_COMPAT_LAZY) != 0;
    if (hdr->version < 3 && ret->lazy_refcounts) {
        error_setg(errp, "Lazy refcounts require a qcow2 image with at least "
                   "qemu 1.1 compatibility level");
        return false;
    }
    ret->overlap_check = parse_overlap(opts->overlap_check);
    parse_discard(opts, flags, ret);
    if (ret->discard_no_unref && hdr->version < 3) {
        error_setg(errp, "discard-no-unref is only supported since qcow2 "
                   "version 3");
        return false;
    }
    return true;
}
