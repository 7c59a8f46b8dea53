/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The driver "qcow2": the table of its callbacks, opening, closing, reopening.
 *
 *     node --file-------> the image: header, tables, (data)
 *          --data-file--> the data, if they are in a file of their own
 *          --backing----> what is not allocated here
 *
 * Opening goes from the header to what it points to, each checked before it is
 * used; then a writable image is made fit for writing: unknown autoclear bits
 * go, a dirty image is repaired, bitmaps are marked in use. Closing undoes it.
 *
 * What the files of the driver share, and how they keep out of each other's
 * way, is in qcow2.h.
 */
#include "block/drivers.h"
#include "block/qcow2.h"
#include "block/qcow2-codec.h"

#define FIRST_READ (64 * KiB)

static bool is_writable(const Node *node)
{
    return !node->read_only && !node->inactive;
}

/* ---- open: the header ---- */

/* The first cluster, or what there is of it; *@len bytes. */
static uint8_t *read_first_cluster(Co *co, Node *node, size_t *len,
                                   Error **errp)
{
    int64_t file_len = node->file->child->length;
    int64_t n = MIN(file_len, FIRST_READ), cluster;
    g_autofree uint8_t *buf = g_malloc0(FIRST_READ);
    int r = io_pread(co, node->file, 0, n, buf, 0);

    if (r < 0) {
        error_setg_errno(errp, -r, "Could not read qcow2 header");
        return NULL;
    }
    cluster = qcow2_header_cluster_size(buf, n, errp);
    if (cluster < 0) {
        return NULL;
    }
    if (cluster > FIRST_READ) {
        n = MIN(file_len, cluster);
        g_free(buf);
        buf = g_try_malloc0(cluster);
        r = buf ? io_pread(co, node->file, 0, n, buf, 0) : -ENOMEM;
        if (r < 0) {
            error_setg_errno(errp, -r, "Could not read qcow2 header");
            return NULL;
        }
    }
    *len = n;
    return g_steal_pointer(&buf);
}

static void set_geometry(Qcow2State *s, const Qcow2Options *o)
{
    s->cluster_bits = s->hdr.cluster_bits;
    s->cluster_size = (int64_t)1 << s->cluster_bits;
    s->subclusters = s->hdr.incompatible & QCOW2_INCOMPAT_EXTL2;
    s->subs = s->subclusters ? QCOW2_SUBCLUSTERS : 1;
    s->sub_bits = s->cluster_bits - (s->subclusters ? 5 : 0);
    s->sub_size = (int64_t)1 << s->sub_bits;
    s->l2_entry_size = s->subclusters ? 16 : 8;
    s->l2_bits = s->cluster_bits - (s->subclusters ? 4 : 3);
    s->refcount_bits = 1 << s->hdr.refcount_order;
    s->refcount_max = s->refcount_bits == 64 ? UINT64_MAX :
                      ((uint64_t)1 << s->refcount_bits) - 1;
    s->refblock_bits = s->cluster_bits + 3 - s->hdr.refcount_order;
}

static void set_options(Qcow2State *s, const Qcow2Options *o, bool writable)
{
    s->cache_clean_interval = o->clean_interval;
    s->overlap_check = o->overlap_check;
    s->lazy_refcounts = o->lazy_refcounts && writable;
    s->discard_no_unref = o->discard_no_unref;
    memcpy(s->pass_discard, o->pass_discard, sizeof(s->pass_discard));
}

static void make_caches(Node *node, const Qcow2Options *o)
{
    Qcow2State *s = qcow2_state(node);

    s->slice_bits = g_bit_nth_lsf(o->l2_entry_size / s->l2_entry_size, -1);
    s->refslice_bits = g_bit_nth_lsf(o->refblock_entry_size, -1) + 3 -
                       s->hdr.refcount_order;
    s->l2_cache = qcow2_cache_new(node, o->l2_tables, o->l2_entry_size,
                                  QCOW2_OL_ACTIVE_L2 | QCOW2_OL_INACTIVE_L2,
                                  qcow2_refcount_barrier);
    s->refblock_cache = qcow2_cache_new(node, o->refblock_tables,
                                        o->refblock_entry_size,
                                        QCOW2_OL_REFCOUNT_BLOCK, NULL);
}

/* What the header asks for and this image, or this build, can't have. */
static bool check_header(Node *node, OpenFlags flags, Error **errp)
{
    Qcow2State *s = qcow2_state(node);

    if ((s->hdr.incompatible & QCOW2_INCOMPAT_CORRUPT) && is_writable(node) &&
        !(flags & OPEN_CHECK)) {
        error_setg(errp, "qcow2: Image is corrupt; cannot be opened "
                   "read/write");
        return false;
    }
    if (!qcow2_codec_known(s->hdr.compression_type)) {
        error_setg(errp, "qcow2: unknown compression type: %u",
                   s->hdr.compression_type);
        return false;
    }
    return true;
}

static bool open_header(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree uint8_t *buf = NULL;
    size_t len;

    buf = read_first_cluster(co, node, &len, errp);
    if (!buf || !qcow2_format_decode(buf, len, flags & OPEN_CHECK, &s->hdr,
                                     &s->ext, &node->backing_file, errp)) {
        return false;
    }
    if (node->backing_file && !*node->backing_file) {
        g_clear_pointer(&node->backing_file, g_free);
    }
    node->backing_format = g_strdup(s->ext.backing_format);
    node->length = s->hdr.size;
    return check_header(node, flags, errp);
}

/* ---- open: the data file ---- */

/* Opens the file that the header names. */
static Edge *open_named_data_file(Co *co, Node *node, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    g_autofree char *name = open_combine_paths(node->file->child->filename,
                                               s->ext.data_file, errp);
    Loop *home = co_loop(co);
    BlockdevRef ref = { .type = QTYPE_QSTRING };
    Edge *edge;
    Node *child;

    if (!name) {
        return NULL;
    }
    co_move(co, loop_main());
    child = open_protocol(co, name, node->flags, errp);
    co_move(co, home);
    if (!child) {
        return NULL;
    }
    ref.u.reference = child->name;
    edge = open_child(co, node, "data-file", ROLE_DATA, &ref, errp);
    if (edge) {
        /* Reopening the image reopens it, too. */
        child->inherits_from = node;
    }
    node_unref(co, child);
    return edge;
}

static bool open_data_file(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    const BlockdevRef *ref = node->options->u.qcow2.data_file;

    s->data = node->file;
    if (!(s->hdr.incompatible & QCOW2_INCOMPAT_DATA_FILE)) {
        if (ref) {
            error_setg(errp, "'data-file' can only be set for images with an "
                       "external data file");
        }
        return !ref;
    }
    s->external_data = true;
    node->file->role = ROLE_METADATA;
    if (!ref && !s->ext.data_file) {
        error_setg(errp, "'data-file' is required for this image");
        return false;
    }
    if (!ref && (flags & OPEN_NO_IO)) {
        return true;            /* it may be missing */
    }
    s->data = ref ? open_child(co, node, "data-file", ROLE_DATA, ref, errp) :
              open_named_data_file(co, node, errp);
    return s->data;
}

/* ---- open: the tables ---- */

/* From where on the file reads as zeroes, INT64_MAX if that is not known. */
static int64_t find_fresh(Co *co, Node *node)
{
    Node *file = node_skip_filters(node->file->child);
    BlockDriverInfo info = { 0 };
    int64_t len;

    if (!file->drv->info || file->drv->info(co, file, &info) < 0 ||
        !info.zeroes_new) {
        return INT64_MAX;
    }
    len = io_length(co, file);
    return len < 0 ? INT64_MAX : qcow2_cluster_up(qcow2_state(node), len);
}

static bool open_tables(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int r = qcow2_read_table(co, node, s->hdr.l1_offset, s->hdr.l1_size,
                             &s->l1);

    if (r < 0) {
        error_setg_errno(errp, -r, "Could not read L1 table");
        return false;
    }
    s->l1_dirty = bitset_new(DIV_ROUND_UP(MAX(s->hdr.l1_size, 1), 64));
    s->fresh_offset = find_fresh(co, node);
    return qcow2_refcount_init(co, node, errp) &&
           qcow2_snapshots_load(co, node, flags & OPEN_CHECK, errp);
}

/* ---- open: fit for writing ---- */

static bool clear_autoclear(Co *co, Node *node, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    if (!(s->hdr.autoclear & ~QCOW2_AUTOCLEAR_KNOWN)) {
        return true;
    }
    r = qcow2_header_put_u64(co, node, QCOW2_HDR_AUTOCLEAR,
                             s->hdr.autoclear & QCOW2_AUTOCLEAR_KNOWN);
    if (r < 0) {
        error_setg_errno(errp, -r, "Could not update qcow2 header");
        return false;
    }
    s->hdr.autoclear &= QCOW2_AUTOCLEAR_KNOWN;
    return true;
}

/* Before the first write of a node that is, or becomes, writable. */
static bool begin_writing(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    Qcow2State *s = qcow2_state(node);

    if (!is_writable(node) || (flags & OPEN_CHECK)) {
        return true;
    }
    if (!clear_autoclear(co, node, errp)) {
        return false;
    }
    return !(s->hdr.incompatible & QCOW2_INCOMPAT_DIRTY) ||
           qcow2_check_repair_on_open(co, node, errp);
}

static void free_state(Co *co, Node *node)
{
    Qcow2State *s = qcow2_state(node);

    qcow2_cache_clean_stop(s);
    qcow2_unpacked_drop(s);
    qcow2_cache_free(s->l2_cache);
    qcow2_cache_free(s->refblock_cache);
    s->l2_cache = s->refblock_cache = NULL;
    qcow2_refcount_close(node);
    qcow2_snapshots_free(node);
    qcow2_bitmaps_close(node);
    qcow2_overlap_reset(s);
    g_clear_pointer(&s->l1, g_free);
    g_clear_pointer(&s->l1_dirty, bitset_free);
    qcow2_header_clear(&s->hdr);
    qcow2_exts_clear(&s->ext);
}

/* Everything but the file itself. */
static bool open_image(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    const BlockdevOptionsQcow2 *opts = &node->options->u.qcow2;
    Qcow2Options o;

    if (!open_header(co, node, flags, errp) ||
        !qcow2_options_parse(&s->hdr, opts, node->flags, &o, errp)) {
        return false;
    }
    set_geometry(s, &o);
    set_options(s, &o, is_writable(node));
    make_caches(node, &o);
    if (!open_data_file(co, node, flags, errp) ||
        !open_tables(co, node, flags, errp)) {
        return false;
    }
    if (!open_backing(co, node, opts->backing, errp)) {
        return false;
    }
    if (!begin_writing(co, node, flags, errp)) {
        return false;
    }
    return node->inactive || (flags & OPEN_CHECK) ||
           qcow2_load_bitmaps(co, node, errp);
}

static bool qcow2_open(Co *co, Node *node, OpenFlags flags, Error **errp)
{
    Qcow2State *s = qcow2_state(node);

    s->node = node;
    if (!open_child(co, node, "file", ROLE_STORAGE,
                    node->options->u.qcow2.file, errp)) {
        return false;
    }
    if (!open_image(co, node, flags, errp)) {
        free_state(co, node);
        return false;
    }
    return true;
}

/* Somebody else may have written to the image: all is read anew. The children
 * are the same. */
static bool load_again(Co *co, Node *node, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    Qcow2Options o;

    g_clear_pointer(&node->backing_file, g_free);
    g_clear_pointer(&node->backing_format, g_free);
    if (!open_header(co, node, 0, errp) ||
        !qcow2_options_parse(&s->hdr, &node->options->u.qcow2, node->flags,
                             &o, errp)) {
        return false;
    }
    set_geometry(s, &o);
    set_options(s, &o, is_writable(node));
    make_caches(node, &o);
    return open_tables(co, node, 0, errp) &&
           begin_writing(co, node, 0, errp) &&
           qcow2_load_bitmaps(co, node, errp);
}

static bool qcow2_activate(Co *co, Node *node, Error **errp)
{
    free_state(co, node);
    if (!load_again(co, node, errp)) {
        qcow2_state(node)->corrupt = true;
        return false;
    }
    qcow2_state(node)->corrupt = false;
    return true;
}

/* ---- close ---- */

/* Leaves the image as one that nobody writes: all stored, all clean. The bitmaps
 * stay in memory; if it fails, they may have been stored. */
static bool end_writing(Co *co, Node *node, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    bool stored;
    int r;

    if (s->corrupt) {
        return true;
    }
    stored = qcow2_store_bitmaps(co, node, false, false, errp);
    r = qcow2_flush_metadata(co, node);
    if (r >= 0) {
        /* What the flush has given back, and what lazy refcounts put off. */
        r = qcow2_refcount_write(co, node);
    }
    if (r >= 0) {
        r = io_flush(co, node->file->child);
    }
    if (r >= 0) {
        r = qcow2_mark_clean(co, node);
    }
    if (r < 0 && stored) {
        error_setg_errno(errp, -r, "Failed to flush the metadata of node '%s'",
                         node->name);
    }
    return r >= 0 && stored;
}

/* It is written on after all: the bitmaps record, and say so on disk. */
static void resume_writing(Co *co, Node *node)
{
    Error *err = NULL;

    if (!qcow2_state(node)->corrupt && !qcow2_load_bitmaps(co, node, &err)) {
        error_reportf_err(err, "%s: Failed to make dirty bitmaps writable: ",
                          node->name);
    }
}

/* After end_writing(), or if there was nothing to end. */
static bool release_bitmaps(Co *co, Node *node, Error **errp)
{
    return (is_writable(node) && qcow2_state(node)->corrupt) ||
           qcow2_store_bitmaps(co, node, true, false, errp);
}

static bool qcow2_inactivate(Co *co, Node *node, Error **errp)
{
    if (!qcow2_bitmaps_can_go(node, errp)) {
        return false;
    }
    if (is_writable(node) && !end_writing(co, node, errp)) {
        resume_writing(co, node);
        return false;
    }
    return release_bitmaps(co, node, errp);
}

static void qcow2_close(Co *co, Node *node)
{
    Error *err = NULL;

    if (!(node->flags & OPEN_CHECK) &&
        ((is_writable(node) && !end_writing(co, node, &err)) ||
         !release_bitmaps(co, node, &err))) {
        error_report_late(err);
    }
    free_state(co, node);
}

/* ---- reopen ---- */

/* What a reopen changes at its commit. */
typedef struct Reopen {
    Qcow2Options options;
    bool was_writable, writable;
} Reopen;

static bool reopen_prepare(Co *co, ReopenState *st, Transaction *tran,
                           Error **errp)
{
    Node *node = st->node;
    Qcow2State *s = qcow2_state(node);
    g_autofree Reopen *ro = g_new0(Reopen, 1);
    int r;

    if (!qcow2_options_parse(&s->hdr, &st->options->u.qcow2, st->flags,
                             &ro->options, errp)) {
        return false;
    }
    ro->was_writable = is_writable(node);
    ro->writable = !st->read_only && !node->inactive;
    if (ro->writable && !qcow2_bitmaps_complete(node, errp)) {
        return false;
    }
    if (ro->was_writable && !ro->writable) {
        if (!end_writing(co, node, errp)) {
            resume_writing(co, node);
            return false;
        }
    } else if (ro->was_writable) {
        /* The caches are going to be replaced. */
        r = qcow2_flush_metadata(co, node);
        if (r >= 0) {
            r = qcow2_refcount_write(co, node);
        }
        if (r >= 0 && !ro->options.lazy_refcounts) {
            r = qcow2_mark_clean(co, node);
        }
        if (r < 0) {
            error_setg_errno(errp, -r, "Failed to flush the metadata of "
                             "node '%s'", node->name);
            return false;
        }
    } else if (ro->writable &&
               (s->hdr.incompatible & QCOW2_INCOMPAT_CORRUPT)) {
        error_setg(errp, "qcow2: Image is corrupt; cannot be opened "
                   "read/write");
        return false;
    }
    st->opaque = g_steal_pointer(&ro);
    return true;
}

static void reopen_commit(Co *co, ReopenState *st)
{
    Node *node = st->node;
    Qcow2State *s = qcow2_state(node);
    Reopen *ro = st->opaque;

    qcow2_cache_clean_stop(s);
    qcow2_cache_free(s->l2_cache);
    qcow2_cache_free(s->refblock_cache);
    make_caches(node, &ro->options);
    set_options(s, &ro->options, ro->writable);
    /* Who was not asked for may not have been kept. */
    qcow2_overlap_reset(s);
}

/* The file can be written now. What fails here keeps the image from being
 * written (bitmaps_unmarked, or its dirty bit). */
static void reopen_commit_post(Co *co, ReopenState *st)
{
    Node *node = st->node;
    g_autofree Reopen *ro = st->opaque;
    Error *err = NULL;

    if (ro->writable && !ro->was_writable &&
        (!begin_writing(co, node, st->flags, &err) ||
         !qcow2_load_bitmaps(co, node, &err))) {
        qcow2_state(node)->bitmaps_unmarked = true;
        error_reportf_err(err, "%s: Failed to make dirty bitmaps writable: ",
                          node->name);
    }
}

static void reopen_abort(Co *co, ReopenState *st)
{
    Node *node = st->node;
    g_autofree Reopen *ro = st->opaque;

    if (ro && ro->was_writable && !ro->writable) {
        resume_writing(co, node);
    }
}

static const char *const reopen_options[] = {
    "lazy-refcounts", "overlap-check", "cache-size", "l2-cache-size",
    "l2-cache-entry-size", "refcount-cache-size", "cache-clean-interval",
    "pass-discard-request", "pass-discard-snapshot", "pass-discard-other",
    "discard-no-unref", NULL
};

static const ReopenOps reopen_ops = {
    .options = reopen_options,
    .prepare = reopen_prepare,
    .commit = reopen_commit,
    .commit_post = reopen_commit_post,
    .abort = reopen_abort,
};

/* ---- the rest ---- */

static void qcow2_limits(Node *node)
{
    Qcow2State *s = qcow2_state(node);

    node->limits.zero_alignment = s->sub_size;
    node->limits.discard_alignment = s->cluster_size;
}

static void qcow2_loop_leave(Node *node)
{
    qcow2_cache_clean_stop(qcow2_state(node));
}

static void qcow2_loop_enter(Node *node, Loop *loop)
{
    qcow2_cache_clean_arm(qcow2_state(node));
}

static int qcow2_probe(const uint8_t *buf, int len, const char *filename)
{
    return len >= 8 && ldl_be_p(buf) == QCOW2_MAGIC &&
           ldl_be_p(buf + 4) >= 2 ? 100 : 0;
}

static const ImageOps image_ops = {
    .create_options = qcow2_create_options,
    .create = qcow2_create,
    .probe = qcow2_probe,
    .check = qcow2_check,
    .amend_options = qcow2_amend_options,
    .amend = qcow2_amend,
    .measure = qcow2_measure,
    .change_backing = qcow2_change_backing,
    .make_empty = qcow2_make_empty,
};

const BlockDriver qcow2_driver = {
    .name = "qcow2",
    .id = BLOCKDEV_DRIVER_QCOW2,
    .kind = DRIVER_FORMAT,
    .state_size = sizeof(Qcow2State),
    .supports_backing = true,
    .supports_compressed = true,
    .open = qcow2_open,
    .close = qcow2_close,
    .inactivate = qcow2_inactivate,
    .activate = qcow2_activate,
    .read = qcow2_read,
    .write = qcow2_write,
    .zero = qcow2_zero,
    .discard = qcow2_discard,
    .flush = qcow2_flush_metadata,
    .flush_to_os = qcow2_flush_metadata,
    .status = qcow2_status,
    .status_list = qcow2_status_list,
    .resize = qcow2_resize,
    .limits = qcow2_limits,
    .info = qcow2_info,
    .specific_info = qcow2_specific_info,
    .loop_leave = qcow2_loop_leave,
    .loop_enter = qcow2_loop_enter,
    .reopen = &reopen_ops,
    .image = &image_ops,
    .snapshots = &qcow2_snapshot_ops,
    .bitmap_store = &qcow2_bitmap_store_ops,
};
