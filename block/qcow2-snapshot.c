/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The snapshot table: read when the image is opened, and kept in memory with
 * what this version does not know (qcow2 specification, "Snapshots").
 */

#include "block/qcow2.h"
#include "util/bytes.h"

#define ENTRY_FIXED 40              /* bytes before the extra data */
#define EXTRA_VERSION_3 16          /* that version 3 must have */
#define EXTRA_KNOWN 24

void qcow2_snapshots_free(Node *node)
{
    Qcow2State *s = qcow2_state(node);

    for (unsigned i = 0; i < s->nb_snapshots; i++) {
        g_free(s->snapshots[i].id);
        g_free(s->snapshots[i].name);
        g_free(s->snapshots[i].unknown_extra);
    }
    g_clear_pointer(&s->snapshots, g_free);
    s->nb_snapshots = 0;
    s->snapshots_bytes = 0;
}

static void decode_fixed(const uint8_t *p, Qcow2Snapshot *sn)
{
    sn->l1_offset = ldq_be_p(p);
    sn->l1_size = ldl_be_p(p + 8);
    sn->date_sec = ldl_be_p(p + 16);
    sn->date_nsec = ldl_be_p(p + 20);
    sn->vm_clock_nsec = ldq_be_p(p + 24);
    sn->vm_state_size = ldl_be_p(p + 32);
    sn->extra_size = ldl_be_p(p + 36);
}

static void decode_extra(const Qcow2State *s, const uint8_t *p,
                         Qcow2Snapshot *sn)
{
    sn->disk_size = s->hdr.size;
    sn->icount = UINT64_MAX;
    if (sn->extra_size >= 8) {
        sn->vm_state_size = ldq_be_p(p);
    }
    if (sn->extra_size >= 16) {
        sn->disk_size = ldq_be_p(p + 8);
    }
    if (sn->extra_size >= 24) {
        sn->icount = ldq_be_p(p + 16);
    }
    if (sn->extra_size > EXTRA_KNOWN) {
        sn->unknown_extra = g_memdup2(p + EXTRA_KNOWN,
                                      sn->extra_size - EXTRA_KNOWN);
    }
}

/* Reads the entry at *@off and moves on to the next. */
static bool read_entry(Co *co, Node *node, int64_t *off, Qcow2Snapshot *sn,
                       Error **errp)
{
    const Qcow2State *s = qcow2_state(node);
    uint8_t fixed[ENTRY_FIXED];
    g_autofree uint8_t *rest = NULL;
    int64_t id_len, name_len, len;
    int r = io_pread(co, node->file, *off, ENTRY_FIXED, fixed, 0);

    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to read snapshot table");
        return false;
    }
    decode_fixed(fixed, sn);
    id_len = lduw_be_p(fixed + 12);
    name_len = lduw_be_p(fixed + 14);
    if (sn->extra_size > QCOW2_MAX_SNAPSHOT_EXTRA) {
        error_setg(errp, "Too much extra metadata in snapshot table entry");
        return false;
    }
    if (s->hdr.version >= 3 && sn->extra_size < EXTRA_VERSION_3) {
        error_setg(errp, "Snapshot table entry lacks its extra data");
        return false;
    }
    len = sn->extra_size + id_len + name_len;
    rest = g_malloc(MAX(len, 1));
    r = io_pread(co, node->file, *off + ENTRY_FIXED, len, rest, 0);
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to read snapshot table");
        return false;
    }
    decode_extra(s, rest, sn);
    sn->id = g_strndup((char *)rest + sn->extra_size, id_len);
    sn->name = g_strndup((char *)rest + sn->extra_size + id_len, name_len);
    *off += ROUND_UP(ENTRY_FIXED + len, 8);
    return true;
}

/* Its L1 table must be one: it is read and freed later. */
static bool check_entry(const Qcow2State *s, const Qcow2Snapshot *sn,
                        Error **errp)
{
    return qcow2_validate_table(s, sn->l1_offset, sn->l1_size,
                                sizeof(uint64_t), QCOW2_MAX_L1_BYTES,
                                "Snapshot L1 table", errp);
}

bool qcow2_snapshots_load(Co *co, Node *node, bool relaxed, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int64_t off = s->hdr.snapshots_offset;

    if (!s->hdr.nb_snapshots) {
        return true;
    }
    s->snapshots = g_new0(Qcow2Snapshot, s->hdr.nb_snapshots);
    for (unsigned i = 0; i < s->hdr.nb_snapshots; i++) {
        Qcow2Snapshot *sn = &s->snapshots[i];
        Error *err = NULL;
        bool ok = read_entry(co, node, &off, sn, &err) &&
                  check_entry(s, sn, &err);

        s->nb_snapshots = i + (ok || sn->id ? 1 : 0);
        if (ok && off - (int64_t)s->hdr.snapshots_offset >
                  QCOW2_MAX_SNAPSHOTS_BYTES) {
            error_setg(&err, "Snapshot table is too large");
            ok = false;
        }
        if (!ok && relaxed) {
            /* Those before it can be looked at. */
            warn_report_err(err);
            break;
        }
        if (!ok) {
            error_propagate(errp, err);
            qcow2_snapshots_free(node);
            return false;
        }
    }
    s->snapshots_bytes = off - s->hdr.snapshots_offset;
    return true;
}
