/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The cache of L2 slices and the cache of refcount block slices.
 *
 *     hash: offset -> table        tables[]: what the clock hand goes over
 *     dirty[]: tables to be written, in the order they were first changed
 *
 * A table is loading (in the hash, not valid), or valid. It is pinned by those
 * who look at it; a pinned or dirty one stays. A find marks it recent; the
 * hand takes the mark away and evicts what has none. Where all are pinned the
 * cache grows past its limit rather than wait, and shrinks again later.
 *
 * Write-back copies the changed bytes of many tables first, then runs the
 * barrier, then writes the copies: whatever the copied entries refer to was in
 * memory before the copy, so the barrier covers it, and changes made while the
 * barrier suspends wait for the next round. One write-back at a time.
 *
 * It does not know what tables mean.
 */
#include "block/qcow2.h"

/* Copied bytes of one round of write-back. */
#define CACHE_ROUND_BYTES (4 * MiB)
#define CACHE_WRITERS 8

struct Qcow2Cache {
    Node *node;
    int64_t max;
    int entry_size;
    int section;
    int (*barrier)(Co *co, Node *node);
    GPtrArray *tables;          /* of Qcow2Table, slot by slot */
    Qcow2Table **hash;
    uint32_t hash_mask;
    unsigned hand;
    unsigned clean_gen;
    GPtrArray *dirty;           /* first changed since the last write-back */
    GPtrArray *writing;         /* what the write-back has still to copy */
    CoMutex write_lock;
};

/* One write of a round: the copies of adjacent tables. */
typedef struct CacheWrite {
    Qcow2Cache *cache;
    int64_t off, len;
    const uint8_t *data;
} CacheWrite;

/* A copied table of a round. */
typedef struct CacheCopy {
    Qcow2Table *table;
    int from, to;
} CacheCopy;

static uint32_t cache_hash(const Qcow2Cache *c, int64_t off)
{
    return ((uint64_t)off / 512 * 0x9e3779b97f4a7c15ULL) >> 32 & c->hash_mask;
}

Qcow2Cache *qcow2_cache_new(Node *node, int64_t max, int entry_size,
                            int section,
                            int (*barrier)(Co *co, Node *node))
{
    Qcow2Cache *c = g_new0(Qcow2Cache, 1);

    c->node = node;
    c->max = MAX(max, 1);
    c->entry_size = entry_size;
    c->section = section;
    c->barrier = barrier;
    c->tables = g_ptr_array_new();
    c->dirty = g_ptr_array_new();
    c->writing = g_ptr_array_new();
    c->hash_mask = 63;
    c->hash = g_new0(Qcow2Table *, c->hash_mask + 1);
    return c;
}

static void table_free(Qcow2Table *t)
{
    g_assert(!t->pins && co_queue_empty(&t->waiters));
    aligned_free(t->data);
    g_free(t);
}

void qcow2_cache_free(Qcow2Cache *c)
{
    if (!c) {
        return;
    }
    for (unsigned i = 0; i < c->tables->len; i++) {
        table_free(g_ptr_array_index(c->tables, i));
    }
    g_ptr_array_free(c->tables, true);
    g_ptr_array_free(c->dirty, true);
    g_ptr_array_free(c->writing, true);
    g_free(c->hash);
    g_free(c);
}

int qcow2_cache_entry_size(const Qcow2Cache *c)
{
    return c->entry_size;
}

static Qcow2Table *hash_find(const Qcow2Cache *c, int64_t off)
{
    Qcow2Table *t = c->hash[cache_hash(c, off)];

    while (t && t->off != off) {
        t = t->hash_next;
    }
    return t;
}

static void hash_add(Qcow2Cache *c, Qcow2Table *t)
{
    uint32_t h = cache_hash(c, t->off);

    t->hash_next = c->hash[h];
    c->hash[h] = t;
}

static void hash_remove(Qcow2Cache *c, Qcow2Table *t)
{
    Qcow2Table **p = &c->hash[cache_hash(c, t->off)];

    while (*p != t) {
        p = &(*p)->hash_next;
    }
    *p = t->hash_next;
}

static void hash_resize(Qcow2Cache *c)
{
    g_free(c->hash);
    c->hash_mask = c->hash_mask * 2 + 1;
    c->hash = g_new0(Qcow2Table *, c->hash_mask + 1);
    for (unsigned i = 0; i < c->tables->len; i++) {
        hash_add(c, g_ptr_array_index(c->tables, i));
    }
}

static bool table_is_dirty(const Qcow2Table *t)
{
    return t->dirty_from != t->dirty_to;
}

static Qcow2Table *table_pin(Qcow2Cache *c, Qcow2Table *t)
{
    t->pins++;
    t->recent = true;
    t->clean_gen = c->clean_gen;
    return t;
}

Qcow2Table *qcow2_cache_find(Qcow2Cache *c, int64_t off)
{
    Qcow2Table *t = hash_find(c, off);

    return t && t->valid ? table_pin(c, t) : NULL;
}

void qcow2_cache_put(Qcow2Table *t)
{
    if (t) {
        g_assert(t->pins > 0);
        t->pins--;
    }
}

void qcow2_cache_dirty(Qcow2Cache *c, Qcow2Table *t, int from, int len)
{
    if (!table_is_dirty(t)) {
        g_ptr_array_add(c->dirty, t);
        t->dirty_from = from;
        t->dirty_to = from + len;
        return;
    }
    t->dirty_from = MIN(t->dirty_from, from);
    t->dirty_to = MAX(t->dirty_to, from + len);
}

bool qcow2_cache_has_dirty(const Qcow2Cache *c)
{
    return c->dirty->len || c->writing->len;
}

/* Takes @t out of all that know it and frees it. */
static void table_remove(Qcow2Cache *c, Qcow2Table *t)
{
    Qcow2Table *last = g_ptr_array_index(c->tables, c->tables->len - 1);

    if (table_is_dirty(t)) {
        if (!g_ptr_array_remove(c->dirty, t)) {
            /* The write-back under way goes over this array by index. */
            for (unsigned i = 0; i < c->writing->len; i++) {
                if (g_ptr_array_index(c->writing, i) == t) {
                    c->writing->pdata[i] = NULL;
                }
            }
        }
    }
    hash_remove(c, t);
    c->tables->pdata[t->slot] = last;
    last->slot = t->slot;
    g_ptr_array_set_size(c->tables, c->tables->len - 1);
    table_free(t);
}

static bool table_evictable(const Qcow2Table *t)
{
    return !t->pins && t->valid && !t->writing && !table_is_dirty(t) &&
           co_queue_empty(&t->waiters);
}

/* Makes room for one more; false if only dirty tables stand in the way. */
static bool cache_make_room(Qcow2Cache *c)
{
    bool dirty = false;

    for (int64_t steps = 2 * (int64_t)c->tables->len;
         c->tables->len >= c->max && steps > 0; steps--) {
        Qcow2Table *t;

        c->hand = c->hand < c->tables->len ? c->hand : 0;
        t = g_ptr_array_index(c->tables, c->hand);
        if (!t->pins && table_is_dirty(t)) {
            dirty = true;
            c->hand++;
        } else if (!table_evictable(t)) {
            c->hand++;
        } else if (t->recent) {
            t->recent = false;
            c->hand++;
        } else {
            table_remove(c, t);
        }
    }
    return c->tables->len < c->max || !dirty;
}

static Qcow2Table *table_new(Qcow2Cache *c, int64_t off)
{
    int64_t align = MAX(c->node->file->child->limits.mem_alignment, 64);
    void *data = aligned_try_alloc_io(align, c->entry_size);
    Qcow2Table *t;

    if (!data) {
        return NULL;
    }
    t = g_new0(Qcow2Table, 1);
    t->off = off;
    t->data = data;
    t->slot = c->tables->len;
    g_ptr_array_add(c->tables, t);
    qcow2_cache_clean_arm(qcow2_state(c->node));
    hash_add(c, t);
    if (c->tables->len > c->hash_mask) {
        hash_resize(c);
    }
    return t;
}

/*
 * The table at @off: a pinned valid one (1), or a new one that is not valid
 * yet (0). Suspends while others load it or to make room.
 */
static int cache_acquire(Co *co, Qcow2Cache *c, int64_t off, Qcow2Table **ret)
{
    for (;;) {
        Qcow2Table *t = hash_find(c, off);
        int r;

        if (t && t->valid) {
            *ret = table_pin(c, t);
            return 1;
        }
        if (t) {
            co_queue_wait(co, &t->waiters);
            continue;
        }
        if (!cache_make_room(c)) {
            r = qcow2_cache_write(co, c);
            if (r < 0) {
                return r;
            }
            if (hash_find(c, off)) {
                continue;
            }
            cache_make_room(c);
        }
        t = table_new(c, off);
        if (!t) {
            return -ENOMEM;
        }
        *ret = table_pin(c, t);
        return 0;
    }
}

int qcow2_cache_get(Co *co, Qcow2Cache *c, int64_t off, Qcow2Table **ret)
{
    Qcow2Table *t = NULL;
    int r = cache_acquire(co, c, off, &t);

    if (r < 0) {
        return r;
    }
    if (r == 0) {
        qcow2_event(co, c->node, c->section == QCOW2_OL_REFCOUNT_BLOCK
                                 ? BLKDBG_REFBLOCK_LOAD : BLKDBG_L2_LOAD);
        r = io_pread(co, c->node->file, off, c->entry_size, t->data, 0);
        t->valid = r >= 0;
        co_queue_wake_all(&t->waiters);
        if (r < 0) {
            t->pins--;
            table_remove(c, t);
            return r;
        }
    }
    *ret = t;
    return 0;
}

int qcow2_cache_get_new(Co *co, Qcow2Cache *c, int64_t off, Qcow2Table **ret)
{
    Qcow2Table *t = NULL;
    int r = cache_acquire(co, c, off, &t);

    if (r < 0) {
        return r;
    }
    memset(t->data, 0, c->entry_size);
    t->valid = true;
    co_queue_wake_all(&t->waiters);
    qcow2_cache_dirty(c, t, 0, c->entry_size);
    *ret = t;
    return 0;
}

/* ---- write-back ---- */

static int cache_write_one(Co *co, void *arg)
{
    g_autofree CacheWrite *w = arg;
    Node *node = w->cache->node;
    int r = qcow2_overlap_check(co, node, w->cache->section, w->off, w->len,
                                false);

    if (r < 0) {
        return r;
    }
    qcow2_event(co, node, w->cache->section == QCOW2_OL_REFCOUNT_BLOCK
                          ? BLKDBG_REFBLOCK_UPDATE_PART : BLKDBG_L2_UPDATE);
    return io_pwrite(co, node->file, w->off, w->len, w->data, 0);
}

/* Changed bytes, at the granularity in which the file is written. */
static void copy_bounds(const Qcow2Cache *c, const Qcow2Table *t, int *from,
                        int *to)
{
    int64_t align = MAX(c->node->file->child->limits.request_alignment, 512);

    align = MIN(align, c->entry_size);
    *from = ROUND_DOWN(t->dirty_from, align);
    *to = MIN(ROUND_UP(t->dirty_to, align), c->entry_size);
}

static gint table_compare(gconstpointer a, gconstpointer b)
{
    const Qcow2Table *x = *(Qcow2Table *const *)a;
    const Qcow2Table *y = *(Qcow2Table *const *)b;

    return x->off < y->off ? -1 : x->off > y->off;
}

/* Copies tables of c->writing from @*next on into @buf; clean from then on. */
static GArray *round_copy(Qcow2Cache *c, unsigned *next, uint8_t *buf)
{
    GArray *copies = g_array_new(false, false, sizeof(CacheCopy));
    int64_t used = 0;

    for (; *next < c->writing->len; ++*next) {
        Qcow2Table *t = g_ptr_array_index(c->writing, *next);
        CacheCopy copy = { t };

        if (!t) {
            continue;
        }
        copy_bounds(c, t, &copy.from, &copy.to);
        if (used && used + copy.to - copy.from > CACHE_ROUND_BYTES) {
            break;
        }
        memcpy(buf + used, (uint8_t *)t->data + copy.from,
               copy.to - copy.from);
        used += copy.to - copy.from;
        t->dirty_from = t->dirty_to = 0;
        t->writing = true;
        g_array_append_val(copies, copy);
        c->writing->pdata[*next] = NULL;
    }
    return copies;
}

/* Writes the copies, adjacent ones together. */
static int round_write(Co *co, Qcow2Cache *c, const GArray *copies,
                       const uint8_t *buf)
{
    CoGroup group;

    co_group_init(&group, co_loop(co), CACHE_WRITERS);
    for (unsigned i = 0; i < copies->len;) {
        CacheWrite *w = g_new(CacheWrite, 1);
        const CacheCopy *copy = &g_array_index(copies, CacheCopy, i);

        *w = (CacheWrite) {
            .cache = c,
            .off = copy->table->off + copy->from,
            .len = copy->to - copy->from,
            .data = buf,
        };
        for (i++; i < copies->len; i++) {
            copy = &g_array_index(copies, CacheCopy, i);
            if (copy->table->off + copy->from != w->off + w->len) {
                break;
            }
            w->len += copy->to - copy->from;
        }
        buf += w->len;
        co_group_start(co, &group, cache_write_one, w);
    }
    return co_group_wait(co, &group);
}

static void round_end(Qcow2Cache *c, const GArray *copies, bool failed)
{
    for (unsigned i = 0; i < copies->len; i++) {
        const CacheCopy *copy = &g_array_index(copies, CacheCopy, i);

        copy->table->writing = false;
        if (failed) {
            qcow2_cache_dirty(c, copy->table, copy->from,
                              copy->to - copy->from);
        }
        co_queue_wake_all(&copy->table->waiters);
    }
}

static int cache_round(Co *co, Qcow2Cache *c, unsigned *next, uint8_t *buf)
{
    g_autoptr(GArray) copies = round_copy(c, next, buf);
    int r = 0;

    if (copies->len && c->barrier) {
        r = c->barrier(co, c->node);
    }
    if (r >= 0) {
        r = round_write(co, c, copies, buf);
    }
    round_end(c, copies, r < 0);
    return r;
}

int qcow2_cache_write(Co *co, Qcow2Cache *c)
{
    int64_t align = MAX(c->node->file->child->limits.mem_alignment, 64);
    int64_t bytes = 0;
    AlignedBuf *buf;
    unsigned next = 0;
    int r = 0;

    co_mutex_lock(co, &c->write_lock);
    if (!c->dirty->len) {
        co_mutex_unlock(&c->write_lock);
        return 0;
    }
    /* The last write-back has emptied it. */
    g_ptr_array_set_size(c->writing, 0);
    for (unsigned i = 0; i < c->dirty->len; i++) {
        int from, to;

        copy_bounds(c, g_ptr_array_index(c->dirty, i), &from, &to);
        bytes += to - from;
        g_ptr_array_add(c->writing, g_ptr_array_index(c->dirty, i));
    }
    g_ptr_array_set_size(c->dirty, 0);
    g_ptr_array_sort(c->writing, table_compare);

    /* One round copies all without suspending, unless they are too many. */
    buf = aligned_try_alloc_io(align, MIN(bytes, CACHE_ROUND_BYTES));
    r = buf ? 0 : -ENOMEM;
    while (r >= 0 && next < c->writing->len) {
        r = cache_round(co, c, &next, buf);
    }
    for (unsigned i = 0; i < c->writing->len; i++) {
        if (g_ptr_array_index(c->writing, i)) {
            g_ptr_array_add(c->dirty, g_ptr_array_index(c->writing, i));
        }
    }
    g_ptr_array_set_size(c->writing, 0);
    aligned_free(buf);
    co_mutex_unlock(&c->write_lock);
    return r;
}

/* ---- forgetting ---- */

void qcow2_cache_drop(Co *co, Qcow2Cache *c, int64_t off, int64_t len)
{
    for (int64_t o = off; o < off + len; o += c->entry_size) {
        Qcow2Table *t;

        while ((t = hash_find(c, o))) {
            if (t->writing || !t->valid) {
                co_queue_wait(co, &t->waiters);
                continue;
            }
            table_remove(c, t);
        }
    }
}

void qcow2_cache_drop_all(Co *co, Qcow2Cache *c)
{
    while (c->tables->len) {
        Qcow2Table *t = g_ptr_array_index(c->tables, c->tables->len - 1);

        qcow2_cache_drop(co, c, t->off, c->entry_size);
    }
}

int64_t qcow2_cache_clean_unused(Qcow2Cache *c)
{
    int64_t freed = 0;

    for (unsigned i = c->tables->len; i-- > 0;) {
        Qcow2Table *t = g_ptr_array_index(c->tables, i);

        if (t->clean_gen != c->clean_gen && table_evictable(t)) {
            table_remove(c, t);
            freed += c->entry_size;
        }
    }
    c->clean_gen++;
    return freed;
}

bool qcow2_cache_is_empty(const Qcow2Cache *c)
{
    return !c->tables->len;
}
