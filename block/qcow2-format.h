/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * qcow2 on disk: constants, limits, and the pure codecs of the header and its
 * extensions. Everything here works on bytes in memory; nothing does I/O or
 * knows of nodes.
 *
 * Names follow the specification (docs/interop/qcow2 of the format): "header",
 * "header extensions", "L1", "L2", "refcount table", "refcount block".
 */
#ifndef BLOCK_QCOW2_FORMAT_H
#define BLOCK_QCOW2_FORMAT_H

#include "util/bytes.h"
#include "util/error.h"

#define QCOW2_MAGIC 0x514649fbU             /* "QFI\xfb" */

#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_V2_HEADER_LENGTH 72
#define QCOW2_V3_HEADER_LENGTH 104          /* at least */

/* Limits on what a header may ask for; beyond them an image is refused. */
#define QCOW2_MAX_L1_BYTES (32 * MiB)
#define QCOW2_MAX_REFTABLE_BYTES (8 * MiB)
#define QCOW2_MAX_SNAPSHOTS 65536
#define QCOW2_MAX_SNAPSHOTS_BYTES (1024 * (int64_t)QCOW2_MAX_SNAPSHOTS)
#define QCOW2_MAX_SNAPSHOT_EXTRA 1024
#define QCOW2_MAX_BITMAPS 65535
#define QCOW2_MAX_BITMAP_DIR_BYTES (1024 * (int64_t)QCOW2_MAX_BITMAPS)
#define QCOW2_MAX_BACKING_NAME 1023
#define QCOW2_MAX_BACKING_FORMAT 15

/* Byte offsets of header fields that are rewritten in place. */
#define QCOW2_HDR_SIZE 24                   /* u64 */
#define QCOW2_HDR_L1 36                     /* u32 size, u64 offset */
#define QCOW2_HDR_REFTABLE 48               /* u64 offset, u32 clusters */
#define QCOW2_HDR_SNAPSHOTS 60              /* u32 count, u64 offset */
#define QCOW2_HDR_INCOMPATIBLE 72           /* u64 */
#define QCOW2_HDR_COMPATIBLE 80             /* u64 */
#define QCOW2_HDR_AUTOCLEAR 88              /* u64 */

/* Feature bits. */
#define QCOW2_INCOMPAT_DIRTY       (1ULL << 0)
#define QCOW2_INCOMPAT_CORRUPT     (1ULL << 1)
#define QCOW2_INCOMPAT_DATA_FILE   (1ULL << 2)
#define QCOW2_INCOMPAT_COMPRESSION (1ULL << 3)
#define QCOW2_INCOMPAT_EXTL2       (1ULL << 4)
#define QCOW2_INCOMPAT_KNOWN       0x1fULL
#define QCOW2_COMPAT_LAZY          (1ULL << 0)
#define QCOW2_COMPAT_KNOWN         0x1ULL
#define QCOW2_AUTOCLEAR_BITMAPS    (1ULL << 0)
#define QCOW2_AUTOCLEAR_RAW_DATA   (1ULL << 1)
#define QCOW2_AUTOCLEAR_KNOWN      0x3ULL

#define QCOW2_CRYPT_NONE 0
#define QCOW2_CRYPT_AES 1
#define QCOW2_CRYPT_LUKS 2

#define QCOW2_COMPRESSION_ZLIB 0
#define QCOW2_COMPRESSION_ZSTD 1

/* Header extension types. */
#define QCOW2_EXT_END            0x00000000U
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acaU
#define QCOW2_EXT_FEATURE_TABLE  0x6803f857U
#define QCOW2_EXT_BITMAPS        0x23852875U
#define QCOW2_EXT_CRYPTO         0x0537be77U
#define QCOW2_EXT_DATA_FILE      0x44415441U
/* Our own, for others an unknown one: what bitmaps have lost by shrinking.
 * Docs: docs/interop/bitmaps.rst, "Resizing". */
#define QCOW2_EXT_BITMAPS_CUT    0x7b1e5a2cU

/* L1 and L2 entries. */
#define QCOW2_COPIED          (1ULL << 63)  /* refcount is exactly 1 */
#define QCOW2_COMPRESSED_FLAG (1ULL << 62)
#define QCOW2_ZERO_FLAG       (1ULL << 0)   /* standard entries, version 3 */
#define QCOW2_OFFSET_MASK     0x00fffffffffffe00ULL
#define QCOW2_L1_RESERVED     0x7f000000000001ffULL
#define QCOW2_L2_RESERVED     0x3f000000000001feULL
#define QCOW2_REFT_OFFSET_MASK 0xfffffffffffffe00ULL
#define QCOW2_REFT_RESERVED   0x1ffULL
#define QCOW2_COMPRESSED_SECTOR 512

/* Subclusters of extended entries: bit n of the lower half says allocated, of
 * the upper half reads-as-zero. */
#define QCOW2_SUBCLUSTERS 32
#define QCOW2_SUB_ALLOC(n) (1ULL << (n))
#define QCOW2_SUB_ZERO(n) (1ULL << ((n) + 32))
#define QCOW2_SUB_ALL_ALLOC 0x00000000ffffffffULL
#define QCOW2_SUB_ALL_ZERO 0xffffffff00000000ULL

/* Subclusters from to to - 1. */
static inline uint64_t qcow2_sub_alloc_range(int from, int to)
{
    return ((1ULL << to) - 1) & ~((1ULL << from) - 1);
}

static inline uint64_t qcow2_sub_zero_range(int from, int to)
{
    return qcow2_sub_alloc_range(from, to) << 32;
}

/* The header, in host order. */
typedef struct Qcow2Header {
    uint32_t version;               /* 2 or 3 */
    uint64_t backing_offset;        /* of the name; 0: none */
    uint32_t backing_len;
    uint32_t cluster_bits;
    uint64_t size;                  /* of the guest's disk, bytes */
    uint32_t crypt_method;
    uint32_t l1_size;               /* entries */
    uint64_t l1_offset;
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint32_t nb_snapshots;
    uint64_t snapshots_offset;
    /* Version 2: 0, 0, 0, 4, 72, zlib. */
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order;        /* width is 1 << order bits */
    uint32_t header_length;         /* of the header as it is on disk */
    uint8_t compression_type;
    /* Header bytes past those known here (header_length > 112): kept as they
     * were read. NULL if there are none. Owned. */
    uint8_t *unknown;
    uint32_t unknown_len;
} Qcow2Header;

/* ---- qcow2-header.c ---- */

/*
 * The cluster size (bytes) by the first bytes of a file, so that the caller
 * can read all of the first cluster; -1 with QEMU's text if this is no qcow2
 * image or its version or cluster size is none. Bytes past @len count as zero
 * here and below.
 */
int64_t qcow2_header_cluster_size(const uint8_t *buf, size_t len,
                                  Error **errp);

/*
 * Decodes and checks all that needs no I/O and no knowledge of the file:
 * magic, version, cluster bits, header length, feature fields, encryption,
 * refcount order, alignment and limits of the tables. QEMU's texts. @buf holds
 * the first @len bytes of the file (less than a cluster for short files).
 * Unknown incompatible bits are not refused here (their names are in an
 * extension) but then only what places the extensions has been checked: see
 * qcow2_exts_check_features(). @relaxed (OPEN_CHECK) lets pass what a repair
 * can mend: a missing refcount table, the snapshot table. @ret is zeroed by
 * the caller and ended by qcow2_header_clear(), also after a failure.
 */
bool qcow2_header_decode(const uint8_t *buf, size_t len, bool relaxed,
                         Qcow2Header *ret, Error **errp);
/* Offset and length of the backing file's name are possible. */
bool qcow2_header_check_backing_name(const Qcow2Header *h, Error **errp);
/* A table of @entries entries of @entry_len bytes may lie at @off: aligned to
 * clusters, its end fits into int64_t. */
bool qcow2_header_table_fits(int64_t cluster_size, uint64_t off,
                             uint64_t entries, size_t entry_len);
/* Entries that the L1 table of a disk of @size bytes takes. */
uint64_t qcow2_header_l1_entries(uint64_t size, uint32_t cluster_bits,
                                 bool extended_l2);
/* Writes the fixed header and the unknown bytes; returns their length, or 0 if
 * it does not fit into @len. Padding is zeroed; header_length is set by it. */
size_t qcow2_header_encode(const Qcow2Header *h, uint8_t *buf, size_t len);
void qcow2_header_clear(Qcow2Header *h);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Qcow2Header, qcow2_header_clear)

/* ---- qcow2-ext.c ---- */

typedef struct Qcow2UnknownExt {
    uint32_t type;
    uint32_t len;
    uint8_t data[];
} Qcow2UnknownExt;

/* What the area between the header and the end of the first cluster holds. */
typedef struct Qcow2Exts {
    char *backing_format;           /* NULL: none */
    char *data_file;                /* NULL: none */
    uint8_t *feature_table;         /* as read; 48 bytes an entry */
    uint32_t feature_table_len;
    bool have_bitmaps;              /* the extension is there */
    uint32_t nb_bitmaps;
    uint64_t bitmap_dir_size;
    uint64_t bitmap_dir_offset;
    /* Why the bitmaps extension can't be used. The rest of the image is as
     * good as ever: those who need bitmaps tell it (qcow2-bitmap.c). */
    Error *bitmaps_error;
    /* The disk was cut while it had bitmaps: its length when this was written,
     * and the end of what has not come back since; 0: nothing was cut. */
    uint64_t bitmaps_cut_len, bitmaps_cut_end;
    bool have_crypto;
    uint64_t crypto_offset, crypto_len;
    GPtrArray *unknown;             /* of Qcow2UnknownExt; NULL: none */
} Qcow2Exts;

/* Decodes what lies between the header @h and the backing file's name or the
 * cluster's end, out of the file's first @len bytes. QEMU's texts. @ret is
 * zeroed by the caller and ended by qcow2_exts_clear(), also after a
 * failure. */
bool qcow2_exts_decode(const uint8_t *buf, size_t len, const Qcow2Header *h,
                       Qcow2Exts *ret, Error **errp);
/* Writes all extensions, our feature name table (version 3, if @features) and
 * the end mark from @buf + @start on; returns the end, or 0 if it does not fit
 * into @len. What is written of @buf must be zero before. */
size_t qcow2_exts_encode(const Qcow2Exts *x, bool features, uint8_t *buf,
                         size_t start, size_t len);
void qcow2_exts_clear(Qcow2Exts *x);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Qcow2Exts, qcow2_exts_clear)
/* "Unsupported qcow2 feature(s): NAME, NAME" with the names of the table;
 * true if nothing of @h is unknown. */
bool qcow2_exts_check_features(const Qcow2Header *h, const Qcow2Exts *x,
                               Error **errp);

/* ---- the first cluster as a whole, also in qcow2-ext.c ---- */

/*
 * Header, extensions, features and the backing file's name, checked in QEMU's
 * order; *@backing_file takes the name (NULL: none; caller frees). @h and @x
 * are zeroed by the caller and cleared by him, also after a failure.
 */
bool qcow2_format_decode(const uint8_t *buf, size_t len, bool relaxed,
                         Qcow2Header *h, Qcow2Exts *x, char **backing_file,
                         Error **errp);
/*
 * The reverse, into @buf, which is one cluster and zeroed to its end. Sets
 * backing offset, backing length and header length in @h. Returns the bytes in
 * use; -EINVAL if the name is too long for the format, -ENOSPC if the cluster
 * is too small.
 */
int64_t qcow2_format_encode(Qcow2Header *h, const Qcow2Exts *x,
                            const char *backing_file, uint8_t *buf);

#endif
