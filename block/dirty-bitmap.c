/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The dirty bitmaps of a node: their table, their states, and how writes get
 * into them.
 *
 *     write --> pending (shift 16) --fold--> bitmap a, bitmap b
 *          \--> pending (shift 12) --fold--> bitmap c
 *
 * A write sets bits once a granularity, in the pending set of all who record
 * with it. The set is merged into each of them, and emptied, before one of them
 * is looked at or changes its state. So the invariant is: what a recorder holds
 * is bits | pending; what anybody else holds is bits.
 *
 * Recorder: RECORDING, not read-only, and without a successor that records in
 * its place. All changes of these go between bitmap_recorder_leave() and
 * _enter().
 */

#include "block/bitmap-private.h"
#include "block/graph.h"

/* ---- pending sets ---- */

bool bitmap_is_recorder(const DirtyBitmap *bm)
{
    return bm->state == BITMAP_RECORDING && !bm->readonly && !bm->successor;
}

static BitmapPending *bitmap_pending_find(const BitmapTable *t, int shift)
{
    for (unsigned i = 0; i < t->pendings->len; i++) {
        BitmapPending *p = t->pendings->pdata[i];

        if (p->shift == shift) {
            return p;
        }
    }
    return NULL;
}

static void bitmap_pending_fold(BitmapTable *t, BitmapPending *p)
{
    if (bitset_empty(p->bits)) {
        return;
    }
    for (DirtyBitmap *bm = t->first; bm; bm = bm->next) {
        if (bm->granularity_shift == p->shift && bitmap_is_recorder(bm)) {
            bitset_or(bm->bits, p->bits);
            bm->changed = true;
        }
    }
    bitset_clear_all(p->bits);
}

void bitmap_fold(DirtyBitmap *bm)
{
    BitmapTable *t = bm->node->bitmaps;
    BitmapPending *p;

    loop_assert(bm->node->loop);
    if (bitmap_is_recorder(bm)) {
        p = bitmap_pending_find(t, bm->granularity_shift);
        bitmap_pending_fold(t, p);
    }
}

void bitmap_recorder_leave(DirtyBitmap *bm)
{
    BitmapTable *t = bm->node->bitmaps;
    BitmapPending *p;

    if (!bitmap_is_recorder(bm)) {
        return;
    }
    bitmap_fold(bm);
    p = bitmap_pending_find(t, bm->granularity_shift);
    if (--p->recorders == 0) {
        g_ptr_array_remove(t->pendings, p);
        bitset_free(p->bits);
        g_free(p);
    }
}

void bitmap_recorder_enter(DirtyBitmap *bm)
{
    BitmapTable *t = bm->node->bitmaps;
    BitmapPending *p;

    if (!bitmap_is_recorder(bm)) {
        return;
    }
    p = bitmap_pending_find(t, bm->granularity_shift);
    if (!p) {
        p = g_new0(BitmapPending, 1);
        p->shift = bm->granularity_shift;
        p->bits = bitset_new(bitset_size(bm->bits));
        g_ptr_array_add(t->pendings, p);
    } else if (!bitset_empty(p->bits)) {
        /* @bm must not get these: the others take them now, without it. */
        BitmapState state = bm->state;

        bm->state = BITMAP_DISABLED;
        bitmap_pending_fold(t, p);
        bm->state = state;
    }
    p->recorders++;
}

/* A write beyond the end has failed: what it has left there is dirty as soon as the
 * disk reaches so far. */
static void bitmap_note_beyond(BitmapTable *t, int64_t end)
{
    for (DirtyBitmap *bm = t->first; bm; bm = bm->next) {
        if (bm->state != BITMAP_INCONSISTENT) {
            bitmap_raise_cut(bm, end);
        }
    }
}

void bitmap_note_write(Node *node, int64_t off, int64_t len)
{
    BitmapTable *t = node->bitmaps;

    if (G_UNLIKELY(off + len > node->length)) {
        bitmap_note_beyond(t, off + len);
        len = node->length - off;
    }
    if (len <= 0) {
        return;
    }
    for (unsigned i = 0; i < t->pendings->len; i++) {
        BitmapPending *p = t->pendings->pdata[i];
        int64_t first = off >> p->shift;
        int64_t last = (off + len - 1) >> p->shift;

        bitset_set(p->bits, first, last - first + 1);
    }
}

/* The disk has grown: what is back of what was cut off is dirty. */
static void bitmap_grow_cut(DirtyBitmap *bm, int64_t old_len, int64_t new_len)
{
    int64_t end = MIN(new_len, bm->cut_end);

    if (end > old_len && bm->state != BITMAP_INCONSISTENT) {
        bitmap_set_range(bm, old_len, end - old_len);
    }
    if (new_len >= bm->cut_end) {
        bm->cut_end = 0;
    }
}

void bitmap_note_resize(Node *node, int64_t old_len, int64_t new_len)
{
    BitmapTable *t = node->bitmaps;

    for (unsigned i = 0; i < t->pendings->len; i++) {
        BitmapPending *p = t->pendings->pdata[i];

        bitset_resize(p->bits, bitmap_nbits(new_len, p->shift));
    }
    for (DirtyBitmap *bm = t->first; bm; bm = bm->next) {
        bitset_resize(bm->bits,
                      bitmap_nbits(new_len, bm->granularity_shift));
        if (new_len < old_len) {
            bm->cut_end = MAX(bm->cut_end, old_len);
        } else {
            bitmap_grow_cut(bm, old_len, new_len);
        }
    }
}

int64_t bitmap_cut_end(Node *node)
{
    int64_t end = 0;

    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        if (bm->persistent && bm->state != BITMAP_INCONSISTENT) {
            end = MAX(end, bm->cut_end);
        }
    }
    return end;
}

void bitmap_set_cut(DirtyBitmap *bm, int64_t len, int64_t end)
{
    bm->cut_end = end;
    bitmap_grow_cut(bm, len, bm->node->length);
}

void bitmap_raise_cut(DirtyBitmap *bm, int64_t end)
{
    if (end > bm->node->length && end > bm->cut_end) {
        bm->cut_end = end;
        bm->changed = true;
    }
}

/* ---- table ---- */

static BitmapTable *bitmap_table(Node *node)
{
    if (!node->bitmaps) {
        node->bitmaps = g_new0(BitmapTable, 1);
        node->bitmaps->names = g_hash_table_new(g_str_hash, g_str_equal);
        node->bitmaps->pendings = g_ptr_array_new();
    }
    return node->bitmaps;
}

static void bitmap_table_add(BitmapTable *t, DirtyBitmap *bm)
{
    bm->next = t->first;
    if (bm->next) {
        bm->next->prev = bm;
    }
    t->first = bm;
    if (bm->name) {
        g_hash_table_insert(t->names, bm->name, bm);
    }
}

static void bitmap_table_remove(BitmapTable *t, DirtyBitmap *bm)
{
    *(bm->prev ? &bm->prev->next : &t->first) = bm->next;
    if (bm->next) {
        bm->next->prev = bm->prev;
    }
    if (bm->name) {
        g_hash_table_remove(t->names, bm->name);
    }
}

DirtyBitmap *bitmap_create(Node *node, int64_t granularity, const char *name,
                           Error **errp)
{
    DirtyBitmap *bm;

    loop_assert(node->loop);
    if (granularity < 512 || !is_power_of_2(granularity)) {
        error_setg(errp, "Granularity must be power of 2 and at least 512");
        return NULL;
    }
    if (name && bitmap_find(node, name)) {
        error_setg(errp, "Bitmap already exists: %s", name);
        return NULL;
    }
    if (name && strlen(name) > BITMAP_MAX_NAME) {
        error_setg(errp, "Bitmap name too long: %s", name);
        return NULL;
    }
    bm = g_new0(DirtyBitmap, 1);
    bm->node = node;
    bm->name = g_strdup(name);
    bm->granularity_shift = __builtin_ctzll(granularity);
    bm->state = BITMAP_RECORDING;
    bm->loaded = true;
    bm->bits = bitset_new(bitmap_nbits(node->length, bm->granularity_shift));
    bitmap_table_add(bitmap_table(node), bm);
    bitmap_recorder_enter(bm);
    return bm;
}

static void bitmap_table_free_if_empty(Node *node)
{
    BitmapTable *t = node->bitmaps;

    if (t && !t->first) {
        g_assert(t->pendings->len == 0);
        g_hash_table_unref(t->names);
        g_ptr_array_unref(t->pendings);
        g_free(t);
        node->bitmaps = NULL;
    }
}

static void bitmap_free(DirtyBitmap *bm)
{
    Node *node = bm->node;

    g_assert(!bm->loading);
    bitmap_recorder_leave(bm);
    bitmap_set_persistent(bm, false);
    bitmap_table_remove(node->bitmaps, bm);
    bitset_free(bm->bits);
    g_free(bm->name);
    g_free(bm);
    bitmap_table_free_if_empty(node);
}

void bitmap_release(DirtyBitmap *bm)
{
    loop_assert(bm->node->loop);
    g_assert(!bm->busy && !bm->successor);
    bitmap_free(bm);
}

void bitmap_release_all(Node *node)
{
    while (node->bitmaps) {
        bitmap_free(node->bitmaps->first);
    }
}

DirtyBitmap *bitmap_find(Node *node, const char *name)
{
    return node->bitmaps ? g_hash_table_lookup(node->bitmaps->names, name)
                         : NULL;
}

DirtyBitmap *bitmap_first(Node *node)
{
    return node->bitmaps ? node->bitmaps->first : NULL;
}

DirtyBitmap *bitmap_next(const DirtyBitmap *bm)
{
    return bm->next;
}

unsigned bitmap_count_persistent(const Node *node, int64_t *name_bytes)
{
    const BitmapTable *t = node->bitmaps;

    *name_bytes = t ? t->persistent_name_bytes : 0;
    return t ? t->n_persistent : 0;
}

int64_t bitmap_default_granularity(Co *co, Node *node)
{
    BlockDriverInfo info = { 0 };

    while (!node->drv->info && node->drv->kind == DRIVER_FILTER) {
        node = node->file->child;
    }
    if (!node->drv->info || node->drv->info(co, node, &info) < 0 ||
        info.cluster_size <= 0) {
        return 64 * KiB;
    }
    return CLAMP(info.cluster_size, 4 * KiB, 64 * KiB);
}

DirtyBitmap *bitmap_lookup(const char *node_name, const char *name,
                           Node **ret_node, Error **errp)
{
    Node *node = node_lookup(node_name, NULL);
    DirtyBitmap *bm;

    control_assert();
    if (!node) {
        error_setg(errp, "Node '%s' not found", node_name);
        return NULL;
    }
    bm = bitmap_find(node, name);
    if (!bm) {
        error_setg(errp, "Dirty bitmap '%s' not found", name);
        return NULL;
    }
    if (ret_node) {
        *ret_node = node;
    }
    return bm;
}

/* ---- states ---- */

bool bitmap_check(const DirtyBitmap *bm, int flags, Error **errp)
{
    if ((flags & BITMAP_CHECK_BUSY) && bm->busy) {
        error_setg(errp, "Bitmap '%s' is currently in use by another operation"
                   " and cannot be used", bm->name);
        return false;
    }
    if ((flags & BITMAP_CHECK_RO) && bm->readonly) {
        error_setg(errp, "Bitmap '%s' is readonly and cannot be modified",
                   bm->name);
        return false;
    }
    if ((flags & BITMAP_CHECK_INCONSISTENT) &&
        bm->state == BITMAP_INCONSISTENT) {
        error_setg(errp, "Bitmap '%s' is inconsistent and cannot be used",
                   bm->name);
        error_append_hint(errp, "Try block-dirty-bitmap-remove to delete "
                          "this bitmap from disk\n");
        return false;
    }
    return true;
}

int64_t bitmap_granularity(const DirtyBitmap *bm)
{
    return (int64_t)1 << bm->granularity_shift;
}

bool bitmap_is_recording(const DirtyBitmap *bm)
{
    return bm->state == BITMAP_RECORDING;
}

bool bitmap_is_changed(DirtyBitmap *bm)
{
    bitmap_fold(bm);
    return bm->changed || (bm->successor && bitmap_is_changed(bm->successor));
}

void bitmap_set_busy(DirtyBitmap *bm, bool busy)
{
    loop_assert(bm->node->loop);
    g_assert(bm->busy != busy);
    bm->busy = busy;
}

void bitmap_set_persistent(DirtyBitmap *bm, bool persistent)
{
    BitmapTable *t = bm->node->bitmaps;
    int change = persistent - bm->persistent;

    loop_assert(bm->node->loop);
    if (change) {
        t->n_persistent += change;
        t->persistent_name_bytes += change * (int64_t)strlen(bm->name);
    }
    bm->persistent = persistent;
    bm->changed |= persistent;
}

void bitmap_set_readonly(DirtyBitmap *bm, bool readonly)
{
    bitmap_recorder_leave(bm);
    bm->readonly = readonly;
    bitmap_recorder_enter(bm);
}

static void bitmap_set_state(DirtyBitmap *bm, BitmapState state)
{
    loop_assert(bm->node->loop);
    if (bm->state == state) {
        return;
    }
    bitmap_recorder_leave(bm);
    bm->state = state;
    bm->changed = true;
    bitmap_recorder_enter(bm);
}

void bitmap_enable(DirtyBitmap *bm)
{
    g_assert(bm->state != BITMAP_INCONSISTENT);
    bitmap_set_state(bm, BITMAP_RECORDING);
}

void bitmap_disable(DirtyBitmap *bm)
{
    g_assert(bm->state != BITMAP_INCONSISTENT);
    bitmap_set_state(bm, BITMAP_DISABLED);
}

void bitmap_set_inconsistent(DirtyBitmap *bm)
{
    bitmap_set_state(bm, BITMAP_INCONSISTENT);
    bm->changed = false;
}
