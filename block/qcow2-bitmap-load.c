/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * From the bitmaps of an image to DirtyBitmaps.
 *
 * At open the directory and the tables are read and checked; the content of a
 * bitmap is read when somebody looks at it. An image that is going to be
 * written has its bitmaps marked in use, durably, before the first write.
 *
 *     in use from before         inconsistent: only good for being removed
 *     else, auto                 recording
 *     else                       disabled
 *
 * A directory that is damaged stops an image from being written, since bitmaps
 * could not be kept; read-only it is told and the rest is used.
 */
#include "block/qcow2-bitmap.h"

/* Contiguous clusters are read together up to this many bytes. */
#define LOAD_MAX_READ (256 * KiB)

/* ---- content ---- */

typedef struct LoadState {
    Node *node;
    const Qcow2StoredBitmap *b;
    Bitset *into;
    uint8_t *buf;               /* of max_chunks chunks */
    int64_t chunk;              /* bytes of bits that are handled at once */
    int64_t per_chunk;          /* table entries for that */
    int64_t max_chunks;
} LoadState;

/* What all entries of chunk @i are, INVALID if they are not alike. */
static Qcow2BitmapCluster load_chunk_kind(const LoadState *l, int64_t i)
{
    Qcow2State *s = qcow2_state(l->node);
    int64_t first = i * l->per_chunk, off;
    int64_t end = MIN(first + l->per_chunk, (int64_t)l->b->e->table_size);
    Qcow2BitmapCluster kind = QCOW2_BITMAP_INVALID;

    for (int64_t k = first; k < end; k++) {
        Qcow2BitmapCluster c = qcow2_bitmap_table_decode(l->b->table[k],
                                                         s->cluster_size,
                                                         &off);

        if (k > first && c != kind) {
            return QCOW2_BITMAP_INVALID;
        }
        kind = c;
    }
    return kind;
}

/* Fills the part of @buf that table entry @k stands for. */
static int load_cluster(Co *co, const LoadState *l, int64_t k, uint8_t *buf)
{
    Qcow2State *s = qcow2_state(l->node);
    int64_t off;

    switch (qcow2_bitmap_table_decode(l->b->table[k], s->cluster_size,
                                      &off)) {
    case QCOW2_BITMAP_ZEROES:
        memset(buf, 0, s->cluster_size);
        return 0;
    case QCOW2_BITMAP_ONES:
        memset(buf, 0xff, s->cluster_size);
        return 0;
    default:
        return io_pread(co, l->node->file, off, s->cluster_size, buf, 0);
    }
}

/* Chunks [i, i + n), which are in l->buf. */
static void load_put_chunks(const LoadState *l, int64_t i, int64_t n)
{
    int64_t page = i * (l->chunk / BITSET_PAGE_BYTES);

    for (int64_t at = 0; at < n * l->chunk; at += BITSET_PAGE_BYTES, page++) {
        if (page < bitset_npages(l->into)) {
            bitset_page_write(l->into, page, l->buf + at);
        }
    }
}

static int load_mixed_chunk(Co *co, const LoadState *l, int64_t i)
{
    Qcow2State *s = qcow2_state(l->node);
    int64_t first = i * l->per_chunk;

    memset(l->buf, 0, l->chunk);
    for (int64_t k = 0; k < l->per_chunk &&
         first + k < l->b->e->table_size; k++) {
        int r = load_cluster(co, l, first + k, l->buf + k * s->cluster_size);

        if (r < 0) {
            return r;
        }
    }
    load_put_chunks(l, i, 1);
    return 0;
}

/* Chunk @i is data (and a cluster): with those that follow it on the disk, too.
 * The number of chunks or -errno. */
static int64_t load_data_run(Co *co, const LoadState *l, int64_t i)
{
    Qcow2State *s = qcow2_state(l->node);
    int64_t start = 0, off = 0, n = 1;
    int r;

    qcow2_bitmap_table_decode(l->b->table[i], s->cluster_size, &start);
    while (n < l->max_chunks && i + n < l->b->e->table_size &&
           qcow2_bitmap_table_decode(l->b->table[i + n], s->cluster_size,
                                     &off) == QCOW2_BITMAP_DATA &&
           off == start + n * s->cluster_size) {
        n++;
    }
    r = io_pread(co, l->node->file, start, n * s->cluster_size, l->buf, 0);
    if (r < 0) {
        return r;
    }
    load_put_chunks(l, i, n);
    return n;
}

/* The number of chunks that were handled, or -errno. */
static int64_t load_chunk(Co *co, const LoadState *l, int64_t i)
{
    int64_t bits = l->chunk * 8, nbits = bitset_size(l->into);
    int r;

    switch (load_chunk_kind(l, i)) {
    case QCOW2_BITMAP_ZEROES:
        return 1;
    case QCOW2_BITMAP_ONES:
        bitset_set(l->into, i * bits, MIN(bits, nbits - i * bits));
        return 1;
    case QCOW2_BITMAP_DATA:
        if (l->per_chunk == 1) {
            return load_data_run(co, l, i);
        }
        /* fall through */
    default:
        r = load_mixed_chunk(co, l, i);
        return r < 0 ? r : 1;
    }
}

bool qcow2_bitmap_load_content(Co *co, DirtyBitmap *bm, Bitset *into,
                               void *opaque, Error **errp)
{
    Qcow2State *s = qcow2_state(bm->node);
    Qcow2StoredBitmap *b = qcow2_bitmap_stored(bm->node, bm->name);
    g_autofree uint8_t *buf = NULL;
    LoadState l = { bm->node, b, into };
    int64_t n = 0;

    g_assert(b && b->table);
    l.chunk = qcow2_bitmap_chunk_len(s);
    l.per_chunk = l.chunk / s->cluster_size;
    l.max_chunks = MAX(LOAD_MAX_READ / l.chunk, 1);
    buf = l.buf = g_try_malloc(l.chunk * l.max_chunks);
    for (int64_t i = 0; i * l.per_chunk < b->e->table_size; i += n) {
        n = buf ? load_chunk(co, &l, i) : -ENOMEM;
        if (n < 0) {
            error_setg_errno(errp, -n, "Could not read bitmap '%s' from "
                             "image", bm->name);
            return false;
        }
    }
    return true;
}

/* ---- tables ---- */

/* Reads and checks the table of @b; what is wrong with it in @errp. */
static bool load_table(Co *co, Node *node, Qcow2StoredBitmap *b, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    const Qcow2BitmapEntry *e = b->e;
    int64_t off;
    int r;

    r = qcow2_read_table(co, node, e->table_offset, e->table_size, &b->table);
    for (uint32_t i = 0; r >= 0 && i < e->table_size; i++) {
        if (qcow2_bitmap_table_decode(b->table[i], s->cluster_size, &off) ==
            QCOW2_BITMAP_INVALID) {
            r = -EINVAL;
        }
    }
    if (r < 0) {
        g_clear_pointer(&b->table, g_free);
        error_setg_errno(errp, -r, "Could not read bitmap_table table from "
                         "image for bitmap '%s'", e->name);
        return false;
    }
    return true;
}

static bool load_check(Co *co, Node *node, Qcow2StoredBitmap *b, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    const Qcow2BitmapEntry *e = b->e;

    if (e->problem) {
        error_setg(errp, "%s", e->problem);
        return false;
    }
    if (e->flags & QCOW2_BITMAP_IN_USE) {
        /* Not to be trusted; nor does it matter for what size it is. Its
         * clusters are found again when it is removed. */
        load_table(co, node, b, NULL);
        return true;
    }
    if (e->table_size != qcow2_bitmap_table_size(node->length,
                                                 e->granularity_shift,
                                                 s->cluster_size)) {
        error_setg_errno(errp, EINVAL, "Could not read bitmap '%s' from "
                         "image", e->name);
        return false;
    }
    return load_table(co, node, b, errp);
}

/* ---- bitmaps ---- */

static bool load_make_bitmap(Node *node, Qcow2StoredBitmap *b, bool readonly,
                             Error **errp)
{
    const Qcow2Exts *ext = &qcow2_state(node)->ext;
    const Qcow2BitmapEntry *e = b->e;
    DirtyBitmap *bm = bitmap_create(node, INT64_C(1) << e->granularity_shift,
                                    e->name, errp);

    if (!bm) {
        return false;
    }
    if (e->flags & QCOW2_BITMAP_IN_USE) {
        bitmap_set_inconsistent(bm);
    } else {
        bitmap_set_loader(bm, qcow2_bitmap_load_content, NULL);
        if (!(e->flags & QCOW2_BITMAP_AUTO)) {
            bitmap_disable(bm);
        }
    }
    bitmap_set_persistent(bm, true);
    bitmap_set_readonly(bm, readonly);
    bm->changed = false;
    bitmap_set_cut(bm, ext->bitmaps_cut_len, ext->bitmaps_cut_end);
    return true;
}

/* Takes over one entry of the directory. */
static bool load_one(Co *co, Node *node, Qcow2BitmapEntry *e, bool readonly,
                     Error **errp)
{
    Qcow2StoredBitmap *b = g_new0(Qcow2StoredBitmap, 1);

    b->e = e;
    b->disk_size = node->length;
    qcow2_bitmap_stored_add(node, b);
    return load_check(co, node, b, errp) &&
           load_make_bitmap(node, b, readonly, errp);
}

/* Something is broken: told and remembered if that is enough, else an error.
 * Consumes @err. */
static bool load_damaged(Node *node, bool lenient, Error *err, Error **errp)
{
    Qcow2Bitmaps *all = qcow2_bitmaps(node);

    if (!lenient) {
        error_propagate(errp, err);
        return false;
    }
    if (!all->damage) {
        all->damage = g_strdup(error_get_pretty(err));
    }
    warn_report_err(err);
    return true;
}

/* Of a directory that does not end as it should: what comes first in it. */
static void load_prefer_entry(const GPtrArray *entries, Error **err)
{
    for (guint i = 0; entries && i < entries->len; i++) {
        const Qcow2BitmapEntry *e = g_ptr_array_index(entries, i);

        if (e->problem) {
            error_clear(err);
            error_setg(err, "%s", e->problem);
            return;
        }
    }
}

/* All of the directory; with @lenient what is broken is left out. */
static bool load_all(Co *co, Node *node, bool readonly, bool lenient,
                     Error **errp)
{
    g_autoptr(GPtrArray) entries = NULL;
    g_autoptr(Error) err = NULL;

    if (qcow2_bitmap_dir_read(co, node, &entries, &err) < 0) {
        if (!lenient) {
            load_prefer_entry(entries, &err);
        }
        if (!load_damaged(node, lenient, g_steal_pointer(&err), errp)) {
            return false;
        }
    }
    for (guint i = 0; entries && i < entries->len; i++) {
        Qcow2BitmapEntry *e = g_steal_pointer(&entries->pdata[i]);

        if (!load_one(co, node, e, readonly, &err) &&
            !load_damaged(node, lenient, g_steal_pointer(&err), errp)) {
            return false;
        }
    }
    return true;
}

/* Marks all that is stored in use, durably. If that fails, the disk may have
 * either, and nothing is written that the bitmaps would miss. */
static bool load_mark_in_use(Co *co, Node *node, Error **errp)
{
    Qcow2Bitmaps *all = qcow2_bitmaps(node);
    g_autoptr(GPtrArray) marked = g_ptr_array_new();
    int r = 0;

    co_mutex_lock(co, &all->lock);
    for (guint i = 0; i < all->stored->len; i++) {
        Qcow2BitmapEntry *e =
            ((Qcow2StoredBitmap *)g_ptr_array_index(all->stored, i))->e;

        if (!(e->flags & QCOW2_BITMAP_IN_USE)) {
            e->flags |= QCOW2_BITMAP_IN_USE;
            g_ptr_array_add(marked, e);
        }
    }
    if (marked->len || all->stale) {
        r = qcow2_bitmap_dir_write_flags(co, node);
    }
    for (guint i = 0; r < 0 && i < marked->len; i++) {
        ((Qcow2BitmapEntry *)g_ptr_array_index(marked, i))->flags &=
            ~QCOW2_BITMAP_IN_USE;
    }
    co_mutex_unlock(&all->lock);
    if (r < 0) {
        error_setg_errno(errp, -r, "Could not update bitmap flags in the "
                         "image");
    }
    return r >= 0;
}

/* The image had been read-only until now. */
static void load_make_writable(Node *node)
{
    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        if (bm->persistent && bm->readonly) {
            bitmap_set_readonly(bm, false);
        }
    }
}

static void load_warn_outdated(void)
{
    warn_report("a program lacking bitmap support modified this file, so all "
                "bitmaps are now considered inconsistent\n"
                "Some clusters may be leaked, run 'qemu-img check -r' on the "
                "image file to fix.");
}

/* The image's go again, those that are the node's alone stay. */
static void load_undo(Node *node)
{
    DirtyBitmap *next;

    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = next) {
        next = bitmap_next(bm);
        if (bm->persistent && !bm->busy) {
            bitmap_release(bm);
        }
    }
}

bool qcow2_load_bitmaps(Co *co, Node *node, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    bool writable = !node->read_only && !node->inactive;

    if (!s->bitmaps_loaded) {
        if (!s->ext.have_bitmaps) {
            s->bitmaps_loaded = true;
            return true;
        }
        if (!(s->hdr.autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
            load_warn_outdated();
            s->bitmaps_loaded = true;
            return true;
        }
        if (!load_all(co, node, !writable, !writable, errp)) {
            load_undo(node);
            qcow2_bitmaps_close(node);
            return false;
        }
        s->bitmaps_loaded = true;
    }
    if (!writable) {
        return true;
    }
    s->bitmaps_unmarked = !qcow2_bitmaps_complete(node, errp) ||
                          !load_mark_in_use(co, node, errp);
    if (!s->bitmaps_unmarked) {
        load_make_writable(node);
    }
    return !s->bitmaps_unmarked;
}
