/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Counting references to host clusters: one counter a cluster of the file, as
 * wide as the refcounts of the image need.
 */
#include "block/qcow2-check.h"

/* How far behind the end of the file references are noted, in clusters. */
#define OUTSIDE_WINDOW (1 << 20)

int qcow2_check_count_init(Co *co, Qcow2Check *c)
{
    Qcow2State *s = qcow2_state(c->node);

    c->file_len = io_length(co, c->node->file->child);
    if (c->file_len < 0) {
        return c->file_len;
    }
    c->n = qcow2_size_to_clusters(s, c->file_len);
    /* What begins in the last cluster may end in the one behind. */
    c->capacity = c->n + 2;
    if (s->refcount_bits <= 16) {
        c->counts16 = g_try_new0(uint16_t, c->capacity);
    } else {
        c->counts64 = g_try_new0(uint64_t, c->capacity);
    }
    return c->counts16 || c->counts64 ? 0 : -ENOMEM;
}

void qcow2_check_count_free(Qcow2Check *c)
{
    g_clear_pointer(&c->counts16, g_free);
    g_clear_pointer(&c->counts64, g_free);
    g_clear_pointer(&c->outside, g_hash_table_unref);
}

uint64_t qcow2_check_count(const Qcow2Check *c, int64_t cluster)
{
    if (cluster >= c->capacity) {
        return 0;
    }
    return c->counts16 ? c->counts16[cluster] : c->counts64[cluster];
}

void qcow2_check_set_count(Qcow2Check *c, int64_t cluster, uint64_t count)
{
    g_assert(cluster < c->capacity);
    if (c->counts16) {
        c->counts16[cluster] = count;
    } else {
        c->counts64[cluster] = count;
    }
}

void qcow2_check_tell(Qcow2Check *c, bool mend, const char *fmt, ...)
{
    va_list ap;

    fputs(mend ? "Repairing " : "ERROR ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    if (mend) {
        c->res->corruptions_fixed++;
    } else {
        c->res->corruptions++;
    }
}

static void count_overflow(Qcow2Check *c, int64_t cluster)
{
    fprintf(stderr, "ERROR: overflow cluster offset=0x%" PRIx64 "\n"
            "Use qemu-img amend to increase the refcount entry width or "
            "qemu-img convert to create a clean copy if the image cannot be "
            "opened for writing\n",
            cluster << qcow2_state(c->node)->cluster_bits);
    c->res->corruptions++;
    c->overflow = true;
}

/* Nothing of ours may be put there, as somebody takes it for his. */
static void note_outside(Qcow2Check *c, int64_t off, int64_t len)
{
    int bits = qcow2_state(c->node)->cluster_bits;
    int64_t end = (c->file_len >> bits) + OUTSIDE_WINDOW;

    if (off < 0 || off > BLOCK_MAX_LENGTH) {
        return;
    }
    if (!c->outside) {
        c->outside = g_hash_table_new(NULL, NULL);
    }
    for (int64_t i = MAX(off, c->file_len) >> bits;
         i < end && i <= (off + len - 1) >> bits; i++) {
        g_hash_table_add(c->outside, GSIZE_TO_POINTER(i));
    }
}

bool qcow2_check_refer(Qcow2Check *c, int64_t off, int64_t len)
{
    Qcow2State *s = qcow2_state(c->node);
    int64_t first, last;

    if (len <= 0) {
        return true;
    }
    if ((uint64_t)off + len >= (uint64_t)(c->file_len + s->cluster_size)) {
        fprintf(stderr, "ERROR: counting reference for region exceeding the "
                "end of the file by one cluster or more: offset 0x%" PRIx64
                " size 0x%" PRIx64 "\n", off, len);
        c->res->corruptions++;
        note_outside(c, off, len);
        return false;
    }
    first = off >> s->cluster_bits;
    last = (off + len - 1) >> s->cluster_bits;
    /* It may begin in the file and end in the cluster behind. */
    c->n = MAX(c->n, last + 1);
    for (int64_t i = first; i <= last; i++) {
        uint64_t count = qcow2_check_count(c, i);

        if (count == s->refcount_max) {
            count_overflow(c, i);
        } else {
            qcow2_check_set_count(c, i, count + 1);
            c->shared |= count > 0;
        }
    }
    return true;
}
