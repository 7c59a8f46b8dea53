/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Tables that are kept in memory as a whole, in host order: L1 tables and the
 * refcount table. Checked, read, written whole, or by their dirty sectors.
 *
 * A sector is 512 bytes, 64 entries. What is written of a changing table is a
 * copy taken at one moment (Qcow2DirtyCopy), so that its owner can say what
 * must be on disk before.
 */
#include "block/qcow2.h"

#define SECTOR_ENTRIES 64
#define SECTOR_BYTES 512
/* Tables go to the file in pieces of this size. */
#define PIECE_ENTRIES (MiB / 8)

struct Qcow2DirtyCopy {
    int64_t n;                      /* sectors */
    int64_t entries;                /* of the table; the last sector is cut */
    int64_t *index;                 /* of each sector, ascending */
    uint8_t *data;                  /* SECTOR_BYTES each, big-endian */
};

bool qcow2_validate_table(const Qcow2State *s, uint64_t off, uint64_t entries,
                          size_t entry_len, int64_t max_bytes,
                          const char *name, Error **errp)
{
    uint64_t bytes;

    if (entries > (uint64_t)max_bytes / entry_len) {
        error_setg(errp, "%s too large", name);
        return false;
    }
    bytes = entries * entry_len;
    if (off > (uint64_t)BLOCK_MAX_LENGTH - bytes || (off & (s->cluster_size - 1))) {
        error_setg(errp, "%s offset invalid", name);
        return false;
    }
    return true;
}

int qcow2_read_table(Co *co, Node *node, int64_t off, int64_t entries,
                     uint64_t **ret)
{
    g_autofree uint64_t *table = g_try_new(uint64_t, MAX(entries, 1));
    int r;

    if (!table) {
        return -ENOMEM;
    }
    if (entries) {
        r = io_pread(co, node->file, off, entries * 8, table, 0);
        if (r < 0) {
            return r;
        }
    }
    for (int64_t i = 0; i < entries; i++) {
        table[i] = ldq_be_p(&table[i]);
    }
    /* Mostly the refcount table has few entries in a whole cluster. */
    buffer_release_zeroes(table, entries * 8);
    *ret = g_steal_pointer(&table);
    return 0;
}

int qcow2_reserve_table(Co *co, Node *node, int64_t off)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree void *zeroes = g_try_malloc0(s->cluster_size);

    return zeroes ? io_pwrite(co, node->file, off, s->cluster_size, zeroes, 0)
                  : -ENOMEM;
}

int qcow2_write_table(Co *co, Node *node, int ignore, int64_t off,
                      int64_t entries, const uint64_t *table)
{
    int64_t step = MIN(entries, PIECE_ENTRIES);
    g_autofree uint8_t *buf = g_try_malloc(MAX(step, 1) * 8);
    int r;

    if (!buf) {
        return -ENOMEM;
    }
    r = qcow2_overlap_check(co, node, ignore, off, entries * 8, false);
    for (int64_t i = 0; i < entries && r >= 0; i += step) {
        int64_t n = MIN(step, entries - i);

        for (int64_t k = 0; k < n; k++) {
            stq_be_p(buf + k * 8, table[i + k]);
        }
        r = io_pwrite(co, node->file, off + i * 8, n * 8, buf, 0);
    }
    return r;
}

int64_t qcow2_write_new(Co *co, Node *node, const void *buf, int64_t len)
{
    Qcow2State *s = qcow2_state(node);
    int64_t off = qcow2_alloc_clusters(co, node, len);
    int r;

    if (off < 0) {
        return off;
    }
    r = qcow2_overlap_check(co, node, 0, off, len, false);
    if (r >= 0) {
        r = io_pwrite(co, node->file, off, len, buf, 0);
    }
    if (r >= 0) {
        co_mutex_unlock(&s->meta);
        r = qcow2_refcount_barrier(co, node);
        if (r >= 0) {
            r = io_flush(co, node->file->child);
        }
        co_mutex_lock(co, &s->meta);
    }
    if (r < 0) {
        qcow2_free_clusters(co, node, off, len, QCOW2_DISCARD_ALWAYS);
        return r;
    }
    return off;
}

static void copy_free(Qcow2DirtyCopy *copy)
{
    g_free(copy->index);
    g_free(copy->data);
    g_free(copy);
}

int qcow2_dirty_take(const uint64_t *table, int64_t entries, Bitset *dirty,
                     Qcow2DirtyCopy **ret)
{
    int64_t n = bitset_count(dirty), sector = 0;
    Qcow2DirtyCopy *copy;

    *ret = NULL;
    if (n == 0) {
        return 0;
    }
    copy = g_new0(Qcow2DirtyCopy, 1);
    copy->n = n;
    copy->entries = entries;
    copy->index = g_try_new(int64_t, n);
    copy->data = g_try_malloc0(n * SECTOR_BYTES);
    if (!copy->index || !copy->data) {
        copy_free(copy);
        return -ENOMEM;
    }
    for (int64_t i = 0; i < n; i++, sector++) {
        int64_t first;

        sector = bitset_next_set(dirty, sector, bitset_size(dirty));
        first = sector * SECTOR_ENTRIES;
        copy->index[i] = sector;
        for (int64_t k = first;
             k < MIN(first + SECTOR_ENTRIES, entries); k++) {
            stq_be_p(copy->data + i * SECTOR_BYTES + (k - first) * 8,
                     table[k]);
        }
    }
    bitset_clear_all(dirty);
    *ret = copy;
    return 0;
}

void qcow2_dirty_undo(Qcow2DirtyCopy *copy, Bitset *dirty)
{
    if (copy) {
        for (int64_t i = 0; i < copy->n; i++) {
            bitset_set(dirty, copy->index[i], 1);
        }
        copy_free(copy);
    }
}

int qcow2_dirty_write(Co *co, Node *node, int ignore, int64_t off,
                      Qcow2DirtyCopy *copy, Bitset *dirty)
{
    int64_t i = 0;
    int r = 0;

    if (!copy) {
        return 0;
    }
    while (i < copy->n && r >= 0) {
        int64_t start = copy->index[i] * SECTOR_BYTES;
        const uint8_t *data = copy->data + i * SECTOR_BYTES;
        int64_t len = SECTOR_BYTES;

        while (++i < copy->n && copy->index[i] == copy->index[i - 1] + 1) {
            len += SECTOR_BYTES;
        }
        len = MIN(len, copy->entries * 8 - start);
        r = qcow2_overlap_check(co, node, ignore, off + start, len, false);
        if (r >= 0) {
            r = io_pwrite(co, node->file, off + start, len, data, 0);
        }
    }
    if (r < 0) {
        qcow2_dirty_undo(copy, dirty);
        return r;
    }
    copy_free(copy);
    return 0;
}
