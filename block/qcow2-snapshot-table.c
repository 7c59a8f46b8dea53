/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The snapshot table of qcow2: entries of variable length, one after the
 * other, each padded to 8 bytes.
 *
 *      0  L1 offset      8     20  date, nanoseconds  4     40  extra data
 *      8  L1 entries     4     24  VM clock, ns       8         id
 *     12  id length      2     32  VM state size      4         name
 *     14  name length    2     36  extra size         4         padding
 *     16  date, seconds  4
 *
 * Extra data: VM state size 8, disk size 8, instruction count 8, and whatever
 * later versions may add, which is kept.
 */
#include "block/qcow2-snapshot-table.h"

#define SNAPSHOT_FIXED 40

void qcow2_snapshot_clear(Qcow2Snapshot *sn)
{
    g_free(sn->id);
    g_free(sn->name);
    g_free(sn->unknown_extra);
    memset(sn, 0, sizeof(*sn));
}

static void snapshot_decode_extra(const uint8_t *extra, uint32_t len,
                                  Qcow2Snapshot *sn)
{
    if (len >= 8) {
        sn->vm_state_size = ldq_be_p(extra);
    }
    if (len >= 16) {
        sn->disk_size = ldq_be_p(extra + 8);
    }
    if (len >= 24) {
        sn->icount = ldq_be_p(extra + 16);
    }
    if (len > QCOW2_SNAPSHOT_EXTRA) {
        sn->unknown_extra = g_memdup2(extra + QCOW2_SNAPSHOT_EXTRA,
                                      len - QCOW2_SNAPSHOT_EXTRA);
    }
}

void qcow2_snapshot_lens(const uint8_t *buf, Qcow2SnapshotLens *ret)
{
    ret->id = lduw_be_p(buf + 12);
    ret->name = lduw_be_p(buf + 14);
    ret->extra = ldl_be_p(buf + 36);
    ret->entry = ROUND_UP((uint64_t)SNAPSHOT_FIXED + ret->extra + ret->id +
                          ret->name, 8);
}

void qcow2_snapshot_decode(const uint8_t *buf, uint64_t disk_size,
                           Qcow2Snapshot *sn)
{
    Qcow2SnapshotLens lens;

    qcow2_snapshot_lens(buf, &lens);
    g_assert(lens.extra <= QCOW2_MAX_SNAPSHOT_EXTRA);
    sn->extra_size = lens.extra;
    sn->l1_offset = ldq_be_p(buf);
    sn->l1_size = ldl_be_p(buf + 8);
    sn->date_sec = ldl_be_p(buf + 16);
    sn->date_nsec = ldl_be_p(buf + 20);
    sn->vm_clock_nsec = ldq_be_p(buf + 24);
    sn->vm_state_size = ldl_be_p(buf + 32);
    sn->disk_size = disk_size;
    sn->icount = UINT64_MAX;
    snapshot_decode_extra(buf + SNAPSHOT_FIXED, lens.extra, sn);
    buf += SNAPSHOT_FIXED + lens.extra;
    sn->id = g_strndup((const char *)buf, lens.id);
    sn->name = g_strndup((const char *)buf + lens.id, lens.name);
}

bool qcow2_snapshot_is_complete(const Qcow2Snapshot *sn)
{
    return sn->extra_size >= 16;
}

/* Of what is kept: never less than we know, never more than the limit. */
static uint32_t snapshot_extra_len(const Qcow2Snapshot *sn)
{
    return sn->unknown_extra ? MIN(sn->extra_size, QCOW2_MAX_SNAPSHOT_EXTRA)
                             : QCOW2_SNAPSHOT_EXTRA;
}

size_t qcow2_snapshot_encoded_len(const Qcow2Snapshot *sn)
{
    return ROUND_UP(SNAPSHOT_FIXED + snapshot_extra_len(sn) +
                    strlen(sn->id) + strlen(sn->name), 8);
}

void qcow2_snapshot_encode(const Qcow2Snapshot *sn, uint8_t *buf)
{
    uint32_t extra_len = snapshot_extra_len(sn);
    uint8_t *extra = buf + SNAPSHOT_FIXED;
    size_t id_len = strlen(sn->id), name_len = strlen(sn->name);

    memset(buf, 0, qcow2_snapshot_encoded_len(sn));
    stq_be_p(buf, sn->l1_offset);
    stl_be_p(buf + 8, sn->l1_size);
    stw_be_p(buf + 12, id_len);
    stw_be_p(buf + 14, name_len);
    stl_be_p(buf + 16, sn->date_sec);
    stl_be_p(buf + 20, sn->date_nsec);
    stq_be_p(buf + 24, sn->vm_clock_nsec);
    /* Readers of the extra data find the whole of it there. */
    stl_be_p(buf + 32, sn->vm_state_size > UINT32_MAX ? 0
                                                      : sn->vm_state_size);
    stl_be_p(buf + 36, extra_len);
    stq_be_p(extra, sn->vm_state_size);
    stq_be_p(extra + 8, sn->disk_size);
    stq_be_p(extra + 16, sn->icount);
    if (sn->unknown_extra) {
        memcpy(extra + QCOW2_SNAPSHOT_EXTRA, sn->unknown_extra,
               extra_len - QCOW2_SNAPSHOT_EXTRA);
    }
    memcpy(extra + extra_len, sn->id, id_len);
    memcpy(extra + extra_len + id_len, sn->name, name_len);
}
