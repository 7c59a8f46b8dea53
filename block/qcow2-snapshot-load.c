/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The snapshot table on disk. Its length is known only when all of its entries
 * have been read, so it is read through a window that moves along.
 */
#include "block/qcow2-snapshot.h"

#define READER_WINDOW (64 * KiB)

struct Qcow2SnapshotReader {
    Node *node;
    int64_t off;                /* in the table, of the next entry */
    int64_t end;                /* in the table, of the last, without padding */
    int64_t kept;               /* bytes so far, without what is too much of
                                 * extra data: the limit counts these */
    uint8_t *buf;
    int64_t buf_off, buf_len;   /* in the table, what buf holds */
};

Qcow2SnapshotReader *qcow2_snapshot_reader_new(Node *node)
{
    Qcow2SnapshotReader *r = g_new0(Qcow2SnapshotReader, 1);

    r->node = node;
    return r;
}

void qcow2_snapshot_reader_free(Qcow2SnapshotReader *r)
{
    if (r) {
        g_free(r->buf);
        g_free(r);
    }
}

int64_t qcow2_snapshot_reader_bytes(const Qcow2SnapshotReader *r)
{
    return r->end;
}

static int reader_pread(Co *co, Qcow2SnapshotReader *r, int64_t skip,
                        int64_t len, uint8_t *buf)
{
    int64_t off = qcow2_state(r->node)->hdr.snapshots_offset;

    if (off > INT64_MAX - QCOW2_MAX_SNAPSHOTS_BYTES - r->off - skip) {
        return -EFBIG;
    }
    return io_pread(co, r->node->file, off + r->off + skip, len, buf, 0);
}

/* At least @need bytes at r->off. */
static int reader_fill(Co *co, Qcow2SnapshotReader *r, int64_t need)
{
    int64_t len = MAX(need, READER_WINDOW);

    g_free(r->buf);
    r->buf = g_try_malloc(len);
    r->buf_off = r->off;
    r->buf_len = r->buf ? len : 0;
    if (!r->buf) {
        return -ENOMEM;
    }
    return reader_pread(co, r, 0, len, r->buf);
}

/* An entry with more extra data than there may be, of which those that may be
 * are read, and what comes behind them. */
static int reader_long_entry(Co *co, Qcow2SnapshotReader *r,
                             const Qcow2SnapshotLens *lens, Qcow2Snapshot *ret)
{
    Qcow2State *s = qcow2_state(r->node);
    int64_t head = 40 + QCOW2_MAX_SNAPSHOT_EXTRA;
    uint64_t names = lens->entry - 40 - lens->extra;
    g_autofree uint8_t *buf = g_try_malloc(head + names);
    int err = buf ? reader_pread(co, r, 0, head, buf) : -ENOMEM;

    if (err >= 0) {
        err = reader_pread(co, r, 40 + (int64_t)lens->extra, names,
                           buf + head);
    }
    if (err < 0) {
        return err;
    }
    stl_be_p(buf + 36, QCOW2_MAX_SNAPSHOT_EXTRA);
    qcow2_snapshot_decode(buf, s->hdr.size, ret);
    ret->extra_size = lens->extra;
    return 0;
}

/* The lengths of the next entry, of which all is in the window then, unless
 * it has too much extra data. */
static int reader_find_entry(Co *co, Qcow2SnapshotReader *r,
                             Qcow2SnapshotLens *lens)
{
    int64_t need = 40;

    for (;;) {
        int64_t there = r->buf ? r->buf_off + r->buf_len - r->off : 0;
        int err;

        if (there >= 40) {
            qcow2_snapshot_lens(r->buf + r->off - r->buf_off, lens);
            if (lens->extra > QCOW2_MAX_SNAPSHOT_EXTRA ||
                there >= (int64_t)lens->entry) {
                return 0;
            }
            need = lens->entry;
        }
        err = reader_fill(co, r, need);
        if (err < 0) {
            return err;
        }
    }
}

int qcow2_snapshot_reader_next(Co *co, Qcow2SnapshotReader *r,
                               Qcow2Snapshot *ret)
{
    Qcow2State *s = qcow2_state(r->node);
    Qcow2SnapshotLens lens;
    int64_t kept;
    int err = reader_find_entry(co, r, &lens);

    if (err < 0) {
        return err;
    }
    ret->extra_size = lens.extra;
    kept = lens.entry - MAX(lens.extra, QCOW2_MAX_SNAPSHOT_EXTRA) +
           QCOW2_MAX_SNAPSHOT_EXTRA;
    if (r->kept + kept > QCOW2_MAX_SNAPSHOTS_BYTES ||
        r->off + lens.entry > INT32_MAX) {
        return -EFBIG;
    }
    if (lens.extra > QCOW2_MAX_SNAPSHOT_EXTRA) {
        err = reader_long_entry(co, r, &lens, ret);
        if (err < 0) {
            return err;
        }
    } else {
        qcow2_snapshot_decode(r->buf + r->off - r->buf_off, s->hdr.size, ret);
    }
    r->end = r->off + 40 + lens.extra + lens.id + lens.name;
    r->off += lens.entry;
    r->kept += kept;
    return 1;
}

void qcow2_snapshots_free(Node *node)
{
    Qcow2State *s = qcow2_state(node);

    for (unsigned i = 0; i < s->nb_snapshots; i++) {
        qcow2_snapshot_clear(&s->snapshots[i]);
    }
    g_clear_pointer(&s->snapshots, g_free);
    s->nb_snapshots = 0;
}

static bool load_one(Co *co, Qcow2SnapshotReader *r, unsigned i,
                     Qcow2Snapshot *sn, Error **errp)
{
    int ret = qcow2_snapshot_reader_next(co, r, sn);

    if (ret == -EFBIG && sn->extra_size <= QCOW2_MAX_SNAPSHOT_EXTRA) {
        error_setg(errp, "Snapshot table is too big");
        return false;
    }
    if (ret == -EFBIG || sn->extra_size > QCOW2_MAX_SNAPSHOT_EXTRA) {
        error_setg(errp, "Too much extra metadata in snapshot table entry %u",
                   i);
        error_append_hint(errp, "You can force-remove this extra metadata "
                          "with qemu-img check -r all\n");
        qcow2_snapshot_clear(sn);
        return false;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to read snapshot table");
        return false;
    }
    return true;
}

bool qcow2_snapshots_load(Co *co, Node *node, bool relaxed, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2SnapshotReader *r;
    bool ok = true;

    if (relaxed || !s->hdr.nb_snapshots) {
        /* A check reads it by itself and tells what it finds. */
        return true;
    }
    s->snapshots = g_new0(Qcow2Snapshot, s->hdr.nb_snapshots);
    r = qcow2_snapshot_reader_new(node);
    for (unsigned i = 0; ok && i < s->hdr.nb_snapshots; i++) {
        ok = load_one(co, r, i, &s->snapshots[i], errp);
        s->nb_snapshots += ok;
    }
    s->snapshots_bytes = qcow2_snapshot_reader_bytes(r);
    qcow2_snapshot_reader_free(r);
    if (!ok) {
        qcow2_snapshots_free(node);
    }
    return ok;
}

/* ---- writing ---- */

static uint8_t *snapshots_build(Node *node, int64_t *len)
{
    Qcow2State *s = qcow2_state(node);
    uint8_t *buf, *p;

    *len = 0;
    for (unsigned i = 0; i < s->nb_snapshots; i++) {
        *len += qcow2_snapshot_encoded_len(&s->snapshots[i]);
    }
    if (*len > QCOW2_MAX_SNAPSHOTS_BYTES) {
        return NULL;
    }
    p = buf = g_try_malloc(MAX(*len, 1));
    for (unsigned i = 0; buf && i < s->nb_snapshots; i++) {
        qcow2_snapshot_encode(&s->snapshots[i], p);
        p += qcow2_snapshot_encoded_len(&s->snapshots[i]);
    }
    return buf;
}

/* The header's number and offset, in one sector: both or none. */
static int snapshots_announce(Co *co, Node *node, uint32_t nb, int64_t off)
{
    Qcow2State *s = qcow2_state(node);
    uint8_t field[12];
    int r;

    stl_be_p(field, nb);
    stq_be_p(field + 4, off);
    co_mutex_lock(co, &s->header_lock);
    r = qcow2_header_put(co, node, QCOW2_HDR_SNAPSHOTS, field, sizeof(field));
    if (r >= 0) {
        s->hdr.nb_snapshots = nb;
        s->hdr.snapshots_offset = off;
    }
    co_mutex_unlock(&s->header_lock);
    return r;
}

int qcow2_snapshots_write(Co *co, Node *node, bool *unsure)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old_off = s->hdr.snapshots_offset, old_len = s->snapshots_bytes;
    int64_t len, off = 0;
    g_autofree uint8_t *buf = NULL;
    int r;

    buf = snapshots_build(node, &len);
    if (!buf) {
        return -EFBIG;
    }
    if (len > 0) {
        off = qcow2_write_new(co, node, buf, len);
        if (off < 0) {
            return off;
        }
    }
    r = snapshots_announce(co, node, s->nb_snapshots, off);
    if (r < 0) {
        /* The disk may have either: the clusters stay taken. */
        if (unsure) {
            *unsure = true;
        }
        return r;
    }
    s->snapshots_bytes = len;
    if (old_len > 0) {
        qcow2_free_clusters(co, node, old_off, old_len,
                            QCOW2_DISCARD_SNAPSHOT);
    }
    return 0;
}
