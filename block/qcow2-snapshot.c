/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Internal snapshots of qcow2. Called while nothing is in flight.
 *
 * A snapshot is a copy of the L1 table; what is below is shared and counted.
 * Order on disk, so that a crash leaves at most clusters that nothing refers
 * to and COPIED flags that are off without need:
 *
 *     create  COPIED off | counts up | L1 copy, table | header
 *     remove  table, header | counts down | COPIED on
 *     apply   counts up | L1 copy | header | counts down | COPIED on
 *
 * Where COPIED flags and counts differ for a while, the image is marked dirty
 * (version 3), so that a crash in between is mended at the next open.
 */
#include "block/qcow2-snapshot.h"
#include "block/io-steps.h"

/* ---- names ---- */

#define SNAPSHOT_NAME_MAX 255   /* bytes */

/* Index, or -1. Both must fit where both are given. */
static int snapshot_find(const Qcow2State *s, const char *id,
                         const char *name)
{
    for (unsigned i = 0; (id || name) && i < s->nb_snapshots; i++) {
        if ((!id || strcmp(s->snapshots[i].id, id) == 0) &&
            (!name || strcmp(s->snapshots[i].name, name) == 0)) {
            return i;
        }
    }
    return -1;
}

static char *snapshot_new_id(const Qcow2State *s)
{
    uint64_t max = 0;

    for (unsigned i = 0; i < s->nb_snapshots; i++) {
        max = MAX(max, g_ascii_strtoull(s->snapshots[i].id, NULL, 10));
    }
    return g_strdup_printf("%" PRIu64, max + 1);
}

static SnapshotInfo *snapshot_info(const Qcow2Snapshot *sn)
{
    SnapshotInfo *info = g_new0(SnapshotInfo, 1);

    info->id = g_strdup(sn->id);
    info->name = g_strdup(sn->name);
    info->vm_state_size = sn->vm_state_size;
    info->date_sec = sn->date_sec;
    info->date_nsec = sn->date_nsec;
    info->vm_clock_sec = sn->vm_clock_nsec / 1000000000;
    info->vm_clock_nsec = sn->vm_clock_nsec % 1000000000;
    info->has_icount = sn->icount != UINT64_MAX;
    info->icount = info->has_icount ? sn->icount : 0;
    return info;
}

static bool snapshot_list(Co *co, Node *node, SnapshotInfoList **ret,
                          Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    SnapshotInfoList *list = NULL, **tail = &list;

    for (unsigned i = 0; i < s->nb_snapshots; i++) {
        QAPI_LIST_APPEND(tail, snapshot_info(&s->snapshots[i]));
    }
    *ret = list;
    return true;
}

/* ---- common steps, with `meta` ---- */

/* All tables are on disk, and no request is on its way into one. */
static int snapshot_begin(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int r = 0;

    /* What lies in a data file has no refcounts that snapshots could share. */
    if (s->external_data) {
        return -ENOTSUP;
    }
    if (s->corrupt) {
        return -ENOMEDIUM;
    }
    co_mutex_unlock(&s->meta);
    if (s->hdr.version >= 3) {
        r = qcow2_mark_dirty(co, node);
    }
    if (r >= 0) {
        r = qcow2_flush_metadata(co, node);
    }
    co_mutex_lock(co, &s->meta);
    while (r >= 0 && qcow2_alloc_wait(co, node, 0, INT64_MAX)) {
        continue;
    }
    return r;
}

/* What changed in the caches is durable, refcounts first. */
static int snapshot_sync(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    co_mutex_unlock(&s->meta);
    r = qcow2_flush_metadata(co, node);
    if (r >= 0) {
        r = qcow2_refcount_write(co, node);
    }
    if (r >= 0) {
        r = io_flush(co, node->file->child);
    }
    co_mutex_lock(co, &s->meta);
    return r;
}

/* Ends what begin began. Lazy images stay dirty until they are closed, those
 * where a failure left COPIED flags and counts at odds until they are mended at
 * the next open. */
static int snapshot_end(Co *co, Node *node, int r)
{
    Qcow2State *s = qcow2_state(node);

    co_mutex_unlock(&s->meta);
    if (r >= 0) {
        s->untidy = false;
    }
    if (r >= 0 && s->hdr.version >= 3 && !s->lazy_refcounts) {
        r = qcow2_mark_clean(co, node);
    }
    co_mutex_lock(co, &s->meta);
    return r;
}

/* ---- create ---- */

/* A copy of the active L1 table on disk, counted and durable; its offset. */
static int64_t snapshot_copy_l1(Co *co, Node *node, const uint64_t *l1,
                                uint32_t n)
{
    g_autofree uint64_t *copy = g_try_new(uint64_t, MAX(n, 1));
    int64_t off;
    int r;

    if (!copy) {
        return -ENOMEM;
    }
    off = qcow2_alloc_clusters(co, node, MAX((int64_t)n * 8, 1));
    if (off < 0) {
        return off;
    }
    for (uint32_t i = 0; i < n; i++) {
        copy[i] = l1[i] & ~QCOW2_COPIED;
    }
    r = qcow2_write_table(co, node, 0, off, n, copy);
    if (r < 0) {
        qcow2_free_clusters(co, node, off, MAX((int64_t)n * 8, 1),
                            QCOW2_DISCARD_ALWAYS);
        return r;
    }
    return off;
}

/* Appends to s->snapshots and writes the table. Takes over @sn's content if it
 * succeeds. */
static int snapshot_append(Co *co, Node *node, const Qcow2Snapshot *sn,
                           bool *unsure)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    s->snapshots = g_renew(Qcow2Snapshot, s->snapshots, s->nb_snapshots + 1);
    s->snapshots[s->nb_snapshots++] = *sn;
    r = qcow2_snapshots_write(co, node, unsure);
    if (r < 0) {
        s->nb_snapshots--;
    }
    return r;
}

/* Nobody shares the clusters: the disk may write them in place again. @refs:
 * they have been counted. */
static void create_undo(Co *co, Node *node, Qcow2Snapshot *sn, bool refs)
{
    Qcow2State *s = qcow2_state(node);
    int r = 0;

    if (sn->l1_offset) {
        qcow2_free_clusters(co, node, sn->l1_offset,
                            MAX((int64_t)sn->l1_size * 8, 1),
                            QCOW2_DISCARD_ALWAYS);
    }
    if (refs) {
        r = qcow2_snapshot_add_refs(co, node, s->l1, s->hdr.l1_size, -1);
    }
    s->untidy = qcow2_snapshot_update_copied(co, node, false) < 0 || r < 0;
    qcow2_snapshot_clear(sn);
}

static int snapshot_create_locked(Co *co, Node *node, Qcow2Snapshot *sn)
{
    Qcow2State *s = qcow2_state(node);
    bool unsure = false;
    int64_t off;
    int r = snapshot_begin(co, node);

    if (r < 0) {
        qcow2_snapshot_clear(sn);
        return r;
    }
    s->untidy = true;
    r = qcow2_snapshot_update_copied(co, node, true);
    if (r >= 0) {
        r = snapshot_sync(co, node);
    }
    if (r >= 0) {
        r = qcow2_snapshot_add_refs(co, node, s->l1, s->hdr.l1_size, 1);
    }
    if (r < 0) {
        create_undo(co, node, sn, false);
        return r;
    }
    off = snapshot_copy_l1(co, node, s->l1, s->hdr.l1_size);
    if (off < 0) {
        create_undo(co, node, sn, true);
        return off;
    }
    sn->l1_offset = off;
    sn->l1_size = s->hdr.l1_size;
    /* Writes refcounts and the L1 copy before the table. */
    r = snapshot_append(co, node, sn, &unsure);
    if (r < 0 && unsure) {
        qcow2_snapshot_clear(sn);
    } else if (r < 0) {
        create_undo(co, node, sn, true);
    }
    return r;
}

static int snapshot_create(Co *co, Node *node, const char *name,
                           int64_t date_ns, int64_t icount)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Snapshot sn = {
        .icount = icount,
        .date_sec = date_ns / 1000000000, .date_nsec = date_ns % 1000000000,
        .disk_size = node->length, .extra_size = QCOW2_SNAPSHOT_EXTRA,
    };
    int r;

    if (s->nb_snapshots >= QCOW2_MAX_SNAPSHOTS) {
        return -EFBIG;
    }
    sn.id = snapshot_new_id(s);
    /* More of it QEMU neither writes nor finds again. */
    sn.name = g_strndup(name, SNAPSHOT_NAME_MAX);
    co_mutex_lock(co, &s->meta);
    r = snapshot_create_locked(co, node, &sn);
    r = snapshot_end(co, node, r);
    qcow2_overlap_reset(s);
    co_mutex_unlock(&s->meta);
    return r;
}

/* ---- remove ---- */

/* L1 of a snapshot in host order; checked. */
static int snapshot_read_l1(Co *co, Node *node, const Qcow2Snapshot *sn,
                            uint64_t **ret, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    if (!qcow2_validate_table(s, sn->l1_offset, sn->l1_size, 8,
                              QCOW2_MAX_L1_BYTES, "Snapshot L1 table", errp)) {
        return -EINVAL;
    }
    r = qcow2_read_table(co, node, sn->l1_offset, sn->l1_size, ret);
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to read the snapshot's L1 table");
    }
    return r;
}

/* Out of the table; then nothing refers to what it shared. */
static int snapshot_remove_locked(Co *co, Node *node, unsigned i,
                                  const uint64_t *l1)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Snapshot sn = s->snapshots[i];
    int r = snapshot_begin(co, node);

    if (r < 0) {
        return r;
    }
    memmove(&s->snapshots[i], &s->snapshots[i + 1],
            (s->nb_snapshots - i - 1) * sizeof(sn));
    s->nb_snapshots--;
    r = qcow2_snapshots_write(co, node, NULL);
    if (r < 0) {
        memmove(&s->snapshots[i + 1], &s->snapshots[i],
                (s->nb_snapshots - i) * sizeof(sn));
        s->snapshots[i] = sn;
        s->nb_snapshots++;
        return r;
    }
    s->untidy = true;
    r = qcow2_snapshot_add_refs(co, node, l1, sn.l1_size, -1);
    if (r >= 0) {
        qcow2_free_clusters(co, node, sn.l1_offset,
                            MAX((int64_t)sn.l1_size * 8, 1),
                            QCOW2_DISCARD_SNAPSHOT);
        r = qcow2_snapshot_update_copied(co, node, false);
    }
    if (r >= 0) {
        r = snapshot_sync(co, node);
    }
    qcow2_snapshot_clear(&sn);
    return r;
}

static bool snapshot_remove(Co *co, Node *node, const char *id,
                            const char *name, SnapshotInfo **removed,
                            Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int i = snapshot_find(s, id, name);
    g_autofree uint64_t *l1 = NULL;
    SnapshotInfo *info;
    int r;

    if (i < 0) {
        error_setg(errp, "Can't find the snapshot");
        return false;
    }
    if (snapshot_read_l1(co, node, &s->snapshots[i], &l1, errp) < 0) {
        return false;
    }
    info = snapshot_info(&s->snapshots[i]);
    co_mutex_lock(co, &s->meta);
    r = snapshot_end(co, node, snapshot_remove_locked(co, node, i, l1));
    qcow2_overlap_reset(s);
    co_mutex_unlock(&s->meta);
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to remove the snapshot");
        qapi_free_SnapshotInfo(info);
        return false;
    }
    if (removed) {
        *removed = info;
    } else {
        qapi_free_SnapshotInfo(info);
    }
    return true;
}

/* ---- apply ---- */

/* Size, and place and size of the L1 table: header bytes 24 to 47. */
static int apply_announce(Co *co, Node *node, uint64_t size, uint32_t l1_size,
                          uint64_t l1_offset)
{
    uint8_t field[24];

    stq_be_p(field, size);
    stl_be_p(field + 8, qcow2_state(node)->hdr.crypt_method);
    stl_be_p(field + 12, l1_size);
    stq_be_p(field + 16, l1_offset);
    return qcow2_header_put(co, node, QCOW2_HDR_SIZE, field, sizeof(field));
}

/* @l1 (taken over, @n entries) at @off is the active table from now on. */
static void apply_switch(Co *co, Node *node, uint64_t *l1, uint32_t n,
                         int64_t off, uint64_t size)
{
    Qcow2State *s = qcow2_state(node);

    qcow2_cache_drop_all(co, s->l2_cache);
    g_free(s->l1);
    s->l1 = l1;
    bitset_free(s->l1_dirty);
    s->l1_dirty = bitset_new(DIV_ROUND_UP(MAX(n, 1), 64));
    s->hdr.l1_size = n;
    s->hdr.l1_offset = off;
    s->hdr.size = size;
    qcow2_overlap_reset(s);
}

/* The snapshot's table, long enough for its disk. */
static int apply_make_l1(const Qcow2State *s, const Qcow2Snapshot *sn,
                         const uint64_t *from, uint64_t **ret, uint32_t *n)
{
    int64_t needed = qcow2_size_to_l1(s, sn->disk_size);
    uint64_t *l1;

    if (sn->disk_size > INT64_MAX || needed > QCOW2_MAX_L1_BYTES / 8) {
        return -EFBIG;
    }
    *n = MAX(needed, (int64_t)sn->l1_size);
    *ret = l1 = g_try_new0(uint64_t, MAX(*n, 1));
    if (!l1) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < sn->l1_size; i++) {
        l1[i] = from[i] & ~QCOW2_COPIED;
    }
    return 0;
}

/* Drops what the former active table held. */
static int apply_drop_old(Co *co, Node *node, const uint64_t *l1, uint32_t n,
                          int64_t off)
{
    int r = qcow2_snapshot_add_refs(co, node, l1, n, -1);

    if (r >= 0 && n) {
        qcow2_free_clusters(co, node, off, (int64_t)n * 8,
                            QCOW2_DISCARD_SNAPSHOT);
    }
    if (r >= 0) {
        r = qcow2_snapshot_update_copied(co, node, false);
    }
    return r < 0 ? r : snapshot_sync(co, node);
}

static int snapshot_apply_locked(Co *co, Node *node, const Qcow2Snapshot *sn,
                                 const uint64_t *from)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree uint64_t *l1 = NULL;
    g_autofree uint64_t *old = NULL;
    int64_t off, old_off = s->hdr.l1_offset;
    uint32_t n = 0, old_n = s->hdr.l1_size;
    int r;

    r = apply_make_l1(s, sn, from, &l1, &n);
    if (r < 0) {
        return r;
    }
    old = g_try_new(uint64_t, MAX(old_n, 1));
    r = old ? snapshot_begin(co, node) : -ENOMEM;
    if (r >= 0) {
        s->untidy = true;
        r = qcow2_snapshot_add_refs(co, node, l1, n, 1);
    }
    if (r < 0) {
        return r;
    }
    off = snapshot_copy_l1(co, node, l1, n);
    r = off < 0 ? off : snapshot_sync(co, node);
    if (r < 0) {
        s->untidy = qcow2_snapshot_add_refs(co, node, l1, n, -1) < 0;
        return r;
    }
    co_mutex_lock(co, &s->header_lock);
    r = apply_announce(co, node, sn->disk_size, n, off);
    if (r >= 0) {
        memcpy(old, s->l1, (size_t)old_n * sizeof(*old));
        apply_switch(co, node, g_steal_pointer(&l1), n, off, sn->disk_size);
    }
    co_mutex_unlock(&s->header_lock);
    return r < 0 ? r : apply_drop_old(co, node, old, old_n, old_off);
}

/* The guest sees other data now: whatever was recorded until now, no backup
 * may rest on less than everything. */
static void apply_dirty_bitmaps(Node *node)
{
    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        if (bitmap_is_recording(bm) && !bm->readonly) {
            bitmap_set_range(bm, 0, node->length);
        }
    }
}

static int snapshot_apply_index(Co *co, Node *node, unsigned i,
                                const uint64_t *l1)
{
    Qcow2State *s = qcow2_state(node);
    int64_t old_len = node->length;
    int r;

    co_mutex_lock(co, &s->meta);
    r = snapshot_apply_locked(co, node, &s->snapshots[i], l1);
    r = snapshot_end(co, node, r);
    co_mutex_unlock(&s->meta);
    if (s->hdr.size != (uint64_t)old_len) {
        node->length = s->hdr.size;
        io_length_changed(co, node, old_len);
    }
    apply_dirty_bitmaps(node);
    return r;
}

static bool snapshot_apply(Co *co, Node *node, const char *id_or_name,
                           Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int i = snapshot_find(s, id_or_name, NULL);
    g_autofree uint64_t *l1 = NULL;
    int r;

    if (i < 0) {
        i = snapshot_find(s, NULL, id_or_name);
    }
    if (i < 0) {
        error_setg_errno(errp, s->external_data ? ENOTSUP : ENOENT,
                         "Failed to load snapshot");
        return false;
    }
    if (s->snapshots[i].disk_size != (uint64_t)node->length &&
        !qcow2_bitmaps_can_resize(co, node, s->snapshots[i].disk_size,
                                  errp)) {
        return false;
    }
    if (snapshot_read_l1(co, node, &s->snapshots[i], &l1, errp) < 0) {
        return false;
    }
    r = snapshot_apply_index(co, node, i, l1);
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to load snapshot");
    }
    return r >= 0;
}

/* ---- look at one ---- */

static bool snapshot_load(Co *co, Node *node, const char *id,
                          const char *name, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int i = snapshot_find(s, id, name);
    int64_t old_len = node->length;
    const Qcow2Snapshot *sn;
    uint64_t *l1 = NULL;

    g_assert(node->read_only);
    if (i < 0) {
        error_setg(errp, "Can't find snapshot");
        return false;
    }
    sn = &s->snapshots[i];
    if (sn->disk_size > INT64_MAX ||
        qcow2_size_to_l1(s, sn->disk_size) > sn->l1_size) {
        error_setg(errp, "Snapshot L1 table is too small");
        return false;
    }
    if (snapshot_read_l1(co, node, sn, &l1, errp) < 0) {
        return false;
    }
    co_mutex_lock(co, &s->meta);
    apply_switch(co, node, l1, sn->l1_size, sn->l1_offset, sn->disk_size);
    co_mutex_unlock(&s->meta);
    node->length = s->hdr.size;
    if (node->length != old_len) {
        io_length_changed(co, node, old_len);
    }
    return true;
}

const SnapshotOps qcow2_snapshot_ops = {
    .create = snapshot_create,
    .apply = snapshot_apply,
    .remove = snapshot_remove,
    .list = snapshot_list,
    .load = snapshot_load,
};
