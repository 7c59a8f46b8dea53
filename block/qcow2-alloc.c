/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Writes that change the mapping: to what is unallocated, zero, compressed,
 * or shared with a snapshot.
 *
 *   plan      with `meta`: which clusters, where on the host; Qcow2Alloc is
 *             put on the list
 *   write     without: head and tail are read (copy-on-write), and go out
 *             with the guest's data in one write
 *   link      the L2 entries change in memory, the old clusters are freed
 *
 *      |<-------------- clusters of the allocation ------------->|
 *      |  as it was | head |  the guest's data  | tail | as it was |
 *                   ^ subcluster boundaries            ^
 *
 * From plan to link nobody else changes these entries: other writes, zeroes
 * and discards wait for the allocation (qcow2_alloc_wait). The slice stays
 * pinned, so that linking neither suspends nor fails; a failed write gives the
 * new clusters back and has changed nothing.
 *
 * Clusters that were never used before read as zeroes already: zero heads and
 * tails are not written there.
 */
#include "block/qcow2.h"

#define ZERO_BUF (64 * KiB)
/* Head and tail are read in one go across at most so many bytes of data. */
#define COW_JOIN (16 * KiB)

static const uint8_t zero_buf[ZERO_BUF] __attribute__((aligned(4096)));

/* ---- the list ---- */

static Qcow2Alloc *alloc_find(const Qcow2State *s, int64_t off, int64_t len)
{
    for (Qcow2Alloc *a = s->allocs; a; a = a->next) {
        if (off < a->off + a->len && a->off < off + len) {
            return a;
        }
    }
    return NULL;
}

bool qcow2_alloc_busy(const Qcow2State *s, int64_t off, int64_t len)
{
    return alloc_find(s, off, len) != NULL;
}

void qcow2_alloc_begin(Qcow2State *s, Qcow2Alloc *a)
{
    a->next = s->allocs;
    a->pprev = &s->allocs;
    if (a->next) {
        a->next->pprev = &a->next;
    }
    s->allocs = a;
}

void qcow2_alloc_end(Qcow2Alloc *a)
{
    *a->pprev = a->next;
    if (a->next) {
        a->next->pprev = a->pprev;
    }
    qcow2_cache_put(a->slice);
    co_queue_wake_all(&a->waiters);
}

bool qcow2_alloc_wait(Co *co, Node *node, int64_t off, int64_t len)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Alloc *a = alloc_find(s, off, len);

    if (!a) {
        return false;
    }
    co_mutex_unlock(&s->meta);
    co_queue_wait(co, &a->waiters);
    co_mutex_lock(co, &s->meta);
    return true;
}

/* ---- plan ---- */

/* What a write needs of one cluster. */
typedef enum ClusterNeed {
    NEED_NOTHING,               /* all of the range can be overwritten */
    NEED_IN_PLACE,              /* its host cluster is its own */
    NEED_NEW,
} ClusterNeed;

static ClusterNeed cluster_need(const Qcow2State *s, uint64_t entry,
                                uint64_t bitmap, int first_sub, int last_sub)
{
    int type = qcow2_l2_type(s, entry, bitmap, first_sub);
    bool host = type == QCOW2_MAP_NORMAL || type == QCOW2_MAP_ZERO_HOST ||
                type == QCOW2_MAP_UNALLOCATED_HOST;

    if (!host || !(entry & QCOW2_COPIED) ||
        qcow2_in_cluster(s, entry & QCOW2_OFFSET_MASK)) {
        return NEED_NEW;
    }
    for (int sub = first_sub; sub <= last_sub; sub++) {
        if (qcow2_l2_type(s, entry, bitmap, sub) != QCOW2_MAP_NORMAL) {
            return NEED_IN_PLACE;
        }
    }
    return NEED_NOTHING;
}

/* The need of cluster @n, counted from that of @off, for [off, off + len). */
static ClusterNeed need_at(const Qcow2State *s, const Qcow2Table *t, int i,
                           int n, int64_t off, int64_t len)
{
    int64_t start = qcow2_cluster_down(s, off) + n * s->cluster_size;
    int64_t from = MAX(off, start) - start;
    int64_t to = MIN(off + len, start + s->cluster_size) - start;

    return cluster_need(s, qcow2_l2_entry(s, t, i + n),
                        qcow2_l2_bitmap(s, t, i + n), from >> s->sub_bits,
                        (to - 1) >> s->sub_bits);
}

/* How many clusters have the need of the first and, in place, lie one after
 * the other; none of them in another allocation or past the slice. */
static int64_t count_alike(const Qcow2State *s, const Qcow2Table *t, int i,
                           int64_t off, int64_t len, ClusterNeed need)
{
    int64_t base = qcow2_cluster_down(s, off);
    int64_t max = qcow2_size_to_clusters(s, off + len - base);
    int64_t host = qcow2_l2_entry(s, t, i) & QCOW2_OFFSET_MASK;
    int64_t n = 1;

    max = MIN(max, (1 << s->slice_bits) - i);
    for (; n < max; n++) {
        uint64_t entry = qcow2_l2_entry(s, t, i + n);

        if (need_at(s, t, i, n, off, len) != need ||
            alloc_find(s, base + n * s->cluster_size, s->cluster_size)) {
            break;
        }
        if (need == NEED_IN_PLACE && (int64_t)(entry & QCOW2_OFFSET_MASK) !=
            host + n * s->cluster_size) {
            break;
        }
    }
    return n;
}

/* Host clusters for a->off; cuts a->len to what there is. */
static int plan_host(Co *co, Node *node, Qcow2Alloc *a)
{
    Qcow2State *s = qcow2_state(node);
    int64_t fresh = s->fresh_offset, got;

    if (a->in_place) {
        a->host = qcow2_l2_entry(s, a->slice, a->index) & QCOW2_OFFSET_MASK;
        return 0;
    }
    if (s->external_data) {
        a->host = a->off;
        return 0;
    }
    a->host = qcow2_alloc_some(co, node, a->len >> s->cluster_bits, &got);
    if (a->host < 0) {
        return a->host;
    }
    a->len = got << s->cluster_bits;
    a->fresh = a->host >= fresh;
    return 0;
}

/* Whether entry @n of the allocation holds data that are not the guest's write
 * only: then all of a cluster with subclusters is copied. */
static bool entry_has_data(const Qcow2State *s, const Qcow2Alloc *a, int64_t n)
{
    uint64_t entry = qcow2_l2_entry(s, a->slice, a->index + n);
    uint64_t bitmap = qcow2_l2_bitmap(s, a->slice, a->index + n);

    return (entry & QCOW2_COMPRESSED_FLAG) ||
           (bitmap & QCOW2_SUB_ALL_ALLOC);
}

/* Where the copying begins and ends for data [off, end). */
static void plan_cow(const Qcow2State *s, Qcow2Alloc *a, int64_t off,
                     int64_t end)
{
    int64_t last = (a->len >> s->cluster_bits) - 1;
    int64_t sub = s->sub_size;

    a->cow_start = off & ~(sub - 1);
    a->cow_end = (end + sub - 1) & ~(sub - 1);
    if (!s->subclusters) {
        return;
    }
    if (!a->in_place) {
        /* New clusters get what the old ones had. */
        for (int64_t n = 0; n <= last && !a->whole; n++) {
            a->whole = entry_has_data(s, a, n);
        }
        if (a->whole) {
            a->cow_start = a->off;
            a->cow_end = a->off + a->len;
        }
        return;
    }
    /* Subclusters with data are overwritten in part. */
    if (qcow2_l2_bitmap(s, a->slice, a->index) &
        QCOW2_SUB_ALLOC(qcow2_in_cluster(s, off) >> s->sub_bits)) {
        a->cow_start = off;
    }
    if (qcow2_l2_bitmap(s, a->slice, a->index + last) &
        QCOW2_SUB_ALLOC(qcow2_in_cluster(s, end - 1) >> s->sub_bits)) {
        a->cow_end = end;
    }
}

/*
 * Finds out what is to be done for [off, off + len) and puts it on the list;
 * *@planned bytes of it. 0 with *@planned 0: nothing is to be allocated (any
 * more). With `meta`.
 */
static int plan(Co *co, Node *node, Qcow2Alloc *a, int64_t off, int64_t len,
                int64_t *planned)
{
    Qcow2State *s = qcow2_state(node);
    int64_t base = qcow2_cluster_down(s, off);
    ClusterNeed need;
    int r;

    *planned = 0;
    do {
        r = qcow2_l2_get_mut(co, node, off, &a->slice, &a->index);
        if (r < 0) {
            return r;
        }
        r = alloc_find(s, base, s->cluster_size) != NULL;
        if (r) {
            qcow2_cache_put(a->slice);
            qcow2_alloc_wait(co, node, base, s->cluster_size);
        }
    } while (r);

    need = need_at(s, a->slice, a->index, 0, off, len);
    if (need == NEED_NOTHING) {
        qcow2_cache_put(a->slice);
        return 0;
    }
    a->off = base;
    a->len = count_alike(s, a->slice, a->index, off, len, need) <<
             s->cluster_bits;
    a->in_place = need == NEED_IN_PLACE;
    r = plan_host(co, node, a);
    if (r < 0) {
        qcow2_cache_put(a->slice);
        return r;
    }
    *planned = MIN(len, a->off + a->len - off);
    plan_cow(s, a, off, off + *planned);
    qcow2_alloc_begin(s, a);
    return 0;
}

/* ---- write ---- */

/* Head and tail of an allocation in one buffer. */
typedef struct Cow {
    int64_t head, tail;         /* bytes */
    bool head_zero, tail_zero;
    uint8_t *buf;               /* head at 0, tail at tail_at */
    int64_t tail_at;
} Cow;

/* Whether [from, to), inside one cluster, is known to read as zeroes. */
static int range_is_zero(Co *co, Node *node, int64_t from, int64_t to,
                         bool *zero)
{
    Qcow2Map m;
    int r;

    *zero = true;
    while (from < to && *zero) {
        r = qcow2_map(co, node, from, to - from, &m);
        if (r < 0) {
            return r;
        }
        if (m.type == QCOW2_MAP_UNALLOCATED ||
            m.type == QCOW2_MAP_UNALLOCATED_HOST) {
            *zero = !node->backing || from >= node->backing->child->length;
        } else {
            *zero = m.type == QCOW2_MAP_ZERO || m.type == QCOW2_MAP_ZERO_HOST;
        }
        from += m.len;
    }
    return 0;
}

/* The guest's bytes [off, off + len) as they are; zeroes past the end. */
static int cow_read(Co *co, Node *node, int64_t off, int64_t len, uint8_t *buf)
{
    int64_t have = CLAMP(node->length - off, 0, len);
    IoVec iov;

    memset(buf + have, 0, len - have);
    if (!have) {
        return 0;
    }
    iov_init_buf(&iov, buf, have);
    qcow2_event(co, node, BLKDBG_COW_READ);
    return qcow2_read(co, node, off, have, &iov, 0, 0);
}

static int cow_fill(Co *co, Node *node, const Qcow2Alloc *a, int64_t off,
                    int64_t end, Cow *c)
{
    int64_t align = MAX(node->limits.mem_alignment, 64);
    int64_t gap = end - off;
    bool join = !c->head_zero && !c->tail_zero && gap <= COW_JOIN;
    int64_t head = c->head_zero ? 0 : c->head;
    int64_t tail = c->tail_zero ? 0 : c->tail;
    int r = 0;

    if (!head && !tail) {
        return 0;
    }
    c->tail_at = join ? head + gap : ROUND_UP(head, align);
    c->buf = aligned_try_alloc_io(align, c->tail_at + tail);
    if (!c->buf) {
        return -ENOMEM;
    }
    if (join) {
        return cow_read(co, node, a->cow_start, head + gap + tail, c->buf);
    }
    if (head) {
        r = cow_read(co, node, a->cow_start, head, c->buf);
    }
    if (tail && r >= 0) {
        r = cow_read(co, node, end, tail, c->buf + c->tail_at);
    }
    return r;
}

/* Reads what is to be copied; in fresh clusters zeroes are left out. */
static int cow_prepare(Co *co, Node *node, Qcow2Alloc *a, int64_t off,
                       int64_t end, Cow *c)
{
    int r = 0;

    c->head = off - a->cow_start;
    c->tail = a->cow_end - end;
    c->head_zero = c->tail_zero = true;
    if (c->head) {
        r = range_is_zero(co, node, a->cow_start, off, &c->head_zero);
    }
    if (c->tail && r >= 0) {
        r = range_is_zero(co, node, end, a->cow_end, &c->tail_zero);
    }
    if (r >= 0) {
        r = cow_fill(co, node, a, off, end, c);
    }
    if (r < 0 || !a->fresh) {
        return r;
    }
    if (c->head_zero || buffer_is_zero(c->buf, c->head)) {
        a->cow_start = off;
        c->head = 0;
    }
    if (c->tail_zero || buffer_is_zero(c->buf + c->tail_at, c->tail)) {
        a->cow_end = end;
        c->tail = 0;
    }
    return 0;
}

static void add_part(IoVec *v, const Cow *c, bool zero, int64_t at,
                     int64_t len)
{
    if (!zero && len) {
        iov_add(v, c->buf + at, len);
        return;
    }
    for (int64_t n; len > 0; len -= n) {
        n = MIN(len, ZERO_BUF);
        iov_add(v, (void *)zero_buf, n);
    }
}

/* One write of head, data and tail. */
static int alloc_write_data(Co *co, Node *node, const Qcow2Alloc *a,
                            int64_t off, int64_t end, const IoVec *iov,
                            int64_t iov_off, const Cow *c, ReqFlags flags)
{
    Qcow2State *s = qcow2_state(node);
    int64_t host = a->host + (a->cow_start - a->off);
    int64_t len = a->cow_end - a->cow_start;
    IoVec v;
    int r = qcow2_overlap_check(co, node, QCOW2_OL_NONE, host, len, true);

    if (r < 0) {
        return r;
    }
    qcow2_event(co, node, BLKDBG_WRITE_AIO);
    if (!c->head && !c->tail) {
        return io_write(co, s->data, host, len, iov, iov_off, flags);
    }
    qcow2_event(co, node, BLKDBG_COW_WRITE);
    iov_init(&v, 4);
    add_part(&v, c, c->head_zero, 0, c->head);
    iov_concat(&v, iov, iov_off, end - off);
    add_part(&v, c, c->tail_zero, c->tail_at, c->tail);
    r = io_write(co, s->data, host, len, &v, 0, flags);
    iov_destroy(&v);
    return r;
}

/* ---- link ---- */

/* The bitmap of cluster @n after [start, end) (guest) has been written. */
static uint64_t new_bitmap(const Qcow2State *s, const Qcow2Alloc *a, int64_t n,
                           int64_t start, int64_t end, uint64_t bitmap)
{
    int64_t base = a->off + n * s->cluster_size;
    int64_t from = MAX(start - base, 0);
    int64_t to = MIN(end - base, s->cluster_size);
    int first = from >> s->sub_bits;
    int last = (to + s->sub_size - 1) >> s->sub_bits;

    if (a->whole) {
        return QCOW2_SUB_ALL_ALLOC;
    }
    bitmap &= ~qcow2_sub_zero_range(first, last);
    return bitmap | qcow2_sub_alloc_range(first, last);
}

static void alloc_link(Node *node, Qcow2Alloc *a, int64_t start, int64_t end)
{
    Qcow2State *s = qcow2_state(node);

    for (int64_t n = 0; n < a->len >> s->cluster_bits; n++) {
        int i = a->index + n;
        uint64_t old = qcow2_l2_entry(s, a->slice, i);
        uint64_t bitmap = qcow2_l2_bitmap(s, a->slice, i);
        uint64_t entry = (a->host + n * s->cluster_size) | QCOW2_COPIED;

        if (s->subclusters) {
            bitmap = new_bitmap(s, a, n, start, end, bitmap);
        }
        qcow2_l2_store(s, a->slice, i, entry, bitmap);
        if (!a->in_place) {
            qcow2_free_entry_later(node, old, QCOW2_DISCARD_OTHER);
        }
    }
}

static void alloc_undo(Co *co, Node *node, const Qcow2Alloc *a,
                       Qcow2DiscardType type)
{
    Qcow2State *s = qcow2_state(node);

    if (!a->in_place && !s->external_data) {
        co_mutex_lock(co, &s->meta);
        qcow2_free_clusters(co, node, a->host, a->len, type);
        co_mutex_unlock(&s->meta);
    }
}

/* ---- the whole ---- */

int qcow2_alloc_write(Co *co, Node *node, int64_t off, int64_t len,
                      const IoVec *iov, int64_t iov_off, ReqFlags flags,
                      int64_t *done)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Alloc a = { 0 };
    Cow cow = { 0 };
    int64_t end;
    int r;

    co_mutex_lock(co, &s->meta);
    r = plan(co, node, &a, off, len, done);
    co_mutex_unlock(&s->meta);
    if (r < 0 || !*done) {
        return r;
    }
    end = off + *done;
    r = cow_prepare(co, node, &a, off, end, &cow);
    if (r >= 0) {
        r = alloc_write_data(co, node, &a, off, end, iov, iov_off, &cow,
                             flags);
    }
    aligned_free(cow.buf);
    if (r < 0) {
        alloc_undo(co, node, &a, QCOW2_DISCARD_NEVER);
    } else {
        alloc_link(node, &a, off & ~(s->sub_size - 1),
                   (end + s->sub_size - 1) & ~(s->sub_size - 1));
    }
    qcow2_alloc_end(&a);
    return r;
}

/* Zeroes as data, so that the storage has a place for all of it. */
static int map_write_zeroes(Co *co, Node *node, int64_t host, int64_t len)
{
    Qcow2State *s = qcow2_state(node);
    struct iovec vec[32];
    IoVec v;
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(vec); i++) {
        vec[i] = (struct iovec) { (void *)zero_buf, ZERO_BUF };
    }
    iov_init_external(&v, vec, ARRAY_SIZE(vec));
    for (int64_t n; len > 0 && r >= 0; host += n, len -= n) {
        n = MIN(len, v.len);
        r = io_write(co, s->data, host, n, &v, 0, 0);
    }
    return r;
}

/* Clusters that may hold anything must not show it. */
static int map_zero(Co *co, Node *node, const Qcow2Alloc *a, PreallocMode mode)
{
    Qcow2State *s = qcow2_state(node);
    bool raw = s->hdr.autoclear & QCOW2_AUTOCLEAR_RAW_DATA;

    if (mode == PREALLOC_MODE_FULL) {
        return map_write_zeroes(co, node, a->host, a->len);
    }
    if (mode != PREALLOC_MODE_FALLOC && (a->fresh || s->subclusters || raw)) {
        return 0;
    }
    return io_zero(co, s->data, a->host, a->len, 0);
}

/* Subclusters keep their types; the cluster gets a place. */
static void map_link(Node *node, Qcow2Alloc *a)
{
    Qcow2State *s = qcow2_state(node);

    if (!s->subclusters) {
        alloc_link(node, a, a->off, a->off + a->len);
        return;
    }
    for (int64_t n = 0; n < a->len >> s->cluster_bits && !a->in_place; n++) {
        uint64_t old = qcow2_l2_entry(s, a->slice, a->index + n);

        qcow2_l2_store(s, a->slice, a->index + n,
                       (a->host + n * s->cluster_size) | QCOW2_COPIED,
                       qcow2_l2_bitmap(s, a->slice, a->index + n));
        qcow2_free_entry_later(node, old, QCOW2_DISCARD_OTHER);
    }
}

int qcow2_alloc_map(Co *co, Node *node, int64_t off, int64_t len,
                    PreallocMode mode, int64_t *end)
{
    Qcow2State *s = qcow2_state(node);
    int r = 0;

    while (len > 0 && r >= 0) {
        Qcow2Alloc a = { 0 };
        int64_t done;

        co_mutex_lock(co, &s->meta);
        r = plan(co, node, &a, off, len, &done);
        co_mutex_unlock(&s->meta);
        if (r < 0) {
            break;
        }
        if (!done) {
            done = MIN(len, s->cluster_size);
        } else {
            r = a.whole ? 0 : map_zero(co, node, &a, mode);
            if (r < 0 || a.whole) {
                /* The space that was taken may be a whole L2 table's. */
                alloc_undo(co, node, &a, QCOW2_DISCARD_ALWAYS);
            } else {
                map_link(node, &a);
                *end = MAX(*end, a.host + a.len);
            }
            qcow2_alloc_end(&a);
        }
        off += done;
        len -= done;
    }
    return r;
}
