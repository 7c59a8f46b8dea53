/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Writing the header: all of the first cluster, or one field; the dirty and
 * corrupt bits; and saying that an image is corrupt.
 *
 * The fixed header lies in the first sector, so a field is written whole or
 * not at all. The first cluster as a whole is rewritten only when extensions
 * or the backing name change.
 *
 * A write that fails may have been done: a flush tells it of pages that everybody
 * reads. What is in memory goes on as it was then, and what is written after it is
 * reached from there alone, so a field is put back to what it was.
 */
#include "block/qcow2.h"
#include "qapi/qapi-events.h"

int qcow2_write_header(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree uint8_t *buf = g_try_malloc0(s->cluster_size);
    int64_t r;

    if (!buf) {
        return -ENOMEM;
    }
    co_mutex_lock(co, &s->header_lock);
    r = qcow2_format_encode(&s->hdr, &s->ext, node->backing_file, buf);
    if (r >= 0) {
        r = io_pwrite(co, node->file, 0, s->cluster_size, buf, 0);
    }
    co_mutex_unlock(&s->header_lock);
    return r;
}

/* After a write that failed, and may have been done or not: the header is what it
 * was when the next flush has succeeded, or nothing more is written. */
static void header_take_back(Co *co, Node *node, int64_t off,
                             const uint8_t *old, int len)
{
    uint8_t now[QCOW2_HDR_PUT_MAX];

    if (io_pwrite_sync(co, node->file, off, len, old, 0) >= 0 ||
        (io_pread(co, node->file, off, len, now, 0) >= 0 &&
         memcmp(now, old, len) == 0)) {
        return;
    }
    error_report("qcow2: The header of node '%s' is not known any more, "
                 "nothing can be written", node->name);
    qcow2_state(node)->corrupt = true;
}

int qcow2_header_put(Co *co, Node *node, int64_t off, const void *buf,
                     int len)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree uint8_t *old = g_try_malloc(s->cluster_size);
    int r;

    g_assert(len <= QCOW2_HDR_PUT_MAX);
    if (!old) {
        return -ENOMEM;
    }
    qcow2_header_encode(&s->hdr, old, s->cluster_size);
    r = io_pwrite_sync(co, node->file, off, len, buf, 0);
    if (r < 0) {
        header_take_back(co, node, off, old + off, len);
    }
    return r;
}

int qcow2_header_put_u64(Co *co, Node *node, int64_t off, uint64_t value)
{
    uint8_t buf[8];

    stq_be_p(buf, value);
    return qcow2_header_put(co, node, off, buf, sizeof(buf));
}

/* A header that is rewritten as a whole meanwhile must not lose the bits. */
static int put_incompatible(Co *co, Node *node, uint64_t set, uint64_t clear)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t value;
    int r = 0;

    g_assert(s->hdr.version >= 3);
    co_mutex_lock(co, &s->header_lock);
    value = (s->hdr.incompatible | set) & ~clear;
    if (value != s->hdr.incompatible) {
        r = qcow2_header_put_u64(co, node, QCOW2_HDR_INCOMPATIBLE, value);
    }
    if (r >= 0) {
        s->hdr.incompatible = value;
    }
    co_mutex_unlock(&s->header_lock);
    return r;
}

int qcow2_mark_dirty(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);

    if (s->hdr.incompatible & QCOW2_INCOMPAT_DIRTY) {
        return 0;
    }
    return put_incompatible(co, node, QCOW2_INCOMPAT_DIRTY, 0);
}

int qcow2_mark_clean(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    if (!(s->hdr.incompatible & QCOW2_INCOMPAT_DIRTY) || s->untidy) {
        return 0;
    }
    r = qcow2_flush_metadata(co, node);
    if (r >= 0) {
        r = io_flush(co, node->file->child);
    }
    return r < 0 ? r :
           put_incompatible(co, node, 0, QCOW2_INCOMPAT_DIRTY);
}

int qcow2_mark_corrupt(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);

    if (s->hdr.version < 3) {
        return 0;
    }
    return put_incompatible(co, node, QCOW2_INCOMPAT_CORRUPT, 0);
}

int qcow2_mark_consistent(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    if (!(s->hdr.incompatible & QCOW2_INCOMPAT_CORRUPT)) {
        return 0;
    }
    r = qcow2_flush_metadata(co, node);
    if (r >= 0) {
        r = io_flush(co, node->file->child);
    }
    return r < 0 ? r :
           put_incompatible(co, node, 0, QCOW2_INCOMPAT_CORRUPT);
}

void qcow2_signal_corruption(Co *co, Node *node, bool fatal, int64_t off,
                             int64_t len, const char *fmt, ...)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree char *msg = NULL;
    va_list ap;

    /* An image that can't be written can't be marked. */
    fatal = fatal && !node->read_only;
    if (s->signaled_corruption && (!fatal || s->corrupt)) {
        return;
    }
    va_start(ap, fmt);
    msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);

    if (fatal) {
        fprintf(stderr, "qcow2: Marking image as corrupt: %s; further "
                "corruption events will be suppressed\n", msg);
    } else {
        fprintf(stderr, "qcow2: Image is corrupt: %s; further non-fatal "
                "corruption events will be suppressed\n", msg);
    }
    qapi_event_send_block_image_corrupted("", node->named_by_user ?
                                          node->name : NULL, msg, off >= 0,
                                          off, len >= 0, len, fatal);
    s->signaled_corruption = true;
    if (fatal) {
        s->corrupt = true;
        qcow2_mark_corrupt(co, node);
    }
}
