/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The bitmap directory of qcow2: entries of variable length, one after the
 * other, each padded to 8 bytes.
 *
 *      0  table offset    8     16  type             1     20  extra size   4
 *      8  table size      4     17  granularity bits 1     24  extra data
 *     12  flags           4     18  name size        2         name, padding
 *
 * A broken rule is either one bitmap's own (a reserved flag, an unknown type)
 * and is noted with it, so that the others can be used; or it leaves open
 * where the next entry begins, which ends the reading.
 */
#include "block/qcow2-bitmap-dir.h"

#define DIR_FIXED 24
#define DIR_TYPE_DIRTY 1
#define DIR_KNOWN_FLAGS (QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO)
/* Entries of a table, as QEMU limits them. */
#define DIR_MAX_TABLE_SIZE 0x8000000

#define TABLE_ONES UINT64_C(1)
#define TABLE_OFFSET_MASK QCOW2_OFFSET_MASK
#define TABLE_RESERVED (~(TABLE_OFFSET_MASK | TABLE_ONES))

void qcow2_bitmap_entry_free(Qcow2BitmapEntry *e)
{
    if (e) {
        g_free(e->name);
        g_free(e->problem);
        g_free(e);
    }
}

size_t qcow2_bitmap_entry_len(size_t name_len)
{
    return ROUND_UP(DIR_FIXED + name_len, 8);
}

static bool dir_entry_is_sane(const Qcow2BitmapEntry *e, size_t name_len,
                              int64_t cluster_size)
{
    return name_len > 0 && name_len <= QCOW2_BITMAP_MAX_NAME &&
           e->table_size > 0 && e->table_size <= DIR_MAX_TABLE_SIZE &&
           e->table_offset > 0 &&
           IS_ALIGNED(e->table_offset, (uint64_t)cluster_size) &&
           e->table_offset <= INT64_MAX - (uint64_t)e->table_size * 8 &&
           e->type == DIR_TYPE_DIRTY &&
           !(e->flags & ~DIR_KNOWN_FLAGS) &&
           e->granularity_shift >= QCOW2_BITMAP_MIN_SHIFT &&
           e->granularity_shift <= QCOW2_BITMAP_MAX_SHIFT &&
           (int64_t)e->table_size * cluster_size <= QCOW2_BITMAP_MAX_BYTES;
}

/* One entry out of @len bytes; its length, or 0 if it is not all there. */
static size_t dir_entry_decode(const uint8_t *p, size_t len,
                               int64_t cluster_size, Qcow2BitmapEntry *e)
{
    uint32_t name_len, extra_len;
    uint64_t end;

    if (len < DIR_FIXED) {
        return 0;
    }
    e->table_offset = ldq_be_p(p);
    e->table_size = ldl_be_p(p + 8);
    e->flags = ldl_be_p(p + 12);
    e->type = p[16];
    e->granularity_shift = p[17];
    name_len = lduw_be_p(p + 18);
    extra_len = ldl_be_p(p + 20);
    end = ROUND_UP((uint64_t)DIR_FIXED + extra_len + name_len, 8);
    if (end > len) {
        return 0;
    }
    e->name = g_strndup((const char *)p + DIR_FIXED + extra_len, name_len);
    if (extra_len) {
        e->problem = g_strdup("Bitmap extra data is not supported");
    } else if (!dir_entry_is_sane(e, name_len, cluster_size)) {
        e->problem = g_strdup_printf("Bitmap '%s' doesn't satisfy the "
                                     "constraints", e->name);
    }
    return end;
}

bool qcow2_bitmap_dir_decode(const uint8_t *buf, size_t len, uint32_t nb,
                             int64_t cluster_size, GPtrArray **ret,
                             Error **errp)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *entries = g_ptr_array_new_with_free_func(
        (GDestroyNotify)qcow2_bitmap_entry_free);
    size_t at = 0;

    *ret = entries;
    while (at < len) {
        Qcow2BitmapEntry *e;
        size_t n;

        if (entries->len == nb) {
            error_setg(errp, "More bitmaps found than specified in header "
                       "extension");
            return false;
        }
        e = g_new0(Qcow2BitmapEntry, 1);
        n = dir_entry_decode(buf + at, len - at, cluster_size, e);
        if (n == 0) {
            qcow2_bitmap_entry_free(e);
            error_setg(errp, "Broken bitmap directory");
            return false;
        }
        if (!g_hash_table_add(names, e->name) && !e->problem) {
            e->problem = g_strdup_printf("Bitmap already exists: %s",
                                         e->name);
        }
        g_ptr_array_add(entries, e);
        at += n;
    }
    if (entries->len < nb) {
        error_setg(errp, "Less bitmaps found than specified in header "
                   "extension");
        return false;
    }
    return true;
}

bool qcow2_bitmap_dir_cut(uint8_t *buf, size_t *len, const char *name,
                          int64_t *left)
{
    bool found = false;
    size_t at = 0, n;

    *left = 0;
    while (at < *len) {
        Qcow2BitmapEntry e = { 0 };

        n = dir_entry_decode(buf + at, *len - at, 512, &e);
        if (n && !found && strcmp(e.name, name) == 0) {
            found = true;
            memmove(buf + at, buf + at + n, *len - at - n);
            *len -= n;
        } else {
            at += n;
            *left += n != 0;
        }
        g_free(e.name);
        g_free(e.problem);
        if (!n) {
            *left = -1;
            break;
        }
    }
    return found;
}

uint8_t *qcow2_bitmap_dir_encode(const GPtrArray *entries, size_t *len)
{
    uint8_t *buf, *p;
    uint64_t n = 0;

    for (guint i = 0; i < entries->len; i++) {
        const Qcow2BitmapEntry *e = g_ptr_array_index(entries, i);

        n += qcow2_bitmap_entry_len(strlen(e->name));
    }
    if (entries->len > QCOW2_MAX_BITMAPS || n > QCOW2_MAX_BITMAP_DIR_BYTES) {
        return NULL;
    }
    p = buf = g_try_malloc0(MAX(n, 1));
    for (guint i = 0; buf && i < entries->len; i++) {
        const Qcow2BitmapEntry *e = g_ptr_array_index(entries, i);
        size_t name_len = strlen(e->name);

        stq_be_p(p, e->table_offset);
        stl_be_p(p + 8, e->table_size);
        stl_be_p(p + 12, e->flags);
        p[16] = e->type;
        p[17] = e->granularity_shift;
        stw_be_p(p + 18, name_len);
        memcpy(p + DIR_FIXED, e->name, name_len);
        p += qcow2_bitmap_entry_len(name_len);
    }
    *len = n;
    return buf;
}

int64_t qcow2_bitmap_bytes(int64_t size, int granularity_shift)
{
    int64_t granularity = INT64_C(1) << granularity_shift;
    int64_t bits = (size >> granularity_shift) +
                   ((size & (granularity - 1)) != 0);

    return DIV_ROUND_UP(bits, 8);
}

int64_t qcow2_bitmap_table_size(int64_t size, int granularity_shift,
                                int64_t cluster_size)
{
    return DIV_ROUND_UP(qcow2_bitmap_bytes(size, granularity_shift),
                        cluster_size);
}

Qcow2BitmapCluster qcow2_bitmap_table_decode(uint64_t entry,
                                             int64_t cluster_size,
                                             int64_t *off)
{
    uint64_t at = entry & TABLE_OFFSET_MASK;

    if (entry & TABLE_RESERVED || !IS_ALIGNED(at, (uint64_t)cluster_size) ||
        (at && entry & TABLE_ONES)) {
        return QCOW2_BITMAP_INVALID;
    }
    if (!at) {
        return entry & TABLE_ONES ? QCOW2_BITMAP_ONES : QCOW2_BITMAP_ZEROES;
    }
    *off = at;
    return QCOW2_BITMAP_DATA;
}

uint64_t qcow2_bitmap_table_encode(Qcow2BitmapCluster kind, int64_t off)
{
    switch (kind) {
    case QCOW2_BITMAP_ZEROES:
        return 0;
    case QCOW2_BITMAP_ONES:
        return TABLE_ONES;
    case QCOW2_BITMAP_DATA:
        return off;
    default:
        g_assert_not_reached();
    }
}
