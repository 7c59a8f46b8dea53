/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/* The simulated disk; see the header. */
#include "sim-disk.h"

#include <sys/mman.h>

#include "block/io.h"
#include "loop-sim.h"

#define DISK_CAPACITY (16 * MiB)

typedef struct Store {
    uint8_t *data;
    int64_t length;
} Store;

typedef struct Writing {
    int64_t off, end;
    struct Writing *next;
} Writing;

typedef struct SimDisk {
    Store *store;
    Writing *writing;
} SimDisk;

static GHashTable *stores;
static int fail_one_in, failures;

static void store_free(gpointer opaque)
{
    Store *store = opaque;

    munmap(store->data, DISK_CAPACITY);
    g_free(store);
}

void sim_disk_forget(void)
{
    if (stores) {
        g_hash_table_unref(stores);
    }
    stores = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                   store_free);
    failures = 0;
}

void sim_disk_fail(int one_in)
{
    fail_one_in = one_in;
}

int sim_disk_failures(void)
{
    return failures;
}

static int chance(void)
{
    if (fail_one_in && sim_one_in(fail_one_in)) {
        failures++;
        return sim_one_in(2) ? -EIO : -ENOSPC;
    }
    return 0;
}

static bool sim_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    SimDisk *s = node->state;
    Store *store = g_hash_table_lookup(stores, node->name);

    if (!store) {
        store = g_new0(Store, 1);
        /* Most of it is never touched, which malloc() would clear. */
        store->data = mmap(NULL, DISK_CAPACITY, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        g_assert(store->data != MAP_FAILED);
        store->length = node->options->u.null_co.size;
        g_hash_table_insert(stores, g_strdup(node->name), store);
    }
    s->store = store;
    node->length = store->length;
    return true;
}

static void sim_close(Co *co, Node *node)
{
    SimDisk *s = node->state;

    g_assert_null(s->writing);
    s->store->length = node->length;
}

static int64_t piece(int64_t left)
{
    int64_t some = 512 * (1 + sim_random(8));

    return sim_one_in(2) ? left : MIN(left, some);
}

static int sim_read(Co *co, Node *node, int64_t off, int64_t len,
                    const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    SimDisk *s = node->state;
    int ret = chance();

    for (int64_t done = 0, n; done < len; done += n) {
        sim_pause(co);
        if (ret < 0) {
            return ret;
        }
        n = piece(len - done);
        iov_from_buf(iov, iov_off + done, s->store->data + off + done, n);
    }
    return 0;
}

static void writing_begin(SimDisk *s, Writing *w)
{
    for (Writing *o = s->writing; o; o = o->next) {
        if (w->off < o->end && o->off < w->end) {
            g_error("two writes to the same place: %" PRId64 "-%" PRId64
                    ", %" PRId64 "-%" PRId64, w->off, w->end, o->off, o->end);
        }
    }
    w->next = s->writing;
    s->writing = w;
}

static void writing_end(SimDisk *s, Writing *w)
{
    Writing **link = &s->writing;

    while (*link != w) {
        link = &(*link)->next;
    }
    *link = w->next;
}

/* @iov NULL: zeroes. A failure leaves the last piece unwritten. */
static int sim_put(Co *co, Node *node, int64_t off, int64_t len,
                   const IoVec *iov, int64_t iov_off)
{
    SimDisk *s = node->state;
    Writing w = { off, off + len };
    int ret = chance();

    g_assert(off + len <= DISK_CAPACITY);
    writing_begin(s, &w);
    for (int64_t done = 0, n; done < len; done += n) {
        n = piece(len - done);
        sim_pause(co);
        if (ret < 0 && done + n == len) {
            break;
        }
        if (iov) {
            iov_to_buf(iov, iov_off + done, s->store->data + off + done, n);
        } else {
            memset(s->store->data + off + done, 0, n);
        }
    }
    sim_pause(co);
    writing_end(s, &w);
    return ret;
}

static int sim_write(Co *co, Node *node, int64_t off, int64_t len,
                     const IoVec *iov, int64_t iov_off, ReqFlags flags)
{
    return sim_put(co, node, off, len, iov, iov_off);
}

static int sim_zero(Co *co, Node *node, int64_t off, int64_t len,
                    ReqFlags flags)
{
    return sim_put(co, node, off, len, NULL, 0);
}

static int sim_discard(Co *co, Node *node, int64_t off, int64_t len)
{
    return sim_put(co, node, off, len, NULL, 0);
}

static int sim_flush(Co *co, Node *node)
{
    sim_pause(co);
    return chance();
}

static bool sim_resize(Co *co, Node *node, int64_t length, bool exact,
                       PreallocMode prealloc, ReqFlags flags, Error **errp)
{
    SimDisk *s = node->state;

    g_assert(length <= DISK_CAPACITY);
    if (length < node->length) {
        memset(s->store->data + length, 0, node->length - length);
    }
    node->length = length;
    return true;
}

static int sim_info(Co *co, Node *node, BlockDriverInfo *ret)
{
    ret->cluster_size = 4 * KiB;
    return 0;
}

const BlockDriver sim_disk_driver = {
    .name = "null-co",
    .id = BLOCKDEV_DRIVER_NULL_CO,
    .kind = DRIVER_PROTOCOL,
    .protocol = "null-co",
    .state_size = sizeof(SimDisk),
    .open = sim_open,
    .close = sim_close,
    .read = sim_read,
    .write = sim_write,
    .zero = sim_zero,
    .discard = sim_discard,
    .flush = sim_flush,
    .resize = sim_resize,
    .info = sim_info,
};
