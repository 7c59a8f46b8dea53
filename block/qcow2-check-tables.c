/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Checking L1 and L2 tables: reserved bits, alignment, subcluster bitmaps, and
 * the references that they hold; for the active ones the statistics and the
 * COPIED flags as well.
 *
 * L2 tables that lie side by side are read together.
 *
 * An entry of L1 that is damaged may lead to the guest's data, and the data may
 * look like entries to be mended. So a table is written only when all has been
 * counted, and only if as many L1 entries lead to it as refer to its cluster.
 */
#include "block/qcow2-check.h"

/* Little enough to stay in the CPU's cache. */
#define READ_RUN (512 * KiB)

/* One table on its way. */
typedef struct TableWalk TableWalk;
struct TableWalk {
    Qcow2Check *c;
    uint64_t *l1;               /* host order, @size entries */
    uint32_t size;
    uint32_t l1_from, l1_to;    /* entries that were mended */
    /* What is done at each entry that is not 0, and with its table. */
    void (*entry)(Co *co, TableWalk *w, uint32_t index);
    void (*table)(Co *co, TableWalk *w);
    bool active;
    bool mend, mend_l1;         /* flags */
    int64_t next_contiguous;    /* where this table's next data would not be a
                                 * fragment; 0: anywhere */
    int64_t l2_off;
    uint8_t *l2;
    bool told;                  /* that its entries are mended: by another L1 */
    int dirty_from, dirty_to;   /* bytes of l2 that were mended */
};

/* ---- one entry ---- */

static inline void walk_count(TableWalk *w, int64_t off, bool compressed)
{
    CheckResult *res = w->c->res;
    Qcow2State *s = qcow2_state(w->c->node);

    if (!w->active) {
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
    if (entry & QCOW2_COPIED) {
        fprintf(stderr, "ERROR: coffset=0x%" PRIx64 ": copied flag must never "
                "be set for compressed clusters\n", off);
        c->res->corruptions++;
        entry &= ~QCOW2_COPIED;
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

static bool has_data(const Qcow2State *s, uint64_t entry, uint64_t bitmap)
{
    return s->subclusters ? bitmap & QCOW2_SUB_ALL_ALLOC
                          : !(entry & QCOW2_ZERO_FLAG);
}

static void drops_add(Qcow2Check *c, int64_t l2_off)
{
    gpointer key = GSIZE_TO_POINTER(l2_off);

    if (!c->drops) {
        c->drops = g_hash_table_new(NULL, NULL);
    }
    g_hash_table_insert(c->drops, key, GSIZE_TO_POINTER(
        GPOINTER_TO_SIZE(g_hash_table_lookup(c->drops, key)) + 1));
}

/* False if the entry is going to be mended and has no host cluster then. */
static bool walk_check_alignment(TableWalk *w, int index, uint64_t entry,
                                 uint64_t bitmap)
{
    Qcow2Check *c = w->c;
    Qcow2State *s = qcow2_state(c->node);
    int64_t off = entry & QCOW2_OFFSET_MASK;
    bool data = has_data(s, entry, bitmap);
    bool mend = !data && c->fix.fix_errors && c->tables &&
                w->l2_off && !qcow2_in_cluster(s, w->l2_off);

    if (!qcow2_in_cluster(s, off)) {
        return true;
    }
    if (mend && w->told) {
        return false;
    }
    qcow2_check_tell(c, mend, "offset=%" PRIx64 ": %s cluster is not properly "
                     "aligned; L2 entry corrupted.", off,
                     data ? "Data" : "Preallocated");
    if (mend) {
        drops_add(c, w->l2_off);
    }
    return !mend;
}

static void walk_check_bitmap(TableWalk *w, int64_t off, uint64_t bitmap)
{
    uint64_t alloc = bitmap & QCOW2_SUB_ALL_ALLOC;

    if (!off && alloc) {
        fprintf(stderr, "ERROR: Unallocated cluster has non-zero subcluster "
                "allocation map\n");
        w->c->res->corruptions++;
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
    c->uncopied |= w->active && !(entry & QCOW2_COPIED);
    walk_count(w, off, false);
    if (!s->external_data) {
        qcow2_check_refer(c, off, s->cluster_size);
    }
}

/* ---- tables ---- */

int qcow2_check_tables_init(Qcow2Check *c)
{
    g_clear_pointer(&c->tables, g_free);
    if (!c->fix.fix_errors && !c->fix.fix_leaks) {
        return 0;
    }
    c->tables = g_try_new0(uint16_t, c->capacity);
    c->tables_n = c->capacity;
    return c->tables ? 0 : -ENOMEM;
}

void qcow2_check_tables_free(Qcow2Check *c)
{
    g_clear_pointer(&c->tables, g_free);
    g_clear_pointer(&c->drops, g_hash_table_unref);
}

static void table_note(Qcow2Check *c, int64_t off)
{
    int64_t cluster = off >> qcow2_state(c->node)->cluster_bits;

    if (c->tables && cluster < c->tables_n && c->tables[cluster] < UINT16_MAX) {
        c->tables[cluster]++;
    }
}

/* Nothing but L1 entries refers to the table's cluster; counts are the disk's. */
static bool table_is_only_that(const Qcow2Check *c, int64_t off)
{
    const Qcow2State *s = qcow2_state(c->node);
    int64_t cluster = off >> s->cluster_bits;

    return c->tables && cluster < c->tables_n && !qcow2_in_cluster(s, off) &&
           c->tables[cluster] == qcow2_check_count(c, cluster);
}

/* An image so damaged that the table lies on others is not mended further. */
static int walk_write_back(Co *co, TableWalk *w)
{
    int from = w->dirty_from, len = w->dirty_to - from;
    int64_t off = w->l2_off + from;
    int r;

    if (len == 0) {
        return 0;
    }
    r = qcow2_overlap_check(co, w->c->node,
                            QCOW2_OL_ACTIVE_L2 | QCOW2_OL_INACTIVE_L2, off,
                            len, false);
    if (r < 0) {
        fprintf(stderr, "ERROR: Could not write L2 table; metadata overlap "
                "check failed: %s\n", g_strerror(-r));
        w->c->res->check_errors++;
        return r;
    }
    r = io_pwrite(co, w->c->node->file, off, len, w->l2 + from, 0);
    if (r < 0) {
        fprintf(stderr, "ERROR: Could not write L2 table: %s\n",
                g_strerror(-r));
        w->c->res->check_errors++;
    }
    return r;
}

/* What most entries are: a cluster inside of the file, the first reference to
 * it. False: somebody has to look closer. */
static bool count_plain(TableWalk *w, const Qcow2State *s, uint64_t entry)
{
    Qcow2Check *c = w->c;
    int64_t off = entry ^ QCOW2_COPIED;
    int64_t cluster = off >> s->cluster_bits;

    if ((off & ~QCOW2_OFFSET_MASK) || qcow2_in_cluster(s, off) ||
        off + s->cluster_size > c->file_len || !c->counts16 ||
        c->counts16[cluster]) {
        return false;
    }
    c->counts16[cluster] = 1;
    walk_count(w, off, false);
    return true;
}

static void count_table(Co *co, TableWalk *w)
{
    Qcow2State *s = qcow2_state(w->c->node);
    bool plain = !s->subclusters && !s->external_data;

    w->next_contiguous = 0;
    w->told = w->c->drops &&
              g_hash_table_contains(w->c->drops, GSIZE_TO_POINTER(w->l2_off));
    for (int i = 0; i < 1 << s->l2_bits; i++) {
        uint64_t entry = ldq_be_p(w->l2 + i * s->l2_entry_size);

        if ((entry || s->subclusters) &&
            !(plain && count_plain(w, s, entry))) {
            walk_entry(w, i);
        }
    }
}

/* Even a table at an impossible place is looked at: what it refers to is in
 * use until somebody has decided otherwise. */
static void count_l1_entry(Co *co, TableWalk *w, uint32_t index)
{
    Qcow2Check *c = w->c;
    Qcow2State *s = qcow2_state(c->node);
    uint64_t entry = w->l1[index];
    int64_t off = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_L1_RESERVED) {
        qcow2_check_tell(c, false, "found L1 entry with reserved bits set: "
                         "%" PRIx64, entry);
    }
    c->lost |= !qcow2_check_refer(c, off, s->cluster_size);
    table_note(c, off);
    c->uncopied |= w->active && !(entry & QCOW2_COPIED);
    if (qcow2_in_cluster(s, off)) {
        qcow2_check_tell(c, false, "l2_offset=%" PRIx64 ": Table is not "
                         "cluster aligned; L1 entry corrupted", off);
        c->lost = true;
    }
}

/* How many of the tables from @i on lie side by side in the file, at most
 * @max. 0: the first is none, or past the end, where there is nothing. An
 * entry with reserved bits alone has a table, at 0. */
static uint32_t walk_run(const TableWalk *w, uint32_t i, uint32_t max)
{
    const Qcow2State *s = qcow2_state(w->c->node);
    int64_t off = w->l1[i] & QCOW2_OFFSET_MASK;
    uint32_t n = 0;

    while (n < max && i + n < w->size && w->l1[i + n] &&
           off + n * s->cluster_size < w->c->file_len &&
           (int64_t)(w->l1[i + n] & QCOW2_OFFSET_MASK) ==
           off + n * s->cluster_size) {
        n++;
    }
    return n;
}

/* Walks the tables of entries @i to @i + @n - 1, one read. */
static int walk_tables(Co *co, TableWalk *w, uint32_t i, uint32_t n,
                       uint8_t *buf)
{
    Qcow2State *s = qcow2_state(w->c->node);
    int64_t off = w->l1[i] & QCOW2_OFFSET_MASK;
    int r = io_pread(co, w->c->node->file, off, n * s->cluster_size, buf, 0);

    if (r < 0) {
        fprintf(stderr, "ERROR: I/O error in check_refcounts_l2\n");
        w->c->res->check_errors++;
        w->c->lost = true;
        return r;
    }
    for (uint32_t k = 0; k < n && r >= 0; k++) {
        w->entry(co, w, i + k);
        w->l2_off = off + k * s->cluster_size;
        w->l2 = buf + k * s->cluster_size;
        w->dirty_from = w->dirty_to = 0;
        w->table(co, w);
        r = walk_write_back(co, w);
    }
    return r;
}

static int walk_l1(Co *co, TableWalk *w)
{
    Qcow2State *s = qcow2_state(w->c->node);
    uint32_t max = MAX(READ_RUN >> s->cluster_bits, 1);
    g_autofree uint8_t *buf = NULL;
    int r = 0;

    for (uint32_t i = 0; i < w->size && r >= 0;) {
        uint32_t n = walk_run(w, i, max);

        if (n) {
            if (!buf) {
                buf = g_try_malloc((int64_t)max << s->cluster_bits);
            }
            r = buf ? walk_tables(co, w, i, n, buf) : -ENOMEM;
        } else if (w->l1[i]) {
            w->entry(co, w, i);
        }
        i += MAX(n, 1);
    }
    return r;
}

/* The next part of an L1 table, *@n of @size entries from *@i on, that is not a
 * hole of the file; *@n is 0 if there is none. Rather one part too many than
 * one too few. */
static void l1_next_part(Co *co, Qcow2Check *c, int64_t off, uint32_t size,
                         uint32_t *i, uint32_t *n)
{
    Node *file = c->node->file->child;
    int64_t end = off + (int64_t)size * 8, at = off + (int64_t)*i * 8;
    Extent e = { 0 };

    *n = 0;
    while (at < end && status_layer(co, file, true, at, end - at, &e) >= 0 &&
           e.len > 0 && (e.flags & EXTENT_ZERO)) {
        at += e.len;
        e.len = 0;
    }
    *i = (at - off) / 8;
    if (at < end) {
        *n = MIN(e.len > 0 ? DIV_ROUND_UP(at + e.len - off, 8) : size, size) -
             *i;
    }
}

/* There may be many tables, all as long as can be: of those in holes nothing is
 * read, and nothing behind the end of the file. */
int qcow2_check_l1(Co *co, Qcow2Check *c, int64_t off, uint32_t size,
                   bool active)
{
    uint32_t there = CLAMP(DIV_ROUND_UP(c->file_len - off, 8), 0, size);
    uint32_t i = 0, n;
    int r = 0;

    c->lost |= !qcow2_check_refer(c, off, (int64_t)size * 8);
    for (l1_next_part(co, c, off, there, &i, &n); n && r >= 0;
         i += n, l1_next_part(co, c, off, there, &i, &n)) {
        g_autofree uint64_t *l1 = NULL;
        TableWalk w = { .c = c, .size = n, .entry = count_l1_entry,
                        .table = count_table, .active = active };

        r = qcow2_read_table(co, c->node, off + (int64_t)i * 8, n, &l1);
        if (r < 0) {
            fprintf(stderr, "ERROR: I/O error in check_refcounts_l1\n");
            c->res->check_errors++;
            c->lost = true;
            return r;
        }
        w.l1 = l1;
        r = walk_l1(co, &w);
    }
    return r;
}

/* ---- host clusters that can't be ---- */

static void drop_from_table(TableWalk *w)
{
    Qcow2State *s = qcow2_state(w->c->node);

    w->dirty_from = w->dirty_to = 0;
    for (int i = 0; i < 1 << s->l2_bits; i++) {
        const uint8_t *p = w->l2 + i * s->l2_entry_size;
        uint64_t entry = ldq_be_p(p);
        uint64_t bitmap = s->subclusters ? ldq_be_p(p + 8) : 0;

        if (!(entry & QCOW2_COMPRESSED_FLAG) &&
            qcow2_in_cluster(s, entry & QCOW2_OFFSET_MASK) &&
            !has_data(s, entry, bitmap)) {
            walk_drop_host(w, i);
        }
    }
}

int qcow2_check_drop_hosts(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    TableWalk w = { .c = c, .l2 = buf };
    GHashTableIter iter;
    gpointer key, number;
    int r = buf ? 0 : -ENOMEM;

    g_hash_table_iter_init(&iter, c->drops);
    while (r >= 0 && g_hash_table_iter_next(&iter, &key, &number)) {
        w.l2_off = GPOINTER_TO_SIZE(key);
        if (!table_is_only_that(c, w.l2_off)) {
            fprintf(stderr, "ERROR l2_offset=%" PRIx64 ": Something else is at "
                    "the place of the table; nothing of it is repaired\n",
                    w.l2_off);
            c->res->corruptions += GPOINTER_TO_SIZE(number);
            c->res->corruptions_fixed -= GPOINTER_TO_SIZE(number);
            continue;
        }
        r = io_pread(co, c->node->file, w.l2_off, s->cluster_size, buf, 0);
        if (r >= 0) {
            drop_from_table(&w);
            r = walk_write_back(co, &w);
        }
    }
    return r;
}

/* ---- COPIED ---- */

static void copied_set(uint8_t *p, uint64_t entry, bool copied)
{
    stq_be_p(p, copied ? entry | QCOW2_COPIED : entry & ~QCOW2_COPIED);
}

static void copied_entry(Co *co, TableWalk *w, int index)
{
    Qcow2Check *c = w->c;
    Qcow2State *s = qcow2_state(c->node);
    int at = index * s->l2_entry_size;
    uint64_t entry = ldq_be_p(w->l2 + at);
    int64_t off = entry & QCOW2_OFFSET_MASK;
    uint64_t count = 1;
    bool mend;

    if ((entry & QCOW2_COMPRESSED_FLAG) || !off ||
        (!s->external_data &&
         qcow2_check_disk_count(co, c, off >> s->cluster_bits, &count) < 0) ||
        (count == 1) == !!(entry & QCOW2_COPIED)) {
        return;
    }
    mend = w->mend && table_is_only_that(c, w->l2_off);
    qcow2_check_tell(c, mend, "OFLAG_COPIED data cluster: l2_entry=%" PRIx64
                     " refcount=%" PRIu64, entry, count);
    if (mend) {
        copied_set(w->l2 + at, entry, count == 1);
        if (w->dirty_from == w->dirty_to) {
            w->dirty_from = at;
        }
        w->dirty_to = at + s->l2_entry_size;
    }
}

static void copied_table(Co *co, TableWalk *w)
{
    Qcow2State *s = qcow2_state(w->c->node);

    if (!w->l2_off) {
        return;
    }
    for (int i = 0; i < 1 << s->l2_bits; i++) {
        copied_entry(co, w, i);
    }
}

/* Whether nothing else lies where the active L1 table is. */
static bool l1_is_only_that(const Qcow2Check *c)
{
    const Qcow2State *s = qcow2_state(c->node);
    int64_t first = s->hdr.l1_offset >> s->cluster_bits;
    int64_t n = qcow2_size_to_clusters(s, (int64_t)s->hdr.l1_size * 8);

    for (int64_t i = first; i < first + n; i++) {
        if (qcow2_check_count(c, i) != 1) {
            return false;
        }
    }
    return true;
}

/* L1 is written when all is done. */
static void copied_l1_entry(Co *co, TableWalk *w, uint32_t index)
{
    Qcow2Check *c = w->c;
    Qcow2State *s = qcow2_state(c->node);
    uint64_t entry = w->l1[index];
    int64_t cluster = (entry & QCOW2_OFFSET_MASK) >> s->cluster_bits;
    uint64_t count;

    if (!(entry & QCOW2_OFFSET_MASK) ||
        qcow2_check_disk_count(co, c, cluster, &count) < 0 ||
        (count == 1) == !!(entry & QCOW2_COPIED)) {
        return;
    }
    qcow2_check_tell(c, w->mend_l1, "OFLAG_COPIED L2 cluster: l1_index=%"
                     PRIu32 " l1_entry=%" PRIx64 " refcount=%" PRIu64, index,
                     entry, count);
    if (w->mend_l1) {
        w->l1[index] = count == 1 ? entry | QCOW2_COPIED
                                  : entry & ~QCOW2_COPIED;
        w->l1_from = w->l1_to ? w->l1_from : index;
        w->l1_to = index + 1;
    }
}

int qcow2_check_copied(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);
    g_autofree uint64_t *l1 = NULL;
    TableWalk w = { .c = c, .size = s->hdr.l1_size,
                    .entry = copied_l1_entry, .table = copied_table };
    const CheckResult *res = c->res;
    int r = qcow2_read_table(co, c->node, s->hdr.l1_offset, s->hdr.l1_size,
                             &l1);

    /* Wrong flags alone are mended with the leaks, which may be why. */
    w.mend = c->fix.fix_errors ||
             (c->fix.fix_leaks && !res->corruptions && !res->leaks &&
              !res->check_errors);
    w.mend_l1 = w.mend && l1_is_only_that(c);
    w.l1 = l1;
    if (r >= 0) {
        r = walk_l1(co, &w);
    }
    if (r >= 0 && w.l1_to) {
        r = qcow2_write_table(co, c->node, QCOW2_OL_ACTIVE_L1,
                              s->hdr.l1_offset + w.l1_from * 8,
                              w.l1_to - w.l1_from, l1 + w.l1_from);
    }
    return r;
}
