/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copyright (c) 2026 The project's contributors */
/*
 * The bits of a dirty bitmap.
 *
 * A bitmap from an image is loaded when somebody looks at it. Until then bits
 * holds what was written since the image was opened, and the content is
 * bits | stored. The stored part is read into a set of its own, because reading
 * suspends and writes go on; several who look at once wait for one load.
 */

#include "block/bitmap-private.h"
#include "util/tls-lib.h"

void bitmap_set_loader(DirtyBitmap *bm,
                       bool (*fn)(Co *co, DirtyBitmap *bm, Bitset *into,
                                  void *opaque, Error **errp),
                       void *opaque)
{
    bm->load = fn;
    bm->load_opaque = opaque;
    bm->load_nbits = bitset_size(bm->bits);
    bm->loaded = false;
}

static bool bitmap_load(Co *co, DirtyBitmap *bm, Error **errp)
{
    g_autoptr(Bitset) stored = NULL;
    bool ok;

    while (bm->loading) {
        co_queue_wait(co, &bm->load_queue);
    }
    if (bm->loaded) {
        return true;
    }
    stored = bitset_new(bm->load_nbits);
    bm->loading = true;
    ok = bm->load(co, bm, stored, bm->load_opaque, errp);
    bm->loading = false;
    co_queue_wake_all(&bm->load_queue);
    if (!ok || bm->loaded) {
        return ok;              /* it was cleared meanwhile */
    }
    if (bm->load_nbits != bitset_size(bm->bits)) {
        bitset_resize(stored, bitset_size(bm->bits));
    }
    /* Few bits were recorded meanwhile: they go to the many. */
    bitset_or(stored, bm->bits);
    bitset_free(bm->bits);
    bm->bits = g_steal_pointer(&stored);
    bm->loaded = true;
    return true;
}

const Bitset *bitmap_bits(Co *co, DirtyBitmap *bm, Error **errp)
{
    loop_assert(bm->node->loop);
    if (!bm->loaded && !bitmap_load(co, bm, errp)) {
        return NULL;
    }
    bitmap_fold(bm);
    return bm->bits;
}

Bitset *bitmap_bits_mut(Co *co, DirtyBitmap *bm, Error **errp)
{
    if (!bitmap_bits(co, bm, errp)) {
        return NULL;
    }
    bm->changed = true;
    return bm->bits;
}

Bitset *bitmap_bits_to_store(Co *co, DirtyBitmap *bm, Error **errp)
{
    const Bitset *bits = bitmap_bits(co, bm, errp);
    Bitset *copy = bits ? bitset_copy(bits) : NULL;

    if (copy && bm->successor) {
        bitmap_fold(bm->successor);
        bitset_or(copy, bm->successor->bits);
    }
    return copy;
}

int64_t bitmap_count_bytes(Co *co, DirtyBitmap *bm)
{
    const Bitset *bits;

    if (bm->state == BITMAP_INCONSISTENT) {
        return 0;
    }
    bits = bitmap_bits(co, bm, NULL);
    return bits ? bitset_count(bits) << bm->granularity_shift : 0;
}

bool bitmap_clear(Co *co, DirtyBitmap *bm, Bitset **backup, Error **errp)
{
    int64_t nbits;

    loop_assert(bm->node->loop);
    if (backup) {
        if (!bitmap_bits(co, bm, errp)) {
            return false;
        }
        nbits = bitset_size(bm->bits);
        *backup = bm->bits;
        bm->bits = bitset_new(nbits);
    } else {
        bitmap_fold(bm);
        bitset_clear_all(bm->bits);
    }
    bm->loaded = true;
    bm->changed = true;
    return true;
}

void bitmap_restore(DirtyBitmap *bm, Bitset *backup)
{
    loop_assert(bm->node->loop);
    bitmap_fold(bm);
    g_assert(bitset_size(backup) == bitset_size(bm->bits));
    bitset_free(bm->bits);
    bm->bits = backup;
    bm->loaded = true;
    bm->changed = true;
}

/* A source of another length: nobody has seen what lies past its end, so that
 * is dirty; what lies past the destination's end will be, should it grow. */
static void gather_fit(Bitset *into, const DirtyBitmap *dst, Bitset *copy,
                       int shift, int64_t src_len)
{
    int64_t len = dst->node->length, first = src_len >> dst->granularity_shift;

    if (src_len == len) {
        return;
    }
    bitset_resize(copy, bitmap_nbits(len, shift));
    if (src_len < len && first < bitset_size(into)) {
        bitset_set(into, first, bitset_size(into) - first);
    }
}

bool bitmap_gather(Co *co, Bitset *into, DirtyBitmap *dst,
                   DirtyBitmap *src, Error **errp)
{
    g_autoptr(Bitset) copy = NULL;
    int64_t src_len, cut_end;
    const Bitset *bits;

    if (src->node->loop == dst->node->loop &&
        src->node->length == dst->node->length) {
        bits = bitmap_bits(co, src, errp);
        if (bits) {
            bitmap_raise_cut(dst, MAX(src->cut_end, src->node->length));
            bitset_or_scaled(into, dst->granularity_shift, bits,
                             src->granularity_shift);
        }
        return bits != NULL;
    }
    co_move(co, src->node->loop);
    src_len = src->node->length;
    bits = bitmap_bits(co, src, errp);
    copy = bits ? bitset_copy(bits) : NULL;
    cut_end = MAX(src->cut_end, src_len);
    co_move(co, dst->node->loop);
    if (!copy) {
        return false;
    }
    bitmap_raise_cut(dst, cut_end);
    gather_fit(into, dst, copy, src->granularity_shift, src_len);
    bitset_or_scaled(into, dst->granularity_shift, copy,
                     src->granularity_shift);
    return true;
}

bool bitmap_merge_bits(Co *co, DirtyBitmap *dst, const Bitset *bits,
                       Bitset **backup, Error **errp)
{
    Bitset *to = bitmap_bits_mut(co, dst, errp);

    if (!to) {
        return false;
    }
    if (backup) {
        *backup = bitset_copy(to);
    }
    /* Its disk may have grown since @bits were collected. */
    bitset_or_scaled(to, 0, bits, 0);
    return true;
}

bool bitmap_merge(Co *co, DirtyBitmap *dst, DirtyBitmap *src,
                  Bitset **backup, Error **errp)
{
    g_autoptr(Bitset) bits = NULL;

    loop_assert(dst->node->loop);
    if (src->node->loop == dst->node->loop &&
        src->granularity_shift == dst->granularity_shift &&
        src->node->length == dst->node->length) {
        /* Both are loaded when the second one is: nothing suspends any more. */
        if (!bitmap_bits(co, dst, errp) || !bitmap_bits(co, src, errp)) {
            return false;
        }
        bitmap_raise_cut(dst, MAX(src->cut_end, src->node->length));
        return bitmap_merge_bits(co, dst, src->bits, backup, errp);
    }
    bits = bitset_new(bitset_size(dst->bits));
    return bitmap_gather(co, bits, dst, src, errp) &&
           bitmap_merge_bits(co, dst, bits, backup, errp);
}

void bitmap_add_bits(DirtyBitmap *bm, const Bitset *bits)
{
    loop_assert(bm->node->loop);
    bitset_or(bm->bits, bits);
    bm->changed = true;
}

void bitmap_set_range(DirtyBitmap *bm, int64_t off, int64_t len)
{
    int64_t first = off >> bm->granularity_shift;
    int64_t last = (off + len - 1) >> bm->granularity_shift;

    loop_assert(bm->node->loop);
    if (len > 0) {
        bitset_set(bm->bits, first, last - first + 1);
        bm->changed = true;
    }
}

void bitmap_reset_range(DirtyBitmap *bm, int64_t off, int64_t len)
{
    int64_t first = off >> bm->granularity_shift;
    int64_t last = (off + len - 1) >> bm->granularity_shift;

    g_assert(bm->loaded);
    if (len > 0) {
        bitmap_fold(bm);
        bitset_clear(bm->bits, first, last - first + 1);
        bm->changed = true;
    }
}

/* ---- hash ---- */

/* QEMU hashes the words of 64 bits that the bits take, at least one. */
static int64_t bitmap_hash_len(const Bitset *bits)
{
    return MAX(DIV_ROUND_UP(bitset_size(bits), 64), 1) * 8;
}

static bool bitmap_hash_pages(gnutls_hash_hd_t hash, const Bitset *bits)
{
    int64_t left = bitmap_hash_len(bits);
    uint8_t page[BITSET_PAGE_BYTES] = { 0 };

    for (int64_t i = 0; left > 0; i++) {
        int64_t n = MIN(left, BITSET_PAGE_BYTES);

        if (i < bitset_npages(bits)) {
            bitset_page_read(bits, i, page);
        }
        if (gnutls_hash(hash, page, n) < 0) {
            return false;
        }
        left -= n;
    }
    return true;
}

char *bitmap_sha256(Co *co, DirtyBitmap *bm, Error **errp)
{
    const Bitset *bits = bitmap_bits(co, bm, errp);
    uint8_t digest[32];
    gnutls_hash_hd_t hash;
    GString *hex;
    bool ok;

    if (!bits || !tls_lib_load(errp)) {
        return NULL;
    }
    ok = gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) == 0;
    if (ok) {
        ok = bitmap_hash_pages(hash, bits);
        gnutls_hash_deinit(hash, digest);
    }
    if (!ok) {
        error_setg(errp, "Failed to calculate the hash of bitmap '%s'",
                   bm->name);
        return NULL;
    }
    hex = g_string_new(NULL);
    for (unsigned i = 0; i < sizeof(digest); i++) {
        g_string_append_printf(hex, "%02x", digest[i]);
    }
    return g_string_free(hex, false);
}
