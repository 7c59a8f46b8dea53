/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Checking the rest of the metadata: the snapshot table and what snapshots
 * refer to, the bitmap directory, its tables and data, and the refcount
 * structures.
 */
#include "block/qcow2-check.h"

/* ---- snapshots ---- */

/* More than there can be: cut in c->hdr, or the check ends. */
static int snapshots_check_number(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    uint32_t over;

    if (s->hdr.nb_snapshots > QCOW2_MAX_SNAPSHOTS) {
        over = s->hdr.nb_snapshots - QCOW2_MAX_SNAPSHOTS;
        if (!c->fix.fix_errors) {
            error_report("ERROR snapshot table too large\n"
                         "You can force-remove all %" PRIu32 " overhanging "
                         "snapshots with qemu-img check -r all", over);
            return -EFBIG;
        }
        fprintf(stderr, "Discarding %" PRIu32 " overhanging snapshots\n",
                over);
        s->hdr.nb_snapshots = QCOW2_MAX_SNAPSHOTS;
        c->res->corruptions_fixed += over;
        c->snapshots_changed = true;
    }
    if (!qcow2_header_table_fits(s->cluster_size, s->hdr.snapshots_offset,
                                 s->hdr.nb_snapshots, 40)) {
        error_report("ERROR snapshot table offset invalid");
        return -EINVAL;
    }
    return 0;
}

/* Of an entry that was read; it may be cut in memory. */
static int snapshots_check_extra(Qcow2Check *c, unsigned i, Qcow2Snapshot *sn)
{
    if (sn->extra_size > QCOW2_MAX_SNAPSHOT_EXTRA) {
        if (!c->fix.fix_errors) {
            error_report("ERROR failed to read the snapshot table: Too much "
                         "extra metadata in snapshot table entry %u\n"
                         "You can force-remove this extra metadata with "
                         "qemu-img check -r all", i);
            return -EFBIG;
        }
        fprintf(stderr, "Discarding too much extra metadata in snapshot table "
                "entry %u (%" PRIu32 " > %d)\n", i, sn->extra_size,
                QCOW2_MAX_SNAPSHOT_EXTRA);
        c->res->corruptions_fixed++;
        c->snapshots_changed = true;
        sn->extra_size = QCOW2_MAX_SNAPSHOT_EXTRA;
    }
    return 0;
}

/* The table is longer than it may be: no entries from @i on. */
static int snapshots_cut(Qcow2Check *c, unsigned i, uint32_t nb)
{
    if (!c->fix.fix_errors) {
        error_report("ERROR failed to read the snapshot table: Snapshot table "
                     "is too big\n"
                     "You can force-remove all %" PRIu32 " overhanging "
                     "snapshots with qemu-img check -r all", nb - i);
        return -EFBIG;
    }
    fprintf(stderr, "Discarding %" PRIu32 " overhanging snapshots (snapshot "
            "table is too big)\n", nb - i);
    c->res->corruptions_fixed += nb - i;
    c->snapshots_changed = true;
    return 0;
}

static int snapshots_read(Co *co, Qcow2Check *c, Qcow2SnapshotReader *reader,
                          uint32_t nb)
{
    Qcow2State *s = qcow2_state(c->node);
    int r;

    for (unsigned i = 0; i < nb; i++) {
        Qcow2Snapshot *sn = &s->snapshots[i];

        r = qcow2_snapshot_reader_next(co, reader, sn);
        if (r == -EFBIG && sn->extra_size > QCOW2_MAX_SNAPSHOT_EXTRA) {
            r = snapshots_check_extra(c, i, sn);
            return r < 0 ? r : snapshots_cut(c, i, nb);
        }
        if (r == -EFBIG) {
            return snapshots_cut(c, i, nb);
        }
        if (r < 0) {
            error_report("ERROR failed to read the snapshot table: %s",
                         g_strerror(-r));
            return r;
        }
        s->nb_snapshots++;
        r = snapshots_check_extra(c, i, sn);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static void snapshots_check_complete(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);

    for (unsigned i = 0; i < s->nb_snapshots && s->hdr.version >= 3; i++) {
        if (!qcow2_snapshot_is_complete(&s->snapshots[i])) {
            qcow2_check_tell(c, c->fix.fix_errors, "snapshot table entry %u "
                             "is incomplete", i);
            c->snapshots_changed |= c->fix.fix_errors;
        }
    }
}

int qcow2_check_snapshot_table(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    Qcow2SnapshotReader *reader;
    int r = snapshots_check_number(c);

    if (r < 0) {
        return r;
    }
    qcow2_snapshots_free(c->node);
    s->snapshots = g_new0(Qcow2Snapshot, s->hdr.nb_snapshots + 1);
    reader = qcow2_snapshot_reader_new(c->node);
    r = snapshots_read(co, c, reader, s->hdr.nb_snapshots);
    s->snapshots_bytes = qcow2_snapshot_reader_bytes(reader);
    qcow2_snapshot_reader_free(reader);
    if (r >= 0) {
        snapshots_check_complete(c);
    }
    return r;
}

int qcow2_check_snapshots(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);

    for (unsigned i = 0; i < s->nb_snapshots; i++) {
        const Qcow2Snapshot *sn = &s->snapshots[i];
        int r;

        if (qcow2_in_cluster(s, sn->l1_offset)) {
            qcow2_check_tell(c, false, "snapshot %s (%s) l1_offset=%#" PRIx64
                             ": L1 table is not cluster aligned; snapshot "
                             "table entry corrupted", sn->id, sn->name,
                             sn->l1_offset);
            c->lost = c->snapshot_lost = true;
            continue;
        }
        if (sn->l1_size > QCOW2_MAX_L1_BYTES / 8) {
            qcow2_check_tell(c, false, "snapshot %s (%s) l1_size=%#" PRIx32
                             ": L1 table is too large; snapshot table entry "
                             "corrupted", sn->id, sn->name, sn->l1_size);
            c->lost = c->snapshot_lost = true;
            continue;
        }
        if (sn->l1_offset > BLOCK_MAX_LENGTH - QCOW2_MAX_L1_BYTES) {
            qcow2_check_refer(c, sn->l1_offset, (int64_t)sn->l1_size * 8);
            fprintf(stderr, "ERROR: I/O error in check_refcounts_l1\n");
            c->res->check_errors++;
            return -EIO;
        }
        r = qcow2_check_l1(co, c, sn->l1_offset, sn->l1_size, false);
        if (r < 0) {
            return r;
        }
    }
    qcow2_check_refer(c, s->hdr.snapshots_offset, s->snapshots_bytes);
    return 0;
}

/* ---- bitmaps ---- */

static bool bitmaps_are_there(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);

    return s->ext.have_bitmaps &&
           (s->hdr.autoclear & QCOW2_AUTOCLEAR_BITMAPS);
}

static bool is_in_file(const Qcow2Check *c, int64_t off, int64_t len)
{
    return off + len - c->file_len < qcow2_state(c->node)->cluster_size;
}

/* The directory; false if it is damaged, which *@err says. What can't be read at
 * the moment is not damaged: *@ret is -errno then, which is told. */
static bool bitmaps_read(Co *co, Qcow2Check *c, GPtrArray **entries, int *ret,
                         Error **err)
{
    const Qcow2Exts *ext = &qcow2_state(c->node)->ext;
    int r = qcow2_bitmap_dir_read(co, c->node, entries, err);

    *ret = 0;
    if (r < 0 && r != -EINVAL &&
        is_in_file(c, ext->bitmap_dir_offset, ext->bitmap_dir_size)) {
        fprintf(stderr, "ERROR: %s\n", error_get_pretty(*err));
        c->res->check_errors++;
        *ret = r;
    }
    return r >= 0;
}

/* 1 if a bitmap is whole, but for its content, 0 if not, which is not told; with
 * @refer its clusters are counted. -errno if its table can't be read, which is. */
static int bitmap_is_whole(Co *co, Qcow2Check *c, const Qcow2BitmapEntry *e,
                           bool refer)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint64_t *table = NULL;
    int r;
    bool whole = !e->problem &&
                 ((e->flags & QCOW2_BITMAP_IN_USE) ||
                  e->table_size == qcow2_bitmap_table_size(
                      s->hdr.size, e->granularity_shift, s->cluster_size));

    if (e->problem ||
        !is_in_file(c, e->table_offset, (int64_t)e->table_size * 8)) {
        return 0;
    }
    r = qcow2_read_table(co, c->node, e->table_offset, e->table_size, &table);
    if (r < 0) {
        fprintf(stderr, "ERROR: Could not read the table of bitmap '%s': %s\n",
                e->name, g_strerror(-r));
        c->res->check_errors++;
        return r;
    }
    if (refer) {
        qcow2_check_refer(c, e->table_offset, (int64_t)e->table_size * 8);
    }
    for (uint32_t i = 0; i < e->table_size; i++) {
        int64_t off;

        switch (qcow2_bitmap_table_decode(table[i], s->cluster_size, &off)) {
        case QCOW2_BITMAP_INVALID:
            whole = false;
            break;
        case QCOW2_BITMAP_DATA:
            whole &= is_in_file(c, off, s->cluster_size);
            if (refer) {
                qcow2_check_refer(c, off, s->cluster_size);
            }
            break;
        default:
            break;
        }
    }
    return whole;
}

static void bitmap_tell(Qcow2Check *c, bool mend, const Qcow2BitmapEntry *e)
{
    if (e->problem) {
        qcow2_check_tell(c, mend, "%s", e->problem);
    } else {
        qcow2_check_tell(c, mend, "bitmap '%s': bitmap table corrupted",
                         e->name);
    }
}

int qcow2_check_bitmaps(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autoptr(GPtrArray) entries = NULL;
    g_autoptr(Error) err = NULL;
    int r;

    if (!bitmaps_are_there(c)) {
        return 0;
    }
    if (!bitmaps_read(co, c, &entries, &r, &err)) {
        if (r < 0) {
            return r;
        }
        qcow2_check_tell(c, false, "%s", error_get_pretty(err));
    }
    if (s->ext.bitmaps_error) {
        return 0;
    }
    qcow2_check_refer(c, s->ext.bitmap_dir_offset, s->ext.bitmap_dir_size);
    for (guint i = 0; entries && i < entries->len; i++) {
        const Qcow2BitmapEntry *e = g_ptr_array_index(entries, i);

        r = bitmap_is_whole(co, c, e, true);
        if (r < 0) {
            return r;
        }
        if (!r) {
            bitmap_tell(c, false, e);
        }
    }
    return 0;
}

/* Writes the directory over the old one, which is not shorter, and the header
 * after it. */
static int bitmaps_rewrite(Co *co, Qcow2Check *c, const GPtrArray *entries)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = NULL;
    size_t len = 0;
    int r = 0;

    buf = qcow2_bitmap_dir_encode(entries, &len);
    g_assert(buf && (len == 0 || len <= s->ext.bitmap_dir_size));
    if (len) {
        r = io_pwrite_sync(co, c->node->file, s->ext.bitmap_dir_offset, len,
                           buf, 0);
    }
    if (r < 0) {
        return r;
    }
    error_clear(&s->ext.bitmaps_error);
    s->ext.nb_bitmaps = entries->len;
    s->ext.bitmap_dir_size = len;
    s->ext.have_bitmaps = len > 0;
    if (!len) {
        s->hdr.autoclear &= ~QCOW2_AUTOCLEAR_BITMAPS;
    }
    r = qcow2_write_header(co, c->node);
    return r < 0 ? r : io_flush(co, c->node->file->child);
}

int qcow2_check_mend_bitmaps(Co *co, Qcow2Check *c)
{
    g_autoptr(GPtrArray) entries = NULL;
    g_autoptr(Error) err = NULL;
    bool mend = false;
    int r;

    if (!bitmaps_are_there(c)) {
        return 0;
    }
    if (!bitmaps_read(co, c, &entries, &r, &err)) {
        if (r < 0) {
            return r;
        }
        qcow2_check_tell(c, true, "%s", error_get_pretty(err));
        mend = true;
    }
    if (!entries) {
        entries = g_ptr_array_new();
    }
    for (guint i = 0; i < entries->len;) {
        const Qcow2BitmapEntry *e = g_ptr_array_index(entries, i);

        r = bitmap_is_whole(co, c, e, false);
        if (r < 0) {
            return r;
        }
        if (r) {
            i++;
        } else {
            bitmap_tell(c, true, e);
            g_ptr_array_remove_index(entries, i);
            mend = true;
        }
    }
    return mend ? bitmaps_rewrite(co, c, entries) : 0;
}

/* ---- refcount structures ---- */

static void reftable_check_entry(Qcow2Check *c, int64_t i)
{
    Qcow2State *s = qcow2_state(c->node);
    uint64_t entry = s->reftable[i];
    int64_t cluster = (entry & QCOW2_REFT_OFFSET_MASK) >> s->cluster_bits;
    uint64_t count;

    if (!entry) {
        return;
    }
    if (entry & QCOW2_REFT_RESERVED) {
        qcow2_check_tell(c, false, "refcount table entry %" PRId64 " has "
                         "reserved bits set", i);
    } else if (qcow2_in_cluster(s, entry & QCOW2_REFT_OFFSET_MASK)) {
        qcow2_check_tell(c, false, "refcount block %" PRId64 " is not cluster "
                         "aligned; refcount table entry corrupted", i);
    } else if (cluster >= c->n) {
        /* As good as none, so it does no harm if it stays. */
        qcow2_check_tell(c, c->fix.fix_errors, "refcount block %" PRId64
                         " is outside image", i);
        c->rebuild |= c->fix.fix_errors;
        return;
    } else {
        qcow2_check_refer(c, cluster << s->cluster_bits, s->cluster_size);
        count = qcow2_check_count(c, cluster);
        if (count == 1) {
            return;
        }
        qcow2_check_tell(c, false, "refcount block %" PRId64 " refcount=%"
                         PRIu64, i, count);
    }
    c->rebuild = true;
}

void qcow2_check_reftable(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);

    c->rebuild |= !qcow2_check_refer(
        c, s->hdr.reftable_offset,
        (int64_t)s->hdr.reftable_clusters << s->cluster_bits);
}

void qcow2_check_refblocks(Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);

    for (int64_t i = 0; i < s->reftable_size; i++) {
        reftable_check_entry(c, i);
    }
}

bool qcow2_check_refcount_is_known(const Qcow2Check *c, int64_t index)
{
    Qcow2State *s = qcow2_state(c->node);
    int64_t i = index >> s->refblock_bits;
    uint64_t off;

    if (i >= s->reftable_size) {
        return true;
    }
    off = s->reftable[i] & QCOW2_REFT_OFFSET_MASK;
    return off <= (uint64_t)(INT64_MAX - s->cluster_size) &&
           !qcow2_in_cluster(s, off);
}

int64_t qcow2_check_read_refblock(Co *co, Qcow2Check *c, int64_t index,
                                  uint8_t *buf, int64_t *first, int64_t *len)
{
    Qcow2State *s = qcow2_state(c->node);
    int64_t i = index >> s->refblock_bits;
    int64_t off;
    int r;

    *first = i << s->refblock_bits;
    *len = INT64_C(1) << s->refblock_bits;
    memset(buf, 0, s->cluster_size);
    if (!qcow2_check_refcount_is_known(c, index)) {
        return -EIO;
    }
    off = i < s->reftable_size ? s->reftable[i] & QCOW2_REFT_OFFSET_MASK : 0;
    if (!off || off >= c->file_len) {
        return 0;
    }
    r = io_pread(co, c->node->file, off, s->cluster_size, buf, 0);
    return r < 0 ? r : off;
}

int qcow2_check_disk_count(Co *co, Qcow2Check *c, int64_t cluster,
                           uint64_t *ret)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = NULL;
    int64_t first, len, off;

    if (!qcow2_check_refcount_is_known(c, cluster)) {
        return -EIO;
    }
    if (cluster < c->capacity) {
        *ret = qcow2_check_count(c, cluster);
        return 0;
    }
    buf = g_try_malloc(s->cluster_size);
    off = buf ? qcow2_check_read_refblock(co, c, cluster, buf, &first, &len)
              : -ENOMEM;
    if (off < 0) {
        return off;
    }
    *ret = qcow2_refcount_load(buf, s->hdr.refcount_order, cluster - first);
    return 0;
}
