/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * What the files of qcow2's check and repair share.
 *
 *     qcow2-check-count.c   an array that counts references to host clusters
 *     qcow2-check-tables.c  L1 and L2 tables
 *     qcow2-check-meta.c    snapshot table, bitmaps, refcount structures
 *     qcow2-check.c         all of it in order; comparing, COPIED flags
 *     qcow2-repair.c        refcounts, in place or rebuilt
 */
#ifndef BLOCK_QCOW2_CHECK_H
#define BLOCK_QCOW2_CHECK_H

#include "block/qcow2-bitmap.h"
#include "block/qcow2-snapshot.h"

typedef struct Qcow2Check {
    Node *node;
    CheckResult *res;
    CheckOptions fix;

    int64_t file_len;           /* bytes */
    int64_t n;                  /* clusters of the file */
    int64_t capacity;           /* of the array: a few more */
    GHashTable *outside;        /* clusters that are referred to though they
                                 * lie outside of the file, not far behind it;
                                 * keys are their indexes; NULL: none */
    uint16_t *counts16;         /* refcounts of at most 16 bits, or */
    uint64_t *counts64;

    /* Who mends a table has to know that it is nothing else, too: how many L1
     * entries lead to each of @tables_n clusters; NULL: nothing is mended. */
    uint16_t *tables;
    int64_t tables_n;
    GHashTable *drops;          /* tables with entries whose host clusters, which
                                 * can't be, are to go: offset to number */
    bool cautious;              /* nobody asked for it: what may be in use is
                                 * not given free */
    bool overflow;              /* of a count: others may be too small */
    bool lost;                  /* a table can't be read: what seems to be
                                 * leaked may be in use */
    bool snapshot_lost;         /* nor can the L1 table of a snapshot be found: as
                                 * long as its entry is there, all that it may
                                 * have is in use */
    bool shared;                /* a cluster has more than one reference */
    bool uncopied;              /* an active entry lacks the flag COPIED */
    bool rebuild;               /* refcounts can't be mended in place */
    bool snapshots_changed;     /* the table has to be written */
    int64_t highest;            /* cluster in use */
} Qcow2Check;

/* ---- qcow2-check-count.c ---- */

/* For the file as it is now. -ENOMEM. */
int qcow2_check_count_init(Co *co, Qcow2Check *c);
void qcow2_check_count_free(Qcow2Check *c);
uint64_t qcow2_check_count(const Qcow2Check *c, int64_t cluster);
void qcow2_check_set_count(Qcow2Check *c, int64_t cluster, uint64_t count);
/* One reference more to all that [off, off + len) touches. Tells of what lies
 * outside of the file, and of overflows. Whether it lies inside. */
bool qcow2_check_refer(Qcow2Check *c, int64_t off, int64_t len);

/*
 * A corruption: "ERROR text", or "Repairing text" if @mend (it is going to be
 * mended by the caller, and counted as such).
 */
void qcow2_check_tell(Qcow2Check *c, bool mend, const char *fmt, ...)
    G_GNUC_PRINTF(3, 4);

/* ---- the parts: 0 or -errno if the check can't go on ---- */

/* An L1 table and all that it refers to. @active: statistics. */
int qcow2_check_l1(Co *co, Qcow2Check *c, int64_t off, uint32_t size,
                   bool active);
/* Before all L1 tables; and when nothing of them is needed any more. */
int qcow2_check_tables_init(Qcow2Check *c);
void qcow2_check_tables_free(Qcow2Check *c);
/* The COPIED flags of the active tables; the counts are what is on disk. */
int qcow2_check_copied(Co *co, Qcow2Check *c);
/* Drops from entries what was told to be mended; the counts are what is on
 * disk. */
int qcow2_check_drop_hosts(Co *co, Qcow2Check *c);

/* Reads the snapshot table into s->snapshots. */
int qcow2_check_snapshot_table(Co *co, Qcow2Check *c);
/* The table and what each snapshot refers to. */
int qcow2_check_snapshots(Co *co, Qcow2Check *c);
int qcow2_check_bitmaps(Co *co, Qcow2Check *c);
/* Drops what is damaged from the bitmap directory, in place. */
int qcow2_check_mend_bitmaps(Co *co, Qcow2Check *c);
/* The refcount table. The blocks. */
void qcow2_check_reftable(Qcow2Check *c);
void qcow2_check_refblocks(Qcow2Check *c);

/* Everything but the refcount structures. */
int qcow2_check_references(Co *co, Qcow2Check *c);
/* A refcount that is not the count: told of and counted. @mend: it is going to
 * be corrected. */
void qcow2_check_tell_count(Qcow2Check *c, bool mend, int64_t cluster,
                            uint64_t disk, uint64_t count);

/* The refcounts of @len clusters can't be read: told of and counted. */
void qcow2_check_tell_unknown(Co *co, Qcow2Check *c, int64_t first,
                              int64_t len, int err);

/* Whether the block of cluster @index can be read at all. */
bool qcow2_check_refcount_is_known(const Qcow2Check *c, int64_t index);
/* The refcount block for cluster @index, *@len clusters from *@first on; @buf
 * is one cluster and zeroed if there is no (readable) block. Its offset, 0, or
 * -errno. */
int64_t qcow2_check_read_refblock(Co *co, Qcow2Check *c, int64_t index,
                                  uint8_t *buf, int64_t *first, int64_t *len);

/* The counts become the refcounts on disk: 0 where a block is nowhere it could
 * be, which is an error if @strict. 0 or -errno, if a block can't be read. */
int qcow2_check_load_disk_counts(Co *co, Qcow2Check *c, bool strict);
/* The refcount on disk of any cluster, also of one past the file's end, in
 * those counts or read. */
int qcow2_check_disk_count(Co *co, Qcow2Check *c, int64_t cluster,
                           uint64_t *ret);

/* ---- qcow2-repair.c ---- */

/* Makes the refcounts on disk the counts, as far as asked for. Tells and counts
 * each, what is left as it is as well. */
int qcow2_repair_refcounts(Co *co, Qcow2Check *c);
/* Makes new refcount structures out of the references. */
int qcow2_repair_rebuild(Co *co, Qcow2Check *c);

#endif
