/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Another length of the disk, and preallocation.
 *
 * Growing: a longer L1 table if needed, nothing mapped behind the old end (where a
 * virtual machine may have saved its state), zeroes where the last cluster may hold
 * what lay behind the old end, space, zeroes over what a longer backing file has
 * there, and at last the length in the header.
 *
 * Shrinking: everything behind the new end is unmapped, then L2 tables that
 * cover nothing any more; when that is durable and given back, the header and
 * the file are cut. A crash on the way leaves a longer disk with a hole at its
 * end, or leaks. A growth that fails shrinks to the old end.
 */
#include "block/qcow2.h"

/* ---- preallocation ---- */

static void prealloc_failed(const Qcow2State *s, PreallocMode mode, int r,
                            Error **errp)
{
    const char *what = "Could not preallocate data";

    if (mode == PREALLOC_MODE_FULL) {
        what = "Could not write zeros for preallocation";
    } else if (mode == PREALLOC_MODE_FALLOC) {
        what = "Could not preallocate new data";
    }
    error_setg_errno(errp, -r, "%s%s", mode >= PREALLOC_MODE_FALLOC &&
                     !s->external_data ? "Failed to resize underlying file: "
                     : "", what);
}

bool qcow2_preallocate(Co *co, Node *node, int64_t off, int64_t len,
                       PreallocMode mode, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int64_t start = qcow2_cluster_down(s, off);
    int64_t end = 0;
    int r;

    if (mode == PREALLOC_MODE_OFF || len <= 0) {
        return true;
    }
    r = qcow2_alloc_map(co, node, start, qcow2_cluster_up(s, off + len) -
                        start, mode, &end);
    if (r < 0) {
        prealloc_failed(s, mode, r, errp);
        return false;
    }
    if (s->external_data) {
        end = MAX(off + len, s->data->child->length);
    }
    if (end > s->data->child->length &&
        !io_resize(co, s->data, end, false, PREALLOC_MODE_OFF, 0, errp)) {
        error_prepend(errp, "Could not preallocate data: ");
        return false;
    }
    r = qcow2_flush_metadata(co, node);
    if (r < 0) {
        error_setg_errno(errp, -r, "Could not preallocate metadata");
    }
    return r >= 0;
}

/* ---- shrinking ---- */

/* L2 tables from L1 entry @first on, whose entries are all empty, go. */
static void drop_l2_tables(Co *co, Node *node, int64_t first)
{
    Qcow2State *s = qcow2_state(node);

    co_mutex_lock(co, &s->meta);
    for (int64_t i = first; i < s->hdr.l1_size; i++) {
        int64_t off = s->l1[i] & QCOW2_OFFSET_MASK;

        if (!off || qcow2_in_cluster(s, off)) {
            continue;
        }
        if (s->l1[i] & QCOW2_COPIED) {
            qcow2_cache_drop(co, s->l2_cache, off, s->cluster_size);
        }
        qcow2_l1_store(s, i, 0);
        qcow2_free_later(node, off, s->cluster_size, QCOW2_DISCARD_ALWAYS);
    }
    co_mutex_unlock(&s->meta);
}

/* The end of the last cluster in use; -errno. With `meta`. */
static int64_t used_end(Co *co, Node *node, int64_t file_len)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end;
    int r = qcow2_refcount_end(co, node, qcow2_size_to_clusters(s, file_len),
                               &end);

    return r < 0 ? r : end << s->cluster_bits;
}

/* Cuts free clusters off the end of the file; keeps them on errors. */
static void cut_file(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int64_t len = io_length(co, node->file->child), end;
    Error *err = NULL;

    if (len < 0) {
        return;
    }
    co_mutex_lock(co, &s->meta);
    end = qcow2_refblocks_trim(co, node);
    if (end >= 0) {
        end = used_end(co, node, len);
    }
    if (end > 0 && end < len &&
        !io_resize(co, node->file, end, false, PREALLOC_MODE_OFF, 0, &err)) {
        warn_report("Failed to truncate the tail of the image: %s",
                    error_get_pretty(err));
        error_free(err);
    }
    co_mutex_unlock(&s->meta);
}

static bool shrink(Co *co, Node *node, int64_t old, int64_t length,
                   Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int64_t start = qcow2_cluster_up(s, length);
    int64_t end = qcow2_cluster_up(s, old);
    int r = 0;

    if (start < end) {
        r = qcow2_discard_range(co, node, start, end - start,
                                QCOW2_DISCARD_ALWAYS, true);
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to discard cropped clusters");
        return false;
    }
    drop_l2_tables(co, node, qcow2_size_to_l1(s, length));
    r = qcow2_flush_metadata(co, node);
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to reduce the number of L2 tables");
    }
    return r >= 0;
}

/* ---- growing ---- */

#define ZERO_CHUNK (2 * MiB)

/* As data. */
static int write_zeroes(Co *co, Node *node, int64_t off, int64_t len)
{
    g_autofree uint8_t *zeroes = g_try_malloc0(MIN(len, ZERO_CHUNK));
    IoVec iov;
    int r = zeroes ? 0 : -ENOMEM;

    for (int64_t n; len > 0 && r >= 0; off += n, len -= n) {
        n = MIN(len, ZERO_CHUNK);
        iov_init_buf(&iov, zeroes, n);
        r = qcow2_write(co, node, off, n, &iov, 0, 0);
    }
    return r;
}

/* Bytes of the last cluster behind the old end read as zeroes. */
static int zero_tail(Co *co, Node *node, int64_t old, int64_t length)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end = MIN(qcow2_cluster_up(s, old), length);
    Qcow2Map m;
    int r;

    while (old < end) {
        r = qcow2_map(co, node, old, end - old, &m);
        if (r < 0) {
            return r;
        }
        if (m.type == QCOW2_MAP_NORMAL || m.type == QCOW2_MAP_COMPRESSED) {
            r = write_zeroes(co, node, old, m.len);
            if (r < 0) {
                return r;
            }
        }
        old += m.len;
    }
    return 0;
}

/* What the backing file has in [old, length) shall not be seen. */
static int hide_backing(Co *co, Node *node, int64_t old, int64_t length)
{
    Qcow2State *s = qcow2_state(node);
    int64_t end = node->backing ? MIN(length, node->backing->child->length)
                                : 0;
    int64_t start = MIN(ROUND_UP(old, s->sub_size), end);
    Qcow2Map m;
    int r = 0;

    if (old < start) {
        r = qcow2_map(co, node, old, start - old, &m);
        if (r >= 0 && (m.type == QCOW2_MAP_UNALLOCATED ||
                       m.type == QCOW2_MAP_UNALLOCATED_HOST)) {
            r = write_zeroes(co, node, old, start - old);
        }
    }
    if (r < 0 || start >= end) {
        return r;
    }
    return s->hdr.version < 3 ? write_zeroes(co, node, start, end - start) :
           qcow2_zero(co, node, start, ROUND_UP(end, s->sub_size) - start, 0);
}

/* What a failed growth has mapped behind the end @old goes again, and
 * so does the space, down to @data_len bytes of an external data file. */
static void grow_undo(Co *co, Node *node, int64_t old, int64_t length,
                      int64_t data_len)
{
    Qcow2State *s = qcow2_state(node);
    Error *err = NULL;

    if (!shrink(co, node, length, old, &err)) {
        warn_report_err(err);
        return;
    }
    cut_file(co, node);
    if (s->external_data && s->data->child->length > data_len &&
        !io_resize(co, s->data, data_len, false, PREALLOC_MODE_OFF, 0, &err)) {
        warn_report_err(err);
    }
}

static bool grow(Co *co, Node *node, int64_t old, int64_t length,
                 PreallocMode prealloc, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int64_t data_len = s->data->child->length;
    int64_t start = qcow2_cluster_up(s, old);
    int r;

    co_mutex_lock(co, &s->meta);
    r = qcow2_l1_grow(co, node, qcow2_size_to_l1(s, length), true);
    co_mutex_unlock(&s->meta);
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to grow the L1 table");
        return false;
    }
    if (start < length) {
        r = qcow2_discard_range(co, node, start, length - start,
                                QCOW2_DISCARD_OTHER, true);
    }
    if (r >= 0) {
        r = zero_tail(co, node, old, length);
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to zero out the new area");
        return false;
    }
    if (start < length &&
        !qcow2_preallocate(co, node, start, length - start, prealloc, errp)) {
        grow_undo(co, node, old, length, data_len);
        return false;
    }
    r = hide_backing(co, node, old, length);
    if (r < 0) {
        error_setg_errno(errp, -r,
                         "Failed to zero the new area over the backing file");
        grow_undo(co, node, old, length, data_len);
    }
    return r >= 0;
}

/* ---- the verb ---- */

static bool may_resize(Co *co, Node *node, int64_t length,
                       PreallocMode prealloc, Error **errp)
{
    Qcow2State *s = qcow2_state(node);

    if (length % 512) {
        error_setg(errp, "The new size must be a multiple of 512");
        return false;
    }
    if (s->nb_snapshots && s->hdr.version < 3) {
        error_setg(errp, "Can't resize a v2 image which has snapshots");
        return false;
    }
    if (!qcow2_bitmaps_can_resize(co, node, length, errp)) {
        return false;
    }
    if (length < node->length && prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "Preallocation can't be used for shrinking an image");
        return false;
    }
    return true;
}

/* Everything that is the driver's, but that the node has the new length. */
static bool resize_image(Co *co, Node *node, int64_t length, bool exact,
                         PreallocMode prealloc, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old = node->length;
    bool ok;
    int r;

    ok = length < old ? shrink(co, node, old, length, errp) :
         grow(co, node, old, length, prealloc, errp);
    if (ok && s->external_data && (prealloc == PREALLOC_MODE_OFF ||
                                   s->data->child->length < length)) {
        ok = io_resize(co, s->data, length, exact, PREALLOC_MODE_OFF, 0, errp);
    }
    if (!ok) {
        return false;
    }
    r = qcow2_flush_metadata(co, node);
    if (r >= 0) {
        co_mutex_lock(co, &s->header_lock);
        r = qcow2_header_put_u64(co, node, QCOW2_HDR_SIZE, length);
        s->hdr.size = r < 0 ? s->hdr.size : (uint64_t)length;
        co_mutex_unlock(&s->header_lock);
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to update the image size");
    }
    return r >= 0;
}

bool qcow2_resize(Co *co, Node *node, int64_t length, bool exact,
                  PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old = node->length;
    int r = qcow2_write_prepare(co, node);

    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to resize the image");
        return false;
    }
    if (!may_resize(co, node, length, prealloc, errp)) {
        return false;
    }
    if (length > old && (s->hdr.autoclear & QCOW2_AUTOCLEAR_RAW_DATA)) {
        /* What the data file has there already is the guest's. */
        prealloc = MAX(prealloc, PREALLOC_MODE_METADATA);
    }
    if (!resize_image(co, node, length, exact, prealloc, errp)) {
        if (length < old) {
            /* What was to go may read as zeroes. */
            io_content_changed(node, length, old - length);
        }
        return false;
    }
    node->length = length;
    if (length < old) {
        cut_file(co, node);
    }
    return true;
}
