/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The header extensions of qcow2.
 *
 *     | magic 4 | length 4 | data | up to 8 | magic 4 | ...  | 0 4 | 0 4 |
 *
 * Known ones are decoded into fields, all others are kept as bytes and are
 * written back behind the known ones. They are written in a fixed order:
 * backing format, data file, feature table, bitmaps, what they lost, unknown,
 * end; behind them the backing file's name.
 *
 * A bitmaps extension that makes no sense does not spoil the image: the reason
 * is kept beside it, and those who read bitmaps tell it. Everything else that
 * is wrong here is an error, since one wrong length makes all that follows
 * arbitrary.
 *
 * The feature table only serves programs older than a feature, so it is left
 * out where the cluster is short of room for it.
 */
#include "block/qcow2-format.h"

/* Clusters up to this size have no feature table. */
#define EXT_SMALL_CLUSTER 4096
#define EXT_FEATURE_LEN 48
#define EXT_BITMAPS_LEN 24
#define EXT_BITMAPS_CUT_LEN 16
/* Offsets of tables end below this (specification: bits 9 to 55). */
#define EXT_MAX_HOST_OFFSET (UINT64_C(1) << 56)

static const struct {
    uint8_t type;               /* 0 incompatible, 1 compatible, 2 autoclear */
    uint8_t bit;
    const char *name;
} feature_names[] = {
    { 0, 0, "dirty bit" },
    { 0, 1, "corrupt bit" },
    { 0, 2, "external data file" },
    { 0, 3, "compression type" },
    { 0, 4, "extended L2 entries" },
    { 1, 0, "lazy refcounts" },
    { 2, 0, "bitmaps" },
    { 2, 1, "raw external data" },
};

void qcow2_exts_clear(Qcow2Exts *x)
{
    g_free(x->backing_format);
    g_free(x->data_file);
    g_free(x->feature_table);
    g_clear_pointer(&x->unknown, g_ptr_array_unref);
    error_free(x->bitmaps_error);
    memset(x, 0, sizeof(*x));
}

/* ---- decoding ---- */

static bool ext_read_backing_format(const uint8_t *data, uint32_t len,
                                    Qcow2Exts *x, Error **errp)
{
    if (len > QCOW2_MAX_BACKING_FORMAT) {
        error_setg(errp, "ERROR: ext_backing_format: len=%" PRIu32
                   " too large (>=%d)", len, QCOW2_MAX_BACKING_FORMAT + 1);
        return false;
    }
    g_free(x->backing_format);
    x->backing_format = g_strndup((const char *)data, len);
    return true;
}

/* A copy behind @head bytes, with a zero at its end: as long as the file says. */
static void *ext_copy(size_t head, const uint8_t *data, uint32_t len,
                      Error **errp)
{
    uint8_t *copy = g_try_malloc0(head + len + 1);

    if (!copy) {
        error_setg_errno(errp, ENOMEM, "Could not read header extensions");
        return NULL;
    }
    memcpy(copy + head, data, len);
    return copy;
}

static bool ext_read_features(const uint8_t *data, uint32_t len,
                              Qcow2Exts *x, Error **errp)
{
    g_free(x->feature_table);
    x->feature_table = ext_copy(0, data, len, errp);
    x->feature_table_len = x->feature_table ? len : 0;
    return x->feature_table;
}

static bool ext_read_data_file(const uint8_t *data, uint32_t len,
                               Qcow2Exts *x, Error **errp)
{
    g_free(x->data_file);
    x->data_file = ext_copy(0, data, len, errp);
    return x->data_file;
}

static void ext_set_bitmaps_error(Qcow2Exts *x, Error *err)
{
    error_free(x->bitmaps_error);
    x->bitmaps_error = err;
}

static void ext_check_bitmaps(const Qcow2Header *h, uint32_t reserved,
                              Qcow2Exts *x)
{
    Error *err = NULL;

    if (reserved != 0) {
        error_setg(&err, "bitmaps_ext: Reserved field is not zero");
    } else if (x->nb_bitmaps > QCOW2_MAX_BITMAPS) {
        error_setg(&err, "bitmaps_ext: Image has %" PRIu32 " bitmaps, "
                   "exceeding the QEMU supported maximum of %d",
                   x->nb_bitmaps, QCOW2_MAX_BITMAPS);
    } else if (x->nb_bitmaps == 0) {
        error_setg(&err, "found bitmaps extension with zero bitmaps");
    } else if (!IS_ALIGNED(x->bitmap_dir_offset,
                           UINT64_C(1) << h->cluster_bits)) {
        error_setg(&err, "bitmaps_ext: invalid bitmap directory offset");
    } else if (x->bitmap_dir_size > QCOW2_MAX_BITMAP_DIR_BYTES) {
        error_setg(&err, "bitmaps_ext: bitmap directory size (%" PRIu64 ") "
                   "exceeds the maximum supported size (%" PRId64 ")",
                   x->bitmap_dir_size, QCOW2_MAX_BITMAP_DIR_BYTES);
    } else if (x->bitmap_dir_size == 0) {
        error_setg(&err, "Requested bitmap directory size is zero");
    } else if (x->bitmap_dir_offset == 0 ||
               x->bitmap_dir_offset >= EXT_MAX_HOST_OFFSET) {
        error_setg(&err, "bitmaps_ext: invalid bitmap directory offset");
    }
    ext_set_bitmaps_error(x, err);
}

static void ext_read_bitmaps(const uint8_t *data, uint32_t len,
                             const Qcow2Header *h, Qcow2Exts *x)
{
    x->have_bitmaps = true;
    if (len != EXT_BITMAPS_LEN) {
        Error *err = NULL;

        error_setg(&err, "bitmaps_ext: Invalid extension length");
        ext_set_bitmaps_error(x, err);
        x->nb_bitmaps = 0;
        x->bitmap_dir_size = x->bitmap_dir_offset = 0;
        return;
    }
    x->nb_bitmaps = ldl_be_p(data);
    x->bitmap_dir_size = ldq_be_p(data + 8);
    x->bitmap_dir_offset = ldq_be_p(data + 16);
    ext_check_bitmaps(h, ldl_be_p(data + 4), x);
}

/* One that makes no sense is as if it were not there. */
static void ext_read_bitmaps_cut(const uint8_t *data, uint32_t len,
                                 Qcow2Exts *x)
{
    if (len == EXT_BITMAPS_CUT_LEN && ldq_be_p(data + 8) <= INT64_MAX &&
        ldq_be_p(data) < ldq_be_p(data + 8)) {
        x->bitmaps_cut_len = ldq_be_p(data);
        x->bitmaps_cut_end = ldq_be_p(data + 8);
    }
}

static bool ext_keep_unknown(uint32_t type, const uint8_t *data,
                             uint32_t len, Qcow2Exts *x, Error **errp)
{
    Qcow2UnknownExt *u = ext_copy(offsetof(Qcow2UnknownExt, data), data, len,
                                  errp);

    if (!u) {
        return false;
    }
    u->type = type;
    u->len = len;
    if (!x->unknown) {
        x->unknown = g_ptr_array_new_with_free_func(g_free);
    }
    g_ptr_array_add(x->unknown, u);
    return true;
}

static bool ext_read_one(uint32_t type, const uint8_t *data, uint32_t len,
                         const Qcow2Header *h, Qcow2Exts *x, Error **errp)
{
    switch (type) {
    case QCOW2_EXT_BACKING_FORMAT:
        return ext_read_backing_format(data, len, x, errp);
    case QCOW2_EXT_FEATURE_TABLE:
        return ext_read_features(data, len, x, errp);
    case QCOW2_EXT_BITMAPS:
        ext_read_bitmaps(data, len, h, x);
        return true;
    case QCOW2_EXT_DATA_FILE:
        return ext_read_data_file(data, len, x, errp);
    case QCOW2_EXT_CRYPTO:
        if (h->crypt_method != QCOW2_CRYPT_LUKS) {
            error_setg(errp, "CRYPTO header extension only expected with "
                       "LUKS encryption method");
            return false;
        }
        /* The image is going to be refused for its encryption. */
        return true;
    case QCOW2_EXT_BITMAPS_CUT:
        ext_read_bitmaps_cut(data, len, x);
        return true;
    default:
        return ext_keep_unknown(type, data, len, x, errp);
    }
}

/* Exactly [at, end) of the file, zeroes where it is shorter; NULL: no memory. */
static uint8_t *ext_area(const uint8_t *buf, size_t len, size_t at,
                         size_t end)
{
    uint8_t *area = g_try_malloc0(end - at);

    if (area && len > at) {
        memcpy(area, buf + at, MIN(len, end) - at);
    }
    return area;
}

bool qcow2_exts_decode(const uint8_t *buf, size_t len, const Qcow2Header *h,
                      Qcow2Exts *x, Error **errp)
{
    size_t start = h->header_length;
    size_t end = h->backing_offset ? h->backing_offset
                                        : (size_t)1 << h->cluster_bits;
    g_autofree uint8_t *area = NULL;
    size_t at = 0, n;

    if (end <= start) {
        return true;
    }
    n = end - start;
    area = ext_area(buf, len, start, end);
    if (!area) {
        error_setg_errno(errp, ENOMEM, "Could not read header extensions");
        return false;
    }
    while (at < n) {
        uint32_t type, ext_len;

        if (n - at < 8) {
            error_setg(errp, "Header extension too large");
            return false;
        }
        type = ldl_be_p(area + at);
        ext_len = ldl_be_p(area + at + 4);
        at += 8;
        if (ext_len > n - at) {
            error_setg(errp, "Header extension too large");
            return false;
        }
        if (type == QCOW2_EXT_END) {
            return true;
        }
        if (!ext_read_one(type, area + at, ext_len, h, x, errp)) {
            return false;
        }
        at += ROUND_UP((size_t)ext_len, 8);
    }
    return true;
}

/* Appends the names of @unknown bits that the table has; returns the rest. */
static uint64_t ext_name_features(const Qcow2Exts *x, uint64_t unknown,
                                  GString *text)
{
    for (uint32_t at = 0; at + 2 < x->feature_table_len;
         at += EXT_FEATURE_LEN) {
        const uint8_t *f = x->feature_table + at;
        size_t room = MIN(EXT_FEATURE_LEN, x->feature_table_len - at) - 2;

        if (f[0] == 0 && f[1] < 64 && unknown & (UINT64_C(1) << f[1])) {
            g_string_append_printf(text, "%s%.*s", text->len ? ", " : "",
                                   (int)room, (const char *)f + 2);
            unknown &= ~(UINT64_C(1) << f[1]);
        }
    }
    return unknown;
}

bool qcow2_exts_check_features(const Qcow2Header *h, const Qcow2Exts *x,
                               Error **errp)
{
    uint64_t unknown = h->incompatible & ~QCOW2_INCOMPAT_KNOWN;
    g_autoptr(GString) text = NULL;

    if (!unknown) {
        return true;
    }
    text = g_string_new(NULL);
    unknown = ext_name_features(x, unknown, text);
    if (unknown) {
        g_string_append_printf(text,
                               "%sUnknown incompatible feature: %" PRIx64,
                               text->len ? ", " : "", unknown);
    }
    error_setg(errp, "Unsupported qcow2 feature(s): %s", text->str);
    return false;
}

static char *ext_read_backing_name(const uint8_t *buf, size_t len,
                                   const Qcow2Header *h)
{
    char *name;

    if (!h->backing_offset) {
        return NULL;
    }
    name = g_malloc0(h->backing_len + 1);
    if (len > h->backing_offset) {
        memcpy(name, buf + h->backing_offset,
               MIN(h->backing_len, len - h->backing_offset));
    }
    return name;
}

bool qcow2_format_decode(const uint8_t *buf, size_t len, bool relaxed,
                         Qcow2Header *h, Qcow2Exts *x, char **backing_file,
                         Error **errp)
{
    if (!qcow2_header_decode(buf, len, relaxed, h, errp)) {
        return false;
    }
    if (h->incompatible & ~QCOW2_INCOMPAT_KNOWN) {
        /* Only the names matter now: whatever else may be wrong in the
         * extensions of a format that we don't know is not the message. */
        qcow2_exts_decode(buf, len, h, x, NULL);
        return qcow2_exts_check_features(h, x, errp);
    }
    if (!qcow2_exts_decode(buf, len, h, x, errp) ||
        !qcow2_header_check_backing_name(h, errp)) {
        return false;
    }
    *backing_file = ext_read_backing_name(buf, len, h);
    return true;
}

/* ---- encoding ---- */

typedef struct ExtWriter {
    uint8_t *buf;
    size_t len, at;
    bool full;
} ExtWriter;

static uint8_t *ext_begin(ExtWriter *w, uint32_t type, size_t len)
{
    uint8_t *data;

    if (w->full || w->len - w->at < 8 + ROUND_UP(len, 8)) {
        w->full = true;
        return NULL;
    }
    stl_be_p(w->buf + w->at, type);
    stl_be_p(w->buf + w->at + 4, len);
    data = w->buf + w->at + 8;
    w->at += 8 + ROUND_UP(len, 8);
    return data;
}

static void ext_put(ExtWriter *w, uint32_t type, const void *from,
                    size_t len)
{
    uint8_t *data = ext_begin(w, type, len);

    if (data && len) {
        memcpy(data, from, len);
    }
}

static void ext_put_features(ExtWriter *w)
{
    uint8_t *data = ext_begin(w, QCOW2_EXT_FEATURE_TABLE,
                              ARRAY_SIZE(feature_names) * EXT_FEATURE_LEN);

    for (size_t i = 0; data && i < ARRAY_SIZE(feature_names); i++) {
        data[0] = feature_names[i].type;
        data[1] = feature_names[i].bit;
        memcpy(data + 2, feature_names[i].name, strlen(feature_names[i].name));
        data += EXT_FEATURE_LEN;
    }
}

static void ext_put_bitmaps(ExtWriter *w, const Qcow2Exts *x)
{
    uint8_t *data = ext_begin(w, QCOW2_EXT_BITMAPS, EXT_BITMAPS_LEN);

    if (data) {
        stl_be_p(data, x->nb_bitmaps);
        stl_be_p(data + 4, 0);
        stq_be_p(data + 8, x->bitmap_dir_size);
        stq_be_p(data + 16, x->bitmap_dir_offset);
    }
}

static void ext_put_bitmaps_cut(ExtWriter *w, const Qcow2Exts *x)
{
    uint8_t *data = ext_begin(w, QCOW2_EXT_BITMAPS_CUT, EXT_BITMAPS_CUT_LEN);

    if (data) {
        stq_be_p(data, x->bitmaps_cut_len);
        stq_be_p(data + 8, x->bitmaps_cut_end);
    }
}

size_t qcow2_exts_encode(const Qcow2Exts *x, bool features, uint8_t *buf,
                         size_t start, size_t len)
{
    ExtWriter w = { buf, len, start, start > len };

    if (x->backing_format) {
        ext_put(&w, QCOW2_EXT_BACKING_FORMAT, x->backing_format,
                strlen(x->backing_format));
    }
    if (x->data_file) {
        ext_put(&w, QCOW2_EXT_DATA_FILE, x->data_file, strlen(x->data_file));
    }
    if (features) {
        ext_put_features(&w);
    }
    if (x->have_bitmaps) {
        ext_put_bitmaps(&w, x);
    }
    if (x->have_bitmaps && x->bitmaps_cut_end) {
        ext_put_bitmaps_cut(&w, x);
    }
    for (guint i = 0; x->unknown && i < x->unknown->len; i++) {
        const Qcow2UnknownExt *u = g_ptr_array_index(x->unknown, i);

        ext_put(&w, u->type, u->data, u->len);
    }
    ext_put(&w, QCOW2_EXT_END, NULL, 0);
    return w.full ? 0 : w.at;
}

/* One attempt, with or without the feature table. */
static int64_t format_encode_try(Qcow2Header *h, const Qcow2Exts *x,
                                 const char *backing_file, uint8_t *buf,
                                 bool features)
{
    size_t cluster_size = (size_t)1 << h->cluster_bits;
    size_t name_len = backing_file ? strlen(backing_file) : 0;
    size_t at;

    memset(buf, 0, cluster_size);
    at = qcow2_header_encode(h, buf, cluster_size);
    if (at && name_len <= cluster_size) {
        at = qcow2_exts_encode(x, features, buf, at, cluster_size - name_len);
    }
    if (!at || name_len > cluster_size) {
        return -ENOSPC;
    }
    h->backing_offset = name_len ? at : 0;
    h->backing_len = name_len;
    if (name_len) {
        memcpy(buf + at, backing_file, name_len);
    }
    /* Once more, now that it is known where the name lies. */
    h->header_length = qcow2_header_encode(h, buf, cluster_size);
    return at + name_len;
}

int64_t qcow2_format_encode(Qcow2Header *h, const Qcow2Exts *x,
                            const char *backing_file, uint8_t *buf)
{
    int64_t ret = -ENOSPC;

    if (backing_file && strlen(backing_file) > QCOW2_MAX_BACKING_NAME) {
        return -EINVAL;
    }
    if (h->version >= 3 && 1 << h->cluster_bits > EXT_SMALL_CLUSTER) {
        ret = format_encode_try(h, x, backing_file, buf, true);
    }
    if (ret == -ENOSPC) {
        ret = format_encode_try(h, x, backing_file, buf, false);
    }
    return ret;
}
