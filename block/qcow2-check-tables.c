/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Checking L1 and L2 tables: reserved bits, alignment, subcluster bitmaps, and
 * the references that they hold; for the active ones the statistics and the
 * COPIED flags as well.
 *
 * L2 tables that lie side by side are read together.
 */
#include "block/qcow2-check.h"

#define READ_RUN (4 * MiB)

/* One table on its way. */
typedef struct TableWalk {
    Qcow2Check *c;
    bool active;
    int64_t next_contiguous;    /* where the next data would not be a fragment;
                                 * 0: anywhere */
    int64_t l2_off;
    uint8_t *l2;
    int dirty_from, dirty_to;   /* bytes of l2 that were mended */
} TableWalk;

/* ---- one entry ---- */

static void walk_count(TableWalk *w, int64_t off, bool compressed)
{
    CheckResult *res = w->c->res;
    Qcow2State *s = qcow2_state(w->c->node);

    if (!w->active || w->c->quiet) {
        return;
    }
    res->allocated_clusters++;
    if (compressed) {
        /* By their nature. */
        res->compressed_clusters++;
        res->fragmented_clusters++;
        return;
    }
    if (w->next_contiguous && off != w->next_contiguous) {
        res->fragmented_clusters++;
    }
    w->next_contiguous = off + s->cluster_size;
}

static void walk_compressed(TableWalk *w, int index, uint64_t entry,
                            uint64_t bitmap)
{
    Qcow2Check *c = w->c;
    Qcow2State *s = qcow2_state(c->node);
    int64_t off, len;

    qcow2_parse_compressed(s, entry, &off, &len);
    if (entry & QCOW2_COPIED && !c->quiet) {
        fprintf(stderr, "ERROR: coffset=0x%" PRIx64 ": copied flag must never "
                "be set for compressed clusters\n", off);
        c->res->corruptions++;
    }
    if (s->external_data) {
        qcow2_check_tell(c, false, "compressed cluster %d with data file, "
                         "entry=0x%" PRIx64, index, entry);
        return;
    }
    if (bitmap) {
        qcow2_check_tell(c, false, "compressed cluster %d with non-zero "
                         "subcluster allocation bitmap, entry=0x%" PRIx64,
                         index, entry);
        return;
    }
    qcow2_check_refer(c, off, len);
    walk_count(w, off, true);
}

/* Drops the host cluster, which nothing was read from, off an entry. */
static void walk_drop_host(TableWalk *w, int index)
{
    Qcow2State *s = qcow2_state(w->c->node);
    int at = index * s->l2_entry_size;

    stq_be_p(w->l2 + at, s->subclusters ? 0 : QCOW2_ZERO_FLAG);
    if (w->dirty_from == w->dirty_to) {
        w->dirty_from = at;
    }
    w->dirty_to = at + s->l2_entry_size;
}

/* False if the entry has been mended and has no host cluster any more. */
static bool walk_check_alignment(TableWalk *w, int index, uint64_t entry,
                                 uint64_t bitmap)
{
    Qcow2Check *c = w->c;
    Qcow2State *s = qcow2_state(c->node);
    int64_t off = entry & QCOW2_OFFSET_MASK;
    bool data = s->subclusters ? bitmap & QCOW2_SUB_ALL_ALLOC
                               : !(entry & QCOW2_ZERO_FLAG);
    bool mend = !data && c->fix.fix_errors && !c->quiet;

    if (!qcow2_in_cluster(s, off)) {
        return true;
    }
    qcow2_check_tell(c, mend, "offset=%" PRIx64 ": %s cluster is not properly "
                     "aligned; L2 entry corrupted.", off,
                     data ? "Data" : "Preallocated");
    if (mend) {
        walk_drop_host(w, index);
    }
    return !mend;
}

static void walk_check_bitmap(TableWalk *w, int64_t off, uint64_t bitmap)
{
    uint64_t alloc = bitmap & QCOW2_SUB_ALL_ALLOC;

    if (!off && alloc) {
        if (!w->c->quiet) {
            fprintf(stderr, "ERROR: Unallocated cluster has non-zero "
                    "subcluster allocation map\n");
            w->c->res->corruptions++;
        }
    } else if (off && (alloc & (bitmap >> 32))) {
        qcow2_check_tell(w->c, false, "offset=%" PRIx64 ": Allocated cluster "
                         "has corrupted subcluster allocation bitmap", off);
    }
}

static void walk_entry(TableWalk *w, int index)
{
    Qcow2Check *c = w->c;
    Qcow2State *s = qcow2_state(c->node);
    const uint8_t *p = w->l2 + index * s->l2_entry_size;
    uint64_t entry = ldq_be_p(p);
    uint64_t bitmap = s->subclusters ? ldq_be_p(p + 8) : 0;
    int64_t off = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_COMPRESSED_FLAG) {
        walk_compressed(w, index, entry, bitmap);
        return;
    }
    if (entry & QCOW2_L2_RESERVED) {
        qcow2_check_tell(c, false, "found l2 entry with reserved bits set: "
                         "%" PRIx64, entry);
    }
    /* Where data are elsewhere, offset 0 is a place like any other. */
    if (s->external_data && !off && (entry & QCOW2_COPIED)) {
        walk_count(w, off, false);
        return;
    }
    if (s->subclusters) {
        walk_check_bitmap(w, off, bitmap);
    }
    if (!off || !walk_check_alignment(w, index, entry, bitmap)) {
        return;
    }
    walk_count(w, off, false);
    if (!s->external_data) {
        qcow2_check_refer(c, off, s->cluster_size);
    }
}

/* ---- tables ---- */

static int walk_write_back(Co *co, TableWalk *w)
{
    int from = w->dirty_from, len = w->dirty_to - from;

    w->dirty_from = w->dirty_to = 0;
    return len == 0 ? 0 : io_pwrite(co, w->c->node->file, w->l2_off + from,
                                    len, w->l2 + from, 0);
}

static int walk_l2(Co *co, TableWalk *w, int64_t off, uint8_t *table)
{
    Qcow2State *s = qcow2_state(w->c->node);

    w->l2_off = off;
    w->l2 = table;
    w->dirty_from = w->dirty_to = 0;
    for (int i = 0; i < 1 << s->l2_bits; i++) {
        /* Most entries of most tables. */
        if (ldq_be_p(table + i * s->l2_entry_size) || s->subclusters) {
            walk_entry(w, i);
        }
    }
    return walk_write_back(co, w);
}

/* Whether the table of an L1 entry can be walked; refers to it. */
static bool walk_l1_entry(TableWalk *w, uint64_t entry)
{
    Qcow2Check *c = w->c;
    Qcow2State *s = qcow2_state(c->node);
    int64_t off = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_L1_RESERVED) {
        qcow2_check_tell(c, false, "found L1 entry with reserved bits set: "
                         "%" PRIx64, entry);
    }
    if (!off) {
        /* An entry, but its place is gone. */
        c->lost = true;
        return false;
    }
    if (qcow2_in_cluster(s, off)) {
        qcow2_check_tell(c, false, "l2_offset=%" PRIx64 ": Table is not "
                         "cluster aligned; L1 entry corrupted", off);
        c->lost = true;
        return false;
    }
    if (!qcow2_check_refer(c, off, s->cluster_size)) {
        c->lost = true;
        return false;
    }
    return true;
}

/* How many of the tables from l1[i] on lie side by side, at most @max. */
static uint32_t walk_run(const Qcow2State *s, const uint64_t *l1, uint32_t i,
                         uint32_t size, uint32_t max)
{
    int64_t off = l1[i] & QCOW2_OFFSET_MASK;
    uint32_t n = 1;

    while (n < max && i + n < size &&
           (int64_t)(l1[i + n] & QCOW2_OFFSET_MASK) ==
           off + n * s->cluster_size) {
        n++;
    }
    return n;
}

typedef int WalkFn(Co *co, TableWalk *w, int64_t off, uint8_t *table);

/* Walks tables l1[i .. i + n), one read. */
static int walk_tables(Co *co, TableWalk *w, const uint64_t *l1, uint32_t i,
                       uint32_t n, uint8_t *buf, WalkFn *fn)
{
    Qcow2State *s = qcow2_state(w->c->node);
    int64_t off = l1[i] & QCOW2_OFFSET_MASK;
    int r = io_pread(co, w->c->node->file, off, n * s->cluster_size, buf, 0);

    if (r < 0) {
        fprintf(stderr, "ERROR: I/O error in check_refcounts_l2\n");
        w->c->res->check_errors++;
        w->c->lost = true;
        return r;
    }
    for (uint32_t k = 0; k < n && r >= 0; k++) {
        r = fn(co, w, off + k * s->cluster_size, buf + k * s->cluster_size);
    }
    return r;
}

static int walk_l1(Co *co, TableWalk *w, const uint64_t *l1, uint32_t size)
{
    Qcow2State *s = qcow2_state(w->c->node);
    uint32_t max = MAX(READ_RUN >> s->cluster_bits, 1);
    g_autofree uint8_t *buf = g_malloc((int64_t)max << s->cluster_bits);
    int r = 0;

    for (uint32_t i = 0; i < size && r >= 0;) {
        uint32_t n = 0, run;

        if (!l1[i]) {
            i++;
            continue;
        }
        run = walk_run(s, l1, i, size, max);
        while (n < run && walk_l1_entry(w, l1[i + n])) {
            n++;
        }
        if (n) {
            r = walk_tables(co, w, l1, i, n, buf, walk_l2);
        }
        /* One that can't be walked has been told of. */
        i += n + (n < run);
    }
    return r;
}

int qcow2_check_l1(Co *co, Qcow2Check *c, int64_t off, uint32_t size,
                   bool active)
{
    g_autofree uint64_t *l1 = NULL;
    TableWalk w = { .c = c, .active = active };
    int r;

    if (!qcow2_check_refer(c, off, (int64_t)size * 8)) {
        c->lost = true;
        return 0;
    }
    r = qcow2_read_table(co, c->node, off, size, &l1);
    if (r < 0) {
        fprintf(stderr, "ERROR: I/O error in check_refcounts_l1\n");
        c->res->check_errors++;
        c->lost = true;
        return r;
    }
    return walk_l1(co, &w, l1, size);
}

/* ---- COPIED ---- */

static void copied_set(uint8_t *p, uint64_t entry, bool copied)
{
    stq_be_p(p, copied ? entry | QCOW2_COPIED : entry & ~QCOW2_COPIED);
}

static int copied_entry(Co *co, TableWalk *w, int index)
{
    Qcow2Check *c = w->c;
    Qcow2State *s = qcow2_state(c->node);
    int at = index * s->l2_entry_size;
    uint64_t entry = ldq_be_p(w->l2 + at);
    int64_t off = entry & QCOW2_OFFSET_MASK;
    uint64_t count = 1;
    int r = 0;

    if ((entry & QCOW2_COMPRESSED_FLAG) || !off) {
        return 0;
    }
    if (!s->external_data) {
        r = qcow2_check_disk_count(co, c, off >> s->cluster_bits, &count);
    }
    if (r < 0 || (count == 1) == !!(entry & QCOW2_COPIED)) {
        return r;
    }
    qcow2_check_tell(c, c->fix.fix_errors, "OFLAG_COPIED data cluster: "
                     "l2_entry=%" PRIx64 " refcount=%" PRIu64, entry, count);
    if (c->fix.fix_errors) {
        copied_set(w->l2 + at, entry, count == 1);
        if (w->dirty_from == w->dirty_to) {
            w->dirty_from = at;
        }
        w->dirty_to = at + s->l2_entry_size;
    }
    return 0;
}

static int copied_l2(Co *co, TableWalk *w, int64_t off, uint8_t *table)
{
    Qcow2State *s = qcow2_state(w->c->node);

    w->l2_off = off;
    w->l2 = table;
    w->dirty_from = w->dirty_to = 0;
    for (int i = 0; i < 1 << s->l2_bits; i++) {
        int r = copied_entry(co, w, i);

        if (r < 0) {
            return r;
        }
    }
    return walk_write_back(co, w);
}

/* An L1 entry: its flag in @l1, which is written later; whether its table can
 * be walked. */
static bool copied_l1_entry(Co *co, Qcow2Check *c, uint64_t *l1, uint32_t i,
                            bool *changed)
{
    Qcow2State *s = qcow2_state(c->node);
    uint64_t entry = l1[i];
    int64_t off = entry & QCOW2_OFFSET_MASK;
    bool mend = c->fix.fix_errors && off;
    uint64_t count = 0;

    if (off && qcow2_check_disk_count(co, c, off >> s->cluster_bits,
                                      &count) < 0) {
        return false;
    }
    if (entry && (count == 1) != !!(entry & QCOW2_COPIED)) {
        qcow2_check_tell(c, mend, "OFLAG_COPIED L2 cluster: "
                         "l1_index=%" PRIu32 " l1_entry=%" PRIx64
                         " refcount=%" PRIu64, i, entry, count);
        if (mend) {
            l1[i] = count == 1 ? entry | QCOW2_COPIED
                               : entry & ~QCOW2_COPIED;
            *changed = true;
        }
    }
    return off && !qcow2_in_cluster(s, off) &&
           off + s->cluster_size - c->file_len < s->cluster_size;
}

int qcow2_check_copied(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    uint32_t max = MAX(READ_RUN >> s->cluster_bits, 1);
    g_autofree uint8_t *buf = g_malloc((int64_t)max << s->cluster_bits);
    g_autofree uint64_t *l1 = NULL;
    TableWalk w = { .c = c };
    bool changed = false;
    int r = qcow2_read_table(co, c->node, s->hdr.l1_offset, s->hdr.l1_size,
                             &l1);

    for (uint32_t i = 0; i < s->hdr.l1_size && r >= 0;) {
        uint32_t n = 0, run = walk_run(s, l1, i, s->hdr.l1_size, max);

        while (n < run && copied_l1_entry(co, c, l1, i + n, &changed)) {
            n++;
        }
        if (n) {
            r = walk_tables(co, &w, l1, i, n, buf, copied_l2);
        }
        i += n + (n < run);
    }
    if (r >= 0 && changed) {
        r = qcow2_write_table(co, c->node, QCOW2_OL_ALL, s->hdr.l1_offset,
                              s->hdr.l1_size, l1);
    }
    return r;
}
