/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Bitmaps in qcow2 images: what is stored, and the directory on disk.
 *
 * On disk a bitmap is in use from the moment its image is opened to be written
 * until it is stored; after a crash that flag says that its content can't be
 * trusted. Hence, while it is in use, its table and data may be overwritten in
 * place. The directory itself changes in two ways: flags in place (a torn
 * write changes nothing but flags), everything else in new clusters, in the
 * order
 *
 *     data and tables, refcounts | flush | directory | flush | header | flush
 *       | what is no longer referred to is freed
 *
 * What this does not do: contents (qcow2-bitmap-load.c, -store.c).
 */
#include "block/qcow2-bitmap.h"

/* ---- what is stored ---- */

void qcow2_bitmap_stored_free(Qcow2StoredBitmap *b)
{
    if (b) {
        qcow2_bitmap_entry_free(b->e);
        g_free(b->table);
        g_free(b);
    }
}

Qcow2Bitmaps *qcow2_bitmaps(Node *node)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Bitmaps *all = s->bitmap_state;

    if (!all) {
        all = s->bitmap_state = g_new0(Qcow2Bitmaps, 1);
        all->stored = g_ptr_array_new_with_free_func(
            (GDestroyNotify)qcow2_bitmap_stored_free);
        all->names = g_hash_table_new(g_str_hash, g_str_equal);
    }
    return all;
}

Qcow2StoredBitmap *qcow2_bitmap_stored(Node *node, const char *name)
{
    Qcow2Bitmaps *all = qcow2_state(node)->bitmap_state;

    return all ? g_hash_table_lookup(all->names, name) : NULL;
}

void qcow2_bitmap_stored_add(Node *node, Qcow2StoredBitmap *b)
{
    Qcow2Bitmaps *all = qcow2_bitmaps(node);

    g_ptr_array_add(all->stored, b);
    if (!g_hash_table_contains(all->names, b->e->name)) {
        g_hash_table_insert(all->names, b->e->name, b);
    }
}

void qcow2_bitmap_stored_swap(Node *node, Qcow2StoredBitmap *old,
                              Qcow2StoredBitmap *b)
{
    Qcow2StoredBitmap was = *old;

    *old = *b;
    *b = was;
    g_hash_table_replace(qcow2_bitmaps(node)->names, old->e->name, old);
}

/* After one has gone: another may have had the same name. */
static void stored_rename_all(Qcow2Bitmaps *all)
{
    g_hash_table_remove_all(all->names);
    for (guint i = all->stored->len; i > 0; i--) {
        Qcow2StoredBitmap *b = g_ptr_array_index(all->stored, i - 1);

        g_hash_table_replace(all->names, b->e->name, b);
    }
}

void qcow2_bitmap_stored_remove(Node *node, const char *name)
{
    Qcow2Bitmaps *all = qcow2_bitmaps(node);
    Qcow2StoredBitmap *b = qcow2_bitmap_stored(node, name);
    guint i;

    g_ptr_array_find(all->stored, b, &i);
    g_ptr_array_steal_index(all->stored, i);
    stored_rename_all(all);
    qcow2_bitmap_stored_free(b);
}

void qcow2_bitmaps_close(Node *node)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Bitmaps *all = s->bitmap_state;

    if (all) {
        g_hash_table_unref(all->names);
        g_ptr_array_unref(all->stored);
        g_free(all->damage);
        g_free(all);
        s->bitmap_state = NULL;
    }
    s->bitmaps_loaded = false;
}

bool qcow2_bitmaps_complete(Node *node, Error **errp)
{
    const Qcow2Bitmaps *all = qcow2_state(node)->bitmap_state;

    if (all && all->damage) {
        error_setg(errp, "%s", all->damage);
        return false;
    }
    return true;
}

/* ---- the directory on disk ---- */

/* The directory as it is; *@ret (caller frees) is NULL if there is none. As
 * qcow2_bitmap_dir_read(). */
static int bitmap_dir_read_bytes(Co *co, Node *node, uint8_t **ret,
                                 Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree uint8_t *buf = NULL;
    int r;

    *ret = NULL;
    if (!s->ext.have_bitmaps) {
        return 0;
    }
    if (s->ext.bitmaps_error) {
        error_propagate(errp, error_copy(s->ext.bitmaps_error));
        return -EINVAL;
    }
    buf = g_try_malloc(s->ext.bitmap_dir_size);
    r = buf ? io_pread(co, node->file, s->ext.bitmap_dir_offset,
                       s->ext.bitmap_dir_size, buf, 0) : -ENOMEM;
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to read bitmap directory");
        return r;
    }
    *ret = g_steal_pointer(&buf);
    return 0;
}

int qcow2_bitmap_dir_read(Co *co, Node *node, GPtrArray **ret, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree uint8_t *buf = NULL;
    int r;

    *ret = NULL;
    r = bitmap_dir_read_bytes(co, node, &buf, errp);
    if (r < 0 || !buf) {
        return r;
    }
    return qcow2_bitmap_dir_decode(buf, s->ext.bitmap_dir_size,
                                   s->ext.nb_bitmaps, s->cluster_size, ret,
                                   errp) ? 0 : -EINVAL;
}

/* The directory of what is stored; NULL if it would exceed the limits. */
static uint8_t *bitmap_dir_build(Node *node, size_t *len)
{
    Qcow2Bitmaps *all = qcow2_bitmaps(node);
    g_autoptr(GPtrArray) entries = g_ptr_array_new();

    for (guint i = 0; i < all->stored->len; i++) {
        Qcow2StoredBitmap *b = g_ptr_array_index(all->stored, i);

        g_ptr_array_add(entries, b->e);
    }
    return qcow2_bitmap_dir_encode(entries, len);
}

int qcow2_bitmap_dir_write_flags(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Bitmaps *all = qcow2_bitmaps(node);
    g_autofree uint8_t *buf = NULL;
    size_t len;
    int r;

    buf = bitmap_dir_build(node, &len);
    if (!buf || len != s->ext.bitmap_dir_size || all->unsure) {
        /* Entries were not written as we write them (padding, extra data). */
        return qcow2_bitmap_dir_replace(co, node);
    }
    r = qcow2_overlap_check(co, node, QCOW2_OL_BITMAP_DIR,
                            s->ext.bitmap_dir_offset, len, false);
    if (r >= 0) {
        r = io_pwrite_sync(co, node->file, s->ext.bitmap_dir_offset, len, buf,
                           0);
    }
    all->stale = r < 0;
    return r;
}

static void bitmap_free(Co *co, Node *node, int64_t off, int64_t len)
{
    Qcow2State *s = qcow2_state(node);

    co_mutex_lock(co, &s->meta);
    qcow2_free_clusters(co, node, off, len, QCOW2_DISCARD_OTHER);
    co_mutex_unlock(&s->meta);
}

/* The header speaks of this directory from now on; undone if it fails. */
static int bitmap_dir_announce(Co *co, Node *node, int64_t off, size_t len,
                               uint32_t nb)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Exts old = s->ext;
    uint64_t old_autoclear = s->hdr.autoclear;
    int r;

    s->ext.have_bitmaps = len > 0;
    s->ext.nb_bitmaps = nb;
    s->ext.bitmap_dir_offset = off;
    s->ext.bitmap_dir_size = len;
    if (len > 0) {
        s->hdr.autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
    } else {
        s->hdr.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
    }
    r = qcow2_write_header(co, node);
    if (r >= 0) {
        r = io_flush(co, node->file->child);
    }
    qcow2_bitmaps(node)->unsure = r < 0;
    if (r < 0) {
        /* The disk may have either; nothing of the new one is given back. */
        s->ext.have_bitmaps = old.have_bitmaps;
        s->ext.nb_bitmaps = old.nb_bitmaps;
        s->ext.bitmap_dir_offset = old.bitmap_dir_offset;
        s->ext.bitmap_dir_size = old.bitmap_dir_size;
        s->hdr.autoclear = old_autoclear;
    }
    return r;
}

/* The offset of a new directory, 0 of an empty one, or -errno. */
static int64_t bitmap_dir_write_new(Co *co, Node *node, const uint8_t *buf,
                                    size_t len)
{
    Qcow2State *s = qcow2_state(node);
    int64_t off = 0;

    if (len > 0) {
        co_mutex_lock(co, &s->meta);
        off = qcow2_write_new(co, node, buf, len);
        co_mutex_unlock(&s->meta);
    }
    return off;
}

int qcow2_bitmap_dir_replace(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);
    bool had = s->ext.have_bitmaps && !s->ext.bitmaps_error &&
               (s->hdr.autoclear & QCOW2_AUTOCLEAR_BITMAPS);
    int64_t old_off = s->ext.bitmap_dir_offset, off;
    int64_t old_len = s->ext.bitmap_dir_size;
    g_autofree uint8_t *buf = NULL;
    size_t len;
    int r;

    qcow2_bitmaps(node)->stale = true;
    buf = bitmap_dir_build(node, &len);
    if (!buf) {
        return -EFBIG;
    }
    off = bitmap_dir_write_new(co, node, buf, len);
    if (off < 0) {
        return off;
    }
    r = bitmap_dir_announce(co, node, off, len,
                            qcow2_bitmaps(node)->stored->len);
    if (r < 0) {
        return r;
    }
    qcow2_bitmaps(node)->stale = false;
    error_clear(&s->ext.bitmaps_error);
    if (had) {
        bitmap_free(co, node, old_off, old_len);
    }
    return 0;
}

void qcow2_bitmap_free_clusters(Co *co, Node *node, uint64_t off,
                                const uint64_t *table, uint32_t table_size)
{
    Qcow2State *s = qcow2_state(node);

    for (uint32_t i = 0; table && i < table_size; i++) {
        int64_t data;

        if (qcow2_bitmap_table_decode(table[i], s->cluster_size, &data) ==
            QCOW2_BITMAP_DATA) {
            bitmap_free(co, node, data, s->cluster_size);
        }
    }
    bitmap_free(co, node, off, (int64_t)table_size * 8);
}

/* ---- limits ---- */

/* Whether the directory has room for one more name. All that is stored in an
 * image that can be written has its DirtyBitmap. */
static bool bitmap_dir_has_room(Node *node, const char *name)
{
    int64_t len, n = bitmap_count_persistent(node, &len) + 1;

    len += strlen(name);
    if (len + n * (int64_t)qcow2_bitmap_entry_len(7) <=
        QCOW2_MAX_BITMAP_DIR_BYTES) {
        return true;            /* whatever their padding is */
    }
    len = qcow2_bitmap_entry_len(strlen(name));
    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        if (bm->persistent) {
            len += qcow2_bitmap_entry_len(strlen(bm->name));
        }
    }
    return len <= QCOW2_MAX_BITMAP_DIR_BYTES;
}

static bool bitmap_check_constraints(Node *node, int64_t length,
                                     const char *name, int64_t granularity,
                                     Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int shift = __builtin_ctzll(granularity);
    int64_t table = qcow2_bitmap_table_size(length, shift, s->cluster_size);

    if (shift > QCOW2_BITMAP_MAX_SHIFT) {
        error_setg(errp, "Granularity exceeds maximum (%" PRIu64 " bytes)",
                   UINT64_C(1) << QCOW2_BITMAP_MAX_SHIFT);
        return false;
    }
    if (shift < QCOW2_BITMAP_MIN_SHIFT) {
        error_setg(errp, "Granularity is under minimum (%" PRIu64 " bytes)",
                   UINT64_C(1) << QCOW2_BITMAP_MIN_SHIFT);
        return false;
    }
    if (strlen(name) > QCOW2_BITMAP_MAX_NAME) {
        error_setg(errp, "Name length exceeds maximum (%d characters)",
                   QCOW2_BITMAP_MAX_NAME);
        return false;
    }
    if (table * s->cluster_size > QCOW2_BITMAP_MAX_BYTES) {
        error_setg(errp, "Too much space will be occupied by the bitmap. "
                   "Use larger granularity");
        return false;
    }
    return true;
}

static bool bitmap_check_room(Node *node, const char *name, Error **errp)
{
    const DirtyBitmap *bm = bitmap_find(node, name);
    int64_t len;

    if (bm && bm->persistent) {
        return true;            /* it is going to be replaced */
    }
    if (bitmap_count_persistent(node, &len) >= QCOW2_MAX_BITMAPS) {
        error_setg(errp, "Maximum number of persistent bitmaps is already "
                   "reached");
        return false;
    }
    if (!bitmap_dir_has_room(node, name)) {
        error_setg(errp, "Not enough space in the bitmap directory");
        return false;
    }
    /* What is stored is its own, if it was persistent until this transaction. */
    if (!bm && qcow2_bitmap_stored(node, name)) {
        error_setg(errp, "Bitmap with the same name is already stored");
        return false;
    }
    return true;
}

static bool bitmap_supported(Node *node)
{
    return qcow2_state(node)->hdr.version >= 3;
}

static bool bitmap_can_store(Co *co, Node *node, const char *name,
                             int64_t granularity, Error **errp)
{
    ERRP_GUARD();
    bool ok;

    if (!bitmap_supported(node)) {
        /* Without autoclear bits nobody would notice that a program which
         * knows no bitmaps has written. */
        error_setg(errp, "Cannot store dirty bitmaps in qcow2 v2 files");
        ok = false;
    } else {
        ok = bitmap_check_constraints(node, node->length, name, granularity,
                                      errp) &&
             bitmap_check_room(node, name, errp);
    }
    if (!ok) {
        error_prepend(errp, "Can't make bitmap '%s' persistent in '%s': ",
                      name, node->name);
    }
    return ok;
}

static int64_t bitmap_measure(Node *node)
{
    Qcow2State *s = qcow2_state(node);
    int64_t bytes = 0, dir_len = 0;

    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        int64_t table;

        if (!bm->persistent || bm->state == BITMAP_INCONSISTENT) {
            continue;
        }
        table = qcow2_bitmap_table_size(node->length, bm->granularity_shift,
                                        s->cluster_size);
        bytes += table * s->cluster_size + qcow2_cluster_up(s, table * 8);
        dir_len += qcow2_bitmap_entry_len(strlen(bm->name));
    }
    return bytes + qcow2_cluster_up(s, dir_len);
}

bool qcow2_bitmaps_can_resize(Co *co, Node *node, int64_t length,
                              Error **errp)
{
    ERRP_GUARD();

    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        if (!bm->persistent) {
            continue;
        }
        if (!bitmap_check(bm, BITMAP_CHECK_INCONSISTENT, errp)) {
            return false;
        }
        if (!bitmap_check_constraints(node, length, bm->name,
                                      bitmap_granularity(bm), errp)) {
            error_prepend(errp, "Bitmap '%s' doesn't satisfy the "
                          "constraints: ", bm->name);
            return false;
        }
    }
    return true;
}

/* ---- removing ---- */

/* Takes entry @i out of what is stored, and out of the directory. */
static int bitmap_remove_stored(Co *co, Node *node, guint i)
{
    Qcow2Bitmaps *all = qcow2_bitmaps(node);
    Qcow2StoredBitmap *b = g_ptr_array_steal_index(all->stored, i);
    int r = qcow2_bitmap_dir_replace(co, node);

    if (r < 0) {
        g_ptr_array_insert(all->stored, i, b);
        return r;
    }
    stored_rename_all(all);
    if (b->table) {
        qcow2_bitmap_free_clusters(co, node, b->e->table_offset, b->table,
                                   b->e->table_size);
    }
    qcow2_bitmap_stored_free(b);
    return 0;
}

static bool bitmap_remove(Co *co, Node *node, const char *name, Error **errp)
{
    Qcow2Bitmaps *all = qcow2_bitmaps(node);
    Qcow2StoredBitmap *b;
    int r = 0;
    guint i;

    co_mutex_lock(co, &all->lock);
    b = qcow2_bitmap_stored(node, name);
    if (b && g_ptr_array_find(all->stored, b, &i)) {
        r = bitmap_remove_stored(co, node, i);
    }
    co_mutex_unlock(&all->lock);
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to update bitmap extension");
    }
    return r >= 0;
}

/* Writes the directory that is left. What the damaged one and the bitmap refer
 * to can't be trusted to be theirs: nothing is freed. */
static bool bitmap_dir_rescue(Co *co, Node *node, const uint8_t *buf,
                              size_t len, uint32_t nb, Error **errp)
{
    int64_t off = bitmap_dir_write_new(co, node, buf, len);
    int r = off < 0 ? off : bitmap_dir_announce(co, node, off, len, nb);

    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to update bitmap extension");
        return false;
    }
    warn_report("Some clusters may be leaked, run 'qemu-img check -r leaks' "
                "on the image file to fix.");
    return true;
}

static bool bitmap_remove_damaged(Co *co, Node *node, const char *name,
                                  Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    size_t len = s->ext.bitmap_dir_size;
    g_autofree uint8_t *buf = NULL;
    int64_t left;

    if (s->hdr.incompatible & (QCOW2_INCOMPAT_CORRUPT |
                               QCOW2_INCOMPAT_DIRTY)) {
        error_setg(errp, "Image is corrupt; repair it with 'qemu-img check "
                   "-r all' first");
        return false;
    }
    if (bitmap_dir_read_bytes(co, node, &buf, errp) < 0) {
        return false;
    }
    if (!buf || !qcow2_bitmap_dir_cut(buf, &len, name, &left)) {
        error_setg(errp, "Dirty bitmap '%s' not found", name);
        return false;
    }
    return bitmap_dir_rescue(co, node, buf, len, left >= 0 ? left :
                             MAX((int64_t)s->ext.nb_bitmaps - 1, 1), errp);
}

static bool bitmap_store(Co *co, Node *node, bool keep_in_use, Error **errp)
{
    return qcow2_store_bitmaps(co, node, false, keep_in_use, errp);
}

const BitmapStoreOps qcow2_bitmap_store_ops = {
    .complete = qcow2_bitmaps_complete,
    .can_store = bitmap_can_store,
    .remove = bitmap_remove,
    .remove_damaged = bitmap_remove_damaged,
    .measure = bitmap_measure,
    .supported = bitmap_supported,
    .store = bitmap_store,
};
