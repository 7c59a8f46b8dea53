/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Making qcow2 images (blockdev-create, qemu-img create).
 *
 * Options are checked against each other before anything is touched. Then the
 * file is emptied, its length set (which is where preallocation happens), and
 * the metadata that qcow2-layout.c plans are written in large pieces from the
 * end to the beginning: the header comes last, so a file that was left half
 * done is no qcow2 image. One flush ends it.
 *
 * Where a file can't be emptied (a block device) what is there counts as
 * garbage: metadata are padded to clusters and mapped data are zeroed.
 */
#include "block/graph.h"
#include "block/qcow2.h"
#include "block/qcow2-layout.h"
#include "block/root.h"

#define CREATE_CHUNK (4 * MiB)
#define CREATE_DEFAULT_CLUSTER (64 * KiB)

/* In the order of the "Formatting" line. */
const CreateOption qcow2_create_options[] = {
    { "encryption", "encryption", CREATE_BOOL, NULL,
      "Encrypt the image with format 'aes'. (Deprecated in favor of "
      "encrypt.format=aes)" },
    { "encrypt.format", "encrypt.format", CREATE_STRING, NULL,
      "Encrypt the image, format choices: 'aes', 'luks'" },
    { "encrypt.key-secret", "encrypt.key-secret", CREATE_STRING, NULL,
      "ID of secret providing qcow AES key or LUKS passphrase" },
    { "encrypt.cipher-alg", "encrypt.cipher-alg", CREATE_STRING, NULL,
      "Name of encryption cipher algorithm" },
    { "encrypt.cipher-mode", "encrypt.cipher-mode", CREATE_STRING, NULL,
      "Name of encryption cipher mode" },
    { "encrypt.ivgen-alg", "encrypt.ivgen-alg", CREATE_STRING, NULL,
      "Name of IV generator algorithm" },
    { "encrypt.ivgen-hash-alg", "encrypt.ivgen-hash-alg", CREATE_STRING, NULL,
      "Name of IV generator hash algorithm" },
    { "encrypt.hash-alg", "encrypt.hash-alg", CREATE_STRING, NULL,
      "Name of encryption hash algorithm" },
    { "encrypt.iter-time", "encrypt.iter-time", CREATE_NUMBER, NULL,
      "Time to spend in PBKDF in milliseconds" },
    { "cluster_size", "cluster-size", CREATE_SIZE, "65536",
      "qcow2 cluster size" },
    { "extended_l2", "extended-l2", CREATE_BOOL, "off",
      "Extended L2 tables" },
    { "preallocation", "preallocation", CREATE_STRING, NULL,
      "Preallocation mode (allowed values: off, metadata, falloc, full)" },
    { "compression_type", "compression-type", CREATE_STRING, "zlib",
      "Compression method used for image cluster compression" },
    { "size", "size", CREATE_SIZE, NULL, "Virtual disk size" },
    { "compat", "version", CREATE_STRING, NULL,
      "Compatibility level (v2 [0.10] or v3 [1.1])" },
    { "backing_file", "backing-file", CREATE_STRING, NULL,
      "File name of a base image" },
    { "backing_fmt", "backing-fmt", CREATE_STRING, NULL,
      "Image format of the base image" },
    { "data_file", "data-file", CREATE_STRING, NULL,
      "File name of an external data file" },
    { "data_file_raw", "data-file-raw", CREATE_BOOL, NULL,
      "The external data file must stay valid as a raw image" },
    { "lazy_refcounts", "lazy-refcounts", CREATE_BOOL, "off",
      "Postpone refcount updates" },
    { "refcount_bits", "refcount-bits", CREATE_NUMBER, "16",
      "Width of a reference count entry in bits" },
    { NULL }
};

/* ---- options ---- */

/* What is to be made, all defaults resolved. */
typedef struct CreatePlan {
    const BlockdevCreateOptionsQcow2 *opts;
    Qcow2Header hdr;
    Qcow2Exts ext;
    PreallocMode prealloc;
    Qcow2Layout layout;
    Root *file, *data;          /* data: NULL without a data file */
} CreatePlan;

bool qcow2_create_check_cluster_size(uint64_t cluster_size, bool extended_l2,
                                     Error **errp)
{
    if (!is_power_of_2(cluster_size) ||
        cluster_size < 1 << QCOW2_MIN_CLUSTER_BITS ||
        cluster_size > 1 << QCOW2_MAX_CLUSTER_BITS) {
        error_setg(errp, "Cluster size must be a power of two between %d and "
                   "%dk", 1 << QCOW2_MIN_CLUSTER_BITS,
                   1 << (QCOW2_MAX_CLUSTER_BITS - 10));
        return false;
    }
    if (extended_l2 &&
        cluster_size < 1 << (QCOW2_MIN_CLUSTER_BITS + 5)) {
        error_setg(errp, "Extended L2 entries are only supported with cluster "
                   "sizes of at least %d bytes",
                   1 << (QCOW2_MIN_CLUSTER_BITS + 5));
        return false;
    }
    return true;
}

static bool wants_v2(const BlockdevCreateOptionsQcow2 *o)
{
    return o->has_version && o->version == BLOCKDEV_QCOW2_VERSION_V2;
}

/* What version 2 lacks, if @have asks for it. */
static bool create_check_version(const BlockdevCreateOptionsQcow2 *o,
                                 bool have, const char *what, Error **errp)
{
    if (have && wants_v2(o)) {
        error_setg(errp, "%s compatibility level 1.1 and above (use "
                   "version=v3 or greater)", what);
        return false;
    }
    return true;
}

static bool create_check_backing(const CreatePlan *p, Error **errp)
{
    const BlockdevCreateOptionsQcow2 *o = p->opts;

    if (o->backing_file && p->prealloc != PREALLOC_MODE_OFF &&
        !(o->has_extended_l2 && o->extended_l2)) {
        error_setg(errp, "Backing file and preallocation can only be used at "
                   "the same time if extended_l2 is on");
        return false;
    }
    if (o->has_backing_fmt && !o->backing_file) {
        error_setg(errp,
                   "Backing format cannot be used without backing file");
        return false;
    }
    return true;
}

bool qcow2_create_check_refcount_bits(int64_t bits, const char *version_3,
                                      Error **errp)
{
    if (version_3 && bits != 16) {
        error_setg(errp, "Different refcount widths than 16 bits require "
                   "compatibility level 1.1 or above (use %s or greater)",
                   version_3);
        return false;
    }
    if (bits < 1 || bits > 64 || !is_power_of_2(bits)) {
        error_setg(errp, "Refcount width must be a power of two and may not "
                   "exceed 64 bits");
        return false;
    }
    return true;
}

static bool create_check_data_file(const BlockdevCreateOptionsQcow2 *o,
                                   Error **errp)
{
    bool raw = o->has_data_file_raw && o->data_file_raw;

    if (raw && !o->data_file) {
        error_setg(errp, "data-file-raw requires data-file");
        return false;
    }
    if (raw && o->backing_file) {
        error_setg(errp, "Backing file and data-file-raw cannot be used at "
                   "the same time");
        return false;
    }
    return create_check_version(o, o->data_file,
                                "External data files are only supported with",
                                errp);
}

static bool create_check(CreatePlan *p, Error **errp)
{
    const BlockdevCreateOptionsQcow2 *o = p->opts;
    int64_t refcount_bits = o->has_refcount_bits ? o->refcount_bits : 16;
    uint64_t cluster_size = o->has_cluster_size ? o->cluster_size
                                                : CREATE_DEFAULT_CLUSTER;
    bool extl2 = o->has_extended_l2 && o->extended_l2;

    p->prealloc = o->has_preallocation ? o->preallocation : PREALLOC_MODE_OFF;
    if (!IS_ALIGNED(o->size, 512)) {
        error_setg(errp, "Image size must be a multiple of 512 bytes");
        return false;
    }
    if (!create_check_version(o, extl2, "Extended L2 entries are only "
                              "supported with", errp) ||
        !qcow2_create_check_cluster_size(cluster_size, extl2, errp) ||
        !create_check_backing(p, errp) ||
        !create_check_version(o, o->has_lazy_refcounts && o->lazy_refcounts,
                              "Lazy refcounts only supported with", errp) ||
        !qcow2_create_check_refcount_bits(
            refcount_bits, wants_v2(o) ? "version=v3" : NULL, errp) ||
        !create_check_data_file(o, errp) ||
        !create_check_version(o, o->has_compression_type &&
                              o->compression_type !=
                              QCOW2_COMPRESSION_TYPE_ZLIB,
                              "Non-zlib compression type is only supported "
                              "with", errp)) {
        return false;
    }
    p->hdr.cluster_bits = __builtin_ctzll(cluster_size);
    p->hdr.refcount_order = __builtin_ctzll(refcount_bits);
    return true;
}

/* ---- the plan ---- */

static void create_plan_header(CreatePlan *p)
{
    const BlockdevCreateOptionsQcow2 *o = p->opts;
    Qcow2Header *h = &p->hdr;

    h->version = wants_v2(o) ? 2 : 3;
    h->size = o->size;
    if (o->data_file) {
        h->incompatible |= QCOW2_INCOMPAT_DATA_FILE;
    }
    if (o->has_data_file_raw && o->data_file_raw) {
        h->autoclear |= QCOW2_AUTOCLEAR_RAW_DATA;
        /* The mapping has to be that of a raw file from the beginning. */
        p->prealloc = MAX(p->prealloc, PREALLOC_MODE_METADATA);
    }
    if (o->has_extended_l2 && o->extended_l2) {
        h->incompatible |= QCOW2_INCOMPAT_EXTL2;
    }
    if (o->has_lazy_refcounts && o->lazy_refcounts) {
        h->compatible |= QCOW2_COMPAT_LAZY;
    }
    if (o->has_compression_type &&
        o->compression_type != QCOW2_COMPRESSION_TYPE_ZLIB) {
        h->incompatible |= QCOW2_INCOMPAT_COMPRESSION;
        h->compression_type = QCOW2_COMPRESSION_ZSTD;
    }
    if (o->has_backing_fmt) {
        p->ext.backing_format =
            g_strdup(BlockdevDriver_str(o->backing_fmt));
    }
}

static bool create_plan_layout(CreatePlan *p, Error **errp)
{
    const BlockdevCreateOptionsQcow2 *o = p->opts;
    Qcow2Layout *l = &p->layout;
    int ret;

    if (o->size > INT64_MAX) {
        error_setg(errp, "Could not resize image: Image size cannot be "
                   "negative");
        return false;
    }
    if (o->size > BLOCK_MAX_LENGTH) {
        error_setg(errp, "Could not resize image: offset(%" PRIu64 ") exceeds "
                   "maximum(%" PRId64 ")", o->size, BLOCK_MAX_LENGTH);
        return false;
    }
    l->cluster_bits = p->hdr.cluster_bits;
    l->refcount_order = p->hdr.refcount_order;
    l->extended_l2 = o->has_extended_l2 && o->extended_l2;
    l->external_data = o->data_file != NULL;
    l->mapped = p->prealloc != PREALLOC_MODE_OFF;
    l->size = o->size;
    ret = qcow2_layout_plan(l);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not resize image: Failed to grow "
                         "the L1 table");
        return false;
    }
    if (!qcow2_layout_fits(l)) {
        error_setg_errno(errp, EFBIG, "Could not resize image: Failed to "
                         "preallocate");
        return false;
    }
    p->hdr.l1_size = l->l1_entries;
    p->hdr.l1_offset = l->l1_entries ? l->l1 << l->cluster_bits : 0;
    p->hdr.reftable_offset = l->reftable << l->cluster_bits;
    p->hdr.reftable_clusters = l->reftable_clusters;
    return true;
}

/* The first cluster, filled in. */
static uint8_t *create_first_cluster(CreatePlan *p, Error **errp)
{
    const BlockdevCreateOptionsQcow2 *o = p->opts;
    g_autofree uint8_t *buf = g_try_malloc((size_t)1 << p->hdr.cluster_bits);
    int64_t ret;

    if (!buf) {
        error_setg_errno(errp, ENOMEM, "Could not write the image header");
        return NULL;
    }
    ret = qcow2_format_encode(&p->hdr, &p->ext, o->backing_file, buf);
    if (ret < 0 && o->backing_file) {
        error_setg_errno(errp, -ret, "Could not assign backing file '%s' with "
                         "format '%s'", o->backing_file,
                         p->ext.backing_format ? p->ext.backing_format
                                               : "(null)");
        return NULL;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the image header");
        return NULL;
    }
    return g_steal_pointer(&buf);
}

/* ---- writing ---- */

/* Others may change the graph meanwhile: the image still comes here. */
static const RootOps create_root_ops = {
    .kind = "block-backend",
    .stay_at_node = true,
    .loop_can_change = root_refuse_loop,
};

/* A door to the node that @ref names; the root keeps the node. */
static Root *create_open(Co *co, const BlockdevRef *ref, Error **errp)
{
    Node *node = open_ref(co, ref, errp);
    Root *root;

    if (!node) {
        return NULL;
    }
    root = root_open(co, node, "", &create_root_ops, NULL,
                     PERM_CONSISTENT_READ | PERM_WRITE | PERM_RESIZE, 0,
                     errp);
    if (root) {
        root->allow_beyond_end = true;
    }
    node_unref(co, node);
    return root;
}

/* As short as it can be made, which may not be 0. */
static void create_empty(Co *co, Root *root)
{
    if (root_length(root) != 0) {
        root_resize(co, root, 0, false, PREALLOC_MODE_OFF, 0, NULL);
    }
}

static bool create_write_metadata(Co *co, CreatePlan *p,
                                  const uint8_t *first_cluster, int64_t len,
                                  Error **errp)
{
    const Qcow2Layout *l = &p->layout;
    int64_t cluster_size = INT64_C(1) << l->cluster_bits;
    int64_t per_chunk = MAX(CREATE_CHUNK >> l->cluster_bits, 1);
    g_autofree uint8_t *buf = g_try_malloc(MIN(per_chunk, l->data)
                                           << l->cluster_bits);

    if (!buf) {
        error_setg_errno(errp, ENOMEM, "Could not write the metadata");
        return false;
    }
    for (int64_t i = ROUND_DOWN(l->data - 1, per_chunk); i >= 0;
         i -= per_chunk) {
        int64_t n = MIN(per_chunk, l->data - i);
        int64_t off = i << l->cluster_bits;
        int ret;

        for (int64_t k = 0; k < n; k++) {
            qcow2_layout_fill(l, i + k, buf + (k << l->cluster_bits));
        }
        if (i == 0) {
            memcpy(buf, first_cluster, cluster_size);
        }
        ret = root_pwrite(co, p->file, off,
                          MIN(n << l->cluster_bits, len - off), buf, 0);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not write qcow2 header");
            return false;
        }
    }
    return true;
}

static bool create_resize(Co *co, Root *root, int64_t len, PreallocMode mode,
                          const char *what, Error **errp)
{
    /* Mapping everything is all that "metadata" means to the file below. */
    if (mode == PREALLOC_MODE_METADATA) {
        mode = PREALLOC_MODE_OFF;
    }
    if (root_length(root) >= len) {
        return true;
    }
    if (!root_resize(co, root, len, false, mode, 0, errp)) {
        error_prepend(errp, "Could not resize image: %s", what);
        return false;
    }
    return true;
}

/* Length and space; zeroes where old content shows through. */
static bool create_allocate(Co *co, CreatePlan *p, int64_t stale,
                            Error **errp)
{
    const Qcow2Layout *l = &p->layout;
    int64_t meta = qcow2_layout_metadata_len(l);
    int64_t end = qcow2_layout_file_len(l);
    const char *below = "Failed to resize underlying file: ";
    int ret;

    if (p->data && !create_resize(co, p->data, l->size, p->prealloc, "",
                                  errp)) {
        return false;
    }
    if (end <= meta || p->data) {
        return true;
    }
    if (!create_resize(co, p->file, meta, PREALLOC_MODE_OFF, below, errp) ||
        !create_resize(co, p->file, end, p->prealloc, below, errp)) {
        return false;
    }
    if (stale > meta) {
        ret = root_zero(co, p->file, meta, MIN(stale, end) - meta,
                        REQ_MAY_UNMAP);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not zero the data area");
            return false;
        }
    }
    return true;
}

static bool create_write(Co *co, CreatePlan *p, Error **errp)
{
    g_autofree uint8_t *first = NULL;
    int64_t stale, len;
    int ret;

    first = create_first_cluster(p, errp);
    if (!first) {
        return false;
    }
    create_empty(co, p->file);
    stale = root_length(p->file);
    len = stale ? qcow2_layout_metadata_len(&p->layout)
                : MIN(qcow2_layout_metadata_len(&p->layout),
                      qcow2_layout_file_len(&p->layout));
    if (!create_allocate(co, p, stale, errp) ||
        !create_write_metadata(co, p, first, len, errp)) {
        return false;
    }
    ret = root_flush(co, p->file);
    if (ret >= 0 && p->data) {
        ret = root_flush(co, p->data);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write qcow2 header");
    }
    return ret >= 0;
}

/* With the checked options: opens the files and formats them. */
static bool create_format(Co *co, CreatePlan *p, Error **errp)
{
    const BlockdevCreateOptionsQcow2 *o = p->opts;
    bool lent, ok;

    p->file = create_open(co, o->file, errp);
    if (!p->file) {
        return false;
    }
    if (o->data_file) {
        p->data = create_open(co, o->data_file, errp);
        if (!p->data) {
            return false;
        }
        p->ext.data_file = g_strdup(root_node(p->data)->filename);
    }
    create_plan_header(p);
    if (!create_plan_layout(p, errp)) {
        return false;
    }
    lent = control_lend(co);
    ok = create_write(co, p, errp);
    control_take_back(co, lent);
    return ok;
}

bool qcow2_create(Co *co, BlockdevCreateOptions *opts, Error **errp)
{
    ERRP_GUARD();
    Loop *home = co_loop(co);
    CreatePlan p = { .opts = &opts->u.qcow2 };
    bool ok = create_check(&p, errp) && create_format(co, &p, errp);

    co_move(co, home);
    root_free(co, p.data);
    root_free(co, p.file);
    qcow2_exts_clear(&p.ext);
    return ok;
}
