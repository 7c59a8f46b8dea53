/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The qcow2 header as bytes.
 *
 *     0        72          104   112          header_length     cluster end
 *     | v2     | v3        |pad  | unknown... | extensions | backing name |
 *
 * Checks go in two steps: first what places the extensions, then the rest,
 * which an unknown incompatible feature may have redefined and which is left
 * alone then. Nothing here reads outside of the @len bytes that it was given:
 * what a short file lacks counts as zero, which is how QEMU sees it.
 *
 * What this does not do: extensions (qcow2-ext.c) and I/O
 * (qcow2-update-header.c).
 */
#include "block/qcow2-format.h"

/* What we know of a version 3 header, and write. */
#define HEADER_KNOWN_LEN 112
/* No file is longer: what lies below can be asked for, rounded up or not. */
#define HEADER_MAX_FILE ((uint64_t)INT64_MAX - (1 << QCOW2_MAX_CLUSTER_BITS))
/* The fixed part of a snapshot table entry. */
#define SNAPSHOT_MIN_LEN 40

void qcow2_header_clear(Qcow2Header *h)
{
    g_free(h->unknown);
    memset(h, 0, sizeof(*h));
}

/* The first @n bytes, completed with zeroes. */
static void header_copy(uint8_t *to, size_t n, const uint8_t *buf, size_t len)
{
    memset(to, 0, n);
    if (len) {
        memcpy(to, buf, MIN(n, len));
    }
}

static bool header_check_start(const uint8_t *fixed, Error **errp)
{
    uint32_t version = ldl_be_p(fixed + 4);
    uint32_t cluster_bits = ldl_be_p(fixed + 20);

    if (ldl_be_p(fixed) != QCOW2_MAGIC) {
        error_setg(errp, "Image is not in qcow2 format");
        return false;
    }
    if (version < 2 || version > 3) {
        error_setg(errp, "Unsupported qcow2 version %" PRIu32, version);
        return false;
    }
    if (cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
        cluster_bits > QCOW2_MAX_CLUSTER_BITS) {
        error_setg(errp, "Unsupported cluster size: 2^%" PRIu32,
                   cluster_bits);
        return false;
    }
    return true;
}

int64_t qcow2_header_cluster_size(const uint8_t *buf, size_t len,
                                  Error **errp)
{
    uint8_t fixed[QCOW2_V2_HEADER_LENGTH];

    header_copy(fixed, sizeof(fixed), buf, len);
    if (!header_check_start(fixed, errp)) {
        return -1;
    }
    return (int64_t)1 << ldl_be_p(fixed + 20);
}

static void header_decode_v2_fields(const uint8_t *p, Qcow2Header *h)
{
    h->version = ldl_be_p(p + 4);
    h->backing_offset = ldq_be_p(p + 8);
    h->backing_len = ldl_be_p(p + 16);
    h->cluster_bits = ldl_be_p(p + 20);
    h->size = ldq_be_p(p + 24);
    h->crypt_method = ldl_be_p(p + 32);
    h->l1_size = ldl_be_p(p + 36);
    h->l1_offset = ldq_be_p(p + 40);
    h->reftable_offset = ldq_be_p(p + 48);
    h->reftable_clusters = ldl_be_p(p + 56);
    h->nb_snapshots = ldl_be_p(p + 60);
    h->snapshots_offset = ldq_be_p(p + 64);
    h->refcount_order = 4;
    h->header_length = QCOW2_V2_HEADER_LENGTH;
}

static bool header_decode_v3_fields(const uint8_t *p, Qcow2Header *h,
                                    Error **errp)
{
    h->incompatible = ldq_be_p(p + 72);
    h->compatible = ldq_be_p(p + 80);
    h->autoclear = ldq_be_p(p + 88);
    h->refcount_order = ldl_be_p(p + 96);
    h->header_length = ldl_be_p(p + 100);
    if (h->header_length < QCOW2_V3_HEADER_LENGTH) {
        error_setg(errp, "qcow2 header too short");
        return false;
    }
    if (h->header_length > UINT32_C(1) << h->cluster_bits) {
        error_setg(errp, "qcow2 header exceeds cluster size");
        return false;
    }
    /* A header that ends before the field has the default. */
    h->compression_type = h->header_length > 104 ? p[104] : 0;
    return true;
}

static void header_keep_unknown(const uint8_t *buf, size_t len,
                                Qcow2Header *h)
{
    size_t n;

    if (h->header_length <= HEADER_KNOWN_LEN) {
        return;
    }
    n = h->header_length - HEADER_KNOWN_LEN;
    h->unknown = g_malloc(n);
    h->unknown_len = n;
    if (len > HEADER_KNOWN_LEN) {
        header_copy(h->unknown, n, buf + HEADER_KNOWN_LEN,
                    len - HEADER_KNOWN_LEN);
    } else {
        memset(h->unknown, 0, n);
    }
}

static bool header_check_compression(const Qcow2Header *h, Error **errp)
{
    bool bit = h->incompatible & QCOW2_INCOMPAT_COMPRESSION;

    if (h->compression_type > QCOW2_COMPRESSION_ZSTD) {
        error_setg(errp, "qcow2: unknown compression type: %u",
                   h->compression_type);
        return false;
    }
    if (h->compression_type == QCOW2_COMPRESSION_ZLIB && bit) {
        error_setg(errp, "qcow2: Compression type incompatible feature bit "
                   "must not be set");
        return false;
    }
    if (h->compression_type != QCOW2_COMPRESSION_ZLIB && !bit) {
        error_setg(errp, "qcow2: Compression type incompatible feature bit "
                   "must be set");
        return false;
    }
    return true;
}

static bool header_decode_placing(const uint8_t *buf, size_t len,
                                  Qcow2Header *h, Error **errp)
{
    uint8_t fixed[HEADER_KNOWN_LEN];

    header_copy(fixed, sizeof(fixed), buf, len);
    if (!header_check_start(fixed, errp)) {
        return false;
    }
    header_decode_v2_fields(fixed, h);
    if (h->version >= 3) {
        if (!header_decode_v3_fields(fixed, h, errp)) {
            return false;
        }
        header_keep_unknown(buf, len, h);
    }
    if (h->backing_offset > UINT64_C(1) << h->cluster_bits) {
        error_setg(errp, "Invalid backing file offset");
        return false;
    }
    return header_check_compression(h, errp);
}

bool qcow2_header_table_fits(int64_t cluster_size, uint64_t off,
                             uint64_t entries, size_t entry_len)
{
    uint64_t len;

    if (__builtin_mul_overflow(entries, entry_len, &len) ||
        len > HEADER_MAX_FILE || off > HEADER_MAX_FILE - len) {
        return false;
    }
    return IS_ALIGNED(off, (uint64_t)cluster_size);
}

uint64_t qcow2_header_l1_entries(uint64_t size, uint32_t cluster_bits,
                                 bool extended_l2)
{
    uint32_t l2_bits = cluster_bits - (extended_l2 ? 4 : 3);
    uint32_t shift = cluster_bits + l2_bits;
    uint64_t mask = (UINT64_C(1) << shift) - 1;

    return (size >> shift) + ((size & mask) != 0);
}

static bool header_check_format(const Qcow2Header *h, Error **errp)
{
    if (h->refcount_order > 6) {
        error_setg(errp, "Reference count entry width too large; may not "
                   "exceed 64 bits");
        return false;
    }
    if (h->incompatible & QCOW2_INCOMPAT_EXTL2 &&
        h->cluster_bits < QCOW2_MIN_CLUSTER_BITS + 5) {
        /* A cluster has 32 subclusters of at least 512 bytes. */
        error_setg(errp, "Unsupported subcluster size: %d",
                   1 << (h->cluster_bits - 5));
        return false;
    }
    if (h->crypt_method > QCOW2_CRYPT_LUKS) {
        error_setg(errp, "Unsupported encryption method %" PRIu32,
                   h->crypt_method);
        return false;
    }
    if (h->crypt_method != QCOW2_CRYPT_NONE) {
        error_setg(errp, "Encrypted images are not supported (the image is "
                   "encrypted with %s)",
                   h->crypt_method == QCOW2_CRYPT_AES ? "AES" : "LUKS");
        return false;
    }
    return true;
}

static bool header_check_reftable(const Qcow2Header *h, bool relaxed,
                                  Error **errp)
{
    int64_t cluster_size = (int64_t)1 << h->cluster_bits;
    uint64_t len = (uint64_t)h->reftable_clusters * cluster_size;

    if (h->reftable_clusters == 0 && !relaxed) {
        error_setg(errp,
                   "Image does not contain a reference count table");
        return false;
    }
    if (len > QCOW2_MAX_REFTABLE_BYTES) {
        error_setg(errp, "Reference count table too large");
        return false;
    }
    if (!qcow2_header_table_fits(cluster_size, h->reftable_offset, len, 1)) {
        error_setg(errp, "Reference count table offset invalid");
        return false;
    }
    return true;
}

static bool header_check_snapshots(const Qcow2Header *h, Error **errp)
{
    int64_t cluster_size = (int64_t)1 << h->cluster_bits;

    if (h->nb_snapshots > QCOW2_MAX_SNAPSHOTS) {
        error_setg(errp, "Snapshot table too large");
        return false;
    }
    if (!qcow2_header_table_fits(cluster_size, h->snapshots_offset,
                                 h->nb_snapshots, SNAPSHOT_MIN_LEN)) {
        error_setg(errp, "Snapshot table offset invalid");
        return false;
    }
    return true;
}

static bool header_check_l1(const Qcow2Header *h, Error **errp)
{
    int64_t cluster_size = (int64_t)1 << h->cluster_bits;
    uint64_t needed = qcow2_header_l1_entries(
        h->size, h->cluster_bits, h->incompatible & QCOW2_INCOMPAT_EXTL2);

    if (h->l1_size > QCOW2_MAX_L1_BYTES / 8) {
        error_setg(errp, "Active L1 table too large");
        return false;
    }
    if (!qcow2_header_table_fits(cluster_size, h->l1_offset, h->l1_size, 8)) {
        error_setg(errp, "Active L1 table offset invalid");
        return false;
    }
    if (needed > INT_MAX || h->size > INT64_MAX) {
        error_setg(errp, "Image is too big");
        return false;
    }
    if (needed > h->l1_size) {
        error_setg(errp, "L1 table is too small");
        return false;
    }
    return true;
}

bool qcow2_header_decode(const uint8_t *buf, size_t len, bool relaxed,
                         Qcow2Header *h, Error **errp)
{
    if (!header_decode_placing(buf, len, h, errp)) {
        return false;
    }
    if (h->incompatible & ~QCOW2_INCOMPAT_KNOWN) {
        return true;
    }
    return header_check_format(h, errp) &&
           header_check_reftable(h, relaxed, errp) &&
           (relaxed || header_check_snapshots(h, errp)) &&
           header_check_l1(h, errp);
}

bool qcow2_header_check_backing_name(const Qcow2Header *h, Error **errp)
{
    uint64_t cluster_size = UINT64_C(1) << h->cluster_bits;

    if (h->backing_offset == 0) {
        return true;
    }
    if (h->backing_len > MIN(QCOW2_MAX_BACKING_NAME,
                                   cluster_size - h->backing_offset)) {
        error_setg(errp, "Backing file name too long");
        return false;
    }
    return true;
}

size_t qcow2_header_encode(const Qcow2Header *h, uint8_t *p, size_t room)
{
    size_t len = h->version < 3 ? QCOW2_V2_HEADER_LENGTH
                                : HEADER_KNOWN_LEN + h->unknown_len;

    if (len > room) {
        return 0;
    }
    memset(p, 0, len);
    stl_be_p(p, QCOW2_MAGIC);
    stl_be_p(p + 4, h->version);
    stq_be_p(p + 8, h->backing_offset);
    stl_be_p(p + 16, h->backing_len);
    stl_be_p(p + 20, h->cluster_bits);
    stq_be_p(p + 24, h->size);
    stl_be_p(p + 32, h->crypt_method);
    stl_be_p(p + 36, h->l1_size);
    stq_be_p(p + 40, h->l1_offset);
    stq_be_p(p + 48, h->reftable_offset);
    stl_be_p(p + 56, h->reftable_clusters);
    stl_be_p(p + 60, h->nb_snapshots);
    stq_be_p(p + 64, h->snapshots_offset);
    if (h->version < 3) {
        return len;
    }
    stq_be_p(p + 72, h->incompatible);
    stq_be_p(p + 80, h->compatible);
    stq_be_p(p + 88, h->autoclear);
    stl_be_p(p + 96, h->refcount_order);
    stl_be_p(p + 100, len);
    p[104] = h->compression_type;
    if (h->unknown_len) {
        memcpy(p + HEADER_KNOWN_LEN, h->unknown,
               h->unknown_len);
    }
    return len;
}
