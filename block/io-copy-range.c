/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Copying without moving the data through this process: copy_file_range and
 * its like.
 *
 * Both ends are followed down through raw, and through filters that have no
 * part in reads or writes, until they reach drivers that can copy between each
 * other. On the way down every node is entered as by a read or a write, so that
 * requests serialise and bitmaps see the write. A source may be of a format: its
 * data are copied piece by piece from where they lie, in its file or in a layer
 * below. Whatever does not fit (alignment, other drivers, compressed data,
 * zeroes, a format as the target) is -ENOTSUP, perhaps after a part has been
 * copied: the caller reads and writes.
 */

#include "block/dirty-bitmap.h"
#include "block/io-steps.h"

typedef struct CopyRange {
    Node *src;              /* the end of the source's way */
    int64_t src_off;
    int64_t len;
    ReqFlags flags;
} CopyRange;

/* The next node below on the way of [off, off + len), which starts at
 * *@next_off there; NULL if @node maps in other ways, or sees to what it hands
 * on. */
static Edge *io_copy_range_below(Co *co, Node *node, int64_t off, int64_t len,
                                 bool is_write, int64_t *next_off)
{
    Extent ext = { 0 };

    if (!node->file) {
        return NULL;
    }
    if (node->drv->kind == DRIVER_FILTER) {
        *next_off = off;
        return is_write ? node->drv->write ? NULL : node->file
                        : node->drv->read ? NULL : node->file;
    }
    if (!node->drv->status ||
        node->drv->status(co, node, false, off, len, &ext) < 0 ||
        !(ext.flags & EXTENT_RAW) || ext.len < len ||
        ext.file != node->file->child) {
        return NULL;
    }
    *next_off = ext.map;
    return node->file;
}

static bool io_copy_range_fits(const Node *node, int64_t off, int64_t len)
{
    return io_range_is_aligned(node, off, len) && off + len <= node->length;
}

static int io_copy_range_to(Co *co, Edge *edge, int64_t off,
                            const CopyRange *cr)
{
    Node *node = edge->child;
    TrackedReq req;
    bool tried = false;
    int64_t next_off;
    Edge *next;
    int ret = -ENOTSUP;

    g_assert(edge->need & PERM_WRITE);
    if (node->read_only || !io_copy_range_fits(node, off, cr->len)) {
        return node->read_only ? -EPERM : -ENOTSUP;
    }
    io_check_threshold(node, off + cr->len);
    io_track_begin(co, &req, node, off, cr->len, cr->flags & REQ_SERIALISING);
    if (!io_copy_range_fits(node, off, cr->len)) {
        io_track_end(&req);     /* the node has become shorter meanwhile */
        return -ENOTSUP;
    }
    if (node->drv->copy_range) {
        if (node->drv == cr->src->drv) {
            ret = node->drv->copy_range(co, cr->src, cr->src_off, node, off,
                                        cr->len, cr->flags & ~REQ_FUA);
            tried = true;
        }
    } else {
        next = io_copy_range_below(co, node, off, cr->len, true, &next_off);
        if (next) {
            ret = io_copy_range_to(co, next, next_off, cr);
            tried = true;
        }
    }
    if (tried) {                /* a part may be there, whatever was said */
        node->write_gen++;
        node->wr_highest_offset = MAX(node->wr_highest_offset, off + cr->len);
        if (node->bitmaps) {
            bitmap_note_write(node, off, cr->len);
        }
        io_tell_watch(edge, off, cr->len);
    }
    io_track_end(&req);
    return ret;
}

static int io_copy_range_from(Co *co, Edge *edge, int64_t off, Edge *dst,
                              int64_t dst_off, int64_t len, ReqFlags flags);

/* Where a format has the data of @ext, which begins at @off; NULL if they are
 * not there as they are. */
static Edge *io_copy_range_place(const Node *node, int64_t off,
                                 const Extent *ext, int64_t *next_off)
{
    if ((ext->flags & EXTENT_DATA) && (ext->flags & EXTENT_OFFSET_VALID)) {
        *next_off = ext->map;
        for (guint i = 0; i < node->children->len; i++) {
            Edge *edge = g_ptr_array_index(node->children, i);

            if (edge->child == ext->file && edge != node->backing) {
                return edge;
            }
        }
        return NULL;
    }
    *next_off = off;
    return ext->flags & (EXTENT_DATA | EXTENT_ZERO | EXTENT_ALLOCATED)
           ? NULL : node->backing;
}

/* From a node that maps. */
static int io_copy_range_mapped(Co *co, Node *node, int64_t off, Edge *dst,
                                int64_t dst_off, int64_t len, ReqFlags flags)
{
    for (int64_t done = 0, n; done < len; done += n) {
        Extent ext = { 0 };
        int64_t next_off;
        Edge *next;
        int ret;

        if (!node->drv->status) {
            return -ENOTSUP;
        }
        ret = node->drv->status(co, node, false, off + done, len - done,
                                &ext);
        n = MIN(ext.len, len - done);
        if (ret < 0 || n <= 0) {
            return ret < 0 ? ret : -ENOTSUP;
        }
        next = io_copy_range_place(node, off + done, &ext, &next_off);
        ret = next ? io_copy_range_from(co, next, next_off, dst,
                                        dst_off + done, n, flags) : -ENOTSUP;
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

static int io_copy_range_from(Co *co, Edge *edge, int64_t off, Edge *dst,
                              int64_t dst_off, int64_t len, ReqFlags flags)
{
    Node *node = edge->child;
    TrackedReq req;
    int64_t next_off;
    Edge *next;
    int ret = -ENOTSUP;

    if (!io_copy_range_fits(node, off, len)) {
        return -ENOTSUP;
    }
    io_track_begin(co, &req, node, off, len, false);
    if (node->drv->copy_range) {
        CopyRange cr = { node, off, len, flags };

        ret = io_copy_range_to(co, dst, dst_off, &cr);
    } else {
        next = io_copy_range_below(co, node, off, len, false, &next_off);
        ret = next ? io_copy_range_from(co, next, next_off, dst, dst_off, len,
                                        flags)
                   : io_copy_range_mapped(co, node, off, dst, dst_off, len,
                                          flags);
    }
    io_track_end(&req);
    return ret;
}

int io_copy_range(Co *co, Edge *src, int64_t src_off, Edge *dst,
                  int64_t dst_off, int64_t len, ReqFlags flags)
{
    int ret;

    loop_assert(src->child->loop);
    loop_assert(dst->child->loop);
    g_assert(src_off >= 0 && dst_off >= 0 && len >= 0);
    if (len == 0) {
        return 0;
    }
    ret = io_copy_range_from(co, src, src_off, dst, dst_off, len, flags);
    if (ret == 0 && (flags & REQ_FUA)) {
        ret = io_flush(co, dst->child);
    }
    return ret;
}
