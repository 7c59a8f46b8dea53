/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The guest; see the header. */
#include "guest.h"

#include "block/dirty-bitmap.h"
#include "loop-sim.h"

#define COPY_SECTORS 128        /* that a backup copies together */

typedef struct Range {
    int64_t first, n;           /* sectors */
    /* A bitmap was cleared while it was under way: after all of it was on the
     * disk, perhaps, or after its first half. */
    bool uncertain;
    struct Range *next;
} Range;

struct Guest {
    Root *root;
    int64_t sectors;
    uint32_t *tags, last_tag;
    Range *busy;
    GPtrArray *cuts, *shadows;
    int writers, ops;
    Co *waiter;
};

static size_t tags_size(const Guest *g)
{
    return g->sectors * sizeof(*g->tags);
}

/* ---- cuts ---- */

int guest_cut(Guest *g)
{
    g_ptr_array_add(g->cuts, g_memdup2(g->tags, tags_size(g)));
    return g->cuts->len - 1;
}

static void guest_resumed(Root *root)
{
    g_assert_cmpuint(root->in_flight, ==, 0);
    guest_cut(root->opaque);
}

int guest_cuts(const Guest *g)
{
    return g->cuts->len;
}

static void fill(uint32_t *sector, uint32_t tag, int64_t number)
{
    for (int i = 0; i < SECTOR / 8; i++) {
        sector[2 * i] = tag;
        sector[2 * i + 1] = tag ? number : 0;
    }
}

/* The first sector where @buf is not what @tags say, or -1. */
static int64_t differs(const Guest *g, const uint8_t *buf,
                       const uint32_t *tags)
{
    uint32_t want[SECTOR / 4];

    for (int64_t i = 0; i < g->sectors; i++) {
        if (tags[i] == GUEST_UNSURE) {
            continue;
        }
        fill(want, tags[i], i);
        if (memcmp(want, buf + i * SECTOR, SECTOR) != 0) {
            return i;
        }
    }
    return -1;
}

static uint8_t *read_all(Co *co, const Guest *g, Root *root)
{
    uint8_t *buf = g_malloc(g->sectors * SECTOR);

    g_assert_cmpint(root_length(root), ==, g->sectors * SECTOR);
    g_assert_cmpint(root_pread(co, root, 0, g->sectors * SECTOR, buf), ==, 0);
    return buf;
}

void guest_check(Co *co, Guest *g, Root *root)
{
    g_autofree uint8_t *buf = read_all(co, g, root);
    int64_t at = differs(g, buf, g->tags);

    if (at >= 0) {
        g_error("sector %" PRId64 " has tag %u and not %u", at,
                ((uint32_t *)buf)[at * SECTOR / 4], g->tags[at]);
    }
}

bool guest_is_cut(Co *co, Guest *g, Root *root, int first, int last)
{
    g_autofree uint8_t *buf = read_all(co, g, root);

    for (int i = first; i < last; i++) {
        if (differs(g, buf, g->cuts->pdata[i]) < 0) {
            return true;
        }
    }
    return false;
}

/* ---- bitmaps ---- */

static void shadow_free(gpointer opaque)
{
    Shadow *s = opaque;

    g_free(s->name);
    g_free(s->must);
    g_free(s->may);
    g_free(s->must_next);
    g_free(s->may_next);
    g_free(s);
}

Shadow *guest_shadow(Guest *g, const char *name)
{
    Shadow *s = g_new0(Shadow, 1);

    s->name = g_strdup(name);
    s->recording = true;
    g_ptr_array_add(g->shadows, s);
    guest_mark(g, s);
    guest_returned(g, s);
    guest_cleared(s);
    return s;
}

void guest_forget(Guest *g, Shadow *s)
{
    g_ptr_array_remove(g->shadows, s);
}

Shadow *guest_find(Guest *g, const char *name)
{
    for (guint i = 0; i < g->shadows->len; i++) {
        Shadow *s = g->shadows->pdata[i];

        if (g_str_equal(s->name, name)) {
            return s;
        }
    }
    return NULL;
}

void guest_mark(Guest *g, Shadow *s)
{
    g_assert(!s->may_next);
    s->may_next = g_new0(bool, g->sectors);
    for (Range *r = g->busy; r; r = r->next) {
        memset(s->may_next + r->first, true, r->n);
    }
}

void guest_under_way(Guest *g)
{
    for (Range *r = g->busy; r; r = r->next) {
        r->uncertain = true;
    }
}

void guest_returned(Guest *g, Shadow *s)
{
    s->must_next = g_new0(bool, g->sectors);
    guest_under_way(g);
}

void guest_cleared(Shadow *s)
{
    g_free(s->must);
    g_free(s->may);
    s->must = g_steal_pointer(&s->must_next);
    s->may = g_steal_pointer(&s->may_next);
}

void guest_kept(Shadow *s)
{
    g_clear_pointer(&s->must_next, g_free);
    g_clear_pointer(&s->may_next, g_free);
}

static void begun(Guest *g, const Range *r)
{
    for (guint i = 0; i < g->shadows->len; i++) {
        Shadow *s = g->shadows->pdata[i];

        memset(s->may + r->first, true, r->n);
        if (s->may_next) {
            memset(s->may_next + r->first, true, r->n);
        }
    }
}

static void written(Guest *g, const Range *r)
{
    for (guint i = 0; i < g->shadows->len; i++) {
        Shadow *s = g->shadows->pdata[i];

        if (s->recording) {
            memset(s->must + r->first, true, r->n);
        }
        if (s->recording && s->must_next) {
            memset(s->must_next + r->first, true, r->n);
        }
    }
}

void guest_cleared_in_part(Guest *g, Shadow *s)
{
    g_free(s->must);
    s->must = g_steal_pointer(&s->must_next);
    for (int64_t i = 0; i < g->sectors; i += COPY_SECTORS) {
        int64_t n = MIN(COPY_SECTORS, g->sectors - i);
        bool any = false;

        for (int64_t j = i; j < i + n; j++) {
            any |= s->may[j];
        }
        memset(s->may + i, any, n);
    }
    g_clear_pointer(&s->may_next, g_free);
}

static bool is_busy(const Guest *g, int64_t first, int64_t n);

void guest_check_rest(Co *co, Guest *g, Node *node, const Shadow *s, Root *copy)
{
    g_autofree uint8_t *buf = read_all(co, g, copy);
    DirtyBitmap *bm = bitmap_find(node, s->name);
    int64_t granule = bitmap_granularity(bm) / SECTOR;
    const Bitset *bits = bitmap_bits(co, bm, &error_abort);
    uint32_t want[SECTOR / 4];

    for (int64_t i = 0; i < g->sectors; i++) {
        if (bitset_test(bits, i / granule) || g->tags[i] == GUEST_UNSURE ||
            is_busy(g, i, 1)) {
            continue;
        }
        fill(want, g->tags[i], i);
        if (memcmp(want, buf + i * SECTOR, SECTOR) != 0) {
            g_error("bitmap %s is clean at sector %" PRId64 ", which the copy "
                    "lacks", s->name, i);
        }
    }
}

void guest_check_bitmap(Co *co, Guest *g, Node *node, Shadow *s)
{
    DirtyBitmap *bm = bitmap_find(node, s->name);
    int64_t granule = bitmap_granularity(bm) / SECTOR;
    const Bitset *bits = bitmap_bits(co, bm, &error_abort);

    for (int64_t i = 0; i < g->sectors; i += granule) {
        bool must = false, may = false;
        bool is = bitset_test(bits, i / granule);

        for (int64_t j = i; j < MIN(i + granule, g->sectors); j++) {
            must |= s->must[j];
            may |= s->may[j];
        }
        if ((must && !is) || (is && !may)) {
            g_error("bitmap %s: granule %" PRId64 " is %s", s->name,
                    i / granule, is ? "dirty without a write" : "lost");
        }
    }
}

/* ---- writers ---- */

static bool is_busy(const Guest *g, int64_t first, int64_t n)
{
    for (const Range *r = g->busy; r; r = r->next) {
        if (first < r->first + r->n && r->first < first + n) {
            return true;
        }
    }
    return false;
}

static void choose_any(const Guest *g, Range *r)
{
    r->n = 1 + sim_random(sim_one_in(3) ? 40 : 6);
    r->first = sim_random(g->sectors - r->n + 1);
}

static void choose(Co *co, Guest *g, Range *r)
{
    do {
        choose_any(g, r);
        if (is_busy(g, r->first, r->n)) {
            sim_pause(co);
        }
    } while (is_busy(g, r->first, r->n));
    r->next = g->busy;
    g->busy = r;
}

static void done(Guest *g, Range *r)
{
    Range **link = &g->busy;

    while (*link != r) {
        link = &(*link)->next;
    }
    *link = r->next;
}

static int put(Co *co, Guest *g, const Range *r, uint32_t *tag)
{
    int64_t off = r->first * SECTOR, len = r->n * SECTOR;
    g_autofree uint32_t *buf = NULL;

    if (sim_one_in(6)) {
        *tag = 0;
        return root_zero(co, g->root, off, len,
                         sim_one_in(2) ? REQ_MAY_UNMAP : 0);
    }
    buf = g_malloc(len);
    *tag = ++g->last_tag;
    for (int64_t i = 0; i < r->n; i++) {
        fill(buf + i * SECTOR / 4, *tag, r->first + i);
    }
    return root_pwrite(co, g->root, off, len, buf,
                       sim_one_in(10) ? REQ_FUA : 0);
}

static void write_some(Co *co, Guest *g)
{
    uint32_t tag;
    Range r;
    int ret;

    choose(co, g, &r);
    r.uncertain = false;
    begun(g, &r);
    ret = put(co, g, &r, &tag);
    for (int64_t i = 0; i < r.n; i++) {
        g->tags[r.first + i] = ret < 0 ? GUEST_UNSURE : tag;
    }
    if (ret == 0 && !r.uncertain) {
        written(g, &r);
    }
    done(g, &r);
}

/* What a discard leaves behind is read and taken as it is. */
static void discard_some(Co *co, Guest *g)
{
    Range r;

    choose(co, g, &r);
    begun(g, &r);
    root_discard(co, g->root, r.first * SECTOR, r.n * SECTOR);
    for (int64_t i = 0; i < r.n; i++) {
        g->tags[r.first + i] = GUEST_UNSURE;
    }
    done(g, &r);
}

static int read_and_check(Co *co, Root *root, const Range *r,
                          const uint32_t *tags)
{
    g_autofree uint32_t *buf = g_malloc(r->n * SECTOR);
    uint32_t want[SECTOR / 4];
    int ret = root_pread(co, root, r->first * SECTOR, r->n * SECTOR, buf);

    for (int64_t i = 0; ret == 0 && i < r->n; i++) {
        uint32_t tag = tags[r->first + i];

        fill(want, tag, r->first + i);
        if (tag != GUEST_UNSURE &&
            memcmp(want, buf + i * SECTOR / 4, SECTOR) != 0) {
            g_error("sector %" PRId64 " reads as %u and not %u", r->first + i,
                    buf[i * SECTOR / 4], tag);
        }
    }
    return ret;
}

static void read_some(Co *co, Guest *g)
{
    Range r;

    choose(co, g, &r);
    read_and_check(co, g->root, &r, g->tags);
    done(g, &r);
}

int guest_look(Co *co, Guest *g, Root *root, int cut)
{
    Range r;

    choose_any(g, &r);
    return read_and_check(co, root, &r, g->cuts->pdata[cut]);
}

static void writer(Co *co, void *opaque)
{
    Guest *g = opaque;

    for (int i = 0; i < g->ops; i++) {
        switch (sim_random(12)) {
        case 0:
            root_flush(co, g->root);
            break;
        case 1:
            discard_some(co, g);
            break;
        case 2:
        case 3:
            read_some(co, g);
            break;
        case 4:
            sim_pause(co);
            break;
        default:
            write_some(co, g);
            break;
        }
    }
    if (--g->writers == 0 && g->waiter) {
        co_wake(g->waiter);
    }
}

/* ---- life ---- */

static const RootOps guest_ops = { .kind = "test", .resume = guest_resumed };

void guest_enter(Co *co, Guest *g, Node *node)
{
    g->root = root_open(co, node, "", &guest_ops, g,
                        PERM_CONSISTENT_READ | PERM_WRITE, PERM_ALL,
                        &error_abort);
}

Guest *guest_new(Co *co, Node *node)
{
    Guest *g = g_new0(Guest, 1);

    g->sectors = node->length / SECTOR;
    g->tags = g_malloc0(tags_size(g));
    g->cuts = g_ptr_array_new_with_free_func(g_free);
    g->shadows = g_ptr_array_new_with_free_func(shadow_free);
    guest_enter(co, g, node);
    return g;
}

void guest_leave(Co *co, Guest *g)
{
    root_free(co, g_steal_pointer(&g->root));
}

void guest_free(Co *co, Guest *g)
{
    root_free(co, g->root);
    g_ptr_array_unref(g->cuts);
    g_ptr_array_unref(g->shadows);
    g_free(g->tags);
    g_free(g);
}

Root *guest_root(Guest *g)
{
    return g->root;
}

int64_t guest_sectors(const Guest *g)
{
    return g->sectors;
}

void guest_start(Guest *g, int writers, int ops)
{
    g->writers = writers;
    g->ops = ops;
    for (int i = 0; i < writers; i++) {
        co_spawn(loop_main(), writer, g);
    }
}

uint32_t *guest_content(const Guest *g)
{
    uint32_t *content = g_memdup2(g->tags, tags_size(g));

    for (int64_t i = 0; i < g->sectors; i++) {
        content[i] = content[i] == GUEST_UNSURE ? 0 : content[i];
    }
    for (const Range *r = g->busy; r; r = r->next) {
        memset(content + r->first, 0, r->n * sizeof(*content));
    }
    return content;
}

bool guest_is_writing(const Guest *g)
{
    return g->writers > 0;
}

void guest_wait(Co *co, Guest *g)
{
    if (g->writers) {
        g->waiter = co;
        co_suspend(co);
        g->waiter = NULL;
    }
}
