/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * Changing the format options of an image (qemu-img amend): version both ways,
 * lazy refcounts, refcount width, name of the data file, size.
 *
 * What is asked for is checked as a whole before anything changes. Then: to a
 * higher version, refcount width, header fields, size, to a lower version;
 * each step leaves a sound image.
 */
#include "block/io-steps.h"
#include "block/qcow2-amend.h"
#include "block/qcow2-snapshot.h"

const CreateOption qcow2_amend_options[] = {
    { "backing_file", "backing-file", CREATE_STRING, NULL,
      "File name of a base image" },
    { "backing_fmt", "backing-fmt", CREATE_STRING, NULL,
      "Image format of the base image" },
    { "compat", "version", CREATE_STRING, NULL,
      "Compatibility level (v2 [0.10] or v3 [1.1])" },
    { "data_file", "data-file", CREATE_STRING, NULL,
      "File name of an external data file" },
    { "data_file_raw", "data-file-raw", CREATE_BOOL, NULL,
      "The external data file must stay valid as a raw image" },
    { "encrypt.iter-time", "encrypt.iter-time", CREATE_NUMBER, NULL,
      "Time to spend in PBKDF in milliseconds" },
    { "encrypt.keyslot", "encrypt.keyslot", CREATE_NUMBER, NULL,
      "Select a single keyslot to modify explicitly" },
    { "encrypt.new-secret", "encrypt.new-secret", CREATE_STRING, NULL,
      "New secret to set in the matching keyslots. Empty string to erase" },
    { "encrypt.old-secret", "encrypt.old-secret", CREATE_STRING, NULL,
      "Select all keyslots that match this password" },
    { "encrypt.state", "encrypt.state", CREATE_STRING, NULL,
      "Select new state of affected keyslots (active/inactive)" },
    { "lazy_refcounts", "lazy-refcounts", CREATE_BOOL, NULL,
      "Postpone refcount updates" },
    { "refcount_bits", "refcount-bits", CREATE_NUMBER, NULL,
      "Width of a reference count entry in bits" },
    { "size", "size", CREATE_SIZE, NULL, "Virtual disk size" },
    { NULL }
};

/* What shall be, where nothing is asked what is. */
typedef struct AmendPlan {
    uint32_t version;
    bool lazy;
    bool data_file_raw;
    const char *data_file;      /* NULL: as it is */
    int refcount_bits;
    int64_t size;
} AmendPlan;

/* ---- options ---- */

static const char *amend_get(const json_t *opts, const char *name)
{
    return json_string_value(json_object_get(opts, name));
}

/* Whether amend has an option of that QAPI name. */
static bool amend_has_option(const char *qapi_name)
{
    for (const CreateOption *o = qcow2_amend_options; o->name; o++) {
        if (strcmp(o->qapi_name, qapi_name) == 0) {
            return true;
        }
    }
    return false;
}

static bool amend_check_names(const json_t *opts, Error **errp)
{
    if (json_object_get(opts, "encrypt")) {
        error_setg(errp, "image is not encrypted, can't amend");
        return false;
    }
    for (const CreateOption *o = qcow2_create_options; o->name; o++) {
        if (json_object_get(opts, o->qapi_name) &&
            !amend_has_option(o->qapi_name)) {
            error_setg(errp, "Invalid parameter '%s'", o->name);
            error_append_hint(errp, "This option is only supported for image "
                              "creation\n");
            return false;
        }
    }
    for (const CreateOption *o = qcow2_amend_options; o->name; o++) {
        if (g_str_has_prefix(o->name, "encrypt.") &&
            json_object_get(opts, o->qapi_name)) {
            error_setg(errp, "Can't amend encryption options - encryption not "
                       "present");
            return false;
        }
    }
    return true;
}

static bool amend_parse_bool(const json_t *opts, const char *name, bool *ret,
                             Error **errp)
{
    const char *value = amend_get(opts, name);

    if (!value) {
        return true;
    }
    if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", name);
        return false;
    }
    *ret = strcmp(value, "on") == 0;
    return true;
}

static bool amend_parse_version(const json_t *opts, AmendPlan *p,
                                Error **errp)
{
    const char *value = amend_get(opts, "version");

    if (!value) {
        return true;
    }
    if (strcmp(value, "v2") == 0 || strcmp(value, "0.10") == 0) {
        p->version = 2;
    } else if (strcmp(value, "v3") == 0 || strcmp(value, "1.1") == 0) {
        p->version = 3;
    } else {
        error_setg(errp, "Unknown compatibility level %s", value);
        return false;
    }
    return true;
}

static bool amend_parse_numbers(const json_t *opts, AmendPlan *p,
                                Error **errp)
{
    const char *bits = amend_get(opts, "refcount-bits");
    const char *size = amend_get(opts, "size");
    uint64_t n;

    if (bits) {
        p->refcount_bits = MIN(g_ascii_strtoull(bits, NULL, 10), 65);
        if (!qcow2_create_check_refcount_bits(p->refcount_bits, NULL, errp)) {
            return false;
        }
    }
    if (size) {
        if (size_parse(size, 'B', NULL, &n) < 0 || n > INT64_MAX) {
            error_setg(errp, "Parameter 'size' expects a non-negative number "
                       "below 2^64");
            return false;
        }
        if (n % 512) {
            error_setg(errp, "The new size must be a multiple of 512");
            return false;
        }
        /* Nobody amends a disk away. */
        p->size = n ? (int64_t)n : p->size;
    }
    return true;
}

/* ---- what can't be ---- */

static bool amend_check_backing(const json_t *opts, Error **errp)
{
    if (amend_get(opts, "backing-file") || amend_get(opts, "backing-fmt")) {
        error_setg(errp, "Cannot amend the backing file");
        error_append_hint(errp, "You can use 'qemu-img rebase' instead.\n");
        return false;
    }
    return true;
}

static bool amend_check_data_file(Node *node, const AmendPlan *p,
                                  Error **errp)
{
    Qcow2State *s = qcow2_state(node);

    if (p->data_file && !s->external_data) {
        error_setg(errp, "data-file can only be set for images that use an "
                   "external data file");
        return false;
    }
    if (p->data_file_raw && !(s->hdr.autoclear & QCOW2_AUTOCLEAR_RAW_DATA)) {
        error_setg(errp, "data-file-raw cannot be set on existing images");
        return false;
    }
    return true;
}

static bool amend_check_version_2(Node *node, const AmendPlan *p,
                                  bool asked_bits, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    uint64_t others = s->hdr.incompatible & ~QCOW2_INCOMPAT_DIRTY;

    if (p->refcount_bits != 16 && asked_bits) {
        error_setg(errp, "Refcount widths other than 16 bits require "
                   "compatibility level 1.1 or above (use compat=1.1 or "
                   "greater)");
        return false;
    }
    if (p->refcount_bits != 16) {
        error_setg(errp, "compat=0.10 requires refcount_bits=16");
        return false;
    }
    if (s->external_data) {
        error_setg(errp, "Cannot downgrade an image with a data file");
        return false;
    }
    if (others) {
        error_setg(errp, "Cannot downgrade an image with incompatible "
                   "features 0x%" PRIx64 " set", others);
        return false;
    }
    for (DirtyBitmap *bm = bitmap_first(node); bm; bm = bitmap_next(bm)) {
        if (bm->persistent && s->hdr.version >= 3) {
            error_setg(errp, "Cannot downgrade an image with persistent "
                       "bitmaps");
            error_append_hint(errp, "Version 2 can't tell whether they are "
                              "valid. Remove them first.\n");
            return false;
        }
    }
    return true;
}

static bool amend_plan(Node *node, const json_t *opts, AmendPlan *p,
                       Error **errp)
{
    Qcow2State *s = qcow2_state(node);

    p->version = s->hdr.version;
    p->lazy = s->hdr.compatible & QCOW2_COMPAT_LAZY;
    p->data_file = amend_get(opts, "data-file");
    p->refcount_bits = s->refcount_bits;
    p->size = node->length;
    if (!amend_check_names(opts, errp) ||
        !amend_parse_version(opts, p, errp) ||
        !amend_parse_bool(opts, "lazy-refcounts", &p->lazy, errp) ||
        !amend_parse_numbers(opts, p, errp) ||
        !amend_check_backing(opts, errp)) {
        return false;
    }
    p->data_file_raw = s->hdr.autoclear & QCOW2_AUTOCLEAR_RAW_DATA;
    if (!amend_parse_bool(opts, "data-file-raw", &p->data_file_raw, errp) ||
        !amend_check_data_file(node, p, errp)) {
        return false;
    }
    if (p->version < 3 && p->lazy) {
        if (amend_get(opts, "lazy-refcounts")) {
            error_setg(errp, "Lazy refcounts only supported with "
                       "compatibility level 1.1 and above (use compat=1.1 or "
                       "greater)");
            return false;
        }
        p->lazy = false;
    }
    return p->version >= 3 ||
           amend_check_version_2(node, p, amend_get(opts, "refcount-bits"),
                                 errp);
}

/* ---- steps: each does its part, if there is one to do ---- */

typedef bool (*AmendStep)(Co *co, Node *node, const AmendPlan *p,
                          Error **errp);

static bool amend_write_header(Co *co, Node *node, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    int r;

    co_mutex_lock(co, &s->meta);
    r = qcow2_write_header(co, node);
    co_mutex_unlock(&s->meta);
    if (r >= 0) {
        r = io_flush(co, node->file->child);
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to update the image header");
    }
    return r >= 0;
}

/* Snapshots of version 3 must say how large their disk is. */
static bool amend_complete_snapshots(Co *co, Node *node, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    bool complete = true;
    int r = 0;

    for (unsigned i = 0; i < s->nb_snapshots; i++) {
        complete &= qcow2_snapshot_is_complete(&s->snapshots[i]);
    }
    if (!complete) {
        co_mutex_lock(co, &s->meta);
        r = qcow2_snapshots_write(co, node, NULL);
        co_mutex_unlock(&s->meta);
    }
    if (r < 0) {
        error_setg_errno(errp, -r, "Failed to update the snapshot table");
    }
    return r >= 0;
}

static bool amend_upgrade(Co *co, Node *node, const AmendPlan *p,
                          Error **errp)
{
    Qcow2State *s = qcow2_state(node);

    if (p->version <= s->hdr.version) {
        return true;
    }
    if (!amend_complete_snapshots(co, node, errp)) {
        return false;
    }
    s->hdr.version = 3;
    if (!amend_write_header(co, node, errp)) {
        s->hdr.version = 2;
        return false;
    }
    return true;
}

static bool amend_change_width(Co *co, Node *node, const AmendPlan *p,
                               Error **errp)
{
    return p->refcount_bits == qcow2_state(node)->refcount_bits ||
           qcow2_change_refcount_order(co, node,
                                       __builtin_ctz(p->refcount_bits), errp);
}

/* What refcounts that are put off have left to do. */
static bool amend_end_lazy(Co *co, Node *node, Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    bool lazy = s->lazy_refcounts;
    int r;

    s->lazy_refcounts = false;
    r = qcow2_refcount_write(co, node);
    if (r >= 0) {
        r = qcow2_mark_clean(co, node);
    }
    if (r < 0) {
        s->lazy_refcounts = lazy;
        error_setg_errno(errp, -r, "Failed to make the image clean");
    }
    return r >= 0;
}

static bool amend_set_fields(Co *co, Node *node, const AmendPlan *p,
                             Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    const Qcow2Header old = s->hdr;
    bool was_lazy = s->lazy_refcounts;
    bool lazy = old.compatible & QCOW2_COMPAT_LAZY;
    bool raw = old.autoclear & QCOW2_AUTOCLEAR_RAW_DATA;
    g_autofree char *unused = NULL;

    if (p->lazy == lazy && p->data_file_raw == raw && !p->data_file) {
        return true;
    }
    if (lazy && !p->lazy && !amend_end_lazy(co, node, errp)) {
        return false;
    }
    s->hdr.compatible = (old.compatible & ~QCOW2_COMPAT_LAZY) |
                        (p->lazy ? QCOW2_COMPAT_LAZY : 0);
    s->hdr.autoclear = (old.autoclear & ~QCOW2_AUTOCLEAR_RAW_DATA) |
                       (p->data_file_raw ? QCOW2_AUTOCLEAR_RAW_DATA : 0);
    if (p->data_file) {
        unused = s->ext.data_file;
        s->ext.data_file = *p->data_file ? g_strdup(p->data_file) : NULL;
    }
    if (amend_write_header(co, node, errp)) {
        return true;
    }
    s->hdr.compatible = old.compatible;
    s->hdr.autoclear = old.autoclear;
    s->lazy_refcounts = was_lazy;
    if (p->data_file) {
        char *kept = g_steal_pointer(&unused);

        unused = s->ext.data_file;
        s->ext.data_file = kept;
    }
    return false;
}

static bool amend_resize(Co *co, Node *node, const AmendPlan *p, Error **errp)
{
    int64_t old = node->length;
    bool ok = p->size == old ||
              qcow2_resize(co, node, p->size, false, PREALLOC_MODE_OFF, 0,
                           errp);

    if (node->length != old) {
        io_length_changed(co, node, old);
    }
    return ok;
}

static bool amend_downgrade(Co *co, Node *node, const AmendPlan *p,
                            Error **errp)
{
    Qcow2State *s = qcow2_state(node);
    const Qcow2Header old = s->hdr;
    bool was_lazy = s->lazy_refcounts;

    if (p->version >= old.version) {
        return true;
    }
    if (!qcow2_amend_expand_zeroes(co, node, errp) ||
        !amend_end_lazy(co, node, errp)) {
        return false;
    }
    s->hdr.version = 2;
    s->hdr.compatible = s->hdr.autoclear = 0;
    if (!amend_write_header(co, node, errp)) {
        s->hdr.version = old.version;
        s->hdr.compatible = old.compatible;
        s->hdr.autoclear = old.autoclear;
        s->lazy_refcounts = was_lazy;
        return false;
    }
    return true;
}

bool qcow2_amend(Co *co, Node *node, const json_t *opts, bool force,
                 void (*progress)(void *opaque, int64_t done, int64_t all),
                 void *opaque, Error **errp)
{
    static const AmendStep steps[] = {
        amend_upgrade, amend_change_width, amend_set_fields, amend_resize,
        amend_downgrade,
    };
    AmendPlan p = { 0 };

    if (!amend_plan(node, opts, &p, errp)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        if (!steps[i](co, node, &p, errp)) {
            return false;
        }
        if (progress) {
            progress(opaque, i + 1, ARRAY_SIZE(steps));
        }
    }
    return true;
}
